//! A trap in the clock of one loop: whoever asks for the time panics, or never gets an answer. The clock is a seam of the
//! service, so nothing in the service itself has to know that it may be broken on purpose. The loop's supervisor has another
//! clock.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What a panic of a trap says; any other one is a bug.
pub const ON_PURPOSE: &str = "broken on purpose by the demo";

/// A thread is let go after this long: long enough that the supervisor has given the loop another one.
const LET_GO: Duration = Duration::from_secs(12);

/// What happens to the next who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Spring {
    /// He gets the time.
    #[default]
    Idle,
    /// He panics, and the next one does not.
    PanicOnce,
    /// He panics, and so does the next.
    Panic,
    /// He is held, and the next is not.
    Hold,
    /// Somebody is held; the others get the time.
    Holds,
}

/// The trap.
#[derive(Debug, Default)]
pub struct Trap {
    spring: Mutex<Spring>,
    changed: Condvar,
}

impl Trap {
    fn spring(&self) -> MutexGuard<'_, Spring> {
        self.spring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The loop is about to ask for the time.
    #[expect(clippy::panic, reason = "that is what it is for: the service has to live with it")]
    pub fn pass(self: &Arc<Self>) {
        let mut spring = self.spring();
        match *spring {
            Spring::Idle | Spring::Holds => {}
            Spring::PanicOnce | Spring::Panic => {
                if *spring == Spring::PanicOnce {
                    *spring = Spring::Idle;
                }
                drop(spring);
                panic!("{ON_PURPOSE}");
            }
            Spring::Hold => {
                *spring = Spring::Holds;
                let held = |spring: &mut Spring| *spring == Spring::Holds;
                let (mut spring, waited) = self
                    .changed
                    .wait_timeout_while(spring, LET_GO, held)
                    .unwrap_or_else(PoisonError::into_inner);
                if waited.timed_out() {
                    *spring = Spring::Idle;
                }
            }
        }
    }

    fn set(&self, to: Spring) {
        *self.spring() = to;
        self.changed.notify_all();
    }

    /// The loop panics when it asks next, or whenever it asks.
    pub fn panic(&self, once: bool) {
        self.set(if once { Spring::PanicOnce } else { Spring::Panic });
    }

    /// The loop's thread is held when it asks next.
    pub fn hold(&self) {
        self.set(Spring::Hold);
    }

    /// Nothing happens any more, and who is held goes on.
    pub fn release(&self) {
        self.set(Spring::Idle);
    }

    /// Whether nothing happens.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        *self.spring() == Spring::Idle
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks on another thread. True if it got an answer, false if it panicked.
    fn asks(trap: &Arc<Trap>) -> bool {
        let trap = Arc::clone(trap);
        std::thread::spawn(move || trap.pass()).join().is_ok()
    }

    #[test]
    fn it_springs_once_or_until_it_is_released() {
        let trap = Arc::new(Trap::default());
        assert!(asks(&trap));
        trap.panic(true);
        assert!(!trap.is_idle() && !asks(&trap) && trap.is_idle() && asks(&trap), "once");
        trap.panic(false);
        assert!(!asks(&trap) && !asks(&trap));
        trap.release();
        assert!(asks(&trap));
    }

    #[test]
    fn it_holds_one_thread_until_that_is_released() {
        let trap = Arc::new(Trap::default());
        trap.hold();
        let held = {
            let trap = Arc::clone(&trap);
            std::thread::spawn(move || trap.pass())
        };
        while *trap.spring() != Spring::Holds {
            std::thread::yield_now();
        }
        assert!(asks(&trap), "another thread goes on");
        assert!(!trap.is_idle() && !held.is_finished());
        trap.release();
        assert!(held.join().is_ok());
    }
}
