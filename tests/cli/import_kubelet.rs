//! `config import-kubelet`: a kubelet's configuration and command line in, a configuration of ours out.

use super::expected::is_as_expected;
use super::program::{Bench, Said, said, text};

/// Everything that is recognized, and what is not translated.
const FULL: &str = "apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
clusterDNS: [10.96.0.10]
containerLogMaxSize: 50Mi
containerRuntimeEndpoint: unix:///run/crio/crio.sock
evictionHard:
  imagefs.available: 10%
  memory.available: 100Mi
imageGCHighThresholdPercent: 90
imageGCLowThresholdPercent: 70
imageMaximumGCAge: 168h
imageMinimumGCAge: 1h30m
imageServiceEndpoint: /run/crio/images.sock
podLogsDir: /data/pods
serializeImagePulls: false
";

const FLAGS: [&str; 12] = [
    "/usr/bin/kubelet",
    "--config=/var/lib/kubelet/config.yaml",
    "--node-ip",
    "10.0.0.1",
    "--root-dir=/data/kubelet",
    "--hostname-override=worker-1.example",
    "--minimum-container-ttl-duration=10s",
    "--maximum-dead-containers-per-container=2",
    "--maximum-dead-containers",
    "240",
    "--image-gc-high-threshold=95",
    "--low-diskspace-threshold-mb=256",
];

fn import(bench: &Bench, file: &str, flags: &[&str]) -> Said {
    said(bench.bare(&[&["config", "import-kubelet", file, "--"], flags].concat()), "")
}

/// `config check` takes what was printed. As long as this version has not got the pod source that is printed, that may be
/// said against it, and nothing else.
fn is_accepted(bench: &Bench, printed: &str) {
    let file = bench.file("printed.toml", printed);
    if cfg!(feature = "kubernetes") {
        said(bench.bare(&["config", "check", "--config", &file]), "").good();
    } else {
        said(bench.bare(&["config", "check", "--config", &file]), "")
            .refused(64, &["kube-api", "kubernetes"]);
        said(bench.bare(&["config", "check", "--config", &file, "--set", "pods.source=runtime"]), "").good();
    }
}

#[test]
fn what_is_printed_is_a_configuration_with_what_the_kubelet_does() {
    let bench = Bench::new();
    let file = bench.file("kubelet.yaml", FULL);
    let printed = import(&bench, &file, &FLAGS).good();
    is_accepted(&bench, &printed);
    let ours = bench.file("ours.toml", &printed);
    let shown = said(bench.bare(&["config", "show", "-o", "json", "--config", &ours]), "").good();
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    for (key, value) in [
        ("/node_name", serde_json::json!("worker-1.example")),
        ("/runtime/endpoint", "unix:///run/crio/crio.sock".into()),
        ("/runtime/image_endpoint", "/run/crio/images.sock".into()),
        ("/pods/source", "kube-api".into()),
        ("/pods/kubelet_root", "/data/kubelet".into()),
        ("/container_gc/mode", "report".into()),
        ("/container_gc/min_age", "10s".into()),
        ("/container_gc/max_per_pod_container", 2.into()),
        ("/container_gc/max_containers", 240.into()),
        ("/sandbox_gc/mode", "report".into()),
        ("/log_gc/mode", "report".into()),
        ("/log_gc/pod_logs_root", "/data/pods".into()),
        ("/image_gc/mode", "enforce".into()),
        ("/image_gc/high_threshold_percent", 95.into()),
        ("/image_gc/low_threshold_percent", 70.into()),
        ("/image_gc/min_age", "1h30m".into()),
        ("/image_gc/max_age", "7days".into()),
    ] {
        assert_eq!(shown.pointer(key), Some(&value), "{key}");
    }
    // The lines of a comment are broken where the name of the file lets them.
    let args = [&["config", "import-kubelet", "-", "--"], &FLAGS[..]].concat();
    is_as_expected("import-kubelet", &said(bench.bare(&args), FULL).good());
}

