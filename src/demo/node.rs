//! A node with a past: a CI node without a kubelet whose jobs have come and gone for two days, and whose disk is full.

use std::path::Path;
use std::time::Duration;

use jiff::SignedDuration;

use cri_gc_collectors::observe;
use cri_gc_kit::seams::{Chance, Clock, FsProbe};
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
    sim: Sim,
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
    /// Bytes of the file system that the images lie on.
    pub capacity: u64,
    /// Bytes of it that are available.
    pub available: u64,
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
            ("image_gc.protect", "registry.example.com/edge/*".to_owned()),
            // The modelled disk gives space back at once.
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

    /// Its clock, for one whom `before` befalls whenever he asks for the time.
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

    /// The modelled node itself, to change it.
    #[must_use]
    pub fn sim(&self) -> &Sim {
        &self.sim
    }

    /// What is on it now.
    #[must_use]
    pub fn tally(&self) -> Tally {
        let mountpoint = self.sim.paths().images.clone();
        let log_dirs = std::fs::read_dir(&self.sim.paths().pod_logs_root).map_or(0, Iterator::count);
        self.sim.with(|node| {
            let running = node.containers().filter(|c| c.state == ContainerState::Running).count();
            let disk = node.statvfs(&mountpoint).unwrap_or_default();
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

    /// Two days of the node's life in a moment. The image GC supervisor looks at the images now and then, as it does in
    /// a service, so that it knows how old each is and when it was last used.
    ///
    /// # Errors
    /// Never, unless this file contradicts itself.
    pub async fn live_its_past(&self, crew: &Crew) -> Result<(), SimError> {
        let look = async || {
            // The sweep will say so if the images can't be looked at.
            let _ = observe::remember_pods(&crew.tools, &crew.settings).await;
            let _ = observe::remember_images(&crew.tools).await;
        };
        self.pull_images();
        look().await;
        self.sim.advance(20 * HOUR);
        let services = self.run_services()?;
        self.run_builds(1, 4)?;
        look().await;
        self.sim.advance(20 * HOUR);
        self.run_builds(5, 9)?;
        look().await;
        self.sim.advance(8 * HOUR);
        self.crash_and_restart(&services)?;
        self.run_what_is_recent()?;
        self.leave_odds_and_ends()?;
        // Pulled just now, for a build that is about to start.
        self.sim.add_image(ImageSpec::new(build_image(10)).layer(base()).layer(tools(10)));
        look().await;
        self.sim.with(|node| node.fill_to_percent(FULL));
        self.sim.advance(MINUTE);
        Ok(())
    }

    fn pull_images(&self) {
        for build in 1..=9 {
            self.sim.add_image(ImageSpec::new(build_image(build)).layer(base()).layer(tools(build)));
        }
        for (name, layer) in [("web", 60), ("db", 160), ("cache", 40), ("proxy", 25), ("tester", 120)] {
            let own = LayerSpec::new(name, layer * MIB, layer * MIB * 3);
            self.sim.add_image(
                ImageSpec::new(format!("registry.example.com/{name}:2.1")).layer(base()).layer(own),
            );
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
            let container =
                ContainerSpec::new(&sandbox, name).image(format!("registry.example.com/{name}:2.1"));
            self.sim.add_container(container.log(linked_log(4 * MIB)))?;
            sandboxes.push((sandbox, name));
        }
        Ok(sandboxes)
    }

    /// Build jobs that came, ran for some minutes and went; nobody cleaned up behind them.
    fn run_builds(&self, from: usize, to: usize) -> Result<(), SimError> {
        for build in from..=to {
            let (made, ended) = (self.sim.now(), self.sim.now() + 7 * MINUTE);
            let pod =
                PodSpec::new("ci", format!("build-{build}"), uid(100 + build)).created_at(made).not_ready();
            let sandbox = self.sim.add_pod(pod)?;
            for step in ["clone", "compile", "publish"] {
                let container = ContainerSpec::new(&sandbox, step).image(build_image(build));
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
                let container = container.image("registry.example.com/proxy:2.1").exited(made, ended);
                self.sim.add_container(container.log(linked_log(MIB)))?;
                self.sim.advance(5 * MINUTE);
            }
        }
        Ok(())
    }

    /// What must not go yet, though none of it runs.
    fn run_what_is_recent(&self) -> Result<(), SimError> {
        let ended = self.sim.now();
        let made = self.sim.ago(9 * MINUTE);
        let tests = self.sim.add_pod(PodSpec::new("ci", "tests-77", uid(77)).created_at(made).not_ready())?;
        let container = ContainerSpec::new(&tests, "tester").image("registry.example.com/tester:2.1");
        self.sim.add_container(container.exited(made, ended).log(linked_log(MIB)))?;
        let next = self.sim.add_pod(PodSpec::new("ci", "build-10", uid(110)))?;
        let container =
            ContainerSpec::new(&next, "clone").image(build_image(9)).state(ContainerState::Created);
        self.sim.add_container(container)?;
        // Made by hand with crictl: it bears no pod's UID.
        let by_hand = self.sim.add_pod(PodSpec::new("", "debug", "").unlabelled().no_logs().not_ready())?;
        let container = ContainerSpec::new(&by_hand, "shell").image("registry.example.com/proxy:2.1");
        self.sim.add_container(
            container.unlabelled().no_log().exited(self.sim.ago(3 * HOUR), self.sim.ago(2 * HOUR)),
        )?;
        Ok(())
    }

    /// Logs whose pods nobody knows any more, and a directory that is none of ours.
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
fn uid(number: usize) -> String {
    format!("{number:08x}-0c1d-4e2f-8a3b-{number:012x}")
}

fn build_image(build: usize) -> String {
    format!("registry.example.com/build:1.{build}")
}

fn base() -> LayerSpec {
    LayerSpec::new("debian", 30 * MIB, 80 * MIB)
}

fn tools(build: usize) -> LayerSpec {
    LayerSpec::new(format!("tools-{build}"), 300 * MIB, 850 * MIB)
}

fn linked_log(bytes: u64) -> LogSpec {
    LogSpec { bytes, rotated: 1, legacy_link: true }
}
