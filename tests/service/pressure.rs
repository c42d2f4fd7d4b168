//! A disk that fills up between two passes starts one at once; while passes free nothing, they come after pauses that grow,
//! and the full disk is logged once (behaviour: Image disk space).

use std::time::Duration;

use cri_gc_collectors::report::Trigger;
use cri_gc_kit::recorder::EventKind;
use cri_gc_kit::seams::FsProbe;
use cri_gc_kit::words::Loop;
use cri_gc_policy::FsStats;
use cri_gc_sim::{Code, Fault, Method, Scope};
use cri_gc_test_support::on_each_flavour;

use crate::stage::{PAUSED, PERIOD, SECOND, Setup, Stage};

on_each_flavour!(
    #[actix_rt::test] async:
    a_disk_that_fills_up_starts_a_pass_at_the_next_poll,
    a_disk_full_of_something_else_is_logged_once_and_checked_less_and_less_often,
    alarms_can_be_off_or_raised_at_once,
    a_disk_that_reports_more_available_than_its_capacity_is_logged_once_and_taken_for_empty,
    passes_that_remove_nothing_are_put_off_though_others_free_a_little,
    a_loop_that_only_reports_says_so_whenever_the_number_changes,
);

const POLL: Duration = Duration::from_secs(5);

/// A node whose disk is half empty, right after its first pass over the images. The next one by itself is far in the future.
async fn started(setup: Setup) -> Stage {
    setup.sim.with(|node| node.fill_to_percent(50));
    let stage = setup.set("image_gc.pressure_poll", "5s").set("image_gc.period", "300s").start().await;
    stage.step(SECOND).await;
    assert_eq!(passes(&stage).await, 1);
    stage
}

async fn passes(stage: &Stage) -> u64 {
    stage.state(Loop::ImageGc).await.passes
}

/// Lets time pass until the next poll, and waits for what comes of it.
async fn poll(stage: &Stage) {
    stage.step(POLL).await;
    // The measurement is made by this worker, before it gets this request.
    stage.answer("the disk", stage.service.tools.disks.run(|| ())).await.unwrap();
    stage.settle().await;
}

fn fill(stage: &Stage, percent: u64) {
    stage.sim.with(|node| node.fill_to_percent(percent));
}

/// The polls, of so many, after which there had been another pass.
async fn alarms(stage: &Stage, polls: usize) -> Vec<usize> {
    let mut alarms = Vec::new();
    for number in 1..=polls {
        let before = passes(stage).await;
        poll(stage).await;
        if passes(stage).await > before {
            alarms.push(number);
        }
    }
    alarms
}

async fn a_disk_that_fills_up_starts_a_pass_at_the_next_poll() {
    let setup = Setup::new();
    setup.image("old:1", 20_000);
    let stage = started(setup).await;
    assert_eq!(alarms(&stage, 3).await, Vec::<usize>::new(), "it is not full");
    fill(&stage, 90);
    assert_eq!(alarms(&stage, 1).await, [1]);
    let state = stage.state(Loop::ImageGc).await;
    assert_eq!((state.removed, state.last.unwrap().trigger), (1, Trigger::Pressure));
    // It may fill up again at once.
    stage.sim.add_image(cri_gc_sim::ImageSpec::single("old:2", 10_000 << 20, 10_000 << 20));
    fill(&stage, 90);
    poll(&stage).await;
    let last = stage.state(Loop::ImageGc).await;
    assert_eq!((last.removed, last.last.unwrap().trigger), (2, Trigger::Pressure));
}

async fn a_disk_full_of_something_else_is_logged_once_and_checked_less_and_less_often() {
    let stage = started(Setup::new()).await;
    fill(&stage, 95);
    // After the first one a minute, two, four, and from then on the passes come by themselves.
    assert_eq!(alarms(&stage, 50).await, [1, 13, 37]);
    let logged = stage.lines.all();
    let [logged] = logged.as_slice() else { panic!("{logged:#?}") };
    assert!(logged.starts_with("ERRO image_gc pass failed: FreeDiskSpaceFailed: "), "{logged}");
    let events = stage.event_kinds().await;
    assert_eq!(events.iter().filter(|(kind, _)| *kind == EventKind::FreeDiskSpaceFailed).count(), 1);

    // What fills the disk is removed, and there again: that is another outage.
    fill(&stage, 50);
    let handle = stage.handle(Loop::ImageGc).clone();
    stage.answer("a pass", handle.run(None)).await.unwrap();
    assert!(stage.lines.all().last().unwrap().starts_with("INFO image_gc the loop has recovered"));
    poll(&stage).await;
    fill(&stage, 95);
    assert_eq!(alarms(&stage, 1).await, [1]);
    assert!(stage.lines.all().last().unwrap().starts_with("ERRO image_gc pass failed: FreeDiskSpaceFailed"));
}

