//! Lists: filters, and what happens when an answer grows too large.

use crate::bed::{Bed, code};
use cri_gc_proto::{POD_UID_LABEL, cri};
use cri_gc_sim::{Code, ContainerSpec, ContainerState, Flavour, ImageSpec, Options, PodSpec};
use cri_gc_test_support::{flavours::options, on_each_flavour};

on_each_flavour!(
    #[tokio::test] async:
    all_set_parts_of_a_filter_must_match,
    sandboxes_are_filtered_in_the_same_way,
    a_list_over_16_mib_fails_as_a_whole_and_its_parts_do_not,
    the_limit_is_exact_and_applies_to_sandboxes_and_images_too,
);

fn state(state: cri::ContainerState) -> Option<cri::ContainerStateValue> {
    Some(cri::ContainerStateValue { state: state.into() })
}

fn uid(uid: &str) -> std::collections::HashMap<String, String> {
    [(POD_UID_LABEL.to_owned(), uid.to_owned())].into()
}

async fn all_set_parts_of_a_filter_must_match() {
    let mut bed = Bed::new();
    let (a, b) = (bed.pod("a"), bed.pod("b"));
    let running = bed.container(&a, "app");
    let exited = bed.sim.add_container(ContainerSpec::new(&a, "old").state(ContainerState::Exited)).unwrap();
    let elsewhere =
        bed.sim.add_container(ContainerSpec::new(&b, "old").state(ContainerState::Exited)).unwrap();
    let bare = bed
        .sim
        .add_container(
            ContainerSpec::new(&b, "bare")
                .with(|spec| spec.kubelet_labels = false)
                .with(|spec| drop(spec.labels.insert("tier".to_owned(), "x".to_owned()))),
        )
        .unwrap();
    let filter = cri::ContainerFilter::default;
    let dead = state(cri::ContainerState::ContainerExited);
    let sorted = |ids: &[&String]| {
        let mut ids: Vec<String> = ids.iter().map(|id| (*id).clone()).collect();
        ids.sort();
        ids
    };

    let one = cri::ContainerFilter { id: exited[..12].into(), ..filter() };
    assert_eq!(bed.list_ids(one).await, [&*exited]);
    let by_state = cri::ContainerFilter { state: dead, ..filter() };
    assert_eq!(bed.list_ids(by_state).await, sorted(&[&exited, &elsewhere]));
    let created = cri::ContainerFilter { state: state(cri::ContainerState::ContainerCreated), ..filter() };
    assert!(bed.list_ids(created).await.is_empty(), "state 0 is a state, not the lack of one");
    let by_pod = cri::ContainerFilter { pod_sandbox_id: a[..12].into(), ..filter() };
    assert_eq!(bed.list_ids(by_pod).await, sorted(&[&running, &exited]));
    let by_label = cri::ContainerFilter { label_selector: uid("uid-of-b"), ..filter() };
    assert_eq!(bed.list_ids(by_label).await, [&*elsewhere]);
    let by_own = [("tier".to_owned(), "x".to_owned())].into();
    assert_eq!(bed.list_ids(cri::ContainerFilter { label_selector: by_own, ..filter() }).await, [bare]);
    let both = cri::ContainerFilter { state: dead, pod_sandbox_id: a.clone(), ..filter() };
    assert_eq!(bed.list_ids(both).await, [&*exited]);
    let contrary = cri::ContainerFilter { id: exited, pod_sandbox_id: b, ..filter() };
    assert!(bed.list_ids(contrary).await.is_empty());
    let missing = cri::ContainerFilter { id: "feed".into(), ..filter() };
    assert!(bed.list_ids(missing).await.is_empty(), "an id of nothing passes nothing");
    let missing = cri::ContainerFilter { pod_sandbox_id: "feed".into(), ..filter() };
    assert!(bed.list_ids(missing).await.is_empty(), "nor does a sandbox that is not there");
}

async fn sandboxes_are_filtered_in_the_same_way() {
    let mut bed = Bed::new();
    let ready = bed.pod("a");
    let spec = PodSpec::new("default", "a", "uid-of-a").attempt(1).not_ready();
    let stopped = bed.sim.add_pod(spec).unwrap();
    let bare = bed
        .sim
        .add_pod(
            PodSpec::new("default", "c", "uid-of-c").with(|spec| spec.kubelet_labels = false).not_ready(),
        )
        .unwrap();
    let not_ready = Some(cri::PodSandboxStateValue { state: cri::PodSandboxState::SandboxNotready.into() });
    let filter = cri::PodSandboxFilter::default;
    let mut expected = vec![stopped.clone(), bare.clone()];
    expected.sort();
    assert_eq!(bed.sandbox_ids(cri::PodSandboxFilter { state: not_ready, ..filter() }).await, expected);
    let both = cri::PodSandboxFilter { state: not_ready, label_selector: uid("uid-of-a"), ..filter() };
    assert_eq!(bed.sandbox_ids(both).await, [stopped]);
    let by_id = cri::PodSandboxFilter { id: ready[..10].into(), ..filter() };
    let found = bed.sandboxes(by_id).await.unwrap().remove(0);
    assert_eq!(found.id, ready);
    assert_eq!(found.metadata.unwrap().uid, "uid-of-a");
    let bare = bed.sandboxes(cri::PodSandboxFilter { id: bare, ..filter() }).await.unwrap().remove(0);
    assert_eq!((bare.labels.len(), bare.metadata.unwrap().uid.as_str()), (0, "uid-of-c"));
}

