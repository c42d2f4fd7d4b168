//! Why a pod source could not be read, in sentences with what to do.

use std::mem::Discriminant;

use cri_gc_gateway::CriError;
use jiff::Timestamp;

#[cfg(feature = "kubernetes")]
use super::kube_api::ApiError;
use super::kubelet::KubeletError;
use super::listing::ListingError;

/// Why the source could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The file is not there, or may not be read.
    #[error("pods.file {path}: {error}; check the path, and that whatever writes it runs")]
    File {
        /// The file.
        path: String,
        /// What the operating system says.
        error: std::io::Error,
    },
    /// What it holds is no list of pods.
    #[error("pods.file {path} is not a list of pods: {error}")]
    Listing {
        /// The file.
        path: String,
        /// What is wrong with it.
        error: ListingError,
    },
    /// The file has a timestamp in the future, by which it is not known how old it is.
    #[error(
        "the modification time of pods.file {path} is in the future ({at:.0}); check the clock of this node, or run `touch {path}`"
    )]
    Future {
        /// The file.
        path: String,
        /// Its modification time.
        at: Timestamp,
    },
    /// It lists none of the pods that run.
    #[error(
        "the pod source lists none of the pods that run here ({ready} with a ready sandbox); it is the list of another node, or incomplete: check what writes it, and node_name"
    )]
    ListsNoneThatRun {
        /// How many there are.
        ready: usize,
    },
    /// The runtime could not be asked what there is.
    #[error("could not list the containers and sandboxes of the runtime: {0}")]
    Runtime(#[from] CriError),
    /// The kubelet could not be asked.
    #[error(transparent)]
    Kubelet(#[from] KubeletError),
    /// What the kubelet answers is no list of pods.
    #[error(
        "the answer of the kubelet at {url} is not a list of pods: {error}; pods.kubelet.url has to end in /pods"
    )]
    KubeletListing {
        /// Where.
        url: String,
        /// What is wrong with it.
        error: ListingError,
    },
    /// The kubelet may have just started.
    #[error(
        "the kubelet lists only static pods (since {since:.0}); it may have just started. Its list is used after 10m, or at \
         once with --confirm-deleted (sweep, run-now)"
    )]
    OnlyStatic {
        /// Since when.
        since: Timestamp,
    },
    /// The API server could not be asked.
    #[cfg(feature = "kubernetes")]
    #[error(transparent)]
    KubeApi(#[from] ApiError),
    /// This program was built without the source.
    #[error(
        "pods.source = \"kube-api\" is not built into this program (it needs the cargo feature `kubernetes`); use \"kubelet\", \
         \"file\" or \"runtime\""
    )]
    NotBuiltIn,
    /// The settings name no file.
    #[error("pods.source = \"file\": set pods.file to the absolute path of the list of pods")]
    NoFile,
    /// A worker thread or the provider itself failed.
    #[error("the pod tracking of cri-gc panicked and is being restarted; try again, and see the log")]
    Failed,
}

impl SourceError {
    /// What makes two of them the same failure (behaviour: Failures and log levels): the variant, and what the
    /// server that was asked makes of it.
    #[must_use]
    pub fn kind(&self) -> (Discriminant<Self>, u16) {
        let asked = match self {
            Self::Kubelet(error) => error.kind(),
            #[cfg(feature = "kubernetes")]
            Self::KubeApi(error) => error.kind(),
            _ => 0,
        };
        (std::mem::discriminant(self), asked)
    }

    /// Whether this also happens while nothing is wrong, for some seconds after the start of a server or of the machine.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Kubelet(error) => error.may_pass(),
            Self::OnlyStatic { .. } => true,
            #[cfg(feature = "kubernetes")]
            Self::KubeApi(error) => error.may_pass(),
            _ => false,
        }
    }

    /// Whether this happens without anything being wrong.
    #[must_use]
    pub fn is_ordinary(&self) -> bool {
        #[cfg(feature = "kubernetes")]
        return matches!(self, Self::KubeApi(ApiError::Expired { .. }));
        #[cfg(not(feature = "kubernetes"))]
        false
    }
}
