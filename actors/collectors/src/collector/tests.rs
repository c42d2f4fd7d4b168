//! The loop by itself, on paused time and without a runtime: its pace, its chain, and that a loop that errs, panics or
//! hangs does so alone.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::{Addr, AsyncContext, Context, Handler, Message};
use actix_rt::Arbiter;
use cri_gc_config::{Mode, Settings};
use cri_gc_policy::FsStats;
use slog::{Drain, KV, Logger, Never, OwnedKVList, Record, Serializer, o};

use super::messages::{AskState, Declined, Finish, Pause, RunPass};
use super::supervisor::Next;
use super::*;
use crate::report::PassError;
use crate::tools::Tools;
use cri_gc_gateway::{Connect, Gateway};
use cri_gc_images::{Home, ImageRecords};
use cri_gc_kit::generation::{Generation, Reconfigure};
use cri_gc_kit::recorder::Recorder;
use cri_gc_kit::seams::{Chance, Clock, FsProbe};
use cri_gc_kit::supervision::guard::{self, Pace};
use cri_gc_kit::supervision::threads::{Lease, Threads};
use cri_gc_kit::words::Loop;
use cri_gc_kit::workers::Workers;
use cri_gc_pods::{Configure, PodStates};

/// A pause until it is resumed.
const PAUSED: Option<Paused> = Some(Paused { since: jiff::Timestamp::UNIX_EPOCH, until: None });

/// What a loop of these tests does in its passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Does {
    Well,
    Err,
    Panic,
    Hang,
    /// In the middle of a removal.
    HangInRemoval,
}

/// What a test sees of a loop, and orders.
#[derive(Clone)]
struct Strings {
    passes: Arc<AtomicU32>,
    does: Arc<Mutex<Does>>,
}

impl Strings {
    fn new(does: Does) -> Self {
        Self { passes: Arc::default(), does: Arc::new(Mutex::new(does)) }
    }

    fn passes(&self) -> u32 {
        self.passes.load(Relaxed)
    }
}

/// A loop on strings.
struct Puppet {
    strings: Strings,
    /// A loop keeps its value through its crashes.
    own: Cell<u32>,
}

const PERIOD: Duration = Duration::from_secs(60);
const DEADLINE: Duration = Duration::from_secs(30);

fn settings() -> Settings {
    let mut settings = Settings::default();
    (settings.container_gc.period, settings.container_gc.deadline) = (PERIOD, DEADLINE);
    settings
}

impl Collect for Puppet {
    const LOOP: Loop = Loop::ContainerGc;

    async fn pass(&self, pass: &Pass) -> Result<(), PassError> {
        self.own.set(self.own.get() + 1);
        self.strings.passes.fetch_add(1, Relaxed);
        assert_eq!(self.own.get(), self.strings.passes(), "the value survives");
        let does = *self.strings.does.lock().unwrap();
        match does {
            Does::Well => {}
            Does::Err => pass.error(PassError::File { step: "test", error: "on purpose".to_owned() }),
            Does::Panic => panic!("on purpose"),
            Does::Hang => std::future::pending().await,
            Does::HangInRemoval => {
                let _removing = pass.removing();
                std::future::pending().await
            }
        }
        Ok(())
    }
}

/// Records what is logged from INFO on, as "level msg".
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Drain for Lines {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record<'_>, _values: &OwnedKVList) -> Result<(), Never> {
        struct Numbers(String);
        impl Serializer for Numbers {
            fn emit_arguments(&mut self, key: slog::Key, value: &std::fmt::Arguments<'_>) -> slog::Result {
                if matches!(key, "failures" | "suppressed") {
                    self.0.push_str(&format!(" {key}={value}"));
                }
                Ok(())
            }
        }
        if record.level().is_at_least(slog::Level::Info) {
            let mut numbers = Numbers(String::new());
            let _ = record.kv().serialize(record, &mut numbers);
            let mut words: Vec<&str> = numbers.0.split_whitespace().collect();
            words.sort_unstable();
            let line = format!("{} {} {}", record.level(), record.msg(), words.join(" "));
            self.0.lock().unwrap().push(line.trim_end().to_owned());
        }
        Ok(())
    }
}

/// Everything on the test's own thread, so that time can be paused for all of it.
struct Stage {
    tools: Tools,
    lines: Lines,
    standing: Lease,
}

