//! A failed SDK call to what is *known* after it. One table by AWS's code, one by what happened to the connection.

use std::error::Error;

use aws_sdk_sagemaker::{
    error::{ProvideErrorMetadata, SdkError},
    operation::RequestId,
};

use super::{
    credentials::{self, SENTENCE_LIMIT, WebIdentity},
    denial_log::DenialLog,
    denials::Denial,
    token::Claims,
    wire::{Seen, innermost, never_connected},
};
use crate::pipelines::{CallError, CallErrorKind, ClientKey};

/// Longest text of AWS's that is kept, bytes; some denials quote whole policies.
const MESSAGE_LIMIT: usize = 600;

/// Which call failed, as far as the explanation needs it.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The operation's name as AWS writes it.
    pub operation: &'static str,
    /// Whether a lost reply leaves open if something changed.
    pub write: bool,
    pub client: &'a ClientKey,
    pub web_identity: &'a WebIdentity,
    pub denials: &'a DenialLog,
}

impl Asked<'_> {
    /// What the pod's web identity token says, if there is one and it can be read.
    pub fn claims(&self) -> Option<Claims> {
        Claims::read(self.web_identity.token_file.as_deref()?).ok()
    }
}

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

/// What is known when AWS answered with an error.
///
/// Only five codes are in SageMaker's model; the rest are matched as the words that AWS services use. `status` decides
/// about words that are not listed.
pub fn known_by_code(code: &str, status: u16, message: &str) -> CallErrorKind {
    match code {
        // The SDK's own list of throttling codes, and HTTP's word.
        "Throttling"
        | "ThrottlingException"
        | "ThrottledException"
        | "RequestThrottled"
        | "RequestThrottledException"
        | "TooManyRequestsException"
        | "ProvisionedThroughputExceededException"
        | "TransactionInProgressException"
        | "RequestLimitExceeded"
        | "BandwidthLimitExceeded"
        | "LimitExceededException"
        | "SlowDown"
        | "PriorRequestNotComplete"
        | "EC2ThrottledException" => CallErrorKind::Throttled,
        "ResourceLimitExceeded" | "ServiceQuotaExceededException" => CallErrorKind::QuotaExceeded,
        "ResourceNotFound" | "ResourceNotFoundException" => CallErrorKind::NotFound,
        "ConflictException" | "ResourceInUse" => CallErrorKind::Conflict,
        "IdempotentParameterMismatch"
        | "IdempotentParameterMismatchException"
        | "IdempotencyParameterMismatch"
        | "IdempotencyParameterMismatchException" => CallErrorKind::TokenMismatch,
        "ValidationException" | "ValidationError" => validation(message),
        "InvalidParameterValue"
        | "InvalidParameterCombination"
        | "InvalidParameterException"
        | "InvalidAction"
        | "MissingAction"
        | "MissingParameter"
        | "MalformedQueryString"
        | "InvalidQueryParameter"
        | "SerializationException"
        | "UnknownOperationException"
        | "ResourceAlreadyExists" => CallErrorKind::Invalid,
        "AccessDenied"
        | "AccessDeniedException"
        | "AuthorizationError"
        | "NotAuthorized"
        | "OptInRequired"
        | "UnauthorizedOperation" => CallErrorKind::Denied,
        "ExpiredToken"
        | "ExpiredTokenException"
        | "IncompleteSignature"
        | "IncompleteSignatureException"
        | "InvalidAccessKeyId"
        | "InvalidClientTokenId"
        | "InvalidSignatureException"
        | "InvalidToken"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException"
        | "RequestExpired"
        | "SignatureDoesNotMatch"
        | "UnrecognizedClientException" => CallErrorKind::Credentials,
        "InternalFailure"
        | "InternalError"
        | "InternalServerError"
        | "InternalServerException"
        | "InternalDependencyException"
        | "RequestTimeout"
        | "RequestTimeoutException"
        | "ServiceUnavailable"
        | "ServiceUnavailableException" => CallErrorKind::OutcomeUnknown,
        _ => match status {
            429 => CallErrorKind::Throttled,
            401 | 403 => CallErrorKind::Denied,
            408 | 500.. => CallErrorKind::OutcomeUnknown,
            400..=499 => CallErrorKind::Invalid,
            _ => CallErrorKind::OutcomeUnknown,
        },
    }
}

/// SageMaker's catch-all code, told apart by its text.
fn validation(message: &str) -> CallErrorKind {
    let lower = message.to_ascii_lowercase();
    if lower.starts_with("could not find pipeline") {
        // The AWS emulator moto says this where SageMaker says ResourceNotFound.
        return CallErrorKind::NotFound;
    }
    let about_token =
        ["clientrequesttoken", "client request token", "idempoten"].iter().any(|word| lower.contains(word));
    // "failed to satisfy constraint" is about the token's own length, not about an earlier use of it.
    if about_token && !lower.contains("failed to satisfy constraint") {
        return CallErrorKind::TokenMismatch;
    }
    CallErrorKind::Invalid
}

