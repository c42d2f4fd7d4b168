//! The files that a containerd and its CNI plugins read, in the form that the binary's version understands.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::json;

use crate::oci::PAUSE_IMAGE;
use crate::skip::{CNI_NEEDED, CNI_PLUGINS, effective_capabilities};

/// CAP_SYS_RESOURCE, as a bit of the effective set.
const CAP_SYS_RESOURCE: u64 = 1 << 24;

/// Snapshotters that would only probe the machine and slow the start down.
const UNUSED_PLUGINS: [&str; 6] = ["aufs", "blockfile", "btrfs", "devmapper", "erofs", "zfs"];

/// Version of a containerd, as far as its configuration depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version {
    pub(super) major: u32,
    pub(super) minor: u32,
}

impl Version {
    /// Reads what `containerd --version` prints: the third word, as `1.6.20~ds1`, `v1.7.2` or `2.1.9+unknown`.
    pub(super) fn parse(printed: &str) -> Option<Self> {
        let word = printed.split_whitespace().nth(2)?;
        let mut parts = word.trim_start_matches('v').split('.');
        Some(Self { major: parts.next()?.parse().ok()?, minor: parts.next()?.parse().ok()? })
    }
}

/// The main configuration. `folder` is the instance's own, `root` where images and containers go.
pub(super) fn containerd_toml(version: Version, folder: &Path, root: &Path) -> String {
    let folder = folder.display();
    // Writing a negative OOM score needs the capability; without it no sandbox would start.
    let restrict_oom = effective_capabilities() & CAP_SYS_RESOURCE == 0;
    let unused: Vec<String> =
        UNUSED_PLUGINS.iter().map(|id| format!("io.containerd.snapshotter.v1.{id}")).collect();
    let (format, runtime, images) = if version.major >= 2 {
        (3, "io.containerd.cri.v1.runtime", "io.containerd.cri.v1.images")
    } else {
        (2, "io.containerd.grpc.v1.cri", "io.containerd.grpc.v1.cri")
    };

    let mut toml = format!(
        "version = {format}\nroot = {:?}\nstate = \"{folder}/state\"\ndisabled_plugins = {unused:?}\n\
         [grpc]\naddress = \"{folder}/c.sock\"\n[plugins.\"io.containerd.internal.v1.opt\"]\npath = \"{folder}/opt\"\n",
        root.display().to_string(),
    );
    if version >= (Version { major: 1, minor: 7 }) {
        // Its socket is one for the whole machine.
        toml.push_str("[plugins.\"io.containerd.nri.v1.nri\"]\ndisable = true\n");
    }
    let _ = write!(
        toml,
        "[plugins.\"{runtime}\"]\nrestrict_oom_score_adj = {restrict_oom}\nnetns_mounts_under_state_dir = true\n"
    );
    if version.major >= 2 {
        toml.push_str("enable_unprivileged_ports = false\nenable_unprivileged_icmp = false\n");
        let _ = write!(toml, "[plugins.\"{images}\".pinned_images]\nsandbox = \"{PAUSE_IMAGE}\"\n");
    } else {
        let _ = writeln!(toml, "sandbox_image = \"{PAUSE_IMAGE}\"");
    }
    let bin_dir = if version >= (Version { major: 2, minor: 1 }) {
        format!("bin_dirs = [\"{folder}/cni-bin\"]")
    } else {
        format!("bin_dir = \"{folder}/cni-bin\"")
    };
    let _ = write!(
        toml,
        "[plugins.\"{runtime}\".cni]\n{bin_dir}\nconf_dir = \"{folder}/cni\"\n\
         [plugins.\"{runtime}\".containerd.runtimes.runc]\nruntime_type = \"io.containerd.runc.v2\"\n\
         [plugins.\"{runtime}\".containerd.runtimes.runc.options]\nRoot = \"{folder}/runc\"\n"
    );
    toml
}

/// Writes the CNI network `name` and a folder of plugins below `folder`. Addresses come from the range that is set
/// aside for tests of network devices; every instance has a network namespace of its own and so all of the range.
pub(super) fn write_cni(folder: &Path, name: &str) -> io::Result<()> {
    let bin = folder.join("cni-bin");
    fs::create_dir_all(&bin)?;
    for plugin in CNI_NEEDED {
        symlink(Path::new(CNI_PLUGINS).join(plugin), bin.join(plugin))?;
    }
    let conf = json!({
        "cniVersion": "0.4.0",
        "name": name,
        "plugins": [{
            "type": "ptp",
            "ipMasq": false,
            "ipam": {
                "type": "host-local",
                "ranges": [[{"subnet": "198.18.0.0/16"}]],
                "dataDir": folder.join("ipam"),
            },
        }],
    });
    fs::create_dir_all(folder.join("cni"))?;
    fs::write(folder.join("cni/10-test.conflist"), conf.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_version_of_every_containerd_it_was_tried_with() {
        let version = |printed| Version::parse(printed).map(|v| (v.major, v.minor));
        let debian = "containerd github.com/containerd/containerd 1.6.20~ds1 1.6.20~ds1-1+deb12u3";
        assert_eq!(version(debian), Some((1, 6)));
        assert_eq!(version("containerd github.com/containerd/containerd v1.7.24 abcdef"), Some((1, 7)));
        assert_eq!(version("containerd github.com/containerd/containerd/v2 2.1.9+unknown "), Some((2, 1)));
        assert_eq!(version("something else"), None);
    }
}
