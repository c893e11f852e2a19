//! Which results of the steps somebody waits for: what the template declares, and the field `outputs`.

use serde::Deserialize;
use serde_json::{Error, value::RawValue};

use super::{InputError, fields::Fields, json::items};
use crate::{protocol::Template, results::Wanted};

/// Nobody declares so many, and each is held while its node is open.
const MAX_DECLARED: usize = 1000;

/// `template.outputs`, of which only names matter here.
#[derive(Default, Deserialize)]
struct Declared<'a> {
    #[serde(borrow, default)]
    parameters: Option<&'a RawValue>,
    #[serde(borrow, default)]
    artifacts: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Named<'a> {
    name: Option<String>,
    /// Where it is given Argo knows it already.
    #[serde(borrow, default)]
    value: Option<&'a RawValue>,
}

/// Reads both.
pub(super) fn read_results(fields: &Fields<'_>, template: &Template<'_>) -> Result<Wanted, InputError> {
    let all = fields.choice("outputs", &[("declared", false), ("all", true)])?.unwrap_or(false);
    let unreadable = |error: Error| InputError::new(format!("`template.outputs` cannot be read: {error}"));
    let declared: Option<Declared<'_>> =
        template.outputs.map(|outputs| serde_json::from_str(outputs.get())).transpose().map_err(unreadable)?;
    let declared = declared.unwrap_or_default();
    let names = |list: Option<&RawValue>, what: &str| {
        let Some(list) = list else { return Ok(Vec::new()) };
        let (all, count) = items(list.get(), MAX_DECLARED).map_err(unreadable)?;
        if count > MAX_DECLARED {
            let problem = format!("`template.outputs.{what}` has {count} entries; declare at most {MAX_DECLARED}");
            return Err(InputError::new(problem));
        }
        let named: Vec<Named<'_>> = all
            .into_iter()
            .map(|item| serde_json::from_str(item.get()))
            .collect::<Result<_, _>>()
            .map_err(unreadable)?;
        Ok(named.into_iter().filter(|one| one.value.is_none()).filter_map(|one| one.name).collect::<Vec<_>>())
    };
    let wanted = Wanted::declared(names(declared.parameters, "parameters")?, names(declared.artifacts, "artifacts")?);
    Ok(if all { wanted.and_all() } else { wanted })
}
