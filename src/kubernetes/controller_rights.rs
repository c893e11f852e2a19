//! Whether Argo's own controller may write the status of task sets, which Argo's manifests forget to allow
//! (argoproj/argo-workflows#13341). Users meet that as a workflow that hangs, and nothing but the controller's log says why.

use super::{
    Kubernetes,
    rights::{Deed, Right},
};

/// What the controller has to be able to do.
pub const NEEDED: Deed = Deed { verb: "patch", resource: "workflowtasksets", subresource: "status" };

impl Kubernetes {
    /// Asks once whether the controller with this service account may write task sets of the plugin's namespace, and warns when
    /// it may not. What cannot be found out is no reason to alarm anybody.
    pub async fn check_controller(&self, account_namespace: &str, account_name: &str) {
        let namespace = self.own_namespace();
        let account = format!("system:serviceaccount:{account_namespace}:{account_name}");
        match self.may(namespace, account_namespace, account_name, NEEDED).await {
            Right::Given => tracing::debug!(account, namespace, "Argo's controller may write task sets"),
            Right::Lacking => tracing::warn!(
                account,
                namespace,
                command = command(account_namespace, account_name),
                "Argo's controller may not patch workflowtasksets/status: ended tasks stay in the task set, a retryStrategy \
                 with backoff hangs, `argo retry` fails from old results; allow it by this command, or by \
                 assets/argo-controller-rights.yaml; --argo-controller-account names another account"
            ),
            Right::Unknown(error) => {
                tracing::debug!(
                    account,
                    namespace,
                    error,
                    "whether Argo's controller may write task sets is not known"
                );
            }
        }
    }
}

/// What an administrator has to run; the same as `assets/argo-controller-rights.yaml` for this account.
pub fn command(account_namespace: &str, account_name: &str) -> String {
    const NAME: &str = "argo-controller-task-set-status";
    format!(
        "kubectl create clusterrole {NAME} --verb=patch --resource=workflowtasksets.argoproj.io/status && \
         kubectl create clusterrolebinding {NAME} --clusterrole={NAME} --serviceaccount={account_namespace}:{account_name}"
    )
}
