//! The pods of the modelled node: they come, pull images, crash and end, faster than on any real node, so that all loops
//! always have something to do. Modelled time passes as fast as real time.
//!
//! What happens is drawn at random with a fixed seed. It knows what must never be removed: what runs, and its logs; it
//! notes what was removed all the same.

use std::time::Duration;

use cri_gc_sim::{ContainerSpec, ContainerState, LogSpec, Node, PodSpec, Sim, SimError};

use crate::demo::node::{build_image, build_tag, service_image, service_tag, uid};

/// How often something happens.
pub const STEP: Duration = Duration::from_millis(300);

/// What else lies on the disk.
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
    /// Its containers that run, with how many of that name came before.
    runs: Vec<(String, u32)>,
}

/// The pods.
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
    pub fn start(sim: &Sim) -> Result<Self, SimError> {
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
                node.add_image(service_image(name, 60));
                let pod = churn.add_pod(node, "shop", name, &[name], &service_tag(name))?;
                churn.services.push(pod);
            }
            (0..3).try_for_each(|_| churn.job(node))
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

    /// What was in use and was removed all the same.
    #[must_use]
    pub fn lost(&self) -> &[String] {
        &self.lost
    }

    /// Containers that run now.
    #[must_use]
    pub fn running(&self) -> usize {
        self.services.iter().chain(&self.jobs).map(|pod| pod.runs.len()).sum()
    }

    /// Notes what was removed though it runs.
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
        node.add_image(build_image(self.image, self.random.u64(100..220)));
        build_tag(self.image)
    }

    /// An image for a job: a new one about half the time, if the disk has space for it.
    fn image(&mut self, node: &mut Node) -> Option<String> {
        let used = node.usage().total_bytes();
        let has_space = used < node.options().capacity_bytes / 100 * PULLS_UNTIL;
        if has_space && self.random.u8(..100) < 60 {
            return Some(self.pull(node));
        }
        let builds = node.images().flat_map(|image| &image.tags).filter(|tag| tag.contains("/build:"));
        let builds: Vec<&String> = builds.collect();
        self.random.choice(builds).cloned()
    }

    fn job(&mut self, node: &mut Node) -> Result<(), SimError> {
        // Without an image it can't run; a kubelet would report ImagePullBackOff.
        let Some(image) = self.image(node) else { return Ok(()) };
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
        self.pod += 1;
        let pod = PodSpec::new(namespace, format!("{name}-{}", self.pod), uid(self.pod));
        let sandbox = node.add_pod(pod)?;
        let mut runs = Vec::new();
        for name in containers {
            let container = ContainerSpec::new(&*sandbox, *name).image(image).log(log());
            runs.push((node.add_container(container)?, 0));
        }
        Ok(Pod { sandbox, runs })
    }

    fn end_the_oldest(&mut self, node: &mut Node) -> Result<(), SimError> {
        let pod = self.jobs.remove(0);
        // One that was lost is noted already.
        if node.sandbox(&pod.sandbox).is_some() { node.stop_sandbox(&pod.sandbox) } else { Ok(()) }
    }

    /// A container of a service crashes and is replaced.
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

fn log() -> LogSpec {
    LogSpec { bytes: 2_000, rotated: 0, legacy_link: true }
}
