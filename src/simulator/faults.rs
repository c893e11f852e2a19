//! What can be made to go wrong, and how pipelines are to run. Set by the scenario and by `POST /admin/faults`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::rate::Rates;

/// Every operation the simulator answers: SageMaker's, those of CloudWatch Logs, then STS's. Closed: call counts and faults
/// are keyed by it.
pub const OPERATIONS: [&str; 27] = [
    "CreatePipeline",
    "UpdatePipeline",
    "DescribePipeline",
    "ListPipelines",
    "DeletePipeline",
    "StartPipelineExecution",
    "DescribePipelineExecution",
    "ListPipelineExecutions",
    "ListPipelineExecutionSteps",
    "ListPipelineParametersForExecution",
    "DescribePipelineDefinitionForExecution",
    "UpdatePipelineExecution",
    "StopPipelineExecution",
    "RetryPipelineExecution",
    "SendPipelineExecutionStepSuccess",
    "SendPipelineExecutionStepFailure",
    "DescribeTrainingJob",
    "DescribeProcessingJob",
    "DescribeTransformJob",
    "DescribeHyperParameterTuningJob",
    "DescribeAutoMLJob",
    "DescribeAutoMLJobV2",
    "GetLogEvents",
    "DescribeLogStreams",
    "GetCallerIdentity",
    "AssumeRole",
    "AssumeRoleWithWebIdentity",
];

/// The operation of that name, as the table spells it.
pub fn operation(name: &str) -> Option<&'static str> {
    OPERATIONS.into_iter().find(|known| *known == name)
}

/// The service of an operation, as IAM writes it in actions.
pub fn service(operation: &str) -> &'static str {
    match operation {
        "GetLogEvents" | "DescribeLogStreams" => "logs",
        "GetCallerIdentity" | "AssumeRole" | "AssumeRoleWithWebIdentity" => "sts",
        _ => "sagemaker",
    }
}

/// How often something still happens: a number (the next so many times) or the word `always`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Value", into = "Value")]
pub enum Times {
    Next(u64),
    Always,
}

impl Times {
    /// Whether it happens this time; a number counts down.
    pub fn take(&mut self) -> bool {
        match self {
            Self::Always => true,
            Self::Next(0) => false,
            Self::Next(left) => {
                *left -= 1;
                true
            }
        }
    }

    fn never(&self) -> bool {
        *self == Self::Next(0)
    }
}

impl TryFrom<Value> for Times {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        match (value.as_u64(), value.as_str()) {
            (Some(n), _) => Ok(Self::Next(n)),
            (_, Some("always")) => Ok(Self::Always),
            _ => Err(format!("{value} is not a number of times or the word \"always\"")),
        }
    }
}

impl From<Times> for Value {
    fn from(times: Times) -> Self {
        match times {
            Times::Next(n) => n.into(),
            Times::Always => "always".into(),
        }
    }
}

/// Operation (or `*` for all of them) to how often.
pub type PerOperation = BTreeMap<String, Times>;

/// What the service does when a ClientRequestToken comes again. The documentation does not say, so all are here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenSemantics {
    /// The execution of the first call, whatever the other arguments.
    #[default]
    SameArn,
    /// ConflictException.
    Conflict,
    /// The first execution for the same arguments, an error for others.
    MismatchError,
    /// The first execution, but after so many seconds a new one is started.
    ForgottenAfterSeconds(f64),
}

/// How AssumeRoleWithWebIdentity is refused; texts as in AWS's own answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WebIdentityDenial {
    AccessDenied,
    NoProvider,
    WrongAudience,
    ExpiredToken,
    Unreachable,
}

/// An error of the caller's choice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChosenError {
    /// The error code, e.g. `ExpiredTokenException`.
    pub code: String,
    #[serde(default)]
    pub message: String,
    /// HTTP status; 400 unless told.
    #[serde(default = "bad_request")]
    pub status: u16,
    #[serde(default = "always")]
    pub times: Times,
}

fn bad_request() -> u16 {
    400
}

fn always() -> Times {
    Times::Always
}

