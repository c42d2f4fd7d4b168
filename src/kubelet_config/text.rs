//! The configuration file that is printed: settings, with comments that say where each comes from.
//!
//! Whatever the kubelet's file contains, a comment remains a comment: it is broken into lines here, without any character that
//! could end a line.

use std::collections::BTreeMap;
use std::fmt::Write;

use cri_gc_config::{Settings, render_value};

use super::reader::Found;

const WIDTH: usize = 110;

/// The keys that are printed, in the order of a configuration.
const KEYS: [&str; 17] = [
    "node_name",
    "runtime.endpoint",
    "runtime.image_endpoint",
    "pods.source",
    "pods.kubelet_root",
    "container_gc.mode",
    "container_gc.min_age",
    "container_gc.max_per_pod_container",
    "container_gc.max_containers",
    "sandbox_gc.mode",
    "log_gc.mode",
    "log_gc.pod_logs_root",
    "image_gc.mode",
    "image_gc.high_threshold_percent",
    "image_gc.low_threshold_percent",
    "image_gc.min_age",
    "image_gc.max_age",
];

/// A kubelet's configuration as settings of cri-gc.
#[derive(Debug, Clone)]
pub struct Imported {
    /// The settings that do the same.
    pub settings: Settings,
    /// The values that are translated, by key.
    pub(super) found: BTreeMap<&'static str, Found>,
    pub(super) in_kubelet: InKubelet,
    /// What the kubelet still does by itself, a paragraph each.
    pub(super) left: Vec<String>,
    /// The flags of the kubelet that were read.
    pub(super) flags: Vec<String>,
}

/// What to set in the kubelet, so that it removes no images.
#[derive(Debug, Clone)]
pub(super) struct InKubelet {
    /// It is set already.
    pub(super) is_done: bool,
    /// One line for each field.
    pub(super) fields: [&'static str; 2],
}

impl Imported {
    /// The settings as a configuration file; `from` names the file that they were read from.
    #[must_use]
    pub fn to_toml(&self, from: &str) -> String {
        let mut text = String::new();
        self.preface(&mut text, from);
        let mut open = None;
        for key in KEYS {
            let (section, name) = key.rsplit_once('.').unwrap_or(("", key));
            if open != Some(section) {
                text.push('\n');
                comment(&mut text, "", about(section));
                if !section.is_empty() {
                    line(&mut text, &format!("[{section}]"));
                }
                open = Some(section);
            }
            let found = self.found.get(key);
            if let Some(found) = found {
                comment(&mut text, "", &found.said);
            }
            // What was not read is a choice of this program.
            let off = if found.is_none_or(|found| found.value.is_some()) { "" } else { "# " };
            let value = render_value(&self.settings, key).unwrap_or_default();
            line(&mut text, &format!("{off}{name} = {value}"));
        }
        text
    }

    fn preface(&self, text: &mut String, from: &str) {
        let flags = match self.flags.as_slice() {
            [] => String::new(),
            flags => format!(" and these flags of the kubelet: {}", flags.join(", ")),
        };
        comment(
            text,
            "",
            &format!(
                "What a kubelet does, as settings of cri-gc: `cri-gc config import-kubelet` made this of {from}{flags}."
            ),
        );
        comment(
            text,
            "",
            "The comment above a setting says where it comes from; one that is commented out is cri-gc's own default. `cri-gc \
             config check --config FILE` checks it.",
        );
        line(text, "#");
        let done = "The kubelet's own image collection is off. Leave it so, or both collect images:";
        let to_do = "Set this in the kubelet once `cri-gc status` shows the pod source synced, so that not both collect images:";
        comment(text, "", if self.in_kubelet.is_done { done } else { to_do });
        self.in_kubelet.fields.iter().for_each(|field| comment(text, "  ", field));
        if !self.left.is_empty() {
            line(text, "#");
            comment(text, "", "The kubelet still does this, for which cri-gc has no setting:");
            self.left.iter().for_each(|one| comment(text, "- ", one));
        }
    }
}

/// What is said about a section.
fn about(section: &str) -> &'static str {
    match section {
        "pods" => {
            "Which pods exist: a kubelet runs here, so the API server is asked, as a service account (in a pod of the cluster) or \
             by [pods.kube_api] kubeconfig (not the kubelet's own). Or source = \"kubelet\", which asks the kubelet itself, or \
             \"file\", a pod list that you keep up to date (pods.file). Not \"runtime\", which is for nodes without a kubelet."
        }
        "container_gc" => {
            "On a node with a kubelet everything but images is only reported. Set \"enforce\" once you trust the reports."
        }
        _ => "",
    }
}

fn line(text: &mut String, line: &str) {
    // Writing to a string does not fail.
    let _ = writeln!(text, "{line}");
}

/// Adds a comment, in as many lines as it takes; the first begins with `mark`.
fn comment(text: &mut String, mark: &str, words: &str) {
    let indent = " ".repeat(mark.len());
    let mut current = format!("# {mark}");
    let mut empty = true;
    for word in words.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()) {
        if !empty && current.chars().count() + 1 + word.chars().count() > WIDTH {
            line(text, &current);
            current = format!("# {indent}");
            empty = true;
        }
        if !empty {
            current.push(' ');
        }
        current.push_str(word);
        empty = false;
    }
    if !empty {
        line(text, &current);
    }
}
