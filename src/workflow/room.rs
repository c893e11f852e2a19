//! Room that a crowd took, given back when the crowd has gone: ten thousand nodes wait for their start once, and then never
//! again.

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasher, Hash},
};

/// What is small anyway.
const KEPT: usize = 64;

/// Something that keeps the room of its largest size unless it is told to give it back.
pub trait Room {
    /// Keeps twice the room that is needed, once that is a quarter of what there is: so each thing that leaves pays for
    /// moving no more than one other.
    fn give_back(&mut self);
}

fn fitting(len: usize, room: usize) -> Option<usize> {
    (room > KEPT && len <= room / 4).then_some(len * 2)
}

impl<K: Eq + Hash, V, S: BuildHasher> Room for HashMap<K, V, S> {
    fn give_back(&mut self) {
        if let Some(room) = fitting(self.len(), self.capacity()) {
            self.shrink_to(room);
        }
    }
}

impl<T> Room for VecDeque<T> {
    fn give_back(&mut self) {
        if let Some(room) = fitting(self.len(), self.capacity()) {
            self.shrink_to(room);
        }
    }
}
