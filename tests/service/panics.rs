//! An actor that panics: a loop for 50 periods, alone and logged by the rules
//! (behaviour: Failures and log levels); every other actor once; and all of them, wherever they read the time. Each
//! restarts, and no state is lost.
//!
//! What makes them panic is the clock, which every actor but the recorder reads: nothing that a test can reach makes that
//! one panic.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};

use cri_gc_collectors::collector::Doing;
use cri_gc_collectors::collector::Paused;
use cri_gc_kit::generation::Cause;
use cri_gc_kit::recorder::EventKind;
use cri_gc_kit::seams::Clock;
use cri_gc_kit::words::Loop;
use cri_gc_pods::Seen;
use futures_util::FutureExt;

use crate::isolation::{it_recovers_within_a_period, node, the_others_keep_their_pace};
use crate::lines;
use crate::stage::{HOUR, PAUSED, PERIOD, SECOND, Setup, pod, turns};

/// The clock of a node. Each call of it runs `fuse` first.
fn clock_that(setup: &Setup, fuse: impl Fn() + Clone + Send + Sync + 'static) -> Clock {
    let (wall, sim, fuse_too) = (setup.sim.clock(), setup.sim.clone(), fuse.clone());
    let wall = move || {
        fuse();
        wall()
    };
    Clock::with_boot(wall, move || {
        fuse_too();
        jiff::SignedDuration::try_from(sim.uptime()).unwrap()
    })
}

/// The clock of a node, which panics while the switch is set: in passes only, for nothing else of a loop asks how long the
/// machine has been up.
fn panics_in_passes(setup: &Setup, switch: &Arc<AtomicBool>) -> Clock {
    let (wall, sim, switch) = (setup.sim.clock(), setup.sim.clone(), Arc::clone(switch));
    Clock::with_boot(
        move || wall(),
        move || {
            assert!(!switch.load(SeqCst), "on purpose");
            jiff::SignedDuration::try_from(sim.uptime()).unwrap()
        },
    )
}

async fn a_loop_panics(of: Loop) {
    let (mut setup, _) = node(of);
    let switch = Arc::new(AtomicBool::new(true));
    let clock = panics_in_passes(&setup, &switch);
    setup.seams.own_clocks.push((of, clock));
    let stage = setup.start().await;
    stage.step(SECOND).await;
    // Restarts come at odd seconds.
    the_others_keep_their_pace(&stage, of, SECOND).await;
    // The worst moment to be repaired at: the longest pause has just begun.
    let panics = stage.state(of).await.restarts + 1;
    while stage.state(of).await.restarts < panics {
        stage.step(SECOND).await;
    }
    let broken = stage.state(of).await;
    let since = broken.failing_since.unwrap();
    assert_eq!((broken.passes, broken.failures, broken.restarts), (0, panics, panics), "every pass panicked");
    assert!(panics >= 50, "{panics}");

    switch.store(false, SeqCst);
    it_recovers_within_a_period(&stage, of, SECOND).await;
    let lasted = stage.sim.now().duration_since(since);
    let recovered = stage.state(of).await;
    assert_eq!((recovered.doing, recovered.removed), (Doing::Waiting, u64::from(of != Loop::LogGc)));
    stage.pass_time(5 * PERIOD).await;

    let mut expected = lines::panicked(of, "it panicked: on purpose", panics);
    expected.extend((0..recovered.removed).map(|_| lines::removed(of)));
    expected.push(lines::recovered(of, panics, lasted));
    lines::assert_same(&stage.lines.all(), &expected);
    let mut events: Vec<_> =
        lines::logged_numbers(panics).into_iter().map(|n| (EventKind::Restarted, n)).collect();
    events.extend((0..recovered.removed).map(|_| (EventKind::Removed, 0)));
    events.push((EventKind::Recovered, 0));
    assert_eq!(stage.event_kinds().await, events);
}

#[actix_rt::test]
async fn container_gc_panics_alone() {
    a_loop_panics(Loop::ContainerGc).await;
}

#[actix_rt::test]
async fn sandbox_gc_panics_alone() {
    a_loop_panics(Loop::SandboxGc).await;
}

#[actix_rt::test]
async fn log_gc_panics_alone() {
    a_loop_panics(Loop::LogGc).await;
}

#[actix_rt::test]
async fn image_gc_panics_alone() {
    a_loop_panics(Loop::ImageGc).await;
}

#[actix_rt::test]
async fn a_shutdown_does_not_wait_for_a_loop_that_is_about_to_restart() {
    let (mut setup, id) = node(Loop::ContainerGc);
    let switch = Arc::new(AtomicBool::new(true));
    let clock = panics_in_passes(&setup, &switch);
    setup.seams.own_clocks.push((Loop::ContainerGc, clock));
    let stage = setup.start().await;
    // After eight panics the pause is a minute.
    while stage.state(Loop::ContainerGc).await.restarts < 8 {
        stage.step(SECOND).await;
    }
    switch.store(false, SeqCst);
    let mut end = Box::pin(stage.service.finish());
    assert!(end.as_mut().now_or_never().is_none());
    stage.settle().await;
    assert!(end.as_mut().now_or_never().is_none());
    for _ in 0..10 {
        stage.step_without_waiting(SECOND).await;
    }
    stage.answer("the end", end).await;
    for _ in 0..60 {
        stage.step_without_waiting(SECOND).await;
    }
    // It is there again, and begins nothing.
    stage.pass_time(3 * PERIOD).await;
    assert_eq!((stage.sim.container_ids(), stage.passes().await[0]), (vec![id], 0));
    for of in Loop::ALL {
        assert_eq!(stage.state(of).await.doing, Doing::Stopped, "{of}");
    }
}

