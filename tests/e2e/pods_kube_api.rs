//! behaviour: Pod sources: the pod source `kube-api`, listed and watched by the service, listed twice by the commands.

use std::path::Path;

use cri_gc_proto::admin::StatusResponse;
use cri_gc_test_support::fresh_uid;
use cri_gc_test_support::kubernetes::{FakeApi, FakeServer, Fault, On, PodObject};

use crate::cluster::{
    self, NODE, Source, join, known, loses_nothing, partly, standing, until_removed_exactly, until_unsynced,
};
use crate::node::Node;
use crate::running_service::{serve, status, well};
use crate::service_commands::succeeded;

on_both!(
    an_api_server_that_dies_returns_empty_and_returns_complete,
    commands_report_what_is_wrong_with_the_api_server_and_do_everything_else,
    many_pods_that_vanish_from_the_api_server_at_once_are_kept_until_confirmed,
    an_empty_api_server_deletes_no_pod_that_the_kubelet_has_a_directory_of,
    events_that_delete_all_that_runs_confirm_nothing,
    the_pods_of_another_node_confirm_nothing,
);

const GONE: [&str; 3] = ["container gone/*", "sandbox gone#0", "log gone/*"];

impl Source for FakeApi {
    fn settings(&self, folder: &Path) -> String {
        let kubeconfig = self.write_kubeconfig(folder);
        format!("[pods]\nsource = \"kube-api\"\n[pods.kube_api]\nkubeconfig = \"{}\"\n", kubeconfig.display())
    }

    fn fill(&self, pods: &[PodObject]) {
        self.wipe();
        pods.iter().for_each(|pod| self.apply(pod.clone()));
    }

    fn static_pod(&self, name: &str, uid: &str) -> PodObject {
        PodObject::new("default", name, &fresh_uid()).phase("Running").mirror_of(uid)
    }

    fn brake_from(&self) -> usize {
        20
    }

    fn server(&self) -> &FakeServer {
        self
    }
}

/// An API server that knows this machine.
fn api() -> FakeApi {
    let api = FakeApi::start(NODE);
    let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    api.set_node(NODE, boot_id.trim());
    api.set_token(Some("a-token-of-the-test"));
    api
}

/// The service is synced, and knows of no pod that is unknown.
async fn until_followed(node: &Node) {
    let whole = |s: &StatusResponse| {
        let known =
            |pods: &cri_gc_proto::admin::PodSource| pods.sums.iter().all(|sum| sum.state != "unknown");
        well(s) && s.pods.as_ref().is_some_and(|pods| pods.synced && known(pods))
    };
    status(node, whole).await;
}

async fn an_api_server_that_dies_returns_empty_and_returns_complete(node: &mut Node) {
    cluster::dies_returns_empty_and_returns_complete(node, &api()).await;
}

async fn commands_report_what_is_wrong_with_the_api_server_and_do_everything_else(node: &mut Node) {
    cluster::commands_report_what_is_wrong_and_do_everything_else(node, &api()).await;
}

async fn many_pods_that_vanish_from_the_api_server_at_once_are_kept_until_confirmed(node: &mut Node) {
    cluster::many_that_vanish_at_once_are_kept_until_confirmed(node, &api()).await;
}

async fn an_empty_api_server_deletes_no_pod_that_the_kubelet_has_a_directory_of(node: &mut Node) {
    let api = api();
    let (web, db) = (node.pod("web").await, node.pod("db").await);
    for pod in [&web, &db] {
        node.running(pod, "main").await;
        node.dead(pod, "init", 0..1).await;
    }
    let whole = [known(&web, "Running"), known(&db, "Running")];
    join(node, &api, &whole, &[&web, &db]);
    let running = serve(node);
    until_followed(node).await;
    // The whole node is down when the API server returns with nothing: no pod runs that shows that it is wrong.
    node.stop(&web).await;
    node.stop(&db).await;
    node.ended_pod("gone", &["job"]).await;
    let before = node.inventory().await;
    api.return_with(&[]);
    until_removed_exactly(node, &before, &GONE).await;
    for pod in [&web, &db] {
        let (state, evidence) = standing(node, pod);
        assert_eq!(state, "unknown", "{}", pod.spec.name);
        assert!(
            evidence.contains("the kubelet still has a directory of it"),
            "{}: {evidence}",
            pod.spec.name
        );
    }
    loses_nothing(node).await;

    api.return_with(&whole);
    until_followed(node).await;
    loses_nothing(node).await;
    running.terminate();
    assert_eq!(running.wait().code, 0);
}

