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
    #[error("pods.file {path} is not understood: {error}")]
    Listing {
        /// The file.
        path: String,
        /// What is wrong with it.
        error: ListingError,
    },
    /// The file has a timestamp in the future, by which it is not known how old it is.
    #[error("pods.file {path} was changed in the future ({at}); check the clock, or touch the file")]
    Future {
        /// The file.
        path: String,
        /// Its modification time.
        at: Timestamp,
    },
    /// It lists none of the pods that run.
    #[error(
        "the source lists none of the {ready} pods that have a ready sandbox; it is the list of another node, or incomplete"
    )]
    ListsNoneThatRun {
        /// How many there are.
        ready: usize,
    },
    /// The runtime could not be asked what there is.
    #[error("the runtime could not be asked for what there is: {0}")]
    Runtime(#[from] CriError),
    /// The kubelet could not be asked.
    #[error(transparent)]
    Kubelet(#[from] KubeletError),
    /// What the kubelet answers is no list of pods.
    #[error(
        "what the kubelet at {url} answers is not understood: {error}; pods.kubelet.url has to be its /pods"
    )]
    KubeletListing {
        /// Where.
        url: String,
        /// What is wrong with it.
        error: ListingError,
    },
    /// The kubelet may have just started.
    #[error(
        "the kubelet lists no pod of the API server (since {since}), as one does that has just started; that is believed \
         once it has said so for 10 minutes, or with --confirm-deleted"
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
    #[error("pods.source = \"file\" needs pods.file")]
    NoFile,
    /// A worker thread or the provider itself failed.
    #[error("the pod-state provider failed; see the log")]
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
