//! From the wire types of the CRI to the values that decisions are made on. What cannot be true (an object without an
//! id, a state outside the enumeration) is turned into what keeps more. Nothing here asks a runtime: what a runtime might answer is
//! converted in tests without one.

use std::hash::BuildHasher as _;
use std::sync::Arc;

use cri_gc_policy::containers::Status;
use cri_gc_policy::usage::Layer;
use cri_gc_policy::{Container, ContainerState, Image, Sandbox, SandboxState};
use cri_gc_proto::{CONTAINER_NAME_LABEL, POD_NAME_LABEL, POD_NAMESPACE_LABEL, POD_UID_LABEL, cri};
use ecow::EcoString;
use foldhash::fast::RandomState;
use foldhash::{HashMap, HashMapExt as _, HashSet};
use jiff::Timestamp;

use crate::answers::{ContainerFacts, ContainerLayer, FsPlaces, Sibling};
use crate::shared::Texts;

/// Nanoseconds since the epoch; 0 and less mean "not known".
fn time(nanoseconds: i64) -> Option<Timestamp> {
    if nanoseconds <= 0 { None } else { Timestamp::from_nanosecond(i128::from(nanoseconds)).ok() }
}

fn label<'a>(labels: &'a [cri::Pair], key: &str) -> &'a str {
    labels.iter().find(|pair| pair.key == key).map_or("", |pair| &pair.value)
}

fn container_state(state: i32) -> ContainerState {
    match cri::ContainerState::try_from(state) {
        Ok(cri::ContainerState::ContainerCreated) => ContainerState::Created,
        Ok(cri::ContainerState::ContainerExited) => ContainerState::Exited,
        Ok(cri::ContainerState::ContainerUnknown) => ContainerState::Unknown,
        // A state that a newer CRI may add: whatever it means, such a container is not known to be dead.
        Ok(cri::ContainerState::ContainerRunning) | Err(_) => ContainerState::Running,
    }
}

/// The state of a sandbox. One that is in no version of the CRI that is known here is unknown.
#[must_use]
pub fn sandbox_state(state: i32) -> SandboxState {
    match cri::PodSandboxState::try_from(state) {
        Ok(cri::PodSandboxState::SandboxReady) => SandboxState::Ready,
        Ok(cri::PodSandboxState::SandboxNotready) => SandboxState::NotReady,
        Err(_) => SandboxState::Unknown,
    }
}

/// Each object once, however often a list has it. `merge` takes a repetition into what is there. What has no id is no repetition of
/// anything.
fn once<T>(all: Vec<T>, key: impl Fn(&T) -> (&str, &str), merge: impl Fn(&mut T, T)) -> Vec<T> {
    let hasher = RandomState::default();
    let mut seen: HashSet<u64> = HashSet::with_capacity_and_hasher(all.len(), RandomState::default());
    // Nearly always. Two that only have a hash in common are distinguished below.
    if all.iter().map(&key).all(|key| key.0.is_empty() || seen.insert(hasher.hash_one(key))) {
        return all;
    }
    drop(seen);
    let (mut each, mut places) = (Vec::with_capacity(all.len()), HashMap::new());
    for one in all {
        let next = each.len();
        let place = match key(&one) {
            ("", _) => next,
            (id, handler) => *places.entry((id.to_owned(), handler.to_owned())).or_insert(next),
        };
        match each.get_mut(place) {
            Some(known) => merge(known, one),
            None => each.push(one),
        }
    }
    each
}

/// Each container once. Of one that is listed twice, the state that keeps more counts.
pub(crate) fn each_container(all: Vec<Arc<Container>>) -> Vec<Arc<Container>> {
    each_of(all, |container| container)
}

/// The same of whatever has a container.
fn each_of<T>(all: Vec<T>, container: impl Fn(&T) -> &Container) -> Vec<T> {
    let merge = |known: &mut T, again: T| {
        if liveliness(container(&again)) > liveliness(container(known)) {
            *known = again;
        }
    };
    once(all, |one| (&container(one).id, ""), merge)
}

