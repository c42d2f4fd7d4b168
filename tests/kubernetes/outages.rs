//! An API server that fails while cri-gc asks it for the pods (`pods.source = "kube-api"`; docs/beside-a-kubelet.md, "When the pod source
//! fails"): killed, compacted, with a token that has expired, with a right that is missing. Each time the cause and the remedy are
//! reported, nothing of a pod that is not confirmed deleted is removed, and cri-gc recovers by itself.

use std::collections::BTreeSet;
use std::time::Duration;

use cri_gc_test_support::{NODE, until_every};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::node::{Collector, Node, PATIENCE, PAUSE, RIGHTS, programs};
use crate::removals::Recorder;
use crate::workload::{Member, finished, restarted};

/// So many passes each loop makes before something counts as kept.
const PASSES: u64 = 5;

/// How long the token lives that expires; an API server accepts it for a minute longer.
const LIFETIME: Duration = Duration::from_secs(10);

struct Stage {
    node: Node,
    recorder: Recorder,
    /// UIDs of the pod that exists all the time, and whose dead container is the record of its restart.
    kept: BTreeSet<String>,
    /// What the runtime has of it.
    records: BTreeSet<String>,
}

impl Stage {
    fn start(test: &str) -> Option<Self> {
        let programs = programs(test)?;
        let node = Node::start(test, &programs, Collector::CriGc("kube-api"));
        let recorder = Recorder::start(&node);
        let mut stage = Self { node, recorder, kept: BTreeSet::new(), records: BTreeSet::new() };
        let kept = restarted(&stage.node);
        stage.create(&kept);
        stage.kept = stage.recorder.uids(&kept.name);
        stage.records = stage.recorder.present(&stage.kept);
        // Its sandbox, the container that runs, and the one that has ended.
        assert_eq!(stage.records.len(), 3, "{:?}", stage.records);
        stage.until_synced();
        Some(stage)
    }

    /// Creates a pod, and waits until its container has run as often as it has to.
    fn create(&self, member: &Member) {
        self.node.plane.create(&member.object);
        until_every(PAUSE, PATIENCE, &format!("{} is {}", member.name, member.phase), || {
            let pod = ["get", "pod", &member.name, "-n", "default", "-o", "json"];
            let pod: Value = serde_json::from_str(&self.node.plane.kubectl(&pod, "").ok()?).unwrap();
            let restarts = pod["status"]["containerStatuses"][0]["restartCount"].as_u64()?;
            let settled = restarts + 1 == member.runs[0].1 as u64 && pod["status"]["phase"] == member.phase;
            settled.then_some(())
        });
    }

    /// A pod that has ended, and whose containers are there until cri-gc removes them.
    fn victim(&self, name: &str) -> (Member, BTreeSet<String>) {
        let member = finished(&self.node, name);
        self.create(&member);
        let uids = self.recorder.uids(&member.name);
        assert!(!self.recorder.present(&uids).is_empty(), "{name} is there");
        (member, uids)
    }

    /// Deletes it at the API server, at once.
    fn delete(&self, (member, _): &(Member, BTreeSet<String>)) {
        let pod = ["delete", "pod", "-n", "default", &member.name, "--grace-period=0", "--force"];
        self.node.plane.ask(&pod, "");
    }

    /// Sends the service a signal.
    fn signal(&self, signal: Signal) {
        self.node.service.as_ref().unwrap().signal(signal);
    }

    fn until_synced(&self) {
        self.node.until_status("the pod source is synced", |status| {
            status["pods"]["synced"] == true && status["pods"]["problem"] == ""
        });
    }

    /// Waits until `status` reports a problem with all these words, and until the log has them.
    fn until_reported(&self, words: &[&str]) {
        let has_all = |text: &str| words.iter().all(|word| text.contains(word));
        self.node.until_status(&format!("{words:?} is reported"), |status| {
            status["pods"]["synced"] == false && has_all(status["pods"]["problem"].as_str().unwrap())
        });
        let table = self.node.ask(&["status"]).stdout;
        assert!(table.contains(words[0]), "no {words:?} in {table}");
        let log = || self.service_log().lines().any(has_all).then_some(());
        until_every(PAUSE, PATIENCE, &format!("{words:?} is logged"), log);
    }

