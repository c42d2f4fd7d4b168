//! Whether a kubelet would have been allowed to remove what cri-gc has removed (behaviour: Dead containers): seen on the runtime's side,
//! without asking cri-gc for its reasons.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use cri_gc_proto::cri::{ContainerState, Pair, PodSandboxState};
use cri_gc_test_support::Cri;
use jiff::Timestamp;
use serde_json::Value;

use crate::node::{Node, UNUSED};

/// Pause between two observations.
const PAUSE: Duration = Duration::from_millis(200);

const POD_UID: &str = "io.kubernetes.pod.uid";
const POD_NAME: &str = "io.kubernetes.pod.name";

/// A container, or a sandbox, of a pod.
#[derive(Debug, Clone)]
struct Object {
    /// Empty for a sandbox.
    name: String,
    uid: String,
    attempt: u32,
    created_at: Timestamp,
    /// When it was last seen running, or ready.
    alive_at: Option<Timestamp>,
}

#[derive(Debug, Default)]
struct Seen {
    objects: BTreeMap<String, Object>,
    /// UIDs of pods by name: those of static pods are drawn by the kubelet.
    uids: BTreeMap<String, BTreeSet<String>>,
    /// Ids of all objects that there are now.
    present: BTreeSet<String>,
    observations: u64,
}

/// Observes a runtime, from its start to its drop.
pub struct Recorder {
    seen: Arc<Mutex<Seen>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Recorder {
    /// Starts to observe that node.
    pub fn start(node: &Node) -> Self {
        let (seen, stop) = (Arc::<Mutex<Seen>>::default(), Arc::<AtomicBool>::default());
        let (socket, shared, ends) = (node.containerd.socket(), Arc::clone(&seen), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(observe(&socket, &shared, &ends));
        });
        Self { seen, stop, thread: Some(thread) }
    }

    /// UIDs of the pods that had that name.
    pub fn uids(&self, pod: &str) -> BTreeSet<String> {
        self.seen.lock().unwrap().uids.get(pod).cloned().unwrap_or_default()
    }

    /// Ids of the containers and sandboxes of these pods that the runtime has now.
    pub fn present(&self, uids: &BTreeSet<String>) -> BTreeSet<String> {
        let seen = self.seen.lock().unwrap();
        let of_them = |id: &&String| seen.objects.get(*id).is_some_and(|object| uids.contains(&object.uid));
        seen.present.iter().filter(of_them).cloned().collect()
    }

    /// Asserts of each removal that a kubelet would have been allowed to it. `ended`: UIDs of pods that were deleted or evicted, with the
    /// earliest time at which they were. Returns how many there were, by reason.
    pub fn judge(&self, removals: &[Value], ended: &BTreeMap<String, Timestamp>) -> BTreeMap<String, usize> {
        let seen = self.seen.lock().unwrap();
        assert!(seen.observations > 10, "the runtime was observed {} times", seen.observations);
        let mut reasons = BTreeMap::new();
        for event in removals {
            let text = |field: &str| event[field].as_str().unwrap_or_default();
            let at: Timestamp = text("time").parse().unwrap();
            let has_ended = |uid: &str| ended.get(uid).is_some_and(|since| *since <= at);
            match text("object_kind") {
                "container" | "sandbox" => {
                    let object = seen.objects.get(text("object_id"));
                    // One that came and was gone between two observations was not kept by the kubelet either.
                    let object = object.unwrap_or_else(|| panic!("it was never seen: {event:#}"));
                    assert!(object.alive_at.is_none_or(|alive| alive < at), "it ran: {event:#} {object:#?}");
                    let newer = seen.objects.values().find(|other| {
                        (&other.uid, &other.name) == (&object.uid, &object.name)
                            && other.attempt > object.attempt
                            && other.created_at < at
                            // A kubelet keeps the newest dead container, also of a name that runs again.
                            && (object.name.is_empty() || other.alive_at.is_none_or(|alive| alive < at))
                    });
                    assert!(
                        has_ended(&object.uid) || newer.is_some(),
                        "the newest of a pod that exists: {event:#} {object:#?}"
                    );
                }
                "log directory" => {
                    // NAMESPACE_NAME_UID
                    let uid = text("object_id").rsplit('_').next().unwrap_or_default();
                    assert!(has_ended(uid), "the logs of a pod that exists: {event:#}");
                }
                "image" => assert!(event.to_string().contains(UNUSED), "an image that pods have: {event:#}"),
                kind => assert_eq!(kind, "log link", "{event:#}"),
            }
            *reasons.entry(text("reason").to_owned()).or_default() += 1;
        }
        reasons
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn observe(socket: &Path, seen: &Mutex<Seen>, stop: &AtomicBool) {
    let cri = Cri::new(socket);
    let mut tick = tokio::time::interval(PAUSE);
    while !stop.load(Ordering::Relaxed) {
        tick.tick().await;
        // Before the question: what is reported as running then was so at that time.
        let at = Timestamp::now();
        let (Ok(containers), Ok(sandboxes)) = (cri.list_containers().await, cri.list_sandboxes().await)
        else {
            continue;
        };
        let mut seen = seen.lock().unwrap();
        seen.observations += 1;
        seen.present.clear();
        for container in containers {
            let state = container.state() == ContainerState::ContainerRunning;
            let metadata = container.metadata.clone().unwrap_or_default();
            seen.note(
                &container.id,
                &container.labels,
                (metadata.name, metadata.attempt),
                container.created_at,
                state,
                at,
            );
        }
        for sandbox in sandboxes {
            let state = sandbox.state() == PodSandboxState::SandboxReady;
            let attempt = sandbox.metadata.as_ref().map_or(0, |metadata| metadata.attempt);
            seen.note(&sandbox.id, &sandbox.labels, (String::new(), attempt), sandbox.created_at, state, at);
        }
    }
}

impl Seen {
    fn note(
        &mut self,
        id: &str,
        labels: &[Pair],
        (name, attempt): (String, u32),
        created_at: i64,
        is_alive: bool,
        at: Timestamp,
    ) {
        let label = |key| labels.iter().find(|pair| pair.key == key).map(|pair| pair.value.clone());
        let (uid, pod) = (label(POD_UID).unwrap_or_default(), label(POD_NAME).unwrap_or_default());
        self.present.insert(id.to_owned());
        self.uids.entry(pod).or_default().insert(uid.clone());
        let created_at = Timestamp::from_nanosecond(i128::from(created_at)).unwrap();
        let new = Object { name, uid, attempt, created_at, alive_at: None };
        let object = self.objects.entry(id.to_owned()).or_insert(new);
        if is_alive {
            object.alive_at = Some(at);
        }
    }
}
