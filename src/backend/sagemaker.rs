//! [`Backend`] on the AWS SDK: one call in, one SDK operation out.
//!
//! Clients are built once per region, role, external id and name of the role's session, from one configuration that is
//! loaded once; they share its credentials cache. What an error means is in [`super::errors`], what a response means in [`super::convert`].

use std::{
    future::Future,
    path::PathBuf,
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use aws_config::{Region, SdkConfig, sts::AssumeRoleProvider};
use aws_credential_types::provider::ProvideCredentials;
use aws_sdk_sagemaker::{
    config::IdentityCache,
    types::{SortOrder, SortPipelineExecutionsBy},
};
use aws_smithy_types::DateTime;
use dashmap::{DashMap, DashSet};
use tokio::sync::OnceCell;

use super::{
    Backend, SharedBackend, cloudwatch,
    context::{CallContext, WebIdentity},
    convert,
    counted::Counted,
    credentials,
    denial_log::{self, failure},
    errors::{broken_off, invalid},
    jobs,
    loading::{APP_NAME, CREDENTIALS_TIMEOUT, configured, load},
    patient::Patient,
    recent_denials::RecentDenials,
    redact::redacted,
    resume,
    throttles::ThrottlesComeBack,
    wire::AttemptRecorder,
};
use crate::{
    metrics::Metrics,
    pipelines::{Call, CallEnded, CallError, CallErrorKind, CallReply, ClientKey, StartExecution, Status},
    text::ellipsize,
};

/// Most clients kept. Roles and regions are user input; each client has its own credentials and connections.
pub const MAX_CLIENTS: usize = 64;
/// The largest page that SageMaker serves.
const PAGE: i32 = 100;
/// Foreign status words warned about at most; a service that invents more is not worth the memory.
const MAX_FOREIGN_WORDS: usize = 256;

/// SageMaker Pipelines through the AWS SDK. Cheap to clone.
#[derive(Clone)]
pub struct SageMaker {
    inner: Arc<Inner>,
    /// How sessions of assumed roles are named, which CloudTrail shows.
    session: Arc<str>,
}

struct Inner {
    metrics: Arc<Metrics>,
    base: SdkConfig,
    /// Without a region of its own the base cannot sign for STS either: then each client loads one for its region.
    load_per_region: bool,
    web_identity: WebIdentity,
    clients: DashMap<Place, Arc<Slot>>,
    denials: RecentDenials,
    /// Counts uses; the client with the smallest mark is the one to evict.
    uses: AtomicU64,
    built: AtomicU64,
    foreign_words: DashSet<Box<str>>,
}

/// Whose client it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Place {
    client: ClientKey,
    /// Of the assumed role; all that assume none share one client.
    session: Arc<str>,
}

/// A client's place: reserved at once, filled once, however many ask together.
#[derive(Debug, Default)]
struct Slot {
    client: OnceCell<Client>,
    last_use: AtomicU64,
}

#[derive(Debug)]
struct Client {
    sagemaker: aws_sdk_sagemaker::Client,
    sts: aws_sdk_sts::Client,
    /// Made with the first question about a log: most workflows never ask one.
    logs: OnceLock<aws_sdk_cloudwatchlogs::Client>,
    /// What the clients are made from, region included.
    config: SdkConfig,
    /// The account that the credentials belong to, once known.
    account: OnceCell<String>,
}

impl Client {
    fn logs(&self) -> &aws_sdk_cloudwatchlogs::Client {
        self.logs.get_or_init(|| aws_sdk_cloudwatchlogs::Client::new(&self.config))
    }
}

impl SageMaker {
    /// Loads the SDK's configuration from the standard places (environment, profile files), without asking the node's
    /// metadata service for a region.
    pub async fn connect(metrics: Arc<Metrics>) -> Self {
        let base = load(None).await;
        let load_per_region = base.region().is_none();
        Self::new(base, load_per_region, metrics)
    }

    /// On a configuration of the caller's, time-outs, retries and endpoints included. For tests.
    #[doc(hidden)]
    pub fn with_config(base: SdkConfig, metrics: Arc<Metrics>) -> Self {
        Self::new(base, false, metrics)
    }

    fn new(base: SdkConfig, load_per_region: bool, metrics: Arc<Metrics>) -> Self {
        let web_identity = WebIdentity {
            role_arn: configured(&base, "AWS_ROLE_ARN", "role_arn"),
            token_file: configured(&base, "AWS_WEB_IDENTITY_TOKEN_FILE", "web_identity_token_file").map(PathBuf::from),
        };
        let inner = Arc::new(Inner {
            base: counted(base, &metrics, &web_identity),
            metrics,
            load_per_region,
            web_identity,
            clients: DashMap::new(),
            denials: RecentDenials::default(),
            uses: AtomicU64::new(0),
            built: AtomicU64::new(0),
            foreign_words: DashSet::new(),
        });
        Self { inner, session: APP_NAME.into() }
    }

