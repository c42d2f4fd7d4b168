//! Which actors run on which threads, in a one-shot command ([`Crew`]) and in the service ([`Service`]): the gateway and the
//! pod-state provider on one thread each, every collector on one of its own with file workers of its own, so that none can
//! hold up another.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use actix::{Addr, ArbiterHandle, Recipient};
use cri_gc_collectors::collector::messages::{Finish, Prepare, RunPass};
use cri_gc_collectors::collector::{Base, Collect, Collector, LoopHandle, Schedule, Supervisor};
use cri_gc_collectors::container_gc::ContainerGc;
use cri_gc_collectors::image_gc::ImageGc;
use cri_gc_collectors::log_reaper::LogReaper;
use cri_gc_collectors::sandbox_reaper::SandboxReaper;
use cri_gc_collectors::tools::Tools;
use cri_gc_config::{Settings, Sources};
use cri_gc_files::socket::SocketError;
use cri_gc_gateway::{Connect, CriError, ErrorClass, Gateway, RuntimeVersion, Waits};
use cri_gc_images::{Home, ImageRecords};
use cri_gc_kit::generation::Generation;
use cri_gc_kit::recorder::Recorder;
use cri_gc_kit::seams::{Chance, Clock, FsProbe, LogThreshold};
use cri_gc_kit::supervision::guard::{Pace, log_restart};
use cri_gc_kit::supervision::threads::{Lease, Threads};
use cri_gc_kit::words::Loop;
use cri_gc_kit::workers::Workers;
use cri_gc_pods::{Configure, PodStates};
use cri_gc_service::admin::{Admin, Groups, Subjects};
use cri_gc_service::configuration::{Configuration, Reading};
use cri_gc_service::history::{History, HistoryError};
use cri_gc_service::metrics::{self, ListenError};
use cri_gc_service::pauses;
use jiff::Timestamp;
use slog::Logger;

/// What differs between a real node and a modelled one.
#[derive(Clone)]
pub struct Seams {
    /// The clock.
    pub clock: Clock,
    /// The clocks of loops that have one of their own: a clock that panics, or never answers, breaks its loop.
    pub own_clocks: Vec<(Loop, Clock)>,
    /// The file-system probe.
    pub probe: FsProbe,
    /// What spreads the periods.
    pub chance: Chance,
    /// How the runtime is connected to.
    pub connect: Connect,
    /// Starts file workers, so many threads.
    pub workers: fn(usize) -> io::Result<Workers>,
}

impl Seams {
    /// Those of this machine.
    #[must_use]
    pub fn system() -> Self {
        let chance = Chance::new(fastrand::f64);
        let (clock, probe) = (Clock::system(), FsProbe::system());
        Self {
            clock,
            own_clocks: Vec::new(),
            probe,
            chance,
            connect: Connect::Socket,
            workers: Workers::start,
        }
    }

    fn clock_of(&self, of: Loop) -> Clock {
        let own = self.own_clocks.iter().find(|(known, _)| *known == of);
        own.map_or(&self.clock, |(_, clock)| clock).clone()
    }
}

/// The actors that all loops share, running; files are those of one worker.
fn shared(
    configure: Configure,
    seams: &Seams,
    home: Home,
    threads: &Threads,
    keeping: &ArbiterHandle,
    recorder: Recorder,
    log: Logger,
) -> io::Result<Tools> {
    let settings = Arc::clone(&configure.settings);
    let (on, clock) = (threads.start().handle, seams.clock.clone());
    let waits = configure.service.then(|| Waits {
        clock: clock.clone(),
        recorder: recorder.clone(),
        endpoint: settings.runtime.endpoint.as_str().to_owned(),
    });
    let gateway = Gateway::start(&on, &settings, seams.connect.clone(), waits, log.clone());
    let (on, source) = (threads.start().handle, (seams.workers)(1)?);
    let pods = PodStates::start(&on, gateway.clone(), source, clock.clone(), configure, log.clone());
    let restart = (Pace::from(&*settings), log_restart(log.clone(), "image records", None));
    let store = (seams.workers)(1)?;
    let images = ImageRecords::start(keeping, restart, home, store, clock.clone(), log.clone());
    let (files, disks, probe) = ((seams.workers)(1)?, (seams.workers)(1)?, seams.probe.clone());
    Ok(Tools { gateway, pods, images, files, disks, clock, probe, recorder, log })
}