#[test]
fn what_kubeadm_writes_is_read_from_standard_input() {
    let bench = Bench::new();
    let kubeadm = "apiVersion: kubelet.config.k8s.io/v1beta1\ncontainerRuntimeEndpoint: \"\"\nimageMaximumGCAge: 0s\n\
                   imageMinimumGCAge: 0s\nkind: KubeletConfiguration\nlogging:\n  flushFrequency: 0\n";
    let printed = said(bench.bare(&["config", "import-kubelet", "-"]), kubeadm).good();
    is_accepted(&bench, &printed);
    // Beside the source and the modes nothing is set, but for what the file says of the greatest age.
    let active: Vec<_> =
        printed.lines().filter(|line| !line.starts_with(['#', '[']) && !line.is_empty()).collect();
    let report = "mode = \"report\"";
    assert_eq!(
        active,
        ["source = \"kube-api\"", report, report, report, "mode = \"enforce\"", "max_age = \"0s\""],
        "{printed}"
    );
    assert!(printed.contains("standard input"), "{printed}");
}

#[test]
fn what_is_no_kubelet_configuration_is_a_bad_configuration() {
    let bench = Bench::new();
    for (content, parts) in [
        ("", &["it is empty", "/var/lib/kubelet/config.yaml"][..]),
        ("[image_gc]\n", &["it holds a list"]),
        ("apiVersion: v1\nkind: Config\nclusters: []\n", &["it is a kubeconfig", "--config"]),
        ("apiVersion: v1\nkind: ConfigMap\n", &["it is a ConfigMap", "data.kubelet", "import-kubelet -"]),
        ("\u{0}\u{1}", &["can't be read as YAML or JSON"]),
        (
            &FULL.replace("podLogsDir: /data/pods", "imageMinimumGCAge: 5m"),
            &["imageMinimumGCAge stands there twice"],
        ),
        (&FULL.replace("90", "ninety"), &["imageGCHighThresholdPercent: ninety", "whole number"]),
        (
            &FULL.replace("unix:///run/crio/crio.sock", "npipe:////./pipe/x"),
            &["containerRuntimeEndpoint", "npipe"],
        ),
    ] {
        let file = bench.file("kubelet.yaml", content);
        let parts = [&["cri-gc: ", "kubelet.yaml can't be imported: ", "\n  "], parts].concat();
        import(&bench, &file, &[]).refused(64, &parts);
    }
    let missing = bench.path("missing.yaml");
    import(&bench, text(&missing), &[]).refused(64, &[text(&missing), "does not exist", "kubeadm"]);
    import(&bench, text(&bench.path("")), &[]).refused(64, &["it is a directory"]);
    let file = bench.file("kubelet.yaml", b"# \xff\xfe\n");
    import(&bench, &file, &[]).refused(64, &["not UTF-8"]);
    let file = bench.file("kubelet.yaml", "#".repeat(2 << 20));
    import(&bench, &file, &[]).refused(64, &["larger than 1MiB"]);
    for deep in ["[", "{\"a\":", "a: {", "- "] {
        let file = bench.file("kubelet.yaml", deep.repeat(100_000));
        import(&bench, &file, &[]).refused(64, &["can't be read as YAML or JSON"]);
    }
}

#[test]
fn wrong_flags_are_wrong_usage() {
    let bench = Bench::new();
    let file = bench.file("kubelet.yaml", FULL);
    for (flags, part) in [
        (&["kubelet", "stray"][..], "`stray`"),
        (&["--image-gc-high-threshold"], "--image-gc-high-threshold: it needs a value"),
        (&["--image-gc-high-threshold=101"], "--image-gc-high-threshold=101"),
        (&["---root-dir=/x"], "`---root-dir=/x`"),
    ] {
        import(&bench, &file, flags).refused(2, &["the kubelet's flags", part, "\n  write after --"]);
    }
    said(bench.bare(&["config", "import-kubelet"]), "").refused(2, &["<FILE>"]);
    said(bench.bare(&["config", "import-kubelet", &file, "--root-dir=/x"]), "")
        .refused(2, &["-- --root-dir"]);
    let set = ["config", "import-kubelet", &file, "--set", "image_gc.mode=off"];
    said(bench.bare(&set), "").refused(2, &["--set and --endpoint have no place here"]);
}

#[test]
fn help_has_an_example() {
    let bench = Bench::new();
    let help = said(bench.bare(&["config", "import-kubelet", "--help"]), "").good();
    for part in
        ["import-kubelet /var/lib/kubelet/config.yaml -- --root-dir", "KUBELET FLAGS", "standard input"]
    {
        assert!(help.contains(part), "{part}: {help}");
    }
    assert!(said(bench.bare(&["config", "--help"]), "").good().contains("import-kubelet"));
}
