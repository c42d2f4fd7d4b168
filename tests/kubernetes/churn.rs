//! The same pods on nodes with cri-gc, with each of the pod sources, and on a node whose kubelet collects: a user of the cluster sees
//! no difference, nothing is run again, and cri-gc removes only what a kubelet would have been allowed to.
//!
//! One generation of pods by default, of which some are deleted; `CRI_GC_TEST_CHURN_MINUTES=15` makes generations for so long, each of
//! which is deleted before the next. What is asserted follows from the runs of the containers, not from the time that they take.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::{Duration, Instant};

use cri_gc_test_support::cluster::Programs;
use cri_gc_test_support::until_every;
use jiff::Timestamp;
use serde_json::Value;

use crate::node::{Collector, Node, PATIENCE, PAUSE, programs};
use crate::removals::Recorder;
use crate::view::{View, differences, is_waiting, view, without_forgotten};
use crate::workload::{Deletion, Kind, LOOP, Member, STEADY, leaving, members, runs, steady};

const COLLECTORS: [Collector; 3] =
    [Collector::Kubelet, Collector::CriGc("kube-api"), Collector::CriGc("kubelet")];

/// So often the crash loop has run before anything is compared, and once more before it is compared again: by then other containers
/// would have been run again, too.
const LOOPS: usize = 4;

/// Pods that are deleted at once.
const AT_ONCE: usize = 4;

/// A node, who observes it, and since when its pods are deleted or evicted, by UID.
struct Stage {
    node: Node,
    recorder: Recorder,
    collector: Collector,
    ended: BTreeMap<String, Timestamp>,
}

/// Has each node do something, all at the same time.
fn each<T: Send>(stages: &mut [Stage], work: impl Fn(&mut Stage) -> T + Sync) -> Vec<T> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = stages.iter_mut().map(|stage| scope.spawn(|| work(stage))).collect();
        let join = |thread: std::thread::ScopedJoinHandle<T>| {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        threads.into_iter().map(join).collect()
    })
}

impl Stage {
    fn start(test: &str, programs: &Programs, collector: Collector) -> Self {
        let node = Node::start(test, programs, collector);
        let recorder = Recorder::start(&node);
        let stage = Self { node, recorder, collector, ended: BTreeMap::new() };
        // A kubelet that lists no pod of the API server may just have started.
        let steady = steady(&stage.node);
        stage.node.plane.create(&steady.object);
        stage.until_running(&steady);
        if stage.collects() {
            stage.node.until_status("the pod source is synced", |status| status["pods"]["synced"] == true);
        }
        stage
    }

    fn collects(&self) -> bool {
        self.collector != Collector::Kubelet
    }

    /// Waits until something is so, and shows what is there if it does not become so.
    fn until(&self, what: &str, mut check: impl FnMut() -> Result<(), String>) {
        let mut last = String::new();
        let attempt = std::panic::AssertUnwindSafe(|| {
            until_every(PAUSE, PATIENCE, what, || check().map_err(|error| last = error).ok());
        });
        if std::panic::catch_unwind(attempt).is_err() {
            panic!("{:?}: {what}: {last}\n{}", self.collector, self.node.kubelet_log());
        }
    }

    fn create(&self, member: &Member) {
        match member.kind {
            Kind::Static => self.node.write_manifest(&member.name, &member.object),
            Kind::Pod | Kind::Job => self.node.plane.create(&member.object),
        }
    }

    fn until_running(&self, member: &Member) {
        self.until("a pod runs", || {
            let pod = self.node.plane.get(&["pod", &member.name, "-n", "default"]);
            let runs = pod["status"]["phase"] == "Running";
            runs.then_some(()).ok_or_else(|| pod["status"].to_string())
        });
    }

    /// Waits until all containers of these have run as often as they have to, and the API server knows how that ended.
    fn until_settled(&self, all: &[&Member], loops: usize) {
        self.until("all pods settle", || {
            let runs = runs(&self.node);
            for (file, expected) in all.iter().flat_map(|member| &member.runs) {
                let count = runs.get(file).copied().unwrap_or_default();
                let is_loop = file.starts_with(LOOP);
                assert!(is_loop || count <= *expected, "{:?}: {file} was run again", self.collector);
                let settled = if is_loop { count >= loops } else { count == *expected };
                settled.then_some(()).ok_or_else(|| format!("{file} ran {count} times, not {expected}"))?;
            }
            let found = self.node.plane.get(&["pods,jobs", "-n", "default"]);
            let found = found["items"].as_array().unwrap();
            for member in all {
                let object =
                    found.iter().find(|object| object["metadata"]["name"] == member.pod_name().as_str());
                let status =
                    object.map(|object| &object["status"]).ok_or(format!("{} is missing", member.name))?;
                let settled = match member.kind {
                    Kind::Job => status["conditions"][0]["type"] == "Complete",
                    _ => status["phase"] == member.phase,
                };
                settled.then_some(()).ok_or_else(|| format!("{}: {status}", member.name))?;
            }
            Ok(())
        });
    }

