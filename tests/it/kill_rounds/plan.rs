//! What a seed decides: the nodes of a round, the executions of others, and what goes wrong when.

use serde_json::{Value, json};

use crate::support::argo::{execute, request};

/// The plugin's pace is per region: in three of them a round takes seconds, in one it would take a minute.
const REGIONS: [&str; 3] = ["us-west-2", "eu-west-1", "us-east-1"];
/// Where the executions of others run.
pub const HOME: &str = REGIONS[0];
/// Ends by itself, as a rule well.
const SHORT: &str = "MyPipeline";
/// Ends when it is stopped.
const ENDLESS: &str = "Endless";
/// Nodes that run [`SHORT`].
const ORDINARY: usize = 27;

/// SplitMix64: enough randomness for instants, the same for the same seed everywhere.
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }

    /// From `least` up, below `least + spread`.
    fn from(&mut self, least: u64, spread: u64) -> u64 {
        least + self.below(spread)
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize]
    }

    fn shuffle<T>(&mut self, all: &mut [T]) {
        for last in (1..all.len()).rev() {
            all.swap(last, self.below(last as u64 + 1) as usize);
        }
    }
}

/// One node of the workflow.
pub struct Node {
    pub name: String,
    pub region: &'static str,
    pub kind: Kind,
}

pub enum Kind {
    /// Runs a pipeline that ends by itself; some are run once more when they fail, and some of those go on where they failed.
    Execute {
        retries: bool,
        resumes: bool,
    },
    /// Runs a pipeline that ends only when a stop node names it, or the stop of everything.
    Endless,
    /// Follows an execution of somebody else.
    Attached {
        stranger: Stranger,
    },
    Stop(Names),
}

/// What a stop node names.
#[derive(Clone, Copy)]
pub enum Names {
    /// Another node, by its key.
    Key(usize),
    /// Another node's execution, by its ARN.
    Execution(usize),
    Stranger(Stranger),
    /// All that the workflow runs in this region: there is one such node for each.
    Everything,
}

/// An execution that somebody else has started before, in the order in which they are started.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Stranger {
    Short,
    AlsoShort,
    /// A node is attached until its own time-out; it runs on.
    OutlivesItsNode,
    /// A stop node names it.
    Named,
    /// Its owner stops it after this workflow has stopped everything.
    StoppedByItsOwner,
    /// Nobody is attached, and it carries the marker of another workflow.
    OfAnotherWorkflow,
}

pub const STRANGERS: [Stranger; 6] = [
    Stranger::Short,
    Stranger::AlsoShort,
    Stranger::OutlivesItsNode,
    Stranger::Named,
    Stranger::StoppedByItsOwner,
    Stranger::OfAnotherWorkflow,
];

impl Stranger {
    /// How its owner starts it.
    pub fn start(self) -> Value {
        let pipeline = if matches!(self, Self::Short | Self::AlsoShort) { SHORT } else { ENDLESS };
        let description = match self {
            Self::OfAnotherWorkflow => {
                "awf-aws/1 ns=argo wf=another uid=00000000-0000-0000-0000-000000000001 \
                 key=0000000000000000000000000000000000000000000000000000000000000000 attempt=0 pred= args=0000000000000000"
            }
            _ => "started by hand",
        };
        let token = format!("somebody-else-{:0>32}", self as usize);
        json!({"PipelineName": pipeline, "ClientRequestToken": token, "PipelineExecutionDescription": description})
    }
}

/// Something that goes wrong, so long after what went wrong before (all times in milliseconds).
pub struct Step {
    pub after: u64,
    pub trouble: Trouble,
}

pub enum Trouble {
    Kill(Kill),
    /// SIGSTOP, and SIGCONT so much later. When another pod takes over, both run for a while after that.
    Pause {
        lasts: u64,
        both: Option<u64>,
    },
    Deny(Denial),
}

/// What a SIGKILL comes amid of.
pub enum Kill {
    Nothing,
    /// Between the effect of starts and resumes, and replies that never come.
    LostStarts {
        replies: u64,
        later: u64,
    },
    LostReplies {
        replies: u64,
        later: u64,
    },
    Drain {
        later: u64,
    },
}

