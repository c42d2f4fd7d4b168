//! What CRI-O answers differently from containerd, as seen on CRI-O 1.37.

use std::time::Duration;

use crate::bed::{Answer, Bed, MIB, code, container_config, sandbox_config};
use cri_gc_proto::cri;
use cri_gc_sim::{Code, ContainerSpec, ContainerState, Flavour, ImageSpec, Options, PodSpec};

/// What CRI-O reports for a time that it does not know.
const NO_TIME: i64 = -6_795_364_578_871_345_152;

fn crio() -> Bed {
    Bed::flavour(Flavour::CriO)
}

fn with(options: Options) -> Bed {
    Bed::with(Options { flavour: Flavour::CriO, ..options })
}

fn refusal(answer: Answer<()>) -> String {
    let status = answer.unwrap_err();
    assert_eq!(status.code(), Code::Unknown, "{status:?}");
    status.message().to_owned()
}

async fn listed(bed: &mut Bed, id: &str) -> cri::Image {
    bed.list_images().await.into_iter().find(|image| image.id == id).unwrap()
}

#[tokio::test]
async fn image_ids_are_bare_and_every_image_has_a_digest() {
    let mut bed = crio();
    let hex = "ab".repeat(32);
    let given = bed.sim.add_image(
        ImageSpec::single("app:1", 1, 1)
            .id(format!("sha256:{hex}"))
            .with(|image| image.digests = Some(Vec::new())),
    );
    assert_eq!(given, hex);
    let image = listed(&mut bed, &hex).await;
    assert_eq!(image.repo_tags, ["docker.io/library/app:1"]);
    assert!(image.repo_digests[0].starts_with("docker.io/library/app@sha256:"), "{:?}", image.repo_digests);

    let nameless = bed.sim.add_image(ImageSpec::default());
    let image = listed(&mut bed, &nameless).await;
    let digest = &image.repo_digests[0];
    assert!(digest.starts_with("docker.io/library/") && digest.contains("-tmp@sha256:"), "{digest}");

    // The port of a registry, and what follows it, is cut off.
    let id = bed.sim.add_image(ImageSpec::single("127.0.0.1:5000/team/app:2", 1, 1));
    let image = listed(&mut bed, &id).await;
    assert_eq!(image.repo_tags, ["127.0.0.1:5000/team/app:2"]);
    assert!(image.repo_digests[0].starts_with("127.0.0.1@sha256:"), "{:?}", image.repo_digests);
}

#[tokio::test]
async fn the_old_digest_is_kept_when_a_tag_moves() {
    let mut bed = crio();
    let old = bed.sim.add_image(ImageSpec::single("app:1", 1, 2));
    let digests = listed(&mut bed, &old).await.repo_digests;
    let new = bed.sim.add_image(ImageSpec::single("app:1", 1, 2));
    let image = listed(&mut bed, &old).await;
    assert_eq!((image.repo_tags.len(), image.repo_digests), (0, digests));
    // A further tag adds the digest of its repository.
    bed.sim.with(|node| node.move_tag("other/app:3", &new)).unwrap();
    let image = listed(&mut bed, &new).await;
    assert_eq!(image.repo_tags, ["docker.io/library/app:1", "docker.io/other/app:3"]);
    assert!(image.repo_digests[1].starts_with("docker.io/other/app@sha256:"), "{:?}", image.repo_digests);
}

#[tokio::test]
async fn a_container_names_its_image_by_digest_and_id_and_its_status_by_some_name() {
    let mut bed = crio();
    let image = bed.sim.add_image(ImageSpec::single("app:1", 1, 2).tag("app:2"));
    let digest = listed(&mut bed, &image).await.repo_digests.remove(0);
    let pod = bed.pod("a");
    let by_id = bed.sim.add_container(ContainerSpec::new(&pod, "app").image(&image)).unwrap();
    let container = bed.list_all().await.remove(0);
    assert_eq!(
        (container.image.unwrap().image, container.image_ref, container.image_id),
        (image.clone(), digest.clone(), image)
    );
    let status = bed.status(&by_id).await.unwrap();
    assert_eq!((status.image.unwrap().image.as_str(), status.image_ref), ("docker.io/library/app:1", digest));
    bed.sim.add_image(ImageSpec::single("app:1", 1, 2));
    let status = bed.status(&by_id).await.unwrap();
    assert_eq!(status.image.unwrap().image, "docker.io/library/app:2", "a name that it has now");
}

