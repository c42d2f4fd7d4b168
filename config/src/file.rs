//! The layer of the configuration file: each value comes with its line and column, so that every message can name them.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::ops::Range;
use std::path::PathBuf;

use serde::Deserialize;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use crate::merged::{Merged, bad_value};
use crate::problem::{ConfigError, Origin, Position, Problem, Source};
use crate::settings;

/// The path of the configuration file unless the operator names another one.
pub const DEFAULT_PATH: &str = "/etc/cri-gc/config.toml";

/// A larger file is not a configuration; without a limit, a device given by mistake would fill the memory.
const MAX_BYTES: u64 = 1 << 20;

/// Which configuration file is read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum FileSource {
    /// The operator named this file (`--config`): it must exist.
    Explicit(PathBuf),
    /// No file was named: this one, usually [`DEFAULT_PATH`], is read if it exists.
    Default(PathBuf),
    /// No file is read.
    #[default]
    None,
}

/// Merges the file. Gives back its path, if there is one.
///
/// # Errors
/// Nothing in the file can be read.
pub(crate) fn read(merged: &mut Merged, source: &FileSource) -> Result<Option<PathBuf>, ConfigError> {
    let (path, must_exist) = match source {
        FileSource::Explicit(path) => (path, true),
        FileSource::Default(path) => (path, false),
        FileSource::None => return Ok(None),
    };
    let origin = || Origin::File(path.clone());
    let broken = |position, what: String, remedy: &str| ConfigError {
        problems: vec![Problem::of(origin(), position, what, remedy)],
    };
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes));
    match read {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound && !must_exist => return Ok(None),
        Err(error) => {
            let (what, remedy) = unreadable(&error);
            return Err(broken(None, what, remedy));
        }
    }
    if bytes.len() as u64 > MAX_BYTES {
        let what = "the file is larger than 1MiB".to_owned();
        return Err(broken(None, what, "name the configuration file of cri-gc"));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let position = Position::of(&String::from_utf8_lossy(error.as_bytes()), valid);
        let what = "the text is not UTF-8".to_owned();
        broken(Some(position), what, "save the file in UTF-8")
    })?;
    let table = DeTable::parse(&text).map_err(|error| {
        let position = error.span().map(|span| Position::of(&text, span.start));
        let what = format!("this is not valid TOML: {}", error.message());
        let remedy = "correct the line; values are written as key = \"text\", 85, true or [\"a\", \"b\"]";
        broken(position, what, remedy)
    })?;
    let source = |at: usize, value: Range<usize>| Source {
        origin: origin(),
        position: Some(Position::of(&text, at)),
        raw: text.get(value).unwrap_or_default().to_owned(),
    };
    read_table(merged, "", table.into_inner(), &source);
    // The parser sorts by name; an operator reads by line.
    merged.problems.sort_by_key(|problem| problem.position);
    Ok(Some(path.clone()))
}

/// Why a file can't be read, and what to do.
fn unreadable(error: &std::io::Error) -> (String, &'static str) {
    let (what, remedy) = match error.kind() {
        ErrorKind::NotFound => ("the file does not exist", "create it, or name another one with --config"),
        ErrorKind::IsADirectory => ("it is a directory", "name the file in it, as config.toml"),
        ErrorKind::PermissionDenied => {
            ("no permission to read the file", "run as root, or let the service's user read it")
        }
        _ => {
            return (format!("the file can't be read: {error}"), "check the file, or name another one");
        }
    };
    (what.to_owned(), remedy)
}

/// Reads a table of the file, "" being the top. `source` makes the place of a value from its first byte and its range.
fn read_table(
    merged: &mut Merged,
    section: &str,
    table: DeTable<'_>,
    source: &impl Fn(usize, Range<usize>) -> Source,
) {
    for (name, value) in table {
        let key = match section {
            "" => name.get_ref().to_string(),
            _ => format!("{section}.{}", name.get_ref()),
        };
        // A quoted name may contain dots; it is not the path that it looks like.
        let is_plain = !name.get_ref().contains('.');
        let is_section = is_plain && settings::section_names().any(|section| section == key);
        let span = value.span();
        match (settings::find(&key).filter(|_| is_plain), value) {
            (Some(known), value) => {
                let source = source(span.start, span);
                match toml::Value::deserialize(ValueDeserializer::from(value)) {
                    Ok(value) => merged.accept(known, &value, source),
                    Err(_) => {
                        let what = "the number does not fit in 64 bits".to_owned();
                        merged.problems.push(bad_value(known, &key, what, &source));
                    }
                }
            }
            (None, value) if is_section => match value.into_inner() {
                DeValue::Table(inner) => read_table(merged, &key, inner, source),
                _ => merged.refuse(&key, &source(span.start, span)),
            },
            (None, value) => {
                // The value of a whole section is nothing to show.
                let shown = if value.get_ref().is_table() { 0..0 } else { span };
                merged.refuse(&key, &source(name.span().start, shown));
            }
        }
    }
}
