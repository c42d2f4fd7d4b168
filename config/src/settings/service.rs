//! `[supervision]`, `[admin]`, `[metrics]`, `[state]`, `[log]`: the service around the loops (spec 7, 9, 10).

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{LogFormat, LogLevel};
use crate::forms::{duration, number, optional, path};

/// `[supervision]`: restarts, hangs, and objects that can't be removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Supervision {
    /// The pause before the first restart of a loop that died; 0s or more. It doubles from one to the next.
    #[serde(with = "duration")]
    pub restart_backoff_min: Duration,
    /// The longest pause before a restart; not below the first one.
    #[serde(with = "duration")]
    pub restart_backoff_max: Duration,
    /// The longest pause before another try at an object that can't be removed; 0s or more.
    #[serde(with = "duration")]
    pub stuck_backoff_max: Duration,
    /// A loop that has not answered for this long counts as hung and is started anew; at least 1s.
    #[serde(with = "duration")]
    pub hang_timeout: Duration,
}

impl Default for Supervision {
    fn default() -> Self {
        Self {
            restart_backoff_min: Duration::from_secs(1),
            restart_backoff_max: Duration::from_secs(60),
            stuck_backoff_max: Duration::from_secs(60 * 60),
            hang_timeout: Duration::from_secs(10 * 60),
        }
    }
}

/// `[admin]`: the socket that the client commands talk to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    /// The path of the unix socket: absolute, at most 107 bytes. Client commands take it from here as well.
    #[serde(serialize_with = "path::serialize")]
    pub socket: PathBuf,
    /// A group whose members may connect, besides root and the service's own user.
    #[serde(with = "optional")]
    pub group: Option<String>,
}

impl Default for Admin {
    fn default() -> Self {
        Self { socket: "/run/cri-gc/admin.sock".into(), group: None }
    }
}

/// `[metrics]`: the HTTP endpoint for Prometheus and for probes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Metrics {
    /// `HOST:PORT` to listen on; not set: no endpoint.
    #[serde(with = "optional")]
    pub listen: Option<String>,
}

/// `[state]`: what has to survive a restart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct State {
    /// The directory of the image records and the history: an absolute path, held by one service at a time.
    #[serde(serialize_with = "path::serialize")]
    pub dir: PathBuf,
    /// The directory of the image records while they can't be written to `dir`: an absolute path, best in memory (tmpfs).
    #[serde(serialize_with = "path::serialize")]
    pub runtime_dir: PathBuf,
    /// Events kept in the history; -1 is no limit, see [`State::history_limit`].
    #[serde(deserialize_with = "number::deserialize")]
    pub history_max_events: i64,
}

impl Default for State {
    fn default() -> Self {
        Self { dir: "/var/lib/cri-gc".into(), runtime_dir: "/run/cri-gc".into(), history_max_events: 10_000 }
    }
}

impl State {
    /// Events kept in the history; `None` is no limit.
    #[must_use]
    pub fn history_limit(&self) -> Option<usize> {
        super::limit(self.history_max_events)
    }
}

/// `[log]`: what is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// The least grave records that are written.
    pub level: LogLevel,
    /// How they are written.
    pub format: LogFormat,
}