impl Stage {
    fn new() -> Self {
        let here = Arbiter::current();
        let lines = Lines::default();
        let log = Logger::root(lines.clone().fuse(), o!());
        let mut settings = Settings::default();
        settings.runtime.endpoint = "/nonexistent".parse().unwrap();
        settings.runtime.request_timeout = DEADLINE;
        let files = Workers::start(1).unwrap();
        let gateway = Gateway::start(&here, &settings, Connect::Socket, None, log.clone());
        let began = tokio::time::Instant::now();
        let clock = Clock::new(move || {
            jiff::Timestamp::UNIX_EPOCH + jiff::SignedDuration::try_from(began.elapsed()).unwrap()
        });
        let configure = Configure { settings: Arc::default(), confirmed: false, service: false };
        let pods =
            PodStates::start(&here, gateway.clone(), files.clone(), clock.clone(), configure, log.clone());
        let probe = FsProbe::new(|_| Ok(FsStats::default()));
        let recorder = Recorder::none(clock.clone());
        let (disks, store, at) = (files.clone(), files.clone(), clock.clone());
        let pace = Pace { min: Duration::from_secs(1), max: Duration::from_secs(1) };
        let crashed = guard::log_restart(log.clone(), "image records", None);
        let images = ImageRecords::start(&here, (pace, crashed), Home::Memory, store, at, log.clone());
        let tools = Tools { gateway, pods, images, files, disks, clock, probe, recorder, log };
        Self { tools, lines, standing: Lease::default() }
    }

    fn serve(&self, strings: &Strings, next: Next) -> Addr<Supervisor<Puppet>> {
        let strings = strings.clone();
        let schedule = Schedule { first: Duration::from_secs(1), chance: Chance::none() };
        let generation = Generation::only(Arc::new(settings()));
        let clock = self.tools.clock.clone();
        let (on, threads) = (Arbiter::current(), Threads::here());
        let base =
            Base { on, threads, generation, schedule, paused: None, clock, standing: self.standing.clone() };
        Supervisor::start(base, self.tools.clone(), next, move || Puppet {
            strings: strings.clone(),
            own: Cell::new(0),
        })
    }

    fn logged(&self) -> Vec<String> {
        self.lines.0.lock().unwrap().clone()
    }
}

/// Time passes; everything that is due happens.
async fn periods(count: u32) {
    tokio::time::sleep(PERIOD * count).await;
}

#[actix_rt::test]
async fn a_loop_passes_soon_after_its_start_and_once_a_period() {
    tokio::time::pause();
    let stage = Stage::new();
    let strings = Strings::new(Does::Well);
    let _loop = stage.serve(&strings, Vec::new());
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(strings.passes(), 1);
    periods(10).await;
    assert_eq!(strings.passes(), 11);
    assert_eq!(stage.logged(), Vec::<String>::new(), "no failure, and nothing is logged");
}

#[actix_rt::test]
async fn a_loop_that_fails_panics_or_hangs_for_50_periods_recovers_and_disturbs_no_other() {
    tokio::time::pause();
    for broken in [Does::Err, Does::Panic, Does::Hang] {
        let stage = Stage::new();
        let bad = Strings::new(broken);
        let good = [(); 3].map(|()| Strings::new(Does::Well));
        let _bad = stage.serve(&bad, Vec::new());
        let _good = good.each_ref().map(|strings| stage.serve(strings, Vec::new()));
        periods(50).await;
        for strings in &good {
            assert_eq!(strings.passes(), 50, "{broken:?}: every period has its pass");
        }
        *bad.does.lock().unwrap() = Does::Well;
        let before = bad.passes();
        periods(1).await;
        tokio::time::sleep(DEADLINE).await;
        assert!(bad.passes() > before, "{broken:?}: it passes again within a period and the deadline");
    }
}

#[actix_rt::test]
async fn fifty_failures_in_a_row_are_logged_in_seven_lines_including_the_recovery() {
    tokio::time::pause();
    let stage = Stage::new();
    let strings = Strings::new(Does::Err);
    let _loop = stage.serve(&strings, Vec::new());
    periods(50).await;
    *strings.does.lock().unwrap() = Does::Well;
    periods(5).await;
    let failed = "pass failed: test: on purpose";
    assert_eq!(
        stage.logged(),
        [
            format!("ERRO {failed} failures=1 suppressed=0"),
            format!("WARN {failed} failures=2 suppressed=0"),
            format!("WARN {failed} failures=4 suppressed=1"),
            format!("WARN {failed} failures=8 suppressed=3"),
            format!("WARN {failed} failures=16 suppressed=7"),
            format!("WARN {failed} failures=32 suppressed=15"),
            "INFO the loop has recovered failures=50".to_owned(),
        ]
    );
}

