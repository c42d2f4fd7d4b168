//! Ages: the same for all kinds of objects.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// The time of a decision, and the time from which timestamps are reliable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// The time.
    pub at: Timestamp,
    /// When the clock was last set, if that was noticed: no age counts from before (behaviour: Clock changes).
    pub clock_set: Option<Timestamp>,
}

impl Now {
    /// The age of something that happened at that time; `None` for a timestamp in the future, as far as is known.
    #[must_use]
    pub fn age(self, time: Timestamp) -> Option<SignedDuration> {
        // A timestamp in the future is from before the clock was put back.
        let since =
            if time > self.at { self.clock_set? } else { self.clock_set.map_or(time, |set| time.max(set)) };
        (since <= self.at).then(|| self.at.duration_since(since))
    }

    /// How far in the future a timestamp is, in whole seconds; `None` for what has an age.
    #[must_use]
    pub fn ahead(self, time: Timestamp) -> Option<SignedDuration> {
        let ahead = SignedDuration::from_secs(time.duration_since(self.at).as_secs());
        (self.age(time).is_none() && !ahead.is_zero()).then_some(ahead)
    }

    /// Whether `time` was at least `age` ago. A time in the future never was.
    pub(crate) fn at_least(self, age: Duration, time: Timestamp) -> bool {
        // No setting is longer than a century, so the fallback is never reached; it keeps more.
        let wanted = SignedDuration::try_from(age).unwrap_or(SignedDuration::MAX);
        self.age(time).is_some_and(|age| age >= wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_counts_from_when_the_clock_was_set() {
        let second = |second| Timestamp::from_second(second).unwrap();
        let age = |time, at, set: Option<i64>| {
            let now = Now { at: second(at), clock_set: set.map(second) };
            now.age(second(time)).map(|age| age.as_secs())
        };
        assert_eq!(age(100, 160, None), Some(60));
        assert_eq!(age(161, 160, None), None, "in the future");
        assert_eq!(age(100, 9_000, Some(8_990)), Some(10), "put forward: it is not 8900 s old");
        assert_eq!(age(8_995, 9_000, Some(8_990)), Some(5), "it came after that");
        assert_eq!(age(9_000, 160, Some(100)), Some(60), "put back: it was there by then");
        assert_eq!(age(9_000, 160, Some(161)), None);
    }
}
