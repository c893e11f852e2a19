//! A pipeline service behind one trait: the AWS SDK in production, the simulator's state machine in simulations.

use std::{future::Future, pin::Pin, sync::Arc};

use crate::pipelines::{Call, CallEnded, ClientKey};

pub mod caller;
mod cloudwatch;
pub mod codes;
pub mod context;
pub mod convert;
mod counted;
pub mod credentials;
mod denial_log;
mod denials;
pub mod errors;
mod hints;
mod jobs;
mod loading;
mod origin;
mod patient;
mod recent_denials;
pub mod redact;
mod resume;
pub mod sagemaker;
mod throttles;
pub mod token;
pub mod wire;

/// Something that can carry out [`Call`]s.
pub trait Backend: Send + Sync + 'static {
    /// Carries out one call. Ends within the backend's own time-outs; every failure is a
    /// [`crate::pipelines::CallError`] that says what is known. Whoever makes calls makes them by [`carry_out`].
    fn call(&self, client: ClientKey, call: Call) -> Pin<Box<dyn Future<Output = CallEnded> + Send>>;

    /// The same for one workflow, whose name then stands in what AWS records of its calls. `None`: it makes no difference.
    fn of_workflow(&self, _name: &str) -> Option<SharedBackend> {
        None
    }
}

/// The backend as it is handed around.
pub type SharedBackend = Arc<dyn Backend>;

/// Carries out one call in a task of its own. So a panic below is an outcome that nobody knows, and not the caller's
/// death; and a caller that goes away cannot take back half a start.
pub async fn carry_out(backend: SharedBackend, client: ClientKey, call: Call) -> CallEnded {
    let operation = call.operation();
    let task = tokio::spawn(async move { backend.call(client, call).await });
    task.await.unwrap_or_else(|error| {
        tracing::error!(operation, %error, "call to AWS broke off");
        CallEnded { result: Err(errors::broken_off(operation)), server_time: None }
    })
}
