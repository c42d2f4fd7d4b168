//! One layer of settings: values by key, each with its origin, known to be of the right form.
//!
//! A value is taken into a layer only if `Settings` can be read from it. So whatever is wrong with a value is found
//! where its place is still known, and merging the layers can't fail. Ranges are checked on the merged settings.

use std::collections::BTreeMap;

use serde::Deserialize as _;

use crate::keys::{self, Key};
use crate::origin::Source;
use crate::{Problem, Settings, suggest};

/// The values of one layer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Layer {
    entries: BTreeMap<&'static str, (toml::Value, Source)>,
}

impl Layer {
    /// The layer that lies below all others.
    pub(crate) fn defaults() -> Self {
        let entries = flatten(&Settings::default()).into_iter().map(|(key, value)| {
            let source = Source { origin: crate::Origin::Default, position: None, raw: value.to_string() };
            (key, (value, source))
        });
        Self { entries: entries.collect() }
    }

    /// Takes a value in, if it has the right form; else says what is wrong with it.
    pub(crate) fn accept(
        &mut self,
        key: &'static Key,
        value: toml::Value,
        source: Source,
        problems: &mut Vec<Problem>,
    ) {
        let before = problems.len();
        match &value {
            // One by one, so that every bad element is named.
            toml::Value::Array(elements) if key.form == keys::Form::Patterns => {
                for (at, element) in elements.iter().enumerate() {
                    let one = toml::Value::Array(vec![element.clone()]);
                    if let Err(what) = try_read(key.name, one) {
                        let name = format!("{}[{at}]", key.name);
                        problems.push(bad_value(key, name, element.to_string(), what, &source));
                    }
                }
            }
            _ => {
                if let Err(what) = try_read(key.name, value.clone()) {
                    problems.push(bad_value(key, key.name.to_owned(), source.raw.clone(), what, &source));
                }
            }
        }
        if problems.len() == before {
            self.entries.insert(key.name, (value, source));
        }
    }

    /// Where the values of this layer came from.
    pub(crate) fn sources(&self) -> impl Iterator<Item = (&'static str, &Source)> {
        self.entries.iter().map(|(key, (_, source))| (*key, source))
    }
}

fn bad_value(key: &Key, name: String, raw: String, what: String, source: &Source) -> Problem {
    Problem {
        origin: source.origin.clone(),
        position: source.position,
        remedy: key.form.remedy(&raw),
        key: Some(name),
        value: Some(raw),
        what,
        allowed: Some(key.form.allowed()),
    }
}

/// Reads settings that hold nothing but this value; the error says what is wrong with the value.
fn try_read(key: &str, value: toml::Value) -> Result<(), String> {
    // serde would hand a bare date over as text.
    let is_date = |value: &toml::Value| matches!(value, toml::Value::Datetime(_));
    if is_date(&value) || value.as_array().is_some_and(|elements| elements.iter().any(is_date)) {
        return Err("this is a date".to_owned());
    }
    let tree = key
        .rsplit('.')
        .fold(value, |value, part| toml::Value::Table(std::iter::once((part.to_owned(), value)).collect()));
    match Settings::deserialize(tree) {
        Ok(_) => Ok(()),
        Err(error) => Err(error.message().trim().to_owned()),
    }
}

/// A key that there is not: names what there is instead, and the name that was probably meant.
pub(crate) fn unknown_key(name: &str, source: Source, as_written: impl Fn(&str) -> String) -> Problem {
    let section = name.rsplit_once('.').map_or("", |(section, _)| section);
    let known = keys::children(section);
    let (what, allowed) = match section {
        "" => ("there is no such key or section".to_owned(), known),
        _ if known.is_empty() => {
            (format!("there is no section `{section}`"), keys::section_names().collect())
        }
        _ => (format!("there is no such key in [{section}]"), known),
    };
    let meant = suggest::nearest(name, keys::section_names().filter(|_| !name.contains('.')))
        .or_else(|| suggest::key(name))
        .map(&as_written);
    Problem {
        origin: source.origin,
        position: source.position,
        key: Some(name.to_owned()),
        value: Some(source.raw).filter(|raw| !raw.is_empty()),
        what,
        allowed: Some(allowed.join(", ")),
        remedy: match meant {
            Some(meant) => format!("did you mean {meant}?"),
            None => "remove it; the default configuration names every key".to_owned(),
        },
    }
}

/// A value where there is a section.
pub(crate) fn not_a_section(name: &str, source: Source) -> Problem {
    let children = keys::children(name);
    Problem {
        origin: source.origin,
        position: source.position,
        key: Some(name.to_owned()),
        value: Some(source.raw),
        what: format!("`{name}` is a section, not a key"),
        allowed: Some(children.join(", ")),
        remedy: "set the keys in it".to_owned(),
    }
}

impl config::Source for Layer {
    fn clone_into_box(&self) -> Box<dyn config::Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<config::Map<String, config::Value>, config::ConfigError> {
        let values = self.entries.iter().map(|(key, (value, source))| {
            let origin = source.origin.to_string();
            ((*key).to_owned(), config::Value::new(Some(&origin), kind(value, &origin)))
        });
        Ok(values.collect())
    }
}

/// The same value in the terms of the crate that merges.
fn kind(value: &toml::Value, origin: &String) -> config::ValueKind {
    match value {
        toml::Value::String(text) => config::ValueKind::String(text.clone()),
        toml::Value::Integer(number) => config::ValueKind::I64(*number),
        toml::Value::Float(number) => config::ValueKind::Float(*number),
        toml::Value::Boolean(value) => config::ValueKind::Boolean(*value),
        toml::Value::Datetime(time) => config::ValueKind::String(time.to_string()),
        toml::Value::Array(elements) => config::ValueKind::Array(
            elements.iter().map(|e| config::Value::new(Some(origin), kind(e, origin))).collect(),
        ),
        toml::Value::Table(table) => config::ValueKind::Table(
            table
                .iter()
                .map(|(k, v)| (k.clone(), config::Value::new(Some(origin), kind(v, origin))))
                .collect(),
        ),
    }
}

/// The value of every key, in its written form.
pub(crate) fn flatten(settings: &Settings) -> BTreeMap<&'static str, toml::Value> {
    let tree = to_toml(settings);
    let value = |key: &str| {
        let mut parts = key.split('.');
        let first = tree.get(parts.next()?)?;
        parts.try_fold(first, |value, part| value.get(part)).cloned()
    };
    keys::key_names().filter_map(|key| Some((key, value(key)?))).collect()
}

/// Settings as a TOML document.
#[expect(
    clippy::expect_used,
    reason = "every field is text, a switch, a number of at most 64 bits or a list of texts"
)]
pub(crate) fn to_toml(settings: &Settings) -> toml::Table {
    toml::Table::try_from(settings).expect("settings can be written as TOML")
}
