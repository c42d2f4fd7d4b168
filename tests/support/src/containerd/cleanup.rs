//! Leaving nothing behind: processes, network, cgroups, mounts, files, in that order, without containerd's help.
//!
//! A test may have killed containerd or broken it, so nothing here asks it for anything. Shims are found by their
//! command line, containers by their cgroup and as children of shims; mounts by lying below the folder. Network
//! interfaces end with their namespaces, which end with their last process and mount.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Pid, Signal, kill_process};

use crate::poll::try_until;

const PATIENCE: Duration = Duration::from_secs(20);

/// What one instance owns on the machine.
pub(super) struct Belongings<'a> {
    /// The folder that everything lies in.
    pub(super) folder: &'a Path,
    /// Name of the cgroup that its pods lie in, and of its CNI network.
    pub(super) name: &'a str,
}

impl Belongings<'_> {
    /// Ends and removes all of it but the folder itself. Gives what could not be removed.
    pub(super) fn clear(&self) -> Vec<String> {
        let mut left = Vec::new();
        // Shims listen outside the folder, at paths that are in files about to be removed.
        let sockets = self.shim_sockets();

        if try_until(PATIENCE, || self.kill_once().then_some(())).is_none() {
            left.push(format!("processes {:?}", self.processes()));
        }
        for cgroup in self.cgroups() {
            if try_until(PATIENCE, || remove_cgroup(&cgroup).then_some(())).is_none() {
                left.push(format!("cgroup {}", cgroup.display()));
            }
        }
        if try_until(PATIENCE, || self.unmount_once().then_some(())).is_none() {
            left.push(format!("mounts {:?}", mounts_below(self.folder)));
        }
        for socket in sockets {
            let _ = fs::remove_file(socket);
        }
        self.remove_cni_results();
        left
    }

    /// Kills what is there; true if nothing was.
    fn kill_once(&self) -> bool {
        let processes = self.processes();
        for pid in processes.iter().filter_map(|pid| Pid::from_raw(*pid)) {
            let _ = kill_process(pid, Signal::KILL);
        }
        processes.is_empty()
    }

    /// Shims of this instance, their children and theirs, and whatever is in its cgroup. No zombies: they hold nothing.
    fn processes(&self) -> Vec<i32> {
        let all: Vec<Process> =
            fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(Process::read).collect();
        let folder = self.folder.display().to_string();
        let cgroup = format!("/{}/", self.name);
        let is_ours =
            |p: &&Process| (p.is_shim() && p.command_line.contains(&folder)) || p.cgroups.contains(&cgroup);
        let mut ours: HashSet<i32> = all.iter().filter(is_ours).map(|p| p.pid).collect();
        loop {
            let known = ours.len();
            ours.extend(all.iter().filter(|p| ours.contains(&p.parent)).map(|p| p.pid).collect::<Vec<_>>());
            if ours.len() == known {
                break;
            }
        }
        all.iter().filter(|p| ours.contains(&p.pid) && !p.zombie).map(|p| p.pid).collect()
    }

    /// The cgroup of this instance in every hierarchy that has it.
    fn cgroups(&self) -> Vec<PathBuf> {
        let root = Path::new("/sys/fs/cgroup");
        let hierarchies = fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path());
        let candidates = hierarchies.chain([root.to_owned()]).map(|hierarchy| hierarchy.join(self.name));
        candidates.filter(|path| path.is_dir()).collect()
    }

    /// Unmounts everything below the folder, newest first; true if nothing was mounted.
    fn unmount_once(&self) -> bool {
        let mounts = mounts_below(self.folder);
        for mount in mounts.iter().rev() {
            let _ = unmount(mount, UnmountFlags::DETACH);
        }
        mounts.is_empty()
    }

    /// The sockets that shims listen on, from the files in which they report them to containerd.
    fn shim_sockets(&self) -> Vec<PathBuf> {
        let tasks = self.folder.join("state/io.containerd.runtime.v2.task/k8s.io");
        let bundles = fs::read_dir(tasks).into_iter().flatten().flatten().map(|entry| entry.path());
        let files = bundles.flat_map(|bundle| ["address", "bootstrap.json"].map(|file| bundle.join(file)));
        files
            .filter_map(|file| {
                let text = fs::read_to_string(file).ok()?;
                let (_, path) = text.split_once("unix://")?;
                Some(PathBuf::from(path.split(['"', '\n']).next()?))
            })
            .collect()
    }

    /// CNI keeps the results of its plugins in one folder for the machine; each names its network namespace, by path.
    fn remove_cni_results(&self) {
        let folder = self.folder.display().to_string();
        for results in ["/var/lib/cni/results", "/var/lib/cni/cache/results"] {
            for entry in fs::read_dir(results).into_iter().flatten().flatten() {
                if fs::read_to_string(entry.path()).is_ok_and(|result| result.contains(&folder)) {
                    let _ = fs::remove_file(entry.path());
                }
            }
        }
    }
}

/// What `/proc` says of a process.
struct Process {
    pid: i32,
    parent: i32,
    zombie: bool,
    name: String,
    command_line: String,
    cgroups: String,
}

impl Process {
    fn read(entry: fs::DirEntry) -> Option<Self> {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        // The name stands in parentheses and may hold anything, parentheses too.
        let (start, rest) = stat.rsplit_once(") ")?;
        let (_, name) = start.split_once('(')?;
        let mut fields = rest.split(' ');
        Some(Self {
            pid,
            zombie: fields.next()? == "Z",
            parent: fields.next()?.parse().ok()?,
            name: name.to_owned(),
            command_line: String::from_utf8_lossy(&fs::read(entry.path().join("cmdline")).ok()?).into_owned(),
            cgroups: fs::read_to_string(entry.path().join("cgroup")).ok()?,
        })
    }

    /// The kernel cuts names to 15 characters.
    fn is_shim(&self) -> bool {
        self.name.starts_with("containerd-shim")
    }
}

/// Removes a cgroup and those in it; true when it is gone.
fn remove_cgroup(path: &Path) -> bool {
    let children = fs::read_dir(path).into_iter().flatten().flatten();
    for child in children.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        remove_cgroup(&child.path());
    }
    let _ = fs::remove_dir(path);
    !path.exists()
}

/// Mount points below a folder, oldest first.
fn mounts_below(folder: &Path) -> Vec<PathBuf> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points = table.lines().filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from);
    points.filter(|point| point.starts_with(folder)).collect()
}
