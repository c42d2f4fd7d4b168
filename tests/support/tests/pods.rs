//! Pods, containers and restarts on a real containerd.

use std::time::Duration;

use cri_gc_proto::cri::{ContainerFilter, ContainerState, PodSandboxState};
use cri_gc_test_support::{
    ContainerSpec, Containerd, OciImage, Options, PodSpec, containerd_or_skip, legacy_log_link, pod_log_dir,
    until_async,
};

const APP: &str = "cri-gc.test/app:1";

fn with_app(test: &str) -> Option<Containerd> {
    let containerd = containerd_or_skip(test, Options::default())?;
    containerd.import(&OciImage::new(APP).payload(1, 100_000));
    Some(containerd)
}

#[tokio::test]
async fn a_pod_runs_one_container_next_to_its_dead_ones() {
    let Some(containerd) = with_app("a_pod_runs_one_container_next_to_its_dead_ones") else {
        return;
    };
    let cri = containerd.cri();
    assert_eq!(cri.version().await.unwrap().runtime_name, "containerd");

    let pod = cri.run_pod(PodSpec::new("default", "web-0").logs(containerd.pod_logs())).await.unwrap();
    let running = cri.run(&pod, &ContainerSpec::sleeper("main", APP)).await.unwrap();
    let dead = cri.run_dead(&pod, &ContainerSpec::exits("job", APP), 0..4).await.unwrap();

    let listed = cri.list_containers().await.unwrap();
    assert_eq!(listed.len(), 5);
    for container in &listed {
        let expected = match container.id == running {
            true => ContainerState::ContainerRunning,
            false => ContainerState::ContainerExited,
        };
        assert_eq!(container.state(), expected);
        let uid = container.labels.iter().find(|pair| pair.key == "io.kubernetes.pod.uid").unwrap();
        assert_eq!(uid.value, pod.spec.uid);
    }
    let attempts: Vec<u32> = dead
        .iter()
        .map(|id| listed.iter().find(|c| c.id == *id).unwrap().metadata.as_ref().unwrap().attempt)
        .collect();
    assert_eq!(attempts, [0, 1, 2, 3]);

    let status = cri.status(&dead[2]).await.unwrap();
    // Not `finished_at >= started_at`: of a container that ends at once, containerd notes the start after the end.
    assert!(status.finished_at >= status.created_at && status.started_at >= status.created_at);
    let log = pod_log_dir(containerd.pod_logs(), &pod.spec).join("job/2.log");
    assert_eq!(status.log_path, log.display().to_string());
    assert!(std::fs::read_to_string(&log).unwrap().contains("done"));
    let link = legacy_log_link(containerd.container_logs(), &pod.spec, "job", &dead[2], &log).unwrap();
    assert_eq!(std::fs::canonicalize(link).unwrap(), std::fs::canonicalize(log).unwrap());

    cri.stop(&running, 10).await.unwrap();
    let sandboxes = cri.list_sandboxes().await.unwrap();
    assert_eq!(sandboxes.len(), 1);
    assert_eq!(sandboxes[0].state(), PodSandboxState::SandboxReady);
}

#[tokio::test]
async fn a_killed_pod_keeps_its_dead_containers() {
    let Some(containerd) = with_app("a_killed_pod_keeps_its_dead_containers") else {
        return;
    };
    let cri = containerd.cri();
    let pod = cri.run_pod(PodSpec::new("jobs", "gone").without_labels()).await.unwrap();
    let other = cri.run_pod(PodSpec::new("jobs", "kept")).await.unwrap();
    let mut ids = Vec::new();
    for name in ["a", "b"] {
        ids.push(cri.run(&pod, &ContainerSpec::stubborn(name, APP).without_labels()).await.unwrap());
    }
    cri.run(&other, &ContainerSpec::sleeper("main", APP)).await.unwrap();
    cri.stop_pod(&pod.id).await.unwrap();

    assert_eq!(cri.pod_status(&pod.id).await.unwrap().state(), PodSandboxState::SandboxNotready);
    let filter = ContainerFilter { pod_sandbox_id: pod.id.clone(), ..ContainerFilter::default() };
    let left = cri.list_containers_where(filter).await.unwrap();
    assert_eq!(left.len(), 2);
    for container in left {
        assert_eq!(container.state(), ContainerState::ContainerExited);
        assert!(container.labels.is_empty() && ids.contains(&container.id));
        cri.remove(&container.id).await.unwrap();
    }
    cri.remove_pod(&pod.id).await.unwrap();
    assert_eq!(cri.list_containers().await.unwrap().len(), 1);
}

#[tokio::test]
async fn containers_survive_a_containerd_that_was_killed_and_started_again() {
    let name = "containers_survive_a_containerd_that_was_killed_and_started_again";
    let Some(mut containerd) = with_app(name) else {
        return;
    };
    let cri = containerd.cri();
    let pod = cri.run_pod(PodSpec::new("default", "web-0")).await.unwrap();
    let running = cri.run(&pod, &ContainerSpec::sleeper("main", APP)).await.unwrap();
    let dead = cri.run_dead(&pod, &ContainerSpec::exits("job", APP), 0..1).await.unwrap();

    containerd.kill();
    assert!(cri.version().await.is_err());
    containerd.restart();
    // The client finds its way back by itself, with pauses.
    let seen =
        until_async(Duration::from_secs(10), || async { cri.list_containers().await.ok() }).await.unwrap();
    assert_eq!(seen.len(), 2);
    assert_eq!(cri.status(&running).await.unwrap().state(), ContainerState::ContainerRunning);
    assert_eq!(cri.status(&dead[0]).await.unwrap().state(), ContainerState::ContainerExited);
    containerd.restart();
    let state =
        until_async(Duration::from_secs(10), || async { cri.status(&running).await.ok() }).await.unwrap();
    assert_eq!(state.state(), ContainerState::ContainerRunning);
}

#[tokio::test]
async fn a_broken_network_teardown_keeps_the_sandbox() {
    let Some(containerd) = with_app("a_broken_network_teardown_keeps_the_sandbox") else {
        return;
    };
    let cri = containerd.cri();
    let pod = cri.run_pod(PodSpec::new("default", "stuck")).await.unwrap();
    containerd.break_cni();
    let refused = cri.stop_pod(&pod.id).await.unwrap_err();
    assert!(refused.message().contains("broken by the test"), "{refused}");
    assert!(cri.remove_pod(&pod.id).await.is_err());
    containerd.mend_cni();
    cri.stop_pod(&pod.id).await.unwrap();
    cri.remove_pod(&pod.id).await.unwrap();
    assert!(cri.list_sandboxes().await.unwrap().is_empty());
}
