//! What goes wrong in one loop remains in it; a pass that hangs ends at its deadline and says what it did.

use cri_gc_collectors::report::{Outcome, PassReport};
use cri_gc_kit::words::Loop;
use cri_gc_sim::{Code, Fault, Method, Scope};
use cri_gc_test_support::on_each_flavour;

use super::bed::{Bed, Crew, HOUR, PATIENCE, SECOND, begun, errors, outcome, removed, uid};

on_each_flavour!(
    an_rpc_that_fails_affects_its_own_loop_only,
    log_directories_that_cannot_be_listed_affect_their_own_loop_only,
    an_rpc_that_hangs_delays_its_own_loop_only,
    a_pass_that_hangs_ends_at_its_deadline_and_says_what_it_did,
    a_pass_that_is_requested_while_one_is_in_progress_follows_it,
    an_unreachable_runtime_is_one_error_of_each_loop,
);

/// A node on which every loop has one object to remove.
fn node() -> Bed {
    let mut bed = Bed::new();
    bed.settings.image_gc.min_age = std::time::Duration::ZERO;
    bed.settings.container_gc.max_per_pod_container = 0;
    let living = bed.living_pod(1);
    bed.ended(&living, "app", 0);
    bed.dead_pod(2);
    let long_ago = bed.sim.ago(HOUR);
    bed.sim.with(|node| node.add_log_dir(&format!("ns_gone_{}", uid(3)), long_ago)).unwrap();
    bed.image("free:1", 100);
    bed.sim.with(|node| node.fill_to_percent(99));
    bed
}

async fn all_at_once(crew: &Crew) -> [PassReport; 4] {
    let (containers, sandboxes, logs, images) =
        tokio::join!(crew.containers(), crew.sandboxes(), crew.logs(), crew.images());
    [containers, sandboxes, logs, images]
}

/// Whether the loop did its work. Image GC may say that it was not enough.
fn did_its_work(report: &PassReport) -> bool {
    !removed(report).is_empty() && errors(report).iter().all(|error| error.starts_with("FreeDiskSpaceFailed"))
}

fn an_rpc_that_fails_affects_its_own_loop_only() {
    for (method, of) in [
        (Method::RemoveContainer, Loop::ContainerGc),
        (Method::StopPodSandbox, Loop::SandboxGc),
        (Method::RemovePodSandbox, Loop::SandboxGc),
        (Method::ListImages, Loop::ImageGc),
        (Method::Status, Loop::ImageGc),
        (Method::ImageFsInfo, Loop::ImageGc),
        (Method::RemoveImage, Loop::ImageGc),
    ] {
        let bed = node();
        bed.sim.fault(method, Fault::error(Code::Unknown, "boom"), Scope::Always);
        let reports = bed.run(async |crew| all_at_once(crew).await);
        for report in reports {
            assert_eq!(did_its_work(&report), report.of != of, "{method}: {report:?}");
        }
    }
}

fn log_directories_that_cannot_be_listed_affect_their_own_loop_only() {
    let mut bed = node();
    bed.settings.log_gc.pod_logs_root = bed.sim.paths().root.join("file");
    std::fs::write(&bed.settings.log_gc.pod_logs_root, "x").unwrap();
    let reports = bed.run(async |crew| all_at_once(crew).await);
    for report in reports {
        assert_eq!(!removed(&report).is_empty(), report.of != Loop::LogGc, "{report:?}");
    }
}

fn an_rpc_that_hangs_delays_its_own_loop_only() {
    for (method, of) in [
        (Method::RemoveContainer, Loop::ContainerGc),
        (Method::StopPodSandbox, Loop::SandboxGc),
        (Method::RemoveImage, Loop::ImageGc),
    ] {
        let bed = node();
        bed.sim.fault(method, Fault::Hang, Scope::Always);
        bed.run(async |crew| {
            let mut passes = [
                (
                    Loop::ContainerGc,
                    Box::pin(crew.containers()) as std::pin::Pin<Box<dyn Future<Output = _>>>,
                ),
                (Loop::SandboxGc, Box::pin(crew.sandboxes())),
                (Loop::LogGc, Box::pin(crew.logs())),
                (Loop::ImageGc, Box::pin(crew.images())),
            ];
            for (_, pass) in &mut passes {
                assert!(begun(pass.as_mut()).await);
            }
            assert!(bed.sim.wait_for_calls(method, 1, PATIENCE));
            let mut hung = None;
            for (loop_, pass) in passes {
                if loop_ == of {
                    hung = Some(pass);
                } else {
                    assert!(did_its_work(&pass.await), "{method} delayed {loop_}");
                }
            }
            let mut hung = hung.unwrap();
            assert!(begun(hung.as_mut()).await, "{method}");
            bed.sim.clear_faults();
            assert!(did_its_work(&hung.await), "{method}");
        });
    }
}

fn a_pass_that_hangs_ends_at_its_deadline_and_says_what_it_did() {
    let mut bed = Bed::new();
    bed.settings.container_gc.max_per_pod_container = 0;
    bed.settings.container_gc.parallel_removals = 1;
    bed.settings.container_gc.deadline = SECOND;
    bed.settings.runtime.request_timeout = PATIENCE;
    let pod = bed.living_pod(1);
    let ids: Vec<String> = (0..4).map(|n| bed.ended(&pod, "app", n)).collect();
    bed.sim.fault(Method::RemoveContainer, Fault::Hang, Scope::ForId(ids[1].clone()));
    bed.run(async |crew| {
        let report = crew.containers().await;
        let errors = errors(&report);
        assert!(errors.len() == 1 && errors[0].contains("deadline of 1s"), "{errors:?}");
        assert!(!report.is_good());
        // On a machine so busy that not even the first was done in time there is nothing to report.
        assert!(removed(&report).len() <= 1);
        if bed.sim.count(Method::RemoveContainer) == 2 {
            assert_eq!(outcome(&report, &ids[0]), Some(Outcome::Removed));
        }
        bed.sim.clear_faults();
    });
    // What was begun was not cancelled by the end of the pass.
    bed.settings.container_gc.deadline = PATIENCE;
    bed.run(async |crew| assert!(crew.containers().await.is_good()));
    assert_eq!(bed.sim.container_ids(), Vec::<String>::new());
}

fn a_pass_that_is_requested_while_one_is_in_progress_follows_it() {
    let bed = node();
    bed.sim.fault(Method::RemoveContainer, Fault::Hang, Scope::Always);
    bed.run(async |crew| {
        let mut first = Box::pin(crew.containers());
        assert!(begun(first.as_mut()).await);
        assert!(bed.sim.wait_for_calls(Method::RemoveContainer, 1, PATIENCE));
        let mut second = Box::pin(crew.containers());
        assert!(begun(second.as_mut()).await, "it waits for the first");
        bed.sim.clear_faults();
        let (first, second) = (first.await, second.await);
        assert!(first.is_good() && second.is_good());
        assert_eq!((removed(&first).len(), removed(&second).len()), (1, 0));
        assert!(second.started_at >= first.started_at);
    });
}

fn an_unreachable_runtime_is_one_error_of_each_loop() {
    let bed = node();
    bed.sim.kill();
    let reports = bed.run(async |crew| all_at_once(crew).await);
    for report in reports {
        let unreachable =
            errors(&report).iter().filter(|error| error.contains("the runtime is unreachable")).count();
        assert_eq!((unreachable, report.errors.len()), (1, 1), "{report:?}");
        assert!(report.removals.is_empty());
    }
}
