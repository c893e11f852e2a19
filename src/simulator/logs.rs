//! CloudWatch Logs, as far as jobs of steps write to it: GetLogEvents and DescribeLogStreams.
//!
//! Groups and streams are named as SageMaker's developer guide says ("Log groups and streams that Amazon SageMaker AI sends to
//! CloudWatch Logs"): the stream of a job's instance ends in the second at which its container began, so nobody can build it
//! from the job's name alone.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    arn::{Scope, partition},
    book::{Book, Caller},
    refusal::{Refusal, read},
    transcript::{Line, Stream, group, streams},
};
use crate::pipelines::Time;

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct LogsInput {
    log_group_name: Option<String>,
    /// The group's name or ARN.
    log_group_identifier: Option<String>,
    log_stream_name: Option<String>,
    log_stream_name_prefix: Option<String>,
    order_by: Option<String>,
    descending: bool,
    start_time: Option<i64>,
    end_time: Option<i64>,
    start_from_head: bool,
    limit: Option<i64>,
    next_token: Option<String>,
}

impl LogsInput {
    fn group(&self) -> Result<&str, Refusal> {
        match (&self.log_group_name, &self.log_group_identifier) {
            (Some(name), None) => Ok(name),
            (None, Some(arn)) => {
                let name = arn.split_once(":log-group:").map_or(arn.as_str(), |(_, rest)| rest);
                Ok(name.strip_suffix(":*").unwrap_or(name))
            }
            _ => Err(invalid("Exactly one of logGroupName and logGroupIdentifier is required")),
        }
    }

    /// How many items a page holds at most.
    fn limit(&self, most: usize) -> Result<usize, Refusal> {
        let Some(n) = self.limit else { return Ok(most) };
        usize::try_from(n).ok().filter(|n| (1..=most).contains(n)).ok_or_else(|| {
            invalid(format!(
                "Value '{n}' at 'limit' failed to satisfy constraint: Member must have value from 1 to {most}"
            ))
        })
    }
}

fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::new(400, "InvalidParameterException", message)
}

fn absent(what: &str) -> Refusal {
    Refusal::new(400, "ResourceNotFoundException", format!("The specified log {what} does not exist."))
}

/// The end of a stream unless told otherwise; tokens go on from either end of a page.
enum Page {
    Head,
    Tail,
    /// Events from this one on.
    Forward(usize),
    /// Events before this one.
    Backward(usize),
}

impl Page {
    fn of(input: &LogsInput) -> Result<Self, Refusal> {
        let Some(token) = &input.next_token else {
            return Ok(if input.start_from_head { Self::Head } else { Self::Tail });
        };
        let place = |text: &str| text.split('/').next().and_then(|digits| digits.parse().ok());
        match (token.strip_prefix("f/").and_then(place), token.strip_prefix("b/").and_then(place)) {
            (Some(n), _) => Ok(Self::Forward(n)),
            (_, Some(n)) => Ok(Self::Backward(n)),
            _ => Err(invalid("The specified nextToken is invalid.")),
        }
    }

    fn range(&self, length: usize, limit: usize) -> (usize, usize) {
        match *self {
            Self::Head => (0, length.min(limit)),
            Self::Tail => (length.saturating_sub(limit), length),
            Self::Forward(n) => (n.min(length), length.min(n.saturating_add(limit))),
            Self::Backward(n) => (n.min(length).saturating_sub(limit), n.min(length)),
        }
    }
}

impl Book {
    pub(super) fn get_log_events(&self, caller: &Caller, input: &Value, now: Time) -> Result<Value, Refusal> {
        let input: LogsInput = read(input)?;
        let group = input.group()?;
        let name = input.log_stream_name.as_deref().ok_or_else(|| invalid("logStreamName is required"))?;
        let limit = input.limit(10_000)?;
        let page = Page::of(&input)?;
        let (_, stream) = self
            .streams(&caller.scope(), group, name, now)?
            .into_iter()
            .find(|(_, stream)| stream.name == name)
            .ok_or_else(|| absent("stream"))?;
        let in_time = |line: &&Line| {
            input.start_time.is_none_or(|from| line.at.millis() >= from)
                && input.end_time.is_none_or(|until| line.at.millis() < until)
        };
        let lines: Vec<&Line> = stream.lines.iter().filter(in_time).collect();
        let (first, end) = page.range(lines.len(), limit);
        let event = |line: &&Line| json!({"timestamp": line.at.millis(), "message": line.text, "ingestionTime": line.at.millis()});
        // A token stays the same at the stream's end.
        Ok(json!({
            "events": lines.get(first..end).unwrap_or_default().iter().map(event).collect::<Vec<_>>(),
            "nextForwardToken": format!("f/{end:056}/s"),
            "nextBackwardToken": format!("b/{first:056}/s"),
        }))
    }

