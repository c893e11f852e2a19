//! Pages: NextToken names the last item shown, so items that come in between do not shift the pages.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::refusal::{Refusal, page_size};
use crate::{pipelines::Time, text::hex};

/// The members that all List operations share.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct PageInput {
    pub next_token: Option<String>,
    pub max_results: Option<i64>,
    pub sort_by: Option<String>,
    pub sort_order: Option<String>,
    /// Seconds since the epoch.
    pub created_after: Option<f64>,
    pub created_before: Option<f64>,
}

impl PageInput {
    /// Whether the creation lies between the two bounds, both exclusive.
    pub fn spans(&self, created: Time) -> bool {
        let at = created.millis() as f64 / 1000.0;
        self.created_after.is_none_or(|bound| at > bound) && self.created_before.is_none_or(|bound| at < bound)
    }

    /// One of the words allowed for SortBy; the first is the default.
    pub fn sorted_by(&self, allowed: &[&'static str]) -> Result<&'static str, Refusal> {
        one_of("sortBy", self.sort_by.as_deref(), allowed)
    }

    /// Whether the newest or largest comes first, which is the default.
    pub fn descending(&self) -> Result<bool, Refusal> {
        Ok(one_of("sortOrder", self.sort_order.as_deref(), &["Descending", "Ascending"])? == "Descending")
    }

    /// Cuts one page out of keyed items and builds the answer. Keys are unique; items come in any order.
    pub fn page<K: Ord + Clone + ToString>(
        &self,
        member: &str,
        mut items: Vec<(K, usize)>,
        show: impl Fn(usize) -> Value,
    ) -> Result<Value, Refusal> {
        let size = page_size(self.max_results)?;
        let descending = self.descending()?;
        items.sort_by(|(a, _), (b, _)| if descending { b.cmp(a) } else { a.cmp(b) });
        let first = match &self.next_token {
            None => 0,
            Some(token) => {
                let last = unveiled(token).ok_or_else(|| Refusal::validation("Invalid NextToken"))?;
                // The last item may be gone; then the listing is at its end.
                items.iter().position(|(key, _)| key.to_string() == last).map_or(items.len(), |i| i + 1)
            }
        };
        let shown = items.iter().skip(first).take(size);
        let mut answer = Map::new();
        answer.insert(member.to_owned(), shown.map(|(_, index)| show(*index)).collect());
        if let Some((key, _)) = items.get(first + size - 1)
            && items.len() > first + size
        {
            answer.insert("NextToken".to_owned(), veiled(&key.to_string()).into());
        }
        Ok(answer.into())
    }
}

fn one_of(field: &str, value: Option<&str>, allowed: &[&'static str]) -> Result<&'static str, Refusal> {
    let Some(value) = value else { return Ok(allowed.first().copied().unwrap_or_default()) };
    allowed.iter().copied().find(|word| *word == value).ok_or_else(|| {
        let rule = format!("Member must satisfy enum value set: [{}]", allowed.join(", "));
        Refusal::constraint(field, value, &rule)
    })
}

/// Hexadecimal, so that nobody builds a token by hand.
fn veiled(key: &str) -> String {
    hex(key.as_bytes())
}

fn unveiled(token: &str) -> Option<String> {
    if !token.len().is_multiple_of(2) || !token.is_ascii() {
        return None;
    }
    let bytes = (0..token.len()).step_by(2).map(|i| u8::from_str_radix(token.get(i..i + 2)?, 16).ok());
    String::from_utf8(bytes.collect::<Option<Vec<u8>>>()?).ok()
}
