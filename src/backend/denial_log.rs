//! A log line for each denial, with all that the node's message has no room for: the whole chain of errors, what the pod's
//! token says of itself, the statement that is missing.

use std::error::Error;

use aws_sdk_sagemaker::error::{ProvideErrorMetadata, SdkError};

use super::{
    context::CallContext,
    denials::Denial,
    errors::explain,
    redact::redacted_within,
    wire::{AttemptRecorder, chain},
};
use crate::pipelines::{CallError, CallErrorKind};

/// Longest chain that is printed, bytes.
const CHAIN_LIMIT: usize = 2000;

/// What a failed SDK call lets us know; a denial is told of.
pub fn failure<E>(error: &SdkError<E>, context: CallContext<'_>, recorder: &AttemptRecorder) -> CallError
where
    E: Error + ProvideErrorMetadata + 'static,
{
    let failed = explain(error, recorder.attempts(), context);
    tell(error, error.message(), &failed, context);
    failed
}

/// Tells of a failed call if it was denied, or had no credentials. `words`: what the service itself answered.
pub fn tell(error: &(dyn Error + 'static), words: Option<&str>, failed: &CallError, context: CallContext<'_>) {
    if !matches!(failed.kind, CallErrorKind::Denied | CallErrorKind::Credentials) {
        return;
    }
    let code = failed.code.as_deref().unwrap_or("none");
    let Some(left_out) = context.denials.is_due(context.operation, code) else {
        tracing::debug!(operation = context.operation, error.code = code, "denied again");
        return;
    };
    let mut links: Vec<String> = chain(error).map(ToString::to_string).collect();
    links.dedup();
    let token = context.web_identity.token_file.as_deref().map(|_| {
        context.claims().map_or_else(|| "cannot be read".to_owned(), |claims| redacted_within(&claims.to_string(), 600))
    });
    tracing::warn!(
        operation = context.operation,
        client.region = context.client.region,
        client.role = context.client.role_arn.as_deref(),
        pod.role = context.web_identity.role_arn.as_deref(),
        pod.token = token,
        error.kind = failed.kind.as_str(),
        error.code = code,
        error.message = failed.message,
        error.chain = redacted_within(&links.join(": "), CHAIN_LIMIT),
        request.id = failed.request_id.as_deref(),
        missing.statement = words.and_then(Denial::read).map(|denial| denial.statement()),
        denials.left.out = left_out,
        "AWS denied a call"
    );
}
