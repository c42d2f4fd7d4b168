//! Random nodes and policies: small, so that everything on them meets everything else.

use std::time::Duration;

use cri_gc_config::Unmanaged;
use cri_gc_sim::{ContainerSpec, ContainerState, ImageSpec, LayerSpec, LogSpec, Options, PodSpec};
use cri_gc_test_support::flavours::{Flavour, flavour, options};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::change::{Change, Trouble, change, trouble};
use crate::bed::{Bed, HOUR, MIB, MINUTE, uid};

/// A node, a policy, and what befalls it.
#[derive(Debug, Clone)]
pub struct Case {
    pods: Vec<Pod>,
    /// Images next to the sandbox image, which is number 0.
    images: Vec<Image>,
    runtime: Runtime,
    /// Log directories of unknown pods, by their age in minutes.
    orphans: Vec<u64>,
    policy: Policy,
    pub full_percent: u64,
    pub changes: Vec<Change>,
    pub troubles: Vec<Trouble>,
}

#[derive(Debug, Clone)]
struct Image {
    pinned: bool,
    /// An OCI artifact, and used by another program.
    artifact: bool,
    in_use_elsewhere: bool,
}

/// What differs between runtimes of one flavour.
#[derive(Debug, Clone)]
struct Runtime {
    container_image_ids: bool,
    pin_sandbox_image: bool,
    separate_container_fs: bool,
    /// Whether some lists of it are too large for an answer.
    short_answers: bool,
}

#[derive(Debug, Clone)]
struct Pod {
    /// Ready or not, and age in minutes.
    sandboxes: Vec<(bool, u64)>,
    containers: Vec<Container>,
    labelled: bool,
    /// Created only after the images were observed, so that it is young.
    recent: bool,
}

#[derive(Debug, Clone)]
struct Container {
    sandbox: usize,
    name: &'static str,
    attempt: u32,
    state: ContainerState,
    /// Minutes since it was made, and of these the ones that it lived.
    age: u64,
    lived: u64,
    image: usize,
    /// An image that is mounted into it.
    volume: Option<usize>,
    /// Whether its `image_ref` is a digest that no image has any more, so that only its `image` names one, by id.
    stale_ref: bool,
}

#[derive(Debug, Clone)]
struct Policy {
    min_age: u64,
    min_dead_age: u64,
    created_grace: u64,
    max_per_pod_container: i64,
    max_containers: i64,
    sandbox_min_age: u64,
    collect_unmanaged: bool,
    image_min_age: u64,
    image_max_age: u64,
    protect: Option<usize>,
}

const STATES: [ContainerState; 6] = [
    ContainerState::Exited,
    ContainerState::Exited,
    ContainerState::Exited,
    ContainerState::Created,
    ContainerState::Running,
    ContainerState::Unknown,
];

fn age() -> impl Strategy<Value = u64> {
    select(vec![0, 1, 4, 6, 11, 30, 120])
}

fn container() -> impl Strategy<Value = Container> {
    let parts =
        (0..4usize, select(vec!["app", "init"]), 0..4u32, select(STATES.to_vec()), age(), age(), 0..6usize);
    let uses = (prop::bool::weighted(0.4), 0..6usize, prop::bool::weighted(0.3));
    (parts, uses).prop_map(
        |((sandbox, name, attempt, state, age, lived, image), (mounts, volume, stale_ref))| Container {
            sandbox,
            name,
            attempt,
            state,
            age,
            lived: lived.min(age),
            image,
            volume: mounts.then_some(volume),
            stale_ref,
        },
    )
}

fn image() -> impl Strategy<Value = Image> {
    (prop::bool::weighted(0.2), prop::bool::weighted(0.2), prop::bool::weighted(0.2))
        .prop_map(|(pinned, artifact, in_use_elsewhere)| Image { pinned, artifact, in_use_elsewhere })
}

fn runtime() -> impl Strategy<Value = Runtime> {
    let half = || prop::bool::weighted(0.5);
    (half(), half(), half(), prop::bool::weighted(0.25)).prop_map(
        |(no_ids, no_pin, separate_container_fs, short_answers)| Runtime {
            container_image_ids: !no_ids,
            pin_sandbox_image: !no_pin,
            separate_container_fs,
            short_answers,
        },
    )
}

