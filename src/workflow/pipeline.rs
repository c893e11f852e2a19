//! Pipelines, and the clients that call them: what has to be known before anything of one starts.

use std::{collections::HashMap, ops::Index};

use crate::{
    input::Task,
    pace::Urgency,
    pipelines::{Call, CallError, CallReply, ClientKey, Execution, PipelineSummary, Time},
    rounds::Site,
};

use super::{
    client::Client,
    definition::PipelineDigest,
    effects::{Change, Effects, Purpose, Timer},
    queue::Way,
    slab::{PipelineId, Slab},
    trouble::Trouble,
};

mod digests;
mod listing;
mod starts;

pub use digests::DIGEST_FOR;
pub use listing::{LISTS_LAG, Listing};

use digests::{Digested, Digests};
use listing::{Freshness, Listed, Page, Settling, executions_since};
use starts::Permits;

/// A pipeline as one client calls it.
#[derive(Debug)]
pub struct Pipeline {
    client: ClientKey,
    account: String,
    name: String,
    arn: String,
    /// A node names it; others are only looked into for a stop of everything.
    named: bool,
    workflow_created: Option<Time>,
    listing: Listing,
    digests: Digests,
    /// Whether its nodes may start, and resume: a role may lack one permission and have the other.
    starts: Permits,
    resumes: Permits,
}

impl Pipeline {
    /// Who calls it.
    pub fn client(&self) -> &ClientKey {
        &self.client
    }

    /// Its ARN, as the first task or list spelled it.
    pub fn arn(&self) -> &str {
        &self.arn
    }

    /// What is known of its executions as a whole.
    pub fn listing(&self) -> &Listing {
        &self.listing
    }

    /// Whether it can be done without: no node names it, and its executions cannot be listed.
    pub fn is_hopeless(&self) -> bool {
        !self.named && self.listing.fails()
    }
}

/// How far the facts that must come before a start are.
#[derive(Clone, Debug)]
pub enum Located {
    NotYet,
    Ready,
    /// The pipeline is missing or refused: final.
    Refused(String),
}

/// What a page of the listing led to.
#[derive(Debug, Default)]
pub struct ListingAnswer {
    /// What it shows.
    pub executions: Vec<Execution>,
    /// Which executions that are not found are gone for good.
    pub settles: Option<Missing>,
    /// Whether the pipeline's nodes have something to look at.
    pub news: bool,
}

/// Which missing executions a listing proves gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// Those that have been missing for long.
    LongGone,
    /// All: there is no such pipeline.
    All,
}

/// All pipelines that the workflow has to do with.
#[derive(Default)]
pub struct Pipelines {
    all: Slab<PipelineId, Pipeline>,
    clients: HashMap<ClientKey, Client>,
}

impl Index<PipelineId> for Pipelines {
    type Output = Pipeline;

    fn index(&self, id: PipelineId) -> &Pipeline {
        &self.all[id]
    }
}

impl Pipelines {
    /// All of them, in the order in which they became known.
    pub fn ids(&self) -> impl Iterator<Item = PipelineId> + use<> {
        self.all.ids()
    }

    /// A task's pipeline; made known when it is new.
    pub fn of_task(&mut self, task: &Task, fx: &Effects) -> PipelineId {
        let (client, account, name) = (&task.client, &task.account_id, &task.pipeline_name);
        let id = self.named(client, account, name, || task.pipeline_arn(), task.workflow_created, fx);
        self.all[id].named = true;
        id
    }

    fn named(
        &mut self,
        client: &ClientKey,
        account: &str,
        name: &str,
        arn: impl FnOnce() -> String,
        workflow_created: Option<Time>,
        fx: &Effects,
    ) -> PipelineId {
        let is_it = |p: &Pipeline| p.client == *client && p.account == account && p.name.eq_ignore_ascii_case(name);
        let known = self.all.ids().find(|id| is_it(&self.all[*id]));
        if let Some(id) = known {
            let known = &mut self.all[id].workflow_created;
            *known = known.or(workflow_created);
            return id;
        }
        self.clients.entry(client.clone()).or_default();
        self.all.push(|_| Pipeline {
            client: client.clone(),
            account: account.to_owned(),
            name: name.to_owned(),
            arn: arn(),
            named: false,
            workflow_created,
            listing: Listing::new(fx.now()),
            digests: Digests::default(),
            starts: Permits::default(),
            resumes: Permits::default(),
        })
    }

    /// Those that are the same pipeline, whichever role calls it.
    pub fn same(&self, id: PipelineId) -> impl Iterator<Item = PipelineId> {
        let arn = &self.all[id].arn;
        self.all.iter().filter(|(_, p)| p.arn.eq_ignore_ascii_case(arn)).map(|(id, _)| id)
    }

