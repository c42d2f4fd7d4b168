//! The life on the modelled node: pods come, pull images, crash and end, faster than on any real node, so that all loops
//! have something to do all the time. Also lets modelled time pass, as fast as real time does.
//!
//! Which things happen is drawn by chance with a fixed seed. It knows what must never go: what runs, and the logs of that;
//! should something of it be gone, it says so.

use std::time::Duration;

use cri_gc_sim::{
    ContainerSpec, ContainerState, ImageSpec, LayerSpec, LogSpec, Node, PodSpec, Sim, SimError,
};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// How often something happens.
pub const STEP: Duration = Duration::from_millis(300);

/// What else lies on the disk.
const OTHER: u64 = 8 * GIB;

/// Images that are there at the start.
const IMAGES: usize = 28;

/// Jobs that run at one time, at most.
const JOBS: usize = 7;

/// Sandboxes at which no job is begun any more: a real node has a limit too, and the logs here are real files.
const SANDBOXES: usize = 150;

/// Containers at which no service crashes any more, for the same reason.
const CONTAINERS: usize = 400;

/// How full the disk may be for a pull to succeed, in percent.
const PULLS_UNTIL: u64 = 96;

/// Services, which never end.
const SERVICES: [&str; 3] = ["web", "db", "cache"];

/// Steps after which the journal of calls is forgotten: nobody reads it, and it would grow for ever.
const FORGET: u64 = 100;

/// A pod that lives.
struct Pod {
    sandbox: String,
    /// Its containers that run, with how many of that name came before.
    runs: Vec<(String, u32)>,
}

/// The life.
pub struct Churn {
    sim: Sim,
    random: fastrand::Rng,
    services: Vec<Pod>,
    jobs: Vec<Pod>,
    /// The number of the next pod.
    pod: usize,
    /// The number of the next image.
    image: usize,
    steps: u64,
    lost: Vec<String>,
}

impl Churn {
    /// Puts services and images on the node.
    ///
    /// # Errors
    /// The temporary folder is full.
    pub fn begin(sim: &Sim) -> Result<Self, SimError> {
        let mut churn = Self {
            sim: sim.clone(),
            random: fastrand::Rng::with_seed(7),
            services: Vec::new(),
            jobs: Vec::new(),
            pod: 0,
            image: 0,
            steps: 0,
            lost: Vec::new(),
        };
        sim.clone().with(|node| {
            node.set_other_bytes(OTHER);
            for _ in 0..IMAGES {
                churn.pull(node);
            }
            for name in SERVICES {
                let image = ImageSpec::new(format!("registry.example.com/{name}:2.1"));
                node.add_image(image.layer(base()).layer(LayerSpec::new(name, 60 * MIB, 180 * MIB)));
                let pod =
                    churn.start(node, "shop", name, &[(name, format!("registry.example.com/{name}:2.1"))])?;
                churn.services.push(pod);
            }
            (0..3).try_for_each(|_| churn.job(node))
        })?;
        Ok(churn)
    }

    /// Lets that much time pass, and something happen.
    ///
    /// # Errors
    /// The temporary folder is full.
    pub fn step(&mut self, passed: Duration) -> Result<(), SimError> {
        self.steps += 1;
        if self.steps.is_multiple_of(FORGET) {
            self.sim.clear_calls();
        }
        self.sim.advance(passed);
        self.sim.clone().with(|node| {
            self.check(node);
            if self.jobs.len() > 2 && self.random.u8(..100) < 45 {
                self.end_the_oldest(node)?;
            }
            let room = self.jobs.len() < JOBS && node.sandboxes().count() < SANDBOXES;
            if room && self.random.u8(..100) < 55 {
                self.job(node)?;
            }
            if node.containers().count() < CONTAINERS && self.random.u8(..100) < 40 {
                self.crash(node)?;
            }
            Ok(())
        })
    }

    /// What ran and is gone all the same.
    #[must_use]
    pub fn lost(&self) -> &[String] {
        &self.lost
    }

    /// Containers that run now.
    #[must_use]
    pub fn running(&self) -> usize {
        self.services.iter().chain(&self.jobs).map(|pod| pod.runs.len()).sum()
    }

