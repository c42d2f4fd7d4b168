//! `demo --watch`: the service on an embedded node where pods come and go, shown live, with things that can be broken.
//!
//! - `churn`: the pods and images that come and go. `breakages`: what can be broken, and how; `trap`: in the clock of a loop.
//! - `news`: the events of the service. `view`: what is shown while it runs, `summary`: at the end. `terminal`: where it is
//!   drawn, and the keys. [`panics`]: panics that nothing caught.
//! - here: the service is started, observed through its admin socket as `cri-gc status` and `cri-gc events` do, and ended in
//!   such a way that neither a thread nor a changed terminal is left behind.
//!
//! None of the service's actors run on the thread that draws, so neither can block the other.

mod breakages;
mod churn;
mod news;
pub mod panics;
mod summary;
mod terminal;
mod trap;
mod view;

use std::sync::Arc;
use std::time::Duration;

use cri_gc_actors::configuration::Generation;
use cri_gc_actors::image_records::Home;
use cri_gc_actors::seams::LogThreshold;
use cri_gc_actors::supervision::threads::Threads;
use cri_gc_config::{Loaded, LogLevel, Settings, Sources};
use cri_gc_proto::admin::{Event, StatusResponse};
use slog::Logger;
use tokio::sync::watch;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, timeout};

use self::breakages::Breakages;
use self::churn::{Churn, STEP};
use self::news::News;
use self::panics::UncaughtPanics;
use self::summary::Summary;
use self::terminal::{Key, Terminal};
use self::view::View;
use super::node::Demo;
use crate::cli::demo::Breakage;
use crate::client::{Client, Told};
use crate::failure::Failure;
use crate::output::{Reader, print};
use crate::signals::StopSignals;
use crate::wiring::{STAGGER, Seams, Service, Start};

/// Settings under which everything happens within seconds; `--set` overrides them.
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

/// How often the view is drawn on a terminal, and how often it is printed elsewhere.
const DRAWN: Duration = Duration::from_secs(1);
const PRINTED: Duration = Duration::from_secs(2);

/// The pause between two requests for the status of the service, and how long any of its answers may take: it observes the
/// node for a status.
const PAUSE: Duration = Duration::from_millis(300);
const DEADLINE: Duration = Duration::from_secs(5);

/// How long it runs where no key can end it, and the time of which breakages take the middle third if it runs without end.
const USUAL_LENGTH: Duration = Duration::from_secs(30);

/// How long the loops may take to shut down once nothing is broken any more.
const SHUTDOWN: Duration = Duration::from_secs(15);

/// What is watched.
pub struct Watch<'a> {
    /// The node.
    pub demo: &'a Demo,
    /// The settings of the service.
    pub loaded: Loaded,
    /// Where they come from.
    pub sources: Sources,
    /// What settings may request that this program cannot do.
    pub cannot: fn(&Settings) -> Option<String>,
    /// What is broken in the middle third of the time.
    pub breaks: &'a [Breakage],
    /// How long it runs; `None`: until a key or a signal ends it.
    pub length: Option<Duration>,
    /// The log of the service.
    pub log: Logger,
    /// The part of the log that keeps panics.
    pub uncaught: UncaughtPanics,
}

impl Watch<'_> {
    /// Runs the service, shows it, and prints a summary. Returns whether nothing failed that was not broken on purpose.
    ///
    /// # Errors
    /// The temporary folder is full, the terminal can't be written to, or the operating system has no thread left.
    pub async fn run(self, stop: &mut StopSignals) -> Result<bool, Failure> {
        let mut breakages = Breakages::new(self.demo);
        let mut churn = Churn::start(&self.demo.sim).map_err(Failure::failed)?;
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
        let mut show = Show {
            demo: self.demo,
            settings: &generation.settings,
            breaks: self.breaks,
            length: self.length,
            began: Instant::now(),
            news: News::default(),
            status: StatusResponse::default(),
        };
        let shown = show.run(&service, &mut churn, &mut breakages, stop).await;
        service.stop();
        shown?;
        let summary = Summary {
            lasted: show.began.elapsed(),
            loops: &show.status.loops,
            news: &show.news,
            broken: &breakages.ever(),
            running: churn.running(),
            lost: churn.lost(),
            uncaught: self.uncaught.count(),
        };
        print(&summary.text())?;
        Ok(summary.surprises().is_empty())
    }
}

/// What is shown while the service runs.
struct Show<'a> {
    demo: &'a Demo,
    settings: &'a Settings,
    breaks: &'a [Breakage],
    length: Option<Duration>,
    began: Instant,
    news: News,
    /// The last answer of the service.
    status: StatusResponse,
}

