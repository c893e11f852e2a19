//! The simulated SageMaker as a pure state machine: every test passes its own time.

use awf_aws::{
    pipelines::Time,
    simulator::{
        book::{Answer, Book, Caller},
        faults::Faults,
        scenario::Scenario,
    },
};
use serde_json::{Value, json};

mod conditions;
mod executions;
mod jobs;
mod retries;
mod sdk;
mod service;
mod sts;
mod worse;

const ACCOUNT: &str = "100000000002";
const REGION: &str = "eu-west-1";
const T0: i64 = 1_795_000_000_000;

/// A time in seconds after the simulation's start.
fn at(seconds: f64) -> Time {
    Time::at(T0 + (seconds * 1000.0) as i64)
}

fn token(word: &str) -> String {
    format!("{word:-<32}")
}

/// Prepare, then train; both one second long.
fn two_steps() -> Value {
    json!({"Version": "2020-12-01", "Steps": [
        {"Name": "Train", "Type": "Training", "DependsOn": ["Prepare"]},
        {"Name": "Prepare", "Type": "Processing"},
    ]})
}

struct World {
    book: Book,
    caller: Caller,
}

impl World {
    fn new(faults: Value) -> Self {
        let scenario = Scenario { faults: Faults::default().merged(&faults).unwrap(), ..Scenario::default() };
        let book = Book::new(scenario, at(0.0)).unwrap();
        let caller = book.caller("AKIAANY", REGION);
        Self { book, caller }
    }

    fn with_pipeline(faults: Value, definition: Value) -> Self {
        let mut world = Self::new(faults);
        world.create("P", definition);
        world
    }

    fn create(&mut self, name: &str, definition: Value) -> Value {
        self.ok(
            0.0,
            "CreatePipeline",
            json!({"PipelineName": name, "PipelineDefinition": definition.to_string(), "ClientRequestToken": token("c"),
                   "RoleArn": "arn:aws:iam::100000000002:role/pipelines"}),
        )
    }

    fn answer(&mut self, seconds: f64, operation: &str, input: Value) -> Answer {
        self.book.call(&self.caller, operation, &input, at(seconds))
    }

    #[track_caller]
    fn ok(&mut self, seconds: f64, operation: &str, input: Value) -> Value {
        self.answer(seconds, operation, input).result.unwrap()
    }

    #[track_caller]
    fn refused(&mut self, seconds: f64, operation: &str, input: Value) -> (String, String) {
        let refusal = self.answer(seconds, operation, input).result.unwrap_err();
        (refusal.code, refusal.message)
    }

    #[track_caller]
    fn start(&mut self, seconds: f64, word: &str) -> String {
        let input = json!({"PipelineName": "P", "ClientRequestToken": token(word)});
        self.ok(seconds, "StartPipelineExecution", input)["PipelineExecutionArn"].as_str().unwrap().to_owned()
    }

    #[track_caller]
    fn stop(&mut self, seconds: f64, arn: &str) {
        self.ok(
            seconds,
            "StopPipelineExecution",
            json!({"PipelineExecutionArn": arn, "ClientRequestToken": token("stop")}),
        );
    }

    #[track_caller]
    fn describe(&mut self, seconds: f64, arn: &str) -> Value {
        self.ok(seconds, "DescribePipelineExecution", json!({"PipelineExecutionArn": arn}))
    }

    #[track_caller]
    fn status(&mut self, seconds: f64, arn: &str) -> String {
        self.describe(seconds, arn)["PipelineExecutionStatus"].as_str().unwrap().to_owned()
    }

    /// Steps in order of their start.
    #[track_caller]
    fn steps(&mut self, seconds: f64, arn: &str) -> Vec<Value> {
        let input = json!({"PipelineExecutionArn": arn, "SortOrder": "Ascending"});
        let listed = self.ok(seconds, "ListPipelineExecutionSteps", input);
        listed["PipelineExecutionSteps"].as_array().unwrap().clone()
    }

    #[track_caller]
    fn step_states(&mut self, seconds: f64, arn: &str) -> Vec<String> {
        let show = |s: &Value| format!("{} {}", s["StepName"].as_str().unwrap(), s["StepStatus"].as_str().unwrap());
        self.steps(seconds, arn).iter().map(show).collect()
    }

    #[track_caller]
    fn listed(&mut self, seconds: f64, mut input: Value) -> (Vec<String>, Option<String>) {
        input["PipelineName"] = "P".into();
        let listed = self.ok(seconds, "ListPipelineExecutions", input);
        let arns = listed["PipelineExecutionSummaries"].as_array().unwrap();
        let arns = arns.iter().map(|s| s["PipelineExecutionArn"].as_str().unwrap().to_owned()).collect();
        (arns, listed["NextToken"].as_str().map(str::to_owned))
    }
}
