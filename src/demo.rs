//! `awf-aws demo`: one workflow from start to end, without AWS, Kubernetes or Argo.
//!
//! The simulator and the plugin run as processes of their own; Argo's part, reading the WorkflowTemplate and asking the
//! plugin as the agent does, is played here ([`template`], [`controller`], [`agent`]; [`stage`] is what they play on). The
//! tests that kill the plugin again and again drive it with the same agent.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    fs,
    io::{self, IsTerminal},
    path::PathBuf,
    process::ExitCode,
    rc::Rc,
    time::Duration,
};

use clap::Args;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{Instant, sleep, timeout},
};

use self::{
    agent::{Agent, AgentSettings, Tally},
    controller::{Controller, Identity, NodeEnd},
    stage::{ACCOUNT, PIPELINE, Paths, REGION, STEPS, Stage, StageError},
    template::{Definition, TemplateError},
    view::{View, print_line, summary},
};
use crate::{
    pipelines::Time,
    protocol::Phase,
    text::{hex, rfc3339},
};

pub mod agent;
pub mod controller;
pub mod resumed;
pub mod stage;
pub mod template;
pub mod view;

/// The template that is played, as it was when this binary was built.
pub const TEMPLATE: &str = include_str!("../assets/sagemaker-pipelines-workflow-template.yaml");

/// The template that is run many times by `--fan-out`.
const EXECUTE_TEMPLATE: &str = "execute-pipeline";

/// After this the demo gives up; it takes a tenth of it where all is well.
const PATIENCE: Duration = Duration::from_secs(100);

/// The plugin starts two executions a second at most.
const PATIENCE_PER_NODE: Duration = Duration::from_secs(2);

/// `demo`'s flags.
#[derive(Clone, Debug, Default, Args)]
pub struct DemoArgs {
    /// Run the execute step as N nodes, each with an execution of its own
    #[arg(long, value_name = "N", value_parser = node_count)]
    pub fan_out: Option<u16>,
    /// Let this step of the pipeline fail once (PrepareData, TrainModel, EvaluateModel or RegisterModel)
    #[arg(long, value_name = "STEP", conflicts_with = "fan_out",
          value_parser = clap::builder::PossibleValuesParser::new(STEPS.map(|(name, _)| name)))]
    pub fail: Option<String>,
    /// Let the retry continue the failed execution (on_retry: resume) instead of starting another
    #[arg(long, requires = "fail")]
    pub resume: bool,
    /// Play this Workflow or WorkflowTemplate instead of the template built in
    #[arg(long, value_name = "FILE")]
    pub template: Option<PathBuf>,
}

/// As many nodes as one workflow can well have.
fn node_count(text: &str) -> Result<u16, String> {
    let parsed = text.trim().parse().ok().filter(|n| (1..=1000).contains(n));
    parsed.ok_or_else(|| "how many nodes to run is a whole number from 1 to 1000, such as 20".to_owned())
}

