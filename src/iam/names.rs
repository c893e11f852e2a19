//! Names of AWS and Kubernetes, checked once. What a reader refuses is a sentence that goes after the name of the flag.

use std::fmt;

use crate::input::partition_of;

/// Where an account's things are: the partition follows from the region.
pub const PARTITIONS: [&str; 8] =
    ["aws", "aws-cn", "aws-us-gov", "aws-eusc", "aws-iso", "aws-iso-b", "aws-iso-e", "aws-iso-f"];

/// The issuer of a cluster's tokens, as IAM writes it in ARNs and in condition keys: without `https://`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer(String);

impl Issuer {
    /// Reads an issuer with or without `https://`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let given = text.trim();
        if given.contains(":oidc-provider/") {
            return Err(format!("{given:?} is the ARN of a provider; give what follows `oidc-provider/` in it"));
        }
        let bare = given.strip_prefix("https://").unwrap_or(given).trim_end_matches('/');
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._~/".contains(c);
        let host = bare.split('/').next().unwrap_or_default();
        if host.contains('.') && !host.starts_with('.') && bare.len() <= 255 && bare.chars().all(plain) {
            return Ok(Self(bare.to_owned()));
        }
        Err(format!(
            "{given:?} is not the URL of an OIDC issuer; give what `aws eks describe-cluster --name CLUSTER --query \
             cluster.identity.oidc.issuer --output text` prints, such as https://oidc.eks.us-west-2.amazonaws.com/id/EXAMPLE"
        ))
    }

    /// As the token and the provider have it.
    pub fn url(&self) -> String {
        format!("https://{}", self.0)
    }

    /// The partition of the region in its host name; `aws` for an issuer that is not EKS's.
    pub fn partition(&self) -> &'static str {
        let host = self.0.split('/').next().unwrap_or_default();
        host.split('.').find_map(partition_of).unwrap_or("aws")
    }

    /// The identity provider that IAM needs for it, in an account.
    pub fn provider(&self, partition: &str, account: &str) -> String {
        format!("arn:{partition}:iam::{account}:oidc-provider/{}", self.0)
    }
}

