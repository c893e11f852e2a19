//! What a diagnosis looks at: objects as they are. Nothing else of the plugin asks for these.

use kube::{
    api::{GetParams, ListParams},
    core::Request,
};
use serde_json::Value;

use super::{Kubernetes, REQUEST_TIMEOUT, is_name, sentence};

/// What one look let us know.
#[derive(Clone, Debug, PartialEq)]
pub enum Look {
    Here(Box<Value>),
    NotThere,
    /// Whoever looks has no right to, in the API server's words.
    Forbidden(String),
    Failed(String),
}

/// A kind of object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    ConfigMap,
    Deployment,
    /// Its metadata only: what is secret in it never comes here.
    SecretMetadata,
    ServiceAccount,
}

impl Kind {
    fn path(self) -> (&'static str, &'static str) {
        match self {
            Self::ConfigMap => ("/api/v1", "configmaps"),
            Self::Deployment => ("/apis/apps/v1", "deployments"),
            Self::SecretMetadata => ("/api/v1", "secrets"),
            Self::ServiceAccount => ("/api/v1", "serviceaccounts"),
        }
    }
}

impl Kubernetes {
    /// The namespace that the pod is in, or that the kubeconfig names.
    pub fn own_namespace(&self) -> &str {
        self.0.client.default_namespace()
    }

    /// What kinds Argo has in this cluster; whoever has a valid token may ask for that.
    pub async fn argo_kinds(&self) -> Look {
        match Request::new("/apis/argoproj.io").get("v1alpha1", &GetParams::default()) {
            Ok(request) => told(self.0.client.request_text(request)).await,
            Err(_) => unbuildable(),
        }
    }

    /// One object.
    pub async fn object(&self, kind: Kind, namespace: &str, name: &str) -> Look {
        if !is_name(namespace) || !is_name(name) {
            return Look::Failed(format!("{namespace:?}/{name:?} is not the name of an object"));
        }
        let (group, resource) = kind.path();
        let path = Request::new(format!("{group}/namespaces/{namespace}/{resource}"));
        let request = match kind {
            Kind::SecretMetadata => path.get_metadata(name, &GetParams::default()),
            _ => path.get(name, &GetParams::default()),
        };
        match request {
            Ok(request) => told(self.0.client.request_text(request)).await,
            Err(_) => unbuildable(),
        }
    }

    /// All objects of a kind in a namespace.
    pub async fn objects(&self, kind: Kind, namespace: &str) -> Look {
        if !is_name(namespace) {
            return Look::Failed(format!("{namespace:?} is not the name of a namespace"));
        }
        let (group, resource) = kind.path();
        let path = Request::new(format!("{group}/namespaces/{namespace}/{resource}"));
        match path.list(&ListParams::default()) {
            Ok(request) => told(self.0.client.request_text(request)).await,
            Err(_) => unbuildable(),
        }
    }
}

fn unbuildable() -> Look {
    Look::Failed("the request cannot be built".to_owned())
}

async fn told(answer: impl Future<Output = Result<String, kube::Error>>) -> Look {
    match tokio::time::timeout(REQUEST_TIMEOUT, answer).await {
        Err(_) => Look::Failed(format!("no answer within {REQUEST_TIMEOUT:?}")),
        Ok(Err(kube::Error::Api(status))) => match status.code {
            401 | 403 => Look::Forbidden(status.message.clone()),
            404 => Look::NotThere,
            code => Look::Failed(format!("status {code}: {}", status.message)),
        },
        Ok(Err(error)) => Look::Failed(sentence(&error)),
        Ok(Ok(text)) => match serde_json::from_str(&text) {
            Ok(object) => Look::Here(object),
            Err(_) => Look::Failed("the answer is no JSON".to_owned()),
        },
    }
}