async fn events_that_delete_all_that_runs_confirm_nothing(node: &mut Node) {
    let api = api();
    let web = node.pod("web").await;
    node.running(&web, "main").await;
    // It is about to be restarted, and has no directory.
    let down = node.ended_pod("down", &["app"]).await;
    node.ended_pod("gone", &["job"]).await;
    let whole = [known(&web, "Running"), known(&down, "Running")];
    join(node, &api, &whole, &[&web]);
    let before = node.inventory().await;
    let running = serve(node);
    until_removed_exactly(node, &before, &GONE).await;
    // Each is a valid event, and each question is answered by 404.
    assert!(api.delete("default", "web") && api.delete("default", "down"));
    let doubted = |s: &StatusResponse| {
        let pods = s.pods.iter().flat_map(|pods| &pods.pods);
        well(s)
            && pods.into_iter().any(|pod| pod.evidence.contains("contains none of the pods that run here"))
    };
    status(node, doubted).await;
    until_unsynced(node, "the pod source lists none of the pods that run here (1 ").await;
    loses_nothing(node).await;

    api.return_with(&whole);
    until_followed(node).await;
    loses_nothing(node).await;
    // One that is deleted while the other is there is removed after an event of the watch and a question.
    let before = node.inventory().await;
    assert!(api.delete("default", "down"));
    until_removed_exactly(node, &before, &["container down/*", "sandbox down#0", "log down/*"]).await;
    assert!(api.count(On::Get) > 0, "it was asked for by name");
    running.terminate();
    assert_eq!(running.wait().code, 0);
}

async fn the_pods_of_another_node_confirm_nothing(node: &mut Node) {
    let api = api();
    let web = node.pod("web").await;
    node.running(&web, "main").await;
    node.ended_pod("gone", &["job"]).await;
    let slow = node.ended_pod("slow", &["job"]).await;
    join(node, &api, &[known(&web, "Running")], &[&web]);
    let refused = |node: &Node, words: &str| {
        let plan = partly(node.run_program(&["plan", "-o", "json"], None), words);
        assert_eq!(plan["containers"]["remove"].as_array().unwrap().len(), 0, "{plan:#}");
    };
    api.remove_node(NODE);
    refused(node, "set node_name to the name of this node");
    api.set_node(NODE, &fresh_uid());
    refused(node, "another machine, or its kubelet has not reported since the last boot");
    api.fail(On::Node, Some(Fault::Status(403)));
    refused(node, "rbac.yaml, which has the rights that are needed");
    api.fail(On::Node, None);
    let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    api.set_node(NODE, boot_id.trim());

    // An existing pod is missing from a late list: the question for it decides.
    api.freeze_lists();
    api.apply(known(&slow, "Pending"));
    let report = node.loses(&GONE).await;
    assert_eq!(report.is_good().kept("log slow/"), "pod_unknown");
    // And where the question fails, nothing is confirmed.
    api.thaw_lists();
    api.delete("default", "slow");
    api.fail(On::Get, Some(Fault::PlainText(404, "404 page not found".to_owned())));
    assert_eq!(node.loses(&[]).await.kept("log slow/"), "pod_unknown");
    api.fail(On::Get, None);
    succeeded(node.run_program(&["plan", "-o", "json"], None));
    node.loses(&["container slow/*", "sandbox slow#0", "log slow/*"]).await.is_good();
}
