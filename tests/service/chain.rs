//! One observation serves the whole chain of container, sandbox and log passes.

use cri_gc_kit::words::Loop;
use cri_gc_sim::{Code, Fault, Method, Scope};

use crate::stage::{PAUSED, PERIOD, SECOND, Setup, Stage, uid};

/// Lists of sandboxes and of containers so far.
fn lists(stage: &Stage) -> [usize; 2] {
    [Method::ListPodSandbox, Method::ListContainers].map(|method| stage.sim.count(method))
}

#[actix_rt::test]
async fn an_idle_service_lists_sandboxes_and_containers_once_a_minute() {
    let setup = Setup::new().set("image_gc.mode", "off");
    setup.living_pod(1);
    let stage = setup.start().await;
    stage.pass_time(3 * PERIOD).await;
    let (listed, passed) = (lists(&stage), stage.passes().await);
    stage.pass_time(10 * PERIOD).await;
    let (now, done) = (lists(&stage), stage.passes().await);
    assert_eq!([now[0] - listed[0], now[1] - listed[1]], [10, 10]);
    assert_eq!([done[0] - passed[0], done[1] - passed[1], done[2] - passed[2]], [10, 10, 10]);
}

#[actix_rt::test]
async fn a_source_that_is_read_every_ten_seconds_lists_nothing_more() {
    let setup = Setup::new().set("image_gc.mode", "off");
    setup.living_pod(1);
    let (list, sim) = (setup.sim.paths().root.join("pods.json"), setup.sim.clone());
    std::fs::write(&list, format!("[{{\"uid\": {:?}, \"state\": \"active\"}}]", uid(1))).unwrap();
    let touch = || std::fs::File::open(&list).unwrap().set_modified(sim.now().into()).unwrap();
    touch();
    let source = list.display().to_string();
    let stage = setup.set("pods.source", "file").set("pods.file", &source).start().await;
    stage.pass_time_by(10 * SECOND, 3 * PERIOD).await;
    let listed = lists(&stage);
    for _ in 0..10 {
        touch();
        stage.pass_time_by(10 * SECOND, PERIOD).await;
    }
    let now = lists(&stage);
    assert_eq!([now[0] - listed[0], now[1] - listed[1]], [10, 10]);
    let source = stage.service.tools.pods.source().await.unwrap();
    assert!(source.synced && source.problem.is_none(), "{source:?}");
}

#[actix_rt::test]
async fn what_a_pass_has_removed_is_observed_again_by_the_next_loop() {
    let setup = Setup::new().set("image_gc.mode", "off").set("container_gc.max_per_pod_container", "0");
    let old = setup.replaced_sandbox(1);
    setup.ended(&old, 0);
    let stage = setup.start().await;
    stage.step(SECOND).await;
    assert_eq!(stage.sim.container_ids(), Vec::<String>::new());
    assert!(!stage.sim.sandbox_ids().contains(&old), "its container was removed right before");
}

#[actix_rt::test]
async fn a_loop_observes_by_itself_while_the_loop_before_it_fails_or_is_paused() {
    let setup = Setup::new().set("image_gc.mode", "off");
    setup.living_pod(1);
    let stage = setup.start().await;
    stage.pass_time(3 * PERIOD).await;
    let before = lists(&stage);
    stage.sim.fault(Method::ListPodSandbox, Fault::error(Code::Unknown, "busy"), Scope::Times(1));
    stage.pass_time(PERIOD).await;
    assert_eq!(
        lists(&stage)[1] - before[1],
        1,
        "the second loop of the chain lists, and hands it to the third"
    );
    assert!(stage.state(Loop::ContainerGc).await.failures > 0);
    assert_eq!(stage.state(Loop::SandboxGc).await.failures, 0);

    stage.answer("the pause", stage.handle(Loop::ContainerGc).pause(PAUSED, None)).await;
    let before = (lists(&stage), stage.passes().await);
    stage.pass_time_by(SECOND, 11 * PERIOD).await;
    let after = (lists(&stage), stage.passes().await);
    assert_eq!(after.1[0], before.1[0]);
    assert_eq!(after.1[1] - before.1[1], 11, "by itself, every period");
    // It had waited for the other as long as that had waited for the paused one.
    assert!((11..=12).contains(&(after.1[2] - before.1[2])), "after each of those");
    assert!((11..=12).contains(&(after.0[0] - before.0[0])), "one hands to the other what it has seen");
}
