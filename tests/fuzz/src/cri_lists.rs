//! Lists of a runtime: containers, sandboxes and images, from the bytes of an answer to what decisions are made on.

use std::collections::HashSet;
use std::sync::Arc;

use cri_gc_gateway::{Listed, convert, read};
use cri_gc_policy::{
    Absent, Container, ContainerState, Image, Observation, Pods, Sandbox, SandboxState, decide,
};
use cri_gc_proto::{POD_UID_LABEL, cri};
use jiff::Timestamp;
use prost::Message;

/// The first byte says what is listed, the others are the answer. Each object that the answer has is there once, none that it does not have,
/// and with a state that keeps it if one of its entries says so: an object that runs, or is in a state that is not known here, is never
/// dead; one without an id is never removed. A text that is not UTF-8 refuses the whole answer.
pub fn cri_lists(data: &[u8]) {
    let Some((kind, answer)) = data.split_first() else { return };
    match kind % 3 {
        0 => list_containers(answer),
        1 => list_sandboxes(answer),
        _ => list_images(answer),
    }
}

/// An answer as prost decodes it, and the objects that it becomes. The same with one more object whose id is not UTF-8 is none.
fn decoded<M: Message + Default, T: Listed>(answer: &[u8]) -> Option<(M, Vec<Arc<T>>)> {
    let (whole, objects) = (M::decode(answer).ok()?, read(answer).ok()?);
    // Field 1, of two times two bytes: field 1 in it, which is the id in all lists.
    let broken = [answer, b"\x0a\x04\x0a\x02\xc3\x28"].concat();
    assert!(read::<T>(&broken).is_err(), "an answer with a text that is not UTF-8 is read");
    Some((whole, objects))
}

/// The ids, but for those that are empty; and how many there are.
fn ids<'a>(all: impl Iterator<Item = &'a str>) -> (HashSet<&'a str>, usize) {
    let all: Vec<&str> = all.collect();
    let known: HashSet<&str> = all.iter().copied().filter(|id| !id.is_empty()).collect();
    let without = all.iter().filter(|id| id.is_empty()).count();
    let count = known.len() + without;
    (known, count)
}

fn at(nanoseconds: i64) -> Option<Timestamp> {
    (nanoseconds > 0).then(|| Timestamp::from_nanosecond(i128::from(nanoseconds)).unwrap())
}

/// Whether a container in that state has ended, or may be removed otherwise.
fn is_dead(state: i32) -> bool {
    [0, 2, 3].contains(&state)
}

fn list_containers(answer: &[u8]) {
    let Some((list, all)) = decoded::<cri::ListContainersResponse, Container>(answer) else { return };
    let wire = &list.containers;
    let (known, count) = ids(wire.iter().map(|one| &*one.id));
    assert_eq!(all.len(), count);
    assert_eq!(ids(all.iter().map(|one| &*one.id)).0, known);
    for container in &all {
        let entries: Vec<&cri::Container> = wire.iter().filter(|one| *one.id == *container.id).collect();
        let is_made_of = |one: &&&cri::Container| is_made_of(container, one);
        assert!(entries.iter().any(|one| is_made_of(&one)), "{container:?} is not in the list");
        if !entries.iter().all(|one| is_dead(one.state)) || container.id.is_empty() {
            assert_eq!(container.state, ContainerState::Running, "{container:?}");
        }
    }
    siblings(wire, &all);
    never_removed(&list, all);
}

fn is_made_of(container: &Container, one: &cri::Container) -> bool {
    let metadata = one.metadata.clone().unwrap_or_default();
    let mut labels = one.labels.iter().filter(|label| label.key == POD_UID_LABEL).map(|label| &*label.value).peekable();
    let has_uid = if labels.peek().is_none() { container.pod_uid.is_empty() } else { labels.any(|uid| uid == container.pod_uid) };
    let image = one.image.as_ref().map_or("", |image| &*image.image);
    has_uid
        && (&*container.name, container.attempt) == (&*metadata.name, metadata.attempt)
        && *container.pod_sandbox_id == *one.pod_sandbox_id
        && (&*container.image_id, &*container.image_ref, &*container.image) == (&*one.image_id, &*one.image_ref, image)
        && container.created_at == at(one.created_at)
}

/// The containers of one pod, with their logs: the same ones, and no log is anywhere but three levels below the root.
fn siblings(wire: &[cri::Container], all: &[Arc<Container>]) {
    let siblings = convert::siblings(wire.to_vec());
    assert!(siblings.iter().map(|sibling| &sibling.container).eq(all.iter().map(Arc::as_ref)));
    for log in siblings.iter().filter_map(|sibling| sibling.kubelet_log.as_ref()) {
        let parts: Vec<&str> = log.split('/').collect();
        let is_name = |part: &&str| !part.is_empty() && *part != "." && *part != "..";
        assert!(parts.len() == 3 && parts.iter().all(is_name) && log.ends_with(".log"), "{log:?}");
    }
}

