//! Any order of events: pods come, finish and vanish, their containers run and die, and the server does all that a server can
//! do. Whatever happens, nothing is removed that belongs to an existing pod; after recovery everything of the others is removed.
//!
//! `CRI_GC_TEST_SEED` repeats one run, `CRI_GC_TEST_STEPS` makes it longer.

use std::collections::HashMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use cri_gc_sim::{ContainerSpec, ContainerState, PodSpec, SandboxState};
use cri_gc_test_support::kubernetes::{Fault, On};
use fastrand::Rng;

use super::{BOOT, Before, NODE, NOTHING, World, left_of, pod};
use crate::stage::{PERIOD, SECOND, uid};

const SEEDS: [u64; 3] = [1, 2, 3];
const STEPS: usize = 150;

/// No more pods than this are there at one time, so that a step is quick.
const MOST: usize = 25;

/// What is true of a pod, whatever the server says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Truth {
    Alive,
    Finished,
    Evicted,
    Deleted,
}

/// A pod as it was made, with all that was ever made of it.
struct Known {
    number: usize,
    truth: Truth,
    /// Whether it was evicted at any time: then all of it may be removed, or may have been.
    was_evicted: bool,
    /// Ids, the newest last.
    sandboxes: Vec<String>,
    /// Ids by name, the newest last.
    containers: HashMap<&'static str, Vec<String>>,
    log_directory: PathBuf,
}

struct Run {
    world: World,
    rng: Rng,
    pods: Vec<Known>,
    next: usize,
    /// What was done, for the reader of a failure.
    steps: Vec<String>,
}

impl Run {
    fn any(&mut self, which: impl Fn(&Known) -> bool) -> Option<usize> {
        // The first pod always runs: what it lists says that a list is ours.
        let all: Vec<usize> = (1..self.pods.len()).filter(|place| which(&self.pods[*place])).collect();
        (!all.is_empty()).then(|| all[self.rng.usize(..all.len())])
    }

    fn note(&mut self, what: String) {
        self.steps.push(what);
    }

    // ---- On the node ----

    fn sandbox(&mut self, place: usize, ready: bool) {
        let sim = self.world.sim();
        let Known { number, sandboxes, .. } = &mut self.pods[place];
        let attempt = u32::try_from(sandboxes.len()).unwrap();
        let spec = PodSpec::new("ns", format!("pod-{number}"), uid(*number)).attempt(attempt);
        let spec = spec.created_at(sim.ago(600 * SECOND - attempt * SECOND));
        let id = sim.add_pod(if ready { spec } else { spec.not_ready() }).unwrap();
        sandboxes.push(id);
    }

    fn container(&mut self, place: usize, runs: bool) {
        let name = ["app", "side"][self.rng.usize(..2)];
        let sim = self.world.sim();
        let Known { sandboxes, containers, .. } = &mut self.pods[place];
        let of_name = containers.entry(name).or_default();
        let attempt = u32::try_from(of_name.len()).unwrap();
        let made = sim.ago(600 * SECOND - attempt * SECOND);
        let spec = ContainerSpec::new(sandboxes.last().unwrap(), name).attempt(attempt).no_log();
        let spec = if runs { spec.created_at(made) } else { spec.exited(made, made + SECOND) };
        // Its sandbox may be gone by now.
        if let Ok(id) = sim.add_container(spec) {
            of_name.push(id);
        }
    }

    /// Nothing of it runs any more.
    fn stop(&mut self, place: usize) {
        let known = &self.pods[place];
        self.world.sim().with(|node| {
            for id in known.containers.values().flatten() {
                if node.container(id).is_some_and(|container| container.spec.state == ContainerState::Running)
                {
                    node.set_container_state(id, ContainerState::Exited).unwrap();
                }
            }
            for id in &known.sandboxes {
                if node.sandbox(id).is_some() {
                    node.set_sandbox_state(id, SandboxState::NotReady).unwrap();
                }
            }
        });
    }

    fn add(&mut self) {
        let number = self.next;
        self.next += 1;
        let name = format!("ns_pod-{number}_{}", uid(number));
        let log_directory = self.world.sim().paths().pod_logs_root.join(name);
        let (sandboxes, containers) = Default::default();
        let (truth, was_evicted) = (Truth::Alive, false);
        self.pods.push(Known { number, truth, was_evicted, sandboxes, containers, log_directory });
        let place = self.pods.len() - 1;
        let runs = place == 0 || self.rng.bool();
        // The server knows it first, as everywhere.
        self.world.api.apply(pod(number));
        self.sandbox(place, runs);
        for _ in 0..self.rng.usize(1..4) {
            let runs = runs && self.rng.bool();
            self.container(place, runs);
        }
        if self.rng.usize(..3) == 0 {
            std::fs::create_dir_all(self.world.kubelet_directory(number)).unwrap();
        }
        self.note(format!("pod {number}, runs: {runs}"));
    }