    /// STS's client of a key, and what the pod was given: for questions that are no [`Call`].
    pub(super) async fn sts(&self, key: &ClientKey) -> aws_sdk_sts::Client {
        let place = self.inner.place(key, &self.session);
        let slot = self.inner.slot(&place);
        slot.client.get_or_init(|| self.inner.build(&place)).await.sts.clone()
    }

    /// The same of CloudWatch Logs.
    pub(super) async fn logs(&self, key: &ClientKey) -> aws_sdk_cloudwatchlogs::Client {
        let place = self.inner.place(key, &self.session);
        let slot = self.inner.slot(&place);
        slot.client.get_or_init(|| self.inner.build(&place)).await.logs().clone()
    }

    /// The circumstances of a question that is no [`Call`].
    pub(super) fn context<'a>(&'a self, operation: &'static str, client: &'a ClientKey) -> CallContext<'a> {
        self.inner.context(operation, false, client)
    }

    /// How many clients were built so far. For tests.
    #[doc(hidden)]
    pub fn clients_built(&self) -> u64 {
        self.inner.built.load(Ordering::Relaxed)
    }

    /// How many clients are kept now. For tests.
    #[doc(hidden)]
    pub fn clients_kept(&self) -> usize {
        self.inner.clients.len()
    }
}

impl Backend for SageMaker {
    fn call(&self, client: ClientKey, call: Call) -> Pin<Box<dyn Future<Output = CallEnded> + Send>> {
        let (inner, session) = (self.inner.clone(), self.session.clone());
        Box::pin(async move {
            let operation = call.operation();
            let recorder = AttemptRecorder::default();
            let result = inner.carry_out(&client, &session, call, &recorder).await;
            let attempts = recorder.attempts();
            inner.metrics.attempts_made(operation, attempts.sent, attempts.throttled);
            CallEnded { result, server_time: attempts.server_time }
        })
    }

    fn of_workflow(&self, name: &str) -> Option<SharedBackend> {
        Some(Arc::new(Self { inner: self.inner.clone(), session: session_name(name).into() }))
    }
}

impl Inner {
    async fn carry_out(
        &self,
        key: &ClientKey,
        session: &Arc<str>,
        call: Call,
        recorder: &AttemptRecorder,
    ) -> Result<CallReply, CallError> {
        if !is_region(&key.region) {
            return Err(invalid(format!("{:?} is not the name of an AWS region", ellipsize(&key.region, 80))));
        }
        let context = self.context(call.operation(), call.is_write(), key);
        let place = self.place(key, session);
        let slot = self.slot(&place);
        let client = slot.client.get_or_init(|| self.build(&place)).await;
        let sagemaker = &client.sagemaker;
        match call {
            Call::GetCallerIdentity => {
                let account = client.account.get_or_try_init(|| account(client, context, recorder)).await?;
                Ok(CallReply::CallerIdentity { account: account.clone() })
            }
            Call::DescribePipeline { pipeline, version } => {
                let request =
                    sagemaker.describe_pipeline().pipeline_name(&pipeline).set_pipeline_version_id(version).customize();
                let out =
                    request.interceptor(recorder.clone()).send().await.map_err(|e| failure(&e, context, recorder))?;
                Ok(CallReply::Pipeline(convert::pipeline(pipeline, out)))
            }
            Call::StartExecution(start) => self.start(client, *start, context, recorder).await,
            Call::DescribeExecution { arn } => {
                let request = sagemaker.describe_pipeline_execution().pipeline_execution_arn(&arn).customize();
                let out =
                    request.interceptor(recorder.clone()).send().await.map_err(|e| failure(&e, context, recorder))?;
                let execution = convert::execution(arn, out);
                self.notice(&execution.status);
                Ok(CallReply::Execution(execution))
            }
            Call::ListPipelines { next_token } => {
                let request = sagemaker.list_pipelines().max_results(PAGE).set_next_token(next_token).customize();
                let out =
                    request.interceptor(recorder.clone()).send().await.map_err(|e| failure(&e, context, recorder))?;
                let lines = out.pipeline_summaries.unwrap_or_default();
                let page = lines.into_iter().filter_map(convert::pipeline_summary).collect();
                Ok(CallReply::Pipelines { page, next_token: convert::text(out.next_token) })
            }
            Call::ListExecutions { pipeline, created_after, next_token } => {
                let request = sagemaker
                    .list_pipeline_executions()
                    .pipeline_name(pipeline)
                    .set_created_after(created_after.map(|at| DateTime::from_millis(at.millis())))
                    .sort_by(SortPipelineExecutionsBy::CreationTime)
                    .sort_order(SortOrder::Descending)
                    .max_results(PAGE)
                    .set_next_token(next_token)
                    .customize();
                let out =
                    request.interceptor(recorder.clone()).send().await.map_err(|e| failure(&e, context, recorder))?;
                let lines = out.pipeline_execution_summaries.unwrap_or_default();
                let page: Vec<_> = lines.into_iter().filter_map(convert::summary).collect();
                page.iter().for_each(|execution| self.notice(&execution.status));
                Ok(CallReply::Executions { page, next_token: convert::text(out.next_token) })
            }
            Call::ListSteps { arn, next_token } => {
                let request = sagemaker
                    .list_pipeline_execution_steps()
                    .pipeline_execution_arn(arn)
                    .max_results(PAGE)
                    .set_next_token(next_token)
                    .customize();
                let out =
                    request.interceptor(recorder.clone()).send().await.map_err(|e| failure(&e, context, recorder))?;
                let page = out.pipeline_execution_steps.unwrap_or_default().into_iter().map(convert::step).collect();
                Ok(CallReply::Steps { page, next_token: convert::text(out.next_token) })
            }
            Call::StopExecution { arn, token } => {
                let request = sagemaker
                    .stop_pipeline_execution()
                    .pipeline_execution_arn(arn)
                    .client_request_token(token)
                    .customize();
                request.interceptor(recorder.clone()).send().await.map_err(|e| failure(&e, context, recorder))?;
                Ok(CallReply::Stopping)
            }
            Call::RetryExecution { arn, token, parallelism } => {
                resume::retry(sagemaker, arn, token, parallelism, context, recorder).await
            }
            Call::UpdateExecution { arn, description } => {
                resume::update(sagemaker, arn, description, context, recorder).await
            }
            Call::DescribeJob { kind, name } => jobs::describe(sagemaker, kind, name, context, recorder).await,
            Call::LogTail { group, stream_prefix, lines } => {
                let wanted = cloudwatch::Wanted { group, stream_prefix, lines };
                cloudwatch::tail(client.logs(), wanted, context, recorder, &self.metrics).await
            }
        }
    }

