//! What can be broken in the demo, how, and how it is fixed: faults of the runtime and traps in the clocks of two loops.
//! The service itself is not touched.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use cri_gc_kit::seams::Clock;
use cri_gc_kit::words::Loop;
use cri_gc_sim::{Code, Fault, Method, Scope, Sim, SimError};
use tokio::time::Instant;

use super::trap::{Trap, TrapAction};
use crate::cli::demo::Breakage;
use crate::demo::node::DemoNode;

/// The loop that panics.
const PANICS: Loop = Loop::ContainerGc;

/// The loop whose thread hangs.
const HANGS: Loop = Loop::SandboxGc;

/// What is broken.
pub struct Breakages {
    sim: Sim,
    panics: Arc<Trap>,
    hangs: Arc<Trap>,
    broken: BTreeMap<Breakage, Instant>,
    ever: BTreeSet<Breakage>,
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
        let trapped = [(PANICS, Arc::clone(&self.panics)), (HANGS, Arc::clone(&self.hangs))];
        trapped.map(|(of, trap)| (of, demo.clock(move || trap.pass()))).into()
    }

    /// Breaks it, or fixes it if it is broken. A panic happens once.
    ///
    /// # Errors
    /// The runtime can't be restarted.
    pub fn toggle(&mut self, what: Breakage) -> Result<(), SimError> {
        self.forget_what_ended();
        if self.broken.contains_key(&what) {
            return self.fix(what);
        }
        self.break_it(what, TrapAction::PanicOnce);
        Ok(())
    }

    /// Breaks them until they are fixed, or fixes them.
    ///
    /// # Errors
    /// The runtime can't be restarted.
    pub fn set_all(&mut self, all: &[Breakage], broken: bool) -> Result<(), SimError> {
        all.iter().try_for_each(|what| {
            if !broken {
                return self.fix(*what);
            }
            self.break_it(*what, TrapAction::Panic);
            Ok(())
        })
    }

    fn break_it(&mut self, what: Breakage, panic: TrapAction) {
        self.broken.entry(what).or_insert_with(Instant::now);
        self.ever.insert(what);
        match what {
            Breakage::Images | Breakage::Hang => self.order_faults(),
            Breakage::Runtime => self.sim.kill(),
            Breakage::Panic => self.panics.set(panic),
            Breakage::Thread => self.hangs.set(TrapAction::Hang),
        }
    }

    fn fix(&mut self, what: Breakage) -> Result<(), SimError> {
        self.broken.remove(&what);
        match what {
            Breakage::Images | Breakage::Hang => self.order_faults(),
            Breakage::Runtime => self.sim.restart()?,
            Breakage::Panic => self.panics.set(TrapAction::Off),
            Breakage::Thread => self.hangs.set(TrapAction::Off),
        }
        Ok(())
    }

    /// Fixes all that is broken.
    ///
    /// # Errors
    /// The runtime can't be restarted.
    pub fn fix_all(&mut self) -> Result<(), SimError> {
        let broken: Vec<_> = self.broken.keys().copied().collect();
        self.set_all(&broken, false)
    }

    /// What is broken now, and for how long it has been.
    pub fn now(&mut self) -> Vec<(Breakage, Duration)> {
        self.forget_what_ended();
        self.broken.iter().map(|(what, since)| (*what, since.elapsed())).collect()
    }

    /// What was broken at any time.
    #[must_use]
    pub fn ever(&self) -> &BTreeSet<Breakage> {
        &self.ever
    }

    /// A panic that happens once, and a thread that was released, need no fix.
    fn forget_what_ended(&mut self) {
        for (what, trap) in [(Breakage::Panic, &self.panics), (Breakage::Thread, &self.hangs)] {
            if trap.is_off() {
                self.broken.remove(&what);
            }
        }
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
pub fn meaning(what: Breakage) -> String {
    match what {
        Breakage::Images => "the runtime answers requests about images with errors".to_owned(),
        Breakage::Hang => "the runtime never answers RemoveContainer".to_owned(),
        Breakage::Runtime => "the runtime is down".to_owned(),
        Breakage::Panic => format!("{PANICS} panics"),
        Breakage::Thread => format!("the thread of {HANGS} hangs"),
    }
}
