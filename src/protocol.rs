//! Argo's wire types: the only place that knows the JSON of `template.execute`.
//!
//! Source: argo-workflows v4.1.2, pkg/plugins/executor/template_executor_plugin.go; unchanged since v3.4.7.

use std::{fmt, time::Duration};

use bytes::Bytes;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error, IgnoredAny, MapAccess, Visitor},
};
use serde_json::value::RawValue;

/// The key of `template.plugin` that is ours.
pub const PLUGIN_KEY: &str = "awf-aws-plugin";

/// The body of a `template.execute` request. Unknown fields are ignored: Argo adds some with every version.
#[derive(Clone, Debug, Deserialize)]
pub struct ExecuteTemplateArgs<'a> {
    pub workflow: Workflow,
    #[serde(borrow)]
    pub template: Template<'a>,
}

/// What is needed of the template after substitution, as JSON text: two nodes are told apart by it. All the rest, and
/// above all what belongs to other plugins, is skipped as it is read. `null` is the same as absent.
#[derive(Clone, Debug, Default)]
pub struct Template<'a> {
    pub name: Option<&'a RawValue>,
    pub inputs: Option<&'a RawValue>,
    pub retry_strategy: Option<&'a RawValue>,
    pub timeout: Option<&'a RawValue>,
    pub active_deadline_seconds: Option<&'a RawValue>,
    pub outputs: Option<&'a RawValue>,
    /// The value of [`PLUGIN_KEY`] in `plugin`. `None`: the template is another plugin's.
    pub input: Option<&'a RawValue>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Template<'a> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct Fields;

        impl<'de> Visitor<'de> for Fields {
            type Value = Template<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a template")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Template<'de>, A::Error> {
                let mut template = Template::default();
                while let Some(name) = map.next_key::<String>()? {
                    let place = match name.as_str() {
                        "name" => &mut template.name,
                        "inputs" => &mut template.inputs,
                        "retryStrategy" => &mut template.retry_strategy,
                        "timeout" => &mut template.timeout,
                        "activeDeadlineSeconds" => &mut template.active_deadline_seconds,
                        "outputs" => &mut template.outputs,
                        "plugin" => {
                            template.input = own_input(map.next_value()?).map_err(A::Error::custom)?;
                            continue;
                        }
                        _ => {
                            map.next_value::<IgnoredAny>()?;
                            continue;
                        }
                    };
                    *place = map.next_value()?;
                }
                Ok(template)
            }
        }

        json.deserialize_map(Fields)
    }
}

/// Our key's value in a template's `plugin`; all others are skipped. Whatever is no map is another's.
fn own_input(plugin: &RawValue) -> Result<Option<&RawValue>, serde_json::Error> {
    #[derive(Deserialize)]
    struct Ours<'a> {
        #[serde(borrow, rename = "awf-aws-plugin", default, deserialize_with = "even_null")]
        input: Option<&'a RawValue>,
    }

    /// `null` is no input, but it is ours to refuse.
    fn even_null<'de, D: Deserializer<'de>>(json: D) -> Result<Option<&'de RawValue>, D::Error> {
        Deserialize::deserialize(json).map(Some)
    }

    if !plugin.get().starts_with('{') {
        return Ok(None);
    }
    serde_json::from_str::<Ours<'_>>(plugin.get()).map(|ours| ours.input)
}

/// The only part of the Workflow that the agent sends.
#[derive(Clone, Debug, Deserialize)]
pub struct Workflow {
    pub metadata: Metadata,
}

/// Metadata of the Workflow; `uid` is absent before Argo v3.4.2.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Metadata {
    #[serde(default)]
    pub name: String,
    #[serde(default)]
    pub namespace: String,
    #[serde(default)]
    pub uid: String,
}

/// The answer. `node: None` is "not mine"; a poll without news is `Some(NodeResult::default())`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ExecuteTemplateReply {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeResult>,
    /// A Go duration; present exactly with non-terminal answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requeue: Option<String>,
}

impl ExecuteTemplateReply {
    /// `{}`: another plugin's template. Anything else would break that plugin's task.
    pub fn not_mine() -> Self {
        Self::default()
    }

    /// The free poll: Argo asks again and writes nothing down.
    pub fn free_poll(requeue: Duration) -> Self {
        Self { node: Some(NodeResult::default()), requeue: Some(go_duration(requeue)) }
    }