    /// Waits until `status` and the log have all these words, wherever.
    fn until_anywhere(&self, words: &[&str]) {
        let has_all = |text: &str| words.iter().all(|word| text.contains(word));
        self.node.until_status(&format!("{words:?} is reported"), |status| has_all(&status.to_string()));
        let log = || self.service_log().lines().any(has_all).then_some(());
        until_every(PAUSE, PATIENCE, &format!("{words:?} is logged"), log);
    }

    fn service_log(&self) -> String {
        self.node.service.as_ref().unwrap().stderr()
    }

    /// All loops make some more passes, and nothing of the victim is removed.
    fn keeps(&self, (member, uids): &(Member, BTreeSet<String>)) {
        let passes = |status: &Value| -> Vec<u64> {
            let loops = status["loops"].as_array().unwrap().iter();
            loops.map(|one| one["passes"].as_u64().unwrap()).collect()
        };
        let before = passes(&self.node.until_status("it answers", |_| true));
        self.node.until_status("all loops make passes", |status| {
            passes(status).iter().zip(&before).all(|(now, before)| *now >= before + PASSES)
        });
        let removed: Vec<Value> = self.node.removals();
        let of_it = |event: &&Value| uids.iter().any(|uid| event.to_string().contains(uid));
        assert_eq!(removed.iter().find(of_it), None, "{} is not confirmed deleted", member.name);
        assert!(!self.recorder.present(uids).is_empty(), "{}: what is kept is there", member.name);
    }

    /// It is synced again, by itself, and what was deleted is removed.
    fn recovers(&self, (member, uids): &(Member, BTreeSet<String>)) {
        self.until_synced();
        until_every(PAUSE, PATIENCE, &format!("what {} has left is removed", member.name), || {
            self.recorder.present(uids).is_empty().then_some(())
        });
        assert_eq!(self.recorder.present(&self.kept), self.records, "the records of the other pod are kept");
        let removed = self.node.removals();
        let of_it = |event: &Value| uids.iter().any(|uid| event["pod_uid"] == uid.as_str());
        assert!(removed.iter().any(of_it), "{}: cri-gc has removed it", member.name);
    }

    /// Ends the service.
    fn end(&mut self) {
        let running = self.node.service.take().unwrap();
        running.terminate();
        let ended = running.wait();
        assert_eq!(ended.code, 0, "{ended:?}");
    }

    /// Breaks the watch: cri-gc lists again.
    fn restart_api_server(&mut self) {
        self.node.plane.kill_api_server();
        self.node.plane.start_api_server();
    }
}

#[test]
fn an_api_server_that_dies_forgets_or_refuses_confirms_no_deletion() {
    let test = "an_api_server_that_dies_forgets_or_refuses_confirms_no_deletion";
    let Some(mut stage) = Stage::start(test) else { return };
    killed(&mut stage);
    compacted(&mut stage);
    expired(&mut stage);
    stage.end();
}

#[test]
fn each_right_that_is_missing_is_reported_and_confirms_no_deletion() {
    let test = "each_right_that_is_missing_is_reported_and_confirms_no_deletion";
    let Some(mut stage) = Stage::start(test) else { return };
    without_rights(&mut stage);
    stage.end();
}

/// A pod is deleted right before: what cri-gc may have read of that does not confirm it.
fn killed(stage: &mut Stage) {
    let victim = stage.victim("deleted-while-killed");
    stage.signal(Signal::STOP);
    stage.delete(&victim);
    stage.node.plane.kill_api_server();
    stage.signal(Signal::CONT);
    stage.until_reported(&["the API server cannot be reached"]);
    stage.keeps(&victim);
    stage.node.plane.start_api_server();
    stage.recovers(&victim);
}

