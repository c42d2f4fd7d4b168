//! behaviour: Dead containers: which dead containers are removed, and in which order. Their logs: [`super::container_logs`].

use cri_gc_sim::{Code, ContainerState, Fault, Method, Scope};
use cri_gc_test_support::{ContainerSpec, flavours::options, on_each_flavour};

use crate::embedded::node_and_sim;
use crate::node::{APP, Node, image};

on_each_flavour!(
    #[tokio::test] async:
    an_unknown_container_is_stopped_before_it_is_removed,
    an_unknown_container_keeps_its_pod,
    a_container_that_starts_before_its_removal_is_kept,
    a_container_that_cannot_be_removed_or_stopped_delays_no_other,
);

on_both!(
    each_unit_keeps_its_newest_containers,
    over_the_limit_of_the_node_each_unit_keeps_its_share_and_then_the_oldest_are_removed,
    what_is_too_young_is_kept_and_nothing_is_removed_in_its_place,
    deleted_pods_are_removed_completely_oldest_container_first,
);

fn waiting(name: &str) -> ContainerSpec {
    ContainerSpec::sleeper(name, &image(APP))
}

async fn each_unit_keeps_its_newest_containers(node: &mut Node) {
    let web = node.pod("web").await;
    node.running(&web, "main").await;
    node.dead(&web, "job", 0..4).await;
    node.dead(&web, "init", 0..2).await;
    // The same name in another pod is another unit.
    let db = node.pod("db").await;
    node.dead(&db, "job", 0..1).await;

    node.set("container_gc.max_per_pod_container", -1).is_settled().await;
    node.set("container_gc.max_per_pod_container", 2);
    let gone = ["container web/job#0", "container web/job#1", "log web/job/0.log", "log web/job/1.log"];
    let report = node.loses(&gone).await;
    report.is_good();
    assert_eq!(report.removal("container web/job#0"), "over_pod_container_limit: removed");
    assert_eq!(report.kept("container web/job#2"), "within_limits");
    assert_eq!(report.kept("container web/main#0"), "running");
    node.is_settled().await;

    node.set("container_gc.max_per_pod_container", 1);
    let gone = ["container web/job#2", "container web/init#0", "log web/job/2.log", "log web/init/0.log"];
    node.loses(&gone).await.is_good();
    node.is_settled().await;

    // The last one of each unit is removed as well, but not the log that `logs` shows.
    node.set("container_gc.max_per_pod_container", 0);
    node.loses(&["container web/job#3", "container web/init#1", "container db/job#0"]).await.is_good();
    node.is_settled().await;
}

async fn over_the_limit_of_the_node_each_unit_keeps_its_share_and_then_the_oldest_are_removed(
    node: &mut Node,
) {
    let web = node.pod("web").await;
    node.running(&web, "main").await;
    node.dead(&web, "a", 0..4).await;
    node.dead(&web, "b", 0..2).await;
    node.set("container_gc.max_per_pod_container", -1);

    node.set("container_gc.max_containers", 6).is_settled().await;
    // Five for two units: two each, which leaves one less than there could be.
    node.set("container_gc.max_containers", 5);
    let report =
        node.loses(&["container web/a#0", "container web/a#1", "log web/a/0.log", "log web/a/1.log"]).await;
    assert_eq!(report.is_good().removal("container web/a#1"), "over_unit_share: removed");
    node.is_settled().await;

    // Three for two units: one each.
    node.set("container_gc.max_containers", 3);
    node.loses(&["container web/a#2", "container web/b#0", "log web/a/2.log", "log web/b/0.log"])
        .await
        .is_good();

    // One for two units: the share is never less than one, so the oldest of all is removed; its log is the one that is shown.
    node.set("container_gc.max_containers", 1);
    let report = node.loses(&["container web/a#3"]).await;
    assert_eq!(report.is_good().removal("container web/a#3"), "over_node_limit: removed");
    node.set("container_gc.max_containers", 0);
    node.loses(&["container web/b#1"]).await.is_good();
    node.is_settled().await;
}

async fn what_is_too_young_is_kept_and_nothing_is_removed_in_its_place(node: &mut Node) {
    let web = node.pod("web").await;
    node.dead(&web, "job", 0..2).await;
    node.created(&web, &waiting("next")).await;

    node.set("container_gc.max_per_pod_container", 0).set("container_gc.min_age", "1h");
    let report = node.loses(&[]).await;
    for container in ["container web/job#0", "container web/job#1", "container web/next#0"] {
        assert_eq!(report.is_good().kept(container), "too_young");
    }

    // Lists do not say when a container finished: the plan names it, the re-check right before the removal refuses.
    node.set("container_gc.min_age", "0s").set("container_gc.max_per_pod_container", 1);
    node.set("container_gc.min_dead_age", "1h").set("container_gc.created_grace", "1h");
    let report = node.loses(&[]).await;
    let refused = "over_pod_container_limit: refused (finished_recently)";
    assert_eq!(report.is_good().removal("container web/job#0"), refused);
    assert_eq!(report.kept("container web/job#1"), "within_limits");
    assert_eq!(report.kept("container web/next#0"), "created_recently");

    // What never ran has not finished: only its own grace keeps it.
    node.set("container_gc.created_grace", "0s").set("container_gc.max_per_pod_container", 0);
    node.loses(&["container web/next#0"]).await.is_good();
    node.set("container_gc.min_dead_age", "0s");
    node.loses(&["container web/job#0", "container web/job#1", "log web/job/0.log"]).await.is_good();
    node.is_settled().await;
}

