//! Why there are no credentials, as a sentence that names what to mend.
//!
//! The SDK reports a denied role as "dispatch failure"; the reason lies up to ten errors deeper, once per hop
//! (web identity, then the assumed role). The innermost STS answer is the cause. Every sentence here fits into 240 bytes,
//! so that it survives as a node's message, and never holds a token.

use std::{
    error::Error,
    fmt,
    path::{Path, PathBuf},
};

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_sts::{
    error::{ProvideErrorMetadata, SdkError},
    operation::{
        RequestId, assume_role::AssumeRoleError, assume_role_with_web_identity::AssumeRoleWithWebIdentityError,
    },
};
use serde::Deserialize;

use super::{
    codes::known_by_code,
    redact::redacted,
    wire::{chain, innermost},
};
use crate::{
    pipelines::{CallError, CallErrorKind, ClientKey},
    text::ellipsize,
};

/// Longest sentence, bytes: what a node's message has room for.
pub const SENTENCE_LIMIT: usize = 240;

/// What the pod was given for AssumeRoleWithWebIdentity (IAM roles for service accounts).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WebIdentity {
    /// `AWS_ROLE_ARN`.
    pub role_arn: Option<String>,
    /// `AWS_WEB_IDENTITY_TOKEN_FILE`.
    pub token_file: Option<PathBuf>,
}

