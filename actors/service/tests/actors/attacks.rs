//! What an attack on the safety rules of the service found, each once. None of it may happen again.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};
use std::time::Duration;

use actix::Arbiter;
use cri_gc_collectors::collector::Collector;
use cri_gc_collectors::collector::Paused;
use cri_gc_collectors::collector::messages::{Pause, RunPass};
use cri_gc_collectors::image_gc::ImageGc;
use cri_gc_collectors::observe;
use cri_gc_collectors::report::PassReport;
use cri_gc_collectors::tools::Tools;
use cri_gc_config::{Mode, PodSource};
use cri_gc_gateway::{Connect, Gateway, Waits};
use cri_gc_kit::generation::{Generation, Reconfigure};
use cri_gc_kit::recorder::Recorder;
use cri_gc_kit::seams::Clock;
use cri_gc_kit::workers::Workers;
use cri_gc_pods::{Configure, PodStates};
use cri_gc_policy::PodState;
use cri_gc_sim::{Code, ContainerSpec, ContainerState, Fault, Method, Scope};
use cri_gc_test_support::on_each_flavour;
use futures_util::FutureExt;

use super::bed::{Bed, HOUR, MINUTE, SECOND, errors, removed, silent, uid};

on_each_flavour!(
    a_longer_grace_by_reload_applies,
    a_step_of_the_clock_makes_no_image_old,
    images_that_pods_name_are_kept_while_the_kubelet_root_hangs,
    one_object_that_answers_unavailable_does_not_delay_the_others,
    cancelled_as_an_answer_is_no_return_of_the_runtime,
    a_removal_that_waited_in_the_gateway_is_not_sent_on_an_old_check,
    an_unreachable_image_service_is_no_return_of_the_runtime,
    an_image_pass_in_report_mode_does_not_fail_for_that,
    readings_that_piled_up_are_not_two_syncs,
    a_pause_applies_to_what_waits_in_the_gateway,
    a_log_is_kept_with_its_container_once_the_loop_may_only_report,
);

async fn run(c: &actix::Addr<Collector<ImageGc>>) -> PassReport {
    c.send(RunPass::default()).await.unwrap().unwrap()
}

fn a_longer_grace_by_reload_applies() {
    let bed = Bed::new();
    let pod = bed.dead_pod(1);
    let made = bed.sim.ago(HOUR);
    bed.sim.add_container(ContainerSpec::new(&pod, "app").exited(made, bed.sim.ago(20 * MINUTE))).unwrap();
    bed.run(async |crew| {
        let state = async |s: &cri_gc_config::Settings| {
            observe::pods(&crew.tools, s).await.unwrap().verdict.pods.pods[0].state
        };
        assert_eq!(state(&bed.settings).await, PodState::Deleted);
        let mut settings = bed.settings.clone();
        settings.pods.runtime_grace = 24 * HOUR;
        let settings = Arc::new(settings);
        crew.tools.pods.follower().do_send(Reconfigure(Generation::only(Arc::clone(&settings))));
        assert_eq!(state(&settings).await, PodState::Unknown, "grace is 24h now");
    });
}

fn a_step_of_the_clock_makes_no_image_old() {
    let mut bed = Bed::new();
    bed.settings.image_gc.max_age = 24 * 30 * HOUR;
    bed.settings.image_gc.high_threshold_percent = 100;
    let image = bed.image("precious:1", 10);
    bed.run(async |crew| {
        let step = Arc::new(AtomicI64::new(0));
        let (wall, boot) = (bed.sim.clock(), bed.sim.clock());
        let s = Arc::clone(&step);
        let clock = Clock::with_boot(
            move || wall() + jiff::SignedDuration::from_secs(s.load(SeqCst)),
            move || boot().duration_since(jiff::Timestamp::UNIX_EPOCH),
        );
        let tools = Tools { clock, ..crew.tools.clone() };
        let gc =
            Collector::start(&Arbiter::current(), tools, Arc::new(bed.settings.clone()), ImageGc::default);
        let first = run(&gc).await;
        assert!(removed(&first).is_empty(), "{first:?}");
        bed.sim.advance(MINUTE * 5);
        // NTP sets the clock of a node without RTC.
        step.store(365 * 86_400, SeqCst);
        let second = run(&gc).await;
        assert!(!removed(&second).contains(&image), "removed 5 minutes after it was first seen: {second:?}");
    });
}

