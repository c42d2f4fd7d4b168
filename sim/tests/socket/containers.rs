//! Containers over the socket: removal, stops, states, what lists do not contain.

use std::time::Duration;

use crate::bed::{Bed, code};
use cri_gc_proto::cri;
use cri_gc_sim::{Code, ContainerSpec, ContainerState, Flavour, ImageSpec, SandboxState};
use cri_gc_test_support::on_each_flavour;

on_each_flavour!(
    #[tokio::test] async:
    removing_a_running_container_kills_and_removes_it,
    a_stop_ends_what_runs_or_is_unknown_and_changes_nothing_else,
    the_status_has_times_and_the_log_path,
    ids_have_64_hex_digits_and_repeat_with_the_seed,
    a_unique_beginning_of_an_id_names_the_object,
    an_empty_or_ambiguous_id_is_an_error_even_for_removal,
    stopping_a_sandbox_kills_what_runs_in_it_and_nothing_else,
    removing_a_ready_sandbox_removes_everything_in_it,
);

async fn removing_a_running_container_kills_and_removes_it() {
    let mut bed = Bed::new();
    let pod = bed.pod("a");
    let (removed, kept) = (bed.container(&pod, "app"), bed.container(&pod, "side"));
    bed.remove(&removed).await.unwrap();
    assert_eq!(bed.list_ids(Default::default()).await, [kept]);
    assert_eq!(code(bed.status(&removed).await), Code::NotFound);
}

#[tokio::test]
async fn removing_what_is_missing_succeeds_and_its_status_is_not_found() {
    for flavour in Flavour::ALL {
        let mut bed = Bed::flavour(flavour);
        bed.remove("feed").await.unwrap();
        bed.remove_sandbox("feed").await.unwrap();
        bed.remove_image("docker.io/library/none:1").await.unwrap();
        assert_eq!(code(bed.status("feed").await), Code::NotFound);
        assert_eq!(code(bed.sandbox_status("feed").await), Code::NotFound);
    }
}

#[tokio::test]
async fn stopping_what_is_missing_depends_on_the_version() {
    let expected = [
        (Flavour::Containerd16, Code::NotFound),
        (Flavour::Containerd21, Code::Ok),
        (Flavour::CriO, Code::Ok),
    ];
    for (flavour, expected) in expected {
        let mut bed = Bed::flavour(flavour);
        assert_eq!(code(bed.stop("feed").await), expected);
        assert_eq!(code(bed.stop_sandbox("feed").await), expected);
    }
}

async fn a_stop_ends_what_runs_or_is_unknown_and_changes_nothing_else() {
    let mut bed = Bed::new();
    let pod = bed.pod("a");
    for (state, after, ended_now) in [
        (ContainerState::Running, cri::ContainerState::ContainerExited, true),
        (ContainerState::Unknown, cri::ContainerState::ContainerExited, true),
        (ContainerState::Created, cri::ContainerState::ContainerCreated, false),
        (ContainerState::Exited, cri::ContainerState::ContainerExited, false),
    ] {
        let id = bed.sim.add_container(ContainerSpec::new(&pod, "app").state(state)).unwrap();
        bed.sim.advance(Duration::from_secs(60));
        bed.stop(&id).await.unwrap();
        let status = bed.status(&id).await.unwrap();
        assert_eq!(status.state(), after, "{state:?}");
        let now = i64::try_from(bed.sim.now().as_nanosecond()).unwrap();
        assert_eq!(status.finished_at == now, ended_now, "{state:?}");
    }
}

async fn the_status_has_times_and_the_log_path() {
    let mut bed = Bed::new();
    let pod = bed.pod("a");
    let (created, ended) = (bed.sim.ago(Duration::from_secs(90)), bed.sim.ago(Duration::from_secs(30)));
    let spec = ContainerSpec::new(&pod, "app").attempt(3).exited(created, ended);
    let id = bed.sim.add_container(spec).unwrap();
    let status = bed.status(&id).await.unwrap();
    assert_eq!(i128::from(status.created_at), created.as_nanosecond());
    assert_eq!(i128::from(status.started_at), created.as_nanosecond());
    assert_eq!(i128::from(status.finished_at), ended.as_nanosecond());
    assert!(status.log_path.ends_with("/pods/default_a_uid-of-a/app/3.log"), "{}", status.log_path);

    let made = bed.sim.add_container(ContainerSpec::new(&pod, "b").state(ContainerState::Created)).unwrap();
    let status = bed.status(&made).await.unwrap();
    assert_eq!((status.started_at, status.finished_at), (0, 0));
}

