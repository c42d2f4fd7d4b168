//! The configuration file that is printed: settings, and comments that say where each comes from.
//!
//! Whatever the kubelet's file holds, a comment stays a comment: it is broken into lines here, and what could end a line
//! is taken out.

use std::fmt::Write;

use cri_gc_config::render_value;

use super::Imported;

const WIDTH: usize = 110;

/// The sections, the keys in them, and what is said about each section first.
const SECTIONS: [(&str, &str, &[&str]); 7] = [
    ("", "", &["node_name"]),
    ("runtime", "", &["runtime.endpoint", "runtime.image_endpoint"]),
    (
        "pods",
        "Which pods still exist: a kubelet runs here, so the API server is asked, as a service account (in a pod of the \
         cluster) or by [pods.kube_api] kubeconfig (not the kubelet's own). Or source = \"kubelet\", which asks the kubelet itself, or \"file\", a pod \
         list that you keep fresh (pods.file). Not \"runtime\", which is for nodes without a kubelet.",
        &["pods.source", "pods.kubelet_root"],
    ),
    (
        "container_gc",
        "Beside a kubelet everything but images is only reported. Set \"enforce\" once the reports have earned your trust.",
        &[
            "container_gc.mode",
            "container_gc.min_age",
            "container_gc.max_per_pod_container",
            "container_gc.max_containers",
        ],
    ),
    ("sandbox_gc", "", &["sandbox_gc.mode"]),
    ("log_gc", "", &["log_gc.mode", "log_gc.pod_logs_root"]),
    (
        "image_gc",
        "",
        &[
            "image_gc.mode",
            "image_gc.high_threshold_percent",
            "image_gc.low_threshold_percent",
            "image_gc.min_age",
            "image_gc.max_age",
        ],
    ),
];

impl Imported {
    /// The settings as a configuration file; `from` names the file that they were read from.
    #[must_use]
    pub fn to_toml(&self, from: &str) -> String {
        let mut text = String::new();
        self.preface(&mut text, from);
        for (section, about, keys) in SECTIONS {
            text.push('\n');
            if !section.is_empty() {
                comment(&mut text, "", about);
                line(&mut text, &format!("[{section}]"));
            }
            keys.iter().for_each(|key| self.key(&mut text, key));
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
            "Above each setting stands where it comes from; one that is commented out is cri-gc's own default. `cri-gc config \
             check --config FILE` checks it.",
        );
        line(text, "#");
        let done = "The kubelet's own collection of images is off. Leave it so, or both collect images side by side:";
        let to_do = "Set this in the kubelet once `cri-gc status` shows the pod source synced, so that not both collect images:";
        comment(text, "", if self.in_kubelet.done { done } else { to_do });
        self.in_kubelet.fields.iter().for_each(|field| comment(text, "  ", field));
        if !self.left.is_empty() {
            line(text, "#");
            comment(text, "", "The kubelet goes on doing this, for which cri-gc has no setting:");
            self.left.iter().for_each(|one| comment(text, "- ", one));
        }
    }

    fn key(&self, text: &mut String, key: &str) {
        let source = self.sources.iter().find(|source| source.key == key);
        if let Some(source) = source {
            comment(text, "", &source.said);
        }
        let name = key.rsplit('.').next().unwrap_or(key);
        let value = render_value(&self.settings, key).unwrap_or_default();
        // What has no source is a choice of this module, not the kubelet's.
        let off = if source.is_none_or(|source| source.given) { "" } else { "# " };
        line(text, &format!("{off}{name} = {value}"));
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
