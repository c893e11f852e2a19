//! The question to Kubernetes: what has become of a workflow? One other is asked once:
//! [`Kubernetes::check_controller`].
//!
//! | what is read | what it tells |
//! |---|---|
//! | the Workflow | its end (absent, another uid, being deleted, labelled completed, `spec.shutdown`), its start, its deadline |
//! | the metadata of its WorkflowTaskSet | its end, a moment earlier: Argo labels it before it writes the Workflow |
//!
//! Both are read from the API server's cache (`resourceVersion=0`), which costs etcd nothing. A cache may lag: right
//! after `argo retry` it still shows the run that ended. So an end is only believed once the store itself has said it.

use std::{
    collections::HashMap,
    path::Path,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::future::join;
use kube::{
    Client, Config,
    api::GetParams,
    client::Body,
    config::{InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError},
    core::Request,
};
use serde::Deserialize;
use time::{OffsetDateTime, format_description::well_known::Rfc2822};

use crate::{
    input::WorkflowId, observer::WorkflowObserver, pipelines::Time, text::parse_rfc3339, workflow::WorkflowState,
};

pub mod controller_rights;
pub mod looking;
pub mod rights;

/// How long one request may take, connecting included. The last question of a drain comes 12 s after the signal and
/// takes two requests, one after the other, at the most: both fit the usual grace.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Argo's label of a Workflow and of its WorkflowTaskSet (argo-workflows, workflow/common/common.go).
const COMPLETED: &str = "workflows.argoproj.io/completed";

/// Why Kubernetes cannot be asked at all.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The usual case: Argo mounts no service account unless the plugin's manifest says so.
    #[error("no service account is mounted: {0}")]
    NoServiceAccount(#[from] InClusterError),
    #[error("the kubeconfig cannot be used: {0}")]
    Kubeconfig(#[from] KubeconfigError),
    #[error("no client can be built: {0}")]
    Client(Box<kube::Error>),
}

/// A connection to the API server, by the pod's service account or a kubeconfig.
#[derive(Clone)]
pub struct Kubernetes(Arc<Inner>);

struct Inner {
    client: Client,
    /// Said once per process: that there is no right to ask.
    denied: AtomicBool,
    /// Said once per outage.
    failing: AtomicBool,
}

impl Kubernetes {
    /// Reads the files; sends nothing yet. Never looks for `~/.kube/config`: whoever runs the plugin on a workstation
    /// must not have his executions judged by a cluster that has never heard of them.
    pub async fn connect(kubeconfig: Option<&Path>) -> Result<Self, ConnectError> {
        let mut config = match kubeconfig {
            None => Config::incluster()?,
            Some(file) => {
                Config::from_custom_kubeconfig(Kubeconfig::read_from(file)?, &KubeConfigOptions::default()).await?
            }
        };
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        // Who asks repeats the question anyway.
        config.default_retry = false;
        let client = Client::try_from(config).map_err(|error| ConnectError::Client(Box::new(error)))?;
        Ok(Self(Arc::new(Inner { client, denied: AtomicBool::new(false), failing: AtomicBool::new(false) })))
    }
}

impl WorkflowObserver for Kubernetes {
    fn observe(&self, workflow: WorkflowId) -> Pin<Box<dyn Future<Output = WorkflowState> + Send>> {
        let inner = self.0.clone();
        Box::pin(async move { inner.observe(&workflow).await })
    }
}

impl Inner {
    async fn observe(&self, workflow: &WorkflowId) -> WorkflowState {
        let state = self.look(workflow, &GetParams::any()).await;
        if matches!(state, WorkflowState::Over | WorkflowState::Gone) {
            return self.look(workflow, &GetParams::default()).await;
        }
        state
    }

    async fn look(&self, workflow: &WorkflowId, version: &GetParams) -> WorkflowState {
        let ((whole, server_time), (tasks, _)) = join(
            self.read(workflow, "workflows", false, version),
            // It can be a megabyte; its metadata is enough.
            self.read(workflow, "workflowtasksets", true, version),
        )
        .await;
        let state = match judge(&workflow.uid, &whole, &tasks) {
            WorkflowState::Alive { started_at, deadline, .. } => {
                WorkflowState::Alive { started_at, deadline, server_time }
            }
            state => state,
        };
        self.tell(workflow, state, &whole);
        state
    }

    async fn read(
        &self,
        workflow: &WorkflowId,
        resource: &str,
        metadata: bool,
        version: &GetParams,
    ) -> (Answer, Option<Time>) {
        let WorkflowId { namespace, name, .. } = workflow;
        // They come from outside and become part of a path.
        if !is_name(namespace) || !is_name(name) {
            return (Answer::Failed(format!("{namespace:?}/{name:?} is not the name of a workflow")), None);
        }
        let path = Request::new(format!("/apis/argoproj.io/v1alpha1/namespaces/{namespace}/{resource}"));
        let request = if metadata { path.get_metadata(name, version) } else { path.get(name, version) };
        let Ok(request) = request else { return (Answer::Failed("the request cannot be built".to_owned()), None) };
        // Not one of the client's shorter methods: they drop the headers, and with them the API server's clock.
        let answer = async {
            let response = self.client.send(request.map(Body::from)).await?;
            let dated = response.headers().get("date").and_then(|date| date.to_str().ok()).and_then(time_of_date);
            let status = response.status();
            Ok::<_, kube::Error>((status.as_u16(), dated, response.into_body().collect_bytes().await?))
        };
        match tokio::time::timeout(REQUEST_TIMEOUT, answer).await {
            Err(_) => (Answer::Failed(format!("no answer within {REQUEST_TIMEOUT:?}")), None),
            Ok(Ok((200..300, dated, body))) => (Answer::of_json(&body), dated),
            Ok(Ok((code, dated, body))) => (Answer::of_refusal(code, name, &body), dated),
            Ok(Err(error)) => (Answer::Failed(sentence(&error)), None),
        }
    }

    /// What an operator should know, and not every minute.
    fn tell(&self, workflow: &WorkflowId, state: WorkflowState, whole: &Answer) {
        match (state, whole) {
            (WorkflowState::Forbidden, Answer::Forbidden(text)) => {
                if !self.denied.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        workflow.name = workflow.name,
                        workflow.namespace = workflow.namespace,
                        error = text,
                        "not allowed to ask Kubernetes whether the workflow is over: executions of stopped workflows \
                         are not stopped; allow `get` on workflows.argoproj.io (assets/plugin/with-kubernetes)"
                    );
                }
            }
            (WorkflowState::Unknown, Answer::Failed(text)) => {
                if !self.failing.swap(true, Ordering::Relaxed) {
                    tracing::warn!(workflow.name = workflow.name, error = text, "Kubernetes cannot be asked");
                }
            }
            _ => {
                if self.failing.swap(false, Ordering::Relaxed) {
                    tracing::info!(workflow.name = workflow.name, "Kubernetes answers again");
                }
            }
        }
    }
}

