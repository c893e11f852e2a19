//! Who may come in: whoever has the token that Argo wrote for this pod.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use actix_web::http::header::{self, HeaderMap};
use subtle::ConstantTimeEq as _;

/// Why a request is refused; each text is what the user reads in the node's message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the request has no Authorization: Bearer header with Argo's token")]
    Missing,
    #[error("the token in the Authorization header is not the one in this pod's token file")]
    Wrong,
    /// The plugin's own fault, not the caller's.
    #[error("{0}")]
    Unreadable(String),
}

/// The token of this pod. Read when first needed and, until that succeeds, again on every request: an exit would show
/// the user only "connection refused".
#[derive(Debug)]
pub struct Token {
    /// `None`: everybody may come in.
    file: Option<PathBuf>,
    text: OnceLock<Vec<u8>>,
}

impl Token {
    /// The token in `file`; without a file everybody may come in.
    pub fn new(file: Option<PathBuf>) -> Self {
        Self { file, text: OnceLock::new() }
    }

    /// Whether requests can be judged at all.
    pub fn is_readable(&self) -> bool {
        self.file.as_deref().is_none_or(|file| self.read(file).is_ok())
    }

    /// Lets a request in, or says why not.
    pub fn check(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let Some(file) = self.file.as_deref() else {
            return Ok(());
        };
        let given = bearer(headers).ok_or(Refusal::Missing)?;
        let expected = self.read(file)?;
        if bool::from(expected.ct_eq(given)) { Ok(()) } else { Err(Refusal::Wrong) }
    }

    fn read(&self, file: &Path) -> Result<&[u8], Refusal> {
        if let Some(text) = self.text.get() {
            return Ok(text);
        }
        let text = fs::read(file).map_err(|error| unreadable(file, &error))?;
        let text = text.trim_ascii().to_vec();
        if text.is_empty() {
            return Err(unreadable(file, &io::Error::other("it is empty")));
        }
        Ok(self.text.get_or_init(|| text))
    }
}

fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}

fn unreadable(file: &Path, error: &io::Error) -> Refusal {
    // The owner of /proc/self is the process's effective uid.
    let uid = fs::metadata("/proc/self").map_or_else(|_| "unknown".to_owned(), |meta| meta.uid().to_string());
    Refusal::Unreadable(format!(
        "the plugin cannot read Argo's token file {} as uid {uid}: {error}; Argo writes it for a container \
         with runAsUser: 8737, and outside a pod --token-file names another",
        file.display()
    ))
}