    /// Sees whether all that runs is still there, and takes note of what is not.
    fn check(&mut self, node: &Node) {
        for pod in self.services.iter_mut().chain(&mut self.jobs) {
            pod.runs.retain(|(id, _)| {
                let lost = match node.container(id) {
                    None => format!("container {id}"),
                    Some(container) if !container.log_path.exists() => {
                        format!("the log of container {id}")
                    }
                    Some(_) if node.sandbox(&pod.sandbox).is_none() => format!("sandbox {}", pod.sandbox),
                    Some(_) => return true,
                };
                self.lost.push(lost);
                false
            });
        }
    }

    fn pull(&mut self, node: &mut Node) -> String {
        self.image += 1;
        let (number, size) = (self.image, self.random.u64(100..220) * MIB);
        let name = format!("registry.example.com/build:1.{number}");
        let tools = LayerSpec::new(format!("tools-{number}"), size, size * 3);
        node.add_image(ImageSpec::new(&*name).layer(base()).layer(tools));
        name
    }

    /// An image for a job: a new one as often as not, if the disk has room for it.
    fn image(&mut self, node: &mut Node) -> Option<String> {
        let used = node.usage().total_bytes();
        let room = used < node.options().capacity_bytes / 100 * PULLS_UNTIL;
        if room && self.random.u8(..100) < 60 {
            return Some(self.pull(node));
        }
        let builds = node.images().flat_map(|image| &image.tags).filter(|tag| tag.contains("/build:"));
        let builds: Vec<&String> = builds.collect();
        self.random.choice(builds).cloned()
    }

    fn job(&mut self, node: &mut Node) -> Result<(), SimError> {
        // Nothing to run it from: a kubelet would say ImagePullBackOff.
        let Some(image) = self.image(node) else { return Ok(()) };
        let steps: &[&str] = if self.random.bool() { &["clone", "build"] } else { &["test"] };
        let containers: Vec<_> = steps.iter().map(|step| (*step, image.clone())).collect();
        let pod = self.start(node, "ci", "job", &containers)?;
        self.jobs.push(pod);
        Ok(())
    }

    fn start(
        &mut self,
        node: &mut Node,
        namespace: &str,
        name: &str,
        containers: &[(&str, String)],
    ) -> Result<Pod, SimError> {
        self.pod += 1;
        let number = self.pod;
        let uid = format!("{number:08x}-0c1d-4e2f-8a3b-{number:012x}");
        let sandbox = node.add_pod(PodSpec::new(namespace, format!("{name}-{number}"), uid))?;
        let mut runs = Vec::new();
        for (name, image) in containers {
            let container = ContainerSpec::new(&*sandbox, *name).image(&**image).log(log());
            runs.push((node.add_container(container)?, 0));
        }
        Ok(Pod { sandbox, runs })
    }

    fn end_the_oldest(&mut self, node: &mut Node) -> Result<(), SimError> {
        let pod = self.jobs.remove(0);
        // One that was lost has been told.
        if node.sandbox(&pod.sandbox).is_some() { node.stop_sandbox(&pod.sandbox) } else { Ok(()) }
    }

    /// A container of a service crashes, and another one takes its place.
    fn crash(&mut self, node: &mut Node) -> Result<(), SimError> {
        let Some(pod) = self.random.choice(&mut self.services) else { return Ok(()) };
        let Some((id, attempts)) = pod.runs.first_mut() else { return Ok(()) };
        let Some(old) = node.container(id).cloned() else { return Ok(()) };
        node.set_container_state(id, ContainerState::Exited)?;
        *attempts += 1;
        let next = ContainerSpec::new(&*pod.sandbox, old.name).attempt(*attempts).image(old.image);
        *id = node.add_container(next.log(log()))?;
        Ok(())
    }
}

fn base() -> LayerSpec {
    LayerSpec::new("debian", 30 * MIB, 80 * MIB)
}

fn log() -> LogSpec {
    LogSpec { bytes: 2_000, rotated: 0, legacy_link: true }
}