/// The error with its causes: the outermost only says that there is one.
fn sentence(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    text
}

/// Whether a text can be a name in Kubernetes (RFC 1123), and hence nothing else in a path.
fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.len() <= 253 && text.chars().all(plain)
}

/// What one request let us know.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    Here(Box<Object>),
    /// There is no such object; said by somebody who knows its kind.
    NotThere,
    /// No right to read it.
    Forbidden(String),
    Failed(String),
}

impl Answer {
    /// Reads a Workflow, or a WorkflowTaskSet's metadata.
    pub fn of_json(text: &[u8]) -> Self {
        match serde_json::from_slice(text) {
            Ok(object) => Self::Here(object),
            Err(error) => Self::Failed(format!("the answer is not what Argo writes: {error}")),
        }
    }

    /// Reads an answer that is none. A 404 that does not name the object that was asked for comes from a cluster without
    /// Argo, or from something in between, and says nothing about the workflow.
    pub fn of_refusal(code: u16, name: &str, body: &[u8]) -> Self {
        let status: kube::core::Status = serde_json::from_slice(body).unwrap_or_default();
        let names_it = status.details.as_ref().is_some_and(|details| details.name == name);
        match code {
            401 | 403 => Self::Forbidden(status.message),
            404 if names_it => Self::NotThere,
            _ => Self::Failed(format!("status {code}: {}", status.message)),
        }
    }
}

