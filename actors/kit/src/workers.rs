//! Plain threads for work that blocks, fed by a channel.

use std::thread;
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, TrySendError, bounded};
use tokio::sync::oneshot;

use crate::line::{Line, line};
use crate::supervision::panics::catch;
use crate::text::duration;

type Job = Box<dyn FnOnce() + Send>;

/// Jobs that may wait for a thread: while a filesystem hangs, a caller that asks again and again gets an error at once.
const QUEUE: usize = 1024;

/// A handle to the threads. They end when the last handle is dropped and the requested work is done.
#[derive(Clone, Debug)]
pub struct Workers {
    /// `None`: the work is done on the thread of the caller.
    jobs: Option<Line<Job>>,
}

/// The work ended without a result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WorkerGone {
    /// It panicked, or no thread is left to do it.
    #[error("file work failed: {0}")]
    Panicked(String),
    /// It took longer than it may, or what was before it did.
    #[error("no answer within {}; check whether it is on a network mount that hangs", duration(*.0))]
    Hung(Duration),
    /// The number of callers that wait already: the operations before them hang.
    #[error(
        "{0} file operations are queued already because the filesystem does not answer; check whether it is on a network mount that hangs"
    )]
    Crowded(usize),
}

impl Workers {
    /// Starts `threads` threads (at least one).
    ///
    /// # Errors
    /// The operating system has no thread left.
    pub fn start(threads: usize) -> std::io::Result<Self> {
        let (jobs, queue) = line::<Job>(QUEUE);
        for number in 0..threads.max(1) {
            let queue = queue.clone();
            thread::Builder::new().name(format!("files-{number}")).spawn(move || {
                for job in queue {
                    job();
                }
            })?;
        }
        Ok(Self { jobs: Some(jobs) })
    }

    /// No threads: a caller waits for its work. For a simulation, which is the same each time that it runs.
    #[must_use]
    pub fn here() -> Self {
        Self { jobs: None }
    }

    /// Does `work` on one of the threads if `check` allows it, which is asked only once a thread is free for it: what was
    /// checked is never older than the work needs. Where it is not allowed, the result is what `check` says instead.
    ///
    /// # Errors
    /// The work panicked.
    pub async fn run_checked<T: Send + 'static, E: Send + 'static>(
        &self,
        check: impl Future<Output = Result<(), E>>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Result<T, E>, WorkerGone> {
        if self.jobs.is_none() {
            return match check.await {
                Ok(()) => self.run(work).await.map(Ok),
                Err(why) => Ok(Err(why)),
            };
        }
        let (free, is_free) = oneshot::channel();
        let (allow, allowed) = oneshot::channel();
        let job = self.run(move || {
            let _ = free.send(());
            allowed.blocking_recv().map(|checked: Result<(), E>| checked.map(|()| work()))
        });
        let checked = async {
            if is_free.await.is_ok() {
                let _ = allow.send(check.await);
            }
        };
        let (done, ()) = futures_util::future::join(job, checked).await;
        // A caller that has given up allows nothing.
        done?.map_err(|_| WorkerGone::Panicked("its check was given up".to_owned()))
    }

    /// Does `work` on one of the threads. It is not begun if the caller has given up; once begun it is done to its end.
    ///
    /// # Errors
    /// The work panicked.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, WorkerGone> {
        let Some(jobs) = &self.jobs else {
            // As from a thread, the result is never there at once.
            tokio::task::yield_now().await;
            return catch(work).map_err(WorkerGone::Panicked);
        };
        let (sender, result) = oneshot::channel();
        let job: Job = Box::new(move || {
            // What a pass that was given up has requested rests on an observation that may be old by now.
            if sender.is_closed() {
                return;
            }
            // A panic ends its own job only: the caller gets it as an error, and the thread continues. Nothing of the job is
            // used afterwards. If the caller has given up, the work is done all the same.
            let _ = sender.send(catch(work));
        });
        let gone = || WorkerGone::Panicked("no thread is left".to_owned());
        jobs.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => WorkerGone::Crowded(QUEUE),
            TrySendError::Disconnected(_) => gone(),
        })?;
        result.await.map_err(|_| gone())?.map_err(WorkerGone::Panicked)
    }

    /// The same, but the result is not waited for any longer than that. What was begun is done to its end.
    ///
    /// # Errors
    /// The work panicked, or the filesystem hangs.
    pub async fn run_within<T: Send + 'static>(
        &self,
        limit: Duration,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, WorkerGone> {
        tokio::time::timeout(limit, self.run(work)).await.unwrap_or(Err(WorkerGone::Hung(limit)))
    }
}

