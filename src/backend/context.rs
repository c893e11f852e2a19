//! Who asks for what: the circumstances of a call, for whoever explains its failure.

use std::path::PathBuf;

use super::{recent_denials::RecentDenials, token::Claims};
use crate::pipelines::ClientKey;

/// What the pod was given for AssumeRoleWithWebIdentity (IAM roles for service accounts).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WebIdentity {
    /// `AWS_ROLE_ARN`.
    pub role_arn: Option<String>,
    /// `AWS_WEB_IDENTITY_TOKEN_FILE`.
    pub token_file: Option<PathBuf>,
}

/// Which call failed, as far as the explanation needs it.
#[derive(Clone, Copy, Debug)]
pub struct CallContext<'a> {
    /// The operation's name as AWS writes it.
    pub operation: &'static str,
    /// Whether a lost reply leaves open if something changed.
    pub write: bool,
    /// Who asked: names the role and the region in the sentence.
    pub client: &'a ClientKey,
    pub web_identity: &'a WebIdentity,
    pub denials: &'a RecentDenials,
}

impl CallContext<'_> {
    /// What the pod's web identity token says, if there is one and it can be read.
    pub fn claims(&self) -> Option<Claims> {
        Claims::read(self.web_identity.token_file.as_deref()?).ok()
    }
}
