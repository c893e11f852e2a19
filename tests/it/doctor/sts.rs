//! What STS and SageMaker refuse, with the policy or the command that would have been right.

use serde_json::{Value, json};

use super::{ISSUER, Pod, ROLE};

const ACCOUNTS_PIPELINE: &str = "arn:aws:sagemaker:us-west-2:100000000002:pipeline";

fn bare_issuer() -> &'static str {
    ISSUER.trim_start_matches("https://")
}

#[actix_rt::test]
async fn a_denied_token_gets_the_trust_policy_that_lets_it_in() {
    let pod = Pod::new().await;
    pod.simulator.faults(json!({"deny_web_identity": "access_denied"})).await;
    let broken = pod.broken("sts").await;
    broken.says("AccessDenied").says("STS does not say what is wrong").says(ROLE);
    let issuer = bare_issuer();
    assert_eq!(
        *broken.policy(0),
        json!({
            "Version": "2012-10-17",
            "Statement": [{
                "Effect": "Allow",
                "Principal": {"Federated": format!("arn:aws:iam::100000000002:oidc-provider/{issuer}")},
                "Action": "sts:AssumeRoleWithWebIdentity",
                "Condition": {"StringEquals": {
                    format!("{issuer}:aud"): "sts.amazonaws.com",
                    format!("{issuer}:sub"): "system:serviceaccount:ml:awf-aws-workflow",
                }},
            }],
        })
    );
    broken
        .command("aws iam update-assume-role-policy --role-name awf-aws-workflow --policy-document file://trust.json");
}

#[actix_rt::test]
async fn every_other_refusal_of_a_token_has_its_own_command() {
    let pod = Pod::new().await;
    let issuer = bare_issuer();
    for (denial, part, command) in [
        (
            "no_provider",
            "Account 100000000002, which is the role's, has no IAM OIDC provider for this cluster",
            format!("aws iam create-open-id-connect-provider --url {ISSUER} --client-id-list sts.amazonaws.com"),
        ),
        (
            "wrong_audience",
            "does not know the token's audience (sts.amazonaws.com)",
            format!(
                "aws iam add-client-id-to-open-id-connect-provider --open-id-connect-provider-arn \
                 arn:aws:iam::100000000002:oidc-provider/{issuer} --client-id sts.amazonaws.com"
            ),
        ),
        (
            "expired_token",
            "the node's clock is wrong",
            "kubectl delete pod -n ml -l workflows.argoproj.io/component=agent".to_owned(),
        ),
        (
            "unreachable",
            "could not fetch the cluster's signing keys",
            format!("curl -fsS {ISSUER}/.well-known/openid-configuration"),
        ),
    ] {
        pod.simulator.faults(json!({"deny_web_identity": denial})).await;
        let broken = pod.broken("sts").await;
        broken.says(part).command(&command);
    }
    // Mended, it is well.
    pod.simulator.faults(json!({"deny_web_identity": null})).await;
    assert_eq!(pod.report().await.code, Some(0));
}

#[actix_rt::test]
async fn an_sts_that_cannot_be_reached_is_a_matter_of_the_network() {
    let mut pod = Pod::new().await;
    pod.set("AWS_ENDPOINT_URL", "http://127.0.0.1:9");
    let broken = pod.broken("sts").await;
    broken.says("a VPC endpoint for com.amazonaws.us-west-2.sts");
}

#[actix_rt::test]
async fn a_denied_call_gets_the_statement_that_is_missing_with_both_spellings() {
    let pod = Pod::new().await;
    for (operation, check) in [("DescribePipeline", "describe-pipeline"), ("ListPipelineExecutions", "list-executions")]
    {
        pod.simulator.faults(json!({"deny": {operation: "always"}})).await;
        let broken = pod.broken(check).await;
        broken.says(&format!("{ROLE} may not call sagemaker:{operation} here"));
        assert_eq!(
            *broken.policy(0),
            json!({
                "Sid": format!("Allow{operation}"), "Effect": "Allow", "Action": format!("sagemaker:{operation}"),
                "Resource": [format!("{ACCOUNTS_PIPELINE}/MyPipeline"), format!("{ACCOUNTS_PIPELINE}/mypipeline")],
            })
        );
        broken.command(
            "awf-aws iam permissions --account-id 100000000002 --region us-west-2 --pipeline MyPipeline > permissions.json",
        );
        pod.simulator.faults(json!({"deny": {operation: null}})).await;
    }
    assert_eq!(pod.report().await.code, Some(0));
}

#[actix_rt::test]
async fn an_explicit_deny_is_not_answered_with_a_statement_that_cannot_lift_it() {
    let pod = Pod::new().await;
    let message = "User: arn:aws:sts::100000000002:assumed-role/awf-aws-workflow/s is not authorized to perform: \
                   sagemaker:DescribePipeline with an explicit deny in a service control policy";
    let error = json!({"code": "AccessDeniedException", "message": message, "status": 400});
    pod.simulator.faults(json!({"errors": {"DescribePipeline": error}})).await;
    pod.broken("describe-pipeline").await.says("no statement added to").says("a service control policy");
}

#[actix_rt::test]
async fn a_pipeline_that_is_not_there_is_a_matter_of_name_region_or_account() {
    let mut pod = Pod::new().await;
    pod.flags[0] = "--pipeline=Absent".to_owned();
    let broken = pod.broken("describe-pipeline").await;
    broken.says("Mend its name, --region (region_name) or --account-id (account_id)");
    broken.command("aws sagemaker list-pipelines --region us-west-2 --query 'PipelineSummaries[].PipelineName'");
    // The same by a region where it is not.
    pod.flags[0] = "--pipeline=MyPipeline".to_owned();
    pod.set("AWS_REGION", "eu-west-1");
    pod.broken("describe-pipeline").await.says("no such pipeline in this account and in eu-west-1");
}

#[actix_rt::test]
async fn calls_with_another_role_than_the_pods_are_told_whose_they_are() {
    let mut pod = Pod::new().await;
    let other = "arn:aws:iam::100000000002:role/another";
    pod.flag(format!("--pod-role={other}"));
    let broken = pod.broken("caller").await;
    broken.says("the calls are arn:aws:sts::100000000002:assumed-role/awf-aws-workflow/").says(other);
}

#[actix_rt::test]
async fn a_role_of_the_tasks_needs_both_policies_and_its_external_id() {
    let mut pod = Pod::new().await;
    let target = "arn:aws:iam::100000000003:role/sagemaker";
    pod.simulator.faults(json!({"external_ids": {target: "churn-1"}})).await;
    pod.flag(format!("--role-arn={target}"));
    pod.flag("--skip=describe-pipeline,list-executions");
    let broken = pod.broken("role-arn").await;
    broken.says("if its policy asks for an external id, give it by --external-id");
    assert_eq!(*broken.policy(0), json!({"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": target}));
    assert_eq!(broken.policy(1)["Statement"][0]["Principal"], json!({"AWS": ROLE}));

    pod.flag("--external-id=churn-2");
    let broken = pod.broken("role-arn").await;
    let condition: &Value = &broken.policy(1)["Statement"][0]["Condition"];
    assert_eq!(*condition, json!({"StringEquals": {"sts:ExternalId": "churn-2"}}));
    pod.flags.pop();
    pod.flag("--external-id=churn-1");
    let report = pod.report().await;
    assert_eq!(report.code, Some(0), "{:#}", report.object);
    let saw = report.check("role-arn")["saw"].as_str().unwrap();
    assert!(saw.starts_with("assumed: arn:aws:sts::100000000003:assumed-role/sagemaker/"), "{saw}");
}
