//! Log levels that back off after repeated errors (behaviour: Failures and log levels): the first failure of a kind is loud, then only every doubling
//! of their number is told, until a success ends the outage.
//!
//! Pure: it says at which level a line is due and what is to be told in it. Whoever writes the line, or sends the event
//! that follows the same thinning, asks it first.

use std::collections::HashMap;
use std::hash::Hash;

use jiff::{SignedDuration, Timestamp};

/// At which level a line is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Due {
    /// Not told: it is one of many, or all is well.
    Debug,
    /// A recovery.
    Info,
    /// One that stands for many, or a first one that may be no failure at all.
    Warning,
    /// The first of its kind.
    Error,
}

/// What is to be said of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    /// At which level.
    pub due: Due,
    /// Which of its kind it is since the last success, from 1.
    pub number: u64,
    /// Failures of its kind since the last one that was told.
    pub untold: u64,
}

/// The end of an outage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recovery {
    /// Failures since the last success, of all kinds.
    pub failures: u64,
    /// Time since the first of them.
    pub lasted: SignedDuration,
}

/// How long something lasted, for people: to the second, and below 10 s to the millisecond.
#[must_use]
pub fn lasted(for_how_long: SignedDuration) -> String {
    let short = for_how_long.abs() < SignedDuration::from_secs(10);
    let nanos = if short { for_how_long.subsec_millis() * 1_000_000 } else { 0 };
    format!("{:#}", SignedDuration::new(for_how_long.as_secs(), nanos))
}

/// How the first failure of a kind is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum First {
    /// As an error.
    Error,
    /// As an error that stands for a state of things: told once, and brought to mind from the 16th on.
    Lasting,
    /// As a warning, for it may be no failure (a runtime that just started has no statistics yet); the second is the error.
    Warning,
}

/// The number of the failure by which a lasting one is brought to mind first.
const REMINDED: u64 = 16;

/// The failures of one loop since its last success. `K` is what makes two of them the same.
#[derive(Debug)]
pub struct FailureLog<K> {
    first: First,
    counts: HashMap<K, u64>,
    failures: u64,
    passes: u64,
    since: Option<Timestamp>,
}

impl<K: Eq + Hash> FailureLog<K> {
    /// Nothing has failed yet.
    #[must_use]
    pub fn new(first: First) -> Self {
        Self { first, counts: HashMap::new(), failures: 0, passes: 0, since: None }
    }

    /// A failure of that kind.
    pub fn failed(&mut self, kind: K, now: Timestamp) -> Line {
        self.failed_as(self.first, kind, now)
    }

    /// The same, for a kind whose first one is told otherwise.
    pub fn failed_as(&mut self, first: First, kind: K, now: Timestamp) -> Line {
        self.since.get_or_insert(now);
        self.failures = self.failures.saturating_add(1);
        let number = self.counts.entry(kind).or_default();
        *number = number.saturating_add(1);
        let number = *number;
        let due = match (number, first) {
            (1, First::Error | First::Lasting) | (2, First::Warning) => Due::Error,
            (1, First::Warning) => Due::Warning,
            (n, First::Lasting) if n < REMINDED => Due::Debug,
            (n, _) if n.is_power_of_two() => Due::Warning,
            _ => Due::Debug,
        };
        let untold = match (due, first) {
            (Due::Debug, _) => 0,
            (_, First::Lasting) if number == REMINDED => number.saturating_sub(2),
            // Every power of two is told, so those since the last told one are those since the last power of two.
            _ => (number / 2).saturating_sub(1),
        };
        Line { due, number, untold }
    }

    /// A success: the outage that it ends, if it ends one.
    pub fn succeeded(&mut self, now: Timestamp) -> Option<Recovery> {
        let since = self.since.take()?;
        self.counts.clear();
        self.passes = 0;
        let failures = std::mem::take(&mut self.failures);
        Some(Recovery { failures, lasted: now.duration_since(since) })
    }

    /// A pass failed, by one failure or several.
    pub fn pass_failed(&mut self) {
        self.passes = self.passes.saturating_add(1);
    }

    /// Passes that failed since the last success.
    #[must_use]
    pub fn passes(&self) -> u64 {
        self.passes
    }

    /// When the first failure since the last success was.
    #[must_use]
    pub fn since(&self) -> Option<Timestamp> {
        self.since
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn told(first: First, failures: u64) -> Vec<(u64, Due, u64)> {
        let mut log = FailureLog::new(first);
        let lines = (0..failures).map(|_| log.failed("kind", at(0)));
        lines.filter(|line| line.due > Due::Debug).map(|line| (line.number, line.due, line.untold)).collect()
    }

    #[test]
    fn the_first_is_an_error_then_only_doublings_are_told() {
        use Due::{Error, Warning};
        let expected = [
            (1, Error, 0),
            (2, Warning, 0),
            (4, Warning, 1),
            (8, Warning, 3),
            (16, Warning, 7),
            (32, Warning, 15),
            (64, Warning, 31),
        ];
        assert_eq!(told(First::Error, 100), expected);
    }

    #[test]
    fn where_statistics_may_not_be_ready_the_second_is_the_error() {
        use Due::{Error, Warning};
        assert_eq!(told(First::Warning, 5), [(1, Warning, 0), (2, Error, 0), (4, Warning, 1)]);
    }

    #[test]
    fn a_state_that_lasts_is_told_once_and_brought_to_mind_later() {
        use Due::{Error, Warning};
        assert_eq!(told(First::Lasting, 40), [(1, Error, 0), (16, Warning, 14), (32, Warning, 15)]);
    }

    #[test]
    fn a_kind_not_seen_since_the_last_success_counts_as_a_first() {
        let mut log = FailureLog::new(First::Error);
        for _ in 0..3 {
            log.failed("a", at(0));
        }
        assert_eq!(log.failed("b", at(0)).due, Due::Error);
        assert_eq!(log.failed("a", at(0)), Line { due: Due::Warning, number: 4, untold: 1 });
        log.succeeded(at(1));
        assert_eq!(log.failed("a", at(2)).due, Due::Error);
    }

    #[test]
    fn the_first_success_tells_the_outage_and_further_ones_nothing() {
        let mut log = FailureLog::new(First::Error);
        assert_eq!(log.succeeded(at(0)), None);
        log.failed("a", at(10));
        log.failed("b", at(20));
        let recovery = Recovery { failures: 2, lasted: SignedDuration::from_secs(15) };
        assert_eq!(log.succeeded(at(25)), Some(recovery));
        assert_eq!(log.succeeded(at(30)), None);
        assert_eq!(log.since(), None);
    }

    #[test]
    fn how_long_it_lasted_is_told_for_people() {
        assert_eq!(lasted(SignedDuration::new(2, 99_646_043)), "2s 99ms");
        assert_eq!(lasted(SignedDuration::new(3_725, 999_999_999)), "1h 2m 5s");
        assert_eq!(lasted(SignedDuration::ZERO), "0s");
    }

    #[test]
    fn a_million_failures_are_told_in_21_lines() {
        assert_eq!(told(First::Error, 1_000_000).len(), 20);
        assert_eq!(told(First::Error, 1 << 20).len(), 21);
    }
}