fn images_that_pods_name_are_kept_while_the_kubelet_root_hangs() {
    let mut bed = Bed::new();
    bed.settings.image_gc.max_age = SECOND;
    bed.settings.image_gc.min_age = Duration::ZERO;
    bed.settings.image_gc.high_threshold_percent = 100;
    bed.settings.pods.source = PodSource::File;
    let file = bed.sim.paths().root.join("pods.json");
    bed.settings.pods.file = Some(file.clone());
    bed.living_pod(1);
    bed.image("named:1", 10);
    let list = format!(
        r#"{{"kind":"PodList","items":[{{"metadata":{{"uid":"{}"}},"spec":{{"containers":[{{"image":"named:1"}}]}},"status":{{"phase":"Running"}}}}]}}"#,
        uid(1)
    );
    std::fs::write(&file, list).unwrap();
    let mtime = std::time::SystemTime::from(bed.sim.now());
    std::fs::File::options().write(true).open(&file).unwrap().set_modified(mtime).unwrap();
    bed.run(async |crew| {
        let settings = Arc::new(bed.settings.clone());
        let files = Workers::start(1).unwrap();
        let configure = Configure { settings: Arc::clone(&settings), confirmed: false, service: false };
        let pods = PodStates::start(
            &Arbiter::current(),
            crew.tools.gateway.clone(),
            files.clone(),
            crew.tools.clock.clone(),
            configure,
            silent(),
        );
        pods.resync().await.unwrap();
        pods.resync().await.unwrap();
        let tools = Tools { pods, ..crew.tools.clone() };
        let gc = Collector::start(&Arbiter::current(), tools, settings, ImageGc::default);
        run(&gc).await;
        bed.sim.advance(MINUTE);
        let good = run(&gc).await;
        assert!(removed(&good).is_empty(), "named, so in use: {good:?}");
        // The mount below kubelet_root hangs.
        let (release, released) = std::sync::mpsc::channel::<()>();
        actix::spawn(async move { files.run(move || released.recv().is_ok()).await });
        tokio::task::yield_now().await;
        bed.sim.advance(MINUTE);
        let bad = run(&gc).await;
        drop(release);
        assert!(removed(&bad).is_empty(), "still named: {bad:?}");
    });
}

fn one_object_that_answers_unavailable_does_not_delay_the_others() {
    let mut bed = Bed::new();
    bed.settings.container_gc.max_per_pod_container = 0;
    bed.settings.container_gc.parallel_removals = 1;
    let pod = bed.living_pod(1);
    let ids: Vec<String> = (0..5).map(|n| bed.ended(&pod, "app", n)).collect();
    bed.sim.fault(
        Method::RemoveContainer,
        Fault::error(Code::Unavailable, "shim is gone: unavailable"),
        Scope::ForId(ids[0].clone()),
    );
    bed.run(async |crew| {
        let mut gone = 0;
        for _ in 0..5 {
            gone += removed(&crew.containers().await).len();
        }
        assert_eq!(gone, 4, "all but the broken one");
    });
}

fn cancelled_as_an_answer_is_no_return_of_the_runtime() {
    let bed = Bed::new();
    bed.run(async |crew| {
        let waits = Waits {
            clock: crew.tools.clock.clone(),
            recorder: Recorder::none(crew.tools.clock.clone()),
            endpoint: "x".into(),
        };
        let gateway =
            Gateway::start(&Arbiter::current(), &bed.settings, Connect::Socket, Some(waits), silent());
        gateway.version().await.unwrap();
        let before = gateway.returns();
        bed.sim.fault(Method::ImageFsInfo, Fault::error(Code::Cancelled, "context canceled"), Scope::Always);
        for _ in 0..3 {
            let _ = gateway.image_fs_info().await;
            let _ = gateway.version().await;
        }
        assert_eq!(gateway.returns(), before, "it was never unreachable");
    });
}

