//! A node on a real containerd that is full of dead containers, and those who collect them, for benchmarks. Half of its pods are deleted;
//! each has dead containers of two names, and the newest of each name of a living pod is kept.

#![allow(dead_code, reason = "not every benchmark needs all of it")]

use std::path::Path;
use std::time::{Duration, Instant};

use cri_gc_proto::cri::{Container, ContainerState, PodSandbox};
use cri_gc_test_support::{ContainerSpec, Containerd, Cri, PodSpec, pod_log_dir, static_pod_name};
use futures_util::StreamExt;

use crate::service::{self, METRICS, Requests, Service};

/// The image of all containers.
pub const IMAGE: &str = "registry.example/bench/app:1";

/// Of the containers of each pod.
pub const NAMES: [&str; 2] = ["app", "sidecar"];

/// Removals in flight of the least, as the service has them at most.
const IN_FLIGHT: usize = 8;

/// At most so many pods have UIDs of one round.
const ROUND: usize = 10_000;

/// UID of the pod that runs meanwhile, if one does. A source that lists none of the pods that run is not believed.
pub fn running() -> String {
    cri_gc_sim::uid(ROUND - 1)
}

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// A node full of dead containers.
pub struct Node<'a> {
    pub containerd: &'a Containerd,
    pub cri: Cri,
    /// Makes its UIDs its own.
    round: usize,
    pods: usize,
    /// Of each name in each pod.
    attempts: u32,
}

impl<'a> Node<'a> {
    pub async fn make(containerd: &'a Containerd, round: usize, pods: usize, attempts: u32) -> Self {
        let node = Self { containerd, cri: containerd.cri(), round, pods, attempts };
        let made = futures_util::stream::iter(0..pods).map(|number| node.pod(number));
        made.buffer_unordered(4).collect::<Vec<()>>().await;
        node
    }

    fn uid(&self, number: usize) -> String {
        cri_gc_sim::uid(self.round * ROUND + number)
    }

    /// Whether the pod of that UID is deleted: every second one is. `None` for one that is not of this node.
    fn is_deleted(&self, uid: &str) -> Option<bool> {
        let number = usize::from_str_radix(uid.get(..8)?, 16).ok()?.checked_sub(self.round * ROUND)?;
        (number < self.pods && uid == self.uid(number)).then_some(number % 2 == 0)
    }

    fn spec(&self, number: usize) -> PodSpec {
        let name = static_pod_name(&format!("pod-{number}"));
        let spec = PodSpec::new("bench", &name).uid(&self.uid(number));
        spec.logs(self.containerd.pod_logs())
    }

    async fn pod(&self, number: usize) {
        let pod = self.cri.run_pod(self.spec(number)).await.unwrap();
        for name in NAMES {
            let spec = ContainerSpec::exits(name, IMAGE);
            self.cri.run_dead(&pod, &spec, 0..self.attempts).await.unwrap();
        }
        self.cri.stop_pod(&pod.id).await.unwrap();
    }

    /// The dead containers that a collection removes.
    async fn dead(&self) -> Vec<Container> {
        let goes = |container: &Container| {
            let label = container.labels.iter().find(|pair| pair.key == cri_gc_proto::POD_UID_LABEL);
            let is_newest = container.metadata.as_ref().unwrap().attempt == self.attempts - 1;
            let is_dead = container.state() == ContainerState::ContainerExited;
            is_dead && self.is_deleted(&label.unwrap().value).is_some_and(|deleted| deleted || !is_newest)
        };
        let containers = self.cri.list_containers().await.unwrap();
        containers.into_iter().filter(goes).collect()
    }

    /// The sandboxes that a collection removes.
    async fn deleted(&self) -> Vec<PodSandbox> {
        let mut sandboxes = self.cri.list_sandboxes().await.unwrap();
        sandboxes.retain(|sandbox| self.is_deleted(&sandbox.metadata.as_ref().unwrap().uid) == Some(true));
        sandboxes
    }

    /// The pods that are not deleted.
    pub fn living(&self) -> impl Iterator<Item = PodSpec> {
        (1..self.pods).step_by(2).map(|number| self.spec(number))
    }

