//! The embedded node: a CI node without a kubelet on which jobs ran for two days, and whose disk is full.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use cri_gc_collectors::observe;
use cri_gc_kit::seams::{Chance, Clock, FsProbe};
use cri_gc_policy::images::space::usage_percent;
use cri_gc_sim::{ContainerSpec, ContainerState, Node, Options, PodSpec, Sim, SimError};
use jiff::SignedDuration;

use super::churn::{Churn, image, uid};
use crate::wiring::{Crew, Seams};

const GIB: u64 = 1 << 30;
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);

/// Size of the logs of a container.
const LOG_BYTES: u64 = 1 << 20;

/// How full the disk is when the sweep starts, in percent.
const FULL: u64 = 91;

/// The embedded node.
pub struct DemoNode {
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

impl DemoNode {
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
            ("state.dir", paths.root.join("state").display().to_string()),
            ("state.runtime_dir", paths.root.join("run").display().to_string()),
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
            clock: self.clock(|| ()),
            probe: FsProbe::new(move |path| probe(path)),
            chance: Chance::none(),
            ..Seams::system()
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
            let running = node.containers().filter(|c| c.spec.state == ContainerState::Running).count();
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

    /// Lets two days pass on the node in a moment. It is observed every hour, as a service does, so that it is known how old
    /// each image is, when it was last used, and which pods are deleted.
    ///
    /// # Errors
    /// A log file could not be made.
    pub async fn make_history(&self, crew: &Crew) -> Result<(), SimError> {
        let observe = async || {
            // The sweep reports it if the node can't be observed.
            let _ = observe::remember_pods(&crew.tools, &crew.settings).await;
            let _ = observe::remember_images(&crew.tools).await;
        };
        let mut churn = Churn::start(&self.sim, LOG_BYTES)?;
        for _ in 0..48 {
            churn.step(HOUR)?;
            observe().await;
        }
        self.sim.with(leave_odds_and_ends)?;
        observe().await;
        self.sim.with(|node| node.fill_to_percent(FULL));
        self.sim.advance(MINUTE);
        Ok(())
    }
}

/// What a sweep keeps though it seems unused: a container that was not started yet, an image for the next build, a container
/// that was made with crictl and has no pod UID, and a directory of no pod. Also the log directory of a pod whose sandbox was
/// removed before.
fn leave_odds_and_ends(node: &mut Node) -> Result<(), SimError> {
    let next = node.add_pod(PodSpec::new("ci", "next-0", uid(1_000)))?;
    node.add_container(ContainerSpec::new(next, "clone").state(ContainerState::Created))?;
    node.add_image(image("build:2.0", 300));
    let debug = node.add_pod(
        PodSpec::new("", "debug", "")
            .with(|pod| (pod.kubelet_labels, pod.log_directory) = (false, false))
            .not_ready(),
    )?;
    let (made, ended) = (node.ago(3 * HOUR), node.ago(2 * HOUR));
    node.add_container(
        ContainerSpec::new(debug, "shell")
            .with(|spec| spec.kubelet_labels = false)
            .no_log()
            .exited(made, ended),
    )?;
    node.add_log_dir("lost+found", made)?;
    node.add_log_dir(&format!("ci_nightly-0_{}", uid(2_000)), made)?;
    Ok(())
}
