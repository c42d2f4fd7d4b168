//! The bed of the tests: an embedded node, settings that fit it, and the actors, running.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use actix::dev::ToEnvelope;
use actix::{Actor, Addr, Arbiter, Handler};
use cri_gc_collectors::collector::Collector;
use cri_gc_collectors::collector::messages::RunPass;
use cri_gc_collectors::container_gc::ContainerGc;
use cri_gc_collectors::image_gc::ImageGc;
use cri_gc_collectors::log_reaper::LogReaper;
use cri_gc_collectors::observe;
use cri_gc_collectors::report::{Outcome, PassReport};
use cri_gc_collectors::sandbox_reaper::SandboxReaper;
use cri_gc_collectors::tools::Tools;
use cri_gc_config::Settings;
use cri_gc_gateway::{Connect, Gateway};
use cri_gc_images::{Home, ImageRecords};
use cri_gc_kit::recorder::Recorder;
use cri_gc_kit::seams::{Clock, FsProbe};
use cri_gc_kit::supervision::guard::{Pace, log_restart};
use cri_gc_kit::workers::Workers;
use cri_gc_pods::{Configure, PodStates};
pub use cri_gc_sim::uid;
use cri_gc_sim::{Call, ContainerSpec, ImageSpec, Method, Options, PodSpec, Sim};
use cri_gc_test_support::flavours::options;
use slog::{Discard, Logger, o};

pub const SECOND: Duration = Duration::from_secs(1);
pub const MINUTE: Duration = Duration::from_secs(60);
pub const HOUR: Duration = Duration::from_secs(60 * 60);
pub const MIB: u64 = 1 << 20;

/// The boot that the modelled node is in.
pub const BOOT: &str = "b0075b00-75b0-4075-b007-5b0075b00750";

/// How long a test waits for what has to happen on a machine however busy.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// An embedded node, and settings that fit it.
pub struct Bed {
    pub sim: Sim,
    pub settings: Settings,
    /// How full the disks are: those of the node, unless a test breaks them.
    pub probe: FsProbe,
    // Dropped last: the node's files.
    _folder: tempfile::TempDir,
}

/// All actors.
pub struct Crew {
    pub tools: Tools,
    pub container_gc: Addr<Collector<ContainerGc>>,
    pub sandbox_reaper: Addr<Collector<SandboxReaper>>,
    pub log_reaper: Addr<Collector<LogReaper>>,
    pub image_gc: Addr<Collector<ImageGc>>,
    arbiters: Vec<Arbiter>,
}

impl Bed {
    /// A node of the flavour that the test is about.
    pub fn new() -> Self {
        Self::with(options())
    }

