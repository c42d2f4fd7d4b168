//! Waiting for something to become true, with a deadline. The only place of this crate that sleeps.

use std::time::{Duration, Instant};

/// Pause between two checks.
const PAUSE: Duration = Duration::from_millis(10);

/// Calls `check` until it gives something; panics with `what` when the deadline has passed. Blocks the thread.
pub fn until<T>(deadline: Duration, what: &str, check: impl FnMut() -> Option<T>) -> T {
    try_until(deadline, check).unwrap_or_else(|| panic!("{what}: not so within {deadline:?}"))
}

/// As [`until`], for a check that costs more: it is made once in a `pause`.
#[expect(clippy::disallowed_methods, reason = "blocks a test's thread, with a deadline, never an actor's")]
pub fn until_every<T>(
    pause: Duration,
    deadline: Duration,
    what: &str,
    mut check: impl FnMut() -> Option<T>,
) -> T {
    let paused = || {
        check().or_else(|| {
            std::thread::sleep(pause);
            None
        })
    };
    until(deadline, what, paused)
}

/// As [`until`], but `None` when the deadline has passed.
#[expect(clippy::disallowed_methods, reason = "blocks a test's thread, with a deadline, never an actor's")]
pub(crate) fn try_until<T>(deadline: Duration, mut check: impl FnMut() -> Option<T>) -> Option<T> {
    let started = Instant::now();
    loop {
        if let Some(found) = check() {
            return Some(found);
        }
        if started.elapsed() >= deadline {
            return None;
        }
        std::thread::sleep(PAUSE);
    }
}

/// As [`until`], for an asynchronous check: `None` if the deadline passed.
pub async fn until_async<T, F>(deadline: Duration, mut check: impl FnMut() -> F) -> Option<T>
where
    F: Future<Output = Option<T>>,
{
    tokio::time::timeout(deadline, async {
        loop {
            if let Some(found) = check().await {
                return found;
            }
            tokio::time::sleep(PAUSE).await;
        }
    })
    .await
    .ok()
}

/// Runs a future to its end from any thread, also from one that is inside an async runtime already.
pub(crate) fn block_on<T: Send>(future: impl Future<Output = T> + Send) -> T {
    std::thread::scope(|scope| {
        let run = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(future)
        };
        scope.spawn(run).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
