//! A failed SDK call to what is *known* after it: by AWS's code ([`super::codes`]), else by how far it came.

use std::error::Error;

use aws_sdk_sagemaker::{
    error::{ProvideErrorMetadata, SdkError},
    operation::RequestId,
};

use super::{
    codes::known_by_code,
    context::CallContext,
    credentials::{self, SENTENCE_LIMIT},
    denials::Denial,
    redact::redacted,
    wire::{Attempts, innermost, never_connected},
};
use crate::pipelines::{CallError, CallErrorKind};

/// How far a call came before it failed, without an error code of AWS's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// The request could not be made: bad endpoint, bad arguments.
    NotMade,
    /// No connection came about.
    NotConnected,
    /// Sent; time-out or connection lost.
    Lost,
    /// An answer that nobody can read (a proxy's page, half a body).
    Garbled,
}

impl Transport {
    /// What is known when AWS said nothing.
    pub fn known(self) -> CallErrorKind {
        match self {
            Self::NotMade => CallErrorKind::Invalid,
            Self::NotConnected => CallErrorKind::Unreachable,
            Self::Lost | Self::Garbled => CallErrorKind::OutcomeUnknown,
        }
    }
}

/// What a failed SDK call lets us know, and a sentence about it.
pub fn explain<E>(error: &SdkError<E>, attempts: Attempts, context: CallContext<'_>) -> CallError
where
    E: Error + ProvideErrorMetadata + 'static,
{
    let mut failed = judge(error, attempts, context);
    if context.write && attempts.earlier_in_doubt && refused_now(failed.kind) {
        failed.kind = CallErrorKind::OutcomeUnknown;
        failed.message = redacted(&format!("{}; an earlier try of it got no answer", failed.message));
    }
    failed
}

/// Whether this kind speaks about the last try only, so that an earlier one may still have been carried out.
fn refused_now(kind: CallErrorKind) -> bool {
    match kind {
        CallErrorKind::Throttled
        | CallErrorKind::QuotaExceeded
        | CallErrorKind::Denied
        | CallErrorKind::Credentials
        | CallErrorKind::Unreachable => true,
        CallErrorKind::NotFound
        | CallErrorKind::Conflict
        | CallErrorKind::TokenMismatch
        | CallErrorKind::Invalid
        | CallErrorKind::OutcomeUnknown => false,
    }
}

fn judge<E>(error: &SdkError<E>, attempts: Attempts, context: CallContext<'_>) -> CallError
where
    E: Error + ProvideErrorMetadata + 'static,
{
    let request_id = error.request_id().map(str::to_owned);
    let unreadable = unreadable(error);
    if let SdkError::ServiceError(answer) = error
        && unreadable.is_none()
    {
        let status = answer.raw().status().as_u16();
        return answered(error.code(), error.message(), status, request_id, context);
    }
    let nothing_sent_in_time = matches!(error, SdkError::TimeoutError(_)) && attempts.sent == 0;
    if let Some(failed) = credentials::explain(error, nothing_sent_in_time, context) {
        return failed;
    }
    let service = service(context.operation);
    let region = &context.client.region;
    let operation = context.operation;
    let (transport, text) = match error {
        _ if unreadable.is_some() => (
            Transport::Garbled,
            format!(
                "{operation}: {service} in {region} sent an unreadable answer (HTTP {})",
                unreadable.unwrap_or_default()
            ),
        ),
        SdkError::TimeoutError(_) => {
            (Transport::Lost, format!("{operation}: {service} in {region} did not answer in time"))
        }
        SdkError::DispatchFailure(failure) if failure.as_connector_error().is_some_and(|e| never_connected(e)) => {
            (Transport::NotConnected, format!("cannot reach {service} in {region}: {}", innermost(error)))
        }
        _ if attempts.sent == 0 => (Transport::NotMade, format!("{operation} cannot be sent: {}", innermost(error))),
        _ => (
            Transport::Lost,
            format!("{operation}: the connection to {service} in {region} was lost: {}", innermost(error)),
        ),
    };
    CallError { kind: transport.known(), code: None, message: redacted(&text), request_id }
}

/// The HTTP status of an answer that nobody can read. Some operations of the SDK take one for an error of the service's, without
/// a code.
fn unreadable<E: ProvideErrorMetadata>(error: &SdkError<E>) -> Option<u16> {
    match error {
        SdkError::ResponseError(answer) => Some(answer.raw().status().as_u16()),
        SdkError::ServiceError(answer) if error.code().is_none() && answer.raw().status().is_success() => {
            Some(answer.raw().status().as_u16())
        }
        _ => None,
    }
}

fn service(operation: &str) -> &'static str {
    match operation {
        "GetCallerIdentity" => "STS",
        "DescribeLogStreams" | "GetLogEvents" => "CloudWatch Logs",
        _ => "SageMaker",
    }
}

fn answered(
    code: Option<&str>,
    message: Option<&str>,
    status: u16,
    request_id: Option<String>,
    context: CallContext<'_>,
) -> CallError {
    let code = code.unwrap_or_default();
    let message = message.unwrap_or_default().trim();
    let kind = known_by_code(code, status, message);
    let word = if code.is_empty() { "no error code" } else { code };
    let operation = context.operation;
    let text = match kind {
        CallErrorKind::Credentials => credentials::refused(word, message, request_id.as_deref(), context.client),
        CallErrorKind::Denied => match Denial::read(message) {
            Some(denial) => redacted(&denial.sentence(context.client, context.web_identity, SENTENCE_LIMIT)),
            None => plain(operation, word, message, status),
        },
        CallErrorKind::OutcomeUnknown => {
            redacted(&format!("{operation}: trouble at AWS ({word}, HTTP {status}) {message}"))
        }
        _ => plain(operation, word, message, status),
    };
    CallError { kind, code: (!code.is_empty()).then(|| code.to_owned()), message: text, request_id }
}

/// AWS's own words, if there are any.
fn plain(operation: &str, word: &str, message: &str, status: u16) -> String {
    match message {
        "" => redacted(&format!("AWS refused {operation}: {word} (HTTP {status})")),
        _ => redacted(message),
    }
}

/// The sentence for a call whose own code panicked or was cut off: nobody knows how far it came.
pub fn broken_off(operation: &str) -> CallError {
    CallError {
        kind: CallErrorKind::OutcomeUnknown,
        code: None,
        message: format!("{operation} broke off inside the plugin; its outcome is unknown"),
        request_id: None,
    }
}

/// The sentence for a call that is refused before anything is sent.
pub fn invalid(message: impl Into<String>) -> CallError {
    CallError { kind: CallErrorKind::Invalid, code: None, message: redacted(&message.into()), request_id: None }
}
