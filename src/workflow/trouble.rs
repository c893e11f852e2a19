//! What a failed call leads to: one table, from what is known after the failure and where it struck.
//!
//! Two rules stand behind it. Before a start a node may end by AWS's word, when the same call would be refused again or
//! nobody mends a denial in time. Once an execution is known, no failed call ends its node: only its own end, its time-out, or
//! its proven absence do. Every failure that is waited out shows in the node's message: what, and since when.

use std::time::Duration;

use crate::{
    pipelines::{CallErrorKind, Time},
    text::{rfc3339, sentence::shorten},
};

use super::report;

/// Trouble with AWS that lasts: since when, and its text.
#[derive(Clone, Debug)]
pub struct Trouble {
    since: Time,
    /// When it was last met.
    last: Time,
    text: String,
    denied: bool,
}

impl Trouble {
    /// Takes in what a call met that left at `left`; the trouble's beginning stays when it goes on. When the answer was
    /// read says nothing, because a process that stood still reads what was true before.
    pub fn extend(slot: &mut Option<Box<Self>>, text: &str, denied: bool, left: Time) {
        let since = slot.as_ref().filter(|t| t.denied == denied).map_or(left, |t| t.since);
        *slot = Some(Box::new(Self { since, last: left, text: text.to_owned(), denied }));
    }

    /// Since when it lasts.
    pub fn since(&self) -> Time {
        self.since
    }

    /// What AWS said.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether the cause is a permission or the credentials.
    pub fn is_denial(&self) -> bool {
        self.denied
    }

    /// Whether this denial is final for a node that asks since `asked`: it was met again after the grace. Time alone
    /// proves nothing, a process that stood still has not tried.
    pub fn outlasted(&self, asked: Time, grace: Duration) -> bool {
        self.denied && self.last >= self.since.max(asked).plus(grace)
    }

    /// Its sentence: what, and since when. `before` bytes of the message are taken already; the text gives way.
    pub fn told(&self, before: usize) -> String {
        let since = rfc3339(self.since).unwrap_or_default();
        let since = format!(" (since {since})");
        let room = report::MESSAGE_MAX.saturating_sub(before + since.len());
        format!("{}{since}", report::fit(&shorten(&self.text, room), room))
    }
}

/// What a call that failed was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallSite {
    /// Whose account the credentials are, before anything else.
    Account,
    /// The complete listing before the first start.
    Listing,
    /// DescribePipeline of a `validate` node.
    Validate,
    /// A start, of which no earlier try is in doubt.
    Start,
    /// A repeated start: an earlier try of it may have been carried out.
    Repeat,
    /// The marker of a resume: a repeat of it writes the same again.
    Mark,
    /// RetryPipelineExecution. A try that may have been carried out shows: the execution lives, or has run on.
    Resume,
    /// DescribePipelineExecution of a known execution.
    Poll,
    /// A list that was to stand for many polls.
    Round,
    /// The steps that explain an end.
    Steps,
    Stop,
}

/// What happens next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// Nothing is decided: asked again with back-off, for as long as it takes.
    Again,
    /// The same, shown to the user at once; before a start it is the node's `Error` when it outlasts `--denied-grace`.
    Mend,
    /// The same call would be refused again: the node's `Error` at once.
    Refuse,
    /// Not started for want of capacity: back to its place in the start queue.
    Queue,
    /// It may have been carried out: the same bytes with the same token again.
    SameBytes,
    /// It may have been carried out and the token cannot tell: looked for by its marker.
    Search,
    /// Done without: the token alone protects, a describe each replaces the list, the end is told without steps.
    Without,
    /// Perhaps gone for good: believed only when that is proven.
    Missing,
    /// Perhaps done, or no longer to be done: a look tells, and it is repeated if not.
    Look,
    /// In between two steps: the stop is repeated after a second.
    Soon,
}

/// The table.
pub fn disposition(kind: CallErrorKind, place: CallSite) -> Disposition {
    use CallErrorKind as K;
    use Disposition::{Again, Look, Mend, Missing, Queue, Refuse, SameBytes, Search, Soon, Without};
    #[rustfmt::skip]
    let [account, listing, validate, start, repeat, mark, resume, poll, round, steps, stop] = match kind {
        //                   account  listing  validate start      repeat     mark    resume  poll     round    steps    stop
        K::Throttled      => [Again,  Again,   Again,   Again,     SameBytes, Again,  Again,  Again,   Again,   Again,   Again],
        K::Unreachable    => [Again,  Again,   Again,   Again,     SameBytes, Again,  Again,  Again,   Again,   Again,   Again],
        K::OutcomeUnknown => [Again,  Again,   Again,   SameBytes, SameBytes, Again,  Look,   Again,   Again,   Again,   Again],
        K::QuotaExceeded  => [Again,  Again,   Again,   Queue,     SameBytes, Again,  Queue,  Again,   Again,   Again,   Again],
        K::Credentials    => [Mend,   Mend,    Mend,    Mend,      SameBytes, Mend,   Mend,   Mend,    Mend,    Again,   Mend],
        K::Denied         => [Mend,   Without, Mend,    Mend,      SameBytes, Mend,   Mend,   Mend,    Without, Without, Mend],
        K::NotFound       => [Again,  Refuse,  Refuse,  Refuse,    SameBytes, Refuse, Refuse, Missing, Without, Without, Look],
        K::Invalid        => [Mend,   Refuse,  Refuse,  Refuse,    SameBytes, Refuse, Refuse, Again,   Without, Without, Look],
        K::Conflict       => [Again,  Again,   Again,   Search,    Search,    Again,  Search, Again,   Without, Again,   Soon],
        K::TokenMismatch  => [Again,  Again,   Again,   Search,    Search,    Refuse, Search, Again,   Without, Again,   Look],
    };
    match place {
        CallSite::Account => account,
        CallSite::Listing => listing,
        CallSite::Validate => validate,
        CallSite::Start => start,
        CallSite::Repeat => repeat,
        CallSite::Mark => mark,
        CallSite::Resume => resume,
        CallSite::Poll => poll,
        CallSite::Round => round,
        CallSite::Steps => steps,
        CallSite::Stop => stop,
    }
}
