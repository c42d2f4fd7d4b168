//! Passes of container GC: what is removed, in which order, with which logs, and what a failure does to the rest.

use std::collections::HashMap;

use cri_gc_collectors::report::Outcome;
use cri_gc_sim::{Code, ContainerState, Fault, LogSpec, Method, Scope};
use cri_gc_test_support::on_each_flavour;

use super::bed::{Bed, HOUR, MINUTE, errors, kept_for, outcome, removed};

on_each_flavour!(
    the_oldest_are_removed_first_and_the_newest_of_each_name_is_kept,
    each_removal_is_preceded_by_a_check_of_the_same_container,
    what_was_seen_dead_for_long_enough_is_checked_by_one_list_of_its_pod,
    the_newest_is_kept_also_where_a_newer_one_was_removed_meanwhile,
    a_second_pass_finds_nothing_to_do,
    a_container_in_an_unknown_state_is_stopped_before_it_is_removed,
    where_the_stop_fails_the_container_and_its_log_are_kept_and_the_others_removed,
    a_container_that_is_removed_already_or_by_another_client_is_no_failure,
    one_that_fails_does_not_delay_the_others,
    when_the_runtime_dies_there_is_one_error_and_no_further_removal,
    the_log_is_removed_with_its_container_except_the_one_that_a_living_pod_shows,
    a_log_that_cannot_be_removed_does_not_keep_its_container,
    the_image_of_a_removed_container_counts_as_used_when_it_finished,
    in_report_mode_a_pass_reports_what_would_be_removed_and_sends_nothing_that_removes,
    a_loop_that_is_off_asks_the_runtime_nothing,
);

fn the_oldest_are_removed_first_and_the_newest_of_each_name_is_kept() {
    let mut bed = Bed::new();
    bed.settings.container_gc.parallel_removals = 1;
    let pod = bed.living_pod(1);
    let apps: Vec<String> = (0..4).map(|n| bed.ended(&pod, "app", n)).collect();
    let jobs: Vec<String> = (0..3).map(|n| bed.ended(&pod, "job", n + 1)).collect();
    let listed: HashMap<String, _> =
        bed.sim.with(|node| node.containers().map(|c| (c.id.clone(), node.listed_created_at(c))).collect());
    let report = bed.run(async |crew| crew.containers().await);
    assert!(report.is_good(), "{report:?}");
    // By creation as it is listed: attempt n was made n minutes later; of two made at once the smaller id counts as the
    // newer. (Two that were made at once are not listed so by CRI-O.)
    let mut expected = vec![&apps[0], &apps[1], &apps[2], &jobs[0], &jobs[1]];
    expected.sort_by_key(|id| (listed[*id], std::cmp::Reverse(*id)));
    let expected: Vec<String> = expected.into_iter().cloned().collect();
    assert_eq!(bed.calls(Method::RemoveContainer), expected);
    assert_eq!(removed(&report), expected);
    for kept in [&apps[3], &jobs[2]] {
        assert_eq!(kept_for(&report, kept).as_deref(), Some("within_limits"));
    }
    assert_eq!(bed.sim.container_ids().len(), 2);
}

fn each_removal_is_preceded_by_a_check_of_the_same_container() {
    let mut bed = Bed::new();
    bed.settings.container_gc.parallel_removals = 1;
    let pod = bed.living_pod(1);
    (0..4).for_each(|n| drop(bed.ended(&pod, "app", n)));
    bed.run(async |crew| crew.containers().await);
    let calls = bed.sim.calls();
    for (at, call) in calls.iter().enumerate().filter(|(_, call)| call.method == Method::RemoveContainer) {
        let before = &calls[at - 1];
        assert_eq!((before.method, &before.id), (Method::ContainerStatus, &call.id));
    }
    assert_eq!(bed.sim.count(Method::RemoveContainer), 3);
}

