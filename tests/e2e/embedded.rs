//! A node whose runtime is the embedded one, in this process.

use std::path::PathBuf;
use std::time::Duration;

use cri_gc::wiring::Seams;
use cri_gc_kit::seams::{Clock, FsProbe};
use cri_gc_sim::{
    Code, ContainerState, Fault, Flavour, ImageSpec, LayerSpec, Method, Options, SandboxState, Scope, Sim,
};
use cri_gc_test_support::{Cri, Kubelet, PAUSE_IMAGE, TmpfsSize, flavours::options};
use jiff::Timestamp;

use crate::inventory::REGISTRY;
use crate::node::{Node, Runtime};

/// How far the node's clock is behind at first. It advances by [`TICK`] with each object, and so is never ahead of the
/// program's.
const BEHIND: Duration = Duration::from_secs(60);
/// It is longer than the 30 ms by which CRI-O's lists shift the creation of one container against that of another.
const TICK: Duration = Duration::from_millis(40);
const MIB: u64 = 1 << 20;

/// As often as containerd counts writable layers.
const COUNTED: Duration = Duration::from_secs(10);

/// How long it takes to remove a container once that is to take a moment.
/// The calls that a service sends again and again.
const ASKED: [Method; 7] = [
    Method::Version,
    Method::Status,
    Method::ListContainers,
    Method::ListPodSandbox,
    Method::ContainerStatus,
    Method::ListImages,
    Method::ImageFsInfo,
];

const REMOVAL: Duration = Duration::from_millis(100);

/// The embedded runtime and the folder that it lives in.
pub struct Embedded {
    sim: Sim,
    // Removed after the server has ended: fields are dropped in order.
    _folder: tempfile::TempDir,
}

/// A node of the flavour that the test is about.
pub fn node() -> Node {
    node_and_sim(options()).0
}

/// A node with a disk of that size.
pub fn node_on_disk(size: TmpfsSize) -> Node {
    let options = options();
    let inodes = size.inodes.unwrap_or(options.inodes);
    let mut node = node_and_sim(Options { capacity_bytes: size.mib * MIB, inodes, ..options }).0;
    // The binary would measure the disk of this machine.
    node.inside();
    node
}

/// A node, and the handle of its runtime, for faults and hooks.
pub fn node_and_sim(options: Options) -> (Node, Sim) {
    // Not where the environment may say: the path of a socket has to be short.
    let folder = tempfile::Builder::new().prefix("cri-gc-").tempdir_in("/tmp").unwrap();
    let start_time = Timestamp::now() - jiff::SignedDuration::try_from(BEHIND).unwrap();
    let options = Options { start_time, sandbox_image: PAUSE_IMAGE.to_owned(), ..options };
    let sim = Sim::start(&folder.path().canonicalize().unwrap(), options).unwrap();
    (Node::new(Box::new(Embedded { sim: sim.clone(), _folder: folder })), sim)
}

impl Runtime for Embedded {
    fn cri(&self) -> Cri {
        Cri::new(self.sim.socket())
    }

    fn endpoint(&self) -> String {
        self.sim.endpoint()
    }

    fn dir(&self) -> PathBuf {
        self.sim.paths().root.clone()
    }

    fn pod_logs(&self) -> PathBuf {
        self.sim.paths().pod_logs_root.clone()
    }

    fn container_logs(&self) -> PathBuf {
        self.sim.paths().legacy_root.clone()
    }

    fn image_root(&self) -> PathBuf {
        self.sim.paths().images.clone()
    }

    fn tick(&self) {
        self.sim.advance(TICK);
    }

    fn add_image(&self, names: &[&str], mib: u64) {
        let full = |name: &str| format!("{REGISTRY}{name}");
        let base = LayerSpec::new("busybox", MIB, 2 * MIB);
        let own = LayerSpec::new(names[0], mib * MIB, mib * MIB);
        let image = ImageSpec::new(full(names[0]))
            .layer(base)
            .layer(own)
            .with(|image| image.digests = Some(Vec::new()));
        self.sim.add_image(names[1..].iter().fold(image, |image, name| image.tag(full(name))));
    }