/// All actors of a one-shot command, running.
pub struct Crew {
    /// What they share.
    pub tools: Tools,
    /// The settings they follow.
    pub settings: Arc<Settings>,
    /// The four loops, in the order of the chain: they make passes on request only.
    pub loops: [OnRequest; 4],
    /// What is to be done some time before the passes.
    pub prepare: Recipient<Prepare>,
    /// The history of events on disk; `None` for a command that writes nothing there.
    history: Option<History>,
    threads: Threads,
}

/// A loop of a one-shot command.
pub struct OnRequest {
    /// Makes a pass.
    pub run: Recipient<RunPass>,
    finish: Recipient<Finish>,
}

impl OnRequest {
    fn new<C: Collect>(collector: Addr<Collector<C>>) -> Self {
        Self { run: collector.clone().recipient(), finish: collector.recipient() }
    }
}

/// How soon after its start the service makes its first pass.
const FIRST_PASS: Duration = Duration::from_secs(1);

/// By how much the first passes of the loops follow each other, so that not all four hold their lists of the node at the
/// same time.
pub const STAGGER: Duration = Duration::from_secs(1);

/// How long a runtime may take to answer that, before a one-shot command gives up.
const HELLO: Duration = Duration::from_secs(10);

impl Crew {
    /// Starts all actors for a one-shot command. Nothing is connected or read yet. Must be called in an actix system.
    ///
    /// # Errors
    /// The operating system has no thread left.
    pub fn start(
        settings: Arc<Settings>,
        seams: Seams,
        home: Home,
        confirmed: bool,
        log: Logger,
    ) -> io::Result<Self> {
        let threads = Threads::own();
        let configure = Configure { settings: Arc::clone(&settings), confirmed, service: false };
        let (keeping, clock) = (threads.start().handle, seams.clock.clone());
        // What writes into the store of image records holds the lock of its directory, which is that of the history too.
        let (history, recorder) = if matches!(home, Home::Store(..)) {
            let most = u64::try_from(settings.state.history_max_events).unwrap_or(0);
            let (history, line) = History::start(&settings.state.dir, most, clock.clone(), log.clone())?;
            let restart = (Pace::from(&*settings), log_restart(log.clone(), "recorder", None));
            (Some(history), Recorder::start(&keeping, restart, line, clock))
        } else {
            (None, Recorder::none(clock))
        };
        let mut tools = shared(configure, &seams, home, &threads, &keeping, recorder, log)?;
        tools.files = (seams.workers)(settings.log_gc.workers.into())?;
        let on = || threads.start().handle;
        let (shared, same) = (|| tools.clone(), || Arc::clone(&settings));
        let log_reaper = Collector::start(&on(), shared(), same(), LogReaper::default);
        let prepare = log_reaper.clone().recipient();
        let loops = [
            OnRequest::new(Collector::start(&on(), shared(), same(), ContainerGc::default)),
            OnRequest::new(Collector::start(&on(), shared(), same(), SandboxReaper::default)),
            OnRequest::new(log_reaper),
            OnRequest::new(Collector::start(&on(), shared(), same(), ImageGc::default)),
        ];
        Ok(Self { tools, settings, loops, prepare, history, threads })
    }

    /// Asks the runtime for its version: a one-shot command does nothing where none answers.
    ///
    /// # Errors
    /// No server answers on the socket, or not as a CRI runtime does.
    pub async fn hello(&self) -> Result<RuntimeVersion, CriError> {
        let hello = self.tools.gateway.version();
        let version = match tokio::time::timeout(HELLO, hello).await {
            Ok(version) => version?,
            Err(_) => return Err(CriError::deadline("Version", HELLO)),
        };
        if version.name.is_empty() {
            // Something answered, but not what a runtime has to.
            return Err(CriError {
                class: ErrorClass::Failed,
                message: "the runtime answered Version without a name".to_owned(),
                ..CriError::deadline("Version", HELLO)
            });
        }
        Ok(version)
    }

    /// Stops the collectors: no removal and no pass begins any more. Passes in progress end after their current removals.
    pub fn halt(&self) {
        self.loops.iter().for_each(|of| of.finish.do_send(Finish));
    }