fn what_was_seen_dead_for_long_enough_is_checked_by_one_list_of_its_pod() {
    let mut bed = Bed::new();
    bed.settings.container_gc.min_dead_age = MINUTE;
    let pods = [bed.living_pod(1), bed.living_pod(2)];
    let end = |pod: &String, n| {
        let spec = bed.ended_spec(pod, "app", n);
        bed.sim.add_container(spec.exited(bed.sim.ago(HOUR - n * MINUTE), bed.sim.now())).unwrap()
    };
    let ids: Vec<String> =
        pods.iter().flat_map(|pod| (0..4).map(|n| end(pod, n)).collect::<Vec<_>>()).collect();
    bed.run(async |crew| {
        let report = crew.containers().await;
        assert_eq!(kept_for(&report, &ids[0]).as_deref(), Some("finished_recently"), "{report:?}");
        bed.sim.advance(MINUTE);
        bed.sim.clear_calls();
        // Another client is quicker with one of them.
        let gone = ids[1].clone();
        bed.sim.before_nth(Method::ListContainers, 2, move |node, _| node.remove_container(&gone).unwrap());
        let report = crew.containers().await;
        assert_eq!(outcome(&report, &ids[1]), Some(Outcome::AlreadyGone));
        assert_eq!(removed(&report).len(), 5);
        assert_eq!(bed.calls(Method::ContainerStatus), ids[1..2], "of one that is not listed");
        assert_eq!(bed.sim.count(Method::ListContainers), 3, "all, and those of each pod");
        assert_eq!(bed.sim.container_ids().len(), 2);
    });
}

fn the_newest_is_kept_also_where_a_newer_one_was_removed_meanwhile() {
    let bed = Bed::new();
    let pod = bed.living_pod(1);
    let ids: Vec<String> = (0..3).map(|n| bed.ended(&pod, "app", n)).collect();
    let newest = ids[2].clone();
    bed.sim.before_nth(Method::ListContainers, 2, move |node, _| node.remove_container(&newest).unwrap());
    let report = bed.run(async |crew| crew.containers().await);
    assert_eq!(removed(&report), ids[..1]);
    assert_eq!(kept_for(&report, &ids[1]).as_deref(), Some("within_limits"));
}

fn a_second_pass_finds_nothing_to_do() {
    let bed = Bed::new();
    let pod = bed.living_pod(1);
    (0..4).for_each(|n| drop(bed.ended(&pod, "app", n)));
    bed.run(async |crew| {
        assert_eq!(removed(&crew.containers().await).len(), 3);
        bed.sim.clear_calls();
        assert!(crew.containers().await.removals.is_empty());
        assert_eq!(bed.harmful_calls(), 0);
    });
}

fn a_container_in_an_unknown_state_is_stopped_before_it_is_removed() {
    let mut bed = Bed::new();
    bed.settings.container_gc.max_per_pod_container = 0;
    let pod = bed.living_pod(1);
    let id = bed.ended(&pod, "app", 0);
    bed.sim.set_container_state(&id, ContainerState::Unknown).unwrap();
    let report = bed.run(async |crew| crew.containers().await);
    assert_eq!(outcome(&report, &id), Some(Outcome::Removed));
    let order: Vec<Method> = bed.sim.calls().into_iter().filter(|c| c.id == id).map(|c| c.method).collect();
    assert!(
        order.ends_with(&[Method::StopContainer, Method::ContainerStatus, Method::RemoveContainer]),
        "{order:?}"
    );
}

fn where_the_stop_fails_the_container_and_its_log_are_kept_and_the_others_removed() {
    let mut bed = Bed::new();
    bed.settings.container_gc.max_per_pod_container = 0;
    let pod = bed.dead_pod(1);
    let (id, other) = (bed.ended(&pod, "app", 0), bed.ended(&pod, "app", 1));
    bed.sim.set_container_state(&id, ContainerState::Unknown).unwrap();
    let log = bed.sim.with(|node| node.container(&id).unwrap().log_path.clone());
    bed.sim.fault(Method::StopContainer, Fault::error(Code::Unknown, "shim is gone"), Scope::Always);
    let report = bed.run(async |crew| crew.containers().await);
    let Some(Outcome::Failed { error }) = outcome(&report, &id) else { panic!("{report:?}") };
    assert!(error.contains("shim is gone"), "{error}");
    assert_eq!(bed.calls(Method::RemoveContainer), std::slice::from_ref(&other));
    assert_eq!(bed.sim.container_ids(), [id]);
    assert_eq!(outcome(&report, &other), Some(Outcome::Removed));
    assert!(log.exists());
    assert!(!report.is_good());
}

