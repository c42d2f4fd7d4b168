//! Passes of the log-directory reaper: directories of deleted pods, and links that point to nothing.

use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cri_gc_collectors::collector::messages::Prepare;
use cri_gc_collectors::log_reaper::LogReaper;
use cri_gc_collectors::report::{Outcome, PassReport};
use cri_gc_collectors::tools::Tools;
use cri_gc_kit::words::Kind;
use cri_gc_kit::workers::Workers;
use cri_gc_sim::{Code, ContainerSpec, ContainerState, Fault, LogSpec, Method, PodSpec, Scope};
use cri_gc_test_support::on_each_flavour;
use slog::{Drain, Level, Logger, o};

use super::bed::{Bed, HOUR, MINUTE, kept_for, outcome, removed, uid};

on_each_flavour!(
    a_container_that_appears_between_plan_and_removal_saves_the_directory,
    a_sandbox_that_appears_between_plan_and_removal_saves_the_directory,
    directories_of_deleted_pods_are_removed_and_those_of_others_kept,
    while_the_runtime_still_has_something_of_the_pod_its_directory_is_kept,
    where_the_last_check_fails_nothing_is_removed,
    many_directories_rest_on_few_checks,
    a_directory_that_cannot_be_removed_fails_by_itself,
    a_link_is_removed_at_the_second_check_that_finds_no_target,
    the_only_pass_of_a_command_checks_twice,
    a_link_whose_log_reappeared_in_between_needs_two_checks_again,
    links_of_containers_that_run_or_whose_status_cannot_be_read_are_kept,
    a_link_of_a_removed_container_is_removed_and_one_that_names_none_is_kept,
    next_to_a_kubelet_no_link_is_removed_whatever_else_fails,
    next_to_a_kubelet_no_link_is_removed_though_the_directories_cannot_be_listed,
    a_foreign_name_is_reported_once,
    a_missing_log_root_is_noted_once_there_are_containers,
    a_mount_of_links_that_hangs_is_given_up,
);

fn name(number: usize) -> String {
    format!("ns_pod-{number}_{}", uid(number))
}

/// The log directory of a pod that is unknown now.
fn orphan(bed: &Bed, number: usize) -> PathBuf {
    let changed = bed.sim.ago(HOUR);
    bed.sim.with(|node| node.add_log_dir(&name(number), changed)).unwrap()
}

fn a_mount_of_links_that_hangs_is_given_up() {
    let bed = Bed::new();
    bed.run(async |crew| {
        tokio::time::pause();
        let files = Workers::start(1).unwrap();
        let tools = Tools { files: files.clone(), ..crew.tools.clone() };
        let (release, released) = std::sync::mpsc::channel::<()>();
        let began = tokio::time::Instant::now();
        let hung = actix::spawn(async move { files.run(move || released.recv().is_err()).await });
        tokio::task::yield_now().await;
        assert!(LogReaper::default().check_links(&tools, &bed.settings).await.is_err());
        assert_eq!(began.elapsed().as_secs(), 10);
        drop(release);
        assert_eq!(hung.await.unwrap(), Ok(true));
    });
}

fn reap(bed: &Bed) -> PassReport {
    bed.run(async |crew| crew.logs().await)
}

fn directories_of_deleted_pods_are_removed_and_those_of_others_kept() {
    let bed = Bed::new();
    let gone = orphan(&bed, 1);
    bed.living_pod(2);
    let made = bed.sim.ago(2 * HOUR);
    let fresh = bed.sim.with(|node| node.add_log_dir(&name(3), node.ago(MINUTE))).unwrap();
    let foreign = bed.sim.with(|node| node.add_log_dir("lost+found", made)).unwrap();
    let report = reap(&bed);
    assert!(report.is_good(), "{report:?}");
    assert_eq!(removed(&report), [name(1)]);
    assert!(!gone.exists() && fresh.exists() && foreign.exists());
    assert_eq!(kept_for(&report, &name(2)).as_deref(), Some("pod_active"));
    assert_eq!(kept_for(&report, &name(3)).as_deref(), Some("pod_unknown"));
    assert_eq!(kept_for(&report, "lost+found").as_deref(), Some("foreign_name"));
}