/// A list of containers with where their logs are.
#[must_use]
pub fn siblings(from: Vec<cri::Container>) -> Vec<Sibling> {
    let mut texts = Texts::default();
    let sibling = |from: cri::Container| Sibling {
        kubelet_log: kubelet_log(&from),
        container: container(from, &mut texts),
    };
    each_of(from.into_iter().map(sibling).collect(), |sibling| &sibling.container)
}

fn liveliness(container: &Container) -> u8 {
    match container.state {
        ContainerState::Running => 3,
        ContainerState::Unknown => 2,
        ContainerState::Created => 1,
        ContainerState::Exited => 0,
    }
}

/// Each sandbox once. Of one that is listed twice, the state that keeps more counts.
pub(crate) fn each_sandbox(all: Vec<Arc<Sandbox>>) -> Vec<Arc<Sandbox>> {
    let merge = |known: &mut Arc<Sandbox>, again: Arc<Sandbox>| {
        if known.state == SandboxState::NotReady {
            *known = again;
        }
    };
    once(all, |sandbox| (&sandbox.id, ""), merge)
}

/// Each image once. One that is listed twice for the same runtime handler has the names of both.
pub(crate) fn each_image(all: Vec<Arc<Image>>) -> Vec<Arc<Image>> {
    let merge = |known: &mut Arc<Image>, again: Arc<Image>| {
        let known = Arc::make_mut(known);
        for (names, more) in
            [(&mut known.repo_tags, &again.repo_tags), (&mut known.repo_digests, &again.repo_digests)]
        {
            let new: Vec<String> = more.iter().filter(|name| !names.contains(name)).cloned().collect();
            names.extend(new);
        }
        known.pinned |= again.pinned;
        known.size_bytes = known.size_bytes.max(again.size_bytes);
    };
    once(all, |image| image.key(), merge)
}

/// Where a kubelet has the log of its container written: `NAMESPACE_NAME_UID/CONTAINER/ATTEMPT.log`.
fn kubelet_log(container: &cri::Container) -> Option<String> {
    let label = |key: &str| {
        let value = container.labels.iter().find(|pair| pair.key == key).map(|pair| pair.value.as_str());
        // A part that is a path of its own is nothing that a kubelet wrote.
        value.filter(|value| !value.is_empty() && !value.contains('/') && *value != "." && *value != "..")
    };
    let (namespace, pod, uid) = (label(POD_NAMESPACE_LABEL)?, label(POD_NAME_LABEL)?, label(POD_UID_LABEL)?);
    let metadata = container.metadata.as_ref()?;
    let name = label(CONTAINER_NAME_LABEL).filter(|name| *name == metadata.name)?;
    Some(format!("{namespace}_{pod}_{uid}/{name}/{}.log", metadata.attempt))
}

pub(crate) fn container(from: cri::Container, texts: &mut Texts) -> Container {
    let metadata = from.metadata.unwrap_or_default();
    // One without an id can't be removed, and must not count as a newer one of its name.
    let state = if from.id.is_empty() { ContainerState::Running } else { container_state(from.state) };
    Container {
        id: from.id.into(),
        pod_uid: texts.get(label(&from.labels, POD_UID_LABEL)),
        pod_sandbox_id: texts.get(&from.pod_sandbox_id),
        name: texts.get(&metadata.name),
        attempt: metadata.attempt,
        state,
        created_at: time(from.created_at),
        finished_at: None,
        image: texts.get(from.image.as_ref().map_or("", |image| &image.image)),
        image_ref: texts.get(&from.image_ref),
        image_id: texts.get(&from.image_id),
        image_volumes: Vec::new(),
        log_path: EcoString::new(),
    }
}

pub(crate) fn sandbox(from: cri::BarePodSandbox, texts: &mut Texts) -> Sandbox {
    let metadata = from.metadata.unwrap_or_default();
    Sandbox {
        id: from.id.into(),
        pod_uid: texts.get(&metadata.uid),
        namespace: texts.get(&metadata.namespace),
        name: texts.get(&metadata.name),
        attempt: metadata.attempt,
        state: sandbox_state(from.state),
        created_at: time(from.created_at),
        unlisted: false,
    }
}

pub(crate) fn image(from: cri::Image) -> Image {
    Image {
        id: from.id,
        runtime_handler: from.spec.map(|spec| spec.runtime_handler).unwrap_or_default(),
        repo_tags: from.repo_tags,
        repo_digests: from.repo_digests,
        size_bytes: from.size,
        pinned: from.pinned,
        first_detected: None,
        last_used: None,
        in_use_elsewhere: false,
    }
}

