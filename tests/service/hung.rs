//! A loop whose thread hangs, on threads of their own as in the program, and in real time: time can't be driven where the
//! thread that hangs takes it with it. What is waited for is an effect, never a time.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use cri_gc_collectors::collector::Doing;
use cri_gc_kit::generation::Cause;
use cri_gc_kit::seams::Clock;
use cri_gc_kit::supervision::threads::Threads;
use cri_gc_kit::words::Loop;
use cri_gc_sim::{Fault, Method, Scope};
use futures_util::FutureExt;
use futures_util::future::join_all;
use jiff::SignedDuration;

use crate::isolation::node;
use crate::stage::{PATIENCE, PAUSED, Setup, Stage};

/// How long a thread may be silent in these tests: longer than a busy machine keeps one waiting.
const SILENCE: &str = "4s";

/// The clock of a loop, whose next question hangs once it is armed.
pub struct Trap {
    pub armed: Arc<AtomicBool>,
    pub sprung: Arc<AtomicBool>,
    /// Whether the thread that hung has continued.
    gone_on: Arc<AtomicBool>,
    /// When this is dropped, the thread that hangs continues.
    pub release: Option<mpsc::Sender<()>>,
}

/// Which clock a trap is in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum In {
    /// The one that every actor reads.
    Wall,
    /// The one that only passes read.
    Boot,
}

impl Trap {
    /// Lays it for a loop.
    pub fn lay(setup: &mut Setup, of: Loop, at: In) -> Self {
        let new = || Arc::new(AtomicBool::new(false));
        let (armed, sprung, gone_on) = (new(), new(), new());
        let (release, end) = mpsc::channel::<()>();
        let end = Mutex::new(end);
        let (arms, springs, has_continued) = (Arc::clone(&armed), Arc::clone(&sprung), Arc::clone(&gone_on));
        let asked = Arc::new(move |clock: In| {
            if clock == at && arms.swap(false, SeqCst) {
                springs.store(true, SeqCst);
                let _ = end.lock().unwrap().recv();
                has_continued.store(true, SeqCst);
            }
        });
        let (too, wall, sim) = (Arc::clone(&asked), setup.sim.clock(), setup.sim.clone());
        let wall = move || {
            asked(In::Wall);
            wall()
        };
        let boot = move || {
            too(In::Boot);
            SignedDuration::try_from(sim.uptime()).unwrap()
        };
        setup.seams.own_clocks.push((of, Clock::with_boot(wall, boot)));
        Self { armed, sprung, gone_on, release: Some(release) }
    }
}

pub fn on_its_own_threads(mut setup: Setup) -> Setup {
    setup.threads = Threads::own();
    for of in Loop::ALL {
        setup = setup.set(&format!("{of}.period"), "1s");
    }
    setup.set("supervision.hang_timeout", SILENCE)
}