/// Calls that are denied for a while.
pub struct Denial {
    pub operations: &'static [&'static str],
    /// By expired credentials instead of a missing right.
    pub expired: bool,
    pub lasts: u64,
    /// A process that begins amid of it knows nothing yet.
    pub killed: bool,
}

const DENIED_STARTS: [&[&str]; 2] =
    [&["StartPipelineExecution"], &["StartPipelineExecution", "DescribePipelineExecution", "ListPipelineExecutions"]];
const DENIED: [&[&str]; 3] = [
    &["DescribePipelineExecution"],
    &["ListPipelineExecutions", "DescribePipelineExecution"],
    &["DescribePipelineExecution", "ListPipelineExecutions", "StopPipelineExecution", "GetCallerIdentity"],
];
/// What a stop of everything calls.
const DENIED_AT_THE_END: [&[&str]; 3] = [
    &["StopPipelineExecution"],
    &["StopPipelineExecution", "DescribePipelineExecution"],
    &["StopPipelineExecution", "ListPipelineExecutionSteps"],
];

/// A whole round.
pub struct Plan {
    pub scenario: Value,
    pub nodes: Vec<Node>,
    /// While nodes start, run and are stopped.
    pub troubles: Vec<Step>,
    /// Begins just before everything is stopped.
    pub denied_at_the_end: Denial,
    /// After that.
    pub late: Vec<Step>,
    /// How long agents live; the last one lives on.
    pub agents: Vec<u64>,
    /// Which results die with an agent.
    pub luck: u64,
}

impl Plan {
    pub fn of(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let dice = &mut dice;
        let scenario = scenario(seed, dice);
        let mut troubles = vec![
            Trouble::Kill(Kill::Nothing),
            Trouble::Kill(Kill::LostStarts { replies: dice.from(1, 6), later: dice.below(600) }),
            Trouble::Kill(Kill::LostReplies { replies: dice.from(1, 3), later: dice.below(300) }),
            Trouble::Kill(Kill::Drain { later: dice.below(400) }),
            Trouble::Deny(denial(&DENIED, dice)),
        ];
        dice.shuffle(&mut troubles);
        // Not every round has the time for all of them.
        troubles.truncate(dice.from(3, 3) as usize);
        let at = dice.below(troubles.len() as u64 + 1) as usize;
        troubles.insert(at, pause(seed % 10 == 7, !seed.is_multiple_of(3), dice));
        // Long enough for a second try of the first node, early enough to meet some that wait.
        let starts = Denial { lasts: dice.from(1300, 1000), ..denial(&DENIED_STARTS, dice) };
        troubles.insert(dice.below(2) as usize, Trouble::Deny(starts));
        let late = if dice.below(2) == 0 { Trouble::Kill(Kill::Nothing) } else { pause(false, false, dice) };
        Self {
            scenario,
            nodes: nodes(),
            troubles: troubles.into_iter().map(|trouble| Step { after: dice.below(1000), trouble }).collect(),
            denied_at_the_end: denial(&DENIED_AT_THE_END, dice),
            late: vec![Step { after: dice.below(300), trouble: late }],
            agents: (0..dice.below(3)).map(|_| dice.from(1000, 4000)).collect(),
            luck: dice.below(u64::MAX),
        }
    }

    /// The request of an attempt of a node. `arn`: the execution that its target or stranger is.
    pub fn task(&self, node: &Node, attempt: u32, arn: Option<&str>) -> Value {
        let region = node.region;
        match node.kind {
            Kind::Execute { resumes, .. } => {
                let on_retry = if resumes { "resume" } else { "restart" };
                let attempt = attempt.to_string();
                execute(&node.name, json!({"region_name": region, "attempt": attempt, "on_retry": on_retry}))
            }
            Kind::Endless => execute(&node.name, json!({"region_name": region, "pipeline_name": ENDLESS})),
            Kind::Attached { stranger } => {
                let pipeline = &stranger.start()["PipelineName"];
                let mut fields = json!({"region_name": region, "pipeline_name": pipeline, "execution_arn": arn});
                if stranger == Stranger::OutlivesItsNode {
                    fields["timeout"] = json!("4s");
                }
                execute(&node.name, fields)
            }
            Kind::Stop(names) => {
                let mut fields = json!({"action": "stop", "region_name": region, "pipeline_name": ENDLESS});
                match names {
                    Names::Key(target) => fields["execution_key"] = json!(self.nodes[target].name),
                    Names::Execution(_) | Names::Stranger(_) => fields["execution_arn"] = json!(arn),
                    Names::Everything => {}
                }
                request(fields)
            }
        }
    }
}

