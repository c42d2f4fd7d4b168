//! The log files of one container: `NAME.log`, what rotation made of it (`NAME.log.*`), and the legacy link to it.

use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use cri_gc_policy::log_dirs::pod_uid_of;
use rustix::fs::FileType;

use crate::entries::to_path;
use crate::links;
use crate::own_change::{Removed, remove_each, remove_file};
use crate::root::{FileError, Root};

/// Removes the log at `log_path` with its rotated files and the legacy links of these `link_names` that point to it.
///
/// An empty or relative path is no log; a path outside the root, or in the directory of another pod than the one of this
/// UID, is not ours: all are left alone and are no error.
///
/// # Errors
/// What the operating system says. A file that is gone already is no error.
pub fn remove(
    pods_root: &Path,
    links_root: &Path,
    uid: &str,
    log_path: &str,
    link_names: &[String],
) -> Result<Removed, FileError> {
    let log_path = Path::new(log_path);
    let mut removed = Removed::default();
    if !log_path.is_absolute() {
        return Ok(removed);
    }
    for name in link_names {
        if links::remove_if(links_root, name, |target| target == log_path)? {
            removed.add(Removed { entries: 1, bytes: 0 });
        }
    }
    let Some(root) = Root::open(pods_root)? else { return Ok(removed) };
    let Some((parent, file)) =
        root.relative(log_path).and_then(|inside| Some((inside.parent()?, inside.file_name()?)))
    else {
        return Ok(removed);
    };
    // A log lies in the directory of its own pod, never in the root itself.
    let pod = parent.components().next().and_then(|first| first.as_os_str().to_str()).and_then(pod_uid_of);
    if pod.is_none_or(|pod| pod != uid) {
        return Ok(removed);
    }
    let Some(directory) = root.directory(parent)? else { return Ok(removed) };
    let place = root.path().join(parent);
    let is_log = file.as_bytes().ends_with(b".log");
    removed.add(remove_each(&directory, &place, |name, kind| {
        // Rotation appends to the name of a log; of anything else the names that begin alike are other files.
        let ours = match name.to_bytes().strip_prefix(file.as_bytes()) {
            Some([]) => true,
            Some([b'.', ..]) => is_log,
            _ => false,
        };
        if !ours || kind == FileType::Directory {
            return Ok(Removed::default());
        }
        remove_file(directory.as_fd(), name, &place.join(to_path(name)))
    })?);
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    use super::*;

    const UID: &str = "0f6c8d3e-1b2a-4c5d-8e9f-a0b1c2d3e4f5";

    struct Node {
        folder: tempfile::TempDir,
        log: PathBuf,
    }

    impl Node {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let web = folder.path().join("pods/a_b_0f6c8d3e-1b2a-4c5d-8e9f-a0b1c2d3e4f5/web");
            fs::create_dir_all(&web).unwrap();
            fs::create_dir(folder.path().join("containers")).unwrap();
            for name in
                ["0.log", "0.log.20260101-000000", "0.log.20260101-000000.gz", "10.log", "1.log", "0.logger"]
            {
                fs::write(web.join(name), name).unwrap();
            }
            Self { log: web.join("0.log"), folder }
        }

        fn remove(&self, log: &str, links: &[&str]) -> Result<Removed, FileError> {
            let links: Vec<String> = links.iter().map(ToString::to_string).collect();
            remove(&self.folder.path().join("pods"), &self.folder.path().join("containers"), UID, log, &links)
        }

        fn names(&self) -> Vec<String> {
            let mut names: Vec<String> = fs::read_dir(self.log.parent().unwrap())
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        }
    }

    #[test]
    fn the_log_and_its_rotated_files_are_removed_and_no_other() {
        let node = Node::new();
        assert_eq!(node.remove(node.log.to_str().unwrap(), &[]).unwrap().entries, 3);
        assert_eq!(node.names(), ["0.logger", "1.log", "10.log"]);
        assert_eq!(node.remove(node.log.to_str().unwrap(), &[]).unwrap().entries, 0, "twice is no error");
    }

    #[test]
    fn a_path_that_is_no_log_never_becomes_a_pattern() {
        let node = Node::new();
        let pods = node.folder.path().join("pods");
        let outside = node.folder.path().join("outside.log");
        fs::write(&outside, "x").unwrap();
        let cases = [
            String::new(),
            "/".to_owned(),
            "0.log".to_owned(),
            "a_b_0f6c8d3e-1b2a-4c5d-8e9f-a0b1c2d3e4f5/web/0.log".to_owned(),
            pods.display().to_string(),
            format!("{}/", pods.display()),
            format!("{}/a_b_0f6c8d3e-1b2a-4c5d-8e9f-a0b1c2d3e4f5", pods.display()),
            format!("{}/a_b_0f6c8d3e-1b2a-4c5d-8e9f-a0b1c2d3e4f5/web/..", pods.display()),
            format!(
                "{}/a_b_0f6c8d3e-1b2a-4c5d-8e9f-a0b1c2d3e4f5/../a_b_0f6c8d3e-1b2a-4c5d-8e9f-a0b1c2d3e4f5/web/0.log",
                pods.display()
            ),
            format!("{}/../outside.log", pods.display()),
            outside.display().to_string(),
        ];
        let before = node.names();
        for path in cases {
            assert_eq!(node.remove(&path, &[]).unwrap(), Removed::default(), "{path:?}");
        }
        assert_eq!(node.names(), before);
        assert!(outside.exists());
    }

    #[test]
    fn a_link_on_the_way_is_not_followed() {
        let node = Node::new();
        let outside = node.folder.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("0.log"), "x").unwrap();
        symlink(&outside, node.folder.path().join("pods/a_b_0f6c8d3e-1b2a-4c5d-8e9f-a0b1c2d3e4f5/linked"))
            .unwrap();
        let path = node.folder.path().join("pods/a_b_0f6c8d3e-1b2a-4c5d-8e9f-a0b1c2d3e4f5/linked/0.log");
        assert!(node.remove(path.to_str().unwrap(), &[]).is_err());
        assert!(outside.join("0.log").exists());
    }

    #[test]
    fn the_legacy_link_is_removed_if_it_points_to_this_log() {
        let node = Node::new();
        let links = node.folder.path().join("containers");
        symlink(&node.log, links.join("b_a_web-1.log")).unwrap();
        symlink(node.log.with_file_name("1.log"), links.join("b_a_web-2.log")).unwrap();
        fs::write(links.join("plain.log"), "x").unwrap();
        let names = ["b_a_web-1.log", "b_a_web-2.log", "plain.log", "gone.log", "../pods", ""];
        node.remove(node.log.to_str().unwrap(), &names).unwrap();
        assert!(links.join("b_a_web-1.log").symlink_metadata().is_err());
        assert!(links.join("b_a_web-2.log").symlink_metadata().is_ok());
        assert!(links.join("plain.log").exists());
    }

    #[test]
    fn the_log_in_the_directory_of_another_pod_is_kept() {
        let node = Node::new();
        let other = node.folder.path().join("pods/a_b_ffffffff-1b2a-4c5d-8e9f-a0b1c2d3e4f5/web");
        fs::create_dir_all(&other).unwrap();
        fs::write(other.join("0.log"), "x").unwrap();
        assert_eq!(node.remove(other.join("0.log").to_str().unwrap(), &[]).unwrap(), Removed::default());
        assert!(other.join("0.log").exists());
    }

    #[test]
    fn only_a_log_has_rotated_files() {
        let node = Node::new();
        let web = node.log.parent().unwrap();
        fs::write(web.join("app"), "x").unwrap();
        fs::write(web.join("app.log"), "x").unwrap();
        assert_eq!(node.remove(web.join("app").to_str().unwrap(), &[]).unwrap().entries, 1);
        assert!(web.join("app.log").exists());
    }

    #[test]
    fn a_root_that_is_configured_through_a_link_is_the_same_root() {
        let node = Node::new();
        let linked = node.folder.path().join("linked");
        symlink(node.folder.path().join("pods"), &linked).unwrap();
        let none = node.folder.path().join("containers");
        let removed = remove(&linked, &none, UID, node.log.to_str().unwrap(), &[]).unwrap();
        assert_eq!(removed.entries, 3);
    }
}
