//! The layers that are given as text: environment variables and the overrides of the command line.
//!
//! What the text means follows from the type of the key: `true` is a switch for a switch, and a name for `node_name`.

use toml::Value;

use crate::layer::Layer;
use crate::problem::{Origin, Source};
use crate::settings::{ENV_PREFIX, Key, Settings, find, variable};

/// The layer of the environment; variables without our prefix are ignored.
pub(crate) fn environment(variables: &[(String, String)]) -> Layer {
    let mut layer = Layer::default();
    for (name, text) in variables {
        if let Some(rest) = name.strip_prefix(ENV_PREFIX) {
            let key = rest.replace("__", ".").to_ascii_lowercase();
            // One spelling only: two variables for one key would leave it to chance which of them wins.
            let known = find(&key).filter(|known| variable(known.name) == *name);
            set(&mut layer, &key, known, text, Origin::Env(name.clone()));
        }
    }
    layer
}

/// The layer of the command line: pairs of a dotted key and a value.
pub(crate) fn overrides(pairs: &[(String, String)]) -> Layer {
    let mut layer = Layer::default();
    pairs.iter().for_each(|(key, text)| set(&mut layer, key, find(key), text, Origin::Flag));
    layer
}

fn set(layer: &mut Layer, name: &str, known: Option<&'static Key>, text: &str, origin: Origin) {
    let source = Source { origin, position: None, raw: format!("{text:?}") };
    match known {
        Some(key) => layer.accept(key, read(key, text), source),
        None => layer.refuse(name, &source),
    }
}

/// The value that the text means: one of the same type as the key's default. What can't be read as that is left as text,
/// and refused with it.
fn read(key: &Key, text: &str) -> Value {
    let value = match (key.get)(&Settings::default()) {
        Value::Integer(_) => text.trim().parse().map(Value::Integer).ok(),
        Value::Boolean(_) => text.trim().parse().map(Value::Boolean).ok(),
        Value::Array(_) => {
            let elements = text.split(',').map(str::trim).filter(|element| !element.is_empty());
            Some(Value::Array(elements.map(Value::from).collect()))
        }
        _ => None,
    };
    value.unwrap_or_else(|| text.into())
}
