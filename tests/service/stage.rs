//! A node, the service on it, and the service's time.
//!
//! tokio runs paused time on by itself once a runtime has nothing to do, and a runtime that waits for a socket has nothing
//! to do: deadlines would fall due while an answer is on its way. So time is paused, and moves by [`Stage::step`] only, each
//! time until everything is idle: no pass is in progress but one that waits for an ordered fault.

use std::cell::RefCell;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use cri_gc::wiring::{Seams, Service, Start};
use cri_gc_collectors::collector::Paused;
use cri_gc_collectors::collector::{Doing, LoopHandle, LoopState};
use cri_gc_config::{FileSource, LogLevel, PodSource, Settings, Sources, load};
use cri_gc_images::Home;
use cri_gc_kit::generation::Generation;
use cri_gc_kit::recorder::{Event, EventKind};
use cri_gc_kit::seams::{Chance, Clock, FsProbe, LogThreshold};
use cri_gc_kit::supervision::threads::Threads;
use cri_gc_kit::words::Loop;
pub use cri_gc_sim::uid;
use cri_gc_sim::{ContainerSpec, Fault, ImageSpec, Method, PodSpec, Scope, Sim};
use cri_gc_test_support::flavours::options;
use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use slog::{Drain, Logger, o};

use crate::lines::Lines;

pub const SECOND: Duration = Duration::from_secs(1);
pub const PERIOD: Duration = Duration::from_secs(60);
pub const HOUR: Duration = Duration::from_secs(60 * 60);
pub const MIB: u64 = 1 << 20;

/// A pause until it is resumed.
pub const PAUSED: Option<Paused> = Some(Paused { since: Timestamp::UNIX_EPOCH, until: None });

/// Steps by which a period passes. Every deadline of these tests is a multiple of it, so that none is overshot.
pub const STEP: Duration = Duration::from_secs(20);

/// A timer of tokio may be this much late, for it counts whole milliseconds: without it what is due now would be due in the
/// next step.
const LATE: Duration = Duration::from_millis(1);

/// How long a test waits, in real time, for what has to happen on a machine however busy.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A node, and how the service on it is to be started.
pub struct Setup {
    pub sim: Sim,
    pub seams: Seams,
    pub sources: Sources,
    pub home: Home,
    pub threads: Threads,
    /// What settings may request that this program cannot do.
    pub cannot: fn(&Settings) -> Option<String>,
    folder: Arc<tempfile::TempDir>,
}

impl Setup {
    /// A node of the flavour that the test is about.
    pub fn new() -> Self {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let sim = Sim::start(folder.path(), options()).unwrap();
        let (clock, probe) = (clock_of(&sim), sim.fs_probe());
        let probe = FsProbe::new(move |path| probe(path));
        let seams = Seams { clock, probe, chance: Chance::none(), ..Seams::system() };
        let paths = sim.paths();
        let overrides = [
            ("runtime.endpoint", sim.endpoint()),
            ("pods.kubelet_root", paths.root.join("kubelet").display().to_string()),
            ("log_gc.pod_logs_root", paths.pod_logs_root.display().to_string()),
            ("log_gc.legacy_container_logs_root", paths.legacy_root.display().to_string()),
            ("state.dir", folder.path().join("state").display().to_string()),
            ("runtime.request_timeout", "20s".to_owned()),
            // The modelled disk frees space at once.
            ("image_gc.settle", "0s".to_owned()),
        ];
        let overrides = overrides.map(|(key, value)| (key.to_owned(), value)).into();
        let sources = Sources { file: FileSource::None, env: Vec::new(), overrides };
        let this = Self { sim, seams, sources, home: Home::Memory, threads: Threads::here(), cannot, folder };
        this.set("image_gc.period", "60s").set("image_gc.min_age", "0s").set("image_gc.pressure_poll", "0s")
    }

    /// The same node, for one more service on it after another has ended.
    pub fn again(&self) -> Self {
        let Self { sim, seams, sources, home, cannot, folder, .. } = self;
        let (sim, seams, sources, home) = (sim.clone(), seams.clone(), sources.clone(), home.clone());
        Self {
            sim,
            seams,
            sources,
            home,
            threads: Threads::here(),
            cannot: *cannot,
            folder: Arc::clone(folder),
        }
    }

