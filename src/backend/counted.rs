//! Credentials that are counted whenever they are asked for: the SDK asks rarely, and says nothing of it.

use std::{
    fmt,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};

use crate::{
    metrics::{Metrics, live::CredentialsExpiry},
    pipelines::Time,
};

/// A provider around another one.
pub struct Counted {
    inner: SharedCredentialsProvider,
    metrics: Arc<Metrics>,
    expiry: CredentialsExpiry,
}

impl Counted {
    /// Counts for these metrics.
    pub fn shared(inner: impl ProvideCredentials + 'static, metrics: &Arc<Metrics>) -> SharedCredentialsProvider {
        SharedCredentialsProvider::new(Self {
            inner: SharedCredentialsProvider::new(inner),
            metrics: metrics.clone(),
            expiry: metrics.credentials_expiry(),
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

fn time_of(system: SystemTime) -> Time {
    Time(0).plus(system.duration_since(UNIX_EPOCH).unwrap_or_default())
}
