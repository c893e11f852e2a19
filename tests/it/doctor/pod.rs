//! What the pod was given, broken: variables, token files, claims, region.

use std::fs;

use serde_json::json;

use super::{Pod, ROLE, lock, token};

const NEW_PODS: &str = "kubectl delete pod -n ml -l workflows.argoproj.io/component=agent";

fn annotate(role: &str) -> String {
    format!("kubectl annotate serviceaccount -n ml awf-aws-workflow --overwrite eks.amazonaws.com/role-arn={role}")
}

#[actix_rt::test]
async fn a_pod_without_variables_is_told_to_annotate_its_service_account() {
    let mut pod = Pod::new().await;
    pod.unset("AWS_ROLE_ARN");
    pod.unset("AWS_WEB_IDENTITY_TOKEN_FILE");
    pod.flag("--namespace=ml");
    let broken = pod.broken("variables").await;
    broken.says("(awf-aws-workflow, not one named after the plugin)").says("spec.serviceAccountName");
    assert_eq!(broken.commands(), [&annotate("ROLE_ARN"), NEW_PODS]);
    // With the role said, the command is ready.
    pod.flag(format!("--pod-role={ROLE}"));
    pod.broken("variables").await.command(&annotate(ROLE));
    pod.flag("--pod-identity");
    pod.broken("variables").await.command(&format!(
        "aws eks create-pod-identity-association --cluster-name CLUSTER --namespace ml --service-account awf-aws-workflow --role-arn {ROLE}"
    ));
}

#[actix_rt::test]
async fn a_pod_identity_without_an_association_gets_its_command_and_the_trust_policy_of_its_kind() {
    let mut pod = Pod::new().await;
    pod.unset("AWS_ROLE_ARN");
    pod.unset("AWS_WEB_IDENTITY_TOKEN_FILE");
    pod.set("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:9/v1/credentials");
    let file = pod.file("pod-identity");
    pod.set("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", &file.display().to_string());
    pod.flag("--namespace=ml");
    pod.flag(format!("--pod-role={ROLE}"));
    pod.broken("token-file").await.says("EKS Pod Identity mounts it when a pod is made").command(NEW_PODS);
    // The agent on the node does not answer, as it does for an account without an association.
    fs::write(&file, token(json!({}))).unwrap();
    let broken = pod.broken("sts").await;
    assert_eq!(
        *broken.policy(0),
        json!({"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Principal": {"Service": "pods.eks.amazonaws.com"}, "Action": ["sts:AssumeRole", "sts:TagSession"],
            "Condition": {"StringEquals": {
                "aws:RequestTag/kubernetes-namespace": "ml", "aws:RequestTag/kubernetes-service-account": "awf-aws-workflow",
            }},
        }]})
    );
    broken.command(&format!(
        "aws eks create-pod-identity-association --cluster-name CLUSTER --namespace ml --service-account awf-aws-workflow --role-arn {ROLE}"
    ));
}

#[actix_rt::test]
async fn half_of_the_variables_were_set_by_hand() {
    for (missing, there) in
        [("AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE"), ("AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN")]
    {
        let mut pod = Pod::new().await;
        pod.unset(missing);
        pod.broken("variables")
            .await
            .says(&format!("{there} is set and {missing} is not"))
            .says(&format!("Take {there} out"));
    }
}

#[actix_rt::test]
async fn a_malformed_role_is_written_anew() {
    let mut pod = Pod::new().await;
    pod.set("AWS_ROLE_ARN", "arn:aws:iam::::123");
    pod.flag(format!("--pod-role={ROLE}"));
    let broken = pod.broken("variables").await;
    broken.says("AWS_ROLE_ARN: \"arn:aws:iam::::123\" is not a role's ARN").command(&annotate(ROLE)).command(NEW_PODS);
}

#[actix_rt::test]
async fn keys_that_hide_the_role_are_found_before_and_after_the_call() {
    let mut pod = Pod::new().await;
    pod.set("AWS_ACCESS_KEY_ID", "testing");
    pod.set("AWS_SECRET_ACCESS_KEY", super::CANARY);
    let report = pod.report().await;
    assert_eq!((report.code, report.of("broken")), (Some(1), vec!["variables", "caller"]), "{:#}", report.object);
    let saw = report.check("caller")["saw"].as_str().unwrap();
    assert_eq!(saw, format!("the calls are arn:aws:iam::100000000002:user/simulated's, not those of {ROLE}"));
    // Half a pair is none.
    pod.unset("AWS_SECRET_ACCESS_KEY");
    pod.broken("variables").await.says("AWS_ACCESS_KEY_ID is set and AWS_SECRET_ACCESS_KEY is not");
}

