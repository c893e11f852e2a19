//! What a workflow never forgets, kept in the order in which it came and reached by ids that cannot miss.

use std::{
    fmt,
    marker::PhantomData,
    ops::{Index, IndexMut},
};

/// The name of one thing of a kind.
pub trait Id: Copy {
    /// The id of what came after so many others.
    fn at(place: usize) -> Self;
    /// How many came before it.
    fn place(self) -> usize;
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident,)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u32);

        impl Id for $name {
            fn at(place: usize) -> Self {
                Self(u32::try_from(place).expect("a workflow has fewer things of a kind than four thousand million"))
            }

            fn place(self) -> usize {
                self.0 as usize
            }
        }
    )+};
}

ids! {
    /// A pipeline as one client calls it.
    PipelineId,
    /// An execution that this workflow has to do with.
    ExecutionId,
    /// One attempt of an `execute` node.
    AttemptId,
    /// A `validate` node.
    ValidationId,
    /// A `stop` node.
    StopId,
}

/// Things that are never removed. An id comes only from [`Slab::push`], so looking one up cannot fail.
pub struct Slab<I, T> {
    /// Boxed: doubling the room of ten thousand large things would cost more than the things.
    things: Vec<Box<T>>,
    ids: PhantomData<fn() -> I>,
}

impl<I: Id, T> Slab<I, T> {
    /// Keeps one more thing for good.
    pub fn push(&mut self, thing: impl FnOnce(I) -> T) -> I {
        let id = I::at(self.things.len());
        self.things.push(Box::new(thing(id)));
        id
    }

    /// All ids, oldest first.
    pub fn ids(&self) -> impl Iterator<Item = I> + use<I, T> {
        (0..self.things.len()).map(I::at)
    }

    /// All things, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (I, &T)> {
        self.things.iter().enumerate().map(|(place, thing)| (I::at(place), &**thing))
    }
}

impl<I, T> Default for Slab<I, T> {
    fn default() -> Self {
        Self { things: Vec::new(), ids: PhantomData }
    }
}

impl<I: Id, T> Index<I> for Slab<I, T> {
    type Output = T;

    fn index(&self, id: I) -> &T {
        &self.things[id.place()]
    }
}

impl<I: Id, T> IndexMut<I> for Slab<I, T> {
    fn index_mut(&mut self, id: I) -> &mut T {
        &mut self.things[id.place()]
    }
}

impl<I, T: fmt::Debug> fmt::Debug for Slab<I, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.things).finish()
    }
}
