//! What cri-gc relies on in containerd, and where its versions differ. Run against every version that is to be
//! supported: a failure here means that the collectors rest on something that is no longer so.

use std::time::Duration;

use cri_gc_proto::cri::{
    ContainerState, ImageFilter, ImageSpec, ListContainerStatsRequest, ListImagesRequest,
};
use cri_gc_test_support::{
    ContainerSpec, Containerd, Cri, OciImage, Options, PAUSE_IMAGE, PodSpec, containerd_or_skip, until_async,
};
use tonic::{Code, Status};

const APP: &str = "cri-gc.test/app:1";

fn app() -> OciImage {
    OciImage::new(APP).payload(1, 100_000)
}

fn with_app(test: &str) -> Option<Containerd> {
    let containerd = containerd_or_skip(test, Options::default())?;
    containerd.import(&app());
    Some(containerd)
}

fn code<T>(answer: Result<T, Status>) -> Code {
    answer.map_or_else(|status| status.code(), |_| Code::Ok)
}

#[tokio::test]
async fn missing_ids_are_answered_as_the_gateway_expects() {
    let Some(containerd) = with_app("missing_ids_are_answered_as_the_gateway_expects") else {
        return;
    };
    let cri = containerd.cri();
    let none = "0".repeat(64);
    let stop = if containerd.at_least(1, 7) { Code::Ok } else { Code::NotFound };
    assert_eq!(code(cri.stop(&none, 1).await), stop);
    assert_eq!(code(cri.stop_pod(&none).await), stop);
    assert_eq!(code(cri.status(&none).await), Code::NotFound);
    assert_eq!(code(cri.pod_status(&none).await), Code::NotFound);
    assert_eq!(code(cri.remove(&none).await), Code::Ok);
    assert_eq!(code(cri.remove_pod(&none).await), Code::Ok);
    assert_eq!(code(cri.remove_image("cri-gc.test/none:1").await), Code::Ok);
    assert_eq!(code(cri.remove("").await), Code::Unknown);
    assert_eq!(code(cri.remove_image("").await), Code::Unknown);
}

#[tokio::test]
async fn images_are_referred_to_by_id_and_removed_whatever_uses_them() {
    let Some(containerd) = with_app("images_are_referred_to_by_id_and_removed_whatever_uses_them") else {
        return;
    };
    let cri = containerd.cri();
    let pod = cri.run_pod(PodSpec::new("default", "web-0")).await.unwrap();
    let id = cri.run(&pod, &ContainerSpec::sleeper("main", APP)).await.unwrap();
    containerd.tag(APP, "cri-gc.test/app:second");
    containerd.tag(APP, &format!("cri-gc.test/app@{}", app().manifest_digest()));

    let images = cri.list_images().await.unwrap();
    let listed = images.iter().find(|image| image.id == app().id()).unwrap();
    assert_eq!((listed.repo_tags.len(), listed.repo_digests.len()), (2, 1));
    let pinned: Vec<&str> =
        images.iter().filter(|image| image.pinned).map(|image| image.repo_tags[0].as_str()).collect();
    assert_eq!(pinned, if containerd.at_least(1, 7) { vec![PAUSE_IMAGE] } else { Vec::new() });
    // From 2.0 on the sandbox image is a setting of another plugin, which Status does not report.
    let config =
        serde_json::from_str::<serde_json::Value>(&cri.status_info("config").await.unwrap()).unwrap();
    let expected = if containerd.at_least(2, 0) { None } else { Some(PAUSE_IMAGE) };
    assert_eq!(config["sandboxImage"].as_str(), expected);

    cri.remove_image("cri-gc.test/app:second").await.unwrap();
    cri.remove_image(PAUSE_IMAGE).await.unwrap();
    assert!(
        cri.list_images().await.unwrap().is_empty(),
        "neither use nor pin nor another tag keeps an image"
    );
    let container = cri.list_containers().await.unwrap().remove(0);
    assert_eq!((container.id, container.image_ref, container.image_id.as_str()), (id, app().id(), ""));
}

