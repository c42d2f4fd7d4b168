//! The pods that run on a node: each ends in a state that follows from nothing but its own runs, whatever the machine needs for them.
//!
//! A container writes a line to a file of its name at each start, on a volume of the host: so often it has run, and so it knows how
//! this run has to end. A container that is run again without need is found there whatever the API server says.

use std::collections::BTreeMap;

use cri_gc_test_support::{NODE, static_pod_name};
use serde_json::{Value, json};

use crate::node::{APP, Node};

/// How a container ends after the runs that fail.
const SLEEPS: &str = "exec sleep 1000000";
const SUCCEEDS: &str = "exit 0";
/// It ends as soon as it is asked to.
const ENDS: &str = "trap 'exit 0' TERM; sleep 1000000 & wait";

/// What becomes of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Pod,
    Static,
    Job,
}

/// A pod, or a job, of a generation.
#[derive(Debug, Clone)]
pub struct Member {
    pub name: String,
    pub kind: Kind,
    pub object: Value,
    /// How often each of its containers has run in the end, by the name of its file.
    pub runs: Vec<(String, usize)>,
    /// The phase in the end, of a pod.
    pub phase: &'static str,
}

impl Member {
    /// Its name at the API server.
    pub fn pod_name(&self) -> String {
        if self.kind == Kind::Static { static_pod_name(&self.name) } else { self.name.clone() }
    }
}

/// A container that exits with these codes one after the other, and then ends so.
struct Container<'a> {
    name: &'a str,
    codes: &'a [u8],
    last: &'a str,
}

impl Container<'_> {
    fn to_json(&self, pod: &str) -> Value {
        let codes: Vec<String> = self.codes.iter().map(u8::to_string).collect();
        let script = format!(
            "f=/runs/{pod}.{}; echo run >> $f; n=$(/bin/busybox wc -l < $f); echo run $n; \
             set -- {}; if [ $n -le $# ]; then shift $((n - 1)); exit $1; fi; {}",
            self.name,
            codes.join(" "),
            self.last
        );
        json!({
            "name": self.name, "image": APP, "imagePullPolicy": "Never",
            "command": ["/bin/sh", "-c", script],
            "volumeMounts": [{"name": "runs", "mountPath": "/runs"}],
        })
    }
}

/// Makes the members of a generation for a node.
struct Maker<'a> {
    node: &'a Node,
    generation: usize,
}

impl Maker<'_> {
    fn name(&self, name: &str) -> String {
        format!("{name}-{}", self.generation)
    }

    fn spec(&self, pod: &str, policy: &str, containers: [&[Container]; 2]) -> Value {
        let [init, main] = containers.map(|all| all.iter().map(|c| c.to_json(pod)).collect::<Vec<_>>());
        json!({
            "nodeName": NODE, "restartPolicy": policy, "terminationGracePeriodSeconds": 2,
            "initContainers": init, "containers": main,
            "volumes": [{"name": "runs", "hostPath": {"path": self.node.runs()}}],
        })
    }

    fn member(&self, name: &str, policy: &str, phase: &'static str, containers: [&[Container]; 2]) -> Member {
        let name = self.name(name);
        let spec = self.spec(&name, policy, containers);
        let runs = containers.iter().flat_map(|all| all.iter());
        let runs = runs.map(|c| (format!("{name}.{}", c.name), c.codes.len() + 1)).collect();
        let object = pod_object(&name, spec);
        Member { name, kind: Kind::Pod, object, runs, phase }
    }

    /// A pod with one container.
    fn simple(&self, name: &str, policy: &str, phase: &'static str, codes: &[u8], last: &str) -> Member {
        self.member(name, policy, phase, [&[], &[Container { name: "main", codes, last }]])
    }

    fn job(&self, name: &str, policy: &str) -> Member {
        let name = self.name(name);
        let main = [Container { name: "main", codes: &[1], last: SUCCEEDS }];
        let spec = self.spec(&name, policy, [&[], &main]);
        let object = json!({
            "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name},
            "spec": {"backoffLimit": 4, "template": {"spec": spec}},
        });
        Member { kind: Kind::Job, object, runs: vec![(format!("{name}.main"), 2)], phase: "", name }
    }
}

fn pod_object(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"}, "spec": spec})
}

/// The pod that fails again and again: how often it has run depends on time.
pub const LOOP: &str = "loop";

/// The pod that is there from the start to the end.
pub const STEADY: &str = "steady-0";

