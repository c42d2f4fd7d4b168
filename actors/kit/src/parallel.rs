//! How many pieces of work run at the same time: more while that brings more of them to their end, fewer where as many end with fewer in
//! progress. What brings nothing only makes those wait who use the runtime and the disk as well.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, timeout};

/// How many are in progress at first, unless fewer are allowed: containerd removes hardly more with more.
const FIRST: usize = 4;

/// For each one in progress so many end before the next comparison: times of single removals differ a lot.
const SAMPLES: usize = 8;

/// One more in progress is worth it from this part on of what it would bring if none waited for another.
const WORTH: f64 = 0.1;

/// Comparisons that are left out after one without effect.
const REST: u32 = 6;

/// Where nothing ends for that long, one more begins: what hangs occupies its own place only.
const STUCK: Duration = Duration::from_secs(2);

/// Does `work` on each item in their order, at most `most` at a time, and as many as bring something.
pub async fn for_each<T>(items: impl IntoIterator<Item = T>, most: usize, work: impl AsyncFn(T)) {
    let mut items = items.into_iter();
    let mut number = Number::new(most, Instant::now());
    let mut in_progress = FuturesUnordered::new();
    loop {
        while in_progress.len() < number.now
            && let Some(item) = items.next()
        {
            in_progress.push(work(item));
        }
        match timeout(STUCK, in_progress.next()).await {
            Ok(Some(())) => number.ended(Instant::now()),
            Ok(None) => return,
            Err(_elapsed) => number.is_stuck(Instant::now()),
        }
    }
}

/// The number in progress, which is compared with one more or one less from time to time.
#[derive(Debug)]
struct Number {
    most: usize,
    now: usize,
    /// What ended since the last comparison, and since when.
    ended: usize,
    since: Instant,
    /// The number before this one, and how many ended in a second with it: this one is on trial.
    before: Option<(usize, f64)>,
    /// Comparisons to be left out.
    rest: u32,
    /// Whether the next trial is with more.
    tries_more: bool,
}

impl Number {
    fn new(most: usize, now: Instant) -> Self {
        let most = most.max(1);
        let first = FIRST.min(most);
        Self { most, now: first, ended: 0, since: now, before: None, rest: 0, tries_more: most > first }
    }

    /// Nothing ends, so nothing can be compared.
    fn is_stuck(&mut self, at: Instant) {
        self.now = self.most.min(self.now + 1);
        (self.ended, self.since, self.before) = (0, at, None);
    }

    /// One has ended.
    fn ended(&mut self, at: Instant) {
        self.ended += 1;
        if self.ended < self.now * SAMPLES {
            return;
        }
        let took = at.duration_since(self.since).max(Duration::from_nanos(1));
        let speed = self.ended as f64 / took.as_secs_f64();
        (self.ended, self.since) = (0, at);
        match self.before.take() {
            Some((before, then)) => {
                let more = self.now > before;
                let worth = WORTH / before as f64;
                if speed > then * if more { 1.0 + worth } else { 1.0 - worth } {
                    self.try_next(speed, more);
                } else {
                    self.tries_more = !more;
                    self.now = before;
                    self.rest = REST;
                }
            }
            None if self.rest > 0 => self.rest -= 1,
            None => self.try_next(speed, self.tries_more),
        }
    }

    /// Puts one more or one less on trial, as far as there is one.
    fn try_next(&mut self, speed: f64, more: bool) {
        let next = if more { self.now + 1 } else { self.now - 1 };
        if (1..=self.most).contains(&next) {
            self.before = Some((self.now, speed));
            self.now = next;
        } else {
            self.tries_more = !more;
            self.rest = REST;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;

    /// Work that takes as long as `seconds` says of how many are in progress, half as long or half as long again. Returns how many were
    /// at each beginning.
    async fn course(most: usize, items: usize, seconds: impl Fn(usize) -> f64) -> Vec<usize> {
        let (in_progress, course) = (Cell::new(0), RefCell::new(Vec::new()));
        for_each(0..items, most, async |item| {
            let part = 0.5 + (item * 37 % 101) as f64 / 100.0;
            in_progress.set(in_progress.get() + 1);
            course.borrow_mut().push(in_progress.get());
            tokio::time::sleep(Duration::from_secs_f64(part * seconds(in_progress.get()))).await;
            in_progress.set(in_progress.get() - 1);
        })
        .await;
        course.into_inner()
    }

    /// How many were in progress for most of the second half.
    fn usual(course: &[usize]) -> usize {
        let mut later = course[course.len() / 2..].to_vec();
        later.sort_unstable();
        later[later.len() / 2]
    }

    #[tokio::test(start_paused = true)]
    async fn where_each_takes_its_time_whatever_else_is_in_progress_as_many_are_as_may_be() {
        let course = course(16, 5_000, |_| 0.1).await;
        assert_eq!(course[..4], [1, 2, 3, 4], "at once");
        assert!(usual(&course) >= 15, "{}", usual(&course));
        assert_eq!(course.iter().max(), Some(&16));
    }

    #[tokio::test(start_paused = true)]
    async fn where_one_waits_for_the_other_one_is_in_progress() {
        let course = course(16, 5_000, |in_progress| 0.1 * in_progress as f64).await;
        assert!(usual(&course) <= 2, "{}", usual(&course));
    }

    #[tokio::test(start_paused = true)]
    async fn where_a_runtime_does_three_at_a_time_three_are_in_progress() {
        let course = course(16, 5_000, |in_progress| 0.1 * (in_progress as f64 / 3.0).max(1.0)).await;
        assert!((2..=4).contains(&usual(&course)), "{}", usual(&course));
    }

    #[tokio::test(start_paused = true)]
    async fn what_hangs_keeps_nothing_else_from_being_done() {
        let (in_progress, done) = (Cell::new(0), Cell::new(0));
        // Each waits for the others, so that one or two are in progress. Then three hang.
        let work = for_each(0..2_000, 4, async |item| {
            in_progress.set(in_progress.get() + 1);
            match item {
                1_000..1_003 => std::future::pending().await,
                _ => tokio::time::sleep(Duration::from_millis(100 * in_progress.get())).await,
            }
            in_progress.set(in_progress.get() - 1);
            done.set(done.get() + 1);
        });
        assert!(timeout(Duration::from_secs(3_600), work).await.is_err(), "three hang");
        assert_eq!(done.get(), 1_997);
    }

    #[tokio::test(start_paused = true)]
    async fn every_item_is_done_once_and_never_more_at_a_time_than_allowed() {
        for most in [0, 1, 2, 64] {
            let done = RefCell::new(Vec::new());
            for_each(0..300, most, async |item| {
                tokio::task::yield_now().await;
                done.borrow_mut().push(item);
            })
            .await;
            let mut done = done.into_inner();
            done.sort_unstable();
            assert_eq!(done, (0..300).collect::<Vec<_>>(), "{most}");
            let course = course(most, 300, |_| 0.1).await;
            assert!(course.iter().all(|in_progress| *in_progress <= most.max(1)), "{most}");
        }
    }
}
