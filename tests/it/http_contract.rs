//! The HTTP contract, row by row.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers and probes of tests")]

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use actix_web::{
    App,
    http::{
        Method, StatusCode,
        header::{self, HeaderMap},
    },
    test::{self, TestRequest},
    web,
};
use awf_aws::{
    app,
    config::{Config, KubernetesConfig, LogConfig, LogFormat},
    http::{self, AppState, EXECUTE_PATH, auth::Token},
};
use proptest::{
    collection::{btree_map, vec},
    prelude::*,
    strategy::ValueTree as _,
    test_runner::TestRunner,
};
use serde_json::{Value, json};

use crate::supervision::{Script, Scripted, series, supervised};

const TOKEN: &str = "bcdfghjklmnpqrstvwxz2456789bcdfg";

/// A file of its own for each test.
fn token_file(test: &str, text: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("token-{test}"));
    fs::write(&path, text).unwrap();
    path
}

fn state(token: Option<PathBuf>) -> web::Data<AppState> {
    let (supervisor, metrics, _death) = supervised(Scripted::new(Script::Hangs));
    let (token, allowed_roles) = (Arc::new(Token::new(token)), Arc::new([]));
    web::Data::new(AppState { supervisor, token, allowed_roles, reread: Arc::default(), metrics })
}

/// What the API answers to one request.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        assert_eq!(self.headers.get(header::CONTENT_TYPE).unwrap(), "application/json");
        serde_json::from_str(&self.text).unwrap()
    }
}

/// What one of the two services answers.
async fn send_to(routes: fn(&mut web::ServiceConfig), state: &web::Data<AppState>, request: TestRequest) -> Answer {
    let app = test::init_service(App::new().app_data(state.clone()).configure(routes)).await;
    answer(test::call_service(&app, request.to_request()).await).await
}

async fn send(state: &web::Data<AppState>, request: TestRequest) -> Answer {
    send_to(http::api, state, request).await
}

async fn send_to_ops(state: &web::Data<AppState>, path: &str) -> Answer {
    send_to(http::ops, state, TestRequest::get().uri(path)).await
}

async fn answer(response: actix_web::dev::ServiceResponse) -> Answer {
    let (status, headers) = (response.status(), response.headers().clone());
    let text = String::from_utf8(test::read_body(response).await.to_vec()).unwrap();
    Answer { status, headers, text }
}

/// A request as the agent sends it.
fn post(body: impl Into<web::Bytes>) -> TestRequest {
    TestRequest::post()
        .uri(EXECUTE_PATH)
        .insert_header((header::CONTENT_TYPE, "application/json"))
        .insert_header((header::AUTHORIZATION, format!("Bearer {TOKEN}")))
        .set_payload(body)
}

fn body(plugin: Value) -> Value {
    json!({
        "workflow": {"metadata": {"name": "sm-pipelines-r58tg", "namespace": "argo", "uid": "27c01e7c"}},
        "template": {"name": "validate_pipeline", "inputs": {}, "outputs": {}, "metadata": {}, "plugin": plugin},
    })
}

fn mock(state: &str) -> Value {
    body(json!({"awf-aws-plugin": {
        "account_id": "100000000002", "action": "execute", "pipeline_name": "MyPipeline", "region_name": "us-west-2",
        "execution_key": "node", "mock": true, "mock_state": state,
    }}))
}

#[actix::test]
async fn the_right_token_gets_an_answer() {
    let state = state(Some(token_file("right", &format!("{TOKEN}\n"))));
    let answer = send(&state, post(mock("success").to_string())).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.json()["node"]["phase"], "Succeeded");
    assert_eq!(answer.json()["node"]["message"], "success");
    assert!(answer.json().get("requeue").is_none());
}

#[actix::test]
async fn a_request_that_was_read_before_is_answered_as_at_first() {
    let state = state(None);
    let invalid = body(json!({"awf-aws-plugin": {"action": "execute"}}));
    let others = body(json!({"another-plugin": {}}));
    let asked = [mock("success"), mock("running"), invalid, others, mock("success")];
    let mut first = Vec::new();
    for request in &asked {
        first.push(send(&state, post(request.to_string())).await.text);
    }
    assert_eq!(first[0], first[4]);
    assert!(first[0] != first[1] && first[2].contains("`region_name`") && first[3] == "{}", "{first:?}");
    for (request, expected) in asked.iter().zip(&first) {
        assert_eq!(send(&state, post(request.to_string())).await.text, *expected);
    }
}

