//! What is true of every plan, whatever it decides: each object once, in one order, from the same facts the same plan,
//! and from less certain facts no bolder one.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test code: failing loudly is its job")]

mod nodes;

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use cri_gc_policy::{
    Absent, ContainerState, Decision, Observation, Plan, PodState, PodTable, Reason, SandboxState, Section,
    Snapshot, decide,
};
use nodes::{Settings, Size};
use proptest::prelude::*;

/// A plan by the names of the objects: what is removed and what follows, in order, and what is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Named {
    remove: Vec<(String, Reason)>,
    follow: Vec<(String, Reason)>,
    keep: BTreeMap<String, Reason>,
}

fn sections(seen: &Observation, plan: &Plan) -> [Named; 4] {
    let named = |section: &Section, name: &dyn Fn(usize) -> String| {
        let item = |d: &Decision| (name(d.index), d.reason);
        Named {
            remove: section.remove.iter().map(item).collect(),
            follow: section.follow.iter().map(item).collect(),
            keep: section.keep.iter().map(item).collect(),
        }
    };
    [
        named(&plan.containers, &|i| seen.containers[i].id.to_string()),
        named(&plan.sandboxes, &|i| seen.sandboxes[i].id.to_string()),
        named(&plan.images.section, &|i| format!("{} {}", seen.images[i].id, seen.images[i].runtime_handler)),
        named(&plan.log_dirs, &|i| seen.log_dirs[i].clone()),
    ]
}

fn named_plan(node: &Snapshot, settings: &Settings) -> [Named; 4] {
    let seen = nodes::observe(node);
    let plan = decide(&seen, &settings.policy());
    sections(&seen, &plan)
}

/// What is removed because its pod is deleted: containers, sandboxes and log directories.
fn removed_with_their_pods(node: &Snapshot, settings: &Settings) -> BTreeSet<(usize, String)> {
    let whole = [Reason::PodDeleted, Reason::PodEvicted, Reason::PodTerminated, Reason::UnmanagedCollected];
    let mut all = BTreeSet::new();
    for (kind, named) in named_plan(node, settings).into_iter().enumerate() {
        let removed = named.remove.into_iter().filter(|(_, reason)| whole.contains(reason));
        all.extend(removed.map(|(name, _)| (kind, name)));
    }
    all
}

/// Puts a list into an order that only `seed` knows.
fn shuffle<T: std::fmt::Debug>(list: &mut [T], seed: u64) {
    list.sort_by_cached_key(|item| {
        let mut hasher = DefaultHasher::new();
        (seed, format!("{item:?}")).hash(&mut hasher);
        hasher.finish()
    });
}

