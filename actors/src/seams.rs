//! The seams between cri-gc and the machine it runs on: the clock, the probe that asks a file system for its statistics,
//! and chance. Everything else is the same on a real node, on the embedded runtime and in tests.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use cri_gc_policy::FsStats;
use jiff::Timestamp;

/// Tells the wall-clock time. Pauses and deadlines do not use it: they run on tokio's timers.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// The clock of this machine.
    #[must_use]
    pub fn system() -> Self {
        Self::new(Timestamp::now)
    }

    /// Another clock: that of a modelled node, or of a test.
    pub fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

type Probe = dyn Fn(&Path) -> std::io::Result<FsStats> + Send + Sync;

/// Asks the file system of a directory for its statistics. A call may block (a stale network mount hangs), so it is
/// made on a worker thread, never on an actor's.
#[derive(Clone)]
pub struct FsProbe(Arc<Probe>);

impl FsProbe {
    /// statvfs of this machine.
    #[must_use]
    pub fn system() -> Self {
        Self::new(|path| {
            let stats = rustix::fs::statvfs(path)?;
            Ok(FsStats {
                capacity_bytes: stats.f_blocks.saturating_mul(stats.f_frsize),
                available_bytes: stats.f_bavail.saturating_mul(stats.f_frsize),
                inodes: stats.f_files,
                inodes_free: stats.f_favail,
            })
        })
    }

    /// Another probe: that of a modelled node, or of a test.
    pub fn new(probe: impl Fn(&Path) -> std::io::Result<FsStats> + Send + Sync + 'static) -> Self {
        Self(Arc::new(probe))
    }

    /// The statistics of the file system that `path` lies on.
    ///
    /// # Errors
    /// What the operating system says, e.g. that the directory is gone.
    pub fn stats(&self, path: &Path) -> std::io::Result<FsStats> {
        (self.0)(path)
    }
}

impl fmt::Debug for FsProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FsProbe")
    }
}

/// Where chance comes from: the spread of periods. Numbers from 0 (included) to 1 (excluded).
#[derive(Clone)]
pub struct Chance(Arc<dyn Fn() -> f64 + Send + Sync>);

impl Chance {
    /// Draws from this function.
    pub fn new(draw: impl Fn() -> f64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(draw))
    }

    /// Always 0: nothing is spread.
    #[must_use]
    pub fn none() -> Self {
        Self::new(|| 0.0)
    }

    /// The next number.
    #[must_use]
    pub fn draw(&self) -> f64 {
        (self.0)().clamp(0.0, 1.0)
    }
}

impl fmt::Debug for Chance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Chance")
    }
}