    fn add_image_of_files(&self, name: &str, files: u64) {
        let layer = LayerSpec::new(name, MIB, MIB).files(files);
        self.sim.add_image(
            ImageSpec::new(format!("{REGISTRY}{name}"))
                .layer(layer)
                .with(|image| image.digests = Some(Vec::new())),
        );
    }

    fn add_layered_image(&self, name: &str, layers: &[(&str, u64)]) {
        let image =
            ImageSpec::new(format!("{REGISTRY}{name}")).layer(LayerSpec::new("busybox", MIB, 2 * MIB));
        let layer = |(name, mib): &(&str, u64)| LayerSpec::new(*name, mib * MIB, mib * MIB);
        let image = layers.iter().fold(image, |image, own| image.layer(layer(own)));
        self.sim.add_image(image.with(|image| image.digests = Some(Vec::new())));
    }

    fn tag(&self, image: &str, name: &str) {
        self.sim
            .with(|node| node.move_tag(&format!("{REGISTRY}{name}"), &format!("{REGISTRY}{image}")))
            .unwrap();
    }

    fn end(&self, container: &str) {
        self.sim.set_container_state(container, ContainerState::Exited).unwrap();
    }

    fn wrote(&self, container: &str, mib: u64) {
        self.sim.with(|node| node.set_writable(container, mib * MIB, 1)).unwrap();
        self.sim.advance(COUNTED);
    }

    fn reports_layers_of_dead_containers(&self) -> bool {
        self.sim.with(|node| node.options.flavour != Flavour::CriO)
    }

    fn lose_sandbox(&self, id: &str) {
        self.sim.with(|node| node.set_sandbox_state(id, SandboxState::NotReady)).unwrap();
    }

    fn lose_status(&mut self, container: &str) {
        self.sim.set_container_state(container, ContainerState::Unknown).unwrap();
    }

    fn break_teardown(&self) {
        let broken = Fault::error(Code::Unknown, "failed to destroy network for sandbox: broken by the test");
        self.sim.fault(Method::StopPodSandbox, broken, Scope::Always);
    }

    fn repair_teardown(&self) {
        self.sim.clear_faults();
    }

    fn slow_down(&self) {
        self.sim.fault(Method::RemoveContainer, Fault::Delay(REMOVAL), Scope::Always);
    }

    fn order_of_calls(&self, container: &str) -> Vec<&'static str> {
        let name = |method: Method| match method {
            Method::StopContainer => Some("StopContainer"),
            Method::RemoveContainer => Some("RemoveContainer"),
            _ => None,
        };
        let calls = self.sim.calls();
        calls.iter().filter(|call| call.id == container).filter_map(|call| name(call.method)).collect()
    }

    fn advance(&self, by: Duration) {
        self.sim.advance(by);
    }

    fn seams(&self) -> Seams {
        let (clock, probe) = (self.sim.clock(), self.sim.fs_probe());
        let (clock, probe) = (Clock::new(move || clock()), FsProbe::new(move |path| probe(path)));
        Seams { clock, probe, ..Seams::system() }
    }

    fn order_death(&mut self, left: usize) {
        let sim = self.sim.clone();
        self.sim.before(Method::RemoveContainer, move |node, _| {
            if node.containers().count() <= left {
                sim.kill();
            }
        });
    }

    fn await_death(&mut self, _left: usize) {
        // The hook that was ordered sees to it.
    }

    fn kill(&mut self) {
        self.sim.kill();
    }

    fn hang(&self) {
        for method in ASKED {
            self.sim.fault(method, Fault::Hang, Scope::Always);
        }
    }

    fn go_on(&self) {
        self.sim.clear_faults();
    }

    fn restart(&mut self) {
        self.sim.clear_hooks();
        self.sim.restart().unwrap();
    }

    fn names_the_sandbox_image(&self) -> bool {
        self.sim.with(|node| node.options.flavour.names_the_sandbox_image())
    }

    fn takes_pods_without_uid(&self) -> bool {
        self.sim.with(|node| node.options.flavour != Flavour::CriO)
    }

    fn has_streams(&self) -> bool {
        self.sim.with(|node| node.options.flavour == Flavour::CriO)
    }

    fn kubelet(&self, _test: &str) -> Option<Kubelet> {
        None
    }
}