fn pod() -> impl Strategy<Value = Pod> {
    let sandbox = (prop::bool::weighted(0.3), age());
    let pod = (vec(sandbox, 1..4), vec(container(), 0..6), prop::bool::weighted(0.9), any::<bool>());
    let pod = pod.prop_map(|(sandboxes, containers, labelled, recent)| Pod {
        sandboxes,
        containers,
        labelled,
        recent,
    });
    (pod, prop::bool::weighted(0.4)).prop_map(|(pod, ended)| if ended { pod.ended() } else { pod })
}

impl Pod {
    /// The same, long after all of it has ended.
    fn ended(mut self) -> Self {
        self.sandboxes.iter_mut().for_each(|(ready, age)| (*ready, *age) = (false, 120 + *age));
        for container in &mut self.containers {
            (container.state, container.age) = (ContainerState::Exited, 120 + container.age);
        }
        self
    }
}

fn policy() -> impl Strategy<Value = Policy> {
    let minutes = || select(vec![0u64, 0, 1, 5, 60]);
    (
        (minutes(), select(vec![0u64, 1, 5]), select(vec![0u64, 5])),
        (-1..3i64, select(vec![-1i64, -1, -1, 0, 3])),
        (minutes(), any::<bool>()),
        (minutes(), select(vec![0u64, 0, 30])),
        option::of(0..6usize),
    )
        .prop_map(|(ages, limits, others, images, protect)| Policy {
            min_age: ages.0,
            min_dead_age: ages.1,
            created_grace: ages.2,
            max_per_pod_container: limits.0,
            max_containers: limits.1,
            sandbox_min_age: others.0,
            collect_unmanaged: others.1,
            image_min_age: images.0,
            image_max_age: images.1,
            protect,
        })
}

pub fn case() -> impl Strategy<Value = Case> {
    (
        vec(pod(), 1..5),
        (vec(image(), 2..6), runtime()),
        vec(age(), 0..4),
        policy(),
        select(vec![10u64, 83, 86, 92, 99]),
        vec(change(), 0..5),
        vec(trouble(), 0..3),
    )
        .prop_map(|(pods, (images, runtime), orphans, policy, full_percent, changes, troubles)| Case {
            pods,
            images,
            runtime,
            orphans,
            policy,
            full_percent,
            changes,
            troubles,
        })
}

impl Case {
    /// The node with what is not recent, and the settings.
    pub fn build(&self) -> Bed {
        self.build_of(|number| {
            let own = LayerSpec::new(format!("own-{number}"), 100 * MIB, 200 * MIB);
            let shared = LayerSpec::new(format!("shared-{}", number % 2), 50 * MIB, 100 * MIB);
            vec![own, shared]
        })
    }

    /// The case without images that another program uses: only the attempt to remove one reports it.
    pub fn without_other_programs(mut self) -> Self {
        self.images.iter_mut().for_each(|image| image.in_use_elsewhere = false);
        self
    }

    /// The same, of images that free on the disk exactly what the runtime reports.
    pub fn build_of_truthful_images(&self) -> Bed {
        self.build_of(|number| {
            let size = MIB * u64::try_from(100 + 70 * (number % 4)).unwrap();
            vec![LayerSpec::new(format!("own-{number}"), size, 0)]
        })
    }

