//! What a kubelet is configured with: the fields of its file and its drop-ins, merged as the kubelet merges them, and its
//! flags, which override them.
//!
//! Fields that have nothing to do with garbage collection are listed and otherwise ignored, so that a file of any version of
//! the kubelet can be read. `form` reads the forms that such a file comes in. This module must not know what a setting does in
//! cri-gc.

use std::collections::BTreeMap;

use cri_gc_policy::text::excerpt;
use serde_json::{Map, Value, json};

use super::error::{BadValue, ImportError, NAME_IT};
use super::flags::Flags;
use super::form::{self, Form};
use super::known::{self, HARD, Known, MERGE};
use super::near::{meant, nearest};
use super::values::{SIGNALS, Written};

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

/// The configuration of a kubelet.
pub(super) struct Kubelet<'a> {
    fields: Map<String, Value>,
    /// The drop-in that set a field last.
    origins: BTreeMap<String, &'a str>,
    pub(super) flags: &'a Flags,
    /// Why there are signals in `evictionHard` that no file sets, as the end of a sentence; empty if there are none.
    pub(super) about_hard: &'static str,
    /// The endpoint of a distribution that gives another one than the kubelet's default, and why it is known.
    pub(super) endpoint: Option<(&'static str, &'static str)>,
    /// What else is in the file, or is missing from it.
    pub(super) notes: Vec<String>,
    /// What was found wrong.
    pub(super) bad: Vec<BadValue>,
}

impl<'a> Kubelet<'a> {
    /// Reads the file, which a kubelet that has flags alone does not have, and the drop-ins in their order.
    pub(super) fn read(
        file: Option<&str>,
        drop_ins: &'a [DropIn],
        flags: &'a Flags,
    ) -> Result<Self, ImportError> {
        let (form, fields, notes) = file.map(form::parse).transpose()?.unwrap_or_default();
        let endpoint = match form {
            Form::OpenShift => Some(("unix:///var/run/crio/crio.sock", "nodes of OpenShift run CRI-O")),
            Form::Plain if flags.is_k3s => Some((
                "unix:///run/k3s/containerd/containerd.sock",
                "k3s and rke2 give the kubelet this endpoint",
            )),
            _ => None,
        };
        let (origins, bad) = (BTreeMap::new(), unknown_fields(&fields, ""));
        let mut kubelet = Self { fields, origins, flags, about_hard: "", endpoint, notes, bad };
        // What a running kubelet says of itself has all defaults in it.
        if form != Form::Configz {
            let is_set_later = drop_ins.iter().any(|drop_in| drop_in.text.contains(HARD.field));
            kubelet.set_defaults(flags.is_k3s && !is_set_later);
        }
        for DropIn { path, text } in drop_ins {
            let (form, fields, notes) = form::parse(text).map_err(|error| error.in_drop_in(path))?;
            if form != Form::Plain {
                return Err(form::other_kind("it is not a drop-in of a kubelet", NAME_IT).in_drop_in(path));
            }
            kubelet.bad.extend(unknown_fields(&fields, &format!(" ({path})")));
            kubelet.notes.extend(notes);
            kubelet.origins.extend(fields.keys().map(|field| (field.clone(), path.as_str())));
            merge(&mut kubelet.fields, fields);
        }
        if let Some(value) = get(&kubelet.fields, MERGE).filter(|_| kubelet.about_hard != MERGED) {
            let note = format!("{MERGE}: {}, which changes nothing here.", excerpt(&value.to_string()));
            kubelet.notes.push(note);
        }
        Ok(kubelet)
    }

    /// The fields that are not read.
    pub(super) fn others(&self) -> Vec<String> {
        let is_other = |name: &&String| known::fields().all(|field| field != **name);
        self.fields.keys().filter(is_other).map(|name| excerpt(name)).collect()
    }

