//! What applies from the next removal on, although a pass is in progress: a pause, stricter settings, the end of the service.
//! And passes that are requested meanwhile.

use std::path::PathBuf;
use std::pin::Pin;

use cri_gc_collectors::collector::Doing;
use cri_gc_collectors::collector::messages::Declined;
use cri_gc_collectors::report::{PassReport, Trigger};
use cri_gc_config::Mode;
use cri_gc_kit::generation::Cause;
use cri_gc_kit::words::Loop;
use cri_gc_sim::{Fault, Method, Scope};
use cri_gc_test_support::on_each_flavour;
use futures_util::FutureExt;
use futures_util::future::join_all;

use crate::lines;
use crate::stage::{PAUSED, PERIOD, SECOND, STEP, Setup, Stage};

on_each_flavour!(
    #[actix_rt::test] async:
    a_pass_in_progress_removes_nothing_more_once_the_mode_is_off,
    a_pass_in_progress_only_reports_what_is_left_once_the_mode_is_report,
    a_pattern_protects_from_the_next_removal_on,
    a_pause_applies_from_the_next_removal_on,
    while_one_is_paused_the_others_keep_their_pace,
    a_requested_pass_follows_the_one_in_progress,
    more_passes_than_a_loop_takes_are_declined_and_the_others_answered,
    a_shutdown_begins_no_removal_and_waits_for_the_one_in_progress,
    the_end_waits_for_a_removal_that_hangs_no_longer_than_for_its_deadline,
    a_shutdown_waits_no_longer_than_a_pass_may_take,
    a_shutdown_waits_for_no_list,
);

type Asked<'a> = Pin<Box<dyn Future<Output = Result<PassReport, Declined>> + 'a>>;

/// A node with three dead containers to remove, one after the other.
fn three_containers(setup: Setup) -> Setup {
    let setup =
        setup.set("container_gc.parallel_removals", "1").set("container_gc.max_per_pod_container", "0");
    let pod = setup.living_pod(1);
    for attempt in 0..3 {
        setup.ended(&pod, attempt);
    }
    setup
}

/// A service in the middle of the removal of the first of three containers.
async fn in_the_middle(setup: Setup) -> Stage {
    let stage = three_containers(setup).start().await;
    stage.hang(Loop::ContainerGc, Method::RemoveContainer, 1, STEP).await;
    stage.step(SECOND).await;
    assert_eq!(stage.state(Loop::ContainerGc).await.doing, Doing::Running);
    assert_eq!(stage.sim.count(Method::RemoveContainer), 1);
    stage
}

/// Ends the removal in progress.
async fn go_on(stage: &Stage) {
    stage.clear_faults();
    stage.settle().await;
}

fn ask(stage: &Stage, of: Loop) -> Asked<'_> {
    let mut asked: Asked = Box::pin(stage.handle(of).run(None));
    assert!(asked.as_mut().now_or_never().is_none());
    asked
}

async fn reload(stage: &Stage, file: &PathBuf, text: &str) {
    std::fs::write(file, text).unwrap();
    stage.answer("the reload", stage.service.configuration.reload(Cause::Admin, None)).await.unwrap();
    stage.settle().await;
}

// ---- Stricter settings ----

async fn a_stricter_mode_applies_at_once(mode: &str, now: Mode) {
    let mut setup = Setup::new();
    let file = setup.file("");
    let stage = in_the_middle(setup).await;
    reload(&stage, &file, &format!("[container_gc]\nmode = \"{mode}\"\n")).await;
    let state = stage.state(Loop::ContainerGc).await;
    assert_eq!((state.doing, state.generation, state.passes), (Doing::Running, 2, 0));
    go_on(&stage).await;
    assert_eq!(stage.sim.count(Method::RemoveContainer), 1, "what was sent is sent, and no more");
    let last = stage.state(Loop::ContainerGc).await.last.unwrap();
    assert_eq!((last.counts.removed, last.counts.would_remove, last.mode), (1, 2, Mode::Report));
    stage.pass_time(3 * PERIOD).await;
    assert_eq!((stage.sim.container_ids().len(), stage.state(Loop::ContainerGc).await.mode), (2, now));
    reload(&stage, &file, "[container_gc]\nmode = \"enforce\"\n").await;
    stage.pass_time(PERIOD).await;
    assert_eq!(stage.sim.container_ids().len(), 0);
}

async fn a_pass_in_progress_only_reports_what_is_left_once_the_mode_is_report() {
    a_stricter_mode_applies_at_once("report", Mode::Report).await;
}