/// The status of one container.
#[must_use]
pub fn container_facts(from: cri::ContainerStatus) -> ContainerFacts {
    let mounted = from.mounts.into_iter().filter_map(|mount| mount.image);
    let mounted = mounted.map(|spec| spec.image.into()).filter(|image: &EcoString| !image.is_empty());
    ContainerFacts {
        status: Status {
            state: container_state(from.state),
            created_at: time(from.created_at),
            finished_at: time(from.finished_at),
        },
        log_path: from.log_path,
        image_volumes: mounted.collect(),
    }
}

/// Where images and containers are stored. A filesystem without a mountpoint is left out.
#[must_use]
pub fn fs_places(from: cri::ImageFsInfoResponse) -> FsPlaces {
    let places = |list: Vec<cri::FilesystemUsage>| -> Vec<String> {
        let named = list.into_iter().filter_map(|usage| usage.fs_id).map(|id| id.mountpoint);
        named.filter(|mountpoint| !mountpoint.is_empty()).collect()
    };
    let counted = from.image_filesystems.iter().filter_map(|usage| usage.used_bytes.as_ref());
    let used_bytes = counted.fold(0u64, |sum, used| sum.saturating_add(used.value));
    let images = places(from.image_filesystems);
    let containers = places(from.container_filesystems);
    // containerd names the directory of its snapshotter, and counts what is in there.
    let excludes_content = images.iter().any(|mountpoint| mountpoint.contains("snapshotter"));
    let containers = if containers.is_empty() { images.clone() } else { containers };
    FsPlaces { containers, images, used_bytes, excludes_content }
}

/// The writable layers of containers. Without the time at which it was counted, a layer is not counted yet.
#[must_use]
pub fn container_layers(from: Vec<cri::ContainerStats>) -> Vec<ContainerLayer> {
    let value = |value: Option<cri::UInt64Value>| value.map(|value| value.value);
    let layer = |usage: cri::FilesystemUsage| {
        let inodes = value(usage.inodes_used).unwrap_or_default();
        value(usage.used_bytes).filter(|_| usage.timestamp > 0).map(|bytes| Layer { bytes, inodes })
    };
    let layers = from.into_iter().filter_map(|stats| {
        let container = stats.attributes?.id;
        Some(ContainerLayer { container, layer: stats.writable_layer.and_then(layer) })
    });
    layers.filter(|layer| !layer.container.is_empty()).collect()
}

