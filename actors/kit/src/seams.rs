//! The seams between cri-gc and the machine it runs on: the clock, the probe that asks a filesystem for its statistics,
//! chance, and from which level on is logged. Everything else is the same on a real node, on the embedded runtime and in tests.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cri_gc_config::LogLevel;
use cri_gc_policy::FsStats;
use jiff::{SignedDuration, Timestamp};

/// The wall-clock time, and whether it was set. Pauses and deadlines do not use it: they run on tokio's timers.
#[derive(Clone)]
pub struct Clock {
    wall: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    /// Time since the machine was booted: it never steps.
    boot: Arc<dyn Fn() -> SignedDuration + Send + Sync>,
    boot_id: Arc<str>,
}

/// A wall clock that moves by this much against the boot clock was set (behaviour: Clock changes).
pub const STEP: SignedDuration = SignedDuration::from_secs(10);

/// A moment on both clocks, to see later whether the wall clock was set in between.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    wall: Timestamp,
    boot: SignedDuration,
}

impl Moment {
    /// Whether the wall clock was set between that moment and this one, by more than 10 s either way.
    #[must_use]
    pub fn was_set_since(&self, then: &Self) -> bool {
        let passed = self.boot.saturating_sub(then.boot);
        let drift = self.wall.duration_since(then.wall).saturating_sub(passed);
        drift.abs() > STEP
    }

    /// The moment at which the clocks showed this.
    #[must_use]
    pub fn new(wall: Timestamp, boot: SignedDuration) -> Self {
        Self { wall, boot }
    }

    /// The wall-clock time of it.
    #[must_use]
    pub fn wall(&self) -> Timestamp {
        self.wall
    }

    /// The time since the machine was booted.
    #[must_use]
    pub fn boot(&self) -> SignedDuration {
        self.boot
    }
}

impl Clock {
    /// The clock of this machine.
    #[must_use]
    pub fn system() -> Self {
        let clock = Self::with_boot(Timestamp::now, || {
            let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
            // Nanoseconds are below a thousand million.
            SignedDuration::new(time.tv_sec, i32::try_from(time.tv_nsec).unwrap_or_default())
        });
        // The kernel answers from memory. Without an answer, each start counts as a boot.
        let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
        let boot_id = boot_id.unwrap_or_else(|_| format!("start at {}", Timestamp::now()));
        clock.of_boot(boot_id.trim())
    }

    /// Another clock, which is never set: that of a test.
    pub fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        let wall = Arc::new(now);
        let boot = Arc::clone(&wall);
        let boot = Arc::new(move || boot().duration_since(Timestamp::UNIX_EPOCH));
        Self { wall, boot, boot_id: "".into() }
    }

    /// Another pair of clocks: those of a modelled node.
    pub fn with_boot(
        now: impl Fn() -> Timestamp + Send + Sync + 'static,
        boot: impl Fn() -> SignedDuration + Send + Sync + 'static,
    ) -> Self {
        Self { wall: Arc::new(now), boot: Arc::new(boot), boot_id: "".into() }
    }

    /// The same clocks, in a boot of that name.
    #[must_use]
    pub fn of_boot(self, boot_id: &str) -> Self {
        Self { boot_id: boot_id.into(), ..self }
    }

    /// Name of this boot of the machine; empty if it has none.
    #[must_use]
    pub fn boot_id(&self) -> &str {
        &self.boot_id
    }

    /// Now, on both clocks.
    #[must_use]
    pub fn moment(&self) -> Moment {
        Moment { wall: self.now(), boot: (self.boot)() }
    }

    /// Whether the wall clock was set since that moment, by more than 10 s either way: ages by that clock are
    /// wrong then.
    #[must_use]
    pub fn was_set_since(&self, then: &Moment) -> bool {
        self.moment().was_set_since(then)
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        (self.wall)()
    }
}

/// What was measured of a filesystem.
#[derive(Debug, Clone, Copy)]
pub struct Measured {
    /// Its statistics.
    pub stats: FsStats,
    /// Which device it is, to recognize it under another name; `None` if unknown.
    pub device: Option<u64>,
    /// Free bytes that only root may use: `(f_bfree - f_bavail) * f_frsize`.
    pub reserved_bytes: u64,
}