/// Checks again and again, and fails when its patience is over.
pub async fn until<T>(what: &str, mut check: impl AsyncFnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = check().await {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "{what}: it does not come about");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub async fn passes(stage: &Stage, of: Loop) -> u64 {
    stage.state(of).await.passes
}

/// The thread of `of` hangs. The others continue, it gets another one, and the old one may end.
async fn hangs_alone(of: Loop) {
    let mut setup = Setup::new();
    let mut trap = Trap::lay(&mut setup, of, In::Boot);
    let stage = on_its_own_threads(setup).start_in(None);
    until("a first pass", async || (passes(&stage, of).await > 0).then_some(())).await;
    trap.armed.store(true, SeqCst);
    until("the trap", async || trap.sprung.load(SeqCst).then_some(())).await;
    let hung = passes(&stage, of).await;
    for other in Loop::ALL.into_iter().filter(|other| *other != of) {
        let before = passes(&stage, other).await;
        until("passes of the others", async || (passes(&stage, other).await > before + 1).then_some(()))
            .await;
    }
    // It says so, for 2 s of silence are enough for that, until it is given another thread.
    let state = until("its end", async || {
        let state = stage.state(of).await;
        (state.doing == Doing::Hung || state.restarts > 0).then_some(state)
    });
    let state = state.await;
    assert!(state.restarts > 0 || state.passes == hung, "{state:?}");
    let state = until("its new thread", async || {
        let state = stage.state(of).await;
        (state.restarts == 1 && state.passes > hung + 2).then_some(state)
    });
    let state = state.await;
    assert!(
        state.last_restart.as_ref().is_some_and(|why| why.contains("did not answer for 4s")),
        "{state:?}"
    );
    assert_eq!(state.failures, 0);
    let logged: Vec<String> = stage.lines.all();
    let stuck = format!(
        "ERRO {of} {of} hung, restarting now: its thread did not answer for 4s (supervision.hang_timeout); it continues on a new thread \
         failures=1 suppressed=0"
    );
    assert_eq!(logged.len(), 2, "{logged:?}");
    assert_eq!(logged[0], stuck);
    assert!(logged[1].starts_with(&format!("INFO {of} the loop has recovered failures=1")), "{logged:?}");
    trap.release = None;
    stage.service.stop();
}

#[actix_rt::test]
async fn a_loop_whose_thread_hangs_does_so_alone_and_gets_another_one() {
    join_all(Loop::ALL.map(hangs_alone)).await;
}

#[actix_rt::test]
async fn a_loop_that_hung_right_before_a_removal_does_not_remove_when_it_continues() {
    let (mut setup, id) = node(Loop::ContainerGc);
    let mut trap = Trap::lay(&mut setup, Loop::ContainerGc, In::Wall);
    // The check before the removal is the last question of the wall clock before it.
    let (armed, sim) = (Arc::clone(&trap.armed), setup.sim.clone());
    sim.before_next(Method::ContainerStatus, move |_, _| armed.store(true, SeqCst));
    let stage = on_its_own_threads(setup).start_in(None);
    until("the trap", async || trap.sprung.load(SeqCst).then_some(())).await;
    // No other loop removes it.
    stage.handle(Loop::ContainerGc).pause(PAUSED, None).await;
    let restarted = async || (stage.state(Loop::ContainerGc).await.restarts == 1).then_some(());
    until("its new thread", restarted).await;
    assert_eq!(stage.state(Loop::ContainerGc).await.doing, Doing::Paused);
    // The old one continues where it hung, and requests the removal right away.
    trap.release = None;
    until("the old thread", async || trap.gone_on.load(SeqCst).then_some(())).await;
    let before = passes(&stage, Loop::LogGc).await;
    until("a pass of another loop", async || (passes(&stage, Loop::LogGc).await > before).then_some(()))
        .await;
    assert_eq!(stage.sim.count(Method::RemoveContainer), 0);
    stage.handle(Loop::ContainerGc).pause(None, None).await;
    until("the removal", async || (!stage.sim.container_ids().contains(&id)).then_some(())).await;
    assert_eq!(stage.sim.count(Method::RemoveContainer), 1, "by the new one");
    stage.service.stop();
}

#[actix_rt::test]
async fn what_waits_in_the_gateway_is_not_sent_once_a_loop_whose_thread_hangs_is_paused() {
    let mut setup = Setup::new();
    let sandbox = setup.living_pod(1);
    (0..8).for_each(|attempt| drop(setup.ended(&sandbox, attempt)));
    let mut trap = Trap::lay(&mut setup, Loop::ContainerGc, In::Wall);
    let sim = setup.sim.clone();
    // The gateway has one place for eight removals: it learns that while the pass, which began with eight, reads the statuses. The
    // first removal hangs.
    sim.fault(Method::ContainerStatus, Fault::Hang, Scope::Times(8));
    let removals = sim.clone();
    sim.before_next(Method::ContainerStatus, move |_, _| {
        removals.fault(Method::RemoveContainer, Fault::Hang, Scope::Times(1));
    });
    let settings = |period: &str, parallel: u8| {
        format!(
            "[container_gc]\nperiod = \"{period}\"\nmax_per_pod_container = 0\nparallel_removals = {parallel}\n"
        )
    };
    let file = setup.file(&settings("1h", 8));
    setup.threads = Threads::own();
    let stage = setup.start_in(None);
    let reload = async |text: String| {
        std::fs::write(&file, text).unwrap();
        stage.answer("a reload", stage.service.configuration.reload(Cause::Admin, None)).await.unwrap();
    };
    let counts = |method, number| {
        let sim = sim.clone();
        async move || (sim.count(method) == number).then_some(())
    };
    until("the statuses", counts(Method::ContainerStatus, 8)).await;
    reload(settings("1h", 1)).await;
    sim.clear_faults();
    until("the first removal", counts(Method::RemoveContainer, 1)).await;
    // What the loop does next is to plan its next pass again, and its thread hangs over that.
    trap.armed.store(true, SeqCst);
    reload(settings("2h", 1)).await;
    until("the trap", async || trap.sprung.load(SeqCst).then_some(())).await;
    stage.handle(Loop::ContainerGc).pause(PAUSED, None).await;
    sim.clear_faults();
    until("the end of the first removal", async || (sim.container_ids().len() == 7).then_some(())).await;
    // The gateway serves the others meanwhile.
    let before = passes(&stage, Loop::SandboxGc).await;
    stage.handle(Loop::SandboxGc).run(None).await.unwrap();
    assert!(passes(&stage, Loop::SandboxGc).await > before);
    assert_eq!(sim.count(Method::RemoveContainer), 1, "no other was sent");
    trap.release = None;
    until("the end of the pass", async || (passes(&stage, Loop::ContainerGc).await == 1).then_some(())).await;
    assert_eq!(sim.count(Method::RemoveContainer), 1, "nor later");
    stage.service.stop();
}

#[actix_rt::test]
async fn when_the_threads_of_three_loops_hang_the_process_has_to_end() {
    let mut setup = Setup::new();
    let of = [Loop::ContainerGc, Loop::SandboxGc, Loop::LogGc];
    let mut traps = of.map(|of| Trap::lay(&mut setup, of, In::Boot));
    let setup = on_its_own_threads(setup);
    let threads = setup.threads.clone();
    let stage = setup.start_in(None);
    let mut exhausted = Box::pin(threads.exhausted());
    for (number, (trap, of)) in traps.iter().zip(of).enumerate() {
        let first = async || (passes(&stage, of).await > 0).then_some(());
        until("a first pass", first).await;
        assert!(exhausted.as_mut().now_or_never().is_none(), "{number} threads hang");
        trap.armed.store(true, SeqCst);
        let replaced = async || (stage.state(of).await.restarts == 1).then_some(());
        until("its new thread", replaced).await;
    }
    tokio::time::timeout(PATIENCE, exhausted).await.unwrap();
    // The others continue meanwhile.
    let before = passes(&stage, Loop::ImageGc).await;
    until("a pass", async || (passes(&stage, Loop::ImageGc).await > before).then_some(())).await;
    traps.iter_mut().for_each(|trap| trap.release = None);
    stage.service.stop();
}
