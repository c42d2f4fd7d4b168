//! The embedded node: a CI node without a kubelet on which jobs ran for two days, and whose disk is full.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use jiff::SignedDuration;

use cri_gc_actors::observe;
use cri_gc_actors::seams::{Chance, Clock, FsProbe};
use cri_gc_policy::images::space::usage_percent;
use cri_gc_sim::{
    ContainerSpec, ContainerState, ImageSpec, LayerSpec, LogSpec, Options, PodSpec, Sim, SimError,
};

use crate::wiring::{Crew, Seams};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);

/// How full the disk is when the sweep starts, in percent.
const FULL: u64 = 91;

/// The embedded node.
pub struct Demo {
    /// Its runtime.
    pub sim: Sim,
}

/// What is on the node at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// Containers that run.
    pub running: usize,
    /// Containers in any other state.
    pub dead: usize,
    /// Pod sandboxes.
    pub sandboxes: usize,
    /// Directories in the root of the pods' logs.
    pub log_dirs: usize,
    /// Images.
    pub images: usize,
    /// Size of the image filesystem in bytes.
    pub capacity: u64,
    /// Available bytes of it.
    pub available: u64,
}

impl Tally {
    /// How full the image filesystem is.
    #[must_use]
    pub fn disk_percent(&self) -> u8 {
        usage_percent(self.capacity, self.available).unwrap_or_default()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { running, dead, sandboxes, log_dirs, images, .. } = self;
        write!(
            f,
            "{running} running and {dead} dead containers, {sandboxes} sandboxes, {log_dirs} log directories, \
             {images} images"
        )
    }
}

impl Demo {
    /// Starts the embedded runtime in `folder`.
    ///
    /// # Errors
    /// The socket or the folders could not be made.
    pub fn start(folder: &Path) -> Result<Self, SimError> {
        let options =
            Options { start_time: jiff::Timestamp::now(), capacity_bytes: 40 * GIB, ..Options::default() };
        Ok(Self { sim: Sim::start(folder, options)? })
    }

    /// The settings that name this node, as `--set` would.
    #[must_use]
    pub fn overrides(&self) -> Vec<(String, String)> {
        let paths = self.sim.paths();
        let settings = [
            ("runtime.endpoint", self.sim.endpoint()),
            ("pods.kubelet_root", paths.root.join("kubelet").display().to_string()),
            ("log_gc.pod_logs_root", paths.pod_logs_root.display().to_string()),
            ("log_gc.legacy_container_logs_root", paths.legacy_root.display().to_string()),
            ("admin.socket", paths.root.join("admin.sock").display().to_string()),
            ("image_gc.protect", "registry.example.com/edge/*".to_owned()),
            // The modelled disk shows freed space at once.
            ("image_gc.settle", "0s".to_owned()),
        ];
        settings.map(|(key, value)| (key.to_owned(), value)).into()
    }

    /// Its clock and its disk.
    #[must_use]
    pub fn seams(&self) -> Seams {
        let probe = self.sim.fs_probe();
        Seams {
            own_clocks: Vec::new(),
            clock: self.clock(|| ()),
            probe: FsProbe::new(move |path| probe(path)),
            chance: Chance::none(),
        }
    }

    /// Its clock; `before` runs whenever the time is read.
    pub fn clock(&self, before: impl Fn() + Send + Sync + 'static) -> Clock {
        let (wall, boot) = (self.sim.clock(), self.sim.clone());
        Clock::with_boot(
            move || {
                before();
                wall()
            },
            move || SignedDuration::try_from(boot.uptime()).unwrap_or_default(),
        )
    }

    /// What is on it now.
    #[must_use]
    pub fn tally(&self) -> Tally {
        let paths = self.sim.paths();
        let log_dirs = std::fs::read_dir(&paths.pod_logs_root).map_or(0, Iterator::count);
        self.sim.with(|node| {
            let running = node.containers().filter(|c| c.state == ContainerState::Running).count();
            let disk = node.statvfs(&paths.images).unwrap_or_default();
            Tally {
                running,
                dead: node.containers().count() - running,
                sandboxes: node.sandboxes().count(),
                log_dirs,
                images: node.images().count(),
                capacity: disk.capacity_bytes,
                available: disk.available_bytes,
            }
        })
    }

    /// Lets two days pass on the node in a moment. The images are observed now and then, as a service does, so that it is
    /// known how old each is and when it was last used.
    ///
    /// # Errors
    /// A log file could not be made.
    pub async fn live_its_past(&self, crew: &Crew) -> Result<(), SimError> {
        let observe = async || {
            // The sweep reports it if the images can't be observed.
            let _ = observe::remember_pods(&crew.tools, &crew.settings).await;
            let _ = observe::remember_images(&crew.tools).await;
        };
        self.pull_images();
        observe().await;
        self.sim.advance(20 * HOUR);
        let services = self.run_services()?;
        self.run_builds(1, 4)?;
        observe().await;
        self.sim.advance(20 * HOUR);
        self.run_builds(5, 9)?;
        observe().await;
        self.sim.advance(8 * HOUR);
        self.crash_and_restart(&services)?;
        self.run_recent_pods()?;
        self.leave_odds_and_ends()?;
        // Pulled just now, for a build that is about to start.
        self.sim.add_image(build_image(10, 300));
        observe().await;
        self.sim.with(|node| node.fill_to_percent(FULL));
        self.sim.advance(MINUTE);
        Ok(())
    }

