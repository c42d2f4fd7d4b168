//! Translates the configuration of a kubelet into settings of cri-gc that do the same (`cri-gc config import-kubelet`).
//!
//! [`import`] is a pure function: the texts of the kubelet's files and the arguments of its command line go in, settings and
//! a commented configuration file come out. `form`: which forms a file has. `document`: what the files say. `flags`: what the
//! command line says. `near`: names that are nearly right. `values`: how the kubelet writes numbers, durations, endpoints and
//! signals. `reader`: one setting, of both. `translate`: what all of that means here. `left`: what the kubelet goes on doing.
//! `text`: the file that is printed.
//!
//! It must not read files, and it must never print a configuration that does something else than its comments say: what
//! can't be translated is an error or a comment, never dropped.

mod document;
mod flags;
mod form;
mod left;
mod near;
mod reader;
#[cfg(test)]
mod tests;
mod text;
mod translate;
mod values;

use std::fmt;
use std::path::PathBuf;

use cri_gc_config::Settings;

/// What became of a kubelet's configuration.
#[derive(Debug, Clone)]
pub struct Imported {
    /// The settings that do the same, fit for use.
    pub settings: Settings,
    /// Where each of the translated settings comes from, in no order.
    sources: Vec<Source>,
    /// What to set in the kubelet, so that not both collect images.
    in_kubelet: InKubelet,
    /// What the kubelet goes on doing by itself.
    left: Vec<String>,
    /// The flags of the kubelet that were taken into account.
    flags: Vec<String>,
}

/// What keeps a kubelet from collecting images.
#[derive(Debug, Clone, Default)]
struct InKubelet {
    /// It is so already.
    done: bool,
    /// One line for each field.
    fields: Vec<String>,
}

/// Where the value of one of our keys comes from.
#[derive(Debug, Clone)]
struct Source {
    key: &'static str,
    /// In words, for a comment.
    said: String,
    /// Whether the kubelet was told so; else it is a default, of both.
    given: bool,
}

/// A file of the directory that the kubelet's flag `--config-dir` names.
#[derive(Debug, Clone)]
pub struct DropIn {
    /// Its path, for messages.
    pub path: String,
    /// What is in it.
    pub text: String,
}

/// The files that a kubelet's command line names.
#[derive(Debug, Clone, Default)]
pub struct Named {
    /// The file of `--config`.
    pub config: Option<PathBuf>,
    /// The directory of `--config-dir`.
    pub config_dir: Option<PathBuf>,
}

/// Which files a kubelet that is started with these arguments reads.
///
/// # Errors
/// A kubelet would refuse the arguments, or something in them was meant otherwise.
pub fn named(arguments: &[String]) -> Result<Named, ImportError> {
    let flags = flags::parse(arguments).map_err(|bad| ImportError::Values(vec![bad]))?;
    let path = |flag| flags.get(flag).filter(|path| !path.is_empty()).map(PathBuf::from);
    Ok(Named { config: path("config"), config_dir: path("config-dir") })
}

/// Translates the text of a kubelet's configuration, its drop-ins in their order, which beat it, and the arguments of the
/// kubelet's command line, which beat both.
///
/// # Errors
/// A text is no such configuration, or a kubelet would refuse it, or it can't be had here; all bad values are named.
pub fn import(
    file: Option<&str>,
    drop_ins: &[DropIn],
    arguments: &[String],
) -> Result<Imported, ImportError> {
    let flags = flags::parse(arguments).map_err(|bad| ImportError::Values(vec![bad]))?;
    let document = document::read(file, drop_ins, flags.is_k3s)?;
    translate::translate(&document, &flags).map_err(ImportError::Values)
}

/// Why something can't be imported.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// Nothing is in it, but for comments.
    #[error("it is empty")]
    Empty,
    /// Neither YAML nor JSON.
    #[error("it can't be read as YAML or JSON: {0}")]
    Unreadable(String),
    /// A key that stands there twice, so that nobody knows which of them holds.
    #[error("{0}")]
    Twice(String),
    /// More than one document, and not one to take.
    #[error("{0}")]
    Several(String),
    /// A drop-in that can't be imported.
    #[error("{0}: {1}")]
    InFile(String, Box<ImportError>),
    /// It holds a list or a single value.
    #[error("it holds {0}, not the fields of a KubeletConfiguration")]
    NoFields(&'static str),
    /// It says that it is something else, or does not say what it is.
    #[error("{what}; it has to be a KubeletConfiguration of {}", form::API_VERSION)]
    OtherKind {
        /// What it is.
        what: String,
        /// What to do, if more can be said than for any file.
        hint: Option<&'static str>,
    },
    /// Values that a kubelet would refuse, or that have no counterpart.
    #[error("{}", lines(.0))]
    Values(Vec<BadValue>),
}

/// A value that can't be taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadValue {
    /// The field of the file or the flag, as it was written, and what is wrong with it.
    pub what: String,
    /// Whether it was typed, rather than read from the file.
    pub typed: bool,
}

impl fmt::Display for BadValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

fn lines(values: &[BadValue]) -> String {
    match values {
        [one] => one.to_string(),
        _ => values
            .iter()
            .fold(format!("{} values are bad:", values.len()), |all, one| format!("{all}\n  {one}")),
    }
}

impl ImportError {
    /// Whether only what was typed is wrong, and not the file.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Values(values) if values.iter().all(|value| value.typed))
    }

    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        const NAME_IT: &str = "name the file that the kubelet's flag --config names; with kubeadm that is \
                               /var/lib/kubelet/config.yaml";
        match self {
            Self::Values(_) if self.is_usage() => {
                "write after -- what the kubelet is started with, e.g. -- --root-dir=/data/kubelet"
            }
            Self::Values(_) => "mend it there, or give the right value as a flag of the kubelet's after --",
            Self::OtherKind { hint: Some(hint), .. } => hint,
            Self::Twice(_) => "leave the one that you mean",
            Self::Several(_) => {
                "give the document with the KubeletConfiguration alone, e.g. on standard input, as -"
            }
            Self::InFile(_, error) => match error.as_ref() {
                Self::OtherKind { hint: None, .. }
                | Self::Empty
                | Self::NoFields(_)
                | Self::Unreadable(_) => {
                    "each *.conf in the directory of --config-dir has to be a KubeletConfiguration, with apiVersion and kind"
                }
                error => error.remedy(),
            },
            _ => NAME_IT,
        }
    }
}