    /// A final answer.
    pub fn end(phase: Phase, message: impl Into<String>, outputs: Option<Outputs>) -> Self {
        Self { node: Some(NodeResult { phase: Some(phase), message: message.into(), outputs }), requeue: None }
    }
}

/// What a workflow's machine answers.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// To one request.
    Once(ExecuteTemplateReply),
    /// A node's end: the same to all who ask.
    End(ReplyText),
}

impl Reply {
    /// What Argo reads of it.
    pub fn read(&self) -> ExecuteTemplateReply {
        match self {
            Self::Once(reply) => reply.clone(),
            Self::End(text) => text.read(),
        }
    }

    /// The text that goes out. `paper` is the asker's own and empty: whoever frees a text has to have made it, for
    /// allocators keep the memory of each thread apart, and two threads at one of them wait for each other.
    pub fn written_on(self, paper: Vec<u8>) -> ReplyText {
        match self {
            Self::Once(reply) => ReplyText::once(&reply, paper),
            Self::End(text) => text,
        }
    }
}

/// An answer as it goes out, and the phase that it tells.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplyText {
    phase: Option<Phase>,
    json: Json,
}

#[derive(Clone, Debug, PartialEq)]
enum Json {
    Own(Vec<u8>),
    Shared(Bytes),
}

impl ReplyText {
    /// The end of a node. It is kept for as long as the workflow is served: as a text it takes half the room of its parts.
    pub fn end(phase: Phase, message: impl Into<String>, outputs: Option<Outputs>) -> Self {
        let json = written(&ExecuteTemplateReply::end(phase, message, outputs), Self::paper());
        Self { phase: Some(phase), json: Json::Shared(json.into_boxed_slice().into()) }
    }

    /// Room for what most answers take.
    pub fn paper() -> Vec<u8> {
        Vec::with_capacity(768)
    }

    fn once(reply: &ExecuteTemplateReply, paper: Vec<u8>) -> Self {
        Self { phase: reply.node.as_ref().and_then(|node| node.phase), json: Json::Own(written(reply, paper)) }
    }

    /// The phase that it tells.
    pub fn phase(&self) -> Option<Phase> {
        self.phase
    }

    /// What Argo reads of it.
    pub fn read(&self) -> ExecuteTemplateReply {
        let json = match &self.json {
            Json::Own(json) => json,
            Json::Shared(json) => &json[..],
        };
        serde_json::from_slice(json).expect("what was written as JSON can be read")
    }

    /// The body of the response.
    pub fn into_json(self) -> Bytes {
        match self.json {
            Json::Own(json) => json.into(),
            Json::Shared(json) => json,
        }
    }
}

impl From<ExecuteTemplateReply> for ReplyText {
    fn from(reply: ExecuteTemplateReply) -> Self {
        Self::once(&reply, Self::paper())
    }
}

fn written(reply: &ExecuteTemplateReply, mut paper: Vec<u8>) -> Vec<u8> {
    serde_json::to_writer(&mut paper, reply).expect("texts and lists of them can be written as JSON");
    paper
}

/// Argo's NodeResult, less `progress`, which the controller drops.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NodeResult {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outputs: Option<Outputs>,
}

/// The node phases we send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Phase {
    Pending,
    Running,
    Succeeded,
    Failed,
    Error,
}

impl Phase {
    /// Whether Argo takes the node as ended.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Error)
    }
}

/// Outputs of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outputs {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parameters: Vec<Parameter>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<Artifact>,
    /// A string that holds valid JSON: Argo parses it for loops (argo-workflows#14439).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
}

/// An output parameter; the value is always a string, anything else Argo turns into `""`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameter {
    pub name: String,
    pub value: String,
}

/// An output artifact: a name, and where it lies. `outputs.artifacts` is a list of these.
///
/// Facts of argo-workflows v4.1.2. The controller copies a plugin's outputs as they are (workflow/controller/taskset.go:153);
/// the shape is that of `Artifact` with `ArtifactLocation` inlined (pkg/apis/workflow/v1alpha1/workflow_types.go:1155, 1174,
/// 1389), names match `^[-a-zA-Z0-9_{}.]+$` (1157). Nobody looks whether there is anything: a file or a directory is fetched
/// when a pod or the UI wants it (workflow/artifacts/s3/s3.go:208-229).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Artifact {
    pub name: String,
    pub s3: S3Artifact,
    #[serde(rename = "artifactGC")]
    pub artifact_gc: ArtifactGc,
}

