//! How many events a node may send: as many as Kubernetes' own clients let one component send about one object, 25 at once
//! and one more every five minutes.

use std::time::Duration;

use tokio::time::Instant;

/// The most at once.
const BURST: u32 = 25;

/// Time after which one more is allowed.
const EVERY: Duration = Duration::from_secs(5 * 60);

/// What is left.
#[derive(Debug)]
pub struct Limit {
    left: u32,
    /// Since when the next one has been coming.
    since: Instant,
}

impl Default for Limit {
    fn default() -> Self {
        Self { left: BURST, since: Instant::now() }
    }
}

impl Limit {
    /// Takes one, if there is one left.
    pub fn takes(&mut self) -> bool {
        while self.left < BURST && self.since.elapsed() >= EVERY {
            self.left += 1;
            self.since += EVERY;
        }
        if self.left == BURST {
            self.since = Instant::now();
        }
        let takes = self.left > 0;
        self.left = self.left.saturating_sub(1);
        takes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_and_then_one_every_five_minutes() {
        let mut limit = Limit::default();
        let mut taken = || (0..100).filter(|_| limit.takes()).count();
        assert_eq!(taken(), 25);
        tokio::time::advance(EVERY - Duration::from_secs(1)).await;
        assert_eq!(taken(), 0);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(taken(), 1);
        tokio::time::advance(EVERY * 3).await;
        assert_eq!(taken(), 3);
        tokio::time::advance(EVERY * 1000).await;
        assert_eq!(taken(), 25, "what is not taken is not kept for ever");
    }
}
