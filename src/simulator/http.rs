//! The HTTP door: AWS JSON 1.1 for SageMaker, form and XML for STS, plain JSON for the admin calls.

use std::{
    collections::BTreeMap,
    net::{Shutdown, TcpListener, TcpStream},
    os::fd::AsFd,
    time::{Duration, UNIX_EPOCH},
};

use actix_web::{
    App, HttpRequest, HttpResponse, HttpServer,
    dev::{Extensions, Server},
    http::{
        KeepAlive, StatusCode,
        header::{self, HttpDate},
    },
    rt, web,
};
use serde_json::{Value, json};

use super::{
    SharedBook,
    book::{Answer, Caller, Delivery},
    faults, locked,
    refusal::Refusal,
};
use crate::pipelines::Clock;

/// A pipeline definition may have 1 MiB, and is escaped once more in the request.
const LARGEST_BODY: usize = 8 << 20;

/// How long an unanswered connection is held; longer than any client waits.
const SILENCE: Duration = Duration::from_secs(3600);

/// A second handle on the connection of a request, to cut it without an answer.
struct Connection(TcpStream);

/// What the handlers share.
#[derive(Clone)]
struct State {
    book: SharedBook,
    clock: Clock,
}

/// Serves the book on an already bound listener. Signals are the caller's.
pub fn serve(listener: TcpListener, book: SharedBook, clock: Clock) -> std::io::Result<Server> {
    let state = State { book, clock };
    let app = move || {
        App::new()
            .app_data(web::Data::new(state.clone()))
            .app_data(web::PayloadConfig::new(LARGEST_BODY))
            .route("/", web::post().to(aws))
            .route("/admin/book", web::get().to(show_book))
            .route("/admin/faults", web::get().to(show_faults))
            .route("/admin/faults", web::post().to(set_faults))
            .route("/admin/iam", web::get().to(show_iam))
            .route("/admin/iam", web::post().to(set_iam))
            .route("/admin/forget", web::post().to(forget))
            .route("/admin/reset", web::post().to(reset))
            .default_service(web::to(lost))
    };
    let server = HttpServer::new(app)
        .on_connect(|stream, extensions: &mut Extensions| {
            if let Some(stream) = stream.downcast_ref::<rt::net::TcpStream>()
                && let Ok(handle) = stream.as_fd().try_clone_to_owned()
            {
                extensions.insert(Connection(handle.into()));
            }
        })
        .workers(2)
        .client_request_timeout(Duration::from_secs(60))
        .keep_alive(KeepAlive::Timeout(Duration::from_secs(120)))
        // Silent connections never end by themselves.
        .shutdown_timeout(1)
        .disable_signals()
        .listen(listener)?
        .run();
    Ok(server)
}

/// One AWS call; which protocol it speaks shows in its headers.
async fn aws(request: HttpRequest, body: web::Bytes, state: web::Data<State>) -> HttpResponse {
    let target = request.headers().get("x-amz-target").and_then(|v| v.to_str().ok());
    let now = (state.clock)();
    let (answer, xml) = match target.map(|t| t.split_once('.').unwrap_or(("", t))) {
        Some((service, operation)) => (json_call(&request, &body, &state, service, operation), None),
        None => {
            let form = form(&body);
            let action = form.get("Action").and_then(Value::as_str).unwrap_or_default().to_owned();
            let mut book = locked(&state.book);
            let caller = signature(&request).map(|(key, region)| book.caller(key, region));
            (book.call_sts(caller.as_ref(), &action, &form, now), Some(action))
        }
    };
    if answer.latency_ms > 0 {
        rt::time::sleep(Duration::from_millis(answer.latency_ms)).await;
    }
    match answer.delivery {
        Delivery::Sent => {}
        Delivery::Never => rt::time::sleep(SILENCE).await,
        Delivery::Lost => cut(&request),
    }
    let mut response = match xml {
        Some(action) => xml_response(&action, &answer),
        None => json_response(&answer),
    };
    let date = UNIX_EPOCH + Duration::from_millis(u64::try_from((state.clock)().millis()).unwrap_or(0));
    if let Ok(date) = header::HeaderValue::from_str(&HttpDate::from(date).to_string()) {
        response.headers_mut().insert(header::DATE, date);
    }
    response
}

