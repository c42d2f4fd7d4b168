//! The log files of one container: `NAME.log`, what rotation made of it (`NAME.log.*`), and the legacy link to it.

use std::ffi::CString;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::FileType;

use super::links;
use super::root::{FileError, Root};
use super::tree::{Removed, entries, to_path, unlink};

/// Removes the log at `log_path` with its rotated files and the legacy links of these `link_names` that point to it.
///
/// An empty or relative path is no log, and a path outside the root is not ours: both are left alone and are no error.
///
/// # Errors
/// What the operating system says. A file that is gone already is no error.
pub fn remove(
    pods_root: &Path,
    links_root: &Path,
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
    // A log lies in the directory of its pod, never in the root itself.
    if parent.as_os_str().is_empty() {
        return Ok(removed);
    }
    let Some(directory) = root.directory(parent)? else { return Ok(removed) };
    let place = root.path().join(parent);
    let mut prefix = file.as_bytes().to_vec();
    let whole = CString::new(prefix.clone()).ok();
    prefix.push(b'.');
    for (name, kind) in entries(&directory, &place)? {
        let ours = whole.as_ref() == Some(&name) || name.to_bytes().starts_with(&prefix);
        if ours && kind != FileType::Directory {
            removed.add(unlink(directory.as_fd(), &name, &place.join(to_path(&name)))?);
        }
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    use super::*;

    struct Node {
        folder: tempfile::TempDir,
        log: PathBuf,
    }

    impl Node {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let web = folder.path().join("pods/a_b_c/web");
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
            remove(&self.folder.path().join("pods"), &self.folder.path().join("containers"), log, &links)
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
    fn the_log_and_its_rotated_files_go_and_no_other() {
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
            "a_b_c/web/0.log".to_owned(),
            pods.display().to_string(),
            format!("{}/", pods.display()),
            format!("{}/a_b_c", pods.display()),
            format!("{}/a_b_c/web/..", pods.display()),
            format!("{}/a_b_c/../a_b_c/web/0.log", pods.display()),
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
        symlink(&outside, node.folder.path().join("pods/a_b_c/linked")).unwrap();
        let path = node.folder.path().join("pods/a_b_c/linked/0.log");
        assert!(node.remove(path.to_str().unwrap(), &[]).is_err());
        assert!(outside.join("0.log").exists());
    }

    #[test]
    fn the_legacy_link_goes_if_it_points_to_this_log() {
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
}
