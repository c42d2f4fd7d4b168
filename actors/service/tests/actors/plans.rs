//! Plans that come true (behaviour: Plans): on an unchanged node, what a plan lists as `remove` and `follow`
//! is what a sweep right after removes, and nothing else; and so is what a dry run lists.
//!
//! The nodes, policies and cases are those of [`super::safety`], with lasting faults in reading. Images are removed by
//! the measure, not by a plan's sizes: so the thresholds are off in half of the cases, and in the others every image frees
//! exactly what the runtime reports, and only one is removed before the next measurement.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use cri_gc_collectors::collector::messages::RunPass;
use cri_gc_collectors::planning::{self, Foreseen};
use cri_gc_collectors::report::{Outcome, PassReport};
use cri_gc_collectors::tools::Tools;
use cri_gc_collectors::whole;
use cri_gc_config::Mode;
use cri_gc_kit::words::{Kind, Loop};
use cri_gc_policy::PlanReport;
use cri_gc_policy::report::SectionReport;
use cri_gc_sim::{Code, ContainerSpec, Fault, Method, Scope};
use cri_gc_test_support::on_each_flavour;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};

use super::bed::{Bed, Crew, HOUR, MINUTE, SECOND, kept_for, outcome, removed};
use super::safety::node::{Case, case};
use super::safety::{cases, round};

on_each_flavour!(
    what_a_plan_lists_is_what_a_sweep_right_after_removes,
    a_plan_keeps_what_has_finished_a_moment_ago_and_removes_nothing_else_in_its_place,
    a_loop_that_only_reports_says_what_it_would_remove_if_it_did,
    a_status_that_cannot_be_read_keeps_its_container_and_is_reported_once,
    an_image_that_follows_a_container_of_the_plan_is_removed_by_the_sweep,
    a_status_that_hangs_delays_no_other,
    a_runtime_that_answers_nothing_in_time_does_not_get_every_status_call,
);

/// What is removed, by kind: containers, sandboxes, log directories, images.
type Ids = [BTreeSet<String>; 4];

const KINDS: [Kind; 4] = [Kind::Container, Kind::Sandbox, Kind::LogDir, Kind::Image];

/// What differs from a case of the safety test.
#[derive(Debug, Clone)]
struct Extra {
    /// Whether images are removed for lack of space.
    by_space: bool,
    /// Containers whose status can't be read, and what is answered.
    unread: Vec<(Index, Code)>,
    /// Whether the filesystems can be measured.
    measured: bool,
    /// Whether plan and sweep are those of one service, which had observed the node before it could not be read. Else each is
    /// of a process of its own.
    service: bool,
    modes: [Mode; 4],
}

fn extra() -> impl Strategy<Value = Extra> {
    let code = select(vec![Code::Unknown, Code::NotFound, Code::ResourceExhausted]);
    let mode = || prop_oneof![5 => Just(Mode::Enforce), 1 => Just(Mode::Report), 1 => Just(Mode::Off)];
    (
        any::<bool>(),
        vec((any::<Index>(), code), 0..3),
        prop::bool::weighted(0.9),
        any::<bool>(),
        [mode(), mode(), mode(), mode()],
    )
        .prop_map(|(by_space, unread, measured, service, modes)| Extra {
            by_space,
            unread,
            measured,
            service,
            modes,
        })
}