    /// A setting that no reload changes.
    pub fn set(mut self, key: &str, value: &str) -> Self {
        self.sources.overrides.push((key.to_owned(), value.to_owned()));
        self
    }

    /// The configuration file, with this `text`.
    pub fn file(&mut self, text: &str) -> PathBuf {
        let path = self.folder.path().join("config.toml");
        std::fs::write(&path, text).unwrap();
        self.sources.file = FileSource::Explicit(path.clone());
        path
    }

    // ---- What lies on the node ----

    /// A pod whose sandbox is ready, made an hour ago.
    pub fn living_pod(&self, number: usize) -> String {
        self.sim.add_pod(pod(number).created_at(self.sim.ago(HOUR))).unwrap()
    }

    /// A container that ended half an hour ago, with no log; a larger attempt is a newer one.
    pub fn ended(&self, sandbox: &str, attempt: u32) -> String {
        let made = self.sim.ago(HOUR - attempt * SECOND);
        let spec = ContainerSpec::new(sandbox, "app").attempt(attempt).exited(made, made + HOUR / 2);
        self.sim.add_container(spec.no_log()).unwrap()
    }

    /// A sandbox of a living pod that a newer one has replaced.
    pub fn replaced_sandbox(&self, number: usize) -> String {
        self.replaced(|| pod(number))
    }

    /// The same without the labels of a kubelet.
    pub fn replaced_sandbox_without_labels(&self, number: usize) -> String {
        self.replaced(|| pod(number).with(|pod| pod.kubelet_labels = false))
    }

    fn replaced(&self, pod: impl Fn() -> PodSpec) -> String {
        let made = self.sim.ago(2 * HOUR);
        let old = self.sim.add_pod(pod().created_at(made).not_ready()).unwrap();
        self.sim.add_pod(pod().attempt(1).created_at(self.sim.ago(HOUR))).unwrap();
        old
    }

    /// An image that nothing uses.
    pub fn image(&self, tag: &str, mib: u64) -> String {
        self.sim.add_image(ImageSpec::single(tag, mib * MIB / 3, mib * MIB - mib * MIB / 3))
    }

    // ---- The service ----

    /// Starts the service, a second before its first passes. Its time stands still.
    pub async fn start(self) -> Stage {
        tokio::time::pause();
        let stage = self.start_in(Some(Held::new()));
        stage
            .until("the runtime is asked", async || stage.service.tools.gateway.runtime().await?.reachable)
            .await;
        stage.settle().await;
        stage
    }

    /// Starts it in the time that is.
    pub fn start_in(self, held: Option<Held>) -> Stage {
        let Self { sim, seams, sources, home, threads, cannot, folder } = self;
        let lines = Lines::default();
        let generation = Generation::first(load(&sources).unwrap(), sim.now());
        let service = Service::start(Start {
            generation,
            sources,
            cannot,
            seams,
            home,
            threads,
            stagger: Duration::ZERO,
            threshold: LogThreshold::new(LogLevel::Info),
            log: Logger::root(lines.clone().fuse(), o!()),
        });
        let (service, after_step, hangs) = (service.unwrap(), RefCell::default(), RefCell::default());
        Stage { service, sim, lines, after_step, hangs, _held: held, _folder: folder }
    }
}

fn cannot(settings: &Settings) -> Option<String> {
    (settings.pods.source == PodSource::KubeApi).then(|| "pods.source is not in this program".to_owned())
}

/// The modelled clock of a node, as the service sees it.
pub fn clock_of(sim: &Sim) -> Clock {
    let (wall, boot) = (sim.clock(), sim.clone());
    Clock::with_boot(move || wall(), move || SignedDuration::try_from(boot.uptime()).unwrap())
}

/// A pod as these tests make them, with no log directory.
pub fn pod(number: usize) -> PodSpec {
    PodSpec::new("ns", format!("pod-{number}"), uid(number)).with(|pod| pod.log_directory = false)
}

