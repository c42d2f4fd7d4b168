//! The runtime becomes unreachable and reachable again: two lines, two events, whatever was in progress; every loop
//! continues within a period, and nothing is removed that must be kept.

use cri_gc_collectors::report::Trigger;
use cri_gc_kit::recorder::EventKind;
use cri_gc_kit::words::Loop;
use cri_gc_sim::{ContainerSpec, Fault, Method, Scope, Sim};
use cri_gc_test_support::on_each_flavour;

use crate::isolation::node;
use crate::lines;
use crate::stage::{HOUR, Held, PERIOD, SECOND, STEP, Setup, Stage, pod, turns};

on_each_flavour!(
    #[actix_rt::test] async:
    a_death_during_the_removal_of_an_image_is_logged_once,
    a_death_during_the_list_of_images_is_logged_once,
    a_death_during_the_stop_of_a_sandbox_is_logged_once,
    a_death_during_the_removal_of_a_container_is_logged_once,
    an_outage_and_its_end_are_two_lines_and_two_events_and_nothing_is_removed,
    ten_losses_are_ten_times_two_lines,
    a_restart_during_no_call_is_not_noticed,
    a_runtime_that_is_unreachable_at_the_start_is_waited_for,
    the_grace_of_an_idle_pod_restarts_when_the_runtime_is_reachable_again,
    the_version_of_a_runtime_is_requested_again_after_a_failure,
    a_pass_is_made_as_soon_as_a_runtime_that_hung_answers_again,
    a_runtime_that_dies_in_each_pass_is_not_called_faster_and_faster,
    what_was_noted_before_an_outage_is_not_logged_again_after_it,
);

const BACK: &str = "INFO - container runtime reachable again";

fn unreachable(stage: &Stage) -> String {
    format!(
        "ERRO - container runtime unreachable at {}, retrying every second; check that it runs, and that runtime.endpoint \
         names its socket",
        stage.sim.endpoint()
    )
}

/// A node on which everything must be kept: of a living pod what runs, its image and its newest dead container, its sandbox,
/// and its log directory.
fn node_to_keep() -> Setup {
    // Every unused image would be removed.
    let setup = Setup::new().set("image_gc.max_age", "1s");
    setup.image("used:1", 1_000);
    let (sim, made) = (&setup.sim, setup.sim.ago(HOUR));
    let mut with_logs = pod(1).created_at(made);
    with_logs.log_directory = true;
    let sandbox = sim.add_pod(with_logs).unwrap();
    sim.add_container(ContainerSpec::new(&sandbox, "runs").image("used:1").created_at(made)).unwrap();
    setup.ended(&sandbox, 7);
    setup
}

fn all_there(sim: &Sim) -> (Vec<String>, Vec<String>, Vec<String>, usize) {
    let logs = std::fs::read_dir(&sim.paths().pod_logs_root).unwrap().count();
    (sim.container_ids(), sim.sandbox_ids(), sim.image_ids(), logs)
}

/// Starts the runtime again, and checks that it is noticed within a second.
async fn becomes_reachable(stage: &Stage) {
    stage.sim.restart().unwrap();
    stage.step(SECOND).await;
    is_reachable(stage, true).await;
    // The passes that follow at once.
    stage.settle().await;
}

async fn is_reachable(stage: &Stage, wanted: bool) {
    let gateway = &stage.service.tools.gateway;
    let check = async || (gateway.runtime().await?.reachable? == wanted).then_some(());
    stage.until("what the gateway says of the runtime", check).await;
}

/// Checks that every loop makes a successful pass within a period.
async fn all_go_on(stage: &Stage) {
    let before = stage.passes().await;
    stage.pass_time(PERIOD).await;
    for (of, before) in Loop::ALL.into_iter().zip(before) {
        let state = stage.state(of).await;
        assert!(state.passes > before && state.failures == 0, "{state:?}");
    }
}

async fn kinds(stage: &Stage) -> Vec<EventKind> {
    stage.events().await.into_iter().map(|event| event.kind).collect()
}

async fn an_outage_and_its_end_are_two_lines_and_two_events_and_nothing_is_removed() {
    let stage = node_to_keep().start().await;
    let there = all_there(&stage.sim);
    stage.step(SECOND).await;
    stage.pass_time(PERIOD).await;
    stage.sim.kill();
    stage.pass_time(5 * PERIOD).await;
    assert_eq!(stage.lines.all(), [unreachable(&stage)]);
    for of in Loop::ALL {
        let state = stage.state(of).await;
        assert!(state.failures >= 5, "{state:?}");
    }
    let runtime = stage.service.tools.gateway.runtime().await.unwrap();
    assert!(runtime.error.is_some_and(|error| error.contains("the runtime is unreachable")));
    becomes_reachable(&stage).await;
    for of in Loop::ALL {
        let state = stage.state(of).await;
        let trigger = state.last.unwrap().trigger;
        assert!(
            state.failures == 0 && matches!(trigger, Trigger::Recovery | Trigger::Chain),
            "{of}: {trigger:?}, {} failures: no pass was made at once",
            state.failures
        );
    }
    all_go_on(&stage).await;
    stage.pass_time(5 * PERIOD).await;
    assert_eq!(stage.lines.all(), [unreachable(&stage), BACK.to_owned()]);
    assert_eq!(kinds(&stage).await, [EventKind::RuntimeLost, EventKind::RuntimeReturned]);
    assert_eq!(all_there(&stage.sim), there);
}

