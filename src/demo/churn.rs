//! The pods of the modelled node: they come, pull images, crash and end, and nothing is cleaned up after them.
//!
//! What happens is drawn at random with a fixed seed. What must never be removed is known here: what runs, and its logs.

use std::time::Duration;

use cri_gc_sim::{
    ContainerSpec, ContainerState, ImageSpec, LayerSpec, LogSpec, Node, PodSpec, Sim, SimError,
};

const MIB: u64 = 1 << 20;

/// What else is on the disk, in bytes.
const OTHER: u64 = 8 << 30;

/// Images that are there at the start.
const IMAGES: usize = 28;

/// Jobs that run at the same time, at most.
const JOBS: usize = 7;

/// Sandboxes at which no more jobs start: a real node has a limit too, and the logs here are real files.
const SANDBOXES: usize = 150;

/// Containers at which no more services crash, for the same reason.
const CONTAINERS: usize = 400;

/// How full the disk may be for a pull to succeed, in percent.
const PULLS_UNTIL: u64 = 96;

/// Services, which never end.
const SERVICES: [&str; 3] = ["web", "db", "cache"];

/// Steps after which the journal of calls is cleared: it is not read, and would grow forever.
const CLEAR_JOURNAL: u64 = 100;

/// A pod that runs.
struct Pod {
    sandbox: String,
    /// Its containers that run.
    containers: Vec<String>,
}

/// The pods.
pub struct Churn {
    sim: Sim,
    random: fastrand::Rng,
    log: LogSpec,
    services: Vec<Pod>,
    jobs: Vec<Pod>,
    /// How many pods and images were made so far.
    pods: usize,
    images: usize,
    steps: u64,
    /// What was in use and was removed all the same.
    pub lost: Vec<String>,
}

impl Churn {
    /// Puts services and images on the node. Containers write logs of that size.
    ///
    /// # Errors
    /// The temporary folder is full.
    pub fn start(sim: &Sim, log_bytes: u64) -> Result<Self, SimError> {
        let mut churn = Self {
            sim: sim.clone(),
            random: fastrand::Rng::with_seed(7),
            log: LogSpec { bytes: log_bytes, rotated: 0, legacy_link: true },
            services: Vec::new(),
            jobs: Vec::new(),
            pods: 0,
            images: 0,
            steps: 0,
            lost: Vec::new(),
        };
        sim.with(|node| {
            node.disk.stored.other.bytes = OTHER;
            node.add_image(image("edge/gateway:7", 90));
            for _ in 0..IMAGES {
                churn.pull(node);
            }
            for name in SERVICES {
                let image = node.add_image(image(&format!("{name}:2.1"), 60));
                let pod = churn.add_pod(node, "shop", name, &[name], &image)?;
                churn.services.push(pod);
            }
            (0..3).try_for_each(|_| churn.start_job(node))
        })?;
        Ok(churn)
    }

    /// Lets that much time pass, and something happens.
    ///
    /// # Errors
    /// The temporary folder is full.
    pub fn step(&mut self, passed: Duration) -> Result<(), SimError> {
        self.steps += 1;
        if self.steps.is_multiple_of(CLEAR_JOURNAL) {
            self.sim.clear_calls();
        }
        self.sim.advance(passed);
        self.sim.clone().with(|node| {
            self.note_lost(node);
            if self.jobs.len() > 2 && self.random.u8(..100) < 45 {
                self.end_oldest_job(node)?;
            }
            let may_start = self.jobs.len() < JOBS && node.sandboxes().count() < SANDBOXES;
            if may_start && self.random.u8(..100) < 55 {
                self.start_job(node)?;
            }
            if node.containers().count() < CONTAINERS && self.random.u8(..100) < 40 {
                self.crash(node)?;
            }
            Ok(())
        })
    }

    /// Containers that run now.
    #[must_use]
    pub fn running(&self) -> usize {
        self.services.iter().chain(&self.jobs).map(|pod| pod.containers.len()).sum()
    }

