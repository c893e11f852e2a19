//! `template.execute`: every check in the order of the contract, then the workflow's runner is asked.

use std::sync::Arc;

use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        StatusCode,
        header::{self, ContentType},
    },
    web,
};
use futures_util::StreamExt as _;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::AppState;
use crate::{
    input::{self, AllowedRoles, InputError, Task},
    metrics::labels::{Label as _, Outcome, Route},
    protocol::{ExecuteTemplateArgs, ExecuteTemplateReply, Phase, ReplyText},
    text::ellipsize,
};

/// The largest body that is read: a Workflow's own limit in etcd is 1.5 MiB, and the agent sends one template of it.
const MAX_BODY: usize = 2 * 1024 * 1024;

/// As all messages of a node. A refused token file is longer: its cure must be told whole.
const MAX_SENTENCE: usize = 250;

/// Answers a request of Argo's agent.
pub async fn execute(request: HttpRequest, body: web::Payload, state: web::Data<AppState>) -> HttpResponse {
    let mut timer = state.metrics.request_began();
    let answer = match answer(&request, body, &state).await {
        Ok((outcome, reply)) => {
            timer.answered(outcome);
            HttpResponse::Ok().content_type(ContentType::json()).body(reply.into_json())
        }
        Err(Refused { outcome, status, sentence }) => {
            timer.answered(outcome);
            tracing::warn!(status = status.as_u16(), reason = sentence, "refused a template.execute request");
            HttpResponse::build(status).content_type("text/plain; charset=utf-8").body(sentence)
        }
    };
    state.counted(Route::Execute, answer)
}

/// A request that is answered by a status and one sentence.
struct Refused {
    outcome: Outcome,
    status: StatusCode,
    sentence: String,
}

impl Refused {
    /// The agent makes the sentence the node's message; what it quotes of the request may be of any length.
    fn new(status: StatusCode, sentence: impl Into<String>) -> Self {
        Self { outcome: Outcome::Invalid, status, sentence: ellipsize(&sentence.into(), MAX_SENTENCE) }
    }
}

async fn answer(request: &HttpRequest, body: web::Payload, state: &AppState) -> Result<(Outcome, ReplyText), Refused> {
    state.token.check(request.headers()).map_err(|refusal| Refused::new(StatusCode::FORBIDDEN, refusal.to_string()))?;
    check_content_type(request)?;
    let body = read(request, body).await?;
    let task = match state.reread.task(&body) {
        Some(task) => task,
        None => match read_task(body, state)? {
            Ok(Some(task)) => task,
            Ok(None) => return Ok((Outcome::Ignored, ExecuteTemplateReply::not_mine().into())),
            Err(error) => {
                let reply = ExecuteTemplateReply::end(Phase::Error, error.to_string(), None);
                return Ok((Outcome::Invalid, reply.into()));
            }
        },
    };
    let began = Instant::now();
    match state.supervisor.execute(task.clone()).await {
        Ok(answered) => {
            let outcome = Outcome::of(answered.reply.phase(), answered.started);
            tracing::debug!(
                workflow.name = task.workflow.name,
                template = task.template_name,
                attempt = task.attempt,
                outcome = outcome.as_str(),
                requeue = answered.reply.read().requeue,
                seconds = began.elapsed().as_secs_f64(),
                "answered the agent"
            );
            Ok((outcome, answered.reply))
        }
        Err(error) => Err(Refused {
            outcome: Outcome::Error,
            status: StatusCode::SERVICE_UNAVAILABLE,
            sentence: error.to_string(),
        }),
    }
}

fn check_content_type(request: &HttpRequest) -> Result<(), Refused> {
    let given = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = given.split(';').next().unwrap_or_default().trim();
    if media_type.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    let problem = if given.is_empty() { "is missing".to_owned() } else { format!("is {:?}", shown(given)) };
    let sentence = format!("the Content-Type {problem}; allowed is application/json");
    Err(Refused::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, sentence))
}

/// The beginning of a header's value, which is text of ASCII.
fn shown(value: &str) -> &str {
    value.get(..100).unwrap_or(value)
}

async fn read(request: &HttpRequest, mut body: web::Payload) -> Result<web::BytesMut, Refused> {
    let announced = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: usize| length > MAX_BODY) {
        return Err(too_large());
    }
    let mut bytes = web::BytesMut::with_capacity(announced.unwrap_or(0));
    while let Some(chunk) = body.next().await {
        let chunk = chunk
            .map_err(|error| Refused::new(StatusCode::BAD_REQUEST, format!("the body could not be read: {error}")))?;
        if bytes.len() + chunk.len() > MAX_BODY {
            return Err(too_large());
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

fn too_large() -> Refused {
    Refused::new(StatusCode::PAYLOAD_TOO_LARGE, "the body is larger than 2 MiB")
}

/// The request's task, which is kept for when the same is asked again.
fn read_task(body: web::BytesMut, state: &AppState) -> Result<Result<Option<Arc<Task>>, InputError>, Refused> {
    let args: ExecuteTemplateArgs<'_> = serde_json::from_slice(&body).map_err(|error| refusal(&body, &error))?;
    let allowed = AllowedRoles::new(state.allowed_roles.to_vec());
    let task = input::read_task(&args).and_then(|task| {
        task.iter().try_for_each(|task| allowed.check(task))?;
        Ok(task.map(Arc::new))
    });
    match &task {
        Ok(Some(task)) => state.reread.keep(body.freeze(), task),
        Ok(None) => {}
        Err(error) => {
            tracing::warn!(workflow.name = args.workflow.metadata.name, error.message = %error, "refused a task");
        }
    }
    Ok(task)
}

/// Why a body is no request.
fn refusal(body: &[u8], error: &serde_json::Error) -> Refused {
    let sentence = match body.trim_ascii_start().first() {
        _ if !error.is_data() => format!("the body is not JSON: {error}"),
        Some(b'{') => missing_object(body).map_or_else(
            || format!("the body is not a template.execute request: {error}"),
            |field| format!("the body has no object {field:?}"),
        ),
        _ => "the body is JSON, but not an object with \"workflow\" and \"template\"".to_owned(),
    };
    Refused::new(StatusCode::BAD_REQUEST, sentence)
}

/// The member of a body that should be an object and is none.
fn missing_object(body: &[u8]) -> Option<&'static str> {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow)]
        workflow: Option<&'a RawValue>,
        #[serde(borrow)]
        template: Option<&'a RawValue>,
    }

    let body: Body<'_> = serde_json::from_slice(body).ok()?;
    let members = [("workflow", body.workflow), ("template", body.template)];
    members.into_iter().find(|(_, value)| !value.is_some_and(|v| v.get().starts_with('{'))).map(|(name, _)| name)
}
