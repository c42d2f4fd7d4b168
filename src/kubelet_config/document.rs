//! The kubelet's configuration file and its drop-ins: their fields, merged as the kubelet merges them.
//!
//! Fields that have nothing to do with garbage collection are named and not looked at, so that a file of any version of the
//! kubelet can be read. `form` knows the forms that such a file comes in.

use std::collections::BTreeMap;

use cri_gc_policy::text::excerpt;
use serde_json::{Map, Value, json};

use super::form::{self, Form, Parsed};
use super::near::meant;
use super::values::SIGNALS;
use super::{BadValue, DropIn, ImportError};

/// Fields that are translated, or that name what stays with the kubelet.
const KNOWN: [&str; 14] = [
    "containerLogMaxFiles",
    "containerLogMaxSize",
    "containerRuntimeEndpoint",
    "evictionHard",
    "evictionMinimumReclaim",
    "evictionSoft",
    "evictionSoftGracePeriod",
    "imageGCHighThresholdPercent",
    "imageGCLowThresholdPercent",
    "imageMaximumGCAge",
    "imageMinimumGCAge",
    "imageServiceEndpoint",
    "mergeDefaultEvictionSettings",
    "podLogsDir",
];

/// What is set by a flag alone.
const FLAGS: [&str; 8] = [
    "config-dir",
    "hostname-override",
    "maximum-dead-containers",
    "maximum-dead-containers-per-container",
    "minimum-container-ttl-duration",
    "minimum-image-ttl-duration",
    "node-name",
    "root-dir",
];

const HARD: &str = "evictionHard";
const MERGE: &str = "mergeDefaultEvictionSettings";

/// Which signals of `evictionHard` no file has set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Defaults {
    /// None of them.
    #[default]
    None,
    /// All: the kubelet's defaults.
    All,
    /// Those that are missing from the file, by `mergeDefaultEvictionSettings`.
    Missing,
    /// All: k3s and rke2 give the kubelet a flag.
    OfK3s,
}

/// The fields of a `KubeletConfiguration`.
#[derive(Debug, Clone, Default)]
pub(super) struct Document {
    fields: Map<String, Value>,
    /// The drop-in that set a field last.
    origins: BTreeMap<String, String>,
    pub(super) defaults: Defaults,
    /// The endpoint of a distribution that gives another one than the kubelet's default, and why it is known.
    pub(super) endpoint: Option<(&'static str, &'static str)>,
    /// What else is in the file, or is missing from it.
    pub(super) notes: Vec<String>,
    pub(super) bad: Vec<BadValue>,
}

impl Document {
    /// The value of a field; null is the same as none.
    pub(super) fn get(&self, field: &str) -> Option<&Value> {
        self.fields.get(field).filter(|value| !value.is_null())
    }

    /// The drop-in that set a field, if one did.
    pub(super) fn origin(&self, field: &str) -> Option<&str> {
        self.origins.get(field).map(String::as_str)
    }

    /// The fields that are not looked at.
    pub(super) fn others(&self) -> Vec<String> {
        let other = |name: &&String| !KNOWN.contains(&name.as_str());
        self.fields.keys().filter(other).map(|name| excerpt(name)).collect()
    }
}

/// The fields, of the file or of that drop-in, that no kubelet has.
fn bad_names(fields: &Map<String, Value>, drop_in: Option<&str>) -> Vec<BadValue> {
    let from = drop_in.map_or_else(String::new, |path| format!(" ({path})"));
    let bad = |name: &String| {
        let what = format!("{}{from}: {}", excerpt(name), near_miss(name)?);
        Some(BadValue { what, typed: false })
    };
    fields.keys().filter_map(bad).collect()
}

