//! A node of a Kubernetes cluster: its pods, what the control plane knows of them, and what the sources that read it (`kubelet`
//! and `kube-api`) both have to do, whatever happens to the server that they read. Each case is written once, here; the two
//! modules of the sources run them for theirs, and test what only theirs can do.
//!
//! What is removed never reappears under its id, and an [`Inventory`] compares ids and contents. So what is there at the end of
//! a stage was there at every moment of it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use cri_gc_proto::admin::StatusResponse;
use cri_gc_test_support::kubernetes::{FakeServer, PodObject};
use cri_gc_test_support::{ContainerSpec, Pod, PodSpec, fresh_uid, until_async};
use serde_json::Value;

use crate::inventory::Inventory;
use crate::node::{APP, Node, image};
use crate::program::Ended;
use crate::running_service::{passed, serve, status, until_removed, well};
use crate::service_commands::{ask, json, succeeded};

/// What the cluster calls the node.
pub const NODE: &str = "node-1";

const PATIENCE: Duration = Duration::from_secs(120);

/// Passes that each loop makes before anything counts as staying.
const PASSES: u64 = 2;

/// Pods of this case that are deleted, and the containers of each: enough that a pass takes a while, few enough to be believed.
const GONE: usize = 4;
const JOBS: u32 = 14;

/// The server that a pod source reads, controlled by a test.
pub trait Source {
    /// The lines of a configuration that name it.
    fn settings(&self, folder: &Path) -> String;
    /// It knows these pods from now on, and no others. To be called while it is down.
    fn fill(&self, pods: &[PodObject]);
    /// How it reports a static pod that has this UID on its node.
    fn static_pod(&self, name: &str, uid: &str) -> PodObject;
    /// So many pods have to vanish at once for the brake to keep them.
    fn brake_from(&self) -> usize {
        5
    }
    /// What it listens with.
    fn server(&self) -> &FakeServer;

    /// It is unreachable for a moment, and then lists these pods.
    fn return_with(&self, pods: &[PodObject]) {
        self.server().stop_listening();
        self.fill(pods);
        self.server().listen_again();
    }
}

/// Has the node use a source that knows these pods. Living pods have a directory of the kubelet.
pub fn join(node: &mut Node, source: &dyn Source, pods: &[PodObject], living: &[&Pod]) {
    source.return_with(pods);
    fs::create_dir_all(node.path("kubelet/pods")).unwrap();
    living.iter().for_each(|pod| keep_directory(node, &pod.spec.uid));
    let settings = source.settings(&node.path(""));
    fs::write(node.path("cri-gc.toml"), format!("node_name = \"{NODE}\"\n{settings}")).unwrap();
}

/// Makes the directory that a kubelet has of a pod until all of it is removed.
fn keep_directory(node: &Node, uid: &str) {
    fs::create_dir_all(node.path("kubelet/pods").join(uid).join("volumes")).unwrap();
}

/// A pod as the control plane knows it.
pub fn known(pod: &Pod, phase: &str) -> PodObject {
    PodObject::new(&pod.spec.namespace, &pod.spec.name, &pod.spec.uid).phase(phase).image(&image(APP))
}

/// A pod that was evicted, as the control plane knows it.
pub fn known_evicted(pod: &Pod) -> PodObject {
    known(pod, "Failed").reason("Evicted")
}

/// Waits until the source is not synced, for a reason with these words in it.
pub async fn until_unsynced(node: &Node, words: &str) -> StatusResponse {
    let unsynced =
        |s: &StatusResponse| s.pods.as_ref().is_some_and(|p| !p.synced && p.problem.contains(words));
    status(node, unsynced).await
}

/// All loops make some more passes, of which none fails.
pub async fn passes(node: &Node) {
    let now = status(node, well).await;
    status(node, |s| well(s) && passed(&now, PASSES)(s)).await;
}