/// Keeps paused time where it is: tokio does not run it on while a blocking task is in progress, and this one is until the
/// end of the test.
pub struct Held {
    _until: mpsc::Sender<()>,
}

impl Held {
    pub fn new() -> Self {
        let (until, end) = mpsc::channel::<()>();
        tokio::task::spawn_blocking(move || {
            let _ = end.recv();
        });
        Self { _until: until }
    }
}

/// The service, running.
pub struct Stage {
    pub service: Service,
    pub sim: Sim,
    pub lines: Lines,
    /// Done at the end of each step.
    pub after_step: RefCell<Option<Box<dyn FnMut()>>>,
    hangs: RefCell<Vec<Hang>>,
    _held: Option<Held>,
    // Dropped last: the node's files.
    _folder: Arc<tempfile::TempDir>,
}

/// Something that hangs in each pass of a loop, once.
struct Hang {
    of: Loop,
    /// How often it has begun.
    count: Box<dyn Fn() -> usize>,
    /// How long the loop waits for it.
    limit: Duration,
    /// How often it hangs.
    times: usize,
    /// The count and the passes before it.
    before: (usize, u64),
    /// How often it has begun since, and when the last time was.
    since: (usize, Timestamp),
}

impl Hang {
    /// Whether the loop waits for it now.
    fn is_waited_for(&mut self, view: &LoopView, now: Timestamp) -> bool {
        let (begun, passes) = ((self.count)() - self.before.0, view.passes - self.before.1);
        if begun != self.since.0 {
            // Time stands still while it begins.
            self.since = (begun, now);
        }
        // It has begun in every pass that has ended, and in this one, which has not given it up.
        let given_up = now >= self.since.1 + self.limit;
        self.of == view.of && begun as u64 == passes + 1 && begun <= self.times && !given_up
    }
}

/// The state of a loop in an observation.
#[derive(Debug, Clone, PartialEq, Eq)]
struct LoopView {
    of: Loop,
    doing: Doing,
    passes: u64,
    restarts: u64,
    failures: u64,
    generation: u64,
}

/// Observations in a row that have to be the same.
const SAME: u32 = 3;

/// Turns of all tasks between two observations. What one actor requests of others is done within a few.
const TURNS: u32 = 12;

impl Stage {
    pub fn handle(&self, of: Loop) -> &LoopHandle {
        self.service.loops.iter().find(|handle| handle.of == of).unwrap()
    }

    pub async fn state(&self, of: Loop) -> LoopState {
        self.answer("a state", self.handle(of).state()).await.unwrap()
    }

    pub async fn passes(&self) -> [u64; 4] {
        let mut passes = [0; 4];
        for (handle, passes) in self.service.loops.iter().zip(&mut passes) {
            *passes = self.state(handle.of).await.passes;
        }
        passes
    }

    /// The events so far.
    pub async fn events(&self) -> Vec<Event> {
        let past = self.service.tools.recorder.subscribe(usize::MAX).await.unwrap().past;
        past.into_iter().map(|stamped| (*stamped.event).clone()).collect()
    }

    /// The kinds of the events so far, with the numbers of failures.
    pub async fn event_kinds(&self) -> Vec<(EventKind, u64)> {
        self.events().await.into_iter().map(|event| (event.kind, event.count)).collect()
    }

    // ---- Faults ----

    /// So many calls of `method` hang from now on. Only `of` makes it, once in a pass, and waits for so long.
    pub async fn hang(&self, of: Loop, method: Method, times: usize, limit: Duration) {
        self.sim.fault(method, Fault::Hang, Scope::Times(u32::try_from(times).unwrap()));
        let sim = self.sim.clone();
        self.hangs_at(of, Box::new(move || sim.count(method)), times, limit).await;
    }

    /// What `of` does once in a pass hangs from now on, so many times; it waits for so long.
    pub async fn hangs_at(&self, of: Loop, count: Box<dyn Fn() -> usize>, times: usize, limit: Duration) {
        let before = (count(), self.state(of).await.passes);
        let since = (0, self.sim.now());
        self.hangs.borrow_mut().push(Hang { of, count, limit, times, before, since });
    }

