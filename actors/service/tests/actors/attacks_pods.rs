//! What an attack on the pod sources found, each once.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};
use std::time::Duration;

use actix::Arbiter;
use cri_gc_collectors::collector::Collector;
use cri_gc_collectors::collector::messages::RunPass;
use cri_gc_collectors::container_gc::ContainerGc;
use cri_gc_collectors::tools::Tools;
use cri_gc_config::PodSource;
use cri_gc_kit::seams::Clock;
use cri_gc_kit::workers::Workers;
use cri_gc_pods::{Configure, PodStates};
use cri_gc_policy::PodState::{Deleted, Evicted, Unknown};
use cri_gc_sim::{ContainerSpec, Method, PodSpec};
use cri_gc_test_support::kubernetes::{FakeApi, FakeKubelet, Fault, On, PodObject};
use cri_gc_test_support::on_each_flavour;

use super::bed::{BOOT, Bed, Crew, HOUR, MINUTE, SECOND, removed, silent, uid};
use super::kubernetes::kube_api::by_api;
use super::kubernetes::{NODE, evidence, kubelet_directories, pod, read_twice, state, verdict};

on_each_flavour!(
    an_unreachable_api_server_remains_unreachable_in_the_status,
    one_pod_whose_get_fails_does_not_delay_the_others,
    one_pod_that_the_api_server_cannot_decode_does_not_delay_the_others,
    an_answer_about_a_pod_of_another_namespace_confirms_nothing,
    a_pod_that_has_the_hash_of_another_does_not_decide_about_it,
    a_directory_that_the_kubelet_made_during_the_question_keeps_its_pod,
    observations_that_wait_for_one_answer_send_one_request,
    a_get_that_is_forbidden_is_reported,
    a_list_whose_pages_never_end_is_given_up,
    no_token_travels_to_another_machine_in_the_clear,
    a_kubelet_that_starts_again_is_a_kubelet_that_has_just_started,
    a_clock_that_is_set_during_a_pass_makes_no_container_old,
    a_program_that_hangs_for_a_token_does_not_delay_the_next_source,
    a_provider_that_panicked_still_knows_that_the_clock_was_set,
    a_reload_does_not_send_the_events_of_the_past_again,
    a_pod_that_is_deleted_while_the_service_follows_is_removed_in_the_end,
    a_watch_that_always_ends_or_fails_is_not_begun_without_a_pause,
    there_is_one_follower_whatever_happens,
    an_api_server_that_returned_with_less_is_listed_again,
);

/// A provider of its own, on a thread of its own.
fn provider(bed: &Bed, crew: &Crew, service: bool, clock: Clock) -> (PodStates, Arbiter) {
    let settings = Arc::new(bed.settings.clone());
    let configure = Configure { settings, confirmed: false, service };
    let (files, arbiter) = (Workers::start(1).unwrap(), Arbiter::new());
    let pods =
        PodStates::start(&arbiter.handle(), crew.tools.gateway.clone(), files, clock, configure, silent());
    (pods, arbiter)
}

