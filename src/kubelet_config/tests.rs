//! Whatever the settings of a kubelet, the printed file loads as settings of cri-gc that do the same.

use std::io::Write;
use std::time::Duration;

use cri_gc_config::{FileSource, Mode, PodSource, Settings, Sources, changed_keys, load};
use proptest::prelude::*;

use super::{DropIn, Flags, ImportError, Imported};

const HEAD: &str = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n";

fn import_all(file: Option<&str>, drop_ins: &[DropIn], flags: &[String]) -> Result<Imported, ImportError> {
    super::import(file, drop_ins, &Flags::parse(flags)?)
}

fn import(text: &str, flags: &[String]) -> Result<Imported, ImportError> {
    import_all(Some(text), &[], flags)
}

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

/// Imports these fields and flags.
fn imported(fields: &str, flags: &str) -> Result<Imported, ImportError> {
    import(&format!("{HEAD}{fields}"), &words(flags))
}

/// What a text loads as, and nothing else.
fn loaded(text: &str) -> Settings {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let sources = Sources { file: FileSource::Explicit(file.path().into()), ..Sources::default() };
    load(&sources).unwrap_or_else(|error| panic!("{error}\n{text}")).settings
}

/// The settings that are printed, which have to be those that were imported.
fn settings(fields: &str, flags: &str) -> Settings {
    let imported = imported(fields, flags).unwrap_or_else(|error| panic!("{error}: {fields} {flags}"));
    let loaded = loaded(&imported.to_toml("FILE"));
    assert_eq!(loaded, imported.settings, "{fields} {flags}");
    loaded
}

/// The keys that differ from what is printed for a kubelet with nothing set, with their values.
fn changed(fields: &str, flags: &str) -> Vec<(&'static str, String)> {
    let (nothing, something) = (settings("", ""), settings(fields, flags));
    let value = |key| cri_gc_config::render_value(&something, key).unwrap();
    changed_keys(&nothing, &something).into_iter().map(|key| (key, value(key))).collect()
}

fn refused(fields: &str, flags: &str) -> ImportError {
    imported(fields, flags).expect_err("it must be refused")
}

#[test]
fn a_kubelet_without_settings_gives_the_defaults_but_for_source_and_modes() {
    let settings = settings("", "");
    let keys = ["pods.source", "container_gc.mode", "sandbox_gc.mode", "log_gc.mode"];
    assert_eq!(changed_keys(&Settings::default(), &settings), keys);
    assert_eq!(settings.pods.source, PodSource::KubeApi);
    assert_eq!(settings.container_gc.mode, Mode::Report);
    assert_eq!(settings.image_gc.mode, Mode::Enforce);
}

#[test]
fn every_field_has_its_setting() {
    for (field, key, value) in [
        ("imageGCHighThresholdPercent: 90", "image_gc.high_threshold_percent", "90"),
        ("imageGCLowThresholdPercent: 0", "image_gc.low_threshold_percent", "0"),
        ("imageMinimumGCAge: 1h30m", "image_gc.min_age", "\"1h30m\""),
        ("imageMinimumGCAge: 5000000000", "image_gc.min_age", "\"5s\""),
        ("imageMaximumGCAge: 12h0m0.5s", "image_gc.max_age", "\"12h500ms\""),
        ("containerRuntimeEndpoint: /run/x.sock", "runtime.endpoint", "\"/run/x.sock\""),
        ("containerRuntimeEndpoint: unix:/run/x.sock", "runtime.endpoint", "\"unix:///run/x.sock\""),
        ("imageServiceEndpoint: unix:///run/x.sock", "runtime.image_endpoint", "\"unix:///run/x.sock\""),
        ("podLogsDir: /data/pods", "log_gc.pod_logs_root", "\"/data/pods\""),
    ] {
        assert_eq!(changed(field, ""), [(key, value.to_owned())], "{field}");
        let name = field.split(':').next().unwrap();
        let text = imported(field, "").unwrap().to_toml("FILE");
        assert!(text.contains(&format!("# {field}\n")), "{field}: {text}");
        assert_eq!(changed(&format!("{name}: null"), ""), [], "{field}");
    }
}