fn a_removal_that_waited_in_the_gateway_is_not_sent_on_an_old_check() {
    let mut bed = Bed::new();
    bed.settings.container_gc.max_per_pod_container = 0;
    bed.settings.container_gc.parallel_removals = 1;
    bed.settings.container_gc.deadline = SECOND;
    bed.settings.runtime.request_timeout = 3 * SECOND;
    let pod = bed.living_pod(1);
    let made = bed.sim.ago(10 * MINUTE);
    let spec = ContainerSpec::new(&pod, "app").state(ContainerState::Created).created_at(made).no_log();
    let id = bed.sim.add_container(spec).unwrap();
    bed.sim.fault(Method::RemoveContainer, Fault::Hang, Scope::Times(1));
    bed.run(async |crew| {
        for _ in 0..2 {
            assert!(!crew.containers().await.is_good(), "it is cut short by its deadline");
        }
        // Both passes are over. The container is started.
        bed.sim.with(|node| node.start_container(&id)).unwrap();
        tokio::time::sleep(3 * SECOND).await;
        let state = bed.sim.with(|node| node.container(&id).map(|c| c.spec.state));
        assert_eq!(state, Some(ContainerState::Running), "a running container was removed");
    });
}

fn an_unreachable_image_service_is_no_return_of_the_runtime() {
    let mut bed = Bed::new();
    bed.settings.runtime.image_endpoint = Some("unix:///nonexistent/images.sock".parse().unwrap());
    bed.run(async |crew| {
        let waits = Waits {
            clock: crew.tools.clock.clone(),
            recorder: Recorder::none(crew.tools.clock.clone()),
            endpoint: "x".into(),
        };
        let gateway =
            Gateway::start(&Arbiter::current(), &bed.settings, Connect::Socket, Some(waits), silent());
        gateway.version().await.unwrap();
        let before = gateway.returns();
        for _ in 0..3 {
            let _ = gateway.image_fs_info().await;
            let _ = gateway.version().await;
        }
        assert_eq!(gateway.returns(), before, "the runtime was never unreachable");
    });
}

fn an_image_pass_in_report_mode_does_not_fail_for_that() {
    let mut bed = Bed::with(cri_gc_sim::Options { capacity_bytes: 100_000 << 20, ..Default::default() });
    bed.settings.image_gc.min_age = Duration::ZERO;
    bed.settings.image_gc.parallel_removals = 1;
    for n in 0..40 {
        bed.image(&format!("app:{n}"), 1000);
    }
    bed.sim.with(|node| node.fill_to_percent(90));
    bed.run(async |crew| {
        let mut settings = bed.settings.clone();
        settings.image_gc.mode = Mode::Report;
        let (gc, settings) = (crew.image_gc.clone(), Arc::new(settings));
        bed.sim.before_next(Method::RemoveImage, move |_, _| {
            gc.do_send(Reconfigure(Generation::only(settings)));
        });
        let report = crew.images().await;
        assert!(report.is_good(), "{:?}", errors(&report));
    });
}