proptest! {
    #![proptest_config(nodes::config(1_500))]

    #[test]
    fn every_object_gets_one_decision_and_its_reason_says_which(
        node in nodes::node(Size::ALL), settings in nodes::settings()
    ) {
        let plan = decide(&nodes::observe(&node), &settings.policy());
        prop_assert_eq!(&plan.containers.follow, &[]);
        for (section, count) in [
            (&plan.containers, node.containers.len()),
            (&plan.sandboxes, node.sandboxes.len()),
            (&plan.images.section, node.images.len()),
            (&plan.log_dirs, node.log_dirs.len()),
        ] {
            let follow = &section.follow;
            let all = section.remove.iter().chain(follow).chain(&section.keep);
            let mut decided: Vec<usize> = all.map(|d| d.index).collect();
            decided.sort_unstable();
            prop_assert_eq!(decided, (0..count).collect::<Vec<_>>());
            for (decisions, is_removed) in [(&section.remove, true), (follow, true), (&section.keep, false)] {
                for decision in decisions {
                    prop_assert!(Reason::ALL.contains(&decision.reason));
                    prop_assert_eq!(decision.reason.removes(), is_removed, "{}", decision.reason);
                }
            }
        }
    }

    #[test]
    fn the_order_of_the_lists_does_not_matter(
        node in nodes::node(Size::ALL), settings in nodes::settings(), seed: u64
    ) {
        let mut other = node.clone();
        shuffle(&mut other.pods.pods, seed);
        shuffle(&mut other.containers, seed);
        shuffle(&mut other.sandboxes, seed);
        shuffle(&mut other.images, seed);
        shuffle(&mut other.filesystems, seed);
        shuffle(&mut other.log_dirs, seed);
        let mut settings_too = settings.clone();
        shuffle(&mut settings_too.protect, seed);
        prop_assert_eq!(named_plan(&node, &settings), named_plan(&other, &settings_too));
    }

    #[test]
    fn the_same_facts_give_the_same_plan(node in nodes::node(Size::ALL), settings in nodes::settings()) {
        let (seen, policy) = (nodes::observe(&node), settings.policy());
        prop_assert_eq!(decide(&seen, &policy), decide(&seen.clone(), &policy.clone()));
    }

    #[test]
    fn writing_and_reading_a_snapshot_changes_nothing(
        node in nodes::node(Size::ALL), settings in nodes::settings()
    ) {
        let text = serde_json::to_string(&node).unwrap();
        let read: Snapshot = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(&read, &node);
        let again = Snapshot::new(nodes::observe(&read), String::new(), String::new());
        prop_assert_eq!(nodes::report(&again, &settings), nodes::report(&node, &settings));
    }

    #[test]
    fn removals_are_ordered_oldest_first(node in nodes::node(Size::RUNTIME), settings in nodes::settings()) {
        let seen = nodes::observe(&node);
        let plan = decide(&seen, &settings.policy());
        for pair in plan.containers.remove.windows(2) {
            let (a, b) = (&seen.containers[pair[0].index], &seen.containers[pair[1].index]);
            prop_assert!((a.created_at, a.attempt) <= (b.created_at, b.attempt), "{} before {}", a.id, b.id);
        }
        for pair in plan.sandboxes.remove.windows(2).chain(plan.sandboxes.follow.windows(2)) {
            let (a, b) = (&seen.sandboxes[pair[0].index], &seen.sandboxes[pair[1].index]);
            prop_assert!((a.created_at, a.attempt) <= (b.created_at, b.attempt), "{} before {}", a.id, b.id);
        }
    }

    #[test]
    fn limits_never_take_the_newer_and_leave_the_older_of_one_unit(
        node in nodes::node(Size::RUNTIME), settings in nodes::settings()
    ) {
        let seen = nodes::observe(&node);
        let pods = PodTable::new(&seen);
        let section = decide(&seen, &settings.policy()).containers;
        for gone in section.remove.iter().map(|d| &seen.containers[d.index]) {
            for kept in section.keep.iter().filter(|d| d.reason == Reason::WithinLimits) {
                let kept = &seen.containers[kept.index];
                let same_unit = pods.uid_of_container(gone) == pods.uid_of_container(kept) && gone.name == kept.name;
                let older = (kept.created_at, kept.attempt) < (gone.created_at, gone.attempt);
                prop_assert!(!(same_unit && older), "{} is removed, {} is kept", gone.id, kept.id);
            }
        }
    }

    #[test]
    fn what_is_less_certain_of_pods_takes_less(
        node in nodes::node(Size::RUNTIME), settings in nodes::settings(), which in any::<prop::sample::Index>()
    ) {
        let before = removed_with_their_pods(&node, &settings);
        let mut doubted = Vec::new();
        let mut change = |how: &dyn Fn(&mut Snapshot)| {
            let mut other = node.clone();
            how(&mut other);
            doubted.push(other);
        };
        change(&|node| node.pods.synced = false);
        change(&|node| node.pods.absent = Absent::Unknown);
        change(&|node| {
            if !node.pods.pods.is_empty() {
                which.get_mut(&mut node.pods.pods).state = PodState::Unknown;
            }
        });
        change(&|node| {
            if !node.containers.is_empty() {
                which.get_mut(&mut node.containers).state = ContainerState::Running;
            }
        });
        change(&|node| {
            if !node.containers.is_empty() {
                which.get_mut(&mut node.containers).created_at = None;
            }
        });
        change(&|node| {
            if !node.sandboxes.is_empty() {
                which.get_mut(&mut node.sandboxes).state = SandboxState::Unknown;
            }
        });
        change(&|node| {
            if !node.sandboxes.is_empty() {
                which.get_mut(&mut node.sandboxes).created_at = None;
            }
        });
        for other in doubted {
            let after = removed_with_their_pods(&other, &settings);
            let more: Vec<_> = after.difference(&before).collect();
            prop_assert!(more.is_empty(), "removed although less was known: {more:?}\nwith {other:?}");
        }
    }

    #[test]
    fn protecting_an_image_takes_it_out_of_the_plan(
        node in nodes::node(Size::IMAGES), settings in nodes::settings()
    ) {
        let seen = nodes::observe(&node);
        for decision in decide(&seen, &settings.policy()).images.section.remove {
            let image = &seen.images[decision.index];
            let mut pinned = seen.clone();
            pinned.images[decision.index].pinned = true;
            let mut protecting = settings.clone();
            protecting.protect.push(image.id.clone());
            for plan in [
                decide(&pinned, &settings.policy()),
                decide(&seen, &protecting.policy()),
            ] {
                let mut is_removed = plan.images.section.remove.iter().chain(&plan.images.section.follow);
                prop_assert!(is_removed.all(|d| d.index != decision.index), "{}", image.id);
            }
        }
    }
}