/// A node whose clock, which all actors share, panics at the next questions.
pub struct Fuse(Arc<AtomicU32>);

impl Fuse {
    pub fn lay(setup: &mut Setup) -> Self {
        let left = Arc::new(AtomicU32::new(0));
        let burning = Arc::clone(&left);
        setup.seams.clock = clock_that(setup, move || {
            let burns = burning.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok();
            assert!(!burns, "on purpose");
        });
        Self(left)
    }

    /// The next caller panics.
    pub fn light(&self) {
        self.0.store(1, SeqCst);
    }

    pub fn has_burnt(&self) -> bool {
        self.0.load(SeqCst) == 0
    }
}

fn crashed(who: &str, of: &str) -> String {
    format!("ERRO {of} internal part \"{who}\" crashed, restarting in 1s")
}

#[actix_rt::test]
async fn the_configuration_panics_at_a_reload_and_takes_the_next_one() {
    let mut setup = Setup::new();
    let file = setup.file("");
    let fuse = Fuse::lay(&mut setup);
    let stage = setup.start().await;
    stage.step(SECOND).await;
    std::fs::write(&file, "[log_gc]\nperiod = \"2m\"\n").unwrap();
    fuse.light();
    let configuration = &stage.service.configuration;
    let mut interrupted = Box::pin(configuration.reload(Cause::Admin, None));
    assert!(interrupted.as_mut().now_or_never().is_none());
    stage.until("the panic", async || fuse.has_burnt().then_some(())).await;
    // Requests to it meanwhile wait for it.
    let mut reload = Box::pin(configuration.reload(Cause::Admin, None));
    assert!(reload.as_mut().now_or_never().is_none());
    stage.settle().await;
    assert_eq!(stage.lines.take(), [crashed("configuration", "-")]);
    stage.step(SECOND).await;
    let refused = stage.answer("the interrupted reload", interrupted).await.unwrap_err();
    assert!(refused.0.contains("restarted after a panic during the reload; try again"), "{refused}");
    let reloaded = stage.answer("the next reload", reload).await.unwrap();
    assert_eq!((reloaded.state.generation.number, &reloaded.changed[..]), (2, &["log_gc.period"][..]));
    stage.settle().await;
    assert_eq!(stage.state(Loop::LogGc).await.period, 2 * PERIOD);
    assert_eq!(stage.lines.take(), ["INFO - configuration reloaded cause=admin"]);
}

#[actix_rt::test]
async fn the_gateway_panics_while_it_waits_for_the_runtime_and_reaches_it_all_the_same() {
    let mut setup = Setup::new();
    let fuse = Fuse::lay(&mut setup);
    let stage = setup.start().await;
    stage.step(SECOND).await;
    stage.sim.kill();
    let gateway = &stage.service.tools.gateway;
    // One answer is missing, and nothing else.
    fuse.light();
    let interrupted = gateway.version().await.unwrap_err();
    assert!(fuse.has_burnt() && interrupted.message.contains("restarted during the call"), "{interrupted}");
    assert!(!interrupted.is_unreachable(), "that says nothing about the runtime");
    assert_eq!(stage.lines.take(), Vec::<String>::new());
    assert!(gateway.version().await.unwrap_err().is_unreachable());
    turns(100).await;
    assert_eq!(stage.lines.take().len(), 1, "the loss");
    // Its own next attempt.
    fuse.light();
    stage.step(SECOND).await;
    assert!(fuse.has_burnt());
    assert_eq!(stage.lines.take(), [crashed("gateway", "-")]);
    let mut asked = Box::pin(gateway.runtime());
    turns(100).await;
    assert!(asked.as_mut().now_or_never().is_none(), "it waits for the gateway");
    stage.sim.restart().unwrap();
    stage.step(SECOND).await;
    assert!(stage.answer("the state", asked).await.is_some());
    stage.until("the return", async || gateway.runtime().await?.reachable?.then_some(())).await;
    stage.pass_time(PERIOD).await;
    assert_eq!(stage.lines.take(), ["INFO - container runtime reachable again"]);
    assert_eq!(stage.passes().await.map(|passes| passes >= 2), [true; 4]);
}