fn json_call(request: &HttpRequest, body: &[u8], state: &State, service: &str, operation: &str) -> Answer {
    let refused = |refusal: Refusal| Answer {
        result: Err(refusal),
        delivery: Delivery::Sent,
        latency_ms: 0,
        request_id: "00000000-0000-0000-0000-000000000000".to_owned(),
    };
    let speaks_it = match faults::service(operation) {
        "sagemaker" => service == "SageMaker",
        "logs" => service == "Logs_20140328",
        _ => false,
    };
    if !speaks_it {
        return refused(Refusal::new(
            400,
            "UnknownOperationException",
            format!("no such operation: {service}.{operation}"),
        ));
    }
    let Some((key, region)) = signature(request) else {
        let text =
            "Missing Authentication Token: the simulator needs a SigV4 Authorization header to know account and region";
        return refused(Refusal::new(400, "MissingAuthenticationTokenException", text));
    };
    let input: Value = match serde_json::from_slice(if body.is_empty() { b"{}" } else { body }) {
        Ok(input) => input,
        Err(e) => return refused(Refusal::new(400, "SerializationException", e.to_string())),
    };
    let now = (state.clock)();
    let mut book = locked(&state.book);
    let caller: Caller = book.caller(key, region);
    book.call(&caller, operation, &input, now)
}

/// Access key id and region of `AWS4-HMAC-SHA256 Credential=<key>/<date>/<region>/<service>/aws4_request, …`.
fn signature(request: &HttpRequest) -> Option<(&str, &str)> {
    let text = request.headers().get(header::AUTHORIZATION)?.to_str().ok()?;
    let scope = text.split_once("Credential=")?.1.split([',', ' ']).next()?;
    let mut parts = scope.split('/');
    let key = parts.next().filter(|key| !key.is_empty())?;
    let region = parts.nth(1).filter(|region| !region.is_empty())?;
    Some((key, region))
}

fn form(body: &[u8]) -> Value {
    let text = std::str::from_utf8(body).unwrap_or_default();
    let members = web::Query::<BTreeMap<String, String>>::from_query(text).map(web::Query::into_inner);
    members.unwrap_or_default().into_iter().map(|(name, value)| (name, Value::String(value))).collect()
}

fn cut(request: &HttpRequest) {
    if let Some(Connection(stream)) = request.conn_data::<Connection>()
        && let Err(error) = stream.shutdown(Shutdown::Both)
    {
        tracing::debug!(%error, "connection to cut was already gone");
    }
}

fn json_response(answer: &Answer) -> HttpResponse {
    let (status, body) = match &answer.result {
        Ok(body) => (200, body.clone()),
        // Modelled errors have `Message`, the common ones `message`; clients take both.
        Err(refusal) => (refusal.status, json!({"__type": refusal.code, "Message": refusal.message})),
    };
    HttpResponse::build(StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR))
        .content_type("application/x-amz-json-1.1")
        .insert_header(("x-amzn-RequestId", answer.request_id.as_str()))
        .body(body.to_string())
}

