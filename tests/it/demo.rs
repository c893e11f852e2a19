//! The demo's agent and controller: do they behave as Argo does? And do the shipped workflows play to their end?

use std::{
    cell::RefCell,
    rc::Rc,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use awf_aws::{
    demo::{
        agent::{Agent, AgentSettings, broken_rules},
        controller::{Controller, Identity, NodeEnd, NodeEvent, Observer},
        template::{Definition, TemplateError, Variables, substitute_text},
        view::short_name,
    },
    input::{Action, read_task},
    protocol::{ExecuteTemplateArgs, Phase},
};
use serde_json::{Value, json};

use self::plugin::Plugin;
use crate::assets::workflows;

mod plugin;
mod program;

/// Answers each call with the next of these, the last one for ever.
fn in_turn<const N: usize>(replies: [(u16, &'static str); N]) -> impl Fn(&Value) -> (u16, String) + Send + Sync {
    let next = AtomicUsize::new(0);
    move |_| {
        let (status, text) = replies[next.fetch_add(1, Ordering::SeqCst).min(N - 1)];
        (status, text.to_owned())
    }
}

const SUCCEEDED: &str = r#"{"node":{"phase":"Succeeded","message":"done"}}"#;

fn task() -> Value {
    json!({"workflow": {"metadata": {"name": "wf", "namespace": "ml", "uid": "u"}}, "template": {"name": "t"}})
}

#[actix_rt::test]
async fn the_agent_sends_what_argos_agent_sends() {
    let plugin = Plugin::start(in_turn([(200, SUCCEEDED)]));
    let end = plugin.agent().execute("n", &task(), |_| ()).await;
    assert_eq!((end.phase, end.message.as_str()), (Phase::Succeeded, "done"));
    let seen = plugin.seen.lock().unwrap()[0].clone();
    assert_eq!((seen.method.as_str(), seen.path.as_str()), ("POST", "/api/v1/template.execute"));
    let header = |name: &str| seen.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str());
    assert_eq!(header("content-type"), Some("application/json"));
    assert_eq!(header("authorization"), Some("Bearer token"));
    assert_eq!(header("user-agent"), Some("Go-http-client/1.1"));
    assert_eq!(seen.body, task());
}

#[actix_rt::test]
async fn a_free_poll_leaves_the_node_as_it_is_and_is_asked_again() {
    let plugin = Plugin::start(in_turn([
        (
            200,
            r#"{"node":{"phase":"Running","message":"a","outputs":{"parameters":[{"name":"x","value":"1"}]}},"requeue":"1ms"}"#,
        ),
        (200, r#"{"node":{},"requeue":"1ms"}"#),
        (200, r#"{"node":{"phase":"Succeeded","message":"b"}}"#),
    ]));
    let agent = plugin.agent();
    let mut reports = Vec::new();
    let end = agent.execute("n", &task(), |status| reports.push((status.phase, status.message.clone()))).await;
    assert_eq!(reports, [(Phase::Running, "a".to_owned()), (Phase::Succeeded, "b".to_owned())]);
    assert_eq!(end.output("x"), Some("1"), "what a reply leaves out stays");
    let tally = agent.tally();
    assert_eq!((tally.calls, tally.free_polls, tally.reports), (3, 1, 2));
    assert!(tally.broken_rules.is_empty(), "{:?}", tally.broken_rules);
}

#[actix_rt::test]
async fn service_unavailable_is_tried_five_times_and_then_fails_the_node() {
    let plugin = Plugin::start(in_turn([(503, "busy")]));
    let agent = plugin.agent();
    let end = agent.execute("n", &task(), |_| ()).await;
    assert_eq!((end.phase, end.message.as_str()), (Phase::Failed, "busy"));
    assert_eq!((agent.tally().calls, agent.tally().repeats), (5, 4));
}

#[actix_rt::test]
async fn a_restarted_plugin_is_found_again_within_the_five_tries() {
    let plugin = Plugin::start(in_turn([(503, ""), (200, r#"{"node":{"pha"#), (503, ""), (200, SUCCEEDED)]));
    assert_eq!(plugin.agent().execute("n", &task(), |_| ()).await.phase, Phase::Succeeded);
}

#[actix_rt::test]
async fn nobody_listening_is_tried_again_and_then_fails_the_node() {
    let plugin = Plugin::start(in_turn([(200, SUCCEEDED)]));
    plugin.server.stop(true).await;
    let agent = plugin.agent();
    let end = agent.execute("n", &task(), |_| ()).await;
    assert_eq!((end.phase, agent.tally().calls), (Phase::Failed, 5));
}

#[actix_rt::test]
async fn an_answer_that_does_not_come_is_given_up() {
    let plugin = Plugin::slow(Duration::from_secs(60), in_turn([(200, SUCCEEDED)]));
    let settings = AgentSettings {
        client_timeout: Duration::from_millis(20),
        first_wait: Duration::from_millis(1),
        ..AgentSettings::new(&plugin.url, "token")
    };
    let agent = Agent::new(settings);
    assert_eq!(agent.execute("n", &task(), |_| ()).await.phase, Phase::Failed);
    assert_eq!(agent.tally().calls, 5);
}

#[actix_rt::test]
async fn other_statuses_fail_the_node_at_once_and_show_the_body() {
    let plugin = Plugin::start(in_turn([(403, "no token")]));
    let agent = plugin.agent();
    let end = agent.execute("n", &task(), |_| ()).await;
    assert_eq!((end.phase, end.message.as_str()), (Phase::Failed, "403 Forbidden: no token"));
    assert_eq!(agent.tally().calls, 1);
    let plugin = Plugin::start(in_turn([(500, "connection refused by something"), (200, SUCCEEDED)]));
    assert_eq!(plugin.agent().execute("n", &task(), |_| ()).await.phase, Phase::Succeeded, "the text looks transient");
}

#[actix_rt::test]
async fn an_empty_answer_fails_the_node_and_so_does_not_mine() {
    let plugin = Plugin::start(in_turn([(200, "")]));
    assert_eq!(plugin.agent().execute("n", &task(), |_| ()).await.message, "EOF");
    let plugin = Plugin::start(in_turn([(200, "{}")]));
    assert_eq!(plugin.agent().execute("n", &task(), |_| ()).await.message, "no plugin executed the template");
}

#[actix_rt::test]
async fn not_found_makes_the_agent_drop_the_plugin_for_good() {
    let plugin = Plugin::start(in_turn([(404, "what?"), (200, SUCCEEDED)]));
    let agent = plugin.agent();
    for _ in 0..2 {
        assert_eq!(agent.execute("n", &task(), |_| ()).await.message, "no plugin executed the template");
    }
    assert_eq!(agent.tally().calls, 1);
}

#[actix_rt::test]
async fn no_more_than_sixteen_calls_are_in_flight() {
    let plugin = Plugin::slow(Duration::from_millis(20), in_turn([(200, SUCCEEDED)]));
    let (agent, task) = (plugin.agent(), task());
    let ends = futures_util::future::join_all((0..50).map(|_| agent.execute("n", &task, |_| ()))).await;
    assert!(ends.iter().all(|end| end.phase == Phase::Succeeded));
    assert_eq!(plugin.most_at_once.load(Ordering::SeqCst), 16);
}

#[test]
fn every_rule_of_argos_is_named_when_a_reply_breaks_it() {
    let broken = |reply: Value| broken_rules(&reply).collect::<Vec<_>>();
    for good in [
        json!({}),
        json!({"node": null}),
        json!({"node": {}, "requeue": "2s"}),
        json!({"node": {"phase": "Running", "message": "m"}, "requeue": "1m30s"}),
        json!({"node": {"phase": "Failed", "message": "m", "outputs": {"parameters": [{"name": "a-B_1", "value": ""}], "result": "{}"}}}),
    ] {
        assert_eq!(broken(good.clone()), Vec::<String>::new(), "{good}");
    }
    let output =
        |parameters: Value| json!({"node": {"phase": "Error", "message": "m", "outputs": {"parameters": parameters}}});
    let result = |result: Value| json!({"node": {"phase": "Error", "message": "m", "outputs": {"result": result}}});
    for bad in [
        json!({"requeue": "2s"}),
        json!({"node": {}}),
        json!({"node": {}, "requeue": 2}),
        json!({"node": {}, "requeue": "0s"}),
        json!({"node": {}, "requeue": "1d"}),
        json!({"node": {"phase": "Running", "message": "m"}}),
        json!({"node": {"phase": "Running"}, "requeue": "2s"}),
        json!({"node": {"phase": "Failed", "message": "m"}, "requeue": "2s"}),
        json!({"node": {"phase": "Done", "message": "m"}}),
        json!({"node": {"phase": "Error", "message": "m".repeat(251)}}),
        output(json!([{"name": "a b", "value": ""}])),
        output(json!([{"name": "a", "value": 1}])),
        output(json!([{"name": "a"}])),
        output(json!([{"name": "a", "value": ""}, {"name": "a", "value": ""}])),
        output(json!([{"name": "a", "value": "v".repeat(8192)}])),
        result(json!("no json")),
        result(json!({"a": 1})),
        result(json!(format!("\"{}\"", "v".repeat(1024)))),
    ] {
        assert_eq!(broken(bad.clone()).len(), 1, "{bad}: {:?}", broken(bad.clone()));
    }
}

#[test]
fn tags_are_replaced_where_they_are_known() {
    let variables: Variables = [("a".to_owned(), "1".to_owned()), ("b.c".to_owned(), "{{a}}".to_owned())].into();
    for (given, wanted) in [
        ("{{a}}", "1"),
        ("x{{ a }}y{{b.c}}", "x1y{{a}}"),
        ("{{retries}} {{=a + 1}}", "{{retries}} {{=a + 1}}"),
        ("{{a", "{{a"),
        ("{{unknown", "{{unknown"),
        ("}}{{a}}", "}}1"),
        ("", ""),
    ] {
        assert_eq!(substitute_text(given, &variables), wanted, "{given}");
    }
}

/// A workflow played against a scripted plugin.
async fn play(definition: Definition, plugin: &Plugin) -> Result<Vec<NodeEnd>, TemplateError> {
    controller(definition, plugin, Rc::new(())).play().await
}

fn controller(definition: Definition, plugin: &Plugin, observer: Rc<dyn Observer>) -> Controller {
    let identity = Identity {
        name: "wf".to_owned(),
        namespace: "ml".to_owned(),
        uid: "27c01e7c-9d93-450f-a001-c64d649aac99".to_owned(),
        created: "2026-01-02T03:04:05Z".to_owned(),
    };
    Controller {
        definition,
        identity,
        agent: Rc::new(plugin.agent()),
        longest_backoff: Duration::from_millis(1),
        observer,
    }
}

fn definition(yaml: &str) -> Definition {
    Definition::parse(yaml).unwrap()
}

fn shipped() -> Definition {
    definition(awf_aws::demo::TEMPLATE)
}

#[actix_rt::test]
async fn the_shipped_template_sends_the_seeds_request_and_what_tells_nodes_apart() {
    let plugin = Plugin::start(in_turn([(200, SUCCEEDED)]));
    let nodes = play(shipped(), &plugin).await.unwrap();
    let names: Vec<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names, ["wf[0].validate-pipeline", "wf[1].execute-pipeline"]);
    let [validate, execute] = &plugin.bodies()[..] else { panic!("two requests") };
    assert_eq!(
        validate["workflow"],
        json!({"metadata": {"name": "wf", "namespace": "ml", "uid": "27c01e7c-9d93-450f-a001-c64d649aac99"}})
    );
    let template = &validate["template"];
    assert_eq!(template["name"], "validate-pipeline");
    assert_eq!((&template["inputs"], &template["metadata"]), (&json!({}), &json!({})));
    assert_eq!(
        template["plugin"]["awf-aws-plugin"],
        json!({
            "action": "validate",
            "account_id": "100000000002",
            "region_name": "us-west-2",
            "pipeline_name": "MyPipeline",
            "execution_key": "wf[0].validate-pipeline",
            // Without a retryStrategy Argo leaves it as it is.
            "attempt": "{{retries}}",
            "workflow_created": "2026-01-02T03:04:05Z",
        })
    );
    let input = &execute["template"]["plugin"]["awf-aws-plugin"];
    assert_eq!((&input["attempt"], &input["timeout"]), (&json!("0"), &json!("24h")));
    assert!(execute["template"]["retryStrategy"].is_object(), "the plugin sees it");
}

#[actix_rt::test]
async fn a_failed_attempt_is_repeated_under_its_next_number_and_an_error_is_not() {
    let failed = r#"{"node":{"phase":"Failed","message":"TrainModel failed"}}"#;
    let plugin = Plugin::start(in_turn([(200, SUCCEEDED), (200, failed), (200, SUCCEEDED)]));
    let nodes = play(shipped(), &plugin).await.unwrap();
    let phases = |node: &NodeEnd| node.attempts.iter().map(|a| a.phase).collect::<Vec<_>>();
    assert_eq!(phases(&nodes[1]), [Phase::Failed, Phase::Succeeded]);
    let bodies = plugin.bodies();
    let input = |n: usize| &bodies[n]["template"]["plugin"]["awf-aws-plugin"];
    assert_eq!((&input(1)["attempt"], &input(2)["attempt"]), (&json!("0"), &json!("1")));
    assert_eq!(input(1)["execution_key"], input(2)["execution_key"], "the node stays the same");

    let plugin = Plugin::start(in_turn([(200, SUCCEEDED), (200, r#"{"node":{"phase":"Error","message":"no"}}"#)]));
    assert_eq!(phases(&play(shipped(), &plugin).await.unwrap()[1]), [Phase::Error]);

    let plugin = Plugin::start(in_turn([(200, SUCCEEDED), (200, failed)]));
    assert_eq!(phases(&play(shipped(), &plugin).await.unwrap()[1]), [Phase::Failed; 3], "limit 2");
}

#[actix_rt::test]
async fn a_failed_step_is_the_last() {
    let plugin = Plugin::start(in_turn([(200, r#"{"node":{"phase":"Error","message":"no such pipeline"}}"#)]));
    let nodes = play(shipped(), &plugin).await.unwrap();
    assert_eq!(nodes.len(), 1);
    assert_eq!(nodes[0].phase(), Phase::Error);
}

#[actix_rt::test]
async fn a_fanned_out_step_has_a_key_of_its_own_for_each_item() {
    let plugin = Plugin::start(in_turn([(200, SUCCEEDED)]));
    let mut definition = shipped();
    assert_eq!(definition.fan_out("execute-pipeline", &json!([0, 1, 2])), 1);
    assert_eq!(play(definition, &plugin).await.unwrap().len(), 4);
    let mut keys: Vec<String> = plugin
        .bodies()
        .iter()
        .map(|body| body["template"]["plugin"]["awf-aws-plugin"]["execution_key"].as_str().unwrap().to_owned())
        .collect();
    keys.sort();
    keys.dedup();
    assert_eq!(
        keys,
        [
            "wf[0].validate-pipeline",
            "wf[1].execute-pipeline(0:0)",
            "wf[1].execute-pipeline(1:1)",
            "wf[1].execute-pipeline(2:2)"
        ]
    );
}

#[actix_rt::test]
async fn items_give_arguments_and_names_as_in_argo() {
    let plugin = Plugin::start(in_turn([(
        200,
        r#"{"node":{"phase":"Succeeded","message":"m","outputs":{"parameters":[{"name":"o","value":"v"}]}}}"#,
    )]));
    let yaml = r#"
kind: Workflow
metadata: {generateName: w-}
spec:
  entrypoint: main
  onExit: bye
  templates:
    - name: main
      steps:
        - - name: each
            template: leaf
            withItems: [{p: "a (1)", r: x}, {p: b, r: y}]
            arguments: {parameters: [{name: pipeline, value: "{{item.p}}-{{item.r}}"}]}
        - - name: after
            template: leaf
            arguments: {parameters: [{name: pipeline, value: "{{steps.each.outputs.parameters}}"}]}
    - name: leaf
      inputs: {parameters: [{name: pipeline}, {name: depth, default: 6}]}
      plugin: {other: {p: "{{inputs.parameters.pipeline}}", d: "{{inputs.parameters.depth}}", n: "{{steps.name}}"}}
    - name: bye
      container: {image: busybox}
"#;
    let nodes = play(definition(yaml), &plugin).await.unwrap();
    let names: Vec<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names, ["wf[0].each(0:p:a 1,r:x)", "wf[0].each(1:p:b,r:y)", "wf[1].after", "wf.onExit"]);
    assert_eq!(nodes[0].inputs, [("pipeline".to_owned(), "a (1)-x".to_owned()), ("depth".to_owned(), "6".to_owned())]);
    assert_eq!(nodes[2].inputs[0].1, r#"[{"o":"v"},{"o":"v"}]"#);
    assert!(!nodes[3].plugin);
    let last = &plugin.bodies()[2]["template"];
    assert_eq!(last["inputs"]["parameters"][1], json!({"name": "depth", "default": 6, "value": "6"}));
    assert_eq!(last["plugin"]["other"]["n"], "{{steps.name}}", "unknown tags stay");
}

#[actix_rt::test]
async fn what_cannot_be_played_is_said() {
    let plugin = Plugin::start(in_turn([(200, SUCCEEDED)]));
    let workflow = |main: &str| format!("kind: Workflow\nspec:\n  entrypoint: main\n  templates:\n    - {main}\n");
    for (main, wanted) in [
        ("{name: other}", "template \"main\" is not defined"),
        ("{name: main, dag: {tasks: []}}", "main: a dag is not played by the demo"),
        ("{name: main, steps: [[{name: a, template: main, when: x}]]}", "main: when is not played by the demo"),
        ("{name: main, inputs: {parameters: [{name: p}]}}", "main: no value for input parameter \"p\""),
        (
            "{name: main, steps: [[{name: a, template: main, arguments: {parameters: [{name: p, value: '{{steps.x.id}}'}]}}]]}",
            "main: argument p of wf[0].a cannot be resolved: {{steps.x.id}}",
        ),
        (
            "{name: main, steps: [[{name: a, template: main, withParam: nothing}]]}",
            "main: withParam of wf[0].a is not a JSON list: nothing",
        ),
    ] {
        let error = play(definition(&workflow(main)), &plugin).await.unwrap_err();
        assert_eq!(error.to_string(), wanted);
    }
    assert_eq!(Definition::parse("kind: Pod").unwrap_err(), TemplateError::NoWorkflow);
    assert!(matches!(Definition::parse("{"), Err(TemplateError::Yaml(_))));
}

/// Every workflow that we ship, played against a plugin that answers what the template declares: all nodes end, and each
/// request is a valid task.
#[actix_rt::test]
async fn every_shipped_workflow_plays_to_its_end_with_valid_requests() {
    let base = shipped();
    for (file, manifest) in workflows() {
        let own = definition(&manifest.to_string());
        let played = if own.template_ref.is_some() { own.over(&base) } else { own };
        let plugin = Plugin::start(|body| {
            let declared = body["template"]["outputs"]["parameters"].as_array().cloned().unwrap_or_default();
            let outputs: Vec<Value> = declared.iter().map(|p| json!({"name": p["name"], "value": "v"})).collect();
            let node =
                json!({"phase": "Succeeded", "message": "m", "outputs": {"parameters": outputs, "result": "{}"}});
            (200, json!({ "node": node }).to_string())
        });
        let nodes = play(played, &plugin).await.unwrap_or_else(|e| panic!("{file}: {e}"));
        assert!(nodes.iter().all(|node| node.phase() == Phase::Succeeded), "{file}: {nodes:?}");
        for body in plugin.bodies() {
            let text = body.to_string();
            let args: ExecuteTemplateArgs<'_> = serde_json::from_str(&text).unwrap();
            let task = read_task(&args).unwrap_or_else(|e| panic!("{file}: {e}\n{body}")).unwrap();
            assert_eq!(task.execution_key.is_none(), matches!(task.action, Action::Stop { .. }), "{file}");
            if let Action::Execute(execute) = &task.action {
                assert!(execute.timeout.is_some() && task.workflow_created.is_some(), "{file}");
            }
        }
    }
}

#[actix_rt::test]
async fn an_observer_hears_of_every_turn_of_a_node() {
    struct Heard(RefCell<Vec<String>>);
    impl Observer for Heard {
        fn event(&self, node: &str, event: NodeEvent<'_>) {
            let what = match event {
                NodeEvent::Started { attempt } => format!("started {attempt}"),
                NodeEvent::Reported(status) => format!("{:?}", status.phase),
                NodeEvent::Retrying { next, last, .. } => format!("retrying {next} after {:?}", last.phase),
                NodeEvent::Ended(end) => format!("ended {:?}", end.phase()),
            };
            self.0.borrow_mut().push(format!("{} {what}", short_name("wf", node)));
        }
    }
    let failed = r#"{"node":{"phase":"Failed","message":"x"}}"#;
    let plugin = Plugin::start(in_turn([(200, SUCCEEDED), (200, failed), (200, SUCCEEDED)]));
    let heard = Rc::new(Heard(RefCell::default()));
    controller(shipped(), &plugin, heard.clone()).play().await.unwrap();
    assert_eq!(
        *heard.0.borrow(),
        [
            "validate-pipeline started 0",
            "validate-pipeline Succeeded",
            "validate-pipeline ended Succeeded",
            "execute-pipeline started 0",
            "execute-pipeline Failed",
            "execute-pipeline retrying 1 after Failed",
            "execute-pipeline started 1",
            "execute-pipeline Succeeded",
            "execute-pipeline ended Succeeded",
        ]
    );
}