fn an_unreachable_api_server_remains_unreachable_in_the_status() {
    let api = FakeApi::start(NODE);
    let bed = by_api(&api);
    bed.living_pod(1);
    api.stop_listening();
    bed.run(async |crew| {
        let (pods, arbiter) = provider(&bed, crew, true, crew.tools.clock.clone());
        let began = std::time::Instant::now();
        let (mut reported, mut lied) = (false, Vec::new());
        while began.elapsed() < 13 * SECOND {
            let source = pods.source().await.unwrap();
            reported |= source.problem.is_some();
            if reported && source.problem.is_none() {
                lied.push(began.elapsed());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        arbiter.stop();
        assert!(reported, "no problem said that the API server is unreachable");
        assert!(
            lied.is_empty(),
            "no problem was reported at {lied:?}, and the API server was unreachable all the time"
        );
    });
}

fn one_pod_whose_get_fails_does_not_delay_the_others() {
    let api = FakeApi::start(NODE);
    let bed = by_api(&api);
    api.apply(pod(1));
    bed.living_pod(1);
    // From a `crictl runp`: no name of Kubernetes.
    let made = bed.sim.ago(2 * HOUR);
    bed.sim.add_pod(PodSpec::new("ns", "My_Test", uid(2)).created_at(made).not_ready()).unwrap();
    for number in 3..=6 {
        bed.dead_pod(number);
    }
    bed.settings_brake_off(async |bed, crew| {
        read_twice(bed, crew).await.unwrap();
        for _ in 0..3 {
            verdict(bed, crew).await;
        }
        assert_eq!(state(bed, crew, 2).await, Unknown);
        for number in 3..=6 {
            let found = state(bed, crew, number).await;
            assert_eq!(found, Deleted, "pod {number}: {}", evidence(crew, number).await);
        }
    });
}

fn one_pod_that_the_api_server_cannot_decode_does_not_delay_the_others() {
    // The object whose request arrives first is broken, which is that one in all later checks: the others are confirmed by then.
    let api = FakeApi::start(NODE);
    let bed = by_api(&api);
    api.apply(pod(1));
    bed.living_pod(1);
    for number in 2..=4 {
        bed.dead_pod(number);
    }
    bed.run(async |crew| {
        read_twice(&bed, crew).await.unwrap();
        for _ in 0..4 {
            api.fail_next(On::Get, Fault::Status(500));
            verdict(&bed, crew).await;
        }
        let mut deleted = 0;
        for number in 2..=4 {
            deleted += usize::from(state_of_facts(crew, number).await == Deleted);
        }
        assert_eq!(deleted, 2, "{}", evidence(crew, 4).await);
    });
}

async fn state_of_facts(crew: &Crew, number: usize) -> cri_gc_policy::PodState {
    let facts = crew.tools.pods.source().await.unwrap().pods;
    facts.into_iter().find(|pod| pod.uid == uid(number)).unwrap().state
}

trait BrakeOff {
    fn settings_brake_off(self, test: impl AsyncFnOnce(&Bed, &Crew));
}

impl BrakeOff for Bed {
    fn settings_brake_off(mut self, test: impl AsyncFnOnce(&Bed, &Crew)) {
        self.settings.pods.max_newly_deleted_percent = 100;
        self.run(async |crew| test(&self, crew).await);
    }
}

fn an_answer_about_a_pod_of_another_namespace_confirms_nothing() {
    let api = FakeApi::start(NODE);
    let bed = by_api(&api);
    api.apply(pod(1));
    bed.living_pod(1);
    bed.dead_pod(2);
    bed.run(async |crew| {
        read_twice(&bed, crew).await.unwrap();
        // A cache on the way that uses only the last part of the path: every namespace has its web-0.
        let other = PodObject::new("other", "pod-2", &uid(22)).to_json().to_string();
        api.fail_next(On::Get, Fault::Garbage(other));
        assert_eq!(state(&bed, crew, 2).await, Unknown, "{}", evidence(crew, 2).await);
    });
}

fn a_pod_that_has_the_hash_of_another_does_not_decide_about_it() {
    let api = FakeApi::start(NODE);
    let bed = by_api(&api);
    api.apply(pod(1));
    bed.living_pod(1);
    // A static pod between two starts, whose mirror the API server refuses; the kubelet has its directory.
    bed.dead_pod(2);
    kubelet_directories(&bed, &[2]);
    // Anybody may write an annotation, and fill his emptyDir until he is evicted.
    let evil = PodObject::new("evil", "evil", &uid(9)).phase("Failed").reason("Evicted");
    api.apply(evil.annotation("kubernetes.io/config.hash", &uid(2)));
    bed.run(async |crew| {
        read_twice(&bed, crew).await.unwrap();
        assert_ne!(state(&bed, crew, 2).await, Evicted, "{}", evidence(crew, 2).await);
    });
}

fn a_directory_that_the_kubelet_made_during_the_question_keeps_its_pod() {
    let api = FakeApi::start(NODE);
    let bed = by_api(&api);
    api.apply(pod(1));
    bed.living_pod(1);
    bed.dead_pod(2);
    bed.run(async |crew| {
        read_twice(&bed, crew).await.unwrap();
        api.fail_next(On::Get, Fault::Stall);
        let before = api.count(On::Get);
        let judging = verdict(&bed, crew);
        let meanwhile = async {
            while api.count(On::Get) == before {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            kubelet_directories(&bed, &[2]);
            api.release_stalled();
        };
        let (judged, ()) = futures_util::join!(judging, meanwhile);
        let found = judged.pods.pods.iter().find(|pod| pod.uid == uid(2)).map_or(Unknown, |pod| pod.state);
        assert_eq!(found, Unknown, "{}", evidence(crew, 2).await);
    });
}

fn observations_that_wait_for_one_answer_send_one_request() {
    let api = FakeApi::start(NODE);
    let bed = by_api(&api);
    api.apply(pod(1));
    bed.living_pod(1);
    bed.dead_pod(2);
    bed.run(async |crew| {
        read_twice(&bed, crew).await.unwrap();
        api.fail(On::Get, Some(Fault::Delay(20 * SECOND)));
        // As `cri-gc status` checks: within two seconds, or not at all. A monitoring system does so all the time.
        for _ in 0..20 {
            let _ = tokio::time::timeout(Duration::from_millis(200), verdict(&bed, crew)).await;
        }
        assert!(api.count(On::Get) <= 4, "{} questions for one pod in progress at once", api.count(On::Get));
    });
}

fn a_get_that_is_forbidden_is_reported() {
    let api = FakeApi::start(NODE);
    let bed = by_api(&api);
    api.apply(pod(1));
    bed.living_pod(1);
    bed.dead_pod(2);
    bed.run(async |crew| {
        read_twice(&bed, crew).await.unwrap();
        api.fail(On::Get, Some(Fault::Status(403)));
        let judged = verdict(&bed, crew).await;
        let source = crew.tools.pods.source().await.unwrap();
        assert!(
            !judged.notes.is_empty() || source.problem.is_some(),
            "every question is refused, and neither notes nor status say why nothing is ever deleted: {source:?}"
        );
    });
}

fn a_list_whose_pages_never_end_is_given_up() {
    let api = FakeApi::start(NODE);
    let bed = by_api(&api);
    bed.living_pod(1);
    let page = r#"{"kind":"PodList","metadata":{"resourceVersion":"7","continue":"again"},"items":[]}"#;
    api.fail(On::List, Some(Fault::Garbage(page.to_owned())));
    bed.run(async |crew| {
        let (pods, arbiter) = provider(&bed, crew, false, crew.tools.clock.clone());
        let listed = tokio::time::timeout(3 * SECOND, pods.resync()).await;
        arbiter.stop();
        let pages = api.count(On::List);
        assert!(listed.is_ok() && pages < 100, "{pages} pages in 3 s, and no end");
    });
}

fn no_token_travels_to_another_machine_in_the_clear() {
    let api = FakeApi::start(NODE);
    api.set_token(Some("secret"));
    let bed = by_api(&api);
    // What remains on this machine is no secret there (kubectl proxy); every other address is refused before a connection.
    let kubeconfig = bed.settings.pods.kube_api.kubeconfig.clone().unwrap();
    let text = std::fs::read_to_string(&kubeconfig).unwrap();
    std::fs::write(&kubeconfig, text.replace("127.0.0.1", "192.0.2.1")).unwrap();
    bed.run(async |crew| {
        let refused = crew.tools.pods.resync().await.unwrap_err().to_string();
        assert!(refused.contains("in the clear"), "{refused}");
    });
}

fn a_kubelet_that_starts_again_is_a_kubelet_that_has_just_started() {
    let kubelet = FakeKubelet::start(NODE);
    let mut bed = Bed::new();
    bed.settings.pods.source = PodSource::Kubelet;
    bed.settings.pods.kubelet.url = kubelet.url() + "/pods";
    kubelet_directories(&bed, &[1]);
    bed.living_pod(1);
    bed.dead_pod(2);
    bed.run(async |crew| {
        kubelet.set_pods(vec![pod(1).from_file()]);
        crew.tools.pods.resync().await.unwrap_err();
        // It reports that once, panics, and does not answer for a while.
        kubelet.stop_listening();
        for _ in 0..6 {
            bed.sim.advance(2 * MINUTE);
            crew.tools.pods.resync().await.unwrap_err();
        }
        // Now it starts.
        kubelet.listen_again();
        let first = crew.tools.pods.resync().await;
        assert!(first.is_err(), "the first list of a kubelet that has just started was believed");
    });
}

fn a_clock_that_is_set_during_a_pass_makes_no_container_old() {
    let mut bed = Bed::new();
    bed.settings.container_gc.max_per_pod_container = 0;
    let sandbox = bed.living_pod(1);
    let (made, ended) = (bed.sim.ago(HOUR), bed.sim.ago(2 * SECOND));
    let fresh = bed.sim.add_container(ContainerSpec::new(&sandbox, "app").exited(made, ended)).unwrap();
    bed.run(async |crew| {
        let step = Arc::new(AtomicI64::new(0));
        let (wall, boot, by) = (bed.sim.clock(), bed.sim.clock(), Arc::clone(&step));
        let clock = Clock::with_boot(
            move || wall() + jiff::SignedDuration::from_secs(by.load(SeqCst)),
            move || boot().duration_since(jiff::Timestamp::UNIX_EPOCH),
        );
        let (pods, arbiter) = provider(&bed, crew, true, clock.clone());
        let tools = Tools { clock, pods, ..crew.tools.clone() };
        let settings = Arc::new(bed.settings.clone());
        let gc = Collector::start(&Arbiter::current(), tools, settings, ContainerGc::default);
        // NTP sets the clock right during the re-check; lists have no finish times, so only the re-check sees them.
        bed.sim.before_next(Method::ContainerStatus, move |_, _| step.store(3_600, SeqCst));
        let report = gc.send(RunPass::default()).await.unwrap().unwrap();
        arbiter.stop();
        assert!(
            !removed(&report).contains(&fresh),
            "removed 2 s after it ended, with min_dead_age 1m: {report:?}"
        );
    });
}

fn a_program_that_hangs_for_a_token_does_not_delay_the_next_source() {
    let api = FakeApi::start(NODE);
    let mut bed = by_api(&api);
    let root = bed.sim.paths().root.clone();
    let kubeconfig = root.join("exec-kubeconfig");
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters:\n- name: c\n  cluster: {{server: \"{}\"}}\n\
         contexts:\n- name: c\n  context: {{cluster: c, user: u}}\nusers:\n- name: u\n  user:\n    exec:\n      \
         apiVersion: client.authentication.k8s.io/v1\n      interactiveMode: Never\n      command: sleep\n      args: [\"50\"]\n",
        api.url()
    );
    std::fs::write(&kubeconfig, text).unwrap();
    bed.settings.pods.kube_api.kubeconfig = Some(kubeconfig);
    bed.living_pod(1);
    let file = root.join("pods.json");
    std::fs::write(&file, format!(r#"[{{"uid":"{}","state":"active"}}]"#, uid(1))).unwrap();
    let mtime = std::time::SystemTime::from(bed.sim.now());
    std::fs::File::options().write(true).open(&file).unwrap().set_modified(mtime).unwrap();
    bed.run(async |crew| {
        let (pods, arbiter) = provider(&bed, crew, true, crew.tools.clock.clone());
        tokio::time::sleep(SECOND).await;
        // The operator sees that it hangs, and sets another source.
        let mut settings = bed.settings.clone();
        settings.pods.source = PodSource::File;
        settings.pods.file = Some(file);
        let generation = cri_gc_kit::generation::Generation::only(Arc::new(settings));
        pods.follower().do_send(cri_gc_kit::generation::Reconfigure(generation));
        let began = std::time::Instant::now();
        let mut source = pods.source().await.unwrap();
        while source.synced_at.is_none() && began.elapsed() < 35 * SECOND {
            tokio::time::sleep(Duration::from_millis(200)).await;
            source = pods.source().await.unwrap();
        }
        arbiter.stop();
        assert!(source.synced_at.is_some(), "a local file was not read once in 35 s: {source:?}");
    });
}

fn a_provider_that_panicked_still_knows_that_the_clock_was_set() {
    use std::sync::atomic::AtomicBool;
    let bed = Bed::new();
    bed.living_pod(1);
    bed.run(async |crew| {
        let (step, panics) = (Arc::new(AtomicI64::new(0)), Arc::new(AtomicBool::new(false)));
        let (wall, boot) = (bed.sim.clock(), bed.sim.clock());
        let (by, panic_now) = (Arc::clone(&step), Arc::clone(&panics));
        let clock = Clock::with_boot(
            move || {
                assert!(!panic_now.swap(false, SeqCst), "the provider panics, as the test ordered");
                wall() + jiff::SignedDuration::from_secs(by.load(SeqCst))
            },
            move || boot().duration_since(jiff::Timestamp::UNIX_EPOCH),
        );
        let (pods, arbiter) = provider(&bed, crew, true, clock);
        let tools = Tools { pods: pods.clone(), ..crew.tools.clone() };
        let observe = async || cri_gc_collectors::observe::pods(&tools, &bed.settings).await.unwrap().verdict;
        assert_eq!(observe().await.clock_set, None);
        step.store(3_600, SeqCst);
        assert!(observe().await.clock_set.is_some());
        panics.store(true, SeqCst);
        let _ = pods.resync().await;
        tokio::time::sleep(3 * SECOND).await;
        assert!(!panics.load(SeqCst), "it did not panic");
        let judged = observe().await;
        arbiter.stop();
        assert!(judged.clock_set.is_some(), "all ages count from before the clock was set again: {judged:?}");
    });
}

fn a_reload_does_not_send_the_events_of_the_past_again() {
    use cri_gc_kit::recorder::{Event, EventKind, Recorder};
    use cri_gc_kit::supervision::guard::{Pace, log_restart};
    use cri_gc_service::node_events::{Means, start};
    let api = FakeApi::start(NODE);
    let bed = by_api(&api);
    bed.run(async |crew| {
        let pace = || Pace::from(&bed.settings);
        let on = Arbiter::new();
        let clock = crew.tools.clock.clone();
        let recorder = Recorder::start(
            &on.handle(),
            (pace(), log_restart(silent(), "recorder", None)),
            None,
            clock.clone(),
        );
        for n in 0..20 {
            recorder.record(Event::new(EventKind::ReloadRefused, None, format!("old {n}")));
            bed.sim.advance(SECOND);
        }
        let means = Means { recorder: recorder.clone(), clock, log: silent() };
        let log_panic = log_restart(silent(), "node events", None);
        let follower = start(&on.handle(), (pace(), log_panic), Arc::new(bed.settings.clone()), means);
        let sent = async |at_least: usize| {
            let began = std::time::Instant::now();
            while api.count(On::Events) < at_least && began.elapsed() < 5 * SECOND {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            api.count(On::Events)
        };
        assert_eq!(sent(20).await, 20);
        let mut settings = bed.settings.clone();
        let other = bed.sim.paths().root.join("other-kubeconfig");
        std::fs::copy(bed.settings.pods.kube_api.kubeconfig.as_ref().unwrap(), &other).unwrap();
        settings.pods.kube_api.kubeconfig = Some(other);
        let generation = cri_gc_kit::generation::Generation::only(Arc::new(settings));
        follower.do_send(cri_gc_kit::generation::Reconfigure(generation));
        let sent = sent(22).await;
        on.stop();
        // The answer to the last may not have arrived before the reload: that one is sent again.
        assert!(
            (20..=21).contains(&sent),
            "{sent}: they were sent again, past the limit of 25 and one every five minutes"
        );
    });
}

// ---- The service, which follows ----

async fn until(mut is_so: impl AsyncFnMut() -> bool, within: Duration) -> bool {
    let began = std::time::Instant::now();
    while began.elapsed() < within {
        if is_so().await {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    is_so().await
}

fn a_pod_that_is_deleted_while_the_service_follows_is_removed_in_the_end() {
    let api = FakeApi::start(NODE);
    let bed = by_api(&api);
    api.apply(pod(1));
    api.apply(pod(2));
    bed.living_pod(1);
    bed.dead_pod(2);
    bed.run(async |crew| {
        let (pods, arbiter) = provider(&bed, crew, true, crew.tools.clock.clone());
        let tools = Tools { pods: pods.clone(), ..crew.tools.clone() };
        assert!(until(async || pods.source().await.unwrap().synced, 10 * SECOND).await);
        api.delete("ns", "pod-2");
        let deleted = until(
            async || {
                bed.sim.advance(SECOND);
                let verdict = cri_gc_collectors::observe::pods(&tools, &bed.settings).await.unwrap().verdict;
                verdict.pods.pods.iter().any(|pod| pod.uid == uid(2) && pod.state == Deleted)
            },
            20 * SECOND,
        );
        let deleted = deleted.await;
        let facts = pods.source().await.map(|source| source.pods);
        arbiter.stop();
        assert!(deleted, "{facts:?}");
        assert!(api.count(On::List) <= 3, "{} lists", api.count(On::List));
    });
}

fn a_watch_that_always_ends_or_fails_is_not_begun_without_a_pause() {
    for fault in [
        Fault::Garbage(String::new()),
        Fault::Status(410),
        Fault::Status(500),
        Fault::Garbage("{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"status\":\"Failure\",\"message\":\"no\",\"reason\":\"InternalError\",\"code\":500}}\n".to_owned()),
        Fault::Garbage("{\"type\":\"ADDED\",\"object\":{\"kind\":\"Pod\",\"metadata\":{\"name\":\"x\"}}}\n".to_owned()),
        Fault::Garbage("{\"type\":\"ERROR\",\"object\":{}}\n".to_owned()),
    ] {
        let api = FakeApi::start(NODE);
        let bed = by_api(&api);
        api.apply(pod(1));
        bed.living_pod(1);
        api.fail(On::Watch, Some(fault.clone()));
        bed.run(async |crew| {
            let (pods, arbiter) = provider(&bed, crew, true, crew.tools.clock.clone());
            tokio::time::sleep(6 * SECOND).await;
            let source = pods.source().await.unwrap();
            arbiter.stop();
            let (lists, watches) = (api.count(On::List), api.count(On::Watch));
            println!("{fault:?}: {lists} lists, {watches} watches, {source:?}");
            assert!((1..=8).contains(&watches) && lists <= 8, "{fault:?}: {lists} lists, {watches} watches");
        });
    }
}

fn there_is_one_follower_whatever_happens() {
    use std::sync::atomic::AtomicBool;
    let api = FakeApi::start(NODE);
    let bed = by_api(&api);
    api.apply(pod(1));
    bed.living_pod(1);
    bed.run(async |crew| {
        let panics = Arc::new(AtomicBool::new(false));
        let (wall, panic_now) = (bed.sim.clock(), Arc::clone(&panics));
        let clock = Clock::new(move || {
            assert!(!panic_now.swap(false, SeqCst), "the provider panics, as the test ordered");
            wall()
        });
        let (pods, arbiter) = provider(&bed, crew, true, clock.of_boot(BOOT));
        let synced = async || pods.source().await.is_some_and(|source| source.synced);
        assert!(until(synced, 10 * SECOND).await);
        assert!(until(async || api.open_watches() == 1, 5 * SECOND).await);
        for source in [PodSource::Runtime, PodSource::KubeApi, PodSource::Runtime, PodSource::KubeApi] {
            let mut settings = bed.settings.clone();
            settings.pods.source = source;
            let generation = cri_gc_kit::generation::Generation::only(Arc::new(settings));
            pods.follower().do_send(cri_gc_kit::generation::Reconfigure(generation));
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        assert!(
            until(async || synced().await && api.open_watches() == 1, 15 * SECOND).await,
            "{}",
            api.open_watches()
        );
        panics.store(true, SeqCst);
        let _ = pods.source().await;
        assert!(
            until(async || !panics.load(SeqCst) && synced().await && api.open_watches() == 1, 20 * SECOND)
                .await,
            "{}",
            api.open_watches()
        );
        arbiter.stop();
    });
}

fn an_api_server_that_returned_with_less_is_listed_again() {
    let api = FakeApi::start(NODE);
    let bed = by_api(&api);
    for number in 1..=3 {
        api.apply(pod(number));
    }
    bed.living_pod(1);
    bed.dead_pod(2);
    bed.run(async |crew| {
        let (pods, arbiter) = provider(&bed, crew, true, crew.tools.clock.clone());
        assert!(until(async || pods.source().await.unwrap().synced, 10 * SECOND).await);
        assert!(until(async || api.open_watches() == 1, 5 * SECOND).await);
        api.wipe();
        api.apply(pod(1));
        // The new store continues below the version that is watched from; bookmarks are all that comes.
        assert!(until(async || api.open_watches() == 1, 5 * SECOND).await);
        let lists = api.count(On::List);
        for _ in 0..30 {
            api.bookmark();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let relisted = api.count(On::List) > lists;
        arbiter.stop();
        assert!(relisted, "bookmarks of a version below the last one kept a dead store fresh");
    });
}
