//! Why a kubelet's configuration can't be imported. This module must not find the errors: it says what to do about them.

use cri_gc_policy::text::counted;

/// What to do about a file that is not a kubelet's configuration.
pub(super) const NAME_IT: &str =
    "name the file that the kubelet's flag --config names; with kubeadm that is /var/lib/kubelet/config.yaml";

/// What is wrong, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct ImportError {
    what: String,
    /// What to do about it.
    pub remedy: &'static str,
    /// Whether only the command line is wrong, and not a file.
    pub is_usage: bool,
}

/// A value that can't be imported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BadValue {
    /// The field or the flag, as it was written, and what is wrong with it.
    pub(super) what: String,
    pub(super) is_flag: bool,
}

impl ImportError {
    /// The file can't be imported as it is.
    pub(super) fn new(what: impl Into<String>, remedy: &'static str) -> Self {
        Self { what: what.into(), remedy, is_usage: false }
    }

    /// Values that a kubelet would refuse, or that cri-gc can't use.
    pub(super) fn values(values: &[BadValue]) -> Self {
        let all = values.iter().map(|one| one.what.as_str()).collect::<Vec<_>>().join("\n  ");
        let what = match values.len() {
            1 => all,
            count => format!("{} are invalid:\n  {all}", counted(count, "value")),
        };
        let is_usage = values.iter().all(|value| value.is_flag);
        let remedy = match is_usage {
            true => "write after -- what the kubelet is started with, e.g. -- --root-dir=/data/kubelet",
            false => "fix it there, or give the right value as a flag of the kubelet after --",
        };
        Self { what, remedy, is_usage }
    }

    /// The same, of a drop-in.
    pub(super) fn in_drop_in(mut self, path: &str) -> Self {
        self.what = format!("{path}: {}", self.what);
        // It has been named already.
        if self.remedy == NAME_IT {
            self.remedy = "each *.conf in the directory of --config-dir has to be a KubeletConfiguration, with apiVersion and kind";
        }
        self
    }
}
