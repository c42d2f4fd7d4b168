//! The RPCs by name, as faults, hooks and the journal speak of them.

use std::fmt;

/// One RPC of the CRI subset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each variant is the RPC of that name; the .proto file says what it does")]
pub enum Method {
    Version,
    Status,
    ListPodSandbox,
    PodSandboxStatus,
    StopPodSandbox,
    RemovePodSandbox,
    ListContainers,
    ContainerStatus,
    StopContainer,
    RemoveContainer,
    RunPodSandbox,
    CreateContainer,
    StartContainer,
    ListContainerStats,
    ListImages,
    ImageStatus,
    RemoveImage,
    ImageFsInfo,
}

impl fmt::Display for Method {
    /// The name of the RPC.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
