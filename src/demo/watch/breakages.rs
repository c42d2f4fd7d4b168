//! What is broken in the demo, since when, and how it is broken and mended: faults of the runtime and traps in the clocks
//! of two loops. The service itself is never touched.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use cri_gc_kit::seams::Clock;
use cri_gc_kit::words::Loop;
use cri_gc_sim::{Code, Fault, Method, Scope, Sim, SimError};
use tokio::time::Instant;

use super::trap::Trap;
use crate::cli::Breakage;
use crate::demo::Demo;

/// The loop that panics.
const PANICS: Loop = Loop::ContainerGc;

/// The loop whose thread hangs.
const HANGS: Loop = Loop::SandboxGc;

/// How long something is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lasts {
    /// Until it is mended; a panic only once.
    Once,
    /// Until it is mended.
    UntilMended,
}

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
    pub fn new(demo: &Demo) -> Self {
        Self {
            sim: demo.sim().clone(),
            panics: Arc::default(),
            hangs: Arc::default(),
            broken: BTreeMap::new(),
            ever: BTreeSet::new(),
        }
    }

    /// The clocks that have a trap.
    #[must_use]
    pub fn clocks(&self, demo: &Demo) -> Vec<(Loop, Clock)> {
        [(PANICS, &self.panics), (HANGS, &self.hangs)]
            .map(|(of, trap)| {
                let trap = Arc::clone(trap);
                (of, demo.clock(move || trap.pass()))
            })
            .into()
    }

    /// Breaks it, or mends it if it is broken.
    ///
    /// # Errors
    /// The runtime can't be brought back.
    pub fn toggle(&mut self, what: Breakage) -> Result<(), SimError> {
        self.look();
        if self.broken.contains_key(&what) { self.mend(what) } else { self.break_it(what, Lasts::Once) }
    }

    /// Breaks it.
    ///
    /// # Errors
    /// As [`Breakages::mend`].
    pub fn break_it(&mut self, what: Breakage, lasts: Lasts) -> Result<(), SimError> {
        self.broken.entry(what).or_insert_with(Instant::now);
        self.ever.insert(what);
        match what {
            Breakage::Images | Breakage::Hang => self.order(),
            Breakage::Runtime => self.sim.kill(),
            Breakage::Panic => self.panics.panic(lasts == Lasts::Once),
            Breakage::Thread => self.hangs.hold(),
        }
        Ok(())
    }

    /// Mends it.
    ///
    /// # Errors
    /// The runtime can't be brought back.
    pub fn mend(&mut self, what: Breakage) -> Result<(), SimError> {
        self.broken.remove(&what);
        match what {
            Breakage::Images | Breakage::Hang => self.order(),
            Breakage::Runtime => self.sim.restart()?,
            Breakage::Panic => self.panics.release(),
            Breakage::Thread => self.hangs.release(),
        }
        Ok(())
    }

    /// Mends all that is broken.
    ///
    /// # Errors
    /// As [`Breakages::mend`].
    pub fn mend_all(&mut self) -> Result<(), SimError> {
        self.now().into_iter().try_for_each(|(what, _)| self.mend(what))
    }

    /// What is broken now, and for how long it has been.
    pub fn now(&mut self) -> Vec<(Breakage, Duration)> {
        self.look();
        self.broken.iter().map(|(what, since)| (*what, since.elapsed())).collect()
    }

    /// What was broken at any time.
    #[must_use]
    pub fn ever(&self) -> Vec<Breakage> {
        self.ever.iter().copied().collect()
    }

    /// What has mended itself: a panic that came once, and a thread that was let go.
    fn look(&mut self) {
        for (what, trap) in [(Breakage::Panic, &self.panics), (Breakage::Thread, &self.hangs)] {
            if trap.is_idle() {
                self.broken.remove(&what);
            }
        }
    }

    /// Orders the faults anew: they can only be cleared all at once.
    fn order(&self) {
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
        Breakage::Images => "the runtime answers with errors when it is asked for images".to_owned(),
        Breakage::Hang => "the runtime never answers when it is to remove a container".to_owned(),
        Breakage::Runtime => "the runtime is gone".to_owned(),
        Breakage::Panic => format!("{PANICS} panics"),
        Breakage::Thread => format!("the thread of {HANGS} hangs"),
    }
}