    /// Notes that a pod is deleted from now on.
    fn note_deletion(&mut self, pod: &str) -> BTreeSet<String> {
        let uids = self.recorder.uids(pod);
        assert!(!uids.is_empty(), "{pod} never ran");
        let now = Timestamp::now();
        for uid in &uids {
            self.ended.entry(uid.clone()).or_insert(now);
        }
        uids
    }

    /// Deletes a pod. Returns its UIDs.
    fn remove(&mut self, member: &Member, how: Deletion) -> BTreeSet<String> {
        if member.kind != Kind::Static {
            return self.delete(&member.name, how);
        }
        let uids = self.note_deletion(&member.pod_name());
        self.node.remove_manifest(&member.name);
        uids
    }

    /// Deletes a pod at the API server. Returns its UIDs.
    fn delete(&mut self, name: &str, how: Deletion) -> BTreeSet<String> {
        let uids = self.note_deletion(name);
        let force = ["--grace-period=0", "--force"];
        let force = if matches!(how, Deletion::Force) { &force[..] } else { &[] };
        let pod = ["delete", "pod", "-n", "default", name, "--wait=false"];
        self.node.plane.ask(&[&pod, force].concat(), "");
        uids
    }

    /// Waits until nothing of these pods is left: no containers and sandboxes, no logs, and nothing at the API server.
    fn until_gone(&self, uids: &BTreeSet<String>) {
        self.until("what belonged to deleted pods is removed", || {
            let present = self.recorder.present(uids);
            if !present.is_empty() {
                return Err(format!("left: {present:?}"));
            }
            let logs = fs::read_dir(self.node.containerd.pod_logs()).unwrap();
            let mut logs = logs.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            if let Some(left) = logs.find(|name| uids.iter().any(|uid| name.ends_with(uid))) {
                return Err(format!("left: {left}"));
            }
            let pods = self.node.plane.get(&["pods", "-n", "default"]);
            let text = pods.to_string();
            match uids.iter().find(|uid| text.contains(*uid)) {
                Some(uid) => Err(format!("the API server has a pod {uid}")),
                None => Ok(()),
            }
        });
    }

    /// A whole generation: pods that are to be kept, and others that are deleted meanwhile.
    fn run(&mut self, generation: usize) {
        let (kept, leaving) = (members(&self.node, generation), leaving(&self.node, generation));
        let all: Vec<&Member> = kept.iter().chain(leaving.iter().map(|(member, _)| member)).collect();
        all.iter().for_each(|member| self.create(member));
        let early: Vec<&Member> = leaving.iter().map(|(member, _)| member).collect();
        self.until_settled(&early, 0);
        let uids: Vec<BTreeSet<String>> =
            leaving.iter().map(|(member, how)| self.remove(member, *how)).collect();
        // One that is created again at once under the name of another has another UID.
        let mut again = leaving[2].0.clone();
        again.runs[0].1 += 1;
        self.create(&again);
        self.until_gone(&uids.into_iter().flatten().collect());
        let kept: Vec<&Member> = kept.iter().chain([&again]).collect();
        self.until_settled(&kept, LOOPS);
        // A kubelet removes all of an evicted pod, too.
        let evicted = format!("evicted-{generation}");
        let pod = self.node.plane.get(&["pod", &evicted, "-n", "default"]);
        assert_eq!(pod["status"]["reason"], "Evicted", "{pod:#}");
        let since: Timestamp = pod["status"]["startTime"].as_str().unwrap().parse().unwrap();
        self.ended.insert(pod["metadata"]["uid"].as_str().unwrap().to_owned(), since);
    }