fn readings_that_piled_up_are_not_two_syncs() {
    let mut bed = Bed::new();
    bed.settings.pods.source = PodSource::File;
    bed.settings.runtime.request_timeout = 60 * SECOND;
    let file = bed.sim.paths().root.join("pods.json");
    bed.settings.pods.file = Some(file.clone());
    bed.living_pod(1);
    let pod = bed.dead_pod(2);
    bed.ended(&pod, "app", 0);
    std::fs::write(&file, format!(r#"[{{"uid":"{}","state":"active"}}]"#, uid(1))).unwrap();
    let mtime = std::time::SystemTime::from(bed.sim.now());
    std::fs::File::options().write(true).open(&file).unwrap().set_modified(mtime).unwrap();
    bed.run(async |crew| {
        bed.sim.fault(Method::ListPodSandbox, Fault::Hang, Scope::Always);
        let settings = Arc::new(bed.settings.clone());
        let files = Workers::start(1).unwrap();
        let configure = Configure { settings: Arc::clone(&settings), confirmed: false, service: true };
        let pods = PodStates::start(
            &Arbiter::current(),
            crew.tools.gateway.clone(),
            files,
            crew.tools.clock.clone(),
            configure,
            silent(),
        );
        tokio::time::sleep(12 * SECOND).await;
        let tools = Tools { pods, ..crew.tools.clone() };
        let began = std::time::Instant::now();
        bed.sim.clear_faults();
        let mut deleted = false;
        while began.elapsed() < 2 * SECOND {
            let verdict = observe::pods(&tools, &settings).await.unwrap().verdict;
            deleted = verdict.pods.pods.iter().any(|p| p.uid == uid(2) && p.state == PodState::Deleted);
            if deleted {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(!deleted, "confirmed deleted {:?} after the first reading went through", began.elapsed());
    });
}

fn a_pause_applies_to_what_waits_in_the_gateway() {
    let mut bed = Bed::new();
    bed.settings.container_gc.max_per_pod_container = 0;
    bed.settings.container_gc.parallel_removals = 8;
    let pod = bed.living_pod(1);
    for n in 0..8 {
        bed.ended(&pod, "app", n);
    }
    bed.sim.fault(Method::RemoveContainer, Fault::Delay(Duration::from_millis(500)), Scope::Always);
    bed.run(async |crew| {
        // A reload that lowers parallel_removals comes while the pass observes.
        let (gc, gateway) = (crew.container_gc.clone(), crew.tools.gateway.follower());
        let mut settings = bed.settings.clone();
        settings.container_gc.parallel_removals = 1;
        let fewer = Reconfigure(Generation::only(Arc::new(settings)));
        bed.sim.before_next(Method::ContainerStatus, move |_, _| gateway.do_send(fewer));
        // The pause is in force before the removal is answered, however busy the machine is.
        let since = bed.sim.now();
        bed.sim.before_next(Method::RemoveContainer, move |_, _| {
            let mut pause =
                Box::pin(gc.send(Pause { paused: Some(Paused { since, until: None }), by: None }));
            while pause.as_mut().now_or_never().is_none() {
                std::thread::yield_now();
            }
        });
        let report = crew.containers().await;
        assert!(removed(&report).len() <= 1, "{}", removed(&report).len());
    });
}

#[test]
fn stop_does_not_wait_for_a_thread_that_hangs() {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        actix::System::new().block_on(async {
            let threads = cri_gc_kit::supervision::threads::Threads::own();
            let thread = threads.start();
            thread.handle.spawn_fn(std::thread::park);
            tokio::time::sleep(Duration::from_millis(200)).await;
            threads.stop();
            let _ = sender.send(());
        });
    });
    assert!(receiver.recv_timeout(10 * SECOND).is_ok(), "stop() joins a thread that hangs");
}

fn a_log_is_kept_with_its_container_once_the_loop_may_only_report() {
    let bed = Bed::new();
    let pod = bed.dead_pod(1);
    let id = bed.ended(&pod, "app", 0);
    let log = bed.sim.with(|node| node.container(&id).map(|container| container.log_path.clone())).unwrap();
    assert!(std::path::Path::new(&log).exists());
    bed.run(async |crew| {
        let mut settings = bed.settings.clone();
        settings.container_gc.mode = Mode::Report;
        let (gc, stricter) = (crew.container_gc.clone(), Generation::only(Arc::new(settings)));
        // At the status right before the removal: the second one, for the first reports when its pod ended.
        let mut asked = 0;
        bed.sim.before(Method::ContainerStatus, move |_, _| {
            asked += 1;
            if asked == 2 {
                gc.do_send(Reconfigure(Arc::clone(&stricter)));
            }
        });
        let report = crew.containers().await;
        assert!(removed(&report).is_empty(), "{report:?}");
    });
    assert_eq!(bed.sim.count(Method::ContainerStatus), 2);
    assert_eq!(bed.sim.container_ids(), [id]);
    assert!(std::path::Path::new(&log).exists(), "its log was removed without it");
}
