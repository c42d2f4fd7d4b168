//! What a plan never has, whatever the node and the policy (behaviour: Never removed). Each property is stated by itself, on the
//! snapshot's own fields, and knows neither the crate's rules nor the oracle's.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test code: failing loudly is its job")]

mod nodes;

use cri_gc_policy::{
    Absent, Container, ContainerState, Image, Plan, PodState, Reason, Sandbox, SandboxState, Section,
    Snapshot, decide,
};
use nodes::{Settings, Size};
use proptest::prelude::*;

fn plan(node: &Snapshot, settings: &Settings) -> Plan {
    decide(&nodes::observe(node), &settings.policy())
}

/// The objects that are removed, with the reason.
fn removed<'a, T>(list: &'a [T], section: &Section) -> Vec<(&'a T, Reason)> {
    section.remove.iter().map(|d| (&list[d.index], d.reason)).collect()
}

fn uid_of<'a>(node: &'a Snapshot, container: &'a Container) -> &'a str {
    if container.pod_uid.is_empty() {
        let sandbox = node.sandboxes.iter().find(|s| s.id == container.pod_sandbox_id);
        sandbox.map_or("", |s| s.pod_uid.as_str())
    } else {
        &container.pod_uid
    }
}

/// Whether something of that pod runs or is ready.
fn runs(node: &Snapshot, uid: &str) -> bool {
    let running = ContainerState::Running;
    let ready = SandboxState::Ready;
    node.containers.iter().any(|c| c.state == running && uid_of(node, c) == uid)
        || node.sandboxes.iter().any(|s| s.state == ready && s.pod_uid == uid)
}

/// What the source says of a UID, if it may be believed.
fn state_of(node: &Snapshot, uid: &str) -> Option<PodState> {
    let listed = node.pods.pods.iter().find(|pod| pod.uid == uid).map(|pod| pod.state);
    let absent = (node.pods.absent == Absent::Deleted).then_some(PodState::Deleted);
    listed.or(absent).filter(|_| node.pods.synced && !runs(node, uid))
}

fn confirmed_deleted_or_evicted(node: &Snapshot, uid: &str) -> bool {
    [Some(PodState::Deleted), Some(PodState::Evicted)].contains(&state_of(node, uid))
}

/// Whether the limits (behaviour: Dead containers; behaviour: Sandboxes) are all that may take something of that pod.
fn lives(node: &Snapshot, settings: &Settings, uid: &str) -> bool {
    let finished = state_of(node, uid) == Some(PodState::Terminated);
    let is_removed_whole =
        confirmed_deleted_or_evicted(node, uid) || (finished && settings.evict_terminated_pods);
    !is_removed_whole
}

fn removes_whole_pods(reason: Reason) -> bool {
    [Reason::PodDeleted, Reason::PodEvicted, Reason::PodTerminated, Reason::UnmanagedCollected]
        .contains(&reason)
}

