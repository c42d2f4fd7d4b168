//! `[sandbox_gc]`: which pod sandboxes go, and how (spec 4).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Mode;
use crate::forms::{duration, number};

/// Sandbox reaping. Whether finished pods count is `container_gc.evict_terminated_pods`, for both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SandboxGc {
    /// Whether plans are carried out.
    pub mode: Mode,
    /// Time from one pass to the next, at least 1s; every container pass is followed by one as well.
    #[serde(with = "duration")]
    pub period: Duration,
    /// A sandbox is left alone until it was created this long ago; 0s or more.
    #[serde(with = "duration")]
    pub min_age: Duration,
    /// Removals in flight at one time, 1 to 64.
    #[serde(deserialize_with = "number::deserialize")]
    pub parallel_removals: u8,
    /// The time that one pass may take, at least 1s.
    #[serde(with = "duration")]
    pub deadline: Duration,
}

impl Default for SandboxGc {
    fn default() -> Self {
        Self {
            mode: Mode::default(),
            period: Duration::from_secs(60),
            min_age: Duration::ZERO,
            parallel_removals: 4,
            deadline: Duration::from_secs(5 * 60),
        }
    }
}
