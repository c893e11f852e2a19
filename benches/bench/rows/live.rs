//! Many live executions: what a poll round costs, what memory they take, and how fast answers come meanwhile.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::{
    task::spawn_local,
    time::{Instant, sleep},
};

use super::{
    MIB, Subject, Wanted,
    answers::{self, Promise},
    process::idle_memory,
};
use crate::{
    argo::Nodes,
    aws::Aws,
    load::until,
    plugin::Plugin,
    table::{Budget, Row, Unit},
    tasks::{LONG, execute, many},
};

/// The calls of a poll round: what DESIGN's budget counts. Steps are listed on a clock of their own.
const POLLS: [&str; 2] = ["DescribePipelineExecution", "ListPipelineExecutions"];
const STEPS: [&str; 1] = ["ListPipelineExecutionSteps"];

/// How long the executions may take to start.
const PATIENCE: Duration = Duration::from_secs(600);

/// After the start, calls may wait for their pace for so long.
const SETTLING: Duration = Duration::from_secs(60);

/// How many executions there are, and whose.
#[derive(Clone, Copy)]
struct Shape {
    executions: usize,
    pipelines: usize,
    workflows: usize,
}

impl Shape {
    /// `1000/1_pipeline`, `1000/100_pipelines`, `1000/500_workflows`.
    fn name(&self) -> String {
        match (self.pipelines, self.workflows) {
            (1, 1) => format!("1_pipeline/{}", self.executions),
            (pipelines, 1) => format!("{pipelines}_pipelines/{}", self.executions),
            (_, workflows) => format!("{workflows}_workflows/{}", self.executions),
        }
    }

    fn calls_name(&self) -> String {
        format!("calls_per_round/{}", self.name())
    }

    fn memory_name(&self) -> String {
        format!("memory/{}", self.name())
    }

    fn each_name(&self) -> String {
        format!("memory_per_execution/{}", self.name())
    }

    fn answers_name(&self) -> String {
        format!("answers_{}_live", self.executions)
    }

    /// N/100 + 2 calls for each pipeline of N executions, however many workflows they belong to.
    fn most_calls(&self) -> f64 {
        self.executions as f64 / 100.0 + 2.0 * self.pipelines as f64
    }

    fn tasks(&self) -> Vec<Value> {
        let workflow = |number: usize| format!("wf-{}", number % self.workflows);
        let pipeline =
            |number: usize| if self.pipelines == 1 { LONG.to_owned() } else { many(number % self.pipelines) };
        (0..self.executions).map(|number| execute(&workflow(number), number, &pipeline(number))).collect()
    }
}

/// One subject for all small shapes, which run beside each other, and one for each large shape.
pub fn subjects(wanted: Wanted) -> Vec<Subject> {
    let (pipelines, workflows) = (wanted.of(100, 10), wanted.of(500, 20));
    let shape = |executions, pipelines, workflows| Shape { executions, pipelines, workflows };
    let one = |executions| shape(executions, 1, 1);
    let small = [
        one(1),
        one(10),
        one(100),
        one(wanted.of(1000, 200)),
        shape(pipelines, pipelines, 1),
        shape(wanted.of(1000, 100), pipelines, 1),
        shape(wanted.of(1000, 100), 1, workflows),
    ];
    let most = wanted.of(10_000, 400);
    let large = [shape(most, pipelines, 1), shape(most, 1, workflows)];
    vec![small_shapes(small, wanted), ten_thousand(one(most), wanted), many_owners(large, wanted)]
}

fn small_shapes(shapes: [Shape; 7], wanted: Wanted) -> Subject {
    let names = shapes.iter().map(Shape::calls_name).collect();
    Subject::new(names, async move {
        let poll = wanted.of(Duration::from_secs(10), Duration::from_secs(5));
        let measure = move |shape: Shape| async move {
            let live = Live::raise(shape, poll).await;
            vec![live.polled(3).await.calls_row(shape)]
        };
        beside_each_other(shapes.map(measure)).await
    })
}