    /// Whether these are the same pipeline, whichever roles call it.
    pub fn are_same(&self, one: PipelineId, other: PipelineId) -> bool {
        self.all[one].arn.eq_ignore_ascii_case(&self.all[other].arn)
    }

    /// The one that a client's calls name so.
    pub fn of_site(&self, site: &Site) -> Option<PipelineId> {
        // Pipelines of two accounts may have one name.
        let named = |id: PipelineId| self.all[id].client == site.client && self.spelled(id) == Some(&site.pipeline);
        self.ids().find(|id| named(*id))
    }

    /// Those that the same client calls.
    pub fn of_client(&self, client: &ClientKey) -> Vec<PipelineId> {
        self.all.iter().filter(|(_, p)| p.client == *client).map(|(id, _)| id).collect()
    }

    fn client_of(&self, id: PipelineId) -> &Client {
        self.clients.get(&self.all[id].client).expect("a pipeline's client is kept from its first mention on")
    }

    fn client_mut(&mut self, id: PipelineId) -> (&ClientKey, &mut Client) {
        let name = &self.all[id].client;
        (name, self.clients.get_mut(name).expect("a pipeline's client is kept from its first mention on"))
    }

    /// Puts a call in line that is made as this pipeline's client.
    pub fn call(&self, urgency: Urgency, id: PipelineId, operation: Call, purpose: Purpose, fx: &mut Effects) {
        fx.call(urgency, &self.all[id].client, operation, purpose);
    }

    /// How calls name the pipeline: by name in the credentials' own account, by ARN in another. `None`: not known yet.
    pub fn spelling(&mut self, id: PipelineId, fx: &mut Effects) -> Option<String> {
        let known = self.spelled(id).map(str::to_owned);
        if known.is_none() {
            let (name, client) = self.client_mut(id);
            client.ask_account(name, fx);
        }
        known
    }

    fn spelled(&self, id: PipelineId) -> Option<&str> {
        let (pipeline, own) = (&self.all[id], self.client_of(id).account()?);
        Some(if own == pipeline.account { &pipeline.name } else { &pipeline.arn })
    }

    /// Asks for a client's account when that is to be repeated.
    pub fn ask_account(&mut self, name: &ClientKey, fx: &mut Effects) {
        self.clients.entry(name.clone()).or_default().ask_account(name, fx);
    }

    /// Takes in whose account a client's is.
    pub fn account_answered(&mut self, name: &ClientKey, result: Result<CallReply, CallError>, fx: &mut Effects) {
        self.clients.entry(name.clone()).or_default().account_answered(name, result, fx);
        for id in self.of_client(name) {
            fx.changed(Change::Pipeline(id));
        }
    }

    /// What keeps a pipeline's nodes from being located, if something does.
    pub fn locating_trouble(&self, id: PipelineId) -> Option<&Trouble> {
        self.account_trouble(id).or_else(|| self.all[id].listing.trouble())
    }

    /// What keeps it from becoming known whose account the client's is.
    pub fn account_trouble(&self, id: PipelineId) -> Option<&Trouble> {
        self.client_of(id).account_trouble()
    }

    /// What keeps the client's other pipelines from becoming known.
    pub fn survey_trouble(&self, id: PipelineId) -> Option<&Trouble> {
        self.client_of(id).survey_trouble()
    }

    /// A listing has to come before the next start, and fails.
    pub fn listing_trouble(&self, id: PipelineId) -> Option<&Trouble> {
        self.locating_trouble(id).filter(|_| self.all[id].listing.is_open())
    }

    /// What keeps the nodes of a pipeline from beginning: a denial, or a listing that has to come before and fails.
    pub fn starting_trouble(&self, id: PipelineId, way: Way) -> Option<&Trouble> {
        self.all[id].denied(way).or_else(|| self.listing_trouble(id))
    }

    /// Sees to it that everything that must be known before a start becomes known.
    pub fn locate(&mut self, id: PipelineId, fx: &mut Effects) -> Located {
        if self.spelling(id, fx).is_none() {
            return Located::NotYet;
        }
        self.all[id].listing.outlive_refusal(fx.now());
        if self.all[id].listing.is_wanted() {
            self.list_next(id, fx);
        }
        let listing = &self.all[id].listing;
        match listing.refusal() {
            Some(text) => Located::Refused(text.to_owned()),
            // What is listed again meanwhile holds up starts, and nothing else.
            None if listing.is_open() && !listing.is_known() => Located::NotYet,
            None => Located::Ready,
        }
    }

