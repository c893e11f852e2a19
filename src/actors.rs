//! The actors: who sends what to whom, and what happens when one dies.
//!
//! ```text
//!  HTTP worker ──SupervisorHandle::execute──┐            (registry: workflow uid → runner)
//!                                           ├─ runner known:   Execute ─────────────▶ WorkflowRunner ─┐
//!                                           └─ runner unknown: GetRunner ─▶ Supervisor ──spawns──▶ … │
//!  app ─Drain, Ping─▶ Supervisor ─Drain─▶ every WorkflowRunner                                      │
//!       Supervisor ◀──RunnerExited── ExitGuard (a runner's drop, also by a panic)                     │
//!       WorkflowRunner ◀─CallCameBack, WorkflowObserved, WakeUp─ its own detached futures ◀───────────────┤
//!       WorkflowRunner ◀─Paced, SeenByList, PageShown─ SharedKeeper ◀─TurnsAsked, CallAnswered, LookAsked, PageAsked─┘
//! ```
//!
//! The supervisor and the keeper live on the main thread, a runner on the thread of the HTTP worker that was the first to be
//! asked for its workflow: what that worker is asked needs no other thread (half of a workflow's requests), the runners of
//! several workflows share both, and a single workflow's machine is still one actor's.
//!
//! | message | from → to | answer |
//! |---|---|---|
//! | `Execute` | handle → runner | through the channel inside it, when the machine says so |
//! | `GetRunner` | handle → supervisor | the runner's address; nothing while it backs off or drains |
//! | `Ping` | handle → supervisor | at once |
//! | `PublishGauges` | handle → runners, and by the supervisor → keeper, before a scrape is answered | at once |
//! | `TurnsAsked`, `CallAnswered` | runner → keeper of what workflows share | by `Paced`, at once or when a turn comes |
//! | `LookAsked` | runner → keeper | by `SeenByList`, as pages show something; one of them ends the look |
//! | `PageAsked` | runner → keeper | by `PageShown`, when the page has come: the same to all who wanted it; by `PageWaits` before, when it has to wait for the pace |
//! | `Forget` | supervisor → keeper, for a runner that is gone | none |
//! | `Drain` | handle → supervisor → runners | when the machines are drained: what still runs |
//! | `RunnerExited` | exit guard → supervisor | none: the one message that is sent without one |
//! | `CallCameBack`, `WorkflowObserved`, `WakeUp`, `DrainDue`; `ListCameBack`, `PageCameBack`, `TurnDue` | runner → itself; keeper → itself | none |
//!
//! | what dies | who notices | what happens |
//! |---|---|---|
//! | a call to AWS (panic in its future) | [`crate::backend::carry_out`], which awaits its task | the machine hears `OutcomeUnknown` |
//! | a runner (panic in the machine) | its exit guard | parked requests get free polls at once; respawned after 1, 2, 4 s, past three deaths in 10 min every 60 s; the new machine finds everything again in AWS |
//! | a runner that its machine lets go (nothing of the workflow is open, nobody has asked for `--forget-after`, and all that it knows is in AWS) | its exit guard | nothing: the next request gets a new one, whose machine finds everything again |
//! | the thread that a runner lives on (the server's end) | its exit guard | after a drain nothing; else it is respawned on the main thread |
//! | the keeper | its exit guard | the supervisor stops, and with it the process |
//! | the supervisor | the sender it holds is dropped | the process exits 70; until then 503 |
//! | an HTTP worker | actix-web | a new one; actors do not notice |

use std::sync::Arc;

use crate::{
    backend::SharedBackend, metrics::Metrics, observer::SharedObserver, pace, pipelines::Clock, workflow::Settings,
};

mod handle;
mod messages;
mod registry;
mod shared_keeper;
mod supervisor;
mod workflow_runner;

pub use handle::{Answered, SupervisorError, SupervisorHandle};
pub use supervisor::Supervisor;

/// What every runner works with.
#[derive(Clone)]
pub struct Dependencies {
    /// Carries out the calls; reached by [`crate::backend::carry_out`] only.
    pub backend: SharedBackend,
    /// Answers `Command::AskKubernetes`.
    pub observer: SharedObserver,
    /// The one clock: of the machines, of the metrics and of the supervisor.
    pub clock: Clock,
    pub metrics: Arc<Metrics>,
    /// Each machine's, as they were when the process began.
    pub settings: Settings,
    /// Where the search for AWS's limits begins and ends.
    pub pace: pace::Settings,
}