/// Waits until exactly this is removed, and nothing more.
pub async fn until_removed_exactly(node: &Node, before: &Inventory, gone: &[&str]) {
    let meant = before.meant(gone);
    // An inventory needs a node on which nothing is removed meanwhile; files of containers are removed before these.
    let objects: Vec<&String> = meant.iter().filter(|name| !name.starts_with("log ")).collect();
    let ids: Vec<&str> = objects.into_iter().map(|name| before.id(name)).collect();
    let folders = meant.iter().filter(|name| name.starts_with("log ") && name.ends_with('/'));
    let folders: Vec<_> = folders.map(|name| node.runtime.pod_logs().join(before.id(name))).collect();
    let all = || async {
        let left = present(node).await;
        let none = !ids.iter().any(|id| left.contains(*id)) && !folders.iter().any(|folder| folder.exists());
        none.then_some(())
    };
    // If not, what is left is reported below.
    let _ = until_async(PATIENCE, all).await;
    passes(node).await;
    assert_eq!(
        before.removed_in(&node.inventory().await),
        meant,
        "what is removed, and what was to be removed"
    );
}

/// Ids of all containers and sandboxes.
async fn present(node: &Node) -> BTreeSet<String> {
    let containers = node.cri.list_containers().await.unwrap().into_iter().map(|container| container.id);
    let sandboxes = node.cri.list_sandboxes().await.unwrap().into_iter().map(|sandbox| sandbox.id);
    containers.chain(sandboxes).collect()
}

/// Nothing is removed in the next passes.
pub async fn loses_nothing(node: &Node) {
    let before = node.inventory().await;
    passes(node).await;
    assert_eq!(before.removed_in(&node.inventory().await), BTreeSet::new(), "nothing is removed");
}

/// What `status` says of the source and its pods.
pub fn pods_status(node: &Node) -> Value {
    json(&succeeded(ask(node, &["status", "-o", "json"])))["pods"].clone()
}

/// How `status` says a pod stands: its state, and by which evidence.
pub fn standing(node: &Node, pod: &Pod) -> (String, String) {
    let pods_report = pods_status(node);
    let pods = pods_report["pods"].as_array().unwrap();
    let found = pods.iter().find(|known| known["uid"] == pod.spec.uid.as_str());
    let found = found.unwrap_or_else(|| panic!("{} is not listed: {pods_report:#}", pod.spec.name));
    assert!(!found["since"].as_str().unwrap().is_empty(), "{found:#}");
    (found["state"].as_str().unwrap().to_owned(), found["evidence"].as_str().unwrap().to_owned())
}

/// How `explain` says the pod of an object stands, and why that is kept.
pub fn explained(node: &Node, object: &str) -> (String, String, String) {
    let answer = json(&succeeded(ask(node, &["explain", object, "-o", "json"])));
    let found = &answer["objects"][0];
    assert_eq!(found["decision"], "keep", "{answer:#}");
    assert!(!found["pod_since"].as_str().unwrap().is_empty(), "{answer:#}");
    let text = |field: &str| found[field].as_str().unwrap().to_owned();
    (text("pod_state"), text("reason"), text("pod_evidence"))
}

/// How many pods `status` counts in a state.
pub fn sum(pods_report: &Value, state: &str) -> u64 {
    let sums = pods_report["sums"].as_array().unwrap();
    sums.iter().find(|sum| sum["state"] == state).map_or(0, |sum| sum["count"].as_u64().unwrap())
}

/// The pods of this case.
struct Pods {
    web: Pod,
    again: Pod,
    manifest: Pod,
    down: Pod,
    done: Pod,
    stubborn: Pod,
    leaving: Pod,
    orphan: Pod,
    known: Vec<PodObject>,
}

/// What is removed of them while the source reports the truth. Of the existing pods only what is over the limits.
const REMOVED: [&str; 23] = [
    "container web/app#0",
    "container web/app#1",
    "log web/app/0.log",
    "log web/app/1.log",
    "sandbox again#0",
    "container down/app#0",
    "log down/app/0.log",
    "container done/job#0",
    "log done/job/0.log",
    "container stubborn/job#0",
    "log stubborn/job/0.log",
    "container orphan/job#0",
    "log orphan/job/0.log",
    "container evicted/*",
    "sandbox evicted#0",
    "log evicted/*",
    "container gone*",
    "sandbox gone*",
    "log gone*",
    "container stuck/*",
    "sandbox stuck#0",
    "log stuck/*",
    "log lost/*",
];

