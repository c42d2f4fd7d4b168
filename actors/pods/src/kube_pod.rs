//! A Kubernetes pod, as far as it matters here: for which UIDs it stands, how far it has come, which images it names.
//!
//! Shared by everything that reads pods as Kubernetes writes them: a `PodList` in a file, the kubelet's, the API server's.
//! A field that may be null is an `Option`.

use cri_gc_policy::PodState;
use ecow::EcoString;
use serde::Deserialize;

/// A pod as Kubernetes writes it.
#[derive(Debug, Clone, Deserialize)]
pub struct KubePod {
    pub kind: Option<String>,
    pub metadata: Metadata,
    spec: Option<Spec>,
    status: Option<Status>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    #[serde(default)]
    pub uid: EcoString,
    #[serde(default)]
    pub name: String,
    #[serde(default)]
    pub namespace: String,
    pub resource_version: Option<String>,
    annotations: Option<Annotations>,
}

/// The annotations that a kubelet writes.
#[derive(Debug, Clone, Deserialize, Default)]
struct Annotations {
    /// Of a mirror pod: the UID that its static pod has on the node.
    #[serde(rename = "kubernetes.io/config.hash")]
    hash: Option<String>,
    #[serde(rename = "kubernetes.io/config.mirror")]
    mirror: Option<String>,
    /// Where the kubelet has the pod from: `api`, `file` or `http`.
    #[serde(rename = "kubernetes.io/config.source")]
    source: Option<String>,
}

#[derive(Debug, Clone, Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct Spec {
    containers: Option<Vec<KubeContainer>>,
    init_containers: Option<Vec<KubeContainer>>,
    ephemeral_containers: Option<Vec<KubeContainer>>,
    volumes: Option<Vec<Volume>>,
}

#[derive(Debug, Clone, Deserialize)]
struct KubeContainer {
    image: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
struct Volume {
    image: Option<ImageVolume>,
}

#[derive(Debug, Clone, Deserialize)]
struct ImageVolume {
    reference: Option<String>,
}

#[derive(Debug, Clone, Deserialize, Default)]
struct Status {
    phase: Option<String>,
    reason: Option<String>,
}

impl KubePod {
    /// All UIDs by which it may be known on the node, with the state that it says of each.
    ///
    /// A mirror pod has another UID than the sandbox of its static pod; its annotations name that one. Every user may write
    /// these on a pod of their own: so they say that a pod exists, and never that it is finished.
    pub fn uids(&self) -> impl Iterator<Item = (&str, PodState)> {
        let state = self.status.as_ref().map_or(PodState::Active, Status::state);
        let mirrored = if state == PodState::Active { PodState::Active } else { PodState::Unknown };
        let named = self.metadata.annotations.iter().flat_map(|known| [&known.hash, &known.mirror]).flatten();
        // A static pod as its kubelet lists it names itself.
        let others = named.map(String::as_str).filter(|uid| !uid.is_empty() && *uid != self.metadata.uid);
        others.map(move |uid| (uid, mirrored)).chain([(self.metadata.uid.as_str(), state)])
    }

    /// The images that its spec names.
    pub fn images(&self) -> impl Iterator<Item = &String> {
        let spec = self.spec.iter();
        let containers = spec
            .clone()
            .flat_map(|spec| [&spec.containers, &spec.init_containers, &spec.ephemeral_containers]);
        let named = containers.flatten().flatten().filter_map(|container| container.image.as_ref());
        let volumes = spec.flat_map(|spec| &spec.volumes).flatten();
        let mounted = volumes.filter_map(|volume| volume.image.as_ref()?.reference.as_ref());
        named.chain(mounted).filter(|image| !image.is_empty())
    }

    /// Whether a kubelet says that it has it from elsewhere than the API server.
    pub fn is_static(&self) -> bool {
        let source = self.metadata.annotations.as_ref().and_then(|known| known.source.as_ref());
        source.is_some_and(|source| source != "api")
    }
}

impl Status {
    fn state(&self) -> PodState {
        match (self.phase.as_deref(), self.reason.as_deref()) {
            (Some("Failed"), Some("Evicted")) => PodState::Evicted,
            (Some("Failed" | "Succeeded"), _) => PodState::Terminated,
            _ => PodState::Active,
        }
    }
}