proptest! {
    #![proptest_config(nodes::config(1_500))]

    #[test]
    fn a_running_container(node in nodes::node(Size::RUNTIME), settings in nodes::settings()) {
        let running: Vec<_> = removed(&node.containers, &plan(&node, &settings).containers)
            .into_iter()
            .filter(|(c, _)| c.state == ContainerState::Running)
            .collect();
        prop_assert!(running.is_empty(), "{running:?}");
    }

    #[test]
    fn a_sandbox_that_is_or_may_be_ready_or_has_a_container(
        node in nodes::node(Size::RUNTIME), settings in nodes::settings()
    ) {
        for (sandbox, _) in removed(&node.sandboxes, &plan(&node, &settings).sandboxes) {
            prop_assert_eq!(sandbox.state, SandboxState::NotReady);
            prop_assert!(node.containers.iter().all(|c| c.pod_sandbox_id != sandbox.id), "{}", sandbox.id);
        }
    }

    #[test]
    fn a_container_of_a_living_pod_beyond_the_limits(
        node in nodes::node(Size::RUNTIME), settings in nodes::settings()
    ) {
        let limited = settings.max_per_pod_container >= 0 || settings.max_containers >= 0;
        for (container, reason) in removed(&node.containers, &plan(&node, &settings).containers) {
            let uid = uid_of(&node, container);
            if !uid.is_empty() && lives(&node, &settings, uid) {
                prop_assert!(!removes_whole_pods(reason) && limited, "{} {reason}", container.id);
            }
        }
    }

    #[test]
    fn the_newest_dead_container_of_a_unit_of_a_living_pod(
        node in nodes::node(Size::RUNTIME), settings in nodes::settings(), keeps in 1i64..4
    ) {
        let settings = Settings { max_per_pod_container: keeps, max_containers: -1, ..settings };
        for (container, _) in removed(&node.containers, &plan(&node, &settings).containers) {
            let uid = uid_of(&node, container);
            if uid.is_empty() || !lives(&node, &settings, uid) {
                continue;
            }
            let newer = |c: &&Container| {
                c.state != ContainerState::Running
                    && (uid_of(&node, c), &c.name) == (uid, &container.name)
                    && (c.created_at, c.attempt) >= (container.created_at, container.attempt)
                    && c.id != container.id
            };
            let newer = node.containers.iter().filter(newer).count();
            prop_assert!(newer >= usize::try_from(keeps).unwrap(), "{} is removed, {newer} are newer", container.id);
        }
    }

    #[test]
    fn the_newest_sandbox_of_a_living_pod(node in nodes::node(Size::RUNTIME), settings in nodes::settings()) {
        for (sandbox, reason) in removed(&node.sandboxes, &plan(&node, &settings).sandboxes) {
            if sandbox.pod_uid.is_empty() || !lives(&node, &settings, &sandbox.pod_uid) {
                continue;
            }
            let newer = |s: &Sandbox| {
                s.pod_uid == sandbox.pod_uid
                    && s.id != sandbox.id
                    && (s.created_at, s.attempt) >= (sandbox.created_at, sandbox.attempt)
            };
            prop_assert!(node.sandboxes.iter().any(newer), "{} is removed for {reason}", sandbox.id);
        }
    }

    #[test]
    fn a_log_directory_of_a_pod_that_is_not_confirmed_deleted_or_evicted(
        node in nodes::node(Size::RUNTIME), settings in nodes::settings()
    ) {
        for (name, _) in removed(&node.log_dirs, &plan(&node, &settings).log_dirs) {
            let uid = name.rsplit('_').next().unwrap();
            prop_assert!(confirmed_deleted_or_evicted(&node, uid), "{name}");
            prop_assert!(uid.len() == 36 || uid.len() == 32, "{name}");
            prop_assert!(!name.starts_with('_'), "{name}");
        }
    }

    #[test]
    fn anything_for_a_pods_sake_while_the_source_is_not_synced(
        node in nodes::node(Size::ALL), settings in nodes::settings()
    ) {
        let mut node = node;
        node.pods.synced = false;
        let plan = plan(&node, &settings);
        prop_assert!(plan.log_dirs.remove.is_empty());
        let reasons = plan.containers.remove.iter().chain(&plan.sandboxes.remove).map(|d| d.reason);
        for reason in reasons {
            prop_assert!(!removes_whole_pods(reason), "{reason}");
        }
    }

    #[test]
    fn an_unmanaged_object_that_is_to_be_kept(node in nodes::node(Size::RUNTIME), settings in nodes::settings()) {
        let settings = Settings { collect_unmanaged: false, ..settings };
        let plan = plan(&node, &settings);
        for (container, _) in removed(&node.containers, &plan.containers) {
            prop_assert!(!uid_of(&node, container).is_empty(), "{}", container.id);
        }
        for (sandbox, _) in removed(&node.sandboxes, &plan.sandboxes) {
            prop_assert!(!sandbox.pod_uid.is_empty(), "{}", sandbox.id);
        }
    }

    #[test]
    fn an_image_in_use(node in nodes::node(Size::IMAGES), settings in nodes::settings()) {
        for (image, _) in removed(&node.images, &plan(&node, &settings).images.section) {
            for container in &node.containers {
                let resolved = [&container.image_id, &container.image_ref];
                for used in resolved.into_iter().chain(&container.image_volumes) {
                    prop_assert!(!is_called(image, used), "{} is used by {}", image.id, container.id);
                }
                // A tag may have moved on, so it counts only where nothing else says what the container was made of.
                let known = resolved.into_iter().any(|text| node.images.iter().any(|i| means(i, text)));
                prop_assert!(known || !is_called(image, &container.image), "{} by {}", image.id, container.id);
            }
        }
    }

    #[test]
    fn an_image_that_the_spec_of_a_running_pod_names(
        node in nodes::node(Size::IMAGES), settings in nodes::settings()
    ) {
        for (image, _) in removed(&node.images, &plan(&node, &settings).images.section) {
            for pod in &node.pods.pods {
                let active = runs(&node, &pod.uid) || pod.state == PodState::Active;
                let names = pod.images.iter().any(|name| is_called(image, name));
                prop_assert!(!(active && names), "{} is named by {}", image.id, pod.uid);
            }
        }
    }

    #[test]
    fn an_image_that_is_pinned_or_the_sandbox_image(
        node in nodes::node(Size::IMAGES), settings in nodes::settings()
    ) {
        for (image, _) in removed(&node.images, &plan(&node, &settings).images.section) {
            prop_assert!(!image.pinned, "{}", image.id);
            prop_assert!(!is_called(image, &node.runtime.sandbox_image), "{}", image.id);
        }
    }

    #[test]
    fn a_protected_image(node in nodes::node(Size::IMAGES), settings in nodes::settings()) {
        for (image, _) in removed(&node.images, &plan(&node, &settings).images.section) {
            for pattern in &settings.protect {
                prop_assert!(!plainly_matches(pattern, image), "{pattern} matches {image:?}");
            }
        }
    }

    #[test]
    fn any_image_while_image_gc_is_off(node in nodes::node(Size::IMAGES), settings in nodes::settings()) {
        let settings = Settings { high: 100, inode_high: 100, image_max_age: 0, ..settings };
        let plan = plan(&node, &settings).images;
        prop_assert!(plan.section.remove.is_empty());
    }

    #[test]
    fn an_image_too_young(node in nodes::node(Size::IMAGES), settings in nodes::settings()) {
        for (image, _) in removed(&node.images, &plan(&node, &settings).images.section) {
            let age = node.taken_at.duration_since(image.first_detected.unwrap_or(node.taken_at));
            prop_assert!(age.as_millis() >= i128::from(settings.image_min_age), "{} {age:?}", image.id);
        }
    }

    #[test]
    fn more_images_for_space_than_the_sizes_ask_for(
        node in nodes::node(Size::IMAGES), settings in nodes::settings()
    ) {
        let settings = Settings { inode_high: 100, ..settings };
        let plan = plan(&node, &settings).images;
        let gone = removed(&node.images, &plan.section);
        if let Some(((_, Reason::DiskPressure), before)) = gone.split_last() {
            // What is removed for its age frees space before the filesystems are judged.
            let for_space = before.iter().filter(|(_, reason)| *reason == Reason::DiskPressure);
            let freed: u64 = for_space.map(|(image, _)| image.size_bytes).sum();
            prop_assert!(freed < plan.missing.bytes, "{freed} of {} were freed", plan.missing.bytes);
        }
    }
}

/// Whether that is the image's id or one of its names.
fn is_called(image: &Image, text: &str) -> bool {
    let mut names = image.repo_tags.iter().chain(&image.repo_digests);
    image.id == text || names.any(|name| name == text)
}

/// The same, or it has that digest in whatever repository.
fn means(image: &Image, text: &str) -> bool {
    let digest = |name: &str| name.split_once('@').map(|(_, digest)| digest.to_owned());
    let same = |name: &String| digest(text).is_some() && digest(name) == digest(text);
    is_called(image, text) || image.repo_digests.iter().any(same)
}

/// What needs no matcher to see: whole names, repos, and a `*` at the end.
fn plainly_matches(pattern: &str, image: &Image) -> bool {
    let mut names = image.repo_tags.iter().chain(&image.repo_digests);
    is_called(image, pattern)
        || names.any(|name| match pattern.strip_suffix('*') {
            Some(head) => name.starts_with(head),
            None => name.starts_with(&format!("{pattern}:")) || name.starts_with(&format!("{pattern}@")),
        })
}