#[test]
fn every_flag_has_its_setting() {
    for (flag, key, value) in [
        ("--image-gc-high-threshold=90", "image_gc.high_threshold_percent", "90"),
        ("--image-gc-low-threshold 0", "image_gc.low_threshold_percent", "0"),
        ("--minimum-image-ttl-duration=300ms", "image_gc.min_age", "\"300ms\""),
        ("--minimum-image-ttl-duration=0", "image_gc.min_age", "\"0s\""),
        ("--container-runtime-endpoint=unix:///run/x.sock", "runtime.endpoint", "\"unix:///run/x.sock\""),
        ("--image-service-endpoint=/run/x.sock", "runtime.image_endpoint", "\"/run/x.sock\""),
        ("--minimum-container-ttl-duration=1m", "container_gc.min_age", "\"1m\""),
        ("--maximum-dead-containers-per-container=0", "container_gc.max_per_pod_container", "0"),
        ("--maximum-dead-containers-per-container=-7", "container_gc.max_per_pod_container", "-1"),
        ("--maximum-dead-containers=240", "container_gc.max_containers", "240"),
        ("--root-dir=/data/kubelet", "pods.kubelet_root", "\"/data/kubelet\""),
        ("--hostname-override=Node-7.Example", "node_name", "\"node-7.example\""),
    ] {
        assert_eq!(
            changed("", &format!("/usr/bin/kubelet -v=2 {flag} --x y")),
            [(key, value.to_owned())],
            "{flag}"
        );
        let text = imported("", flag).unwrap().to_toml("FILE");
        assert!(text.contains(&format!("\n# {}\n", flag.replacen(' ', "=", 1))), "{flag}: {text}");
    }
}

#[test]
fn a_flag_overrides_the_file() {
    let fields =
        "imageGCHighThresholdPercent: 90\nimageMinimumGCAge: 5m\ncontainerRuntimeEndpoint: /a.sock\n";
    let flags =
        "--image-gc-high-threshold=95 --minimum-image-ttl-duration=0s --container-runtime-endpoint=/b.sock";
    let settings = settings(fields, flags);
    assert_eq!(settings.image_gc.high_threshold_percent, 95);
    assert_eq!(settings.image_gc.min_age, Duration::ZERO);
    assert_eq!(settings.runtime.endpoint.as_str(), "/b.sock");
    let text = imported(fields, flags).unwrap().to_toml("FILE");
    assert!(
        text.contains("# --image-gc-high-threshold=95, which overrides imageGCHighThresholdPercent in"),
        "{text}"
    );
    // What was changed in the file would have no effect.
    assert!(text.contains("and no --image-gc-high-threshold"), "{text}");
}

#[test]
fn what_kubeadm_writes_for_unset_values_is_not_set() {
    // The kubelet replaces these by its defaults, and kubeadm writes them out.
    let fields =
        "imageMinimumGCAge: 0s\nimageMaximumGCAge: 0s\ncontainerRuntimeEndpoint: \"\"\npodLogsDir: \"\"\n";
    assert_eq!(changed(fields, ""), []);
    assert_eq!(settings(fields, "").image_gc.min_age, Duration::from_secs(120));
    let text = imported(fields, "").unwrap().to_toml("FILE");
    assert!(
        text.contains("# imageMinimumGCAge: 0s, for which the kubelet takes its default\n# min_age"),
        "{text}"
    );
}