#[actix::test]
async fn anything_but_post_is_405_and_says_what_is_allowed() {
    let state = state(None);
    for method in [Method::GET, Method::PUT, Method::DELETE, Method::HEAD, Method::OPTIONS, Method::PATCH] {
        let answer = send(&state, TestRequest::with_uri(EXECUTE_PATH).method(method.clone())).await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{method}");
        assert_eq!(answer.headers.get(header::ALLOW).unwrap(), "POST");
    }
}

#[actix::test]
async fn every_request_is_counted_by_the_route_that_took_it() {
    let post_execute = || post(mock("success").to_string());
    let get = |path: &str| TestRequest::get().uri(path);
    for (of_the_api, request, handler, code) in [
        (true, post_execute(), "execute", 200),
        (true, get(EXECUTE_PATH), "execute", 405),
        (true, get("/healthz"), "health", 200),
        (true, TestRequest::post().uri("/healthz"), "other", 404),
        (true, get("/metrics"), "other", 404),
        (false, get("/metrics"), "metrics", 200),
        (false, get("/readyz"), "health", 200),
        (false, post_execute(), "other", 404),
    ] {
        let state = state(None);
        let answer = send_to(if of_the_api { http::api } else { http::ops }, &state, request).await;
        assert_eq!(answer.status.as_u16(), code, "{handler}");
        let counted = format!("awf_aws_http_requests_total{{code=\"{code}\",handler=\"{handler}\"}} 1");
        let text = state.metrics.encode().unwrap();
        let mut lines = text.lines().filter(|line| line.starts_with("awf_aws_http_requests_total{"));
        assert!(lines.all(|line| line.ends_with(" 0") || line == counted) && text.contains(&counted), "{text}");
    }
}

#[actix::test]
async fn a_missing_or_wrong_token_is_403_before_the_body_is_looked_at() {
    let state = state(Some(token_file("wrong", TOKEN)));
    let lone = || TestRequest::post().uri(EXECUTE_PATH).set_payload("no JSON, no content type");
    let short = &TOKEN[1..];
    for header in [
        "",
        "Bearer",
        "Bearer ",
        TOKEN,
        &format!("Basic {TOKEN}"),
        &format!("Bearer {short}"),
        &format!("Bearer {TOKEN}x"),
        "Bearer \u{e9}",
    ] {
        let answer = send(&state, lone().insert_header((header::AUTHORIZATION, header))).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{header:?}");
        assert!(answer.text.contains("token"), "{}", answer.text);
        assert!(!answer.text.contains(TOKEN));
    }
    let answer = send(&state, lone()).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert!(series(&state.metrics, "awf_aws_execute_requests_total{outcome=\"invalid\"}") == 9.0);
}

#[actix::test]
async fn an_unreadable_token_file_is_403_with_its_cure_and_read_again_later() {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("token-comes-late");
    drop(fs::remove_file(&path));
    let state = state(Some(path.clone()));
    let ready = send_to_ops(&state, "/readyz").await;
    assert_eq!(ready.status, StatusCode::SERVICE_UNAVAILABLE);

    let answer = send(&state, post(mock("success").to_string())).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    for part in [path.to_str().unwrap(), "as uid ", "runAsUser: 8737"] {
        assert!(answer.text.contains(part), "{part} in {}", answer.text);
    }

    fs::write(&path, TOKEN).unwrap();
    assert_eq!(send(&state, post(mock("success").to_string())).await.status, StatusCode::OK);
    assert_eq!(send_to_ops(&state, "/readyz").await.status, StatusCode::OK);
}

#[actix::test]
async fn another_content_type_is_415() {
    let state = state(None);
    let ask = |kind: &'static str| {
        TestRequest::post().uri(EXECUTE_PATH).set_payload("{").insert_header((header::CONTENT_TYPE, kind))
    };
    for kind in ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", ""] {
        let answer = send(&state, ask(kind)).await;
        assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{kind:?}");
        assert!(answer.text.contains("application/json"), "{}", answer.text);
    }
    for kind in ["application/json", "application/json; charset=utf-8", "Application/JSON"] {
        assert_eq!(send(&state, ask(kind)).await.status, StatusCode::BAD_REQUEST, "{kind:?}");
    }
}

