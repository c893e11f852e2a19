//! Argo's wire types: what we read of a request, how our answers look on the wire, Go's durations.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use awf_aws::protocol::{
    Artifact, ExecuteTemplateArgs, ExecuteTemplateReply, NodeResult, Outputs, Parameter, Phase, Reply, ReplyText,
    S3Artifact, Template, go_duration, parse_go_duration,
};
use serde_json::json;

fn on_the_wire(reply: &ExecuteTemplateReply) -> String {
    serde_json::to_string(reply).unwrap()
}

#[test]
fn not_mine_is_an_empty_object() {
    assert_eq!(on_the_wire(&ExecuteTemplateReply::not_mine()), "{}");
}

#[test]
fn a_free_poll_has_an_empty_node_and_a_requeue() {
    let reply = ExecuteTemplateReply::free_poll(Duration::from_secs(15));
    assert_eq!(on_the_wire(&reply), r#"{"node":{},"requeue":"15s"}"#);
}

#[test]
fn an_end_has_no_requeue() {
    let outputs = Outputs {
        parameters: vec![Parameter { name: "status".to_owned(), value: "Succeeded".to_owned() }],
        result: Some("[]".to_owned()),
        ..Outputs::default()
    };
    let reply = ExecuteTemplateReply::end(Phase::Succeeded, "done", Some(outputs));
    let expected = json!({"node": {"phase": "Succeeded", "message": "done",
        "outputs": {"parameters": [{"name": "status", "value": "Succeeded"}], "result": "[]"}}});
    assert_eq!(serde_json::to_value(&reply).unwrap(), expected);
    let without = ExecuteTemplateReply::end(Phase::Error, "why", None);
    assert_eq!(on_the_wire(&without), r#"{"node":{"phase":"Error","message":"why"}}"#);
}

#[test]
fn empty_lists_and_results_are_left_out() {
    let node = NodeResult { phase: Some(Phase::Running), outputs: Some(Outputs::default()), ..NodeResult::default() };
    assert_eq!(serde_json::to_string(&node).unwrap(), r#"{"phase":"Running","outputs":{}}"#);
}

#[test]
fn an_artifact_is_a_whole_place_and_is_never_deleted() {
    let s3 = S3Artifact::at("models", "a/model.tar.gz", "cn-north-1").unwrap();
    let artifact = Artifact::kept("model", s3);
    let wire = serde_json::to_value(&artifact).unwrap();
    let s3 = json!({"key": "a/model.tar.gz", "endpoint": "s3.cn-north-1.amazonaws.com.cn", "bucket": "models",
                    "region": "cn-north-1", "useSDKCreds": true});
    assert_eq!(wire, json!({"name": "model", "s3": s3, "artifactGC": {"strategy": "Never"}}));
    assert_eq!(serde_json::from_value::<Artifact>(wire).unwrap(), artifact);
    for (region, endpoint) in [
        ("us-gov-west-1", Some("s3.us-gov-west-1.amazonaws.com")),
        ("eusc-de-east-1", Some("s3.eusc-de-east-1.amazonaws.eu")),
        ("us-iso-east-1", None),
        ("us-isob-east-1", None),
    ] {
        let found = S3Artifact::at("b", "k", region).map(|s3| s3.endpoint);
        assert_eq!(found.as_deref(), endpoint, "{region}");
    }
}

#[test]
fn an_answer_reads_back_as_it_was_written() {
    for reply in [
        ExecuteTemplateReply::not_mine(),
        ExecuteTemplateReply::free_poll(Duration::from_millis(2500)),
        ExecuteTemplateReply::end(Phase::Failed, "no", Some(Outputs::default())),
    ] {
        assert_eq!(serde_json::from_str::<ExecuteTemplateReply>(&on_the_wire(&reply)).unwrap(), reply);
    }
}

#[test]
fn an_answer_goes_out_as_its_json_and_tells_its_phase() {
    let long = Outputs { result: Some("x".repeat(8_000)), ..Outputs::default() };
    for (reply, phase) in [
        (ExecuteTemplateReply::not_mine(), None),
        (ExecuteTemplateReply::free_poll(Duration::from_secs(15)), None),
        (ExecuteTemplateReply::end(Phase::Failed, "a \"quoted\" word\n", None), Some(Phase::Failed)),
        (ExecuteTemplateReply::end(Phase::Succeeded, "done", Some(long)), Some(Phase::Succeeded)),
    ] {
        let (text, read) = (on_the_wire(&reply), reply.clone());
        let made = ReplyText::from(reply.clone());
        assert_eq!(Reply::Once(reply).written_on(ReplyText::paper()), made);
        assert_eq!((made.phase(), made.read()), (phase, read));
        assert_eq!(made.into_json(), text);
    }
    let (end, reply) =
        (ReplyText::end(Phase::Error, "why", None), ExecuteTemplateReply::end(Phase::Error, "why", None));
    assert_eq!((end.phase(), end.read()), (Some(Phase::Error), reply.clone()));
    let text = Reply::End(end).written_on(ReplyText::paper());
    assert_eq!(text.phase(), Some(Phase::Error));
    assert_eq!(text.into_json(), on_the_wire(&reply));
}

#[test]
fn exactly_the_three_ends_are_terminal() {
    for (phase, terminal) in [
        (Phase::Pending, false),
        (Phase::Running, false),
        (Phase::Succeeded, true),
        (Phase::Failed, true),
        (Phase::Error, true),
    ] {
        assert_eq!(phase.is_terminal(), terminal, "{phase:?}");
    }
}

#[test]
fn a_request_may_lack_the_uid_and_have_fields_of_later_versions() {
    let body = json!({
        "workflow": {"metadata": {"name": "w", "labels": {"a": "b"}}, "spec": {}},
        "template": {"name": "t", "annotations": {}},
        "later": 1,
    });
    let body = body.to_string();
    let args: ExecuteTemplateArgs<'_> = serde_json::from_str(&body).unwrap();
    assert_eq!(args.workflow.metadata.name, "w");
    assert_eq!((args.workflow.metadata.uid.as_str(), args.workflow.metadata.namespace.as_str()), ("", ""));
    assert_eq!(args.template.name.unwrap().get(), r#""t""#);
}

#[test]
fn a_request_without_workflow_or_template_is_refused_by_name() {
    for (body, missing) in [
        (json!({"template": {}}), "workflow"),
        (json!({"workflow": {"metadata": {}}}), "template"),
        (json!({"workflow": {}, "template": {}}), "metadata"),
    ] {
        let body = body.to_string();
        let error = serde_json::from_str::<ExecuteTemplateArgs<'_>>(&body).unwrap_err().to_string();
        assert!(error.contains(&format!("missing field `{missing}`")), "{error}");
    }
    for body in [json!(null), json!([1, 2]), json!("x"), json!({"workflow": {"metadata": {}}, "template": null})] {
        assert!(serde_json::from_str::<ExecuteTemplateArgs<'_>>(&body.to_string()).is_err());
    }
}

#[test]
fn of_a_template_only_what_is_ours_is_kept() {
    fn body(template: &str) -> String {
        format!(r#"{{"workflow":{{"metadata":{{}}}},"template":{template}}}"#)
    }
    fn template(body: &str) -> Result<Template<'_>, serde_json::Error> {
        serde_json::from_str::<ExecuteTemplateArgs<'_>>(body).map(|args| args.template)
    }
    let deep = format!("{}{}", "[".repeat(1_000), "]".repeat(1_000));
    let foreign = body(&format!(r#"{{"plugin":{{"other":{deep}}},"container":{deep}}}"#));
    assert!(template(&foreign).unwrap().input.is_none());
    for none in [r#"{}"#, r#"{"plugin":null}"#, r#"{"plugin":[1]}"#, r#"{"plugin":"awf-aws-plugin"}"#] {
        assert!(template(&body(none)).unwrap().input.is_none(), "{none}");
    }
    // In its own order, and as it was written.
    let ours = body(r#"{"plugin":{"a":1,"awf-aws-plugin": {"z": 1.0,"a":2}},"inputs":null}"#);
    let ours = template(&ours).unwrap();
    assert_eq!(ours.input.unwrap().get(), r#"{"z": 1.0,"a":2}"#);
    assert!(ours.inputs.is_none());
    // It is for us to refuse, not for the next plugin.
    let null = body(r#"{"plugin":{"awf-aws-plugin":null}}"#);
    assert_eq!(template(&null).unwrap().input.unwrap().get(), "null");
    for bad in ["[]", "null", "1", r#"{"plugin":{"awf-aws-plugin":}}"#] {
        assert!(template(&body(bad)).is_err(), "{bad}");
    }
}

#[test]
fn durations_are_written_as_go_reads_them() {
    for (duration, text) in [
        (Duration::ZERO, "0s"),
        (Duration::from_millis(300), "300ms"),
        (Duration::from_secs(2), "2s"),
        (Duration::from_millis(2_500), "2500ms"),
        (Duration::from_secs(3_600), "3600s"),
        // Never down to zero: that would be no requeue at all.
        (Duration::from_micros(1), "1ms"),
        (Duration::from_micros(1_999_001), "2s"),
    ] {
        assert_eq!(go_duration(duration), text);
    }
}

#[test]
fn durations_are_read_as_go_reads_them() {
    for (text, duration) in [
        ("0", Duration::ZERO),
        ("0s", Duration::ZERO),
        ("300ms", Duration::from_millis(300)),
        ("1.5h", Duration::from_secs(5_400)),
        ("2h45m", Duration::from_secs(9_900)),
        ("1h2m3s4ms5us6ns", Duration::from_nanos(3_723_004_005_006)),
        ("1m0s", Duration::from_secs(60)),
        ("+5s", Duration::from_secs(5)),
        (" 5s ", Duration::from_secs(5)),
        (".5s", Duration::from_millis(500)),
        ("1.s", Duration::from_secs(1)),
        ("0.1s", Duration::from_millis(100)),
        ("0.100000000000000000000h", Duration::from_secs(360)),
        ("0.3333333333333333333h", Duration::from_nanos(1_199_999_999_999)),
        ("10µs", Duration::from_micros(10)),
        ("10μs", Duration::from_micros(10)),
        ("2562047h", Duration::from_secs(2_562_047 * 3_600)),
    ] {
        assert_eq!(parse_go_duration(text), Some(duration), "{text}");
    }
}

#[test]
fn what_go_refuses_is_no_duration() {
    for text in [
        "",
        " ",
        "5",
        "-5s",
        "1d",
        "1w",
        "s",
        ".s",
        "1..5s",
        "1.5.2s",
        "5 s",
        "1h 30m",
        "1H",
        "inf",
        "NaN",
        "1e3s",
        "+",
        "++5s",
        "0x5s",
        "٣s",
        "2562048h",
        "9999999999999h",
        "99999999999999999999s",
    ] {
        assert_eq!(parse_go_duration(text), None, "{text}");
    }
}

proptest::proptest! {
    #[test]
    fn a_written_duration_reads_back_to_the_millisecond(ms in 0_u64..10_000_000_000) {
        let duration = Duration::from_millis(ms);
        proptest::prop_assert_eq!(parse_go_duration(&go_duration(duration)), Some(duration));
    }

    #[test]
    fn no_text_panics_the_duration_reader(text in "\\PC*") {
        parse_go_duration(&text);
    }
}