    /// Sends the page of the listing that is wanted, if its time has come.
    pub fn list_next(&mut self, id: PipelineId, fx: &mut Effects) {
        let since = executions_since(self.all[id].workflow_created, fx);
        if let Some(page) = self.all[id].listing.next_page(fx.now(), since) {
            self.list_page(id, page, fx);
        }
    }

    fn list_page(&mut self, id: PipelineId, page: Page, fx: &mut Effects) {
        let Some(pipeline) = self.spelling(id, fx) else { return };
        let (created_after, next_token) = (Some(page.created_after), page.token.clone());
        self.all[id].listing.asked(page, fx.now());
        let call = Call::ListExecutions { pipeline, created_after, next_token };
        self.call(Urgency::Ask, id, call, Purpose::Listing(id), fx);
    }

    /// Wants another complete listing: something may have started unheard, or be gone.
    pub fn list_anew(&mut self, id: PipelineId, fx: &mut Effects) {
        self.all[id].listing.anew(fx.now());
        self.list_next(id, fx);
    }

    /// The same for whoever looks for what a start has left.
    pub fn list_in_search(&mut self, id: PipelineId, fx: &mut Effects) {
        self.all[id].listing.anew_in_search(fx.now());
        self.list_next(id, fx);
    }

    /// Wants to know what was created since the last complete listing; everything, if what was there may have been
    /// revived (`revivable`).
    pub fn renew(&mut self, id: PipelineId, revivable: bool, fx: &mut Effects) {
        if !revivable {
            let since = executions_since(self.all[id].workflow_created, fx);
            self.all[id].listing.of_late(fx.now(), since);
        }
        self.list_anew(id, fx);
    }

    /// Whether another process's start of this pipeline would be known or its token still be remembered; if not, the
    /// pipeline is listed again. `whole` and `lags_until` as for [`Listing::freshness`].
    pub fn is_freshly_listed(&mut self, id: PipelineId, whole: bool, lags_until: Time, fx: &mut Effects) -> bool {
        let freshness = self.all[id].listing.freshness(fx.now(), whole, lags_until);
        match freshness {
            Freshness::OnlyOfLate => self.list_anew(id, fx),
            Freshness::Stale => fx.changed(Change::Stale(id)),
            Freshness::Fresh | Freshness::Pending => {}
        }
        freshness == Freshness::Fresh
    }

    /// Whether the pipeline was listed after this time. If not, it is listed again as soon as that can be.
    pub fn is_listed_after(&mut self, id: PipelineId, after: Time, fx: &mut Effects) -> bool {
        let settled = self.all[id].listing.is_after(after);
        if !settled {
            self.list_once_settled(id, fx);
        }
        settled
    }

    /// Lists again once the time has come after which somebody needs a listing.
    pub fn list_once_settled(&mut self, id: PipelineId, fx: &mut Effects) {
        match self.all[id].listing.once_settled(fx.now()) {
            Settling::Done => {}
            Settling::LookAt(at) => fx.wake(at, Timer::Refresh(id)),
            Settling::Renew => fx.changed(Change::Stale(id)),
            Settling::Ask => self.list_next(id, fx),
        }
    }

    /// Takes in a page of the listing.
    pub fn listing_answered(
        &mut self,
        id: PipelineId,
        result: Result<CallReply, CallError>,
        fx: &mut Effects,
    ) -> ListingAnswer {
        let mut answer = ListingAnswer::default();
        let pipeline = &mut self.all[id];
        let bounded = pipeline.workflow_created.is_some();
        let listed = match result {
            Ok(CallReply::Executions { page, next_token }) => {
                answer.executions = page;
                pipeline.listing.page_came(next_token, fx.server_now(), bounded)
            }
            Ok(_) => pipeline.listing.page_came(None, fx.server_now(), bounded),
            Err(error) => {
                let listed = pipeline.listing.page_failed(&error, &pipeline.arn, fx.now(), fx.left());
                if matches!(listed, Some(Listed::Denied { first: true })) {
                    fx.warn(format!(
                        "ListPipelineExecutions is denied, only the client request token protects against a second start: {}",
                        error.message
                    ));
                }
                listed
            }
        };
        match listed {
            None => return ListingAnswer::default(),
            Some(Listed::More(page)) => {
                self.list_page(id, page, fx);
                return answer;
            }
            Some(Listed::Complete { whole, truncated_after }) => {
                answer.settles = whole.then_some(Missing::LongGone);
                if let Some(pages) = truncated_after {
                    fx.warn(format!(
                        "the listing of earlier executions was truncated after {pages} pages: set workflow_created in the plugin input"
                    ));
                }
            }
            Some(Listed::Refused { no_such_pipeline }) => answer.settles = no_such_pipeline.then_some(Missing::All),
            Some(Listed::Denied { .. }) => {}
            Some(Listed::Later(at)) => fx.wake(at, Timer::Listing(id)),
        }
        answer.news = true;
        answer
    }

