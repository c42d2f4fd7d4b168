//! Making pods over the socket, and the log files that this makes.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::bed::{Bed, code, container_config, sandbox_config};
use cri_gc_proto::cri;
use cri_gc_sim::{
    Code, ContainerSpec, ContainerState, Flavour, ImageSpec, LogSpec, Options, PodSpec, SandboxState,
};
use cri_gc_test_support::flavours::{flavour, options};
use cri_gc_test_support::on_each_flavour;

on_each_flavour!(
    #[tokio::test] async:
    a_pod_is_made_run_and_logged,
    a_name_is_reserved_until_its_object_is_removed,
    without_the_sandbox_image_no_pod_starts,
    a_start_that_fails_leaves_an_exited_container,
    further_log_roots_can_be_allowed,
    annotations_of_a_request_count_towards_the_size_of_lists,
    log_files_of_the_past_have_modelled_times,
    a_pod_can_have_no_logs_and_a_log_directory_no_pod,
);

fn modified(path: &Path) -> SystemTime {
    fs::metadata(path).unwrap().modified().unwrap()
}

/// A pod with a log directory, made over the socket; its folders are made as a kubelet does.
async fn with_logs(bed: &mut Bed) -> (String, cri::PodSandboxConfig) {
    let mut config = sandbox_config("a");
    let logs = bed.sim.paths().pod_logs_root.join("default_a_uid-of-a");
    fs::create_dir_all(logs.join("app")).unwrap();
    config.log_directory = logs.to_str().unwrap().into();
    config.labels = [("io.kubernetes.pod.uid".to_owned(), "uid-of-a".to_owned())].into();
    let pod = bed.run_sandbox(config.clone()).await.unwrap();
    (pod, config)
}

async fn a_pod_is_made_run_and_logged() {
    let mut bed = Bed::new();
    bed.sim.add_image(ImageSpec::single("app:1", 1, 1));
    let (pod, config) = with_logs(&mut bed).await;
    let mut wanted = container_config("app", 0, "app:1");
    wanted.log_path = "app/0.log".into();
    wanted.labels = [("k".to_owned(), "v".to_owned())].into();
    let id = bed.create(&pod, wanted, &config).await.unwrap();
    let listed = bed.list_all().await.remove(0);
    assert_eq!(listed.state(), cri::ContainerState::ContainerCreated);
    assert_eq!(listed.labels, [cri::Pair { key: "k".into(), value: "v".into() }]);
    let log = bed.status(&id).await.unwrap().log_path;
    assert!(!Path::new(&log).exists(), "a container that was only created has written nothing");

    bed.sim.advance(Duration::from_secs(5));
    bed.start(&id).await.unwrap();
    let status = bed.status(&id).await.unwrap();
    assert_eq!(status.state(), cri::ContainerState::ContainerRunning);
    assert_eq!(i128::from(status.started_at), bed.sim.now().as_nanosecond());
    assert!(fs::read_to_string(&log).unwrap().lines().count() > 1);
    assert_eq!(modified(Path::new(&log)), SystemTime::from(bed.sim.now()));
    assert_eq!(code(bed.start(&id).await), Code::Unknown, "only a created one starts");

    bed.remove_sandbox(&pod).await.unwrap();
    assert!(Path::new(&log).exists(), "a runtime leaves logs alone");
}

#[tokio::test]
async fn a_container_needs_a_ready_sandbox_and_a_present_image() {
    let mut bed = Bed::with(Options { flavour: Flavour::Containerd16, ..options() });
    bed.sim.add_image(ImageSpec::single("app:1", 1, 1));
    let config = sandbox_config("a");
    let pod = bed.run_sandbox(config.clone()).await.unwrap();
    let wanted = |image| container_config("app", 0, image);
    assert_eq!(code(bed.create(&pod, wanted("app:2"), &config).await), Code::NotFound);
    assert_eq!(code(bed.create("feed", wanted("app:1"), &config).await), Code::NotFound);
    let nameless = cri::ContainerConfig { metadata: None, ..wanted("app:1") };
    assert_eq!(code(bed.create(&pod, nameless, &config).await), Code::Unknown);
    assert!(bed.sim.container_ids().is_empty());
    bed.stop_sandbox(&pod).await.unwrap();
    assert_eq!(code(bed.create(&pod, wanted("app:1"), &config).await), Code::NotFound);
    bed.sim.with(|node| node.set_sandbox_state(&pod, SandboxState::Ready)).unwrap();
    bed.create(&pod, wanted("app:1"), &config).await.unwrap();
}