fn what_a_plan_lists_is_what_a_sweep_right_after_removes() {
    let config = Config { cases: 2 * cases(), failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let tally = std::cell::RefCell::new([[0usize; 2]; 4]);
    runner
        .run(&(case().prop_map(Case::without_other_programs), extra()), |(case, extra)| {
            play(&case, &extra, &mut tally.borrow_mut())
        })
        .unwrap();
    // A property of nodes on which nothing is removed, or nothing follows, would say little. (Images follow too rarely to count on
    // it: a test of its own has one.)
    let tally = tally.into_inner();
    let lively = tally[0][0] > 50
        && tally[1..].iter().all(|counts| counts[0] > 3)
        && tally[1..3].iter().all(|counts| counts[1] > 3);
    assert!(lively || cases() < 50, "removed and followed by kind: {tally:?}");
}

fn play(case: &Case, extra: &Extra, tally: &mut [[usize; 2]; 4]) -> Result<(), TestCaseError> {
    let mut bed = if extra.by_space { case.build_of_truthful_images() } else { case.build() };
    if !extra.by_space {
        (bed.settings.image_gc.high_threshold_percent, bed.settings.image_gc.low_threshold_percent) =
            (100, 100);
    }
    let [containers, sandboxes, logs, images] = extra.modes;
    bed.settings.container_gc.mode = containers;
    bed.settings.sandbox_gc.mode = sandboxes;
    bed.settings.log_gc.mode = logs;
    bed.settings.image_gc.mode = images;
    bed.run(async |crew| {
        if !extra.service {
            make_unreadable(&bed, extra);
        }
        crew.observe_images().await;
        bed.sim.advance(HOUR);
        case.make_recent(&bed);
        bed.sim.with(|node| node.fill_to_percent(case.full_percent));
        if !extra.measured {
            bed.sim.with(|node| node.probe_error = Some(std::io::ErrorKind::Other));
        }
        if extra.service {
            whole::look(&crew.tools, &bed.settings).await.unwrap();
            make_unreadable(&bed, extra);
        }

        let tools = || if extra.service { crew.tools.clone() } else { bed.tools_of_another(crew) };
        let plan = plan(&bed, crew).await;
        let dry = rehearse(&bed, tools()).await;
        let reports = round(&bed.crew_with(tools(), bed.settings.clone())).await;

        let (remove, follow) = listed(&plan);
        for (at, report) in reports.iter().enumerate() {
            let listed: BTreeSet<String> = remove[at].union(&follow[at]).cloned().collect();
            // A sandbox may have been removed by the container pass, with all that was in it.
            let of_its_kind = |report| of_kind(report, KINDS[at], &Outcome::Removed);
            let swept: BTreeSet<String> = reports.iter().flat_map(of_its_kind).collect();
            let shown = format!("{:?}\nplan {plan:#?}\nreport {report:#?}", KINDS[at]);
            if extra.modes[at] == Mode::Enforce {
                // A pod of which a container can't be read is no longer uncertain once that is removed.
                let is_later = at > 0 && !extra.unread.is_empty() && listed.is_subset(&swept);
                prop_assert!(swept == listed || is_later, "swept {swept:?}, listed {listed:?}: {}", shown);
                tally[at][0] += remove[at].len();
                tally[at][1] += follow[at].len();
            } else {
                prop_assert!(swept.is_empty(), "{}", shown);
            }
            // A loop that is off plans nothing in a dry run either.
            if extra.modes[at] != Mode::Off {
                prop_assert_eq!(&dry[at], &listed, "in a dry run, and listed: {}", shown);
            }
        }
        Ok(())
    })
}

fn make_unreadable(bed: &Bed, extra: &Extra) {
    let ids = bed.sim.container_ids();
    if ids.is_empty() {
        return;
    }
    for (which, code) in &extra.unread {
        let fault = Fault::error(*code, "ordered by the test");
        bed.sim.fault(Method::ContainerStatus, fault, Scope::ForId(which.get(&ids).clone()));
    }
}

/// The plan of this moment, as it is printed.
pub async fn plan(bed: &Bed, crew: &Crew) -> PlanReport {
    plan_and_problems(bed, crew).await.0
}

/// The same, with what could not be seen or read.
pub async fn plan_and_problems(bed: &Bed, crew: &Crew) -> (PlanReport, Vec<String>) {
    let mut whole = whole::look(&crew.tools, &bed.settings).await.unwrap();
    let (policy, enforcing) = (bed.settings.policy(), planning::enforcing(&bed.settings, &whole.verdict));
    let (plan, unread) =
        planning::plan(&crew.tools, &mut whole.observation, &whole.verdict.finished, &policy, enforcing)
            .await;
    let problems = whole.problems.iter().chain(&unread).map(ToString::to_string).collect();
    (PlanReport::new(&plan, &whole.observation, &policy), problems)
}

fn listed(plan: &PlanReport) -> (Ids, Ids) {
    let sections = [&plan.containers, &plan.sandboxes, &plan.log_dirs, &plan.images.section];
    let ids = |items: &[cri_gc_policy::report::Item]| items.iter().map(|item| item.id.to_string()).collect();
    (
        sections.map(|section: &SectionReport| ids(&section.remove)),
        sections.map(|section: &SectionReport| ids(&section.follow)),
    )
}

fn of_kind(report: &PassReport, kind: Kind, outcome: &Outcome) -> BTreeSet<String> {
    let all = report.removals.iter().chain(&report.follow);
    all.filter(|removal| removal.kind == kind && removal.outcome == *outcome)
        .map(|r| r.id.to_string())
        .collect()
}

/// A dry run, as the command makes it: every loop only reports, and each knows what the ones before would have removed.
async fn rehearse(bed: &Bed, tools: Tools) -> Ids {
    let mut settings = bed.settings.clone();
    let report = |mode: &mut Mode| {
        if *mode == Mode::Enforce {
            *mode = Mode::Report;
        }
    };
    report(&mut settings.container_gc.mode);
    report(&mut settings.sandbox_gc.mode);
    report(&mut settings.log_gc.mode);
    report(&mut settings.image_gc.mode);
    let crew = bed.crew_with(tools, settings);
    let mut foreseen = Arc::<Foreseen>::default();
    let mut all = Ids::default();
    for (at, of) in Loop::ALL.into_iter().enumerate() {
        let run = RunPass { foreseen: Arc::clone(&foreseen), ..RunPass::default() };
        let report = match of {
            Loop::ContainerGc => crew.container_gc.send(run).await,
            Loop::SandboxGc => crew.sandbox_reaper.send(run).await,
            Loop::LogGc => crew.log_reaper.send(run).await,
            Loop::ImageGc => crew.image_gc.send(run).await,
        };
        let report = report.unwrap().unwrap();
        if of.mode(&bed.settings) == Mode::Enforce && !report.report_only {
            Arc::make_mut(&mut foreseen).add(&report);
        }
        all[at] = of_kind(&report, KINDS[at], &Outcome::WouldRemove);
    }
    assert_eq!(bed.harmful_calls(), 0, "a dry run removes nothing");
    all
}

fn a_plan_keeps_what_has_finished_a_moment_ago_and_removes_nothing_else_in_its_place() {
    let bed = Bed::new();
    let sandbox = bed.living_pod(1);
    bed.ended(&sandbox, "job", 0);
    let (made, finished) = (bed.sim.ago(HOUR - 10 * MINUTE), bed.sim.ago(30 * SECOND));
    let fresh = ContainerSpec::new(&sandbox, "job").attempt(1).exited(made, finished);
    let fresh = bed.sim.add_container(fresh).unwrap();
    let made = bed.sim.ago(HOUR - 20 * MINUTE);
    let newest = ContainerSpec::new(&sandbox, "job").attempt(2).exited(made, made);
    bed.sim.add_container(newest).unwrap();
    let (plan, report) = bed.run(async |crew| (plan(&bed, crew).await, crew.containers().await));
    let planned: Vec<&str> = plan.containers.remove.iter().map(|item| item.id.as_str()).collect();
    assert_eq!(planned, removed(&report));
    let kept = plan.containers.keep.iter().find(|item| item.id == fresh).unwrap();
    assert_eq!(
        (kept.reason.as_str(), kept.detail.as_str()),
        ("finished_recently", "finished 30s ago, min_dead_age is 1m")
    );
    assert_eq!(kept_for(&report, &fresh).as_deref(), Some("finished_recently"));
}

fn a_loop_that_only_reports_says_what_it_would_remove_if_it_did() {
    let mut bed = Bed::new();
    bed.settings.container_gc.mode = Mode::Report;
    let sandbox = bed.dead_pod(1);
    let old = bed.ended(&sandbox, "job", 0);
    let finished = bed.sim.ago(30 * SECOND);
    let fresh = ContainerSpec::new(&sandbox, "side").exited(bed.sim.ago(HOUR), finished);
    bed.settings.pods.runtime_grace = SECOND;
    let fresh = bed.sim.add_container(fresh).unwrap();
    let report = bed.run(async |crew| crew.containers().await);
    assert_eq!(outcome(&report, &old), Some(Outcome::WouldRemove));
    assert_eq!(outcome(&report, &fresh), None);
    assert_eq!(kept_for(&report, &fresh).as_deref(), Some("finished_recently"));
    assert_eq!(bed.harmful_calls(), 0);
}

fn a_status_that_cannot_be_read_keeps_its_container_and_is_reported_once() {
    let bed = Bed::new();
    let sandbox = bed.living_pod(1);
    let ids: Vec<String> = (0..4).map(|attempt| bed.ended(&sandbox, "job", attempt)).collect();
    for id in &ids[..2] {
        bed.sim.fault(Method::ContainerStatus, Fault::error(Code::Unknown, "boom"), Scope::ForId(id.clone()));
    }
    let (plan, problems) = bed.run(async |crew| plan_and_problems(&bed, crew).await);
    let planned: Vec<&str> = plan.containers.remove.iter().map(|item| item.id.as_str()).collect();
    assert_eq!(planned, [ids[2].as_str()]);
    let [problem] = problems.as_slice() else { panic!("{problems:?}") };
    assert!(
        problem.starts_with("the status of 2 containers that would be removed could not be read"),
        "{problem}"
    );
    assert!(problem.contains("boom"), "{problem}");
}

fn an_image_that_follows_a_container_of_the_plan_is_removed_by_the_sweep() {
    let mut bed = Bed::new();
    bed.settings.pods.runtime_grace = MINUTE;
    bed.settings.image_gc.min_age = Duration::ZERO;
    let app = bed.image("app:1", 100);
    let (plan, reports) = bed.run(async |crew| {
        crew.observe_images().await;
        bed.sim.advance(HOUR);
        let sandbox = bed.dead_pod(1);
        bed.sim.add_container(bed.ended_spec(&sandbox, "job", 0).image("app:1")).unwrap();
        bed.sim.with(|node| node.fill_to_percent(95));
        (plan(&bed, crew).await, round(crew).await)
    });
    let (remove, follow) = listed(&plan);
    assert!(remove[3].is_empty(), "a container still has it: {plan:?}");
    assert_eq!(follow[3], BTreeSet::from([app]));
    assert_eq!(of_kind(&reports[3], Kind::Image, &Outcome::Removed), follow[3]);
}

fn a_status_that_hangs_delays_no_other() {
    let mut bed = Bed::new();
    bed.settings.runtime.request_timeout = SECOND / 2;
    let sandbox = bed.living_pod(1);
    let made = |attempt| bed.sim.ago(HOUR - attempt * SECOND);
    let job =
        |attempt| ContainerSpec::new(&sandbox, "job").attempt(attempt).exited(made(attempt), made(attempt));
    let ids: Vec<String> = (0..100).map(|attempt| bed.sim.add_container(job(attempt)).unwrap()).collect();
    bed.sim.fault(Method::ContainerStatus, Fault::Hang, Scope::ForId(ids[0].clone()));
    let plan = bed.run(async |crew| plan(&bed, crew).await);
    let planned: Vec<&str> = plan.containers.remove.iter().map(|item| item.id.as_str()).collect();
    assert!(planned.iter().all(|id| *id != ids[0]));
    // All but that one and the newest.
    assert_eq!(planned.len(), 98);
}

fn a_runtime_that_answers_nothing_in_time_does_not_get_every_status_call() {
    let bed = Bed::new();
    let sandbox = bed.living_pod(1);
    for attempt in 0..200 {
        let made = bed.sim.ago(HOUR - attempt * SECOND);
        let job = ContainerSpec::new(&sandbox, "job").attempt(attempt).exited(made, made);
        bed.sim.add_container(job).unwrap();
    }
    bed.sim.fault(Method::ContainerStatus, Fault::error(Code::DeadlineExceeded, "late"), Scope::Always);
    let plan = bed.run(async |crew| plan(&bed, crew).await);
    assert!(plan.containers.remove.is_empty());
    assert!(bed.sim.count(Method::ContainerStatus) < 100, "{}", bed.sim.count(Method::ContainerStatus));
}
