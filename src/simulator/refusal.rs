//! Errors as AWS words them, and the checks of a request's members.

use serde::de::DeserializeOwned;
use serde_json::Value;

/// A refused call: what goes over the wire as `__type` and `Message`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Refusal {
    pub status: u16,
    pub code: String,
    pub message: String,
}

impl Refusal {
    /// A refusal with an HTTP status and AWS's error code.
    pub fn new(status: u16, code: &str, message: impl Into<String>) -> Self {
        Self { status, code: code.to_owned(), message: message.into() }
    }

    /// An input that AWS finds invalid.
    pub fn validation(message: impl Into<String>) -> Self {
        Self::new(400, "ValidationException", message)
    }

    /// Something named in the request does not exist.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(400, "ResourceNotFound", message)
    }

    /// The request contradicts an earlier one or what is under way.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(400, "ConflictException", message)
    }

    /// The sentence that AWS's request validation builds.
    pub fn constraint(field: &str, value: &str, constraint: &str) -> Self {
        let shown = if value.len() > 200 { "..." } else { value };
        Self::validation(format!(
            "1 validation error detected: Value '{shown}' at '{field}' failed to satisfy constraint: {constraint}"
        ))
    }

    /// A required member is absent.
    pub fn missing(field: &str) -> Self {
        Self::validation(format!(
            "1 validation error detected: Value null at '{field}' failed to satisfy constraint: Member must not be null"
        ))
    }
}

/// Reads a request's body into its input shape; members that the shape does not know are ignored, as AWS does.
pub fn read<T: DeserializeOwned>(input: &Value) -> Result<T, Refusal> {
    T::deserialize(input).map_err(|e| Refusal::new(400, "SerializationException", e.to_string()))
}

/// A required member.
pub fn required<'a, T>(field: &str, value: &'a Option<T>) -> Result<&'a T, Refusal> {
    value.as_ref().ok_or_else(|| Refusal::missing(field))
}

/// Checks a length in characters.
pub fn length(field: &str, value: &str, least: usize, most: usize) -> Result<(), Refusal> {
    let n = value.chars().count();
    if n < least {
        let rule = format!("Member must have length greater than or equal to {least}");
        return Err(Refusal::constraint(field, value, &rule));
    }
    if n > most {
        return Err(Refusal::constraint(
            field,
            value,
            &format!("Member must have length less than or equal to {most}"),
        ));
    }
    Ok(())
}

/// Checks a ClientRequestToken: required, 32 to 128 characters.
pub fn token(value: &Option<String>) -> Result<&str, Refusal> {
    let token = required("clientRequestToken", value)?;
    length("clientRequestToken", token, 32, 128)?;
    Ok(token)
}

/// Checks a name of letters, digits and inner hyphens: `[a-zA-Z0-9](-*[a-zA-Z0-9]){0,N}`.
pub fn dashed_name(field: &str, value: &str, most: usize) -> Result<(), Refusal> {
    length(field, value, 1, most)?;
    let inner = value.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if inner && !value.starts_with('-') && !value.ends_with('-') {
        return Ok(());
    }
    let rule = format!(
        "Member must satisfy regular expression pattern: [a-zA-Z0-9](-*[a-zA-Z0-9]){{0,{}}}",
        most.saturating_sub(1)
    );
    Err(Refusal::constraint(field, value, &rule))
}

/// Checks a description: at most 3072 characters on one line.
pub fn description(field: &str, value: &str) -> Result<(), Refusal> {
    length(field, value, 0, 3072)?;
    if value.contains(['\n', '\r']) {
        return Err(Refusal::constraint(field, value, "Member must satisfy regular expression pattern: .*"));
    }
    Ok(())
}

/// Checks a page size: 1 to 100, 100 when absent.
pub fn page_size(value: Option<i64>) -> Result<usize, Refusal> {
    let n = value.unwrap_or(100);
    if n < 1 {
        let rule = "Member must have value greater than or equal to 1";
        return Err(Refusal::constraint("maxResults", &n.to_string(), rule));
    }
    if n > 100 {
        let rule = "Member must have value less than or equal to 100";
        return Err(Refusal::constraint("maxResults", &n.to_string(), rule));
    }
    Ok(usize::try_from(n).unwrap_or(100))
}