    async fn start(
        &self,
        client: &Client,
        start: StartExecution,
        context: CallContext<'_>,
        recorder: &AttemptRecorder,
    ) -> Result<CallReply, CallError> {
        let request = client
            .sagemaker
            .start_pipeline_execution()
            .pipeline_name(start.pipeline)
            .client_request_token(start.token)
            .set_pipeline_execution_display_name(convert::text(Some(start.display_name)))
            .set_pipeline_execution_description(convert::text(Some(start.description)))
            .set_pipeline_parameters(convert::parameters(start.parameters))
            .set_pipeline_version_id(start.version)
            .set_parallelism_configuration(start.max_parallel_steps.map(convert::parallelism))
            .set_selective_execution_config(start.selective.map(convert::selective))
            .customize();
        let out = request.interceptor(recorder.clone()).send().await.map_err(|e| failure(&e, context, recorder))?;
        match convert::text(out.pipeline_execution_arn) {
            Some(arn) => Ok(CallReply::Started { arn }),
            None => Err(CallError {
                kind: CallErrorKind::OutcomeUnknown,
                code: None,
                message: "SageMaker accepted the start but did not name the execution".to_owned(),
                request_id: None,
            }),
        }
    }

    fn context<'a>(&'a self, operation: &'static str, write: bool, client: &'a ClientKey) -> CallContext<'a> {
        CallContext { operation, write, client, web_identity: &self.web_identity, denials: &self.denials }
    }

    /// Which client serves this one. Sessions named after their workflow may take half of the places: were there more
    /// workflows than places, each call would have to build its client anew.
    fn place(&self, client: &ClientKey, session: &Arc<str>) -> Place {
        let shared = Place { client: client.clone(), session: APP_NAME.into() };
        if client.role_arn.is_none() {
            return shared;
        }
        let own = Place { client: client.clone(), session: session.clone() };
        let fits = self.clients.contains_key(&own) || self.clients.len() < MAX_CLIENTS / 2;
        if fits { own } else { shared }
    }

    /// The place for a key's client, making room when it is a new one.
    fn slot(&self, key: &Place) -> Arc<Slot> {
        let now = self.uses.fetch_add(1, Ordering::Relaxed);
        if !self.clients.contains_key(key) && self.clients.len() >= MAX_CLIENTS {
            let oldest = self.clients.iter().min_by_key(|e| e.value().last_use.load(Ordering::Relaxed));
            if let Some(oldest) = oldest.map(|e| e.key().clone()) {
                self.clients.remove(&oldest);
            }
        }
        let slot = self.clients.entry(key.clone()).or_default().clone();
        slot.last_use.store(now, Ordering::Relaxed);
        slot
    }

    async fn build(&self, place: &Place) -> Client {
        let key = &place.client;
        self.built.fetch_add(1, Ordering::Relaxed);
        let region = Region::new(key.region.clone());
        let mut base = if self.load_per_region {
            counted(load(Some(region.clone())).await, &self.metrics, &self.web_identity)
        } else {
            self.base.clone()
        };
        if let Some(role) = &key.role_arn {
            let mut provider = AssumeRoleProvider::builder(role)
                .session_name(place.session.as_ref())
                .region(region.clone())
                .configure(&base);
            if let Some(id) = &key.external_id {
                provider = provider.external_id(id);
            }
            let counted = Counted::shared(provider.build().await, &self.metrics, None);
            // A credentials cache of its own, gone with the client: roles are user input.
            base = base
                .to_builder()
                .credentials_provider(Patient::shared(counted, self.web_identity.token_file.clone()))
                .identity_cache(IdentityCache::lazy().load_timeout(CREDENTIALS_TIMEOUT).build())
                .build();
        }
        let config = base.to_builder().region(region).build();
        Client {
            sagemaker: aws_sdk_sagemaker::Client::from_conf(
                aws_sdk_sagemaker::config::Builder::from(&config).retry_classifier(ThrottlesComeBack).build(),
            ),
            sts: aws_sdk_sts::Client::new(&config),
            logs: OnceLock::new(),
            config,
            account: OnceCell::new(),
        }
    }

    /// Warns once about each status word that is newer than this plugin.
    fn notice(&self, status: &Status) {
        if let Status::Unknown(word) = status
            && self.foreign_words.len() < MAX_FOREIGN_WORDS
            && self.foreign_words.insert(word.clone())
        {
            tracing::warn!(status = %redacted(word), "unknown execution status, treated as running");
        }
    }
}