/// The pods that are there in the end.
pub fn members(node: &Node, generation: usize) -> Vec<Member> {
    let make = Maker { node, generation };
    let container = |name, codes, last| Container { name, codes, last };
    let mut all = vec![
        make.simple("always", "Always", "Running", &[1, 2], SLEEPS),
        make.simple("completes", "Always", "Running", &[0, 0], SLEEPS),
        make.simple("on-failure", "OnFailure", "Succeeded", &[4], SUCCEEDS),
        make.simple("never", "Never", "Succeeded", &[], SUCCEEDS),
        make.simple("fails", "Never", "Failed", &[3], SLEEPS),
        make.member(
            "two",
            "Always",
            "Running",
            [&[], &[container("steady", &[], SLEEPS), container("main", &[1], SLEEPS)]],
        ),
        // While its container waits for the next start nothing of it runs: what a kubelet then reads of its init containers is dead.
        make.member(
            "init",
            "Always",
            "Running",
            [
                &[container("first", &[], SUCCEEDS), container("second", &[], SUCCEEDS)],
                &[container("main", &[1, 1], SLEEPS)],
            ],
        ),
        make.member(
            "init-fails",
            "OnFailure",
            "Succeeded",
            [
                &[container("first", &[5], SUCCEEDS), container("second", &[], SUCCEEDS)],
                &[container("main", &[6], SUCCEEDS)],
            ],
        ),
        make.simple(LOOP, "Always", "Running", &[], "exit 1"),
        make.job("job", "Never"),
        make.job("job-on-failure", "OnFailure"),
        evicted(&make),
    ];
    // It runs once: the second of its codes does not come.
    all.iter_mut().filter(|member| member.name.starts_with("fails")).for_each(|member| member.runs[0].1 = 1);
    all.push(Member { kind: Kind::Static, ..make.simple("static", "Always", "Running", &[1], SLEEPS) });
    all
}

/// A pod that the kubelet evicts: it writes more to its volume than that may have.
fn evicted(make: &Maker) -> Member {
    let fills = "/bin/busybox dd if=/dev/zero of=/scratch/file bs=1048576 count=8; exec sleep 1000000";
    let mut member = make.simple("evicted", "Always", "Failed", &[], fills);
    let spec = &mut member.object["spec"];
    let scratch = json!({"name": "scratch", "emptyDir": {"sizeLimit": "1Mi"}});
    spec["volumes"].as_array_mut().unwrap().push(scratch);
    let mounts = spec["containers"][0]["volumeMounts"].as_array_mut().unwrap();
    mounts.push(json!({"name": "scratch", "mountPath": "/scratch"}));
    member
}

/// How a pod is deleted.
#[derive(Debug, Clone, Copy)]
pub enum Deletion {
    /// As `kubectl delete` does it.
    Grace,
    /// With `--grace-period=0 --force`: it is missing from the API server at once.
    Force,
    /// Its manifest is removed.
    Manifest,
}

/// Pods that are deleted once all of their containers have run, and how.
pub fn leaving(node: &Node, generation: usize) -> Vec<(Member, Deletion)> {
    let make = Maker { node, generation };
    let mut manifest = make.simple("leaves-static", "Always", "Running", &[1], SLEEPS);
    manifest.kind = Kind::Static;
    vec![
        (make.simple("leaves-running", "Always", "Running", &[1], ENDS), Deletion::Grace),
        (make.simple("leaves-finished", "Never", "Succeeded", &[], SUCCEEDS), Deletion::Grace),
        (make.simple("leaves-forced", "Always", "Running", &[1], SLEEPS), Deletion::Force),
        (make.simple("leaves-dead-forced", "OnFailure", "Succeeded", &[1], SUCCEEDS), Deletion::Force),
        (manifest, Deletion::Manifest),
    ]
}

/// A pod that has been restarted once, and runs.
pub fn restarted(node: &Node) -> Member {
    Maker { node, generation: 0 }.simple("restarted", "Always", "Running", &[1], SLEEPS)
}

/// A pod that runs all the time.
pub fn steady(node: &Node) -> Member {
    Maker { node, generation: 0 }.simple("steady", "Always", "Running", &[], SLEEPS)
}

/// A pod that has ended and is not run again.
pub fn finished(node: &Node, name: &str) -> Member {
    Maker { node, generation: 0 }.simple(name, "Never", "Succeeded", &[], SUCCEEDS)
}

/// How often each container has run, by the name of its file.
pub fn runs(node: &Node) -> BTreeMap<String, usize> {
    let files = std::fs::read_dir(node.runs()).unwrap().map(|entry| entry.unwrap());
    let count = |path: &std::path::Path| std::fs::read_to_string(path).unwrap().lines().count();
    files.map(|file| (file.file_name().into_string().unwrap(), count(&file.path()))).collect()
}