    pub(super) fn describe_log_streams(&self, caller: &Caller, input: &Value, now: Time) -> Result<Value, Refusal> {
        let input: LogsInput = read(input)?;
        let group = input.group()?;
        let limit = input.limit(50)?;
        let by_time = match input.order_by.as_deref() {
            None | Some("LogStreamName") => false,
            Some("LastEventTime") if input.log_stream_name_prefix.is_some() => {
                return Err(invalid("Cannot order by LastEventTime with a logStreamNamePrefix."));
            }
            Some("LastEventTime") => true,
            Some(other) => {
                return Err(invalid(format!("Value '{other}' at 'orderBy' is not LogStreamName or LastEventTime")));
            }
        };
        let prefix = input.log_stream_name_prefix.as_deref().unwrap_or("");
        let scope = caller.scope();
        let mut found = self.streams(&scope, group, prefix, now)?;
        found.retain(|(_, stream)| stream.name.starts_with(prefix));
        found.sort_by(|(_, a), (_, b)| {
            let last = |stream: &Stream| stream.lines.last().map(|line| line.at);
            if by_time { last(a).cmp(&last(b)) } else { a.name.cmp(&b.name) }
        });
        if input.descending {
            found.reverse();
        }
        let after = input.next_token.as_deref().and_then(|last| found.iter().position(|(_, s)| s.name == last));
        let first = after.map_or(0, |place| place + 1);
        let arn = |stream: &str| {
            let Scope { account, region } = &scope;
            format!("arn:{}:logs:{region}:{account}:log-group:{group}:log-stream:{stream}", partition(region))
        };
        let shown = found.iter().skip(first).take(limit).map(|(created, stream)| {
            let (oldest, newest) = (stream.lines.first().map(|l| l.at.millis()), stream.lines.last().map(|l| l.at.millis()));
            json!({
                "logStreamName": stream.name, "arn": arn(&stream.name), "creationTime": created.millis(), "storedBytes": 0,
                "firstEventTimestamp": oldest, "lastEventTimestamp": newest, "lastIngestionTime": newest,
            })
        });
        let mut answer = json!({"logStreams": shown.collect::<Vec<_>>()});
        if let Some((_, last)) = found.get(first + limit - 1).filter(|_| found.len() > first + limit) {
            answer["nextToken"] = last.name.as_str().into();
        }
        Ok(answer)
    }

    /// Streams of a group that have lines by now, each with the time of its creation. Where `about` begins like the name of
    /// an execution's job, those of other executions are left out.
    fn streams(&self, scope: &Scope, wanted: &str, about: &str, now: Time) -> Result<Vec<(Time, Stream)>, Refusal> {
        let of = |indexes: &mut dyn Iterator<Item = usize>| {
            let mut exists = false;
            let mut found = Vec::new();
            for execution in indexes.filter_map(|i| self.executions.get(i)).filter(|e| e.scope == *scope) {
                for run in execution.runs().filter(|run| group(run) == Some(wanted)) {
                    exists = true;
                    found.extend(streams(execution, run, now).into_iter().map(|stream| (run.started, stream)));
                }
            }
            exists.then_some(found)
        };
        let all = || of(&mut (0..self.executions.len())).ok_or_else(|| absent("group"));
        match self.by_job_name(about) {
            Some(index) => match of(&mut std::iter::once(index)) {
                Some(found) => Ok(found),
                // Whether the group is there at all is another execution's doing.
                None => all().map(|_| Vec::new()),
            },
            None => all(),
        }
    }
}
