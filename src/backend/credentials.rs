//! Why there are no credentials, as a sentence that names what to mend.
//!
//! The SDK reports a denied role as "dispatch failure"; the reason lies up to ten errors deeper, once per hop
//! (web identity, then the assumed role). The innermost STS answer is the cause. A sentence has the order of the AWS SDK for
//! Go, which the plugin's users know: `failed to describe amazon sagemaker pipeline: WebIdentityErr: failed to retrieve
//! credentials caused by: AccessDenied: … status code: 403, request id: …`, then what to mend (`hints`). It fits
//! into a node's message with the time since when, and never holds a token.

use std::{error::Error, io, time::SystemTime};

use super::{
    codes::known_by_code,
    context::CallContext,
    hints::{Hop, Refused, hints},
    redact::redacted,
    wire::{chain, http_date, innermost, time_of},
};
use crate::{
    pipelines::{CallError, CallErrorKind, ClientKey, Time},
    text::sentence::fitting,
};
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_sts::{
    error::{ProvideErrorMetadata, SdkError},
    operation::{
        RequestId, assume_role::AssumeRoleError, assume_role_with_web_identity::AssumeRoleWithWebIdentityError,
    },
};

/// Longest sentence, bytes: a node's message of 250 less ` (since 2026-11-25T00:00:00Z)`.
pub const SENTENCE_LIMIT: usize = 221;

#[derive(Debug)]
struct StsFailure {
    hop: Hop,
    code: Option<String>,
    message: String,
    request_id: Option<String>,
    status: Option<u16>,
    server_time: Option<Time>,
}

impl StsFailure {
    fn read<E: ProvideErrorMetadata>(hop: Hop, error: &SdkError<E>) -> Self {
        Self {
            hop,
            code: error.code().map(str::to_owned),
            message: error.message().unwrap_or_default().to_owned(),
            request_id: error.request_id().map(str::to_owned),
            status: error.raw_response().map(|response| response.status().as_u16()),
            server_time: error.raw_response().and_then(|response| response.headers().get("date")).and_then(http_date),
        }
    }
}

impl StsFailure {
    /// What STS's answer says; nothing when there is none.
    fn kind(&self) -> Option<CallErrorKind> {
        let code = self.code.as_deref()?;
        let unreadable_key = self.message.contains("retrieve verification key");
        Some(match known_by_code(code, self.status.unwrap_or(400), &self.message) {
            CallErrorKind::Throttled => CallErrorKind::Throttled,
            CallErrorKind::OutcomeUnknown => CallErrorKind::Unreachable,
            // STS could not ask the cluster's key server: an outage, nothing to mend in IAM.
            _ if code == "IDPCommunicationError" || unreadable_key => CallErrorKind::Unreachable,
            _ => CallErrorKind::Credentials,
        })
    }
}

