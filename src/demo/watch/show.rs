//! The show while it lasts: it lets the node live, breaks things when it is time or a key says so, and draws.
//!
//! It waits for nobody: how the loops are is asked beside it, for a loop that hangs is slow to say so.

use std::time::Duration;

use cri_gc_collectors::collector::{LoopHandle, LoopState};
use cri_gc_config::Settings;
use cri_gc_gateway::RuntimeState;
use cri_gc_kit::recorder::{Stamped, Subscription};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::{broadcast, watch};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

use super::breakages::{Breakages, Lasts};
use super::churn::{Churn, STEP};
use super::keys::{self, Key};
use super::screen::Screen;
use super::told::Told;
use super::view::{self, Snapshot};
use crate::cli::Breakage;
use crate::demo::Demo;
use crate::failure::Failure;
use crate::output::Reader;
use crate::signals::StopSignals;
use crate::wiring::Service;

/// How often a picture is drawn in place, and how often one is printed after the other.
const DRAWN: Duration = Duration::from_secs(1);
const PRINTED: Duration = Duration::from_secs(2);

/// How often the loops and the runtime are asked how they are.
const ASKED: Duration = Duration::from_millis(300);

/// How long it lasts where nobody can end it by a key, and what the time of breaking is reckoned by where nobody says.
const USUAL: Duration = Duration::from_secs(30);

/// How long a loop may take to say how it is, at the beginning and in the end.
const WORD: Duration = Duration::from_secs(3);

/// What happens by itself, and when.
pub struct Schedule {
    breaks: Vec<Breakage>,
    length: Option<Duration>,
    done: Done,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Done {
    Nothing,
    Broken,
    Mended,
}

impl Schedule {
    /// These are broken, from a third to two thirds of the time.
    #[must_use]
    pub fn new(breaks: &[Breakage], length: Option<Duration>) -> Self {
        Self { breaks: breaks.to_vec(), length, done: Done::Nothing }
    }

    /// Does what is due.
    fn follow(&mut self, breakages: &mut Breakages, lasted: Duration) -> Result<(), Failure> {
        let third = self.length.unwrap_or(USUAL) / 3;
        match self.done {
            Done::Nothing if lasted >= third => {
                self.done = Done::Broken;
                self.breaks.iter().try_for_each(|what| breakages.break_it(*what, Lasts::UntilMended))
            }
            Done::Broken if lasted >= third * 2 => {
                self.done = Done::Mended;
                self.breaks.iter().try_for_each(|what| breakages.mend(*what))
            }
            _ => Ok(()),
        }
        .map_err(Failure::failed)
    }
}

/// The show.
pub struct Show<'a> {
    demo: &'a Demo,
    handles: [LoopHandle; 4],
    loops: Vec<watch::Receiver<Option<LoopState>>>,
    runtime: watch::Receiver<Option<RuntimeState>>,
    coming: Option<broadcast::Receiver<Stamped>>,
    told: Told,
    thresholds: (u8, u8),
    began: Instant,
    lasted: Duration,
    paused: bool,
}

impl<'a> Show<'a> {
    /// Begins to listen to the service.
    pub async fn new(demo: &'a Demo, service: &Service, settings: &Settings) -> Self {
        let ask = |of: &LoopHandle| {
            let of = of.clone();
            asked(async move || of.state().await)
        };
        let gateway = service.tools.gateway.clone();
        let mut show = Self {
            demo,
            handles: service.loops.clone(),
            loops: service.loops.iter().map(ask).collect(),
            runtime: asked(async move || gateway.runtime().await),
            coming: None,
            told: Told::default(),
            thresholds: (settings.image_gc.high_threshold_percent, settings.image_gc.low_threshold_percent),
            began: Instant::now(),
            lasted: Duration::ZERO,
            paused: false,
        };
        if let Some(Subscription { past, coming }) = service.tools.recorder.subscribe(usize::MAX).await {
            past.into_iter().for_each(|event| show.told.add(event));
            show.coming = Some(coming);
        }
        // So that the first picture has something to show. One that says nothing is not waited for.
        let first = show.loops.iter_mut().map(|of| of.wait_for(Option::is_some));
        let _ = tokio::time::timeout(WORD, futures_util::future::join_all(first)).await;
        show
    }

