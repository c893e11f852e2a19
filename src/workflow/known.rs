//! What is known of one execution when it is decided what a node gets.

use std::sync::Arc;

use crate::pipelines::{Status, Time};

/// One execution of a key, as [`super::identity::decide`] looks at it.
#[derive(Clone, Debug)]
pub struct Known {
    pub arn: Arc<str>,
    pub attempt: u32,
    /// The attempt that it was started for; another than [`Self::attempt`] once it was resumed.
    pub origin: u32,
    pub status: Status,
    pub created: Time,
    /// When it last changed; for an ended one the closest thing to its end. When a stop was seen to begin, that: such an
    /// execution belongs to the run of the workflow that stopped it, whenever it ends.
    pub modified: Time,
    /// Which run of the workflow started it, as its marker says.
    pub run: Option<Time>,
    /// This process has seen it execute.
    pub witnessed: bool,
    /// It is the continuation of an earlier attempt's end, which was somebody else's before.
    pub resumed: bool,
    /// It is of the pipeline that the node names. What was started of another (in another account, say) had another token,
    /// and a process that has not looked there does not know of it.
    pub same_pipeline: bool,
}
