//! Reads one setting of the kubelet at a time, from the file and from the command line, which overrides the file; collects
//! what is wrong.

use super::document::Document;
use super::error::BadValue;
use super::flags::Flags;
use super::known::Known;
use super::values::Written;

/// The value of a setting, and where it comes from.
#[derive(Debug, Clone, Default)]
pub(super) struct Found {
    /// As cri-gc writes it. None: the kubelet's default, which is that of cri-gc.
    pub(super) value: Option<String>,
    /// Where it comes from, for comments.
    pub(super) origin: String,
    pub(super) is_flag: bool,
}

impl Found {
    /// An invalid value.
    pub(super) fn bad(&self, what: &str) -> BadValue {
        BadValue { what: format!("{}: {what}", self.origin), is_flag: self.is_flag }
    }
}

/// The file and the command line, and what was found wrong in them.
pub(super) struct Reader<'a> {
    pub(super) document: &'a Document,
    pub(super) flags: &'a Flags,
    pub(super) bad: Vec<BadValue>,
}

impl Reader<'_> {
    /// The value that the kubelet has for a setting.
    pub(super) fn find(&mut self, known: &Known) -> Found {
        let Known { field, flag, .. } = known;
        let name =
            if field.is_empty() { format!("--{flag} is not given") } else { format!("{field} is not set") };
        let mut found =
            Found { origin: format!("{name}: the kubelet's default, which is the same"), ..Found::default() };
        let mut is_overridden = false;
        if let Some(value) = self.document.get(field).filter(|_| !field.is_empty()) {
            let written = Written::Field(value);
            let from = self.document.origin(field).map_or_else(String::new, |from| format!(" (in {from})"));
            found.origin = format!("{field}: {}{from}", written.shown());
            is_overridden = self.read(known, written, &mut found);
            if found.value.is_some() && found.value.as_deref() == known.unset {
                found.value = None;
                found.origin.push_str(", for which the kubelet takes its default");
            }
        }
        if let Some(text) = self.flags.get(flag).filter(|_| !flag.is_empty()) {
            let written = Written::Flag(text);
            found.origin = format!("--{flag}={}", written.shown());
            found.is_flag = true;
            self.read(known, written, &mut found);
            if is_overridden {
                found.origin.push_str(&format!(", which overrides {field} in the file"));
            }
        }
        found
    }

    /// Whether the value is valid.
    fn read(&mut self, known: &Known, written: Written<'_>, found: &mut Found) -> bool {
        match (known.read)(written) {
            Ok(value) => found.value = Some(value),
            Err(what) => self.bad.push(found.bad(&what)),
        }
        found.value.is_some()
    }
}