    fn build_of(&self, layers: impl Fn(usize) -> Vec<LayerSpec>) -> Bed {
        let Runtime { container_image_ids, pin_sandbox_image, separate_container_fs, short_answers } =
            self.runtime;
        let mut bed = Bed::with(Options {
            capacity_bytes: 20_000 * MIB,
            container_image_ids,
            pin_sandbox_image,
            separate_container_fs,
            message_limit: if short_answers { 2_500 } else { options().message_limit },
            ..options()
        });
        let minutes = |count: u64| Duration::from_secs(60 * count);
        let policy = &self.policy;
        let containers = &mut bed.settings.container_gc;
        containers.min_age = minutes(policy.min_age);
        containers.min_dead_age = minutes(policy.min_dead_age);
        containers.created_grace = minutes(policy.created_grace);
        containers.max_per_pod_container = policy.max_per_pod_container;
        containers.max_containers = policy.max_containers;
        // One at a time, so that nothing comes between a check and the removal that it is for: that gap no client of a
        // runtime can close.
        containers.parallel_removals = 1;
        bed.settings.sandbox_gc.parallel_removals = 1;
        bed.settings.image_gc.parallel_removals = 1;
        bed.settings.sandbox_gc.min_age = minutes(policy.sandbox_min_age);
        bed.settings.image_gc.min_age = minutes(policy.image_min_age);
        bed.settings.image_gc.max_age = minutes(policy.image_max_age);
        if policy.collect_unmanaged {
            bed.settings.pods.unmanaged = Unmanaged::Collect;
        }
        bed.settings.image_gc.protect =
            policy.protect.map(|n| image_name(n).parse().unwrap()).into_iter().collect();
        for (number, traits) in self.images.iter().enumerate() {
            let image = ImageSpec::new(image_name(number + 1));
            let image = layers(number).into_iter().fold(image, ImageSpec::layer);
            let image = if traits.pinned { image.with(|image| image.pinned = true) } else { image };
            let id = bed.sim.add_image(if traits.artifact {
                image.with(|image| image.artifact = true)
            } else {
                image
            });
            if traits.in_use_elsewhere {
                bed.sim.with(|node| node.image_mut(&id).unwrap().held_by = Some("another".to_owned()));
            }
        }
        let long_ago = bed.sim.ago(48 * HOUR);
        bed.sim.with(|node| node.add_log_dir("lost+found", long_ago)).unwrap();
        self.add_pods(&bed, false);
        bed
    }

    /// What is made shortly before the passes.
    pub fn make_recent(&self, bed: &Bed) {
        self.add_pods(bed, true);
    }

    fn add_pods(&self, bed: &Bed, recent: bool) {
        let ago = |minutes: u64| bed.sim.ago(MINUTE * u32::try_from(minutes).unwrap());
        for (number, age) in self.orphans.iter().enumerate().filter(|(number, _)| (number % 2 == 0) == recent)
        {
            let name = format!("ns_orphan_{}", orphan(number));
            bed.sim.with(|node| node.add_log_dir(&name, ago(*age))).unwrap();
        }
        for (number, pod) in self.pods.iter().enumerate().filter(|(_, pod)| pod.recent == recent) {
            let mut sandboxes = Vec::new();
            for (attempt, (ready, age)) in (0u32..).zip(&pod.sandboxes) {
                // CRI-O refuses a pod that has no UID.
                let has_uid = pod.labelled || flavour() == Flavour::CriO;
                let uid = if has_uid { uid(number) } else { String::new() };
                let spec =
                    PodSpec::new("ns", format!("pod-{number}"), uid).attempt(attempt).created_at(ago(*age));
                let spec = if *ready { spec } else { spec.not_ready() };
                let spec = if pod.labelled {
                    spec
                } else {
                    spec.with(|pod| (pod.kubelet_labels, pod.log_directory) = (false, false))
                };
                sandboxes.push(bed.sim.add_pod(spec).unwrap());
            }
            for container in &pod.containers {
                let image = container.image % (self.images.len() + 1);
                let spec =
                    ContainerSpec::new(&sandboxes[container.sandbox % sandboxes.len()], container.name)
                        .attempt(container.attempt)
                        .image(if image == 0 { String::new() } else { image_name(image) })
                        .log(LogSpec { legacy_link: true, ..LogSpec::default() });
                let spec =
                    if pod.labelled { spec } else { spec.with(|spec| spec.kubelet_labels = false).no_log() };
                let spec = match container.volume.filter(|_| flavour().has_image_volumes()) {
                    Some(volume) => spec.image_volume(image_name(1 + volume % self.images.len())),
                    None => spec,
                };
                let spec = match bed.sim.with(|node| node.resolve_image(&spec.image)) {
                    Ok(id) if container.stale_ref => spec
                        .image(id)
                        .with(|spec| spec.image_ref = Some("r.example/web@sha256:aaaa".to_owned())),
                    _ => spec,
                };
                let made = ago(container.age);
                let spec = match container.state {
                    ContainerState::Exited => spec.exited(made, ago(container.age - container.lived)),
                    state => spec.created_at(made).state(state),
                };
                bed.sim.add_container(spec).unwrap();
            }
        }
    }
}

/// The UID of the pod of an orphaned log directory.
pub fn orphan(number: usize) -> String {
    uid(900 + number)
}

fn image_name(number: usize) -> String {
    format!("registry.example.com/app-{number}:1")
}
