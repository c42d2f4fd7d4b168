//! `cri-gc run`, as an operator runs it: what it does by itself, and what it does when its runtime dies.

use std::time::Duration;

use cri_gc_proto::admin::admin_client::AdminClient;
use cri_gc_proto::admin::{StatusRequest, StatusResponse};
use cri_gc_sim::{Fault, Method, Scope};
use cri_gc_test_support::{ContainerSpec, flavours::options, on_each_flavour, until_async};
use rustix::process::Signal;
use serde_json::Value;
use tonic::transport::Endpoint;

use crate::node::{APP, Node, image};
use crate::program::{self, Running};

on_each_flavour!(
    #[tokio::test] async:
    systemd_is_notified_of_ready_alive_reloading_and_stopping,
    a_stop_waits_for_removals_in_progress_and_a_second_signal_does_not,
);

on_both!(
    the_service_collects_by_itself_and_shuts_down_on_a_signal,
    a_runtime_that_dies_is_logged_as_one_outage_and_nothing_wrong_is_removed,
    a_runtime_that_dies_in_the_middle_of_removals_is_one_loss_too,
    a_service_that_starts_before_its_runtime_waits_for_it,
);

const PATIENCE: Duration = Duration::from_secs(90);

/// Passes every second; images are removed for their age, so that the disk of the machine does not matter.
pub fn serve(node: &mut Node) -> Running {
    program::start(&service(node), None)
}

/// The arguments of such a service.
fn service(node: &mut Node) -> Vec<String> {
    for section in ["container_gc", "sandbox_gc", "log_gc", "image_gc"] {
        node.set(&format!("{section}.period"), "1s");
    }
    node.set("image_gc.mode", "enforce").set("image_gc.high_threshold_percent", 100);
    node.set("image_gc.low_threshold_percent", 100)
        .set("image_gc.min_age", "0s")
        .set("image_gc.max_age", "1h");
    node.set("log.format", "json");
    node.arguments(&["run"])
}

/// How the service says it is; waits for a status that suits.
pub async fn status(node: &Node, suits: impl Fn(&StatusResponse) -> bool) -> StatusResponse {
    let endpoint = Endpoint::try_from(format!("unix://{}", node.path("admin.sock").display())).unwrap();
    let ask = || async {
        let mut client = AdminClient::new(endpoint.connect().await.ok()?);
        let status = client.status(StatusRequest::default()).await.ok()?.into_inner();
        suits(&status).then_some(status)
    };
    until_async(PATIENCE, ask).await.expect("the service says so in time")
}

/// All four loops have made so many passes more than `before` says.
pub fn passed(before: &StatusResponse, more: u64) -> impl Fn(&StatusResponse) -> bool {
    move |now| now.loops.iter().zip(&before.loops).all(|(now, before)| now.passes >= before.passes + more)
}

/// All loops have made a pass, none fails, and the runtime is there.
pub fn well(status: &StatusResponse) -> bool {
    status.loops.len() == 4
        && status.loops.iter().all(|l| l.passes > 0 && l.failures == 0 && l.last_pass.is_some())
        && status.runtime.as_ref().is_some_and(|runtime| runtime.reachable)
}

/// Waits until the runtime knows that container no more.
pub async fn until_removed(node: &Node, container: &str) {
    let gone = || async {
        let known = node.cri.list_containers().await.ok()?;
        (!known.iter().any(|other| other.id == container)).then_some(())
    };
    until_async(PATIENCE, gone).await.unwrap_or_else(|| panic!("{container} is never collected"));
}

/// What it logged at WARNING or above, and how often each of it.
fn loud(log: &str) -> Vec<String> {
    let lines =
        log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap_or_else(|_| panic!("{line}")));
    let loud = lines.filter(|line| line["level"] == "warning" || line["level"] == "error");
    loud.map(|line| line["msg"].as_str().unwrap().to_owned()).collect()
}

fn count(log: &str, words: &str) -> usize {
    log.lines().filter(|line| line.contains(words)).count()
}