/// Reads the file, which a kubelet that has flags alone does not have, and the drop-ins in their order.
pub(super) fn read(file: Option<&str>, drop_ins: &[DropIn], is_k3s: bool) -> Result<Document, ImportError> {
    let parsed = file.map_or_else(|| Ok(Parsed::default()), form::parse)?;
    let bad = bad_names(&parsed.fields, None);
    let mut document = Document { fields: parsed.fields, notes: parsed.notes, bad, ..Document::default() };
    let is_effective = parsed.form == Form::Configz;
    if is_k3s && !is_effective {
        document.endpoint = Some((
            "unix:///run/k3s/containerd/containerd.sock",
            "k3s and rke2 give the kubelet this endpoint",
        ));
    }
    if parsed.form == Form::OpenShift {
        document.endpoint = Some(("unix:///var/run/crio/crio.sock", "nodes of OpenShift run CRI-O"));
    }
    let given = is_k3s && drop_ins.iter().any(|drop_in| drop_in.text.contains(HARD));
    if !is_effective {
        document.set_defaults(is_k3s && !given);
    }
    for drop_in in drop_ins {
        let in_file = |error| ImportError::InFile(drop_in.path.clone(), Box::new(error));
        let parsed = form::parse(&drop_in.text).map_err(in_file)?;
        if parsed.form != Form::Plain {
            return Err(in_file(ImportError::OtherKind {
                what: "it is no drop-in of a kubelet".to_owned(),
                hint: None,
            }));
        }
        document.bad.extend(bad_names(&parsed.fields, Some(&drop_in.path)));
        document.notes.extend(parsed.notes);
        let origins = parsed.fields.keys().map(|field| (field.clone(), drop_in.path.clone()));
        document.origins.extend(origins);
        merge(&mut document.fields, parsed.fields);
    }
    if let Some(value) = document.get(MERGE)
        && document.defaults != Defaults::Missing
    {
        let note = format!("{MERGE}: {}, which changes nothing here.", excerpt(&value.to_string()));
        document.notes.push(note);
    }
    Ok(document)
}

impl Document {
    /// The kubelet sets its defaults for `evictionHard` in the file, before it merges the drop-ins into it.
    fn set_defaults(&mut self, is_k3s: bool) {
        let merge = match self.get(MERGE) {
            None => false,
            Some(Value::Bool(merge)) => *merge,
            Some(value) => {
                let what = format!("{MERGE}: {}: it is not true or false", excerpt(&value.to_string()));
                self.bad.push(BadValue { what, typed: false });
                false
            }
        };
        let (defaults, of) = match is_k3s && self.get(HARD).is_none() {
            true => (json!({"imagefs.available": "5%", "nodefs.available": "5%"}), Defaults::OfK3s),
            false => (
                json!({
                    "imagefs.available": "15%", "imagefs.inodesFree": "5%", "memory.available": "100Mi",
                    "nodefs.available": "10%", "nodefs.inodesFree": "5%",
                }),
                Defaults::All,
            ),
        };
        match (self.get(HARD).is_some(), defaults) {
            (false, defaults) => {
                self.fields.insert(HARD.to_owned(), defaults);
                self.defaults = of;
            }
            (true, Value::Object(defaults)) if merge => {
                if let Some(Value::Object(set)) = self.fields.get_mut(HARD) {
                    for (signal, value) in defaults {
                        set.entry(signal).or_insert(value);
                    }
                }
                self.defaults = Defaults::Missing;
            }
            _ => {}
        }
    }
}

/// Merges as RFC 7396 (JSON Merge Patch) says, which the kubelet follows: maps key by key, null removes, all else replaces.
fn merge(into: &mut Map<String, Value>, patch: Map<String, Value>) {
    for (key, value) in patch {
        match value {
            Value::Null => {
                into.remove(&key);
            }
            Value::Object(patch) => {
                let old = into.entry(key).or_insert_with(|| Value::Object(Map::new()));
                if !old.is_object() {
                    *old = Value::Object(Map::new());
                }
                if let Value::Object(old) = old {
                    merge(old, patch);
                }
            }
            value => {
                into.insert(key, value);
            }
        }
    }
}

/// What is meant by a field that no kubelet has, if that matters here.
fn near_miss(name: &str) -> Option<String> {
    const NO_FIELD: &str = "the kubelet has no such field, and ignores it";
    if KNOWN.contains(&name) {
        return None;
    }
    if SIGNALS.contains(&name) || meant(name, SIGNALS).is_some() {
        return Some(format!("{NO_FIELD}; a signal of eviction has to be in evictionHard or evictionSoft"));
    }
    if let Some(meant) = meant(name, KNOWN) {
        return Some(format!("{NO_FIELD}; write {meant} if that is meant, or else delete it"));
    }
    if let Some(flag) = FLAGS.into_iter().find(|flag| name == *flag).or_else(|| meant(name, FLAGS)) {
        let flag = if flag == "node-name" { "hostname-override" } else { flag };
        return Some(format!(
            "{NO_FIELD}; if the kubelet has the flag --{flag}, give it after -- and delete the field"
        ));
    }
    let nested = ["kubeletconfig", "kubeletconfiguration", "kubelet", "kubeletextraconfig"];
    nested
        .contains(&name.to_lowercase().as_str())
        .then(|| format!("{NO_FIELD}; what is in it has to be at the top of the file"))
}
