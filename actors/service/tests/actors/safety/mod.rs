//! What is never removed (behaviour: Never removed), checked on random nodes, policies, faults and races: whatever happens, none of
//! what it names is ever removed. And once all is well again, passes come to an end. Images are also used as image volumes, by
//! containers whose references have gone stale and by other programs, and some are OCI artifacts.
//!
//! [`node`]: what random nodes are like. [`change`]: what happens on them between an observation and a removal.
//! [`guard`]: the rules, checked on the model at the moment of each stop and each removal.
//!
//! The cases are the same in every run. `CRI_GC_SAFETY_CASES=1000` tries more of them.

mod change;
mod guard;
pub mod node;

use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};

use cri_gc_collectors::report::PassReport;
use cri_gc_test_support::on_each_flavour;

use super::bed::{Bed, Crew};
use change::{Change, Trouble};
use guard::Guard;
use node::{Case, case};

on_each_flavour!(nothing_that_must_be_kept_is_ever_removed);

/// Rounds of passes after which an idle node has to be clean. Two do, but what a re-check refused may take more.
const ROUNDS: usize = 6;

/// What is wrong with a node on which all is well: its disk stays full, or something of it is too large for an answer.
const EXPECTED: [&str; 3] =
    ["FreeDiskSpaceFailed", "could not be listed", "ListImages: the answer is too large"];

pub fn cases() -> u32 {
    std::env::var("CRI_GC_SAFETY_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(64)
}

fn nothing_that_must_be_kept_is_ever_removed() {
    let config =
        Config { cases: cases(), failure_persistence: None, max_shrink_iters: 300, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let mut tally = Tally::default();
    let tally_of = std::cell::RefCell::new(&mut tally);
    runner.run(&case(), |case| play(&case, &mut tally_of.borrow_mut())).unwrap();
    // A property of nodes on which nothing is ever removed would always be true. (A few cases may be such.)
    let cases = u64::from(cases());
    let lively = tally.removed > 3 * cases
        && tally.refused > cases / 8
        && tally.failed > cases / 8
        && tally.with_sandboxes > cases / 8;
    assert!(lively || cases < 50, "{tally:?}");
}

/// What happened over all cases.
#[derive(Debug, Default)]
struct Tally {
    removed: u64,
    refused: u64,
    failed: u64,
    with_sandboxes: u64,
}

impl Tally {
    fn add(&mut self, reports: &[PassReport]) {
        for report in reports {
            self.removed += report.counts.removed;
            self.refused += report.counts.refused;
            self.failed += report.counts.failed;
        }
    }
}

pub async fn round(crew: &Crew) -> [PassReport; 4] {
    [crew.containers().await, crew.sandboxes().await, crew.logs().await, crew.images().await]
}

fn play(case: &Case, tally: &mut Tally) -> Result<(), TestCaseError> {
    let bed = case.build();
    let guard = Guard::new(&bed);
    bed.run(async |crew| {
        crew.observe_images().await;
        bed.sim.advance(super::bed::HOUR);
        case.make_recent(&bed);
        bed.sim.with(|node| node.fill_to_percent(case.full_percent));

        // Everything at once.
        Change::order(&case.changes, &bed);
        Trouble::order(&case.troubles, &bed);
        guard.watch(&bed);
        tally.add(&round(crew).await);
        guard.check_files(&bed);
        guard.verdict()?;
        tally.with_sandboxes += guard.with_sandboxes();

        // All is well again.
        bed.sim.clear_faults();
        bed.sim.clear_hooks();
        if case.troubles.iter().any(Trouble::kills) {
            bed.sim.restart().map_err(|error| TestCaseError::fail(error.to_string()))?;
            // The call that finds the old connection broken may be this one.
            drop(crew.tools.gateway.version().await);
        }
        guard.watch(&bed);
        let mut calm = false;
        for number in 1..=ROUNDS {
            bed.sim.clear_calls();
            let reports = round(crew).await;
            guard.check_files(&bed);
            guard.verdict()?;
            for report in &reports {
                let unexpected = report.errors.iter().map(ToString::to_string);
                let unexpected: Vec<String> =
                    unexpected.filter(|error| !EXPECTED.iter().any(|part| error.contains(part))).collect();
                let failed = report.counts.failed;
                if !unexpected.is_empty() || failed > 0 {
                    return Err(TestCaseError::fail(format!("round {number} failed: {report:?}")));
                }
            }
            if number > 1 && calm && !is_idle(&bed, &reports) {
                return Err(TestCaseError::fail(format!(
                    "round {number} does what the one before left: {reports:?}"
                )));
            }
            let refused = reports.iter().any(|r| r.counts.refused > 0);
            let checked_link =
                |report: &PassReport| report.kept.iter().any(|k| k.item.reason == "target_missing_once");
            if is_idle(&bed, &reports) {
                return Ok(());
            }
            // What was refused may change the shares of the others, and a link is removed at the second check.
            calm = !refused && !reports.iter().any(checked_link);
        }
        Err(TestCaseError::fail(format!("{ROUNDS} rounds did not come to an end")))
    })
}

fn is_idle(bed: &Bed, reports: &[PassReport]) -> bool {
    let removed = reports.iter().any(|report| report.counts.removed > 0);
    bed.harmful_calls() == 0 && !removed
}