async fn the_service_collects_by_itself_and_shuts_down_on_a_signal(node: &mut Node) {
    let web = node.pod("web").await;
    node.running(&web, "main").await;
    let jobs = node.dead(&web, "job", 0..3).await;
    let old = node.ended_pod("old", &["a"]).await;
    let before = node.inventory().await;
    let running = serve(node);
    let first = status(node, well).await;
    until_removed(node, &jobs[1]).await;
    let logs = cri_gc_test_support::pod_log_dir(&node.runtime.pod_logs(), &old.spec);
    until_async(PATIENCE, || async { (!logs.exists()).then_some(()) })
        .await
        .expect("the logs of the pod are removed");
    let settled = status(node, passed(&first, 2)).await;
    let removed = before.removed_in(&node.inventory().await);
    let gone = [
        "container web/job#0",
        "container web/job#1",
        "log web/job/0.log",
        "log web/job/1.log",
        "container old/a#0",
        "sandbox old#0",
        "log old/*",
    ];
    assert_eq!(removed, before.meant(&gone));
    // Something new appears, and is removed as well.
    let late = node.dead(&web, "late", 0..2).await;
    until_removed(node, &late[0]).await;
    let last = status(node, passed(&settled, 2)).await;
    assert!(well(&last), "{last:#?}");
    let removed: u64 = last.loops.iter().map(|l| l.removed).sum();
    assert_eq!(removed, 6, "four containers, a sandbox, a log directory: {last:#?}");
    running.terminate();
    let ended = running.wait();
    assert_eq!((ended.code, ended.stdout.as_str()), (0, ""), "{ended:?}");
    assert_eq!(loud(&ended.stderr), Vec::<String>::new(), "nothing was wrong");
    assert_eq!(count(&ended.stderr, "\"stopped\""), 1, "{}", ended.stderr);
    assert!(!node.path("admin.sock").exists(), "it removes its socket");
}

async fn a_runtime_that_dies_is_logged_as_one_outage_and_nothing_wrong_is_removed(node: &mut Node) {
    let web = node.pod("web").await;
    node.running(&web, "main").await;
    let jobs = node.dead(&web, "job", 0..2).await;
    let running = serve(node);
    status(node, well).await;
    until_removed(node, &jobs[0]).await;
    let before = node.inventory().await;

    node.runtime.kill();
    // Long enough that every loop has failed again and again.
    let outage = status(node, |s| s.loops.len() == 4 && s.loops.iter().all(|l| l.failures >= 4)).await;
    let runtime = outage.runtime.unwrap();
    assert!(!runtime.reachable && !runtime.error.is_empty(), "{runtime:?}");
    node.runtime.restart();
    node.reconnect();
    let recovered = status(node, well).await;
    status(node, passed(&recovered, 3)).await;
    let removed = before.removed_in(&node.inventory().await);
    assert!(removed.is_empty(), "{removed:?}");

    let late = node.dead(&web, "late", 0..2).await;
    until_removed(node, &late[0]).await;
    running.terminate();
    let ended = running.wait();
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(count(&ended.stderr, "container runtime unreachable"), 1, "{}", ended.stderr);
    assert_eq!(count(&ended.stderr, "container runtime reachable again"), 1, "{}", ended.stderr);
    // While it starts, a containerd may answer some calls with errors of its own; the loss itself is one line.
    let loud = loud(&ended.stderr);
    assert!(loud.len() <= 9, "{loud:#?}");
}