    /// From the next pass on, `of` waits in each pass after its call of `method`, for so long at most.
    pub async fn waits_after(&self, of: Loop, method: Method, limit: Duration) {
        let sim = self.sim.clone();
        self.hangs_at(of, Box::new(move || sim.count(method)), usize::MAX, limit).await;
    }

    /// All faults end; calls that hang continue.
    pub fn clear_faults(&self) {
        self.hangs.borrow_mut().clear();
        self.sim.clear_faults();
    }

    // ---- Time ----

    /// Lets that much time pass at once, and waits for everything that is due.
    pub async fn step(&self, by: Duration) {
        self.sim.advance(by);
        tokio::time::advance(by + LATE).await;
        self.settle().await;
        if let Some(act) = &mut *self.after_step.borrow_mut() {
            act();
        }
    }

    /// Lets that much time pass at once, and waits for nothing: for actors that may not answer.
    pub async fn step_without_waiting(&self, by: Duration) {
        self.sim.advance(by);
        tokio::time::advance(by + LATE).await;
        turns(10 * TURNS).await;
    }

    /// Lets time pass by steps.
    pub async fn pass_time(&self, span: Duration) {
        self.pass_time_by(STEP, span).await;
    }

    /// Lets time pass by such steps.
    pub async fn pass_time_by(&self, step: Duration, mut span: Duration) {
        while !span.is_zero() {
            let step = span.min(step);
            self.step(step).await;
            span -= step;
        }
    }

    /// Waits until all loops are idle, or hang in a fault.
    pub async fn settle(&self) {
        let began = Instant::now();
        let (mut last, mut same) = (None, 0);
        while same < SAME {
            turns(TURNS).await;
            let view = self.observe().await;
            let is_idle = view.as_ref().is_some_and(|view| view.iter().all(|view| self.is_idle(view)));
            same = if is_idle && view == last { same + 1 } else { 0 };
            last = view;
            assert!(
                began.elapsed() < PATIENCE,
                "it does not become idle: {last:#?}\n{:#?}",
                self.lines.all()
            );
        }
    }

    /// The states of the loops. `None` if one does not answer: it panicked meanwhile.
    async fn observe(&self) -> Option<Vec<LoopView>> {
        let states = join_all(self.service.loops.iter().map(LoopHandle::state));
        let states = tokio::select! {
            biased;
            states = states => states,
            () = turns(10 * TURNS) => return None,
        };
        let view = |state: LoopState| LoopView {
            of: state.of,
            doing: state.doing,
            passes: state.passes,
            restarts: state.restarts,
            failures: state.failures,
            generation: state.generation,
        };
        states.into_iter().map(|state| state.map(view)).collect()
    }

    fn is_idle(&self, view: &LoopView) -> bool {
        view.doing != Doing::Running
            || self.hangs.borrow_mut().iter_mut().any(|hang| hang.is_waited_for(view, self.sim.now()))
    }

    /// Waits, in real time, for something that no pass reports.
    pub async fn until<T>(&self, what: &str, mut check: impl AsyncFnMut() -> Option<T>) -> T {
        let found = async {
            loop {
                if let Some(found) = check().await {
                    return found;
                }
                turns(1).await;
            }
        };
        self.answer(what, found).await
    }

    /// Waits, in real time, for an answer.
    pub async fn answer<T>(&self, what: &str, answer: impl Future<Output = T>) -> T {
        let began = Instant::now();
        let patience = async {
            while began.elapsed() < PATIENCE {
                turns(1).await;
            }
        };
        tokio::select! {
            biased;
            answer = answer => answer,
            () = patience => panic!("{what}: it does not come about\n{:#?}", self.lines.all()),
        }
    }
}

/// Lets all tasks have so many turns. What other threads have to do for them gets its turn too.
pub async fn turns(count: u32) {
    for _ in 0..count {
        std::thread::yield_now();
        tokio::task::yield_now().await;
    }
}