#[tokio::test]
async fn one_of_several_concurrent_removals_succeeds_and_the_others_get_an_error() {
    let name = "one_of_several_concurrent_removals_succeeds_and_the_others_get_an_error";
    let Some(containerd) = with_app(name) else { return };
    let cri = containerd.cri();
    let pod = cri.run_pod(PodSpec::new("default", "web-0")).await.unwrap();
    let id = cri.run(&pod, &ContainerSpec::stubborn("main", APP)).await.unwrap();
    let remove = |cri: Cri, id: String| tokio::spawn(async move { cri.remove(&id).await });
    let removals = [(); 4].map(|()| remove(cri.clone(), id.clone()));
    let mut removed = 0;
    for removal in removals {
        match removal.await.unwrap() {
            Ok(()) => removed += 1,
            Err(status) => {
                assert_eq!(status.code(), Code::Unknown);
                assert!(status.message().contains("is already in removing state"), "{status}");
            }
        }
    }
    assert!(removed >= 1);
    assert!(cri.list_containers().await.unwrap().is_empty(), "running or not");
}

#[tokio::test]
async fn what_never_ran_has_no_times_and_a_dead_sandbox_may_still_get_containers() {
    let name = "what_never_ran_has_no_times_and_a_dead_sandbox_may_still_get_containers";
    let Some(containerd) = with_app(name) else { return };
    let cri = containerd.cri();
    let pod = cri.run_pod(PodSpec::new("default", "web-0").logs(containerd.pod_logs())).await.unwrap();
    let created = cri.create(&pod, &ContainerSpec::sleeper("main", APP)).await.unwrap();
    cri.stop_pod(&pod.id).await.unwrap();
    let status = cri.status(&created).await.unwrap();
    assert_eq!(status.state(), ContainerState::ContainerCreated);
    assert_eq!((status.started_at, status.finished_at), (0, 0));
    assert!(status.log_path.ends_with("/main/0.log"));

    let into_dead = cri.create(&pod, &ContainerSpec::sleeper("late", APP)).await;
    assert_eq!(code(into_dead), if containerd.at_least(2, 0) { Code::Ok } else { Code::NotFound });
    assert_eq!(code(cri.start(&created).await), Code::Unknown);

    let fs = cri.image_fs_info().await.unwrap();
    let snapshots = containerd.root().join("io.containerd.snapshotter.v1.overlayfs").display().to_string();
    assert_eq!(fs.image_filesystems[0].fs_id.as_ref().unwrap().mountpoint, snapshots);
    assert_eq!((fs.image_filesystems.len(), fs.container_filesystems.len()), (1, 0));
}

#[tokio::test]
async fn writable_layers_are_counted_every_10_s_also_those_of_dead_containers() {
    let name = "writable_layers_are_counted_every_10_s_also_those_of_dead_containers";
    let Some(containerd) = with_app(name) else { return };
    let cri = containerd.cri();
    let pod = cri.run_pod(PodSpec::new("default", "web-0")).await.unwrap();
    let writes = ContainerSpec::shell("main", APP, "head -c 3000000 /dev/zero > /written");
    let id = cri.run(&pod, &writes).await.unwrap();
    let layer = || async {
        let answer = cri.runtime().list_container_stats(ListContainerStatsRequest::default()).await;
        let stats = answer.unwrap().into_inner().stats.remove(0);
        assert_eq!(stats.attributes.unwrap().id, id);
        let layer = stats.writable_layer.unwrap();
        (layer.timestamp, layer.used_bytes.unwrap().value, layer.inodes_used.unwrap().value)
    };
    let (at, bytes, inodes) = layer().await;
    assert!(at > 0 || (bytes, inodes) == (0, 0), "what is not counted yet is reported as 0 at no time");
    cri.wait_exited(&id).await.unwrap();
    let counted = || async { Some(layer().await).filter(|(at, bytes, _)| *at > 0 && *bytes >= 3_000_000) };
    let (_, bytes, inodes) = until_async(Duration::from_secs(30), counted).await.expect("it is counted");
    assert!(bytes < 3_500_000 && inodes >= 1, "{bytes} bytes, {inodes} inodes");
}

#[tokio::test]
async fn lists_over_the_message_limit_are_refused() {
    let Some(containerd) = with_app("lists_over_the_message_limit_are_refused") else {
        return;
    };
    let cri = containerd.cri();
    let pod = cri.run_pod(PodSpec::new("default", "web-0")).await.unwrap();
    let large = ContainerSpec::exits("main", APP).annotation("note", &"x".repeat(1 << 20));
    for attempt in 0..17 {
        cri.create(&pod, &large.clone().attempt(attempt)).await.unwrap();
    }
    let refused = cri.list_containers().await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.message().contains("trying to send message larger than max"), "{refused}");
}

