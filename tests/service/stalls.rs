//! What stalls a loop once, or in its own file worker: an RPC that is never answered, a disk that does not answer, a worker
//! that waits for an answer. The loop continues a period after the deadline at the latest, the others all the time.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use cri_gc_kit::seams::FsProbe;
use cri_gc_kit::text::duration;
use cri_gc_kit::words::Loop;
use cri_gc_sim::{Fault, Method, Scope};
use futures_util::FutureExt;
use jiff::SignedDuration;

use crate::isolation::{FOR_EVER, Outage, it_recovers_within_a_period, node, stuck};
use crate::lines;
use crate::stage::{HOUR, PERIOD, SECOND, STEP, Setup, Stage, uid};

/// The first call of `method` is never answered.
async fn an_rpc_hangs_once(of: Loop, method: Method, timeout: Duration) {
    let (setup, id) = node(of);
    let stage = setup.set("runtime.request_timeout", &format!("{timeout:?}")).start().await;
    stage.hang(of, method, 1, timeout).await;
    stage.step(SECOND).await;
    let before = stage.passes().await;
    stage.pass_time(timeout).await;
    // The deadline, from where on a period is all it may take.
    let failed = stage.state(of).await;
    let object = method != Method::ListImages;
    let why = format!("{method}: no answer within {}", duration(timeout));
    let text = if object { stuck(of, &id, &why) } else { why };
    let mut logged = stage.lines.take();
    assert_eq!(logged.remove(0), lines::failed(of, &[text], 1)[0]);
    it_recovers_within_a_period(&stage, of, STEP).await;
    // What the chain has requested meanwhile follows at once.
    let lasted =
        failed.failing_since.map_or(SignedDuration::ZERO, |since| stage.sim.now().duration_since(since));
    stage.pass_time(PERIOD).await;
    logged.extend(stage.lines.take());
    let recovered = lines::recovered(of, 1, lasted);
    assert_eq!(logged, [lines::removed(of), recovered]);
    for (other, (now, then)) in Loop::ALL.into_iter().zip(stage.passes().await.into_iter().zip(before)) {
        assert!(other == of || now > then + timeout.as_secs() / PERIOD.as_secs(), "{other}");
    }
}

#[actix_rt::test]
async fn a_removal_of_a_container_that_is_never_answered_costs_one_pass() {
    an_rpc_hangs_once(Loop::ContainerGc, Method::RemoveContainer, STEP).await;
}

#[actix_rt::test]
async fn a_removal_of_a_container_that_is_not_answered_for_longer_than_a_period_costs_one_pass() {
    an_rpc_hangs_once(Loop::ContainerGc, Method::RemoveContainer, 5 * STEP).await;
}

#[actix_rt::test]
async fn a_stop_of_a_sandbox_that_is_never_answered_costs_one_pass() {
    an_rpc_hangs_once(Loop::SandboxGc, Method::StopPodSandbox, 5 * STEP).await;
}

#[actix_rt::test]
async fn a_list_of_images_that_is_never_answered_costs_one_pass() {
    an_rpc_hangs_once(Loop::ImageGc, Method::ListImages, 5 * STEP).await;
}

#[actix_rt::test]
async fn a_disk_that_does_not_answer_delays_image_gc_alone() {
    let (mut setup, _) = node(Loop::ImageGc);
    let (begun, hangs) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(true)));
    let (release, released) = mpsc::channel::<()>();
    let released = Mutex::new(released);
    let (probe, count, hang) = (setup.sim.fs_probe(), Arc::clone(&begun), Arc::clone(&hangs));
    setup.seams.probe = FsProbe::new(move |path| {
        if hang.load(SeqCst) {
            count.fetch_add(1, SeqCst);
            let _ = released.lock().unwrap().recv();
        }
        probe(path)
    });
    let stage = setup.start().await;
    // How long a measurement may take.
    let limit = SECOND * 10;
    let count = Arc::clone(&begun);
    stage.hangs_at(Loop::ImageGc, Box::new(move || count.load(SeqCst)), FOR_EVER, limit).await;
    // The disk answers a step later, when no pass waits any more, so that the worker is there for the next pass.
    let (mut seen, mut answered, late) = (0, 0, release.clone());
    *stage.after_step.borrow_mut() = Some(Box::new(move || {
        if answered < seen {
            answered += 1;
            late.send(()).unwrap();
        }
        seen = begun.load(SeqCst);
    }));
    let place = stage.sim.paths().images.display().to_string();
    let text = format!(
        "could not measure the filesystems: {place}: no answer within 10s; check whether it is on a network mount that hangs"
    );
    let outage = Outage { of: Loop::ImageGc, texts: vec![text], object: false };
    let repair = |stage: &Stage| {
        hangs.store(false, SeqCst);
        stage.clear_faults();
        let _ = release.send(());
    };
    outage.runs_its_course(stage, repair).await;
}

#[actix_rt::test]
async fn a_worker_that_waits_for_the_runtime_delays_log_gc_alone() {
    let setup = Setup::new().set("pods.runtime_grace", "0s");
    let directory = format!("ns_gone_{}", uid(3));
    let long_ago = setup.sim.ago(HOUR);
    let path = setup.sim.with(|node| node.add_log_dir(&directory, long_ago)).unwrap();
    let stage = setup.start().await;
    // The check before the plan is answered, the one right before the removal is not: log_gc's only worker waits for it.
    stage.sim.fault(Method::ListContainers, Fault::Delay(Duration::ZERO), Scope::Times(1));
    stage.sim.fault(Method::ListContainers, Fault::Hang, Scope::Times(1));
    let (sim, before) = (stage.sim.clone(), stage.sim.count(Method::ListContainers));
    let hung = move || usize::from(sim.count(Method::ListContainers) >= before + 2);
    stage.hangs_at(Loop::LogGc, Box::new(hung), 1, STEP).await;
    let mut pass = Box::pin(stage.handle(Loop::LogGc).run(None));
    assert!(pass.as_mut().now_or_never().is_none());
    let arrived = || (stage.sim.count(Method::ListContainers) >= before + 2).then_some(());
    stage.until("the question before the removal", async || arrived()).await;
    stage.step(SECOND).await;
    assert_eq!(stage.passes().await, [1, 1, 0, 1], "the others have made their passes");
    stage.step(STEP - SECOND).await;
    assert!(!stage.answer("the pass", pass).await.unwrap().is_good());
    let why = "ListContainers: no answer within 20s";
    let mut expected = lines::failed(Loop::LogGc, &[stuck(Loop::LogGc, &directory, why)], 1);
    // The pass that the sandbox reaper requested meanwhile does not try it again; that of the next period does.
    stage.settle().await;
    lines::assert_same(&stage.lines.all(), &expected);
    assert!(path.exists());
    stage.pass_time(PERIOD).await;
    expected.push(lines::removed(Loop::LogGc));
    expected.push(lines::recovered(Loop::LogGc, 1, SignedDuration::from_mins(1)));
    lines::assert_same(&stage.lines.all(), &expected);
    assert!(!path.exists());
}