/// The part of a Workflow or WorkflowTaskSet that matters; the rest is skipped while parsing.
#[derive(Clone, Debug, Deserialize, PartialEq)]
pub struct Object {
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", default)]
struct Metadata {
    uid: String,
    deletion_timestamp: Option<String>,
    labels: Option<HashMap<String, String>>,
    owner_references: Vec<Owner>,
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
struct Owner {
    uid: String,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    /// `Stop` or `Terminate`.
    shutdown: Option<String>,
    active_deadline_seconds: Option<u64>,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    started_at: Option<String>,
}

impl Object {
    /// Whether it is over for good, whoever's it is.
    fn has_ended(&self) -> bool {
        let completed = self.metadata.labels.as_ref().and_then(|labels| labels.get(COMPLETED));
        self.metadata.deletion_timestamp.is_some() || completed.is_some_and(|value| value == "true")
    }

    /// As a Workflow.
    fn state(&self) -> WorkflowState {
        match self.spec.shutdown.as_deref() {
            None | Some("") => {}
            // Exit handlers run after a stop, not after a termination.
            Some("Terminate") => return WorkflowState::Gone,
            Some(_) => return WorkflowState::Over,
        }
        let started_at = self.status.started_at.as_deref().and_then(parse_rfc3339);
        let seconds = self.spec.active_deadline_seconds.map(Duration::from_secs);
        let deadline = started_at.zip(seconds).map(|(start, limit)| start.plus(limit));
        WorkflowState::Alive { started_at, deadline, server_time: None }
    }
}

/// The header `Date` (RFC 9110: always in GMT, whole seconds).
fn time_of_date(text: &str) -> Option<Time> {
    let at = OffsetDateTime::parse(text, &Rfc2822).ok()?;
    Some(Time::at(at.unix_timestamp().saturating_mul(1000)))
}

/// What both answers say of the workflow with this uid (empty: Argo before 3.4.2 does not tell it). Where only one of
/// the two may be read, that one decides.
pub fn judge(uid: &str, workflow: &Answer, task_set: &Answer) -> WorkflowState {
    let other = |found: &str| !uid.is_empty() && found != uid;
    let by_task_set = match task_set {
        Answer::Here(tasks) => {
            // Its owner is the workflow; another's tasks lie under the name of one that is gone.
            let anothers = tasks.metadata.owner_references.first().is_some_and(|owner| other(&owner.uid));
            if anothers || tasks.has_ended() {
                WorkflowState::Gone
            } else {
                WorkflowState::Alive { started_at: None, deadline: None, server_time: None }
            }
        }
        // It lives as long as its workflow does.
        Answer::NotThere => WorkflowState::Gone,
        Answer::Forbidden(_) => WorkflowState::Forbidden,
        Answer::Failed(_) => WorkflowState::Unknown,
    };
    match workflow {
        Answer::NotThere => WorkflowState::Gone,
        Answer::Here(workflow) if other(&workflow.metadata.uid) || workflow.has_ended() => WorkflowState::Gone,
        Answer::Here(workflow) => match workflow.state() {
            // Labelled before the Workflow itself is written.
            WorkflowState::Alive { .. }
                if matches!(task_set, Answer::Here(_)) && by_task_set == WorkflowState::Gone =>
            {
                WorkflowState::Gone
            }
            state => state,
        },
        Answer::Forbidden(_) => by_task_set,
        Answer::Failed(_) => match task_set {
            Answer::Here(_) if by_task_set == WorkflowState::Gone => WorkflowState::Gone,
            _ => WorkflowState::Unknown,
        },
    }
}
