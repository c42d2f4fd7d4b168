//! When a full disk starts a pass at once (spec 6.6): at the first look that finds it over its high threshold, and then,
//! while passes free nothing, after pauses that grow.

use std::time::Duration;

use tokio::time::Instant;

/// The pause after the first pass that freed nothing. What changes by itself meanwhile is that images grow old enough.
const FIRST: Duration = Duration::from_secs(60);

/// What was seen of the disk since it was last under its threshold.
#[derive(Debug, Default)]
pub struct Alarm {
    /// Alarms since then that brought nothing.
    futile: u32,
    /// No alarm before.
    not_before: Option<Instant>,
}

impl Alarm {
    /// A look at the disk. Whether a pass is to begin at once; passes come by themselves every `period`.
    pub fn looked(&mut self, over: bool, period: Duration, now: Instant) -> bool {
        if !over {
            *self = Self::default();
            return false;
        }
        if self.is_put_off(now) {
            return false;
        }
        self.put_off(period, now);
        true
    }

    /// A pass has ended, whatever began it: it has measurably freed that many bytes, and the disk was over its threshold or not.
    pub fn passed(&mut self, freed: u64, over: bool, period: Duration, now: Instant) {
        if freed > 0 {
            // Should the disk fill up again, that is another time.
            *self = Self::default();
        } else if over && !self.is_put_off(now) {
            // A pass that came by itself need not be repeated at the next look.
            self.put_off(period, now);
        }
    }

    fn is_put_off(&self, now: Instant) -> bool {
        self.not_before.is_some_and(|not_before| now < not_before)
    }

    fn put_off(&mut self, period: Duration, now: Instant) {
        // A fifth of a short period, so that its passes are not outdone by those of the alarm.
        let first = FIRST.min(period / 5);
        let pause = first.saturating_mul(2u32.saturating_pow(self.futile)).min(period);
        self.futile = self.futile.saturating_add(1);
        self.not_before = now.checked_add(pause);
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
        let at = |second: &u64| alarm.looked(true, period, begin + Duration::from_secs(*second));
        (0..3_600).step_by(POLL as usize).filter(at).collect()
    }

    #[test]
    fn while_passes_free_nothing_the_pauses_grow_to_the_period() {
        let found = alarms(&mut Alarm::default(), PERIOD);
        assert_eq!(found[..6], [0, 60, 180, 420, 720, 1_020]);
        assert_eq!(alarms(&mut Alarm::default(), Duration::from_secs(50))[..5], [0, 10, 30, 70, 120]);
    }

    #[test]
    fn a_disk_that_was_under_its_threshold_raises_the_next_alarm_at_once() {
        let (mut alarm, now) = (Alarm::default(), Instant::now());
        assert!(alarm.looked(true, PERIOD, now));
        assert!(!alarm.looked(true, PERIOD, now));
        assert!(!alarm.looked(false, PERIOD, now));
        assert!(alarm.looked(true, PERIOD, now));
    }

    #[test]
    fn so_does_one_on_which_a_pass_has_freed_something() {
        let (mut alarm, now) = (Alarm::default(), Instant::now());
        assert!(alarm.looked(true, PERIOD, now));
        alarm.passed(0, true, PERIOD, now);
        assert!(!alarm.looked(true, PERIOD, now));
        alarm.passed(1, true, PERIOD, now);
        assert!(alarm.looked(true, PERIOD, now));
    }

    #[test]
    fn a_pass_that_came_by_itself_and_freed_nothing_is_not_repeated_at_once() {
        let (mut alarm, now) = (Alarm::default(), Instant::now());
        alarm.passed(0, false, PERIOD, now);
        assert!(alarm.looked(true, PERIOD, now), "the disk was not full then");
        let mut alarm = Alarm::default();
        alarm.passed(0, true, PERIOD, now);
        assert!(!alarm.looked(true, PERIOD, now));
        assert!(alarm.looked(true, PERIOD, now + FIRST));
    }
}