#[test]
fn json_is_read_as_well_with_its_tabs_and_escapes() {
    let json = "{\n\t\"kind\": \"KubeletConfiguration\",\n\t\"apiVersion\": \"kubelet.config.k8s.io/v1beta1\",\n\t\
                \"imageMinimumGCAge\": \"1h\", \"imageGCLowThresholdPercent\": 70\n}\n";
    let settings = import(json, &[]).unwrap().settings;
    assert_eq!(settings.image_gc.min_age, Duration::from_secs(3600));
    assert_eq!(settings.image_gc.low_threshold_percent, 70);
    let escapes = r#"{"kind":"KubeletConfiguration","apiVersion":"kubelet.config.k8s.io\/v1beta1","podLogsDir":"\/\ud83d\ude00"}"#;
    assert_eq!(import(escapes, &[]).unwrap().settings.log_gc.pod_logs_root.to_str(), Some("/\u{1f600}"));
    assert_eq!(
        import(&format!("\u{feff}---\n{HEAD}"), &[]).unwrap().settings.image_gc.low_threshold_percent,
        80
    );
}

#[test]
fn a_kubelet_without_image_gc_does_not_switch_image_gc_off_here() {
    for (fields, flags) in [
        ("imageGCHighThresholdPercent: 100\nimageGCLowThresholdPercent: 99", ""),
        ("imageGCHighThresholdPercent: 100", ""),
        ("", "--image-gc-high-threshold=100"),
    ] {
        assert_eq!(changed(fields, flags), [], "{fields}{flags}");
        let text = imported(fields, flags).unwrap().to_toml("FILE");
        let words = text.replace("\n# ", " ");
        assert!(
            words.contains(
                "Write another threshold, or 100 to turn off image removal for lack of space in both"
            ),
            "{text}"
        );
        assert!(text.contains("\n# high_threshold_percent = 85\n"), "{text}");
        assert!(text.contains("\n# low_threshold_percent = 80\n"), "{text}");
        assert!(words.contains("The kubelet's own image collection is off."), "{text}");
    }
    // The age is still translated, and still has to be switched off in the kubelet.
    let text =
        imported("imageGCHighThresholdPercent: 100\nimageMaximumGCAge: 72h", "").unwrap().to_toml("FILE");
    assert!(text.contains("\nmax_age = \"3d\"\n") && text.contains("Set this in the kubelet"), "{text}");
}

#[test]
fn what_to_set_in_the_kubelet_is_said() {
    let text = imported("imageMaximumGCAge: 72h", "").unwrap().to_toml("FILE");
    for part in
        ["# Set this in the kubelet", "#   imageGCHighThresholdPercent: 100 (", "#   imageMaximumGCAge: 0s ("]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("already so"), "{text}");
}

/// The paragraphs about what only the kubelet does, in one line.
fn remaining(fields: &str, flags: &str) -> String {
    imported(fields, flags).unwrap().remaining.join("\n")
}

#[test]
fn what_only_the_kubelet_does_is_named() {
    let all = "evictionHard: {imagefs.available: 10%, memory.available: 100Mi, imagefs.inodesFree: 0%}\n\
               evictionSoft: {containerfs.available: 30%}\nevictionSoftGracePeriod: {containerfs.available: 1m}\n\
               evictionMinimumReclaim: {nodefs.available: 40%}\n\
               containerLogMaxSize: 50Mi\ncontainerLogMaxFiles: 3\npodPidsLimit: 5\nevictionPressureTransitionPeriod: 1m\n";
    let found = remaining(all, "");
    for part in [
        "evictionHard (imagefs.available 10%); evictionSoft (containerfs.available 30%) for evictionSoftGracePeriod; evictionMinimumReclaim (nodefs",
        // The lowest of those that begin something; what is reclaimed begins nothing.
        "starts evicting at 70% usage: set image_gc.high_threshold_percent = 85 some points below",
        "containerLogMaxSize: 50Mi, containerLogMaxFiles: 3: cri-gc rotates none",
        "Fields that were ignored, because cri-gc has no such setting: evictionPressureTransitionPeriod, podPidsLimit.",
    ] {
        assert!(found.contains(part), "{part}: {found}");
    }
    for part in ["memory", "inodesFree", "not set", "defaults"] {
        assert!(!found.contains(part), "{part}: {found}");
    }
    let found = remaining("imageGCHighThresholdPercent: 81\n", "");
    assert!(
        found.contains("imagefs.available 15%, imagefs.inodesFree 5%, nodefs.available 10%")
            && found.contains("85% usage; cri-gc starts before"),
        "{found}"
    );
    // All signals of disks are off.
    let found = remaining("evictionHard: {imagefs.available: 0%, nodefs.available: 0%}\n", "");
    assert_eq!(found, "Not about disks, or off: evictionHard.");
    let found = remaining(
        "evictionHard: {imagefs.available: 0%}\n",
        "--eviction-hard=nodefs.available<1Gi,pid.available<5%",
    );
    assert!(
        found.contains("--eviction-hard (nodefs.available 1Gi)") && found.contains("before them"),
        "{found}"
    );
    let found = remaining("evictionHard: {pid.available: 5%}", "--image-gc-some=1 --max-pods=3");
    assert!(
        found.contains("Flags that were ignored") && found.contains("--image-gc-some, --max-pods."),
        "{found}"
    );
}

