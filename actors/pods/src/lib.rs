//! Whose pods live: the actor that judges them, and the sources that it asks.
//!
//! A collector sends what it saw ([`Seen`]); back comes the state of every pod of it ([`Verdict`]). What runs is active
//! whatever the source says: that rule is not here but in `cri-gc-policy`, where no source can get around it.
//!
//! A judgement has four steps: `gather` the facts, plan what else to ask by what is remembered, ask it, judge. Only the
//! last one remembers anything, and only the first and the third wait.
//!
//! - `messages`: all that the actor is asked, `handle`: its address, `actor`: the steps in their order.
//! - `gather`: fetches facts and answers. `sources`: reads the sources `file` and `kubelet` (`kubelet`: how it is asked),
//!   `kube_source` the source `kube-api` (`kube_api`: the API server).
//! - `judge`: the judgement, pure. `runtime_source`: by the source `runtime`. `absence`: the proof for the sources that list
//!   pods. `proofs`: what was proved before. `leftovers`: pods that only a directory of the kubelet keeps.
//! - `evidence`: what was seen, by pod. `listing` and `kube_pod`: what a source lists. `standing`: why a pod is in its state,
//!   and since when. `verdict`: what a judgement says.

mod absence;
mod actor;
mod error;
mod evidence;
mod gather;
mod handle;
mod http_body;
mod judge;
#[cfg_attr(not(feature = "kubernetes"), path = "no_kube_api.rs")]
pub mod kube_api;
mod kube_pod;
#[cfg_attr(not(feature = "kubernetes"), path = "no_kube_source.rs")]
mod kube_source;
mod kubelet;
mod leftovers;
mod listing;
mod messages;
mod proofs;
mod runtime_source;
mod sources;
mod standing;
mod verdict;

pub use error::{ErrorKind, ServerFailure, SourceError};
pub use evidence::Seen;
pub use handle::PodStates;
pub use listing::Listing;
pub use messages::{AskSource, Configure, Confirm, Judge, Resync, SourceState};
pub use standing::{PodFacts, Standing};
pub use verdict::{FinishTimes, Verdict};
