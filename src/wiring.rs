//! Which actors run on which threads: the gateway and the pod-state provider on one arbiter each, every collector on one
//! of its own, so that none can hold up another.

use std::sync::Arc;
use std::time::Duration;

use actix::{Addr, Arbiter, ArbiterHandle};
use cri_gc_actors::collector::{Collector, Finish, Reconfigure, Schedule, Tools};
use cri_gc_actors::container_gc::ContainerGc;
use cri_gc_actors::files::Workers;
use cri_gc_actors::gateway::calls::Version;
use cri_gc_actors::gateway::{CriError, ErrorClass, Gateway, Limits, RuntimeVersion, Sockets};
use cri_gc_actors::image_gc::ImageGc;
use cri_gc_actors::log_reaper::LogReaper;
use cri_gc_actors::pod_state::{Configure, PodStates};
use cri_gc_actors::sandbox_reaper::SandboxReaper;
use cri_gc_actors::seams::{Chance, Clock, FsProbe};
use cri_gc_config::Settings;
use slog::Logger;

/// What differs between a real node and a modelled one.
#[derive(Debug, Clone)]
pub struct Seams {
    /// The clock.
    pub clock: Clock,
    /// The file-system probe.
    pub probe: FsProbe,
    /// What spreads the periods.
    pub chance: Chance,
}

impl Seams {
    /// Those of this machine.
    #[must_use]
    pub fn system() -> Self {
        let chance = Chance::new(fastrand::f64);
        Self { clock: Clock::system(), probe: FsProbe::system(), chance }
    }
}

/// All actors, running.
pub struct Crew {
    /// What they share.
    pub tools: Tools,
    /// The settings they follow.
    pub settings: Arc<Settings>,
    /// The container GC supervisor.
    pub container_gc: Addr<Collector<ContainerGc>>,
    /// The sandbox reaper.
    pub sandbox_reaper: Addr<Collector<SandboxReaper>>,
    /// The log-directory reaper.
    pub log_reaper: Addr<Collector<LogReaper>>,
    /// The image GC supervisor.
    pub image_gc: Addr<Collector<ImageGc>>,
    arbiters: Vec<Arbiter>,
}

/// How soon after its start the service makes the first pass of each loop.
const FIRST_PASS: Duration = Duration::from_secs(1);

/// How long a runtime may take to say what it is, before a one-shot command gives up.
const HELLO: Duration = Duration::from_secs(10);

impl Crew {
    /// Starts all actors for a one-shot command: they make passes when told. Nothing is connected or read yet. Must be
    /// called in an actix system.
    ///
    /// # Errors
    /// The operating system has no thread left.
    pub fn start(
        settings: Arc<Settings>,
        seams: Seams,
        confirmed: bool,
        log: Logger,
    ) -> std::io::Result<Self> {
        let mut base = Base::start(settings, seams, confirmed, false, log)?;
        let (tools, settings) = (base.tools.clone(), Arc::clone(&base.settings));
        let (tools, settings) = (|| tools.clone(), || Arc::clone(&settings));
        let image_gc = Collector::start(&base.arbiter(), tools(), settings(), ImageGc::default);
        let images = image_gc.clone().recipient();
        let container_gc =
            Collector::start(&base.arbiter(), tools(), settings(), || ContainerGc::new(images));
        let sandbox_reaper = Collector::start(&base.arbiter(), tools(), settings(), SandboxReaper::default);
        let log_reaper = Collector::start(&base.arbiter(), tools(), settings(), LogReaper::default);
        Ok(base.with(container_gc, sandbox_reaper, log_reaper, image_gc))
    }

    /// Starts all actors for the service: the loops make passes by themselves, each wakes the next of the chain, and one
    /// that falls is restarted.
    ///
    /// # Errors
    /// The operating system has no thread left.
    pub fn serve(settings: Arc<Settings>, seams: Seams, log: Logger) -> std::io::Result<Self> {
        let chance = seams.chance.clone();
        let mut base = Base::start(settings, seams, false, true, log)?;
        let (tools, settings) = (base.tools.clone(), Arc::clone(&base.settings));
        let (tools, settings) = (|| tools.clone(), || Arc::clone(&settings));
        let schedule = |next| Schedule { first: FIRST_PASS, chance: chance.clone(), next };
        // The chain: container pass, sandbox pass, log pass. Built from its end.
        let log_reaper =
            Collector::serve(&base.arbiter(), tools(), settings(), schedule(Vec::new()), LogReaper::default);
        let next = schedule(vec![log_reaper.clone().recipient()]);
        let sandbox_reaper =
            Collector::serve(&base.arbiter(), tools(), settings(), next, SandboxReaper::default);
        let image_gc =
            Collector::serve(&base.arbiter(), tools(), settings(), schedule(Vec::new()), ImageGc::default);
        let images = image_gc.clone().recipient();
        let next = schedule(vec![sandbox_reaper.clone().recipient()]);
        let container_gc =
            Collector::serve(&base.arbiter(), tools(), settings(), next, || ContainerGc::new(images));
        Ok(base.with(container_gc, sandbox_reaper, log_reaper, image_gc))
    }

