//! The answer to a check that several removals rest on: it is asked once, and used for a moment.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::OnceCell;
use tokio::time::Instant;

/// How long an answer is used. The gateway refuses a removal whose check is 5 s old, and a removal may wait for its place.
pub const USED_FOR: Duration = Duration::from_secs(2);

/// The newest answer.
#[derive(Debug)]
pub struct Recent<T, E> {
    newest: RefCell<Option<Asked<T, E>>>,
    used_for: Duration,
}

/// An answer, or who waits for it.
#[derive(Debug)]
struct Asked<T, E> {
    at: Instant,
    answer: Rc<OnceCell<Result<Rc<T>, E>>>,
}

impl<T, E> Default for Recent<T, E> {
    fn default() -> Self {
        Self::new(USED_FOR)
    }
}

impl<T, E> Recent<T, E> {
    /// None yet; each will be used for that long.
    pub fn new(used_for: Duration) -> Self {
        Self { newest: RefCell::default(), used_for }
    }

    /// The next one asks, whenever the newest was asked.
    pub fn forget(&self) {
        self.newest.take();
    }
}

impl<T, E: Clone> Recent<T, E> {
    /// The answer of a moment ago, else that of `ask`, and when it was requested. Who comes while it is asked waits for it.
    ///
    /// # Errors
    /// That of `ask`, for all who have waited; the next one asks again.
    pub async fn get(&self, ask: impl AsyncFnOnce() -> Result<T, E>) -> Result<(Rc<T>, Instant), E> {
        let (at, answer) = {
            let mut newest = self.newest.borrow_mut();
            let failed = |asked: &Asked<T, E>| asked.answer.get().is_some_and(Result::is_err);
            let recent = newest.take().filter(|asked| asked.at.elapsed() < self.used_for && !failed(asked));
            let asked = recent.unwrap_or_else(|| Asked { at: Instant::now(), answer: Rc::default() });
            let Asked { at, answer } = newest.insert(asked);
            (*at, Rc::clone(answer))
        };
        let ask = async || ask().await.map(Rc::new);
        Ok((answer.get_or_init(ask).await.clone()?, at))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_shared_for_a_moment_and_an_error_by_who_waits_for_it() {
        let (recent, asked) = (Recent::<u32, ()>::default(), Cell::new(0));
        let ask = async |answer: Result<u32, ()>| {
            let ask = async || {
                asked.set(asked.get() + 1);
                tokio::time::sleep(Duration::from_millis(10)).await;
                answer
            };
            recent.get(ask).await.map(|(answer, at)| (*answer, at))
        };
        let began = Instant::now();
        let (first, second) = futures_util::join!(ask(Err(())), ask(Ok(1)));
        assert_eq!((first, second), (Err(()), Err(())));
        let again = Instant::now();
        assert!(again > began);
        let (first, second) = futures_util::join!(ask(Ok(2)), ask(Ok(3)));
        assert_eq!((first, second), (Ok((2, again)), Ok((2, again))));
        tokio::time::sleep(USED_FOR - Duration::from_millis(20)).await;
        assert_eq!(ask(Ok(4)).await, Ok((2, again)));
        assert_eq!(asked.get(), 2);
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(ask(Ok(5)).await.is_ok_and(|(answer, at)| answer == 5 && at > again));
    }
}