    /// Waits until a collection has removed all that it removes.
    pub async fn is_collected(&self) {
        let began = Instant::now();
        while !(self.dead().await.is_empty() && self.deleted().await.is_empty()) {
            assert!(began.elapsed() < PATIENCE, "the collection takes too long");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    /// The least that collects it. Returns its requests.
    pub async fn collect_least(&self) -> Requests {
        let (mut containers, sandboxes) = (self.dead().await, self.deleted().await);
        let goes_along =
            |container: &Container| sandboxes.iter().any(|sandbox| sandbox.id == container.pod_sandbox_id);
        containers.retain(|container| !goes_along(container));
        let of_pods =
            futures_util::stream::iter(&sandboxes).for_each_concurrent(IN_FLIGHT / 2, |sandbox| async {
                self.cri.stop_pod(&sandbox.id).await.unwrap();
                self.cri.remove_pod(&sandbox.id).await.unwrap();
            });
        let of_containers =
            futures_util::stream::iter(&containers).for_each_concurrent(IN_FLIGHT / 2, |container| async {
                self.cri.remove(&container.id).await.unwrap();
            });
        futures_util::join!(of_pods, of_containers);
        let of_pods = ["StopPodSandbox", "RemovePodSandbox"].map(|method| (method, sandboxes.len()));
        let all = of_pods.into_iter().chain([("RemoveContainer", containers.len())]);
        all.map(|(method, count)| (method.to_owned(), count)).collect()
    }

    /// As a kubelet does it: one after the other, with three requests for each container. Returns the number of requests.
    pub async fn collect_one_by_one(&self) -> usize {
        let (containers, sandboxes) = (self.dead().await, self.deleted().await);
        for container in &containers {
            self.cri.status(&container.id).await.unwrap();
            self.cri.status(&container.id).await.unwrap();
            self.cri.remove(&container.id).await.unwrap();
        }
        for sandbox in &sandboxes {
            self.cri.stop_pod(&sandbox.id).await.unwrap();
            self.cri.remove_pod(&sandbox.id).await.unwrap();
        }
        3 * containers.len() + 2 * sandboxes.len()
    }

    /// The service, which has watched the node for long enough, but only reports.
    pub async fn watched(&self) -> Watched<'_, 'a> {
        let folder = tempfile::tempdir().unwrap();
        let living = self.living().map(|pod| pod.uid).chain([running()]);
        let living = living.map(|uid| format!("{{\"uid\": {uid:?}, \"state\": \"active\"}}"));
        let list = format!("[{}]", living.collect::<Vec<_>>().join(","));
        std::fs::write(folder.path().join("pods.json"), list).unwrap();
        self.set(folder.path(), "report");
        let service = Service::start(&service::config(folder.path()));
        // The list is read every ten seconds, a pod has to be missing twice, and a container seen dead.
        tokio::time::sleep(Duration::from_secs(28)).await;
        Watched { node: self, service, folder }
    }

    /// Writes the configuration of the service.
    fn set(&self, folder: &Path, mode: &str) {
        let node = self.containerd;
        let settings = service::settings_on(&node.endpoint(), node.pod_logs(), node.container_logs(), folder);
        let own = format!(
            "pods.source = \"file\"\npods.file = {:?}\npods.max_newly_deleted_percent = 100\n\
             metrics.listen = {METRICS:?}\nlog.level = \"warning\"\ncontainer_gc.mode = {mode:?}\n\
             container_gc.period = \"5s\"\ncontainer_gc.min_dead_age = \"1s\"\nsandbox_gc.mode = {mode:?}\n\
             log_gc.mode = {mode:?}\nimage_gc.mode = \"off\"\n",
            folder.join("pods.json"),
        );
        service::configure(folder, &(settings + &own));
    }

    /// What a collection keeps is not in the way of the next one.
    pub async fn clear(&self) {
        for number in (0..self.pods).step_by(2) {
            let _ = std::fs::remove_dir_all(pod_log_dir(self.containerd.pod_logs(), &self.spec(number)));
        }
        for sandbox in self.cri.list_sandboxes().await.unwrap() {
            self.cri.stop_pod(&sandbox.id).await.unwrap();
            self.cri.remove_pod(&sandbox.id).await.unwrap();
        }
    }
}

/// The service on such a node.
pub struct Watched<'n, 'a> {
    node: &'n Node<'a>,
    pub service: Service,
    folder: tempfile::TempDir,
}

impl Watched<'_, '_> {
    /// Has it collect. Returns its requests.
    pub async fn collect(&self) -> Requests {
        let requests =
            || service::counts(&service::metrics(), "cri_gc_rpc_duration_seconds_count{", "method");
        let before = requests();
        self.node.set(self.folder.path(), "enforce");
        self.node.is_collected().await;
        let earlier = |method: &String| before.get(method).copied().unwrap_or_default();
        let since = |(method, count)| (count - earlier(&method), method);
        let since = requests().into_iter().map(since).filter(|(count, _)| *count > 0);
        since.map(|(count, method)| (method, count)).collect()
    }
}
