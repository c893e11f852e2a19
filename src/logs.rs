//! What the end of a failed job's log says: the one line that tells why, and a tail that fits where it is shown.
//!
//! Programs end with their reason, but SageMaker's toolkits write after them: that training failed, with which command, and
//! the reason once more in quotes. Nothing in here leaves a secret in: [`crate::secrets::masked_line`].

use serde_json::{Map, Value};

use crate::{
    pipelines::jobs::LogLine,
    secrets::masked_line,
    text::{cut, ellipsize},
};

/// Room for the output `logs-tail`, bytes.
pub const TAIL_BYTES: usize = 1024;
/// Lines of a failed job that go into the plugin's own log.
pub const OWN_LINES: usize = 50;
/// Room for one line in the plugin's own log, bytes.
const LINE_BYTES: usize = 1000;
/// Nothing further right in a line is looked at. More than any of the limits above, so that no cut secret is shown.
const READ_BYTES: usize = 4 * LINE_BYTES;

/// The members of a JSON line that hold its text, the first one found, and those with a traceback.
const TEXTS: [&str; 4] = ["message", "msg", "log", "event"];
const TRACEBACKS: [&str; 6] = ["exc_info", "exc_text", "exception", "traceback", "stack_trace", "stacktrace"];

/// What SageMaker's toolkits and others write of an end that somebody else explained.
const TRAILERS: [&str; 10] = [
    "Waiting for the process to finish",
    "Reporting training FAILURE",
    "Reporting training SUCCESS",
    "ExecuteUserScriptError",
    "Encountered exit_code",
    "Command \"",
    "ExitCode ",
    "Framework Error",
    "framework error",
    "ErrorMessage \"",
];

/// Exceptions that only say that another program failed.
const WRAPPERS: [&str; 6] = [
    "ExecuteUserScriptError",
    "ChildFailedError",
    "CalledProcessError",
    "SystemExit",
    "ProcessRaisedException",
    "ProcessExitedException",
];

/// Ends of names of exceptions.
const ENDINGS: [&str; 5] = ["Error", "Exception", "Interrupt", "Fault", "Failure"];

/// How a line complains that is a reason although it names no exception, in small letters; `validation-error: 0.2` does not.
const COMPLAINTS: [&str; 13] = [
    "error:",
    "error]",
    "fatal",
    "critical",
    "no such file",
    "not found",
    "can't open",
    "cannot ",
    "permission denied",
    "out of memory",
    "segmentation fault",
    "killed",
    "aborted",
];

/// How SageMaker blames the container without saying more, or only says where to look.
const BLAME: [&str; 4] = ["AlgorithmError", "Algorithm Error", "See job logs", "No training job succeeded"];

/// Whether a job's log says more than this reason of SageMaker's.
pub fn says_little(reason: &str) -> bool {
    BLAME.iter().any(|words| reason.contains(words))
}

/// The one line that says why, within so many bytes; nothing when no line looks like a reason.
///
/// The last exception that ended a traceback, else the last that was named, else what the toolkit quotes, else the last
/// complaint; an exception that only says that another program failed comes last.
pub fn reason(log: &[LogLine], max: usize) -> Option<String> {
    let lines = readable(log);
    let raised = raised(&lines);
    let named: Vec<&str> = lines.iter().filter(|line| !is_trailer(line)).filter_map(|line| exception(line)).collect();
    let wraps = |line: &&str| WRAPPERS.iter().any(|name| class(line).is_some_and(|class| class.ends_with(name)));
    let last = |all: &[&str]| all.iter().rev().find(|line| !wraps(line)).map(|line| (*line).to_owned());
    let complaint = || lines.iter().rev().find(|line| !is_trailer(line) && complains(line)).cloned();
    let found = last(&raised)
        .or_else(|| last(&named))
        .or_else(|| lines.iter().rev().find_map(|line| quoted(line)))
        .or_else(complaint)
        .or_else(|| raised.last().or(named.last()).map(|line| (*line).to_owned()))?;
    Some(ellipsize(&masked_line(found.trim()), max))
}

/// The newest lines that fit into so many bytes, oldest first, without what the toolkits add. A line that is too long alone
/// loses its end.
pub fn tail(log: &[LogLine], max: usize) -> String {
    let lines: Vec<String> =
        readable(log).iter().filter(|line| !is_trailer(line)).map(|line| masked_line(line)).collect();
    let mut room = max;
    let mut first = lines.len();
    while let Some(line) = first.checked_sub(1).and_then(|before| lines.get(before)) {
        let Some(left) = room.checked_sub(line.len() + usize::from(first < lines.len())) else { break };
        room = left;
        first -= 1;
    }
    match lines.last() {
        Some(newest) if first == lines.len() => ellipsize(newest, max),
        _ => lines.get(first..).unwrap_or_default().join("\n"),
    }
}