/// Does `work` on a thread of its own and waits here, for no longer than that: for a command that has no actors yet. What was begun
/// is done to its end, or ends with the process.
///
/// # Errors
/// The work panicked, no thread is left, or the filesystem hangs.
pub fn wait_within<T: Send + 'static>(
    limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, WorkerGone> {
    let (sender, result) = bounded(1);
    // The caller may have given up.
    let work = move || drop(sender.send(catch(work)));
    let begun = thread::Builder::new().name("files".to_owned()).spawn(work);
    begun.map_err(|error| WorkerGone::Panicked(format!("no thread is left: {error}")))?;
    match result.recv_timeout(limit) {
        Ok(done) => done.map_err(WorkerGone::Panicked),
        Err(RecvTimeoutError::Timeout) => Err(WorkerGone::Hung(limit)),
        Err(RecvTimeoutError::Disconnected) => Err(WorkerGone::Panicked("its thread ended".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_check_is_made_once_a_thread_is_free_and_decides() {
        let workers = Workers::start(1).unwrap();
        let (go, wait) = crossbeam_channel::bounded::<()>(0);
        let checked = std::cell::Cell::new(false);
        let busy = workers.run(move || wait.recv());
        let check = async {
            checked.set(true);
            Err("no")
        };
        let second = workers.run_checked(check, || ());
        let (mut busy, mut second) = (Box::pin(busy), Box::pin(second));
        for _ in 0..10 {
            assert!(futures_util::FutureExt::now_or_never(busy.as_mut()).is_none());
            assert!(futures_util::FutureExt::now_or_never(second.as_mut()).is_none());
            tokio::task::yield_now().await;
        }
        assert!(!checked.get(), "the thread is not free yet");
        go.send(()).unwrap();
        assert_eq!(second.await, Ok(Err("no")), "the check said no");
        assert_eq!(workers.run_checked(async { Ok::<(), ()>(()) }, || 7).await, Ok(Ok(7)));
    }

    #[test]
    fn a_command_does_not_wait_for_a_file_system_that_hangs() {
        let (_release, held) = crossbeam_channel::bounded::<()>(0);
        let hung = wait_within(Duration::from_millis(1), move || held.recv());
        assert_eq!(hung, Err(WorkerGone::Hung(Duration::from_millis(1))));
        assert_eq!(wait_within(Duration::from_secs(60), || 7), Ok(7));
        let panicked = wait_within(Duration::from_secs(60), || panic!("on purpose"));
        assert!(matches!(panicked, Err(WorkerGone::Panicked(why)) if why.contains("on purpose")));
    }

    #[tokio::test]
    async fn while_a_file_system_hangs_a_limited_number_of_callers_wait() {
        let workers = Workers::start(1).unwrap();
        let (go, wait) = crossbeam_channel::bounded::<()>(0);
        let (begun, begins) = crossbeam_channel::bounded::<()>(1);
        let mut busy = Box::pin(workers.run(move || {
            let _ = begun.send(());
            wait.recv()
        }));
        assert!(futures_util::FutureExt::now_or_never(busy.as_mut()).is_none());
        begins.recv().unwrap();
        for _ in 0..QUEUE {
            assert_eq!(futures_util::FutureExt::now_or_never(workers.run(|| ())), None);
        }
        assert_eq!(workers.run(|| ()).await, Err(WorkerGone::Crowded(QUEUE)));
        go.send(()).unwrap();
        assert_eq!(busy.await, Ok(Ok(())));
        // Their callers have given up, so they cost nothing.
        while workers.run(|| ()).await.is_err() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn work_whose_caller_has_given_up_is_not_begun() {
        let workers = Workers::start(1).unwrap();
        let (go, wait) = crossbeam_channel::bounded::<()>(0);
        let busy = workers.run(move || wait.recv());
        let (began, asked) = crossbeam_channel::bounded::<()>(1);
        let mut busy = Box::pin(busy);
        assert!(futures_util::FutureExt::now_or_never(busy.as_mut()).is_none());
        let given_up = futures_util::FutureExt::now_or_never(workers.run(move || began.send(())));
        assert!(given_up.is_none());
        go.send(()).unwrap();
        busy.await.unwrap().unwrap();
        workers.run(|| ()).await.unwrap();
        assert!(asked.try_recv().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_hangs_is_not_waited_for_and_what_waits_behind_it_is_not_begun() {
        let workers = Workers::start(1).unwrap();
        let (go, wait) = crossbeam_channel::bounded::<()>(0);
        let (begin, begun) = crossbeam_channel::bounded::<()>(1);
        let (second, asked) = crossbeam_channel::bounded::<()>(1);
        let limit = Duration::from_secs(1);
        let first = workers.clone();
        let first = tokio::spawn(async move {
            let hangs = move || begin.send(()).is_ok() && wait.recv().is_ok();
            first.run_within(limit, hangs).await
        });
        // No time passes until it has begun.
        while begun.try_recv().is_err() {
            tokio::task::yield_now().await;
        }
        assert_eq!(first.await.unwrap(), Err(WorkerGone::Hung(limit)));
        assert_eq!(workers.run_within(limit, move || second.send(())).await, Err(WorkerGone::Hung(limit)));
        go.send(()).unwrap();
        workers.run(|| ()).await.unwrap();
        assert!(asked.try_recv().is_err());
    }

    #[tokio::test]
    async fn a_panic_costs_its_own_job_only() {
        let workers = Workers::start(1).unwrap();
        let panicked = workers.run(|| panic!("on purpose")).await;
        assert!(matches!(panicked, Err::<(), _>(WorkerGone::Panicked(why)) if why.ends_with("on purpose")));
        assert_eq!(workers.run(|| 7).await, Ok(7));
    }
}
