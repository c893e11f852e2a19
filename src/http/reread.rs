//! Requests that were read before: the agent sends the same bytes for a node again and again until it has ended.
//!
//! A task is nothing but what its body says, so the same bytes are the same task; reading one is half of what an answer
//! costs otherwise (README, "Benchmarks").

use std::{
    collections::HashMap,
    hash::BuildHasher,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use actix_web::web::Bytes;
use foldhash::quality::RandomState;

use crate::input::Task;

/// Bodies that are kept at most, the last that were read: of 1 KiB each, as a node's usually is, 3 MiB with their tasks.
const MOST: usize = 1_024;

/// Longer bodies are not kept, so that all of them are 4 MiB at most.
const LONGEST: usize = 4 * 1024;

/// The tasks of bodies that were read lately, shared by the HTTP workers.
#[derive(Debug, Default)]
pub struct Reread<S = RandomState> {
    tasks: Mutex<Generations>,
    /// Keyed anew in each process, and quick: a body is hashed before every answer. Of bodies that collide all the same, the
    /// last is kept, and the others are read again.
    hasher: S,
}

/// When the young are half of all that may be kept, they become the old, and those go. A body that is asked for does not
/// become young again by that: nodes are asked for in turn, and each would push out the one that comes next.
#[derive(Debug, Default)]
struct Generations {
    young: HashMap<u64, Kept>,
    old: HashMap<u64, Kept>,
}

#[derive(Debug)]
struct Kept {
    /// All of it: another body of the same hash is another task.
    body: Bytes,
    task: Arc<Task>,
}

impl<S: BuildHasher> Reread<S> {
    /// The task of exactly this body, where it was kept.
    pub fn task(&self, body: &[u8]) -> Option<Arc<Task>> {
        let hash = self.hasher.hash_one(body);
        let tasks = self.tasks();
        let kept = tasks.young.get(&hash).or_else(|| tasks.old.get(&hash))?;
        (kept.body == body).then(|| kept.task.clone())
    }

    /// Keeps what was read of a body.
    pub fn keep(&self, body: Bytes, task: &Arc<Task>) {
        if body.len() <= LONGEST {
            let hash = self.hasher.hash_one(&body[..]);
            self.tasks().keep(hash, Kept { body, task: task.clone() });
        }
    }

    fn tasks(&self) -> MutexGuard<'_, Generations> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Generations {
    fn keep(&mut self, hash: u64, kept: Kept) {
        if self.young.len() >= MOST / 2 {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(hash, kept);
    }
}
