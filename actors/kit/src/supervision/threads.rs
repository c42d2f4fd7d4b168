//! The threads that actors run on, and what is left of a thread that hangs.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix::{Arbiter, ArbiterHandle};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

/// How long threads may take to end.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// When this many threads hang within [`WITHIN`], the process has to end. Each may keep a core busy and memory in use without end,
/// and only the end of the process frees them.
pub const MOST_HUNG: usize = 3;

/// How long a thread that hung counts.
pub const WITHIN: Duration = Duration::from_secs(60 * 60);

/// Events that a thread takes from the kernel at a time: with the 1,024 of tokio each thread has 12 KB for them.
const EVENTS: usize = 64;

/// Where a new actor gets its thread from.
#[derive(Clone, Debug)]
pub struct Threads {
    /// `None`: everything runs on the thread that it is started from.
    own: Option<Arc<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    own: Mutex<Own>,
    /// Rung when too many threads hang.
    exhausted: Notify,
}

#[derive(Debug, Default)]
struct Own {
    next: u64,
    arbiters: Vec<(u64, Arbiter)>,
    hung: Hung,
}

/// When threads were abandoned.
#[derive(Debug, Default)]
struct Hung(VecDeque<Instant>);

impl Hung {
    /// One more hangs. Whether that is too many.
    fn add(&mut self, now: Instant) -> bool {
        self.0.retain(|at| now.saturating_duration_since(*at) < WITHIN);
        self.0.push_back(now);
        self.0.len() >= MOST_HUNG
    }
}

/// That of a thread.
#[expect(
    clippy::expect_used,
    reason = "as in `Arbiter::new`: the thread panics, and the process has none to work on"
)]
fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder
        .enable_all()
        .max_io_events_per_tick(EVENTS)
        .build()
        .expect("the operating system gives a thread its epoll")
}

impl Threads {
    /// A thread for each.
    #[must_use]
    pub fn own() -> Self {
        Self { own: Some(Arc::default()) }
    }

    /// All on the thread of the caller, so that a test can drive the time of all of them.
    #[must_use]
    pub fn here() -> Self {
        Self { own: None }
    }

    /// A thread with nothing on it. Must be called in an actix system.
    #[must_use]
    pub fn start(&self) -> Thread {
        let Some(own) = &self.own else {
            return Thread { handle: Arbiter::current(), number: 0, all: self.clone() };
        };
        let arbiter = Arbiter::with_tokio_rt(runtime);
        let handle = arbiter.handle();
        let own = &mut *own.own.lock();
        own.next += 1;
        own.arbiters.push((own.next, arbiter));
        Thread { handle, number: own.next, all: self.clone() }
    }

    /// Waits until so many threads hang that the process has to end.
    pub async fn exhausted(&self) {
        match &self.own {
            Some(own) => own.exhausted.notified().await,
            None => std::future::pending().await,
        }
    }

    /// Ends all threads but those that were abandoned, and waits for them, but not without end: one that hangs ends with the
    /// process.
    pub fn stop(&self) {
        let Some(own) = &self.own else { return };
        let arbiters = std::mem::take(&mut own.own.lock().arbiters);
        for (_, arbiter) in &arbiters {
            arbiter.stop();
        }
        let (ended, all_ended) = crossbeam_channel::bounded(1);
        std::thread::spawn(move || {
            for (_, arbiter) in arbiters {
                // A thread that panicked has been reported by the panic itself.
                let _ = arbiter.join();
            }
            let _ = ended.send(());
        });
        let _ = all_ended.recv_timeout(LAST_WORDS);
    }
}

/// The thread of an actor.
#[derive(Debug)]
pub struct Thread {
    /// Where to start the actor.
    pub handle: ArbiterHandle,
    number: u64,
    all: Threads,
}