fn a_container_that_is_removed_already_or_by_another_client_is_no_failure() {
    let mut bed = Bed::new();
    bed.settings.container_gc.max_per_pod_container = 0;
    let pod = bed.living_pod(1);
    let (gone, going) = (bed.ended(&pod, "gone", 0), bed.ended(&pod, "going", 0));
    let message = "failed to set removing state: container is already in removing state";
    bed.sim.fault(Method::RemoveContainer, Fault::error(Code::Unknown, message), Scope::ForId(going.clone()));
    let missing = Fault::error(Code::NotFound, "no such container");
    bed.sim.fault(Method::ContainerStatus, missing, Scope::ForId(gone.clone()));
    let report = bed.run(async |crew| crew.containers().await);
    assert!(report.is_good(), "{report:?}");
    assert_eq!(outcome(&report, &gone), Some(Outcome::AlreadyGone));
    assert_eq!(outcome(&report, &going), Some(Outcome::AlreadyGone));
    assert_eq!(bed.calls(Method::RemoveContainer), [going], "what is not there gets no removal");
}

fn one_that_fails_does_not_delay_the_others() {
    let mut bed = Bed::new();
    bed.settings.container_gc.parallel_removals = 1;
    let pod = bed.living_pod(1);
    let apps: Vec<String> = (0..4).map(|n| bed.ended(&pod, "app", n)).collect();
    let fault = Fault::error(Code::Unknown, "device or resource busy");
    bed.sim.fault(Method::RemoveContainer, fault, Scope::ForId(apps[0].clone()));
    let report = bed.run(async |crew| crew.containers().await);
    assert!(matches!(outcome(&report, &apps[0]), Some(Outcome::Failed { .. })));
    assert_eq!(removed(&report), apps[1..3]);
    assert_eq!(errors(&report), Vec::<String>::new(), "the error of an object is its own");
    assert_eq!(
        bed.sim.container_ids().len(),
        2,
        "it counts as removed within its pass: nothing else is removed for it"
    );
}

fn when_the_runtime_dies_there_is_one_error_and_no_further_removal() {
    let mut bed = Bed::new();
    bed.settings.container_gc.parallel_removals = 1;
    bed.settings.container_gc.max_per_pod_container = 0;
    let pod = bed.living_pod(1);
    let ids: Vec<String> = (0..6).map(|n| bed.ended(&pod, "app", n)).collect();
    bed.sim.fault(Method::RemoveContainer, Fault::Die, Scope::ForId(ids[2].clone()));
    bed.run(async |crew| {
        let report = crew.containers().await;
        assert_eq!(removed(&report), ids[..2]);
        assert!(matches!(outcome(&report, &ids[2]), Some(Outcome::Failed { .. })));
        assert_eq!(report.removals.len(), 3, "no further removal was tried");
        let errors = errors(&report);
        assert_eq!(errors.len(), 2, "{errors:?}");
        assert!(errors[0].contains("the runtime is unreachable"), "{errors:?}");
        assert!(errors[1].contains("3 removals were not started"), "{errors:?}");
        bed.sim.clear_faults();
        bed.sim.restart().unwrap();
        assert!(crew.containers().await.is_good(), "the next pass removes the others");
        assert_eq!(bed.sim.container_ids(), Vec::<String>::new());
    });
}

