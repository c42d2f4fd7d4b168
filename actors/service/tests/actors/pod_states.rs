//! The pod-state provider through its actor: the sources `runtime` and `file`.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use cri_gc_collectors::observe;
use cri_gc_collectors::report::Outcome;
use cri_gc_config::{Mode, PodSource};
use cri_gc_pods::{SourceError, Verdict};
use cri_gc_policy::PodState::{self, Active, Deleted, Unknown};
use cri_gc_sim::{Code, ContainerSpec, ContainerState, Fault, Method, SandboxState, Scope};
use cri_gc_test_support::on_each_flavour;
use jiff::Timestamp;

use super::bed::{Bed, Crew, HOUR, MINUTE, SECOND, outcome, uid};

on_each_flavour!(
    with_source_runtime_a_pod_is_deleted_when_nothing_of_it_ran_for_the_grace,
    with_source_runtime_the_grace_counts_from_when_it_was_last_seen_active,
    with_source_runtime_an_unknown_container_or_finish_time_keeps_its_pod_unknown,
    with_source_runtime_a_new_object_voids_the_confirmation,
    next_to_a_kubelet_all_loops_but_images_only_report_and_say_why,
    a_kubelet_root_that_cannot_be_read_counts_as_a_kubelets,
    with_source_file_two_syncs_without_it_confirm_a_pod_deleted,
    with_source_file_a_restart_of_the_runtime_voids_no_confirmation,
    with_source_file_a_failed_or_stale_sync_makes_unknown_what_was_deleted,
    with_source_file_deep_nesting_is_an_error_and_no_crash,
    with_source_file_what_is_newer_than_the_first_sync_is_not_deleted,
    with_source_file_what_runs_is_active_whatever_the_file_says,
    with_source_file_a_directory_of_the_kubelet_keeps_its_pod_and_is_named,
    with_source_file_many_at_once_are_not_confirmed,
    a_source_that_was_never_read_confirms_nothing,
);

async fn verdict(bed: &Bed, crew: &Crew) -> Verdict {
    observe::pods(&crew.tools, &bed.settings).await.unwrap().verdict
}

/// The state of every pod that there is something of; unknown for all while the source is not synced.
async fn states(bed: &Bed, crew: &Crew) -> HashMap<String, PodState> {
    let pods = verdict(bed, crew).await.pods;
    let state = |state| if pods.synced { state } else { Unknown };
    pods.pods.iter().map(|pod| (pod.uid.to_string(), state(pod.state))).collect()
}

async fn state(bed: &Bed, crew: &Crew, number: usize) -> PodState {
    states(bed, crew).await.get(&uid(number)).copied().unwrap_or(Unknown)
}

fn ended_at(bed: &Bed, pod: &str, ended: Timestamp) -> String {
    let made = bed.sim.ago(HOUR);
    bed.sim.add_container(ContainerSpec::new(pod, "app").exited(made, ended)).unwrap()
}

fn with_source_runtime_a_pod_is_deleted_when_nothing_of_it_ran_for_the_grace() {
    let bed = Bed::new();
    let pod = bed.dead_pod(1);
    ended_at(&bed, &pod, bed.sim.ago(9 * MINUTE + 59 * SECOND));
    bed.living_pod(2);
    bed.run(async |crew| {
        assert_eq!(state(&bed, crew, 1).await, Unknown);
        bed.sim.advance(SECOND);
        assert_eq!(state(&bed, crew, 1).await, Deleted);
        assert_eq!(state(&bed, crew, 2).await, Active);
        assert!(verdict(&bed, crew).await.report_only.is_none());
    });
}

fn with_source_runtime_the_grace_counts_from_when_it_was_last_seen_active() {
    let bed = Bed::new();
    let pod = bed.living_pod(1);
    bed.run(async |crew| {
        assert_eq!(state(&bed, crew, 1).await, Active);
        bed.sim.with(|node| node.set_sandbox_state(&pod, SandboxState::NotReady)).unwrap();
        bed.sim.advance(10 * MINUTE - SECOND);
        assert_eq!(state(&bed, crew, 1).await, Unknown, "it was made an hour ago, but ran until just now");
        bed.sim.advance(SECOND);
        assert_eq!(state(&bed, crew, 1).await, Deleted);
    });
}

