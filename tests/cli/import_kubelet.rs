//! `config import-kubelet`: a kubelet's configuration and command line in, a configuration of cri-gc out.

use super::expected::is_as_expected;
use super::program::{Bench, Said, said, text};

/// Everything that is translated, and some of what is not.
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

/// `config check` accepts what was printed, except for the pod source if that is not built in.
fn is_accepted(bench: &Bench, printed: &str) {
    let file = bench.file("printed.toml", printed);
    if cfg!(feature = "kubernetes") {
        said(bench.bare(&["config", "check", "--config", &file]), "").succeeded();
    } else {
        said(bench.bare(&["config", "check", "--config", &file]), "")
            .refused(64, &["kube-api", "kubernetes"]);
        said(bench.bare(&["config", "check", "--config", &file, "--set", "pods.source=runtime"]), "")
            .succeeded();
    }
}

#[test]
fn what_is_printed_is_a_configuration_with_what_the_kubelet_does() {
    let bench = Bench::new();
    let file = bench.file("kubelet.yaml", FULL);
    let printed = import(&bench, &file, &FLAGS).succeeded();
    is_accepted(&bench, &printed);
    let ours = bench.file("ours.toml", &printed);
    let shown = said(bench.bare(&["config", "show", "-o", "json", "--config", &ours]), "").succeeded();
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
        ("/image_gc/max_age", "7d".into()),
    ] {
        assert_eq!(shown.pointer(key), Some(&value), "{key}");
    }
    // The lines of a comment are broken where the name of the file lets them.
    let args = [&["config", "import-kubelet", "-", "--"], &FLAGS[..]].concat();
    is_as_expected("import-kubelet", &said(bench.bare(&args), FULL).succeeded());
}