/// The pod that was deleted and created again under its name: the sandbox and the container of its first UID.
const CREATED_AGAIN: [&str; 2] = ["container db/job#0", "sandbox db#0"];

async fn populate(node: &Node, source: &dyn Source) -> Pods {
    // A finished init container, and one that was restarted: the newest of each is what a kubelet reads.
    let web = node.pod("web").await;
    node.running(&web, "main").await;
    node.dead(&web, "init", 0..1).await;
    node.dead(&web, "app", 0..3).await;
    let first = node.pod("again").await;
    node.stop(&first).await;
    let again = node.again(&first).await;
    let manifest = node.pod("manifest").await;
    node.running(&manifest, "main").await;
    // A static pod that is down for the moment, and of which the kubelet has no directory yet: only the list speaks for it.
    let down = ended(node, "down", "app").await;
    let done = ended(node, "done", "job").await;
    let evicted = node.ended_pod("evicted", &["job", "job2"]).await;
    // The API says that it was evicted, but it runs.
    let stubborn = node.pod("stubborn").await;
    node.running(&stubborn, "main").await;
    node.dead(&stubborn, "job", 0..2).await;
    let leaving = node.pod("leaving").await;
    node.running(&leaving, "main").await;
    let orphan = ended(node, "orphan", "job").await;
    by_hand(node).await;
    for number in 0..GONE {
        let gone = node.pod(&format!("gone{number}")).await;
        // Each a unit of its own, so that no limit lets it be removed.
        for job in 0..JOBS {
            node.created(&gone, &ContainerSpec::sleeper(&format!("job{job}"), &image(APP))).await;
        }
        node.stop(&gone).await;
    }
    // Its network can't be torn down for now.
    let stuck = node.pod("stuck").await;
    node.dead(&stuck, "job", 0..1).await;
    node.runtime.lose_sandbox(&stuck.id);
    node.until_not_ready(&stuck).await;
    node.log_dir(&format!("default_lost_{}", fresh_uid()));
    let spec = |attempt| PodSpec::new("default", "db").attempt(attempt);
    let old = node.run_pod(spec(0)).await;
    node.dead(&old, "job", 0..1).await;
    node.stop(&old).await;
    let db = node.run_pod(spec(1)).await;

    let known = vec![
        known(&web, "Running"),
        known(&again, "Running"),
        source.static_pod("manifest", &manifest.spec.uid),
        source.static_pod("down", &down.spec.uid),
        known(&done, "Succeeded"),
        known_evicted(&evicted),
        known_evicted(&stubborn),
        known(&leaving, "Running"),
        known(&db, "Pending"),
    ];
    Pods { web, again, manifest, down, done, stubborn, leaving, orphan, known }
}

/// A pod that has ended, whose container ran twice.
async fn ended(node: &Node, name: &str, container: &str) -> Pod {
    let pod = node.pod(name).await;
    node.dead(&pod, container, 0..2).await;
    node.stop(&pod).await;
    pod
}

/// What a client that is no kubelet created.
async fn by_hand(node: &Node) {
    if !node.runtime.takes_pods_without_uid() {
        return;
    }
    let pod = node.run_pod(PodSpec::new("default", "by-hand").uid("").without_labels()).await;
    for attempt in 0..2 {
        let job = ContainerSpec::exits("job", &image(APP)).without_labels().attempt(attempt);
        let id = node.run(&pod, &job).await;
        node.runtime.end(&id);
        node.cri.wait_exited(&id).await.unwrap();
    }
    node.stop(&pod).await;
}

