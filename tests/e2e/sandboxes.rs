//! behaviour: Sandboxes: which sandboxes are removed.

use cri_gc_sim::{ContainerSpec, Method, SandboxState};
use cri_gc_test_support::{flavours::options, on_each_flavour};

use crate::embedded::node_and_sim;
use crate::node::Node;

on_each_flavour!(
    #[tokio::test] async:
    a_sandbox_that_gets_a_container_or_becomes_ready_meanwhile_is_kept,
);

on_both!(
    of_an_existing_pod_the_newest_sandbox_and_those_not_empty_are_kept,
    all_sandboxes_of_a_deleted_pod_are_removed,
    a_sandbox_that_cannot_be_stopped_is_not_removed_until_it_can,
);

async fn of_an_existing_pod_the_newest_sandbox_and_those_not_empty_are_kept(node: &mut Node) {
    // Nothing is confirmed of any pod.
    node.set("pods.runtime_grace", "10m");
    let idle = node.ended_pod("idle", &[]).await;
    let again = node.again(&idle).await;
    node.stop(&again).await;
    // Its first sandbox has a dead container, its second one nothing, its third one runs.
    let web = node.ended_pod("web", &["job"]).await;
    let empty = node.again(&web).await;
    node.stop(&empty).await;
    node.again(&empty).await;
    // Its only sandbox, and one that is not even ready.
    node.ended_pod("one", &[]).await;

    node.set("sandbox_gc.min_age", "1h");
    assert_eq!(node.loses(&[]).await.is_good().kept("sandbox idle#0"), "too_young");
    node.set("sandbox_gc.min_age", "0s");
    let report = node.loses(&["sandbox idle#0", "sandbox web#1"]).await;
    assert_eq!(report.is_good().removal("sandbox idle#0"), "older_sandbox: removed");
    for (sandbox, reason) in [
        ("sandbox idle#1", "newest_sandbox"),
        ("sandbox web#0", "has_containers"),
        ("sandbox web#2", "sandbox_ready"),
        ("sandbox one#0", "newest_sandbox"),
    ] {
        assert_eq!(report.kept(sandbox), reason, "{sandbox}");
    }
    node.is_settled().await;
}

async fn all_sandboxes_of_a_deleted_pod_are_removed(node: &mut Node) {
    let gone = node.ended_pod("gone", &["job"]).await;
    let again = node.again(&gone).await;
    node.stop(&again).await;
    let web = node.pod("web").await;

    // With its containers kept, their sandbox is kept as well.
    node.set("container_gc.mode", "off");
    let report = node.loses(&["sandbox gone#1"]).await;
    assert_eq!(report.is_good().removal("sandbox gone#1"), "pod_deleted: removed");
    assert_eq!(report.kept("sandbox gone#0"), "has_containers");
    assert_eq!(report.kept("log gone/"), "has_containers");
    node.set("container_gc.mode", "enforce");
    node.loses(&["container gone/job#0", "sandbox gone#0", "log gone/*"]).await.is_good();
    node.is_settled().await;
    node.stop(&web).await;
    node.loses(&["sandbox web#0", "log web/"]).await.is_good();
}

async fn a_sandbox_that_cannot_be_stopped_is_not_removed_until_it_can(node: &mut Node) {
    let stuck = node.pod("stuck").await;
    node.pod("web").await;
    // Its network is still to be torn down, which fails.
    node.runtime.lose_sandbox(&stuck.id);
    node.until_not_ready(&stuck).await;
    node.runtime.break_teardown();
    let report = node.loses(&[]).await;
    assert_eq!(report.code, 3);
    assert_eq!(report.with_result("failed"), ["sandbox stuck#0"]);
    let error = report.pass("sandbox_gc")["removals"][0]["error"].as_str().unwrap();
    assert!(error.contains("broken by the test"), "{error}");

    node.runtime.repair_teardown();
    node.loses(&["sandbox stuck#0", "log stuck/"]).await.is_good();
    node.is_settled().await;
}

// What no real runtime does to order.

/// The list of sandboxes that is the check of the first removal of a sweep: those before are what it observes.
const CHECK: usize = 4;

async fn a_sandbox_that_gets_a_container_or_becomes_ready_meanwhile_is_kept() {
    for becomes_ready in [false, true] {
        let (node, sim) = node_and_sim(options());
        let pod = node.ended_pod("pod", &[]).await;
        let id = pod.id.clone();
        // A removal would silently remove the container too.
        let (method, number) =
            if becomes_ready { (Method::ListPodSandbox, CHECK) } else { (Method::StopPodSandbox, 1) };
        sim.before_nth(method, number, move |node, _| {
            if becomes_ready {
                node.set_sandbox_state(&id, SandboxState::Ready).unwrap();
            } else {
                node.add_container(ContainerSpec::new(&id, "late").no_log()).unwrap();
            }
        });
        let report = node.sweep(&[]).await;
        let refused = if becomes_ready { "sandbox_ready" } else { "has_containers" };
        assert_eq!(report.is_good().removal("sandbox pod#0"), format!("pod_deleted: refused ({refused})"));
        assert_eq!(sim.count(Method::RemovePodSandbox), 0);
    }
}
