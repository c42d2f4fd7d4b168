//! The service with the pod source `kube-api`, against an API server that a test controls.
//!
//! Only the driver's time is paused: the server lives in real time, and what goes over its socket needs turns of both sides
//! ([`World::exchange`]), not time.
//!
//! - here: a node that is also known to an API server. `confirmations`: what it takes until a deleted pod is removed. `freshness`: what
//!   keeps the source synced, and what ends that. `outages`: all that can go wrong, and the recovery from it. `random`: any order of
//!   events. `quiet`: what passes by itself is no error. `reload`: other settings. `node_events`: what is written to the server.

mod confirmations;
mod freshness;
mod node_events;
mod outages;
mod quiet;
mod random;
mod reload;

use std::cell::Cell;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use cri_gc_pods::{PodFacts, SourceState};
use cri_gc_policy::PodState;
use cri_gc_sim::{Code, ContainerSpec, Fault as RuntimeFault, Method, PodSpec, Scope, Sim};
use cri_gc_test_support::kubernetes::{FakeApi, On, PodObject};

use crate::stage::{HOUR, PERIOD, SECOND, Setup, Stage, clock_of, turns, uid};

pub const NODE: &str = "node-1";

/// The boot that the modelled node is in.
pub const BOOT: &str = "b0075b00-75b0-4075-b007-5b0075b00750";

/// Within this much driven time the source has to be synced again once the server is complete: the longest pause, spread.
pub const RECOVERS_WITHIN: Duration = Duration::from_secs(100);

/// A pod that was deleted, and of which nothing runs, is removed after so long: it is missing from the watch and from a new
/// list, and a get does not find it.
pub const REMOVED_WITHIN: Duration = Duration::from_secs(180);

/// Real time in which what is in progress comes to its end, unless one of our timers has to be due first.
const GIVEN: Duration = Duration::from_millis(60);

/// The same while the source is not synced, and most of the time waits for something of ours.
const GIVEN_ELSE: Duration = Duration::from_millis(20);

/// Rounds of turns in which both sides of a socket come to what they can do.
const ROUNDS: u32 = 5;

/// A node, and the API server that knows it, before the service starts.
pub struct Before {
    pub setup: Setup,
    pub api: FakeApi,
}

impl Before {
    pub fn new() -> Self {
        let api = FakeApi::start(NODE);
        api.set_node(NODE, BOOT);
        let mut setup = Setup::new();
        setup.seams.clock = clock_of(&setup.sim).of_boot(BOOT);
        setup.cannot = |_| None;
        // The kubelet has a directory of what it runs: without any, it would not be its root.
        std::fs::create_dir_all(kubelet_pods(&setup.sim).join(uid(1))).unwrap();
        let kubeconfig = api.write_kubeconfig(&setup.sim.paths().root).display().to_string();
        let setup = setup.set("node_name", NODE).set("pods.kube_api.kubeconfig", &kubeconfig);
        Self { setup, api }
    }

    /// The source stands in the file, and may be changed by a reload.
    pub fn by_file(mut self, text: &str) -> (Self, PathBuf) {
        let file = self.setup.file(text);
        self.setup.sources.overrides.retain(|(key, _)| key != "pods.kube_api.kubeconfig");
        (self, file)
    }

    pub fn set(self, key: &str, value: &str) -> Self {
        Self { setup: self.setup.set(key, value), ..self }
    }

    /// A pod that lives: it has a ready sandbox, and the API server has it.
    pub fn living(&self, number: usize) {
        living_pod(&self.setup.sim, number);
        self.api.apply(pod(number));
    }

    /// Starts the service with the source `kube-api`, and waits until the source is synced.
    pub async fn start(self) -> World {
        let world = self.set("pods.source", "kube-api").start_as_it_is().await;
        world.stage.until("the first list", async || world.is_followed().await.then_some(())).await;
        world
    }

    pub async fn start_as_it_is(self) -> World {
        let Self { setup, api } = self;
        World { stage: setup.start().await, api, was_followed: Cell::new(true) }
    }
}

/// What Kubernetes knows as the pod of that number.
pub fn pod(number: usize) -> PodObject {
    PodObject::new("ns", &format!("pod-{number}"), &uid(number)).phase("Running")
}