async fn ten_losses_are_ten_times_two_lines() {
    let stage = node_to_keep().start().await;
    let there = all_there(&stage.sim);
    stage.step(SECOND).await;
    for loss in 1..=10 {
        stage.sim.kill();
        stage.pass_time(PERIOD).await;
        assert_eq!(stage.lines.all().len(), 2 * loss - 1, "{:?}", stage.lines.all());
        becomes_reachable(&stage).await;
        all_go_on(&stage).await;
    }
    assert_eq!(stage.lines.all(), vec![[unreachable(&stage), BACK.to_owned()]; 10].concat());
    assert_eq!(kinds(&stage).await, [EventKind::RuntimeLost, EventKind::RuntimeReturned].repeat(10));
    assert_eq!(stage.service.tools.gateway.returns(), 10);
    assert_eq!(all_there(&stage.sim), there);
}

async fn a_restart_during_no_call_is_not_noticed() {
    let stage = node_to_keep().start().await;
    stage.step(SECOND).await;
    for _ in 0..5 {
        stage.sim.restart().unwrap();
        all_go_on(&stage).await;
    }
    assert_eq!(stage.lines.all(), Vec::<String>::new());
}

/// The runtime dies over this call, which only this loop makes.
async fn dies_over(of: Loop, method: Method) {
    let (setup, id) = node(of);
    setup.sim.fault(method, Fault::Die, Scope::Times(1));
    let stage = setup.start().await;
    stage.step(SECOND).await;
    is_reachable(&stage, false).await;
    stage.pass_time(PERIOD).await;
    assert_eq!(stage.lines.all(), [unreachable(&stage)], "{method}");
    becomes_reachable(&stage).await;
    all_go_on(&stage).await;
    assert_eq!(stage.lines.all(), [unreachable(&stage), BACK.to_owned(), lines::removed(of)], "{method}");
    let removed =
        [EventKind::RemovalFailed, EventKind::RuntimeLost, EventKind::RuntimeReturned, EventKind::Removed];
    let mut kinds_so_far = kinds(&stage).await;
    kinds_so_far.sort_by_key(|kind| removed.iter().position(|known| known == kind));
    let object = usize::from(method == Method::ListImages);
    assert_eq!(kinds_so_far, removed[object..], "{method}");
    let (containers, sandboxes, images, _) = all_there(&stage.sim);
    assert!(![containers, sandboxes, images].concat().contains(&id));
}

async fn a_death_during_the_removal_of_a_container_is_logged_once() {
    dies_over(Loop::ContainerGc, Method::RemoveContainer).await;
}

async fn a_death_during_the_stop_of_a_sandbox_is_logged_once() {
    dies_over(Loop::SandboxGc, Method::StopPodSandbox).await;
}

async fn a_death_during_the_list_of_images_is_logged_once() {
    dies_over(Loop::ImageGc, Method::ListImages).await;
}

async fn a_death_during_the_removal_of_an_image_is_logged_once() {
    dies_over(Loop::ImageGc, Method::RemoveImage).await;
}

async fn a_runtime_that_is_unreachable_at_the_start_is_waited_for() {
    let setup = node_to_keep();
    setup.sim.kill();
    let there = all_there(&setup.sim);
    let stage = setup.start().await;
    stage.step(SECOND).await;
    stage.pass_time(3 * PERIOD).await;
    assert_eq!(stage.lines.all(), [unreachable(&stage)]);
    // Not even a socket.
    std::fs::remove_file(stage.sim.socket()).unwrap();
    stage.pass_time(3 * PERIOD).await;
    assert_eq!(stage.lines.all(), [unreachable(&stage)]);
    assert!(stage.service.is_alive().await);
    becomes_reachable(&stage).await;
    all_go_on(&stage).await;
    assert_eq!(stage.lines.all(), [unreachable(&stage), BACK.to_owned()]);
    assert_eq!(kinds(&stage).await, [EventKind::RuntimeLost, EventKind::RuntimeReturned]);
    assert_eq!(all_there(&stage.sim), there);
}