async fn a_runtime_that_dies_in_the_middle_of_removals_is_one_loss_too(node: &mut Node) {
    let web = node.pod("web").await;
    node.running(&web, "main").await;
    let mut ids = Vec::new();
    for attempt in 0..40 {
        ids.push(node.created(&web, &ContainerSpec::sleeper("job", &image(APP)).attempt(attempt)).await);
    }
    node.set("container_gc.parallel_removals", 2);
    let before = node.inventory().await;
    node.runtime.order_death(20);
    let running = serve(node);
    node.runtime.await_death(20);
    status(node, |s| s.loops.len() == 4 && s.loops.iter().all(|l| l.failures >= 2)).await;
    node.runtime.restart();
    node.reconnect();
    status(node, well).await;
    until_removed(node, &ids[38]).await;
    let settled = status(node, well).await;
    status(node, passed(&settled, 2)).await;
    let removed = before.removed_in(&node.inventory().await);
    let jobs: Vec<String> = (0..39).map(|job| format!("container web/job#{job}")).collect();
    assert!(removed.iter().all(|name| jobs.contains(name)), "{removed:?}");
    assert_eq!(removed.len(), jobs.len(), "the newest is kept");
    running.terminate();
    let ended = running.wait();
    assert_eq!(count(&ended.stderr, "container runtime unreachable"), 1, "{}", ended.stderr);
    assert_eq!(count(&ended.stderr, "container runtime reachable again"), 1, "{}", ended.stderr);
    let loud = loud(&ended.stderr);
    assert!(loud.len() <= 9, "{loud:#?}");
}

async fn a_service_that_starts_before_its_runtime_waits_for_it(node: &mut Node) {
    let web = node.pod("web").await;
    node.running(&web, "main").await;
    let jobs = node.dead(&web, "job", 0..2).await;
    node.runtime.kill();
    let running = serve(node);
    status(node, |s| s.loops.len() == 4 && s.loops.iter().all(|l| l.failures >= 2)).await;
    node.runtime.restart();
    node.reconnect();
    until_removed(node, &jobs[0]).await;
    status(node, well).await;
    running.terminate();
    let ended = running.wait();
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(count(&ended.stderr, "container runtime unreachable"), 1, "{}", ended.stderr);
    assert_eq!(count(&ended.stderr, "container runtime reachable again"), 1, "{}", ended.stderr);
}

async fn systemd_is_notified_of_ready_alive_reloading_and_stopping() {
    let mut node = crate::embedded::node();
    let path = node.path("notify.sock");
    let socket = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let next = || {
        let mut buffer = [0; 4_096];
        let length = socket.recv(&mut buffer).expect("systemd gets a message");
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    let until = |word: &str| while !next().lines().any(|line| line == word) {};
    let environment = [("NOTIFY_SOCKET", path.display().to_string()), ("WATCHDOG_USEC", "400000".to_owned())];
    let running = program::start_in(&service(&mut node), None, &environment);
    until("READY=1");
    until("WATCHDOG=1");
    until("WATCHDOG=1");
    running.signal(Signal::HUP);
    let reloading = std::iter::repeat_with(next).find(|text| text.contains("RELOADING=1")).unwrap();
    assert!(reloading.contains("MONOTONIC_USEC="), "{reloading}");
    until("READY=1");
    running.terminate();
    until("STOPPING=1");
    assert_eq!(running.wait().code, 0);
}

async fn a_stop_waits_for_removals_in_progress_and_a_second_signal_does_not() {
    for second in [false, true] {
        let (mut node, sim) = crate::embedded::node_and_sim(options());
        let web = node.pod("web").await;
        node.running(&web, "main").await;
        let jobs = node.dead(&web, "job", 0..3).await;
        node.set("container_gc.parallel_removals", 1);
        sim.fault(Method::RemoveContainer, Fault::Hang, Scope::Always);
        let running = serve(&mut node);
        assert!(sim.wait_for_calls(Method::RemoveContainer, 1, PATIENCE));
        running.terminate();
        let said = || running.stderr().contains("stopping after the removals in progress").then_some(());
        cri_gc_test_support::until(PATIENCE, "it says that it is stopping", said);
        if second {
            running.terminate();
            let ended = running.wait();
            assert_eq!(ended.code, 0);
            assert!(ended.stderr.contains("by a second signal"), "{}", ended.stderr);
            sim.clear_faults();
        } else {
            sim.clear_faults();
            let ended = running.wait();
            assert_eq!(ended.code, 0);
            assert_eq!(count(&ended.stderr, "\"stopped\""), 1, "{}", ended.stderr);
            // The removal in progress was done, and the next one not begun.
            assert_eq!(sim.count(Method::RemoveContainer), 1);
            let left = sim.container_ids();
            assert!(!left.contains(&jobs[0]) && left.contains(&jobs[1]), "{left:?}");
        }
    }
}