fn with_source_runtime_an_unknown_container_or_finish_time_keeps_its_pod_unknown() {
    let bed = Bed::new();
    let (first, second) = (bed.dead_pod(1), bed.dead_pod(2));
    let id = bed.ended(&first, "app", 0);
    bed.sim.set_container_state(&id, ContainerState::Unknown).unwrap();
    let id = bed.ended(&second, "app", 0);
    bed.sim.fault(Method::ContainerStatus, Fault::error(Code::Unknown, "boom"), Scope::ForId(id));
    bed.run(async |crew| {
        assert_eq!(state(&bed, crew, 1).await, Unknown);
        assert_eq!(state(&bed, crew, 2).await, Unknown);
        bed.sim.clear_faults();
        assert_eq!(state(&bed, crew, 2).await, Deleted);
    });
}

fn with_source_runtime_a_new_object_voids_the_confirmation() {
    let bed = Bed::new();
    let pod = bed.dead_pod(1);
    bed.run(async |crew| {
        assert_eq!(state(&bed, crew, 1).await, Deleted);
        bed.sim.add_container(ContainerSpec::new(&pod, "new").state(ContainerState::Created)).unwrap();
        assert_eq!(state(&bed, crew, 1).await, Unknown);
    });
}

fn next_to_a_kubelet_all_loops_but_images_only_report_and_say_why() {
    let mut bed = Bed::new();
    bed.settings.container_gc.max_per_pod_container = 0;
    let pod = bed.dead_pod(1);
    let (id, empty) = (bed.ended(&pod, "app", 0), bed.dead_pod(2));
    std::fs::create_dir_all(bed.settings.pods.kubelet_root.join("pods").join(uid(9))).unwrap();
    bed.run(async |crew| {
        for (report, id) in [(crew.containers().await, &id), (crew.sandboxes().await, &empty)] {
            assert_eq!(outcome(&report, id), Some(Outcome::WouldRemove), "{report:?}");
            assert_eq!(report.mode, Mode::Report);
            assert!(report.notes.iter().any(|note| note.contains("kubelet")), "{report:?}");
        }
        let logs = crew.logs().await;
        assert!(logs.removals.iter().all(|removal| removal.outcome == Outcome::WouldRemove), "{logs:?}");
    });
    assert_eq!(bed.harmful_calls(), 0);
    bed.settings.pods.runtime_beside_kubelet = true;
    bed.run(async |crew| assert_eq!(outcome(&crew.containers().await, &id), Some(Outcome::Removed)));
}

fn a_kubelet_root_that_cannot_be_read_counts_as_a_kubelets() {
    let bed = Bed::new();
    bed.dead_pod(1);
    let root = &bed.settings.pods.kubelet_root;
    std::fs::create_dir_all(root).unwrap();
    // A link to itself cannot be read.
    std::os::unix::fs::symlink("pods", root.join("pods")).unwrap();
    bed.run(async |crew| assert!(verdict(&bed, crew).await.report_only.is_some()));
}

// ---- The source `file` ----

/// A node whose pods are reported by a file.
pub fn by_file() -> Bed {
    let mut bed = Bed::new();
    bed.settings.pods.source = PodSource::File;
    bed.settings.pods.file = Some(file(&bed));
    bed
}

fn file(bed: &Bed) -> PathBuf {
    bed.sim.paths().root.join("pods.json")
}

