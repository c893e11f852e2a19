//! The workflow's service account with everything beside it that Argo's agent needs: what
//! `assets/workflow-service-account.yaml` has, for other names.

use super::names::{RoleArn, Subject};

/// How the account comes to its AWS role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// By the annotation that EKS's webhook looks for.
    Irsa { role: RoleArn },
    /// By an association in EKS; the account itself has nothing of it.
    PodIdentity { role: RoleArn, cluster: Option<String> },
}

/// A service account of workflows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Without patterns.
    pub subject: Subject,
    pub way: Way,
    /// The service account of Argo's controller, which gets the right that its own manifests forget.
    pub controller: Subject,
}

impl Account {
    /// The manifests, for `kubectl apply`.
    pub fn manifest(&self) -> String {
        let Subject { namespace, account } = &self.subject;
        let head = match &self.way {
            Way::Irsa { .. } => String::new(),
            Way::PodIdentity { .. } => {
                format!(
                    "# EKS Pod Identity: the role comes from an association, not from an annotation. Once:\n#\n#   {}\n",
                    self.command()
                )
            }
        };
        let annotation = match &self.way {
            Way::Irsa { role } => format!("\n  annotations:\n    eks.amazonaws.com/role-arn: {}", role.arn),
            Way::PodIdentity { .. } => String::new(),
        };
        let Subject { namespace: controllers_namespace, account: controller } = &self.controller;
        format!(
            r#"{head}apiVersion: v1
kind: ServiceAccount
metadata:
  name: {account}
  namespace: {namespace}{annotation}
---
# Argo's agent mounts this secret by its name.
apiVersion: v1
kind: Secret
metadata:
  name: {account}.service-account-token
  namespace: {namespace}
  annotations:
    kubernetes.io/service-account.name: {account}
type: kubernetes.io/service-account-token
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: {account}
  namespace: {namespace}
rules:
  - apiGroups: [argoproj.io]
    resources: [workflowtasksets]
    verbs: [list, watch]
  - apiGroups: [argoproj.io]
    resources: [workflowtasksets/status]
    verbs: [patch]
  - apiGroups: [argoproj.io]
    resources: [workflowtaskresults]
    verbs: [create, patch]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: {account}
  namespace: {namespace}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: {account}
subjects:
  - kind: ServiceAccount
    name: {account}
    namespace: {namespace}
  # Argo's controller, whose own manifests forget one of these rights (argoproj/argo-workflows#13341).
  - kind: ServiceAccount
    name: {controller}
    namespace: {controllers_namespace}
"#
        )
    }

    /// What gives an account that exists its role.
    pub fn command(&self) -> String {
        let Subject { namespace, account } = &self.subject;
        match &self.way {
            Way::Irsa { role } => format!(
                "kubectl annotate serviceaccount -n {namespace} {account} --overwrite eks.amazonaws.com/role-arn={}",
                role.arn
            ),
            Way::PodIdentity { role, cluster } => format!(
                "aws eks create-pod-identity-association --cluster-name {} --namespace {namespace} --service-account {account} --role-arn {}",
                cluster.as_deref().unwrap_or("CLUSTER"),
                role.arn
            ),
        }
    }
}
