//! Settings written out: `config show`, and what changed between two generations.

use cri_gc_policy::text::{Lines, escape};
use toml::Value;

use crate::settings::{SECTIONS, Settings, find, keys};

/// The settings as a TOML document with every key, which [`load`](crate::load) reads back as equal settings.
#[must_use]
pub fn render(settings: &Settings) -> String {
    let mut text = String::new();
    for section in SECTIONS {
        if !section.name.is_empty() {
            text.push_str(&format!("\n[{}]\n", section.name));
        }
        for key in section.keys {
            let name = key.name.rsplit('.').next().unwrap_or(key.name);
            text.push_str(&format!("{name} = {}\n", written(&(key.get)(settings))));
        }
    }
    text
}

/// The value of one dotted key as TOML; `None` if there is no such key.
#[must_use]
pub fn render_value(settings: &Settings, key: &str) -> Option<String> {
    find(key).map(|key| written(&(key.get)(settings)))
}

/// A value as TOML, with escapes for what a terminal does not show: it is escaped where it is printed, which only this form
/// of TOML's strings allows.
fn written(value: &Value) -> String {
    match value {
        Value::String(text) => format!("\"{}\"", text.chars().map(character).collect::<String>()),
        Value::Array(items) => format!("[{}]", items.iter().map(written).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

fn character(c: char) -> String {
    match c {
        '"' | '\\' => format!("\\{c}"),
        c if c != '\n' && is_printable(c.encode_utf8(&mut [0; 4])) => c.to_string(),
        c => format!("\\U{:08x}", u32::from(c)),
    }
}

fn is_printable(text: &str) -> bool {
    escape(text, Lines::Keep) == text
}

/// The dotted names of the keys whose values differ, in the order of the documents.
#[must_use]
pub fn changed_keys(old: &Settings, new: &Settings) -> Vec<&'static str> {
    keys().filter(|key| (key.get)(old) != (key.get)(new)).map(|key| key.name).collect()
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
