//! Log folders and links as a kubelet lays them out.

use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::cri::PodSpec;

/// The log folder of a pod below a root, `<namespace>_<name>_<uid>`.
#[must_use]
pub fn pod_log_dir(root: &Path, pod: &PodSpec) -> PathBuf {
    root.join(format!("{}_{}_{}", pod.namespace, pod.name, pod.uid))
}

/// Makes the link that a kubelet makes for each container, `<pod>_<namespace>_<container>-<id>.log`, in `dir`.
///
/// # Errors
/// If the folder can't be made or the link is there already.
pub fn legacy_log_link(
    dir: &Path,
    pod: &PodSpec,
    container: &str,
    id: &str,
    log: &Path,
) -> io::Result<PathBuf> {
    std::fs::create_dir_all(dir)?;
    let link = dir.join(format!("{}_{}_{container}-{id}.log", pod.name, pod.namespace));
    symlink(log, &link)?;
    Ok(link)
}