/// What a failed SDK call lets us know, and a sentence about it.
pub fn explain<E>(error: &SdkError<E>, seen: Seen, asked: Asked<'_>) -> CallError
where
    E: Error + ProvideErrorMetadata + 'static,
{
    let mut failed = judge(error, seen, asked);
    if asked.write && seen.earlier_in_doubt && refused_now(failed.kind) {
        failed.kind = CallErrorKind::OutcomeUnknown;
        failed.message = one_line(&format!("{}; an earlier try of it got no answer", failed.message));
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

fn judge<E>(error: &SdkError<E>, seen: Seen, asked: Asked<'_>) -> CallError
where
    E: Error + ProvideErrorMetadata + 'static,
{
    let request_id = error.request_id().map(str::to_owned);
    if let SdkError::ServiceError(answer) = error {
        let status = answer.raw().status().as_u16();
        return answered(error.code(), error.message(), status, request_id, asked);
    }
    let nothing_sent_in_time = matches!(error, SdkError::TimeoutError(_)) && seen.sent == 0;
    if let Some(failed) = credentials::explain(error, nothing_sent_in_time, asked) {
        return failed;
    }
    let service = if asked.operation == "GetCallerIdentity" { "STS" } else { "SageMaker" };
    let region = &asked.client.region;
    let operation = asked.operation;
    let (transport, text) = match error {
        SdkError::ResponseError(garbled) => {
            let status = garbled.raw().status().as_u16();
            (
                Transport::Garbled,
                format!("{operation}: {service} in {region} sent an unreadable answer (HTTP {status})"),
            )
        }
        SdkError::TimeoutError(_) => {
            (Transport::Lost, format!("{operation}: {service} in {region} did not answer in time"))
        }
        SdkError::DispatchFailure(failure) if failure.as_connector_error().is_some_and(|e| never_connected(e)) => {
            (Transport::NotConnected, format!("cannot reach {service} in {region}: {}", innermost(error)))
        }
        _ if seen.sent == 0 => (Transport::NotMade, format!("{operation} cannot be sent: {}", innermost(error))),
        _ => (
            Transport::Lost,
            format!("{operation}: the connection to {service} in {region} was lost: {}", innermost(error)),
        ),
    };
    CallError { kind: transport.known(), code: None, message: one_line(&text), request_id }
}

fn answered(
    code: Option<&str>,
    message: Option<&str>,
    status: u16,
    request_id: Option<String>,
    asked: Asked<'_>,
) -> CallError {
    let code = code.unwrap_or_default();
    let message = message.unwrap_or_default().trim();
    let kind = known_by_code(code, status, message);
    let word = if code.is_empty() { "no error code" } else { code };
    let operation = asked.operation;
    let text = match kind {
        CallErrorKind::Credentials => credentials::refused(word, message, request_id.as_deref(), asked.client),
        CallErrorKind::Denied => match Denial::read(message) {
            Some(denial) => one_line(&denial.sentence(asked.client, asked.web_identity, SENTENCE_LIMIT)),
            None => plain(operation, word, message, status),
        },
        CallErrorKind::OutcomeUnknown => {
            one_line(&format!("{operation}: trouble at AWS ({word}, HTTP {status}) {message}"))
        }
        _ => plain(operation, word, message, status),
    };
    CallError { kind, code: (!code.is_empty()).then(|| code.to_owned()), message: text, request_id }
}

/// AWS's own words, if there are any.
fn plain(operation: &str, word: &str, message: &str, status: u16) -> String {
    match message {
        "" => one_line(&format!("AWS refused {operation}: {word} (HTTP {status})")),
        _ => one_line(message),
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
    CallError { kind: CallErrorKind::Invalid, code: None, message: one_line(&message.into()), request_id: None }
}

/// One line of printable text, at most 600 bytes, without anything that looks like a secret.
pub fn one_line(text: &str) -> String {
    one_line_within(text, MESSAGE_LIMIT)
}

/// The same within another limit.
pub fn one_line_within(text: &str, limit: usize) -> String {
    // A signature mismatch quotes the request's headers, session token included.
    let text = text.split("The Canonical String").next().unwrap_or_default();
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    let line = words.map(|word| if secret(word) { "[redacted]" } else { word }).collect::<Vec<_>>().join(" ");
    cut(&line, limit)
}

/// At most `limit` bytes, cut between characters, with an ellipsis when something is missing.
pub fn cut(text: &str, limit: usize) -> String {
    const ELLIPSIS: &str = "…";
    if text.len() <= limit {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(limit.saturating_sub(ELLIPSIS.len()));
    format!("{}{ELLIPSIS}", text.get(..end).unwrap_or_default())
}

/// Key ids, JWTs and long runs of base 64 that are no ARN's.
fn secret(word: &str) -> bool {
    word.split(|c: char| !(c.is_ascii_alphanumeric() || "+/=_-.".contains(c))).any(|run| {
        let key_id = run.len() == 20
            && ["AKIA", "ASIA"].iter().any(|prefix| run.starts_with(prefix))
            && run.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
        let jwt = run.starts_with("eyJ") && run.len() > 20;
        let opaque = run.len() >= 100
            && !word.contains("arn:aws")
            && !run.contains('.')
            && run.bytes().filter(|b| *b == b'-').count() < 3;
        key_id || jwt || opaque
    })
}
