//! The layer of the configuration file. It is checked by itself, before anything is merged, so that every message
//! names the file, the line and the key.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::ops::Range;
use std::path::PathBuf;

use serde::Deserialize;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use crate::layer::{Layer, bad_value};
use crate::problem::{Origin, Position, Problem, Source};
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

/// Reads the file: its path, if there is one, and its values.
///
/// # Errors
/// Nothing in the file can be read.
pub(crate) fn read(source: &FileSource) -> Result<(Option<PathBuf>, Layer), Vec<Problem>> {
    let (path, must_exist) = match source {
        FileSource::Explicit(path) => (path, true),
        FileSource::Default(path) => (path, false),
        FileSource::None => return Ok((None, Layer::default())),
    };
    let origin = || Origin::File(path.clone());
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes));
    match read {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound && !must_exist => {
            return Ok((None, Layer::default()));
        }
        Err(error) => return Err(vec![unreadable(origin(), &error)]),
    }
    if bytes.len() as u64 > MAX_BYTES {
        let what = "the file is larger than 1MiB".to_owned();
        return Err(vec![Problem::of(origin(), None, what, "name the configuration file of cri-gc")]);
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let position = Position::of(&String::from_utf8_lossy(error.as_bytes()), valid);
        let what = "the text is not UTF-8".to_owned();
        vec![Problem::of(origin(), Some(position), what, "save the file in UTF-8")]
    })?;
    let table = DeTable::parse(&text).map_err(|error| {
        let position = error.span().map(|span| Position::of(&text, span.start));
        let what = format!("this is not valid TOML: {}", error.message());
        let remedy = "correct the line; values are written as key = \"text\", 85, true or [\"a\", \"b\"]";
        vec![Problem::of(origin(), position, what, remedy)]
    })?;
    let source = |at: usize, value: Range<usize>| Source {
        origin: origin(),
        position: Some(Position::of(&text, at)),
        raw: text.get(value).unwrap_or_default().to_owned(),
    };
    let mut layer = Layer::default();
    read_table(&mut layer, "", table.into_inner(), &source);
    // The parser sorts by name; an operator reads by line.
    layer.problems.sort_by_key(|problem| problem.position);
    Ok((Some(path.clone()), layer))
}

fn unreadable(origin: Origin, error: &std::io::Error) -> Problem {
    let (what, remedy) = match error.kind() {
        ErrorKind::NotFound => ("the file does not exist", "create it, or name another one with --config"),
        ErrorKind::IsADirectory => ("it is a directory", "name the file in it, as config.toml"),
        ErrorKind::PermissionDenied => {
            ("no permission to read the file", "run as root, or let the service's user read it")
        }
        _ => {
            let what = format!("the file can't be read: {error}");
            return Problem::of(origin, None, what, "check the file, or name another one");
        }
    };
    Problem::of(origin, None, what.to_owned(), remedy)
}

/// Reads a table of the file, "" being the top. `source` makes the place of a value from its first byte and its range.
fn read_table(
    layer: &mut Layer,
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
                    Ok(value) => layer.accept(known, value, source),
                    Err(_) => {
                        let what = "the number does not fit in 64 bits".to_owned();
                        layer.problems.push(bad_value(known, &key, what, &source));
                    }
                }
            }
            (None, value) if is_section => match value.into_inner() {
                DeValue::Table(inner) => read_table(layer, &key, inner, source),
                _ => layer.refuse(&key, &source(span.start, span)),
            },
            (None, value) => {
                // The value of a whole section is nothing to show.
                let shown = if value.get_ref().is_table() { 0..0 } else { span };
                layer.refuse(&key, &source(name.span().start, shown));
            }
        }
    }
}
