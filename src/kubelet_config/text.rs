//! The configuration file that is printed: settings, with comments that say where each comes from.
//!
//! Whatever the kubelet's file contains, a comment remains a comment: it is broken into lines here, without any character that
//! could end a line.

use std::collections::BTreeMap;

use cri_gc_config::{Settings, key_names, render_value};

use super::kubelet::Found;

const WIDTH: usize = 110;

/// The values that are translated, by the key of cri-gc.
pub(super) type Translated = BTreeMap<&'static str, Found>;

/// A kubelet's configuration as settings of cri-gc.
#[derive(Debug, Clone)]
pub struct Imported {
    /// The settings that do the same.
    pub settings: Settings,
    pub(super) found: Translated,
    /// What to set in the kubelet, so that it removes no images: a heading, and a line for each field.
    pub(super) in_kubelet: [String; 3],
    /// What the kubelet still does by itself, a paragraph each.
    pub(super) remaining: Vec<String>,
    /// The flags of the kubelet that were read.
    pub(super) flags: Vec<String>,
}

impl Imported {
    /// The settings as a configuration file; `from` names the file that they were read from.
    #[must_use]
    pub fn to_toml(&self, from: &str) -> String {
        let mut text = String::new();
        self.preface(&mut text, from);
        let mut open = None;
        for key in key_names() {
            let Some(found) = self.found.get(key) else { continue };
            let (section, name) = key.rsplit_once('.').unwrap_or(("", key));
            if open != Some(section) {
                text.push('\n');
                comment(&mut text, "", about(section));
                if !section.is_empty() {
                    text.push_str(&format!("[{section}]\n"));
                }
                open = Some(section);
            }
            comment(&mut text, "", &found.origin);
            // The kubelet's default is that of cri-gc.
            let off = if found.value.is_some() { "" } else { "# " };
            let value = render_value(&self.settings, key).unwrap_or_default();
            text.push_str(&format!("{off}{name} = {value}\n"));
        }
        text
    }

    fn preface(&self, text: &mut String, from: &str) {
        let flags = match self.flags.as_slice() {
            [] => String::new(),
            flags => format!(" and these flags of the kubelet: {}", flags.join(", ")),
        };
        let made = format!(
            "Settings of cri-gc that are equivalent to the kubelet's, made by `cri-gc config import-kubelet` from {from}{flags}."
        );
        let note = "The comment above a setting says where it comes from; one that is commented out is cri-gc's own default. \
                    `cri-gc config check --config FILE` checks it.";
        comment(text, "", &made);
        comment(text, "", note);
        text.push_str("#\n");
        for (mark, line) in ["", "  ", "  "].into_iter().zip(&self.in_kubelet) {
            comment(text, mark, line);
        }
        if !self.remaining.is_empty() {
            let heading = "Not converted: cri-gc has no setting for this, or the name of the field is wrong:";
            text.push_str("#\n");
            comment(text, "", heading);
            self.remaining.iter().for_each(|one| comment(text, "- ", one));
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

/// Adds a comment, in as many lines as it takes; the first begins with `mark`.
fn comment(text: &mut String, mark: &str, words: &str) {
    let mut lines: Vec<String> = Vec::new();
    for word in words.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()) {
        match lines.last_mut() {
            None => lines.push(format!("# {mark}{word}")),
            Some(line) if line.chars().count() + 1 + word.chars().count() <= WIDTH => {
                line.extend([" ", word])
            }
            Some(_) => lines.push(format!("# {}{word}", " ".repeat(mark.len()))),
        }
    }
    text.extend(lines.iter().flat_map(|line| [line.as_str(), "\n"]));
}
