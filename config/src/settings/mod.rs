//! The settings of the whole service, one struct for each section of the configuration file.
//!
//! The structs say what values exist, how they are written and what they are without a file. Ranges are held by `check`;
//! a value that was built in the program has to pass [`Settings::problems`] before it is used.

mod choices;
mod container_gc;
mod image_gc;
mod log_gc;
mod pods;
mod runtime;
mod sandbox_gc;
mod service;

use cri_gc_policy::{Policy, SandboxPolicy};
use serde::{Deserialize, Serialize};

pub use choices::{LogFormat, LogLevel, Mode, PodSource, UnknownWord, Unmanaged};
pub use container_gc::ContainerGc;
pub use image_gc::ImageGc;
pub use log_gc::LogGc;
pub use pods::{KubeApi, Kubelet, Pods};
pub use runtime::Runtime;
pub use sandbox_gc::SandboxGc;
pub use service::{Admin, Log, Metrics, State, Supervision};

use crate::forms::optional;
use crate::{Origins, Problem};

/// Every setting of cri-gc. `Settings::default()` is what holds without any file, variable or flag.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The name of this node's Node object (`pods.source = "kube-api"`). Not set: the caller takes the host name, which
    /// this crate can't ask for. The kubelet's flag is `--hostname-override`.
    #[serde(with = "optional")]
    pub node_name: Option<String>,
    /// The container runtime and the RPCs to it (spec 8).
    pub runtime: Runtime,
    /// Which pods exist (spec 2).
    pub pods: Pods,
    /// Container GC (spec 3).
    pub container_gc: ContainerGc,
    /// Sandbox reaping (spec 4).
    pub sandbox_gc: SandboxGc,
    /// Log-directory reaping (spec 5).
    pub log_gc: LogGc,
    /// Image GC (spec 6).
    pub image_gc: ImageGc,
    /// Restarts, hangs, and objects that can't be removed (spec 7).
    pub supervision: Supervision,
    /// The admin socket (spec 10).
    pub admin: Admin,
    /// The endpoint for metrics and health (spec 9).
    pub metrics: Metrics,
    /// Where records and history are kept (spec 6 and 9).
    pub state: State,
    /// What is logged, and how (spec 7).
    pub log: Log,
}

impl Settings {
    /// What the decisions follow: all of the settings that a plan depends on, and nothing else.
    #[must_use]
    pub fn policy(&self) -> Policy {
        Policy {
            unmanaged: self.pods.unmanaged.into(),
            containers: self.container_gc.policy(),
            sandboxes: SandboxPolicy {
                min_age: self.sandbox_gc.min_age,
                evict_terminated_pods: self.container_gc.evict_terminated_pods,
            },
            images: self.image_gc.policy(),
        }
    }

    /// Everything that is out of range or does not fit together; empty if the settings are fit for use. Meant for
    /// settings that were built in the program; [`load`](crate::load) has done this already.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        crate::check::check(self, &Origins::default(), &[])
    }
}

impl From<Unmanaged> for cri_gc_policy::Unmanaged {
    fn from(unmanaged: Unmanaged) -> Self {
        match unmanaged {
            Unmanaged::Keep => Self::Keep,
            Unmanaged::Collect => Self::Collect,
        }
    }
}

/// A count in which a negative number is no limit.
fn limit(count: i64) -> Option<usize> {
    if count < 0 { None } else { Some(usize::try_from(count).unwrap_or(usize::MAX)) }
}
