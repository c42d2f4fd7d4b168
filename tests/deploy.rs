//! The files in `deploy/kubernetes`: exactly these rights at the API server and on a node, so that no change widens them unnoticed.
//! That they render, and are valid for Kubernetes, is checked by `.ci/deploy`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: failing loudly is its job"
)]

use std::fs;
use std::path::{Path, PathBuf};

use cri_gc_config::{FileSource, Mode, PodSource, Settings, Sources, load};
use serde_json::{Value, json};

/// The files there are. A new one has to be checked here.
const FILES: [&str; 19] = [
    "base/config.toml",
    "base/daemonset.yaml",
    "base/kustomization.yaml",
    "components/enforce/config.toml",
    "components/enforce/kustomization.yaml",
    "components/kubelet-source/daemonset.yaml",
    "components/kubelet-source/kustomization.yaml",
    "components/kubelet-source/rbac.yaml",
    "components/pod-monitor/kustomization.yaml",
    "components/pod-monitor/pod-monitor.yaml",
    "components/report-only/config.toml",
    "components/report-only/kustomization.yaml",
    "node-kubeconfig",
    "overlays/containerd/kustomization.yaml",
    "overlays/containerd/runtime.yaml",
    "overlays/cri-o/kustomization.yaml",
    "overlays/cri-o/runtime.yaml",
    "rights/kustomization.yaml",
    "rights/rbac.yaml",
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/kubernetes")
}

