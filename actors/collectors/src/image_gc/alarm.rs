//! When a full disk starts a pass at once (behaviour: Image disk space): at the first check that finds it over its high threshold,
//! and then, while passes free nothing, after pauses that grow. And when images are tried again after some freed nothing.

use std::time::Duration;

use tokio::time::Instant;

/// The pause after the first pass that freed nothing. What changes by itself meanwhile is that images become old enough.
const FIRST: Duration = Duration::from_secs(60);

/// The longest pause before images are tried again for lack of space, where images are not what fills the disk.
pub const LONGEST: Duration = Duration::from_secs(60 * 60);

/// Pauses after attempts without effect: each is twice as long as the one before.
#[derive(Debug, Default)]
pub struct Pauses {
    count: u32,
    not_before: Option<Instant>,
}

impl Pauses {
    /// Whether no pause is in progress.
    pub fn is_over(&self, now: Instant) -> bool {
        self.not_before.is_none_or(|not_before| now >= not_before)
    }

    /// The next pause begins.
    pub fn begin(&mut self, first: Duration, longest: Duration, now: Instant) {
        let pause = first.saturating_mul(2u32.saturating_pow(self.count)).min(longest);
        self.count = self.count.saturating_add(1);
        self.not_before = now.checked_add(pause);
    }
}

/// How full the disk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    /// At its low threshold or under it.
    Low,
    /// Over that.
    Between,
    /// At its high threshold or over it.
    High,
}

/// What was seen of the disk since it was last under its threshold.
#[derive(Debug, Default)]
pub struct Alarm {
    /// After alarms since then that freed nothing.
    pauses: Pauses,
    /// The last pass found it over its threshold, and could not free enough.
    is_short: bool,
}

impl Alarm {
    /// The disk was checked. Whether a pass has to begin at once; passes begin by themselves every `period`.
    pub fn checked(&mut self, usage: Usage, period: Duration, now: Instant) -> bool {
        match usage {
            Usage::Low => {
                let was_short = self.is_short;
                *self = Self::default();
                was_short
            }
            Usage::High => {
                let is_due = self.pauses.is_over(now);
                if is_due {
                    self.pause(period, now);
                }
                is_due
            }
            // A disk that hovers around its high threshold raises no new alarm; but once it has room, a pass is worth it,
            // which ends the reported problem.
            Usage::Between => std::mem::take(&mut self.is_short),
        }
    }

    /// A pass has ended, whatever began it: it has measurably freed that many bytes, the disk was over its threshold or not,
    /// and is still short of space or not.
    pub fn passed(&mut self, (freed, is_short): (u64, bool), over: bool, period: Duration, now: Instant) {
        if freed > 0 {
            // Should the disk fill up again, that is another time.
            *self = Self::default();
        } else if over && self.pauses.is_over(now) {
            // A pass that began by itself need not be repeated at the next check.
            self.pause(period, now);
        }
        self.is_short = is_short;
    }

    fn pause(&mut self, period: Duration, now: Instant) {
        // A fifth of a short period, so that its passes are not outnumbered by those of the alarm.
        self.pauses.begin(FIRST.min(period / 5), period, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLL: u64 = 5;
    const PERIOD: Duration = Duration::from_secs(300);

    /// Seconds at which a disk that is over its threshold raises an alarm within an hour.
    fn alarms(alarm: &mut Alarm, period: Duration) -> Vec<u64> {
        let begin = Instant::now();
        let at = |second: &u64| alarm.checked(Usage::High, period, begin + Duration::from_secs(*second));
        (0..3_600).step_by(POLL as usize).filter(at).collect()
    }

    #[test]
    fn while_passes_free_nothing_the_pauses_grow_to_the_period() {
        let found = alarms(&mut Alarm::default(), PERIOD);
        assert_eq!(found[..6], [0, 60, 180, 420, 720, 1_020]);
        assert_eq!(alarms(&mut Alarm::default(), Duration::from_secs(50))[..5], [0, 10, 30, 70, 120]);
    }

    #[test]
    fn a_disk_that_was_at_its_low_threshold_raises_the_next_alarm_at_once() {
        let (mut alarm, now) = (Alarm::default(), Instant::now());
        assert!(alarm.checked(Usage::High, PERIOD, now));
        for usage in [Usage::High, Usage::Between, Usage::High] {
            assert!(!alarm.checked(usage, PERIOD, now), "{usage:?}");
        }
        assert!(!alarm.checked(Usage::Low, PERIOD, now));
        assert!(alarm.checked(Usage::High, PERIOD, now));
    }

    #[test]
    fn a_disk_that_has_room_again_is_passed_once() {
        for room in [Usage::Between, Usage::Low] {
            let (mut alarm, now) = (Alarm::default(), Instant::now());
            alarm.passed((0, true), true, PERIOD, now);
            assert!(!alarm.checked(Usage::High, PERIOD, now));
            assert!(alarm.checked(room, PERIOD, now), "{room:?}");
            assert!(!alarm.checked(room, PERIOD, now), "{room:?}");
        }
    }

    #[test]
    fn a_disk_on_which_a_pass_freed_something_raises_the_next_alarm_at_once() {
        let (mut alarm, now) = (Alarm::default(), Instant::now());
        assert!(alarm.checked(Usage::High, PERIOD, now));
        alarm.passed((0, true), true, PERIOD, now);
        assert!(!alarm.checked(Usage::High, PERIOD, now));
        alarm.passed((1, true), true, PERIOD, now);
        assert!(alarm.checked(Usage::High, PERIOD, now));
    }

    #[test]
    fn removals_without_effect_are_followed_after_pauses_that_double_to_an_hour() {
        let (mut pauses, begin) = (Pauses::default(), Instant::now());
        let mut tries = Vec::new();
        for minute in 0..300 {
            let now = begin + Duration::from_secs(60 * minute);
            if pauses.is_over(now) {
                pauses.begin(PERIOD, LONGEST, now);
                tries.push(minute);
            }
        }
        assert_eq!(tries, [0, 5, 15, 35, 75, 135, 195, 255]);
    }

    #[test]
    fn a_scheduled_pass_that_freed_nothing_is_not_repeated_at_once() {
        let (mut alarm, now) = (Alarm::default(), Instant::now());
        alarm.passed((0, false), false, PERIOD, now);
        assert!(alarm.checked(Usage::High, PERIOD, now), "the disk was not full then");
        let mut alarm = Alarm::default();
        alarm.passed((0, true), true, PERIOD, now);
        assert!(!alarm.checked(Usage::High, PERIOD, now));
        assert!(alarm.checked(Usage::High, PERIOD, now + FIRST));
    }
}