async fn deleted_pods_are_removed_completely_oldest_container_first(node: &mut Node) {
    let gone = node.pod("gone").await;
    for (attempt, id) in (0..).zip(node.dead(&gone, "job", 0..2).await) {
        node.link(&gone, "job", attempt, &id);
    }
    node.dead(&gone, "init", 0..1).await;
    node.created(&gone, &waiting("next")).await;
    node.stop(&gone).await;
    // One of the same names lives.
    let web = node.pod("web").await;
    node.dead(&web, "job", 0..1).await;
    node.dead(&web, "init", 0..1).await;

    node.set("container_gc.max_per_pod_container", -1);
    node.set("pods.runtime_grace", "10m").is_settled().await;
    node.set("pods.runtime_grace", "0s").set("container_gc.parallel_removals", 1);
    let report = node.loses(&["container gone/*", "sandbox gone#0", "log gone/*", "link gone/*"]).await;
    assert_eq!(report.is_good().removal("container gone/next#0"), "pod_deleted: removed");
    let order =
        ["container gone/job#0", "container gone/job#1", "container gone/init#0", "container gone/next#0"];
    assert_eq!(report.with_result("removed")[..4], order);
    node.is_settled().await;
}

// containerd does not say when a container was created whose status it lost, so its age is not known.

#[tokio::test]
async fn a_container_whose_status_containerd_lost_has_no_age_and_is_kept_with_its_pod() {
    let name = "a_container_whose_status_containerd_lost_has_no_age_and_is_kept_with_its_pod";
    let Some(mut node) = crate::containerd::node(name) else { return };
    let pod = node.pod("done").await;
    let lost = node.dead(&pod, "lost", 0..1).await.remove(0);
    node.dead(&pod, "job", 0..1).await;
    node.stop(&pod).await;
    node.lose_status(&lost);
    node.set("container_gc.max_per_pod_container", 0);
    // Not that of a pod that is gone: the log that is shown is kept.
    let report = node.loses(&["container done/job#0"]).await;
    assert_eq!(report.is_good().kept("container done/lost#0"), "age_unknown");
    assert_eq!(report.kept("sandbox done#0"), "has_containers");
    assert_eq!(report.kept("log done/"), "pod_unknown");
    node.is_settled().await;
}

// What no real runtime does to order.

async fn an_unknown_container_is_stopped_before_it_is_removed() {
    let mut node = crate::embedded::node();
    let web = node.pod("web").await;
    let lost = node.running(&web, "lost").await;
    node.running(&web, "main").await;
    node.lose_status(&lost);
    node.set("container_gc.max_per_pod_container", 0);
    node.loses(&["container web/lost#0"]).await.is_good();
    assert_eq!(node.runtime.order_of_calls(&lost), ["StopContainer", "RemoveContainer"]);
    node.is_settled().await;
}

async fn an_unknown_container_keeps_its_pod() {
    let mut node = crate::embedded::node();
    let pod = node.pod("done").await;
    let lost = node.dead(&pod, "lost", 0..1).await.remove(0);
    node.dead(&pod, "job", 0..1).await;
    node.stop(&pod).await;
    node.lose_status(&lost);
    let report = node.loses(&[]).await;
    assert_eq!(report.is_good().kept("container done/lost#0"), "within_limits");
    assert_eq!(report.kept("log done/"), "pod_unknown");

    // The limits apply to it as to any: once it is removed, nothing is in doubt.
    node.set("container_gc.max_per_pod_container", 0);
    node.loses(&["container done/*", "sandbox done#0", "log done/*"]).await.is_good();
    node.is_settled().await;
}

async fn a_container_that_starts_before_its_removal_is_kept() {
    let (mut node, sim) = node_and_sim(options());
    let web = node.pod("web").await;
    let next = node.created(&web, &waiting("next")).await;
    node.dead(&web, "job", 0..1).await;
    node.set("container_gc.max_per_pod_container", 0).set("container_gc.parallel_removals", 1);
    let id = next.clone();
    sim.before_next(Method::ContainerStatus, move |node, _| {
        node.set_container_state(&id, ContainerState::Running).unwrap();
    });
    let report = node.sweep(&[]).await;
    assert_eq!(
        report.is_good().removal("container web/next#0"),
        "over_pod_container_limit: refused (running)"
    );
    assert_eq!(report.removal("container web/job#0"), "over_pod_container_limit: removed");
    assert_eq!(sim.container_ids(), [next]);
}

async fn a_container_that_cannot_be_removed_or_stopped_delays_no_other() {
    let (mut node, sim) = node_and_sim(options());
    let web = node.pod("web").await;
    let busy = node.dead(&web, "busy", 0..1).await.remove(0);
    let lost = node.running(&web, "lost").await;
    node.dead(&web, "job", 0..1).await;
    node.lose_status(&lost);
    node.set("container_gc.max_per_pod_container", 0);
    let fault = |text: &str| Fault::error(Code::Unknown, text);
    sim.fault(Method::RemoveContainer, fault("device busy"), Scope::ForId(busy));
    sim.fault(Method::StopContainer, fault("shim is gone"), Scope::ForId(lost.clone()));
    let report = node.loses(&["container web/job#0"]).await;
    assert_eq!(report.code, 3);
    let mut failed = report.with_result("failed");
    // They are tried at the same time.
    failed.sort();
    assert_eq!(failed, ["container web/busy#0", "container web/lost#0"]);
    assert_eq!(node.runtime.order_of_calls(&lost), ["StopContainer"], "what can't be stopped is not removed");

    sim.clear_faults();
    node.loses(&["container web/busy#0", "container web/lost#0"]).await.is_good();
    node.is_settled().await;
}
