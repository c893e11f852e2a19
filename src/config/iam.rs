//! The flags of `iam`, and what they mean.

use std::collections::BTreeSet;

use clap::{Args, Subcommand};

use super::{ConfigError, doctor::single, given};
use crate::iam::{
    Document,
    account::{Account, Way},
    names::{self, Issuer, RoleArn, Subject},
    permissions::{Feature, Permissions, Purpose},
    trust::{AUDIENCE, Trust},
};

/// What is to be printed.
#[derive(Clone, Debug, Subcommand)]
pub enum IamCommand {
    /// Print who may use the role: a trust policy
    ///
    /// For IRSA: --account-id, --issuer, --namespace and --service-account. For EKS Pod Identity: --pod-identity. For the
    /// role of another account, which workflows name in role_arn: --trusted-role. Then:
    ///
    /// aws iam create-role --role-name NAME --assume-role-policy-document file://trust.json
    TrustPolicy(Box<TrustArgs>),
    /// Print what the role may do: a permission policy
    ///
    /// Each pipeline is there in both spellings: ARNs of old pipelines have their names in lower case. Then:
    ///
    /// aws iam put-role-policy --role-name NAME --policy-name sagemaker-pipelines --policy-document file://permissions.json
    Permissions(Box<PermissionsArgs>),
    /// Print the workflow's service account with its secret and rights, for `kubectl apply -f -`
    ServiceAccount(Box<AccountArgs>),
}

/// The flags of `iam trust-policy`.
#[derive(Clone, Debug, Args)]
pub struct TrustArgs {
    /// The account of the role, and of the IAM OIDC provider
    #[arg(long, value_name = "ACCOUNT", required_unless_present_any = ["pod_identity", "trusted_role"])]
    pub account_id: Option<String>,
    /// The cluster's OIDC issuer: `aws eks describe-cluster --name CLUSTER --query cluster.identity.oidc.issuer`
    #[arg(long, value_name = "URL", required_unless_present_any = ["pod_identity", "trusted_role"])]
    pub issuer: Option<String>,
    /// The namespace of the workflows; may hold *
    #[arg(long, value_name = "NAMESPACE", required_unless_present_any = ["pod_identity", "trusted_role"])]
    pub namespace: Option<String>,
    /// The workflows' service account; may hold *
    #[arg(long, value_name = "NAME", default_value = "awf-aws-workflow")]
    pub service_account: String,
    /// The audience of the tokens
    #[arg(long, value_name = "AUDIENCE", default_value = AUDIENCE)]
    pub audience: String,
    /// The partition of the role [default: that of the region in the issuer]
    #[arg(long, value_name = "PARTITION")]
    pub partition: Option<String>,
    /// For EKS Pod Identity; with --namespace only for that service account
    #[arg(long, conflicts_with_all = ["account_id", "issuer", "partition", "trusted_role"])]
    pub pod_identity: bool,
    /// For another role, which may then assume this one
    #[arg(long, value_name = "ARN", conflicts_with_all = ["account_id", "issuer", "namespace", "partition"])]
    pub trusted_role: Option<String>,
    /// What the other role has to bring
    #[arg(long, value_name = "ID", requires = "trusted_role")]
    pub external_id: Option<String>,
}

/// The flags of `iam permissions`.
#[derive(Clone, Debug, Args)]
pub struct PermissionsArgs {
    /// The account of the pipelines
    #[arg(long, value_name = "ACCOUNT")]
    pub account_id: String,
    /// The region of the pipelines
    #[arg(long, env = "AWS_REGION", value_name = "REGION")]
    pub region: String,
    /// A pipeline, by name or ARN, or a pattern with *; may be given several times
    #[arg(long, value_name = "PIPELINE", required = true)]
    pub pipeline: Vec<String>,
    /// What the workflows do: validate, execute or execute+stop
    #[arg(long = "for", default_value = "execute+stop", value_name = "ACTIONS")]
    pub purpose: String,
    /// Also what is needed for: resume (on_retry), logs (of failed jobs), results (of jobs); several with commas
    #[arg(long, value_delimiter = ',', value_name = "FEATURES")]
    pub with: Vec<String>,
    /// A role that workflows name in role_arn; may be given several times
    #[arg(long, value_name = "ARN")]
    pub assume_role: Vec<String>,
}

/// The flags of `iam service-account`.
#[derive(Clone, Debug, Args)]
pub struct AccountArgs {
    /// The namespace of the workflows
    #[arg(long, value_name = "NAMESPACE")]
    pub namespace: String,
    /// The workflows' service account
    #[arg(long, value_name = "NAME", default_value = "awf-aws-workflow")]
    pub service_account: String,
    /// Its AWS role
    #[arg(long, value_name = "ARN")]
    pub role_arn: String,
    /// For EKS Pod Identity: without the annotation, with the command that makes the association
    #[arg(long)]
    pub pod_identity: bool,
    /// The EKS cluster, for that command
    #[arg(long, value_name = "NAME", requires = "pod_identity")]
    pub cluster: Option<String>,
    /// The service account of Argo's controller
    #[arg(long, env = "AWF_AWS_ARGO_CONTROLLER_ACCOUNT", default_value = "argo:argo", value_name = "NAMESPACE:NAME")]
    pub argo_controller_account: String,
}