/// A node on which all pods are deleted, and nothing is young.
fn never_removed(list: &cri::ListContainersResponse, all: Vec<Arc<Container>>) {
    let seen = Observation {
        containers: Arc::new(all),
        pods: Pods { synced: true, pods: Vec::new(), absent: Absent::Deleted },
        ..Observation::empty(Timestamp::MAX)
    };
    let policy = cri_gc_config::Settings::default().policy();
    for decision in decide(&seen, &policy).containers.remove {
        let id = &seen.containers[decision.index].id;
        assert!(!id.is_empty(), "what has no id would be removed");
        let alive = list.containers.iter().find(|one| *one.id == **id && !is_dead(one.state));
        assert!(alive.is_none(), "{alive:?} would be removed");
    }
}

fn list_sandboxes(answer: &[u8]) {
    // Labels are not read, so that such an answer may be read although one of them is broken.
    let Ok(whole) = cri::ListPodSandboxResponse::decode(answer) else { return };
    let is_odd = whole.items.iter().any(|one| one.id.is_empty() || one.metadata.is_none());
    assert_eq!(
        read::<Sandbox>(answer).is_err(),
        is_odd,
        "a sandbox of any pod may be ready, so nothing is known of one"
    );
    let Some((list, all)) = decoded::<cri::ListPodSandboxResponse, Sandbox>(answer) else { return };
    let (known, count) = ids(list.items.iter().map(|one| &*one.id));
    assert_eq!((ids(all.iter().map(|one| &*one.id)).0, all.len()), (known, count));
    for sandbox in all {
        let entries: Vec<_> = list.items.iter().filter(|one| *one.id == *sandbox.id).collect();
        let is_stopped = entries.iter().all(|one| one.state == 1) || sandbox.id.is_empty() && entries.iter().any(|one| one.state == 1);
        assert!(sandbox.state != SandboxState::NotReady || is_stopped, "{sandbox:?}");
        assert!(entries.iter().any(|one| is_sandbox_of(&sandbox, one)), "{sandbox:?} is not in the list");
    }
}

fn is_sandbox_of(sandbox: &Sandbox, one: &cri::PodSandbox) -> bool {
    let metadata = one.metadata.clone().unwrap_or_default();
    (&*sandbox.pod_uid, &*sandbox.namespace, &*sandbox.name) == (&*metadata.uid, &*metadata.namespace, &*metadata.name)
        && (sandbox.attempt, sandbox.created_at) == (metadata.attempt, at(one.created_at))
}

fn list_images(answer: &[u8]) {
    let Some((list, all)) = decoded::<cri::ListImagesResponse, Image>(answer) else { return };
    let handler = |one: &cri::Image| one.spec.as_ref().map_or_else(String::new, |spec| spec.runtime_handler.clone());
    let known: HashSet<(&str, String)> =
        list.images.iter().filter(|one| !one.id.is_empty()).map(|one| (&*one.id, handler(one))).collect();
    let found: HashSet<(&str, String)> =
        all.iter().filter(|one| !one.id.is_empty()).map(|one| (&*one.id, one.runtime_handler.clone())).collect();
    assert_eq!(found, known);
    let without = list.images.iter().filter(|one| one.id.is_empty()).count();
    assert_eq!(all.len(), known.len() + without);
    for image in all.iter().filter(|image| !image.id.is_empty()) {
        let entries: Vec<_> = list.images.iter().filter(|one| (&one.id, handler(one)) == (&image.id, image.runtime_handler.clone())).collect();
        assert_eq!(image.pinned, entries.iter().any(|one| one.pinned), "{image:?}");
        assert_eq!(Some(image.size_bytes), entries.iter().map(|one| one.size).max());
        let names: HashSet<&String> = entries.iter().flat_map(|one| one.repo_tags.iter().chain(&one.repo_digests)).collect();
        assert_eq!(image.repo_tags.iter().chain(&image.repo_digests).collect::<HashSet<_>>(), names);
    }
    without_ids(all.into_iter().map(Arc::unwrap_or_clone).collect());
}

/// An image without an id can't be removed.
fn without_ids(images: Vec<Image>) {
    let seen = Observation { images, ..Observation::empty(Timestamp::MAX) };
    let mut policy = cri_gc_config::Settings::default().policy();
    policy.images.max_age = std::time::Duration::from_secs(1);
    for decision in decide(&seen, &policy).images.section.remove {
        assert!(!seen.images[decision.index].id.is_empty(), "an image without an id would be removed");
    }
}
