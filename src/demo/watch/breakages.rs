//! What can be broken in the demo, how, and how it is fixed: faults of the runtime and traps in the clocks of two loops.
//! The service itself is not touched.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cri_gc_kit::seams::Clock;
use cri_gc_kit::words::Loop;
use cri_gc_sim::{Code, Fault, Method, Scope, Sim, SimError};
use tokio::time::Instant;

use crate::cli::demo::Breakage;
use crate::demo::node::DemoNode;

/// What a panic of a trap says; any other one is a bug.
pub const ON_PURPOSE: &str = "broken on purpose by the demo";

/// What is broken.
pub struct Breakages {
    sim: Sim,
    panics: Arc<Trap>,
    hangs: Arc<Trap>,
    /// What is broken now, and since when.
    broken: BTreeMap<Breakage, Instant>,
    /// What was broken at any time.
    pub ever: BTreeSet<Breakage>,
}

impl Breakages {
    /// Nothing is broken yet.
    #[must_use]
    pub fn new(demo: &DemoNode) -> Self {
        Self {
            sim: demo.sim.clone(),
            panics: Arc::default(),
            hangs: Arc::default(),
            broken: BTreeMap::new(),
            ever: BTreeSet::new(),
        }
    }

    /// The clocks that have a trap.
    #[must_use]
    pub fn clocks(&self, demo: &DemoNode) -> Vec<(Loop, Clock)> {
        let trapped =
            [(Loop::ContainerGc, Arc::clone(&self.panics)), (Loop::SandboxGc, Arc::clone(&self.hangs))];
        trapped.map(|(of, trap)| (of, demo.clock(move || trap.pass()))).into()
    }

    /// Breaks it, or fixes it if it is broken.
    ///
    /// # Errors
    /// The runtime can't be restarted.
    pub fn toggle(&mut self, what: Breakage) -> Result<(), SimError> {
        self.set(what, !self.broken.contains_key(&what))
    }

    /// Breaks it until it is fixed, or fixes it.
    ///
    /// # Errors
    /// The runtime can't be restarted.
    pub fn set(&mut self, what: Breakage, broken: bool) -> Result<(), SimError> {
        if broken {
            self.broken.entry(what).or_insert_with(Instant::now);
            self.ever.insert(what);
        } else {
            self.broken.remove(&what);
        }
        let action = |action| if broken { action } else { TrapAction::Off };
        match what {
            Breakage::Images | Breakage::Hang => self.order_faults(),
            Breakage::Runtime if broken => self.sim.kill(),
            Breakage::Runtime => self.sim.restart()?,
            Breakage::Panic => self.panics.set(action(TrapAction::Panic)),
            Breakage::Thread => self.hangs.set(action(TrapAction::Hang)),
        }
        Ok(())
    }

    /// Fixes all that is broken.
    ///
    /// # Errors
    /// The runtime can't be restarted.
    pub fn fix_all(&mut self) -> Result<(), SimError> {
        let broken: Vec<_> = self.broken.keys().copied().collect();
        broken.into_iter().try_for_each(|what| self.set(what, false))
    }

    /// What is broken now, and for how long it has been.
    #[must_use]
    pub fn now(&self) -> Vec<(Breakage, Duration)> {
        self.broken.iter().map(|(what, since)| (*what, since.elapsed())).collect()
    }

    /// Orders all faults again: they can only be cleared together.
    fn order_faults(&self) {
        self.sim.clear_faults();
        if self.broken.contains_key(&Breakage::Images) {
            for method in [Method::ListImages, Method::ImageFsInfo, Method::RemoveImage] {
                let fault = Fault::error(Code::Internal, "the image store is locked (broken on purpose)");
                self.sim.fault(method, fault, Scope::Always);
            }
        }
        if self.broken.contains_key(&Breakage::Hang) {
            self.sim.fault(Method::RemoveContainer, Fault::Hang, Scope::Always);
        }
    }
}

/// What that breakage means, in words.
#[must_use]
pub fn meaning(what: Breakage) -> &'static str {
    match what {
        Breakage::Images => "the runtime answers requests about images with errors",
        Breakage::Hang => "the runtime never answers RemoveContainer",
        Breakage::Runtime => "the runtime is down",
        Breakage::Panic => "container_gc panics",
        Breakage::Thread => "the thread of sandbox_gc hangs",
    }
}

/// A trap in the clock of one loop. The clock is a seam of the service, so nothing in the service has to know that it may be
/// broken on purpose. The loop's supervisor has another clock.
#[derive(Default)]
struct Trap {
    action: Mutex<TrapAction>,
    changed: Condvar,
}

/// What happens to a thread that reads the time.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum TrapAction {
    /// It gets the time.
    #[default]
    Off,
    /// It panics.
    Panic,
    /// It hangs until this is fixed; the next thread gets the time.
    Hang,
    /// It gets the time, while another thread hangs.
    Hanging,
}

impl Trap {
    fn action(&self) -> MutexGuard<'_, TrapAction> {
        self.action.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The loop is about to read the time.
    #[expect(clippy::panic, reason = "the service has to survive it: that is what the demo shows")]
    fn pass(&self) {
        let mut action = self.action();
        match *action {
            TrapAction::Off | TrapAction::Hanging => {}
            TrapAction::Panic => {
                drop(action);
                panic!("{ON_PURPOSE}");
            }
            TrapAction::Hang => {
                *action = TrapAction::Hanging;
                drop(self.changed.wait_while(action, |action| *action == TrapAction::Hanging));
            }
        }
    }

    /// Changes what happens; a thread that hangs continues.
    fn set(&self, action: TrapAction) {
        *self.action() = action;
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads the time on another thread. True if it got an answer, false if it panicked.
    fn reads(trap: &Arc<Trap>) -> bool {
        let trap = Arc::clone(trap);
        std::thread::spawn(move || trap.pass()).join().is_ok()
    }

    #[test]
    fn it_panics_until_it_is_off() {
        let trap = Arc::new(Trap::default());
        assert!(reads(&trap));
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
        while *trap.action() != TrapAction::Hanging {
            std::thread::yield_now();
        }
        assert!(reads(&trap), "another thread continues");
        assert!(!hanging.is_finished());
        trap.set(TrapAction::Off);
        assert!(hanging.join().is_ok());
    }
}
