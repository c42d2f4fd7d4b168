//! A trap in the clock of one loop: reading the time panics, or never returns. The clock is a seam of the service, so
//! nothing in the service has to know that it may be broken on purpose. The loop's supervisor has another clock.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What a panic of a trap says; any other one is a bug.
pub const ON_PURPOSE: &str = "broken on purpose by the demo";

/// A thread is released after this long: long enough for the supervisor to have given the loop another one.
const RELEASED_AFTER: Duration = Duration::from_secs(12);

/// What happens to a thread that reads the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TrapAction {
    /// It gets the time.
    #[default]
    Off,
    /// It panics; the next thread gets the time.
    PanicOnce,
    /// It panics.
    Panic,
    /// It hangs; the next thread gets the time.
    Hang,
    /// It gets the time, while another thread hangs.
    Hanging,
}

/// The trap.
#[derive(Debug, Default)]
pub struct Trap {
    trigger: Mutex<TrapAction>,
    changed: Condvar,
}

impl Trap {
    fn trigger(&self) -> MutexGuard<'_, TrapAction> {
        self.trigger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The loop is about to read the time.
    #[expect(clippy::panic, reason = "the service has to survive it: that is what the demo shows")]
    pub fn pass(&self) {
        let mut trigger = self.trigger();
        match *trigger {
            TrapAction::Off | TrapAction::Hanging => {}
            TrapAction::PanicOnce | TrapAction::Panic => {
                if *trigger == TrapAction::PanicOnce {
                    *trigger = TrapAction::Off;
                }
                drop(trigger);
                panic!("{ON_PURPOSE}");
            }
            TrapAction::Hang => {
                *trigger = TrapAction::Hanging;
                let hangs = |trigger: &mut TrapAction| *trigger == TrapAction::Hanging;
                let waited = self.changed.wait_timeout_while(trigger, RELEASED_AFTER, hangs);
                let (mut trigger, waited) = waited.unwrap_or_else(PoisonError::into_inner);
                if waited.timed_out() {
                    *trigger = TrapAction::Off;
                }
            }
        }
    }

    /// Changes what happens; a thread that hangs goes on.
    pub fn set(&self, trigger: TrapAction) {
        *self.trigger() = trigger;
        self.changed.notify_all();
    }

    /// Whether nothing happens.
    #[must_use]
    pub fn is_off(&self) -> bool {
        *self.trigger() == TrapAction::Off
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// Reads the time on another thread. True if it got an answer, false if it panicked.
    fn reads(trap: &Arc<Trap>) -> bool {
        let trap = Arc::clone(trap);
        std::thread::spawn(move || trap.pass()).join().is_ok()
    }

    #[test]
    fn it_panics_once_or_until_it_is_off() {
        let trap = Arc::new(Trap::default());
        assert!(reads(&trap));
        trap.set(TrapAction::PanicOnce);
        assert!(!trap.is_off() && !reads(&trap) && trap.is_off() && reads(&trap), "once");
        trap.set(TrapAction::Panic);
        assert!(!reads(&trap) && !reads(&trap));
        trap.set(TrapAction::Off);
        assert!(reads(&trap));
    }

    #[test]
    fn one_thread_hangs_until_it_is_off() {
        let trap = Arc::new(Trap::default());
        trap.set(TrapAction::Hang);
        let hanging = {
            let trap = Arc::clone(&trap);
            std::thread::spawn(move || trap.pass())
        };
        while *trap.trigger() != TrapAction::Hanging {
            std::thread::yield_now();
        }
        assert!(reads(&trap), "another thread goes on");
        assert!(!trap.is_off() && !hanging.is_finished());
        trap.set(TrapAction::Off);
        assert!(hanging.join().is_ok());
    }
}
