//! Reads one setting of the kubelet at a time, from the file and from the command line, which beats the file; keeps what is
//! wrong, and what a comment will say of each.

use super::document::Document;
use super::flags::Flags;
use super::values::Written;
use super::{BadValue, Source};

/// A setting of the kubelet: its field in the file, its flag, and our key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    pub(super) key: &'static str,
    pub(super) field: Option<&'static str>,
    pub(super) flag: Option<&'static str>,
}

pub(super) const fn known(
    key: &'static str,
    field: Option<&'static str>,
    flag: Option<&'static str>,
) -> Known {
    Known { key, field, flag }
}

/// A value of the kubelet, and where it comes from.
pub(super) struct Found<T> {
    /// None: the kubelet's default, which is ours.
    pub(super) value: Option<T>,
    /// How it stands there, for comments.
    pub(super) said: String,
    /// Whether a flag gave it.
    pub(super) typed: bool,
}

/// The two sources, and what was found wrong in them.
pub(super) struct Reader<'a> {
    pub(super) document: &'a Document,
    pub(super) flags: &'a Flags,
    pub(super) bad: Vec<BadValue>,
    pub(super) sources: Vec<Source>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(document: &'a Document, flags: &'a Flags) -> Self {
        Self { document, flags, bad: document.bad.clone(), sources: Vec::new() }
    }

    /// The value that the kubelet has for a setting. `zero` tells values of the file that the kubelet replaces by its
    /// default; from a flag it takes them as they are.
    pub(super) fn find<T>(
        &mut self,
        known: Known,
        read: impl Fn(Written<'_>) -> Result<T, String>,
        zero: impl Fn(&T) -> bool,
    ) -> Found<T> {
        let mut found = Found { value: None, said: not_set(known), typed: false };
        let mut beaten = None;
        if let Some((field, value)) = known.field.and_then(|field| Some((field, self.document.get(field)?))) {
            let written = Written::Field(value);
            let from = self.document.origin(field).map_or_else(String::new, |from| format!(" (in {from})"));
            found.said = format!("{field}: {}{from}", written.shown());
            match read(written) {
                Ok(value) if zero(&value) => {
                    found.said.push_str(", for which the kubelet takes its default");
                    beaten = Some(field);
                }
                Ok(value) => {
                    found.value = Some(value);
                    beaten = Some(field);
                }
                Err(what) => {
                    self.bad.push(BadValue { what: format!("{}: {what}", found.said), typed: false })
                }
            }
        }
        if let Some((flag, text)) = known.flag.and_then(|flag| Some((flag, self.flags.get(flag)?))) {
            let written = Written::Flag(text);
            found.said = format!("--{flag}={}", written.shown());
            found.typed = true;
            match read(written) {
                Ok(value) => found.value = Some(value),
                Err(what) => self.bad.push(BadValue { what: format!("{}: {what}", found.said), typed: true }),
            }
            if let Some(field) = beaten {
                found.said.push_str(&format!(", which beats {field} in the file"));
            }
        }
        if !known.key.is_empty() {
            let (said, given) = (found.said.clone(), found.value.is_some());
            self.sources.push(Source { key: known.key, said, given });
        }
        found
    }

    /// Takes a value that has to be in a range over into a setting.
    pub(super) fn set<T, U>(&mut self, to: &mut U, found: &Found<T>, fit: impl Fn(&T) -> Result<U, String>) {
        match found.value.as_ref().map(fit) {
            Some(Ok(value)) => *to = value,
            Some(Err(what)) => self.refuse(found, &what),
            None => {}
        }
    }

    /// Says of a value that it is bad.
    pub(super) fn refuse<T>(&mut self, found: &Found<T>, what: &str) {
        self.bad.push(BadValue { what: format!("{}: {what}", found.said), typed: found.typed });
    }

    /// Says of a key that its value is that of a distribution.
    pub(super) fn preset(&mut self, key: &str, why: &str) {
        if let Some(source) = self.sources.iter_mut().find(|source| source.key == key) {
            source.said = why.to_owned();
            source.given = true;
        }
    }

    /// Says of a key that its default holds although the kubelet has something else.
    pub(super) fn override_source(&mut self, key: &str, why: &str) {
        if let Some(source) = self.sources.iter_mut().find(|source| source.key == key) {
            source.said.push_str(why);
            source.given = false;
        }
    }
}

fn not_set(known: Known) -> String {
    match (known.field, known.flag) {
        (Some(field), _) => format!("{field} is not set: the kubelet's default, which is the same"),
        (None, Some(flag)) => format!("--{flag} is not given: the kubelet's default, which is the same"),
        (None, None) => String::new(),
    }
}

/// For values that the kubelet takes as they are.
pub(super) fn never<T>(_: &T) -> bool {
    false
}