#[tokio::test]
async fn a_container_whose_record_is_spoilt_is_unknown() {
    let Some(mut containerd) = with_app("a_container_whose_record_is_spoilt_is_unknown") else {
        return;
    };
    let cri = containerd.cri();
    let pod = cri.run_pod(PodSpec::new("default", "web-0")).await.unwrap();
    let dead = cri.run_dead(&pod, &ContainerSpec::exits("job", APP), 0..1).await.unwrap().remove(0);
    let running = cri.run(&pod, &ContainerSpec::sleeper("main", APP)).await.unwrap();
    let process = containerd.init_pid(&running).unwrap();
    for id in [&dead, &running] {
        containerd.lose_status(id);
        let status =
            until_async(Duration::from_secs(10), || async { cri.status(id).await.ok() }).await.unwrap();
        assert_eq!(status.state(), ContainerState::ContainerUnknown);
        assert_eq!((status.finished_at, status.log_path.as_str()), (0, ""));
    }
    let lives = || std::path::Path::new(&format!("/proc/{process}/exe")).read_link().is_ok();
    assert!(lives(), "an UNKNOWN container may well run");
    // A stop settles what it is; a removal kills it as it is.
    cri.stop(&dead, 1).await.unwrap();
    assert_eq!(cri.status(&dead).await.unwrap().state(), ContainerState::ContainerExited);
    cri.remove(&running).await.unwrap();
    assert!(!lives());
    cri.remove(&dead).await.unwrap();
}

#[tokio::test]
async fn a_killed_containerd_is_unknown_to_the_first_call_and_unavailable_to_the_next() {
    let name = "a_killed_containerd_is_unknown_to_the_first_call_and_unavailable_to_the_next";
    let Some(mut containerd) = containerd_or_skip(name, Options::default()) else {
        return;
    };
    let cri = containerd.cri();
    cri.version().await.unwrap();
    containerd.kill();
    let first = cri.version().await.unwrap_err();
    assert!([Code::Unknown, Code::Unavailable].contains(&first.code()), "{first:?}");
    assert_eq!(code(cri.version().await), Code::Unavailable);
}

#[tokio::test]
async fn a_list_of_images_ignores_its_filter() {
    let Some(containerd) = with_app("a_list_of_images_ignores_its_filter") else {
        return;
    };
    let image = Some(ImageSpec { image: "cri-gc.test/none:1".to_owned(), ..ImageSpec::default() });
    let request = ListImagesRequest { filter: Some(ImageFilter { image }) };
    let listed = containerd.cri().images().list_images(request).await.unwrap().into_inner().images;
    assert!(listed.iter().any(|image| image.id == app().id()), "{listed:?}");
}

#[tokio::test]
async fn a_removed_image_volume_exists_until_its_container_is_recreated() {
    let name = "a_removed_image_volume_exists_until_its_container_is_recreated";
    let Some(containerd) = with_app(name) else {
        return;
    };
    if !containerd.at_least(2, 1) {
        return;
    }
    const MODEL: &str = "cri-gc.test/model:1";
    containerd.import(&OciImage::new(MODEL).payload(2, 100_000));
    let cri = containerd.cri();
    cri.wait_image(MODEL).await.unwrap();
    let pod = cri.run_pod(PodSpec::new("default", "web-0")).await.unwrap();
    let spec = |name: &str| ContainerSpec::sleeper(name, APP).image_volume(MODEL);
    let running = cri.run(&pod, &spec("main")).await.unwrap();
    let created = cri.create(&pod, &spec("next")).await.unwrap();
    let mounts = cri.status(&running).await.unwrap().mounts;
    let mounted: Vec<String> = mounts.into_iter().filter_map(|mount| mount.image).map(|i| i.image).collect();
    assert_eq!(mounted, [MODEL]);

    cri.remove_image(MODEL).await.unwrap();
    assert_eq!(cri.status(&running).await.unwrap().state(), ContainerState::ContainerRunning);
    // The image is mounted when a container is created; a restart creates a new one.
    cri.start(&created).await.unwrap();
    assert_eq!(code(cri.create(&pod, &spec("main").attempt(1)).await), Code::NotFound);
}