    /// Notes what was removed though it runs.
    fn note_lost(&mut self, node: &Node) {
        for pod in self.services.iter_mut().chain(&mut self.jobs) {
            pod.containers.retain(|id| {
                let lost = match node.container(id) {
                    None => format!("container {id}"),
                    Some(container) if !container.log_path.exists() => format!("the log of container {id}"),
                    Some(_) if node.sandbox(&pod.sandbox).is_none() => format!("sandbox {}", pod.sandbox),
                    Some(_) => return true,
                };
                self.lost.push(lost);
                false
            });
        }
    }

    /// Pulls a new image of a build, and returns its id.
    fn pull(&mut self, node: &mut Node) -> String {
        self.images += 1;
        node.add_image(image(&format!("build:1.{}", self.images), self.random.u64(100..220)))
    }

    /// The image of a job: a new one about half the time, if the disk has space for it.
    fn job_image(&mut self, node: &mut Node) -> Option<String> {
        let has_space = node.usage().total_bytes() < node.options.capacity_bytes / 100 * PULLS_UNTIL;
        if has_space && self.random.u8(..100) < 60 {
            return Some(self.pull(node));
        }
        let is_build = |tag: &String| tag.contains("/build:");
        let builds: Vec<_> = node.images().filter(|image| image.tags.iter().any(is_build)).collect();
        self.random.choice(builds).map(|image| image.id.clone())
    }

    fn start_job(&mut self, node: &mut Node) -> Result<(), SimError> {
        // Without an image it can't run; a kubelet would report ImagePullBackOff.
        let Some(image) = self.job_image(node) else { return Ok(()) };
        let steps: &[&str] = if self.random.bool() { &["clone", "build"] } else { &["test"] };
        let pod = self.add_pod(node, "ci", "job", steps, &image)?;
        self.jobs.push(pod);
        Ok(())
    }

    /// A pod with running containers of these names, all from one image.
    fn add_pod(
        &mut self,
        node: &mut Node,
        namespace: &str,
        name: &str,
        containers: &[&str],
        image: &str,
    ) -> Result<Pod, SimError> {
        self.pods += 1;
        let pod = PodSpec::new(namespace, format!("{name}-{}", self.pods), uid(self.pods));
        let sandbox = node.add_pod(pod)?;
        let specs = containers.iter().map(|name| ContainerSpec::new(&sandbox, *name).image(image));
        let containers = specs.map(|spec| node.add_container(spec.log(self.log.clone())));
        Ok(Pod { containers: containers.collect::<Result<_, _>>()?, sandbox })
    }

    fn end_oldest_job(&mut self, node: &mut Node) -> Result<(), SimError> {
        let pod = self.jobs.remove(0);
        // One that was lost is noted already.
        if node.sandbox(&pod.sandbox).is_some() { node.stop_sandbox(&pod.sandbox) } else { Ok(()) }
    }

    /// A container of a service crashes and is replaced.
    fn crash(&mut self, node: &mut Node) -> Result<(), SimError> {
        let Some(pod) = self.random.choice(&mut self.services) else { return Ok(()) };
        let Some(id) = pod.containers.first_mut() else { return Ok(()) };
        let Some(old) = node.container(id).cloned() else { return Ok(()) };
        node.set_container_state(id, ContainerState::Exited)?;
        let next = ContainerSpec::new(&pod.sandbox, old.spec.name)
            .attempt(old.spec.attempt + 1)
            .image(old.spec.image);
        *id = node.add_container(next.log(self.log.clone()))?;
        Ok(())
    }
}

/// The UID of the demo's pod of that number.
#[must_use]
pub fn uid(number: usize) -> String {
    format!("{number:08x}-0c1d-4e2f-8a3b-{number:012x}")
}

/// An image with that name in the registry of the demo: the base that all share, and a layer of so many MiB compressed.
#[must_use]
pub fn image(name: &str, mib: u64) -> ImageSpec {
    let base = LayerSpec::new("debian", 30 * MIB, 80 * MIB);
    let own = LayerSpec::new(name, mib * MIB, mib * MIB * 3);
    ImageSpec::new(format!("registry.example.com/{name}")).layer(base).layer(own)
}
