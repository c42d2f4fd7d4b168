//! Snapshot files: what is read from one, and what is planned on it.

use std::sync::Arc;
use std::collections::HashSet;
use std::sync::LazyLock;

use cri_gc_config::{Sources, load};
use cri_gc_policy::explain::{Found, Verdict, explain};
use cri_gc_policy::report::SectionReport;
use cri_gc_policy::{
    Container, ContainerState, Observation, PlanReport, Policy, Sandbox, SandboxState, Section, Snapshot, decide,
};

/// The policies that plans are made with: the default one, and one that keeps as little as it may.
static POLICIES: LazyLock<[Policy; 2]> = LazyLock::new(|| {
    let greedy = [
        ("pods.unmanaged", "collect"),
        ("container_gc.min_dead_age", "0s"),
        ("container_gc.created_grace", "0s"),
        ("container_gc.max_per_pod_container", "0"),
        ("container_gc.max_containers", "0"),
        ("container_gc.evict_terminated_pods", "true"),
        ("image_gc.min_age", "0s"),
        ("image_gc.max_age", "1s"),
        ("image_gc.high_threshold_percent", "1"),
        ("image_gc.low_threshold_percent", "0"),
        ("image_gc.protect", "registry.example/base/*"),
    ];
    let with = |settings: &[(&str, &str)]| {
        let overrides = settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        load(&Sources { overrides, ..Sources::default() }).unwrap().settings.policy()
    };
    [with(&[]), with(&greedy)]
});

/// A snapshot that is read writes back to the same observation. In its plan each object is once, with a reason, and nothing that runs, that
/// is ready or of which that is not known, that is pinned, or that belongs to a pod of which nothing is known; `explain` says of each object
/// what the plan has; the plan is the same after it was written as JSON.
pub fn snapshots(data: &[u8]) {
    let Ok(snapshot) = serde_json::from_slice::<Snapshot>(data) else { return };
    let Ok(seen) = Observation::try_from(snapshot) else { return };
    let written = serde_json::to_string(&Snapshot::new(seen.clone(), String::new(), String::new())).unwrap();
    let again: Snapshot = serde_json::from_str(&written).expect("what is written is read");
    assert_eq!(Observation::try_from(again).as_ref(), Ok(&seen), "{written}");
    for policy in &*POLICIES {
        planned(&seen, policy);
    }
}

fn planned(seen: &Observation, policy: &Policy) {
    let plan = decide(seen, policy);
    // A name of a directory is there once, however often the list has it.
    let names: HashSet<&String> = seen.log_dirs.iter().collect();
    for (section, count) in [
        (&plan.containers, seen.containers.len()),
        (&plan.sandboxes, seen.sandboxes.len()),
        (&plan.images.section, seen.images.len()),
        (&plan.log_dirs, names.len()),
    ] {
        let all = || section.remove.iter().chain(&section.follow).chain(&section.keep);
        let indexes: HashSet<usize> = all().map(|decision| decision.index).collect();
        assert_eq!((indexes.len(), all().count()), (count, count), "each object once: {section:?}");
        assert!(section.remove.iter().chain(&section.follow).all(|decision| decision.reason.removes()));
        assert!(section.keep.iter().all(|decision| !decision.reason.removes()));
    }
    removed(seen, &plan.containers, &plan.sandboxes);
    let images = &plan.images.section;
    for image in images.remove.iter().chain(&images.follow).map(|decision| &seen.images[decision.index]) {
        assert!(!image.pinned && seen.uses_unknown.is_none(), "{}", image.id);
    }

    let report = PlanReport::new(&plan, seen, policy);
    let json = serde_json::to_string(&report).unwrap();
    // When it was made is no part of the form.
    let again = PlanReport { now: report.now, ..serde_json::from_str(&json).unwrap() };
    assert_eq!(again, report);
    for section in [&report.containers, &report.sandboxes, &report.images.section, &report.log_dirs] {
        explained(seen, &report, section);
    }
}

fn removed(seen: &Observation, containers: &Section, sandboxes: &Section) {
    let uid = |container: &Container| {
        let of = |sandbox: &&Arc<Sandbox>| sandbox.id == container.pod_sandbox_id;
        let sandbox = seen.sandboxes.iter().find(of).map_or("", |sandbox| sandbox.pod_uid.as_str());
        if container.pod_uid.is_empty() { sandbox.to_owned() } else { container.pod_uid.to_string() }
    };
    for decision in containers.remove.iter().chain(&containers.follow) {
        let container = &seen.containers[decision.index];
        assert!(container.state != ContainerState::Running && container.created_at.is_some(), "{container:?}");
        if uid(container).is_empty() {
            assert!(seen.pods.synced, "unmanaged, and it is not known which pods there are: {container:?}");
        }
    }
    for decision in sandboxes.remove.iter().chain(&sandboxes.follow) {
        let sandbox = &seen.sandboxes[decision.index];
        assert!(sandbox.state == SandboxState::NotReady && !sandbox.unlisted, "{sandbox:?}");
    }
    for decision in &sandboxes.remove {
        let id = &seen.sandboxes[decision.index].id;
        assert!(seen.containers.iter().all(|container| container.pod_sandbox_id != *id), "{id} has a container");
    }
}

/// What the plan has about the first objects, by their ids.
fn explained(seen: &Observation, report: &PlanReport, section: &SectionReport) {
    for (items, verdict) in
        [(&section.remove, Verdict::Remove), (&section.follow, Verdict::Follow), (&section.keep, Verdict::Keep)]
    {
        // A text is meant without the blanks around it.
        for item in items.iter().filter(|item| !item.id.is_empty() && item.id.trim() == item.id).take(4) {
            let Found::Objects(found) = explain(seen, report, &item.id) else {
                panic!("{:?} is not found by its id", item.id);
            };
            let is_it = found.iter().any(|object| object.verdict == verdict && object.item == *item);
            assert!(is_it, "{:?} is {verdict:?} in the plan: {found:?}", item.id);
        }
    }
}
