//! What the simulated STS says to tokens, callers and roles.

use awf_aws::{
    backend::token::Claims,
    pipelines::Time,
    simulator::{
        book::{Book, Caller},
        scenario::Scenario,
    },
    text::pattern::like,
};
use serde_json::{Value, json};

use super::{ACCOUNT, REGION, at, two_steps};
use crate::support::tokens::{AUDIENCE, ISSUER, SUBJECT, claims, provider, token_of, trust_policy};

const ROLE: &str = "arn:aws:iam::100000000002:role/team/runner";
const OTHER: &str = "arn:aws:iam::111122223333:role/deployer";

/// The cluster's provider, a role for the plugin, and a role of another account that trusts the first with an external id.
fn iam() -> Value {
    json!({
        "oidc_providers": {provider(ACCOUNT): {"client_ids": [AUDIENCE]}},
        "roles": {
            ROLE: {"trust": trust_policy(ACCOUNT), "policies": [
                {"Statement": {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": OTHER}},
                {"Statement": [{"Effect": "Allow", "Action": ["sagemaker:Describe*"],
                    "Resource": "arn:aws:sagemaker:eu-west-1:100000000002:pipeline/P"}]},
            ]},
            OTHER: {"trust": {"Version": "2012-10-17", "Statement": [{
                "Effect": "Allow", "Principal": {"AWS": ROLE}, "Action": "sts:AssumeRole",
                "Condition": {"StringEquals": {"sts:ExternalId": "ticket-7"}},
            }]}},
        },
    })
}

struct Sts(Book);

impl Sts {
    fn new() -> Self {
        let scenario = json!({"iam": iam(), "pipelines": [
            {"name": "P", "region": REGION, "definition": two_steps()},
            {"name": "Q", "region": REGION, "definition": two_steps()},
        ]});
        Self(Book::new(Scenario::parse(&scenario.to_string()).unwrap(), at(0.0)).unwrap())
    }

    fn change(&mut self, patch: Value) {
        self.0.iam = Some(self.0.iam.clone().unwrap().patched(&patch).unwrap());
    }

    /// Code and message, or who one is then.
    fn web(&mut self, token: &str, now: Time) -> Result<Caller, (String, String)> {
        let input = json!({"RoleArn": ROLE, "RoleSessionName": "s", "WebIdentityToken": token});
        self.assumed(None, "AssumeRoleWithWebIdentity", &input, now)
    }

    fn assume(&mut self, caller: &Caller, more: Value, now: Time) -> Result<Caller, (String, String)> {
        let mut input = json!({"RoleArn": OTHER, "RoleSessionName": "s"});
        for (name, value) in more.as_object().unwrap() {
            input[name] = value.clone();
        }
        self.assumed(Some(caller), "AssumeRole", &input, now)
    }

    fn assumed(
        &mut self,
        caller: Option<&Caller>,
        operation: &str,
        input: &Value,
        now: Time,
    ) -> Result<Caller, (String, String)> {
        let answer = self.0.call_sts(caller, operation, input, now).result.map_err(|r| (r.code, r.message))?;
        Ok(self.0.caller(answer["Credentials"]["AccessKeyId"].as_str().unwrap(), REGION))
    }
}

fn token_with(change: impl FnOnce(&mut Value)) -> String {
    let mut claims = claims(at(3600.0));
    change(&mut claims);
    token_of(&claims)
}

fn good() -> String {
    token_with(|_| {})
}

#[test]
fn a_token_that_everything_agrees_with_becomes_the_role() {
    let caller = Sts::new().web(&good(), at(0.0)).unwrap();
    assert_eq!(caller.arn, "arn:aws:sts::100000000002:assumed-role/runner/s");
    assert_eq!((caller.role.as_deref(), caller.expires), (Some(ROLE), Some(at(3600.0))));
}

#[test]
fn each_thing_that_may_be_wrong_with_a_token_has_its_own_refusal() {
    let denied = ("AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity");
    let rows = [
        (token_with(|c| c["sub"] = "system:serviceaccount:argo:other".into()), denied),
        (
            token_with(|c| c["iss"] = "https://oidc.eks.us-west-2.amazonaws.com/id/NEW".into()),
            (
                "InvalidIdentityToken",
                "No OpenIDConnect provider found in your account for https://oidc.eks.us-west-2.amazonaws.com/id/NEW",
            ),
        ),
        (token_with(|c| c["aud"] = json!(["kubernetes"])), ("InvalidIdentityToken", "Incorrect token audience")),
        (
            token_with(|c| c["exp"] = 1_795_000_000.into()),
            (
                "ExpiredTokenException",
                "Token expired: current date/time 1795000000 must be before the expiration date/time 1795000000",
            ),
        ),
        (
            "a.b.c".to_owned(),
            (
                "InvalidIdentityToken",
                "The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)",
            ),
        ),
    ];
    for (token, (code, message)) in rows {
        assert_eq!(Sts::new().web(&token, at(0.0)).unwrap_err(), (code.to_owned(), message.to_owned()));
    }
}

#[test]
fn the_trust_policy_decides_by_its_conditions() {
    let accepts = |condition: Value| {
        let mut sts = Sts::new();
        let mut trust = trust_policy(ACCOUNT);
        trust["Statement"][0]["Condition"] = condition;
        sts.change(json!({"roles": {ROLE: {"trust": trust}}}));
        sts.web(&good(), at(0.0)).is_ok()
    };
    let (aud, sub) = (format!("{ISSUER}:aud"), format!("{ISSUER}:sub"));
    assert!(accepts(json!({})));
    assert!(accepts(json!({"StringEquals": {&aud: AUDIENCE}, "StringLike": {&sub: "system:serviceaccount:argo:*"}})));
    assert!(accepts(json!({"StringEquals": {&sub: ["system:serviceaccount:a:b", SUBJECT]}})));
    assert!(
        !accepts(json!({"StringEquals": {&sub: "system:serviceaccount:argo:*"}})),
        "a star is none in StringEquals"
    );
    assert!(!accepts(json!({"StringLike": {&sub: "system:serviceaccount:other:*"}})));
    assert!(!accepts(json!({"StringEquals": {&aud: "wrong", &sub: SUBJECT}})), "all keys must match");
    assert!(!accepts(json!({"StringEquals": {"oidc.eks.us-west-2.amazonaws.com/id/OLD:sub": SUBJECT}})));
    assert!(!accepts(json!({"StringNotEquals": {&sub: SUBJECT}})));
}

#[test]
fn a_role_that_is_missing_or_trusts_another_provider_or_action_denies_alike() {
    let mut sts = Sts::new();
    for change in [
        json!({"Principal": {"Federated": provider("111122223333")}}),
        json!({"Action": "sts:AssumeRole"}),
        json!({"Effect": "Deny"}),
    ] {
        let mut trust = trust_policy(ACCOUNT);
        for (name, value) in change.as_object().unwrap() {
            trust["Statement"][0][name] = value.clone();
        }
        sts.change(json!({"roles": {ROLE: {"trust": trust}}}));
        assert_eq!(sts.web(&good(), at(0.0)).unwrap_err().0, "AccessDenied", "{change}");
    }
    sts.change(json!({"roles": {ROLE: null}}));
    assert_eq!(sts.web(&good(), at(0.0)).unwrap_err().0, "AccessDenied");
    sts.change(json!({"oidc_providers": {provider(ACCOUNT): null}}));
    assert_eq!(sts.web(&good(), at(0.0)).unwrap_err().0, "InvalidIdentityToken");
}

#[test]
fn a_malformed_role_arn_is_told_as_sts_tells_it() {
    let input = json!({"RoleArn": "arn:aws:iam::::123", "RoleSessionName": "s", "WebIdentityToken": good()});
    let (code, message) = Sts::new().assumed(None, "AssumeRoleWithWebIdentity", &input, at(0.0)).unwrap_err();
    assert_eq!((code.as_str(), message.as_str()), ("ValidationError", "Request ARN is invalid"));
}

#[test]
fn another_accounts_role_needs_its_trust_the_external_id_and_the_callers_own_permission() {
    let mut sts = Sts::new();
    let first = sts.web(&good(), at(0.0)).unwrap();
    let second = sts.assume(&first, json!({"ExternalId": "ticket-7"}), at(1.0)).unwrap();
    assert_eq!(second.arn, "arn:aws:sts::111122223333:assumed-role/deployer/s");
    let denied = (
        "AccessDenied".to_owned(),
        format!("User: {} is not authorized to perform: sts:AssumeRole on resource: {OTHER}", first.arn),
    );
    for more in [json!({}), json!({"ExternalId": "ticket-8"})] {
        assert_eq!(sts.assume(&first, more, at(1.0)).unwrap_err(), denied);
    }
    // Its owner never trusted this one.
    assert_eq!(sts.assume(&second, json!({"ExternalId": "ticket-7"}), at(1.0)).unwrap_err().0, "AccessDenied");
    sts.change(json!({"roles": {ROLE: {"policies": []}}}));
    assert_eq!(sts.assume(&first, json!({"ExternalId": "ticket-7"}), at(1.0)).unwrap_err(), denied);
    // A trust in the whole account leaves it to that account's own policies.
    sts.change(json!({"roles": {
        OTHER: {"trust": {"Statement": {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::100000000002:root"},
                                        "Action": "sts:AssumeRole"}}},
        ROLE: {"policies": null},
    }}));
    sts.assume(&first, json!({}), at(1.0)).unwrap();
}

#[test]
fn a_chained_session_is_an_hour_long_at_most() {
    let mut sts = Sts::new();
    let first = sts.web(&good(), at(0.0)).unwrap();
    let long = json!({"ExternalId": "ticket-7", "DurationSeconds": "3601"});
    let (code, message) = sts.assume(&first, long, at(1.0)).unwrap_err();
    assert!(code == "ValidationError" && message.contains("role chaining"), "{code}: {message}");
}

#[test]
fn credentials_expire_at_sagemaker_and_at_sts() {
    let mut sts = Sts::new();
    let caller = sts.web(&good(), at(0.0)).unwrap();
    let describe = json!({"PipelineName": "P"});
    sts.0.call(&caller, "DescribePipeline", &describe, at(3599.0)).result.unwrap();
    let refused = sts.0.call(&caller, "DescribePipeline", &describe, at(3600.0)).result.unwrap_err();
    assert_eq!(refused.code, "ExpiredTokenException");
    let refused = sts.0.call_sts(Some(&caller), "GetCallerIdentity", &json!({}), at(3600.0)).result.unwrap_err();
    assert_eq!((refused.status, refused.code.as_str()), (403, "ExpiredToken"));
}

#[test]
fn a_role_with_policies_may_do_what_they_say() {
    let mut sts = Sts::new();
    let caller = sts.web(&good(), at(0.0)).unwrap();
    let code = |sts: &mut Sts, operation: &str, pipeline: &str| {
        sts.0.call(&caller, operation, &json!({"PipelineName": pipeline}), at(0.0)).result.err().map(|r| r.code)
    };
    assert_eq!(code(&mut sts, "DescribePipeline", "P"), None);
    assert_eq!(code(&mut sts, "DescribePipeline", "Q").as_deref(), Some("AccessDeniedException"));
    assert_eq!(code(&mut sts, "ListPipelineExecutions", "P").as_deref(), Some("AccessDeniedException"));
    let wider = json!({"Statement": [{"Effect": "Allow", "Action": "sagemaker:*", "Resource": "*"}]});
    sts.change(json!({"roles": {ROLE: {"policies": [wider]}}}));
    assert_eq!(code(&mut sts, "ListPipelineExecutions", "P"), None);
}

#[test]
fn a_policy_that_is_not_understood_is_refused_when_it_is_set() {
    let iam = Sts::new().0.iam.unwrap();
    for (patch, part) in [
        (json!({"roles": {"runner": {"trust": trust_policy(ACCOUNT)}}}), "is not arn:aws:iam"),
        (json!({"roles": {ROLE: {"trust": {"Statement": [{"Effect": "Allow", "Action": "*"}]}}}}), "lacks a Principal"),
        (
            json!({"roles": {ROLE: {"policies": [{"Statement": [{"Effect": "Allow", "Action": "*"}]}]}}}),
            "lacks a Resource",
        ),
        (
            json!({"roles": {ROLE: {"policies": [{"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*",
                "Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}}]}]}}}),
            "not IpAddress",
        ),
        (json!({"oidc_providers": {"https://oidc": {"client_ids": ["a"]}}}), "is not arn:aws:iam"),
        (json!({"users": {}}), "only objects oidc_providers and roles"),
    ] {
        let text = iam.patched(&patch).unwrap_err();
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn stars_and_question_marks_match_as_in_iam() {
    for (pattern, text) in [("*", ""), ("a*c", "abbc"), ("a?c", "abc"), ("*:argo:*", "x:argo:y"), ("a*b*c", "aXbYbZc")]
    {
        assert!(like(pattern, text), "{pattern} {text}");
    }
    for (pattern, text) in [("a?c", "ac"), ("a*c", "abd"), ("", "a"), ("abc*d", "abc"), ("A", "a")] {
        assert!(!like(pattern, text), "{pattern} {text}");
    }
}

#[test]
fn claims_are_decoded_without_a_signatures_blessing_and_shown_without_the_token() {
    let claims = Claims::decode(&format!("{}\n", good())).unwrap();
    assert_eq!(claims.service_account(), Some(("argo", "awf-aws-executor-plugin")));
    assert_eq!((claims.provider(), claims.expires), (ISSUER, Some(at(3600.0))));
    assert_eq!(
        claims.to_string(),
        format!("iss=https://{ISSUER} sub={SUBJECT} aud=sts.amazonaws.com exp=2026-11-18T12:06:40Z")
    );
    assert_eq!(Claims::decode(&token_of(&json!({"aud": "one"}))).unwrap().audiences, ["one"]);
    for text in ["", "a.b.c", "eyJhbGciOiJSUzI1NiJ9", "not a token", "a.b.c.d", "..."] {
        assert_eq!(Claims::decode(text), None, "{text}");
    }
}
