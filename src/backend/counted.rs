//! Credentials that are counted whenever they are asked for: the SDK asks rarely, and says nothing of it.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};

use super::{context::WebIdentity, origin, wire::time_of};
use crate::metrics::{Metrics, live::CredentialsExpiry};

/// A provider around another one.
pub struct Counted {
    inner: SharedCredentialsProvider,
    metrics: Arc<Metrics>,
    expiry: CredentialsExpiry,
    /// Whose credentials the pod should have; nothing for a role that was asked for.
    web: Option<WebIdentity>,
    warned: AtomicBool,
}

impl Counted {
    /// Counts for these metrics, and warns once when the pod's own credentials are not what `web` says.
    pub fn shared(
        inner: impl ProvideCredentials + 'static,
        metrics: &Arc<Metrics>,
        web: Option<WebIdentity>,
    ) -> SharedCredentialsProvider {
        SharedCredentialsProvider::new(Self {
            inner: SharedCredentialsProvider::new(inner),
            metrics: metrics.clone(),
            expiry: metrics.credentials_expiry(),
            web,
            warned: AtomicBool::new(false),
        })
    }
}

impl ProvideCredentials for Counted {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async move {
            let given = self.inner.provide_credentials().await;
            self.metrics.credentials_refreshed(given.is_ok());
            if let Ok(credentials) = &given {
                self.expiry.set(credentials.expiry().map(time_of));
                if let Some(text) = self.web.as_ref().and_then(|web| origin::warning(credentials, web))
                    && !self.warned.swap(true, Ordering::Relaxed)
                {
                    tracing::warn!("{text}");
                }
            }
            given
        })
    }

    fn fallback_on_interrupt(&self) -> Option<aws_credential_types::Credentials> {
        self.inner.fallback_on_interrupt()
    }
}

impl fmt::Debug for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counted").field("inner", &self.inner).finish_non_exhaustive()
    }
}