fn a_missing_log_root_is_noted_once_there_are_containers() {
    let mut bed = Bed::new();
    bed.settings.log_gc.pod_logs_root = "/nonexistent/pods".into();
    assert_eq!(reap(&bed).notes, [""; 0], "nothing has run there yet");
    let sandbox = bed.living_pod(1);
    bed.ended(&sandbox, "app", 0);
    let report = reap(&bed);
    assert!(report.is_good(), "{report:?}");
    assert_eq!(report.notes.len(), 1, "{report:?}");
    assert!(report.notes[0].starts_with("/nonexistent/pods does not exist"), "{report:?}");
}

/// A directory that is to be removed, and what comes during the last request to the runtime.
fn raced(before: Method, container_too: bool) {
    let bed = Bed::new();
    let directory = orphan(&bed, 1);
    // The first list is that of the plan, the second that of the check.
    bed.sim.before_nth(before, 2, move |node, _| {
        let pod = node.add_pod(PodSpec::new("ns", "pod-1", uid(1)).not_ready()).unwrap();
        if container_too {
            node.add_container(ContainerSpec::new(&pod, "app").state(ContainerState::Exited)).unwrap();
        }
    });
    let report = reap(&bed);
    assert_eq!(kept_for(&report, &name(1)).as_deref(), Some("has_containers"), "{report:?}");
    assert!(directory.exists());
}

fn a_sandbox_that_appears_between_plan_and_removal_saves_the_directory() {
    raced(Method::ListPodSandbox, false);
    raced(Method::ListContainers, false);
}

fn a_container_that_appears_between_plan_and_removal_saves_the_directory() {
    raced(Method::ListContainers, true);
    raced(Method::ListPodSandbox, true);
}

fn while_the_runtime_still_has_something_of_the_pod_its_directory_is_kept() {
    let bed = Bed::new();
    let pod = bed.dead_pod(1);
    bed.ended(&pod, "app", 0);
    bed.run(async |crew| {
        let report = crew.logs().await;
        assert_eq!(kept_for(&report, &name(1)).as_deref(), Some("has_containers"), "{report:?}");
        crew.containers().await;
        crew.sandboxes().await;
        assert_eq!(removed(&crew.logs().await), [name(1)]);
    });
}

fn where_the_last_check_fails_nothing_is_removed() {
    for method in [Method::ListPodSandbox, Method::ListContainers] {
        let bed = Bed::new();
        let directory = orphan(&bed, 1);
        let ordered = bed.sim.clone();
        // The plan's own lists are answered.
        bed.sim.before_next(method, move |_, _| {
            ordered.fault(method, Fault::error(Code::Unknown, "boom"), Scope::Always);
        });
        let report = reap(&bed);
        bed.sim.clear_hooks();
        assert!(removed(&report).is_empty() && !report.is_good(), "{method}: {report:?}");
        let outcome = &report.removals[0].outcome;
        assert!(matches!(outcome, Outcome::Failed { error } if error.contains("boom")), "{outcome:?}");
        assert!(directory.exists());
    }
}

fn many_directories_rest_on_few_checks() {
    let bed = Bed::new();
    let all: Vec<PathBuf> = (0..40).map(|n| orphan(&bed, n)).collect();
    let report = reap(&bed);
    assert_eq!(removed(&report).len(), 40);
    assert!(all.iter().all(|directory| !directory.exists()));
    // The plan's list, and a check; another for each 2 s that it takes on a busy machine.
    let lists = bed.sim.count(Method::ListPodSandbox);
    assert!((2..20).contains(&lists), "{lists} lists");
}

