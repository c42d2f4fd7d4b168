//! The settings of a kubelet that matter here: the field in its configuration file, the flag, and the key of cri-gc.

use super::values::{self, Written};

/// A setting of the kubelet. An empty string means that there is none.
#[derive(Debug)]
pub(super) struct Known {
    /// The key of cri-gc that does the same.
    pub(super) key: &'static str,
    /// The field in the file.
    pub(super) field: &'static str,
    pub(super) flag: &'static str,
    /// Reads the value by the kubelet's own rules, and writes it as cri-gc does.
    pub(super) read: fn(Written<'_>) -> Result<String, String>,
    /// The value in the file that the kubelet replaces by its default; a flag with it is taken as it is.
    pub(super) unset: Option<&'static str>,
}

macro_rules! known {
    ($($name:ident: $key:literal, $field:literal, $flag:literal, $read:path, $unset:expr;)+) => {
        $(pub(super) const $name: Known =
            Known { key: $key, field: $field, flag: $flag, read: $read, unset: $unset };)+
        const ALL: &[Known] = &[$($name),+];
    };
}

known! {
    ENDPOINT: "runtime.endpoint", "containerRuntimeEndpoint", "container-runtime-endpoint", values::endpoint, Some("");
    IMAGE_ENDPOINT: "runtime.image_endpoint", "imageServiceEndpoint", "image-service-endpoint", values::endpoint, Some("");
    POD_LOGS: "log_gc.pod_logs_root", "podLogsDir", "", values::text, Some("");
    ROOT: "pods.kubelet_root", "", "root-dir", values::text, None;
    NODE: "node_name", "", "hostname-override", values::name, None;
    CONTAINER_AGE: "container_gc.min_age", "", "minimum-container-ttl-duration", values::duration, None;
    PER_CONTAINER: "container_gc.max_per_pod_container", "", "maximum-dead-containers-per-container", values::limit, None;
    CONTAINERS: "container_gc.max_containers", "", "maximum-dead-containers", values::limit, None;
    HIGH: "image_gc.high_threshold_percent", "imageGCHighThresholdPercent", "image-gc-high-threshold", values::number, None;
    LOW: "image_gc.low_threshold_percent", "imageGCLowThresholdPercent", "image-gc-low-threshold", values::number, None;
    MIN_AGE: "image_gc.min_age", "imageMinimumGCAge", "minimum-image-ttl-duration", values::duration, Some("0s");
    MAX_AGE: "image_gc.max_age", "imageMaximumGCAge", "", values::duration, None;
    HARD: "", "evictionHard", "eviction-hard", values::thresholds, None;
    SOFT: "", "evictionSoft", "eviction-soft", values::thresholds, None;
    SOFT_PERIOD: "", "evictionSoftGracePeriod", "eviction-soft-grace-period", values::periods, None;
    RECLAIM: "", "evictionMinimumReclaim", "eviction-minimum-reclaim", values::reclaims, None;
    LOG_SIZE: "", "containerLogMaxSize", "container-log-max-size", values::text, Some("");
    LOG_FILES: "", "containerLogMaxFiles", "container-log-max-files", values::number, None;
}

/// What is chosen for a node with a kubelet: the API server lists the pods, and until an operator decides otherwise only
/// images are removed.
pub(super) const CHOICES: [(&str, &str); 5] = [
    ("pods.source", "kube-api"),
    ("container_gc.mode", "report"),
    ("sandbox_gc.mode", "report"),
    ("log_gc.mode", "report"),
    ("image_gc.mode", "enforce"),
];

/// Whether the kubelet's defaults for evictionHard fill up what a file sets of it.
pub(super) const MERGE: &str = "mergeDefaultEvictionSettings";

/// The settings that have a key of cri-gc.
pub(super) fn translated() -> impl Iterator<Item = &'static Known> {
    ALL.iter().filter(|known| !known.key.is_empty())
}

/// The fields that are read; the others are listed.
pub(super) fn fields() -> impl Iterator<Item = &'static str> {
    ALL.iter().map(|known| known.field).filter(|field| !field.is_empty()).chain([MERGE])
}

/// The flags that are read; the others are listed. All of them take a value.
pub(super) fn flags() -> impl Iterator<Item = &'static str> {
    let flags = ALL.iter().map(|known| known.flag).filter(|flag| !flag.is_empty());
    flags.chain(["config", "config-dir"])
}

/// The flags that have no field of a similar name.
pub(super) fn flags_alone() -> impl Iterator<Item = &'static str> {
    let flags = ALL.iter().filter(|known| known.field.is_empty()).map(|known| known.flag);
    flags.chain([MIN_AGE.flag, "config-dir", "node-name"])
}