/// How one step runs, by `Step` or `Pipeline/Step` (the longer key wins).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StepScript {
    /// Duration; a Callback step without one waits until it is freed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// How often this step still fails.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fail: Option<Times>,
    /// FailureReason of the failing step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The failure counts as handled: the execution goes on and ends CompletedWithFailures.
    pub handled: bool,
    /// Output parameters of a Lambda or Callback step.
    pub outputs: BTreeMap<String, String>,
    /// Outcome of a Condition step, whatever its conditions say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<bool>,
    /// Contents of the step's property files, by name: what `Std:JsonGet` reads.
    pub property_files: BTreeMap<String, Value>,
    /// Final metrics of a training job, by name.
    pub metrics: BTreeMap<String, f64>,
    /// What the step's job writes to its log; some lines that fit its type and end unless told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logs: Option<Vec<String>>,
}

/// Everything that can be set while the simulator runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// Added to every answer, milliseconds.
    pub latency_ms: u64,
    /// ThrottlingException.
    pub throttle: PerOperation,
    /// Calls a second that are taken; ThrottlingException beyond.
    pub rate: Rates,
    /// HTTP 500; the call has no effect.
    pub server_error: PerOperation,
    /// The connection stays open and is never answered; the call has no effect.
    pub hang: PerOperation,
    /// The call has its effect, then the connection is closed without an answer.
    pub lose_reply: PerOperation,
    /// AccessDeniedException.
    pub deny: PerOperation,
    /// AccessDeniedException for starts of this pipeline version (`PipelineVersionId` in the request, as an IAM condition on
    /// `sagemaker:PipelineVersionId` would).
    pub deny_versions: BTreeMap<String, Times>,
    /// The call has its effect at once, and its answer takes `slow_ms` longer.
    pub slow: PerOperation,
    pub slow_ms: u64,
    /// ConflictException.
    pub conflict: PerOperation,
    /// Any other error.
    pub errors: BTreeMap<String, ChosenError>,
    /// AssumeRoleWithWebIdentity is refused like this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deny_web_identity: Option<WebIdentityDenial>,
    /// Role ARN to the external id that AssumeRole must bring.
    pub external_ids: BTreeMap<String, String>,
    /// How long credentials of STS live, whatever was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_seconds: Option<f64>,
    /// A new execution is absent from lists for so long.
    pub list_lag_seconds: f64,
    /// Lists of executions show each status as it was so long ago.
    pub list_stale_seconds: f64,
    /// A new execution is not found by its ARN for so long.
    pub not_found_seconds: f64,
    /// Concurrent executions per account and region.
    pub quota: usize,
    pub token_semantics: TokenSemantics,
    /// Duration of a step that has none of its own.
    pub step_seconds: f64,
    /// How long a job takes to stop, and an execution at least.
    pub stop_seconds: f64,
    pub steps: BTreeMap<String, StepScript>,
    /// Contents of JSON files in S3, by URI: what `Std:JsonGet` reads where it names one.
    pub objects: BTreeMap<String, Value>,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            latency_ms: 0,
            throttle: PerOperation::new(),
            rate: Rates::new(),
            server_error: PerOperation::new(),
            hang: PerOperation::new(),
            lose_reply: PerOperation::new(),
            deny: PerOperation::new(),
            deny_versions: BTreeMap::new(),
            slow: PerOperation::new(),
            slow_ms: 30_000,
            conflict: PerOperation::new(),
            errors: BTreeMap::new(),
            deny_web_identity: None,
            external_ids: BTreeMap::new(),
            session_seconds: None,
            list_lag_seconds: 0.0,
            list_stale_seconds: 0.0,
            not_found_seconds: 0.0,
            // SageMaker's default quota.
            quota: 20,
            token_semantics: TokenSemantics::SameArn,
            step_seconds: 1.0,
            stop_seconds: 1.0,
            steps: BTreeMap::new(),
            objects: BTreeMap::new(),
        }
    }
}

/// Whether the fault strikes this call. The operation's own entry goes before `*`.
pub fn strikes(faults: &mut PerOperation, operation: &str) -> bool {
    faults.get_mut(operation).is_some_and(Times::take) || faults.get_mut("*").is_some_and(Times::take)
}

