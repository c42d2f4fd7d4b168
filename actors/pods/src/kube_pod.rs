//! A Kubernetes pod, as far as it matters here: which UIDs it stands for, how far it has come, which images it names.
//!
//! Shared by everything that reads pods as Kubernetes writes them: a `PodList` in a file, the kubelet's, the API server's.
//! A field that may be null is an `Option`.

use std::collections::HashMap;

use cri_gc_policy::PodState;
use serde::Deserialize;

/// The annotations of a mirror pod that name the UID which its static pod bears on the node.
const MIRRORED: [&str; 2] = ["kubernetes.io/config.hash", "kubernetes.io/config.mirror"];

/// The annotation by which a kubelet says where it has a pod from: `api`, `file` or `http`.
const SOURCE: &str = "kubernetes.io/config.source";

/// What a pod tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedPod {
    /// `metadata.uid`.
    pub uid: String,
    /// The UIDs that its sandboxes may bear instead: those that a mirror pod names.
    pub mirrored: Vec<String>,
    /// How far it has come by its phase.
    pub state: PodState,
    /// The images that its spec names.
    pub images: Vec<String>,
    /// Whether a kubelet says that it has it from elsewhere than the API server.
    pub is_static: bool,
}

impl ListedPod {
    /// All UIDs by which it may be known on the node, with what it tells of each. Anybody may write the annotations of a
    /// mirror pod on a pod of their own: so they say that a pod is there, and never that it is finished.
    pub fn uids(&self) -> impl Iterator<Item = (&str, PodState)> {
        let mirrored = if self.state == PodState::Active { PodState::Active } else { PodState::Unknown };
        let others = self.mirrored.iter().map(move |uid| (uid.as_str(), mirrored));
        others.chain([(self.uid.as_str(), self.state)])
    }
}

/// A pod as Kubernetes writes it.
#[derive(Debug, Clone, Deserialize)]
pub struct KubePod {
    pub kind: Option<String>,
    metadata: Metadata,
    #[serde(default)]
    spec: Option<Spec>,
    #[serde(default)]
    status: Option<Status>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(
    not(feature = "kubernetes"),
    expect(dead_code, reason = "only the source kube-api needs all of it")
)]
struct Metadata {
    #[serde(default)]
    uid: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    namespace: String,
    resource_version: Option<String>,
    annotations: Option<HashMap<String, String>>,
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

#[cfg(feature = "kubernetes")]
impl KubePod {
    /// `metadata.resourceVersion`.
    pub fn version(&self) -> Option<String> {
        self.metadata.resource_version.clone()
    }

    /// `metadata.namespace` and `metadata.name`.
    pub fn name(&self) -> (&str, &str) {
        (&self.metadata.namespace, &self.metadata.name)
    }
}

impl From<KubePod> for ListedPod {
    fn from(pod: KubePod) -> Self {
        let annotations = pod.metadata.annotations.unwrap_or_default();
        // A mirror pod bears another UID than the sandbox of its static pod; its annotations name that one.
        let mut mirrored: Vec<String> = MIRRORED
            .iter()
            .filter_map(|key| annotations.get(*key))
            .filter(|uid| !uid.is_empty())
            .cloned()
            .collect();
        // A static pod as its kubelet lists it names itself.
        mirrored.retain(|uid| *uid != pod.metadata.uid);
        Self {
            mirrored,
            state: pod.status.unwrap_or_default().state(),
            images: pod.spec.unwrap_or_default().images(),
            is_static: annotations.get(SOURCE).is_some_and(|source| source != "api"),
            uid: pod.metadata.uid,
        }
    }
}

impl Spec {
    fn images(self) -> Vec<String> {
        let containers = [self.containers, self.init_containers, self.ephemeral_containers];
        let named = containers.into_iter().flatten().flatten().filter_map(|container| container.image);
        let volumes = self.volumes.into_iter().flatten().filter_map(|volume| volume.image?.reference);
        named.chain(volumes).filter(|image| !image.is_empty()).collect()
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
