//! Who waits for a turn, and whose is next.

use std::{
    collections::{BTreeMap, HashMap},
    hash::Hash,
};

/// Those who wait with one urgency, in the order in which they take turns. Every operation is O(log n) in their number.
#[derive(Clone, Debug)]
pub struct Line<Id> {
    order: BTreeMap<u64, Id>,
    waiters: HashMap<Id, Waiter>,
    next_place: u64,
    turns: usize,
}

#[derive(Clone, Copy, Debug)]
struct Waiter {
    place: u64,
    turns: u32,
}

impl<Id> Default for Line<Id> {
    fn default() -> Self {
        Self { order: BTreeMap::new(), waiters: HashMap::new(), next_place: 0, turns: 0 }
    }
}

impl<Id: Clone + Eq + Hash> Line<Id> {
    /// Waits for so many more turns. Who waits already keeps its place.
    pub fn join(&mut self, who: &Id, turns: u32) {
        if turns == 0 {
            return;
        }
        if let Some(waiter) = self.waiters.get_mut(who) {
            let before = waiter.turns;
            waiter.turns = before.saturating_add(turns);
            self.turns += (waiter.turns - before) as usize;
        } else {
            self.turns += turns as usize;
            self.enqueue(who.clone(), turns);
        }
    }

    /// Waits for so many turns fewer, or no longer at all.
    pub fn leave(&mut self, who: &Id, turns: u32) {
        let Some(waiter) = self.waiters.get_mut(who) else { return };
        if turns < waiter.turns {
            waiter.turns -= turns;
            self.turns -= turns as usize;
        } else {
            self.turns -= waiter.turns as usize;
            self.order.remove(&waiter.place);
            self.waiters.remove(who);
        }
    }

    /// The next turn's owner. What it still waits for, it waits for behind all others.
    pub fn next(&mut self) -> Option<Id> {
        let (_, who) = self.order.pop_first()?;
        let waiter = self.waiters.remove(&who)?;
        self.turns -= 1;
        if waiter.turns > 1 {
            self.enqueue(who.clone(), waiter.turns - 1);
        }
        Some(who)
    }

    /// Whether somebody waits.
    pub fn contains(&self, who: &Id) -> bool {
        self.waiters.contains_key(who)
    }

    /// Turns waited for.
    pub fn len(&self) -> usize {
        self.turns
    }

    fn enqueue(&mut self, who: Id, turns: u32) {
        self.waiters.insert(who.clone(), Waiter { place: self.next_place, turns });
        self.order.insert(self.next_place, who);
        self.next_place += 1;
    }
}