    /// Goes on until the time is over, a key or a signal ends it, or nobody reads any more.
    ///
    /// # Errors
    /// The temporary folder is full, the terminal can't be written to, or the runtime can't be brought back.
    pub async fn run(
        &mut self,
        churn: &mut Churn,
        breakages: &mut Breakages,
        mut schedule: Schedule,
        stop: &mut StopSignals,
    ) -> Result<(), Failure> {
        let screen = Screen::open()?;
        let mut keys = if screen.has_keys() { Some(keys::read()?) } else { None };
        if !screen.is_in_place() {
            schedule.length.get_or_insert(USUAL);
        }
        let (mut life, mut pictures) =
            (every(STEP), every(if screen.is_in_place() { DRAWN } else { PRINTED }));
        let mut lived = Instant::now();
        loop {
            self.lasted = self.began.elapsed();
            let left = schedule.length.map(|length| length.saturating_sub(self.lasted));
            if left == Some(Duration::ZERO) {
                return Ok(());
            }
            tokio::select! {
                _ = stop.recv() => return Ok(()),
                _ = life.tick() => {
                    let passed = std::mem::replace(&mut lived, Instant::now()).elapsed();
                    churn.step(passed).map_err(Failure::failed)?;
                    schedule.follow(breakages, self.lasted)?;
                }
                event = next_event(&mut self.coming) => self.told.add(event),
                _ = pictures.tick() => {
                    let snapshot = self.snapshot(breakages, left, screen.has_keys());
                    if screen.draw(&view::text(&snapshot))? == Reader::Gone {
                        return Ok(());
                    }
                }
                key = next_key(&mut keys) => {
                    match key {
                        Key::Quit => return Ok(()),
                        Key::Toggle(what) => breakages.toggle(what).map_err(Failure::failed)?,
                        Key::Pause => {
                            self.paused = !self.paused;
                            for of in &self.handles {
                                of.pause(self.paused).await;
                            }
                        }
                    }
                    pictures.reset_immediately();
                }
            }
        }
    }

    fn snapshot(&mut self, breakages: &mut Breakages, left: Option<Duration>, keys: bool) -> Snapshot {
        Snapshot {
            now: self.demo.sim().now(),
            lasted: self.lasted,
            left,
            keys,
            broken: breakages.now(),
            runtime: self.runtime.borrow().clone(),
            node: self.demo.tally(),
            thresholds: self.thresholds,
            loops: self.known(),
            news: self.told.lines().cloned().collect(),
        }
    }

    fn known(&self) -> Vec<LoopState> {
        self.loops.iter().filter_map(|state| state.borrow().clone()).collect()
    }

    /// How long it lasted.
    #[must_use]
    pub fn lasted(&self) -> Duration {
        self.lasted
    }

    /// How the loops are in the end, and all that was told. To be asked before the service is stopped.
    pub async fn end(&mut self, service: &Service) -> (Vec<LoopState>, Told) {
        let states = futures_util::future::join_all(service.loops.iter().map(LoopHandle::state));
        let states = tokio::time::timeout(WORD, states).await.ok();
        let states = states.and_then(|states| states.into_iter().collect::<Option<Vec<_>>>());
        while let Some(event) = self.coming.as_mut().and_then(|coming| coming.try_recv().ok()) {
            self.told.add(event);
        }
        (states.unwrap_or_else(|| self.known()), std::mem::take(&mut self.told))
    }
}

/// Asks again and again, for as long as the answers are of use. The last answer stays until there is another.
fn asked<T: 'static>(ask: impl AsyncFn() -> Option<T> + 'static) -> watch::Receiver<Option<T>> {
    let (tell, told) = watch::channel(None);
    actix_rt::spawn(async move {
        while !tell.is_closed() {
            if let Some(answer) = ask().await {
                tell.send_replace(Some(answer));
            }
            tokio::time::sleep(ASKED).await;
        }
    });
    told
}

fn every(period: Duration) -> Interval {
    let mut ticks = interval(period);
    // What was missed while the terminal was held is not made up for.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// The next event; for ever where none will come.
async fn next_event(coming: &mut Option<broadcast::Receiver<Stamped>>) -> Stamped {
    while let Some(events) = coming {
        match events.recv().await {
            Ok(event) => return event,
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => *coming = None,
        }
    }
    std::future::pending().await
}

/// The next key; for ever where none will come.
async fn next_key(keys: &mut Option<UnboundedReceiver<Key>>) -> Key {
    if let Some(key) = match keys {
        Some(keys) => keys.recv().await,
        None => None,
    } {
        return key;
    }
    *keys = None;
    std::future::pending().await
}
