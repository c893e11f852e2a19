//! Requests that were read before: the agent sends the same bytes for a node again and again until it has ended.
//!
//! A task is nothing but what its body says, so the same bytes are the same task; reading one is half of what an answer
//! costs otherwise (README, "Benchmarks").

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use actix_web::web::Bytes;

use crate::input::Task;

/// Bodies that are kept at most, those not asked for lately go first: 3 MiB with their tasks. The nodes of a workflow
/// beyond that are read each time.
const MOST: usize = 1_024;

/// Longer bodies are not kept: a node's is about 1 KiB.
const LONGEST: usize = 8 * 1024;

/// The tasks of bodies that were read lately, shared by the HTTP workers.
#[derive(Debug, Default)]
pub struct Reread<S = RandomState> {
    tasks: Mutex<Generations>,
    /// Keyed anew in each process: nobody can send bodies that collide on purpose.
    hasher: S,
}

/// A body that is asked for moves to the young; when these are half of all that may be kept, the old ones go.
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
        let mut tasks = self.tasks();
        if let Some(kept) = tasks.young.get(&hash) {
            return (kept.body == body).then(|| kept.task.clone());
        }
        let kept = tasks.old.remove(&hash).filter(|kept| kept.body == body)?;
        let task = kept.task.clone();
        tasks.keep(hash, kept);
        Some(task)
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