async fn a_list_over_16_mib_fails_as_a_whole_and_its_parts_do_not() {
    let mut bed = Bed::new();
    let (a, b) = (bed.pod("a"), bed.pod("b"));
    for pod in [&a, &b] {
        for attempt in 0..10 {
            let spec = ContainerSpec { annotation_bytes: 1 << 20, ..ContainerSpec::new(pod, "app") };
            let spec = spec.attempt(attempt).no_log();
            bed.sim.add_container(spec).unwrap();
        }
    }
    let error = bed.list(Default::default()).await.unwrap_err();
    assert_eq!(error.code(), Code::ResourceExhausted);
    let message = error.message();
    assert!(message.starts_with("grpc: trying to send message larger than max (2"), "{message}");
    assert!(message.ends_with(" vs. 16777216)"), "{message}");
    let part = cri::ContainerFilter { pod_sandbox_id: a, ..Default::default() };
    assert_eq!(bed.list(part).await.unwrap().len(), 10);
    let part = cri::ContainerFilter { label_selector: uid("uid-of-b"), ..Default::default() };
    assert_eq!(bed.list(part).await.unwrap().len(), 10);
}

async fn the_limit_is_exact_and_applies_to_sandboxes_and_images_too() {
    use prost::Message;
    let encoded = {
        let mut bed = Bed::new();
        bed.pod("a");
        let items = bed.sandboxes(Default::default()).await.unwrap();
        cri::ListPodSandboxResponse { items }.encoded_len()
    };
    for (spare, expected) in [(0, Code::Ok), (1, Code::ResourceExhausted)] {
        let mut bed = Bed::with(Options { message_limit: encoded + 50, ..options() });
        let spec = PodSpec { annotation_bytes: 50 + spare, ..PodSpec::new("default", "a", "uid-of-a") };
        bed.sim.add_pod(spec).unwrap();
        assert_eq!(code(bed.sandboxes(Default::default()).await), expected);
        let id = bed.sim.sandbox_ids().remove(0);
        assert_eq!(code(bed.sandbox_status(&id).await), Code::Ok, "one by itself is small enough");
    }
    let mut bed = Bed::with(Options { message_limit: 1000, ..options() });
    for n in 0..10 {
        bed.sim.add_image(ImageSpec::single(format!("app:{n}"), 1, 1));
    }
    let error = bed.images.list_images(cri::ListImagesRequest::default()).await.unwrap_err();
    assert_eq!(error.code(), Code::ResourceExhausted);
}

#[tokio::test]
async fn version_and_status_name_the_runtime_and_its_sandbox_image() {
    for (flavour, name, version, pinned) in [
        (Flavour::Containerd16, "containerd", "1.6.20", false),
        (Flavour::Containerd21, "containerd", "v2.1.9", true),
        (Flavour::CriO, "cri-o", "1.37.0", true),
    ] {
        let options = Options { flavour, sandbox_image: "reg.example/pause:7".into(), ..options() };
        let mut bed = Bed::with(options);
        let answer = bed.runtime.version(cri::VersionRequest::default()).await.unwrap().into_inner();
        assert_eq!((answer.runtime_name.as_str(), answer.runtime_version.as_str()), (name, version));
        assert_eq!(answer.runtime_api_version, "v1");
        let status = bed.runtime.status(cri::StatusRequest { verbose: true }).await.unwrap().into_inner();
        let config = status.info.iter().find(|pair| pair.key == "config").unwrap();
        let config: serde_json::Value = serde_json::from_str(&config.value).unwrap();
        // containerd 2 reports no sandbox image, and pins it.
        let named = config.get("sandboxImage").and_then(serde_json::Value::as_str);
        assert_eq!(named, flavour.names_the_sandbox_image().then_some("reg.example/pause:7"));
        let status = bed.runtime.status(cri::StatusRequest { verbose: false }).await.unwrap().into_inner();
        assert!(status.info.is_empty());
        let image = bed.list_images().await.remove(0);
        assert_eq!((image.repo_tags, image.pinned), (vec!["reg.example/pause:7".to_owned()], pinned));
    }
}