/// The sandbox image out of the verbose status: key "config", JSON, `sandboxImage` (containerd).
#[must_use]
pub fn sandbox_image(status: &cri::StatusResponse) -> String {
    let config = status.info.iter().find(|pair| pair.key == "config").map_or("", |pair| pair.value.as_str());
    let config: serde_json::Value = serde_json::from_str(config).unwrap_or_default();
    config.get("sandboxImage").and_then(serde_json::Value::as_str).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::Sharing;

    #[test]
    fn a_state_that_is_not_known_is_never_taken_for_a_dead_one() {
        assert_eq!(container_state(17), ContainerState::Running);
        assert_eq!(sandbox_state(17), SandboxState::Unknown);
    }

    #[test]
    fn what_a_list_has_twice_is_there_once_and_in_the_state_that_keeps_more() {
        let container = |id: &str, state| cri::Container { id: id.to_owned(), state, ..Default::default() };
        let exited = cri::ContainerState::ContainerExited as i32;
        let running = cri::ContainerState::ContainerRunning as i32;
        let once = |all: Vec<cri::Container>| {
            each_container(all.into_iter().map(Sharing::default().item()).collect())
        };
        let all = once(vec![container("a", exited), container("b", exited), container("a", running)]);
        let all: Vec<_> = all.iter().map(|one| (one.id.as_str(), one.state)).collect();
        assert_eq!(all, [("a", ContainerState::Running), ("b", ContainerState::Exited)]);
        assert_eq!(
            once(vec![container("", running), container("", exited)]).len(),
            2,
            "no id, no repetition"
        );
        let sandbox = |state| cri::BarePodSandbox { id: "s".to_owned(), state, ..Default::default() };
        let twice = [cri::PodSandboxState::SandboxNotready, cri::PodSandboxState::SandboxReady];
        let twice = twice.map(|state| sandbox(state as i32));
        let all = each_sandbox(twice.into_iter().map(Sharing::default().item()).collect());
        assert_eq!((all.len(), all[0].state), (1, SandboxState::Ready));
        let image = |tag: &str, pinned| cri::Image {
            id: "i".to_owned(),
            repo_tags: vec![tag.to_owned()],
            pinned,
            ..Default::default()
        };
        let all = vec![image("a:1", false), image("a:2", true), image("a:1", false)];
        let all = each_image(all.into_iter().map(Sharing::default().item()).collect());
        assert_eq!((all.len(), all[0].pinned), (1, true));
        assert_eq!(all[0].repo_tags, ["a:1", "a:2"]);
    }

    #[test]
    fn a_time_of_zero_is_not_known() {
        assert_eq!(time(0), None);
        assert_eq!(time(-5), None);
        assert_eq!(time(1_000_000_000), Some(Timestamp::from_second(1).unwrap()));
    }

    #[test]
    fn a_layer_without_a_time_is_not_counted_yet() {
        let stats = |id: &str, timestamp, used: Option<u64>| cri::ContainerStats {
            attributes: Some(cri::ContainerAttributes { id: id.to_owned(), ..Default::default() }),
            writable_layer: Some(cri::FilesystemUsage {
                timestamp,
                used_bytes: used.map(|value| cri::UInt64Value { value }),
                inodes_used: Some(cri::UInt64Value { value: 3 }),
                ..Default::default()
            }),
        };
        let all =
            [stats("a", 5, Some(7)), stats("b", 0, Some(0)), stats("c", 5, None), stats("", 5, Some(1))];
        let bare = cri::ContainerStats { writable_layer: None, ..stats("d", 5, None) };
        let layers =
            container_layers(all.into_iter().chain([bare, cri::ContainerStats::default()]).collect());
        let layers: Vec<_> = layers.iter().map(|one| (one.container.as_str(), one.layer)).collect();
        let known = Layer { bytes: 7, inodes: 3 };
        assert_eq!(layers, [("a", Some(known)), ("b", None), ("c", None), ("d", None)]);
    }

    #[test]
    fn the_sandbox_image_is_read_from_the_verbose_status() {
        let status = |key: &str, value: &str| cri::StatusResponse {
            info: vec![cri::Pair { key: key.to_owned(), value: value.to_owned() }],
            ..Default::default()
        };
        assert_eq!(sandbox_image(&status("config", r#"{"sandboxImage": "pause:3.9"}"#)), "pause:3.9");
        assert_eq!(sandbox_image(&status("config", r#"{"other": 1}"#)), "");
        assert_eq!(sandbox_image(&status("config", "no json")), "");
        assert_eq!(sandbox_image(&status("golang", "{}")), "");
    }

    #[test]
    fn the_usage_of_a_snapshotter_is_added_to_the_sizes_of_images() {
        let held = |mountpoint: &str| {
            let usage = cri::FilesystemUsage {
                fs_id: Some(cri::FilesystemIdentifier { mountpoint: mountpoint.to_owned() }),
                used_bytes: Some(cri::UInt64Value { value: 30 }),
                ..Default::default()
            };
            let answer = cri::ImageFsInfoResponse { image_filesystems: vec![usage], ..Default::default() };
            fs_places(answer).held_by_images(100)
        };
        assert_eq!(held("/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs"), 130);
        assert_eq!(held("/var/lib/containers/storage/overlay-images"), 100);
    }

    #[test]
    fn without_a_file_system_of_their_own_containers_lie_with_the_images() {
        let usage = |mountpoint: &str| cri::FilesystemUsage {
            fs_id: Some(cri::FilesystemIdentifier { mountpoint: mountpoint.to_owned() }),
            ..Default::default()
        };
        let answer = cri::ImageFsInfoResponse { image_filesystems: vec![usage("/i")], ..Default::default() };
        let there = vec!["/i".to_owned()];
        assert_eq!(
            fs_places(answer),
            FsPlaces { images: there.clone(), containers: there, ..FsPlaces::default() }
        );
    }
}