async fn a_pass_in_progress_removes_nothing_more_once_the_mode_is_off() {
    a_stricter_mode_applies_at_once("off", Mode::Off).await;
}

async fn a_pattern_protects_from_the_next_removal_on() {
    let mut setup = Setup::new().set("image_gc.max_age", "1s").set("image_gc.parallel_removals", "1");
    let file = setup.file("");
    for number in 0..3 {
        setup.image(&format!("free:{number}"), 10);
    }
    let stage = setup.start().await;
    stage.hang(Loop::ImageGc, Method::RemoveImage, 1, STEP).await;
    // The first pass is the first to see the images, so none of them is old then.
    stage.step(SECOND).await;
    stage.sim.clear_calls();
    stage.clear_faults();
    stage.hang(Loop::ImageGc, Method::RemoveImage, 1, STEP).await;
    stage.pass_time(PERIOD).await;
    assert_eq!(stage.sim.count(Method::RemoveImage), 1);
    reload(&stage, &file, "[image_gc]\nprotect = [\"*/free\"]\n").await;
    go_on(&stage).await;
    let last = stage.state(Loop::ImageGc).await.last.unwrap();
    assert_eq!((last.counts.removed, last.counts.refused), (1, 2));
    stage.pass_time(3 * PERIOD).await;
    assert_eq!(stage.sim.count(Method::RemoveImage), 1);
    assert_eq!(stage.sim.image_ids().len(), 1 + 2, "the sandbox image and the two");
}

// ---- A pause ----

async fn a_pause_applies_from_the_next_removal_on() {
    let stage = in_the_middle(Setup::new()).await;
    stage.handle(Loop::ContainerGc).pause(PAUSED, None).await;
    let refused = stage.answer("a pass", stage.handle(Loop::ContainerGc).run(None)).await;
    assert_eq!(refused.err(), Some(Declined::Paused(Loop::ContainerGc)));
    go_on(&stage).await;
    stage.pass_time(3 * PERIOD).await;
    assert_eq!(stage.sim.count(Method::RemoveContainer), 1);
    let state = stage.state(Loop::ContainerGc).await;
    assert_eq!((state.doing, state.passes, state.next_pass_at), (Doing::Paused, 1, None));
    stage.handle(Loop::ContainerGc).pause(None, None).await;
    stage.settle().await;
    assert_eq!(stage.sim.container_ids(), Vec::<String>::new(), "it continues at once");
    let of = Loop::ContainerGc;
    let halted =
        format!("WARN {of} stopped by pause, shutdown or a restart of the loop: 2 removals were not started");
    let removed = lines::removed(of);
    let expected = [
        format!("INFO {of} paused"),
        removed.clone(),
        halted,
        format!("INFO {of} resumed"),
        removed.clone(),
        removed,
    ];
    lines::assert_same(&stage.lines.all(), &expected);
}

async fn while_one_is_paused_the_others_keep_their_pace() {
    let stage = Setup::new().start().await;
    stage.step(SECOND).await;
    for of in Loop::ALL {
        stage.handle(of).pause(PAUSED, None).await;
        // A loop that waits for the one before it makes a pass by itself a tenth of a period later.
        stage.pass_time(PERIOD / 10).await;
        for _ in 0..5 {
            let before = stage.passes().await;
            stage.pass_time(PERIOD).await;
            for (other, (now, then)) in
                Loop::ALL.into_iter().zip(stage.passes().await.into_iter().zip(before))
            {
                assert_eq!(now > then, other != of, "{other} while {of} is paused");
            }
        }
        let before = stage.state(of).await.passes;
        stage.handle(of).pause(None, None).await;
        stage.settle().await;
        assert!(stage.state(of).await.passes > before, "{of} continues at once");
    }
}

// ---- Passes that are requested ----

async fn a_requested_pass_follows_the_one_in_progress() {
    let stage = in_the_middle(Setup::new()).await;
    let asked = [ask(&stage, Loop::ContainerGc), ask(&stage, Loop::ContainerGc)];
    stage.settle().await;
    assert_eq!(stage.state(Loop::ContainerGc).await.passes, 0);
    // No other loop waits for this one.
    for of in [Loop::SandboxGc, Loop::LogGc, Loop::ImageGc] {
        assert!(stage.answer("its pass", stage.handle(of).run(None)).await.unwrap().is_good(), "{of}");
    }
    stage.sim.advance(SECOND);
    let released = stage.sim.now();
    go_on(&stage).await;
    for report in stage.answer("both passes", join_all(asked)).await {
        let report = report.unwrap();
        assert!(report.started_at >= released && report.removals.is_empty(), "{report:?}");
    }
    let state = stage.state(Loop::ContainerGc).await;
    assert_eq!((state.passes, state.removed, state.last.unwrap().trigger), (3, 3, Trigger::Admin));
}

