//! This run of the workflow: `argo retry` begins another under the same uid, and what failed in an earlier one is run
//! again while what failed in this one is reported.

use std::time::Duration;

use crate::pipelines::{Status, Time};

use super::{clocks::Clock, known::Known, marker::Marker};

/// Clocks of Kubernetes, of the pod's node and of AWS may differ by less than this without anything being started twice
/// or overlooked. It is also how long before the pod's birth this run may have begun when Kubernetes cannot say it.
pub const CLOCKS_APART: Duration = Duration::from_secs(15 * 60);

/// SageMaker ends executions after 28 days (672 h), so nothing older can be live.
pub const LONGEST_EXECUTION: Duration = Duration::from_secs(28 * 24 * 3600);

/// When this run began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// `status.startedAt` of the Workflow, to the letter: the same for the whole run, whatever any clock shows. Our starts
    /// carry it in their markers. Absent where Kubernetes cannot be asked.
    pub stamp: Option<Time>,
    /// The same, or the pod's birth, by AWS's clock as far as that can be told.
    pub began: Time,
}

impl Run {
    /// Whether an execution was started in this run.
    pub fn has_started(&self, known: &Known) -> bool {
        match (self.stamp, known.run) {
            (Some(ours), Some(its)) => ours == its,
            _ => known.created >= self.began.minus(CLOCKS_APART),
        }
    }

    /// Whether an execution ended, or its stop began, before this run: by the stamps where both are known; else by the
    /// clock, and what is in doubt counts as this run's, since another start costs money and another `argo retry` nothing.
    pub fn comes_after(&self, known: &Known) -> bool {
        match (self.stamp, known.run) {
            _ if known.witnessed => false,
            (Some(ours), Some(its)) if ours == its => false,
            (Some(_), Some(_)) => known.modified < self.began,
            _ => known.modified < self.began.minus(CLOCKS_APART),
        }
    }

    /// What the node is told in that case.
    pub fn doubt(&self) -> &'static str {
        match self.stamp {
            Some(_) => "it ended before this run began: if this is argo retry, repeat it 15 minutes after that end",
            None => "it ended before this agent pod began: if this is argo retry, repeat it 15 minutes after that end",
        }
    }

    /// Whether an end that counts as this run's may have been an earlier one's.
    pub fn may_come_after(&self, known: &Known) -> bool {
        let told = self.stamp.is_some() && self.stamp == known.run;
        // A retry without Argo's server is stamped by the clock of the user's own machine.
        let margin = if known.run.is_some() && self.stamp.is_some() { CLOCKS_APART } else { Duration::ZERO };
        !told && !known.witnessed && known.status != Status::Succeeded && known.modified < self.began.plus(margin)
    }
}

/// What is known of the run's beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// By Kubernetes' clock.
    Stamp(Time),
    /// By our own.
    PodBorn(Time),
}

/// The run as far as it is known.
#[derive(Debug, Default)]
pub struct RunKnown {
    /// The workflow's uid, from its first task.
    uid: Option<String>,
    beginning: Option<Beginning>,
    /// Settled once AWS's clock is known: a clock that jumps later does not move it.
    settled: Option<Run>,
}

impl RunKnown {
    /// Takes in which workflow this is; the first task's word counts.
    pub fn serves(&mut self, uid: &str) {
        self.uid.get_or_insert_with(|| uid.to_owned());
    }

    /// Whether a marker is this workflow's.
    pub fn is_ours(&self, marker: &Marker) -> bool {
        self.uid.as_deref() == Some(marker.uid.as_str())
    }

    /// Whether anything says when the run began.
    pub fn is_known(&self) -> bool {
        self.beginning.is_some()
    }

    /// What our starts write into their markers: Kubernetes' word for the run's beginning.
    pub fn stamp(&self) -> Option<Time> {
        match self.beginning {
            Some(Beginning::Stamp(at)) => Some(at),
            Some(Beginning::PodBorn(_)) | None => None,
        }
    }

    /// Takes in when it began; whether that is news.
    pub fn learn(&mut self, beginning: Beginning) -> bool {
        let news = self.beginning != Some(beginning);
        if news {
            (self.beginning, self.settled) = (Some(beginning), None);
        }
        news
    }

    /// The run by AWS's clock. It cannot have begun after this process was first asked for something, at `first_event`.
    pub fn settle(&mut self, kubernetes: Clock, aws: Clock, first_event: Time) -> Option<Run> {
        if let Some(run) = self.settled {
            return Some(run);
        }
        let (stamp, ours) = match self.beginning? {
            Beginning::Stamp(at) => (Some(at), kubernetes.ours(at)),
            Beginning::PodBorn(at) => (None, at),
        };
        let run = Run { stamp, began: aws.theirs(ours.min(first_event)) };
        self.settled = Some(run).filter(|_| aws.is_known());
        Some(run)
    }
}