/// What is said of eviction.
fn eviction(fields: &str, flags: &str) -> String {
    imported(fields, flags)
        .unwrap()
        .remaining
        .into_iter()
        .find(|one| one.starts_with("Eviction"))
        .unwrap_or_default()
}

#[test]
fn eviction_is_that_of_the_kubelet() {
    let all = "imagefs.available 15%, imagefs.inodesFree 5%, nodefs.available 10%, nodefs.inodesFree 5%";
    assert!(eviction("", "").contains(all));
    assert!(eviction("evictionHard: null", "").contains(all));
    // Without the merge, one that is set switches the others off.
    let found = eviction("evictionHard: {nodefs.available: 20%}", "");
    assert!(found.contains("(nodefs.available 20%)") && found.contains("80% usage"), "{found}");
    let merged = "mergeDefaultEvictionSettings: true\nevictionHard: ";
    let found = eviction(&format!("{merged}{{nodefs.available: 7%}}"), "");
    let wanted = "imagefs.available 15%, imagefs.inodesFree 5%, nodefs.available 7%, nodefs.inodesFree 5%), of which those that";
    assert!(found.contains(wanted) && found.contains("85% usage"), "{found}");
    assert!(eviction(&format!("{merged}{{}}"), "").contains(all));
    // None.
    assert_eq!(eviction("evictionHard: {}", ""), "");
    assert_eq!(eviction("", "--eviction-hard="), "");
    assert_eq!(eviction(&format!("{merged}{{nodefs.available: 7%}}"), "--eviction-hard="), "");
    let found = eviction("", "--eviction-hard=imagefs.available<10% --eviction-hard=nodefs.available<5%");
    assert!(found.contains("--eviction-hard (imagefs.available 10%, nodefs.available 5%)"), "{found}");
}

#[test]
fn what_is_nearly_a_field_is_refused_and_not_dropped() {
    for (fields, parts) in [
        (
            "imageGcHighThresholdPercent: 90",
            &["imageGcHighThresholdPercent: ", "write imageGCHighThresholdPercent"][..],
        ),
        ("imageGCHighThreshholdPercent: 90", &["write imageGCHighThresholdPercent"]),
        ("EvictionHard: {}", &["write evictionHard"]),
        ("eviction-hard: {}", &["write evictionHard"]),
        ("imagefs.available: 10%", &["imagefs.available: ", "has to be in evictionHard"]),
        ("rootDir: /x", &["--root-dir", "after --"]),
        ("root-dir: /x", &["--root-dir", "after --"]),
        ("hostnameOverride: x", &["--hostname-override"]),
        ("nodeName: x", &["--hostname-override"]),
        ("maximumDeadContainers: 1", &["--maximum-dead-containers,"]),
        ("kubeletConfig: {maxPods: 1}", &["at the top of the file"]),
        ("mergeDefaultEvictionSettings: yes please", &["mergeDefaultEvictionSettings", "not true or false"]),
        ("evictionHard: {imagefs.avail: 15%}", &["evictionHard", "no signal `imagefs.avail`"]),
        ("evictionHard: {nodefs.available: lots}", &["nodefs.available lots: it is neither"]),
        ("evictionHard: {nodefs.available: -5%}", &["0% to 100%"]),
        (
            "evictionSoft: {nodefs.available: 5%}",
            &["evictionSoftGracePeriod", "has to have nodefs.available"],
        ),
    ] {
        let error = refused(fields, "");
        assert!(!error.is_usage, "{error}");
        for part in parts {
            assert!(error.to_string().contains(part), "{part}: {error}");
        }
    }
    // Fields that the kubelet has, with similar names.
    for field in ["evictionMaxPodGracePeriod: 3", "containerLogMaxWorkers: 2", "podCIDR: x", "maxPods: 3"] {
        let name = field.split(':').next().unwrap();
        assert!(remaining(field, "").contains(name), "{field}");
    }
}

