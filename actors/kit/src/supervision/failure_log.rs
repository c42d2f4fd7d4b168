//! Log levels that back off after repeated errors (behaviour: Failures and log levels): the first failure of a kind is an error, then only every doubling
//! of their number is logged, until a success ends the outage.
//!
//! Pure: it says at which level a line is due and what has to be in it. The writer of the line, and of the event
//! that is suppressed in the same way, asks it first.

use std::collections::HashMap;
use std::hash::Hash;

use jiff::{SignedDuration, Timestamp};

/// At which level a line is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Due {
    /// Suppressed: it is one of many, or all is well.
    Debug,
    /// One that stands for many, or a first one that may be no failure at all.
    Warning,
    /// The first of its kind.
    Error,
}

/// What has to be logged about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    /// At which level.
    pub due: Due,
    /// Which of its kind it is since the last success, from 1.
    pub number: u64,
    /// Failures of its kind since the last one that was logged.
    pub suppressed: u64,
}

/// The end of an outage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recovery {
    /// Failures since the last success, of all kinds.
    pub failures: u64,
    /// Time since the first of them.
    pub lasted: SignedDuration,
}

/// How the first failure of a kind is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum First {
    /// As an error.
    Error,
    /// As an error that stands for a state: logged once, and again from the 16th on.
    Lasting,
    /// As a warning, for it may be no failure (a runtime that just started has no statistics yet); the second is the error.
    Warning,
}

/// The number of the failure by which a lasting one is logged again first.
const REMINDED: u64 = 16;

/// The failures of one loop since its last success. `K` is what makes two of them the same.
#[derive(Debug)]
pub struct FailureLog<K> {
    /// How the first failure of a kind is logged, where nothing else is said.
    pub first: First,
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

    /// The same, for a kind whose first one is logged differently.
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
        let suppressed = match (due, first) {
            (Due::Debug, _) => 0,
            (_, First::Lasting) if number == REMINDED => number.saturating_sub(2),
            // Every power of two is logged, so those since the last logged one are those since the last power of two.
            _ => (number / 2).saturating_sub(1),
        };
        Line { due, number, suppressed }
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

    fn logged(first: First, failures: u64) -> Vec<(u64, Due, u64)> {
        let mut log = FailureLog::new(first);
        let lines = (0..failures).map(|_| log.failed("kind", at(0)));
        lines
            .filter(|line| line.due > Due::Debug)
            .map(|line| (line.number, line.due, line.suppressed))
            .collect()
    }

    #[test]
    fn the_first_is_an_error_then_only_doublings_are_logged() {
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
        assert_eq!(logged(First::Error, 100), expected);
    }

    #[test]
    fn where_statistics_may_not_be_ready_the_second_is_the_error() {
        use Due::{Error, Warning};
        assert_eq!(logged(First::Warning, 5), [(1, Warning, 0), (2, Error, 0), (4, Warning, 1)]);
    }

    #[test]
    fn a_state_that_lasts_is_logged_once_and_again_later() {
        use Due::{Error, Warning};
        assert_eq!(logged(First::Lasting, 40), [(1, Error, 0), (16, Warning, 14), (32, Warning, 15)]);
    }

    #[test]
    fn a_kind_not_seen_since_the_last_success_counts_as_a_first() {
        let mut log = FailureLog::new(First::Error);
        for _ in 0..3 {
            log.failed("a", at(0));
        }
        assert_eq!(log.failed("b", at(0)).due, Due::Error);
        assert_eq!(log.failed("a", at(0)), Line { due: Due::Warning, number: 4, suppressed: 1 });
        log.succeeded(at(1));
        assert_eq!(log.failed("a", at(2)).due, Due::Error);
    }

    #[test]
    fn the_first_success_reports_the_outage_and_further_ones_nothing() {
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
    fn a_million_failures_are_logged_in_21_lines() {
        assert_eq!(logged(First::Error, 1_000_000).len(), 20);
        assert_eq!(logged(First::Error, 1 << 20).len(), 21);
    }
}