    /// Deletes all pods and jobs, one with grace and one without; so few at once that they are no sign of a list that is wrong (behaviour:
    /// Confirmed deletion).
    fn clear(&mut self, generation: usize) {
        let found = self.node.plane.get(&["pods", "-n", "default"]);
        let mut pods: Vec<(String, Option<String>)> = Vec::new();
        for pod in found["items"].as_array().unwrap() {
            let is_static = pod["metadata"]["annotations"]["kubernetes.io/config.mirror"].is_string();
            let name = pod["metadata"]["name"].as_str().unwrap().to_owned();
            if !is_static && name != STEADY {
                let job = pod["metadata"]["labels"]["job-name"].as_str();
                pods.push((name, job.map(str::to_owned)));
            }
        }
        for few in pods.chunks(AT_ONCE) {
            let mut uids = BTreeSet::new();
            for (number, (name, job)) in few.iter().enumerate() {
                if let Some(job) = job {
                    // Else its controller makes another pod.
                    let _ = self.node.plane.kubectl(&["delete", "job", job, "-n", "default"], "");
                }
                let how = if number % 2 == 0 { Deletion::Force } else { Deletion::Grace };
                uids.append(&mut self.delete(name, how));
            }
            self.until_gone(&uids);
        }
        for member in members(&self.node, generation).iter().filter(|member| member.kind == Kind::Static) {
            let uids = self.remove(member, Deletion::Manifest);
            self.until_gone(&uids);
        }
    }

    /// What cri-gc removed is what it may remove, some of each kind, and it logged no error.
    fn judge(&mut self) {
        let removals = self.node.removals();
        let reasons = self.recorder.judge(&removals, &self.ended);
        eprintln!("{:?} removed: {reasons:?}", self.collector);
        for reason in ["over_pod_container_limit", "pod_deleted"] {
            assert!(reasons.contains_key(reason), "none for {reason}: {reasons:?}");
        }
        assert!(removals.iter().any(|event| event["object_kind"] == "image"), "no image: {reasons:?}");
        let running = self.node.service.take().unwrap();
        running.terminate();
        let ended = running.wait();
        assert_eq!(ended.code, 0, "{ended:?}");
        let records = ended.stderr.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let errors: Vec<Value> = records.filter(|record| record["level"] == "error").collect();
        assert!(errors.is_empty(), "{errors:#?}");
    }
}

/// Waits until users of all the clusters see the same, and returns it. No container runs more often than `runs`.
fn same_view(stages: &mut [Stage], runs: &BTreeMap<String, usize>) -> View {
    let started = Instant::now();
    // Logs are compared once all else is the same.
    let mut with_logs = false;
    loop {
        let views = each(stages, |stage| view(&stage.node, with_logs));
        for (stage, view) in stages.iter().zip(&views) {
            for (file, count) in runs {
                let found = &view[&format!("runs of {file}")];
                assert_eq!(found, count, "{:?}: {file} was run again", stage.collector);
            }
        }
        let (first, others) = views.split_first().unwrap();
        let different: Vec<String> =
            others.iter().flat_map(|other| differences(first, &without_forgotten(first, other))).collect();
        if different.is_empty() && is_waiting(first) {
            if with_logs {
                return first.clone();
            }
            with_logs = true;
            continue;
        }
        with_logs = false;
        let is_late = started.elapsed() > PATIENCE;
        assert!(
            !is_late,
            "users of the clusters see other things (first: the kubelet's): {}",
            different.join("\n")
        );
    }
}

#[test]
fn pods_are_for_their_users_as_on_a_node_whose_kubelet_collects() {
    let test = "pods_are_for_their_users_as_on_a_node_whose_kubelet_collects";
    let Some(programs) = programs(test) else { return };
    let minutes = std::env::var("CRI_GC_TEST_CHURN_MINUTES").map_or(0, |text| text.parse().unwrap());
    let end = Instant::now() + Duration::from_secs(60 * minutes);
    let mut stages: Vec<Stage> = std::thread::scope(|scope| {
        let start = |collector| {
            let programs = &programs;
            scope.spawn(move || Stage::start(test, programs, collector))
        };
        let threads = COLLECTORS.map(start);
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for generation in 0.. {
        each(&mut stages, |stage| stage.run(generation));
        let expected = runs_of(&stages[0], generation);
        let before = same_view(&mut stages, &expected);
        // Whatever was removed, the kubelets do not run anything again because of it.
        each(&mut stages, |stage| {
            let all = members(&stage.node, generation);
            stage.until_settled(&all.iter().collect::<Vec<_>>(), LOOPS + 1);
        });
        let after = same_view(&mut stages, &expected);
        assert_eq!(differences(&before, &after), Vec::<String>::new(), "something changed later");
        eprintln!("generation {generation}: {} objects are the same everywhere", after.len());
        if Instant::now() >= end {
            break;
        }
        each(&mut stages, |stage| stage.clear(generation));
    }
    each(&mut stages, |stage| stage.collects().then(|| stage.judge()));
}

/// How often each container of the generation has to have run, but that of the crash loop.
fn runs_of(stage: &Stage, generation: usize) -> BTreeMap<String, usize> {
    let all = members(&stage.node, generation).into_iter().flat_map(|member| member.runs);
    all.filter(|(file, _)| !file.starts_with(LOOP)).collect()
}