/// etcd forgets the version that the watch continues from, while cri-gc is stopped (SIGSTOP): it lists again, by 410 Gone.
fn compacted(stage: &mut Stage) {
    let victim = stage.victim("deleted-while-compacted");
    let expirations = |stage: &Stage| stage.service_log().matches("410 Gone").count();
    let before = expirations(stage);
    stage.signal(Signal::STOP);
    // The newest version is later than all that the watch has seen.
    stage.node.plane.create(&json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "later", "namespace": "default"},
    }));
    stage.restart_api_server();
    // No watch has reported it: only a list can.
    stage.delete(&victim);
    stage.node.plane.compact();
    stage.signal(Signal::CONT);
    until_every(PAUSE, PATIENCE, "the watch expires", || (expirations(stage) > before).then_some(()));
    stage.recovers(&victim);
}

/// Each of the rights of deploy/kubernetes is missing once.
fn without_rights(stage: &mut Stage) {
    let rules: [(&str, &str, &[&str]); 4] = [
        ("get", "pods", &[]),
        ("list", "pods", &["listing the pods of this node"]),
        ("watch", "pods", &["watching the pods of this node"]),
        ("get", "nodes", &["asking for the node"]),
    ];
    for (verb, resource, words) in rules {
        let victim = stage.victim(&format!("deleted-without-{verb}-{resource}"));
        stage.node.plane.ask(&["apply", "-f", "-"], &rights_without(verb, resource));
        if (verb, resource) == ("get", "pods") {
            // It lists and watches; only whether a pod is deleted it can't ask.
            stage.delete(&victim);
            let denied = [
                "the API server answered 403 Forbidden",
                "asking for a pod",
                "deploy/kubernetes/rights/rbac.yaml",
            ];
            stage.until_anywhere(&denied);
        } else {
            stage.restart_api_server();
            stage.delete(&victim);
            let denied = ["the API server answered 403 Forbidden", "deploy/kubernetes/rights/rbac.yaml"];
            stage.until_reported(&[&denied[..], words].concat());
        }
        stage.keeps(&victim);
        stage.node.plane.ask(&["apply", "-f", "-"], RIGHTS);
        stage.recovers(&victim);
    }
}

/// The rights of deploy/kubernetes but one verb of one resource.
fn rights_without(verb: &str, resource: &str) -> String {
    let start = RIGHTS.find(&format!("resources: [\"{resource}\"]")).unwrap();
    let line = format!("      - {verb}\n");
    let at = start + RIGHTS[start..].find(&line).unwrap();
    // A rule without any verb is not accepted; this one permits nothing that is asked for.
    format!("{}      - deletecollection\n{}", &RIGHTS[..at], &RIGHTS[at + line.len()..])
}

/// The service has a token that is replaced too late.
fn expired(stage: &mut Stage) {
    let victim = stage.victim("deleted-with-an-expired-token");
    stage.end();
    stage.node.renew_token(LIFETIME);
    stage.node.serve();
    // On a busy machine it may have expired already.
    stage.node.until_status("the service has asked the API server", |status| {
        status["pods"]["synced"] == true || status["pods"]["problem"] != ""
    });
    let kubeconfig = stage.node.path("kubeconfig").display().to_string();
    until_every(PAUSE, PATIENCE, "the API server refuses the token", || {
        let answer = stage.node.plane.kubectl(&["get", "node", NODE, "--kubeconfig", &kubeconfig], "");
        answer.is_err_and(|error| error.contains("Unauthorized")).then_some(())
    });
    stage.restart_api_server();
    stage.delete(&victim);
    stage.until_reported(&["the API server answered 401 Unauthorized", "check the token or certificate"]);
    stage.keeps(&victim);
    stage.node.renew_token(Duration::from_secs(24 * 3600));
    stage.recovers(&victim);
}
