//! The flags of `doctor`, what they mean, and the variables by which AWS's SDK finds credentials.

use std::{collections::BTreeSet, path::PathBuf};

use clap::Args;

use super::{
    ConfigError, KubernetesConfig, LogArgs, LogConfig, ServiceAccount, given,
    iam::{features, read},
    kubernetes, service_account,
};
use crate::iam::{
    names::{self, RoleArn},
    permissions::Feature,
    trust::AUDIENCE,
};

/// The checks in their order; what `--skip` may name.
pub const CHECKS: [&str; 18] = [
    "variables",
    "token-file",
    "token-claims",
    "region",
    "sts",
    "caller",
    "role-arn",
    "describe-pipeline",
    "list-executions",
    "resume",
    "job-logs",
    "job-results",
    "argo-token",
    "kubernetes",
    "controller-right",
    "executor-plugins",
    "plugin-configmap",
    "service-account",
];

/// The checks of what is wanted by `--with` only; without it they are not made, and not printed.
pub const ON_DEMAND: [(&str, Feature); 3] =
    [("resume", Feature::Resume), ("job-logs", Feature::Logs), ("job-results", Feature::Results)];

/// `doctor`'s flags as they were given; [`DoctorConfig`] is what they mean.
#[derive(Clone, Debug, Args)]
pub struct DoctorArgs {
    /// The region of the pipelines
    #[arg(long, env = "AWS_REGION", value_name = "REGION")]
    pub region: Option<String>,
    /// The account of the pipelines [default: that of the credentials]
    #[arg(long, value_name = "ACCOUNT")]
    pub account_id: Option<String>,
    /// A pipeline to try the permissions on, by name or ARN
    #[arg(long, value_name = "PIPELINE")]
    pub pipeline: Option<String>,
    /// Also check what is needed for: resume, logs, results; several with commas
    #[arg(long, value_delimiter = ',', value_name = "FEATURES", requires = "pipeline")]
    pub with: Vec<String>,
    /// The role that the tasks name in role_arn
    #[arg(long, value_name = "ARN")]
    pub role_arn: Option<String>,
    /// The external id that the tasks name
    #[arg(long, value_name = "ID", requires = "role_arn")]
    pub external_id: Option<String>,
    /// The role that the pod should have [default: the one it was given, or the service account's]
    #[arg(long, value_name = "ARN")]
    pub pod_role: Option<String>,
    /// The role comes from EKS Pod Identity: an association, where IRSA has an annotation
    #[arg(long)]
    pub pod_identity: bool,
    /// The namespace of the workflows [default: the token's, else the pod's]
    #[arg(long, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
    /// The workflows' service account [default: the token's, else awf-aws-workflow]
    #[arg(long, value_name = "NAME")]
    pub service_account: Option<String>,
    /// The audience of the pod's token
    #[arg(long, value_name = "AUDIENCE", default_value = AUDIENCE)]
    pub audience: String,
    /// The file with the token that Argo's agent sends; empty: not looked at, as outside of the agent's pod
    #[arg(long, env = "AWF_AWS_TOKEN_FILE", default_value = "/var/run/argo/token", value_name = "FILE")]
    pub token_file: String,
    /// Whether Kubernetes is asked: auto (when a service account is mounted, or --kubeconfig names a cluster) or off
    #[arg(long, env = "AWF_AWS_KUBERNETES", default_value = "auto", value_name = "auto|off")]
    pub kubernetes: String,
    /// The cluster to ask, instead of the one the pod runs in
    #[arg(long, env = "KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<String>,
    /// The service account of Argo's controller; its namespace is Argo's
    #[arg(long, env = "AWF_AWS_ARGO_CONTROLLER_ACCOUNT", default_value = "argo:argo", value_name = "NAMESPACE:NAME")]
    pub argo_controller_account: String,
    /// A check to leave out, by its name in the output; may be given several times
    #[arg(long, value_delimiter = ',', value_name = "CHECK")]
    pub skip: Vec<String>,
    /// How the checks are printed: text or json
    #[arg(long, default_value = "text", value_name = "FORMAT")]
    pub output: String,
    #[command(flatten)]
    pub log: LogArgs,
}

/// What is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoctorConfig {
    /// As given: a check judges it.
    pub region: Option<String>,
    pub account: Option<String>,
    /// As given.
    pub pipeline: Option<String>,
    pub with: BTreeSet<Feature>,
    pub role: Option<RoleArn>,
    pub external_id: Option<String>,
    pub pod_role: Option<RoleArn>,
    pub pod_identity: bool,
    pub namespace: Option<String>,
    pub service_account: Option<String>,
    pub audience: String,
    /// `None`: not looked at.
    pub token_file: Option<PathBuf>,
    pub kubernetes: KubernetesConfig,
    pub controller: ServiceAccount,
    pub skip: BTreeSet<String>,
    pub json: bool,
    pub log: LogConfig,
    pub variables: Variables,
}