    /// Ends once all events are in the history on disk, or it is known that they are not: then it returns false.
    pub async fn flush_history(&self) -> bool {
        let Some(history) = &self.history else { return true };
        let flush = history.flush(&self.tools.recorder);
        matches!(tokio::time::timeout(FLUSHED_WITHIN, flush).await, Ok(Ok(()) | Err(HistoryError::Off)))
    }

    /// Ends all actors and waits for their threads.
    pub fn stop(self) {
        self.threads.stop();
    }
}

/// What the service is started with.
pub struct Start {
    /// The first generation of settings.
    pub generation: Arc<Generation>,
    /// Where the next ones come from.
    pub sources: Sources,
    /// What settings may ask for that this program cannot do.
    pub cannot: fn(&Settings) -> Option<String>,
    /// The machine, or what stands for it.
    pub seams: Seams,
    /// Where image records are kept.
    pub home: Home,
    /// Where the actors run.
    pub threads: Threads,
    /// By how much the first passes of the loops follow each other.
    pub stagger: Duration,
    /// The level from which on is logged.
    pub threshold: LogThreshold,
    /// Where to log.
    pub log: Logger,
}

/// How long a stop waits for the history: a disk that hangs keeps no service and no sweep.
const FLUSHED_WITHIN: Duration = Duration::from_secs(10);

/// Settings that are read once, at the start.
const AT_START: &[&str] = &[
    "node_name",
    "runtime.endpoint",
    "runtime.image_endpoint",
    "log_gc.workers",
    "log.format",
    "supervision.",
    "admin.",
    "metrics.",
    "state.",
];

/// All actors of the service, running: the loops make passes by themselves, each wakes the next of the chain, and one that
/// panics or hangs is restarted.
pub struct Service {
    /// The gateway to the runtime, the pod states, the image records, the recorder of events, and file workers for requests.
    pub tools: Tools,
    /// The four loops, in the order of the chain.
    pub loops: [LoopHandle; 4],
    /// The settings in force.
    pub configuration: Configuration,
    /// The history of events on disk.
    pub history: History,
    /// The level from which on is logged.
    pub threshold: LogThreshold,
    started_at: Timestamp,
    state_dir: PathBuf,
    unread_pauses: Option<String>,
    threads: Threads,
}

impl Service {
    /// Starts all of them. Must be called in an actix system.
    ///
    /// # Errors
    /// The operating system has no thread left.
    pub fn start(start: Start) -> io::Result<Self> {
        let Start { generation, sources, cannot, seams, home, threads, stagger, threshold, log } = start;
        let settings = &*generation.settings;
        let (clock, pace) = (seams.clock.clone(), Pace::from(settings));
        let restart = |who| (pace.clone(), log_restart(log.clone(), who, None));
        // Nothing on this thread ever waits for long: the supervisors, the recorder, the image records, the configuration.
        let keeping = threads.start().handle;
        let state = &settings.state;
        let most = u64::try_from(state.history_max_events).unwrap_or(0);
        let (history, line) = History::start(&state.dir, most, clock.clone(), log.clone())?;
        let recorder = Recorder::start(&keeping, restart("recorder"), line, clock.clone());
        let configure =
            Configure { settings: Arc::clone(&generation.settings), confirmed: false, service: true };
        let tools = shared(configure, &seams, home, &threads, &keeping, recorder.clone(), log.clone())?;
        let (paused, unread_pauses) = pauses::at_start(&state.dir, clock.now(), &log);
        let of = |of: Loop, workers: usize| -> io::Result<(Base, Tools)> {
            let place = Loop::ALL.into_iter().take_while(|other| *other != of).map(|_| stagger);
            // The loop before one in the chain wakes it; by itself it begins only should that one not.
            let waits = match of {
                Loop::SandboxGc | Loop::LogGc => of.settings(settings).period,
                Loop::ContainerGc | Loop::ImageGc => Duration::ZERO,
            };
            let base = Base {
                on: keeping.clone(),
                threads: threads.clone(),
                generation: Arc::clone(&generation),
                schedule: Schedule {
                    first: FIRST_PASS.saturating_add(waits).saturating_add(place.sum()),
                    chance: seams.chance.clone(),
                },
                paused: paused.iter().find(|(known, _)| *known == of).map(|(_, paused)| *paused),
                clock: clock.clone(),
                standing: Lease::default(),
            };
            let own = ((seams.workers)(workers)?, seams.clock_of(of));
            Ok((base, Tools { files: own.0, clock: own.1, ..tools.clone() }))
        };
        // The chain: container pass, sandbox pass, log pass. Built from its end.
        let (base, own) = of(Loop::LogGc, settings.log_gc.workers.into())?;
        let log_reaper = Supervisor::start(base, own, Vec::new(), LogReaper::default);
        let (base, own) = of(Loop::SandboxGc, 1)?;
        let sandboxes = base.standing.clone();
        let next = vec![log_reaper.clone().recipient()];
        let sandbox_reaper = Supervisor::start(base, own, next, SandboxReaper::default);
        let (base, own) = of(Loop::ContainerGc, 1)?;
        let next = vec![sandbox_reaper.clone().recipient()];
        let container_gc = Supervisor::start(base, own, next, move || ContainerGc::new(sandboxes.clone()));
        let (base, own) = of(Loop::ImageGc, 1)?;
        let image_gc = Supervisor::start(base, own, Vec::new(), ImageGc::default);
        let loops = [
            LoopHandle::new(&container_gc),
            LoopHandle::new(&sandbox_reaper),
            LoopHandle::new(&log_reaper),
            LoopHandle::new(&image_gc),
        ];
        let followers =
            loops.iter().map(LoopHandle::follower).chain([tools.gateway.follower(), tools.pods.follower()]);
        #[cfg(feature = "kubernetes")]
        let followers = followers.chain([{
            use cri_gc_service::node_events::{Means, start};
            let means = Means { recorder: recorder.clone(), clock: clock.clone(), log: log.clone() };
            start(&keeping, restart("node events"), Arc::clone(&generation.settings), means)
        }]);
        // Workers of its own: neither the pod source nor the configuration may hang with the other's disk.
        let reading = Reading { sources, cannot, files: (seams.workers)(1)?, at_start: AT_START };
        let configuration = Configuration::start(
            &keeping,
            restart("configuration"),
            Arc::clone(&generation),
            reading,
            followers.collect(),
            threshold.clone(),
            (clock.clone(), recorder, log.clone()),
        );
        let (started_at, state_dir) = (tools.clock.now(), settings.state.dir.clone());
        Ok(Self {
            tools,
            loops,
            configuration,
            history,
            threshold,
            started_at,
            state_dir,
            unread_pauses,
            threads,
        })
    }