/// The source dies while removals that depend on it are in progress, returns empty, returns as that of another node, and returns
/// complete.
pub async fn dies_returns_empty_and_returns_complete(node: &mut Node, source: &dyn Source) {
    let pods = populate(node, source).await;
    let living = [&pods.web, &pods.again, &pods.manifest, &pods.stubborn, &pods.leaving, &pods.orphan];
    join(node, source, &pods.known, &living);
    // Less than half of the pods are gone, and not even once the one that leaves is: that is not too many at once.
    node.set("container_gc.parallel_removals", 1);
    node.runtime.slow_down();
    node.runtime.break_teardown();
    let before = node.inventory().await;
    let removed_later: Vec<&str> = REMOVED.iter().chain(&CREATED_AGAIN).copied().collect();
    let meant = before.meant(&removed_later);
    let running = serve(node);

    // ---- It dies in the middle. ----
    let first = before.id("container gone0/job0#0");
    let begun = || async { (!present(node).await.contains(first)).then_some(()) };
    until_async(PATIENCE, begun).await.expect("what is deleted is removed");
    source.server().stop_listening();
    until_unsynced(node, "cannot be reached").await;
    // What a pass had planned before, it brings to its end. What failed until then could be done now, if it were still confirmed.
    let now = status(node, |_| true).await;
    status(node, passed(&now, PASSES)).await;
    node.runtime.repair_teardown();
    let older = before.id("sandbox again#0");
    let tried_again = || async { (!present(node).await.contains(older)).then_some(()) };
    until_async(PATIENCE, tried_again).await.expect("what is over the limits is removed");
    passes(node).await;
    let removed = before.removed_in(&node.inventory().await);
    assert!(removed.is_subset(&meant), "{:?}", removed.difference(&meant));
    assert!(!removed.contains("sandbox stuck#0") && !removed.contains("log stuck/"), "{removed:?}");

    // What is over the limits of a pod is still removed; a pod that vanishes meanwhile is kept.
    let late = node.dead(&pods.web, "late", 0..2).await;
    until_removed(node, &late[0]).await;
    node.stop(&pods.leaving).await;
    fs::remove_dir_all(node.path("kubelet/pods").join(&pods.leaving.spec.uid)).unwrap();
    loses_nothing(node).await;
    let state = explained(node, &pods.leaving.spec.uid);
    assert_eq!((state.0.as_str(), state.2.contains("not synced")), ("unknown", true), "{state:?}");

    // ---- It returns empty, then with what another node has. ----
    let stranger = PodObject::new("default", "stranger", &fresh_uid()).phase("Running");
    for others in [&[][..], &[stranger][..]] {
        source.return_with(others);
        until_unsynced(node, "the pod source lists none of the ").await;
        loses_nothing(node).await;
        assert!(!status(node, well).await.pods.unwrap().synced, "still");
    }

    assert!(
        node.inventory().await.has("sandbox stuck#0"),
        "what was confirmed before it died is not confirmed any more"
    );

    // ---- It returns complete. ----
    let before = before.and(node.inventory().await);
    let mut whole = pods.known.clone();
    whole.retain(|pod| pod.to_json()["metadata"]["uid"] != pods.leaving.spec.uid.as_str());
    source.return_with(&whole);
    let leaving = ["container leaving/*", "sandbox leaving#0", "log leaving/*"];
    let removed_later: Vec<&str> = removed_later.into_iter().chain(leaving).collect();
    until_removed_exactly(node, &before, &removed_later).await;
    assert_states(node, &pods);
    running.terminate();
    let ended = running.wait();
    assert_eq!(ended.code, 0, "{ended:?}");
    // However often it was tried: one outage is logged, and two kinds of failure.
    let lines = |words: &str| ended.stderr.lines().filter(|line| line.contains(words)).count();
    assert_eq!(lines(" synced again"), 1, "{}", ended.stderr);
    let other = ["\"level\":\"info\"", " is not listed, but kept ", "\"loop\":\"sandbox_gc\""];
    let loud = |line: &&str| !other.iter().any(|words| line.contains(words));
    let loud: Vec<&str> = ended.stderr.lines().filter(loud).collect();
    let expected = [" failed, so no pod counts as deleted: ", "Events of the Node are not sent: "];
    assert!(loud.iter().all(|line| expected.iter().any(|words| line.contains(words))), "{loud:#?}");
    assert!((2..=12).contains(&loud.len()), "{loud:#?}");
}

