//! Which calls a poll round needs: a describe each for few, pages of the list for many.

use std::time::Duration;

use crate::pipelines::Time;

/// Executions on a page of ListPipelineExecutions.
pub const PAGE: usize = 100;

/// How a group of executions of one pipeline is refreshed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    DescribeEach,
    /// List newest first, created after this; give up after so many pages and describe the rest.
    List {
        created_after: Time,
        max_pages: usize,
    },
}

/// The cheaper way to refresh `due` executions of which the oldest was created at `oldest`, when `live` ones of the
/// pipeline are known. A list costs at least a page per 100 live ones, and shows other people's executions too.
pub fn plan(due: usize, live: usize, oldest: Time) -> Plan {
    let pages = live.max(1).div_ceil(PAGE);
    if due <= 2 || due <= pages {
        return Plan::DescribeEach;
    }
    // One second early: SageMaker's list compares whole seconds, ours are milliseconds.
    Plan::List { created_after: oldest.minus(Duration::from_secs(1)), max_pages: due.div_ceil(2) }
}

/// When an execution of this age is looked at next: a tenth of its age, within the flags' bounds.
pub fn interval(age: Duration, min: Duration, max: Duration) -> Duration {
    (age / 10).clamp(min, max.max(min))
}
