//! `demo --watch`: the whole service at work on an embedded node under churn, shown live, with things that can be broken.
//!
//! - `churn`: the life on the node. `breakages`: what is broken, and how; `trap`: in the clock of a loop.
//! - `view`: what is shown, as a text; `told`: the events in it. `screen`: where it is drawn. `keys`: what is typed.
//! - `summary`: what is said at the end. [`uncaught`]: panics that nobody caught.
//! - here: the service is started, and everything is led to its end, so that neither a thread nor a terminal is left behind.
//!
//! None of the service's actors run on the thread of the view, so neither can hold up the other.

mod breakages;
mod churn;
mod keys;
mod screen;
mod show;
mod summary;
mod told;
mod trap;
pub mod uncaught;
mod view;

use std::sync::Arc;
use std::time::Duration;

use cri_gc_config::{Loaded, LogLevel, Settings, Sources};
use cri_gc_images::Home;
use cri_gc_kit::generation::Generation;
use cri_gc_kit::seams::LogThreshold;
use cri_gc_kit::supervision::threads::Threads;
use slog::Logger;

use super::Demo;
use crate::cli::Breakage;
use crate::failure::Failure;
use crate::output::print;
use crate::signals::StopSignals;
use crate::wiring::{STAGGER, Seams, Service, Start};
use breakages::Breakages;
use churn::Churn;
use show::Show;
use summary::Summary;
use uncaught::Uncaught;

/// How long the loops may take to come to rest once nothing is broken any more.
const REST: Duration = Duration::from_secs(15);

/// Settings under which everything happens while one looks on; `--set` wins over them.
pub const SETTINGS: &[(&str, &str)] = &[
    ("runtime.request_timeout", "3s"),
    ("pods.runtime_grace", "4s"),
    ("container_gc.period", "1s"),
    ("container_gc.min_dead_age", "2s"),
    ("container_gc.deadline", "10s"),
    ("sandbox_gc.period", "2s"),
    ("sandbox_gc.deadline", "10s"),
    ("log_gc.period", "2s"),
    ("log_gc.deadline", "10s"),
    ("image_gc.period", "1s"),
    ("image_gc.deadline", "10s"),
    ("image_gc.low_threshold_percent", "70"),
    ("image_gc.min_age", "3s"),
    ("image_gc.pressure_poll", "1s"),
    ("supervision.hang_timeout", "5s"),
    ("supervision.restart_backoff_max", "4s"),
    ("supervision.stuck_backoff_max", "4s"),
];

/// What is watched.
pub struct Watch<'a> {
    /// The node.
    pub demo: &'a Demo,
    /// The settings of the service.
    pub loaded: Loaded,
    /// Where they come from.
    pub sources: Sources,
    /// What settings may ask for that this program cannot do.
    pub cannot: fn(&Settings) -> Option<String>,
    /// What is broken by itself.
    pub breaks: &'a [Breakage],
    /// For how long; `None` for as long as somebody looks.
    pub length: Option<Duration>,
    /// The log of the service.
    pub log: Logger,
    /// The part of it that keeps panics.
    pub uncaught: Uncaught,
}

impl Watch<'_> {
    /// Watches, and sums up. Whether nothing went wrong that nobody had broken.
    ///
    /// # Errors
    /// The temporary folder is full, the terminal can't be written to, or the operating system has no thread left.
    pub async fn run(self, stop: &mut StopSignals) -> Result<bool, Failure> {
        let mut breakages = Breakages::new(self.demo);
        let mut churn = Churn::begin(self.demo.sim()).map_err(Failure::failed)?;
        let seams = Seams { own_clocks: breakages.clocks(self.demo), ..self.demo.seams() };
        let generation = Generation::first(self.loaded, seams.clock.now());
        let service = Service::start(Start {
            generation: Arc::clone(&generation),
            sources: self.sources,
            cannot: self.cannot,
            seams,
            home: Home::Memory,
            threads: Threads::own(),
            stagger: STAGGER,
            threshold: LogThreshold::new(LogLevel::Info),
            log: self.log,
        })?;
        let mut show = Show::new(self.demo, &service, &generation.settings).await;
        let schedule = show::Schedule::new(self.breaks, self.length);
        let shown = show.run(&mut churn, &mut breakages, schedule, stop).await;
        // Whatever happened: a thread that is held, and a call that hangs, would hold up the end.
        let mended = breakages.mend_all();
        tokio::select! {
            // What does not come to rest in time ends with the process.
            _ = tokio::time::timeout(REST, service.finish()) => {}
            _ = stop.recv() => {}
        }
        let (loops, told) = show.end(&service).await;
        service.stop();
        shown?;
        mended.map_err(Failure::failed)?;
        let summary = Summary {
            lasted: show.lasted(),
            loops: &loops,
            told: &told,
            broken: &breakages.ever(),
            running: churn.running(),
            lost: churn.lost(),
            uncaught: self.uncaught.count(),
        };
        print(&summary.text())?;
        Ok(summary.surprises().is_empty())
    }
}