/// The account of a client's credentials: as they say themselves (those of STS do), else as STS says.
async fn account(client: &Client, context: CallContext<'_>, recorder: &AttemptRecorder) -> Result<String, CallError> {
    if let Some(provider) = client.config.credentials_provider() {
        match tokio::time::timeout(CREDENTIALS_TIMEOUT, provider.provide_credentials()).await {
            Ok(Ok(own)) => {
                if let Some(account) = own.account_id() {
                    return Ok(account.as_str().to_owned());
                }
            }
            Ok(Err(error)) => {
                let explained = credentials::explain(&error, false, context);
                let failed = explained.unwrap_or_else(|| broken_off(context.operation));
                denial_log::tell(&error, None, &failed, context);
                return Err(failed);
            }
            Err(elapsed) => {
                let explained = credentials::explain(&elapsed, true, context);
                return Err(explained.unwrap_or_else(|| broken_off(context.operation)));
            }
        }
    }
    let request = client.sts.get_caller_identity().customize().interceptor(recorder.clone());
    let out = request.send().await.map_err(|e| failure(&e, context, recorder))?;
    convert::text(out.account).ok_or_else(|| CallError {
        kind: CallErrorKind::OutcomeUnknown,
        code: None,
        message: "STS did not say which account the credentials belong to".to_owned(),
        request_id: None,
    })
}

/// The configuration with its credentials counted each time they are asked for, and not asked for again at once when STS
/// refused them.
fn counted(base: SdkConfig, metrics: &Arc<Metrics>, web: &WebIdentity) -> SdkConfig {
    let Some(provider) = base.credentials_provider() else { return base };
    let patient = Patient::shared(Counted::shared(provider, metrics, Some(web.clone())), web.token_file.clone());
    base.to_builder().credentials_provider(patient).build()
}

/// A workflow's name in that of a session, within STS's 64 characters `[\w+=,.@-]`. Of a longer one the middle goes: names
/// that Argo makes differ at their end.
fn session_name(workflow: &str) -> String {
    const ROOM: usize = 64 - "awf-aws-".len();
    const HEAD: usize = 38;
    let clean: String =
        workflow.chars().map(|c| if c.is_ascii_alphanumeric() || "_+=,.@-".contains(c) { c } else { '-' }).collect();
    let name = match clean.len() {
        0..=ROOM => clean,
        // Two dots are between the halves.
        length => {
            let (head, tail) = (clean.get(..HEAD), clean.get(length - (ROOM - HEAD - 2)..));
            format!("{}..{}", head.unwrap_or_default(), tail.unwrap_or_default())
        }
    };
    format!("{APP_NAME}-{name}")
}

/// A region becomes part of a host name: nothing else may get in there.
pub(super) fn is_region(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-')
}
