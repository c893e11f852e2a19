//! The end of the process: nothing more starts, starts in flight are awaited, and what the end of the workflow wants stopped
//! is stopped before every other call.

use std::time::Duration;

use crate::pipelines::Time;

use super::{LiveExecution, execution::StopAnswer, nodes::Nodes, watch::Stake, world::World};

/// What is left of the grace when a time-out strikes has to do for its stop.
const A_STOP_TAKES: Duration = Duration::from_secs(3);

/// The process is told to end.
pub fn begin(nodes: &mut Nodes, w: &mut World) {
    if !w.closing.drain(w.fx.now()) {
        return;
    }
    // Starts that have not left yet never do; those on their way are awaited by whoever drains.
    let unsent = w.fx.withdraw_starts();
    nodes.unsend_starts(unsent, w);
    w.executions.hurry_stops(&mut w.fx, &w.pipelines);
    w.watch.signal_came(w.fx.now());
}

/// What is at stake in an answer of Kubernetes.
pub fn stake(nodes: &Nodes, w: &World) -> Stake {
    Stake {
        run_is_known: w.run.is_known(),
        idle: w.queue.is_empty() && w.executions.live_count() == 0,
        matters: w.closing.draining().is_some() && verdict_matters(nodes, w),
    }
}

/// Whether the word that the workflow is over would change what is stopped before the process ends.
fn verdict_matters(nodes: &Nodes, w: &World) -> bool {
    let may_be_stopped =
        || w.executions.live().any(|id| nodes.stops_when_gone(id, w) && !w.executions[id].stop_is_wanted());
    w.tally.all_starting() > 0 || may_be_stopped() || nodes.still_look(w)
}

/// Whether the process may end: no start is in flight, nothing is left to be stopped, and no answer of Kubernetes would
/// change that.
pub fn is_done(nodes: &Nodes, w: &World) -> bool {
    let Some(since) = w.closing.draining() else { return false };
    let awaits_verdict = w.fx.settings().kubernetes && w.watch.may_learn_more() && verdict_matters(nodes, w);
    // What an earlier process started is stopped too, as soon as it is listed.
    let looks = w.closing.over().is_some() && nodes.still_look(w);
    let stops = looks || w.executions.stops_are_open();
    w.tally.all_starting() == 0 && !stops && !awaits_verdict && !times_out_before_the_end(since, nodes, w)
}

/// Whether a running execution's time is up before the process has to end. Argo counts a time-out from its own sight
/// of the node, fails it and ends the pod some seconds before we would have stopped the execution; nobody else would.
fn times_out_before_the_end(since: Time, nodes: &Nodes, w: &World) -> bool {
    let end = since.plus(w.fx.settings().shutdown_grace.saturating_sub(A_STOP_TAKES));
    nodes.attempts().filter(|attempt| attempt.stops_in_time()).any(|attempt| {
        let Some(id) = attempt.followed() else { return false };
        let runs = w.executions[id].is_running() && !w.executions[id].stop_is_wanted();
        runs && attempt.deadline(Some(id), w).is_some_and(|(at, _)| at <= end)
    })
}

/// What runs on when the process ends now.
pub fn left_behind(w: &World) -> Vec<LiveExecution> {
    let live = w.executions.live().map(|id| &w.executions[id]);
    live.filter(|tracked| tracked.stop_answer() != StopAnswer::NothingToStop)
        .map(|tracked| {
            let stopping = tracked.stop_answer() == StopAnswer::Taken || tracked.is_stopping();
            LiveExecution { arn: tracked.arn().to_owned(), stopping }
        })
        .collect()
}