#[tokio::test]
async fn older_releases_report_no_image_id_and_a_reference_can_be_one_that_no_image_has() {
    let mut bed = with(Options { container_image_ids: false, ..Options::default() });
    bed.sim.add_image(ImageSpec::single("app:1", 1, 2));
    let pod = bed.pod("a");
    let spec = ContainerSpec::new(&pod, "app")
        .image("app:1")
        .with(|spec| spec.image_ref = Some("r.example/app@sha256:aaaa".to_owned()));
    bed.sim.add_container(spec).unwrap();
    let container = bed.list_all().await.remove(0);
    assert_eq!(
        (container.image_id.as_str(), container.image_ref.as_str()),
        ("", "r.example/app@sha256:aaaa")
    );
}

#[tokio::test]
async fn a_list_has_containers_made_40_to_70_ms_before_their_status_does() {
    for moves in [true, false] {
        let mut bed = with(Options { list_times_move: moves, ..Options::default() });
        let pod = bed.pod("a");
        let id = bed.container(&pod, "app");
        let in_list = bed.list_all().await[0].created_at;
        let ahead = bed.status(&id).await.unwrap().created_at - in_list;
        assert!((40_000_000..=70_000_000).contains(&ahead), "{ahead}");
        let sandbox = bed.sandboxes(Default::default()).await.unwrap()[0].created_at;
        assert_eq!(sandbox, bed.sandbox_status(&pod).await.unwrap().created_at);

        bed.sim.restart().unwrap();
        while bed.list(Default::default()).await.is_err() {}
        let moved = bed.list_all().await[0].created_at - in_list;
        assert_eq!(moved, if moves { 100_000 } else { 0 });
        assert_eq!(bed.sandboxes(Default::default()).await.unwrap()[0].created_at, sandbox);
    }
}

#[tokio::test]
async fn a_container_killed_while_the_runtime_was_down_has_no_times() {
    let mut bed = crio();
    let pod = bed.pod("a");
    let id = bed.container(&pod, "app");
    let made =
        bed.sim.add_container(ContainerSpec::new(&pod, "next").state(ContainerState::Created)).unwrap();
    bed.sim.with(|node| node.kill_unseen(&id)).unwrap();
    let status = bed.status(&id).await.unwrap();
    assert_eq!(status.state(), cri::ContainerState::ContainerExited);
    assert_eq!((status.started_at, status.finished_at), (NO_TIME, NO_TIME));
    let status = bed.status(&made).await.unwrap();
    assert_eq!((status.started_at, status.finished_at), (0, 0), "it may still start");
}

#[tokio::test]
async fn logs_are_in_the_folder_of_the_sandbox_or_of_the_runtime() {
    let mut bed = crio();
    bed.sim.add_image(ImageSpec::single("app:1", 1, 1));
    let config = sandbox_config("a");
    let pod = bed.run_sandbox(config.clone()).await.unwrap();
    let id = bed.create(&pod, container_config("app", 0, "app:1"), &config).await.unwrap();
    bed.start(&id).await.unwrap();
    let log = bed.status(&id).await.unwrap().log_path;
    let own = bed.sim.paths().runtime_logs.join(&pod).join(format!("{id}.log"));
    assert_eq!(std::path::Path::new(&log), own);
    assert!(own.is_file());

    // A sandbox has an empty log next to those of its containers, which is not removed with it.
    let old = bed.sim.add_pod(PodSpec::new("ns", "web", "u-1").not_ready()).unwrap();
    bed.sim.add_pod(PodSpec::new("ns", "web", "u-1").attempt(1)).unwrap();
    let log = bed.sim.paths().pod_logs_root.join("ns_web_u-1").join(format!("{old}.log"));
    assert_eq!(std::fs::metadata(&log).unwrap().len(), 0);
    bed.remove_sandbox(&old).await.unwrap();
    assert!(log.is_file());
}