impl Artifact {
    /// An artifact that Argo never deletes. Without that word a workflow's own `artifactGC` would take it too: what it deletes
    /// are the artifacts in the *status* of all nodes (workflow_types.go:1686-1704), and the artifact's strategy wins (247-258).
    pub fn kept(name: impl Into<String>, s3: S3Artifact) -> Self {
        Self { name: name.into(), s3, artifact_gc: ArtifactGc { strategy: GcStrategy::Never } }
    }
}

/// When Argo deletes an artifact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtifactGc {
    pub strategy: GcStrategy,
}

/// The only one of Argo's strategies that we use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GcStrategy {
    Never,
}

/// A whole place in S3: Argo's `S3Artifact` with its `S3Bucket` inlined.
///
/// Whole it is only with endpoint, bucket *and* key (`S3Artifact.HasLocation`, workflow_types.go:2935). Whatever is less keeps
/// nothing but its key: `Relocate` (1506-1519) replaces all the rest, the bucket too, by the template's `archiveLocation` or
/// the artifact repository (server/artifacts/artifact_server.go:700-723 for the UI; workflow/controller/workflowpod.go:1742-1764
/// and workflow/executor/executor.go:877-880 for pods). A whole location gets nothing from the repository, credentials neither
/// (workflow/artifacts/artifacts.go:48-110): with `useSDKCreds` the reader's own are found as AWS's SDK finds them, else by
/// MinIO's (workflow/artifacts/s3/s3.go:463-482).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct S3Artifact {
    pub key: String,
    /// A host name, without scheme.
    pub endpoint: String,
    pub bucket: String,
    pub region: String,
    #[serde(rename = "useSDKCreds")]
    pub use_sdk_creds: bool,
}

impl S3Artifact {
    /// A key in any bucket of a region, found with the credentials of whoever reads it. `None` in a region whose endpoint of
    /// S3 is not known.
    pub fn at(bucket: impl Into<String>, key: impl Into<String>, region: &str) -> Option<Self> {
        // The isolated partitions have domains of their own.
        let domain = match region.split('-').next()? {
            "cn" => "amazonaws.com.cn",
            "eusc" => "amazonaws.eu",
            _ if region.contains("-iso") => return None,
            _ => "amazonaws.com",
        };
        Some(Self {
            key: key.into(),
            endpoint: format!("s3.{region}.{domain}"),
            bucket: bucket.into(),
            region: region.to_owned(),
            use_sdk_creds: true,
        })
    }
}

/// Writes a duration as Go reads it (`time.ParseDuration`): whole milliseconds, seconds where it is even.
///
/// Rounds up: a requeue of zero would be none, and the node would hang.
pub fn go_duration(d: Duration) -> String {
    let ms = d.as_nanos().div_ceil(1_000_000);
    if ms.is_multiple_of(1000) { format!("{}s", ms / 1000) } else { format!("{ms}ms") }
}

/// Reads a Go duration (`300ms`, `1.5h`, `2h45m`); no days, as in Go. `None` when it is not one, is negative, or is
/// longer than Go's 64 bits of nanoseconds (292 years).
pub fn parse_go_duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    if rest.is_empty() {
        return None;
    }
    let mut nanos = 0_u64;
    while !rest.is_empty() {
        let is_number = |c: char| c.is_ascii_digit() || c == '.';
        let (number, tail) = rest.split_at(rest.find(|c| !is_number(c)).unwrap_or(rest.len()));
        let (unit, tail) = tail.split_at(tail.find(is_number).unwrap_or(tail.len()));
        let scale = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        nanos = nanos.checked_add(scaled(number, scale)?)?;
        rest = tail;
    }
    i64::try_from(nanos).ok().map(|_| Duration::from_nanos(nanos))
}

/// A decimal number times `scale`, cut to a whole one as Go does; `1.` and `.5` are numbers, `.` is not.
fn scaled(number: &str, scale: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let whole = if whole.is_empty() { 0 } else { whole.parse::<u64>().ok()?.checked_mul(scale)? };
    // Digits behind the 18th are less than a nanosecond even of an hour.
    let mut below_one = 0_u128;
    let mut divisor = 1_u128;
    for digit in fraction.chars().take(18).filter_map(|c| c.to_digit(10)) {
        below_one = below_one * 10 + u128::from(digit);
        divisor *= 10;
    }
    whole.checked_add(u64::try_from(below_one * u128::from(scale) / divisor).ok()?)
}