async fn alarms_can_be_off_or_raised_at_once() {
    let mut setup = Setup::new();
    let file = setup.file("[image_gc]\npressure_poll = \"5s\"\n");
    setup.sim.with(|node| node.fill_to_percent(50));
    // A setting by file, so that a reload changes it.
    setup.sources.overrides.retain(|(key, _)| key != "image_gc.pressure_poll");
    let stage = setup.set("image_gc.period", "300s").start().await;
    stage.step(SECOND).await;
    let reload = async |text: &str| {
        std::fs::write(&file, text).unwrap();
        let cause = cri_gc_kit::generation::Cause::Admin;
        stage.answer("a reload", stage.service.configuration.reload(cause, None)).await.unwrap();
        stage.settle().await;
    };
    fill(&stage, 90);
    for none in ["pressure_poll = \"0s\"\n", "mode = \"off\"\npressure_poll = \"5s\"\n"] {
        reload(&format!("[image_gc]\n{none}")).await;
        assert_eq!(alarms(&stage, 4).await, Vec::<usize>::new(), "{none}");
    }
    let handle = stage.handle(Loop::ImageGc).clone();
    handle.pause(PAUSED, None).await;
    reload("[image_gc]\npressure_poll = \"5s\"\n").await;
    assert_eq!(alarms(&stage, 4).await, Vec::<usize>::new(), "it is paused");
    // It makes a pass when it is resumed, which frees nothing: that is not repeated at once.
    handle.pause(None, None).await;
    stage.settle().await;
    assert_eq!(alarms(&stage, 14).await, [12]);
}

async fn a_disk_that_reports_more_available_than_its_capacity_is_logged_once_and_taken_for_empty() {
    let mut setup = Setup::new();
    setup.image("old:1", 20_000);
    setup.seams.probe =
        FsProbe::new(|_| Ok(FsStats { capacity_bytes: 100, available_bytes: 101, ..FsStats::default() }));
    let stage = setup.set("image_gc.period", "5s").start().await;
    for _ in 0..5 {
        poll(&stage).await;
    }
    assert_eq!(stage.state(Loop::ImageGc).await.removed, 0);
    let logged = stage.lines.all();
    assert!(logged.len() == 1 && logged[0].contains("reports more free space than its size"), "{logged:#?}");
}

async fn passes_that_remove_nothing_are_put_off_though_others_free_a_little() {
    let setup = Setup::new();
    setup.image("stuck:1", 1_000);
    let stage = started(setup).await;
    stage.sim.fault(Method::RemoveImage, Fault::error(Code::Unknown, "boom"), Scope::Always);
    fill(&stage, 95);
    let other = stage.sim.usage().other.bytes;
    let mut turn = 0u64;
    stage.sim.before(Method::ListImages, move |node, _| {
        turn += 1;
        // Another program deletes a log of 1 MiB, again and again.
        node.disk.stored.other.bytes = other - (turn << 20);
    });
    let found = alarms(&stage, 50).await;
    assert_eq!((found.len() <= 4, stage.state(Loop::ImageGc).await.freed_bytes), (true, 0), "{found:?}");
}

async fn a_loop_that_only_reports_says_so_whenever_the_number_changes() {
    let setup = Setup::new();
    setup.image("old:1", 20_000);
    setup.sim.with(|node| node.fill_to_percent(90));
    let stage = setup.set("image_gc.mode", "report").start().await;
    let said = || stage.lines.all().iter().filter(|line| line.contains("report mode: ")).count();
    stage.step(SECOND).await;
    assert_eq!(said(), 1);
    stage.pass_time(3 * PERIOD).await;
    assert_eq!(said(), 1, "it is the same");
    stage.sim.add_image(cri_gc_sim::ImageSpec::single("old:2", 1 << 20, 1 << 20));
    stage.sim.with(|node| node.fill_to_percent(99));
    stage.pass_time(2 * PERIOD).await;
    assert_eq!(said(), 2);
    assert_eq!(stage.state(Loop::ImageGc).await.removed, 0);
}
