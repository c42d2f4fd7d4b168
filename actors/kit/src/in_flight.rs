//! A question in flight that later callers with the same question join, so that callers who ask faster than they are answered
//! don't pile up.

use futures_util::FutureExt;
use futures_util::future::{LocalBoxFuture, Shared, WeakShared};

/// The pending answer, for all callers that wait for it.
pub type Answer<T> = Shared<LocalBoxFuture<'static, T>>;

/// The last question of one kind. It keeps no answer: that is dropped with the last caller.
pub struct InFlight<T: Clone>(Option<WeakShared<LocalBoxFuture<'static, T>>>);

impl<T: Clone> Default for InFlight<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: Clone + 'static> InFlight<T> {
    /// The pending answer. `None` where none is in flight; one that is there already is no longer in flight.
    pub fn join(&self) -> Option<Answer<T>> {
        self.0.as_ref().and_then(WeakShared::upgrade).filter(|answer| answer.peek().is_none())
    }

    /// Asks. From now on others join this.
    pub fn begin(&mut self, ask: impl Future<Output = T> + 'static) -> Answer<T> {
        let answer = ask.boxed_local().shared();
        self.0 = answer.downgrade();
        answer
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn a_caller_during_a_call_joins_it_and_a_later_one_starts_another() {
        let mut in_flight = InFlight::<u8>::default();
        let (answer, answered) = oneshot::channel();
        let first = in_flight.begin(async { answered.await.unwrap() });
        let second = in_flight.join().unwrap();
        answer.send(7).unwrap();
        assert_eq!((first.clone().await, second.await), (7, 7));
        assert!(in_flight.join().is_none(), "it is answered");
        drop(first);
        let given_up = in_flight.begin(std::future::pending());
        assert!(in_flight.join().is_some());
        drop(given_up);
        assert!(in_flight.join().is_none(), "no caller is left");
    }
}