type Probe = dyn Fn(&Path) -> std::io::Result<Measured> + Send + Sync;

/// Asks the filesystem of a directory for its statistics. A call may block (a stale network mount hangs), so it is
/// made on a worker thread, never on an actor's.
#[derive(Clone)]
pub struct FsProbe(Arc<Probe>);

impl FsProbe {
    /// statvfs of this machine.
    #[must_use]
    pub fn system() -> Self {
        Self(Arc::new(|path| {
            let stats = rustix::fs::statvfs(path)?;
            let device = rustix::fs::stat(path).ok().map(|stat| stat.st_dev);
            let reserved = stats.f_bfree.saturating_sub(stats.f_bavail);
            let reserved_bytes = reserved.saturating_mul(stats.f_frsize);
            let stats = FsStats {
                capacity_bytes: stats.f_blocks.saturating_mul(stats.f_frsize),
                available_bytes: stats.f_bavail.saturating_mul(stats.f_frsize),
                inodes: stats.f_files,
                inodes_free: stats.f_favail,
            };
            Ok(Measured { stats, device, reserved_bytes })
        }))
    }

    /// Another probe: that of a modelled node, or of a test.
    pub fn new(probe: impl Fn(&Path) -> std::io::Result<FsStats> + Send + Sync + 'static) -> Self {
        Self(Arc::new(move |path| Ok(Measured { stats: probe(path)?, device: None, reserved_bytes: 0 })))
    }

    /// The filesystem that `path` lies on.
    ///
    /// # Errors
    /// What the operating system says, e.g. that the directory is gone.
    pub fn stats(&self, path: &Path) -> std::io::Result<Measured> {
        (self.0)(path)
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

/// From which level on is logged: its place among all levels, the most severe first. Shared by the log's filter and the code that changes it while the service runs.
#[derive(Clone, Debug)]
pub struct LogThreshold(Arc<AtomicUsize>);

impl LogThreshold {
    /// From this level on.
    #[must_use]
    pub fn new(level: LogLevel) -> Self {
        Self(Arc::new(AtomicUsize::new(level as usize)))
    }

    /// The level.
    #[must_use]
    pub fn get(&self) -> LogLevel {
        LogLevel::ALL.get(self.0.load(Ordering::Relaxed)).copied().unwrap_or_default()
    }

    /// From another level on.
    pub fn set(&self, level: LogLevel) {
        self.0.store(level as usize, Ordering::Relaxed);
    }

    /// Whether a record of that level is logged.
    #[must_use]
    pub fn lets(&self, level: LogLevel) -> bool {
        level as usize <= self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

    use super::*;

    #[test]
    fn a_clock_that_was_set_is_seen_and_one_that_runs_is_not() {
        let (wall, boot) = (Arc::new(AtomicI64::new(1_000)), Arc::new(AtomicI64::new(5)));
        let (w, b) = (Arc::clone(&wall), Arc::clone(&boot));
        let clock = Clock::with_boot(
            move || Timestamp::from_second(w.load(Relaxed)).unwrap(),
            move || SignedDuration::from_secs(b.load(Relaxed)),
        );
        let then = clock.moment();
        wall.fetch_add(3_600, Relaxed);
        boot.fetch_add(3_600, Relaxed);
        assert!(!clock.was_set_since(&then));
        wall.fetch_add(10, Relaxed);
        assert!(!clock.was_set_since(&then), "10 s are drift");
        wall.fetch_add(1, Relaxed);
        assert!(clock.was_set_since(&then));
        wall.fetch_sub(22, Relaxed);
        assert!(clock.was_set_since(&then), "back is a step too");
    }

    #[test]
    fn a_threshold_lets_through_what_is_at_least_as_severe() {
        let threshold = LogThreshold::new(LogLevel::Info);
        assert!(threshold.lets(LogLevel::Error) && threshold.lets(LogLevel::Info));
        assert!(!threshold.lets(LogLevel::Debug));
        for level in LogLevel::ALL.iter().copied() {
            threshold.set(level);
            assert_eq!(threshold.get(), level);
            assert!(threshold.lets(level));
        }
    }

    #[test]
    fn the_clock_of_this_machine_runs() {
        let clock = Clock::system();
        assert!(!clock.was_set_since(&clock.moment()));
    }
}
