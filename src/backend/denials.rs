//! SageMaker's own denials: who was denied what, and the statement that is missing.
//!
//! AWS writes `User: <ARN> is not authorized to perform: <action> on resource: <ARN> because <why>`; the last two parts may
//! be absent.

use serde_json::json;

use super::{context::WebIdentity, redact::redacted};
use crate::{pipelines::ClientKey, text::sentence::fitting};

/// A denial taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial<'a> {
    /// The caller's ARN.
    pub caller: &'a str,
    pub action: &'a str,
    pub resource: Option<&'a str>,
    /// What follows: `because no identity-based policy allows the … action`, `with an explicit deny …`.
    why: &'a str,
}

impl<'a> Denial<'a> {
    /// Reads AWS's text; nothing when it says something else.
    pub fn read(message: &'a str) -> Option<Self> {
        let (caller, rest) = message.strip_prefix("User: ")?.split_once(" is not authorized to perform: ")?;
        let (action, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        let (resource, why) = match rest.strip_prefix("on resource: ") {
            Some(rest) => {
                let (resource, why) = rest.split_once(' ').unwrap_or((rest, ""));
                (Some(resource), why)
            }
            None => (None, rest),
        };
        Some(Self { caller, action, resource, why })
    }

    /// Name of the role whose session the caller is.
    pub fn role(&self) -> Option<&'a str> {
        self.caller.split_once(":assumed-role/")?.1.split('/').next()
    }

    /// The instance metadata service names a session after its instance: then these are the node's credentials.
    pub fn is_nodes(&self) -> bool {
        let session = self.caller.rsplit('/').next().unwrap_or_default();
        session.strip_prefix("i-").is_some_and(|id| id.len() >= 8 && id.bytes().all(|b| b.is_ascii_hexdigit()))
    }

    /// The statement that would allow it.
    pub fn statement(&self) -> String {
        json!({"Effect": "Allow", "Action": self.action, "Resource": self.resource.unwrap_or("*")}).to_string()
    }

    /// AWS's words without those that the hint repeats.
    fn words(&self) -> [String; 2] {
        let (caller, action) = (self.caller, self.action);
        let resource = self.resource.map(|resource| format!(" on resource: {resource}")).unwrap_or_default();
        let short = self.role().unwrap_or(caller);
        [
            format!("User: {caller} is not authorized to perform: {action}{resource}"),
            format!("User: {short} is not authorized to perform: {action}"),
        ]
    }

    /// What to mend, fullest first.
    fn hints(&self, client: &ClientKey, web: &WebIdentity) -> Vec<String> {
        let expected = web.role_arn.as_deref().filter(|_| client.role_arn.is_none());
        let expected_name = expected.and_then(|arn| arn.rsplit('/').next());
        let role = self.role().unwrap_or("the caller");
        if self.is_nodes() && expected_name != self.role() {
            return vec![
                "these are the node's credentials: annotate the workflow's service account with eks.amazonaws.com/role-arn \
                 (only new pods see it)"
                    .to_owned(),
                "the node's credentials: annotate the workflow's service account with eks.amazonaws.com/role-arn".to_owned(),
            ];
        }
        if let (Some(expected), Some(name)) = (expected, expected_name)
            && name != role
        {
            return vec![
                format!(
                    "this is not the pod's role {expected}: other credentials (AWS_ACCESS_KEY_ID, a profile) come first"
                ),
                format!("this is not the pod's role {name}: other credentials come first"),
            ];
        }
        let elsewhere = [
            ("explicit deny", "a Deny statement forbids it"),
            ("permissions boundary", "its permissions boundary must allow it, too"),
            ("service control policy", "the organization's service control policy must allow it, too"),
            ("session policy", "its session policy must allow it, too"),
        ];
        if let Some((_, hint)) = elsewhere.iter().find(|(word, _)| self.why.contains(word)) {
            return vec![format!("{hint} ({})", redacted(self.why)), (*hint).to_owned()];
        }
        let resource = self.resource.unwrap_or("*");
        let last = resource.rsplit(':').next().unwrap_or(resource);
        vec![
            format!("add to role {role}: {}", self.statement()),
            format!("add {}", self.statement()),
            format!("allow role {role} {} on {resource}", self.action),
            format!("allow it on {resource}"),
            format!("allow it on {last}"),
        ]
    }

    /// The sentence within `max` bytes; the words give way to the hint.
    pub fn sentence(&self, client: &ClientKey, web: &WebIdentity, max: usize) -> String {
        let hints = self.hints(client, web);
        let words = self.words();
        let fits = hints
            .iter()
            .find_map(|hint| words.iter().map(|words| format!("{words}; {hint}")).find(|text| text.len() <= max));
        fits.unwrap_or_else(|| fitting(&words[1], &hints, max))
    }
}