    /// Whether a list was denied, so that what was started may be known to nobody else.
    pub fn are_hidden(&self) -> bool {
        self.ids().any(|id| self.all[id].listing().is_denied())
    }

    /// A poll round's list was denied.
    pub fn round_denied(&mut self, id: PipelineId, now: Time) {
        self.all[id].listing.deny(now);
    }

    /// The digest of a pipeline, if it is known or refused; else it is being asked for.
    pub fn digest(
        &mut self,
        id: PipelineId,
        version: Option<i64>,
        fx: &mut Effects,
    ) -> Option<Result<PipelineDigest, String>> {
        match self.all[id].digests.get(version, fx.now()) {
            Digested::Known(digest) => return Some(digest),
            Digested::Pending => return None,
            Digested::Unknown => {}
        }
        let pipeline = self.spelling(id, fx)?;
        self.all[id].digests.asked(version);
        self.call(
            Urgency::Ask,
            id,
            Call::DescribePipeline { pipeline, version },
            Purpose::Digest { pipeline: id, version },
            fx,
        );
        None
    }

    /// Why a digest cannot be had.
    pub fn digest_trouble(&self, id: PipelineId, version: Option<i64>) -> Option<&Trouble> {
        self.all[id].digests.trouble(version).or_else(|| self.account_trouble(id))
    }

    /// Retries of digests whose time has come.
    pub fn ask_digests(&mut self, id: PipelineId, fx: &mut Effects) {
        for version in self.all[id].digests.waiting() {
            // Asked for by looking whether it is known.
            let _asked = self.digest(id, version, fx);
        }
    }

    /// Takes in what DescribePipeline told.
    pub fn digest_answered(
        &mut self,
        id: PipelineId,
        version: Option<i64>,
        result: Result<CallReply, CallError>,
        fx: &mut Effects,
    ) {
        let Pipeline { digests, arn, .. } = &mut self.all[id];
        if let Some(at) = digests.answered(version, arn, result, fx.now(), fx.left()) {
            fx.wake(at, Timer::Digest(id));
        }
        fx.changed(Change::Digest(id));
    }

    /// Whether the pipelines of this one's client are known, or as well as they will be; sees to it.
    pub fn survey(&mut self, id: PipelineId, fx: &mut Effects) -> bool {
        let (name, client) = self.client_mut(id);
        client.survey(name, id, fx)
    }

    /// What was found for an earlier stop may have changed.
    pub fn forget_survey(&mut self, id: PipelineId) {
        self.client_mut(id).1.forget_survey();
    }

    /// Takes in a page of the client's pipelines.
    pub fn survey_answered(&mut self, id: PipelineId, result: Result<CallReply, CallError>, fx: &mut Effects) {
        let (name, client) = self.client_mut(id);
        let page = client.survey_answered(name, id, result, fx);
        self.meet(id, page, fx);
        fx.changed(Change::Survey);
    }

    /// Makes those pipelines known that were started since the workflow was created.
    fn meet(&mut self, asked_for: PipelineId, page: Vec<PipelineSummary>, fx: &Effects) {
        let Pipeline { client, account, arn, workflow_created, .. } = &self.all[asked_for];
        if self.client_of(asked_for).account() != Some(account.as_str()) {
            return;
        }
        let (client, account, created) = (client.clone(), account.clone(), *workflow_created);
        let prefix = arn.rsplit_once('/').map_or("", |(prefix, _)| prefix).to_owned();
        let since = executions_since(created, fx);
        for summary in page {
            if summary.last_started.is_none_or(|last| last >= since) {
                let arn = || format!("{prefix}/{}", summary.name);
                self.named(&client, &account, &summary.name, arn, created, fx);
            }
        }
    }

    /// Why not everything may have been found that this pipeline's client has started, for the node that asked.
    pub fn survey_gap(&self, id: PipelineId) -> Option<String> {
        if let Some(why) = self.client_of(id).surveyed_without() {
            return Some(format!("only pipelines that nodes have named were looked at: {why}"));
        }
        let hopeless = self.all.iter().filter(|(_, p)| p.is_hopeless());
        let names: Vec<&str> = hopeless.map(|(_, p)| p.name.as_str()).collect();
        (!names.is_empty()).then(|| format!("executions of {} could not be listed", names.join(", ")))
    }
}
