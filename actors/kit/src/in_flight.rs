//! A question in flight that later callers with the same question join, so that callers who ask faster than they are answered
//! don't pile up.

use std::cell::Cell;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;

use futures_util::FutureExt;
use futures_util::future::{LocalBoxFuture, Shared, WeakShared};

/// The pending answer, for all callers that wait for it; `None` where asking has panicked, which the panic hook logs. Without that
/// those who have joined would wait for ever.
pub type Answer<T> = Shared<LocalBoxFuture<'static, Option<T>>>;

/// The last question of one kind, and the one that follows it. It keeps no answer: that is dropped with the last caller.
pub struct InFlight<T: Clone> {
    last: Option<WeakAnswer<T>>,
    /// With whether it is asked already.
    next: Option<(WeakAnswer<T>, Rc<Cell<bool>>)>,
}

type WeakAnswer<T> = WeakShared<LocalBoxFuture<'static, Option<T>>>;

impl<T: Clone> Default for InFlight<T> {
    fn default() -> Self {
        Self { last: None, next: None }
    }
}

impl<T: Clone + 'static> InFlight<T> {
    /// The pending answer. `None` where none is in flight; one that is there already is no longer in flight.
    pub fn join(&mut self) -> Option<Answer<T>> {
        if let Some((next, _)) = self.next.take_if(|(_, is_asked)| is_asked.get()) {
            self.last = Some(next);
        }
        self.last.as_ref().and_then(WeakShared::upgrade).filter(|answer| answer.peek().is_none())
    }

    /// Asks. From now on others join this.
    pub fn begin(&mut self, ask: impl Future<Output = T> + 'static) -> Answer<T> {
        let answer = caught(ask).boxed_local().shared();
        self.last = answer.downgrade();
        answer
    }

    /// Asks once the question in flight is answered, where one is. Who follows until then joins this. An answer for which `is_final` is
    /// true answers those who follow as well.
    pub fn follow(&mut self, is_final: fn(&T) -> bool, ask: impl Future<Output = T> + 'static) -> Answer<T> {
        let last = self.join();
        if let Some(next) = self.next.as_ref().and_then(|(next, _)| next.upgrade()) {
            return next;
        }
        let Some(last) = last else { return self.begin(ask) };
        let is_asked = Rc::new(Cell::new(false));
        let asked = Rc::clone(&is_asked);
        let follow = async move {
            let answer = last.await;
            asked.set(true);
            if answer.as_ref().is_some_and(is_final) { answer } else { caught(ask).await }
        };
        let answer = follow.boxed_local().shared();
        self.next = answer.downgrade().map(|answer| (answer, is_asked));
        answer
    }
}

async fn caught<T>(ask: impl Future<Output = T>) -> Option<T> {
    AssertUnwindSafe(ask).catch_unwind().await.ok()
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
        assert_eq!((first.clone().await, second.await), (Some(7), Some(7)));
        assert!(in_flight.join().is_none(), "it is answered");
        drop(first);
        let given_up = in_flight.begin(std::future::pending());
        assert!(in_flight.join().is_some());
        drop(given_up);
        assert!(in_flight.join().is_none(), "no caller is left");
    }
    #[tokio::test]
    async fn callers_that_follow_a_question_share_the_next_one() {
        let mut in_flight = InFlight::<u8>::default();
        let mut follow = |answered: oneshot::Receiver<u8>| {
            in_flight.follow(|answer| *answer == 9, async { answered.await.unwrap() })
        };
        let (answer, answered) = oneshot::channel();
        let first = follow(answered);
        let (answer_next, answered) = oneshot::channel();
        let second = follow(answered);
        assert!(second.clone().now_or_never().is_none());
        answer.send(1).unwrap();
        assert_eq!(first.await, Some(1));
        // The first is answered, but the second is not asked yet.
        let (_never, unanswered) = oneshot::channel();
        let third = follow(unanswered);
        // A caller that follows now is too late for the second one, which is asked.
        assert!(second.clone().now_or_never().is_none());
        let (_never, unanswered) = oneshot::channel();
        let fourth = follow(unanswered);
        answer_next.send(9).unwrap();
        assert_eq!(
            (second.await, third.await, fourth.await),
            (Some(9), Some(9), Some(9)),
            "the last of these is final"
        );
        assert!(in_flight.join().is_none(), "all are answered");
    }
    #[tokio::test]
    async fn a_panic_reaches_all_callers_and_the_next_one_asks() {
        let mut in_flight = InFlight::<u8>::default();
        let is_final = |_: &u8| true;
        let first = in_flight.follow(is_final, async { panic!("on purpose") });
        let second = in_flight.follow(is_final, async { 2 });
        assert_eq!((first.clone().await, first.await, second.await), (None, None, Some(2)));
    }
}
