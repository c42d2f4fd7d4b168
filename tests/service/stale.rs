//! A removal rests on an observation right before it. One that could not be sent then is not sent later: what was dead may run.

use std::sync::mpsc;

use cri_gc_collectors::collector::Doing;
use cri_gc_kit::words::Loop;
use cri_gc_sim::{ContainerSpec, ContainerState, Method};
use cri_gc_test_support::on_each_flavour;
use futures_util::FutureExt;

use crate::panics::Fuse;
use crate::stage::{HOUR, PERIOD, SECOND, STEP, Setup, turns};

on_each_flavour!(
    #[actix_rt::test] async:
    a_removal_that_waits_behind_one_that_hangs_is_not_sent_long_after_its_check,
    a_removal_that_waits_for_a_gateway_that_panicked_is_not_sent_long_after_its_check,
);

async fn a_removal_that_waits_behind_one_that_hangs_is_not_sent_long_after_its_check() {
    let setup = Setup::new()
        .set("container_gc.max_per_pod_container", "0")
        .set("container_gc.parallel_removals", "1")
        .set("container_gc.deadline", "40s")
        .set("runtime.request_timeout", "200s");
    let pod = setup.living_pod(1);
    let made = setup.sim.ago(HOUR);
    let never_started =
        ContainerSpec::new(&pod, "app").state(ContainerState::Created).created_at(made).no_log();
    let id = setup.sim.add_container(never_started).unwrap();
    let stage = setup.start().await;
    stage.hang(Loop::ContainerGc, Method::RemoveContainer, 1, 2 * STEP).await;
    stage.step(SECOND).await;
    assert_eq!(stage.state(Loop::ContainerGc).await.doing, Doing::Running);
    // The first pass is given up. The removal of the second one waits until the first one's is answered.
    stage.pass_time(PERIOD - STEP).await;
    assert_eq!(
        (stage.state(Loop::ContainerGc).await.passes, stage.sim.count(Method::RemoveContainer)),
        (1, 1)
    );
    // The second pass checks the container, which is started right after that.
    let (checked, is_checked) = mpsc::channel();
    stage.sim.before_next(Method::ContainerStatus, move |_, _| checked.send(()).unwrap());
    stage.waits_after(Loop::ContainerGc, Method::ContainerStatus, 2 * STEP).await;
    stage.step(STEP).await;
    stage.until("the check", async || is_checked.try_recv().ok()).await;
    // What is answered after the check is known after it.
    stage.answer("the runtime", stage.service.tools.gateway.version()).await.unwrap();
    turns(100).await;
    stage.sim.set_container_state(&id, ContainerState::Running).unwrap();
    stage.pass_time(5 * PERIOD).await;
    assert_eq!(stage.sim.container_ids(), [id]);
    assert_eq!(stage.sim.count(Method::RemoveContainer), 1, "the one that hung");
}

async fn a_removal_that_waits_for_a_gateway_that_panicked_is_not_sent_long_after_its_check() {
    let mut setup = Setup::new();
    let pod = setup.living_pod(1);
    let id = setup.ended(&pod, 0);
    let fuse = Fuse::lay(&mut setup);
    let stage = setup.start().await;
    stage.step(SECOND).await;
    stage.sim.kill();
    let gateway = &stage.service.tools.gateway;
    assert!(gateway.version().await.unwrap_err().is_unreachable());
    turns(100).await;
    // It panics in its own attempts to reach the runtime, each time for longer.
    for pause in [1, 2, 4, 8] {
        fuse.light();
        stage.step(SECOND).await;
        assert!(fuse.has_burnt());
        if pause < 8 {
            stage.step_without_waiting(SECOND * (pause - 1)).await;
        }
    }
    stage.sim.restart().unwrap();
    let mut removal = Box::pin(gateway.remove_container(&id, tokio::time::Instant::now()));
    assert!(removal.as_mut().now_or_never().is_none());
    for _ in 0..8 {
        stage.step_without_waiting(SECOND).await;
    }
    let refused = stage.answer("the removal", removal).await.unwrap_err();
    assert!(refused.message.contains("the check before the removal is too old"), "{refused}");
    assert_eq!(stage.sim.container_ids(), [id]);
}
