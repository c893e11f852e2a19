//! `awf-aws`: an Argo Workflows executor plugin that runs Amazon SageMaker pipelines.
//!
//! # One request's way
//!
//! ```text
//!   Argo's agent                                                   AWS
//!     │ POST                       ▲ phase, message,                ▲ │
//!     │ template.execute           │ outputs, requeue      SDK call │ │ answer, error
//!     ▼                            │                                │ ▼
//!   http      token, body as JSON; input: a valid Task       backend::sagemaker
//!     │ SupervisorHandle::execute  ▲                                ▲ │
//!     │ Execute                    │ reply                     Call │ │ CallEnded
//!     ▼                            │                                │ ▼
//!   actors    the WorkflowRunner of this workflow: carries out, decides nothing
//!     │ Event: Requested,          ▲ Command: Answer, Call, WakeAt,
//!     │ CallEnded, Tick, …         │ AskKubernetes, Note
//!     ▼                            │
//!   workflow  Machine::handle(event, now): every decision, without clock or I/O
//! ```
//!
//! 1. [`http::execute`] checks the request in the order of the contract; [`input::read_task`] makes a [`input::Task`] of it,
//!    unless the same bytes were read lately ([`http::reread`]).
//! 2. [`actors::SupervisorHandle::execute`] finds the workflow's runner in the registry, or has [`actors::Supervisor`] make
//!    one on the thread of this HTTP worker, and waits for at most `--reply-timeout`. What comes later is a free poll now and
//!    the answer next time.
//! 3. The runner tells [`workflow::Machine::handle`]. The machine parks the request only while an answer of AWS is on its
//!    way that may change what the node is told; else it answers at once.
//! 4. Each [`pipelines::Call`] takes a turn first: AWS's limits count an account, so one keeper of the process
//!    (`actors/shared_keeper.rs`) owns the [`pace`] that all workflows share, and the [`rounds`] in which their executions are
//!    listed and looked at together.
//! 5. The call leaves in a task of its own through [`backend::Backend`] and comes back as an event. Between requests the
//!    machine polls on its own clock: [`workflow::Command::WakeAt`], then [`workflow::Event::Tick`].
//! 6. Whether the workflow is over is one more question of this kind: [`workflow::Command::AskKubernetes`], carried out by
//!    an [`observer::WorkflowObserver`]: [`kubernetes::Kubernetes`] where it may ask.
//!
//! # The first start of a node, hop by hop
//!
//! Down:
//!
//! 1. [`http::execute`] reads the task; [`actors::SupervisorHandle::execute`] finds the runner; the runner hands
//!    [`workflow::Event::Requested`] to `Machine::handle` (`workflow/machine.rs`).
//! 2. `Nodes::requested` (`workflow/nodes/admission.rs`) makes the attempt known, and `Attempt::advance`
//!    (`workflow/attempt/advance.rs`) looks: its pipeline is not located yet. `Pipelines::locate` (`workflow/pipeline.rs`) puts
//!    GetCallerIdentity in line by `Effects::call` (`workflow/effects.rs`), the attempt waits, the request is parked.
//! 3. STS's calls leave at once; any other waits in the `Outbox` (`workflow/outbox.rs`) and asks for its turn by
//!    [`workflow::Command::Pace`]. With [`workflow::Event::Paced`] it comes, and `Effects::release` lets the call go as
//!    [`workflow::Command::Call`]; [`backend::carry_out`] makes it.
//!
//! Up and down again, once for each answer ([`workflow::Event::CallEnded`], `Machine::call_ended`):
//!
//! 4. The account is known: `Change::Pipeline` has `Nodes::pipeline_changed` let the pipeline's nodes look, and the first of
//!    them has it listed. The listing is complete: what carries our marker was adopted (`workflow/executions/finding.rs`), and
//!    [`workflow::identity::decide`] says `Start`: `Attempt::want_start` (`workflow/attempt/start.rs`) joins the queue.
//! 5. `Nodes::start_next` (`workflow/nodes/starts.rs`) finds the head of the queue and asks for a turn in its name; when that
//!    comes, `Attempt::start` writes token and marker and sends StartPipelineExecution.
//! 6. `Attempt::start_answered` (`workflow/attempt/outcome.rs`): the execution is tracked, followed, and looked at for the first
//!    time (`Executions::first_look`, `workflow/executions/polling.rs`): described, or listed with others in a crowd.
//! 7. The look shows it: `Executions::observe` (`workflow/executions/observing.rs`) says `Change::Execution`, its node looks,
//!    and `Attempt::answer` (`workflow/attempt/view.rs`) answers the parked request: `Running`, with the ARN.
//!
//! # The end of a node
//!
//! 1. A look shows the end, a describe confirms it, the steps are listed (`workflow/executions/steps.rs`).
//! 2. Each of its nodes says what else it wants to be told: the log of the step that failed, what jobs came to
//!    (`workflow/executions/aftermath.rs`); it is asked once, at the pace, and not waited for for long.
//! 3. `report::Story` (`workflow/report/end.rs`) makes phase, message and outputs of all that.
//!
//! The plugin stores nothing. What has to outlive the process is the marker in an execution's description; a start's token
//! is the same again whoever computes it ([`workflow::identity`]).
//!
//! # Walls
//!
//! `tests/it/walls.rs` fails when one is broken. Imports run one way, from the command line to the wire types:
//!
//! | module | may use, of this crate |
//! |---|---|
//! | `cli` | `app`, `config`, `demo`, `metrics`, `monitoring`, `simulator`, `telemetry` |
//! | `app` | `actors`, `backend`, `config`, `doctor`, `http`, `kubernetes`, `metrics`, `observer`, `orphans`, `pace`, `pipelines`, `simulator`, `telemetry`, `workflow` |
//! | `http` | `actors`, `input`, `metrics`, `protocol`, `text`; so neither the machine nor AWS |
//! | `actors` | `backend`, `input`, `metrics`, `observer`, `pace`, `pipelines`, `protocol`, `rounds`, `shared`, `workflow` |
//! | `kubernetes` | `input`, `observer` (the trait it implements), `pipelines`, `text`, `workflow` |
//! | `observer` | `input`, `workflow` |
//! | `workflow` | `input`, `links`, `logs`, `pace`, `pipelines`, `protocol`, `results`, `rounds`, `text` |
//! | `backend` | `metrics` (attempts and credentials, which no caller sees), `pipelines`, `secrets`, `text` |
//! | `metrics` | `input`, `pace` (its lanes), `pipelines`, `protocol`, `workflow` (what it notes) |
//! | `doctor` | `backend`, `config`, `iam`, `kubernetes`, `pipelines` |
//! | `iam` | `input` (a region's partition); policies as data, as pure as these |
//! | `input` | `pipelines`, `protocol`, `results`, `text` |
//! | `text` | `pipelines` (its `Time`), `protocol` (Go's durations) |
//! | `logs` | `pipelines`, `secrets`, `text` |
//! | `pace` | `pipelines` |
//! | `rounds` | `pace` (which lane a list takes), `pipelines` |
//! | `shared` | `pace`, `pipelines`, `rounds` |
//! | `results` | `pipelines`, `protocol` |
//! | `links`, `pipelines`, `protocol`, `secrets` | nothing |
//!
//! [`metrics::catalogue`] has every metric as data; [`monitoring`] makes the dashboards of it.
//!
//! The other modules have their rows in that test. `actix` stays in `actors`, `actix_web` in `http`, `simulator`
//! and `app`, `aws_*` in `backend`, `kube` in `kubernetes`, `awc` in `demo`, `std::env` in `config`. `workflow`, `input`,
//! `text`, `protocol`, `pipelines`, `links`, `logs`, `pace`, `results`, `rounds`, `secrets` and `shared` are pure: no clock, no files or sockets, no
//! `async`. No source file is longer than 500 lines.
//!
//! # Reading order, ten minutes
//!
//! 1. [`protocol`] and [`pipelines`]: the words of Argo, the words of SageMaker.
//! 2. [`input::Task`]: what a request asks for.
//! 3. [`workflow`]: its table of subjects, [`workflow::Event`], [`workflow::Command`]; then its two tables in code,
//!    [`workflow::identity::decide`] (follow, report or start?) and [`workflow::trouble::disposition`] (what follows a failure?).
//! 4. [`actors`]: who sends what to whom, and what happens when one dies.
//! 5. [`app`]: how it is put together, and how it ends.
//! 6. `tests/it/machine/starts.rs` shows the machine at work; `tests/it/simulation.rs` what it has to survive.

pub mod actors;
pub mod app;
pub mod backend;
pub mod cli;
pub mod config;
pub mod demo;
pub mod doctor;
pub mod http;
pub mod iam;
pub mod input;
pub mod kubernetes;
pub mod links;
pub mod logs;
pub mod metrics;
pub mod monitoring;
pub mod observer;
pub mod orphans;
pub mod pace;
pub mod pipelines;
pub mod protocol;
pub mod results;
pub mod rounds;
pub mod secrets;
pub mod shared;
pub mod simulator;
pub mod telemetry;
pub mod text;
pub mod workflow;
