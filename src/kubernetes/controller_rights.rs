//! Whether Argo's own controller may write the status of task sets, which Argo's manifests forget to allow
//! (argoproj/argo-workflows#13341). Users meet that as a workflow that hangs, and nothing but the controller's log says why.
//!
//! Asked by a LocalSubjectAccessReview: it judges an account in one namespace, and the right to make it can be given by a Role in
//! that namespace, where a SubjectAccessReview needs a ClusterRole.

use kube::{api::PostParams, core::Request};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Kubernetes, REQUEST_TIMEOUT, sentence};

/// What there is to know about the controller's right.
#[derive(Debug)]
enum ControllerRight {
    Given,
    Lacking,
    /// It could not be found out, and why: usually because the plugin may not ask.
    Unknown(String),
}

/// The part of a review's answer that matters.
#[derive(Debug, Deserialize)]
struct Review {
    status: Status,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    allowed: bool,
    /// Not all of the cluster's authorizers could be asked; a refusal is then none.
    #[serde(default)]
    evaluation_error: String,
}

impl Kubernetes {
    /// Asks once whether the controller with this service account may write task sets of the plugin's namespace, and warns when
    /// it may not. What cannot be found out is no reason to alarm anybody.
    pub async fn check_controller(&self, account_namespace: &str, account_name: &str) {
        let namespace = self.0.client.default_namespace();
        let account = format!("system:serviceaccount:{account_namespace}:{account_name}");
        match self.controller_right(namespace, account_namespace, &account).await {
            ControllerRight::Given => tracing::debug!(account, namespace, "Argo's controller may write task sets"),
            ControllerRight::Lacking => tracing::warn!(
                account,
                namespace,
                command = command(account_namespace, account_name),
                "Argo's controller may not patch workflowtasksets/status: ended tasks stay in the task set, a retryStrategy \
                 with backoff hangs, `argo retry` fails from old results; allow it by this command, or by \
                 assets/argo-controller-rights.yaml; --argo-controller-account names another account"
            ),
            ControllerRight::Unknown(error) => {
                tracing::debug!(
                    account,
                    namespace,
                    error,
                    "whether Argo's controller may write task sets is not known"
                );
            }
        }
    }

    async fn controller_right(&self, namespace: &str, account_namespace: &str, account: &str) -> ControllerRight {
        let path = format!("/apis/authorization.k8s.io/v1/namespaces/{namespace}/localsubjectaccessreviews");
        let body = review(namespace, account_namespace, account).to_string().into_bytes();
        let Ok(request) = Request::new(path).create(&PostParams::default(), body) else {
            return ControllerRight::Unknown("the request cannot be built".to_owned());
        };
        match tokio::time::timeout(REQUEST_TIMEOUT, self.0.client.request_text(request)).await {
            Err(_) => ControllerRight::Unknown(format!("no answer within {REQUEST_TIMEOUT:?}")),
            Ok(Err(kube::Error::Api(status))) => ControllerRight::Unknown(status.message.clone()),
            Ok(Err(error)) => ControllerRight::Unknown(sentence(&error)),
            Ok(Ok(text)) => match serde_json::from_str::<Review>(&text) {
                Ok(Review { status: Status { allowed: true, .. } }) => ControllerRight::Given,
                Ok(Review { status }) if status.evaluation_error.is_empty() => ControllerRight::Lacking,
                Ok(Review { status }) => ControllerRight::Unknown(status.evaluation_error),
                Err(error) => ControllerRight::Unknown(format!("the answer is no review: {error}")),
            },
        }
    }
}

/// The question. A service account is also a member of these three groups, and rights may be bound to them; whoever asks for
/// another has to name them (kubernetes, staging/src/k8s.io/apiserver/pkg/authentication/serviceaccount/util.go).
fn review(namespace: &str, account_namespace: &str, account: &str) -> Value {
    json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "LocalSubjectAccessReview",
        "metadata": {"namespace": namespace},
        "spec": {
            "user": account,
            "groups": [
                "system:serviceaccounts",
                format!("system:serviceaccounts:{account_namespace}"),
                "system:authenticated",
            ],
            "resourceAttributes": {
                "namespace": namespace,
                "verb": "patch",
                "group": "argoproj.io",
                "version": "v1alpha1",
                "resource": "workflowtasksets",
                "subresource": "status",
            },
        },
    })
}

/// What an administrator has to run; the same as `assets/argo-controller-rights.yaml` for this account.
fn command(account_namespace: &str, account_name: &str) -> String {
    const NAME: &str = "argo-controller-task-set-status";
    format!(
        "kubectl create clusterrole {NAME} --verb=patch --resource=workflowtasksets.argoproj.io/status && \
         kubectl create clusterrolebinding {NAME} --clusterrole={NAME} --serviceaccount={account_namespace}:{account_name}"
    )
}