/// The state after these events.
fn assert_states(node: &Node, pods: &Pods) {
    let pods_report = pods_status(node);
    assert_eq!(
        (&pods_report["synced"], &pods_report["problem"]),
        (&true.into(), &"".into()),
        "{pods_report:#}"
    );
    assert!(!pods_report["synced_at"].as_str().unwrap().is_empty(), "{pods_report:#}");
    // The evicted pod is listed still, though nothing of it is left.
    for (state, count) in [("unknown", 1), ("terminated", 1), ("evicted", 1), ("deleted", 0)] {
        assert_eq!(sum(&pods_report, state), count, "{state}: {pods_report:#}");
    }
    assert!(sum(&pods_report, "active") >= 6, "{pods_report:#}");
    let orphan = standing(node, &pods.orphan);
    assert_eq!(
        (orphan.0.as_str(), orphan.1.contains("the kubelet still has a directory of it")),
        ("unknown", true)
    );
    let named = |note: &Value| note.as_str().unwrap().contains(&pods.orphan.spec.uid);
    assert!(pods_report["notes"].as_array().unwrap().iter().any(named), "{pods_report:#}");
    assert_eq!(standing(node, &pods.done), ("terminated".to_owned(), "the pod source lists it".to_owned()));
    for (pod, state, reason, evidence) in [
        (&pods.web, "active", "sandbox_ready", "a container of it runs, or a sandbox of it is ready"),
        (&pods.stubborn, "active", "sandbox_ready", "a container of it runs, or a sandbox of it is ready"),
        (&pods.down, "active", "has_containers", "the pod source lists it"),
        (&pods.orphan, "unknown", "has_containers", "the kubelet still has a directory of it"),
    ] {
        let found = explained(node, &pod.id);
        assert_eq!((found.0.as_str(), found.1.as_str()), (state, reason), "{}: {found:?}", pod.spec.name);
        assert!(found.2.contains(evidence), "{}: {found:?}", pod.spec.name);
    }
    let table = succeeded(ask(node, &["status"])).stdout;
    assert!(table.contains(&pods.orphan.spec.uid) && table.contains("1 unknown"), "{table}");
}

