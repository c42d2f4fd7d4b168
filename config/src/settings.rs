//! Every setting, declared once: its type, its default, the form of its value, and what it means.
//!
//! All else follows from these declarations: the structs and their defaults, the keys that layers may set, what messages
//! say about a value, `default.toml` and `docs/settings.md`. The doc comments are the text of these two files, so they
//! are written for operators. A new setting is one declaration here; `CRI_GC_UPDATE_EXPECTED=1 cargo test -p cri-gc-config`
//! then writes both files.

use std::path::PathBuf;
use std::time::Duration;

use cri_gc_policy::Pattern;
use serde::{Deserialize, Serialize};
use toml::Value;

use crate::choices::{LogFormat, LogLevel, Mode, PodSource, Unmanaged};
use crate::endpoint::Endpoint;
use crate::form::{
    ANY_TIME, AT_LEAST_1S, COUNT, ENDPOINT, EVENTS, Form, LISTEN, MESSAGE_SIZE, NODE_NAME, PARALLEL, PATH,
    PATTERNS, PERCENT, REMOVAL_ROOT, SOCKET, SWITCH, TEXT, word,
};
use crate::written::Written;

/// One setting.
#[derive(Debug)]
pub(crate) struct Key {
    /// The dotted name, as `image_gc.period`.
    pub(crate) name: &'static str,
    pub(crate) form: Form,
    /// Says what is wrong with a value of the wrong type.
    pub(crate) read: fn(&Value) -> Result<(), String>,
    /// The value that settings have, in its written form.
    pub(crate) get: fn(&Settings) -> Value,
    /// The lines of its doc comment.
    #[cfg(test)]
    pub(crate) about: &'static [&'static str],
}

/// A section of the configuration file.
#[derive(Debug)]
pub(crate) struct Section {
    /// The dotted name, as `pods.kubelet`; "" for the keys at the top.
    pub(crate) name: &'static str,
    pub(crate) keys: &'static [Key],
    /// The lines of its doc comment.
    #[cfg(test)]
    pub(crate) about: &'static [&'static str],
}

