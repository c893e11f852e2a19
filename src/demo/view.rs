//! What the demo shows: a progress bar for each node on a terminal, a line for each change elsewhere.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    io::{self, Write as _},
    time::Duration,
};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tokio::time::Instant;

use super::{
    agent::NodeStatus,
    controller::{NodeEnd, NodeEvent, Observer},
};
use crate::protocol::Phase;

/// Above so many nodes of one step there is one bar for all of them.
pub const SINGLE_NODES: usize = 8;

/// Without a terminal, many nodes: a line at least this often while anything happens.
const LONGEST_SILENCE: Duration = Duration::from_secs(5);

/// The demo's screen.
pub struct View {
    began: Instant,
    terminal: bool,
    /// Nodes are counted instead of shown one by one; the number is how many there will be.
    total: Option<u64>,
    /// The workflow's name, which every node's name begins with.
    workflow: String,
    /// How many steps the pipeline has: the length of a node's bar.
    steps: u64,
    bars: MultiProgress,
    nodes: RefCell<BTreeMap<String, Shown>>,
    all: ProgressBar,
    /// Nodes that had ended when a line was last printed, and when that was.
    printed: Cell<(u64, Instant)>,
    /// Why a node waits has been said; of many nodes only once.
    waiting_said: Cell<bool>,
}

/// A node as it was last shown.
struct Shown {
    bar: ProgressBar,
    line: String,
    phase: Phase,
    /// The execution's ARN, while the node runs.
    execution: Option<String>,
}

impl View {
    /// `steps` is how many the pipeline has, `nodes` how many are expected; many share one bar.
    pub fn new(terminal: bool, workflow: &str, steps: usize, nodes: usize) -> Self {
        let bars = MultiProgress::new();
        let many = nodes > SINGLE_NODES;
        let total = many.then(|| u64::try_from(nodes).unwrap_or(u64::MAX));
        let all = match total {
            Some(total) if terminal => {
                let bar = bars.add(ProgressBar::new(total));
                bar.set_style(style("{elapsed:>4} {bar:30} {pos}/{len} ended  {wide_msg}"));
                bar.enable_steady_tick(Duration::from_millis(200));
                bar
            }
            _ => ProgressBar::hidden(),
        };
        Self {
            began: Instant::now(),
            terminal,
            total,
            workflow: workflow.to_owned(),
            steps: u64::try_from(steps).unwrap_or(u64::MAX),
            bars,
            nodes: RefCell::default(),
            all,
            printed: Cell::new((0, Instant::now())),
            waiting_said: Cell::new(false),
        }
    }

    /// A line of the story, above the bars.
    pub fn say(&self, text: &str) {
        if self.terminal {
            // A terminal that is gone does not stop the demo.
            self.bars.println(text).unwrap_or_default();
        } else {
            print_line(text);
        }
    }

    /// Takes the bars away, so that what follows stands alone.
    pub fn close(&self) {
        self.all.finish_and_clear();
    }

    fn show(&self, node: &str, phase: Phase, message: &str) {
        let name = short_name(&self.workflow, node);
        let mut nodes = self.nodes.borrow_mut();
        let shown = nodes.entry(name.clone()).or_insert_with(|| Shown {
            bar: if self.terminal && self.total.is_none() { self.node_bar(&name) } else { ProgressBar::hidden() },
            line: String::new(),
            phase,
            execution: None,
        });
        shown.phase = phase;
        let line = format!("{phase:?}  {message}");
        if shown.line == line {
            return;
        }
        shown.line = line;
        if self.total.is_some() {
            drop(nodes);
            if message.starts_with("waiting for") && !self.waiting_said.replace(true) {
                self.say(&format!("{:>6.1}s  {name}: {message}", self.began.elapsed().as_secs_f32()));
            }
            self.count();
        } else if self.terminal {
            if phase == Phase::Pending {
                // Another attempt begins with none of its steps done.
                shown.bar.set_position(0);
                shown.execution = None;
            }
            shown.bar.set_message(shown.line.clone());
            if phase.is_terminal() {
                shown.bar.set_position(shown.bar.length().unwrap_or(1));
                shown.bar.finish();
            }
        } else {
            print_line(&format!("{:>6.1}s  {name:<24}  {}", self.began.elapsed().as_secs_f32(), shown.line));
        }
    }

    fn node_bar(&self, name: &str) -> ProgressBar {
        let bar = self.bars.add(ProgressBar::new(self.steps));
        bar.set_style(style("{spinner} {prefix:<24} {bar:16} {elapsed:>4}  {wide_msg}"));
        bar.set_prefix(name.to_owned());
        bar.enable_steady_tick(Duration::from_millis(120));
        bar
    }