fn nodes() -> Vec<Node> {
    let mut nodes: Vec<Node> = (0..ORDINARY)
        .map(|i| Node {
            name: format!("node-{i:02}"),
            region: REGIONS[i % REGIONS.len()],
            kind: Kind::Execute { retries: i % 2 == 0, resumes: i % 4 == 0 },
        })
        .collect();
    for region in REGIONS {
        for (what, names) in [("key", Names::Key as fn(usize) -> Names), ("arn", Names::Execution)] {
            let target = nodes.len();
            nodes.push(Node { name: format!("stopped-by-{what}-{region}"), region, kind: Kind::Endless });
            nodes.push(Node { name: format!("stop-{what}-{region}"), region, kind: Kind::Stop(names(target)) });
        }
        nodes.push(Node { name: format!("stopped-at-the-end-{region}"), region, kind: Kind::Endless });
    }
    for stranger in STRANGERS.into_iter().filter(|s| *s != Stranger::OfAnotherWorkflow) {
        let name = format!("attached-{}", stranger as usize);
        nodes.push(Node { name, region: HOME, kind: Kind::Attached { stranger } });
    }
    nodes.push(Node {
        name: "stop-stranger".to_owned(),
        region: HOME,
        kind: Kind::Stop(Names::Stranger(Stranger::Named)),
    });
    nodes.extend(REGIONS.map(|region| Node {
        name: format!("stop-everything-{region}"),
        region,
        kind: Kind::Stop(Names::Everything),
    }));
    nodes
}

/// `two_pods`: another one takes over, and the paused one comes back beside it.
fn pause(long: bool, two_pods: bool, dice: &mut Dice) -> Trouble {
    let lasts = if long { dice.from(8000, 12_000) } else { dice.from(1000, 2000) };
    Trouble::Pause { lasts, both: two_pods.then(|| dice.from(500, 1500)) }
}

fn denial(operations: &[&'static [&'static str]], dice: &mut Dice) -> Denial {
    Denial {
        operations: dice.one_of(operations),
        expired: dice.below(2) == 0,
        lasts: dice.from(600, 1400),
        killed: dice.below(3) == 0,
    }
}

fn scenario(seed: u64, dice: &mut Dice) -> Value {
    // Every second round is short of capacity: 25 or so at once, in turns.
    let quota = if seed.is_multiple_of(2) { 11 } else { 60 };
    let semantics = ["same_arn", "mismatch_error", "conflict"][dice.below(3) as usize];
    let short = json!({"Version": "2020-12-01", "Steps": [
        {"Name": "Prepare", "Type": "Processing", "Arguments": {}},
        {"Name": "Train", "Type": "Training", "Arguments": {}, "DependsOn": ["Prepare"]},
    ]});
    let endless = json!({"Version": "2020-12-01", "Steps": [{"Name": "Wait", "Type": "Training", "Arguments": {}}]});
    let pipelines: Vec<Value> = REGIONS
        .iter()
        .flat_map(|region| {
            [(SHORT, &short), (ENDLESS, &endless)]
                .map(|(name, definition)| json!({"name": name, "region": region, "definition": definition}))
        })
        .collect();
    json!({"seed": seed, "pipelines": pipelines, "faults": {
        "quota": quota,
        "latency_ms": dice.below(150),
        "list_lag_seconds": 0.5 * dice.below(4) as f64,
        "token_semantics": semantics,
        "step_seconds": 0.3,
        "stop_seconds": 0.2 + 0.1 * dice.below(10) as f64,
        "steps": {
            "Train": {"fail": 4 + dice.below(12), "reason": "ClientError: out of luck"},
            "Wait": {"seconds": 3600},
        },
    }})
}