/// The commands that work without a service: what they do while the source is unreachable, wrong, and there.
pub async fn commands_report_what_is_wrong_and_do_everything_else(node: &mut Node, source: &dyn Source) {
    let web = node.pod("web").await;
    node.running(&web, "main").await;
    let busy = node.dead(&web, "job", 0..2).await;
    let done = node.ended_pod("done", &["job"]).await;
    let evicted = node.ended_pod("evicted", &["job"]).await;
    let orphan = node.ended_pod("orphan", &["job"]).await;
    let gone = node.ended_pod("gone", &["job"]).await;
    by_hand(node).await;
    let whole = [known(&web, "Running"), known(&done, "Succeeded"), known_evicted(&evicted)];
    join(node, source, &whole, &[&web, &orphan]);

    // Unreachable: what is over the limits is removed all the same.
    source.server().stop_listening();
    let report = node.loses(&["container web/job#0", "log web/job/0.log"]).await;
    assert_eq!(report.code, 3, "{report:#?}");
    assert!(report.stderr.contains("cannot be reached"), "{}", report.stderr);
    assert_eq!(report.stderr.lines().count(), 1, "one sentence: {}", report.stderr);
    for name in ["log gone/", "log evicted/", "log done/"] {
        assert_eq!(report.kept(name), "pod_unknown", "{name}");
    }
    let plan = partly(node.run_program(&["plan", "--output", "json"], None), "cannot be reached");
    assert!(removed_by(&plan).is_empty(), "{plan:#}");
    let snapshot = partly(node.run_program(&["snapshot"], None), "cannot be reached");
    assert_eq!(snapshot["pods"]["synced"], false, "{snapshot:#}");

    // There, but empty.
    source.return_with(&[]);
    let report = node.loses(&[]).await;
    assert_eq!(report.code, 3, "{report:#?}");
    assert!(report.stderr.contains("lists none of the pods that run here (1 "), "{}", report.stderr);

    // There.
    source.return_with(&whole);
    let before = node.inventory().await;
    let plan = node.run_program(&["plan", "--output", "json"], None);
    assert_eq!(plan.code, 0, "{plan:?}");
    assert!(plan.stderr.contains(&orphan.spec.uid), "the orphaned pod is named: {plan:?}");
    let named: BTreeSet<String> = removed_by(&json(&plan)).iter().map(|id| before.name_of(id)).collect();
    // A pod whose runtime objects are not removed yet keeps its logs until they are; no plan counts on another's removals.
    let objects = ["container gone/job#0", "container evicted/job#0"];
    assert!(objects.iter().all(|name| named.contains(*name)), "{named:?}");
    let snapshot = json(&succeeded(node.run_program(&["snapshot"], None)));
    assert_eq!(snapshot["pods"]["synced"], true);
    for (pod, state) in [(&web, "active"), (&done, "terminated"), (&evicted, "evicted"), (&gone, "deleted")] {
        assert_eq!(state_in(&snapshot, pod), state, "{}", pod.spec.name);
    }
    assert!(["unknown", ""].contains(&state_in(&snapshot, &orphan).as_str()), "{snapshot:#}");
    assert_eq!(snapshot["pods"]["absent"], "unknown", "{snapshot:#}");
    assert!(before.removed_in(&node.inventory().await).is_empty(), "neither removes anything");

    let all = [
        "container gone/*",
        "sandbox gone#0",
        "log gone/*",
        "container evicted/*",
        "sandbox evicted#0",
        "log evicted/*",
    ];
    let report = node.loses(&all).await;
    let said = |note: &String| note.contains(&orphan.spec.uid) && note.contains("directory");
    assert!(report.is_good().notes().iter().any(said), "{:?}", report.notes());
    assert_eq!(report.removal("container gone/job#0"), "pod_deleted: removed");
    assert_eq!(report.removal("container evicted/job#0"), "pod_evicted: removed");
    assert_eq!(report.kept("log orphan/"), "pod_unknown");
    assert_eq!(report.kept("log done/"), "pod_finished");
    if node.runtime.takes_pods_without_uid() {
        assert_eq!(report.kept("container by-hand/job#0"), "unmanaged");
    }
    assert!(node.inventory().await.id("container web/job#1") == busy[1], "the newest record of it");
    node.is_settled().await;

    node.set("container_gc.evict_terminated_pods", true);
    let report = node.loses(&["container done/job#0", "sandbox done#0"]).await;
    assert_eq!(report.is_good().removal("sandbox done#0"), "pod_terminated: removed");
    // A pod that was terminated is unknown without the source.
    source.server().stop_listening();
    assert_eq!(node.loses(&[]).await.kept("log done/"), "pod_unknown");
}

/// A command that did what it could, and said what it could not in these words.
pub fn partly(ended: Ended, words: &str) -> Value {
    assert_eq!(ended.code, 3, "{ended:?}");
    assert!(ended.stderr.contains(words), "{ended:?}");
    json(&ended)
}

/// Ids of everything that a plan would remove, and of what follows from that.
fn removed_by(plan: &Value) -> Vec<String> {
    let sections = ["containers", "sandboxes", "log_dirs"];
    let lists = sections.iter().flat_map(|section| [&plan[section]["remove"], &plan[section]["follow"]]);
    // A list of nothing that follows is left out.
    let items = lists.filter_map(Value::as_array).flatten();
    items.map(|item| item["id"].as_str().unwrap().to_owned()).collect()
}

/// The state of a pod in a snapshot, empty if it is not there.
fn state_in(snapshot: &Value, pod: &Pod) -> String {
    let pods = snapshot["pods"]["pods"].as_array().unwrap();
    let found = pods.iter().find(|known| known["uid"] == pod.spec.uid.as_str());
    found.map(|known| known["state"].as_str().unwrap().to_owned()).unwrap_or_default()
}

