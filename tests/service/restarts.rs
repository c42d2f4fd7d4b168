//! What is remembered of images outlives the service, and a loop that is replaced: ages count from the first observation that any
//! of them had, uses from the last.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use cri_gc_collectors::whole;
use cri_gc_images::store;
use cri_gc_images::{Content, Home, Origin, Record};
use cri_gc_kit::seams::Clock;
use cri_gc_kit::words::Loop;
use cri_gc_policy::{PlanReport, decide};
use cri_gc_sim::{ContainerSpec, Sim};
use jiff::{SignedDuration, Timestamp};

use crate::hung::{In, Trap, on_its_own_threads, passes, until};
use crate::stage::{HOUR, SECOND, STEP, Setup, Stage};

const MINUTE: Duration = Duration::from_secs(60);
const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// A node with a state directory.
struct Node {
    setup: Setup,
    state: tempfile::TempDir,
}

impl Node {
    fn new(settings: &[(&str, &str)]) -> Self {
        let state = tempfile::tempdir().unwrap();
        let mut setup = settings.iter().fold(Setup::new(), |setup, (key, value)| setup.set(key, value));
        setup.home = Home::Store(state.path().to_owned().into(), Origin::default());
        Self { setup, state }
    }

    fn sim(&self) -> &Sim {
        &self.setup.sim
    }

    fn has(&self, image: &str) -> bool {
        self.sim().image_ids().iter().any(|id| id == image)
    }

    /// A container that has just ended and that uses an image.
    fn dead(&self, image: &str) -> String {
        let pod = self.setup.living_pod(1);
        let now = self.sim().now();
        let spec = ContainerSpec::new(&pod, "job").image(image).exited(now, now).no_log();
        self.sim().add_container(spec).unwrap()
    }

    /// From its start to its end, a service lives in a system of its own.
    fn live<T>(&self, life: impl AsyncFnOnce(&Life<'_>) -> T) -> T {
        actix_rt::System::new().block_on(async {
            let stage = self.setup.again().start().await;
            // It answers once it has read its store: time that is driven on before would have the store miss its deadline.
            let problem = stage.answer("the records", stage.service.tools.images.problem()).await;
            assert_eq!(problem, None);
            life(&Life { stage: &stage }).await
        })
    }

    /// What the service that has ended has left.
    fn left(&self) -> Content {
        store::read_copy(self.state.path(), &Origin::default()).unwrap()
    }

    fn record(&self, image: &str) -> Record {
        record(self.state.path(), image).unwrap_or_else(|| panic!("{image}: {:?}", self.left()))
    }
}

fn record(state: &Path, image: &str) -> Option<Record> {
    store::read_copy(state, &Origin::default()).ok()?.images.get(&(image.to_owned(), String::new())).cloned()
}

/// A service at work.
struct Life<'a> {
    stage: &'a Stage,
}

impl Life<'_> {
    /// Lets time pass by steps. Each ends when all that was seen in it is on the disk, for the same reason.
    async fn pass_time(&self, mut span: Duration) {
        while !span.is_zero() {
            let step = span.min(STEP);
            self.stage.step(step).await;
            self.stage.answer("the records", self.stage.service.tools.images.flush()).await;
            span -= step;
        }
    }

    /// Why an image is removed or kept by the service's own observation.
    async fn reason(&self, image: &str) -> Option<String> {
        let state = self.stage.answer("the settings", self.stage.service.configuration.state()).await;
        let settings = state.unwrap().generation.settings.clone();
        let observation = whole::look(&self.stage.service.tools, &settings);
        let whole = self.stage.answer("an observation", observation).await.unwrap();
        let problems: Vec<String> = whole.problems.iter().map(ToString::to_string).collect();
        assert_eq!(problems, Vec::<String>::new());
        let policy = settings.policy();
        let plan = decide(&whole.observation, &policy);
        let section = PlanReport::new(&plan, &whole.observation, &policy).images.section;
        let item = section.remove.into_iter().chain(section.keep).find(|item| item.id == image)?;
        Some(item.reason)
    }
}

