//! Regions, partitions and ARNs: where a pipeline is, and whether the names given for it agree.
//!
//! Patterns: SageMaker's model (2017-07-24): PipelineNameOrArn, PipelineExecutionArn, RoleArn.

use super::{InputError, fields::Fields, sentence::shorten};

/// SageMaker's limit for every ARN it takes.
const MAX_ARN: usize = 2048;

/// Where the pipeline is, as account and region say it.
pub(super) struct Place {
    pub(super) partition: &'static str,
    pub(super) region: String,
    pub(super) account: String,
}

/// The parts of `arn:partition:service:region:account:resource`.
struct Arn<'a> {
    partition: &'a str,
    service: &'a str,
    region: &'a str,
    account: &'a str,
    resource: &'a str,
}

impl<'a> Arn<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        if text.len() > MAX_ARN {
            return None;
        }
        let mut parts = text.splitn(6, ':');
        let (Some("arn"), Some(partition), Some(service), Some(region), Some(account), Some(resource)) =
            (parts.next(), parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return None;
        };
        let known_partition = partition.strip_prefix("aws").is_some_and(|rest| rest.chars().all(is_partition_char));
        known_partition.then_some(Self { partition, service, region, account, resource })
    }
}

fn is_partition_char(c: char) -> bool {
    c.is_ascii_lowercase() || c == '-'
}

/// Reads `account_id`.
pub(super) fn read_account(fields: &Fields<'_>) -> Result<String, InputError> {
    let account = fields.required("account_id", "12 digits")?;
    let is_digits = account.bytes().all(|b| b.is_ascii_digit());
    match account.len() {
        12 if is_digits => Ok(account),
        short @ ..12 if is_digits => {
            let problem = format!(
                "is `{account}`, {short} digits; it must be 12 digits: \
                 YAML takes leading zeros from a number, so write it in quotes"
            );
            Err(fields.error("account_id", problem))
        }
        _ => Err(fields.refused("account_id", &account, "12 digits")),
    }
}

/// Reads `region_name`; the partition follows from it.
pub(super) fn read_region(fields: &Fields<'_>) -> Result<(String, &'static str), InputError> {
    const ALLOWED: &str = "an AWS region's code such as `us-west-2`";
    let region = fields.required("region_name", ALLOWED)?;
    match partition_of(&region) {
        Some(partition) => Ok((region, partition)),
        None => Err(fields.refused("region_name", &region, ALLOWED)),
    }
}

/// The partition of a region; `None` when it is not spelled like one. Regions newer than this crate pass.
pub fn partition_of(region: &str) -> Option<&'static str> {
    let parts: Vec<&str> = region.split('-').collect();
    let [area, middle @ .., number] = parts.as_slice() else { return None };
    let is_word = |word: &str| (2..=12).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_lowercase());
    let is_number = (1..=2).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit());
    if !is_number || !is_word(area) || !(1..=2).contains(&middle.len()) || !middle.iter().all(|word| is_word(word)) {
        return None;
    }
    Some(match (*area, middle) {
        ("cn", _) => "aws-cn",
        ("eusc", _) => "aws-eusc",
        ("us", ["gov", ..]) => "aws-us-gov",
        (_, ["iso", _]) => "aws-iso",
        (_, ["isob", _]) => "aws-iso-b",
        (_, ["isoe", _]) => "aws-iso-e",
        (_, ["isof", _]) => "aws-iso-f",
        _ => "aws",
    })
}

