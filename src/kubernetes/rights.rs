//! What an account may do, asked by a LocalSubjectAccessReview: it judges an account in one namespace, and the right to make it
//! can be given by a Role in that namespace, where a SubjectAccessReview needs a ClusterRole.

use kube::{api::PostParams, core::Request};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Kubernetes, REQUEST_TIMEOUT, is_name, sentence};

/// What is to be done, and on what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deed {
    pub verb: &'static str,
    /// Of Argo's API group.
    pub resource: &'static str,
    /// Empty: the object itself.
    pub subresource: &'static str,
}

/// What there is to know about a right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Right {
    Given,
    Lacking,
    /// It could not be found out, and why: usually because the asker may not ask.
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
    /// Whether a service account may do something in a namespace.
    pub async fn may(&self, namespace: &str, account_namespace: &str, account_name: &str, deed: Deed) -> Right {
        if !is_name(namespace) {
            return Right::Unknown(format!("{namespace:?} is not the name of a namespace"));
        }
        let path = format!("/apis/authorization.k8s.io/v1/namespaces/{namespace}/localsubjectaccessreviews");
        let body = review(namespace, account_namespace, account_name, deed).to_string().into_bytes();
        let Ok(request) = Request::new(path).create(&PostParams::default(), body) else {
            return Right::Unknown("the request cannot be built".to_owned());
        };
        match tokio::time::timeout(REQUEST_TIMEOUT, self.0.client.request_text(request)).await {
            Err(_) => Right::Unknown(format!("no answer within {REQUEST_TIMEOUT:?}")),
            Ok(Err(kube::Error::Api(status))) => Right::Unknown(status.message.clone()),
            Ok(Err(error)) => Right::Unknown(sentence(&error)),
            Ok(Ok(text)) => match serde_json::from_str::<Review>(&text) {
                Ok(Review { status: Status { allowed: true, .. } }) => Right::Given,
                Ok(Review { status }) if status.evaluation_error.is_empty() => Right::Lacking,
                Ok(Review { status }) => Right::Unknown(status.evaluation_error),
                Err(error) => Right::Unknown(format!("the answer is no review: {error}")),
            },
        }
    }
}

/// The question. A service account is also a member of these three groups, and rights may be bound to them; whoever asks for
/// another has to name them (kubernetes, staging/src/k8s.io/apiserver/pkg/authentication/serviceaccount/util.go).
fn review(namespace: &str, account_namespace: &str, account_name: &str, deed: Deed) -> Value {
    let mut asked = json!({
        "namespace": namespace,
        "verb": deed.verb,
        "group": "argoproj.io",
        "version": "v1alpha1",
        "resource": deed.resource,
    });
    if !deed.subresource.is_empty() {
        asked["subresource"] = deed.subresource.into();
    }
    json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "LocalSubjectAccessReview",
        "metadata": {"namespace": namespace},
        "spec": {
            "user": format!("system:serviceaccount:{account_namespace}:{account_name}"),
            "groups": [
                "system:serviceaccounts",
                format!("system:serviceaccounts:{account_namespace}"),
                "system:authenticated",
            ],
            "resourceAttributes": asked,
        },
    })
}
