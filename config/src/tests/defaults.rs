//! The settings without any configuration, and the files that are shipped: `default.toml` and the examples.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::load_text;
use crate::{FileSource, Mode, PodSource, Settings, Sources, key_names, load, section_names};

const DEFAULT_TOML: &str = include_str!("../../default.toml");

/// The dotted names of all values in a table.
fn leaves(table: &toml::Table, prefix: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (name, value) in table {
        let name = format!("{prefix}{name}");
        match value {
            toml::Value::Table(inner) => names.extend(leaves(inner, &format!("{name}."))),
            _ => assert!(names.insert(name)),
        }
    }
    names
}

#[test]
fn the_shipped_default_file_is_equal_to_the_built_in_defaults() {
    assert_eq!(load_text(DEFAULT_TOML).unwrap().settings, Settings::default());
}

#[test]
fn every_field_of_the_settings_is_a_key_and_in_the_default_file() {
    let of_settings = leaves(&toml::Table::try_from(Settings::default()).unwrap(), "");
    let of_default_file = leaves(&DEFAULT_TOML.parse().unwrap(), "");
    let of_keys: BTreeSet<String> = key_names().map(str::to_owned).collect();
    assert_eq!(of_default_file, of_settings);
    assert_eq!(of_keys, of_settings);
    assert_eq!(key_names().count(), of_keys.len(), "a key is declared twice");
}

#[test]
fn the_keys_and_the_default_file_have_one_order() {
    let mut section = String::new();
    let in_file = DEFAULT_TOML.lines().filter_map(|line| {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']').to_owned();
        }
        let (key, _) = line.split_once(" = ").filter(|_| !line.starts_with('#'))?;
        Some(if section.is_empty() { key.to_owned() } else { format!("{section}.{key}") })
    });
    assert_eq!(in_file.collect::<Vec<_>>(), key_names().collect::<Vec<_>>());
}

#[test]
fn sections_are_named_once_the_nested_ones_too() {
    let names: Vec<_> = section_names().collect();
    let expected = [
        "runtime",
        "pods",
        "pods.kubelet",
        "pods.kube_api",
        "container_gc",
        "sandbox_gc",
        "log_gc",
        "image_gc",
        "supervision",
        "admin",
        "metrics",
        "state",
        "log",
    ];
    assert_eq!(names, expected);
}

#[test]
fn the_defaults_are_valid() {
    let settings = load(&Sources::default()).unwrap().settings;
    assert_eq!(settings, Settings::default());
    assert_eq!(settings.runtime.endpoint.path(), Path::new("/run/containerd/containerd.sock"));
    assert_eq!(settings.runtime.max_message_size, 64 << 20);
    assert_eq!(settings.pods.source, PodSource::Runtime);
    assert_eq!(settings.pods.runtime_grace, Duration::from_secs(600));
    assert_eq!(settings.image_gc.period, Duration::from_secs(300));
    assert_eq!(settings.image_gc.pressure_poll, Duration::from_secs(5));
    assert_eq!(settings.supervision.stuck_backoff_max, Duration::from_secs(3600));
    assert_eq!(settings.admin.socket, Path::new("/run/cri-gc/admin.sock"));
    assert_eq!(settings.state.runtime_dir, Path::new("/run/cri-gc"));
    assert_eq!(settings.state.history_max_events, 10_000);
    assert_eq!((settings.node_name, settings.metrics.listen, settings.pods.file), (None, None, None));
}

#[test]
fn the_policy_follows_the_settings() {
    let text = "
        [pods]
        unmanaged = 'collect'
        [container_gc]
        min_age = '1s'
        min_dead_age = '2s'
        created_grace = '3s'
        max_per_pod_container = -1
        max_containers = 7
        evict_terminated_pods = true
        [sandbox_gc]
        min_age = '4s'
        [image_gc]
        high_threshold_percent = 70
        low_threshold_percent = 60
        inode_high_threshold_percent = 50
        inode_low_threshold_percent = 40
        min_age = '5s'
        max_age = '6s'
        protect = ['a/b:1']";
    let policy = load_text(text).unwrap().settings.policy();
    assert_eq!(policy.unmanaged, cri_gc_policy::Unmanaged::Collect);
    assert_eq!(policy.containers.min_age.as_secs(), 1);
    assert_eq!(policy.containers.min_dead_age.as_secs(), 2);
    assert_eq!(policy.containers.created_grace.as_secs(), 3);
    assert_eq!(policy.containers.max_per_pod_container, None);
    assert_eq!(policy.containers.max_containers, Some(7));
    assert!(policy.containers.evict_terminated_pods);
    assert!(policy.sandboxes.evict_terminated_pods, "one setting is for both");
    assert_eq!(policy.sandboxes.min_age.as_secs(), 4);
    assert_eq!((policy.images.bytes.high_percent, policy.images.bytes.low_percent), (70, 60));
    assert_eq!((policy.images.inodes.high_percent, policy.images.inodes.low_percent), (50, 40));
    assert_eq!((policy.images.min_age.as_secs(), policy.images.max_age.as_secs()), (5, 6));
    assert_eq!(policy.images.protect, ["a/b:1".parse().unwrap()]);
}

fn example(name: &str) -> Settings {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples").join(name);
    load(&Sources { file: FileSource::Explicit(path), ..Sources::default() }).unwrap().settings
}

#[test]
fn every_example_loads() {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples");
    let names: Vec<_> =
        std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    assert!(names.len() >= 3, "{names:?}");
    for name in names {
        assert_ne!(example(&name), Settings::default(), "{name} says nothing");
    }
}

#[test]
fn the_examples_do_what_they_say() {
    let ci = example("ci-node.toml");
    assert_eq!(ci.pods.source, PodSource::Runtime);
    assert_eq!(ci.policy().containers.max_per_pod_container, Some(0));

    let edge = example("edge-airgapped.toml").policy().images;
    for image in ["registry.internal.example/app/db:3", "registry.k8s.io/pause:3.9", "k8s.gcr.io/coredns:v1"]
    {
        assert!(edge.protect.iter().any(|p| p.matches("sha256:00", [image])), "{image}");
    }
    assert!(!edge.protect.iter().any(|p| p.matches("sha256:00", ["docker.io/library/busybox:1"])));

    let settings = example("beside-kubelet.toml");
    assert_eq!(settings.pods.source, PodSource::KubeApi);
    assert_eq!(settings.image_gc.mode, Mode::Enforce);
    for mode in [settings.container_gc.mode, settings.sandbox_gc.mode, settings.log_gc.mode] {
        assert_eq!(mode, Mode::Report);
    }
}
