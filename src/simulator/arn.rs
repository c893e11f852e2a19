//! ARNs of the simulated services, accounts and regions, and the identifiers in them.

use sha2::{Digest, Sha256};

use crate::text::hex;

/// An account's region: what quotas, tokens and names belong to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Scope {
    pub account: String,
    pub region: String,
}

impl Scope {
    /// The ARN of a SageMaker resource such as `pipeline/Name`.
    pub fn sagemaker(&self, resource: &str) -> String {
        format!("arn:{}:sagemaker:{}:{}:{resource}", partition(&self.region), self.region, self.account)
    }
}

/// The partition that a region belongs to.
pub fn partition(region: &str) -> &'static str {
    const PREFIXES: [(&str, &str); 7] = [
        ("cn-", "aws-cn"),
        ("us-gov-", "aws-us-gov"),
        ("us-isob-", "aws-iso-b"),
        ("us-isof-", "aws-iso-f"),
        ("us-iso-", "aws-iso"),
        ("eu-isoe-", "aws-iso-e"),
        ("eusc-", "aws-eusc"),
    ];
    PREFIXES.into_iter().find(|(prefix, _)| region.starts_with(prefix)).map_or("aws", |(_, partition)| partition)
}

/// A pipeline's or an execution's ARN taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PipelineArn {
    pub scope: Scope,
    pub pipeline: String,
    pub execution: Option<String>,
}

impl PipelineArn {
    /// Reads `arn:<partition>:sagemaker:<region>:<account>:pipeline/<name>[/execution/<id>]`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(6, ':');
        let (arn, partition_word, service) = (parts.next()?, parts.next()?, parts.next()?);
        let (region, account, resource) = (parts.next()?, parts.next()?, parts.next()?);
        let resource = resource.strip_prefix("pipeline/")?;
        let (pipeline, execution) = match resource.split_once("/execution/") {
            Some((pipeline, id)) => (pipeline, Some(id.to_owned())),
            None => (resource, None),
        };
        let whole = arn == "arn" && service == "sagemaker" && partition_word == partition(region);
        (whole && !pipeline.is_empty() && !pipeline.contains('/')).then(|| Self {
            scope: Scope { account: account.to_owned(), region: region.to_owned() },
            pipeline: pipeline.to_owned(),
            execution,
        })
    }
}

/// Gives identifiers that look random and follow from the seed.
#[derive(Clone, Debug)]
pub struct Ids {
    seed: u64,
    given: u64,
}

impl Ids {
    /// Identifiers from the first on; the same seed gives the same ones.
    pub fn new(seed: u64) -> Self {
        Self { seed, given: 0 }
    }

    fn digest(&mut self) -> [u8; 32] {
        self.given += 1;
        let mut hash = Sha256::new();
        hash.update(self.seed.to_be_bytes());
        hash.update(self.given.to_be_bytes());
        hash.finalize().into()
    }

    /// Up to 32 lower-case letters and digits, as in execution ids and job names.
    pub fn lower(&mut self, length: usize) -> String {
        self.spelled(b"abcdefghijklmnopqrstuvwxyz0123456789", length)
    }

    /// Up to 32 characters of access keys and role ids.
    pub fn upper(&mut self, length: usize) -> String {
        self.spelled(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", length)
    }

    fn spelled(&mut self, alphabet: &[u8], length: usize) -> String {
        let digest = self.digest();
        digest.iter().take(length).map(|byte| char::from(alphabet[usize::from(*byte) % alphabet.len()])).collect()
    }

    /// A request id in the form of a UUID.
    pub fn request(&mut self) -> String {
        let hex = hex(&self.digest()[..16]);
        format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    }
}