fn a_directory_that_cannot_be_removed_fails_by_itself() {
    if !rustix::process::geteuid().is_root() {
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED a_directory_that_cannot_be_removed_fails_by_itself: needs root to mount"
        );
        return;
    }
    let bed = Bed::new();
    let (bad, good) = (orphan(&bed, 1), orphan(&bed, 2));
    let inner = bad.join("d");
    std::fs::create_dir(&inner).unwrap();
    for directory in [&inner, &bad] {
        std::fs::File::open(directory).unwrap().set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    }
    let run = |command: &mut Command| assert!(command.status().unwrap().success());
    run(Command::new("mount").arg("--bind").arg(&inner).arg(&inner));
    let report = reap(&bed);
    run(Command::new("umount").arg(&inner));
    assert!(matches!(outcome(&report, &name(1)), Some(Outcome::Failed { .. })), "{report:?}");
    assert!(bad.exists() && !good.exists());
    assert!(!report.is_good());
}

/// A link of an ended container whose log is gone.
fn dangling(bed: &Bed, pod: &str, attempt: u32, state: ContainerState) -> (String, PathBuf, PathBuf) {
    let log = LogSpec { legacy_link: true, ..LogSpec::default() };
    let id = bed.sim.add_container(bed.ended_spec(pod, "app", attempt).log(log)).unwrap();
    bed.sim.set_container_state(&id, state).unwrap();
    let target = bed.sim.with(|node| node.container(&id).unwrap().log_path.clone());
    std::fs::remove_file(&target).unwrap();
    let link = bed.sim.paths().legacy_root.join(format!("pod-1_ns_app-{id}.log"));
    assert!(is_link(&link));
    (id, link, target)
}

