//! Which nodes Argo hands out together.

use super::key::Key;

/// The nodes that Argo hands out together with one, by a hash of what their names have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Group(u32);

impl Group {
    /// The group of a node's name: `wf[0].a(1:x)` is in the step group `wf[0]`, `wf.task(1:x)` in the loop `wf.task`. Other
    /// tasks of a DAG begin when they may, and belong to none.
    pub fn of(name: &str) -> Option<Self> {
        let shared = step_group(name).or_else(|| loop_of(name))?;
        Some(Self(Key::named("group", shared).number()))
    }

    /// Eight hex digits.
    pub fn hex(self) -> String {
        format!("{:08x}", self.0)
    }

    /// Reads them.
    pub fn parse(text: &str) -> Option<Self> {
        u32::from_str_radix(text, 16).ok().map(Self)
    }
}

/// `wf[0]` of `wf[0].a` and `wf[0].a(1:x)`; nothing for what lies deeper, as `wf[0].a.b` or `wf[0].a(1:x).b`.
fn step_group(name: &str) -> Option<&str> {
    let (group, step) = name.rsplit_once("].")?;
    let (base, item) = step.split_once('(').unwrap_or((step, ")"));
    let plain = !base.contains('.') && item.ends_with(')') && !item.contains(").");
    plain.then(|| name.get(..=group.len())).flatten()
}

/// `wf.task` of `wf.task(1:x)`.
fn loop_of(name: &str) -> Option<&str> {
    let numbered = |at: &usize| {
        let index = name.get(at + 1..).and_then(|rest| rest.split_once(':')).map_or("", |(index, _)| index);
        !index.is_empty() && index.bytes().all(|b| b.is_ascii_digit())
    };
    let item = name.match_indices('(').map(|(at, _)| at).rfind(numbered)?;
    name.ends_with(')').then(|| name.get(..item)).flatten()
}
