//! Credentials that STS refused are not asked for again at once: the SDK keeps what it got, but never that it got nothing,
//! so each poll of each node would cost a call, or two for a role of another account.

use std::{
    error::Error,
    fmt, fs,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use aws_credential_types::{
    Credentials,
    provider::{ProvideCredentials, SharedCredentialsProvider, error::CredentialsError, future},
};
use tokio::time::Instant;

use super::credentials::is_refusal;

/// The first pause; a trust policy that is mended is noticed after it. It doubles up to [`LONGEST`].
const FIRST: Duration = Duration::from_secs(15);
/// Half of what a denial before a start is tolerated for by default, so that it is met again before it is final.
const LONGEST: Duration = Duration::from_secs(60);

/// A provider around another one.
pub struct Patient {
    inner: SharedCredentialsProvider,
    /// The web identity token: a new one is tried at once.
    token_file: Option<PathBuf>,
    refused: Mutex<Option<Refused>>,
}

struct Refused {
    error: Arc<CredentialsError>,
    pause: Duration,
    until: Instant,
    token: Option<SystemTime>,
}

impl Patient {
    /// Asks this provider, with pauses.
    pub fn shared(inner: impl ProvideCredentials + 'static, token_file: Option<PathBuf>) -> SharedCredentialsProvider {
        let inner = SharedCredentialsProvider::new(inner);
        SharedCredentialsProvider::new(Self { inner, token_file, refused: Mutex::default() })
    }

    fn refused(&self) -> MutexGuard<'_, Option<Refused>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When the token was written; the kubelet replaces the file that its name leads to.
    fn token(&self) -> Option<SystemTime> {
        fs::metadata(self.token_file.as_deref()?).ok()?.modified().ok()
    }

    fn still_refused(&self) -> Option<CredentialsError> {
        let refused = self.refused();
        let refused = refused.as_ref().filter(|refused| Instant::now() < refused.until)?;
        (refused.token == self.token()).then(|| again(&refused.error))
    }

    /// Remembers what STS said.
    fn answered(
        &self,
        given: Result<Credentials, CredentialsError>,
        token: Option<SystemTime>,
    ) -> Result<Credentials, CredentialsError> {
        let mut refused = self.refused();
        match given {
            Err(error) if is_refusal(&error) => {
                let pause = refused.as_ref().map_or(FIRST, |before| (before.pause * 2).min(LONGEST));
                let error = Arc::new(error);
                let told = again(&error);
                *refused = Some(Refused { error, pause, until: Instant::now() + pause, token });
                Err(told)
            }
            other => {
                *refused = None;
                other
            }
        }
    }
}

impl ProvideCredentials for Patient {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async move {
            if let Some(error) = self.still_refused() {
                return Err(error);
            }
            // Before the call: a token that is replaced meanwhile is not the one that was refused.
            let token = self.token();
            let given = self.inner.provide_credentials().await;
            self.answered(given, token)
        })
    }

    fn fallback_on_interrupt(&self) -> Option<Credentials> {
        self.inner.fallback_on_interrupt()
    }
}

impl fmt::Debug for Patient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Patient").field("inner", &self.inner).finish_non_exhaustive()
    }
}

/// The SDK's error cannot be cloned; one that leads to it can be made as often as needed.
fn again(error: &Arc<CredentialsError>) -> CredentialsError {
    CredentialsError::provider_error(Shared(error.clone()))
}

#[derive(Debug)]
struct Shared(Arc<CredentialsError>);

impl fmt::Display for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("STS refused the credentials a short time ago")
    }
}

impl Error for Shared {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(self.0.as_ref())
    }
}
