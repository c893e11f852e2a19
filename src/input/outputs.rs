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
struct Named {
    name: Option<String>,
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
        let name =
            |item: &RawValue| serde_json::from_str::<Named>(item.get()).map(|named| named.name.unwrap_or_default());
        all.into_iter().map(name).collect::<Result<_, _>>().map_err(unreadable)
    };
    let wanted = Wanted::declared(names(declared.parameters, "parameters")?, names(declared.artifacts, "artifacts")?);
    Ok(if all { wanted.and_all() } else { wanted })
}
