//! Model to messages, and back. No rule of the node is in here.

use std::collections::{BTreeMap, HashMap};

use cri_gc_policy::{ContainerState, SandboxState};
use cri_gc_proto::cri;
use jiff::Timestamp;
use prost::Message;

use crate::model::{Container, Image, ImageVolume, Node, Sandbox};
use crate::options::Flavour;
use crate::space::Space;

/// What CRI-O reports for a time that it does not know: year 1, counted from 1970 as Go does, with its overflow.
const NO_TIME: i64 = -6_795_364_578_871_345_152;

/// Nanoseconds since the epoch; 0 for a time that is not known.
pub(super) fn nanos(at: Option<Timestamp>) -> i64 {
    at.map_or(0, |at| i64::try_from(at.as_nanosecond()).unwrap_or(i64::MAX))
}

pub(super) fn pairs(labels: &BTreeMap<String, String>) -> Vec<cri::Pair> {
    labels.iter().map(|(key, value)| cri::Pair { key: key.clone(), value: value.clone() }).collect()
}

/// Bytes that a map of annotations takes as a field of a message.
pub(super) fn map_bytes(map: &HashMap<String, String>) -> usize {
    let entry = |(key, value): (&String, &String)| {
        let pair = cri::Pair { key: key.clone(), value: value.clone() };
        // One more for the tag of the field.
        pair.encode_length_delimited_to_vec().len() + 1
    };
    map.iter().map(entry).sum()
}

/// Whether all of `selector` is among `labels`.
pub(super) fn selected(labels: &BTreeMap<String, String>, selector: &HashMap<String, String>) -> bool {
    selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}

pub(super) fn container_state(state: ContainerState) -> cri::ContainerState {
    match state {
        ContainerState::Created => cri::ContainerState::ContainerCreated,
        ContainerState::Running => cri::ContainerState::ContainerRunning,
        ContainerState::Exited => cri::ContainerState::ContainerExited,
        ContainerState::Unknown => cri::ContainerState::ContainerUnknown,
    }
}

pub(super) fn sandbox_state(state: SandboxState) -> cri::PodSandboxState {
    match state {
        SandboxState::Ready => cri::PodSandboxState::SandboxReady,
        SandboxState::NotReady | SandboxState::Unknown => cri::PodSandboxState::SandboxNotready,
    }
}

pub(super) fn sandbox_metadata(sandbox: &Sandbox) -> cri::PodSandboxMetadata {
    cri::PodSandboxMetadata {
        name: sandbox.spec.name.clone(),
        uid: sandbox.spec.uid.clone(),
        namespace: sandbox.spec.namespace.clone(),
        attempt: sandbox.spec.attempt,
    }
}

pub(super) fn sandbox(sandbox: &Sandbox) -> cri::PodSandbox {
    cri::PodSandbox {
        id: sandbox.id.clone(),
        metadata: Some(sandbox_metadata(sandbox)),
        state: sandbox_state(sandbox.spec.state).into(),
        created_at: nanos(Some(sandbox.created_at)),
        labels: pairs(&sandbox.spec.labels),
        runtime_handler: sandbox.spec.runtime_handler.clone(),
    }
}

pub(super) fn sandbox_status(sandbox: &Sandbox) -> cri::PodSandboxStatus {
    cri::PodSandboxStatus {
        id: sandbox.id.clone(),
        metadata: Some(sandbox_metadata(sandbox)),
        state: sandbox_state(sandbox.spec.state).into(),
        created_at: nanos(Some(sandbox.created_at)),
    }
}

pub(super) fn container(node: &Node, container: &Container) -> cri::Container {
    let options = &node.options;
    let has_id = options.flavour == Flavour::CriO && options.container_image_ids;
    cri::Container {
        id: container.id.clone(),
        pod_sandbox_id: container.spec.sandbox.clone(),
        metadata: Some(container_metadata(container)),
        image: Some(image_spec(&container.spec.image)),
        image_ref: container.image_ref.clone(),
        state: container_state(container.spec.state).into(),
        created_at: nanos(Some(node.listed_created_at(container))),
        labels: pairs(&container.spec.labels),
        image_id: if has_id { container.image_id.clone() } else { String::new() },
    }
}