#[tokio::test]
async fn the_image_file_system_is_in_both_lists_and_only_metadata_is_counted() {
    for separate in [false, true] {
        let mut bed = with(Options { separate_container_fs: separate, ..Options::default() });
        bed.sim.add_image(ImageSpec::single("app:1", 500 * MIB, 900 * MIB));
        bed.sim.advance(Duration::from_secs(10));
        let info = bed.fs_info().await;
        let place = |list: &[cri::FilesystemUsage]| list[0].fs_id.as_ref().unwrap().mountpoint.clone();
        let (images, containers) = (place(&info.image_filesystems), place(&info.container_filesystems));
        assert!(images.ends_with("/overlay-images"), "{images}");
        assert_eq!(images == containers, !separate, "{containers}");
        assert_eq!(containers.ends_with("/overlay-containers"), separate, "{containers}");
        assert!(info.image_filesystems[0].used_bytes.unwrap().value < 100_000);
        let probe = bed.sim.fs_probe();
        assert!(probe(images.as_ref()).is_ok() && probe(containers.as_ref()).is_ok());
        assert!(std::path::Path::new(&containers).is_dir());
    }
}

#[tokio::test]
async fn a_pod_without_a_uid_is_refused() {
    let mut bed = crio();
    let mut config = sandbox_config("a");
    config.metadata.as_mut().unwrap().uid.clear();
    assert_eq!(code(bed.run_sandbox(config).await), Code::Unknown);
    assert!(bed.sim.add_pod(PodSpec::new("default", "a", "")).is_err());
    assert!(bed.sim.sandbox_ids().is_empty());
}

#[tokio::test]
async fn no_container_is_created_in_a_stopped_sandbox() {
    let mut bed = crio();
    bed.sim.add_image(ImageSpec::single("app:1", 1, 1));
    let config = sandbox_config("a");
    let pod = bed.run_sandbox(config.clone()).await.unwrap();
    bed.stop_sandbox(&pod).await.unwrap();
    assert_eq!(code(bed.create(&pod, container_config("app", 0, "app:1"), &config).await), Code::Unknown);
    assert!(bed.sim.container_ids().is_empty());
}

#[tokio::test]
async fn an_image_that_a_container_uses_is_not_removed_by_any_name() {
    for state in
        [ContainerState::Created, ContainerState::Running, ContainerState::Exited, ContainerState::Unknown]
    {
        let mut bed = crio();
        let image = bed.sim.add_image(ImageSpec::single("app:1", 1, 1).tag("app:2"));
        let pod = bed.pod("a");
        let user =
            bed.sim.add_container(ContainerSpec::new(&pod, "app").image("app:1").state(state)).unwrap();
        let digest = listed(&mut bed, &image).await.repo_digests.remove(0);
        for name in [&image, &image[..12], "app:1", "docker.io/library/app:2", &digest] {
            let text = refusal(bed.remove_image(name).await);
            assert_eq!(text, format!("image used by {user}: image is in use by a container"), "{name}");
        }
        assert_eq!(listed(&mut bed, &image).await.repo_tags.len(), 2, "all tags are kept");
        bed.remove(&user).await.unwrap();
        bed.remove_image(&image).await.unwrap();
        assert!(!bed.sim.image_ids().contains(&image));
    }
}

#[tokio::test]
async fn the_pause_image_is_refused_because_sandboxes_use_it_and_not_for_its_pin() {
    let mut bed = crio();
    let pause = bed.sim.image_ids().remove(0);
    assert!(listed(&mut bed, &pause).await.pinned);
    let pod = bed.pod("a");
    let text = refusal(bed.remove_image(&pause).await);
    assert_eq!(text, format!("image used by {pod}: image is in use by a container"));
    bed.remove_sandbox(&pod).await.unwrap();
    bed.remove_image(&pause).await.unwrap();
    assert!(bed.sim.image_ids().is_empty());
}

