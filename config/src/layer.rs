//! One layer of settings: values by key, each with its place, known to be of the right type.
//!
//! A value is accepted into a layer only if its setting can be read from it. So whatever is wrong with a value is found
//! where its place is still known, and merging the layers can't fail. Ranges are checked on the merged settings.

use std::collections::BTreeMap;

use serde::Deserialize as _;
use toml::Value;

use crate::nearest::nearest;
use crate::problem::{Origin, Problem, Source};
use crate::settings::{self, Key, Settings};

/// The values of one layer, and what is wrong with the others.
#[derive(Debug, Clone, Default)]
pub(crate) struct Layer {
    entries: BTreeMap<&'static str, (Value, Source)>,
    pub(crate) problems: Vec<Problem>,
}

impl Layer {
    /// The layer below all others.
    pub(crate) fn defaults() -> Self {
        let settings = Settings::default();
        let entries = settings::keys().map(|key| {
            let value = (key.get)(&settings);
            let source = Source { origin: Origin::Default, position: None, raw: value.to_string() };
            (key.name, (value, source))
        });
        Self { entries: entries.collect(), problems: Vec::new() }
    }

    /// Accepts a value if it has the right type; else notes what is wrong with it.
    pub(crate) fn accept(&mut self, key: &'static Key, value: Value, source: Source) {
        let before = self.problems.len();
        let mut read = |name: &str, value: &Value, source: &Source| {
            if let Err(what) = (key.read)(value) {
                self.problems.push(bad_value(key, name, what, source));
            }
        };
        match &value {
            // Where a list is valid, its elements are read one by one, so that every invalid one is named.
            Value::Array(elements) if (key.read)(&Value::Array(Vec::new())).is_ok() => {
                for (at, element) in elements.iter().enumerate() {
                    let source = Source { raw: element.to_string(), ..source.clone() };
                    read(&format!("{}[{at}]", key.name), &Value::Array(vec![element.clone()]), &source);
                }
            }
            _ => read(key.name, &value, &source),
        }
        if self.problems.len() == before {
            self.entries.insert(key.name, (value, source));
        }
    }

    /// Notes that `name` is not a key.
    pub(crate) fn refuse(&mut self, name: &str, source: &Source) {
        self.problems.push(match settings::section_names().any(|section| section == name) {
            true => {
                let what = format!("`{name}` is a section, not a key");
                let keys = settings::children(name).join(", ");
                source.problem(name, what, keys, "set the keys in it")
            }
            false => unknown_key(name, source),
        });
    }

    /// Where the values of this layer came from.
    pub(crate) fn sources(&self) -> impl Iterator<Item = (&'static str, Source)> {
        self.entries.iter().map(|(key, (_, source))| (*key, source.clone()))
    }
}

/// A value that is not valid for its key.
pub(crate) fn bad_value(key: &Key, name: &str, what: String, source: &Source) -> Problem {
    let raw = source.raw.trim_matches('"').trim();
    source.problem(name, what, key.form.allowed.join(", "), &(key.form.remedy)(raw))
}

/// An unknown key: the problem names what there is instead, and the name that was probably meant.
fn unknown_key(name: &str, source: &Source) -> Problem {
    let section = name.rsplit_once('.').map_or("", |(section, _)| section);
    let known = settings::children(section);
    let (what, allowed) = match section {
        "" => ("there is no such key or section".to_owned(), known),
        _ if known.is_empty() => {
            (format!("there is no section `{section}`"), settings::section_names().collect())
        }
        _ => (format!("there is no such key in [{section}]"), known),
    };
    let remedy = match (meant(name), &source.origin) {
        (Some(meant), Origin::Env(_)) => format!("did you mean {}?", settings::variable(&meant)),
        (Some(meant), _) => format!("did you mean `{meant}`?"),
        (None, _) => "remove it; the default configuration names every key".to_owned(),
    };
    let problem = source.problem(name, what, allowed.join(", "), &remedy);
    Problem { value: problem.value.filter(|raw| !raw.is_empty()), ..problem }
}

/// The key or section that an unknown name was most probably meant to be: one with a similar name, else a key of (nearly)
/// the same last part in another section.
fn meant(name: &str) -> Option<String> {
    let (section, last) = name.rsplit_once('.').unwrap_or(("", name));
    let children = settings::children(section);
    let similar = if children.is_empty() {
        nearest(name, settings::key_names()).map(str::to_owned)
    } else {
        // In a section that exists only the last part can be wrong, and has to be near by itself.
        nearest(last, children).map(|child| match section {
            "" => child.to_owned(),
            _ => format!("{section}.{child}"),
        })
    };
    similar.or_else(|| {
        let last_part = |key: &'static str| key.rsplit('.').next().unwrap_or(key);
        let last = nearest(last, settings::key_names().map(last_part))?;
        settings::key_names().find(|key| last_part(key) == last).map(str::to_owned)
    })
}

impl config::Source for Layer {
    fn clone_into_box(&self) -> Box<dyn config::Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<config::Map<String, config::Value>, config::ConfigError> {
        let values = self.entries.iter().map(|(key, (value, source))| {
            let value = config::Value::deserialize(value.clone())
                .map_err(|error| config::ConfigError::Message(error.to_string()))?;
            Ok(((*key).to_owned(), config::Value::new(Some(&source.origin.to_string()), value.kind)))
        });
        values.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::meant;

    #[test]
    fn the_nearest_key_is_found_and_no_far_one() {
        let meant = |name| meant(name).unwrap_or_default();
        assert_eq!(meant("image_gc.high_treshold_percent"), "image_gc.high_threshold_percent");
        assert_eq!(meant("image-gc.period"), "image_gc.period");
        assert_eq!(meant("image_gc.high"), "image_gc.high_threshold_percent");
        assert_eq!(meant("nodename"), "node_name");
        assert_eq!(meant("runtime.dog"), "");
    }

    #[test]
    fn a_key_of_another_section_is_found() {
        assert_eq!(meant("sandbox_gc.created_grace").as_deref(), Some("container_gc.created_grace"));
        assert_eq!(meant("max_containers").as_deref(), Some("container_gc.max_containers"));
    }
}
