//! STUB, replaced at the merge.

use std::{future::Future, pin::Pin};

use super::Backend;
use crate::pipelines::{Call, CallEnded, CallError, CallErrorKind, ClientKey};

/// The SDK.
pub struct SageMaker;

impl SageMaker {
    /// Connects.
    pub async fn connect() -> Self {
        Self
    }
}

impl Backend for SageMaker {
    fn call(&self, _client: ClientKey, _call: Call) -> Pin<Box<dyn Future<Output = CallEnded> + Send>> {
        Box::pin(std::future::ready(CallEnded {
            result: Err(CallError {
                kind: CallErrorKind::Unreachable,
                code: None,
                message: "stub".to_owned(),
                request_id: None,
            }),
            server_time: None,
        }))
    }
}