    fn on_the_node(&mut self) {
        match self.rng.usize(..7) {
            0 | 1 if self.pods.len() < MOST => self.add(),
            2 => {
                let Some(place) = self.any(|known| known.truth == Truth::Alive) else { return };
                let (truth, object) = {
                    let object = pod(self.pods[place].number);
                    match self.rng.usize(..3) {
                        0 => (Truth::Evicted, object.phase("Failed").reason("Evicted")),
                        1 => (Truth::Finished, object.phase("Failed")),
                        _ => (Truth::Finished, object.phase("Succeeded")),
                    }
                };
                self.world.api.apply(object);
                self.pods[place].truth = truth;
                self.pods[place].was_evicted = truth == Truth::Evicted;
                self.note(format!("pod {} is {truth:?}", self.pods[place].number));
            }
            3 => {
                let Some(place) = self.any(|known| known.truth != Truth::Deleted) else { return };
                let number = self.pods[place].number;
                if self.rng.bool() {
                    self.stop(place);
                }
                assert!(self.world.api.delete("ns", &format!("pod-{number}")));
                self.pods[place].truth = Truth::Deleted;
                self.note(format!("pod {number} is deleted"));
            }
            4 => {
                let Some(place) = self.any(|known| known.truth == Truth::Alive) else { return };
                if self.rng.bool() {
                    let runs = self.rng.bool();
                    self.stop(place);
                    self.sandbox(place, runs);
                } else {
                    self.container(place, false);
                }
            }
            5 => {
                let Some(place) = self.any(|_| true) else { return };
                self.stop(place);
                self.note(format!("pod {} stops", self.pods[place].number));
            }
            _ => {
                let Some(place) = self.any(|known| known.truth == Truth::Deleted) else { return };
                // A kubelet that is done.
                let _ = std::fs::remove_dir(self.world.kubelet_directory(self.pods[place].number));
            }
        }
    }

    // ---- At the server ----

    fn at_the_server(&mut self) {
        let number = self.rng.usize(..20);
        let on = [On::List, On::Watch, On::Get, On::Node, On::Any][self.rng.usize(..5)];
        let fault = match self.rng.usize(..6) {
            0 => Fault::Status([401, 403, 404, 410, 429, 500, 503][self.rng.usize(..7)]),
            1 => {
                Fault::PlainText([200, 404, 410, 502][self.rng.usize(..4)], "404 page not found\n".to_owned())
            }
            2 => Fault::CutBody(self.rng.usize(..400)),
            3 => Fault::Garbage(
                ["{}", "", "{\"kind\":\"PodList\",\"items\":[]}", "null"][self.rng.usize(..4)].to_owned(),
            ),
            4 => Fault::Delay(Duration::from_millis(self.rng.u64(..5))),
            // A question that hangs would block a pass, and with it the test's time.
            _ if matches!(on, On::Get | On::Any) => Fault::Status(504),
            _ => Fault::Stall,
        };
        let api = &self.world.api;
        match number {
            0..4 => api.fail_next(on, fault.clone()),
            4 => api.fail(on, Some(fault.clone())),
            5 | 6 => api.clear_faults(),
            7 | 8 => api.bookmark(),
            9 => api.compact(),
            10 => api.close_watches(),
            11 => api.cut_watches(),
            12 => api.freeze_lists(),
            13 => api.thaw_lists(),
            14 => api.expired_watch_as_http(self.rng.bool()),
            15 => api.set_max_page(self.rng.usize(1..5)),
            16 => api.stop_listening(),
            17 => {
                api.listen_again();
                api.thaw_lists();
                api.clear_faults();
                api.set_node(NODE, BOOT);
            }
            18 => api.set_node(NODE, if self.rng.usize(..3) == 0 { "another boot" } else { BOOT }),
            // The store is wiped and restored: the versions start again.
            _ => {
                api.wipe();
                for known in &self.pods {
                    let object = pod(known.number);
                    match known.truth {
                        Truth::Alive => api.apply(object),
                        Truth::Finished => api.apply(object.phase("Succeeded")),
                        Truth::Evicted => api.apply(object.phase("Failed").reason("Evicted")),
                        Truth::Deleted => {}
                    }
                }
            }
        }
        self.note(format!("server: {number} {on:?} {fault:?}"));
    }

    /// All is well from now on.
    fn restore(&mut self) {
        let api = &self.world.api;
        api.thaw_lists();
        api.expired_watch_as_http(false);
        api.set_node(NODE, BOOT);
        api.listen_again();
        api.clear_faults();
        for place in 1..self.pods.len() {
            if matches!(self.pods[place].truth, Truth::Deleted | Truth::Evicted) {
                self.stop(place);
                let _ = std::fs::remove_dir(self.world.kubelet_directory(self.pods[place].number));
            }
        }
    }