/// Why the demo could not be played to its end.
#[derive(Debug, thiserror::Error)]
enum DemoError {
    #[error("cannot read {path}: {source}")]
    Read { path: PathBuf, source: io::Error },
    #[error("{source}\nthe template is {path}")]
    Template { path: String, source: TemplateError },
    #[error(transparent)]
    Stage(#[from] StageError),
    #[error("no runtime: {0}")]
    Runtime(io::Error),
}

/// Plays the demo. 0: every node ended as expected; 1: one did not; 64: the template cannot be read or played; 70: a process
/// does not start; 130 or 143: interrupted.
pub fn run(args: &DemoArgs, paths: &Paths) -> ExitCode {
    let played =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(DemoError::Runtime).and_then(
            |runtime| {
                tokio::task::LocalSet::new().block_on(&runtime, async {
                    tokio::select! {
                        played = play(args, paths) => played.map(u8::from).map(|ok| 1 - ok),
                        number = interrupted() => Ok(128 + number),
                    }
                })
            },
        );
    played.map_or_else(
        |error| {
            eprintln!("awf-aws demo: {error}");
            ExitCode::from(if matches!(error, DemoError::Read { .. } | DemoError::Template { .. }) { 64 } else { 70 })
        },
        ExitCode::from,
    )
}

/// Ends with the number of the signal that ends the demo: SIGINT or SIGTERM. The two processes must not outlive it.
async fn interrupted() -> u8 {
    let Ok(mut terminated) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    tokio::select! {
        _ = terminated.recv() => 15,
        _ = tokio::signal::ctrl_c() => 2,
    }
}

/// Whether everything ended as expected.
async fn play(args: &DemoArgs, paths: &Paths) -> Result<bool, DemoError> {
    let began = Instant::now();
    let (path, mut definition) = definition(args)?;
    let wrong = |source| DemoError::Template { path: path.clone(), source };
    for (name, value) in [("account_id", ACCOUNT), ("region_name", REGION), ("pipeline_name", PIPELINE)] {
        definition.set_parameter(name, value);
    }
    if args.resume && definition.set_plugin_field(EXECUTE_TEMPLATE, "on_retry", "resume").is_none() {
        let what = "it asks no plugin, so --resume has nothing to do".to_owned();
        return Err(wrong(TemplateError::Malformed { template: EXECUTE_TEMPLATE.to_owned(), what }));
    }
    if let Some(n) = args.fan_out {
        let items: Vec<u16> = (0..n).collect();
        if definition.fan_out(EXECUTE_TEMPLATE, &json!(items)) == 0 {
            let what = format!("no step runs it, so --fan-out {n} has nothing to do");
            return Err(wrong(TemplateError::Malformed { template: EXECUTE_TEMPLATE.to_owned(), what }));
        }
    }
    let nodes = args.fan_out.map_or(2, |n| usize::from(n) + 1);

    let identity = identity();
    let token = hashed(&format!("token {}", identity.uid), 32);
    let stage = Stage::set(paths, &token, &scenario(args)).await?;
    stage.create_pipeline().await?;

    let terminal = io::stdout().is_terminal() && io::stderr().is_terminal();
    let view = Rc::new(View::new(terminal, &identity.name, STEPS.len(), nodes));
    let steps = STEPS.map(|(name, _)| name).join(" -> ");
    view.say(&format!("SageMaker (simulated)  {}", stage.simulator_url));
    view.say(&format!("  pipeline             {PIPELINE}: {steps}"));
    view.say(&format!("plugin                 {}", stage.plugin_url));
    view.say(&format!("Argo (played)          workflow {}", identity.name));
    view.say(&format!("  from                 {path}"));
    if let Some(n) = args.fan_out {
        let seconds = u32::from(n) * 11 / 20 + 5;
        view.say(&format!("  {n} executions, 20 at a time as SageMaker's quota allows: about {seconds} s"));
    }
    view.say("");

    let agent = Rc::new(Agent::new(AgentSettings::new(&stage.plugin_url, &stage.token)));
    let controller = Controller {
        definition,
        identity: identity.clone(),
        agent: Rc::clone(&agent),
        longest_backoff: Duration::from_secs(1),
        observer: view.clone(),
    };
    let patience = PATIENCE + PATIENCE_PER_NODE * u32::try_from(nodes).unwrap_or(u32::MAX);
    let played = tokio::select! {
        played = timeout(patience, controller.play()) => played,
        never = move_bars(&stage, &view) => match never {},
    };
    let Ok(ended) = played else {
        view.close();
        print_line(&format!("UNEXPECTED: not ended after {} s\n{}", patience.as_secs(), stage.logs()));
        return Ok(false);
    };
    let ended = ended.map_err(wrong)?;
    view.close();

    report(&identity.name, &ended);
    let executions = count_executions(&stage).await?;
    let mut problems = problems(args, &ended, executions, &agent.tally());
    if args.resume {
        match resumed::tell(&stage, &ended).await? {
            Ok(lines) => lines.iter().for_each(|line| print_line(line)),
            Err(problem) => problems.push(problem),
        }
    }
    print_figures(&ended, executions, &agent.tally(), began.elapsed());
    for problem in &problems {
        print_line(&format!("UNEXPECTED: {problem}"));
    }
    if !problems.is_empty() {
        print_line(&stage.logs());
    }
    Ok(problems.is_empty())
}

/// Moves the bars by SageMaker's own count of steps. The plugin's messages have it too, but it asks for the steps of a running
/// execution every 30 s at most, and the demo's are over by then.
async fn move_bars(stage: &Stage, view: &View) -> Infallible {
    loop {
        sleep(Duration::from_millis(250)).await;
        for execution in view.running() {
            let of = json!({"PipelineExecutionArn": execution, "MaxResults": 100});
            // An answer that does not come leaves the bar where it is; whether all is well is for the plugin to say.
            let steps = stage.sagemaker("ListPipelineExecutionSteps", &of).await.unwrap_or_default();
            let steps = steps["PipelineExecutionSteps"].as_array().into_iter().flatten();
            view.steps_done(&execution, steps.filter(|step| step["StepStatus"] == "Succeeded").count());
        }
    }
}

/// The template to play and where it comes from.
fn definition(args: &DemoArgs) -> Result<(String, Definition), DemoError> {
    let (path, text) = match &args.template {
        None => ("assets/sagemaker-pipelines-workflow-template.yaml".to_owned(), TEMPLATE.to_owned()),
        Some(path) => {
            let text = fs::read_to_string(path).map_err(|source| DemoError::Read { path: path.clone(), source })?;
            (path.display().to_string(), text)
        }
    };
    let parsed = Definition::parse(&text).and_then(|own| match &own.template_ref {
        None => Ok(own),
        Some(name) => {
            let built_in = Definition::parse(TEMPLATE)?;
            let is_it = *name == built_in.name;
            is_it.then(|| own.clone().over(&built_in)).ok_or_else(|| TemplateError::UnknownReference(name.clone()))
        }
    });
    parsed.map(|definition| (path.clone(), definition)).map_err(|source| DemoError::Template { path, source })
}

/// How the simulator behaves: steps long enough to be seen, and what is to fail.
fn scenario(args: &DemoArgs) -> Value {
    let steps: BTreeMap<&String, Value> = args
        .fail
        .iter()
        .map(|step| (step, json!({"fail": 1, "reason": "AlgorithmError: ran out of memory, exit code: 137"})))
        .collect();
    let step_seconds = if args.fan_out.is_some() { 1.0 } else { 1.5 };
    json!({"faults": {"step_seconds": step_seconds, "steps": steps}})
}

/// A workflow that there never was before.
fn identity() -> Identity {
    let now = time::OffsetDateTime::now_utc();
    let seed = format!("{} {}", now.unix_timestamp_nanos(), std::process::id());
    let uid = hashed(&seed, 32);
    let uid = [&uid[..8], &uid[8..12], &uid[12..16], &uid[16..20], &uid[20..]].join("-");
    Identity {
        name: format!("sagemaker-pipelines-{}", hashed(&seed, 5)),
        namespace: "argo".to_owned(),
        uid,
        created: rfc3339(Time::at(now.unix_timestamp().saturating_mul(1000))).unwrap_or_default(),
    }
}

/// The first digits of a text's hash.
fn hashed(text: &str, digits: usize) -> String {
    let mut hash = hex(&Sha256::digest(text));
    hash.truncate(digits);
    hash
}

/// Each node with its outputs; of many alike only the first, and a count.
fn report(workflow: &str, ended: &[NodeEnd]) {
    let mut alike: BTreeMap<(&str, String), usize> = BTreeMap::new();
    print_line("");
    for end in ended {
        let kind = (end.template.as_str(), format!("{:?}", end.attempts.iter().map(|a| a.phase).collect::<Vec<_>>()));
        let seen = alike.entry(kind).or_default();
        *seen += 1;
        if *seen == 1 {
            print_line(&format!("{}\n", summary(workflow, end)));
        }
    }
    for ((template, phases), count) in alike.iter().filter(|(_, count)| **count > 1) {
        print_line(&format!("and {} more of {template} that ended {phases}\n", count - 1));
    }
}

fn print_figures(ended: &[NodeEnd], executions: usize, tally: &Tally, took: Duration) {
    let succeeded = ended.iter().filter(|end| end.phase() == Phase::Succeeded).count();
    print_line(&format!(
        "{succeeded} of {} nodes Succeeded in {:.1} s; SageMaker's book holds {executions} execution{}",
        ended.len(),
        took.as_secs_f32(),
        if executions == 1 { "" } else { "s" },
    ));
    print_line(&format!(
        "the agent called {} times: {} reports, {} free polls, slowest answer {} ms",
        tally.calls,
        tally.reports,
        tally.free_polls,
        tally.slowest.as_millis(),
    ));
}

/// Everything that did not end as this run of the demo should.
fn problems(args: &DemoArgs, ended: &[NodeEnd], executions: usize, tally: &Tally) -> Vec<String> {
    let mut problems = tally.broken_rules.clone();
    let expected_nodes = args.fan_out.map_or(2, |n| usize::from(n) + 1);
    if ended.len() != expected_nodes && args.template.is_none() {
        problems.push(format!("{} nodes, not {expected_nodes}", ended.len()));
    }
    let mut attempts = 0;
    for end in ended {
        let executes = end.template == EXECUTE_TEMPLATE;
        let phases: Vec<Phase> = end.attempts.iter().map(|status| status.phase).collect();
        let expected = match &args.fail {
            Some(_) if executes => vec![Phase::Failed, Phase::Succeeded],
            _ => vec![Phase::Succeeded],
        };
        if phases != expected {
            problems.push(format!("{} ended {phases:?}, not {expected:?}", end.name));
        }
        if let (true, Some(step), Some(first)) = (executes, &args.fail, end.attempts.first())
            && first.output("failed-step") != Some(step)
        {
            problems.push(format!("{} does not name {step} as its failed step", end.name));
        }
        attempts += if executes { end.attempts.len() } else { 0 };
    }
    // One execution goes through all of a node's attempts that resume it.
    let expected = if args.resume { attempts - 1 } else { attempts };
    if executions != expected {
        problems.push(format!("{executions} executions for {attempts} attempts"));
    }
    problems
}

async fn count_executions(stage: &Stage) -> Result<usize, StageError> {
    let mut input = json!({"PipelineName": PIPELINE, "MaxResults": 100});
    let mut count = 0;
    loop {
        let page = stage.sagemaker("ListPipelineExecutions", &input).await?;
        count += page["PipelineExecutionSummaries"].as_array().map_or(0, Vec::len);
        if page["NextToken"].is_null() {
            return Ok(count);
        }
        input["NextToken"] = page["NextToken"].clone();
    }
}
