//! Clients: built once, bounded, each with its own credentials and account.

use super::*;

#[actix_rt::test]
async fn the_credentials_own_account_needs_no_call() {
    let stub = Stub::always(caller_identity("999999999999")).await;
    let keys = Credentials::builder()
        .access_key_id("AKIDEXAMPLE")
        .secret_access_key("secret")
        .account_id("111122223333")
        .provider_name("test")
        .build();
    let sagemaker = SageMaker::with_config(sdk(&stub.url, keys).await, no_metrics());
    let ended = sagemaker.call(plain(), Call::GetCallerIdentity).await;
    assert_eq!(ended.result, Ok(CallReply::CallerIdentity { account: "111122223333".into() }));
    assert!(stub.asked().is_empty());
}

#[actix_rt::test]
async fn sts_is_asked_for_the_account_once_per_client() {
    let stub = Stub::start(|_, before| match before {
        0 => refusal("Throttling", "not JSON for STS, so unreadable"),
        1 => stub::sts_refusal(403, "AccessDenied", "not now"),
        _ => caller_identity("111122223333"),
    })
    .await;
    let sagemaker = backend(&stub).await;
    let first = sagemaker.call(plain(), Call::GetCallerIdentity).await;
    assert!(first.result.is_err(), "{first:?}");
    let again = || sagemaker.call(plain(), Call::GetCallerIdentity);
    if again().await.result.is_err() {
        again().await.result.expect("the third answer is good");
    }
    let known = stub.asked().len();
    let (a, b) = tokio::join!(again(), again());
    for ended in [a, b] {
        assert_eq!(ended.result, Ok(CallReply::CallerIdentity { account: "111122223333".into() }));
    }
    assert_eq!(stub.asked().len(), known, "a known account is not asked for again");
    let elsewhere = ClientKey { region: "us-east-1".into(), ..plain() };
    sagemaker.call(elsewhere, Call::GetCallerIdentity).await.result.expect("answered");
    assert!(stub.asked().last().unwrap().head.contains("/us-east-1/sts/"), "signed for its own region");
}

fn aws(asked: &Asked) -> Reply {
    match asked.operation.as_str() {
        "AssumeRole" => sts_credentials("AssumeRole", "222233334444"),
        _ => answer(200, "{}"),
    }
}

#[actix_rt::test]
async fn a_client_is_built_once_and_its_role_assumed_once() {
    let stub = Stub::start(|asked, _| aws(asked)).await;
    let sagemaker = backend(&stub).await;
    let calls = (0..32).map(|_| sagemaker.call(with_role("runner"), Call::DescribeExecution { arn: EXECUTION.into() }));
    for ended in futures_util::future::join_all(calls).await {
        ended.result.expect("answered");
    }
    assert_eq!(sagemaker.clients_built(), 1);
    let operations = stub.operations();
    assert_eq!(operations.iter().filter(|o| *o == "AssumeRole").count(), 1, "{operations:?}");
    assert_eq!(operations.len(), 33);
    let assumed = stub.asked().into_iter().find(|asked| asked.operation == "AssumeRole").unwrap();
    for part in [
        "RoleArn=arn%3Aaws%3Aiam%3A%3A222233334444%3Arole%2Frunner",
        "RoleSessionName=awf-aws",
        "ExternalId=external-7",
    ] {
        assert!(assumed.body.contains(part), "{}", assumed.body);
    }
    let identity = sagemaker.call(with_role("runner"), Call::GetCallerIdentity).await;
    assert_eq!(identity.result, Ok(CallReply::CallerIdentity { account: "222233334444".into() }));
}

#[actix_rt::test]
async fn regions_roles_and_external_ids_get_clients_of_their_own() {
    let stub = Stub::start(|asked, _| aws(asked)).await;
    let sagemaker = backend(&stub).await;
    let keys = [
        plain(),
        ClientKey { region: "us-east-1".into(), ..plain() },
        with_role("a"),
        with_role("b"),
        ClientKey { external_id: None, ..with_role("a") },
    ];
    for key in keys.iter().chain(&keys) {
        sagemaker.call(key.clone(), Call::DescribeExecution { arn: EXECUTION.into() }).await.result.expect("answered");
    }
    assert_eq!(sagemaker.clients_built(), 5);
}

#[actix_rt::test]
async fn clients_are_bounded_and_the_longest_unused_goes_first() {
    let stub = Stub::start(|asked, _| aws(asked)).await;
    let sagemaker = backend(&stub).await;
    for n in 0..MAX_CLIENTS {
        let key = ClientKey { region: format!("eu-west-{n}"), ..plain() };
        sagemaker.call(key, Call::DescribeExecution { arn: EXECUTION.into() }).await.result.expect("answered");
    }
    let region = |n: usize| ClientKey { region: format!("eu-west-{n}"), ..plain() };
    for (n, built) in [(0, 0), (100, 1), (0, 1), (1, 2), (0, 2)] {
        sagemaker.call(region(n), Call::DescribeExecution { arn: EXECUTION.into() }).await.result.expect("answered");
        assert_eq!(sagemaker.clients_built(), MAX_CLIENTS as u64 + built);
        assert_eq!(sagemaker.clients_kept(), MAX_CLIENTS);
    }
}

#[derive(Debug)]
struct Panics;

impl ProvideCredentials for Panics {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async { unreachable!("a bug below the SDK") })
    }
}

#[actix_rt::test]
async fn a_panic_below_the_sdk_is_an_unknown_outcome() {
    let stub = Stub::always(answer(200, "{}")).await;
    let sagemaker = Arc::new(SageMaker::with_config(sdk(&stub.url, Panics).await, no_metrics()));
    for call in [start(), Call::GetCallerIdentity] {
        let broken_off = format!("{} broke off inside the plugin; its outcome is unknown", call.operation());
        let CallEnded { result, .. } = carry_out(sagemaker.clone(), plain(), call).await;
        let failed = result.expect_err("it panicked");
        assert_eq!((failed.kind, failed.message), (Kind::OutcomeUnknown, broken_off));
    }
}

#[derive(Debug)]
struct NotThere;

impl ProvideCredentials for NotThere {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::ready(Err(CredentialsError::not_loaded(
            "no providers in chain provided credentials",
        )))
    }
}

#[actix_rt::test]
async fn without_credentials_the_message_says_where_they_could_come_from() {
    let stub = Stub::always(answer(200, "{}")).await;
    let sagemaker = SageMaker::with_config(sdk(&stub.url, NotThere).await, no_metrics());
    for call in [start(), describe(), Call::GetCallerIdentity] {
        let failed = sagemaker.call(plain(), call).await.result.expect_err("no credentials");
        assert_eq!(failed.kind, Kind::Credentials);
        assert!(failed.message.contains("eks.amazonaws.com/role-arn"), "{failed:?}");
    }
    assert!(stub.asked().is_empty());
}
