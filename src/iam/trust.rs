//! Trust policies: who may use a role.

use serde_json::{Map, Value, json};

use super::{
    LANGUAGE,
    names::{Issuer, RoleArn, Subject},
};

/// The audience of the tokens that EKS mounts.
pub const AUDIENCE: &str = "sts.amazonaws.com";

/// Who may use a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Pods of a service account, by IRSA.
    WebIdentity {
        partition: &'static str,
        /// The role's account, which must have the identity provider as well.
        account: String,
        issuer: Issuer,
        subject: Subject,
        audience: String,
    },
    /// Pods of a service account, by EKS Pod Identity. The conditions need the association's session tags, which it has
    /// unless they were disabled; without a subject any association in the account may use the role.
    PodIdentity { subject: Option<Subject> },
    /// Whoever is another role: the second hop into another account.
    Role { role: RoleArn, external_id: Option<String> },
}

impl Trust {
    /// The policy.
    pub fn policy(&self) -> Value {
        json!({"Version": LANGUAGE, "Statement": [self.statement()]})
    }

    fn statement(&self) -> Value {
        match self {
            Self::WebIdentity { partition, account, issuer, subject, audience } => json!({
                "Effect": "Allow",
                "Principal": {"Federated": issuer.provider(partition, account)},
                "Action": "sts:AssumeRoleWithWebIdentity",
                "Condition": web_identity(issuer, subject, audience),
            }),
            Self::PodIdentity { subject } => {
                let mut statement = json!({
                    "Effect": "Allow",
                    "Principal": {"Service": "pods.eks.amazonaws.com"},
                    "Action": ["sts:AssumeRole", "sts:TagSession"],
                });
                if let Some(subject) = subject {
                    statement["Condition"] = json!({operator(subject): {
                        "aws:RequestTag/kubernetes-namespace": subject.namespace,
                        "aws:RequestTag/kubernetes-service-account": subject.account,
                    }});
                }
                statement
            }
            Self::Role { role, external_id } => {
                let mut statement =
                    json!({"Effect": "Allow", "Principal": {"AWS": role.arn}, "Action": "sts:AssumeRole"});
                if let Some(id) = external_id {
                    statement["Condition"] = json!({"StringEquals": {"sts:ExternalId": id}});
                }
                statement
            }
        }
    }
}

/// Both conditions: without `sub` every pod of the cluster has the role, without `aud` a token that was made for another
/// service opens it.
fn web_identity(issuer: &Issuer, subject: &Subject, audience: &str) -> Value {
    let mut conditions = Map::new();
    let (aud, sub) = (format!("{issuer}:aud"), format!("{issuer}:sub"));
    if subject.is_pattern() {
        conditions.insert("StringEquals".to_owned(), json!({aud: audience}));
        conditions.insert("StringLike".to_owned(), json!({sub: subject.claim()}));
    } else {
        conditions.insert("StringEquals".to_owned(), json!({aud: audience, sub: subject.claim()}));
    }
    Value::Object(conditions)
}

fn operator(subject: &Subject) -> &'static str {
    if subject.is_pattern() { "StringLike" } else { "StringEquals" }
}
