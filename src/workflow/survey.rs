//! Which pipelines this workflow may have run: a `stop` of everything has to know, also in a process that was not there
//! from the beginning and whose nodes name only some of them.
//!
//! One list of the account's pipelines says when each was last started; those that were since the workflow's creation are
//! listed like a node's own pipeline, and what carries the workflow's marker is adopted.

use crate::pipelines::{Call, CallError, CallErrorKind, CallReply, ClientKey, PipelineSummary, Time};

use super::{
    Machine, Priority, Purpose, backoff,
    listing::RETRY_MOST,
    locating::Located,
    node::{NodeRef, Trouble},
    trouble::{Place, Reaction, reaction},
};

/// How far the list of a client's pipelines is.
#[derive(Debug)]
pub enum Survey {
    Asking {
        tries: u32,
    },
    Again {
        at: Time,
        tries: u32,
    },
    /// The sentence says why it had to do without.
    Done {
        without: Option<String>,
    },
}

impl Survey {
    /// Whether nothing is asked any more.
    pub fn is_done(&self) -> bool {
        matches!(self, Self::Done { .. })
    }
}

impl Machine {
    /// Sees to it that everything becomes known that this workflow has started through the client of this pipeline.
    pub(super) fn survey(&mut self, pipeline: usize) -> Located {
        // The account and the epoch come first, as for a node.
        if let Located::NotYet = self.locate(pipeline) {
            return Located::NotYet;
        }
        let Some(client) = self.pipelines.get(pipeline).map(|p| p.client.clone()) else { return Located::NotYet };
        match self.surveys.get(&client) {
            None => self.list_pipelines(pipeline, None, 0),
            Some(Survey::Again { at, tries }) if *at <= self.now => self.list_pipelines(pipeline, None, *tries),
            Some(Survey::Asking { .. } | Survey::Again { .. }) => {}
            Some(Survey::Done { .. }) => {
                let of_client: Vec<usize> = (0..self.pipelines.len())
                    .filter(|number| self.pipelines.get(*number).is_some_and(|p| p.client == client))
                    .collect();
                // Each is looked at, not only the first: to look is what has it listed.
                let open =
                    |number: &usize| matches!(self.locate(*number), Located::NotYet) && !self.is_hopeless(*number);
                if of_client.into_iter().filter(open).count() == 0 {
                    return Located::Ready;
                }
            }
        }
        Located::NotYet
    }

    /// A pipeline that no node names is done without when its executions cannot be listed.
    fn is_hopeless(&self, number: usize) -> bool {
        self.pipelines.get(number).is_some_and(|p| !p.named && p.cannot_be_listed())
    }

    /// Why not everything may have been found, for the node that asked.
    pub(super) fn survey_gap(&self, pipeline: usize) -> Option<String> {
        if let Survey::Done { without: Some(why) } = self.surveys.get(&self.pipelines.get(pipeline)?.client)? {
            return Some(format!("only pipelines that nodes have named were looked at: {why}"));
        }
        let hopeless = (0..self.pipelines.len()).filter(|number| self.is_hopeless(*number));
        let names: Vec<&str> = hopeless.filter_map(|n| self.pipelines.get(n)).map(|p| p.name.as_str()).collect();
        (!names.is_empty()).then(|| format!("executions of {} could not be listed", names.join(", ")))
    }

    fn list_pipelines(&mut self, pipeline: usize, next_token: Option<String>, tries: u32) {
        let Some(client) = self.pipelines.get(pipeline).map(|p| p.client.clone()) else { return };
        self.surveys.insert(client, Survey::Asking { tries });
        self.call_for(Priority::Ask, pipeline, Call::ListPipelines { next_token }, Purpose::Survey { pipeline });
    }

    pub(super) fn survey_answered(&mut self, pipeline: usize, result: Result<CallReply, CallError>) {
        let Some(client) = self.pipelines.get(pipeline).map(|p| p.client.clone()) else { return };
        let Some(Survey::Asking { tries }) = self.surveys.get(&client) else { return };
        let tries = *tries;
        match result {
            Ok(CallReply::Pipelines { page, next_token }) => {
                self.meet_pipelines(pipeline, page);
                if next_token.is_some() {
                    self.list_pipelines(pipeline, next_token, tries);
                    return;
                }
                self.surveyed(&client, None);
            }
            Ok(_) => self.surveyed(&client, None),
            Err(error) => self.survey_failed(&client, tries, &error),
        }
        // Whoever stops everything looks on.
        let keys: Vec<_> = self.stops.iter().filter(|(_, s)| s.targets.is_none()).map(|(key, _)| *key).collect();
        for key in keys {
            self.node_woken(NodeRef::Stop(key));
        }
    }

    /// Makes those pipelines known that were started since the workflow was created.
    fn meet_pipelines(&mut self, asked_for: usize, page: Vec<PipelineSummary>) {
        let Some(p) = self.pipelines.get(asked_for) else { return };
        let (client, account, created) = (p.client.clone(), p.account.clone(), p.workflow_created);
        let own = self.clients.get(&client).and_then(|c| c.account.as_deref()) == Some(account.as_str());
        let Some((prefix, _)) = p.arn.rsplit_once('/').map(|(prefix, name)| (prefix.to_owned(), name)) else { return };
        let since = self.created_since(created);
        for summary in page.into_iter().filter(|_| own) {
            if summary.last_started.is_none_or(|last| last >= since) {
                let arn = format!("{prefix}/{}", summary.name);
                self.pipeline_named(&client, &account, &summary.name, arn, created);
            }
        }
    }

    fn surveyed(&mut self, client: &ClientKey, without: Option<String>) {
        self.surveys.insert(client.clone(), Survey::Done { without });
        if let Some(state) = self.clients.get_mut(client) {
            state.trouble = None;
        }
    }

    fn survey_failed(&mut self, client: &ClientKey, tries: u32, error: &CallError) {
        let reaction = reaction(error.kind, Place::Round);
        if reaction == Reaction::Without {
            self.warn(format!("only the pipelines that nodes have named are looked at: {}", error.message));
            let mend = if error.kind == CallErrorKind::Denied { ", allow sagemaker:ListPipelines" } else { "" };
            self.surveyed(client, Some(format!("ListPipelines is refused ({}){mend}", error.kind.as_str())));
            return;
        }
        if error.kind == CallErrorKind::Throttled {
            self.note_throttle(client, false);
        }
        let (now, left) = (self.now, self.answers_left);
        if let Some(state) = self.clients.get_mut(client) {
            Trouble::extend(&mut state.trouble, &error.message, reaction == Reaction::Mend, left);
        }
        let at = now.plus(backoff(tries, RETRY_MOST));
        self.surveys.insert(client.clone(), Survey::Again { at, tries: tries + 1 });
    }
}
