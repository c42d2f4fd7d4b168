//! The service with the pod source `kubelet`: read once a period, believed only where two answers in a row agree.

use std::cell::Cell;
use std::time::{Duration, Instant};

use cri_gc_policy::PodState::{self, Active, Unknown};
use cri_gc_sim::{PodSpec, Sim};
use cri_gc_test_support::kubernetes::{FakeKubelet, Fault, On, PodObject};
use cri_gc_test_support::on_each_flavour;

use jiff::{SignedDuration, Timestamp};

use crate::stage::{HOUR, PERIOD, SECOND, Setup, Stage, turns, uid};

on_each_flavour!(
    #[actix_rt::test] async:
    it_is_called_once_a_period_and_a_pod_that_it_does_not_list_is_removed,
    a_restarted_kubelet_removes_nothing_of_a_living_pod,
    a_renewed_token_and_all_failures_recover_by_themselves,
);

const NODE: &str = "node-1";

/// The API's pod of that number, as the kubelet reports it.
fn listed(number: usize) -> PodObject {
    PodObject::new("ns", &format!("pod-{number}"), &uid(number)).phase("Running")
}

fn sandbox(sim: &Sim, number: usize, ready: bool) -> String {
    let spec = PodSpec::new("ns", format!("pod-{number}"), uid(number)).created_at(sim.ago(HOUR));
    sim.add_pod(if ready { spec } else { spec.not_ready() }).unwrap()
}

/// Whether anything of a pod is there.
fn exists(sim: &Sim, number: usize) -> bool {
    let known = sim.with(|node| node.sandboxes().any(|sandbox| sandbox.spec.uid == uid(number)));
    known || sim.paths().pod_logs_root.join(format!("ns_pod-{number}_{}", uid(number))).exists()
}

struct World {
    stage: Stage,
    kubelet: FakeKubelet,
    /// How old its last list is at most, while all is well.
    fresh: SignedDuration,
    was_fresh: Cell<bool>,
}

/// A node with one pod that runs, and one of which nothing does.
async fn world(kubelet: FakeKubelet, setup: Setup, period: i64) -> World {
    sandbox(&setup.sim, 1, true);
    sandbox(&setup.sim, 2, false);
    std::fs::create_dir_all(setup.sim.paths().root.join("kubelet/pods").join(uid(1))).unwrap();
    let url = kubelet.url() + "/pods";
    let setup = setup.set("pods.source", "kubelet").set("pods.kubelet.url", &url);
    let fresh = SignedDuration::from_secs(period + 5);
    let stage = setup.set("pods.kubelet.period", &format!("{period}s")).start().await;
    let world = World { stage, kubelet, fresh, was_fresh: Cell::new(true) };
    world.stage.until("the first list", async || world.listed_at().await.map(drop)).await;
    world
}

impl World {
    /// Lets that much time pass, by small steps: what is in progress takes other threads their own time.
    async fn pass_time(&self, span: Duration) {
        for _ in 0..span.as_secs() / 5 {
            self.stage.step(5 * SECOND).await;
            self.exchange().await;
        }
    }

    /// Lets both sides continue, in no time of ours, until all requests are answered or that seems to need time.
    async fn exchange(&self) {
        let began = Instant::now();
        loop {
            for _ in 0..5 {
                turns(20).await;
                self.kubelet.turn();
            }
            let at = self.listed_at().await;
            let is_fresh = at.is_some_and(|at| self.stage.sim.now().duration_since(at) < self.fresh);
            let given = Duration::from_millis(if self.was_fresh.get() { 80 } else { 5 });
            if is_fresh || began.elapsed() > given {
                self.was_fresh.set(is_fresh);
                return;
            }
        }
    }

    async fn state(&self, number: usize) -> PodState {
        let facts = self.stage.service.tools.pods.source().await.unwrap().pods;
        facts.into_iter().find(|pod| pod.uid == uid(number)).map_or(Unknown, |pod| pod.state)
    }