#[actix_rt::test]
async fn a_token_file_is_missing_empty_locked_or_something_else() {
    let mut pod = Pod::new().await;
    let file = pod.file("web-identity");
    let shown = file.display().to_string();
    fs::write(&file, "").unwrap();
    pod.broken("token-file")
        .await
        .says(&format!("{shown} is empty"))
        .command(NEW_PODS.replace("ml", "NAMESPACE").as_str());
    fs::write(&file, format!("no token but {}", super::CANARY)).unwrap();
    pod.broken("token-file").await.says("holds no JSON Web Token");
    fs::remove_file(&file).unwrap();
    pod.broken("token-file").await.says("does not exist").says("eks.amazonaws.com/skip-containers");
    fs::create_dir(&file).unwrap();
    pod.broken("token-file").await.says("cannot be read: Is a directory");
    fs::remove_dir(&file).unwrap();

    fs::write(&file, token(json!({}))).unwrap();
    lock(&file);
    pod.bound_by_modes = true;
    let broken = pod.broken("token-file").await;
    broken.says("cannot be read by user").says("mode 0000");
    let security = &broken.manifest()[0]["spec"]["securityContext"];
    assert_eq!(
        (&security["fsGroup"], &security["runAsUser"]),
        (&json!(8737), &json!(8737)),
        "what Argo would set, and the group"
    );
}

#[actix_rt::test]
async fn a_token_is_expired_or_made_for_somebody_else() {
    let mut pod = Pod::new().await;
    let file = pod.file("web-identity");
    fs::write(&file, token(json!({"exp": 1_700_000_000}))).unwrap();
    pod.broken("token-claims").await.says("the token has expired").says("exp=2023-11-14T22:13:20Z").command(NEW_PODS);

    fs::write(&file, token(json!({"aud": ["vault"]}))).unwrap();
    pod.broken("token-claims")
        .await
        .says("the token's audience is not sts.amazonaws.com")
        .says("aud=vault")
        .command("kubectl annotate serviceaccount -n ml awf-aws-workflow eks.amazonaws.com/audience-");
    // Where it is meant, it is no fault of the token's.
    pod.flag("--audience=vault");
    assert!(pod.report().await.of("well").contains(&"token-claims"));
    pod.flags.pop();

    fs::write(&file, token(json!({"sub": "system:serviceaccount:ml:default"}))).unwrap();
    assert!(pod.report().await.of("well").contains(&"token-claims"), "nobody said which account is expected");
    pod.flag("--service-account=awf-aws-workflow");
    let broken = pod.broken("token-claims").await;
    broken.says("sub=system:serviceaccount:ml:default").says("another service account than awf-aws-workflow in ml");
    assert_eq!(broken.manifest(), [json!({"spec": {"serviceAccountName": "awf-aws-workflow"}})]);
}

#[actix_rt::test]
async fn a_region_is_missing_misspelled_or_not_the_pipelines() {
    let mut pod = Pod::new().await;
    pod.unset("AWS_REGION");
    let report = pod.report().await;
    assert_eq!(report.of("broken"), ["region"], "{:#}", report.object);
    assert_eq!(report.of("skipped")[..3], ["sts", "caller", "role-arn"], "nothing was asked");

    pod.set("AWS_REGION", "us-west2");
    let broken = pod.broken("region").await;
    broken.says("\"us-west2\" is not the code of an AWS region, such as us-west-2");
    broken.command("aws ec2 describe-regions --query 'Regions[].RegionName' --output text");

    pod.set("AWS_REGION", "us-west-2");
    pod.flags[0] = "--pipeline=arn:aws:sagemaker:eu-west-1:100000000002:pipeline/MyPipeline".to_owned();
    pod.broken("region").await.says("it is us-west-2, but the pipeline is in eu-west-1");

    pod.flags[0] = "--pipeline=MyPipeline".to_owned();
    pod.set("AWS_REGION", "cn-north-1");
    pod.broken("region").await.says("cn-north-1 is in partition aws-cn, the role").says("is not");
}

#[actix_rt::test]
async fn argos_token_is_missing_or_belongs_to_another_user() {
    let mut pod = Pod::new().await;
    let file = pod.file("argo-token");
    fs::remove_file(&file).unwrap();
    pod.broken("argo-token").await.says("does not exist").says("kubectl exec POD -c awf-aws -- /awf-aws doctor");
    fs::write(&file, "\n").unwrap();
    pod.broken("argo-token").await.says("is empty");
    lock(&file);
    pod.bound_by_modes = true;
    let broken = pod.broken("argo-token").await;
    broken.says("cannot be read by user").says("The file is user 8737's");
    assert_eq!(broken.manifest()[0]["securityContext"]["runAsUser"], 8737);
    pod.flag("--token-file=");
    pod.flags.remove(1);
    let report = pod.report().await;
    assert_eq!(report.check("argo-token")["verdict"], "skipped", "outside of the agent's pod there is none");
}