#[tokio::test]
async fn a_replaced_pause_image_loses_its_pin_and_pinning_can_be_off() {
    let mut bed = crio();
    let old = bed.sim.image_ids().remove(0);
    bed.pod("a");
    let new = bed.sim.add_image(ImageSpec::single("reg.example/pause:9", 1, 1));
    bed.sim.with(|node| node.set_sandbox_image("reg.example/pause:9"));
    assert!(!listed(&mut bed, &old).await.pinned);
    assert!(listed(&mut bed, &new).await.pinned);
    assert!(refusal(bed.remove_image(&old).await).ends_with("image is in use by a container"));

    let mut bed = with(Options { pin_sandbox_image: false, ..Options::default() });
    assert!(!bed.list_images().await.remove(0).pinned);
    // A pattern of the runtime's configuration pins others.
    let pinned = bed.sim.add_image(ImageSpec::single("edge:1", 1, 1).with(|image| image.pinned = true));
    assert!(listed(&mut bed, &pinned).await.pinned);
}

#[tokio::test]
async fn an_id_takes_all_tags_and_a_tag_only_itself_unless_it_is_the_last() {
    let mut bed = crio();
    let image = bed.sim.add_image(ImageSpec::single("app:1", 1, 1).tag("app:2"));
    bed.remove_image("app:1").await.unwrap();
    assert_eq!(listed(&mut bed, &image).await.repo_tags, ["docker.io/library/app:2"]);
    bed.remove_image("app:1").await.unwrap();
    bed.remove_image("app:2").await.unwrap();
    assert!(!bed.sim.image_ids().contains(&image));

    for name in [64, 10] {
        let image = bed.sim.add_image(ImageSpec::single("app:1", 1, 1).tag("app:2"));
        bed.remove_image(&image[..name]).await.unwrap();
        assert!(!bed.sim.image_ids().contains(&image));
    }
}

#[tokio::test]
async fn an_id_with_its_algorithm_is_read_as_a_short_name() {
    let mut bed = crio();
    let image = bed.sim.add_image(ImageSpec::single("app:1", 1, 1));
    let text = refusal(bed.remove_image(&format!("sha256:{image}")).await);
    assert!(text.contains("short-name"), "{text}");
    assert!(bed.sim.image_ids().contains(&image));
}

#[tokio::test]
async fn an_artifact_is_removed_by_a_name_and_not_by_its_id_though_the_answer_is_ok() {
    let mut bed = crio();
    let make = |bed: &Bed| {
        bed.sim
            .add_image(ImageSpec::single("r.example/model:1", MIB, MIB).with(|image| image.artifact = true))
    };
    let artifact = make(&bed);
    let digest = listed(&mut bed, &artifact).await.repo_digests.remove(0);
    for id in [&artifact, &artifact[..9]] {
        bed.remove_image(id).await.unwrap();
        assert!(bed.sim.image_ids().contains(&artifact), "{id}");
    }
    for name in ["r.example/model:1", &digest] {
        let artifact = make(&bed);
        let name = if name == digest {
            listed(&mut bed, &artifact).await.repo_digests.remove(0)
        } else {
            name.to_owned()
        };
        bed.remove_image(&name).await.unwrap();
        assert!(!bed.sim.image_ids().contains(&artifact), "{name}");
    }
    // For containerd it is an image.
    let mut bed = Bed::flavour(Flavour::Containerd21);
    let image = make(&bed);
    bed.remove_image(&image).await.unwrap();
    assert!(!bed.sim.image_ids().contains(&image));
}

#[tokio::test]
async fn an_image_that_another_program_uses_is_refused_though_no_container_is_listed() {
    for flavour in Flavour::ALL {
        let mut bed = Bed::flavour(flavour);
        let image = bed.sim.add_image(ImageSpec::single("app:1", 1, 1));
        bed.sim.with(|node| node.image_mut("app:1").unwrap().held_by = Some("another".to_owned()));
        let answer = bed.remove_image(&image).await;
        if flavour != Flavour::CriO {
            // It shares its images with no other program.
            answer.unwrap();
            continue;
        }
        let text = refusal(answer);
        assert!(
            text.starts_with("image used by ") && text.ends_with(": image is in use by a container"),
            "{text}"
        );
        assert!(bed.list_all().await.is_empty());
        bed.sim.with(|node| node.image_mut("app:1").unwrap().held_by = None);
        bed.remove_image(&image).await.unwrap();
        assert!(!bed.sim.image_ids().contains(&image));
    }
}
