//! What lies in the root of the pods' log directories.

use std::path::Path;
use std::time::SystemTime;

use jiff::Timestamp;
use rustix::fs::FileType;

use crate::entries::{Entry, entries, to_path};
use crate::root::{FileError, Root};

/// An entry of the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogDir {
    /// Its name.
    pub name: String,
    /// The newest modification time of it and its children, which counts as its creation; `None` if it is
    /// unknown.
    pub changed_at: Option<Timestamp>,
    /// Distinguishes this directory from another one that has its name later.
    pub identity: Identity,
}

/// Inode and, where the filesystem reports it, time of birth: an inode's number is given out again, but not its birth.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// The inode.
    pub inode: u64,
    /// When it was made, where the filesystem reports it.
    pub born: Option<SystemTime>,
}

impl Identity {
    fn of(meta: &std::fs::Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;
        Self { inode: meta.ino(), born: meta.created().ok() }
    }
}

/// All directories right in the root, by name; `None` if there is no root. Bytes of a name that are no UTF-8 are written as `\\xff`: no
/// pod is named like that, so it is listed and left alone.
///
/// # Errors
/// What the operating system says of the root.
pub fn log_dirs(root: &Path) -> Result<Option<Vec<LogDir>>, FileError> {
    let Some(opened) = Root::open(root)? else { return Ok(None) };
    let mut dirs = Vec::new();
    for Entry { name, kind, .. } in entries(&opened, root)? {
        if kind == FileType::Directory {
            let path = root.join(to_path(&name));
            let identity = path.symlink_metadata().map(|meta| Identity::of(&meta)).unwrap_or_default();
            dirs.push(LogDir { name: text(name.as_bytes()), changed_at: newest(&path), identity });
        }
    }
    dirs.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(Some(dirs))
}

/// A name as text.
fn text(name: &[u8]) -> String {
    let of_chunk = |chunk: std::str::Utf8Chunk<'_>| {
        let invalid = chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}"));
        chunk.valid().to_owned() + &invalid.collect::<String>()
    };
    name.utf8_chunks().map(of_chunk).collect()
}

/// The newest modification time of a directory and its children. Only read, so that a plain walk does.
fn newest(directory: &Path) -> Option<Timestamp> {
    let own = directory.symlink_metadata().and_then(|meta| meta.modified()).ok()?;
    let children = std::fs::read_dir(directory).ok()?.flatten();
    let times = children.filter_map(|child| child.metadata().and_then(|meta| meta.modified()).ok());
    let newest: SystemTime = times.fold(own, SystemTime::max);
    Timestamp::try_from(newest).ok()
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::time::Duration;

    use super::*;

    #[test]
    fn directories_are_listed_with_their_newest_change() {
        let folder = tempfile::tempdir().unwrap();
        let at = |seconds: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let set = |name: &str, seconds| {
            File::open(folder.path().join(name)).unwrap().set_modified(at(seconds)).unwrap()
        };
        fs::create_dir_all(folder.path().join("b/web")).unwrap();
        fs::create_dir(folder.path().join("a")).unwrap();
        fs::write(folder.path().join("file"), "x").unwrap();
        std::os::unix::fs::symlink("a", folder.path().join("link")).unwrap();
        set("b/web", 300);
        set("b", 200);
        set("a", 100);
        let seen: Vec<(String, i64)> = log_dirs(folder.path())
            .unwrap()
            .unwrap()
            .into_iter()
            .map(|dir| (dir.name, dir.changed_at.unwrap().as_second()))
            .collect();
        assert_eq!(seen, [("a".to_owned(), 100), ("b".to_owned(), 300)]);
    }

    #[test]
    fn a_name_that_is_no_utf8_is_listed_and_is_no_pods() {
        use std::os::unix::ffi::OsStrExt;
        let folder = tempfile::tempdir().unwrap();
        let name = std::ffi::OsStr::from_bytes(b"bad\xff_p_61111111-2222-3333-4444-555555555555");
        fs::create_dir(folder.path().join(name)).unwrap();
        let dirs = log_dirs(folder.path()).unwrap().unwrap();
        assert_eq!(dirs[0].name, "bad\\xff_p_61111111-2222-3333-4444-555555555555");
        assert!(dirs[0].changed_at.is_some());
        assert_eq!(cri_gc_policy::log_dirs::pod_uid_of(&dirs[0].name), None);
    }

    #[test]
    fn a_missing_root_is_not_an_empty_one() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(log_dirs(folder.path()).unwrap(), Some(Vec::new()));
        assert_eq!(log_dirs(Path::new("/nonexistent/pods")).unwrap(), None);
    }
}