/// Reads `pipeline_name`, a name or an ARN, into the name.
pub(super) fn read_pipeline(fields: &Fields<'_>, place: &Place) -> Result<String, InputError> {
    const FIELD: &str = "pipeline_name";
    const ALLOWED: &str = "a pipeline's ARN or its name: 1 to 256 letters, digits and inner hyphens";
    let given = fields.required(FIELD, ALLOWED)?;
    if !given.starts_with("arn:") {
        return if is_hyphenated_name(&given, 256) { Ok(given) } else { Err(fields.refused(FIELD, &given, ALLOWED)) };
    }
    let refused = || fields.refused(FIELD, &given, ALLOWED);
    let arn = Arn::parse(&given).filter(|arn| arn.service == "sagemaker").ok_or_else(refused)?;
    let name = arn.resource.strip_prefix("pipeline/").ok_or_else(refused)?;
    if name.contains("/execution/") {
        return Err(fields.error(FIELD, "is the ARN of an execution, which belongs into `execution_arn`"));
    }
    if !is_hyphenated_name(name, 256) {
        return Err(refused());
    }
    check_place(fields, FIELD, &arn, place)?;
    Ok(name.to_owned())
}

/// Reads the ARN of an execution of the pipeline. It is kept as given: SageMaker changed the case of some over time.
pub(super) fn read_execution_arn(
    fields: &Fields<'_>,
    field: &'static str,
    place: &Place,
    pipeline: &str,
) -> Result<Option<String>, InputError> {
    let Some(given) = fields.word(field)? else { return Ok(None) };
    let refused =
        || fields.refused(field, &given, "an execution's ARN (`arn:aws:sagemaker:…:pipeline/NAME/execution/ID`)");
    let arn = Arn::parse(&given).filter(|arn| arn.service == "sagemaker").ok_or_else(refused)?;
    let (name, id) =
        arn.resource.strip_prefix("pipeline/").and_then(|rest| rest.split_once("/execution/")).ok_or_else(refused)?;
    if !is_hyphenated_name(name, 256) || id.is_empty() || !id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return Err(refused());
    }
    check_place(fields, field, &arn, place)?;
    if !name.eq_ignore_ascii_case(pipeline) {
        return Err(fields.quoting(field, |room| {
            format!("is of pipeline `{}`, but `pipeline_name` is `{}`", shorten(name, room), shorten(pipeline, room))
        }));
    }
    Ok(Some(given))
}

/// Reads `role_arn`.
pub(super) fn read_role(fields: &Fields<'_>, place: &Place) -> Result<Option<String>, InputError> {
    const FIELD: &str = "role_arn";
    let Some(given) = fields.word(FIELD)? else { return Ok(None) };
    let refused = || fields.refused(FIELD, &given, "an IAM role's ARN (`arn:aws:iam::ACCOUNT:role/NAME`)");
    let arn = Arn::parse(&given).ok_or_else(refused)?;
    let name = arn.resource.strip_prefix("role/").ok_or_else(refused)?;
    let is_role = arn.service == "iam"
        && arn.region.is_empty()
        && is_account(arn.account)
        && !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_+=,.@-/".contains(&b));
    if !is_role {
        return Err(refused());
    }
    check_partition(fields, FIELD, &arn, place)?;
    Ok(Some(given))
}

fn check_place(fields: &Fields<'_>, field: &str, arn: &Arn<'_>, place: &Place) -> Result<(), InputError> {
    if arn.account != place.account {
        return Err(fields.quoting(field, |room| {
            format!("is in account `{}`, but `account_id` is `{}`", shorten(arn.account, room), place.account)
        }));
    }
    if arn.region != place.region {
        return Err(fields.quoting(field, |room| {
            format!("is in region `{}`, but `region_name` is `{}`", shorten(arn.region, room), place.region)
        }));
    }
    check_partition(fields, field, arn, place)
}

fn check_partition(fields: &Fields<'_>, field: &str, arn: &Arn<'_>, place: &Place) -> Result<(), InputError> {
    if arn.partition == place.partition {
        return Ok(());
    }
    Err(fields.quoting(field, |room| {
        format!(
            "is in partition `{}`, but `region_name` `{}` is in `{}`",
            shorten(arn.partition, room),
            place.region,
            place.partition
        )
    }))
}

fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit())
}

/// SageMaker's pattern `[a-zA-Z0-9](-*[a-zA-Z0-9])*` with a limit: names of pipelines and of executions.
pub(super) fn is_hyphenated_name(text: &str, max: usize) -> bool {
    !text.is_empty()
        && text.len() <= max
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}