async fn the_version_of_a_runtime_is_requested_again_after_a_failure() {
    let setup = Setup::new();
    setup.sim.fault(Method::Version, Fault::Hang, Scope::Times(2));
    tokio::time::pause();
    let stage = setup.start_in(Some(Held::new()));
    let gateway = &stage.service.tools.gateway;
    stage.until("the first question", async || (stage.sim.count(Method::Version) == 1).then_some(())).await;
    for _ in 0..2 {
        stage.step(SECOND).await;
        assert_eq!(gateway.runtime().await.unwrap().version, None);
        // The call has 10 s, and is sent again after one more.
        stage.step(10 * SECOND).await;
    }
    stage.step(SECOND).await;
    stage.until("what it is", async || gateway.runtime().await?.version).await;
}

async fn a_runtime_that_dies_in_each_pass_is_not_called_faster_and_faster() {
    let stage = node_to_keep().start().await;
    stage.step(SECOND).await;
    stage.sim.clear_calls();
    for _ in 0..120 {
        stage.sim.fault(Method::ListContainers, Fault::Die, Scope::Times(1));
        if !stage.sim.is_running() {
            stage.sim.restart().unwrap();
        }
        stage.step(SECOND).await;
    }
    // Two periods of four loops, and what follows from them; not 120 times four.
    let lists = stage.sim.count(Method::ListContainers);
    assert!((4..80).contains(&lists), "{lists} lists in two periods");
    stage.clear_faults();
    if !stage.sim.is_running() {
        stage.sim.restart().unwrap();
    }
    stage.pass_time(PERIOD).await;
    all_go_on(&stage).await;
}

async fn a_pass_is_made_as_soon_as_a_runtime_that_hung_answers_again() {
    let stage = node_to_keep().start().await;
    stage.step(SECOND).await;
    let returns = stage.service.tools.gateway.returns();
    for method in [Method::Version, Method::ListPodSandbox, Method::ListContainers, Method::ListImages] {
        stage.sim.fault(method, Fault::Hang, Scope::Always);
    }
    // Every loop begins a pass in it, and waits for 20 s.
    for _ in 0..5 {
        stage.step_without_waiting(STEP).await;
        turns(500).await;
    }
    let failing = async || {
        for of in Loop::ALL {
            stage.state(of).await.failing_since?;
        }
        Some(())
    };
    stage.until("the failures", failing).await;
    stage.clear_faults();
    turns(500).await;
    stage.step(SECOND).await;
    // No further time passes.
    let recovered = async || {
        for of in Loop::ALL {
            let good = stage.state(of).await.failures == 0;
            good.then_some(())?;
        }
        Some(())
    };
    stage.until("a pass of each at once", recovered).await;
    assert_eq!(stage.service.tools.gateway.returns(), returns, "it was never unreachable");
}

async fn the_grace_of_an_idle_pod_restarts_when_the_runtime_is_reachable_again() {
    let setup = Setup::new().set("pods.runtime_grace", "3m");
    let made = setup.sim.ago(2 * HOUR);
    let sandbox = setup.sim.add_pod(pod(1).created_at(made).not_ready()).unwrap();
    let container = setup.ended(&sandbox, 0);
    let stage = setup.start().await;
    stage.step(SECOND).await;
    stage.pass_time(2 * PERIOD).await;
    stage.sim.kill();
    stage.pass_time(PERIOD).await;
    becomes_reachable(&stage).await;
    stage.pass_time(2 * PERIOD).await;
    assert_eq!(stage.sim.container_ids(), [container]);
    stage.pass_time(2 * PERIOD).await;
    assert_eq!(stage.sim.container_ids(), Vec::<String>::new());
    let mut expected = vec![unreachable(&stage), BACK.to_owned()];
    // The container, and with it the sandbox.
    expected.extend([Loop::ContainerGc; 2].map(lines::removed));
    assert_eq!(stage.lines.all(), expected);
}

async fn what_was_noted_before_an_outage_is_not_logged_again_after_it() {
    let setup = node_to_keep();
    std::fs::create_dir_all(setup.sim.paths().root.join("kubelet/pods/of-a-kubelet")).unwrap();
    let stage = setup.start().await;
    stage.step(SECOND).await;
    let noted = stage.lines.take();
    assert_eq!(noted.len(), 3, "containers, sandboxes and logs are in report mode: {noted:?}");
    assert!(
        noted.iter().all(|line| line.starts_with("WARN") && line.contains("are in report mode")),
        "{noted:?}"
    );
    for _ in 0..3 {
        stage.sim.kill();
        stage.pass_time(PERIOD).await;
        becomes_reachable(&stage).await;
        all_go_on(&stage).await;
    }
    assert_eq!(stage.lines.all(), vec![[unreachable(&stage), BACK.to_owned()]; 3].concat());
}
