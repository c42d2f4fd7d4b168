//! The files in `deploy/`: exactly these rights, so that no change widens them unnoticed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: failing loudly is its job"
)]

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

/// The files there are. A new one has to be checked here.
const FILES: [&str; 2] = ["rbac-kubelet-source.yaml", "rbac.yaml"];

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/kubernetes")
}

/// The objects in a file, in their order.
fn objects(file: &str) -> Vec<Value> {
    let text = fs::read_to_string(folder().join(file)).unwrap();
    serde_saphyr::from_multiple(&text).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn role(name: &str, rules: &Value) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": name},
        "rules": rules,
    })
}

fn binding(name: &str) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": "cri-gc", "namespace": "kube-system"}],
    })
}

#[test]
fn at_the_api_server_it_may_read_and_create_events() {
    let account = json!({
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "cri-gc", "namespace": "kube-system"},
    });
    let rules = json!([
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"]},
    ]);
    // Events of what is in no namespace are written to `default`, and nowhere else.
    let place = json!({"name": "cri-gc-events", "namespace": "default"});
    let events = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": place,
        "rules": [{"apiGroups": [""], "resources": ["events"], "verbs": ["create"]}],
    });
    let bound = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": place,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "cri-gc-events"},
        "subjects": [{"kind": "ServiceAccount", "name": "cri-gc", "namespace": "kube-system"}],
    });
    assert_eq!(objects("rbac.yaml"), [account, role("cri-gc", &rules), binding("cri-gc"), events, bound]);
}

#[test]
fn at_the_kubelet_it_may_list_pods() {
    // Not `nodes/proxy`, which is equivalent to root on every node: an operator of older kubelets adds it by hand.
    let rules = json!([{"apiGroups": [""], "resources": ["nodes/pods"], "verbs": ["get"]}]);
    let name = "cri-gc-kubelet-source";
    assert_eq!(objects("rbac-kubelet-source.yaml"), [role(name, &rules), binding(name)]);
}

#[test]
fn there_is_no_other_manifest() {
    let mut found: Vec<_> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    found.sort_unstable();
    assert_eq!(found, FILES);
}
