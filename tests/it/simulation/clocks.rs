//! Three clocks: AWS's, which is the world's own; Kubernetes', which stamps workflows; and the pods' node's. A process
//! reads its node's clock when it starts and counts on from there, as the plugin does.

use awf_aws::pipelines::Time;

use super::{plan::SECOND, pod::PodId, world::World};

impl World {
    fn jumped(&self) -> i64 {
        let jump = self.plan.troubles.clocks.jump;
        jump.filter(|(at, _)| self.now >= World::START.plus(*at)).map_or(0, |(_, by)| by)
    }

    /// Kubernetes' clock less AWS's, now.
    fn kubernetes_offset(&self) -> i64 {
        self.plan.troubles.clocks.kubernetes + self.jumped()
    }

    /// What Kubernetes' clock shows now.
    pub fn kubernetes_now(&self) -> Time {
        Time::at(self.now.millis() + self.kubernetes_offset())
    }

    /// The clock of the node of a workflow's pods less AWS's, now.
    pub fn node_offset(&self, workflow: usize) -> i64 {
        self.kubernetes_offset() + self.plan.troubles.clocks.node + self.plan.workflows[workflow].clock_skew_ms
    }

    /// The pod's process's clock less AWS's.
    pub fn skew(&self, (workflow, pod): PodId) -> i64 {
        self.workflows[workflow].pods[pod].skew
    }

    /// AWS's clock as the header `Date` shows it: whole seconds.
    pub fn date(&self) -> Time {
        Time::at(self.now.millis() / 1000 * 1000)
    }

    /// Whether a workflow's own deadline may be taken for passed by anybody's clock, which may be ahead by a moment.
    pub fn is_past_deadline(&self, number: usize) -> bool {
        let workflow = &self.workflows[number];
        let Some(deadline) = self.plan.workflows[number].deadline.map(|d| workflow.started_stamp.plus(d)) else {
            return false;
        };
        let pods = workflow.pods.iter().map(|pod| pod.skew);
        // Whoever may no longer ask Kubernetes knows its clock as it was before it jumped.
        let before = self.plan.troubles.clocks.kubernetes;
        let fastest = pods.chain([before, self.kubernetes_offset(), self.node_offset(number)]).max().unwrap_or(0);
        Time::at(self.now.millis() + fastest).plus(10 * SECOND) >= deadline
    }
}
