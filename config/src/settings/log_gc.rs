//! `[log_gc]`: which log directories and links go, and how (spec 5).

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Mode;
use crate::forms::{duration, number, path};

/// Log-directory reaping.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogGc {
    /// Whether plans are carried out.
    pub mode: Mode,
    /// Time from one pass to the next, at least 1s; every sandbox pass is followed by one as well.
    #[serde(with = "duration")]
    pub period: Duration,
    /// The directory of the pods' log directories: an absolute path other than `/`. The kubelet's setting is
    /// `podLogsDir`.
    #[serde(serialize_with = "path::serialize")]
    pub pod_logs_root: PathBuf,
    /// The directory of the links to container logs: an absolute path other than `/`.
    #[serde(serialize_with = "path::serialize")]
    pub legacy_container_logs_root: PathBuf,
    /// Threads that delete files, 1 to 64.
    #[serde(deserialize_with = "number::deserialize")]
    pub workers: u8,
    /// The time that one pass may take, at least 1s.
    #[serde(with = "duration")]
    pub deadline: Duration,
}

impl Default for LogGc {
    fn default() -> Self {
        Self {
            mode: Mode::default(),
            period: Duration::from_secs(60),
            pod_logs_root: "/var/log/pods".into(),
            legacy_container_logs_root: "/var/log/containers".into(),
            workers: 1,
            deadline: Duration::from_secs(5 * 60),
        }
    }
}