    /// Whether the actors answer that everything depends on.
    pub async fn is_alive(&self) -> bool {
        self.subjects().is_alive().await
    }

    fn subjects(&self) -> Subjects {
        Subjects {
            tools: self.tools.clone(),
            loops: self.loops.clone(),
            configuration: self.configuration.clone(),
            history: self.history.clone(),
            state_dir: self.state_dir.clone(),
            unread_pauses: self.unread_pauses.clone(),
            threshold: self.threshold.clone(),
            version: env!("CARGO_PKG_VERSION"),
            started_at: self.started_at,
        }
    }

    /// Serves the admin API on the socket of the settings.
    ///
    /// # Errors
    /// The socket can't be made, or a live process has it.
    pub fn admin(&self, settings: &Settings, groups: Groups) -> Result<Admin, SocketError> {
        let path = settings.admin.socket.clone();
        Admin::start(&self.threads.start().handle, Pace::from(settings), path, groups, self.subjects())
    }

    /// Serves metrics and probes, if the settings name an address. Returns the one that is listened on.
    ///
    /// # Errors
    /// The address can't be listened on.
    pub fn metrics(&self, settings: &Settings) -> Result<Option<SocketAddr>, ListenError> {
        let Some(listen) = settings.metrics.listen.as_deref() else { return Ok(None) };
        // A thread of its own: a plan of a full node keeps the admin thread busy for longer than a probe waits.
        metrics::start(listen, || self.threads.start().handle, self.subjects()).map(Some)
    }

    /// Shuts down all loops: no removal begins any more, and those in progress end. Their image records and events are on
    /// the disk then, unless the disk fails.
    pub async fn finish(&self) {
        futures_util::future::join_all(self.loops.iter().map(LoopHandle::finish)).await;
        // The history has logged why it can't.
        let flush = self.history.flush(&self.tools.recorder);
        let history = async { drop(tokio::time::timeout(FLUSHED_WITHIN, flush).await) };
        futures_util::join!(self.tools.images.flush(), history);
    }

    /// Ends all actors and waits for their threads.
    pub fn stop(self) {
        self.threads.stop();
    }
}
