//! The layers that are given as text: environment variables and the overrides of the command line.
//!
//! What the text means follows from the form of the key: `true` is a switch for a switch, and a name for `node_name`.

use crate::keys::{self, Form, Key};
use crate::layer::{Layer, not_a_section, unknown_key};
use crate::origin::Source;
use crate::{Origin, Problem};

/// What the names of our environment variables begin with. Kubernetes sets variables as `CRI_GC_SERVICE_HOST` for a
/// service of the name `cri-gc`; the second underscore keeps those apart.
pub const ENV_PREFIX: &str = "CRI_GC__";

/// The variable that sets a dotted key: `CRI_GC__IMAGE_GC__PERIOD` for `image_gc.period`.
pub(crate) fn variable(key: &str) -> String {
    format!("{ENV_PREFIX}{}", key.replace('.', "__").to_ascii_uppercase())
}

/// The layer of the environment; variables without our prefix are not looked at.
pub(crate) fn environment(variables: &[(String, String)], problems: &mut Vec<Problem>) -> Layer {
    let mut layer = Layer::default();
    for (name, text) in variables {
        let Some(rest) = name.strip_prefix(ENV_PREFIX) else {
            continue;
        };
        let key = rest.replace("__", ".").to_ascii_lowercase();
        // One spelling only: two variables for one key would leave it to chance which of them wins.
        let found = keys::find(&key).filter(|key| variable(key.name) == *name);
        let source = Source { origin: Origin::Env(name.clone()), position: None, raw: format!("{text:?}") };
        match found {
            Some(found) => layer.accept(found, read(found, text), source, problems),
            None if keys::section_names().any(|section| section == key) => {
                problems.push(not_a_section(&key, source));
            }
            None => problems.push(unknown_key(&key, source, variable)),
        }
    }
    layer
}

/// The layer of the command line: pairs of a dotted key and a value.
pub(crate) fn overrides(pairs: &[(String, String)], problems: &mut Vec<Problem>) -> Layer {
    let mut layer = Layer::default();
    for (key, text) in pairs {
        let source = Source { origin: Origin::Flag, position: None, raw: format!("{text:?}") };
        match keys::find(key) {
            Some(found) => layer.accept(found, read(found, text), source, problems),
            None if keys::section_names().any(|section| section == key) => {
                problems.push(not_a_section(key, source));
            }
            None => problems.push(unknown_key(key, source, |meant| format!("`{meant}`"))),
        }
    }
    layer
}

/// The value that the text stands for. What can't be read as what the key asks for stays text, and is refused with it.
fn read(key: &Key, text: &str) -> toml::Value {
    let as_text = || toml::Value::String(text.to_owned());
    match key.form {
        Form::Percent | Form::Parallel | Form::Count => {
            text.trim().parse().map_or_else(|_| as_text(), toml::Value::Integer)
        }
        Form::Switch => text.trim().parse().map_or_else(|_| as_text(), toml::Value::Boolean),
        Form::Patterns => {
            let elements = text.split(',').map(str::trim).filter(|element| !element.is_empty());
            toml::Value::Array(elements.map(|element| toml::Value::String(element.to_owned())).collect())
        }
        _ => as_text(),
    }
}
