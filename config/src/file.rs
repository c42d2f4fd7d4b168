//! The layer of the configuration file. It is checked by itself, before anything is merged, so that every message
//! names the file, the line and the key.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use crate::layer::{Layer, not_a_section, unknown_key};
use crate::origin::Source;
use crate::{Origin, Position, Problem, keys};

/// Where the configuration file is unless the operator says otherwise.
pub const DEFAULT_PATH: &str = "/etc/cri-gc/config.toml";

/// A file that is larger is none of ours; without a bound, a device given by mistake would fill the memory.
const MAX_BYTES: u64 = 1 << 20;

/// Which configuration file is read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum FileSource {
    /// The operator named this file (`--config`): it must exist.
    Explicit(PathBuf),
    /// Nobody named a file: this one, usually [`DEFAULT_PATH`], is read if it exists.
    Default(PathBuf),
    /// No file is read.
    #[default]
    None,
}

/// What became of the file.
pub(crate) enum Outcome {
    /// There is none, which is fine.
    Absent,
    /// It was read, as far as its values are good.
    Layer(PathBuf, Layer),
    /// Nothing in it could be read.
    Broken,
}

/// Reads the file.
pub(crate) fn read(source: &FileSource, problems: &mut Vec<Problem>) -> Outcome {
    let (path, must_exist) = match source {
        FileSource::Explicit(path) => (path, true),
        FileSource::Default(path) => (path, false),
        FileSource::None => return Outcome::Absent,
    };
    match read_text(path) {
        Ok(text) => match parse(path, &text, problems) {
            Some(layer) => Outcome::Layer(path.clone(), layer),
            None => Outcome::Broken,
        },
        Err(Unreadable::NotFound) if !must_exist => Outcome::Absent,
        Err(reason) => {
            problems.push(reason.problem(path));
            Outcome::Broken
        }
    }
}

/// Why no text could be had from a file.
enum Unreadable {
    NotFound,
    TooLarge,
    NotUtf8(Position),
    Io(std::io::Error),
}

fn read_text(path: &Path) -> Result<String, Unreadable> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes));
    match read {
        Ok(n) if n as u64 > MAX_BYTES => Err(Unreadable::TooLarge),
        Ok(_) => String::from_utf8(bytes).map_err(|error| {
            let good = error.utf8_error().valid_up_to();
            let text = String::from_utf8_lossy(error.as_bytes());
            Unreadable::NotUtf8(Position::of(&text, good))
        }),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(Unreadable::NotFound),
        Err(error) => Err(Unreadable::Io(error)),
    }
}

impl Unreadable {
    fn problem(self, path: &Path) -> Problem {
        let mut position = None;
        let (what, remedy) = match self {
            Self::NotFound => {
                ("the file does not exist".to_owned(), "create it, or name another one with --config")
            }
            Self::TooLarge => {
                ("the file is larger than 1MiB".to_owned(), "name the configuration file of cri-gc")
            }
            Self::NotUtf8(at) => {
                position = Some(at);
                ("the text is not UTF-8".to_owned(), "save the file in UTF-8")
            }
            Self::Io(error) => match error.kind() {
                ErrorKind::IsADirectory => {
                    ("it is a directory".to_owned(), "name the file in it, as config.toml")
                }
                ErrorKind::PermissionDenied => (
                    "no permission to read the file".to_owned(),
                    "run as root, or let the service's user read it",
                ),
                _ => (format!("the file can't be read: {error}"), "see to the file, or name another one"),
            },
        };
        Problem {
            origin: Origin::File(path.to_owned()),
            position,
            key: None,
            value: None,
            what,
            allowed: None,
            remedy: remedy.to_owned(),
        }
    }
}

/// Takes the text apart. `None` if it is no TOML.
fn parse(path: &Path, text: &str, problems: &mut Vec<Problem>) -> Option<Layer> {
    match DeTable::parse(text) {
        Ok(table) => {
            let mut walk = Walk { path, text, layer: Layer::default(), problems: Vec::new() };
            walk.table("", table.into_inner());
            // The parser sorts by name; an operator reads by line.
            walk.problems.sort_by_key(|problem| problem.position);
            problems.append(&mut walk.problems);
            Some(walk.layer)
        }
        Err(error) => {
            problems.push(Problem {
                origin: Origin::File(path.to_owned()),
                position: error.span().map(|span| Position::of(text, span.start)),
                key: None,
                value: None,
                what: format!("this is not valid TOML: {}", error.message()),
                allowed: None,
                remedy: "correct the line; values are written as key = \"text\", 85, true or [\"a\", \"b\"]"
                    .to_owned(),
            });
            None
        }
    }
}

/// The walk over the parsed file.
struct Walk<'a> {
    path: &'a Path,
    text: &'a str,
    layer: Layer,
    problems: Vec<Problem>,
}

impl Walk<'_> {
    fn table(&mut self, section: &str, table: DeTable<'_>) {
        for (name, value) in table {
            let key = match section {
                "" => name.get_ref().to_string(),
                _ => format!("{section}.{}", name.get_ref()),
            };
            // A quoted name may hold dots; it is not the path that it looks like.
            let plain = !name.get_ref().contains('.');
            let span = value.span();
            if let Some(known) = keys::find(&key).filter(|_| plain) {
                let source = self.source(span.clone(), span);
                match toml::Value::deserialize(ValueDeserializer::from(value)) {
                    Ok(value) => self.layer.accept(known, value, source, &mut self.problems),
                    Err(_) => self.problems.push(Problem {
                        origin: source.origin,
                        position: source.position,
                        key: Some(key),
                        what: "the number does not fit in 64 bits".to_owned(),
                        allowed: Some(known.form.allowed()),
                        remedy: known.form.remedy(""),
                        value: Some(source.raw),
                    }),
                }
            } else if plain && keys::section_names().any(|section| section == key) {
                match value.into_inner() {
                    DeValue::Table(inner) => self.table(&key, inner),
                    _ => self.problems.push(not_a_section(&key, self.source(span.clone(), span))),
                }
            } else {
                // The value of a whole section is nothing to show.
                let shown = if matches!(value.get_ref(), DeValue::Table(_)) { 0..0 } else { span };
                let source = self.source(name.span(), shown);
                self.problems.push(unknown_key(&key, source, |meant| format!("`{meant}`")));
            }
        }
    }

    fn source(&self, place: Range<usize>, value: Range<usize>) -> Source {
        Source {
            origin: Origin::File(self.path.to_owned()),
            position: Some(Position::of(self.text, place.start)),
            raw: self.text.get(value).unwrap_or_default().to_owned(),
        }
    }
}
