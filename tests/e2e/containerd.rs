//! A node whose runtime is a real containerd.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cri_gc::wiring::Seams;
use cri_gc_kit::seams::Clock;
use cri_gc_test_support::{
    Containerd, Cri, Kubelet, Layer, OciImage, Options, TmpfsSize, containerd_or_skip, until,
};
use jiff::{SignedDuration, Timestamp};

use crate::inventory::REGISTRY;
use crate::node::{Node, Runtime};

/// How long containerd may take to remove a few containers.
const PATIENCE: Duration = Duration::from_secs(60);

/// A containerd, and by how many seconds the clock that collectors in this process are given is ahead.
struct Real {
    containerd: Containerd,
    ahead: Arc<AtomicU64>,
}

/// A node, or `None` (said on stderr) where there can be none.
pub fn node(test: &str) -> Option<Node> {
    start(test, Options::default())
}

/// A node whose images and containers lie on a tmpfs of that size.
pub fn node_on_tmpfs(test: &str, size: TmpfsSize) -> Option<Node> {
    start(test, Options { root_tmpfs: Some(size), ..Options::default() })
}

fn start(test: &str, options: Options) -> Option<Node> {
    let containerd = containerd_or_skip(test, options)?;
    Some(Node::new(Box::new(Real { containerd, ahead: Arc::default() })))
}

/// Where the content of a layer of that name begins.
fn seed(name: &str) -> u64 {
    name.bytes().map(u64::from).fold(1, |sum, byte| sum * 31 % 1_000_003 + byte)
}

impl Runtime for Real {
    fn cri(&self) -> Cri {
        self.containerd.cri()
    }

    fn endpoint(&self) -> String {
        self.containerd.endpoint()
    }

    fn dir(&self) -> PathBuf {
        self.containerd.dir().to_owned()
    }

    fn pod_logs(&self) -> PathBuf {
        self.containerd.pod_logs().to_owned()
    }

    fn container_logs(&self) -> PathBuf {
        self.containerd.container_logs().to_owned()
    }

    fn image_root(&self) -> PathBuf {
        self.containerd.root().to_owned()
    }

    fn tick(&self) {}

    fn add_image(&self, names: &[&str], mib: u64) {
        let full = |name: &str| format!("{REGISTRY}{name}");
        // The name is a part of the image, so the same seed does not make the same image.
        let image = OciImage::new(&full(names[0]));
        let image = if mib > 0 { image.payload(seed(names[0]), mib << 20) } else { image };
        self.containerd.import(&names[1..].iter().fold(image, |image, name| image.name(&full(name))));
    }

    fn add_image_of_files(&self, name: &str, files: u64) {
        let seed = name.bytes().map(u64::from).sum();
        self.containerd
            .import(&OciImage::new(&format!("{REGISTRY}{name}")).layer(&Layer::files(seed, files, 8)));
    }

    fn add_layered_image(&self, name: &str, layers: &[(&str, u64)]) {
        let image = OciImage::new(&format!("{REGISTRY}{name}"));
        let image = layers.iter().fold(image, |image, (layer, mib)| image.payload(seed(layer), mib << 20));
        self.containerd.import(&image);
    }

    fn tag(&self, image: &str, name: &str) {
        self.containerd.tag(&format!("{REGISTRY}{image}"), &format!("{REGISTRY}{name}"));
    }

    fn end(&self, _container: &str) {
        // It ends by itself.
    }

    fn wrote(&self, _container: &str, _mib: u64) {
        // It counts by itself.
    }

    fn reports_layers_of_dead_containers(&self) -> bool {
        true
    }

    fn lose_sandbox(&self, id: &str) {
        self.containerd.kill_init(id);
    }

    fn lose_status(&mut self, container: &str) {
        self.containerd.lose_status(container);
    }

    fn break_teardown(&self) {
        self.containerd.break_cni();
    }

    fn repair_teardown(&self) {
        self.containerd.mend_cni();
    }

    fn slow_down(&self) {
        // It writes to the disk, and ends mounts and networks: that takes a moment.
    }

    fn order_of_calls(&self, container: &str) -> Vec<&'static str> {
        let log = std::fs::read_to_string(self.containerd.log_path()).unwrap();
        let calls = |line: &str| {
            let quoted = |call: &str| line.contains(&format!("{call} for \\\"{container}\\\""));
            ["StopContainer", "RemoveContainer"].into_iter().find(|call| quoted(call))
        };
        let mut order: Vec<&str> = log.lines().filter_map(calls).collect();
        order.dedup();
        order
    }

    fn advance(&self, by: Duration) {
        self.ahead.fetch_add(by.as_secs(), Ordering::Relaxed);
    }

    fn seams(&self) -> Seams {
        let ahead = Arc::clone(&self.ahead);
        let seconds = move || i64::try_from(ahead.load(Ordering::Relaxed)).unwrap();
        let clock = Clock::new(move || Timestamp::now() + SignedDuration::from_secs(seconds()));
        Seams { clock, ..Seams::system() }
    }

    fn order_death(&mut self, _left: usize) {
        // It is killed from outside, by `await_death`.
    }

    fn await_death(&mut self, left: usize) {
        let folder = self.containerd.root().join("io.containerd.grpc.v1.cri/containers");
        let count = || std::fs::read_dir(&folder).map_or(0, Iterator::count);
        until(PATIENCE, "some containers are removed", || (count() <= left).then_some(()));
        self.containerd.kill();
    }

    fn kill(&mut self) {
        self.containerd.kill();
    }

    fn hang(&self) {
        self.containerd.hang();
    }

    fn go_on(&self) {
        self.containerd.go_on();
    }

    fn restart(&mut self) {
        self.containerd.restart();
    }

    fn names_the_sandbox_image(&self) -> bool {
        !self.containerd.at_least(2, 0)
    }

    fn takes_pods_without_uid(&self) -> bool {
        true
    }

    fn has_streams(&self) -> bool {
        false
    }

    fn kubelet(&self, test: &str) -> Option<Kubelet> {
        self.containerd.kubelet_or_skip(test)
    }
}