impl Faults {
    /// These faults with a JSON merge patch (RFC 7396) applied: objects are merged, `null` restores the default.
    pub fn merged(&self, patch: &Value) -> Result<Self, String> {
        if !patch.is_object() {
            return Err("the body must be a JSON object of faults, e.g. {\"throttle\": {\"*\": 3}}".to_owned());
        }
        let mut document = serde_json::to_value(self).map_err(|e| e.to_string())?;
        merge(&mut document, patch);
        let mut merged: Self = serde_json::from_value(document).map_err(|e| e.to_string())?;
        merged.check()?;
        merged.forget_spent();
        Ok(merged)
    }

    /// A sentence when a value cannot be meant.
    pub fn check(&self) -> Result<(), String> {
        let maps = [
            ("throttle", &self.throttle),
            ("server_error", &self.server_error),
            ("hang", &self.hang),
            ("lose_reply", &self.lose_reply),
            ("deny", &self.deny),
            ("conflict", &self.conflict),
            ("slow", &self.slow),
        ];
        for (field, map) in maps {
            known_operations(field, map.keys())?;
        }
        known_operations("rate", self.rate.keys())?;
        if let Some((name, n)) = self.rate.iter().find(|(_, n)| !(0.0..=1_000_000.0).contains(*n)) {
            return Err(format!("rate.{name}: {n} is not a number of calls a second from 0 to 1000000"));
        }
        known_operations("errors", self.errors.keys())?;
        for (name, error) in &self.errors {
            if !(400..600).contains(&error.status) {
                return Err(format!("errors.{name}.status: {} is not between 400 and 599", error.status));
            }
        }
        if let Some(version) = self.deny_versions.keys().find(|version| version.parse::<u64>().is_err()) {
            return Err(format!("deny_versions: {version:?} is not the number of a pipeline version"));
        }
        let mut seconds = vec![
            ("list_lag_seconds".to_owned(), self.list_lag_seconds),
            ("list_stale_seconds".to_owned(), self.list_stale_seconds),
            ("not_found_seconds".to_owned(), self.not_found_seconds),
            ("step_seconds".to_owned(), self.step_seconds),
            ("stop_seconds".to_owned(), self.stop_seconds),
        ];
        if let TokenSemantics::ForgottenAfterSeconds(n) = self.token_semantics {
            seconds.push(("token_semantics.forgotten_after_seconds".to_owned(), n));
        }
        seconds.extend(self.session_seconds.map(|n| ("session_seconds".to_owned(), n)));
        seconds.extend(
            self.steps
                .iter()
                .filter_map(|(step, script)| script.seconds.map(|seconds| (format!("steps.{step}.seconds"), seconds))),
        );
        // A year: longer than any execution may run, short enough for every sum.
        match seconds.iter().find(|(_, n)| !(0.0..=31_536_000.0).contains(n)) {
            Some((field, n)) => Err(format!("{field}: {n} is not a number of seconds from 0 to 31536000")),
            None => Ok(()),
        }
    }

    /// The script of a step, by its own key in the pipeline or by the step's name.
    pub fn script(&mut self, pipeline: &str, step: &str) -> Option<&mut StepScript> {
        let own = format!("{pipeline}/{step}");
        if self.steps.contains_key(&own) { self.steps.get_mut(&own) } else { self.steps.get_mut(step) }
    }

    fn forget_spent(&mut self) {
        for map in [
            &mut self.throttle,
            &mut self.server_error,
            &mut self.hang,
            &mut self.lose_reply,
            &mut self.deny,
            &mut self.conflict,
            &mut self.slow,
            &mut self.deny_versions,
        ] {
            map.retain(|_, times| !times.never());
        }
        self.rate.retain(|_, calls| *calls > 0.0);
        self.errors.retain(|_, error| !error.times.never());
    }
}

fn known_operations<'a>(field: &str, names: impl Iterator<Item = &'a String>) -> Result<(), String> {
    for name in names {
        if name != "*" && operation(name).is_none() {
            let nearest = OPERATIONS
                .into_iter()
                .max_by(|a, b| strsim::jaro_winkler(name, a).total_cmp(&strsim::jaro_winkler(name, b)))
                .unwrap_or("*");
            return Err(format!("{field}: unknown operation {name:?}; did you mean {nearest:?}, or \"*\" for all?"));
        }
    }
    Ok(())
}

fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    if let Value::Object(fields) = target {
        for (name, change) in changes {
            if change.is_null() {
                fields.shift_remove(name);
            } else {
                merge(fields.entry(name.clone()).or_insert(Value::Null), change);
            }
        }
    }
}