    /// Sends new settings to every actor.
    pub fn configure(&self, settings: &Arc<Settings>) {
        self.tools.gateway.set_limits(limits(settings));
        let pods = Configure { settings: Arc::clone(settings), confirmed: false, service: true };
        self.tools.pods.configure(pods);
        self.container_gc.do_send(Reconfigure(Arc::clone(settings)));
        self.sandbox_reaper.do_send(Reconfigure(Arc::clone(settings)));
        self.log_reaper.do_send(Reconfigure(Arc::clone(settings)));
        self.image_gc.do_send(Reconfigure(Arc::clone(settings)));
    }

    /// Brings all loops to rest: no removal is begun any more, and those under way end.
    pub async fn finish(&self) {
        // A loop that is gone is at rest.
        let _ = futures_util::join!(
            self.container_gc.send(Finish),
            self.sandbox_reaper.send(Finish),
            self.log_reaper.send(Finish),
            self.image_gc.send(Finish)
        );
    }

    /// Asks the runtime what it is: a one-shot command does nothing where none answers.
    ///
    /// # Errors
    /// Nobody answers there, or nobody who speaks CRI.
    pub async fn hello(&self) -> Result<RuntimeVersion, CriError> {
        let hello = self.tools.gateway.call(Version {});
        let version = match tokio::time::timeout(HELLO, hello).await {
            Ok(version) => version?,
            Err(_) => return Err(CriError::deadline("Version", HELLO)),
        };
        if version.name.is_empty() {
            // Something answered, but not what a runtime has to.
            return Err(CriError {
                class: ErrorClass::Failed,
                message: "the answer names no runtime".to_owned(),
                ..CriError::deadline("Version", HELLO)
            });
        }
        Ok(version)
    }

    /// Ends all actors and waits for their threads.
    pub fn stop(self) {
        for arbiter in self.arbiters {
            arbiter.stop();
            // A thread that panicked has been reported by the panic itself.
            let _ = arbiter.join();
        }
    }
}

/// The actors that the collectors need, and the threads.
struct Base {
    tools: Tools,
    settings: Arc<Settings>,
    arbiters: Vec<Arbiter>,
}

impl Base {
    fn start(
        settings: Arc<Settings>,
        seams: Seams,
        confirmed: bool,
        service: bool,
        log: Logger,
    ) -> std::io::Result<Self> {
        let files = Workers::start(settings.log_gc.workers.into())?;
        let (for_gateway, for_pods) = (Arbiter::new(), Arbiter::new());
        let gateway =
            Gateway::start(&for_gateway.handle(), sockets(&settings), limits(&settings), log.clone());
        let configure = Configure { settings: Arc::clone(&settings), confirmed, service };
        let (clock, probe) = (seams.clock, seams.probe);
        let pods = PodStates::start(
            &for_pods.handle(),
            gateway.clone(),
            files.clone(),
            clock.clone(),
            configure,
            log.clone(),
        );
        let tools = Tools { gateway, pods, files, clock, probe, log };
        Ok(Self { tools, settings, arbiters: vec![for_gateway, for_pods] })
    }

    /// One more thread.
    fn arbiter(&mut self) -> ArbiterHandle {
        let arbiter = Arbiter::new();
        let handle = arbiter.handle();
        self.arbiters.push(arbiter);
        handle
    }

    fn with(
        self,
        container_gc: Addr<Collector<ContainerGc>>,
        sandbox_reaper: Addr<Collector<SandboxReaper>>,
        log_reaper: Addr<Collector<LogReaper>>,
        image_gc: Addr<Collector<ImageGc>>,
    ) -> Crew {
        let Self { tools, settings, arbiters } = self;
        Crew { tools, settings, container_gc, sandbox_reaper, log_reaper, image_gc, arbiters }
    }
}

fn sockets(settings: &Settings) -> Sockets {
    Sockets {
        runtime: settings.runtime.endpoint.path().to_owned(),
        images: settings.runtime.image_endpoint().path().to_owned(),
    }
}

fn limits(settings: &Settings) -> Limits {
    Limits {
        request_timeout: settings.runtime.request_timeout,
        max_message_size: usize::try_from(settings.runtime.max_message_size).unwrap_or(usize::MAX),
        container_removals: settings.container_gc.parallel_removals.into(),
        sandbox_removals: settings.sandbox_gc.parallel_removals.into(),
        image_removals: settings.image_gc.parallel_removals.into(),
    }
}
