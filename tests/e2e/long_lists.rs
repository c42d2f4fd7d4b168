//! Lists that are too large for one answer of the runtime (behaviour: Lists of any length): nodes on which a kubelet never collects
//! anything again. Annotations make objects large, and a runtime accepts them of any size.

use std::time::Duration;

use cri_gc_proto::cri::{ContainerState, PodSandbox};
use cri_gc_test_support::{ContainerSpec, Pod, PodSpec, until_async};
use serde_json::Value;

use crate::node::{APP, Node, image};
use crate::program::Ended;

on_both!(
    containers_that_no_answer_holds_are_collected_in_the_first_sweep,
    sandboxes_that_no_answer_holds_are_collected_in_the_first_sweep,
    containers_of_one_sandbox_that_no_answer_holds_are_reported_and_all_else_is_collected,
);

/// Seventeen of them are more than the 16 MiB that a runtime sends.
fn large() -> String {
    "x".repeat(1 << 20)
}

/// A deleted pod whose containers have ended, and have large annotations.
async fn pod(node: &Node, name: &str, containers: usize) -> Pod {
    let pod = node.pod(name).await;
    for number in 0..containers {
        let spec = ContainerSpec::exits(&format!("app{number}"), &image(APP)).annotation("note", &large());
        let id = node.run(&pod, &spec).await;
        node.runtime.end(&id);
        node.cri.wait_exited(&id).await.unwrap();
    }
    node.stop(&pod).await;
    pod
}

fn sweep(node: &Node) -> (Ended, Vec<Value>) {
    let ended = node.run_program(&["sweep", "-o", "json"], None);
    let passes: Value = serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{ended:?}"));
    let of = |pass: &Value| pass["removals"].as_array().unwrap().clone();
    let removals = passes.as_array().unwrap().iter().flat_map(of).collect();
    (ended, removals)
}

/// How long a kubelet may take to start, to fail, and to start a pod.
const PATIENCE: Duration = Duration::from_secs(180);

#[tokio::test]
async fn a_real_kubelet_whose_lists_fail_works_again_after_a_sweep() {
    let name = "a_real_kubelet_whose_lists_fail_works_again_after_a_sweep";
    let Some(node) = crate::containerd::node(name) else { return };
    let Some(mut kubelet) = node.runtime.kubelet(name) else { return };
    for number in 0..10 {
        pod(&node, &format!("gone{number}"), 2).await;
    }
    let starts = kubelet.run_pod("starts", &image(APP));
    kubelet.start();
    let fails = async || {
        let log = kubelet.log();
        let failed = log.lines().filter(|line| line.contains("ResourceExhausted")).count();
        (failed >= 10 && log.contains("Container garbage collection failed")).then_some(())
    };
    until_async(PATIENCE, fails).await.unwrap_or_else(|| panic!("{}", kubelet.log()));
    let named =
        |sandbox: &PodSandbox| sandbox.metadata.as_ref().is_some_and(|metadata| metadata.name == starts);
    let sandboxes = node.cri.list_sandboxes().await.unwrap();
    assert!(sandboxes.len() == 10 && !sandboxes.iter().any(named), "it collects and starts nothing");

    let (ended, _) = sweep(&node);
    assert_eq!(ended.code, 0, "{ended:?}");
    let runs = async || {
        let containers = node.cri.list_containers().await.ok()?;
        containers.iter().any(|container| container.state() == ContainerState::ContainerRunning).then_some(())
    };
    until_async(PATIENCE, runs).await.unwrap_or_else(|| panic!("{}", kubelet.log()));
    let sandboxes = node.cri.list_sandboxes().await.unwrap();
    assert!(sandboxes.len() == 1 && named(&sandboxes[0]), "{sandboxes:?}");
    drop(kubelet);
    node.cri.stop_pod(&sandboxes[0].id).await.unwrap();
    node.cri.remove_pod(&sandboxes[0].id).await.unwrap();
}

/// Only this pod is left, with so many containers.
async fn is_left(node: &Node, pod: &Pod, containers: usize) {
    let sandboxes = node.cri.list_sandboxes().await.unwrap();
    assert_eq!(sandboxes.iter().map(|sandbox| &sandbox.id).collect::<Vec<_>>(), [&pod.id]);
    if let Ok(left) = node.cri.list_containers().await {
        assert_eq!(left.len(), containers);
    }
    assert_eq!(std::fs::read_dir(node.runtime.pod_logs()).unwrap().count(), 1);
}

async fn containers_that_no_answer_holds_are_collected_in_the_first_sweep(node: &mut Node) {
    let web = node.pod("web").await;
    node.running(&web, "main").await;
    for number in 0..10 {
        pod(node, &format!("gone{number}"), 2).await;
    }
    assert!(node.cri.list_containers().await.is_err());
    let (ended, removals) = sweep(node);
    assert_eq!(ended.code, 0, "{ended:?}");
    // Of each pod two containers, the sandbox and the log directory.
    assert_eq!(removals.iter().filter(|removal| removal["result"] == "removed").count(), 40, "{ended:?}");
    is_left(node, &web, 1).await;
    node.is_settled().await;
}

async fn sandboxes_that_no_answer_holds_are_collected_in_the_first_sweep(node: &mut Node) {
    let web = node.pod("web").await;
    node.running(&web, "main").await;
    for number in 0..17 {
        let mut spec = PodSpec::new("default", &format!("gone{number}")).logs(&node.runtime.pod_logs());
        spec.annotations.insert("note".to_owned(), large());
        let pod = node.run_pod(spec).await;
        node.dead(&pod, "app", 0..1).await;
        node.stop(&pod).await;
    }
    assert!(node.cri.list_sandboxes().await.is_err());
    let (ended, _) = sweep(node);
    assert_eq!(ended.code, 0, "{ended:?}");
    is_left(node, &web, 1).await;
    node.is_settled().await;
}

async fn containers_of_one_sandbox_that_no_answer_holds_are_reported_and_all_else_is_collected(
    node: &mut Node,
) {
    let crowded = pod(node, "crowded", 17).await;
    node.ended_pod("gone", &["job"]).await;
    let (ended, _) = sweep(node);
    if node.runtime.has_streams() {
        assert_eq!(ended.code, 0, "{ended:?}");
        assert!(node.cri.list_sandboxes().await.unwrap().is_empty());
        return;
    }
    assert_eq!(ended.code, 3, "{ended:?}");
    let error = format!("the containers in sandbox {} could not be listed", crowded.id);
    assert!(ended.stdout.contains(&error) && ended.stdout.contains("max_send_message_size"), "{ended:?}");
    is_left(node, &crowded, 17).await;
    let plan = node.run_program(&["plan", "-o", "json"], None);
    assert!(plan.stdout.contains("not_all_listed") && plan.stderr.contains(&error), "{plan:?}");
}