#[actix_rt::test]
async fn a_loop_that_panics_is_logged_as_seldom_as_one_that_fails() {
    tokio::time::pause();
    let stage = Stage::new();
    let strings = Strings::new(Does::Panic);
    let address = stage.serve(&strings, Vec::new());
    periods(50).await;
    let state = address.send(AskState).await.unwrap();
    assert_eq!(u64::from(strings.passes()), state.restarts, "each pass panicked");
    assert_eq!(state.failures, state.restarts);
    assert_eq!(state.doing, Doing::Restarting);
    *strings.does.lock().unwrap() = Does::Well;
    periods(2).await;
    let logged = stage.logged();
    let doublings = state.restarts.ilog2() + 1;
    assert_eq!(u32::try_from(logged.len()).unwrap(), doublings + 1, "{logged:?}");
    assert!(logged[0].starts_with("ERRO container_gc crashed, restarting in 1s: it panicked"), "{logged:?}");
    assert!(
        logged[1..logged.len() - 1]
            .iter()
            .all(|line| line.starts_with("WARN container_gc crashed, restarting in ")),
        "{logged:?}"
    );
    assert_eq!(logged.last().unwrap(), &format!("INFO the loop has recovered failures={}", state.restarts));
    assert_eq!(address.send(AskState).await.unwrap().doing, Doing::Waiting);
}

/// The timer never rings, though the loop believes that it will.
#[derive(Message)]
#[rtype(result = "()")]
struct LoseTimer;

impl Handler<LoseTimer> for Supervisor<Puppet> {
    type Result = ();

    fn handle(&mut self, message: LoseTimer, _ctx: &mut Context<Self>) {
        self.current.address.do_send(message);
    }
}

impl Handler<LoseTimer> for Collector<Puppet> {
    type Result = ();

    fn handle(&mut self, _lose: LoseTimer, ctx: &mut Context<Self>) {
        ctx.cancel_future(self.timer.handle.unwrap());
    }
}

#[actix_rt::test]
async fn a_loop_whose_timer_was_lost_makes_passes_again() {
    tokio::time::pause();
    let stage = Stage::new();
    let strings = Strings::new(Does::Well);
    let address = stage.serve(&strings, Vec::new());
    periods(2).await;
    address.send(LoseTimer).await.unwrap();
    let before = strings.passes();
    tokio::time::sleep(2 * Settings::default().supervision.hang_timeout + 3 * PERIOD).await;
    assert!(strings.passes() > before + 1, "it makes passes by itself again");
    let logged = stage.logged();
    assert_eq!(logged, ["WARN the timer of container_gc is late, starting the pass now"]);
    assert_eq!(address.send(AskState).await.unwrap().restarts, 0);
}

#[actix_rt::test]
async fn a_loop_that_is_switched_off_during_an_outage_has_not_recovered() {
    tokio::time::pause();
    let stage = Stage::new();
    let strings = Strings::new(Does::Err);
    let address = stage.serve(&strings, Vec::new());
    periods(3).await;
    let mut settings = settings();
    settings.container_gc.mode = cri_gc_config::Mode::Off;
    address.send(Reconfigure(Generation::only(Arc::new(settings)))).await.unwrap();
    periods(3).await;
    assert_eq!(stage.logged().len(), 2, "the first failure and the second: {:?}", stage.logged());
    assert_eq!(address.send(AskState).await.unwrap().doing, Doing::Off);
}

#[actix_rt::test]
async fn a_loop_that_hangs_is_logged_as_seldom_as_one_that_fails() {
    tokio::time::pause();
    let stage = Stage::new();
    let strings = Strings::new(Does::Hang);
    let _loop = stage.serve(&strings, Vec::new());
    periods(50).await;
    *strings.does.lock().unwrap() = Does::Well;
    periods(2).await;
    let logged = stage.logged();
    let levels: Vec<&str> = logged.iter().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(levels, ["ERRO", "WARN", "WARN", "WARN", "WARN", "WARN", "INFO"], "{logged:?}");
    assert!(logged[0].contains("deadline of 30s"), "{logged:?}");
}

#[actix_rt::test]
async fn a_paused_loop_makes_no_pass_and_continues_at_once_when_it_is_resumed() {
    tokio::time::pause();
    let stage = Stage::new();
    let strings = Strings::new(Does::Well);
    let address = stage.serve(&strings, Vec::new());
    tokio::time::sleep(Duration::from_secs(2)).await;
    address.send(Pause { paused: PAUSED, by: None }).await.unwrap();
    periods(10).await;
    assert_eq!(strings.passes(), 1);
    let state = address.send(AskState).await.unwrap();
    assert_eq!((state.doing, state.next_pass_at), (Doing::Paused, None));
    let declined = address.send(RunPass::default()).await.unwrap();
    assert_eq!(declined.err(), Some(Declined::Paused(Loop::ContainerGc)));
    address.send(Pause { paused: None, by: None }).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(strings.passes(), 2);
    periods(3).await;
    assert_eq!(strings.passes(), 5);
}

