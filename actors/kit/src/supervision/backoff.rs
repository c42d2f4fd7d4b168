//! Pauses that double: between restarts of an actor, between attempts at an object that cannot be removed.

use std::time::Duration;

/// A pause that doubles from a shortest to a longest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    next: Duration,
}

impl Backoff {
    /// Begins with `min` and never exceeds `max` (nor `min`, where that is longer).
    #[must_use]
    pub fn new(min: Duration, max: Duration) -> Self {
        Self { min, max: max.max(min), next: min }
    }

    /// The same with other bounds, which have been reloaded.
    #[must_use]
    pub fn within(self, min: Duration, max: Duration) -> Self {
        let max = max.max(min);
        Self { min, max, next: self.next.clamp(min, max) }
    }

    /// The pause to make now; the next one is twice as long.
    pub fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = self.next.saturating_mul(2).min(self.max);
        pause
    }

    /// All is well again: the next pause is the shortest.
    pub fn reset(&mut self) {
        self.next = self.min;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_start_over() {
        let second = Duration::from_secs;
        let mut backoff = Backoff::new(second(1), second(5));
        let pauses: Vec<Duration> = (0..5).map(|_| backoff.pause()).collect();
        assert_eq!(pauses, [1, 2, 4, 5, 5].map(second));
        backoff.reset();
        assert_eq!(backoff.pause(), second(1));
        assert_eq!(Backoff::new(second(9), second(5)).pause(), second(9));
        let mut longest = Backoff::new(Duration::MAX, Duration::MAX);
        assert_eq!((longest.pause(), longest.pause()), (Duration::MAX, Duration::MAX));
    }
}
