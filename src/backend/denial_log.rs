//! A log line for each denial, with all that the node's message has no room for: the whole chain of errors, what the pod's
//! token says of itself, the statement that is missing.

use std::{error::Error, time::Duration};

use dashmap::DashMap;
use tokio::time::Instant;

use super::{denials::Denial, errors::CallContext, redact::redacted_within, wire::chain};
use crate::pipelines::{CallError, CallErrorKind};

/// The same denial of the same operation is a warning once in this time; those between are counted, and told at `debug`.
const REST: Duration = Duration::from_secs(60);
/// Longest chain that is printed, bytes.
const CHAIN_LIMIT: usize = 2000;
/// Codes are AWS's words; a service that invents more is not worth the memory.
const MOST: usize = 256;

/// What was told lately, by operation and code.
#[derive(Debug, Default)]
pub struct DenialLog(DashMap<(&'static str, String), Last>);

#[derive(Debug)]
struct Last {
    at: Instant,
    since: u64,
}

impl DenialLog {
    /// Tells of a failed call if it was denied, or had no credentials. `words`: what SageMaker itself answered.
    pub fn tell(
        &self,
        error: &(dyn Error + 'static),
        words: Option<&str>,
        failed: &CallError,
        context: CallContext<'_>,
    ) {
        if !matches!(failed.kind, CallErrorKind::Denied | CallErrorKind::Credentials) {
            return;
        }
        let code = failed.code.as_deref().unwrap_or("none");
        let Some(left_out) = self.is_due(context.operation, code) else {
            tracing::debug!(operation = context.operation, error.code = code, "denied again");
            return;
        };
        let mut links: Vec<String> = chain(error).map(ToString::to_string).collect();
        links.dedup();
        let token = context.web_identity.token_file.as_deref().map(|_| {
            context
                .claims()
                .map_or_else(|| "cannot be read".to_owned(), |claims| redacted_within(&claims.to_string(), 600))
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

    /// How many were left out since the last line; nothing when it is too soon for another.
    fn is_due(&self, operation: &'static str, code: &str) -> Option<u64> {
        let now = Instant::now();
        if self.0.len() >= MOST {
            self.0.clear();
        }
        let mut new = false;
        let mut last = self.0.entry((operation, code.to_owned())).or_insert_with(|| {
            new = true;
            Last { at: now, since: 0 }
        });
        if !new && now.duration_since(last.at) < REST {
            last.since += 1;
            return None;
        }
        last.at = now;
        Some(std::mem::take(&mut last.since))
    }
}