    async fn listed_at(&self) -> Option<Timestamp> {
        self.stage.service.tools.pods.source().await.unwrap().synced_at
    }

    async fn problem(&self) -> Option<String> {
        self.stage.service.tools.pods.source().await.unwrap().problem
    }

    /// Lets time pass until the source says what is wrong with it.
    async fn fails_with(&self, why: &str) {
        let mut problem = None;
        for _ in 0..60 {
            problem = self.problem().await;
            if problem.as_ref().is_some_and(|problem| problem.contains(why)) {
                return;
            }
            self.pass_time(5 * SECOND).await;
        }
        panic!("{why:?} is not said: {problem:?}");
    }

    fn source_lines(&self) -> Vec<String> {
        let lines = self.stage.lines.take();
        // A thread that reads a file takes its own time, while that of its deadline is driven.
        let late = ["network mount that hangs", "no answer within"];
        let is_ours =
            |line: &String| line.contains("pod source") && !late.iter().any(|late| line.contains(late));
        lines.into_iter().filter(is_ours).collect()
    }
}

async fn it_is_called_once_a_period_and_a_pod_that_it_does_not_list_is_removed() {
    let kubelet = FakeKubelet::start(NODE);
    kubelet.set_pods(vec![listed(1), listed(2)]);
    let world = world(kubelet, Setup::new(), 30).await;
    world.pass_time(10 * PERIOD).await;
    let asked = world.kubelet.count(On::List);
    assert!((20..=22).contains(&asked), "{asked}");
    assert_eq!((world.state(1).await, world.state(2).await), (Active, Active));
    world.kubelet.set_pods(vec![listed(1)]);
    // One answer without it may be wrong.
    world.pass_time(30 * SECOND).await;
    assert!(exists(&world.stage.sim, 2));
    world.pass_time(3 * PERIOD).await;
    assert!(!exists(&world.stage.sim, 2) && exists(&world.stage.sim, 1));
    assert_eq!(world.source_lines(), Vec::<String>::new());
}

async fn a_restarted_kubelet_removes_nothing_of_a_living_pod() {
    let kubelet = FakeKubelet::start(NODE);
    kubelet.set_pods(vec![listed(1), listed(2)]);
    let world = world(kubelet, Setup::new(), 10).await;
    world.pass_time(PERIOD).await;
    // What runs is a static pod: it is all that the kubelet knows until it has reached the API server.
    let fixed = || listed(1).from_file();
    for restart in 0..3 {
        world.kubelet.stop_listening();
        world.pass_time(PERIOD).await;
        world.kubelet.set_pods(if restart == 1 { Vec::new() } else { vec![fixed()] });
        world.kubelet.listen_again();
        world.pass_time(5 * PERIOD).await;
        assert!(exists(&world.stage.sim, 2), "it was restarted");
        assert_eq!(world.state(2).await, Unknown);
        let why = if restart == 1 {
            "lists none of the pods that run here (1 "
        } else {
            "it may have just started"
        };
        world.fails_with(why).await;
        world.kubelet.set_pods(vec![fixed(), listed(2)]);
        world.pass_time(2 * PERIOD).await;
        assert_eq!((world.state(2).await, world.problem().await), (Active, None));
        let lines = world.source_lines();
        assert!(lines.first().is_some_and(|line| line.starts_with("ERRO")), "{lines:#?}");
        assert!(
            lines.last().is_some_and(|line| line.contains("pod source kubelet synced again")),
            "{lines:#?}"
        );
        assert!(lines.len() <= 10, "{lines:#?}");
    }
    world.kubelet.set_pods(vec![fixed()]);
    world.pass_time(5 * PERIOD).await;
    assert!(exists(&world.stage.sim, 2));
    // It has said so for ten minutes.
    world.pass_time(8 * PERIOD).await;
    assert!(!exists(&world.stage.sim, 2) && exists(&world.stage.sim, 1));
}