#[actix::test]
async fn more_than_2_mib_is_413_announced_or_not() {
    let state = state(None);
    let announced = post("{}").insert_header((header::CONTENT_LENGTH, (2 * 1024 * 1024 + 1).to_string()));
    assert_eq!(send(&state, announced).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    let sent = send(&state, post(vec![b' '; 2 * 1024 * 1024 + 1])).await;
    assert_eq!(sent.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(sent.text.contains("2 MiB"));

    let mut largest = json!({"workflow": {"metadata": {}}, "template": {"inputs": ""}});
    let room = 2 * 1024 * 1024 - largest.to_string().len();
    largest["template"]["inputs"] = Value::String("x".repeat(room));
    assert_eq!(send(&state, post(largest.to_string())).await.status, StatusCode::OK);
}

#[actix::test]
async fn what_is_no_request_is_400_with_one_sentence() {
    let state = state(None);
    for (body, part) in [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("\u{feff}{}", "not JSON"),
        ("null", "not an object"),
        ("[]", "not an object"),
        ("7", "not an object"),
        ("{}", "\"workflow\""),
        (r#"{"workflow": null, "template": {}}"#, "\"workflow\""),
        (r#"{"workflow": {"metadata": {}}}"#, "\"template\""),
        (r#"{"workflow": {"metadata": {}}, "template": []}"#, "\"template\""),
        (r#"{"workflow": {}, "template": {}}"#, "metadata"),
    ] {
        let answer = send(&state, post(body)).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body}");
        assert!(answer.text.contains(part), "{part} in {}", answer.text);
        assert_eq!(answer.text.lines().count(), 1);
    }
}

#[actix::test]
async fn a_refusal_never_quotes_more_than_a_message_may_hold() {
    let state = state(None);
    let long = "é".repeat(100_000);
    let metadata = json!({"workflow": {"metadata": long}, "template": {}});
    let answer = send(&state, post(metadata.to_string())).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert!(answer.text.len() <= 250 && answer.text.contains("not a template.execute request"), "{}", answer.text);
    let kind = TestRequest::post().uri(EXECUTE_PATH).insert_header((header::CONTENT_TYPE, "x".repeat(10_000)));
    let answer = send(&state, kind).await;
    assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert!(answer.text.len() <= 250 && answer.text.ends_with("allowed is application/json"), "{}", answer.text);
}

#[actix::test]
async fn another_plugins_task_is_answered_by_an_empty_object() {
    let state = state(None);
    for plugin in [json!({}), json!({"slack": {"text": "hello"}}), json!({"awf-aws": {}})] {
        let answer = send(&state, post(body(plugin).to_string())).await;
        assert_eq!((answer.status, answer.text.as_str()), (StatusCode::OK, "{}"));
    }
    let without_plugin = json!({"workflow": {"metadata": {}}, "template": {"name": "x"}});
    assert_eq!(send(&state, post(without_plugin.to_string())).await.text, "{}");
    assert!(series(&state.metrics, "awf_aws_execute_requests_total{outcome=\"ignored\"}") == 4.0);
}

#[actix::test]
async fn malformed_plugin_input_is_a_final_error_that_names_the_field() {
    let state = state(None);
    let answer = send(&state, post(body(json!({"awf-aws-plugin": {}})).to_string())).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.json()["node"]["phase"], "Error");
    let message = answer.json()["node"]["message"].as_str().unwrap().to_owned();
    assert!(message.starts_with("malformed plugin input: "), "{message}");
    assert!(answer.json().get("requeue").is_none());
    assert!(series(&state.metrics, "awf_aws_execute_requests_total{outcome=\"invalid\"}") == 1.0);
}

#[actix::test]
async fn while_draining_a_new_workflow_gets_the_free_poll_and_readiness_is_off() {
    let state = state(None);
    assert_eq!(send_to_ops(&state, "/readyz").await.status, StatusCode::OK);
    state.supervisor.drain(Duration::from_secs(1)).await.unwrap();
    let answer = send(&state, post(mock("success").to_string())).await;
    assert_eq!(answer.json(), json!({"node": {}, "requeue": "15s"}));
    assert_eq!(send_to_ops(&state, "/readyz").await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(send_to_ops(&state, "/healthz").await.status, StatusCode::OK);
}

#[actix::test]
async fn a_dead_supervisor_is_503() {
    let state = state(None);
    assert!(state.supervisor.crash_supervisor_for_test());
    tokio::task::yield_now().await;
    let answer = send(&state, post(mock("success").to_string())).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(send_to_ops(&state, "/healthz").await.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[actix::test]
async fn other_paths_are_404_and_healthz_needs_no_token() {
    let state = state(Some(token_file("paths", TOKEN)));
    for path in ["/", "/metrics", "/readyz", "/api/v1/template"] {
        assert_eq!(send(&state, TestRequest::get().uri(path)).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(send(&state, TestRequest::get().uri("/healthz")).await.status, StatusCode::OK);
    assert_eq!(send_to_ops(&state, EXECUTE_PATH).await.status, StatusCode::NOT_FOUND);
}

#[actix::test]
async fn metrics_are_served_in_prometheus_text_format_with_every_known_series_at_zero() {
    let state = state(None);
    let answer = send_to_ops(&state, "/metrics").await;
    assert_eq!(answer.headers.get(header::CONTENT_TYPE).unwrap(), "text/plain; version=0.0.4; charset=utf-8");
    for name in [
        "awf_aws_build_info{mode=\"sidecar\",version=\"",
        "awf_aws_execute_requests_total{outcome=\"started\"} 0",
        "awf_aws_execute_requests_total{outcome=\"running\"} 0",
        "awf_aws_execute_requests_total{outcome=\"succeeded\"} 0",
        "awf_aws_execute_requests_total{outcome=\"failed\"} 0",
        "awf_aws_execute_requests_total{outcome=\"error\"} 0",
        "awf_aws_execute_requests_total{outcome=\"invalid\"} 0",
        "awf_aws_execute_requests_total{outcome=\"ignored\"} 0",
        "awf_aws_execute_request_duration_seconds_bucket{le=\"30\"} 0",
        "awf_aws_active_executions{status=\"Executing\"} 0",
        "awf_aws_active_executions{status=\"Stopping\"} 0",
        "awf_aws_executions_finished_total{status=\"CompletedWithFailures\"} 0",
        "awf_aws_actor_restarts_total{actor=\"workflow\"} 0",
        "awf_aws_aws_api_calls_total{operation=\"StartPipelineExecution\",outcome=\"ok\"} 0",
        "process_resident_memory_bytes ",
    ] {
        assert!(answer.text.contains(name), "{name} in\n{}", answer.text);
    }
    send(&state, post(mock("success").to_string())).await;
    assert!(series(&state.metrics, "awf_aws_execute_requests_total{outcome=\"succeeded\"}") == 1.0);
    assert!(series(&state.metrics, "awf_aws_execute_request_duration_seconds_count") == 1.0);
}

/// Any JSON; keys and texts are often those that mean something.
fn any_json() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        4 => proptest::sample::select(vec![
            "workflow", "template", "metadata", "uid", "name", "namespace", "plugin", "awf-aws-plugin", "action",
            "execute", "validate", "stop", "account_id", "100000000002", "region_name", "us-west-2", "pipeline_name",
            "MyPipeline", "execution_key", "attempt", "parameters", "timeout", "10s", "mock", "mock_state", "success",
            "on_stop", "max_running", "selected_steps", "execution_arn", "role_arn", "{{retries}}",
        ]).prop_map(str::to_owned),
        1 => any::<String>(),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 64, 8, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::from),
            btree_map(text.clone(), inner, 0..8).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

/// Any JSON, bare or in a place where it is looked at closely.
fn any_body() -> impl Strategy<Value = Value> {
    let fields = vec![
        "account_id",
        "action",
        "pipeline_name",
        "region_name",
        "execution_key",
        "attempt",
        "parameters",
        "timeout",
        "mock",
        "mock_state",
        "on_stop",
        "max_running",
        "selected_steps",
        "execution_arn",
        "role_arn",
        "service",
    ];
    (0..5, proptest::sample::select(fields), any_json()).prop_map(|(place, field, value)| match place {
        0 => value,
        1 => body(value),
        2 => body(json!({ "awf-aws-plugin": value })),
        3 => json!({"workflow": {"metadata": value}, "template": mock("success")["template"]}),
        _ => {
            let mut body = mock("success");
            body["template"]["plugin"]["awf-aws-plugin"][field] = value;
            body
        }
    })
}

#[actix::test]
async fn a_thousand_arbitrary_json_bodies_never_give_a_5xx_a_panic_or_a_200_that_is_not_json() {
    tokio::time::pause();
    let state = state(None);
    let mut runner = TestRunner::deterministic();
    let strategy = any_body();
    let mut answers = [0; 2];
    for _ in 0..1000 {
        let body = strategy.new_tree(&mut runner).unwrap().current();
        let answer = send(&state, post(body.to_string())).await;
        match answer.status {
            StatusCode::OK => {
                assert!(answer.json().is_object(), "{body}");
                answers[0] += 1;
            }
            StatusCode::BAD_REQUEST => answers[1] += 1,
            other => panic!("{other} for {body}: {}", answer.text),
        }
    }
    assert!(answers.iter().all(|count| *count > 50), "both kinds of answers were met: {answers:?}");
    assert!(series(&state.metrics, "awf_aws_actor_restarts_total{actor=\"workflow\"}") == 0.0, "no runner panicked");
}

#[actix::test]
async fn both_listeners_answer_on_real_sockets_and_a_taken_ops_port_does_not_matter() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let config = Config {
        listen: "127.0.0.1:0".parse().unwrap(),
        ops_listen: taken.local_addr().unwrap(),
        token_file: Some(token_file("sockets", TOKEN)),
        reply_timeout: Duration::from_secs(1),
        poll_min: Duration::from_secs(5),
        poll_max: Duration::from_secs(30),
        shutdown_grace: Duration::from_secs(1),
        metrics_linger: Duration::ZERO,
        stop_wait: Duration::from_secs(600),
        logs: true,
        denied_grace: Duration::from_secs(120),
        kubernetes: KubernetesConfig::Off,
        argo_controller_account: None,
        workflow_check_interval: Duration::from_secs(60),
        forget_after: Duration::from_secs(900),
        max_running_per_workflow: None,
        max_reads_per_second: 50,
        max_writes_per_second: 50,
        allowed_roles: Vec::new(),
        log: LogConfig { filter: "info".to_owned(), format: LogFormat::Text },
    };
    let mut service = app::Service::start(&config, Scripted::new(Script::Hangs), None, app::wall_clock()).unwrap();
    assert_eq!(service.ops_address, None);
    service = app::Service::start(
        &Config { ops_listen: "127.0.0.1:0".parse().unwrap(), ..config },
        Scripted::new(Script::Hangs),
        None,
        app::wall_clock(),
    )
    .unwrap();
    let (api, ops) = (service.api_address, service.ops_address.unwrap());
    let serving =
        actix::spawn(service.until_signal(app::Shutdown { grace: Duration::from_secs(1), linger: Duration::ZERO }));

    let client = awc::Client::default();
    let url = format!("http://{api}{EXECUTE_PATH}");
    // More at once than the agent has workers.
    let requests = (0..32).map(|_| {
        client.post(&url).bearer_auth(TOKEN).content_type("application/json").send_body(mock("success").to_string())
    });
    for answer in futures_util::future::join_all(requests).await {
        let mut answer = answer.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        let reply: Value = serde_json::from_slice(&answer.body().await.unwrap()).unwrap();
        assert_eq!(reply["node"]["phase"], "Succeeded");
    }
    // A large body without a token: the 403 arrives although nobody reads the body.
    let refused = client.post(&url).content_type("application/json").send_body(vec![b' '; 1024 * 1024]).await.unwrap();
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    for path in ["/metrics", "/healthz", "/readyz"] {
        let answer = client.get(format!("http://{ops}{path}")).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
    }
    serving.abort();
}