impl Thread {
    /// It hangs, and is no longer waited for. It ends by itself if it ever continues.
    pub fn abandon(self) {
        let Some(own) = &self.all.own else { return };
        self.handle.stop();
        let too_many = {
            let own = &mut *own.own.lock();
            own.arbiters.retain(|(n, _)| *n != self.number);
            own.hung.add(Instant::now())
        };
        if too_many {
            own.exhausted.notify_one();
        }
    }
}

/// The right of a loop to remove things. It is revoked when the loop's thread hangs and another takes its place: if
/// the old one ever continues, what it was about to remove was checked long ago. It is suspended by the loop while it is paused, shuts
/// down, or may only report; and by its supervisor while it is paused, for the loop may not answer.
#[derive(Clone, Debug, Default)]
pub struct Lease {
    own: Arc<Rights>,
    /// Of another loop, in whose name as well something is removed.
    other: Option<Arc<Rights>>,
}

#[derive(Debug, Default)]
struct Rights {
    revoked: AtomicBool,
    suspended: AtomicBool,
    paused: AtomicBool,
}

impl Lease {
    /// Revokes it, without return.
    pub fn revoke(&self) {
        self.own.revoked.store(true, Ordering::SeqCst);
    }

    /// Suspends it, or gives it back.
    pub fn suspend(&self, suspended: bool) {
        self.own.suspended.store(suspended, Ordering::SeqCst);
    }

    /// Suspends it while the loop is paused, whatever the loop itself says.
    pub fn pause(&self, paused: bool) {
        self.own.paused.store(paused, Ordering::SeqCst);
    }

    /// Whether it is suspended.
    #[must_use]
    pub fn is_suspended(&self) -> bool {
        let is =
            |rights: &Rights| rights.suspended.load(Ordering::SeqCst) || rights.paused.load(Ordering::SeqCst);
        self.rights().any(is)
    }

    /// Whether it was revoked.
    #[must_use]
    pub fn is_revoked(&self) -> bool {
        self.rights().any(|rights| rights.revoked.load(Ordering::SeqCst))
    }

    /// A lease that is valid only while both are: for what two loops remove together.
    #[must_use]
    pub fn together_with(&self, other: &Self) -> Self {
        Self { own: Arc::clone(&self.own), other: Some(Arc::clone(&other.own)) }
    }

    fn rights(&self) -> impl Iterator<Item = &Rights> {
        std::iter::once(&*self.own).chain(self.other.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_that_goes_on_does_not_end_the_pause_of_its_supervisor() {
        let lease = Lease::default();
        lease.pause(true);
        for suspended in [true, false] {
            lease.suspend(suspended);
            assert!(lease.is_suspended());
        }
        lease.pause(false);
        assert!(!lease.is_suspended());
    }

    #[test]
    fn what_two_loops_remove_together_both_have_to_allow() {
        let (one, other) = (Lease::default(), Lease::default());
        let both = one.together_with(&other);
        for lease in [&one, &other] {
            lease.pause(true);
            assert!(both.is_suspended());
            lease.pause(false);
            assert!(!both.is_suspended());
        }
        other.revoke();
        assert_eq!((one.is_revoked(), both.is_revoked()), (false, true));
    }

    #[test]
    fn three_threads_that_hang_within_an_hour_are_too_many() {
        let began = Instant::now();
        let minutes = |minutes: u64| began + Duration::from_secs(60 * minutes);
        let mut hung = Hung::default();
        assert_eq!(
            [0, 50, 61].map(|at| hung.add(minutes(at))),
            [false, false, false],
            "the first is an hour old"
        );
        assert!(hung.add(minutes(70)));
        assert!(!hung.add(minutes(300)), "a day later it begins again");
    }

    #[test]
    fn that_too_many_threads_hang_is_reported() {
        actix::System::new().block_on(async {
            let threads = Threads::own();
            for _ in 1..MOST_HUNG {
                threads.start().abandon();
            }
            let mut exhausted = std::pin::pin!(threads.exhausted());
            assert!(futures_util::poll!(&mut exhausted).is_pending());
            threads.start().abandon();
            exhausted.await;
            threads.stop();
        });
    }
}