/// Explains an error chain that is about credentials; nothing for any other. `timed_out`: the call's time was over
/// before anything was sent, which leaves no error of the credentials' own.
pub fn explain(error: &(dyn Error + 'static), timed_out: bool, context: CallContext<'_>) -> Option<CallError> {
    let mut sts = None;
    let mut last: Option<&CredentialsError> = None;
    let mut timed_out = timed_out;
    for e in chain(error) {
        if let Some(credentials) = e.downcast_ref::<CredentialsError>() {
            last = Some(credentials);
            sts = None;
        } else if let Some(e) = e.downcast_ref::<SdkError<AssumeRoleWithWebIdentityError>>() {
            sts = Some(StsFailure::read(Hop::WebIdentity, e));
        } else if let Some(e) = e.downcast_ref::<SdkError<AssumeRoleError>>() {
            sts = Some(StsFailure::read(Hop::AssumeRole, e));
        } else if e.to_string().starts_with("identity resolver timed out") {
            timed_out = true;
        }
    }
    match (last, sts) {
        (Some(_), Some(failure)) => Some(sts_refused(&failure, error, context)),
        (Some(credentials), None) => Some(not_loaded(credentials, context)),
        (None, _) if timed_out => Some(too_slow(context)),
        (None, _) => None,
    }
}

/// Whether STS has said no for a reason that somebody has to mend, rather than that it was in trouble itself.
pub fn is_refusal(error: &CredentialsError) -> bool {
    let sts = chain(error).fold(None, |found, e| {
        let web = e.downcast_ref::<SdkError<AssumeRoleWithWebIdentityError>>();
        let role = e.downcast_ref::<SdkError<AssumeRoleError>>();
        web.map(|e| StsFailure::read(Hop::WebIdentity, e))
            .or_else(|| role.map(|e| StsFailure::read(Hop::AssumeRole, e)))
            .or(found)
    });
    sts.and_then(|failure| failure.kind()) == Some(CallErrorKind::Credentials)
}

/// The sentence for credentials that loaded but that AWS does not accept.
pub fn refused(code: &str, message: &str, request_id: Option<&str>, client: &ClientKey) -> String {
    let clock = if code.contains("Signature") { " (check the node's clock)" } else { "" };
    let request = request_id.map(|id| format!(" (request {id})")).unwrap_or_default();
    let message = redacted(message);
    let region = &client.region;
    let short = format!("AWS in {region} does not accept the plugin's credentials{clock}: {code}{request}");
    let whole = format!("AWS in {region} does not accept the plugin's credentials{clock}: {code}: {message}{request}");
    if whole.len() <= SENTENCE_LIMIT { whole } else { fitting(&short, &[], SENTENCE_LIMIT) }
}

/// `failed to describe amazon sagemaker pipeline: WebIdentityErr: failed to retrieve credentials caused by: `
fn way(context: CallContext<'_>, name: &str) -> String {
    let failed = match context.operation {
        "GetCallerIdentity" => "get caller identity",
        "DescribePipeline" => "describe amazon sagemaker pipeline",
        "StartPipelineExecution" => "start amazon sagemaker pipeline execution",
        "DescribePipelineExecution" => "describe amazon sagemaker pipeline execution",
        "ListPipelines" => "list amazon sagemaker pipelines",
        "ListPipelineExecutions" => "list amazon sagemaker pipeline executions",
        "ListPipelineExecutionSteps" => "list amazon sagemaker pipeline execution steps",
        "StopPipelineExecution" => "stop amazon sagemaker pipeline execution",
        "RetryPipelineExecution" => "retry amazon sagemaker pipeline execution",
        "UpdatePipelineExecution" => "update amazon sagemaker pipeline execution",
        "DescribeTrainingJob" => "describe amazon sagemaker training job",
        "DescribeProcessingJob" => "describe amazon sagemaker processing job",
        "DescribeTransformJob" => "describe amazon sagemaker transform job",
        "DescribeHyperParameterTuningJob" => "describe amazon sagemaker tuning job",
        "DescribeAutoMLJobV2" => "describe amazon sagemaker automl job",
        "DescribeLogStreams" => "describe amazon cloudwatch log streams",
        "GetLogEvents" => "get amazon cloudwatch log events",
        other => other,
    };
    format!("failed to {failed}: {name}: failed to retrieve credentials caused by: ")
}

fn sts_refused(failure: &StsFailure, error: &(dyn Error + 'static), context: CallContext<'_>) -> CallError {
    let web = context.web_identity;
    let role = match failure.hop {
        Hop::WebIdentity => web.role_arn.as_deref(),
        Hop::AssumeRole => context.client.role_arn.as_deref(),
    };
    let way = way(context, failure.hop.name());
    let request = failure.request_id.as_deref().map(|id| format!(", request id: {id}")).unwrap_or_default();
    let Some(code) = failure.code.as_deref() else {
        let cause = match failure.status {
            Some(status) => format!("STS sent an unreadable answer status code: {status}{request}"),
            None => format!("cannot reach STS for credentials: {}", innermost(error)),
        };
        return failed(CallErrorKind::Unreachable, None, None, &format!("{way}{cause}"), &[reach(context)]);
    };
    let kind = failure.kind().unwrap_or(CallErrorKind::Unreachable);
    let claims = context.claims();
    let refused = Refused {
        hop: failure.hop,
        code,
        message: &failure.message,
        role,
        region: &context.client.region,
        claims: claims.as_ref(),
        server_time: failure.server_time,
        local_time: time_of(SystemTime::now()),
    };
    let words = match redacted(&failure.message) {
        words if words.is_empty() => String::new(),
        words => format!(": {words}"),
    };
    let status = failure.status.map(|status| format!(" status code: {status}")).unwrap_or_default();
    let text = format!("{way}{code}{words}{status}{request}");
    failed(kind, Some(code), failure.request_id.clone(), &text, &hints(&refused))
}

fn not_loaded(error: &CredentialsError, context: CallContext<'_>) -> CallError {
    if matches!(error, CredentialsError::ProviderTimedOut(_)) {
        return too_slow(context);
    }
    let web = context.web_identity;
    let cause = redacted(&innermost(error));
    let io = chain(error).find_map(|e| e.downcast_ref::<io::Error>());
    let (name, cause, hints) = match (error, &web.token_file, io) {
        (CredentialsError::CredentialsNotLoaded(_), _, _) => return not_annotated(context),
        // The chain ends at the node's metadata service, which pods are not let in to: what is missing is what comes before.
        (_, None, _) if web.role_arn.is_none() && chain(error).any(|e| e.to_string().contains("IMDS")) => {
            return not_annotated(context);
        }
        (_, Some(file), Some(io)) => {
            let cause = format!("cannot read the web identity token {}: {cause}", file.display());
            (Hop::WebIdentity.name(), cause, unreadable(io.kind()))
        }
        (CredentialsError::InvalidConfiguration(_), _, _) => {
            ("SharedConfigErr", format!("the AWS credentials are not configured properly: {cause}"), Vec::new())
        }
        _ => ("CredentialProviderErr", format!("cannot load AWS credentials: {cause}"), Vec::new()),
    };
    failed(CallErrorKind::Credentials, None, None, &format!("{}{cause}", way(context, name)), &hints)
}

/// What lets the pod read its token.
fn unreadable(kind: io::ErrorKind) -> Vec<String> {
    match kind {
        io::ErrorKind::NotFound => vec![
            "the pod has no token volume: it is older than the service account's annotation, or skip-containers names the \
             plugin"
                .to_owned(),
            "the pod has no token volume: it may be older than the annotation".to_owned(),
        ],
        _ => vec![
            "a non-root container needs securityContext.fsGroup in the pod to read it".to_owned(),
            "set the pod's securityContext.fsGroup".to_owned(),
        ],
    }
}

fn not_annotated(context: CallContext<'_>) -> CallError {
    let text = format!("{}no AWS credentials found", way(context, "NoCredentialProviders"));
    let hints = [
        "annotate the workflow's service account with eks.amazonaws.com/role-arn (only new pods see it), or use EKS Pod \
         Identity"
            .to_owned(),
        "annotate the workflow's service account with eks.amazonaws.com/role-arn (only new pods see it)".to_owned(),
    ];
    failed(CallErrorKind::Credentials, None, None, &text, &hints)
}

fn reach(context: CallContext<'_>) -> String {
    format!("it is asked again; pods must reach STS in {}", context.client.region)
}

/// With a web identity it is STS that is slow. Without one the chain ends at the node's metadata service, which pods
/// often cannot reach: that will not pass by itself.
fn too_slow(context: CallContext<'_>) -> CallError {
    match &context.web_identity.role_arn {
        Some(_) => {
            let text = format!("{}STS did not give credentials in time", way(context, Hop::WebIdentity.name()));
            failed(CallErrorKind::Unreachable, None, None, &text, &[reach(context)])
        }
        None => not_annotated(context),
    }
}

fn failed(
    kind: CallErrorKind,
    code: Option<&str>,
    request_id: Option<String>,
    text: &str,
    hints: &[String],
) -> CallError {
    let message = fitting(&redacted(text), hints, SENTENCE_LIMIT);
    CallError { kind, code: code.map(str::to_owned), message, request_id }
}