fn sandbox_spec(sim: &Sim, number: usize) -> PodSpec {
    PodSpec::new("ns", format!("pod-{number}"), uid(number)).created_at(sim.ago(HOUR))
}

pub fn living_pod(sim: &Sim, number: usize) {
    let sandbox = sim.add_pod(sandbox_spec(sim, number)).unwrap();
    sim.add_container(ended(sim, &sandbox, 0)).unwrap();
}

/// A pod of which nothing runs: a dead container, a sandbox that is not ready, a log directory.
pub fn dead_pod(sim: &Sim, number: usize) {
    let sandbox = sim.add_pod(sandbox_spec(sim, number).not_ready()).unwrap();
    sim.add_container(ended(sim, &sandbox, 0)).unwrap();
}

/// A container that ended half an hour ago; a larger attempt is a newer one.
pub fn ended(sim: &Sim, sandbox: &str, attempt: u32) -> ContainerSpec {
    let made = sim.ago(HOUR - attempt * SECOND);
    ContainerSpec::new(sandbox, "app").attempt(attempt).exited(made, made + HOUR / 2).no_log()
}

fn kubelet_pods(sim: &Sim) -> PathBuf {
    sim.paths().root.join("kubelet/pods")
}

/// How many containers, sandboxes and log directories there are of a pod.
pub fn left_of(sim: &Sim, number: usize) -> [usize; 3] {
    let (uid, name) = (uid(number), format!("ns_pod-{number}_{}", uid(number)));
    let (sandboxes, containers) = sim.with(|node| {
        let of_pod: Vec<String> =
            node.sandboxes().filter(|s| s.spec.uid == uid).map(|s| s.id.clone()).collect();
        (of_pod.len(), of_pod.iter().map(|id| node.containers_in(id).count()).sum())
    });
    [containers, sandboxes, usize::from(sim.paths().pod_logs_root.join(name).exists())]
}

pub const ALL: [usize; 3] = [1, 1, 1];
pub const NOTHING: [usize; 3] = [0, 0, 0];

/// A node with pod 1, which lives, and pod 2: it is confirmed deleted, and the runtime refuses to remove it until removals
/// are allowed.
pub async fn confirmed_but_refused() -> World {
    let before = Before::new().set("supervision.stuck_backoff_max", "1s");
    before.living(1);
    let world = before.start().await;
    world.dead_but_listed(2);
    world.pass_time(PERIOD).await;
    world.refuse_removals();
    world.api.delete("ns", "pod-2");
    world.pass_time(REMOVED_WITHIN).await;
    assert_eq!(world.state(2).await, PodState::Deleted);
    world
}

/// The service on a node that an API server knows.
pub struct World {
    pub stage: Stage,
    pub api: FakeApi,
    /// Whether the source was synced and followed when last checked.
    was_followed: Cell<bool>,
}

impl World {
    pub fn sim(&self) -> &Sim {
        &self.stage.sim
    }

    /// One more pod of which nothing runs, and which the API server has.
    pub fn dead_but_listed(&self, number: usize) {
        dead_pod(self.sim(), number);
        self.api.apply(pod(number));
    }

    pub fn kubelet_directory(&self, number: usize) -> PathBuf {
        kubelet_pods(self.sim()).join(uid(number))
    }

    // ---- The source ----

    pub async fn source(&self) -> SourceState {
        self.stage.service.tools.pods.source().await.unwrap()
    }

    /// The source is synced, and followed.
    pub async fn is_followed(&self) -> bool {
        self.source().await.synced && self.api.open_watches() == 1
    }

    /// Lets time pass until the source notices that it is no longer synced: by itself, and before it may be stale.
    pub async fn becomes_unsynced(&self, what: &str) {
        for _ in 0..30 {
            if !self.source().await.synced {
                break;
            }
            self.step(10 * SECOND).await;
        }
        let source = self.source().await;
        assert!(!source.synced && source.problem.is_some(), "{what}: {source:?}");
    }

    /// Lets time pass until the source says what is wrong with it.
    pub async fn fails_with(&self, why: &str) {
        let mut problem = None;
        for _ in 0..60 {
            problem = self.source().await.problem;
            if problem.as_ref().is_some_and(|problem| problem.contains(why)) {
                return;
            }
            self.step(5 * SECOND).await;
        }
        panic!("{why:?} is not said: {problem:?}\n{:#?}", self.stage.lines.all());
    }

