//! A real kubelet beside a containerd, without an API server: it has static pods. On a machine without one, tests of it are skipped,
//! audibly.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::{Containerd, tool};
use crate::skip::skipped;

/// Names the kubelet to test with, one of Kubernetes 1.20 (tests/support/build-kubernetes.sh); newer ones need flags of their own.
pub const KUBELET_ENV: &str = "CRI_GC_TEST_KUBELET";

/// The last part of the names of its static pods.
const NODE: &str = "cri-gc-test";

/// A kubelet, which ends with this. It has no flag for where logs of pods are, so those of its own pods are in `/var/log/pods`.
#[derive(Debug)]
pub struct Kubelet {
    command: Command,
    child: Option<Child>,
    folder: PathBuf,
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
            ("read-only-port", "0".to_owned()),
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
        let mut command = tool("nsenter").unwrap();
        command.arg(format!("--net={}", self.dir().join("netns").display())).arg(binary);
        command.args(flags.map(|(flag, value)| format!("--{flag}={value}")));
        command.args(off.map(|flag| format!("--{flag}")));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        Some(Kubelet { command, child: None, folder, logs: Vec::new() })
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
        let uid = crate::fresh_uid();
        let manifest = format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: default, uid: {uid}}}\nspec:\n  containers:\n  - \
             {{name: main, image: {image:?}, imagePullPolicy: Never, command: [/bin/sleep, '10000']}}\n"
        );
        let full = format!("{name}-{NODE}");
        self.logs.push(PathBuf::from(format!("/var/log/pods/default_{full}_{uid}")));
        fs::write(self.folder.join("manifests").join(format!("{name}.yaml")), manifest).unwrap();
        full
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
        for logs in &self.logs {
            let _ = fs::remove_dir_all(logs);
        }
    }
}
