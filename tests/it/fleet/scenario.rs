//! What a fleet is asked to do.

/// One fleet. The account serves ten calls a second, reads and writes together, and twenty at once after a pause.
///
/// Polls are wanted without end, so the limit is always fought for. Stops come in groups (a workflow is stopped with all
/// its executions), together one a second: a tenth of the limit. Larger groups cannot leave within five seconds where
/// AWS's bucket is always empty and a process must share what flows into it. A call that is throttled is repeated
/// until it is served.
#[derive(Debug)]
pub struct Scenario {
    pub name: &'static str,
    pub processes: usize,
    pub workflows: usize,
    /// Stops that are wanted at once.
    pub stop_group: u32,
    /// Starts a second that the whole fleet wants; `None`: without end, as polls.
    pub starts: Option<f64>,
}

pub const LIMIT: f64 = 10.0;
pub const AWS_BURST: f64 = 20.0;
pub const STOPS: f64 = 1.0;
/// Calls that a workflow always wants.
pub const BACKLOG: usize = 4;

pub const SCENARIOS: &[Scenario] = &[
    Scenario { name: "1 process, 1 workflow", processes: 1, workflows: 1, stop_group: 5, starts: Some(2.0) },
    Scenario { name: "1 process, 10 workflows", processes: 1, workflows: 10, stop_group: 5, starts: Some(2.0) },
    Scenario { name: "10 processes, 10 each", processes: 10, workflows: 10, stop_group: 5, starts: Some(2.0) },
    Scenario { name: "100 processes, 3 each", processes: 100, workflows: 3, stop_group: 2, starts: Some(2.0) },
    Scenario { name: "100, starts without end", processes: 100, workflows: 3, stop_group: 2, starts: None },
];