fn is_link(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

fn a_link_is_removed_at_the_second_check_that_finds_no_target() {
    let bed = Bed::new();
    let (_, link, _) = dangling(&bed, &bed.living_pod(1), 0, ContainerState::Exited);
    bed.run(async |crew| {
        let first = crew.logs().await;
        assert!(first.removals.is_empty() && is_link(&link));
        assert_eq!(first.kept.iter().filter(|kept| kept.item.reason == "target_missing_once").count(), 1);
        let second = crew.logs().await;
        assert_eq!(removed(&second).len(), 1);
        assert_eq!(second.removals[0].kind, Kind::LogLink);
        assert!(!is_link(&link));
    });
}

fn the_only_pass_of_a_command_checks_twice() {
    let bed = Bed::new();
    let (_, link, _) = dangling(&bed, &bed.living_pod(1), 0, ContainerState::Exited);
    bed.run(async |crew| {
        crew.log_reaper.send(Prepare).await.unwrap();
        let prepared = std::time::Instant::now();
        assert!(crew.logs().await.is_good());
        assert!(
            prepared.elapsed() > Duration::from_millis(1900),
            "a log that is being rotated is there again by then"
        );
        assert!(!is_link(&link));
    });
}

fn a_link_whose_log_reappeared_in_between_needs_two_checks_again() {
    let bed = Bed::new();
    let (_, link, target) = dangling(&bed, &bed.living_pod(1), 0, ContainerState::Exited);
    bed.run(async |crew| {
        crew.logs().await;
        std::fs::write(&target, "rotated").unwrap();
        crew.logs().await;
        std::fs::remove_file(&target).unwrap();
        crew.logs().await;
        assert!(is_link(&link), "missing, there, missing: not twice in a row");
    });
}

fn links_of_containers_that_run_or_whose_status_cannot_be_read_are_kept() {
    for state in [ContainerState::Running, ContainerState::Created, ContainerState::Unknown] {
        let bed = Bed::new();
        let (_, link, _) = dangling(&bed, &bed.living_pod(1), 0, state);
        bed.run(async |crew| (crew.logs().await, crew.logs().await, crew.logs().await));
        assert!(is_link(&link), "{state:?}");
    }
    let bed = Bed::new();
    let (id, link, _) = dangling(&bed, &bed.living_pod(1), 0, ContainerState::Exited);
    bed.sim.fault(Method::ContainerStatus, Fault::error(Code::Unknown, "boom"), Scope::ForId(id));
    bed.run(async |crew| (crew.logs().await, crew.logs().await));
    assert!(is_link(&link), "its status cannot be read");
}

fn a_link_of_a_removed_container_is_removed_and_one_that_names_none_is_kept() {
    let bed = Bed::new();
    let (id, link, _) = dangling(&bed, &bed.living_pod(1), 0, ContainerState::Exited);
    bed.sim.with(|node| node.remove_container(&id)).unwrap();
    let foreign_link = bed.sim.paths().legacy_root.join("somebody-elses.log");
    symlink("/nonexistent/target", &foreign_link).unwrap();
    bed.run(async |crew| (crew.logs().await, crew.logs().await, crew.logs().await));
    assert!(!is_link(&link) && is_link(&foreign_link));
}

/// Next to a kubelet the source `runtime` allows nothing to be removed: links no more than directories.
fn next_to_a_kubelet_no_link_is_removed_whatever_else_fails() {
    for broken_list in [None, Some(Method::ListPodSandbox)] {
        let bed = Bed::new();
        let (_, link, _) = dangling(&bed, &bed.living_pod(1), 0, ContainerState::Exited);
        let directory = orphan(&bed, 7);
        std::fs::create_dir_all(bed.settings.pods.kubelet_root.join("pods").join(uid(50))).unwrap();
        if let Some(method) = broken_list {
            bed.sim.fault(method, Fault::error(Code::Unknown, "boom"), Scope::Always);
        }
        bed.run(async |crew| (crew.logs().await, crew.logs().await));
        assert!(is_link(&link), "{broken_list:?}");
        assert!(directory.exists());
    }
}

fn next_to_a_kubelet_no_link_is_removed_though_the_directories_cannot_be_listed() {
    let mut bed = Bed::new();
    let (_, link, _) = dangling(&bed, &bed.living_pod(1), 0, ContainerState::Exited);
    std::fs::create_dir_all(bed.settings.pods.kubelet_root.join("pods").join(uid(50))).unwrap();
    // A file in place of the root.
    bed.settings.log_gc.pod_logs_root = bed.sim.paths().root.join("file");
    std::fs::write(&bed.settings.log_gc.pod_logs_root, "x").unwrap();
    bed.run(async |crew| (crew.logs().await, crew.logs().await));
    assert!(is_link(&link));
}

fn a_foreign_name_is_reported_once() {
    #[derive(Clone, Default)]
    struct Warnings(Arc<Mutex<Vec<String>>>);
    impl Drain for Warnings {
        type Ok = ();
        type Err = slog::Never;
        fn log(&self, record: &slog::Record<'_>, _: &slog::OwnedKVList) -> Result<(), slog::Never> {
            if record.level() == Level::Warning {
                self.0.lock().unwrap().push(record.msg().to_string());
            }
            Ok(())
        }
    }
    let bed = Bed::new();
    let path = bed.sim.with(|node| node.add_log_dir("lost+found", node.ago(HOUR))).unwrap();
    let warnings = Warnings::default();
    let said = warnings.clone();
    actix::System::new().block_on(async {
        let crew = bed.crew_that_logs(Logger::root(said, o!()));
        for _ in 0..3 {
            assert_eq!(kept_for(&crew.logs().await, "lost+found").as_deref(), Some("foreign_name"));
        }
        assert!(path.exists());
        assert_eq!(warnings.0.lock().unwrap().len(), 1, "{:?}", warnings.0);
        // One that was removed and created again is reported again: what is removed is not remembered.
        std::fs::remove_dir_all(&path).unwrap();
        crew.logs().await;
        std::fs::create_dir(&path).unwrap();
        crew.logs().await;
    });
    assert_eq!(warnings.0.lock().unwrap().len(), 2, "{:?}", warnings.0);
}