/// Says what the flags mean, or names everything that is wrong with them.
pub fn document(command: IamCommand) -> Result<Document, ConfigError> {
    let mut problems = Vec::new();
    let document = match command {
        IamCommand::TrustPolicy(args) => trust(&mut problems, &args).map(|trust| Document::Policy(trust.policy())),
        IamCommand::Permissions(args) => permissions(&mut problems, &args).map(|all| Document::Policy(all.policy())),
        IamCommand::ServiceAccount(args) => account(&mut problems, &args).map(|one| Document::Manifest(one.manifest())),
    };
    document.filter(|_| problems.is_empty()).ok_or(ConfigError(problems))
}

/// Takes what was read, or keeps the sentence about it.
pub(super) fn read<T>(problems: &mut Vec<String>, flag: &str, read: Result<T, String>) -> Option<T> {
    read.map_err(|problem| problems.push(format!("{flag}: {problem}"))).ok()
}

fn trust(p: &mut Vec<String>, args: &TrustArgs) -> Option<Trust> {
    let optional = |text: &Option<String>| given(text.as_deref()).map(str::to_owned);
    if let Some(role) = optional(&args.trusted_role) {
        let role = read(p, "--trusted-role", RoleArn::parse(&role));
        let external_id = optional(&args.external_id).map(|id| read(p, "--external-id", names::external_id(&id)));
        return Some(Trust::Role { role: role?, external_id: external_id.flatten() });
    }
    let namespace = optional(&args.namespace).map(|name| read(p, "--namespace", names::namespace(&name)));
    let account = read(p, "--service-account", names::account(&args.service_account));
    let subject = |namespace: Option<String>| Some(Subject { namespace: namespace?, account: account.clone()? });
    if args.pod_identity {
        return Some(Trust::PodIdentity { subject: namespace.and_then(subject) });
    }
    let account_id = read(p, "--account-id", names::account_id(args.account_id.as_deref().unwrap_or_default()));
    let issuer = read(p, "--issuer", Issuer::parse(args.issuer.as_deref().unwrap_or_default()));
    let audience = read(p, "--audience", names::audience(&args.audience));
    let partition = optional(&args.partition).map(|name| read(p, "--partition", names::partition(&name)));
    let issuer = issuer?;
    Some(Trust::WebIdentity {
        partition: partition.unwrap_or(Some(issuer.partition()))?,
        account: account_id?,
        subject: subject(namespace.unwrap_or_else(|| read(p, "--namespace", names::namespace(""))))?,
        audience: audience?,
        issuer,
    })
}

fn permissions(p: &mut Vec<String>, args: &PermissionsArgs) -> Option<Permissions> {
    let account = read(p, "--account-id", names::account_id(&args.account_id));
    let region = read(p, "--region (AWS_REGION)", names::region(&args.region));
    let pipelines: Vec<_> =
        args.pipeline.iter().filter_map(|name| read(p, "--pipeline", names::pipeline(name))).collect();
    let roles: Vec<_> =
        args.assume_role.iter().filter_map(|arn| read(p, "--assume-role", RoleArn::parse(arn))).collect();
    let purpose = match args.purpose.trim() {
        "validate" => Some(Purpose::Validate),
        "execute" => Some(Purpose::Execute),
        "execute+stop" => Some(Purpose::ExecuteAndStop),
        other => {
            p.push(format!("--for: {other:?} is not one of validate, execute, execute+stop"));
            None
        }
    };
    let with = features(p, &args.with);
    let (region, partition) = region?;
    let roles = roles.into_iter().map(|role| role.arn).collect();
    Some(Permissions { partition, region, account: account?, pipelines, purpose: purpose?, with, roles })
}

/// Reads the words of `--with`.
pub(super) fn features(p: &mut Vec<String>, words: &[String]) -> BTreeSet<Feature> {
    let words = words.iter().filter_map(|word| given(Some(word)));
    words.filter_map(|word| read(p, "--with", Feature::parse(word))).collect()
}

fn account(p: &mut Vec<String>, args: &AccountArgs) -> Option<Account> {
    // A manifest is about one account.
    let namespace = read(p, "--namespace", names::namespace(&args.namespace).and_then(|own| single("namespace", own)));
    let account = read(
        p,
        "--service-account",
        names::account(&args.service_account).and_then(|own| single("service account", own)),
    );
    let role = read(p, "--role-arn", RoleArn::parse(&args.role_arn));
    let cluster = given(args.cluster.as_deref()).map(|name| read(p, "--cluster", names::cluster(name)));
    let flag = "--argo-controller-account (AWF_AWS_ARGO_CONTROLLER_ACCOUNT)";
    let controller = super::service_account(p, flag, args.argo_controller_account.trim());
    let controller = controller.map(|own| Subject { namespace: own.namespace, account: own.name });
    let role = role?;
    let way =
        if args.pod_identity { Way::PodIdentity { role, cluster: cluster.flatten() } } else { Way::Irsa { role } };
    Some(Account { subject: Subject { namespace: namespace?, account: account? }, way, controller: controller? })
}
