//! A node of a real cluster, and who collects garbage there.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cri_gc_test_support::cluster::{ControlPlane, Programs, cluster_or_skip};
use cri_gc_test_support::{
    Containerd, Ended, Kubelet, NODE, OciImage, Options, Running, containerd_or_skip, missing_pieces,
    until_every,
};
use serde_json::Value;

/// The image of all pods, and one that no pod has.
pub const APP: &str = "cri-gc.test/app:1";
pub const UNUSED: &str = "cri-gc.test/unused:1";

/// More removals than any test causes.
const ALL: &str = "10000";

/// Pause between two checks of a cluster: each is a command.
pub const PAUSE: Duration = Duration::from_secs(1);

/// What may take some restarts of containers with the kubelet's pauses between them, on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// A service account with these rights, and with that of old kubelets for `/pods`.
pub const RIGHTS: &str = include_str!("../../deploy/kubernetes/rights/rbac.yaml");
const OLD_KUBELETS: [&str; 4] = ["clusterrole", "cri-gc-old-kubelet", "--verb=get", "--resource=nodes/proxy"];

/// Who removes dead containers and images on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Collector {
    /// The kubelet, as it is without any setting.
    Kubelet,
    /// cri-gc with this pod source; the kubelet's own collection is switched off as far as it can be.
    CriGc(&'static str),
}

/// A node. Fields are dropped in order.
pub struct Node {
    pub service: Option<Running>,
    pub kubelet: Kubelet,
    pub plane: ControlPlane,
    pub containerd: Containerd,
}

/// What a test needs, or `None` after a line on stderr that says what is missing.
pub fn programs(test: &str) -> Option<Programs> {
    if !missing_pieces().is_empty() {
        let _ = containerd_or_skip(test, Options::default());
        return None;
    }
    cluster_or_skip(test)
}

impl Node {
    /// Starts one: its containerd, its cluster, its kubelet, and cri-gc if that collects.
    pub fn start(test: &str, programs: &Programs, collector: Collector) -> Self {
        let options = Options { usual_log_folders: true, ..Options::default() };
        let containerd = containerd_or_skip(test, options).expect("there was one a moment ago");
        for image in [APP, UNUSED] {
            containerd.import(&OciImage::new(image));
        }
        let plane = ControlPlane::start(&containerd, programs);
        plane.ask(&["apply", "-f", "-"], RIGHTS);
        plane.ask(&[&["create"], &OLD_KUBELETS[..]].concat(), "");
        let binding = ["clusterrolebinding", "cri-gc-old-kubelet", "--clusterrole=cri-gc-old-kubelet"];
        plane.ask(&[&["create"], &binding[..], &["--serviceaccount=kube-system:cri-gc"]].concat(), "");
        let mut flags = vec![
            // Statuses are compared once they do not change any more; by default that takes minutes.
            ("sync-frequency", "10s"),
            ("image-gc-high-threshold", "100"),
        ];
        if collector != Collector::Kubelet {
            // With a negative number, which is no limit for its passes, it removes all but one whenever a container ends.
            flags.push(("maximum-dead-containers-per-container", "1000"));
            flags.push(("maximum-dead-containers", "-1"));
            flags.push(("minimum-container-ttl-duration", "24h"));
        }
        let kubelet = plane.join(&containerd, programs, &flags);
        let mut node = Self { service: None, kubelet, plane, containerd };
        fs::create_dir(node.runs()).unwrap();
        if let Collector::CriGc(source) = collector {
            node.renew_token(Duration::from_secs(24 * 3600));
            fs::write(node.path("cri-gc.toml"), node.configuration(source)).unwrap();
            node.serve();
        }
        node
    }

    /// A file or folder of this node's own.
    pub fn path(&self, name: &str) -> PathBuf {
        self.containerd.dir().join(name)
    }

    /// A folder in which each container counts how often it has run.
    pub fn runs(&self) -> PathBuf {
        self.path("runs")
    }

    /// Gives cri-gc a token that expires after that time.
    pub fn renew_token(&self, lifetime: Duration) {
        let token = self.plane.token("kube-system", "cri-gc", lifetime);
        // Replaced as a whole, as a kubelet does it for pods.
        fs::write(self.path("token.new"), token).unwrap();
        fs::rename(self.path("token.new"), self.path("token")).unwrap();
    }