/// The variables by which the SDK finds credentials. Those that hold secrets are only known to be there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variables {
    pub role_arn: Option<String>,
    pub web_identity_token_file: Option<PathBuf>,
    pub container_credentials: bool,
    pub container_token_file: Option<PathBuf>,
    pub access_key: bool,
    pub secret_key: bool,
    /// Whether the process runs in a pod.
    pub in_pod: bool,
}

impl Variables {
    /// Reads the environment.
    pub fn read() -> Self {
        let text = |name: &str| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
        let file = |name: &str| text(name).map(PathBuf::from);
        Self {
            role_arn: text("AWS_ROLE_ARN"),
            web_identity_token_file: file("AWS_WEB_IDENTITY_TOKEN_FILE"),
            container_credentials: text("AWS_CONTAINER_CREDENTIALS_FULL_URI").is_some()
                || text("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI").is_some(),
            container_token_file: file("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"),
            access_key: text("AWS_ACCESS_KEY_ID").is_some(),
            secret_key: text("AWS_SECRET_ACCESS_KEY").is_some(),
            in_pod: text("KUBERNETES_SERVICE_HOST").is_some(),
        }
    }
}

impl DoctorConfig {
    /// Says what the flags mean, or names everything that is wrong with them.
    pub fn from_args(args: DoctorArgs, variables: Variables) -> Result<Self, ConfigError> {
        let mut problems = Vec::new();
        let p = &mut problems;
        let text = |value: &Option<String>| given(value.as_deref()).map(str::to_owned);
        let account = text(&args.account_id).map(|id| read(p, "--account-id", names::account_id(&id)));
        let pipeline = text(&args.pipeline);
        if let Some(name) = &pipeline {
            read(p, "--pipeline", names::pipeline(name).and_then(|own| single("pipeline", own)));
        }
        let with = features(p, &args.with);
        let role = text(&args.role_arn).map(|arn| read(p, "--role-arn", RoleArn::parse(&arn)));
        let external_id = text(&args.external_id).map(|id| read(p, "--external-id", names::external_id(&id)));
        let pod_role = text(&args.pod_role).map(|arn| read(p, "--pod-role", RoleArn::parse(&arn)));
        let namespace = text(&args.namespace)
            .map(|name| read(p, "--namespace", names::namespace(&name).and_then(|own| single("namespace", own))));
        let service_account_name = text(&args.service_account).map(|name| {
            read(p, "--service-account", names::account(&name).and_then(|own| single("service account", own)))
        });
        let audience = read(p, "--audience", names::audience(&args.audience));
        let kubernetes = kubernetes(p, &args.kubernetes, args.kubeconfig.as_deref());
        let flag = "--argo-controller-account (AWF_AWS_ARGO_CONTROLLER_ACCOUNT)";
        let controller = service_account(p, flag, args.argo_controller_account.trim());
        let skip: BTreeSet<String> = args.skip.iter().filter_map(|name| given(Some(name))).map(str::to_owned).collect();
        for name in skip.iter().filter(|name| !CHECKS.contains(&name.as_str())) {
            p.push(format!("--skip: {name:?} is not one of {}", CHECKS.join(", ")));
        }
        let json = match args.output.trim() {
            "text" => false,
            "json" => true,
            other => {
                p.push(format!("--output: {other:?} is not one of text, json"));
                false
            }
        };
        let log = args.log.validate(p);
        let config = || {
            Some(Self {
                region: text(&args.region),
                account: account.flatten(),
                pipeline,
                with,
                role: role.flatten(),
                external_id: external_id.flatten(),
                pod_role: pod_role.flatten(),
                pod_identity: args.pod_identity || variables.container_credentials,
                namespace: namespace.flatten(),
                service_account: service_account_name.flatten(),
                audience: audience?,
                token_file: given(Some(&args.token_file)).map(PathBuf::from),
                kubernetes: kubernetes?,
                controller: controller?,
                skip,
                json,
                log: log?,
                variables,
            })
        };
        if problems.is_empty() { config().ok_or(ConfigError(problems)) } else { Err(ConfigError(problems)) }
    }
}

/// Refuses a pattern where one thing is meant.
pub(super) fn single(what: &str, name: String) -> Result<String, String> {
    if name.contains('*') { Err(format!("{name:?} is a pattern; name one {what}")) } else { Ok(name) }
}