#[actix_rt::test]
async fn the_pod_state_provider_panics_at_a_question_and_forgets_its_confirmations() {
    let mut setup = Setup::new().set("pods.runtime_grace", "2m");
    let pod = setup.sim.add_pod(pod(1).created_at(setup.sim.ago(HOUR)).not_ready());
    let container = setup.ended(&pod.unwrap(), 0);
    let fuse = Fuse::lay(&mut setup);
    let stage = setup.start().await;
    stage.step(SECOND).await;
    stage.pass_time(PERIOD).await;
    fuse.light();
    let verdict = stage.service.tools.pods.judge(Seen::default()).await;
    assert!(fuse.has_burnt() && !verdict.pods.synced, "nothing is known: {verdict:?}");
    assert!(verdict.notes[0].contains("restarted after a panic during the check"));
    assert_eq!(stage.lines.take(), [crashed("pod-state provider", "-")]);
    stage.pass_time(2 * PERIOD).await;
    assert_eq!(stage.sim.container_ids(), [container], "what it had watched before counts no more");
    stage.pass_time(2 * PERIOD).await;
    assert_eq!(stage.sim.container_ids(), Vec::<String>::new());
    // The container, and with it the sandbox.
    assert_eq!(stage.lines.take()[..2], [Loop::ContainerGc; 2].map(lines::removed));
}

#[actix_rt::test]
async fn a_supervisor_panics_at_a_pause_and_takes_the_next_one() {
    let mut setup = Setup::new();
    let fuse = Fuse::lay(&mut setup);
    let stage = setup.start().await;
    stage.step(SECOND).await;
    fuse.light();
    // It is in force before the panic: the clock is read for its end, and nothing after that is done.
    let until = Some(stage.sim.now() + HOUR);
    stage.handle(Loop::LogGc).pause(PAUSED.map(|paused| Paused { until, ..paused }), None).await;
    assert!(fuse.has_burnt());
    assert_eq!(stage.lines.take(), [crashed("supervisor", "log_gc")]);
    let mut pausing = Box::pin(stage.handle(Loop::LogGc).pause(PAUSED, None));
    turns(100).await;
    assert!(pausing.as_mut().now_or_never().is_none(), "it waits for the supervisor");
    stage.step_without_waiting(SECOND).await;
    stage.answer("the pause", pausing).await;
    stage.settle().await;
    assert_eq!(stage.state(Loop::LogGc).await.doing, Doing::Paused);
    let before = stage.passes().await;
    stage.pass_time(2 * PERIOD).await;
    let made: Vec<bool> = stage.passes().await.iter().zip(before).map(|(now, then)| *now > then).collect();
    assert_eq!(made, [true, true, false, true]);
    assert_eq!(stage.lines.take(), ["INFO log_gc paused"]);
}

/// The clock, which all actors share, panics at every so many questions for ten minutes, in which the runtime stops and starts
/// and the configuration changes.
async fn all_restart(every: u32) {
    let mut setup = node(Loop::ContainerGc).0;
    let file = setup.file("");
    let (calls, switch) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(false)));
    let (asked, on) = (Arc::clone(&calls), Arc::clone(&switch));
    setup.seams.clock = clock_that(&setup, move || {
        let burns = on.load(SeqCst) && asked.fetch_add(1, SeqCst).is_multiple_of(every);
        assert!(!burns, "on purpose");
    });
    let stage = setup.start().await;
    switch.store(true, SeqCst);
    for second in 0..600 {
        stage.step_without_waiting(SECOND).await;
        match second % 100 {
            30 => stage.sim.kill(),
            60 => stage.sim.restart().unwrap(),
            90 => std::fs::write(&file, format!("# {second}\n")).unwrap(),
            _ => {}
        }
    }
    let panics = calls.load(SeqCst) / every;
    assert!(panics > 50, "{panics} panics");
    switch.store(false, SeqCst);

    // The longest pause before a restart, and a period.
    for _ in 0..=60 {
        stage.step_without_waiting(SECOND).await;
    }
    stage.until("all answer", async || stage.service.is_alive().await.then_some(())).await;
    stage.settle().await;
    let before = stage.passes().await;
    stage.pass_time(PERIOD).await;
    for (of, before) in Loop::ALL.into_iter().zip(before) {
        let state = stage.state(of).await;
        assert!(state.passes > before && state.failures == 0, "{state:?}");
        assert_eq!(state.doing, Doing::Waiting, "{state:?}");
    }
    assert_eq!(stage.sim.container_ids(), Vec::<String>::new(), "everything is removed");
    let configuration = &stage.service.configuration;
    let number = stage.answer("the generation", configuration.state()).await.unwrap().generation.number;
    let reloaded = stage.answer("a reload", configuration.reload(Cause::Admin, None)).await.unwrap();
    assert_eq!(reloaded.state.generation.number, number + 1);
    stage.settle().await;
    for of in Loop::ALL {
        assert_eq!(stage.state(of).await.generation, number + 1);
    }
}

#[actix_rt::test]
async fn all_restart_that_panic_at_every_second_question() {
    all_restart(2).await;
}

#[actix_rt::test]
async fn all_restart_that_panic_at_every_fifth_question() {
    all_restart(5).await;
}

#[actix_rt::test]
async fn all_restart_that_panic_at_every_thirteenth_question() {
    all_restart(13).await;
}