#[test]
fn an_image_is_too_young_by_the_first_observation_of_any_service() {
    let node = Node::new(&[("image_gc.min_age", "2m")]);
    let id = node.setup.image("free:1", 10_000);
    node.sim().with(|node| node.fill_to_percent(90));
    let first = node.live(async |life| {
        life.pass_time(SECOND).await;
        assert_eq!(life.reason(&id).await.unwrap(), "too_young");
        life.stage.sim.now()
    });
    let record = node.record(&id);
    assert_eq!((record.first_detected, record.last_used), (first, None));
    // A minute old, it is checked by the next one.
    node.sim().advance(MINUTE - SECOND);
    node.live(async |life| {
        life.pass_time(SECOND).await;
        assert_eq!(life.reason(&id).await.unwrap(), "too_young");
        assert!(node.has(&id), "a pass was made");
        assert_eq!(life.stage.passes().await[3], 1);
        // The next pass is a minute later: it was seen for the first time two minutes ago, and a minute ago by this one.
        life.pass_time(MINUTE - SECOND).await;
        assert!(node.has(&id));
        life.pass_time(SECOND).await;
        assert_eq!(life.stage.passes().await[3], 2);
    });
    assert!(!node.has(&id), "it is old enough by the first observation");
}

#[test]
fn an_image_unused_for_long_is_removed_at_the_first_pass_of_the_next_service() {
    let node = Node::new(&[("image_gc.max_age", "1h"), ("container_gc.mode", "off")]);
    let (unused, used) = (node.setup.image("unused:1", 10), node.setup.image("used:1", 10));
    let container = node.dead("used:1");
    node.live(async |life| {
        life.pass_time(15 * MINUTE).await;
        assert_eq!(life.reason(&used).await.unwrap(), "in_use");
    });
    assert!(node.has(&unused) && node.has(&used));
    let last_used = node.record(&used).last_used.unwrap();
    assert!(
        node.sim().now().duration_since(last_used) < SignedDuration::from_secs(60),
        "at the end: {last_used}"
    );
    // No service runs for 50 minutes, in which the container is removed as well.
    node.sim().with(|node| node.remove_container(&container)).unwrap();
    node.sim().advance(50 * MINUTE);
    node.live(async |life| {
        life.pass_time(SECOND).await;
        assert_eq!(life.stage.passes().await[3], 1);
        assert!(!node.has(&unused), "unused for 65 minutes, by what the first one has seen");
        assert!(node.has(&used), "used 50 minutes ago");
        life.pass_time(8 * MINUTE).await;
        assert!(node.has(&used));
        life.pass_time(3 * MINUTE).await;
        assert!(!node.has(&used), "an hour after the first one has seen it used");
    });
}

#[test]
fn a_clock_that_was_set_while_no_service_watched_makes_no_image_old() {
    for forward in [true, false] {
        let node = Node::new(&[("image_gc.max_age", "1h"), ("container_gc.mode", "off")]);
        let (unused, used) = (node.setup.image("unused:1", 10), node.setup.image("used:1", 10));
        let container = node.dead("used:1");
        node.live(async |life| life.pass_time(30 * MINUTE).await);
        node.sim().with(|node| node.remove_container(&container)).unwrap();
        node.sim().advance(MINUTE);
        let now = node.sim().now();
        node.sim().step_clock(if forward { now + YEAR } else { now - YEAR });
        let set_at = node.sim().now();
        node.live(async |life| {
            life.pass_time(58 * MINUTE).await;
            assert!(node.has(&unused) && node.has(&used), "forward: {forward}");
            for image in [&unused, &used] {
                assert_eq!(node.record(image).first_detected, set_at, "forward: {forward}");
            }
            life.pass_time(4 * MINUTE).await;
            assert!(!node.has(&unused) && !node.has(&used), "an hour after the step: forward: {forward}");
        });
    }
}

#[test]
fn a_machine_that_was_booted_without_a_clock_of_its_own_makes_no_image_old() {
    let mut node = Node::new(&[("image_gc.max_age", "1h")]);
    let id = node.setup.image("unused:1", 10);
    node.live(async |life| life.pass_time(30 * MINUTE).await);
    // It is 1970 and the machine has just been booted; after a minute the clock is set right.
    let right = node.sim().now() + MINUTE;
    node.setup.seams.clock = booted_now(node.sim());
    node.sim().step_clock(Timestamp::from_second(1_000).unwrap());
    node.live(async |life| {
        life.pass_time(MINUTE).await;
        assert!(node.has(&id));
        life.stage.sim.step_clock(right + MINUTE);
        life.pass_time(58 * MINUTE).await;
        assert!(node.has(&id), "seen for less than an hour by this clock");
        life.pass_time(4 * MINUTE).await;
        assert!(!node.has(&id));
    });
}