    /// Everything is enforced, and soon; what decides is as by default otherwise.
    fn configuration(&self, source: &str) -> String {
        let file = |name: &str| self.path(name).display().to_string();
        let mut text =
            format!("node_name = {NODE:?}\n[runtime]\nendpoint = {:?}\n", self.containerd.endpoint());
        let root = self.kubelet.root().display().to_string();
        writeln!(text, "[pods]\nsource = {source:?}\nkubelet_root = {root:?}").unwrap();
        self.plane.write_kubeconfig(&self.path("kubeconfig"), &self.path("token"));
        writeln!(text, "[pods.kube_api]\nkubeconfig = {:?}", file("kubeconfig")).unwrap();
        let ca = self.plane.ca().display().to_string();
        writeln!(text, "[pods.kubelet]\nperiod = \"2s\"\ntoken_file = {:?}\nca_file = {ca:?}", file("token"))
            .unwrap();
        for section in ["container_gc", "sandbox_gc", "log_gc"] {
            let age = if section == "container_gc" { "min_dead_age = \"10s\"\n" } else { "" };
            writeln!(text, "[{section}]\nperiod = \"1s\"\n{age}").unwrap();
        }
        text += "[image_gc]\nperiod = \"1s\"\nmin_age = \"0s\"\nmax_age = \"20s\"\nhigh_threshold_percent = 100\n\
                 low_threshold_percent = 100\n";
        let (state, runtime) = (file("state"), file("runtime-state"));
        writeln!(text, "[admin]\nsocket = {:?}\n[state]\ndir = {state:?}", file("admin.sock")).unwrap();
        writeln!(text, "runtime_dir = {runtime:?}\n[log]\nlevel = \"debug\"\nformat = \"json\"").unwrap();
        text
    }

    /// Starts the service.
    pub fn serve(&mut self) {
        let config = self.path("cri-gc.toml").display().to_string();
        self.service = Some(self.cri_gc(&["run", "--config", &config]));
    }

    /// Runs cri-gc as on a node: there it sees the network and the logs of the pods.
    fn cri_gc(&self, arguments: &[&str]) -> Running {
        let mut command = self.containerd.namespaces().command(env!("CARGO_BIN_EXE_cri-gc"));
        command.args(arguments).env_clear().stdin(std::process::Stdio::null());
        Running::start(command)
    }

    /// What a command answers that calls the service.
    pub fn ask(&self, command: &[&str]) -> Ended {
        let socket = self.path("admin.sock").display().to_string();
        self.cri_gc(&[command, &["--socket", &socket]].concat()).wait()
    }

    /// The state of the service; `None` while it does not answer.
    pub fn status(&self) -> Option<Value> {
        let ended = self.ask(&["status", "-o", "json"]);
        serde_json::from_str(&ended.stdout).ok()
    }

    /// Waits until the service reports a state that suits.
    #[track_caller]
    pub fn until_status(&self, what: &str, suits: impl Fn(&Value) -> bool) -> Value {
        let mut last = None;
        let check = || {
            last = self.status();
            last.clone().filter(|status| suits(status))
        };
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            until_every(PAUSE, PATIENCE, what, check)
        }));
        found.unwrap_or_else(|_| panic!("{what}: {last:#?}\n{}", self.kubelet_log()))
    }

    /// All removals, as the history has them.
    pub fn removals(&self) -> Vec<Value> {
        let ended = self.ask(&["history", "--kind", "Removed", "--limit", ALL, "-o", "json"]);
        assert_eq!(ended.code, 0, "{ended:?}");
        let all: Vec<Value> = ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(all.len().to_string() != ALL, "there may be more");
        all
    }

    /// The end of the kubelet's log.
    pub fn kubelet_log(&self) -> String {
        let log = self.kubelet.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }

    /// Creates a static pod.
    pub fn write_manifest(&self, name: &str, pod: &Value) {
        fs::write(self.manifest(name), pod.to_string()).unwrap();
    }

    /// Deletes a static pod.
    pub fn remove_manifest(&self, name: &str) {
        fs::remove_file(self.manifest(name)).unwrap();
    }

    fn manifest(&self, name: &str) -> PathBuf {
        Path::join(&self.kubelet.manifests(), format!("{name}.json"))
    }
}