fn xml_response(action: &str, answer: &Answer) -> HttpResponse {
    const NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";
    let id = &answer.request_id;
    let (status, body) = match &answer.result {
        Ok(result) => {
            let mut inner = String::new();
            elements(result, &mut inner);
            let body = format!(
                "<{action}Response xmlns=\"{NAMESPACE}\"><{action}Result>{inner}</{action}Result>\
                 <ResponseMetadata><RequestId>{id}</RequestId></ResponseMetadata></{action}Response>"
            );
            (200, body)
        }
        Err(refusal) => {
            let blame = if refusal.status >= 500 { "Receiver" } else { "Sender" };
            let (code, text) = (escaped(&refusal.code), escaped(&refusal.message));
            let body = format!(
                "<ErrorResponse xmlns=\"{NAMESPACE}\"><Error><Type>{blame}</Type><Code>{code}</Code>\
                 <Message>{text}</Message></Error><RequestId>{id}</RequestId></ErrorResponse>"
            );
            (refusal.status, body)
        }
    };
    HttpResponse::build(StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR))
        .content_type("text/xml")
        .insert_header(("x-amzn-RequestId", id.as_str()))
        .body(body)
}

fn elements(value: &Value, out: &mut String) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                out.push_str(&format!("<{name}>"));
                elements(value, out);
                out.push_str(&format!("</{name}>"));
            }
        }
        Value::String(text) => out.push_str(&escaped(text)),
        other => out.push_str(&escaped(&other.to_string())),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

async fn show_book(state: web::Data<State>) -> HttpResponse {
    let now = (state.clock)();
    HttpResponse::Ok().json(locked(&state.book).show(now))
}

async fn show_faults(state: web::Data<State>) -> HttpResponse {
    HttpResponse::Ok().json(&locked(&state.book).faults)
}

async fn set_faults(body: web::Bytes, state: web::Data<State>) -> HttpResponse {
    let patch: Value = match serde_json::from_slice(&body) {
        Ok(patch) => patch,
        Err(e) => return bad(&format!("not JSON: {e}")),
    };
    let now = (state.clock)();
    let mut book = locked(&state.book);
    // What happened until now happened under the old faults.
    book.settle(now);
    match book.faults.merged(&patch) {
        Ok(faults) => {
            book.faults = faults;
            HttpResponse::Ok().json(&book.faults)
        }
        Err(reason) => bad(&reason),
    }
}

async fn show_iam(state: web::Data<State>) -> HttpResponse {
    HttpResponse::Ok().json(&locked(&state.book).iam)
}

async fn set_iam(body: web::Bytes, state: web::Data<State>) -> HttpResponse {
    let patch: Value = match serde_json::from_slice(&body) {
        Ok(patch) => patch,
        Err(e) => return bad(&format!("not JSON: {e}")),
    };
    let mut book = locked(&state.book);
    match book.iam.clone().unwrap_or_default().patched(&patch) {
        Ok(iam) => {
            book.iam = Some(iam);
            HttpResponse::Ok().json(&book.iam)
        }
        Err(reason) => bad(&reason),
    }
}

async fn forget(body: web::Bytes, state: web::Data<State>) -> HttpResponse {
    let wanted: Value = serde_json::from_slice(&body).unwrap_or_default();
    let Some(arn) = wanted.get("arn").and_then(Value::as_str) else {
        return bad("the body must be {\"arn\": \"<ARN of an execution>\"}");
    };
    let now = (state.clock)();
    if locked(&state.book).forget(arn, now) {
        HttpResponse::Ok().json(json!({}))
    } else {
        bad(&format!("there is no execution {arn}"))
    }
}

async fn reset(state: web::Data<State>) -> HttpResponse {
    let now = (state.clock)();
    match locked(&state.book).reset(now) {
        Ok(()) => HttpResponse::Ok().json(json!({})),
        Err(reason) => bad(&reason),
    }
}

fn bad(reason: &str) -> HttpResponse {
    HttpResponse::BadRequest().json(json!({"error": reason, "help": "awf-aws simulator --help lists all faults"}))
}

async fn lost(request: HttpRequest) -> HttpResponse {
    HttpResponse::NotFound().json(json!({
        "error": format!("nothing answers {} {}", request.method(), request.path()),
        "help": "AWS calls go to POST /; GET /admin/book, GET and POST /admin/faults and /admin/iam, POST /admin/forget and /admin/reset",
    }))
}
