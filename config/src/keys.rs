//! The table of all settings: the dotted name of each, and the form of its value.
//!
//! Reading a layer, checking ranges and every message follow this one table; a test holds it equal to the fields of
//! `Settings`.

use std::time::Duration;

use crate::forms::duration;
use crate::settings::{LogFormat, LogLevel, Mode, PodSource, Unmanaged};

/// One setting.
#[derive(Debug)]
pub(crate) struct Key {
    /// The dotted name, as `image_gc.period`.
    pub(crate) name: &'static str,
    pub(crate) form: Form,
}

/// The form of a value: how it is written, and its range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Any text; empty is "not set".
    Text,
    Switch,
    /// One of these words.
    Word(&'static [&'static str]),
    /// At least this long, at most 100 years.
    Duration(Duration),
    /// 0 to 100.
    Percent,
    /// 1 to 64.
    Parallel,
    /// -1 (no limit) or more.
    Count,
    /// 1MiB to 2GiB.
    MessageSize,
    Endpoint,
    /// An absolute path.
    Path,
    /// The absolute path of a directory below which files are removed.
    Root,
    /// The absolute path of a unix socket.
    Socket,
    /// `HOST:PORT`, or empty.
    Listen,
    /// The name of a Node, or empty.
    NodeName,
    /// A list of image patterns.
    Patterns,
}

pub(crate) const PARALLEL: std::ops::RangeInclusive<i64> = 1..=64;
pub(crate) const MESSAGE_SIZE: std::ops::RangeInclusive<u64> = bytesize::MIB..=2 * bytesize::GIB;

impl Form {
    /// What is right, for messages.
    pub(crate) fn allowed(self) -> String {
        match self {
            Self::Text => "a string".to_owned(),
            Self::Switch => "true or false".to_owned(),
            Self::Word(words) => words.join(", "),
            Self::Duration(min) => format!("a duration from {} to 100 years", duration::format(min)),
            Self::Percent => "a whole number from 0 to 100".to_owned(),
            Self::Parallel => format!("a whole number from {} to {}", PARALLEL.start(), PARALLEL.end()),
            Self::Count => "a whole number, -1 (no limit) or more".to_owned(),
            Self::MessageSize => "a size from 1MiB to 2GiB".to_owned(),
            Self::Endpoint => {
                "a unix socket, unix:///PATH or an absolute path, of at most 107 bytes".to_owned()
            }
            Self::Path => "an absolute path".to_owned(),
            Self::Root => "an absolute path other than /, without ..".to_owned(),
            Self::Socket => "an absolute path of at most 107 bytes".to_owned(),
            Self::Listen => "HOST:PORT, or empty (off)".to_owned(),
            Self::NodeName => {
                "the name of a Node, a DNS subdomain (RFC 1123): a-z, 0-9, - and . , at most 253; or empty (the host name)".to_owned()
            }
            Self::Patterns => {
                "a list of repo, repo:tag, repo@digest (each may hold *) or image ids".to_owned()
            }
        }
    }

    /// What to do about the value that was written as `raw`.
    pub(crate) fn remedy(self, raw: &str) -> String {
        let raw = raw.trim_matches('"').trim();
        match self {
            Self::Text => format!("write it in quotes, as \"{}\"", raw.escape_debug()),
            Self::Switch => "write true or false, without quotes".to_owned(),
            Self::Word(_) => "write one of these words".to_owned(),
            Self::Duration(min) if raw.parse::<u64>().is_ok_and(|n| n >= min.as_secs()) => {
                format!("write \"{raw}s\" if seconds are meant")
            }
            Self::Duration(_) => "write a number with a unit, as \"30s\", \"5m\" or \"1h30m\"".to_owned(),
            Self::Percent => "write a whole number without a percent sign, as 85".to_owned(),
            Self::Parallel => "write a whole number, as 4".to_owned(),
            Self::Count => "write how many to keep, or -1 for no limit".to_owned(),
            Self::MessageSize => "write a number with a unit, as \"64MiB\"".to_owned(),
            Self::Endpoint => {
                "write it as \"unix:///run/containerd/containerd.sock\" or \"/run/crio/crio.sock\"".to_owned()
            }
            Self::Path => "write the whole path from the root on, as \"/var/lib/NAME\"".to_owned(),
            Self::Root => "name the directory itself, as \"/var/log/pods\"".to_owned(),
            Self::Socket => "write it as \"/run/cri-gc/admin.sock\"".to_owned(),
            Self::Listen => "write it as \"127.0.0.1:9477\" or \"[::1]:9477\", or \"\" for none".to_owned(),
            // In quotes it would be one.
            Self::NodeName if raw.parse::<u64>().is_ok() => format!("write it in quotes, as \"{raw}\""),
            Self::NodeName => "write the name that `kubectl get nodes` shows for this machine".to_owned(),
            Self::Patterns => "write it as [\"registry.example/*\", \"busybox:1.36\"]".to_owned(),
        }
    }
}

const fn key(name: &'static str, form: Form) -> Key {
    Key { name, form }
}

/// Periods, deadlines and time-outs that would stop all work if they were zero.
const AT_LEAST_1S: Form = Form::Duration(Duration::from_secs(1));
/// Ages, graces and pauses: zero is "at once" or "off".
const ANY_TIME: Form = Form::Duration(Duration::ZERO);
const MODE: Form = Form::Word(Mode::WORDS);

