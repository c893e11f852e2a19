//! A pipeline service behind one trait: the AWS SDK in production, the simulator's state machine in simulations.

use std::{future::Future, pin::Pin, sync::Arc};

use crate::pipelines::{Call, CallEnded, ClientKey};

pub mod convert;
mod counted;
pub mod credentials;
pub mod denial_log;
mod denials;
pub mod errors;
mod hints;
mod origin;
mod patient;
pub mod sagemaker;
pub mod token;
pub mod wire;

/// Something that can carry out [`Call`]s.
pub trait Backend: Send + Sync + 'static {
    /// Carries out one call. Ends within the backend's own time-outs; never panics; every failure is a
    /// [`crate::pipelines::CallError`] that says what is known.
    fn call(&self, client: ClientKey, call: Call) -> Pin<Box<dyn Future<Output = CallEnded> + Send>>;

    /// The same for one workflow, whose name then stands in what AWS records of its calls. `None`: it makes no difference.
    fn of_workflow(&self, _name: &str) -> Option<SharedBackend> {
        None
    }
}

/// The backend as it is handed around.
pub type SharedBackend = Arc<dyn Backend>;
