//! What was seen, without a judgement.

use crate::{
    backend::{caller::Caller, token::Claims},
    config::doctor::DoctorConfig,
    iam::permissions::Feature,
    kubernetes::{Kubernetes, looking::Look, rights::Right},
    pipelines::{CallError, Time},
};

/// Everything that the checks judge.
#[derive(Clone, Debug)]
pub struct Facts {
    pub config: DoctorConfig,
    pub now: Time,
    /// The user that the process runs as.
    pub uid: Option<u32>,
    /// `None`: no variable names a file.
    pub web_token: Option<Seen<Token>>,
    pub container_token: Option<Seen<()>>,
    /// `None`: not asked, for want of a region.
    pub caller: Option<Result<Caller, CallError>>,
    /// The same through the tasks' role; `None`: there is none, or the pod itself has no credentials.
    pub assumed: Option<Result<Caller, CallError>>,
    /// The pipeline's status. `None`: not asked.
    pub described: Option<Result<String, CallError>>,
    /// How many executions a page shows.
    pub listed: Option<Result<usize, CallError>>,
    /// What `--with` asked for, in order.
    pub tried: Vec<Tried>,
    pub argo_token: Option<Seen<()>>,
    pub cluster: Cluster,
}

/// An operation that was tried on something that is not there.
#[derive(Clone, Debug)]
pub struct Tried {
    pub feature: Feature,
    /// As AWS writes it.
    pub operation: &'static str,
    /// Whether it may be called.
    pub result: Result<(), CallError>,
}

/// A file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen<T> {
    Missing,
    /// Who may read it: owner, group and mode, where even those can be seen.
    Denied(Option<Owner>),
    Failed(String),
    Empty,
    Read(T),
}

/// Whose a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    pub uid: u32,
    pub gid: u32,
    pub mode: u32,
}

/// What a token file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    Claims(Claims),
    /// Something that is no JSON Web Token.
    Other,
}

/// The way to the cluster.
pub enum Link {
    Off,
    /// Nobody mounted a service account.
    NotMounted(String),
    Failed(String),
    Connected(Kubernetes),
}

/// What the cluster showed.
#[derive(Clone, Debug)]
pub enum Cluster {
    /// And why.
    NotAsked(String),
    Failed(String),
    Asked(Box<Argo>),
}

/// Argo in the cluster.
#[derive(Clone, Debug)]
pub struct Argo {
    pub namespace: String,
    pub kinds: Look,
    pub controller_right: Right,
    /// A list.
    pub deployments: Look,
    pub map_of_controller: Look,
    pub map_of_namespace: Look,
    /// Whether the plugin's own account may read workflows; it has one only where its manifest says so.
    pub plugin_right: Right,
    pub account: Look,
    pub secret: Look,
    /// The agent's rights, in the order of [`super::account::AGENT`].
    pub agent_rights: Vec<Right>,
}
