//! The end of a job's log in CloudWatch Logs.

use std::cmp::Reverse;

use aws_sdk_cloudwatchlogs::{
    Client,
    types::{LogStream, OutputLogEvent},
};

use super::{context::CallContext, convert::text, denial_log::failure, wire::AttemptRecorder};
use crate::{
    metrics::Metrics,
    pipelines::{
        CallError, CallReply, Time,
        jobs::{LogLine, LogTail},
    },
};

/// The largest page of streams that the service gives.
const STREAMS: i32 = 50;

/// What is asked for: see [`crate::pipelines::Call::LogTail`].
pub struct Wanted {
    pub group: String,
    pub stream_prefix: String,
    pub lines: u16,
}

/// Finds the stream and reads its end. The recorder is that of the one GetLogEvents that is always made; other attempts are
/// counted here.
pub async fn tail(
    client: &Client,
    wanted: Wanted,
    context: CallContext<'_>,
    recorder: &AttemptRecorder,
    metrics: &Metrics,
) -> Result<CallReply, CallError> {
    let Some(stream) = newest(client, &wanted, context, metrics).await? else {
        return Ok(CallReply::LogTail(LogTail::default()));
    };
    let mut page = read(client, &wanted, &stream, None, context, recorder).await?;
    // The end of a stream may be an empty page although there are lines before it.
    if page.lines.is_empty() && page.before.is_some() {
        let again = AttemptRecorder::default();
        let answer = read(client, &wanted, &stream, page.before, context, &again).await;
        count(metrics, context.operation, &again);
        page = answer?;
    }
    Ok(CallReply::LogTail(LogTail { stream: Some(stream), lines: page.lines }))
}

struct Page {
    lines: Vec<LogLine>,
    /// Leads to the page before.
    before: Option<String>,
}

async fn read(
    client: &Client,
    wanted: &Wanted,
    stream: &str,
    token: Option<String>,
    context: CallContext<'_>,
    recorder: &AttemptRecorder,
) -> Result<Page, CallError> {
    let request = client
        .get_log_events()
        .log_group_name(&wanted.group)
        .log_stream_name(stream)
        .limit(i32::from(wanted.lines))
        .start_from_head(false)
        .set_next_token(token)
        .customize();
    let out = request.interceptor(recorder.clone()).send().await.map_err(|e| failure(&e, context, recorder))?;
    let line = |event: OutputLogEvent| LogLine {
        at: Time::at(event.timestamp.unwrap_or_default()),
        text: event.message.unwrap_or_default(),
    };
    let lines = out.events.unwrap_or_default().into_iter().map(line).collect();
    Ok(Page { lines, before: text(out.next_backward_token) })
}

fn count(metrics: &Metrics, operation: &'static str, recorder: &AttemptRecorder) {
    let attempts = recorder.attempts();
    metrics.attempts_made(operation, attempts.sent, attempts.throttled);
}

/// The stream that was written to last, as far as the service knows: it tells so up to an hour late, and cannot sort by it
/// among the names that begin alike. Of equals the first: `algo-1`.
async fn newest(
    client: &Client,
    wanted: &Wanted,
    context: CallContext<'_>,
    metrics: &Metrics,
) -> Result<Option<String>, CallError> {
    let context = CallContext { operation: "DescribeLogStreams", ..context };
    let recorder = AttemptRecorder::default();
    let request = client
        .describe_log_streams()
        .log_group_name(&wanted.group)
        .log_stream_name_prefix(&wanted.stream_prefix)
        .limit(STREAMS)
        .customize();
    let answer = request.interceptor(recorder.clone()).send().await;
    count(metrics, context.operation, &recorder);
    let found = answer.map_err(|e| failure(&e, context, &recorder))?.log_streams.unwrap_or_default();
    // A transform job's second stream says what became of each record.
    let of_container = |stream: &LogStream| !stream.log_stream_name().unwrap_or_default().ends_with("/data-log");
    let newest =
        found.into_iter().max_by_key(|s| (of_container(s), s.last_event_timestamp, Reverse(s.log_stream_name.clone())));
    Ok(newest.and_then(|stream| text(stream.log_stream_name)))
}