/// Writes the file as of now.
pub fn list(bed: &Bed, numbers: &[usize]) {
    let pods: Vec<String> =
        numbers.iter().map(|n| format!(r#"{{"uid": "{}", "state": "active"}}"#, uid(*n))).collect();
    write(bed, &format!("[{}]", pods.join(", ")), bed.sim.now());
}

fn write(bed: &Bed, text: &str, changed: Timestamp) {
    std::fs::write(file(bed), text).unwrap();
    let file = std::fs::File::options().write(true).open(file(bed)).unwrap();
    file.set_modified(SystemTime::from(changed)).unwrap();
}

fn with_source_file_two_syncs_without_it_confirm_a_pod_deleted() {
    let bed = by_file();
    bed.living_pod(1);
    bed.dead_pod(2);
    list(&bed, &[1]);
    bed.run(async |crew| {
        assert_eq!(state(&bed, crew, 2).await, Unknown, "no sync");
        crew.tools.pods.resync().await.unwrap();
        assert_eq!(state(&bed, crew, 2).await, Unknown, "one sync");
        crew.tools.pods.resync().await.unwrap();
        assert_eq!(state(&bed, crew, 2).await, Deleted);
        assert_eq!(state(&bed, crew, 1).await, Active);
        list(&bed, &[1, 2]);
        crew.tools.pods.resync().await.unwrap();
        assert_eq!(state(&bed, crew, 2).await, Active, "it was sighted");
        list(&bed, &[1]);
        crew.tools.pods.resync().await.unwrap();
        assert_ne!(state(&bed, crew, 2).await, Deleted, "absent once since");
    });
}

fn with_source_file_a_restart_of_the_runtime_voids_no_confirmation() {
    let bed = by_file();
    bed.living_pod(1);
    let pod = bed.dead_pod(2);
    bed.ended(&pod, "app", 0);
    list(&bed, &[1]);
    bed.run(async |crew| {
        state(&bed, crew, 2).await;
        crew.tools.pods.resync().await.unwrap();
        crew.tools.pods.resync().await.unwrap();
        assert_eq!(state(&bed, crew, 2).await, Deleted);
        // CRI-O lists another creation time from now on, 0.1 ms later.
        bed.sim.restart().unwrap();
        drop(crew.tools.gateway.version().await);
        assert_eq!(state(&bed, crew, 2).await, Deleted);
    });
}

fn with_source_file_a_failed_or_stale_sync_makes_unknown_what_was_deleted() {
    let bed = by_file();
    bed.living_pod(1);
    bed.dead_pod(2);
    bed.run(async |crew| {
        let prove = async || {
            list(&bed, &[1]);
            crew.tools.pods.resync().await.unwrap();
            crew.tools.pods.resync().await.unwrap();
            assert_eq!(state(&bed, crew, 2).await, Deleted);
        };
        let (now, later) = (bed.sim.now(), bed.sim.now() + HOUR);
        for (text, changed, what) in [
            ("", now, "empty"),
            ("{", now, "broken"),
            ("[]", now, "lists none of the pods that run"),
            ("[]", later, "from the future"),
        ] {
            prove().await;
            write(&bed, text, changed);
            assert!(crew.tools.pods.resync().await.is_err(), "{what}");
            assert_eq!(state(&bed, crew, 2).await, Unknown, "{what}");
        }
        prove().await;
        std::fs::remove_file(file(&bed)).unwrap();
        assert!(matches!(crew.tools.pods.resync().await, Err(SourceError::File { .. })));
        assert_eq!(state(&bed, crew, 2).await, Unknown, "missing");
        prove().await;
        bed.sim.advance(5 * MINUTE);
        assert_eq!(state(&bed, crew, 2).await, Deleted);
        bed.sim.advance(SECOND);
        assert_eq!(state(&bed, crew, 2).await, Unknown, "stale");
    });
}

fn with_source_file_deep_nesting_is_an_error_and_no_crash() {
    let bed = by_file();
    bed.dead_pod(1);
    bed.run(async |crew| {
        for text in ["[".repeat(200_000), "{\"items\":".repeat(100_000), format!("- {}", "[".repeat(100_000))]
        {
            write(&bed, &text, bed.sim.now());
            assert!(matches!(crew.tools.pods.resync().await, Err(SourceError::Listing { .. })));
            assert_eq!(state(&bed, crew, 1).await, Unknown);
        }
    });
}

fn with_source_file_what_is_newer_than_the_first_sync_is_not_deleted() {
    let bed = by_file();
    bed.living_pod(1);
    let pod = bed.dead_pod(2);
    list(&bed, &[1]);
    bed.run(async |crew| {
        crew.tools.pods.resync().await.unwrap();
        let made = bed.sim.ago(MINUTE);
        bed.sim.add_container(ContainerSpec::new(&pod, "app").exited(made, made)).unwrap();
        crew.tools.pods.resync().await.unwrap();
        assert_eq!(state(&bed, crew, 2).await, Unknown, "the runtime did not list it before the first sync");
        crew.tools.pods.resync().await.unwrap();
        assert_eq!(state(&bed, crew, 2).await, Deleted);
    });
}

fn with_source_file_what_runs_is_active_whatever_the_file_says() {
    let bed = by_file();
    let pod = bed.dead_pod(1);
    bed.living_pod(2);
    bed.sim.add_container(ContainerSpec::new(&pod, "app")).unwrap();
    list(&bed, &[2]);
    bed.run(async |crew| {
        crew.tools.pods.resync().await.unwrap();
        crew.tools.pods.resync().await.unwrap();
        assert_ne!(state(&bed, crew, 1).await, Deleted);
        let report = crew.sandboxes().await;
        assert!(report.removals.is_empty(), "{report:?}");
    });
}

fn with_source_file_a_directory_of_the_kubelet_keeps_its_pod_and_is_named() {
    let bed = by_file();
    bed.living_pod(1);
    bed.dead_pod(2);
    list(&bed, &[1]);
    std::fs::create_dir_all(bed.settings.pods.kubelet_root.join("pods").join(uid(2))).unwrap();
    bed.run(async |crew| {
        crew.tools.pods.resync().await.unwrap();
        crew.tools.pods.resync().await.unwrap();
        let verdict = verdict(&bed, crew).await;
        assert!(verdict.notes.iter().any(|note| note.contains(&uid(2))), "{verdict:?}");
        assert_eq!(state(&bed, crew, 2).await, Unknown);
    });
}

fn with_source_file_many_at_once_are_not_confirmed() {
    let mut bed = by_file();
    bed.living_pod(1);
    (2..10).for_each(|n| drop(bed.dead_pod(n)));
    list(&bed, &[1]);
    let deleted = |bed: &Bed| {
        bed.run(async |crew| {
            crew.tools.pods.resync().await.unwrap();
            crew.tools.pods.resync().await.unwrap();
            let notes = verdict(bed, crew).await.notes;
            let states = states(bed, crew).await;
            (states.values().filter(|state| **state == Deleted).count(), notes)
        })
    };
    let (count, notes) = deleted(&bed);
    assert_eq!(count, 0);
    assert!(notes.iter().any(|note| note.contains("max_newly_deleted_percent")), "{notes:?}");
    bed.settings.pods.max_newly_deleted_percent = 100;
    assert_eq!(deleted(&bed).0, 8);
}

fn a_source_that_was_never_read_confirms_nothing() {
    for source in [PodSource::Kubelet, PodSource::KubeApi] {
        let mut bed = Bed::new();
        bed.settings.pods.source = source;
        // No server answers there.
        bed.settings.pods.kubelet.url = "http://127.0.0.1:1/pods".to_owned();
        bed.settings.pods.kube_api.kubeconfig = Some("/not/there".into());
        let pod = bed.dead_pod(1);
        let ids: Vec<String> = (0..2).map(|n| bed.ended(&pod, "app", n)).collect();
        bed.run(async |crew| {
            assert!(crew.tools.pods.resync().await.is_err());
            assert_eq!(state(&bed, crew, 1).await, Unknown);
            let report = crew.containers().await;
            assert_eq!(outcome(&report, &ids[1]), None, "only the limits apply");
        });
        bed.sim.advance(Duration::from_secs(1));
    }
}
