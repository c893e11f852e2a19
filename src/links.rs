//! Links into AWS's consoles: the page of an execution, the log of a job.
//!
//! Executions have a page only in SageMaker Studio, and its address holds the id of a Studio domain, which no answer about an
//! execution tells. So the link leads to where Studio is opened, in the right partition and region; there an execution is found
//! by its ARN (aws/amazon-sagemaker-feedback#145).

/// Where an execution's page is opened. `None` for what is no execution's ARN, or in a partition whose console is not known.
pub fn execution_url(execution_arn: &str) -> Option<String> {
    let arn = Arn::parse(execution_arn).filter(|arn| arn.service == "sagemaker")?;
    arn.resource.strip_prefix("pipeline/")?.split_once("/execution/")?;
    let region = arn.region;
    Some(format!("https://{region}.{}/sagemaker/home?region={region}#/studio-landing", arn.console()?))
}

/// The region of an ARN.
pub fn region_of(arn: &str) -> Option<&str> {
    Arn::parse(arn).map(|arn| arn.region)
}

/// The CloudWatch page of a job's log: its group, reduced to the job's streams. `None` where the job's type has no group of
/// its own.
pub fn logs_url(job_arn: &str) -> Option<String> {
    let arn = Arn::parse(job_arn)?;
    let (group, streams) = match (arn.service, arn.resource.split_once(['/', ':'])?) {
        ("sagemaker", _) => job_log(job_arn).map(|(group, streams)| (group, Some(streams)))?,
        // A version or an alias has no group of its own.
        ("lambda", ("function", name)) => (format!("/aws/lambda/{}", name.split(':').next().unwrap_or(name)), None),
        _ => return None,
    };
    let filter = streams.map(|prefix| format!("$3FlogStreamNameFilter$3D{}", escaped(&prefix))).unwrap_or_default();
    let (region, console, group) = (arn.region, arn.console()?, escaped(&group));
    Some(format!(
        "https://{region}.{console}/cloudwatch/home?region={region}#logsV2:log-groups/log-group/{group}{filter}"
    ))
}

/// The log group of a job, and what the names of its streams begin with. `None` for what has no streams of its own: a
/// function's are those of all its calls.
pub fn job_log(job_arn: &str) -> Option<(String, String)> {
    let arn = Arn::parse(job_arn).filter(|arn| arn.service == "sagemaker")?;
    let (kind, name) = arn.resource.split_once('/')?;
    Some((format!("/aws/sagemaker/{}", group(kind)?), streams(kind, name)))
}

/// The last part of the log group that jobs of this type write to.
fn group(kind: &str) -> Option<&'static str> {
    match kind {
        // A tuning job writes nothing itself; its training jobs do.
        "training-job" | "hyper-parameter-tuning-job" => Some("TrainingJobs"),
        "processing-job" => Some("ProcessingJobs"),
        "transform-job" => Some("TransformJobs"),
        "automl-job" => Some("AutoMLJobs"),
        _ => None,
    }
}

/// What the names of a job's streams begin with.
fn streams(kind: &str, name: &str) -> String {
    match kind {
        // `<training job>/algo-…`, and the training jobs are named after their tuning job, with a number.
        "hyper-parameter-tuning-job" => format!("{name}-"),
        "automl-job" => name.to_owned(),
        // With the slash, so that a job whose name goes on is not shown too.
        _ => format!("{name}/"),
    }
}

/// As CloudWatch's console writes a slash in its fragment: escaped twice, with a dollar sign for the percent sign.
fn escaped(text: &str) -> String {
    text.replace('/', "$252F")
}

/// The parts of an ARN that links need.
struct Arn<'a> {
    partition: &'a str,
    service: &'a str,
    region: &'a str,
    resource: &'a str,
}

impl<'a> Arn<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.splitn(6, ':');
        let (arn, partition, service) = (parts.next()?, parts.next()?, parts.next()?);
        let (region, _account, resource) = (parts.next()?, parts.next()?, parts.next()?);
        (arn == "arn" && !region.is_empty()).then_some(Self { partition, service, region, resource })
    }

    /// The partition's console, below the region's name.
    fn console(&self) -> Option<&'static str> {
        match self.partition {
            "aws" => Some("console.aws.amazon.com"),
            "aws-cn" => Some("console.amazonaws.cn"),
            "aws-us-gov" => Some("console.amazonaws-us-gov.com"),
            _ => None,
        }
    }
}
