//! How a node has to be once all trouble has ended: clean within three periods after the last grace is over, with no loop silent, and
//! with a service that says so.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cri_gc::wiring::Service;
use cri_gc_collectors::collector::{Doing, LoopHandle, LoopState};
use cri_gc_collectors::whole;
use cri_gc_config::{Settings, Unmanaged};
use cri_gc_policy::{PlanReport, decide};
use cri_gc_sim::{ContainerState, Node, SandboxState};
use tokio::time::timeout;

use crate::happenings::{pass, read_again, resume_all};
use crate::judge::{Judge, Phase, is_old, is_protected, is_uid, uses};
use crate::policy;
use crate::world::{Listing, World};

/// The periods of the loops on containers, and of image GC.
const PERIODS: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(120)];

/// After which time many pods that disappear at once are deleted (behaviour: Confirmed deletion), and what was left of the faults has
/// passed: a back-off, a question that was waited for, the clock.
const SETTLED: Duration = Duration::from_secs(11 * 60);

/// Ends all trouble, lets the time pass that everything may take, and checks the node and the service.
pub async fn calm(world: &mut World, service: &Service) {
    world.story.tell("from now on all is well");
    if world.runtime_back_at.is_some() || !world.sim.is_running() {
        world.start_runtime();
    }
    world.end_faults();
    world.judge.watch(&world.sim);
    world.panics.store(0, std::sync::atomic::Ordering::SeqCst);
    world.set_the_clock_right();
    world.listing = Listing::True;
    world.end_what_no_pod_has();
    world.write_pods();
    resume_all(world, service).await;
    let text = policy::enforcing(&world.policy);
    world.write_config(&text);
    read_again(world, service, text).await;
    let settings = world.settings().unwrap();
    pass(world, policy::longest_grace(&settings) + SETTLED).await;
    pass(world, 3 * PERIODS[1]).await;
    if world.judge.is_violated() {
        return;
    }
    let judge = world.judge.clone();
    let left = world.sim.with(|node| left(node, &settings, &judge));
    left.into_iter().for_each(|what| world.judge.violated(format!("the node is not clean: {what}")));
    directories(world);
    disk(world, &settings);
    for handle in &service.loops {
        match timeout(Duration::from_secs(5), handle.state()).await {
            Ok(Some(state)) => state_is_true(world, handle, &state),
            _ => world.judge.violated(format!("{} does not answer for its state", handle.of.as_str())),
        }
    }
    if world.judge.is_violated() {
        tell_what_is_kept(world, service, &settings).await;
    }
    let reachable = service.tools.gateway.runtime().await.and_then(|runtime| runtime.reachable);
    if reachable != Some(true) {
        world.judge.violated(format!("the runtime answers, and the status says {reachable:?}"));
    }
    let expected = format!("{settings:?}");
    let state = service.configuration.state().await;
    if state.is_none_or(|state| format!("{:?}", state.generation.settings) != expected) {
        world.judge.violated("the settings in force are not those of the file".to_owned());
    }
}

/// Why the service keeps what it keeps.
async fn tell_what_is_kept(world: &World, service: &Service, settings: &Settings) {
    let Ok(whole) = whole::look(&service.tools, settings).await else { return };
    let policy = settings.policy();
    let plan = PlanReport::new(&decide(&whole.observation, &policy), &whole.observation, &policy);
    let sections = [&plan.containers, &plan.sandboxes, &plan.log_dirs, &plan.images.section];
    for item in sections.into_iter().flat_map(|section| &section.keep) {
        world.story.tell(format!("kept: {} {}: {}", item.id, item.name, item.detail));
    }
}

