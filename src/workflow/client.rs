//! A client: whose account its credentials are, and the list of that account's pipelines.
//!
//! A stop of everything has to know which pipelines this workflow may have run, also in a process that was not there
//! from the beginning and whose nodes name only some of them. One list of the account's pipelines says when each was last
//! started; those that were since the workflow's creation are listed like a node's own pipeline.

use std::time::Duration;

use crate::{
    pace::Urgency,
    pipelines::{Call, CallError, CallErrorKind, CallReply, ClientKey, PipelineSummary, Time},
};

use super::{
    effects::{Effects, Purpose, Timer, backoff},
    slab::PipelineId,
    trouble::{CallSite, Disposition, Trouble, disposition},
};

/// A question that failed is repeated after this long at the most.
pub const RETRY_MOST: Duration = Duration::from_secs(15);

/// What is known of a client.
#[derive(Debug, Default)]
pub struct Client {
    account: Account,
    survey: Survey,
}

/// Whose credentials these are.
#[derive(Debug, Default)]
struct Account {
    id: Option<String>,
    asking: bool,
    retry_at: Option<Time>,
    tries: u32,
    trouble: Option<Box<Trouble>>,
}

/// How far the list of a client's pipelines is.
#[derive(Debug, Default)]
struct Survey {
    stage: SurveyStage,
    trouble: Option<Box<Trouble>>,
}

#[derive(Debug, Default)]
enum SurveyStage {
    #[default]
    NotWanted,
    Asking {
        tries: u32,
    },
    Again {
        at: Time,
        tries: u32,
    },
    Done {
        /// Why it had to do without.
        without: Option<String>,
    },
}

impl Client {
    /// Its account, once that is known.
    pub fn account(&self) -> Option<&str> {
        self.account.id.as_deref()
    }

    /// What keeps the account from becoming known.
    pub fn account_trouble(&self) -> Option<&Trouble> {
        self.account.trouble.as_deref()
    }

    /// What keeps the list of pipelines from becoming known.
    pub fn survey_trouble(&self) -> Option<&Trouble> {
        self.survey.trouble.as_deref()
    }

    /// Asks whose credentials these are, unless that is known, asked or waits for its retry.
    pub fn ask_account(&mut self, name: &ClientKey, fx: &mut Effects) {
        let account = &mut self.account;
        if account.id.is_some() || account.asking || account.retry_at.is_some_and(|at| at > fx.now()) {
            return;
        }
        account.asking = true;
        account.retry_at = None;
        fx.call(Urgency::Ask, name, Call::GetCallerIdentity, Purpose::Identity(name.clone()));
    }

    /// Takes in the answer.
    pub fn account_answered(&mut self, name: &ClientKey, result: Result<CallReply, CallError>, fx: &mut Effects) {
        let account = &mut self.account;
        account.asking = false;
        match result {
            Ok(CallReply::CallerIdentity { account: id }) => {
                account.id = Some(id);
                account.trouble = None;
            }
            Ok(_) => {}
            Err(error) => {
                let denied = disposition(error.kind, CallSite::Account) == Disposition::Mend;
                Trouble::extend(&mut account.trouble, &error.message, denied, fx.left());
                let at = fx.now().plus(backoff(account.tries, RETRY_MOST));
                account.tries += 1;
                account.retry_at = Some(at);
                fx.wake(at, Timer::Client(name.clone()));
            }
        }
    }

    /// Whether the account's pipelines are known, or as well as they will be; sees to it that they become known. Calls
    /// are made in the name of this pipeline.
    pub fn survey(&mut self, name: &ClientKey, pipeline: PipelineId, fx: &mut Effects) -> bool {
        match self.survey.stage {
            SurveyStage::NotWanted => self.list_pipelines(name, pipeline, None, 0, fx),
            SurveyStage::Again { at, tries } if at <= fx.now() => self.list_pipelines(name, pipeline, None, tries, fx),
            SurveyStage::Asking { .. } | SurveyStage::Again { .. } => {}
            SurveyStage::Done { .. } => return true,
        }
        false
    }

    /// What was found for an earlier stop may have changed.
    pub fn forget_survey(&mut self) {
        if matches!(self.survey.stage, SurveyStage::Done { .. }) {
            self.survey.stage = SurveyStage::NotWanted;
        }
    }

    /// Why not all pipelines of the account are known.
    pub fn surveyed_without(&self) -> Option<&str> {
        match &self.survey.stage {
            SurveyStage::Done { without } => without.as_deref(),
            _ => None,
        }
    }

    fn list_pipelines(
        &mut self,
        name: &ClientKey,
        pipeline: PipelineId,
        next_token: Option<String>,
        tries: u32,
        fx: &mut Effects,
    ) {
        self.survey.stage = SurveyStage::Asking { tries };
        fx.call(Urgency::Ask, name, Call::ListPipelines { next_token }, Purpose::Survey(pipeline));
    }

    /// Takes in a page of the account's pipelines; gives what it shows.
    pub fn survey_answered(
        &mut self,
        name: &ClientKey,
        pipeline: PipelineId,
        result: Result<CallReply, CallError>,
        fx: &mut Effects,
    ) -> Vec<PipelineSummary> {
        let SurveyStage::Asking { tries } = self.survey.stage else { return Vec::new() };
        match result {
            Ok(CallReply::Pipelines { page, next_token }) => {
                match next_token {
                    Some(token) => self.list_pipelines(name, pipeline, Some(token), tries, fx),
                    None => self.surveyed(None),
                }
                return page;
            }
            Ok(_) => self.surveyed(None),
            Err(error) => self.survey_failed(tries, &error, fx),
        }
        Vec::new()
    }

    fn surveyed(&mut self, without: Option<String>) {
        self.survey = Survey { stage: SurveyStage::Done { without }, trouble: None };
    }

    fn survey_failed(&mut self, tries: u32, error: &CallError, fx: &mut Effects) {
        let disposition = disposition(error.kind, CallSite::Round);
        if disposition == Disposition::Without {
            fx.warn(format!("only the pipelines that nodes have named are looked at: {}", error.message));
            let mend = if error.kind == CallErrorKind::Denied { ", allow sagemaker:ListPipelines" } else { "" };
            self.surveyed(Some(format!("ListPipelines is refused ({}){mend}", error.kind.as_str())));
            return;
        }
        Trouble::extend(&mut self.survey.trouble, &error.message, disposition == Disposition::Mend, fx.left());
        let at = fx.now().plus(backoff(tries, RETRY_MOST));
        self.survey.stage = SurveyStage::Again { at, tries: tries + 1 };
    }
}