fn the_log_is_removed_with_its_container_except_the_one_that_a_living_pod_shows() {
    let mut bed = Bed::new();
    bed.settings.container_gc.max_per_pod_container = 0;
    let logs = |pod: &str| -> Vec<(String, std::path::PathBuf)> {
        let add = |n| {
            let log = LogSpec { bytes: 8192, rotated: 2, legacy_link: true };
            let id = bed.sim.add_container(bed.ended_spec(pod, "app", n).log(log)).unwrap();
            let path = bed.sim.with(|node| node.container(&id).unwrap().log_path.clone());
            (id, path)
        };
        (0..2).map(add).collect()
    };
    let (living, deleted) = (logs(&bed.living_pod(1)), logs(&bed.dead_pod(2)));
    let report = bed.run(async |crew| crew.containers().await);
    assert!(report.is_good(), "{report:?}");
    assert_eq!(bed.sim.container_ids(), Vec::<String>::new());
    assert!(!living[0].1.exists(), "an older attempt");
    assert!(living[1].1.exists(), "`logs` of a living pod shows it");
    assert!(!deleted[0].1.exists() && !deleted[1].1.exists());
    let left: Vec<_> = std::fs::read_dir(deleted[0].1.parent().unwrap()).unwrap().collect();
    assert!(left.is_empty(), "the rotated files are removed too: {left:?}");
    let links = std::fs::read_dir(&bed.sim.paths().legacy_root).unwrap();
    let links: Vec<String> = links.map(|l| l.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(links.len(), 1, "{links:?}");
    assert!(links[0].contains(&living[1].0));
    let bytes = |id: &str| report.removals.iter().find(|r| r.id == id).unwrap().bytes;
    assert!(bytes(&deleted[0].0) >= 8192 && bytes(&living[1].0) == 0);
}

fn a_log_that_cannot_be_removed_does_not_keep_its_container() {
    let mut bed = Bed::new();
    bed.settings.container_gc.max_per_pod_container = 0;
    let pod = bed.dead_pod(1);
    let id = bed.ended(&pod, "app", 0);
    // A link on the way to the log is never followed.
    let log = bed.sim.with(|node| node.container(&id).unwrap().log_path.clone());
    let folder = log.parent().unwrap();
    let elsewhere = bed.sim.paths().root.join("elsewhere");
    std::fs::rename(folder, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, folder).unwrap();
    let report = bed.run(async |crew| crew.containers().await);
    assert_eq!(outcome(&report, &id), Some(Outcome::Removed));
    assert_eq!(bed.sim.container_ids(), Vec::<String>::new());
    assert!(elsewhere.join("0.log").exists());
    let errors = errors(&report);
    assert!(errors.len() == 1 && errors[0].contains("could not remove the log of a container"), "{errors:?}");
}

fn the_image_of_a_removed_container_counts_as_used_when_it_finished() {
    let mut bed = Bed::new();
    bed.settings.image_gc.min_age = std::time::Duration::ZERO;
    bed.settings.image_gc.parallel_removals = 1;
    let images: Vec<String> = (0..3).map(|n| bed.image(&format!("app:{n}"), 10)).collect();
    bed.run(async |crew| {
        // None is in use at this observation; a job of the second image appears and disappears between two observations.
        crew.observe_images().await;
        bed.sim.advance(2 * HOUR);
        let pod = bed.dead_pod(1);
        let job = bed.ended_spec(&pod, "job", 0).image("app:1");
        bed.sim.add_container(job).unwrap();
        assert_eq!(removed(&crew.containers().await).len(), 1);
        bed.sim.advance(MINUTE);
        bed.sim.with(|node| node.fill_to_percent(99));
        let report = crew.images().await;
        let gone = bed.calls(Method::RemoveImage);
        assert_eq!(gone.len(), 3, "{report:?}");
        assert_eq!(gone[2], images[1], "never used ones are removed first");
    });
}

fn in_report_mode_a_pass_reports_what_would_be_removed_and_sends_nothing_that_removes() {
    let mut bed = Bed::new();
    bed.settings.container_gc.mode = cri_gc_config::Mode::Report;
    let pod = bed.living_pod(1);
    let ids: Vec<String> = (0..3).map(|n| bed.ended(&pod, "app", n)).collect();
    let report = bed.run(async |crew| crew.containers().await);
    assert_eq!(outcome(&report, &ids[0]), Some(Outcome::WouldRemove));
    assert_eq!(report.removals.len(), 2);
    assert_eq!(bed.harmful_calls(), 0);
    assert_eq!(bed.sim.container_ids().len(), 3);
}

fn a_loop_that_is_off_asks_the_runtime_nothing() {
    let mut bed = Bed::new();
    bed.settings.container_gc.mode = cri_gc_config::Mode::Off;
    let pod = bed.living_pod(1);
    (0..3).for_each(|n| drop(bed.ended(&pod, "app", n)));
    let report = bed.run(async |crew| crew.containers().await);
    assert!(report.removals.is_empty() && report.kept.is_empty());
    assert_eq!(bed.sim.calls(), []);
}