    pub async fn facts(&self, number: usize) -> PodFacts {
        let facts = self.stage.service.tools.pods.source().await.unwrap().pods;
        facts.into_iter().find(|pod| pod.uid == uid(number)).unwrap()
    }

    pub async fn state(&self, number: usize) -> PodState {
        self.facts(number).await.state
    }

    pub async fn evidence(&self, number: usize) -> String {
        self.facts(number).await.standing.to_string()
    }

    // ---- Time ----

    /// Lets both sides do what they can do without any time passing.
    pub async fn exchange(&self) {
        for _ in 0..ROUNDS {
            turns(20).await;
            self.api.turn();
        }
        turns(20).await;
    }

    /// Waits, in no time of ours, until the server was requested so often. A page may be on its way to a thread that parses it,
    /// so that rounds of turns don't tell when the next is requested.
    pub async fn requested(&self, on: On, times: usize) {
        let requests = async || (self.api.count(on) >= times).then_some(());
        self.stage.until(&format!("{times} requests of {on:?}"), requests).await;
        assert_eq!(self.api.count(on), times, "{on:?}");
    }

    /// Lets both sides continue, in no time of ours, until the source is synced or that seems to need time. What is in progress
    /// takes other threads their own time, and driven deadlines would expire meanwhile.
    async fn settle(&self) {
        let began = Instant::now();
        loop {
            self.exchange().await;
            let is_followed = self.is_followed().await;
            let given = if self.was_followed.get() { GIVEN } else { GIVEN_ELSE };
            if is_followed || began.elapsed() > given {
                self.was_followed.set(is_followed);
                return;
            }
        }
    }

    pub async fn step(&self, by: Duration) {
        self.settle().await;
        self.stage.step(by).await;
        self.settle().await;
    }

    pub async fn pass_time(&self, span: Duration) {
        self.pass_time_by(PERIOD / 6, span, || ()).await;
    }

    /// Lets time pass by such steps, and does something before each.
    pub async fn pass_time_by(&self, step: Duration, mut span: Duration, mut act: impl FnMut()) {
        while !span.is_zero() {
            let step = span.min(step);
            act();
            self.step(step).await;
            span -= step;
        }
    }

    /// Lets time pass until the source is synced and followed. The server has to be complete.
    pub async fn recovers(&self, what: &str) {
        let small = 2 * SECOND;
        for _ in 0..RECOVERS_WITHIN.as_secs() / small.as_secs() {
            self.was_followed.set(true);
            self.settle().await;
            if self.was_followed.get() {
                return;
            }
            self.stage.step(small).await;
        }
        self.stage.until(what, async || self.is_followed().await.then_some(())).await;
    }

    /// Checks that a pod is removed as a whole within [`REMOVED_WITHIN`].
    pub async fn is_removed(&self, number: usize, what: &str) {
        self.pass_time(REMOVED_WITHIN).await;
        let facts = self.stage.service.tools.pods.source().await.unwrap().pods;
        let (left, lines) = (left_of(self.sim(), number), self.stage.lines.all());
        assert_eq!(left, NOTHING, "{what}: pod {number}\n{facts:#?}\n{lines:#?}");
    }

    /// Checks that all of these are there.
    #[track_caller]
    pub fn has_all(&self, numbers: &[usize], what: &str) {
        for number in numbers {
            assert_eq!(left_of(self.sim(), *number), ALL, "{what}: pod {number}");
        }
    }

    /// The runtime refuses all removals until [`Self::allow_removals`].
    pub fn refuse_removals(&self) {
        for method in [Method::RemoveContainer, Method::StopPodSandbox, Method::RemovePodSandbox] {
            self.sim().fault(method, RuntimeFault::error(Code::Internal, "busy"), Scope::Always);
        }
    }

    pub fn allow_removals(&self) {
        self.stage.clear_faults();
    }

    /// The lines that were logged about the source since they were taken last, by level and beginning.
    pub fn lines_of_source(&self) -> Vec<String> {
        let lines = self.stage.lines.take();
        // A thread that reads a file takes its own time, while that of its deadline is driven.
        let late = ["network mount that hangs", "no answer within"];
        let is_ours =
            |line: &String| line.contains("pod source") && !late.iter().any(|late| line.contains(late));
        lines.into_iter().filter(is_ours).collect()
    }
}