#[actix_rt::test]
async fn nothing_is_removed_in_its_name_while_it_is_paused_does_not_enforce_or_stops() {
    tokio::time::pause();
    let stage = Stage::new();
    let address = stage.serve(&Strings::new(Does::Well), Vec::new());
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!stage.standing.is_suspended());
    for paused in [PAUSED, None] {
        address.send(Pause { paused, by: None }).await.unwrap();
        assert_eq!(stage.standing.is_suspended(), paused.is_some());
    }
    for mode in [Mode::Report, Mode::Off, Mode::Enforce] {
        let mut settings = settings();
        settings.container_gc.mode = mode;
        address.send(Reconfigure(Generation::only(Arc::new(settings)))).await.unwrap();
        assert_eq!(stage.standing.is_suspended(), mode != Mode::Enforce);
    }
    address.send(Finish).await.unwrap();
    assert!(stage.standing.is_suspended());
}

#[actix_rt::test]
async fn a_pause_ends_by_itself_when_its_time_is_over_unless_it_was_changed() {
    tokio::time::pause();
    let stage = Stage::new();
    let strings = Strings::new(Does::Well);
    let address = stage.serve(&strings, Vec::new());
    tokio::time::sleep(Duration::from_secs(2)).await;
    let since = stage.tools.clock.now();
    let pause = async |until: Duration| {
        let paused = Some(Paused { since: stage.tools.clock.now(), until: Some(since + until) });
        address.send(Pause { paused, by: None }).await.unwrap();
    };
    pause(Duration::from_secs(90)).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    // Longer, from the middle of it on.
    pause(Duration::from_secs(200)).await;
    tokio::time::sleep(Duration::from_secs(120)).await;
    let state = address.send(AskState).await.unwrap();
    assert_eq!((strings.passes(), state.doing), (1, Doing::Paused));
    assert_eq!(state.paused.map(|paused| paused.since), Some(since), "it is the same pause");
    tokio::time::sleep(Duration::from_secs(30)).await;
    let state = address.send(AskState).await.unwrap();
    assert_eq!((strings.passes(), state.paused), (2, None));
}

#[actix_rt::test]
async fn a_pause_and_settings_survive_a_crash() {
    tokio::time::pause();
    let stage = Stage::new();
    let strings = Strings::new(Does::Panic);
    let address = stage.serve(&strings, Vec::new());
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(strings.passes(), 1);
    address.send(Pause { paused: PAUSED, by: None }).await.unwrap();
    let generation = Generation { number: 7, ..(*Generation::only(Arc::new(settings()))).clone() };
    address.send(Reconfigure(Arc::new(generation))).await.unwrap();
    periods(5).await;
    let state = address.send(AskState).await.unwrap();
    assert_eq!((strings.passes(), state.doing, state.generation), (1, Doing::Paused, 7));
}

#[actix_rt::test]
async fn a_caller_that_waits_for_a_pass_that_panics_gets_an_error() {
    tokio::time::pause();
    let stage = Stage::new();
    let strings = Strings::new(Does::Panic);
    let address = stage.serve(&strings, Vec::new());
    let answer = address.send(RunPass::default()).await;
    assert_eq!(answer.unwrap().err(), Some(Declined::Crashed(Loop::ContainerGc)));
}

/// On threads of its own and in real time, for a thread that hangs takes the time with it.
#[actix_rt::test]
async fn a_loop_whose_thread_hangs_gets_another_one_and_the_old_one_loses_its_lease() {
    let stage = Stage::new();
    let threads = Threads::own();
    let strings = Strings::new(Does::Well);
    let (go, wait) = crossbeam_channel::bounded::<()>(0);
    let hangs = Arc::new(AtomicU32::new(0));
    let (strings_of, hangs_of, wait_of) = (strings.clone(), Arc::clone(&hangs), wait.clone());
    // The first loop's thread hangs in its clock until the end of the test, the second one's does not.
    let clock = Clock::new(move || {
        let first = hangs_of.load(Relaxed) == 0 && strings_of.passes() == 1;
        if first && hangs_of.fetch_add(1, Relaxed) == 0 {
            let _ = wait_of.recv();
        }
        jiff::Timestamp::UNIX_EPOCH
    });
    let mut settings = settings();
    settings.container_gc.period = Duration::from_millis(20);
    settings.supervision.hang_timeout = Duration::from_millis(400);
    let schedule = Schedule { first: Duration::ZERO, chance: Chance::none() };
    let base = Base {
        on: Arbiter::current(),
        threads: threads.clone(),
        generation: Generation::only(Arc::new(settings)),
        schedule,
        paused: None,
        clock: stage.tools.clock.clone(),
        standing: Lease::default(),
    };
    let tools = Tools { clock, ..stage.tools.clone() };
    let made = strings.clone();
    let address = Supervisor::start(base, tools, Vec::new(), move || Fresh { strings: made.clone() });
    let mut state = address.send(AskState).await.unwrap();
    while state.restarts == 0 || state.passes < 5 {
        tokio::time::sleep(Duration::from_millis(10)).await;
        state = address.send(AskState).await.unwrap();
    }
    assert_eq!((state.restarts, hangs.load(Relaxed)), (1, 1));
    assert!(state.last_restart.unwrap().contains("did not answer"));
    assert!(
        stage.logged()[0].starts_with("ERRO container_gc hung, restarting now: "),
        "{:?}",
        stage.logged()
    );
    drop(go);
    threads.stop();
}