/// What is there that has to be removed.
fn left(node: &Node, settings: &Settings, judge: &Judge) -> Vec<String> {
    let policy = &settings.container_gc;
    let collects = settings.pods.unmanaged == Unmanaged::Collect;
    let mut left = Vec::new();
    let mut units: BTreeMap<(String, String), usize> = BTreeMap::new();
    for container in node.containers() {
        let uid = node.pod_of(container);
        let state = container.spec.state;
        let dead = matches!(state, ContainerState::Exited | ContainerState::Created);
        let old = is_old(node, container.created_at, policy.min_age.max(policy.created_grace))
            && container.spec.finished_at.is_none_or(|at| is_old(node, at, policy.min_dead_age));
        if !dead || !old || uid.is_empty() && !collects {
            continue;
        }
        if uid.is_empty() || judge.is_gone(node, &uid) {
            left.push(format!("container {} of pod {uid:?}, which is gone, is there", container.id));
        } else {
            *units.entry((uid, container.spec.name.clone())).or_default() += 1;
        }
    }
    if let Ok(most) = usize::try_from(policy.max_per_pod_container) {
        let over = units.iter().filter(|(_, count)| **count > most);
        left.extend(over.map(|(unit, count)| format!("{count} dead containers of {unit:?} are there")));
    }
    if let Ok(most) = usize::try_from(policy.max_containers) {
        let all: usize = units.values().sum();
        if all > most {
            left.push(format!("{all} dead containers are there, over the limit of the node"));
        }
    }
    let mut older: BTreeSet<&str> = BTreeSet::new();
    for sandbox in node.sandboxes() {
        let uid = &sandbox.spec.uid;
        let empty = node.containers_in(&sandbox.id).next().is_none();
        let old = is_old(node, sandbox.created_at, settings.sandbox_gc.min_age);
        if sandbox.spec.state != SandboxState::NotReady || !empty || !old || uid.is_empty() && !collects {
            continue;
        }
        if judge.is_gone(node, uid) {
            left.push(format!("sandbox {} of pod {uid:?}, which is gone, is there", sandbox.id));
        } else if !older.insert(uid) {
            left.push(format!("several dead and empty sandboxes of pod {uid:?} are there"));
        }
    }
    left
}

/// The log directories of pods that are gone are removed.
fn directories(world: &World) {
    let root = &world.sim.paths().pod_logs_root;
    for entry in std::fs::read_dir(root).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let uid = name.rsplit('_').next().unwrap_or_default().to_owned();
        let is_of_pod = is_uid(&uid);
        let is_kept = world.sim.with(|node| {
            node.sandboxes().any(|sandbox| sandbox.spec.uid == uid)
                || node.containers().any(|container| node.pod_of(container) == uid)
                || node.pod_runs(&uid)
                || !world.judge.is_gone(node, &uid)
        });
        let known = world.pods.iter().any(|pod| pod.uid == uid && pod.phase != Phase::Deleted);
        if is_of_pod && !is_kept && !known {
            world.judge.violated(format!("the node is not clean: the log directory {name} is there"));
        }
    }
}

/// The disk is as empty as can be.
fn disk(world: &World, settings: &Settings) {
    let policy = &settings.image_gc;
    world.sim.with(|node| {
        let Ok(stats) = node.statvfs(&node.paths.images) else { return };
        let high = stats.capacity_bytes / 100 * u64::from(100 - policy.high_threshold_percent);
        if stats.available_bytes > high {
            return;
        }
        for image in node.images() {
            let in_use = node.containers().any(|container| uses(container, &image.id));
            let protected = is_protected(settings, image);
            let named =
                world.pods.iter().any(|pod| pod.phase == Phase::Running && image.tags.contains(&pod.image));
            let pause = image.tags.contains(&node.options.sandbox_image);
            if !in_use && !protected && !named && !pause && !image.pinned {
                world.judge.violated(format!(
                    "the disk is full, and the image {:?}, which nothing uses, is there",
                    image.tags
                ));
            }
        }
    });
}

/// What the loop says of itself is true.
fn state_is_true(world: &World, handle: &LoopHandle, state: &LoopState) {
    let name = handle.of.as_str();
    let period = if name == "image_gc" { PERIODS[1] } else { PERIODS[0] };
    let violated = |what: String| world.judge.violated(format!("{name} {what}"));
    if !matches!(state.doing, Doing::Waiting | Doing::Running) {
        violated(format!("is {}", state.doing.as_str()));
    }
    let ago = state.last.as_ref().map(|last| {
        let ended = last.started_at + last.took;
        world.sim.now().duration_since(ended).unsigned_abs()
    });
    if ago.is_none_or(|ago| ago > 2 * period) {
        violated(format!("is silent: its last pass ended {ago:?} ago"));
    }
    for stuck in &state.stuck {
        violated(format!("says that {} can't be removed: {}", stuck.removal.id, stuck.removal.outcome));
    }
    // A disk that remains full is none of its failures to hide.
    if state.failures > 0 && name != "image_gc" {
        violated(format!("fails: {:?}", state.last.as_ref().map(|last| &last.errors)));
    }
}