pub(super) fn image_spec(image: &str) -> cri::ImageSpec {
    cri::ImageSpec { image: image.to_owned(), runtime_handler: String::new() }
}

pub(super) fn container_status(node: &Node, container: &Container) -> cri::ContainerStatus {
    let crio = node.options.flavour == Flavour::CriO;
    let unset = if crio && container.spec.state == ContainerState::Exited { NO_TIME } else { 0 };
    let time = |at: Option<Timestamp>| at.map_or(unset, |at| nanos(Some(at)));
    // CRI-O reports a name that the image has now.
    let name = node.image(&container.image_id).and_then(|image| image.tags.first()).filter(|_| crio);
    let mount = |volume: &ImageVolume| cri::Mount {
        container_path: "/volume".to_owned(),
        readonly: true,
        image: Some(image_spec(&volume.image)),
    };
    cri::ContainerStatus {
        id: container.id.clone(),
        metadata: Some(container_metadata(container)),
        state: container_state(container.spec.state).into(),
        created_at: nanos(Some(container.created_at)),
        started_at: time(container.spec.started_at),
        finished_at: time(container.spec.finished_at),
        image: Some(image_spec(name.unwrap_or(&container.spec.image))),
        image_ref: container.image_ref.clone(),
        mounts: container.volumes.iter().map(mount).collect(),
        log_path: container.log_path.to_string_lossy().into_owned(),
    }
}

/// What a container uses: of processes nothing is modelled. containerd reports what it counted last, and 0 bytes at no time of a
/// container that was made since; CRI-O counts at once, and leaves out what has exited.
pub(super) fn container_stats(node: &Node, container: &Container) -> Option<cri::ContainerStats> {
    let mountpoint = node.paths.containers_fs.to_string_lossy();
    let usage = match node.options.flavour {
        Flavour::CriO if container.spec.state == ContainerState::Exited => return None,
        Flavour::CriO => filesystem_usage(&mountpoint, container.spec.writable, node.now()),
        Flavour::Containerd16 | Flavour::Containerd21 => match node.counted.layers.get(&container.id) {
            Some(layer) => filesystem_usage(&mountpoint, *layer, node.counted.at),
            None => cri::FilesystemUsage {
                timestamp: 0,
                ..filesystem_usage(&mountpoint, Space::default(), node.counted.at)
            },
        },
    };
    Some(cri::ContainerStats {
        attributes: Some(cri::ContainerAttributes {
            id: container.id.clone(),
            metadata: Some(container_metadata(container)),
            labels: pairs(&container.spec.labels),
        }),
        writable_layer: Some(usage),
    })
}

pub(super) fn filesystem_usage(mountpoint: &str, used: Space, at: Timestamp) -> cri::FilesystemUsage {
    cri::FilesystemUsage {
        timestamp: nanos(Some(at)),
        fs_id: Some(cri::FilesystemIdentifier { mountpoint: mountpoint.to_owned() }),
        used_bytes: Some(cri::UInt64Value { value: used.bytes }),
        inodes_used: Some(cri::UInt64Value { value: used.inodes }),
    }
}

fn container_metadata(container: &Container) -> cri::ContainerMetadata {
    cri::ContainerMetadata { name: container.spec.name.clone(), attempt: container.spec.attempt }
}

pub(super) fn image(image: &Image) -> cri::Image {
    cri::Image {
        id: image.id.clone(),
        repo_tags: image.tags.clone(),
        repo_digests: image.digests.clone(),
        size: image.size_bytes,
        spec: None,
        pinned: image.pinned,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn annotations_count_as_the_map_field_they_are() {
        let map: HashMap<String, String> =
            [("k".to_owned(), "v".repeat(200)), ("key".to_owned(), String::new())].into();
        // The same map in the request, where it is a field with a one-byte tag.
        let request = cri::ContainerConfig { annotations: map.clone(), ..Default::default() };
        // An empty value is left out of the entry by a Pair, and by prost's maps as well.
        assert_eq!(map_bytes(&map), request.encoded_len());
    }
}