    /// The kubelet sets its defaults for `evictionHard` in the file, before it merges the drop-ins into it.
    fn set_defaults(&mut self, is_k3s: bool) {
        let merge = get(&self.fields, MERGE).unwrap_or(&Value::Bool(false));
        let is_merge = merge == true;
        if !merge.is_boolean() {
            let what = format!("{MERGE}: {}: it is not true or false", excerpt(&merge.to_string()));
            self.bad.push(BadValue { what, is_flag: false });
        }
        let mut hard = json!({
            "imagefs.available": "15%", "imagefs.inodesFree": "5%", "memory.available": "100Mi",
            "nodefs.available": "10%", "nodefs.inodesFree": "5%",
        });
        self.about_hard = ", the kubelet's defaults, because no file sets it";
        match (self.fields.remove(HARD.field), hard.as_object_mut()) {
            (None | Some(Value::Null), _) if is_k3s => {
                hard = json!({"imagefs.available": "5%", "nodefs.available": "5%"});
                self.about_hard = ", which k3s and rke2 set";
            }
            (None | Some(Value::Null), _) => {}
            (Some(Value::Object(set)), Some(hard)) if is_merge => {
                hard.extend(set);
                self.about_hard = MERGED;
            }
            (Some(set), _) => (hard, self.about_hard) = (set, ""),
        }
        self.fields.insert(HARD.field.to_owned(), hard);
    }

    /// The value that the kubelet has for a setting. The flag overrides the file.
    pub(super) fn find(&mut self, known: &Known) -> Found {
        let Known { field, flag, .. } = known;
        let name =
            if field.is_empty() { format!("--{flag} is not given") } else { format!("{field} is not set") };
        let origin = format!("{name}: the kubelet's default, which is the same");
        let mut found = Found { origin, ..Found::default() };
        let bad = &mut self.bad;
        let mut read = |written, found: &mut Found| match (known.read)(written) {
            Ok(value) => found.value = Some(value),
            Err(what) => bad.push(found.bad(&what)),
        };
        if let Some(value) = get(&self.fields, field).filter(|_| !field.is_empty()) {
            let written = Written::Field(value);
            let from = self.origins.get(*field).map_or_else(String::new, |from| format!(" (in {from})"));
            found.origin = format!("{field}: {}{from}", written.shown());
            read(written, &mut found);
        }
        let is_overridden = found.value.is_some();
        if is_overridden && found.value.as_deref() == known.unset {
            found.value = None;
            found.origin.push_str(", for which the kubelet takes its default");
        }
        if let Some(text) = self.flags.get(flag).filter(|_| !flag.is_empty()) {
            let written = Written::Flag(text);
            (found.origin, found.is_flag) = (format!("--{flag}={}", written.shown()), true);
            read(written, &mut found);
            if is_overridden {
                found.origin.push_str(&format!(", which overrides {field} in the file"));
            }
        }
        found
    }
}

/// The value of a field; null is the same as none.
fn get<'a>(fields: &'a Map<String, Value>, field: &str) -> Option<&'a Value> {
    fields.get(field).filter(|value| !value.is_null())
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
        Some(BadValue { what: what + &meaning(name)?, is_flag: false })
    };
    fields.keys().filter_map(bad).collect()
}

/// What is meant by a field that no kubelet has.
fn meaning(name: &str) -> Option<String> {
    if known::fields().any(|field| field == name) {
        return None;
    }
    if nearest(name, SIGNALS).is_some() {
        return Some("a signal of eviction has to be in evictionHard or evictionSoft".to_owned());
    }
    if let Some(meant) = meant(name, known::fields()) {
        return Some(format!("write {meant} if that is meant, or else delete it"));
    }
    if let Some(flag) = nearest(name, known::flags_alone()) {
        let flag = if flag == "node-name" { "hostname-override" } else { flag };
        return Some(format!("if the kubelet has the flag --{flag}, give it after -- and delete the field"));
    }
    let parents = ["kubeletconfig", "kubeletconfiguration", "kubelet", "kubeletextraconfig"];
    let is_parent = parents.contains(&name.to_lowercase().as_str());
    is_parent.then(|| "what is in it has to be at the top of the file".to_owned())
}
