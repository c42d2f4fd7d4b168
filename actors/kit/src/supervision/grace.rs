//! Failures that pass by themselves: a server that has just started refuses for some seconds what it answers right after
//! (its roles are not loaded, its store elects a leader). Such a failure is one only once it has lasted.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

/// How long such a failure may last.
pub const GRACE: Duration = Duration::from_secs(30);

/// Since when failures that may pass by themselves have lasted.
#[derive(Debug, Default)]
pub struct Grace {
    since: Option<(Instant, Timestamp)>,
}

/// What a failure amounts to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// It may pass: no failure yet.
    MayPass {
        /// Whether it is the first since all was well.
        is_first: bool,
    },
    /// A failure.
    Failure {
        /// Since when.
        since: Timestamp,
    },
}

impl Grace {
    /// Weighs a failure, which may pass by itself or not.
    pub fn weigh(&mut self, may_pass: bool, now: Timestamp) -> Weight {
        if !may_pass {
            return Weight::Failure { since: now };
        }
        let is_first = self.since.is_none();
        let (began, since) = *self.since.get_or_insert_with(|| (Instant::now(), now));
        if began.elapsed() < GRACE { Weight::MayPass { is_first } } else { Weight::Failure { since } }
    }

    /// All is well. Says whether there was something to pass.
    pub fn passed(&mut self) -> bool {
        self.since.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    #[tokio::test(start_paused = true)]
    async fn what_may_pass_is_a_failure_once_it_has_lasted() {
        let mut grace = Grace::default();
        for _ in 0..2 {
            assert_eq!(grace.weigh(true, NOW), Weight::MayPass { is_first: true });
            tokio::time::advance(GRACE - Duration::from_secs(1)).await;
            assert_eq!(grace.weigh(true, NOW), Weight::MayPass { is_first: false });
            tokio::time::advance(Duration::from_secs(1)).await;
            assert_eq!(grace.weigh(true, NOW), Weight::Failure { since: NOW });
            assert!(grace.passed() && !grace.passed());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn another_failure_is_one_at_once_and_changes_nothing() {
        let mut grace = Grace::default();
        grace.weigh(true, NOW);
        assert_eq!(grace.weigh(false, NOW), Weight::Failure { since: NOW });
        assert_eq!(grace.weigh(true, NOW), Weight::MayPass { is_first: false });
        tokio::time::advance(GRACE).await;
        assert_eq!(grace.weigh(true, NOW), Weight::Failure { since: NOW });
    }
}
