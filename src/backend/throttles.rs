//! What AWS throttles comes back at once: who keeps the pace has to hear of it, and decides when it is repeated.
//!
//! The SDK would repeat the call after a second by itself, and of most throttles nobody would ever know.

use aws_smithy_runtime_api::client::{
    interceptors::context::InterceptorContext,
    retries::classifiers::{ClassifyRetry, RetryAction, RetryClassifierPriority},
};

use super::{codes::known_by_code, wire::words};
use crate::pipelines::CallErrorKind;

/// Forbids the SDK to repeat what was throttled; about other failures it says nothing.
#[derive(Debug)]
pub struct ThrottlesComeBack;

impl ClassifyRetry for ThrottlesComeBack {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let (Some(Err(error)), Some(response)) = (context.output_or_error(), context.response()) else {
            return RetryAction::NoActionIndicated;
        };
        let (code, message) = error.as_operation_error().and_then(words).unwrap_or_default();
        match known_by_code(code, response.status().as_u16(), message) {
            CallErrorKind::Throttled => RetryAction::RetryForbidden,
            _ => RetryAction::NoActionIndicated,
        }
    }

    fn name(&self) -> &'static str {
        "ThrottlesComeBack"
    }

    /// After all of the SDK's own: what it says is final.
    fn priority(&self) -> RetryClassifierPriority {
        RetryClassifierPriority::run_after(RetryClassifierPriority::transient_error_classifier())
    }
}