/// The objects in a file, in their order.
fn objects(file: &str) -> Vec<Value> {
    let text = fs::read_to_string(folder().join(file)).unwrap();
    serde_saphyr::from_multiple(&text).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The only object in a file.
fn object(file: &str) -> Value {
    let [object] = <[Value; 1]>::try_from(objects(file)).unwrap();
    object
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
    assert_eq!(
        objects("rights/rbac.yaml"),
        [account, role("cri-gc", &rules), binding("cri-gc"), events, bound]
    );
}

#[test]
fn at_the_kubelet_it_may_list_pods() {
    // Not `nodes/proxy`, which is equivalent to root on every node: an operator of older kubelets adds it by hand.
    let rules = json!([{"apiGroups": [""], "resources": ["nodes/pods"], "verbs": ["get"]}]);
    let name = "cri-gc-kubelet-source";
    assert_eq!(objects("components/kubelet-source/rbac.yaml"), [role(name, &rules), binding(name)]);
}

#[test]
fn there_is_no_other_manifest() {
    let (mut found, mut open) = (Vec::new(), vec![folder()]);
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                found.push(path.strip_prefix(folder()).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    found.sort_unstable();
    assert_eq!(found, FILES);
}

/// The specification of the pods of the DaemonSet.
fn pod() -> Value {
    object("base/daemonset.yaml")["spec"]["template"]["spec"].clone()
}

fn container(pod: &Value) -> Value {
    let [container] = <[Value; 1]>::try_from(pod["containers"].as_array().unwrap().clone()).unwrap();
    container
}

#[test]
fn its_pod_is_root_with_one_capability_and_nothing_of_the_host_but_directories() {
    let pod = pod();
    let context = json!({
        "runAsUser": 0,
        "runAsGroup": 0,
        "privileged": false,
        "allowPrivilegeEscalation": false,
        "readOnlyRootFilesystem": true,
        "capabilities": {"drop": ["ALL"], "add": ["DAC_OVERRIDE"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    });
    assert_eq!(container(&pod)["securityContext"], context);
    assert_eq!(pod["hostNetwork"], false);
    for field in ["hostPID", "hostIPC", "shareProcessNamespace", "initContainers", "securityContext"] {
        assert_eq!(pod[field], Value::Null, "{field}");
    }
    assert_eq!(pod["serviceAccountName"], "cri-gc");
}

#[test]
fn it_is_where_it_is_needed_most_and_one_at_a_time() {
    let set = object("base/daemonset.yaml");
    let pod = pod();
    assert_eq!(pod["priorityClassName"], "system-node-critical");
    assert_eq!(pod["tolerations"], json!([{"operator": "Exists"}]));
    assert_eq!(set["spec"]["updateStrategy"]["rollingUpdate"]["maxSurge"], Value::Null);
    assert_eq!(set["spec"]["selector"]["matchLabels"], set["spec"]["template"]["metadata"]["labels"]);
    // Longer than a removal that is in progress.
    let grace = pod["terminationGracePeriodSeconds"].as_u64().unwrap();
    assert!(grace > Settings::default().runtime.request_timeout.as_secs(), "{grace}");
}

/// The mounts of a container: where, the directory of the host, and whether it is read-only.
fn mounts(pod: &Value) -> Vec<(String, Option<String>, bool)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let volumes = pod["volumes"].as_array().unwrap();
    let all = container(pod)["volumeMounts"].as_array().unwrap().clone();
    assert_eq!(all.len(), volumes.len(), "a volume without a mount");
    let all = all.into_iter().map(|mount| {
        let volume = volumes.iter().find(|volume| volume["name"] == mount["name"]).unwrap();
        let host = volume["hostPath"]["path"].as_str().map(ToOwned::to_owned);
        (text(&mount["mountPath"]), host, mount["readOnly"] == true)
    });
    all.collect()
}

#[test]
fn it_mounts_what_it_needs_at_the_same_paths_as_on_the_host() {
    let mount = |path: &str, read_only| (path.to_owned(), Some(path.to_owned()), read_only);
    let settings = Settings::default();
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    let expected = [
        ("/etc/cri-gc".to_owned(), None, true),
        mount(&path(&settings.state.dir), false),
        mount(&path(&settings.state.runtime_dir), false),
        mount(&path(&settings.log_gc.pod_logs_root), false),
        mount(&path(&settings.log_gc.legacy_container_logs_root), false),
        mount(&path(&settings.pods.kubelet_root.join("pods")), true),
    ];
    assert_eq!(mounts(&pod()), expected);
    for (overlay, images) in [("containerd", "/var/lib/containerd"), ("cri-o", "/var/lib/containers/storage")]
    {
        let pod = object(&format!("overlays/{overlay}/runtime.yaml"))["spec"]["template"]["spec"].clone();
        let endpoint = variable(&pod, "CRI_GC__RUNTIME__ENDPOINT")["value"].as_str().unwrap().to_owned();
        let socket = PathBuf::from(endpoint.strip_prefix("unix://").unwrap());
        let directory = socket.parent().unwrap().to_str().unwrap();
        assert_eq!(mounts(&pod), [mount(directory, true), mount(images, true)], "{overlay}");
    }
    // What other processes mount below these must not be kept busy by this pod.
    for file in ["base/daemonset.yaml", "overlays/containerd/runtime.yaml", "overlays/cri-o/runtime.yaml"] {
        let pod = object(file)["spec"]["template"]["spec"].clone();
        for mount in container(&pod)["volumeMounts"].as_array().unwrap() {
            if mount["readOnly"] == true && mount["name"] != "config" {
                assert_eq!(mount["mountPropagation"], "HostToContainer", "{file}: {mount}");
            }
        }
    }
}

/// A variable of a container's environment.
fn variable(pod: &Value, name: &str) -> Value {
    let all = container(pod)["env"].as_array().unwrap().clone();
    all.into_iter().find(|variable| variable["name"] == name).unwrap_or_else(|| panic!("{name} is not set"))
}

#[test]
fn the_probes_ask_where_it_listens() {
    let pod = pod();
    let listen = variable(&pod, "CRI_GC__METRICS__LISTEN")["value"].as_str().unwrap().to_owned();
    let container = container(&pod);
    let port: u64 = listen.rsplit_once(':').unwrap().1.parse().unwrap();
    assert_eq!(container["ports"], json!([{"name": "http", "containerPort": port}]));
    for (probe, path) in [("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")] {
        assert_eq!(container[probe]["httpGet"], json!({"path": path, "port": "http"}), "{probe}");
    }
    let monitor = object("components/pod-monitor/pod-monitor.yaml");
    assert_eq!(monitor["spec"]["podMetricsEndpoints"][0]["port"], "http");
    // What the alert rules name.
    assert_eq!(monitor["spec"]["jobLabel"], "app.kubernetes.io/name");
    let relabelings = &monitor["spec"]["podMetricsEndpoints"][0]["relabelings"];
    let of_the_node =
        json!([{"sourceLabels": ["__meta_kubernetes_pod_node_name"], "targetLabel": "instance"}]);
    assert_eq!(*relabelings, of_the_node);
    let labels = object("base/daemonset.yaml")["spec"]["template"]["metadata"]["labels"].clone();
    assert_eq!(labels["app.kubernetes.io/name"], "cri-gc");
    assert_eq!(monitor["spec"]["selector"]["matchLabels"], labels);
    let name = variable(&pod, "CRI_GC__NODE_NAME");
    assert_eq!(name["valueFrom"], json!({"fieldRef": {"fieldPath": "spec.nodeName"}}));
}

/// The settings of a container: a configuration file, and the environment that these files give it.
fn settings(config: &str, manifests: &[&str]) -> Settings {
    let mut env: Vec<(String, String)> = Vec::new();
    for manifest in manifests {
        let pod = object(manifest)["spec"]["template"]["spec"].clone();
        for variable in container(&pod)["env"].as_array().unwrap() {
            let value = variable["value"].as_str().unwrap_or("node-1");
            env.push((variable["name"].as_str().unwrap().to_owned(), value.to_owned()));
        }
    }
    let file = FileSource::Explicit(folder().join(config));
    let loaded = load(&Sources { file, env, overrides: Vec::new() })
        .unwrap_or_else(|error| panic!("{config}: {error}"));
    assert!(loaded.notes.iter().all(|note| note.contains("metrics.listen")), "{:?}", loaded.notes);
    loaded.settings
}

#[test]
fn by_default_images_are_removed_and_the_rest_is_reported() {
    use Mode::{Enforce, Report};
    let files = ["base/daemonset.yaml", "overlays/containerd/runtime.yaml"];
    let cases = [
        ("base/config.toml", Report, Enforce),
        ("components/report-only/config.toml", Report, Report),
        ("components/enforce/config.toml", Enforce, Enforce),
    ];
    for (config, rest, images) in cases {
        let settings = settings(config, &files);
        let modes = [settings.container_gc.mode, settings.sandbox_gc.mode, settings.log_gc.mode];
        assert_eq!((modes, settings.image_gc.mode), ([rest; 3], images), "{config}");
        assert_eq!(settings.pods.source, PodSource::KubeApi);
        assert_eq!(settings.node_name.as_deref(), Some("node-1"));
        // They differ in nothing else.
        assert_eq!(settings.image_gc.high_threshold_percent, 80, "below the kubelet's eviction");
    }
    let kubelet =
        settings("base/config.toml", &[&files[..], &["components/kubelet-source/daemonset.yaml"]].concat());
    assert_eq!(kubelet.pods.source, PodSource::Kubelet);
}
