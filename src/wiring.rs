//! Which actors run on which threads: the gateway and the pod-state provider on one arbiter each, every collector on one
//! of its own, so that none can hold up another.

use std::sync::Arc;
use std::time::Duration;

use actix::{Addr, Arbiter};
use cri_gc_actors::collector::{Collector, Tools};
use cri_gc_actors::container_gc::ContainerGc;
use cri_gc_actors::files::Workers;
use cri_gc_actors::gateway::calls::Version;
use cri_gc_actors::gateway::{CriError, ErrorClass, Gateway, Limits, RuntimeVersion, Sockets};
use cri_gc_actors::image_gc::ImageGc;
use cri_gc_actors::log_reaper::LogReaper;
use cri_gc_actors::pod_state::{Configure, PodStates};
use cri_gc_actors::sandbox_reaper::SandboxReaper;
use cri_gc_actors::seams::{Clock, FsProbe};
use cri_gc_config::Settings;
use slog::Logger;

/// What differs between a real node and a modelled one.
#[derive(Debug, Clone)]
pub struct Seams {
    /// The clock.
    pub clock: Clock,
    /// The file-system probe.
    pub probe: FsProbe,
}

impl Seams {
    /// Those of this machine.
    #[must_use]
    pub fn system() -> Self {
        Self { clock: Clock::system(), probe: FsProbe::system() }
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

/// How long a runtime may take to say what it is, before a one-shot command gives up.
const HELLO: Duration = Duration::from_secs(10);

impl Crew {
    /// Starts all actors. Nothing is connected or read yet. Must be called in an actix system.
    ///
    /// # Errors
    /// The operating system has no thread left.
    pub fn start(
        settings: Arc<Settings>,
        seams: Seams,
        confirmed: bool,
        log: Logger,
    ) -> std::io::Result<Self> {
        let files = Workers::start(settings.log_gc.workers.into())?;
        let mut arbiters = Vec::new();
        let mut arbiter = || {
            let arbiter = Arbiter::new();
            let handle = arbiter.handle();
            arbiters.push(arbiter);
            handle
        };
        let gateway = Gateway::start(&arbiter(), sockets(&settings), limits(&settings));
        let configure = Configure { settings: Arc::clone(&settings), confirmed };
        let pods =
            PodStates::start(&arbiter(), gateway.clone(), files.clone(), seams.clock.clone(), configure);
        let tools = Tools { gateway, pods, files, clock: seams.clock, probe: seams.probe, log };
        let image_gc = Collector::start(&arbiter(), tools.clone(), Arc::clone(&settings), ImageGc::default);
        let images = image_gc.clone().recipient();
        let container_gc =
            Collector::start(&arbiter(), tools.clone(), Arc::clone(&settings), || ContainerGc::new(images));
        let sandbox_reaper =
            Collector::start(&arbiter(), tools.clone(), Arc::clone(&settings), SandboxReaper::default);
        let log_reaper =
            Collector::start(&arbiter(), tools.clone(), Arc::clone(&settings), LogReaper::default);
        Ok(Self { tools, settings, container_gc, sandbox_reaper, log_reaper, image_gc, arbiters })
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