    pub fn with(options: Options) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let sim = Sim::start(folder.path(), options).unwrap();
        let mut settings = Settings::default();
        settings.runtime.endpoint = sim.endpoint().parse().unwrap();
        // Longer than anything takes, shorter than a test that hangs may.
        settings.runtime.request_timeout = Duration::from_secs(30);
        settings.pods.kubelet_root = sim.paths().root.join("kubelet");
        settings.log_gc.pod_logs_root = sim.paths().pod_logs_root.clone();
        settings.log_gc.legacy_container_logs_root = sim.paths().legacy_root.clone();
        // The modelled disk frees space at once, unless a test sets another time.
        settings.image_gc.settle = Duration::ZERO;
        let probe = sim.fs_probe();
        let probe = FsProbe::new(move |path| probe(path));
        Self { sim, settings, probe, _folder: folder }
    }

    /// Runs a test with all actors.
    pub fn run<T>(&self, test: impl AsyncFnOnce(&Crew) -> T) -> T {
        actix::System::new().block_on(async {
            let crew = self.crew();
            test(&crew).await
        })
    }

    /// All actors. Must be called in a system.
    pub fn crew(&self) -> Crew {
        self.crew_that_logs(silent())
    }

    pub fn crew_that_logs(&self, log: Logger) -> Crew {
        let settings = Arc::new(self.settings.clone());
        let (clock, probe) = (self.sim.clock(), self.probe.clone());
        let clock = Clock::new(move || clock()).of_boot(BOOT);
        let files = Workers::start(settings.log_gc.workers.into()).unwrap();
        let mut arbiters = Vec::new();
        let mut arbiter = || {
            arbiters.push(Arbiter::new());
            arbiters.last().unwrap().handle()
        };
        let gateway = Gateway::start(&arbiter(), &settings, Connect::Socket, None, log.clone());
        let configure = Configure { settings: Arc::clone(&settings), confirmed: false, service: false };
        let pods = PodStates::start(
            &arbiter(),
            gateway.clone(),
            files.clone(),
            clock.clone(),
            configure,
            log.clone(),
        );
        let recorder = Recorder::none(clock.clone());
        let disks = files.clone();
        let pace = Pace::from(&*settings);
        let log_panic = log_restart(log.clone(), "image records", None);
        let (store, at) = (files.clone(), clock.clone());
        let images = ImageRecords::start(&arbiter(), (pace, log_panic), Home::Memory, store, at, log.clone());
        let tools = Tools { gateway, pods, images, files, disks, clock, probe, recorder, log };
        let image_gc = Collector::start(&arbiter(), tools.clone(), Arc::clone(&settings), ImageGc::default);
        let container_gc =
            Collector::start(&arbiter(), tools.clone(), Arc::clone(&settings), ContainerGc::default);
        let sandbox_reaper =
            Collector::start(&arbiter(), tools.clone(), Arc::clone(&settings), SandboxReaper::default);
        let log_reaper =
            Collector::start(&arbiter(), tools.clone(), Arc::clone(&settings), LogReaper::default);
        Crew { tools, container_gc, sandbox_reaper, log_reaper, image_gc, arbiters }
    }

    /// The tools of another process: it knows nothing of the pods yet, and remembers of images what `crew` does. Must be
    /// called in a system.
    pub fn tools_of_another(&self, crew: &Crew) -> Tools {
        let configure =
            Configure { settings: Arc::new(self.settings.clone()), confirmed: false, service: false };
        let Tools { gateway, files, clock, log, .. } = crew.tools.clone();
        let pods = PodStates::start(&Arbiter::new().handle(), gateway, files, clock, configure, log);
        Tools { pods, ..crew.tools.clone() }
    }

    /// Loops with these tools, by settings of their own. Must be called in a system.
    pub fn crew_with(&self, tools: Tools, settings: Settings) -> Crew {
        let settings = Arc::new(settings);
        let arbiter = Arbiter::new();
        let on = arbiter.handle();
        Crew {
            container_gc: Collector::start(&on, tools.clone(), Arc::clone(&settings), ContainerGc::default),
            sandbox_reaper: Collector::start(
                &on,
                tools.clone(),
                Arc::clone(&settings),
                SandboxReaper::default,
            ),
            log_reaper: Collector::start(&on, tools.clone(), Arc::clone(&settings), LogReaper::default),
            image_gc: Collector::start(&on, tools.clone(), settings, ImageGc::default),
            tools,
            arbiters: vec![arbiter],
        }
    }

    // ---- What lies on the node ----

    /// A pod made an hour ago whose sandbox is ready.
    pub fn living_pod(&self, number: usize) -> String {
        let made = self.sim.ago(HOUR);
        self.sim.add_pod(PodSpec::new("ns", format!("pod-{number}"), uid(number)).created_at(made)).unwrap()
    }

    /// A pod made two hours ago of which nothing runs.
    pub fn dead_pod(&self, number: usize) -> String {
        let made = self.sim.ago(2 * HOUR);
        let pod = PodSpec::new("ns", format!("pod-{number}"), uid(number)).created_at(made).not_ready();
        self.sim.add_pod(pod).unwrap()
    }

    /// A container of that attempt that ended half an hour ago; a larger attempt is a newer one.
    pub fn ended(&self, sandbox: &str, name: &str, attempt: u32) -> String {
        self.sim.add_container(self.ended_spec(sandbox, name, attempt)).unwrap()
    }

    pub fn ended_spec(&self, sandbox: &str, name: &str, attempt: u32) -> ContainerSpec {
        let made = self.sim.ago(HOUR - attempt * MINUTE);
        ContainerSpec::new(sandbox, name).attempt(attempt).exited(made, made + 30 * SECOND)
    }

    /// An image of that many MiB on the disk, of which the runtime reports a third.
    pub fn image(&self, tag: &str, mib: u64) -> String {
        self.sim.add_image(ImageSpec::single(tag, mib * MIB / 3, mib * MIB - mib * MIB / 3))
    }

    /// Percent of the images' filesystem that is used.
    pub fn used_percent(&self) -> u8 {
        let stats = self.sim.with(|node| node.statvfs(&node.paths.images.clone())).unwrap();
        cri_gc_policy::images::space::usage_percent(stats.capacity_bytes, stats.available_bytes).unwrap()
    }

    // ---- Calls of the runtime ----

    /// Ids that calls of this method named, in order.
    pub fn calls(&self, method: Method) -> Vec<String> {
        let calls = self.sim.calls().into_iter().filter(|call| call.method == method);
        calls.map(|call: Call| call.id).collect()
    }

    /// Calls that could remove or stop something.
    pub fn harmful_calls(&self) -> usize {
        [
            Method::StopContainer,
            Method::RemoveContainer,
            Method::StopPodSandbox,
            Method::RemovePodSandbox,
            Method::RemoveImage,
        ]
        .into_iter()
        .map(|method| self.sim.count(method))
        .sum()
    }
}

