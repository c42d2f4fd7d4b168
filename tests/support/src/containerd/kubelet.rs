//! A real kubelet next to a containerd: without an API server, where it has static pods, or with one
//! ([`ControlPlane`](crate::cluster::ControlPlane)). On a machine without one, tests of it are skipped, audibly.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::{Containerd, Entry};
use crate::cluster::{Programs, kubernetes_or_skip};
use crate::cri::PodSpec;

/// The name of its node, and the last part of the names of its static pods.
pub const NODE: &str = "cri-gc-test";

/// Where it shows its metrics, in the network of its containerd.
const METRICS: &str = "10255";

/// More pods than a benchmark has.
const MAX_PODS: &str = "10000";

/// The whole name of the static pod whose manifest names it so.
#[must_use]
pub fn static_pod_name(name: &str) -> String {
    format!("{name}-{NODE}")
}

/// A kubelet, which ends with this. It has no flag for where logs of pods are: they are in `/var/log/pods`, of the machine or of its
/// containerd's own ([`usual_log_folders`](super::Options::usual_log_folders)).
#[derive(Debug)]
pub struct Kubelet {
    command: Command,
    child: Option<Child>,
    folder: PathBuf,
    entry: Entry,
    /// Directories of the logs of its pods.
    logs: Vec<PathBuf>,
}

impl Containerd {
    /// A kubelet without an API server that can be started, or `None` where there is none, after a line on stderr that says why.
    ///
    /// # Panics
    /// If its files can't be written, and if there has to be one and there is none.
    #[must_use]
    pub fn kubelet_or_skip(&self, test: &str) -> Option<Kubelet> {
        let programs = kubernetes_or_skip(test, &["kubelet"], Some(self))?;
        Some(self.kubelet(&programs, &[("register-node", "false"), ("address", "127.0.0.1")]))
    }

    /// A kubelet that can be started, with these flags next to those that every one has.
    ///
    /// # Panics
    /// If its files can't be written.
    #[must_use]
    pub fn kubelet(&self, programs: &Programs, flags: &[(&str, &str)]) -> Kubelet {
        let folder = self.dir().join("real-kubelet");
        fs::create_dir_all(folder.join("manifests")).unwrap();
        let log = File::create(folder.join("log")).unwrap();
        let file = |name: &str| folder.join(name).display().to_string();
        let usual = [
            ("container-runtime", "remote".to_owned()),
            ("container-runtime-endpoint", self.endpoint()),
            ("image-service-endpoint", self.endpoint()),
            ("root-dir", file("root")),
            ("cert-dir", file("cert")),
            ("volume-plugin-dir", file("volumes")),
            ("pod-manifest-path", file("manifests")),
            ("file-check-frequency", "2s".to_owned()),
            ("hostname-override", NODE.to_owned()),
            ("cgroup-driver", "cgroupfs".to_owned()),
            ("cgroup-root", self.cgroup()),
            ("read-only-port", METRICS.to_owned()),
            ("max-pods", MAX_PODS.to_owned()),
            ("healthz-port", "0".to_owned()),
        ];
        let off = [
            "cgroups-per-qos=false",
            "enforce-node-allocatable=",
            "fail-swap-on=false",
            "eviction-hard=",
            "make-iptables-util-chains=false",
        ];
        let mut command = self.namespaces().command(programs.path("kubelet"));
        command.args(usual.map(|(flag, value)| format!("--{flag}={value}")));
        command.args(off.map(|flag| format!("--{flag}")));
        command.args(flags.iter().map(|(flag, value)| format!("--{flag}={value}")));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        Kubelet { command, child: None, folder, entry: self.namespaces().entry(), logs: Vec::new() }
    }
}

impl Kubelet {
    /// Starts it.
    ///
    /// # Panics
    /// If it can't be started.
    pub fn start(&mut self) {
        self.child = Some(self.command.spawn().unwrap());
    }

    /// What it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// Has it run a pod with one container of that image, which must be there. Returns the name of the pod.
    pub fn run_pod(&mut self, name: &str, image: &str) -> String {
        let spec = PodSpec::new("default", &static_pod_name(name));
        self.keep(&spec, "Always", image, &["main"]);
        spec.name
    }

    /// Has it know a pod whose containers of these names have ended, and are not started again. Its name is that of a
    /// [static pod](static_pod_name).
    pub fn know_ended_pod(&mut self, spec: &PodSpec, image: &str, containers: &[&str]) {
        self.keep(spec, "Never", image, containers);
    }

    fn keep(&mut self, spec: &PodSpec, restart_policy: &str, image: &str, containers: &[&str]) {
        let PodSpec { namespace, name, uid, .. } = spec;
        let short = name.strip_suffix(NODE).and_then(|name| name.strip_suffix('-')).unwrap();
        let container = |name: &&str| {
            format!(
                "  - {{name: {name}, image: {image:?}, imagePullPolicy: Never, command: [/bin/sleep, '10000']}}\n"
            )
        };
        let manifest = format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {short}, namespace: {namespace}, uid: {uid}}}\nspec:\n  \
             restartPolicy: {restart_policy}\n  containers:\n{}",
            containers.iter().map(container).collect::<String>()
        );
        self.logs.push(PathBuf::from(format!("/var/log/pods/{namespace}_{name}_{uid}")));
        fs::write(self.folder.join("manifests").join(format!("{short}.yaml")), manifest).unwrap();
    }

    /// Id of its process.
    ///
    /// # Panics
    /// If it is not started.
    #[must_use]
    pub fn pid(&self) -> u32 {
        // nsenter becomes the kubelet.
        self.child.as_ref().unwrap().id()
    }

    /// Its metrics; `None` while it shows none.
    ///
    /// # Panics
    /// If busybox can't be run.
    #[must_use]
    pub fn metrics(&self) -> Option<String> {
        let url = format!("http://127.0.0.1:{METRICS}/metrics");
        let output = self.entry.command("busybox").args(["wget", "-q", "-O", "-", &url]).output().unwrap();
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Its root directory.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.folder.join("root")
    }

    /// The folder of the manifests of its static pods.
    #[must_use]
    pub fn manifests(&self) -> PathBuf {
        self.folder.join("manifests")
    }

    /// Ends it, with the pods that it knows.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = fs::remove_dir_all(self.folder.join("root"));
        for manifest in fs::read_dir(self.folder.join("manifests")).into_iter().flatten().flatten() {
            let _ = fs::remove_file(manifest.path());
        }
        for logs in self.logs.drain(..) {
            let _ = fs::remove_dir_all(logs);
        }
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.stop();
    }
}
