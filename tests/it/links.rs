//! Links into AWS's consoles, by partition, region and type of job.

use awf_aws::links::{execution_url, job_log, logs_url};

const LOGS: &str = "#logsV2:log-groups/log-group/$252Faws$252Fsagemaker$252F";

#[test]
fn an_executions_page_is_in_the_partition_and_region_of_its_arn() {
    let execution = |partition: &str, region: &str| {
        format!("arn:{partition}:sagemaker:{region}:100000000002:pipeline/MyPipeline/execution/p4jn9xou8a8s")
    };
    let landing =
        |host: &str, region: &str| format!("https://{region}.{host}/sagemaker/home?region={region}#/studio-landing");
    for (partition, region, expected) in [
        ("aws", "eu-west-1", Some(landing("console.aws.amazon.com", "eu-west-1"))),
        ("aws-cn", "cn-north-1", Some(landing("console.amazonaws.cn", "cn-north-1"))),
        ("aws-us-gov", "us-gov-west-1", Some(landing("console.amazonaws-us-gov.com", "us-gov-west-1"))),
        ("aws-iso", "us-iso-east-1", None),
    ] {
        assert_eq!(execution_url(&execution(partition, region)), expected, "{partition} {region}");
    }
}

#[test]
fn a_jobs_log_is_its_group_reduced_to_its_streams() {
    let job = |resource: &str| format!("arn:aws:sagemaker:eu-west-1:100000000002:{resource}");
    let filter = "$3FlogStreamNameFilter$3D";
    for (resource, expected) in [
        ("training-job/pipelines-abc-Train-xyz", format!("TrainingJobs{filter}pipelines-abc-Train-xyz$252F")),
        ("processing-job/pipelines-abc-Prep-xyz", format!("ProcessingJobs{filter}pipelines-abc-Prep-xyz$252F")),
        ("transform-job/pipelines-abc-Score-xyz", format!("TransformJobs{filter}pipelines-abc-Score-xyz$252F")),
        ("hyper-parameter-tuning-job/pipelines-abc-xyz", format!("TrainingJobs{filter}pipelines-abc-xyz-")),
        ("automl-job/pipelines-abc-xyz", format!("AutoMLJobs{filter}pipelines-abc-xyz")),
    ] {
        let whole =
            format!("https://eu-west-1.console.aws.amazon.com/cloudwatch/home?region=eu-west-1{LOGS}{expected}");
        assert_eq!(logs_url(&job(resource)).as_deref(), Some(whole.as_str()), "{resource}");
    }
    let lambda = "arn:aws:lambda:eu-west-1:100000000002:function:tell:live";
    let expected = "https://eu-west-1.console.aws.amazon.com/cloudwatch/home?region=eu-west-1#logsV2:log-groups/log-group/$252Faws$252Flambda$252Ftell";
    assert_eq!(logs_url(lambda).as_deref(), Some(expected));
}

#[test]
fn a_jobs_log_is_in_the_partition_of_its_arn() {
    for (partition, region, host) in [
        ("aws-cn", "cn-northwest-1", "console.amazonaws.cn"),
        ("aws-us-gov", "us-gov-east-1", "console.amazonaws-us-gov.com"),
    ] {
        let url = logs_url(&format!("arn:{partition}:sagemaker:{region}:100000000002:training-job/t")).unwrap();
        assert!(
            url.starts_with(&format!("https://{region}.{host}/cloudwatch/home?region={region}{LOGS}TrainingJobs")),
            "{url}"
        );
    }
    assert_eq!(logs_url("arn:aws-iso:sagemaker:us-iso-east-1:100000000002:training-job/t"), None);
}

#[test]
fn what_has_no_page_has_no_link() {
    for arn in [
        "",
        "execution",
        "arn:aws:sagemaker:eu-west-1:100000000002:pipeline/MyPipeline",
        "arn:aws:sagemaker:eu-west-1:100000000002:model/m",
        "arn:aws:states:eu-west-1:100000000002:execution/x",
        "arn:aws:sagemaker::100000000002:training-job/t",
    ] {
        assert_eq!((execution_url(arn), logs_url(arn)), (None, None), "{arn}");
    }
}

#[test]
fn a_jobs_log_is_known_by_group_and_prefix() {
    let of =
        |service: &str, resource: &str| job_log(&format!("arn:aws-cn:{service}:cn-north-1:100000000002:{resource}"));
    for (resource, group, prefix) in [
        ("training-job/a", "TrainingJobs", "a/"),
        ("processing-job/a", "ProcessingJobs", "a/"),
        ("transform-job/a", "TransformJobs", "a/"),
        ("hyper-parameter-tuning-job/a", "TrainingJobs", "a-"),
        ("automl-job/a", "AutoMLJobs", "a"),
    ] {
        assert_eq!(of("sagemaker", resource), Some((format!("/aws/sagemaker/{group}"), prefix.to_owned())));
    }
    assert_eq!((of("sagemaker", "endpoint/a"), of("lambda", "function:a"), job_log("a")), (None, None, None));
}