/// The newest lines for the plugin's own log, at most [`OWN_LINES`], oldest first.
pub fn for_own_log(log: &[LogLine]) -> Vec<String> {
    let lines = readable(log);
    let newest = lines.get(lines.len().saturating_sub(OWN_LINES)..).unwrap_or_default();
    newest.iter().map(|line| ellipsize(&masked_line(line), LINE_BYTES)).collect()
}

/// The lines as a person would see them in a terminal, empty ones left out: an event may hold several, or be JSON.
fn readable(log: &[LogLine]) -> Vec<String> {
    let mut lines = Vec::new();
    for event in log {
        match serde_json::from_str::<Map<String, Value>>(&event.text) {
            Ok(json) if texts(&json).next().is_some() => {
                texts(&json).for_each(|text| lines.extend(text.split('\n').filter_map(shown)));
            }
            _ => lines.extend(event.text.split('\n').filter_map(shown)),
        }
    }
    lines
}

/// The texts in a line of JSON: what happened, then the traceback.
fn texts(json: &Map<String, Value>) -> impl Iterator<Item = &str> {
    let text = |name: &&str| json.get(*name).and_then(Value::as_str).filter(|text| !text.trim().is_empty());
    TEXTS.iter().find_map(text).into_iter().chain(TRACEBACKS.iter().filter_map(text))
}

/// What a terminal would show of a line: what follows the last carriage return, without colours and control characters.
fn shown(line: &str) -> Option<String> {
    let line = line.trim_end();
    let line = line.rsplit('\r').next().unwrap_or(line);
    let mut clean = String::new();
    let mut chars = cut(line, READ_BYTES).chars();
    while let Some(c) = chars.next() {
        match c {
            // A colour, or another command to the terminal: `ESC [ … letter`.
            '\u{1b}' => {
                let _command = chars.find(char::is_ascii_alphabetic);
            }
            '\t' => clean.push_str("    "),
            c if c.is_control() => {}
            c => clean.push(c),
        }
    }
    (!clean.trim().is_empty()).then_some(clean)
}

fn is_trailer(line: &str) -> bool {
    TRAILERS.iter().any(|words| line.contains(words))
}

fn complains(line: &str) -> bool {
    let lower = line.to_ascii_lowercase();
    let begins = |at: usize| {
        let before = lower.get(..at).unwrap_or_default();
        !before.ends_with(|c: char| c.is_alphanumeric() || c == '-' || c == '_')
    };
    line.contains(" ERROR ") || COMPLAINTS.iter().any(|word| lower.match_indices(word).any(|(at, _)| begins(at)))
}

/// What the toolkit quotes: `ErrorMessage "ValueError: no rows"`.
fn quoted(line: &str) -> Option<String> {
    let (_, text) = line.split_once("ErrorMessage \"")?;
    let text = text.trim_end().trim_end_matches('"').trim();
    // Several lines are one here, with their ends written out.
    let last = text.rsplit("\\n").map(str::trim).find(|part| !part.is_empty())?;
    Some(last.to_owned())
}

/// The lines that ended a traceback: after its head the first that begins with an exception. What stands before the head stands
/// before each line, if before any.
fn raised(lines: &[String]) -> Vec<&str> {
    const HEAD: &str = "Traceback (most recent call last):";
    let mut ends = Vec::new();
    let mut open: Option<&str> = None;
    for line in lines {
        if let Some((prefix, _)) = line.split_once(HEAD) {
            open = Some(prefix);
        } else if let Some(prefix) = open {
            let bare = line.strip_prefix(prefix).unwrap_or(line);
            // Other lines may come between: of other processes, or from the other output.
            if is_raised(bare) {
                ends.push(bare);
                open = None;
            }
        }
    }
    ends
}

/// `ValueError: text`, `zlib.error: text`, `KeyboardInterrupt`: whatever its name ends with.
fn is_raised(line: &str) -> bool {
    let name = line.split(':').next().unwrap_or(line);
    let class = name.rsplit('.').next().unwrap_or(name);
    let starts = class.starts_with(|c: char| c.is_ascii_uppercase() || (c.is_ascii_lowercase() && name.contains('.')));
    starts && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.')
}

/// From the name of an exception on, where a line has one.
fn exception(line: &str) -> Option<&str> {
    let mut place = 0;
    for word in line.split(' ') {
        let core = word.strip_suffix(':').unwrap_or(word);
        let start = core.rfind(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '.')).map_or(0, |at| at + 1);
        let name = core.get(start..).unwrap_or_default();
        let is_last = place + word.len() == line.len();
        if is_exception(name) && (word.ends_with(':') || is_last) {
            return line.get(place + start..);
        }
        place += word.len() + 1;
    }
    None
}

/// `ValueError`, `botocore.exceptions.ClientError`; not `mean_squared_error`.
fn is_exception(name: &str) -> bool {
    let class = name.rsplit('.').next().unwrap_or(name);
    class.starts_with(|c: char| c.is_ascii_uppercase()) && ENDINGS.iter().any(|ending| class.ends_with(ending))
}

/// The name before the first colon.
fn class(line: &str) -> Option<&str> {
    line.split([':', ' ']).next()
}
