//! Settings written out: `config show`, the default configuration, and what changed between two generations.

use cri_gc_policy::text::{Lines, escape};
use toml::Value;

use crate::Settings;
use crate::layer::{flatten, to_toml};

/// The default configuration with its explanations, as it is shipped.
pub const DEFAULT_TOML: &str = include_str!("../default.toml");

/// The settings as a TOML document with every key, which [`load`](crate::load) reads back as equal settings.
#[must_use]
pub fn render(settings: &Settings) -> String {
    let text = to_toml(settings).to_string();
    if is_printable(&text) {
        return text;
    }
    flatten(settings)
        .iter()
        .fold(String::new(), |text, (key, value)| text + &format!("{key} = {}\n", written(value)))
}

/// The value of one dotted key as TOML; `None` if there is no such key.
#[must_use]
pub fn render_value(settings: &Settings, key: &str) -> Option<String> {
    flatten(settings).get(key).map(written)
}

/// Whether a terminal shows all of it: what it doesn't show is escaped where it is printed, which only some of TOML's strings
/// understand.
fn is_printable(text: &str) -> bool {
    escape(text, Lines::Keep) == text
}

/// A value as TOML, with escapes for what is not printable.
fn written(value: &Value) -> String {
    match value {
        Value::String(text) if !is_printable(text) || text.contains('\n') => basic(text),
        Value::Array(items) if !is_printable(&value.to_string()) => {
            format!("[{}]", items.iter().map(written).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

/// A string of TOML that understands escapes.
fn basic(text: &str) -> String {
    let character = |c: char| match c {
        '"' | '\\' => format!("\\{c}"),
        c if is_printable(c.encode_utf8(&mut [0; 4])) && c != '\n' => c.to_string(),
        c => format!("\\U{:08x}", u32::from(c)),
    };
    format!("\"{}\"", text.chars().map(character).collect::<String>())
}

/// The dotted names of the keys whose values differ, in the order of the default configuration.
#[must_use]
pub fn changed_keys(old: &Settings, new: &Settings) -> Vec<&'static str> {
    let (old, new) = (flatten(old), flatten(new));
    crate::key_names().filter(|key| old.get(key) != new.get(key)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FileSource, Sources, load};

    #[test]
    fn what_is_printed_reads_back_as_it_was() {
        for name in ["/data/a\"b\u{200b}c", "/data/\u{e0041}x", "/a\nb\\c'\u{1b}[31m", "/plain/'\"'"] {
            let mut settings = Settings::default();
            settings.log_gc.pod_logs_root = name.into();
            let text = render(&settings);
            assert!(is_printable(&text), "{text}");
            let value = render_value(&settings, "log_gc.pod_logs_root").unwrap();
            let read: toml::Table = toml::from_str(&format!("value = {value}")).unwrap();
            assert_eq!(read["value"].as_str(), Some(name), "{value}");
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), &text).unwrap();
            let sources = Sources {
                file: FileSource::Explicit(file.path().to_owned()),
                env: Vec::new(),
                overrides: Vec::new(),
            };
            assert_eq!(load(&sources).unwrap().settings, settings, "{text}");
        }
    }
}
