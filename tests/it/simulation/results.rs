//! Which results of their steps templates declare.

use awf_aws::results::Wanted;
use fastrand::Rng;

use super::plan::WorkflowPlan;

/// What a template declares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Declares {
    Nothing,
    Model,
    /// Parameters and artifacts of both steps.
    Much,
    Bill,
    /// `outputs: all`.
    All,
}

impl Declares {
    /// Draws it for every node, by itself: the rest of the plan does not depend on it.
    pub fn draw(seed: u64, workflows: &mut [WorkflowPlan]) {
        let mut rng = Rng::with_seed(seed ^ 0x00de_c1a2_e500);
        for node in workflows.iter_mut().flat_map(|workflow| &mut workflow.nodes) {
            node.declares = match rng.u8(0..10) {
                0 => Self::Model,
                1 => Self::Much,
                2 => Self::Bill,
                3 => Self::All,
                _ => Self::Nothing,
            };
        }
    }

    fn parameters(self) -> &'static [&'static str] {
        match self {
            Self::Nothing | Self::All => &[],
            Self::Model => &["Work-model-artifacts"],
            Self::Much => &["Work-metric-loss", "Work-job-name", "First-output-data"],
            Self::Bill => &["billable-seconds"],
        }
    }

    /// Artifacts that are told of an execution that succeeded.
    pub fn artifacts(self) -> &'static [&'static str] {
        if self == Self::Much { &["Work-model-artifacts", "First-output-data"] } else { &[] }
    }

    /// Parameters that are told of an execution that succeeded.
    pub fn told(self) -> &'static [&'static str] {
        match self {
            Self::All => {
                &["First-output-data", "Work-model-artifacts", "Work-metric-loss", "Work-job-name", "billable-seconds"]
            }
            other => other.parameters(),
        }
    }

    /// Whether the job of this step has to be described for it.
    pub fn asks_for(self, step: &str) -> bool {
        match self {
            Self::Nothing => false,
            Self::Model => step == "Work",
            Self::Much | Self::Bill | Self::All => true,
        }
    }

    pub fn wanted(self) -> Wanted {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let wanted = Wanted::declared(names(self.parameters()), names(self.artifacts()));
        if self == Self::All { wanted.and_all() } else { wanted }
    }
}
