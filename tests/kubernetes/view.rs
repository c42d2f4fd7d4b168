//! What a user of the cluster sees of the pods: what differs from node to node by nature (names that are drawn, ids, times, addresses)
//! is left out.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::node::Node;
use crate::workload::{self, LOOP};

/// By name: pods with their containers and logs, jobs, and how often each container has run.
pub type View = BTreeMap<String, Value>;

/// All pods of the namespace, as `kubectl get pods` and, if wanted, `kubectl logs` show them, jobs, and the runs. Logs cost two commands
/// for each container.
pub fn view(node: &Node, with_logs: bool) -> View {
    let found = node.plane.get(&["pods,jobs", "-n", "default"]);
    let mut view: View = workload::runs(node)
        .into_iter()
        .filter(|(file, _)| !is_loop(file))
        .map(|(file, count)| (format!("runs of {file}"), json!(count)))
        .collect();
    for object in found["items"].as_array().unwrap() {
        let (name, seen) = match object["kind"].as_str().unwrap() {
            "Pod" => pod(node, object, with_logs),
            _ => job(object),
        };
        let twice = view.insert(name.clone(), seen);
        assert!(twice.is_none(), "two objects are {name}");
    }
    view
}

/// What a user of another cluster sees, but for the run before the last of containers of which the kubelet has forgotten that itself: one
/// that collects does so on a busy machine.
pub fn without_forgotten(kubelets: &View, other: &View) -> View {
    let mut seen = other.clone();
    for (name, pod) in &mut seen {
        let containers = pod.get_mut("containers").and_then(Value::as_object_mut);
        for (container, seen) in containers.into_iter().flatten() {
            let known = kubelets.get(name).map(|pod| &pod["containers"][container]);
            if let Some(known) = known.filter(|known| known["last state"].is_null()) {
                seen["last state"] = Value::Null;
                seen["previous logs"] = known["previous logs"].clone();
            }
        }
    }
    seen
}

/// What is different, by name.
pub fn differences(left: &View, right: &View) -> Vec<String> {
    let names = left.keys().chain(right.keys().filter(|name| !left.contains_key(*name)));
    let differs = names.filter(|name| left.get(*name) != right.get(*name));
    let show = |value: Option<&Value>| value.map_or("missing".to_owned(), Value::to_string);
    differs.map(|name| format!("{name}:\n  {}\n  {}", show(left.get(name)), show(right.get(name)))).collect()
}

fn job(job: &Value) -> (String, Value) {
    let status = &job["status"];
    let conditions: Vec<&Value> = status["conditions"].as_array().into_iter().flatten().collect();
    let conditions: Vec<_> =
        conditions.iter().map(|c| json!([c["type"], c["status"], c["reason"]])).collect();
    let seen = json!({
        "active": status["active"], "succeeded": status["succeeded"], "failed": status["failed"],
        "conditions": conditions,
    });
    (format!("job {}", job["metadata"]["name"].as_str().unwrap()), seen)
}

fn pod(node: &Node, pod: &Value, with_logs: bool) -> (String, Value) {
    let (metadata, status) = (&pod["metadata"], &pod["status"]);
    let own_name = metadata["name"].as_str().unwrap();
    let phase = status["phase"].as_str().unwrap();
    // Pods of a job have names that are drawn; at most one of each phase is there.
    let name = match metadata["labels"]["job-name"].as_str() {
        Some(job) => format!("pod of job {job}, {phase}"),
        None => format!("pod {own_name}"),
    };
    let mut containers = BTreeMap::new();
    for kind in ["initContainerStatuses", "containerStatuses"] {
        for container in status[kind].as_array().into_iter().flatten() {
            let container_name = container["name"].as_str().unwrap();
            let mut seen = container_seen(container);
            if is_loop(own_name) {
                without_time(node, own_name, &mut seen);
            }
            // A collection, also the kubelet's own, may remove the run before the last between the end of the last one and the moment at
            // which the kubelet observes that, and then the kubelet forgets it.
            let has_ended = seen["state"][0] == "terminated" && !is_loop(own_name);
            if has_ended {
                seen["last state"] = Value::Null;
            }
            let logs = |flags: &[&str]| match with_logs {
                true => json!(logs(node, own_name, container_name, flags)),
                false => Value::Null,
            };
            seen["logs"] = logs(&[]);
            seen["previous logs"] = if has_ended { Value::Null } else { logs(&["--previous"]) };
            containers.insert(container_name.to_owned(), seen);
        }
    }
    let conditions: BTreeMap<&str, &Value> = status["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|condition| (condition["type"].as_str().unwrap(), &condition["status"]))
        .collect();
    let seen = json!({
        "phase": phase, "reason": status["reason"], "deleted": metadata["deletionTimestamp"].is_string(),
        "conditions": conditions, "containers": containers,
    });
    (name, seen)
}

/// What `kubectl logs` prints, or why it fails, without names and ids that are drawn.
fn logs(node: &Node, pod: &str, container: &str, flags: &[&str]) -> String {
    let arguments = ["logs", "-n", "default", pod, "-c", container];
    let (Ok(text) | Err(text)) = node.plane.kubectl(&[&arguments, flags].concat(), "");
    let text = text.replace(pod, "POD");
    // Of a container that is removed, a kubelet answers its id.
    let (text, id) = text.split_once("containerd://").unwrap_or((&text, ""));
    let text = if id.is_empty() { text.to_owned() } else { format!("{text}ID") };
    if is_loop(pod) { without_number(&text) } else { text }
}

fn container_seen(container: &Value) -> Value {
    json!({
        "restarts": container["restartCount"], "ready": container["ready"], "started": container["started"],
        "state": state(&container["state"]), "last state": state(&container["lastState"]),
    })
}

/// A state without its times and ids.
fn state(state: &Value) -> Value {
    for kind in ["running", "waiting", "terminated"] {
        if state[kind].is_object() {
            return json!([kind, state[kind]["reason"], state[kind]["exitCode"], state[kind]["signal"]]);
        }
    }
    Value::Null
}

fn is_loop(name: &str) -> bool {
    name.starts_with(&format!("{LOOP}-"))
}

/// How often a crash loop has run depends on the moment: whether the API server counts all of its runs does not.
fn without_time(node: &Node, pod: &str, seen: &mut Value) {
    let runs = workload::runs(node)
        .into_iter()
        .find(|(file, _)| file.starts_with(pod))
        .map(|(_, count)| count as u64);
    seen["restarts"] = json!(seen["restarts"].as_u64().map(|restarts| restarts + 1) == runs);
}

/// Whether the crash loop waits for its next run: the one state of it that lasts.
pub fn is_waiting(view: &View) -> bool {
    let mut loops = view.iter().filter(|(name, _)| name.strip_prefix("pod ").is_some_and(is_loop));
    loops.all(|(_, pod)| pod["containers"]["main"]["state"][1] == "CrashLoopBackOff")
}

fn without_number(text: &str) -> String {
    text.chars()
        .map(|letter| if letter.is_ascii_digit() { '#' } else { letter })
        .collect::<String>()
        .replace("##", "#")
}
