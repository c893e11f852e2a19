//! The executions of one pipeline that workflows of the process follow.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use crate::pipelines::{Arn, Time};

use super::{Settings, plan::interval};

/// Who follows an execution, and when it was last looked at.
#[derive(Debug)]
struct Entry<Id> {
    who: Vec<Id>,
    created: Time,
    /// When half of the time until its next look is over: from then on it is worth a look that costs nothing.
    ripe_at: Time,
    seen: Time,
}

/// All of them.
#[derive(Debug)]
pub struct Followed<Id> {
    settings: Settings,
    entries: HashMap<Arn, Entry<Id>>,
    /// By when they are ripe.
    ripe: BTreeSet<(Time, Arn)>,
    /// How many each workflow follows.
    counts: BTreeMap<Id, usize>,
}

impl<Id: Clone + Ord> Followed<Id> {
    /// None yet.
    pub fn new(settings: Settings) -> Self {
        Self { settings, entries: HashMap::new(), ripe: BTreeSet::new(), counts: BTreeMap::new() }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// How many there are that this workflow does not follow.
    pub fn of_others(&self, who: &Id) -> usize {
        self.len() - self.counts.get(who).copied().unwrap_or_default()
    }

    /// A workflow wants it looked at now.
    pub fn want(&mut self, who: &Id, arn: &Arn, created: Time, now: Time) {
        self.ripens(who, arn, created, now);
    }

    /// A workflow has just started it, or found it so.
    pub fn started(&mut self, who: &Id, arn: &Arn, created: Time, now: Time) {
        let known = self.entries.get(arn).map(|entry| entry.ripe_at);
        self.ripens(who, arn, created, known.unwrap_or(now.plus(self.settings.poll_min / 2)));
    }

    fn ripens(&mut self, who: &Id, arn: &Arn, created: Time, at: Time) {
        let new = || Entry { who: Vec::new(), created, ripe_at: at, seen: Time::default() };
        let entry = self.entries.entry(arn.clone()).or_insert_with(new);
        if !entry.who.contains(who) {
            entry.who.push(who.clone());
            count(&mut self.counts, who);
        }
        // What has just started was created a moment before that was known; whoever has looked at it knows better.
        entry.created = entry.created.min(created);
        // Also later than it was: whoever is wanted again and again is not forgotten.
        let before = std::mem::replace(&mut entry.ripe_at, at);
        self.ripe.remove(&(before, arn.clone()));
        self.ripe.insert((at, arn.clone()));
    }

    /// It was looked at, or is about to be. Gives who follows it, whom it was shown to.
    pub fn seen(&mut self, arn: &Arn, now: Time, server_now: Time) -> &[Id] {
        let Some((key, _)) = self.entries.get_key_value(arn) else { return &[] };
        let key = key.clone();
        let Some(entry) = self.entries.get_mut(arn) else { return &[] };
        self.ripe.remove(&(entry.ripe_at, key.clone()));
        entry.seen = now;
        entry.ripe_at =
            now.plus(interval(server_now.since(entry.created), self.settings.poll_min, self.settings.poll_max) / 2);
        self.ripe.insert((entry.ripe_at, key));
        &entry.who
    }

    /// When it was last seen; nothing for one that is not followed.
    pub fn last_seen(&self, arn: &Arn) -> Option<Time> {
        self.entries.get(arn).map(|entry| entry.seen)
    }

    /// It has ended.
    pub fn drop(&mut self, arn: &Arn) {
        if let Some((key, entry)) = self.entries.remove_entry(arn) {
            self.ripe.remove(&(entry.ripe_at, key));
            entry.who.iter().for_each(|who| uncount(&mut self.counts, who));
        }
    }

    /// A workflow follows nothing any more.
    pub fn forget(&mut self, who: &Id) {
        self.counts.remove(who);
        let ripe = &mut self.ripe;
        self.entries.retain(|arn, entry| {
            entry.who.retain(|other| other != who);
            if entry.who.is_empty() {
                ripe.remove(&(entry.ripe_at, arn.clone()));
            }
            !entry.who.is_empty()
        });
    }

    /// What has been worth a look for long has ended unseen or is gone, or its workflow would have asked again: it is dropped.
    pub fn drop_forgotten(&mut self, now: Time) {
        let forgotten = now.minus(self.settings.poll_max * 2 + Duration::from_secs(10));
        while let Some((_, arn)) = self.ripe.first().filter(|(ripe_at, _)| *ripe_at < forgotten).cloned() {
            self.drop(&arn);
        }
    }

    /// Those that are worth a look, and when the first of them was created.
    pub fn ripe(&mut self, now: Time) -> (BTreeSet<Arn>, Option<Time>) {
        self.drop_forgotten(now);
        let ripe: BTreeSet<Arn> =
            self.ripe.iter().take_while(|(at, _)| *at <= now).map(|(_, arn)| arn.clone()).collect();
        let created = ripe.iter().filter_map(|arn| self.entries.get(arn)).map(|entry| entry.created).min();
        (ripe, created)
    }
}

fn count<Id: Clone + Ord>(counts: &mut BTreeMap<Id, usize>, who: &Id) {
    *counts.entry(who.clone()).or_default() += 1;
}

fn uncount<Id: Ord>(counts: &mut BTreeMap<Id, usize>, who: &Id) {
    if let Some(count) = counts.get_mut(who) {
        *count -= 1;
        if *count == 0 {
            counts.remove(who);
        }
    }
}
