//! behaviour: Pod sources: the pod source `kubelet`, over HTTP and HTTPS, as a service and as the commands use it.

use std::fs;
use std::path::Path;

use cri_gc_test_support::fresh_uid;
use cri_gc_test_support::kubernetes::{FakeKubelet, FakeServer, Fault, On, PodObject};

use crate::cluster::{
    self, NODE, Source, join, known, loses_nothing, passes, until_removed_exactly, until_unsynced,
};
use crate::node::Node;
use crate::running_service::{serve, status, well};
use crate::service_commands::succeeded;

on_both!(
    a_kubelet_that_dies_returns_empty_and_returns_complete,
    commands_report_what_is_wrong_with_the_kubelet_and_do_everything_else,
    many_pods_that_vanish_from_a_kubelet_at_once_are_kept_until_confirmed,
    a_kubelet_without_pods_confirms_nothing_though_nothing_runs,
    who_asks_shows_a_token_or_a_certificate_and_trusts_no_other_kubelet,
);

const TOKEN: &str = "a-token-of-the-test";

impl Source for FakeKubelet {
    /// By HTTPS with the token in `kubelet.token`, if that is there.
    fn settings(&self, folder: &Path) -> String {
        let url = format!(
            "[pods]\nsource = \"kubelet\"\n[pods.kubelet]\nperiod = \"1s\"\nurl = \"{}/pods\"\n",
            self.url()
        );
        let file = |name: &str| folder.join(name).display().to_string();
        match folder.join("kubelet.token").exists() {
            true => format!(
                "{url}token_file = \"{}\"\nca_file = \"{}\"\n",
                file("kubelet.token"),
                file("kubelet.ca")
            ),
            false => url,
        }
    }

    fn fill(&self, pods: &[PodObject]) {
        self.set_pods(pods.to_vec());
    }

    fn static_pod(&self, name: &str, uid: &str) -> PodObject {
        PodObject::new("default", name, uid).phase("Running").from_file()
    }

    fn server(&self) -> &FakeServer {
        self
    }
}

/// A kubelet that speaks HTTPS and accepts each client that has the token.
fn https(node: &Node) -> FakeKubelet {
    let kubelet = FakeKubelet::start_https(NODE);
    kubelet.set_token(Some(TOKEN));
    fs::write(node.path("kubelet.token"), TOKEN).unwrap();
    fs::write(node.path("kubelet.ca"), kubelet.ca_pem()).unwrap();
    kubelet
}

async fn a_kubelet_that_dies_returns_empty_and_returns_complete(node: &mut Node) {
    let kubelet = https(node);
    cluster::dies_returns_empty_and_returns_complete(node, &kubelet).await;
}

async fn commands_report_what_is_wrong_with_the_kubelet_and_do_everything_else(node: &mut Node) {
    cluster::commands_report_what_is_wrong_and_do_everything_else(node, &FakeKubelet::start(NODE)).await;
}

async fn many_pods_that_vanish_from_a_kubelet_at_once_are_kept_until_confirmed(node: &mut Node) {
    cluster::many_that_vanish_at_once_are_kept_until_confirmed(node, &FakeKubelet::start(NODE)).await;
}

async fn a_kubelet_without_pods_confirms_nothing_though_nothing_runs(node: &mut Node) {
    let kubelet = FakeKubelet::start(NODE);
    let (web, down) = (node.pod("web").await, node.ended_pod("down", &["app"]).await);
    node.running(&web, "main").await;
    node.ended_pod("gone", &["job"]).await;
    let manifest = kubelet.static_pod("manifest", &fresh_uid());
    let whole = [known(&web, "Running"), known(&down, "Running"), manifest.clone()];
    // It has restarted, and knows only what is on its own disk: nothing runs that shows that it is wrong.
    join(node, &kubelet, &[manifest], &[&web]);
    node.stop(&web).await;
    let before = node.inventory().await;
    let running = serve(node);
    until_unsynced(node, "it may have just started").await;
    loses_nothing(node).await;
    kubelet.return_with(&[]);
    passes(node).await;
    until_unsynced(node, "it may have just started").await;
    loses_nothing(node).await;
    let swept = cluster::partly(node.run_program(&["plan", "-o", "json"], None), "it may have just started");
    assert_eq!(swept["containers"]["remove"].as_array().unwrap().len(), 0, "{swept:#}");
    assert!(before.removed_in(&node.inventory().await).is_empty());

    kubelet.return_with(&whole);
    until_removed_exactly(node, &before, &["container gone/*", "sandbox gone#0", "log gone/*"]).await;
    // Invalid lists reset what was confirmed, and nothing else.
    for fault in [Fault::Status(503), Fault::Garbage("{\"kind\": \"PodList\"".to_owned()), Fault::CutBody(40)]
    {
        kubelet.fail(On::List, Some(fault));
        until_unsynced(node, "the kubelet at").await;
        loses_nothing(node).await;
        kubelet.fail(On::List, None);
        status(node, |s| well(s) && s.pods.as_ref().is_some_and(|pods| pods.synced)).await;
    }
    running.terminate();
    assert_eq!(running.wait().code, 0);
}

async fn who_asks_shows_a_token_or_a_certificate_and_trusts_no_other_kubelet(node: &mut Node) {
    let kubelet = https(node);
    let web = node.pod("web").await;
    node.running(&web, "main").await;
    node.ended_pod("gone", &["job"]).await;
    join(node, &kubelet, &[known(&web, "Running")], &[&web]);
    let refused = |node: &Node, words: &[&str]| {
        let ended = node.run_program(&["plan", "-o", "json"], None);
        let said = ended.stderr.clone();
        cluster::partly(ended, "kubelet");
        words.iter().for_each(|word| assert!(said.contains(word), "no {word} in {said}"));
    };
    fs::write(node.path("kubelet.token"), "another").unwrap();
    refused(node, &["401", "pods.kubelet.token_file"]);
    node.set("pods.kubelet.ca_file", "");
    refused(node, &["not trusted", "pods.kubelet.ca_file", "insecure_skip_verify"]);
    let missing = node.path("missing.ca").display().to_string();
    node.set("pods.kubelet.ca_file", missing);
    refused(node, &["pods.kubelet.ca_file", "missing.ca"]);

    // A certificate instead of the token.
    let files =
        [("ca", kubelet.ca_pem()), ("crt", kubelet.client_cert_pem()), ("key", kubelet.client_key_pem())];
    for (name, pem) in files {
        fs::write(node.path(name), pem).unwrap();
    }
    kubelet.require_client_certificate(true);
    let file = |node: &Node, name: &str| node.path(name).display().to_string();
    let (ca, crt, key) = (file(node, "ca"), file(node, "crt"), file(node, "key"));
    node.set("pods.kubelet.ca_file", ca).set("pods.kubelet.token_file", "");
    node.set("pods.kubelet.client_cert_file", crt).set("pods.kubelet.client_key_file", key);
    succeeded(node.run_program(&["plan", "-o", "json"], None));
    node.loses(&["container gone/*", "sandbox gone#0", "log gone/*"]).await.is_good();

    // The token, over a connection whose other end is not authenticated.
    fs::write(node.path("kubelet.token"), TOKEN).unwrap();
    let token = file(node, "kubelet.token");
    node.set("pods.kubelet.client_cert_file", "").set("pods.kubelet.client_key_file", "");
    node.set("pods.kubelet.token_file", token).set("pods.kubelet.ca_file", "");
    node.set("pods.kubelet.insecure_skip_verify", true);
    node.ended_pod("gone", &["job"]).await;
    node.loses(&["container gone/*", "sandbox gone#0", "log gone/*"]).await.is_good();
}