impl Show<'_> {
    /// Shows the service until it is ended, then has its loops shut down.
    async fn run(
        &mut self,
        service: &Service,
        churn: &mut Churn,
        breakages: &mut Breakages,
        stop: &mut StopSignals,
    ) -> Result<(), Failure> {
        // It serves until it is dropped.
        let _admin = service.admin(self.settings, None).map_err(Failure::failed)?;
        let client = Client::connect(&self.settings.admin.socket.to_string_lossy(), DEADLINE).await?;
        let mut events = client.follow(u32::MAX).await?;
        self.request_status(&client).await;
        let shown = self.until_ended(&client, &mut events, churn, breakages, stop).await;
        // Whatever happened: a thread or a call that hangs would delay the end.
        breakages.fix_all().map_err(Failure::failed)?;
        tokio::select! {
            // Loops that do not shut down in time end with the process.
            _ = timeout(SHUTDOWN, service.finish()) => {}
            _ = stop.recv() => return shown,
        }
        self.request_status(&client).await;
        while let Ok(Ok(Some(event))) = timeout(PAUSE, events.next()).await {
            self.news.add(event);
        }
        shown
    }

    /// The first answer and the last. Where none comes in time, the one before counts.
    async fn request_status(&mut self, client: &Client) {
        if let Ok(status) = client.status().await {
            self.status = status;
        }
    }

    /// Goes on until the time is over, a key or a signal ends it, or the output is closed.
    async fn until_ended(
        &mut self,
        client: &Client,
        events: &mut Told<Event>,
        churn: &mut Churn,
        breakages: &mut Breakages,
        stop: &mut StopSignals,
    ) -> Result<(), Failure> {
        let mut terminal = Terminal::open()?;
        if !terminal.is_in_place() {
            self.length.get_or_insert(USUAL_LENGTH);
        }
        let mut status = polled(client.clone());
        let (mut steps, mut pictures) =
            (every(STEP), every(if terminal.is_in_place() { DRAWN } else { PRINTED }));
        let (mut last_step, mut are_broken, mut is_paused) = (Instant::now(), false, false);
        loop {
            let lasted = self.began.elapsed();
            let left = self.length.map(|length| length.saturating_sub(lasted));
            if left == Some(Duration::ZERO) {
                return Ok(());
            }
            tokio::select! {
                _ = stop.recv() => return Ok(()),
                _ = steps.tick() => {
                    let passed = std::mem::replace(&mut last_step, Instant::now()).elapsed();
                    churn.step(passed).map_err(Failure::failed)?;
                    let third = self.length.unwrap_or(USUAL_LENGTH) / 3;
                    let are_due = (third..third * 2).contains(&lasted);
                    if are_due != are_broken {
                        are_broken = are_due;
                        breakages.set_all(self.breaks, are_due).map_err(Failure::failed)?;
                    }
                }
                event = events.next() => match event? {
                    Some(event) => self.news.add(event),
                    None => return Err(events.cut_short("no more events").into()),
                },
                Ok(()) = status.changed() => self.status = status.borrow_and_update().clone(),
                _ = pictures.tick() => {
                    let images = &self.settings.image_gc;
                    let view = View {
                        lasted,
                        left,
                        keys: terminal.has_keys(),
                        broken: breakages.now(),
                        node: self.demo.tally(),
                        thresholds: (images.high_threshold_percent, images.low_threshold_percent),
                        status: &self.status,
                        news: &self.news,
                    };
                    if terminal.draw(&view.text())? == Reader::Gone {
                        return Ok(());
                    }
                }
                key = terminal.next_key() => {
                    match key {
                        Key::Quit => return Ok(()),
                        Key::Toggle(what) => breakages.toggle(what).map_err(Failure::failed)?,
                        Key::Pause => {
                            is_paused = !is_paused;
                            if is_paused {
                                client.pause(Vec::new()).await?;
                            } else {
                                client.resume(Vec::new()).await?;
                            }
                        }
                    }
                    pictures.reset_immediately();
                }
            }
        }
    }
}

/// The status of the service, requested again and again until what is returned is dropped. An answer that fails is left out.
fn polled(client: Client) -> watch::Receiver<StatusResponse> {
    let (answers, status) = watch::channel(StatusResponse::default());
    actix_rt::spawn(async move {
        while !answers.is_closed() {
            if let Ok(answer) = client.status().await {
                answers.send_replace(answer);
            }
            tokio::time::sleep(PAUSE).await;
        }
    });
    status
}

fn every(period: Duration) -> Interval {
    let mut ticks = interval(period);
    // Ticks that were missed while the terminal was stopped are not made up for.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
