//! Settings as a table of keys, values and origins, and as data.

use std::collections::BTreeSet;

use cri_gc_config::key_names;
use serde::Serialize;
use serde_json::Value;

use super::fit::Fit;
use super::table::{Cell, Column, table};
use super::text::Text;
use super::{json, yaml};
use crate::cli::ConfigForm;
use crate::failure::Failure;

/// Settings in one of the forms. `toml` is their form as a file; `origins` are the keys, and where their values come from.
///
/// # Errors
/// They cannot be written in that form.
pub fn text<T: Serialize>(
    form: ConfigForm,
    settings: &T,
    toml: impl FnOnce() -> String,
    origins: &[(String, String)],
) -> Result<Text, Failure> {
    match form {
        ConfigForm::Toml => Ok(toml().into()),
        ConfigForm::Json => json(settings).map(Text::from),
        ConfigForm::Yaml => yaml(settings).map(Text::from),
        ConfigForm::Table => {
            let values = serde_json::to_value(settings).map_err(Failure::failed)?;
            Ok(of_keys(&values, origins))
        }
    }
}

/// In the order of the configuration; keys that only another version knows come last.
fn of_keys(values: &Value, origins: &[(String, String)]) -> Text {
    let known: Vec<&str> = key_names().collect();
    let theirs: BTreeSet<&str> = origins.iter().map(|(key, _)| key.as_str()).collect();
    let others = theirs.iter().copied().filter(|key| !known.contains(key));
    let row = |key: &str| {
        let value = key.split('.').try_fold(values, |value, part| value.get(part));
        let from = origins.iter().find(|(of, _)| of == key).map_or("", |(_, from)| from);
        [key.to_owned(), value.map_or_else(String::new, ToString::to_string), from.to_owned()].map(Cell::from)
    };
    let keys = known.iter().copied().filter(|key| theirs.contains(key)).chain(others);
    // Values are shown whole: a shortened one would be read as another.
    table(["KEY", "VALUE", "FROM"].map(Column::new), keys.map(row), Fit::Any)
}
