//! What the demo shows: a progress bar for each node on a terminal, a line for each change elsewhere.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
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

/// The demo's screen.
pub struct View {
    began: Instant,
    terminal: bool,
    /// Nodes are counted instead of shown one by one; the number is how many there will be.
    total: Option<u64>,
    /// The workflow's name, which every node's name begins with.
    workflow: String,
    bars: MultiProgress,
    nodes: RefCell<BTreeMap<String, Shown>>,
    all: ProgressBar,
    ended: Cell<u64>,
}

/// A node as it was last shown.
struct Shown {
    bar: ProgressBar,
    line: String,
    phase: Phase,
}

impl View {
    /// `nodes` is how many are expected; many share one bar.
    pub fn new(terminal: bool, workflow: &str, nodes: usize) -> Self {
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
            bars,
            nodes: RefCell::default(),
            all,
            ended: Cell::new(0),
        }
    }

    /// A line of the story, above the bars.
    pub fn say(&self, text: &str) {
        if self.terminal {
            // A terminal that is gone does not stop the demo.
            self.bars.println(text).unwrap_or_default();
        } else {
            println!("{text}");
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
        });
        shown.phase = phase;
        let line = format!("{phase:?}  {message}");
        if shown.line == line {
            return;
        }
        shown.line = line;
        if self.total.is_some() {
            drop(nodes);
            self.count();
        } else if self.terminal {
            if let Some((done, of)) = fraction(message) {
                shown.bar.set_length(of);
                shown.bar.set_position(done);
            }
            shown.bar.set_message(shown.line.clone());
            if phase.is_terminal() {
                shown.bar.set_position(shown.bar.length().unwrap_or(1));
                shown.bar.finish();
            }
        } else {
            println!("{:>6.1}s  {name:<24}  {}", self.began.elapsed().as_secs_f32(), shown.line);
        }
    }

    fn node_bar(&self, name: &str) -> ProgressBar {
        let bar = self.bars.add(ProgressBar::new(1));
        bar.set_style(style("{spinner} {prefix:<24} {bar:16} {elapsed:>4}  {wide_msg}"));
        bar.set_prefix(name.to_owned());
        bar.enable_steady_tick(Duration::from_millis(120));
        bar
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
        // Without a terminal: a line for every tenth of the nodes, not for every node.
        let tenth = self.total.map_or(1, |total| (total / 10).max(1));
        if !self.terminal && ended != self.ended.replace(ended) && ended.is_multiple_of(tenth) {
            println!("{:>6.1}s  {text}", self.began.elapsed().as_secs_f32());
        }
    }
}

impl Observer for View {
    fn event(&self, node: &str, event: NodeEvent<'_>) {
        match event {
            NodeEvent::Started { attempt: 0 } => self.show(node, Phase::Pending, "asking the plugin"),
            NodeEvent::Started { attempt } => self.show(node, Phase::Pending, &format!("attempt {attempt}")),
            NodeEvent::Reported(NodeStatus { phase, message, .. }) => {
                // A failed attempt is not the node's end; whether it is, comes with `Ended`.
                let phase = if *phase == Phase::Succeeded { Phase::Running } else { *phase };
                if !phase.is_terminal() {
                    self.show(node, phase, message);
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
                self.show(node, Phase::Pending, &format!("retry {next} in {} s", wait.as_secs()));
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

/// `2/4` or `2 of 4` in a message, for the bar.
fn fraction(message: &str) -> Option<(u64, u64)> {
    let words: Vec<&str> = message.split(|c: char| c.is_whitespace() || ",;:()".contains(c)).collect();
    let pair = |done: &str, of: &str| Some((done.parse().ok()?, of.parse().ok().filter(|of| *of > 0)?));
    words
        .iter()
        .find_map(|word| word.split_once('/').and_then(|(done, of)| pair(done, of)))
        .or_else(|| words.windows(3).filter(|w| w[1] == "of").find_map(|w| pair(w[0], w[2])))
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