/// Most pods of the node vanish at once: nothing is removed until an administrator confirms it, in a sweep or to the service.
pub async fn many_that_vanish_at_once_are_kept_until_confirmed(node: &mut Node, source: &dyn Source) {
    const VANISHED: [&str; 4] = ["container gone/*", "sandbox gone#0", "log gone/*", "log lost*"];
    let brake_from = source.brake_from();
    let all = format!("{brake_from} of {} pods", brake_from + 1);
    let web = node.pod("web").await;
    node.running(&web, "main").await;
    let orphan_logs = |node: &Node| {
        (1..brake_from)
            .for_each(|number| drop(node.log_dir(&format!("default_lost{number}_{}", fresh_uid()))));
    };
    join(node, source, &[known(&web, "Running")], &[&web]);

    let gone = node.ended_pod("gone", &["job"]).await;
    orphan_logs(node);
    let report = node.loses(&[]).await;
    assert_eq!(report.code, 0, "{report:#?}");
    let said = |note: &String| note.contains(&all) && note.contains("--confirm-deleted");
    assert!(report.notes().iter().any(said), "{:?}", report.notes());
    assert_eq!(report.kept("log gone/"), "pod_unknown");
    let plan = succeeded_with_notes(node.run_program(&["plan", "-o", "json"], None));
    assert!(removed_by(&plan).is_empty(), "{plan:#}");
    let plan = succeeded_with_notes(node.run_program(&["plan", "-o", "json", "--confirm-deleted"], None));
    assert_eq!(removed_by(&plan).len(), brake_from + 2, "{plan:#}");
    let snapshot = succeeded_with_notes(node.run_program(&["snapshot", "--confirm-deleted"], None));
    assert_eq!(state_in(&snapshot, &gone), "deleted");
    node.loses_with(&["--confirm-deleted"], &VANISHED).await.is_good();
    node.is_settled().await;

    let gone = node.ended_pod("gone", &["job"]).await;
    orphan_logs(node);
    let before = node.inventory().await;
    let running = serve(node);
    let postponed = |s: &StatusResponse| {
        let notes = s.pods.iter().flat_map(|pods| &pods.notes);
        well(s) && notes.into_iter().any(|note| note.contains(&all))
    };
    status(node, postponed).await;
    loses_nothing(node).await;
    let (state, _, evidence) = explained(node, &gone.id);
    assert_eq!(state, "unknown");
    assert!(evidence.contains("too many pods disappeared at once"), "{evidence}");
    // `status` counts all of them, and names the first of them with the same evidence.
    let pods = pods_status(node);
    assert_eq!(usize::try_from(sum(&pods, "unknown")).unwrap(), brake_from);
    for named in pods["pods"].as_array().unwrap() {
        assert!(
            named["evidence"].as_str().unwrap().contains("too many pods disappeared at once"),
            "{named:#}"
        );
    }
    // A pass by itself is no confirmation.
    succeeded(ask(node, &["run-now"]));
    assert!(before.removed_in(&node.inventory().await).is_empty());

    let run = succeeded(ask(node, &["run-now", "--confirm-deleted", "-o", "json"]));
    assert!(run.stdout.contains(&format!("{brake_from} pods are confirmed")), "{run:?}");
    until_removed_exactly(node, &before, &VANISHED).await;
    // The pass that removes them is the requested one, or one that the loop had due in the same moment.
    let events = succeeded(ask(node, &["events", "-o", "json"]));
    assert!(events.stdout.contains("pod_deleted"), "{events:?}");
    running.terminate();
    let ended = running.wait();
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.stderr.contains("an operator confirmed that"), "{}", ended.stderr);
}

/// The answer of a command that may have reported notes, but no problem.
pub fn succeeded_with_notes(ended: Ended) -> Value {
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.stderr.lines().all(|line| line.starts_with("cri-gc: note: ")), "{ended:?}");
    json(&ended)
}
