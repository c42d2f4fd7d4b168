//! The pod-state provider: the one actor that says which pods live (behaviour: Pods).
//!
//! A collector sends what it saw ([`Seen`]); back comes the state of every pod of it ([`Verdict`]). What runs is active
//! whatever the source says: that rule is not here but in `cri-gc-policy`, where no source can get around it.
//!
//! - `evidence`: what was seen, by pod. `proofs`: what was proved before. `standing`: why a pod is in its state, and since when.
//! - `runtime_source`: the source `runtime`.
//! - `absence`: the proof for the sources that list pods. `listing` and `kube_pod`: what these say.
//! - `reading`: the sources `file` and `kubelet` (`kubelet`: how it is asked). `kube_source`: the source `kube-api`.
//! - `leftovers`: pods that only a directory of the kubelet keeps.
//! - `judging`: fetches what a judgement needs. `memory`: what is kept between two of them.
//! - `provider`: the actor.

mod absence;
mod evidence;
mod http_body;
mod judging;
#[cfg(feature = "kubernetes")]
pub mod kube_api;
pub(crate) mod kube_pod;
#[cfg_attr(not(feature = "kubernetes"), path = "no_kube_source.rs")]
mod kube_source;
mod kubelet;
mod leftovers;
pub(crate) mod listing;
mod memory;
mod proofs;
mod provider;
mod reading;
mod runtime_source;
mod standing;

use std::sync::Arc;

use actix::{Addr, ArbiterHandle, Message, Recipient};
use cri_gc_config::{PodSource, Settings};
use cri_gc_policy::Pods;
use jiff::Timestamp;
use slog::Logger;

use cri_gc_gateway::{CriError, Gateway};
use cri_gc_kit::generation::Reconfigure;
use cri_gc_kit::seams::Clock;
use cri_gc_kit::supervision::guard::{self, Pace};
use cri_gc_kit::workers::Workers;
pub use evidence::Seen;
pub use kubelet::KubeletError;
pub use listing::ListingError;
use provider::Provider;
pub use runtime_source::FinishTimes;
pub use standing::{PodFacts, Standing};

/// What the provider says of the pods of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Their states.
    pub pods: Pods,
    /// Why containers, sandboxes and log directories may only be reported, not removed; `None` if they may.
    pub report_only: Option<String>,
    /// Why it isn't known which images pods name; `None` if it is.
    pub images_unknown: Option<String>,
    /// What else an operator should know.
    pub notes: Vec<String>,
    /// When the clock was set last, if that was seen.
    pub clock_set: Option<Timestamp>,
    /// When containers finished that have ended, as far as the runtime was asked for this verdict: what an earlier one read
    /// may no longer be readable.
    pub finished: FinishTimes,
}

impl Verdict {
    /// Nothing is known, for that reason; not even which images pods name, so no image goes either.
    fn nothing(why: String) -> Self {
        let images = "it could not be found out which images pods name, so no image is removed";
        Self { images_unknown: Some(images.to_owned()), notes: vec![why], ..Self::default() }
    }
}

/// Judge the pods of which something was seen.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Verdict")]
pub struct Judge(pub Seen);

/// Read the source now. The sources that list pods need two good readings before they prove anything.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Result<(), SyncError>")]
pub struct Resync;

/// What the provider goes by.
#[derive(Debug, Clone)]
pub struct Configure {
    /// The settings, whole.
    pub settings: Arc<Settings>,
    /// The administrator has confirmed that many pods are deleted at once.
    pub confirmed: bool,
    /// Whether this is the service, which watches all the time: it reads the source by itself, and counts the grace of the
    /// source `runtime` from when it began to watch. A one-shot command has only what the objects tell.
    pub service: bool,
}

/// Which images do pods name that are not gone, as far as the source tells by now?
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Vec<String>")]
pub struct AskNamed;

/// How does each pod stand, as of the last question?
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Vec<PodFacts>")]
pub struct AskPods;

/// An administrator confirms that the pods which are missing, as of the last question, are deleted indeed, however many they
/// are. The answer is how many of them are held back.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "usize")]
pub struct Confirm;

