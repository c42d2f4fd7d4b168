//! `demo --watch`: the service on an embedded node where pods come and go, shown live, with things that can be broken.
//!
//! - `breakages`: what can be broken, and how. `events`: the events of the service. `view`: what is shown while it runs,
//!   [`summary`]: at the end. `keys`: which keys do what.
//! - here: the service is observed through its admin socket, as `cri-gc status` and `cri-gc events` do, while things happen
//!   on the node.
//!
//! None of the service's actors run on the thread that draws, so neither can block the other.

mod breakages;
mod events;
mod keys;
pub mod summary;
mod view;

use std::time::Duration;

use cri_gc_config::Settings;
use cri_gc_proto::admin::{Event, FollowRequest, PauseRequest, ResumeRequest, StatusResponse};
use cri_gc_service::admin::Groups;
use cri_gc_sim::SimError;
use tokio::sync::watch;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, timeout};
use tonic::Response;

use self::breakages::Breakages;
use self::events::EventLog;
use self::keys::KeyPress;
use self::summary::Summary;
use self::view::View;
use super::churn::Churn;
use super::node::DemoNode;
use crate::cli;
use crate::client::{Answers, Client};
use crate::failure::Failure;
use crate::output::Reader;
use crate::output::fit::Fit;
use crate::output::terminal::Terminal;
use crate::signals::StopSignals;
use crate::wiring::{Seams, Service};

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

/// How often something happens on the node.
const STEP: Duration = Duration::from_millis(300);

/// Size of the logs of a container.
const LOG_BYTES: u64 = 2_000;

/// The service on the embedded node, being watched.
pub struct LiveDemo<'a> {
    demo: &'a DemoNode,
    args: &'a cli::Demo,
    churn: Churn,
    breakages: Breakages,
    began: Instant,
    events: EventLog,
    /// The last answer of the service.
    status: StatusResponse,
}

impl<'a> LiveDemo<'a> {
    /// Puts pods on the node.
    ///
    /// # Errors
    /// The temporary folder is full.
    pub fn new(demo: &'a DemoNode, args: &'a cli::Demo) -> Result<Self, SimError> {
        Ok(Self {
            demo,
            args,
            churn: Churn::start(&demo.sim, LOG_BYTES)?,
            breakages: Breakages::new(demo),
            began: Instant::now(),
            events: EventLog::default(),
            status: StatusResponse::default(),
        })
    }

    /// The clocks and the disk of the node, as the service is to see them.
    #[must_use]
    pub fn seams(&self) -> Seams {
        Seams { own_clocks: self.breakages.clocks(self.demo), ..self.demo.seams() }
    }

    /// Shows the service until it is ended, then has its loops shut down.
    ///
    /// # Errors
    /// The temporary folder is full, the terminal can't be written to, or the operating system has no thread left.
    pub async fn run(
        &mut self,
        service: &Service,
        settings: &Settings,
        stop: &mut StopSignals,
    ) -> Result<(), Failure> {
        // It serves until it is dropped.
        let _admin = service.admin(settings, Groups::default()).map_err(Failure::failed)?;
        let client = Client::connect(&settings.admin.socket.to_string_lossy(), DEADLINE).await?;
        let mut events = client.follow(FollowRequest { recent: u32::MAX, filter: None }).await?;
        self.request_status(&client).await;
        let shown = self.until_ended(&client, &mut events, stop).await;
        // Whatever happened: a thread or a call that hangs would delay the end.
        self.breakages.fix_all().map_err(Failure::failed)?;
        tokio::select! {
            // Loops that do not shut down in time end with the process.
            _ = timeout(SHUTDOWN, service.finish()) => {}
            _ = stop.recv() => return shown,
        }
        self.request_status(&client).await;
        while let Ok(Ok(Some(event))) = timeout(PAUSE, events.next()).await {
            self.events.add(&event);
        }
        shown
    }

    /// What happened.
    #[must_use]
    pub fn summary(&self) -> Summary<'_> {
        Summary {
            lasted: self.began.elapsed(),
            loops: &self.status.loops,
            events: &self.events,
            broken: &self.breakages.ever,
            running: self.churn.running(),
            lost: &self.churn.lost,
        }
    }

    /// Requests the status once. If there is no answer in time, the last one is kept.
    async fn request_status(&mut self, client: &Client) {
        if let Ok(status) = client.status().await {
            self.status = status;
        }
    }

    /// Runs until the time is over, a key or a signal ends it, or the output is closed.
    async fn until_ended(
        &mut self,
        client: &Client,
        events: &mut Answers<Event>,
        stop: &mut StopSignals,
    ) -> Result<(), Failure> {
        let mut terminal = Terminal::open(KeyPress::parse)?;
        let length = self.args.length.or((!terminal.in_place).then_some(USUAL_LENGTH));
        let mut status = polled(client.clone());
        let (mut steps, mut pictures) = (every(STEP), every(if terminal.in_place { DRAWN } else { PRINTED }));
        let (mut last_step, mut are_broken, mut is_paused) = (Instant::now(), false, false);
        loop {
            let lasted = self.began.elapsed();
            let left = length.map(|length| length.saturating_sub(lasted));
            if left == Some(Duration::ZERO) {
                return Ok(());
            }
            tokio::select! {
                _ = stop.recv() => return Ok(()),
                _ = steps.tick() => {
                    let passed = std::mem::replace(&mut last_step, Instant::now()).elapsed();
                    self.churn.step(passed).map_err(Failure::failed)?;
                    let third = length.unwrap_or(USUAL_LENGTH) / 3;
                    let are_due = (third..third * 2).contains(&lasted);
                    if are_due != are_broken {
                        are_broken = are_due;
                        let mut breaks = self.args.breaks.iter();
                        breaks.try_for_each(|what| self.breakages.set(*what, are_due)).map_err(Failure::failed)?;
                    }
                }
                event = events.next() => match event? {
                    Some(event) => self.events.add(&event),
                    None => return Err(events.cut_short("no more events").into()),
                },
                Ok(()) = status.changed() => self.status = status.borrow_and_update().clone(),
                _ = pictures.tick() => {
                    let view = View {
                        lasted,
                        left,
                        keys: terminal.keys.is_some(),
                        broken: self.breakages.now(),
                        status: &self.status,
                        events: &self.events,
                    };
                    if terminal.draw(&view.text(Fit::of_stdout()))? == Reader::Gone {
                        return Ok(());
                    }
                }
                key = terminal.next_key() => {
                    match key {
                        KeyPress::Quit => return Ok(()),
                        KeyPress::Toggle(what) => self.breakages.toggle(what).map_err(Failure::failed)?,
                        KeyPress::Pause => {
                            is_paused = !is_paused;
                            let client = client.clone();
                            // The next status shows it; nothing waits for it: a loop that hangs delays the answer.
                            actix_rt::spawn(async move {
                                client
                                    .ask(async |admin| {
                                        if is_paused {
                                            admin.pause(PauseRequest::default()).await.map(drop)
                                        } else {
                                            admin.resume(ResumeRequest::default()).await.map(drop)
                                        }
                                        .map(Response::new)
                                    })
                                    .await
                            });
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