/// Declares all sections: `Struct [path] { key: Type = default, form; ... sections { field: Struct, ... } }`.
macro_rules! settings {
    ($(
        $(#[doc = $about:literal])+
        $name:ident $path:tt {
            $($(#[doc = $doc:literal])+ $key:ident: $type:ty = $default:expr, $form:expr;)*
            $(sections { $($sub:ident: $sub_type:ident,)+ })?
        }
    )+) => {
        $(
            $(#[doc = $about])+
            #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
            #[serde(default, deny_unknown_fields)]
            pub struct $name {
                $($(#[doc = $doc])+ #[serde(with = "crate::written")] pub $key: $type,)*
                $($(#[doc = concat!("Section ", stringify!($sub), ".")] pub $sub: $sub_type,)+)?
            }

            impl Default for $name {
                fn default() -> Self {
                    Self { $($key: $default,)* $($($sub: $sub_type::default(),)+)? }
                }
            }
        )+

        /// All sections, in the order of the documents.
        pub(crate) const SECTIONS: &[Section] = &[$(
            Section {
                name: section_name!($path),
                keys: &[$(Key {
                    name: key_name!($path $key),
                    form: $form,
                    read: |value| <$type as Written>::read(value).map(drop),
                    get: |settings| field!(settings $path $key).write(),
                    #[cfg(test)]
                    about: &[$($doc),+],
                },)*],
                #[cfg(test)]
                about: &[$($about),+],
            },
        )+];
    };
}

/// The dotted name of a section.
macro_rules! section_name {
    ([]) => { "" };
    ([$first:ident $(.$path:ident)*]) => { concat!(stringify!($first) $(, ".", stringify!($path))*) };
}

/// The dotted name of a key.
macro_rules! key_name {
    ([$($path:ident).*] $key:ident) => { concat!($(stringify!($path), ".",)* stringify!($key)) };
}

/// The field of a key.
macro_rules! field {
    ($settings:ident [$($path:ident).*] $key:ident) => { $settings$(.$path)*.$key };
}

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);

settings! {
    /// The configuration of cri-gc. Every key is listed with its default; each line may be left out.
    ///
    /// Later layers override earlier ones:
    ///   1. the built-in defaults (the values below)
    ///   2. /etc/cri-gc/config.toml, or the file given with --config
    ///   3. environment variables: CRI_GC__IMAGE_GC__HIGH_THRESHOLD_PERCENT=90 sets image_gc.high_threshold_percent
    ///   4. flags of the command line
    /// `cri-gc config check` lists everything that is wrong with a file; `cri-gc config show` prints the settings in force.
    ///
    /// Durations are numbers with units: "30s", "5m", "1h30m", "7d". Sizes: "64MiB".
    /// Counts: -1 is no limit. An empty string is "not set".
    Settings [] {
        /// The name of this node's Node object, as `kubectl get nodes` shows it, for pods.source = "kube-api". In a DaemonSet
        /// set CRI_GC__NODE_NAME from spec.nodeName. Not set: the host name. (kubelet: --hostname-override)
        node_name: Option<String> = None, NODE_NAME;
        sections {
            runtime: Runtime,
            pods: Pods,
            container_gc: ContainerGc,
            sandbox_gc: SandboxGc,
            log_gc: LogGc,
            image_gc: ImageGc,
            supervision: Supervision,
            admin: Admin,
            metrics: Metrics,
            state: State,
            log: Log,
        }
    }

    /// The connection to the container runtime.
    Runtime [runtime] {
        /// The socket of the runtime. CRI-O: "unix:///var/run/crio/crio.sock". (kubelet: containerRuntimeEndpoint)
        endpoint: Endpoint = Endpoint::containerd(), ENDPOINT;
        /// The socket of the image service, if it is another one. Not set: the same. (kubelet: imageServiceEndpoint)
        image_endpoint: Option<Endpoint> = None, ENDPOINT;
        /// The deadline of one request to the runtime. (kubelet: runtimeRequestTimeout)
        request_timeout: Duration = 2 * MINUTE, AT_LEAST_1S;
        /// The largest answer that is accepted from the runtime. A larger list of containers or sandboxes is made in parts; one of images fails unless the runtime has streams.
        max_message_size: u64 = 64 * bytesize::MIB, MESSAGE_SIZE;
    }

    /// Which pods exist. Only objects of a pod that is confirmed deleted are all removed.
    Pods [pods] {
        /// Where the list of existing pods comes from.
        source: PodSource = PodSource::Runtime, word(PodSource::WORDS);
        /// The pod list for source = "file", an absolute path: a JSON or YAML PodList, or a list of {uid, state}.
        file: Option<PathBuf> = None, TEXT;
        /// With source = "runtime", a pod counts as deleted once nothing of it has run for this long.
        runtime_grace: Duration = 10 * MINUTE, ANY_TIME;
        /// A list of pods that is older than this confirms no deletion.
        max_staleness: Duration = 5 * MINUTE, ANY_TIME;
        /// What happens to containers and sandboxes that belong to no pod.
        unmanaged: Unmanaged = Unmanaged::Keep, word(Unmanaged::WORDS);
        /// The root directory of this node's kubelet. A pod that still has a directory in its pods/ does not count as deleted.
        /// With source = "kubelet" or "kube-api", at least one of the pods that run here must have a directory there: if none
        /// has, or if it can't be read, no pod counts as deleted. (kubelet: --root-dir)
        kubelet_root: PathBuf = "/var/lib/kubelet".into(), PATH;
        /// If more than this percentage of the node's pods, and at least 5 (20 with source = "kube-api"), disappear from the
        /// list at once, they do not count as deleted yet. 100: off.
        max_newly_deleted_percent: u8 = 50, PERCENT;
        /// With source = "runtime" on a node where a kubelet has pods, only images are removed and everything else is reported.
        /// true: containers, sandboxes and logs are removed, too.
        runtime_beside_kubelet: bool = false, SWITCH;
        sections {
            kubelet: Kubelet,
            kube_api: KubeApi,
        }
    }

    /// The kubelet, for pods.source = "kubelet".
    Kubelet [pods.kubelet] {
        /// Where the kubelet lists its pods. "http://127.0.0.1:10255/pods" if its read-only port is open.
        url: String = "https://127.0.0.1:10250/pods".to_owned(), TEXT;
        /// The file with the bearer token. It is read for every request, and sent over https only. Not set: no token is sent.
        token_file: Option<PathBuf> = Some("/var/run/secrets/kubernetes.io/serviceaccount/token".into()), TEXT;
        /// The certificate authority of the kubelet's serving certificate. Not set: those that this machine trusts.
        ca_file: Option<PathBuf> = None, TEXT;
        /// The client certificate, if the kubelet asks for one. It is read for every request, and needs its key.
        client_cert_file: Option<PathBuf> = None, TEXT;
        /// The private key of the client certificate.
        client_key_file: Option<PathBuf> = None, TEXT;
        /// true: the kubelet's certificate is not verified.
        insecure_skip_verify: bool = false, SWITCH;
        /// Time between two requests for the pod list.
        period: Duration = 10 * SECOND, AT_LEAST_1S;
    }

    /// The API server, for pods.source = "kube-api".
    KubeApi [pods.kube_api] {
        /// The kubeconfig file. Not set: the service account of the pod that cri-gc runs in, else $KUBECONFIG.
        kubeconfig: Option<PathBuf> = None, TEXT;
    }

    /// Dead containers.
    ContainerGc [container_gc] {
        /// What is done with the containers that are to be removed.
        mode: Mode = Mode::Enforce, word(Mode::WORDS);
        /// Time between two passes.
        period: Duration = MINUTE, AT_LEAST_1S;
        /// A container is kept until it was created this long ago. (kubelet: --minimum-container-ttl-duration)
        min_age: Duration = Duration::ZERO, ANY_TIME;
        /// A container is kept until it finished this long ago: a kubelet has to read its exit status first.
        min_dead_age: Duration = MINUTE, ANY_TIME;
        /// A container that never started is kept until it was created this long ago: it may be about to start.
        created_grace: Duration = 5 * MINUTE, ANY_TIME;
        /// How many dead containers are kept of each container of an existing pod, the newest ones. With 0 a kubelet forgets
        /// restart counts and `kubectl logs --previous`, and runs finished init containers again.
        /// (kubelet: --maximum-dead-containers-per-container)
        max_per_pod_container: i64 = 1, COUNT;
        /// How many dead containers are kept on the whole node. This may remove the last record of a container.
        /// (kubelet: --maximum-dead-containers)
        max_containers: i64 = -1, COUNT;
        /// true: the containers and sandboxes of finished pods (Succeeded or Failed) are removed like those of deleted pods;
        /// their logs are kept.
        evict_terminated_pods: bool = false, SWITCH;
        /// How long a container in an unknown state may take to stop before it is removed.
        stop_timeout: Duration = 30 * SECOND, ANY_TIME;
        /// How many removals run at the same time at most: fewer where more do not get done sooner.
        parallel_removals: u8 = 4, PARALLEL;
        /// How long one pass may take.
        deadline: Duration = 5 * MINUTE, AT_LEAST_1S;
    }

    /// Pod sandboxes without containers.
    SandboxGc [sandbox_gc] {
        /// What is done with the sandboxes that are to be removed.
        mode: Mode = Mode::Enforce, word(Mode::WORDS);
        /// Time between two passes. Each container pass is followed by a sandbox pass, too.
        period: Duration = MINUTE, AT_LEAST_1S;
        /// A sandbox is kept until it was created this long ago.
        min_age: Duration = Duration::ZERO, ANY_TIME;
        /// How many removals run at the same time at most: fewer where more do not get done sooner.
        parallel_removals: u8 = 4, PARALLEL;
        /// How long one pass may take.
        deadline: Duration = 5 * MINUTE, AT_LEAST_1S;
    }

    /// Log directories of deleted pods, and links to logs that no longer exist.
    LogGc [log_gc] {
        /// What is done with the directories and links that are to be removed.
        mode: Mode = Mode::Enforce, word(Mode::WORDS);
        /// Time between two passes. Each sandbox pass is followed by a log pass, too.
        period: Duration = MINUTE, AT_LEAST_1S;
        /// The directory of the pods' log directories. Logs outside of this and the next one are never removed.
        /// (kubelet: podLogsDir)
        pod_logs_root: PathBuf = "/var/log/pods".into(), REMOVAL_ROOT;
        /// The directory of the links to container logs.
        legacy_container_logs_root: PathBuf = "/var/log/containers".into(), REMOVAL_ROOT;
        /// How many threads remove files.
        workers: u8 = 1, PARALLEL;
        /// How long one pass may take.
        deadline: Duration = 5 * MINUTE, AT_LEAST_1S;
    }

    /// Unused images.
    ImageGc [image_gc] {
        /// What is done with the images that are to be removed.
        mode: Mode = Mode::Enforce, word(Mode::WORDS);
        /// Time between two passes.
        period: Duration = 5 * MINUTE, AT_LEAST_1S;
        /// Once this percentage of the image filesystem is used, images are removed, those unused for longest first.
        /// 100: off. (kubelet: imageGCHighThresholdPercent)
        high_threshold_percent: u8 = 85, PERCENT;
        /// Removal stops at this percentage. At most the high threshold. (kubelet: imageGCLowThresholdPercent)
        low_threshold_percent: u8 = 80, PERCENT;
        /// As high_threshold_percent, but of inodes. 100: off.
        inode_high_threshold_percent: u8 = 100, PERCENT;
        /// As low_threshold_percent, but of inodes.
        inode_low_threshold_percent: u8 = 100, PERCENT;
        /// An image is kept until it was first seen this long ago. (kubelet: imageMinimumGCAge)
        min_age: Duration = 2 * MINUTE, ANY_TIME;
        /// An image that was unused for longer is removed even if there is enough space. "0s": off. (kubelet: imageMaximumGCAge)
        max_age: Duration = Duration::ZERO, ANY_TIME;
        /// Images that are never removed. * matches any text; an image id needs at least 12 digits. No regular expressions.
        /// Example: ["registry.example/base/*", "busybox:1.36"]. In the environment: separated by commas.
        protect: Vec<Pattern> = Vec::new(), PATTERNS;
        /// How often the usage of the image filesystem is measured between passes; if it is too high, a pass starts at once.
        /// "0s": off.
        pressure_poll: Duration = 5 * SECOND, ANY_TIME;
        /// How long the runtime may take to free the space of a removed image.
        settle: Duration = 2 * SECOND, ANY_TIME;
        /// How many removals run at the same time at most: fewer where more do not get done sooner.
        parallel_removals: u8 = 2, PARALLEL;
        /// How long one pass may take.
        deadline: Duration = 10 * MINUTE, AT_LEAST_1S;
    }

    /// What happens when a part of cri-gc fails.
    Supervision [supervision] {
        /// The pause before the first restart of a part that crashed. It doubles with each restart.
        restart_backoff_min: Duration = SECOND, ANY_TIME;
        /// The longest pause before a restart. At least restart_backoff_min.
        restart_backoff_max: Duration = MINUTE, ANY_TIME;
        /// The longest pause between two attempts to remove an object that can't be removed.
        stuck_backoff_max: Duration = HOUR, ANY_TIME;
        /// A part that has not answered for this long counts as hung and is replaced.
        hang_timeout: Duration = 10 * MINUTE, AT_LEAST_1S;
    }

    /// The socket on which `cri-gc status` and the other client commands reach the service.
    Admin [admin] {
        /// The path of the socket.
        socket: PathBuf = "/run/cri-gc/admin.sock".into(), SOCKET;
        /// A group whose members may connect, next to root and the user of the service. Not set: these two only.
        group: Option<String> = None, TEXT;
        /// A group whose members may connect and ask (status, explain, events, settings), and change nothing. They have a socket of
        /// their own next to the other: admin-read.sock. `cri-gc plan` needs the socket of the runtime. Not set: there is none.
        read_group: Option<String> = None, TEXT;
    }

    /// Metrics for Prometheus, probes, and the state of the service as a page, over HTTP: /metrics, /healthz, /readyz and /.
    Metrics [metrics] {
        /// The address to listen on, as "127.0.0.1:9477". All who reach it can read the state of the service. Not set: off.
        listen: Option<String> = None, LISTEN;
    }

    /// What survives a restart.
    State [state] {
        /// The directory of the image records. Only one service uses it at a time.
        dir: PathBuf = "/var/lib/cri-gc".into(), PATH;
        /// The directory of the image records while they can't be written to the one above because its disk is full or
        /// read-only. They return as soon as they can be written there; a reboot before that makes all images new. It should be
        /// on a tmpfs, and only root should be able to write it.
        runtime_dir: PathBuf = "/run/cri-gc".into(), PATH;
        /// How many events `cri-gc history` keeps on disk, the newest ones; about 200 bytes each. 0: no history.
        history_max_events: i64 = 10_000, EVENTS;
    }

    /// What is logged.
    Log [log] {
        /// Which log records are written.
        level: LogLevel = LogLevel::Info, word(LogLevel::WORDS);
        /// The format of log records.
        format: LogFormat = LogFormat::Auto, word(LogFormat::WORDS);
    }
}

/// All settings, in the order of the documents.
pub(crate) fn keys() -> impl Iterator<Item = &'static Key> {
    SECTIONS.iter().flat_map(|section| section.keys)
}

/// What the names of the environment variables begin with. Kubernetes sets variables as `CRI_GC_SERVICE_HOST` for a service
/// of the name `cri-gc`; the second underscore keeps those apart.
pub const ENV_PREFIX: &str = "CRI_GC__";

/// The variable that sets a dotted key: `CRI_GC__IMAGE_GC__PERIOD` for `image_gc.period`.
pub(crate) fn variable(key: &str) -> String {
    format!("{ENV_PREFIX}{}", key.replace('.', "__").to_ascii_uppercase())
}

/// The setting of this dotted name.
pub(crate) fn find(name: &str) -> Option<&'static Key> {
    keys().find(|key| key.name == name)
}

/// The dotted names of all settings, in the order of the documents.
pub fn key_names() -> impl Iterator<Item = &'static str> {
    keys().map(|key| key.name)
}

/// The dotted names of all sections, as `pods` and `pods.kubelet`.
pub fn section_names() -> impl Iterator<Item = &'static str> {
    SECTIONS.iter().map(|section| section.name).filter(|name| !name.is_empty())
}

/// The names directly in a section, those of its sections included; "" is the top.
pub(crate) fn children(section: &str) -> Vec<&'static str> {
    let child = |name: &'static str| match name.rsplit_once('.').unwrap_or(("", name)) {
        (parent, child) if parent == section => Some(child),
        _ => None,
    };
    key_names().chain(section_names()).filter_map(child).collect()
}
