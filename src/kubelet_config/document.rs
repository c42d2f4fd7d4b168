//! The kubelet's configuration file and its drop-ins: their fields, merged as the kubelet merges them.
//!
//! Fields that have nothing to do with garbage collection are listed and otherwise ignored, so that a file of any version of
//! the kubelet can be read. `form` reads the forms that such a file comes in.

use std::collections::BTreeMap;

use cri_gc_policy::text::excerpt;
use serde_json::{Map, Value, json};

use super::error::{BadValue, ImportError, NAME_IT};
use super::form::{self, Form, Parsed};
use super::known::{self, HARD, MERGE};
use super::near::meant;
use super::values::SIGNALS;

/// What is said of `evictionHard` if it was merged with the kubelet's defaults.
const MERGED: &str = ", of which those that are missing from the file are the kubelet's defaults by mergeDefaultEvictionSettings";

/// A file of the directory that the kubelet's flag `--config-dir` names.
#[derive(Debug, Clone)]
pub struct DropIn {
    /// Its path, for messages.
    pub path: String,
    /// Its content.
    pub text: String,
}

/// The fields of a `KubeletConfiguration`.
#[derive(Debug, Clone, Default)]
pub(super) struct Document {
    fields: Map<String, Value>,
    /// The drop-in that set a field last.
    origins: BTreeMap<String, String>,
    /// Why there are signals in `evictionHard` that no file sets, as the end of a sentence; empty if there are none.
    pub(super) about_hard: &'static str,
    /// The endpoint of a distribution that gives another one than the kubelet's default, and why it is known.
    pub(super) endpoint: Option<(&'static str, &'static str)>,
    /// What else is in the file, or is missing from it.
    pub(super) notes: Vec<String>,
    pub(super) bad: Vec<BadValue>,
}

/// Reads the file, which a kubelet that has flags alone does not have, and the drop-ins in their order.
pub(super) fn read(file: Option<&str>, drop_ins: &[DropIn], is_k3s: bool) -> Result<Document, ImportError> {
    let Parsed { form, fields, notes } = file.map_or_else(|| Ok(Parsed::default()), form::parse)?;
    let bad = unknown_fields(&fields, "");
    let mut document = Document { fields, notes, bad, ..Document::default() };
    document.endpoint = match form {
        Form::OpenShift => Some(("unix:///var/run/crio/crio.sock", "nodes of OpenShift run CRI-O")),
        Form::Plain if is_k3s => Some((
            "unix:///run/k3s/containerd/containerd.sock",
            "k3s and rke2 give the kubelet this endpoint",
        )),
        _ => None,
    };
    let is_set_later = drop_ins.iter().any(|drop_in| drop_in.text.contains(HARD.field));
    // What a running kubelet says of itself has all defaults in it.
    let is_merged = form != Form::Configz && document.set_defaults(is_k3s && !is_set_later);
    for DropIn { path, text } in drop_ins {
        let Parsed { form, fields, notes } = form::parse(text).map_err(|error| error.in_drop_in(path))?;
        if form != Form::Plain {
            return Err(form::other_kind("it is not a drop-in of a kubelet", NAME_IT).in_drop_in(path));
        }
        document.bad.extend(unknown_fields(&fields, &format!(" ({path})")));
        document.notes.extend(notes);
        document.origins.extend(fields.keys().map(|field| (field.clone(), path.clone())));
        merge(&mut document.fields, fields);
    }
    if let (Some(value), false) = (document.get(MERGE), is_merged) {
        let note = format!("{MERGE}: {}, which changes nothing here.", excerpt(&value.to_string()));
        document.notes.push(note);
    }
    Ok(document)
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

    /// The fields that are not read.
    pub(super) fn others(&self) -> Vec<String> {
        let is_other = |name: &&String| known::fields().all(|field| field != **name);
        self.fields.keys().filter(is_other).map(|name| excerpt(name)).collect()
    }

    /// The kubelet sets its defaults for `evictionHard` in the file, before it merges the drop-ins into it. Whether they were
    /// merged with what the file sets.
    fn set_defaults(&mut self, is_k3s: bool) -> bool {
        let kubelets = json!({
            "imagefs.available": "15%", "imagefs.inodesFree": "5%", "memory.available": "100Mi",
            "nodefs.available": "10%", "nodefs.inodesFree": "5%",
        });
        let merge = self.get(MERGE).cloned().unwrap_or(Value::Bool(false));
        if !merge.is_boolean() {
            let what = format!("{MERGE}: {}: it is not true or false", excerpt(&merge.to_string()));
            self.bad.push(BadValue::field(what));
        }
        let set = self.fields.remove(HARD.field).filter(|value| !value.is_null());
        let (value, about) = match (set, kubelets) {
            (None, _) if is_k3s => {
                (json!({"imagefs.available": "5%", "nodefs.available": "5%"}), ", which k3s and rke2 set")
            }
            (None, kubelets) => (kubelets, ", the kubelet's defaults, because no file sets it"),
            (Some(Value::Object(set)), Value::Object(mut merged)) if merge == true => {
                merged.extend(set);
                (Value::Object(merged), MERGED)
            }
            (Some(set), _) => (set, ""),
        };
        self.fields.insert(HARD.field.to_owned(), value);
        self.about_hard = about;
        about == MERGED
    }
}

/// Merges as RFC 7396 (JSON Merge Patch) says, which the kubelet follows: maps key by key, null removes, all else replaces.
fn merge(into: &mut Map<String, Value>, patch: Map<String, Value>) {
    for (key, value) in patch {
        match (value, into.get_mut(&key)) {
            (Value::Null, _) => drop(into.remove(&key)),
            (Value::Object(patch), Some(Value::Object(old))) => merge(old, patch),
            (Value::Object(patch), _) => {
                let mut new = Map::new();
                merge(&mut new, patch);
                into.insert(key, Value::Object(new));
            }
            (value, _) => drop(into.insert(key, value)),
        }
    }
}

/// The fields, of the file or of the drop-in `from`, that no kubelet has, and that were probably meant to be ones that matter
/// here.
fn unknown_fields(fields: &Map<String, Value>, from: &str) -> Vec<BadValue> {
    let bad = |name: &String| {
        let what = format!("{}{from}: the kubelet has no such field, and ignores it; ", excerpt(name));
        Some(BadValue::field(what + &meaning(name)?))
    };
    fields.keys().filter_map(bad).collect()
}

/// What is meant by a field that no kubelet has.
fn meaning(name: &str) -> Option<String> {
    if known::fields().any(|field| field == name) {
        return None;
    }
    if SIGNALS.contains(&name) || meant(name, SIGNALS).is_some() {
        return Some("a signal of eviction has to be in evictionHard or evictionSoft".to_owned());
    }
    if let Some(meant) = meant(name, known::fields()) {
        return Some(format!("write {meant} if that is meant, or else delete it"));
    }
    let flags = known::flags_alone;
    if let Some(flag) = flags().find(|flag| *flag == name).or_else(|| meant(name, flags())) {
        let flag = if flag == "node-name" { "hostname-override" } else { flag };
        return Some(format!("if the kubelet has the flag --{flag}, give it after -- and delete the field"));
    }
    let parents = ["kubeletconfig", "kubeletconfiguration", "kubelet", "kubeletextraconfig"];
    parents
        .contains(&name.to_lowercase().as_str())
        .then(|| "what is in it has to be at the top of the file".to_owned())
}