impl fmt::Display for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A service account, or a pattern of them: both parts may hold `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    pub namespace: String,
    pub account: String,
}

impl Subject {
    /// Reads the subject of a token, `system:serviceaccount:<namespace>:<name>`.
    pub fn of_claim(sub: &str) -> Option<Self> {
        let (namespace, account) = sub.strip_prefix("system:serviceaccount:")?.split_once(':')?;
        Some(Self { namespace: self::namespace(namespace).ok()?, account: self::account(account).ok()? })
    }

    /// As a token has it.
    pub fn claim(&self) -> String {
        format!("system:serviceaccount:{}:{}", self.namespace, self.account)
    }

    /// Whether it stands for more than one account. `StringEquals` takes a `*` for a star.
    pub fn is_pattern(&self) -> bool {
        self.namespace.contains('*') || self.account.contains('*')
    }
}

/// A role: its ARN taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleArn {
    pub arn: String,
    pub partition: String,
    pub account: String,
    /// Without its path: what the commands of `aws iam` want.
    pub name: String,
}

impl RoleArn {
    /// Reads the ARN of a role.
    pub fn parse(text: &str) -> Result<Self, String> {
        let arn = text.trim();
        let wrong = || format!("{arn:?} is not a role's ARN, such as arn:aws:iam::100000000002:role/awf-aws-workflow");
        let parts: Vec<&str> = arn.splitn(6, ':').collect();
        let ["arn", partition, "iam", "", account, resource] = parts.as_slice() else { return Err(wrong()) };
        let path = resource.strip_prefix("role/").ok_or_else(wrong)?;
        let name = path.rsplit('/').next().unwrap_or_default();
        let plain = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-/".contains(c);
        if !PARTITIONS.contains(partition) || !is_account(account) || name.is_empty() || !path.chars().all(plain) {
            return Err(wrong());
        }
        let (partition, account) = ((*partition).to_owned(), (*account).to_owned());
        Ok(Self { arn: arn.to_owned(), partition, account, name: name.to_owned() })
    }
}

/// Reads an account's number.
pub fn account_id(text: &str) -> Result<String, String> {
    let id = text.trim();
    if is_account(id) { Ok(id.to_owned()) } else { Err(format!("{id:?} is not an AWS account; it has 12 digits")) }
}

fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit())
}

/// Reads a region's code; gives its partition with it.
pub fn region(text: &str) -> Result<(String, &'static str), String> {
    let region = text.trim();
    let partition = partition_of(region);
    partition
        .map(|partition| (region.to_owned(), partition))
        .ok_or_else(|| format!("{region:?} is not the code of an AWS region, such as us-west-2"))
}

/// Reads a namespace, which may hold `*`. All namespaces of a cluster are refused: whoever may make a pod anywhere would
/// have the role.
pub fn namespace(text: &str) -> Result<String, String> {
    let name = text.trim();
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '*';
    if (1..=63).contains(&name.len()) && name.chars().all(plain) && !name.chars().all(|c| c == '*') {
        return Ok(name.to_owned());
    }
    Err(format!(
        "{name:?} is not a namespace, such as ml, or a pattern with a beginning or an end of its own, such as team-*"
    ))
}

/// Reads a service account's name, which may hold `*`.
pub fn account(text: &str) -> Result<String, String> {
    let name = text.trim();
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.*".contains(c);
    if (1..=253).contains(&name.len()) && name.chars().all(plain) {
        return Ok(name.to_owned());
    }
    Err(format!("{name:?} is not a service account, such as awf-aws-workflow, or a pattern with *"))
}

/// Reads a pipeline: its name, its ARN (of which the name counts), or a pattern with `*`.
pub fn pipeline(text: &str) -> Result<String, String> {
    let given = text.trim();
    let name = given.rsplit_once(":pipeline/").map_or(given, |(_, name)| name);
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '*';
    if (1..=256).contains(&name.len()) && name.chars().all(plain) {
        return Ok(name.to_owned());
    }
    Err(format!("{given:?} is not a pipeline's name or ARN, or a pattern with * such as churn-*"))
}

/// Reads an audience.
pub fn audience(text: &str) -> Result<String, String> {
    let audience = text.trim();
    let plain = |c: char| c.is_ascii_graphic() && c != '"' && c != '*' && c != '\'';
    if (1..=255).contains(&audience.len()) && audience.chars().all(plain) {
        return Ok(audience.to_owned());
    }
    Err(format!("{audience:?} is not an audience, such as sts.amazonaws.com"))
}

/// Reads an external id (STS, AssumeRole: 2 to 1,224 of these characters).
pub fn external_id(text: &str) -> Result<String, String> {
    let id = text.trim();
    let plain = |c: char| c.is_ascii_alphanumeric() || "_+=,.@:/-".contains(c);
    if (2..=1224).contains(&id.len()) && id.chars().all(plain) {
        return Ok(id.to_owned());
    }
    Err(format!("{id:?} is not an external id; allowed are 2 to 1224 letters, digits and any of _+=,.@:/-"))
}

/// Reads a partition.
pub fn partition(text: &str) -> Result<&'static str, String> {
    let partition = text.trim();
    let known = PARTITIONS.into_iter().find(|known| *known == partition);
    known.ok_or_else(|| format!("{partition:?} is not one of {}", PARTITIONS.join(", ")))
}

/// Reads the name of an EKS cluster.
pub fn cluster(text: &str) -> Result<String, String> {
    let name = text.trim();
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if (1..=100).contains(&name.len()) && name.chars().all(plain) {
        return Ok(name.to_owned());
    }
    Err(format!("{name:?} is not the name of an EKS cluster; allowed are 1 to 100 letters, digits, - and _"))
}