/// What counts calls and bytes takes nothing from its neighbours.
async fn beside_each_other<const N: usize>(all: [impl Future<Output = Vec<Row>> + 'static; N]) -> Vec<Row> {
    let mut rows = Vec::new();
    for one in all.map(spawn_local) {
        rows.extend(one.await.expect("a shape is measured"));
    }
    rows
}

/// One workflow and one pipeline: calls, memory, and answers meanwhile.
fn ten_thousand(shape: Shape, wanted: Wanted) -> Subject {
    let mut names = vec![shape.calls_name(), shape.memory_name(), shape.each_name()];
    names.extend(answers::names(&shape.answers_name()));
    Subject::new(names, async move {
        let live = Live::raise(shape, poll_interval(wanted)).await;
        let polled = live.polled(2).await;
        let idle = idle_memory(&live.aws).await;
        let each = (polled.memory - idle) / shape.executions as f64;
        let mut rows = vec![
            polled.calls_row(shape),
            polled.memory_row(shape, 48.0 * MIB),
            Row::new(shape.each_name(), each, Unit::Bytes, Budget::None).remark(format!("idle: {:.1} MiB", idle / MIB)),
        ];
        let heading = shape.answers_name();
        if !answers::names(&heading).iter().any(|name| wanted.has(name)) {
            return rows;
        }
        let ended = answers::ended(&live.plugin).await;
        let waiting = answers::waiting(&live.aws, &live.plugin, shape.executions).await;
        let running: Vec<Value> = live.tasks.iter().take(ended.len()).cloned().collect();
        rows.extend(
            answers::measure(&heading, Promise::Tail, &live.plugin, [&running, &waiting, &ended], wanted).await,
        );
        rows
    })
}

/// Many pipelines, and many workflows: calls and memory.
fn many_owners(shapes: [Shape; 2], wanted: Wanted) -> Subject {
    let names = shapes.iter().flat_map(|shape| [shape.calls_name(), shape.memory_name()]).collect();
    Subject::new(names, async move {
        let measure = move |shape: Shape| async move {
            let live = Live::raise(shape, poll_interval(wanted)).await;
            let polled = live.polled(2).await;
            vec![polled.calls_row(shape), polled.memory_row(shape, 64.0 * MIB)]
        };
        beside_each_other(shapes.map(measure)).await
    })
}

/// The longest of the flags' defaults: where a round of long executions is.
fn poll_interval(wanted: Wanted) -> Duration {
    wanted.of(Duration::from_secs(30), Duration::from_secs(5))
}

/// Executions that live, and the plugin that polls them.
struct Live {
    /// The agent goes on asking.
    _nodes: Nodes,
    plugin: Plugin,
    aws: Aws,
    tasks: Vec<Value>,
    poll: Duration,
}

impl Live {
    /// Has them all started, at the plugin's own pace: calls that are under way at once take memory. It looks at each at the
    /// same interval whatever its age, so that a round is a round.
    async fn raise(shape: Shape, poll: Duration) -> Self {
        let aws = Aws::start(shape.pipelines, json!({})).await;
        let interval = format!("{}s", poll.as_secs());
        let flags = [format!("--poll-min={interval}"), format!("--poll-max={interval}")];
        let plugin = Plugin::start(&aws, &flags.each_ref().map(String::as_str)).await;
        let tasks = shape.tasks();
        let nodes = Nodes::ask(&plugin, tasks.clone());
        let all = shape.executions as f64;
        until("all executions are started", PATIENCE, async || plugin.started().await >= all).await;
        // Whoever wants more calls than it may make is measured as well.
        let deadline = Instant::now() + SETTLING;
        while Instant::now() < deadline && plugin.metric("aws_calls_waiting").await > 0.0 {
            sleep(Duration::from_millis(200)).await;
        }
        // Then everything has been looked at once, and what was to be found at the start is found.
        sleep(poll + Duration::from_secs(2)).await;
        Self { _nodes: nodes, plugin, aws, tasks, poll }
    }

    /// Waits for a pause between two rounds, so that as many are counted as are meant; for a round at most, for there may be
    /// none.
    async fn pause(&self) {
        let deadline = Instant::now() + self.poll;
        let mut quiet = (f64::NAN, Instant::now());
        while Instant::now() < deadline && quiet.1.elapsed() < self.poll / 10 {
            sleep(Duration::from_millis(200)).await;
            let calls = self.plugin.metric("aws_api_calls_total").await;
            if calls != quiet.0 {
                quiet = (calls, Instant::now());
            }
        }
    }

    /// Counts calls and samples memory for so many rounds.
    async fn polled(&self, rounds: u32) -> Polled {
        self.pause().await;
        let before = self.aws.book().await;
        let mut memory = f64::NAN;
        for _ in 0..self.poll.as_secs() * u64::from(rounds) {
            sleep(Duration::from_secs(1)).await;
            memory = memory.max(self.plugin.process.memory("VmRSS"));
        }
        let after = self.aws.book().await;
        let each =
            |operations: &[&str]| (after.calls(operations) - before.calls(operations)) as f64 / f64::from(rounds);
        let peak = self.plugin.process.memory("VmHWM");
        let waiting = self.plugin.metric("aws_calls_waiting").await;
        let live = after.executions.iter().filter(|execution| execution.status == "Executing").count();
        Polled { calls: each(&POLLS), steps: each(&STEPS), waiting, memory, peak, poll: self.poll, live }
    }
}

/// What rounds of polling took.
struct Polled {
    /// In a round.
    calls: f64,
    /// Calls for steps, in a round's time.
    steps: f64,
    /// Calls that still waited for their pace at the end.
    waiting: f64,
    /// The largest resident memory of a second's samples, and of all the process's life, in bytes.
    memory: f64,
    peak: f64,
    poll: Duration,
    /// Executions that the simulator's book shows live.
    live: usize,
}

impl Polled {
    fn calls_row(&self, shape: Shape) -> Row {
        let Self { poll, live, steps, waiting, .. } = self;
        let remark = format!("rounds of {poll:?}, {live} live; {steps:.1} more for steps; {waiting} wait for the pace");
        Row::new(shape.calls_name(), self.calls, Unit::Count, Budget::AtMost(shape.most_calls())).remark(remark)
    }

    fn memory_row(&self, shape: Shape, most: f64) -> Row {
        let remark = format!("RSS, highest while polled; peak since the start {:.1} MiB", self.peak / MIB);
        Row::new(shape.memory_name(), self.memory, Unit::Bytes, Budget::AtMost(most)).remark(remark)
    }
}
