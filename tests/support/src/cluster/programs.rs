//! Where the programs of a real Kubernetes are.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::containerd::Containerd;
use crate::skip::{find_tool, is_required, skipped};

/// Names the folder that tests/support/build-kubernetes.sh has filled: programs of Kubernetes 1.20, which speak the first version
/// of the CRI; newer ones need other flags.
pub const KUBERNETES_ENV: &str = "CRI_GC_TEST_KUBERNETES";

/// Set to `1`, a missing program of Kubernetes is a failure instead of a skipped test.
pub const REQUIRE_KUBERNETES_ENV: &str = "CRI_GC_TEST_REQUIRE_KUBERNETES";

/// What a whole cluster needs of that folder.
pub(super) const OF_A_CLUSTER: [&str; 4] =
    ["kubelet", "kube-apiserver", "kube-controller-manager", "kubectl"];

/// The programs of a real Kubernetes.
#[derive(Debug, Clone)]
pub struct Programs {
    folder: PathBuf,
}

impl Programs {
    /// The path of a program: of that folder, or else of the machine.
    ///
    /// # Panics
    /// If it is missing.
    #[must_use]
    pub fn path(&self, program: &str) -> PathBuf {
        let own = self.folder.join(program);
        if own.is_file() {
            return own;
        }
        find_tool(program).unwrap_or_else(|| panic!("{program} is missing"))
    }
}

/// The programs that a whole cluster on one machine needs, or `None` where one is missing, after a line on stderr that says which.
///
/// # Panics
/// If one is missing and [`REQUIRE_KUBERNETES_ENV`] is `1`.
#[must_use]
pub fn cluster_or_skip(test: &str) -> Option<Programs> {
    let programs = kubernetes_or_skip(test, &OF_A_CLUSTER, None)?;
    let packages = [("etcd", "etcd-server"), ("etcdctl", "etcd-client")];
    let missing = packages.iter().find(|(tool, _)| find_tool(tool).is_none());
    if let Some((tool, package)) = missing {
        skip(test, &format!("needs {tool} (Debian package {package})"));
        return None;
    }
    Some(programs)
}

/// The folder with at least these programs, for this containerd, or `None` after a line on stderr that says what is missing.
pub(crate) fn kubernetes_or_skip(
    test: &str,
    wanted: &[&str],
    containerd: Option<&Containerd>,
) -> Option<Programs> {
    let folder = std::env::var_os(KUBERNETES_ENV).filter(|value| !value.is_empty()).map(PathBuf::from);
    let why = match folder {
        None => {
            format!("needs a real Kubernetes (its programs are in the folder that {KUBERNETES_ENV} names)")
        }
        Some(_) if containerd.is_some_and(|containerd| containerd.at_least(2, 0)) => {
            "needs containerd 1, because Kubernetes 1.20 speaks the first version of the CRI".to_owned()
        }
        Some(folder) => match wanted.iter().find(|program| !is_program(&folder.join(OsStr::new(program)))) {
            None => return std::path::absolute(folder).ok().map(|folder| Programs { folder }),
            Some(program) => format!("needs {program} in {} ({KUBERNETES_ENV})", folder.display()),
        },
    };
    skip(test, &why);
    None
}

fn is_program(path: &Path) -> bool {
    path.is_file()
}

fn skip(test: &str, why: &str) {
    assert!(!is_required(REQUIRE_KUBERNETES_ENV), "{test}: {REQUIRE_KUBERNETES_ENV}=1, but it {why}");
    skipped(test, why);
}