/// Who the pod says it is: two claims of its web identity token. Not verified, for a diagnosis only.
#[derive(Debug, Default, Deserialize)]
struct Claims {
    #[serde(default)]
    iss: String,
    #[serde(default)]
    sub: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hop {
    WebIdentity,
    AssumeRole,
}

#[derive(Debug)]
struct StsFailure {
    hop: Hop,
    code: Option<String>,
    message: String,
    request_id: Option<String>,
    status: Option<u16>,
}

impl StsFailure {
    fn read<E: ProvideErrorMetadata>(hop: Hop, error: &SdkError<E>) -> Self {
        Self {
            hop,
            code: error.code().map(str::to_owned),
            message: error.message().unwrap_or_default().to_owned(),
            request_id: error.request_id().map(str::to_owned),
            status: error.raw_response().map(|response| response.status().as_u16()),
        }
    }
}

/// Explains an error chain that is about credentials; nothing for any other. `timed_out`: the call's time was over
/// before anything was sent, which leaves no error of the credentials' own.
pub fn explain(
    error: &(dyn Error + 'static),
    timed_out: bool,
    client: &ClientKey,
    web: &WebIdentity,
) -> Option<CallError> {
    let mut sts = None;
    let mut last: Option<&CredentialsError> = None;
    let mut timed_out = timed_out;
    for e in chain(error) {
        if let Some(credentials) = e.downcast_ref::<CredentialsError>() {
            last = Some(credentials);
            sts = None;
        } else if let Some(e) = e.downcast_ref::<SdkError<AssumeRoleWithWebIdentityError>>() {
            sts = Some(StsFailure::read(Hop::WebIdentity, e));
        } else if let Some(e) = e.downcast_ref::<SdkError<AssumeRoleError>>() {
            sts = Some(StsFailure::read(Hop::AssumeRole, e));
        } else if e.to_string().starts_with("identity resolver timed out") {
            timed_out = true;
        }
    }
    match (last, sts) {
        (Some(_), Some(failure)) => Some(sts_refused(&failure, error, client, web)),
        (Some(credentials), None) => Some(not_loaded(credentials, web)),
        (None, _) if timed_out => Some(too_slow(web)),
        (None, _) => None,
    }
}

/// The sentence for credentials that loaded but that AWS does not accept.
pub fn refused(code: &str, message: &str, request_id: Option<&str>, client: &ClientKey) -> String {
    let clock = if code.contains("Signature") { " (check the node's clock)" } else { "" };
    let request = Request(request_id);
    let message = redacted(message);
    let region = &client.region;
    fitting([
        format!("AWS in {region} does not accept the plugin's credentials{clock}: {code}: {message}{request}"),
        format!("AWS in {region} does not accept the plugin's credentials{clock}: {code}{request}"),
    ])
}

fn sts_refused(
    failure: &StsFailure,
    error: &(dyn Error + 'static),
    client: &ClientKey,
    web: &WebIdentity,
) -> CallError {
    let role = match failure.hop {
        Hop::WebIdentity => web.role_arn.as_deref(),
        Hop::AssumeRole => client.role_arn.as_deref(),
    };
    let request = Request(failure.request_id.as_deref());
    let Some(code) = failure.code.as_deref() else {
        let message = match failure.status {
            Some(status) => {
                format!("STS sent an unreadable answer (HTTP {status}), so there are no credentials{request}")
            }
            None => format!("cannot reach STS for credentials of role {}: {}", Known(role), innermost(error)),
        };
        return failed(CallErrorKind::Unreachable, None, None, [message]);
    };
    let unreadable_key = failure.message.contains("retrieve verification key");
    let kind = match known_by_code(code, failure.status.unwrap_or(400), &failure.message) {
        CallErrorKind::Throttled => CallErrorKind::Throttled,
        CallErrorKind::OutcomeUnknown => CallErrorKind::Unreachable,
        // STS could not ask the cluster's key server: an outage, nothing to mend in IAM.
        _ if code == "IDPCommunicationError" || unreadable_key => CallErrorKind::Unreachable,
        _ => CallErrorKind::Credentials,
    };
    let sentences = match (kind, failure.hop, code) {
        (CallErrorKind::Credentials, Hop::WebIdentity, "AccessDenied" | "AccessDeniedException") => {
            denied_web_identity(code, Known(role), request, &claims(web))
        }
        (CallErrorKind::Credentials, Hop::AssumeRole, "AccessDenied" | "AccessDeniedException") => {
            denied_role(code, Known(role), request, &failure.message)
        }
        (CallErrorKind::Credentials, _, "InvalidIdentityToken") => {
            invalid_identity(code, Known(role), request, &failure.message, &claims(web))
        }
        (CallErrorKind::Credentials, _, "ExpiredTokenException" | "ExpiredToken") => vec![
            format!(
                "the pod's web identity token has expired ({code}): check the node's clock and that the token volume is still refreshed; role {}{request}",
                Known(role)
            ),
            format!(
                "the pod's web identity token has expired ({code}): check the node's clock and the token volume{request}"
            ),
        ],
        (CallErrorKind::Credentials, hop, "ValidationError") => {
            let source = match hop {
                Hop::WebIdentity => "mend the service account's annotation eks.amazonaws.com/role-arn",
                Hop::AssumeRole => "mend role_arn or external_id",
            };
            vec![
                format!(
                    "STS cannot use role {} ({code}: {}): {source}{request}",
                    Known(role),
                    redacted(&failure.message)
                ),
                format!("STS cannot use the role's ARN ({code}): {source}{request}"),
            ]
        }
        _ => vec![
            format!(
                "STS gives no credentials for role {} ({code}: {}){request}",
                Known(role),
                redacted(&failure.message)
            ),
            format!("STS gives no credentials ({code}){request}"),
        ],
    };
    failed(kind, Some(code), failure.request_id.clone(), sentences)
}

fn denied_web_identity(code: &str, role: Known<'_>, request: Request<'_>, who: &Claims) -> Vec<String> {
    let (sub, iss) = (&who.sub, &who.iss);
    let mut sentences = Vec::new();
    if !sub.is_empty() {
        sentences.push(format!(
            "STS {code}: the trust policy of role {role} must allow sts:AssumeRoleWithWebIdentity to {sub} of {iss}{request}"
        ));
        sentences.push(format!(
            "STS {code}: the trust policy of role {role} must allow sts:AssumeRoleWithWebIdentity to {sub}{request}"
        ));
        sentences.push(format!("STS {code}: the trust policy of role {role} does not trust {sub}{request}"));
    }
    sentences.push(format!(
        "STS {code}: the trust policy of role {role} must allow sts:AssumeRoleWithWebIdentity to the pod's service account{request}"
    ));
    sentences.push(format!("STS {code}: mend the trust policy of role {role}{request}"));
    sentences
}

/// AWS's text names the caller: `User: <ARN> is not authorized to perform: sts:AssumeRole on resource: …`.
fn denied_role(code: &str, role: Known<'_>, request: Request<'_>, message: &str) -> Vec<String> {
    let caller =
        message.strip_prefix("User: ").and_then(|rest| rest.split_whitespace().next()).unwrap_or("the pod's role");
    vec![
        format!(
            "STS {code}: role {role} must trust {caller} (and its external id match), which needs sts:AssumeRole on it{request}"
        ),
        format!("STS {code}: role {role} must trust the pod's role (and its external id match){request}"),
        format!("STS {code}: mend the trust policy of role {role}{request}"),
    ]
}

fn invalid_identity(code: &str, role: Known<'_>, request: Request<'_>, message: &str, who: &Claims) -> Vec<String> {
    let iss = if who.iss.is_empty() { "this cluster" } else { who.iss.as_str() };
    if message.contains("No OpenIDConnect provider") {
        return vec![
            format!(
                "STS {code}: the account of role {role} has no IAM OIDC provider for {iss}: create it there{request}"
            ),
            format!("STS {code}: no IAM OIDC provider for {iss} in the role's account: create it there{request}"),
        ];
    }
    if message.contains("audience") {
        return vec![
            format!(
                "STS {code}: the IAM OIDC provider for {iss} lacks the token's audience (sts.amazonaws.com); role {role}{request}"
            ),
            format!("STS {code}: the IAM OIDC provider lacks the token's audience (sts.amazonaws.com){request}"),
        ];
    }
    vec![
        format!(
            "STS does not accept the pod's web identity token for role {role} ({code}: {}){request}",
            redacted(message)
        ),
        format!("STS does not accept the pod's web identity token ({code}){request}"),
    ]
}

fn not_loaded(error: &CredentialsError, web: &WebIdentity) -> CallError {
    if matches!(error, CredentialsError::ProviderTimedOut(_)) {
        return too_slow(web);
    }
    let cause = redacted(&innermost(error));
    let io = chain(error).any(|e| e.is::<std::io::Error>());
    let sentences = match (error, &web.token_file) {
        (CredentialsError::CredentialsNotLoaded(_), _) => vec![NOT_ANNOTATED.to_owned()],
        // The chain ends at the node's metadata service, which pods are not let in to: what is missing is what comes before.
        (_, None) if web.role_arn.is_none() && chain(error).any(|e| e.to_string().contains("IMDS")) => {
            vec![NOT_ANNOTATED.to_owned()]
        }
        (_, Some(file)) if io => vec![
            format!(
                "cannot read the web identity token {}: {cause}; a non-root container may need securityContext.fsGroup",
                file.display()
            ),
            format!("cannot read the web identity token: {cause}"),
        ],
        (CredentialsError::InvalidConfiguration(_), _) => {
            vec![format!("the AWS credentials are not configured properly: {cause}")]
        }
        _ => vec![format!("cannot load AWS credentials: {cause}")],
    };
    failed(CallErrorKind::Credentials, None, None, sentences)
}

const NOT_ANNOTATED: &str = "no AWS credentials found: annotate the workflow's service account with eks.amazonaws.com/role-arn \
     (only new pods see it), use EKS Pod Identity, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY";

/// With a web identity it is STS that is slow. Without one the chain ends at the node's metadata service, which pods
/// often cannot reach: that will not pass by itself.
fn too_slow(web: &WebIdentity) -> CallError {
    match &web.role_arn {
        Some(role) => failed(
            CallErrorKind::Unreachable,
            None,
            None,
            [format!("STS did not give credentials for role {role} in time"), "STS did not give credentials in time".to_owned()],
        ),
        None => failed(
            CallErrorKind::Credentials,
            None,
            None,
            ["no AWS credentials in time: is the workflow's service account annotated with eks.amazonaws.com/role-arn (only new pods see it), or has it a Pod Identity?"
                .to_owned()],
        ),
    }
}

fn failed(
    kind: CallErrorKind,
    code: Option<&str>,
    request_id: Option<String>,
    sentences: impl IntoIterator<Item = String>,
) -> CallError {
    CallError { kind, code: code.map(str::to_owned), message: fitting(sentences), request_id }
}

/// The first (fullest) sentence that fits, else the last one cut.
fn fitting(sentences: impl IntoIterator<Item = String>) -> String {
    let mut last = String::new();
    for sentence in sentences {
        last = redacted(&sentence);
        if last.len() <= SENTENCE_LIMIT {
            return last;
        }
    }
    ellipsize(&last, SENTENCE_LIMIT)
}

/// The payload of the token file, if it is a JWT that can be read; empty claims otherwise.
fn claims(web: &WebIdentity) -> Claims {
    web.token_file.as_deref().and_then(read_claims).unwrap_or_default()
}

fn read_claims(file: &Path) -> Option<Claims> {
    let token = std::fs::read_to_string(file).ok()?;
    let payload = token.trim().split('.').nth(1)?.replace('-', "+").replace('_', "/");
    let padding = "=".repeat((4 - payload.len() % 4) % 4);
    let json = aws_smithy_types::base64::decode(payload + &padding).ok()?;
    let claims: Claims = serde_json::from_slice(&json).ok()?;
    Some(Claims { iss: claims.iss.trim_start_matches("https://").to_owned(), sub: claims.sub })
}

/// A role's ARN, or a word for one that we were not told.
#[derive(Clone, Copy)]
struct Known<'a>(Option<&'a str>);

impl fmt::Display for Known<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.unwrap_or("(in the pod's configuration)"))
    }
}

/// The tail of a sentence that AWS support can be asked with.
#[derive(Clone, Copy)]
struct Request<'a>(Option<&'a str>);

impl fmt::Display for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(id) => write!(f, " (request {id})"),
            None => Ok(()),
        }
    }
}