#[test]
fn a_reboot_is_no_step_of_the_clock() {
    let mut node = Node::new(&[("image_gc.max_age", "1h")]);
    let id = node.setup.image("unused:1", 10);
    node.live(async |life| life.pass_time(30 * MINUTE).await);
    node.sim().advance(HOUR / 2 + MINUTE);
    node.setup.seams.clock = booted_now(node.sim());
    node.live(async |life| life.pass_time(SECOND).await);
    assert!(!node.has(&id), "it was there all the time");
}

/// The clocks of a machine that is booted now.
fn booted_now(sim: &Sim) -> Clock {
    let (wall, boot, off) = (sim.clock(), sim.clone(), sim.uptime());
    let boot = move || SignedDuration::try_from(boot.uptime().saturating_sub(off)).unwrap();
    Clock::with_boot(move || wall(), boot).of_boot("the next boot")
}

#[test]
fn ten_services_one_after_the_other_remember_what_the_first_has_seen() {
    let node = Node::new(&[("image_gc.max_age", "1h"), ("container_gc.mode", "off")]);
    let (unused, used) = (node.setup.image("unused:1", 10), node.setup.image("used:1", 10));
    node.dead("used:1");
    let mut last = None;
    for number in 0..10 {
        node.live(async |life| life.pass_time(2 * MINUTE).await);
        let record = node.record(&used);
        let before = last.replace(record.clone()).unwrap_or(record.clone());
        assert_eq!(record.first_detected, before.first_detected, "service {number}");
        assert!(number == 0 || record.last_used > before.last_used, "service {number}");
        assert_eq!(node.has(&unused), number < 9, "service {number}: {}", node.sim().now());
        node.sim().advance(5 * MINUTE);
    }
}

#[actix_rt::test]
async fn an_image_loop_whose_thread_hung_keeps_every_record_and_use() {
    let node = Node::new(&[("image_gc.max_age", "90m"), ("container_gc.mode", "report")]);
    let (unused, late) = (node.setup.image("unused:1", 10), node.setup.image("late:1", 10));
    let dir: PathBuf = node.state.path().to_owned();
    let mut setup = node.setup.again();
    let mut trap = Trap::lay(&mut setup, Loop::ImageGc, In::Boot);
    let stage = on_its_own_threads(setup).start_in(None);
    let both = async || Some((record(&dir, &unused)?, record(&dir, &late)?));
    let before = until("the records", both).await;
    assert_eq!((before.0.last_used, before.1.last_used), (None, None));
    // An hour later its thread hangs.
    stage.sim.advance(HOUR);
    trap.armed.store(true, SeqCst);
    until("the trap", async || trap.sprung.load(SeqCst).then_some(())).await;
    // A job comes meanwhile, which another loop sees.
    let container = node.dead("late:1");
    let seen = stage.sim.now();
    let is_stored = async || {
        store::read_copy(&dir, &Origin::default()).ok()?.uses.values().any(|at| *at >= seen).then_some(())
    };
    until("the use", is_stored).await;
    stage.sim.with(|node| node.remove_container(&container)).unwrap();
    let state = async || (stage.state(Loop::ImageGc).await.restarts == 1).then_some(());
    until("its new thread", state).await;
    let resolved = async || record(&dir, &late)?.last_used.is_some().then_some(());
    until("its first observation", resolved).await;
    assert_eq!(record(&dir, &unused).unwrap(), before.0, "as it was");
    let used = record(&dir, &late).unwrap();
    assert_eq!((used.first_detected, used.last_used), (before.1.first_detected, Some(seen)));
    // It is removed for that: it was unused for 90 minutes, and nothing else was.
    stage.sim.advance(HOUR / 2 + MINUTE);
    until("the removal", async || (!node.has(&unused)).then_some(())).await;
    let more = passes(&stage, Loop::ImageGc).await + 2;
    until("more passes", async || (passes(&stage, Loop::ImageGc).await >= more).then_some(())).await;
    assert!(node.has(&late));
    trap.release = None;
    stage.service.stop();
}
