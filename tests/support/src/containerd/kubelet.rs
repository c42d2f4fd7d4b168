//! A real kubelet beside a containerd, without an API server: it has static pods. On a machine without one, tests of it are skipped,
//! audibly.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::{Containerd, tool};
use crate::cri::PodSpec;
use crate::skip::skipped;

/// Names the kubelet to test with, one of Kubernetes 1.20 (tests/support/build-kubernetes.sh); newer ones need flags of their own.
pub const KUBELET_ENV: &str = "CRI_GC_TEST_KUBELET";

/// The last part of the names of its static pods.
const NODE: &str = "cri-gc-test";

/// Where it shows its metrics, in the network of its containerd.
const METRICS: &str = "10255";

/// More pods than a benchmark has.
const MAX_PODS: &str = "10000";

/// The whole name of the static pod whose manifest names it so.
#[must_use]
pub fn static_pod_name(name: &str) -> String {
    format!("{name}-{NODE}")
}

/// A kubelet, which ends with this. It has no flag for where logs of pods are, so those of its own pods are in `/var/log/pods`.
#[derive(Debug)]
pub struct Kubelet {
    command: Command,
    child: Option<Child>,
    folder: PathBuf,
    netns: PathBuf,
    /// Directories of the logs of its pods.
    logs: Vec<PathBuf>,
}

impl Containerd {
    /// A kubelet that can be started, or `None` where there is none for this containerd, after a line on stderr that says why.
    ///
    /// # Panics
    /// If its files can't be written.
    #[must_use]
    pub fn kubelet_or_skip(&self, test: &str) -> Option<Kubelet> {
        let named = std::env::var_os(KUBELET_ENV).filter(|value| !value.is_empty()).map(PathBuf::from);
        // Kubernetes 1.20 speaks the first version of the CRI, which containerd 2 no longer has.
        let Some(binary) = named.filter(|_| !self.at_least(2, 0)) else {
            let why = format!("needs a kubelet of Kubernetes 1.20 (named by {KUBELET_ENV}) and containerd 1");
            skipped(test, &why);
            return None;
        };
        let folder = self.dir().join("real-kubelet");
        fs::create_dir_all(folder.join("manifests")).unwrap();
        let log = File::create(folder.join("log")).unwrap();
        let file = |name: &str| folder.join(name).display().to_string();
        let flags = [
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
            ("address", "127.0.0.1".to_owned()),
            ("read-only-port", METRICS.to_owned()),
            ("max-pods", MAX_PODS.to_owned()),
            ("healthz-port", "0".to_owned()),
        ];
        let off = [
            "register-node=false",
            "cgroups-per-qos=false",
            "enforce-node-allocatable=",
            "fail-swap-on=false",
            "eviction-hard=",
            "make-iptables-util-chains=false",
        ];
        let netns = self.dir().join("netns");
        let mut command = within(&netns);
        command.arg(binary);
        command.args(flags.map(|(flag, value)| format!("--{flag}={value}")));
        command.args(off.map(|flag| format!("--{flag}")));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        Some(Kubelet { command, child: None, folder, netns, logs: Vec::new() })
    }
}

/// A command in that network.
fn within(netns: &Path) -> Command {
    let mut command = tool("nsenter").unwrap();
    command.arg(format!("--net={}", netns.display()));
    command
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
        let output = within(&self.netns).args(["busybox", "wget", "-q", "-O", "-", &url]).output().unwrap();
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
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