#[tokio::test]
async fn image_ref_is_the_id_and_does_not_change_when_the_tag_moves() {
    for flavour in [Flavour::Containerd16, Flavour::Containerd21] {
        let mut bed = Bed::flavour(flavour);
        let old = bed.sim.add_image(ImageSpec::single("app:1", 1, 2));
        let pod = bed.pod("a");
        let spec = ContainerSpec::new(&pod, "app").image("docker.io/library/app:1");
        bed.sim.add_container(spec).unwrap();
        let new = bed.sim.add_image(ImageSpec::single("app:1", 1, 2));
        assert_ne!(old, new);
        let listed = bed.list_all().await.remove(0);
        assert_eq!(listed.image_id, "");
        assert_eq!(listed.image_ref, old);
        assert_eq!(listed.image.unwrap().image, "docker.io/library/app:1");
        let images = bed.list_images().await;
        let tags = |id: &str| images.iter().find(|image| image.id == id).unwrap().repo_tags.clone();
        assert_eq!(tags(&old), [""; 0], "the old image is kept, without the tag");
        assert_eq!(tags(&new), ["docker.io/library/app:1"]);
    }
}

async fn ids_have_64_hex_digits_and_repeat_with_the_seed() {
    let ids = || {
        let bed = Bed::new();
        let pod = bed.pod("a");
        let container = bed.container(&pod, "app");
        (pod, container, bed.sim.image_ids().remove(0))
    };
    let (pod, container, image) = ids();
    for id in [&pod, &container, &image.trim_start_matches("sha256:").to_owned()] {
        assert!(id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
    }
    assert_eq!(ids(), (pod, container, image));
}

async fn a_unique_beginning_of_an_id_names_the_object() {
    let mut bed = Bed::new();
    let pod = bed.pod("a");
    let id = bed.container(&pod, "app");
    let other = bed.container(&pod, "side");
    let short = (1..64).map(|n| &id[..n]).find(|short| !other.starts_with(short)).unwrap();
    assert_eq!(bed.status(short).await.unwrap().id, id);
    bed.remove(short).await.unwrap();
    assert_eq!(bed.list_ids(Default::default()).await, [other]);
    assert_eq!(bed.sandbox_status(&pod[..8]).await.unwrap().id, pod);
    bed.remove_sandbox(&pod[..8]).await.unwrap();
    assert!(bed.sim.sandbox_ids().is_empty());
}

async fn an_empty_or_ambiguous_id_is_an_error_even_for_removal() {
    let mut bed = Bed::new();
    let pod = bed.pod("a");
    // More containers than hex digits: two of them have the same first digit.
    let ids: Vec<String> = (0..17).map(|n| bed.container(&pod, &format!("app{n}"))).collect();
    let ambiguous = ids
        .iter()
        .map(|id| &id[..1])
        .find(|first| ids.iter().filter(|id| id.starts_with(first)).count() > 1)
        .unwrap();
    for id in ["", ambiguous] {
        assert_eq!(code(bed.status(id).await), Code::Unknown, "{id:?}");
        assert_eq!(code(bed.stop(id).await), Code::Unknown, "{id:?}");
        assert_eq!(code(bed.remove(id).await), Code::Unknown, "{id:?}");
    }
    assert_eq!(code(bed.remove_sandbox("").await), Code::Unknown);
    assert_eq!(code(bed.stop_sandbox("").await), Code::Unknown);
    assert_eq!(bed.sim.container_ids().len(), 17);
}

async fn stopping_a_sandbox_kills_what_runs_in_it_and_nothing_else() {
    let mut bed = Bed::new();
    let (pod, other) = (bed.pod("a"), bed.pod("b"));
    let running = bed.container(&pod, "app");
    let made = bed.sim.add_container(ContainerSpec::new(&pod, "b").state(ContainerState::Created)).unwrap();
    let elsewhere = bed.container(&other, "app");
    bed.stop_sandbox(&pod).await.unwrap();
    let state = |id: &str| bed.sim.with(|node| node.container(id).unwrap().spec.state);
    assert_eq!(state(&running), ContainerState::Exited);
    assert_eq!(state(&made), ContainerState::Created);
    assert_eq!(state(&elsewhere), ContainerState::Running);
    let ready = |id: &str| bed.sim.with(|node| node.sandbox(id).unwrap().spec.state);
    assert_eq!((ready(&pod), ready(&other)), (SandboxState::NotReady, SandboxState::Ready));
    bed.stop_sandbox(&pod).await.unwrap();
}

async fn removing_a_ready_sandbox_removes_everything_in_it() {
    let mut bed = Bed::new();
    let (pod, other) = (bed.pod("a"), bed.pod("b"));
    bed.container(&pod, "app");
    bed.sim.add_container(ContainerSpec::new(&pod, "b").state(ContainerState::Created)).unwrap();
    let kept = bed.container(&other, "app");
    bed.remove_sandbox(&pod).await.unwrap();
    assert_eq!(bed.sandbox_ids(Default::default()).await, [other]);
    assert_eq!(bed.list_ids(Default::default()).await, [kept]);
}