/// All settings, in the order of `default.toml`.
pub(crate) const ALL: &[Key] = &[
    key("node_name", Form::NodeName),
    key("runtime.endpoint", Form::Endpoint),
    key("runtime.image_endpoint", Form::Endpoint),
    key("runtime.request_timeout", AT_LEAST_1S),
    key("runtime.max_message_size", Form::MessageSize),
    key("pods.source", Form::Word(PodSource::WORDS)),
    key("pods.file", Form::Text),
    key("pods.runtime_grace", ANY_TIME),
    key("pods.max_staleness", ANY_TIME),
    key("pods.unmanaged", Form::Word(Unmanaged::WORDS)),
    key("pods.kubelet_root", Form::Path),
    key("pods.max_newly_deleted_percent", Form::Percent),
    key("pods.runtime_beside_kubelet", Form::Switch),
    key("pods.kubelet.url", Form::Text),
    key("pods.kubelet.token_file", Form::Text),
    key("pods.kubelet.ca_file", Form::Text),
    key("pods.kubelet.client_cert_file", Form::Text),
    key("pods.kubelet.client_key_file", Form::Text),
    key("pods.kubelet.insecure_skip_verify", Form::Switch),
    key("pods.kubelet.period", AT_LEAST_1S),
    key("pods.kube_api.kubeconfig", Form::Text),
    key("container_gc.mode", MODE),
    key("container_gc.period", AT_LEAST_1S),
    key("container_gc.min_age", ANY_TIME),
    key("container_gc.min_dead_age", ANY_TIME),
    key("container_gc.created_grace", ANY_TIME),
    key("container_gc.max_per_pod_container", Form::Count),
    key("container_gc.max_containers", Form::Count),
    key("container_gc.evict_terminated_pods", Form::Switch),
    key("container_gc.stop_timeout", ANY_TIME),
    key("container_gc.parallel_removals", Form::Parallel),
    key("container_gc.deadline", AT_LEAST_1S),
    key("sandbox_gc.mode", MODE),
    key("sandbox_gc.period", AT_LEAST_1S),
    key("sandbox_gc.min_age", ANY_TIME),
    key("sandbox_gc.parallel_removals", Form::Parallel),
    key("sandbox_gc.deadline", AT_LEAST_1S),
    key("log_gc.mode", MODE),
    key("log_gc.period", AT_LEAST_1S),
    key("log_gc.pod_logs_root", Form::Root),
    key("log_gc.legacy_container_logs_root", Form::Root),
    key("log_gc.workers", Form::Parallel),
    key("log_gc.deadline", AT_LEAST_1S),
    key("image_gc.mode", MODE),
    key("image_gc.period", AT_LEAST_1S),
    key("image_gc.high_threshold_percent", Form::Percent),
    key("image_gc.low_threshold_percent", Form::Percent),
    key("image_gc.inode_high_threshold_percent", Form::Percent),
    key("image_gc.inode_low_threshold_percent", Form::Percent),
    key("image_gc.min_age", ANY_TIME),
    key("image_gc.max_age", ANY_TIME),
    key("image_gc.protect", Form::Patterns),
    key("image_gc.pressure_poll", ANY_TIME),
    key("image_gc.settle", ANY_TIME),
    key("image_gc.parallel_removals", Form::Parallel),
    key("image_gc.deadline", AT_LEAST_1S),
    key("supervision.restart_backoff_min", ANY_TIME),
    key("supervision.restart_backoff_max", ANY_TIME),
    key("supervision.stuck_backoff_max", ANY_TIME),
    key("supervision.hang_timeout", AT_LEAST_1S),
    key("admin.socket", Form::Socket),
    key("admin.group", Form::Text),
    key("metrics.listen", Form::Listen),
    key("state.dir", Form::Path),
    key("state.runtime_dir", Form::Path),
    key("state.history_max_events", Form::Count),
    key("log.level", Form::Word(LogLevel::WORDS)),
    key("log.format", Form::Word(LogFormat::WORDS)),
];

/// The setting of this dotted name.
pub(crate) fn find(name: &str) -> Option<&'static Key> {
    ALL.iter().find(|key| key.name == name)
}

/// The dotted names of all settings, in the order of the default configuration.
pub fn key_names() -> impl Iterator<Item = &'static str> {
    ALL.iter().map(|key| key.name)
}

/// The dotted names of all sections, as `pods` and `pods.kubelet`, each once.
pub fn section_names() -> impl Iterator<Item = &'static str> {
    ALL.iter().enumerate().filter_map(|(at, key)| {
        let section = key.name.rsplit_once('.')?.0;
        let earlier =
            ALL.iter().take(at).any(|key| key.name.rsplit_once('.').is_some_and(|(s, _)| s == section));
        (!earlier).then_some(section)
    })
}

/// The names directly in a section, those of its sections included; "" is the top.
pub(crate) fn children(section: &str) -> Vec<&'static str> {
    let mut names: Vec<&'static str> = Vec::new();
    for key in ALL {
        let below = match section {
            "" => Some(key.name),
            _ => key.name.strip_prefix(section).and_then(|rest| rest.strip_prefix('.')),
        };
        let name = below.map(|rest| rest.split_once('.').map_or(rest, |(first, _)| first));
        if let Some(name) = name
            && !names.contains(&name)
        {
            names.push(name);
        }
    }
    names
}
