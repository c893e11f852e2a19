//! Deliberate breaks: each takes one safeguard away, so that the simulation can prove that it would notice.
//!
//! Release builds know nothing of them: [`Machine::sabotaged`] is the constant `false` there.

use crate::input::Task;

use super::{
    Machine,
    identity::{self, Key},
};

/// A safeguard that is taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// The start token does not tell attempts apart.
    TokenWithoutAttempt,
    /// The start token does not name the execution that is replaced.
    TokenWithoutPredecessor,
    /// The start token is made of the moment.
    TokenOfTheMoment,
    /// A start whose outcome is unknown is repeated under a new token.
    TokenNewAfterLoss,
    /// A start whose outcome is unknown counts as refused.
    UnknownIsFailure,
    /// Nothing is listed before the first start.
    NoListing,
    /// Executions that have ended are not adopted.
    AdoptsOnlyTheLiving,
    /// A live execution of another attempt of the node does not count.
    FollowsOnlyItsOwnAttempt,
    /// Ends of an earlier run of the workflow count as this run's.
    NoEpoch,
    /// An end is told once.
    EndNotRepeated,
    /// An execution is polled on after its end.
    PollsOn,
    /// A workflow that is alive is taken for one that is over.
    StopOnAlive,
    /// Nothing keeps nodes from starting when the workflow is over.
    StartsAfterOver,
    /// A node that finds the account full goes to the end of the queue.
    LosesItsPlace,
    /// One denied start holds up every node of the pipeline, and counts for all of them until the process ends.
    DenialHoldsAll,
    /// Every attempt is called by the client of the node's first one.
    FamilyKeepsItsClient,
    /// The workflow's limit counts each pipeline by itself.
    LimitOfThePipeline,
    /// Steps that were listed while the execution ran are taken for those of its end.
    StepsOfTheRunning,
    /// Steps of ended executions are kept.
    KeepsSteps,
    /// A stop has the same token also after a revival.
    StopTokenForEver,
    /// The workflow's creation is believed to the minute when earlier executions are listed.
    CreatedToTheSecond,
    /// What a list shows is believed although a describe has shown a later status.
    BelievesStaleLists,
    /// What siblings' markers say of a node that ended while it waited does not count.
    ForgetsSiblings,
}

impl Sabotage {
    /// All of them.
    pub const ALL: [Self; 23] = [
        Self::TokenWithoutAttempt,
        Self::TokenWithoutPredecessor,
        Self::TokenOfTheMoment,
        Self::TokenNewAfterLoss,
        Self::UnknownIsFailure,
        Self::NoListing,
        Self::AdoptsOnlyTheLiving,
        Self::FollowsOnlyItsOwnAttempt,
        Self::NoEpoch,
        Self::EndNotRepeated,
        Self::PollsOn,
        Self::StopOnAlive,
        Self::StartsAfterOver,
        Self::LosesItsPlace,
        Self::DenialHoldsAll,
        Self::FamilyKeepsItsClient,
        Self::LimitOfThePipeline,
        Self::StepsOfTheRunning,
        Self::KeepsSteps,
        Self::StopTokenForEver,
        Self::CreatedToTheSecond,
        Self::BelievesStaleLists,
        Self::ForgetsSiblings,
    ];
}

impl Machine {
    /// Whether this safeguard is taken away.
    pub(super) fn sabotaged(&self, sabotage: Sabotage) -> bool {
        cfg!(debug_assertions) && self.settings.sabotage == Some(sabotage)
    }

    /// [`identity::start_token`], unless broken.
    pub(super) fn start_token(&self, task: &Task, key: &Key, predecessor: Option<&str>) -> String {
        if self.sabotaged(Sabotage::TokenWithoutAttempt) {
            return identity::start_token(&Task { attempt: 0, ..task.clone() }, key, predecessor);
        }
        if self.sabotaged(Sabotage::TokenOfTheMoment) {
            return format!("{:064}", self.now.0);
        }
        let named = predecessor.filter(|_| !self.sabotaged(Sabotage::TokenWithoutPredecessor));
        identity::start_token(task, key, named)
    }
}