/// How is the source?
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "SourceState")]
pub struct AskSource;

/// How the source is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceState {
    /// Which source it is.
    pub source: PodSource,
    /// Whether it can prove anything now.
    pub synced: bool,
    /// As of when its newest good list counts; `None` for a source that lists nothing, or before the first.
    pub synced_at: Option<Timestamp>,
    /// Why it could not be read last; `None` if it was.
    pub problem: Option<String>,
    /// What else an operator should know, as of the last question about pods.
    pub notes: Vec<String>,
}

/// Why the source could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
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
    /// The file bears a time to come, by which it could not be judged how old it is.
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
    KubeApi(#[from] crate::kube_api::ApiError),
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

impl SyncError {
    /// What makes two of them the same failure (behaviour: Failures and log levels): the kind, and the code of who was asked.
    #[must_use]
    pub fn kind(&self) -> u64 {
        let (kind, code) = match self {
            Self::File { .. } => (1, 0),
            Self::Listing { .. } => (2, 0),
            Self::Future { .. } => (3, 0),
            Self::ListsNoneThatRun { .. } => (4, 0),
            Self::Runtime(_) => (5, 0),
            Self::Kubelet(error) => (6, error.kind()),
            Self::KubeletListing { .. } => (7, 0),
            Self::OnlyStatic { .. } => (8, 0),
            #[cfg(feature = "kubernetes")]
            Self::KubeApi(error) => (9, error.kind()),
            Self::NotBuiltIn => (10, 0),
            Self::NoFile => (11, 0),
            Self::Failed => (12, 0),
        };
        kind << 16 | u64::from(code)
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
        return matches!(self, Self::KubeApi(crate::kube_api::ApiError::Expired { .. }));
        #[cfg(not(feature = "kubernetes"))]
        false
    }
}

/// Where to ask. Cheap to clone.
#[derive(Clone, Debug)]
pub struct PodStates {
    address: Addr<Provider>,
}

impl PodStates {
    /// Starts the actor on an arbiter.
    #[must_use]
    pub fn start(
        on: &ArbiterHandle,
        gateway: Gateway,
        files: Workers,
        clock: Clock,
        configuration: Configure,
        log: Logger,
    ) -> Self {
        let pace = Pace::from(&*configuration.settings);
        let fell = guard::log_restart(log.clone(), "pod-state provider", None);
        let make = move |_: &mut _| Provider::new(gateway, files, clock, configuration, log);
        Self { address: guard::start(on, pace, fell, make) }
    }

    /// The states of the pods of which something was seen. If the provider cannot answer, nothing is known.
    pub async fn judge(&self, seen: Seen) -> Verdict {
        let gone = || Verdict::nothing("the pod-state provider was restarted during the question".to_owned());
        self.address.send(Judge(seen)).await.unwrap_or_else(|_| gone())
    }

    /// Reads the source.
    ///
    /// # Errors
    /// Why it could not be read, or cannot be right. What it proved before does not hold any more.
    pub async fn resync(&self) -> Result<(), SyncError> {
        self.address.send(Resync).await.unwrap_or(Err(SyncError::Failed))
    }

    /// The images that pods name by now. `None` while the provider is being restarted.
    pub async fn named(&self) -> Option<Vec<String>> {
        self.address.send(AskNamed).await.ok()
    }

    /// How each pod stands. `None` while the provider is being restarted.
    pub async fn pods(&self) -> Option<Vec<PodFacts>> {
        self.address.send(AskPods).await.ok()
    }

    /// Confirms that the pods which are held back are deleted indeed. `None` while the provider is being restarted.
    pub async fn confirm(&self) -> Option<usize> {
        self.address.send(Confirm).await.ok()
    }

    /// How the source is. `None` while the provider is being restarted.
    pub async fn source(&self) -> Option<SourceState> {
        self.address.send(AskSource).await.ok()
    }

    /// Who is to be told of new settings.
    #[must_use]
    pub fn follower(&self) -> Recipient<Reconfigure> {
        self.address.clone().recipient()
    }
}
