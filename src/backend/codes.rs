//! AWS's error codes, and what is *known* after each: one table for SageMaker's answers, for STS's, and for single attempts.

use crate::pipelines::CallErrorKind;

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
    // Of a job SageMaker says so in the words of a validation.
    if lower.starts_with("requested resource not found") || lower.starts_with("could not find requested job") {
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