/// A loop that keeps nothing.
struct Fresh {
    strings: Strings,
}

impl Collect for Fresh {
    const LOOP: Loop = Loop::ContainerGc;

    async fn pass(&self, pass: &Pass) -> Result<(), PassError> {
        self.strings.passes.fetch_add(1, Relaxed);
        let _ = pass.tools.clock.now();
        Ok(())
    }
}

#[actix_rt::test]
async fn a_loop_passes_once_after_each_pass_of_the_loop_before_it() {
    tokio::time::pause();
    let stage = Stage::new();
    let (first, second) = (Strings::new(Does::Well), Strings::new(Does::Well));
    let next = stage.serve(&second, Vec::new());
    let _first = stage.serve(&first, vec![next.recipient()]);
    periods(10).await;
    assert_eq!((first.passes(), second.passes()), (10, 11), "both begin, and then it waits for the other");
}

#[actix_rt::test]
async fn a_loop_passes_by_itself_while_the_loop_before_it_is_paused() {
    tokio::time::pause();
    let stage = Stage::new();
    let (first, second) = (Strings::new(Does::Well), Strings::new(Does::Well));
    let next = stage.serve(&second, Vec::new());
    let paused = stage.serve(&first, vec![next.recipient()]);
    periods(10).await;
    paused.send(Pause { paused: PAUSED, by: None }).await.unwrap();
    let before = (first.passes(), second.passes());
    periods(10).await;
    assert_eq!((first.passes() - before.0, second.passes() - before.1), (0, 10));
}

#[actix_rt::test]
async fn passes_never_overlap() {
    tokio::time::pause();
    let stage = Stage::new();
    let (first, second) = (Strings::new(Does::Well), Strings::new(Does::Hang));
    let next = stage.serve(&second, Vec::new());
    let _first =
        stage.serve(&first, vec![next.clone().recipient(), next.clone().recipient(), next.recipient()]);
    periods(10).await;
    // Each of the second's passes lasts for its whole deadline, and many more are requested than there is time for.
    assert!((10..=20).contains(&second.passes()), "{} passes of 30 s in 600 s", second.passes());
}

#[actix_rt::test]
async fn a_loop_that_shuts_down_finishes_a_removal_and_starts_no_other_pass() {
    tokio::time::pause();
    for (does, waits) in [(Does::HangInRemoval, true), (Does::Hang, false)] {
        let stage = Stage::new();
        let strings = Strings::new(does);
        let address = stage.serve(&strings, Vec::new());
        tokio::time::sleep(Duration::from_secs(2)).await;
        let before = tokio::time::Instant::now();
        address.send(Finish).await.unwrap();
        let waited = before.elapsed();
        assert_eq!(waited >= Duration::from_secs(28), waits, "to the deadline of the pass: {waited:?}");
        assert!(waits || waited < Duration::from_secs(1), "{waited:?}");
        periods(5).await;
        assert_eq!(strings.passes(), 1);
    }
}

#[actix_rt::test]
async fn a_pass_requested_while_another_is_in_progress_follows_it() {
    tokio::time::pause();
    let stage = Stage::new();
    let strings = Strings::new(Does::Hang);
    let address = stage.serve(&strings, Vec::new());
    tokio::time::sleep(Duration::from_secs(2)).await;
    let second = tokio::time::Instant::now();
    let report = address.send(RunPass::default()).await.unwrap().unwrap();
    assert_eq!(strings.passes(), 2);
    assert!(second.elapsed() >= Duration::from_secs(58), "the rest of the first pass, and the second one");
    assert_eq!(report.errors.len(), 1);
}