async fn more_passes_than_a_loop_takes_are_declined_and_the_others_answered() {
    let stage = in_the_middle(Setup::new()).await;
    let asked: Vec<Asked<'_>> = (0..40).map(|_| ask(&stage, Loop::ContainerGc)).collect();
    stage.settle().await;
    go_on(&stage).await;
    let (mut made, mut declined) = (0, 0);
    for answer in stage.answer("all of them", join_all(asked)).await {
        match answer {
            Ok(report) => made += u32::from(report.is_good()),
            Err(why) => {
                assert_eq!(why, Declined::Busy(Loop::ContainerGc));
                declined += 1;
            }
        }
    }
    assert_eq!((made, declined), (16, 24));
}

// ---- The end ----

async fn a_shutdown_begins_no_removal_and_waits_for_the_one_in_progress() {
    let stage = in_the_middle(Setup::new()).await;
    let asked = ask(&stage, Loop::ContainerGc);
    stage.settle().await;
    let mut end = Box::pin(stage.service.finish());
    assert!(end.as_mut().now_or_never().is_none());
    stage.settle().await;
    let declined = stage.answer("the pass that was asked for", asked).await;
    assert_eq!(declined.err(), Some(Declined::Stopping(Loop::ContainerGc)));
    assert!(end.as_mut().now_or_never().is_none(), "it waits");
    go_on(&stage).await;
    stage.answer("the end", end).await;
    assert_eq!((stage.sim.count(Method::RemoveContainer), stage.sim.container_ids().len()), (1, 2));
    shut_down_completely(&stage).await;
}

async fn shut_down_completely(stage: &Stage) {
    stage.settle().await;
    // The gateway may ask a runtime that was late whether it answers.
    let calls = || stage.sim.calls().iter().filter(|call| call.method != Method::Version).count();
    let before = (stage.passes().await, calls());
    stage.pass_time(3 * PERIOD).await;
    assert_eq!((stage.passes().await, calls()), before);
    for of in Loop::ALL {
        let state = stage.state(of).await;
        assert_eq!((state.doing, state.next_pass_at), (Doing::Stopped, None));
        let declined = stage.answer("a pass", stage.handle(of).run(None)).await;
        assert_eq!(declined.err(), Some(Declined::Stopping(of)));
    }
}

async fn the_end_waits_for_a_removal_that_hangs_no_longer_than_for_its_deadline() {
    let stage = in_the_middle(Setup::new()).await;
    let mut end = Box::pin(stage.service.finish());
    assert!(end.as_mut().now_or_never().is_none());
    stage.step(STEP - SECOND).await;
    assert!(end.as_mut().now_or_never().is_none(), "a second is left");
    stage.step(SECOND).await;
    stage.answer("the end", end).await;
    assert_eq!(stage.sim.count(Method::RemoveContainer), 1);
    shut_down_completely(&stage).await;
}

async fn a_shutdown_waits_no_longer_than_a_pass_may_take() {
    let setup = three_containers(Setup::new().set("runtime.request_timeout", "100s"));
    let stage = setup.set("container_gc.deadline", "40s").start().await;
    stage.hang(Loop::ContainerGc, Method::RemoveContainer, 1, 2 * STEP).await;
    stage.step(SECOND).await;
    let mut end = Box::pin(stage.service.finish());
    assert!(end.as_mut().now_or_never().is_none());
    stage.pass_time(STEP).await;
    assert!(end.as_mut().now_or_never().is_none());
    stage.pass_time(STEP).await;
    stage.answer("the end", end).await;
    assert_eq!(stage.sim.count(Method::RemoveContainer), 1);
    shut_down_completely(&stage).await;
}

async fn a_shutdown_waits_for_no_list() {
    let stage = three_containers(Setup::new()).start().await;
    stage.sim.fault(Method::ListContainers, Fault::Hang, Scope::Always);
    stage.step_without_waiting(SECOND).await;
    stage.until("the list", async || (stage.sim.count(Method::ListContainers) > 0).then_some(())).await;
    // No time passes.
    stage.answer("the end", stage.service.finish()).await;
    assert_eq!(stage.sim.count(Method::RemoveContainer), 0);
}
