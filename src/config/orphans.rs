//! The flags of `orphans`, and what they mean.

use std::{path::PathBuf, time::Duration};

use clap::Args;

use super::{ConfigError, LogArgs, LogConfig, duration, given, secs};
use crate::pipelines::ClientKey;

/// `orphans`' flags as they were given; [`OrphansConfig`] is what they mean.
#[derive(Clone, Debug, Args)]
pub struct OrphansArgs {
    /// Region to look in; may be given several times
    #[arg(long, env = "AWS_REGION", value_delimiter = ',', value_name = "REGION")]
    pub region: Vec<String>,
    /// Pipeline to look at, by name or ARN; may be given several times [default: all of the account]
    #[arg(long, value_name = "PIPELINE")]
    pub pipeline: Vec<String>,
    /// Only executions of workflows of this namespace; may be given several times, needed with --stop
    #[arg(long, value_name = "NAMESPACE")]
    pub namespace: Vec<String>,
    /// Only executions that were started longer ago than this
    #[arg(long, default_value = "10m", value_name = "DURATION")]
    pub older_than: String,
    /// Role to assume for the calls to AWS
    #[arg(long, value_name = "ARN")]
    pub role_arn: Option<String>,
    /// External id for assuming the role
    #[arg(long, value_name = "ID", requires = "role_arn")]
    pub external_id: Option<String>,
    /// The cluster whose workflows started the executions [default: the one the pod runs in]
    #[arg(long, env = "KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<String>,
    /// How the executions are printed: text or json
    #[arg(long, default_value = "text", value_name = "FORMAT")]
    pub output: String,
    /// Stop them
    #[arg(long)]
    pub stop: bool,
    #[command(flatten)]
    pub log: LogArgs,
}

/// What is looked for, where, and what is done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrphansConfig {
    /// One for each region.
    pub clients: Vec<ClientKey>,
    /// Empty: all of the account.
    pub pipelines: Vec<String>,
    /// Empty: all.
    pub namespaces: Vec<String>,
    /// Younger executions are not judged: their workflow may be about to be seen.
    pub older_than: Duration,
    /// `None`: the cluster the pod runs in.
    pub kubeconfig: Option<PathBuf>,
    /// One JSON object a line, instead of columns.
    pub json: bool,
    /// Stops what was found, instead of only naming it.
    pub stop: bool,
    pub log: LogConfig,
}

impl OrphansConfig {
    /// Says what the flags mean, or names everything that is wrong with them.
    pub fn from_args(args: OrphansArgs) -> Result<Self, ConfigError> {
        let mut problems = Vec::new();
        let p = &mut problems;
        let names = |all: &[String]| -> Vec<String> {
            all.iter().filter_map(|name| given(Some(name))).map(str::to_owned).collect()
        };
        let regions = names(&args.region);
        if regions.is_empty() {
            p.push("--region (AWS_REGION): is missing; name the region of the pipelines, such as eu-west-1".to_owned());
        }
        let namespaces = names(&args.namespace);
        if args.stop && namespaces.is_empty() {
            p.push(
                "--stop: needs --namespace, once for each namespace whose workflows are known to THIS cluster: a workflow \
                 of another cluster that shares the AWS account cannot be told from a deleted one"
                    .to_owned(),
            );
        }
        let older_than = duration(p, "--older-than", &args.older_than, secs(0), secs(28 * 86_400));
        let json = match args.output.trim() {
            "text" => false,
            "json" => true,
            other => {
                p.push(format!("--output: {other:?} is not one of text, json"));
                false
            }
        };
        let log = args.log.validate(p);
        let role = |text: &Option<String>| given(text.as_deref()).map(str::to_owned);
        let clients = regions.into_iter().map(|region| ClientKey {
            region,
            role_arn: role(&args.role_arn),
            external_id: role(&args.external_id),
        });
        let config = || {
            Some(Self {
                clients: clients.collect(),
                pipelines: names(&args.pipeline),
                namespaces,
                older_than: older_than?,
                kubeconfig: given(args.kubeconfig.as_deref()).map(PathBuf::from),
                json,
                stop: args.stop,
                log: log?,
            })
        };
        if problems.is_empty() { config().ok_or(ConfigError(problems)) } else { Err(ConfigError(problems)) }
    }
}