#[test]
fn the_forms_of_real_nodes_are_read() {
    let configz = r#"{"kubeletconfig": {"imageGCHighThresholdPercent": 91, "evictionHard": {"nodefs.available": "3%"}, "maxPods": 3}}"#;
    let found = import(configz, &[]).unwrap();
    assert_eq!(found.settings.image_gc.high_threshold_percent, 91);
    assert!(found.remaining.iter().any(|one| one.contains("(nodefs.available 3%)")), "{:?}", found.remaining);
    // There an empty map is left out, and defaults are not.
    let found = import(r#"{"kubeletconfig": {"maxPods": 3}}"#, &[]).unwrap();
    assert!(!found.remaining.iter().any(|one| one.starts_with("Eviction")), "{:?}", found.remaining);

    let documents = format!(
        "apiVersion: kubeadm.k8s.io/v1beta4\nkind: InitConfiguration\n---\n{HEAD}imageGCHighThresholdPercent: 91\n---\n"
    );
    let found = import(&documents, &[]).unwrap();
    assert_eq!(found.settings.image_gc.high_threshold_percent, 91);
    assert!(found.remaining.iter().any(|one| one.contains("InitConfiguration")), "{:?}", found.remaining);

    let object = "apiVersion: machineconfiguration.openshift.io/v1\nkind: KubeletConfig\nmetadata: {name: x}\nspec:\n  \
                  autoSizingReserved: true\n  kubeletConfig:\n    imageGCHighThresholdPercent: 91\n    maxPods: 3\n";
    let list = format!("apiVersion: v1\nkind: List\nitems:\n- {}", object.trim_end().replace('\n', "\n  "));
    for text in [object, &list] {
        let found = import(text, &[]).unwrap();
        assert_eq!(found.settings.image_gc.high_threshold_percent, 91);
        assert_eq!(found.settings.runtime.endpoint.as_str(), "unix:///var/run/crio/crio.sock");
        for part in ["autoSizingReserved", "maxPods", "configz"] {
            assert!(found.remaining.iter().any(|one| one.contains(part)), "{part}: {:?}", found.remaining);
        }
        assert_eq!(loaded(&found.to_toml("FILE")), found.settings);
    }
    let k3s = import_all(None, &[], &words("k3s agent --kubelet-arg=image-gc-high-threshold=91")).unwrap();
    assert_eq!(k3s.settings.runtime.endpoint.as_str(), "unix:///run/k3s/containerd/containerd.sock");
    assert_eq!(k3s.settings.image_gc.high_threshold_percent, 91);
    assert!(k3s.to_toml("FILE").contains("k3s and rke2 give the kubelet this endpoint"));
    assert!(k3s.remaining.iter().any(|one| one.contains("95% usage")), "{:?}", k3s.remaining);
    let flags = import_all(None, &[], &words("--root-dir=/d --image-gc-high-threshold=91")).unwrap();
    assert_eq!(
        (flags.settings.image_gc.high_threshold_percent, flags.settings.pods.kubelet_root.to_str()),
        (91, Some("/d"))
    );
}

#[test]
fn drop_ins_are_merged_as_the_kubelet_merges_them() {
    let drop_in =
        |path: &str, fields: &str| DropIn { path: path.to_owned(), text: format!("{HEAD}{fields}") };
    let merged = |fields: &str, drop_ins: &[DropIn], flags: &str| {
        let found = import_all(Some(&format!("{HEAD}{fields}")), drop_ins, &words(flags)).unwrap();
        let eviction =
            found.remaining.iter().find(|one| one.starts_with("Eviction")).cloned().unwrap_or_default();
        (found.settings.image_gc.high_threshold_percent, eviction, found.to_toml("FILE"))
    };
    let both = [
        drop_in(
            "/d/10.conf",
            "imageGCHighThresholdPercent: 88\nevictionHard: {nodefs.available: 20%}\nmaxPods: 5\n",
        ),
        drop_in("/d/20.conf", "imageGCHighThresholdPercent: 89\nevictionHard: {imagefs.available: null}\n"),
    ];
    let (high, eviction, text) = merged("imageGCHighThresholdPercent: 87\n", &both, "");
    assert_eq!(high, 89);
    // The defaults of the file are merged into, key by key; null removes.
    assert!(
        eviction.contains("(imagefs.inodesFree 5%, nodefs.available 20%, nodefs.inodesFree 5%)"),
        "{eviction}"
    );
    assert!(
        text.contains("# imageGCHighThresholdPercent: 89 (in /d/20.conf)\n") && text.contains("maxPods"),
        "{text}"
    );
    let (_, eviction, _) = merged("evictionHard: {imagefs.available: 7%}\n", &both[..1], "");
    assert!(eviction.contains("(imagefs.available 7%, nodefs.available 20%)"), "{eviction}");
    let (high, eviction, _) =
        merged("", &both, "--image-gc-high-threshold=90 --eviction-hard=imagefs.available<4%");
    assert!(high == 90 && eviction.contains("--eviction-hard (imagefs.available 4%)"), "{eviction}");
    for (text, part) in [
        ("imageGCHighThresholdPercent: 90\n".to_owned(), "/d/x.conf: it has no kind"),
        (format!("{HEAD}rootDir: /x\n"), "rootDir (/d/x.conf): "),
        (format!("{HEAD}imageGCHighThresholdPercent: x\n"), "x (in /d/x.conf): it is not a whole number"),
    ] {
        let bad = [DropIn { path: "/d/x.conf".to_owned(), text }];
        let error = import_all(None, &bad, &[]).unwrap_err();
        assert!(error.to_string().contains(part) && !error.is_usage, "{error}");
    }
}

#[test]
fn what_a_kubelet_would_refuse_is_refused_with_its_name() {
    for (fields, parts) in [
        ("imageGCHighThresholdPercent: 101", &["imageGCHighThresholdPercent: 101", "0 to 100"][..]),
        ("imageGCLowThresholdPercent: -1", &["imageGCLowThresholdPercent: -1", "0 to 100"]),
        ("imageGCHighThresholdPercent: \"90\"", &["imageGCHighThresholdPercent", "without quotes"]),
        ("imageGCHighThresholdPercent: 90.5", &["imageGCHighThresholdPercent", "whole number"]),
        ("imageGCLowThresholdPercent: 85", &["imageGCLowThresholdPercent: 85", "not below 85"]),
        ("imageGCHighThresholdPercent: 80", &["imageGCHighThresholdPercent: 80", "not above 80"]),
        ("imageMaximumGCAge: 2m", &["imageMaximumGCAge: 2m", "not above 2m"]),
        ("imageMaximumGCAge: -1h", &["imageMaximumGCAge: -1h", "negative"]),
        ("imageMinimumGCAge: soon", &["imageMinimumGCAge: soon", "duration"]),
        ("imageMinimumGCAge: [1]", &["imageMinimumGCAge: [1]", "duration"]),
        ("imageMaximumGCAge: 2000000h", &["imageMaximumGCAge: 2000000h", "100 years"]),
        (
            "containerRuntimeEndpoint: npipe:////./pipe/containerd",
            &["containerRuntimeEndpoint", "not over npipe://"],
        ),
        ("imageServiceEndpoint: tcp://10.0.0.1:1", &["imageServiceEndpoint", "not over tcp://"]),
        ("containerRuntimeEndpoint: 5", &["containerRuntimeEndpoint: 5", "not text"]),
        ("podLogsDir: /", &["podLogsDir: /", "other than /"]),
        ("podLogsDir: var/log", &["podLogsDir: var/log", "not absolute"]),
        ("evictionHard: 5%", &["evictionHard: 5%", "map of signals"]),
        ("evictionSoft: {nodefs.available: 5}", &["evictionSoft", "nodefs.available is not text"]),
        ("containerLogMaxFiles: many", &["containerLogMaxFiles: many"]),
    ] {
        let error = refused(fields, "");
        assert!(!error.is_usage, "{error}");
        for part in parts {
            assert!(error.to_string().contains(part), "{part}: {error}");
        }
    }
}

#[test]
fn an_invalid_flag_is_wrong_usage_and_an_invalid_file_is_not() {
    for (flags, part) in [
        ("--image-gc-high-threshold=x", "--image-gc-high-threshold=x"),
        ("--image-gc-high-threshold=50", "--image-gc-high-threshold=50: it is not above 80"),
        ("--minimum-container-ttl-duration=-1s", "negative"),
        ("--minimum-container-ttl-duration=1d", "`d` is not a unit"),
        ("--maximum-dead-containers=99999999999", "32 bits"),
        ("--container-runtime-endpoint=tcp://x", "not over tcp://"),
        ("--container-runtime-endpoint=", "it is empty"),
        ("--root-dir=relative", "--root-dir=relative: the path is not absolute"),
        ("--eviction-hard=nonsense", "`nonsense`"),
        ("--root-dir", "it needs a value"),
    ] {
        let error = refused("", flags);
        assert!(error.is_usage && error.to_string().contains(part), "{flags}: {error}");
    }
    let error = refused("imageGCHighThresholdPercent: 101", "--maximum-dead-containers=x");
    assert!(!error.is_usage && error.to_string().starts_with("2 values are invalid:\n  "), "{error}");
}

#[test]
fn what_is_not_a_kubelet_configuration_is_named() {
    for (text, cause, remedy) in [
        ("", "it is empty", "--config"),
        ("# nothing\n---\n", "it is empty", "kubeadm"),
        ("null\n", "it is empty", "kubeadm"),
        ("- 1\n", "it contains a list", "kubeadm"),
        ("some words\n", "it contains a single text", "kubeadm"),
        ("17\n", "it contains a single number", "kubeadm"),
        ("{\"kind\": ", "can't be read as YAML or JSON", "kubeadm"),
        ("[image_gc]\nmin_age = \"1h\"\n", "can't be read as YAML or JSON", "kubeadm"),
        ("apiVersion: v1\nkind: Config\n", "it is a kubeconfig", "kubeadm"),
        ("apiVersion: v1\nkind: ConfigMap\ndata: {}\n", "it is a ConfigMap", "data.kubelet"),
        ("apiVersion: v1\nkind: Pod\n", "it is a Pod of v1", "kubeadm"),
        (
            "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\n",
            "ClusterConfiguration of kubeadm",
            "",
        ),
        (
            "apiVersion: kubelet.config.k8s.io/v1\nkind: KubeletConfiguration\n",
            "config.k8s.io/v1; it has to be",
            "",
        ),
        ("kind: KubeletConfiguration\n", "without an apiVersion", "add apiVersion"),
        ("imageGCHighThresholdPercent: 90\n", "it has no kind", "kubeadm"),
        ("kubelet-arg: [v=2]\nnode-name: n\n", "configuration of k3s or rke2", "--kubelet-arg=FLAG=VALUE"),
        ("version: v1alpha1\nmachine: {kubelet: {}}\n", "machine configuration of Talos", "talosctl"),
        ("--root-dir=/data\n--v=2\n", "it contains flags", "after --"),
        ("kind: KubeletConfiguration\nkind: Pod\n", "kind is set twice, at line 2", "leave the one"),
        ("{\"kind\": \"Pod\", \"kind\": \"Pod\"}", "kind is set twice", "leave the one"),
        ("kind: a\n---\nkind: b\n", "none of its 2 documents is a KubeletConfiguration (a, b)", "alone"),
        (&format!("{HEAD}---\n{HEAD}"), "2 of its documents are a KubeletConfiguration", "alone"),
    ] {
        let error = import(text, &[]).expect_err(text);
        assert!(error.to_string().contains(cause), "{text}: {error}");
        assert!(error.remedy.contains(remedy), "{text}: {}", error.remedy);
        assert!(!error.is_usage, "{text}");
    }
}

#[test]
fn no_value_ends_its_comment_or_its_quotes() {
    let nasty = r#"podLogsDir: "/a\nmode = 'off'\r\x7f\u2028\"'''\\ # x""#;
    let flags = vec!["--root-dir=/a\nmode = enforce # b".to_owned(), "--gc-\u{7f}x=1".to_owned()];
    let imported = import(&format!("{HEAD}{nasty}\n"), &flags).unwrap();
    let loaded = loaded(&imported.to_toml("a\nmode = \"off\"\n[log]\u{1b}[31m"));
    assert_eq!(loaded, imported.settings);
    assert!(loaded.log_gc.pod_logs_root.to_string_lossy().contains("\nmode"));
    assert_eq!(loaded.log_gc.mode, Mode::Report);
}

proptest! {
    #[test]
    fn whatever_is_imported_loads_as_what_was_meant(
        (low, high) in (0..100_u8).prop_flat_map(|low| (Just(low), low + 1..=100)),
        min in 0..10_000_u32, over in 1..10_000_u32, aged: bool,
        per in -3..10_i32, all in -3..1000_i32,
        root in "/[a-z\\\\ #]{0,12}[a-z]", node in "[a-zA-Z0-9]([a-zA-Z0-9-]{0,9}[a-zA-Z0-9])?", logs in "/x\\PC{0,12}",
    ) {
        prop_assume!(!logs.contains(".."));
        let max = if aged { min.max(120) + over } else { 0 };
        let json = serde_json::json!({
            "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration", "podLogsDir": logs,
            "imageGCHighThresholdPercent": high, "imageGCLowThresholdPercent": low,
            "imageMinimumGCAge": format!("{min}s"), "imageMaximumGCAge": format!("0h{max}s"),
        });
        let flags = vec![
            format!("--maximum-dead-containers={all}"), "--root-dir".to_owned(), root.clone(), format!("--hostname-override={node}"),
            "--maximum-dead-containers-per-container".to_owned(), per.to_string(),
        ];
        let text = import(&json.to_string(), &flags).unwrap().to_toml("FILE");
        let found = loaded(&text);
        let (high, low) = if high == 100 { (85, 80) } else { (high, low) };
        prop_assert_eq!((found.image_gc.high_threshold_percent, found.image_gc.low_threshold_percent), (high, low));
        prop_assert_eq!(found.image_gc.min_age.as_secs(), if min == 0 { 120 } else { min.into() });
        prop_assert_eq!(found.image_gc.max_age.as_secs(), u64::from(max));
        prop_assert_eq!(found.container_gc.max_containers, i64::from(all.max(-1)));
        prop_assert_eq!(found.container_gc.max_per_pod_container, i64::from(per.max(-1)));
        prop_assert_eq!(found.pods.kubelet_root, std::path::PathBuf::from(root));
        prop_assert_eq!(found.node_name, Some(node.to_lowercase()));
        prop_assert_eq!(found.log_gc.pod_logs_root, std::path::PathBuf::from(logs));
        prop_assert!(text.lines().all(|line| !line.ends_with(' ')), "{}", text);
    }

    #[test]
    fn no_text_and_no_flags_panic(text in "\\PC*", flags in proptest::collection::vec("-{0,3}\\PC{0,10}", 0..4)) {
        let _ = import(&text, &flags);
        let _ = import(&format!("{HEAD}{text}"), &flags).map(|imported| loaded(&imported.to_toml(&text)));
    }
}
