//! Which roles a workflow may have assumed for it.
//!
//! Whoever may submit a workflow writes its `role_arn`; the plugin's own role may be trusted by more roles than this person
//! should reach (the confused deputy of IAM's guide). So the operator's list decides, not the workflow.

use super::{InputError, Task, sentence::shorten};
use crate::text::pattern::like;

/// Patterns of role ARNs. Without any: the roles of the task's own `account_id`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedRoles(Vec<String>);

impl AllowedRoles {
    /// These patterns, with `*` for any text and `?` for one character.
    pub fn new(patterns: Vec<String>) -> Self {
        Self(patterns)
    }

    /// A sentence when the task names a role that it may not have.
    pub fn check(&self, task: &Task) -> Result<(), InputError> {
        let Some(role) = task.client.role_arn.as_deref() else { return Ok(()) };
        let account = role.split(':').nth(4).unwrap_or_default();
        if self.0.is_empty() {
            if account == task.account_id {
                return Ok(());
            }
            return Err(InputError::quoting(|room| {
                format!(
                    "`role_arn` `{}` is of account {account}, but `account_id` is {}; other roles are only assumed when the \
                     plugin's --allowed-roles lists them",
                    shorten(role, room),
                    task.account_id
                )
            }));
        }
        if self.0.iter().any(|pattern| like(pattern, role)) {
            return Ok(());
        }
        let list = self.0.join(", ");
        Err(InputError::quoting(|room| {
            format!(
                "`role_arn` `{}` matches none of the plugin's --allowed-roles ({}); add it there or use one of them",
                shorten(role, room),
                shorten(&list, room)
            )
        }))
    }
}
