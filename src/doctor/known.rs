//! The names that go into a fix: the real ones as far as anything tells them, else a word in capitals to be replaced.

use serde_json::Value;

use super::facts::{Cluster, Facts, Seen, Token};
use crate::{
    backend::token::Claims,
    iam::names::{self, Issuer, RoleArn, Subject},
    kubernetes::looking::Look,
};

/// The annotation by which IRSA finds the role.
pub const ROLE_ANNOTATION: &str = "eks.amazonaws.com/role-arn";
/// The service account of what we ship.
const USUAL_ACCOUNT: &str = "awf-aws-workflow";

/// What is known by name.
#[derive(Clone, Debug, Default)]
pub struct Known {
    pub claims: Option<Claims>,
    pub issuer: Option<Issuer>,
    /// The account of the workflow.
    pub namespace: Option<String>,
    pub account: String,
    /// The role that the pod should have.
    pub role: Option<RoleArn>,
    /// Spelled like one, with its partition.
    pub region: Option<(String, &'static str)>,
    /// What the service account's annotation says.
    pub annotation: Option<String>,
}

impl Known {
    /// Picks the names out of the facts. What was asked for goes before what was found.
    pub fn of(facts: &Facts) -> Self {
        let config = &facts.config;
        let claims = match &facts.web_token {
            Some(Seen::Read(Token::Claims(claims))) => Some(claims.clone()),
            _ => None,
        };
        let of_token = claims.as_ref().and_then(|claims| Subject::of_claim(&claims.subject));
        let (argo, mut annotation) = (facts.argo(), None);
        if let Some(Look::Here(account)) = argo.map(|argo| &argo.account) {
            annotation = annotation_of(account, ROLE_ANNOTATION);
        }
        let own = argo.map(|argo| argo.namespace.clone());
        let given = facts.config.variables.role_arn.as_deref().and_then(|arn| RoleArn::parse(arn).ok());
        let annotated = annotation.as_deref().and_then(|arn| RoleArn::parse(arn).ok());
        Self {
            issuer: claims.as_ref().and_then(|claims| Issuer::parse(&claims.issuer).ok()),
            namespace: config.namespace.clone().or(of_token.as_ref().map(|of| of.namespace.clone())).or(own),
            account: config
                .service_account
                .clone()
                .or(of_token.map(|of| of.account))
                .unwrap_or_else(|| USUAL_ACCOUNT.to_owned()),
            role: config.pod_role.clone().or(given).or(annotated),
            region: config.region.as_deref().and_then(|region| names::region(region).ok()),
            annotation,
            claims,
        }
    }

    /// For a command.
    pub fn namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or("NAMESPACE")
    }

    /// The service account, when it is known whose.
    pub fn subject(&self) -> Option<Subject> {
        Some(Subject { namespace: self.namespace.clone()?, account: self.account.clone() })
    }

    /// For a command.
    pub fn role_arn(&self) -> &str {
        self.role.as_ref().map_or("ROLE_ARN", |role| role.arn.as_str())
    }

    /// For a command.
    pub fn role_name(&self) -> &str {
        self.role.as_ref().map_or("ROLE_NAME", |role| role.name.as_str())
    }

    /// What gives the workflow's service account the role.
    pub fn annotate(&self) -> String {
        format!(
            "kubectl annotate serviceaccount -n {} {} --overwrite {ROLE_ANNOTATION}={}",
            self.namespace(),
            self.account,
            self.role_arn()
        )
    }

    /// What makes Argo start a new agent pod: only new pods see what has changed. Running executions are found again.
    pub fn new_pods(&self) -> String {
        format!("kubectl delete pod -n {} -l workflows.argoproj.io/component=agent", self.namespace())
    }
}

impl Facts {
    /// What the cluster showed.
    pub fn argo(&self) -> Option<&super::facts::Argo> {
        match &self.cluster {
            Cluster::Asked(argo) => Some(argo),
            Cluster::NotAsked(_) | Cluster::Failed(_) => None,
        }
    }
}

/// An annotation of an object.
pub fn annotation_of(object: &Value, name: &str) -> Option<String> {
    let annotations = object.get("metadata")?.get("annotations")?;
    annotations.get(name).and_then(Value::as_str).map(|text| text.trim().to_owned())
}