    // ---- What has to be there ----

    /// Checks that nothing was removed that must be kept, and forgets pods of which nothing is left.
    fn check(&mut self, context: &str) {
        let world = &self.world;
        let steps = || format!("{context}\n{:#?}\n{:#?}", self.steps, world.stage.lines.all());
        world.sim().with(|node| {
            for known in &self.pods {
                let has_directory = world.kubelet_directory(known.number).exists();
                let protected = match known.truth {
                    Truth::Alive | Truth::Finished => true,
                    Truth::Evicted => false,
                    Truth::Deleted => has_directory && !known.was_evicted,
                };
                if !protected {
                    continue;
                }
                // Beyond the limits: all but the newest of each unit, and all but the newest sandbox.
                for (name, ids) in &known.containers {
                    let newest = ids.iter().rev().find(|id| {
                        node.container(id)
                            .is_none_or(|container| container.spec.state != ContainerState::Running)
                    });
                    if let Some(id) = newest {
                        assert!(
                            node.container(id).is_some(),
                            "pod {} {name} {id}: {}",
                            known.number,
                            steps()
                        );
                    }
                }
                let newest = known.sandboxes.last().unwrap();
                assert!(node.sandbox(newest).is_some(), "pod {} sandbox {newest}: {}", known.number, steps());
                assert!(known.log_directory.exists(), "pod {} logs: {}", known.number, steps());
            }
        });
        let sim = self.world.sim().clone();
        self.pods.retain(|known| known.truth != Truth::Deleted || left_of(&sim, known.number) != NOTHING);
    }
}

/// What runs is never removed: the modelled runtime notes each removal of such a thing.
async fn run(seed: u64, steps: usize) {
    let mut stderr = std::io::stderr();
    writeln!(stderr, "CRI_GC_TEST_SEED={seed} CRI_GC_TEST_STEPS={steps}").unwrap();
    let mut before = Before::new().set("supervision.stuck_backoff_max", "1s");
    before = before.set("pods.source", "kube-api");
    let world = before.start_as_it_is().await;
    let mut run = Run { world, rng: Rng::with_seed(seed), pods: Vec::new(), next: 1, steps: Vec::new() };
    for _ in 0..4 {
        run.add();
    }
    let running = |run: &Run| -> Vec<String> {
        run.world.sim().with(|node| {
            let running =
                node.containers().filter(|container| container.spec.state == ContainerState::Running);
            let ready = node.sandboxes().filter(|sandbox| sandbox.spec.state == SandboxState::Ready);
            running
                .map(|container| container.id.clone())
                .chain(ready.map(|sandbox| sandbox.id.clone()))
                .collect()
        })
    };
    for step in 0..steps {
        for _ in 0..run.rng.usize(..3) {
            run.on_the_node();
        }
        for _ in 0..run.rng.usize(..3) {
            run.at_the_server();
        }
        let by = [1, 5, 10, 20, 60][run.rng.usize(..5)] * SECOND;
        run.note(format!("step {step} by {by:?}"));
        let runs = running(&run);
        run.world.step(by).await;
        let still = running(&run);
        assert!(runs.iter().all(|id| still.contains(id)), "seed {seed} step {step}: what runs was removed");
        run.check(&format!("seed {seed} step {step}"));
    }
    run.restore();
    run.world.recovers("restored").await;
    // The brake is released after ten minutes.
    for _ in 0..20 {
        run.world.pass_time(PERIOD).await;
        run.check(&format!("seed {seed}, restored"));
    }
    let gone = |known: &&Known| matches!(known.truth, Truth::Deleted | Truth::Evicted);
    let facts = run.world.stage.service.tools.pods.source().await.unwrap().pods;
    for known in run.pods.iter().filter(gone) {
        let left = left_of(run.world.sim(), known.number);
        let lines = run.world.stage.lines.all();
        assert_eq!(left, NOTHING, "seed {seed}: pod {}\n{facts:#?}\n{lines:#?}", known.number);
    }
    assert!(run.next > 5 && run.world.sim().container_ids().len() > 1);
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

async fn nth(place: usize) {
    let steps = number("CRI_GC_TEST_STEPS").map_or(STEPS, |steps| usize::try_from(steps).unwrap());
    let seed = number("CRI_GC_TEST_SEED").map_or(SEEDS[place], |seed| seed + place as u64);
    run(seed, steps).await;
}

#[actix_rt::test]
async fn nothing_of_an_existing_pod_is_ever_removed_1() {
    nth(0).await;
}

#[actix_rt::test]
async fn nothing_of_an_existing_pod_is_ever_removed_2() {
    nth(1).await;
}

#[actix_rt::test]
async fn nothing_of_an_existing_pod_is_ever_removed_3() {
    nth(2).await;
}
