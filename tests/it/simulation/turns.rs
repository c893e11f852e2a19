//! What the workflows of a process share, between the machine and AWS: turns, and lists of poll rounds.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use awf_aws::{
    pace::{self, LaneKey, Request},
    pipelines::{Call, CallEnded, CallErrorKind, ClientKey, Time},
    rounds::{self, Page, Site, Wanted},
    shared::{Deed, Shared},
    workflow::{CallId, Event, Settings, identity::Marker},
};

use super::{
    pod::PodId,
    world::{Happening, World},
};

/// What a process keeps for it.
pub struct Turns {
    shared: Shared<()>,
    /// Calls that left at a turn, and when.
    sent: HashMap<CallId, (LaneKey, Time)>,
    /// Lists of poll rounds under way, and when they left. Their names are beyond those of the machine's calls.
    lists: HashMap<CallId, (Site, Time)>,
    /// Pages of listings under way, named likewise.
    pages: HashMap<CallId, (Page, Time)>,
    listed: u64,
    /// What was said and the machine has not heard: in order, as in a mailbox.
    said: VecDeque<Event>,
    wake: Option<Time>,
}

/// The machine's calls have lower numbers.
const LISTS: u64 = 1 << 62;

impl Turns {
    pub fn new(seed: u64) -> Self {
        let polls = Settings::default();
        let rounds = rounds::Settings { poll_min: polls.poll_min, poll_max: polls.poll_max };
        let shared = Shared::new(pace::Settings::default(), rounds, seed, Marker::uid_of);
        let (sent, lists, pages, said) = (HashMap::new(), HashMap::new(), HashMap::new(), VecDeque::new());
        Self { shared, sent, lists, pages, listed: LISTS, said, wake: None }
    }

    fn next_list(&mut self) -> CallId {
        self.listed += 1;
        CallId(self.listed)
    }

    pub fn leaves(&mut self, call: CallId, client: &ClientKey, operation: &Call, now: Time) {
        if let Some(lane) = LaneKey::of(client, operation) {
            self.sent.insert(call, (lane, now));
        }
    }
}

impl World {
    /// The machine asks for turns.
    pub fn asks_for_turns(&mut self, id: PodId, lane: &LaneKey, request: Request) {
        let now = self.pod_now(id);
        let deeds = self.turns(id).map(|turns| turns.shared.turns_asked((), lane, request, now));
        self.follow(id, deeds);
    }

    /// The machine wants executions looked at.
    pub fn looks(&mut self, id: PodId, site: &Site, wanted: Vec<Wanted>, server_now: Time) {
        let (now, uid) = (self.pod_now(id), self.workflows[id.0].uid.clone());
        let deeds = self.turns(id).map(|turns| turns.shared.looked(((), &uid), site, wanted, now, server_now));
        self.follow(id, deeds);
    }

    /// The machine asks for a page of a listing.
    pub fn asks_for_page(&mut self, id: PodId, call: CallId, page: &Page) {
        let now = self.pod_now(id);
        let deeds = self.turns(id).map(|turns| turns.shared.page_asked((), call.0, page, now));
        self.follow(id, deeds);
    }

    /// It is heard what became of a call. Whether it was a list that the machine hears of otherwise.
    pub fn shared_hears(&mut self, id: PodId, call: CallId, ended: &CallEnded) -> bool {
        let now = self.pod_now(id);
        let throttled = ended.result.as_ref().is_err_and(|error| error.kind == CallErrorKind::Throttled);
        let process = (id, self.pod(id).plugins);
        let throttled = self.hears_throttle(process, throttled);
        let Some(turns) = self.turns(id) else { return false };
        let (list, page) = (turns.lists.remove(&call), turns.pages.remove(&call));
        let deeds = match (&list, &page) {
            (Some((site, sent)), _) => Some(turns.shared.list_answered(site, ended.clone(), *sent, now)),
            (None, Some((page, sent))) => Some(turns.shared.page_answered(page, ended.clone(), *sent, now)),
            (None, None) => {
                let sent = turns.sent.remove(&call);
                sent.map(|(lane, sent)| turns.shared.call_answered(&lane, sent, throttled, now))
            }
        };
        self.follow(id, deeds);
        list.is_some() || page.is_some()
    }

    /// A turn's time has come.
    pub fn turn_comes(&mut self, id: PodId, plugin: u32, at: Time) {
        if let Some(until) = self.stalled(id) {
            self.at(until, Happening::TurnComes(id, plugin, at));
            return;
        }
        let now = self.pod_now(id);
        if self.pod(id).plugins != plugin {
            return;
        }
        let deeds = self.turns(id).filter(|turns| turns.wake == Some(at)).map(|turns| {
            turns.wake = None;
            turns.shared.due(now)
        });
        self.follow(id, deeds);
    }

    fn follow(&mut self, id: PodId, deeds: Option<Vec<Deed<()>>>) {
        let (skew, now) = (self.skew(id), self.pod_now(id));
        for deed in deeds.into_iter().flatten() {
            match deed {
                Deed::Pace((), lane, answer) => self.says(id, Event::Paced { lane, answer }),
                Deed::Seen((), seen) => self.says(id, Event::Seen(seen)),
                Deed::Call(site, operation, _) => {
                    let client = site.client.clone();
                    let turns = self.turns(id).expect("who lists lives");
                    let call = turns.next_list();
                    turns.lists.insert(call, (site, now));
                    self.sends(id, call, client, operation);
                }
                Deed::List((), page, _) => {
                    let (client, operation) = (page.site.client.clone(), page.call());
                    let turns = self.turns(id).expect("who lists lives");
                    let call = turns.next_list();
                    turns.pages.insert(call, (page, now));
                    self.sends(id, call, client, operation);
                }
                Deed::ListingWaits((), number) => self.says(id, Event::CallWaits { call: CallId(number) }),
                Deed::Listed((), number, ended) => {
                    let ended = Arc::unwrap_or_clone(ended);
                    self.says(id, Event::CallEnded { call: CallId(number), ended });
                }
            }
        }
        let Some(turns) = self.turns(id) else { return };
        let next = turns.shared.next_due();
        if turns.wake != next {
            turns.wake = next;
            if let Some(at) = next {
                let plugin = self.pod(id).plugins;
                self.at(Time::at(at.millis() - skew), Happening::TurnComes(id, plugin, at));
            }
        }
    }

    fn says(&mut self, id: PodId, event: Event) {
        let plugin = self.pod(id).plugins;
        self.turns(id).expect("who is told something lives").said.push_back(event);
        let wait = Duration::from_millis(self.rng.u64(0..3));
        self.after(wait, Happening::Said(id, plugin));
    }

    /// The machine hears the next of what was said.
    pub fn said(&mut self, id: PodId, plugin: u32) {
        if let Some(until) = self.stalled(id) {
            self.at(until, Happening::Said(id, plugin));
            return;
        }
        if self.pod(id).plugins != plugin {
            return;
        }
        if let Some(event) = self.turns(id).and_then(|turns| turns.said.pop_front()) {
            self.step(id, event);
        }
    }

    fn turns(&mut self, id: PodId) -> Option<&mut Turns> {
        self.pod(id).plugin.as_mut().map(|plugin| &mut plugin.turns)
    }
}