    fn pull_images(&self) {
        for build in 1..=9 {
            self.sim.add_image(build_image(build, 300));
        }
        for (name, mib) in [("web", 60), ("db", 160), ("cache", 40), ("proxy", 25), ("tester", 120)] {
            self.sim.add_image(service_image(name, mib));
        }
        for name in ["modem", "gateway"] {
            let image = ImageSpec::single(format!("registry.example.com/edge/{name}:7"), 90 * MIB, 260 * MIB);
            self.sim.add_image(image);
        }
    }

    /// Services that run all the time. Returns their sandboxes.
    fn run_services(&self) -> Result<Vec<(String, &'static str)>, SimError> {
        let mut sandboxes = Vec::new();
        for (number, name) in ["web", "db", "cache"].into_iter().enumerate() {
            let sandbox = self.sim.add_pod(PodSpec::new("shop", format!("{name}-0"), uid(number)))?;
            let container = ContainerSpec::new(&sandbox, name).image(service_tag(name));
            self.sim.add_container(container.log(linked_log(4 * MIB)))?;
            sandboxes.push((sandbox, name));
        }
        Ok(sandboxes)
    }

    /// Build jobs that ran for some minutes and ended; nothing was cleaned up after them.
    fn run_builds(&self, from: usize, to: usize) -> Result<(), SimError> {
        for build in from..=to {
            let (made, ended) = (self.sim.now(), self.sim.now() + 7 * MINUTE);
            let pod =
                PodSpec::new("ci", format!("build-{build}"), uid(100 + build)).created_at(made).not_ready();
            let sandbox = self.sim.add_pod(pod)?;
            for step in ["clone", "compile", "publish"] {
                let container = ContainerSpec::new(&sandbox, step).image(build_tag(build));
                self.sim.add_container(container.exited(made, ended).log(linked_log(2 * MIB)))?;
            }
            self.sim.advance(HOUR / 2);
        }
        Ok(())
    }

    /// A service that crashes again and again: each time one more dead container, log and link.
    fn crash_and_restart(&self, services: &[(String, &'static str)]) -> Result<(), SimError> {
        for (sandbox, name) in services.iter().filter(|(_, name)| *name != "db") {
            for attempt in 1..=5 {
                let container = ContainerSpec::new(sandbox, format!("{name}-sidecar")).attempt(attempt);
                let (made, ended) = (self.sim.now(), self.sim.now() + MINUTE);
                let container = container.image(service_tag("proxy")).exited(made, ended);
                self.sim.add_container(container.log(linked_log(MIB)))?;
                self.sim.advance(5 * MINUTE);
            }
        }
        Ok(())
    }

    /// Containers that do not run and must not be removed yet.
    fn run_recent_pods(&self) -> Result<(), SimError> {
        let ended = self.sim.now();
        let made = self.sim.ago(9 * MINUTE);
        let tests = self.sim.add_pod(PodSpec::new("ci", "tests-77", uid(77)).created_at(made).not_ready())?;
        let container = ContainerSpec::new(&tests, "tester").image(service_tag("tester"));
        self.sim.add_container(container.exited(made, ended).log(linked_log(MIB)))?;
        let next = self.sim.add_pod(PodSpec::new("ci", "build-10", uid(110)))?;
        let container = ContainerSpec::new(&next, "clone").image(build_tag(9)).state(ContainerState::Created);
        self.sim.add_container(container)?;
        // Made by hand with crictl: it has no pod UID.
        let by_hand = self.sim.add_pod(PodSpec::new("", "debug", "").unlabelled().no_logs().not_ready())?;
        let container = ContainerSpec::new(&by_hand, "shell").image(service_tag("proxy"));
        self.sim.add_container(
            container.unlabelled().no_log().exited(self.sim.ago(3 * HOUR), self.sim.ago(2 * HOUR)),
        )?;
        Ok(())
    }

    /// Log directories of pods that are long gone, and a directory that is none of a pod.
    fn leave_odds_and_ends(&self) -> Result<(), SimError> {
        let long_ago = self.sim.ago(30 * HOUR);
        self.sim.with(|node| {
            for number in 0..6 {
                node.add_log_dir(&format!("ci_nightly-{number}_{}", uid(200 + number)), long_ago)?;
            }
            node.add_log_dir("lost+found", long_ago).map(|_| ())
        })
    }
}

/// The UID of the demo's pod of that number.
#[must_use]
pub fn uid(number: usize) -> String {
    format!("{number:08x}-0c1d-4e2f-8a3b-{number:012x}")
}

/// The tag of a build's image.
#[must_use]
pub fn build_tag(build: usize) -> String {
    format!("registry.example.com/build:1.{build}")
}

/// The image of a build: the base, and tools of its own that take so many MiB as the registry has them.
#[must_use]
pub fn build_image(build: usize, mib: u64) -> ImageSpec {
    image(build_tag(build), format!("tools-{build}"), mib)
}

/// The tag of a service's image.
#[must_use]
pub fn service_tag(name: &str) -> String {
    format!("registry.example.com/{name}:2.1")
}

/// The image of a service: the base, and a layer of its own.
#[must_use]
pub fn service_image(name: &str, mib: u64) -> ImageSpec {
    image(service_tag(name), name.to_owned(), mib)
}

/// An image of the base that all share, and a layer of that name and compressed size.
fn image(tag: String, layer: String, mib: u64) -> ImageSpec {
    let base = LayerSpec::new("debian", 30 * MIB, 80 * MIB);
    ImageSpec::new(tag).layer(base).layer(LayerSpec::new(layer, mib * MIB, mib * MIB * 3))
}

/// A log with a rotated file and the kubelet's link.
fn linked_log(bytes: u64) -> LogSpec {
    LogSpec { bytes, rotated: 1, legacy_link: true }
}