async fn a_renewed_token_and_all_failures_recover_by_themselves() {
    let kubelet = FakeKubelet::start_https(NODE);
    kubelet.set_token(Some("first"));
    kubelet.set_pods(vec![listed(1), listed(2)]);
    let setup = Setup::new();
    let root = setup.sim.paths().root.clone();
    let put = |name: &str, text: &str| {
        let path = root.join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (token, ca) = (put("token", "first"), put("ca.pem", kubelet.ca_pem()));
    let setup = setup.set("pods.kubelet.token_file", &token).set("pods.kubelet.ca_file", &ca);
    let world = world(kubelet, setup, 10).await;
    // A kubelet that does not answer in time, or not correctly, is not believed, and neither are its earlier answers.
    let faults: [(&str, &dyn Fn()); 6] = [
        ("401", &|| world.kubelet.set_token(Some("second"))),
        ("500", &|| world.kubelet.fail(On::Any, Some(Fault::Status(500)))),
        ("cannot be reached", &|| world.kubelet.stop_listening()),
        ("could not be read", &|| world.kubelet.fail(On::Any, Some(Fault::CutBody(40)))),
        ("has not answered within 10s", &|| world.kubelet.fail(On::Any, Some(Fault::Stall))),
        ("is not a list of pods", &|| world.kubelet.fail(On::Any, Some(Fault::Garbage("{}".to_owned())))),
    ];
    for (why, begin) in faults {
        world.kubelet.set_pods(vec![listed(1), listed(2)]);
        world.pass_time(2 * PERIOD).await;
        assert_eq!((world.state(2).await, world.problem().await), (Active, None), "{why}");
        world.stage.lines.take();
        begin();
        world.kubelet.set_pods(vec![listed(1)]);
        world.pass_time(10 * PERIOD).await;
        world.fails_with(why).await;
        assert!(exists(&world.stage.sim, 2), "{why}");
        assert_eq!(world.state(2).await, Unknown, "{why}");
        let lines = world.source_lines();
        // What a kubelet answers that has just started is an error only once it has lasted.
        let not_ready = lines.iter().filter(|line| line.contains("pod source kubelet not ready yet")).count();
        assert_eq!(not_ready, usize::from(["401", "500"].contains(&why)), "{why}: {lines:#?}");
        assert!(lines[not_ready].starts_with("ERRO") && lines.len() <= 14, "{why}: {lines:#?}");
        world.kubelet.fail(On::Any, None);
        world.kubelet.release_stalled();
        world.kubelet.listen_again();
        put("token", "second\n");
        world.kubelet.set_token(Some("second"));
        world.pass_time(3 * PERIOD).await;
        assert!(!exists(&world.stage.sim, 2) && exists(&world.stage.sim, 1), "{why}");
        let lines = world.source_lines();
        assert!(
            lines.iter().any(|line| line.contains("pod source kubelet synced again")),
            "{why}: {lines:#?}"
        );
        sandbox(&world.stage.sim, 2, false);
    }
}

#[actix_rt::test]
async fn a_kubelet_that_has_just_started_is_no_error_for_half_a_minute() {
    let kubelet = FakeKubelet::start(NODE);
    kubelet.set_pods(vec![listed(1), listed(2)]);
    let world = world(kubelet, Setup::new(), 10).await;
    let starts: [(&str, &dyn Fn()); 3] = [
        ("it may have just started", &|| world.kubelet.set_pods(vec![listed(1).from_file()])),
        ("401", &|| world.kubelet.fail(On::Any, Some(Fault::Status(401)))),
        ("503", &|| world.kubelet.fail(On::Any, Some(Fault::Status(503)))),
    ];
    for (why, begin) in starts {
        world.pass_time(PERIOD).await;
        world.stage.lines.take();
        begin();
        world.pass_time(20 * SECOND).await;
        world.fails_with(why).await;
        world.kubelet.fail(On::Any, None);
        world.kubelet.set_pods(vec![listed(1), listed(2)]);
        world.pass_time(20 * SECOND).await;
        let lines = world.source_lines();
        assert!(lines.iter().all(|line| line.starts_with("INFO")) && lines.len() == 2, "{why}: {lines:#?}");
    }
}