impl Crew {
    pub async fn containers(&self) -> PassReport {
        pass(&self.container_gc).await
    }

    pub async fn sandboxes(&self) -> PassReport {
        pass(&self.sandbox_reaper).await
    }

    pub async fn logs(&self) -> PassReport {
        pass(&self.log_reaper).await
    }

    pub async fn images(&self) -> PassReport {
        pass(&self.image_gc).await
    }

    /// Observes the images, so that they are remembered from now on.
    pub async fn observe_images(&self) {
        observe::remember_pods(&self.tools, &Settings::default()).await.unwrap();
        observe::remember_images(&self.tools).await.unwrap();
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        for arbiter in self.arbiters.drain(..) {
            arbiter.stop();
            // A panic of an actor has been printed, and its test has failed by it.
            let _ = arbiter.join();
        }
    }
}

async fn pass<A>(collector: &Addr<A>) -> PassReport
where
    A: Actor + Handler<RunPass>,
    A::Context: ToEnvelope<A, RunPass>,
{
    collector.send(RunPass::default()).await.unwrap().unwrap()
}

/// A log that no test reads.
pub fn silent() -> Logger {
    Logger::root(Discard, o!())
}

/// How the removal of that object ended; `None` if it was not to be removed.
pub fn outcome(report: &PassReport, id: &str) -> Option<Outcome> {
    let mut ended = report.removals.iter().filter(|removal| removal.id == id);
    let first = ended.next().map(|removal| removal.outcome.clone());
    assert!(ended.next().is_none(), "{id} has two outcomes");
    first
}

/// Why that object was kept, by the plan or by the re-check.
pub fn kept_for(report: &PassReport, id: &str) -> Option<String> {
    if let Some(Outcome::Refused { because }) = outcome(report, id) {
        return Some(because);
    }
    let kept = report.kept.iter().find(|kept| kept.item.id == id)?;
    Some(kept.item.reason.clone())
}

/// Ids of removed objects, in the order of their removal.
pub fn removed(report: &PassReport) -> Vec<String> {
    let gone = report.removals.iter().filter(|removal| removal.outcome == Outcome::Removed);
    gone.map(|removal| removal.id.to_string()).collect()
}

/// All errors of a report, as text.
pub fn errors(report: &PassReport) -> Vec<String> {
    report.errors.iter().map(ToString::to_string).collect()
}

/// Lets a future do its first step, e.g. send its message; true if there is more to come.
pub async fn begun<F: Future + ?Sized>(mut future: Pin<&mut F>) -> bool {
    poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_pending())).await
}