#[test]
fn what_kubeadm_writes_is_read_from_standard_input() {
    let bench = Bench::new();
    let kubeadm = "apiVersion: kubelet.config.k8s.io/v1beta1\ncontainerRuntimeEndpoint: \"\"\nimageMaximumGCAge: 0s\n\
                   imageMinimumGCAge: 0s\nkind: KubeletConfiguration\nlogging:\n  flushFrequency: 0\n";
    let printed = said(bench.bare(&["config", "import-kubelet", "-"]), kubeadm).succeeded();
    is_accepted(&bench, &printed);
    // Only the source and the modes are set, and the greatest age, which the file sets.
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
fn a_file_that_is_not_a_kubelet_configuration_is_refused() {
    let bench = Bench::new();
    for (content, parts) in [
        ("", &["it is empty", "/var/lib/kubelet/config.yaml"][..]),
        ("[image_gc]\n", &["it contains a list"]),
        ("apiVersion: v1\nkind: Config\nclusters: []\n", &["it is a kubeconfig", "--config"]),
        ("apiVersion: v1\nkind: ConfigMap\n", &["it is a ConfigMap", "data.kubelet", "import-kubelet -"]),
        ("\u{0}\u{1}", &["can't be read as YAML or JSON"]),
        (
            &FULL.replace("podLogsDir: /data/pods", "imageMinimumGCAge: 5m"),
            &["imageMinimumGCAge is set twice"],
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
    said(bench.bare(&["config", "import-kubelet"]), "").refused(2, &["nothing to import"]);
    said(bench.bare(&["config", "import-kubelet", &file, "--root-dir=/x"]), "")
        .refused(2, &["-- --root-dir"]);
    let set = ["config", "import-kubelet", &file, "--set", "image_gc.mode=off"];
    said(bench.bare(&set), "").refused(2, &["--set and --endpoint can't be used here"]);
}

#[test]
fn help_has_an_example() {
    let bench = Bench::new();
    let help = said(bench.bare(&["config", "import-kubelet", "--help"]), "").succeeded();
    for part in
        ["import-kubelet /var/lib/kubelet/config.yaml -- --root-dir", "KUBELET FLAGS", "standard input"]
    {
        assert!(help.contains(part), "{part}: {help}");
    }
    assert!(said(bench.bare(&["config", "--help"]), "").succeeded().contains("import-kubelet"));
}

/// The names that are at the top of a file's configuration: before the first colon of lines that are not indented, or the
/// keys of JSON.
fn names(text: &str) -> Vec<String> {
    if let Ok(serde_json::Value::Object(map)) = serde_json::from_str(text) {
        let inner = map.get("kubeletconfig").and_then(serde_json::Value::as_object).unwrap_or(&map);
        return inner.keys().cloned().collect();
    }
    let deep = if text.contains("kind: KubeletConfig\n") { "    " } else { "" };
    let kubelet = text.split("---\n").find(|part| part.contains("kind: Kubelet")).unwrap();
    let fields = kubelet.rsplit("kubeletConfig:\n").next().unwrap().lines();
    let fields = fields.filter_map(|line| line.strip_prefix(deep)).filter(|line| !line.starts_with(' '));
    fields.map(|line| line.split(':').next().unwrap().to_owned()).collect()
}

#[test]
fn kubelets_of_distributions_are_imported_with_nothing_dropped() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/kubelets");
    let read = |name: &str| std::fs::read_to_string(folder.join(name));
    let bench = Bench::new();
    for (name, file, wanted) in [
        ("kubeadm", Some("kubeadm.yaml"), &["/runtime/endpoint=unix:///run/containerd/containerd.sock"][..]),
        (
            "eks",
            Some("eks.json"),
            &[
                "/node_name=ip-192-0-2-8.eu-central-1.compute.internal",
                "/image_gc/high_threshold_percent=75",
                "/image_gc/low_threshold_percent=60",
            ],
        ),
        ("aks", None, &["/image_gc/high_threshold_percent=85", "/image_gc/low_threshold_percent=80"]),
        ("gke", Some("gke.yaml"), &["/image_gc/high_threshold_percent=80"]),
        (
            "openshift",
            Some("openshift.yaml"),
            &[
                "/runtime/endpoint=unix:///var/run/crio/crio.sock",
                "/image_gc/high_threshold_percent=78",
                "/image_gc/min_age=5m",
            ],
        ),
        (
            "k3s",
            None,
            &[
                "/node_name=edge-7",
                "/runtime/endpoint=unix:///run/k3s/containerd/containerd.sock",
                "/image_gc/high_threshold_percent=70",
                "/image_gc/low_threshold_percent=50",
                "/container_gc/max_containers=20",
            ],
        ),
        (
            "rke2",
            Some("rke2.yaml"),
            &[
                "/pods/kubelet_root=/data/kubelet",
                "/runtime/endpoint=unix:///run/k3s/containerd/containerd.sock",
            ],
        ),
        ("talos", Some("talos.yaml"), &["/node_name=talos-a1", "/image_gc/max_age=10d"]),
        (
            "microk8s",
            None,
            &[
                "/pods/kubelet_root=/var/snap/microk8s/common/var/lib/kubelet",
                "/runtime/endpoint=unix:///var/snap/microk8s/common/run/containerd.sock",
            ],
        ),
        ("kind", Some("kind.yaml"), &["/image_gc/high_threshold_percent=85"]),
        (
            "configz",
            Some("configz.json"),
            &["/runtime/endpoint=unix:///run/crio/crio.sock", "/image_gc/high_threshold_percent=88"],
        ),
    ] {
        let flags = read(&format!("{name}.flags")).unwrap_or_default().replace("DIR", text(&folder));
        let flags: Vec<&str> = flags.split_whitespace().collect();
        let path = file.map(|file| folder.join(file));
        let file: Vec<&str> = path.iter().map(|path| text(path)).collect();
        let args = [&["config", "import-kubelet"], file.as_slice(), &["--"], &flags].concat();
        let printed = said(bench.bare(&args), "").succeeded();
        is_accepted(&bench, &printed);
        let ours = bench.file("ours.toml", &printed);
        let shown = said(bench.bare(&["config", "show", "-o", "json", "--config", &ours]), "").succeeded();
        let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
        for wanted in wanted {
            let (key, value) = wanted.split_once('=').unwrap();
            let found = shown.pointer(key).unwrap().to_string();
            assert_eq!(found.trim_matches('"'), value, "{name}: {key}\n{printed}");
        }
        // Each name is in a comment, whether it is translated or not.
        let words = printed.replace("\n#  ", "").replace("\n# ", " ");
        let fields = path.iter().flat_map(|path| names(&std::fs::read_to_string(path).unwrap()));
        for field in fields.filter(|field| !["apiVersion", "kind"].contains(&field.as_str())) {
            assert!(words.contains(&field), "{name}: {field} is dropped: {printed}");
        }
        for flag in flags.iter().filter(|flag| flag.starts_with("--")) {
            let flag = flag.split('=').next().unwrap();
            let flag = match flag {
                "--kubelet-arg" => continue,
                "--node-name" => "--hostname-override",
                flag => flag,
            };
            assert!(words.contains(flag), "{name}: {flag} is dropped: {printed}");
        }
    }
}

#[test]
fn files_that_the_flags_name_are_read() {
    let bench = Bench::new();
    let head = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n";
    let file = bench.file("kubelet.yaml", format!("{head}imageGCHighThresholdPercent: 88\n"));
    let import = |args: &[&str]| said(bench.bare(&[&["config", "import-kubelet"], args].concat()), "");
    let printed = import(&["--", &format!("--config={file}")]).succeeded();
    assert!(printed.contains("high_threshold_percent = 88"), "{printed}");
    // A file that is named overrides it.
    let other = bench.file("other.yaml", head);
    let printed = import(&[&other, "--", "--config=/nonexistent"]).succeeded();
    assert!(printed.contains("# high_threshold_percent = 85"), "{printed}");

    let folder = bench.path("conf.d");
    std::fs::create_dir_all(folder.join("20-more")).unwrap();
    for (name, percent) in [("10-a.conf", 89), ("20-more/z.conf", 90), ("15.conf.bak", 91), ("9.yaml", 92)] {
        std::fs::write(folder.join(name), format!("{head}imageGCHighThresholdPercent: {percent}\n")).unwrap();
    }
    let dir = format!("--config-dir={}", text(&folder));
    let printed = import(&[&file, "--", &dir]).succeeded();
    assert!(printed.contains("high_threshold_percent = 90") && printed.contains("2 drop-ins"), "{printed}");
    let printed = import(&["--", &dir, "--image-gc-high-threshold=93"]).succeeded();
    assert!(printed.contains("high_threshold_percent = 93"), "{printed}");
    std::fs::write(folder.join("30.conf"), "imageGCHighThresholdPercent: 90\n").unwrap();
    import(&[&file, "--", &dir]).refused(64, &["30.conf: it has no kind", "each *.conf"]);
    import(&[&file, "--", "--config-dir=/nonexistent"])
        .refused(64, &["/nonexistent", "--config-dir", "a copy of it"]);
    import(&[]).refused(2, &["nothing to import", "after --"]);
    for (flag, part) in [
        ("--eviction-hard=\"nodefs.available<10%\"", "leave them out"),
        ("--eviction-hard=imagefs.avail<15%", "no signal `imagefs.avail`"),
        ("--eviction-hard=nodefs.available<lots", "neither a percentage nor a quantity"),
        ("--eviction-hard=nodefs.available<-5%", "from 0% to 100%"),
        ("--hostname-override=${NODE}", "kubectl get nodes"),
        ("--hostname-override=node_1", "DNS subdomain"),
    ] {
        import(&["--", flag]).refused(2, &["the kubelet's flags can't be imported", part]);
    }
}
