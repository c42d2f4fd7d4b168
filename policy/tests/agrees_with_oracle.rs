//! The crate and the oracle decide alike on thousands of random nodes.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test code: failing loudly is its job")]

mod nodes;
mod oracle;

use std::collections::BTreeMap;

use cri_gc_policy::snapshot::Snapshot;
use cri_gc_policy::{Plan, PlanReport, Reason, Section, decide};
use nodes::{Settings, Size};
use oracle::{Answer, Verdict};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

/// The crate's plan in the oracle's form.
fn crate_answer(node: &Snapshot, settings: &Settings) -> Answer {
    let (seen, policy) = (nodes::observe(node), settings.policy());
    let plan = decide(&seen, &policy);
    let verdict = |section: &Section, name: &dyn Fn(usize) -> String| Verdict {
        remove: section.remove.iter().map(|d| name(d.index)).collect(),
        follow: section.follow.iter().map(|d| name(d.index)).collect(),
        keep: section.keep.iter().map(|d| name(d.index)).collect(),
    };
    Answer {
        containers: verdict(&plan.containers, &|i| seen.containers[i].id.to_string()),
        sandboxes: verdict(&plan.sandboxes, &|i| seen.sandboxes[i].id.to_string()),
        images: verdict(&plan.images.section, &|i| {
            format!("{} {}", seen.images[i].id, seen.images[i].runtime_handler)
        }),
        bytes_to_free: PlanReport::new(&plan, &seen, &policy).images.bytes_to_free,
        log_dirs: verdict(&plan.log_dirs, &|i| seen.log_dirs[i].clone()),
    }
}

fn agree(node: &Snapshot, settings: &Settings) -> Result<(), TestCaseError> {
    prop_assert_eq!(
        crate_answer(node, settings),
        oracle::answer(node, settings),
        "left: crate, right: oracle"
    );
    Ok(())
}

proptest! {
    #![proptest_config(nodes::config(5_000))]

    #[test]
    fn on_whole_nodes(node in nodes::node(Size::ALL), settings in nodes::settings()) {
        agree(&node, &settings)?;
    }

    #[test]
    fn on_nodes_with_many_containers(node in nodes::node(Size::RUNTIME), settings in nodes::settings()) {
        agree(&node, &settings)?;
    }

    #[test]
    fn on_nodes_with_many_images(node in nodes::node(Size::IMAGES), settings in nodes::settings()) {
        agree(&node, &settings)?;
    }
}

/// A comparison over nodes that never meet a rule would say nothing about it.
#[test]
fn random_nodes_meet_every_rule() {
    // Those of links with a missing target are no part of a plan.
    const OF_LINKS: [Reason; 2] = [Reason::TargetMissing, Reason::TargetMissingOnce];
    const AT_LEAST: usize = 20;

    let mut runner = TestRunner::deterministic();
    let mut seen: BTreeMap<Reason, usize> = BTreeMap::new();
    let mut followed: BTreeMap<(&str, Reason), usize> = BTreeMap::new();
    let strategies =
        [Size::ALL, Size::RUNTIME, Size::IMAGES].map(|size| (nodes::node(size), nodes::settings()));
    for strategy in strategies.iter().cycle().take(3_000) {
        let (node, settings) = strategy.new_tree(&mut runner).unwrap().current();
        let Plan { containers, sandboxes, images, log_dirs } =
            decide(&nodes::observe(&node), &settings.policy());
        let sections = [
            ("containers", containers),
            ("sandboxes", sandboxes),
            ("images", images.section),
            ("log_dirs", log_dirs),
        ];
        for (kind, section) in sections {
            for decision in section.follow {
                *followed.entry((kind, decision.reason)).or_default() += 1;
            }
            for decision in section.remove.iter().chain(&section.keep) {
                *seen.entry(decision.reason).or_default() += 1;
            }
        }
    }
    for (kind, reason) in [
        ("sandboxes", Reason::PodDeleted),
        ("sandboxes", Reason::UnmanagedCollected),
        ("sandboxes", Reason::OlderSandbox),
        ("log_dirs", Reason::PodDeleted),
        ("log_dirs", Reason::PodEvicted),
        ("images", Reason::DiskPressure),
    ] {
        let count = followed.get(&(kind, reason)).copied().unwrap_or_default();
        assert!(count >= AT_LEAST, "{kind} hardly ever follow for {reason}: {followed:?}");
    }
    let rare: Vec<_> = Reason::ALL
        .iter()
        .filter(|reason| !OF_LINKS.contains(reason))
        .map(|reason| (reason, seen.get(reason).copied().unwrap_or_default()))
        .filter(|&(_, count)| count < AT_LEAST)
        .collect();
    assert!(rare.is_empty(), "hardly ever met: {rare:?}; all: {seen:?}");
}