    /// The executions whose nodes have a bar of their own and run.
    pub fn running(&self) -> Vec<String> {
        let nodes = self.nodes.borrow();
        let running = nodes.values().filter(|n| n.phase == Phase::Running && !n.bar.is_hidden());
        running.filter_map(|n| n.execution.clone()).collect()
    }

    /// Moves the bar of an execution's node.
    pub fn steps_done(&self, execution: &str, done: usize) {
        let nodes = self.nodes.borrow();
        for shown in nodes.values().filter(|n| n.phase == Phase::Running && n.execution.as_deref() == Some(execution)) {
            shown.bar.set_position(u64::try_from(done).unwrap_or(u64::MAX).min(self.steps));
        }
    }

    /// Many nodes: how many are where.
    fn count(&self) {
        let nodes = self.nodes.borrow();
        let of = |phase| nodes.values().filter(|n| n.phase == phase).count();
        let ended = nodes.values().filter(|n| n.phase.is_terminal()).count() as u64;
        let text = format!(
            "{} pending, {} running, {} succeeded, {} failed",
            of(Phase::Pending),
            of(Phase::Running),
            of(Phase::Succeeded),
            of(Phase::Failed) + of(Phase::Error),
        );
        self.all.set_position(ended);
        self.all.set_message(text.clone());
        // Without a terminal: a line for every tenth of the nodes and every few seconds, not for every node.
        let tenth = self.total.map_or(1, |total| (total / 10).max(1));
        let (then, at) = self.printed.get();
        let is_new_tenth = ended > then && ended.is_multiple_of(tenth);
        if !self.terminal && (is_new_tenth || at.elapsed() >= LONGEST_SILENCE) {
            self.printed.set((ended, Instant::now()));
            print_line(&format!("{:>6.1}s  {text}", self.began.elapsed().as_secs_f32()));
        }
    }
}

impl Observer for View {
    fn event(&self, node: &str, event: NodeEvent<'_>) {
        match event {
            NodeEvent::Started { attempt: 0 } => self.show(node, Phase::Pending, "asking the plugin"),
            NodeEvent::Started { attempt } => self.show(node, Phase::Pending, &format!("attempt {attempt}")),
            // The end of an attempt is not always the node's; whether it is, comes with `Ended` or `Retrying`.
            NodeEvent::Reported(NodeStatus { phase, .. }) if phase.is_terminal() => {}
            NodeEvent::Reported(status) => {
                self.show(node, status.phase, &status.message);
                if let Some(shown) = self.nodes.borrow_mut().get_mut(&short_name(&self.workflow, node)) {
                    shown.execution = status.output("execution-arn").map(str::to_owned);
                }
            }
            NodeEvent::Retrying { next, wait, last } => {
                let name = short_name(&self.workflow, node);
                if self.total.is_none() {
                    self.say(&format!(
                        "         {name}: attempt {} ended {:?}: {}",
                        next - 1,
                        last.phase,
                        last.message
                    ));
                }
                let when = if wait.is_zero() { "at once".to_owned() } else { format!("in {} s", wait.as_secs()) };
                self.show(node, Phase::Pending, &format!("retry {next} {when}"));
            }
            NodeEvent::Ended(end) => {
                let message = end.attempts.last().map(|status| status.message.as_str()).unwrap_or_default();
                self.show(node, end.phase(), message);
            }
        }
    }
}

/// A node's name without the workflow's: `[1].execute-pipeline(3:x)` becomes `execute-pipeline(3:x)`.
pub fn short_name(workflow: &str, node: &str) -> String {
    let rest = node.strip_prefix(workflow).unwrap_or(node);
    rest.split_once("].").map_or(rest, |(_, name)| name).trim_start_matches('.').to_owned()
}

/// A line to standard output. A reader that has gone (`demo | head`) does not stop the demo.
pub fn print_line(text: &str) {
    writeln!(io::stdout(), "{text}").unwrap_or_default();
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> ")
}

/// A finished node with its outputs, for the end of the demo.
pub fn summary(workflow: &str, end: &NodeEnd) -> String {
    let mut text = format!("{}  {:?}", short_name(workflow, &end.name), end.phase());
    for (attempt, status) in end.attempts.iter().enumerate() {
        if end.attempts.len() > 1 {
            text.push_str(&format!("\n  attempt {attempt}: {:?}", status.phase));
        }
        text.push_str(&format!("\n    {}", status.message));
        for parameter in &status.outputs.parameters {
            text.push_str(&format!("\n    {:<20} {}", parameter.name, parameter.value));
        }
        if let Some(result) = &status.outputs.result {
            text.push_str(&format!("\n    {:<20} {result}", "result"));
        }
    }
    text
}