#[tokio::test]
async fn containerd_2_creates_a_container_in_a_stopped_sandbox_but_does_not_start_it() {
    let mut bed = Bed::new();
    bed.sim.add_image(ImageSpec::single("app:1", 1, 1));
    let config = sandbox_config("a");
    let pod = bed.run_sandbox(config.clone()).await.unwrap();
    bed.stop_sandbox(&pod).await.unwrap();
    let id = bed.create(&pod, container_config("app", 0, "app:1"), &config).await.unwrap();
    assert_eq!(code(bed.start(&id).await), Code::Unknown);
}

async fn a_name_is_reserved_until_its_object_is_removed() {
    let mut bed = Bed::new();
    bed.sim.add_image(ImageSpec::single("app:1", 1, 1));
    let config = sandbox_config("a");
    let pod = bed.run_sandbox(config.clone()).await.unwrap();
    assert_eq!(code(bed.run_sandbox(config.clone()).await), Code::Unknown);
    let first = bed.create(&pod, container_config("app", 0, "app:1"), &config).await.unwrap();
    assert_eq!(code(bed.create(&pod, container_config("app", 0, "app:1"), &config).await), Code::Unknown);
    bed.create(&pod, container_config("app", 1, "app:1"), &config).await.unwrap();
    bed.remove(&first).await.unwrap();
    bed.create(&pod, container_config("app", 0, "app:1"), &config).await.unwrap();
}

async fn without_the_sandbox_image_no_pod_starts() {
    let mut bed = Bed::new();
    let image = bed.sim.image_ids().remove(0);
    bed.remove_image(&image).await.unwrap();
    assert_eq!(code(bed.run_sandbox(sandbox_config("a")).await), Code::Unknown);
    assert!(bed.sim.sandbox_ids().is_empty());
}

async fn a_start_that_fails_leaves_an_exited_container() {
    let mut bed = Bed::new();
    bed.sim.add_image(ImageSpec::single("app:1", 1, 1));
    let (pod, config) = with_logs(&mut bed).await;
    // The folder of the log is missing, then the log is somewhere else on the machine, then the sandbox is stopped.
    let outside = tempfile::tempdir().unwrap();
    let elsewhere =
        cri::PodSandboxConfig { log_directory: outside.path().to_str().unwrap().into(), ..config.clone() };
    for (attempt, log, config) in [
        (0, "other/0.log", &config),
        (1, "1.log", &elsewhere),
        (2, "../../../../2.log", &config),
        (3, "", &config),
    ] {
        let mut wanted = container_config("app", attempt, "app:1");
        wanted.log_path = log.into();
        let id = bed.create(&pod, wanted, config).await.unwrap();
        if log.is_empty() {
            bed.stop_sandbox(&pod).await.unwrap();
        }
        if flavour() == Flavour::CriO && log == "1.log" {
            // It knows the log directory from the sandbox.
            bed.start(&id).await.unwrap();
            continue;
        }
        assert_eq!(code(bed.start(&id).await), Code::Unknown, "{log}");
        let status = bed.status(&id).await.unwrap();
        assert_eq!(status.state(), cri::ContainerState::ContainerExited, "{log}");
        assert!(status.started_at <= 0, "it never started: {}", status.started_at);
        assert_eq!(i128::from(status.finished_at), bed.sim.now().as_nanosecond());
    }
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
}

async fn further_log_roots_can_be_allowed() {
    let outside = tempfile::tempdir().unwrap();
    let mut bed = Bed::with(Options { log_roots: vec![outside.path().into()], ..options() });
    bed.sim.add_image(ImageSpec::single("app:1", 1, 1));
    let mut config = sandbox_config("a");
    config.log_directory = outside.path().to_str().unwrap().into();
    let pod = bed.run_sandbox(config.clone()).await.unwrap();
    let mut wanted = container_config("app", 0, "app:1");
    wanted.log_path = "0.log".into();
    let id = bed.create(&pod, wanted, &config).await.unwrap();
    bed.start(&id).await.unwrap();
    assert!(outside.path().join("0.log").is_file());
}

async fn annotations_of_a_request_count_towards_the_size_of_lists() {
    let mut bed = Bed::with(Options { message_limit: 5000, ..options() });
    bed.sim.add_image(ImageSpec::single("app:1", 1, 1));
    let mut config = sandbox_config("a");
    config.annotations = [("k".to_owned(), "v".repeat(4800))].into();
    let pod = bed.run_sandbox(config.clone()).await.unwrap();
    assert_eq!(code(bed.sandboxes(Default::default()).await), Code::Ok);
    let mut wanted = container_config("app", 0, "app:1");
    wanted.annotations = [("k".to_owned(), "v".repeat(5000))].into();
    let id = bed.create(&pod, wanted, &config).await.unwrap();
    assert_eq!(code(bed.list(Default::default()).await), Code::ResourceExhausted);
    bed.remove(&id).await.unwrap();
    assert_eq!(code(bed.list(Default::default()).await), Code::Ok);
}

async fn log_files_of_the_past_have_modelled_times() {
    let bed = Bed::new();
    let hours = |n: u64| bed.sim.ago(Duration::from_secs(3600 * n));
    let spec = PodSpec::new("ns", "web", "u-1").created_at(hours(30));
    let pod = bed.sim.add_pod(spec).unwrap();
    let log = LogSpec { bytes: 5000, rotated: 2, legacy_link: true };
    let spec = ContainerSpec::new(&pod, "app").attempt(4).exited(hours(20), hours(10)).log(log);
    let id = bed.sim.add_container(spec).unwrap();
    let folder = bed.sim.paths().pod_logs_root.join("ns_web_u-1");
    let file = folder.join("app/4.log");
    assert_eq!(fs::metadata(&file).unwrap().len(), 5000);
    assert_eq!(modified(&file), SystemTime::from(hours(10)));
    let mut names: Vec<String> = fs::read_dir(folder.join("app"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["4.log", "4.log.20260531-160000", "4.log.20260531-170000.gz"]);
    for dir in [folder.join("app"), folder] {
        assert_eq!(modified(&dir), SystemTime::from(hours(20)), "{}", dir.display());
    }
    let link = bed.sim.paths().legacy_root.join(format!("web_ns_app-{id}.log"));
    assert_eq!(fs::read_link(link).unwrap(), file);
}

async fn a_pod_can_have_no_logs_and_a_log_directory_no_pod() {
    let bed = Bed::new();
    let pod =
        bed.sim.add_pod(PodSpec::new("ns", "quiet", "u-1").with(|pod| pod.log_directory = false)).unwrap();
    let id = bed.sim.add_container(ContainerSpec::new(&pod, "app")).unwrap();
    let log = bed.sim.with(|node| node.container(&id).unwrap().log_path.clone());
    if flavour() == Flavour::CriO {
        let own = bed.sim.paths().runtime_logs.join(&pod).join(format!("{id}.log"));
        assert_eq!(log, own, "CRI-O has a folder of its own");
    } else {
        assert_eq!(log, Path::new(""));
    }
    let pod = bed.pod("a");
    let spec = ContainerSpec::new(&pod, "app").state(ContainerState::Created);
    let id = bed.sim.add_container(spec).unwrap();
    assert!(!bed.sim.with(|node| node.container(&id).unwrap().log_path.exists()));
    let at = bed.sim.ago(Duration::from_secs(99));
    let orphan = bed.sim.with(|node| node.add_log_dir("ns_gone_u-9", at)).unwrap();
    assert_eq!(modified(&orphan), SystemTime::from(at));
}
