//! Removes a directory of a root with all its content: first a survey that refuses the whole if anything in it is not
//! ours to remove, then the removal. Each level takes a file descriptor and a part of the stack, so what is nested too deeply for
//! that is moved up first, within the directory.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, OFlags, RenameFlags, Stat, fstat, renameat_with, unlinkat};
use rustix::io::Errno;

use super::own_change::Before;
use super::root::{FileError, Root, open_beneath};

/// Directories within directories, at most: a log directory has two levels.
const MAX_DEPTH: usize = 32;

/// What a removal brought.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removed {
    /// Files, links and directories that are gone.
    pub entries: u64,
    /// Bytes that their blocks took.
    pub bytes: u64,
}

impl Removed {
    pub(super) fn add(&mut self, other: Self) {
        self.entries += other.entries;
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}

/// Removes the directory `name` of `root` with all its content. `None` if there is none: somebody was faster.
///
/// # Errors
/// A mount point anywhere in it (then nothing is removed), a name that is not that of a directory right in the root, or
/// what the operating system says. A file that vanishes meanwhile is no error.
pub fn remove(root: &Root, name: &str) -> Result<Option<Removed>, FileError> {
    let path = Path::new(name);
    let Some(directory) = directory(root, path)? else { return Ok(None) };
    let place = root.path().join(path);
    if let Err(FileError::TooDeep(_)) = survey(&directory, &place, 0) {
        flatten(&directory, &place)?;
    }
    survey(&directory, &place, 0)?;
    let mut removed = empty(&directory, &place, 0)?;
    match unlinkat(root, path, AtFlags::REMOVEDIR) {
        Ok(()) => removed.entries += 1,
        Err(Errno::NOENT) => {}
        Err(error) => return Err(FileError::io(place, error)),
    }
    Ok(Some(removed))
}

/// Bytes that a removal of the directory `name` of `root` would bring. `None` if there is none.
///
/// # Errors
/// As for the removal: then none would be made.
pub fn measure(root: &Root, name: &str) -> Result<Option<u64>, FileError> {
    let path = Path::new(name);
    let Some(directory) = directory(root, path)? else { return Ok(None) };
    survey(&directory, &root.path().join(path), 0).map(Some)
}

/// The directory of that name right in the root.
fn directory(root: &Root, path: &Path) -> Result<Option<OwnedFd>, FileError> {
    if root.relative(&root.path().join(path)).is_none_or(|relative| relative.components().count() != 1) {
        return Err(FileError::Outside(path.to_owned(), root.path().to_owned()));
    }
    root.directory(path)
}

/// Walks the whole tree and removes nothing. The bytes of its files.
fn survey(directory: &OwnedFd, place: &Path, depth: usize) -> Result<u64, FileError> {
    if depth > MAX_DEPTH {
        return Err(FileError::TooDeep(place.to_owned()));
    }
    let mut bytes = 0u64;
    for Entry { name, kind, .. } in entries(directory, place)? {
        let place = place.join(to_path(&name));
        if kind == FileType::Directory {
            if let Some(inner) = open_directory(directory.as_fd(), &name, &place)? {
                bytes = bytes.saturating_add(survey(&inner, &place, depth + 1)?);
            }
        } else {
            // A file can be a mount point too.
            let file = open_beneath(directory.as_fd(), name.as_c_str(), OFlags::PATH);
            let file = file.map_err(|error| FileError::io(&place, error))?;
            if let Some(file) = file {
                let stat = fstat(&file).map_err(|error| FileError::io(&place, error))?;
                bytes = bytes.saturating_add(size(&stat));
            }
        }
    }
    Ok(bytes)
}

/// Moves what is nested too deeply right into `top`, piece by piece, until nothing is. Nothing is removed by that; the modification
/// time of `top` is a new one, which keeps it for longer should its removal fail.
///
/// # Errors
/// A mount point among what would be moved, or what the operating system says.
fn flatten(top: &OwnedFd, place: &Path) -> Result<(), FileError> {
    let (mut moved, mut open) = (0u64, vec![]);
    lift((top, place), top, 0, (&mut moved, &mut open))?;
    while let Some(name) = open.pop() {
        if let Some(directory) = open_directory(top.as_fd(), &name, &place.join(to_path(&name)))? {
            lift((top, place), &directory, 1, (&mut moved, &mut open))?;
        }
    }
    Ok(())
}

/// Moves the directories below a directory of the greatest depth into `top`, with names that are free there, which it adds to those
/// that are still to be gone through.
fn lift(
    (top, place): (&OwnedFd, &Path),
    directory: &OwnedFd,
    depth: usize,
    (moved, open): (&mut u64, &mut Vec<CString>),
) -> Result<(), FileError> {
    for Entry { name, kind, .. } in entries(directory, place)? {
        if kind != FileType::Directory {
            continue;
        }
        // A mount point is refused here.
        let Some(inner) = open_directory(directory.as_fd(), &name, place)? else { continue };
        if depth < MAX_DEPTH {
            lift((top, place), &inner, depth + 1, (moved, open))?;
            continue;
        }
        drop(inner);
        loop {
            *moved += 1;
            let free = format!("cri-gc-moved-{moved}").into_bytes();
            // It has no zero byte.
            let Ok(free) = CString::new(free) else { return Err(FileError::TooDeep(place.to_owned())) };
            match renameat_with(directory, &name, top, &free, RenameFlags::NOREPLACE) {
                Ok(()) => open.push(free),
                Err(Errno::EXIST) => continue,
                // It vanished meanwhile.
                Err(Errno::NOENT) => {}
                Err(error) => return Err(FileError::io(place, error)),
            }
            break;
        }
    }
    Ok(())
}

/// Has `remove` remove entries of a directory, up to its first error, and leaves the modification time of the directory as
/// it was, also where that fails: neither says anything about the pod.
pub(super) fn remove_each(
    directory: &OwnedFd,
    place: &Path,
    mut remove: impl FnMut(&CStr, FileType) -> Result<Removed, FileError>,
) -> Result<Removed, FileError> {
    let mut before = Before::read(directory, place)?;
    let mut removed = Removed::default();
    let ended = before.each(|name, kind| {
        let entry = remove(name, kind)?;
        removed.add(entry);
        Ok(entry.entries > 0)
    });
    before.restore_time();
    ended.map(|()| removed)
}

/// Removes the content of a directory, deepest first.
fn empty(directory: &OwnedFd, place: &Path, depth: usize) -> Result<Removed, FileError> {
    if depth > MAX_DEPTH {
        return Err(FileError::TooDeep(place.to_owned()));
    }
    remove_each(directory, place, |name, kind| remove_entry(directory, name, kind, place, depth))
}

/// Removes one entry of a directory, a directory with all its content.
fn remove_entry(
    directory: &OwnedFd,
    name: &CStr,
    kind: FileType,
    place: &Path,
    depth: usize,
) -> Result<Removed, FileError> {
    let place = place.join(to_path(name));
    if kind != FileType::Directory {
        return unlink(directory.as_fd(), name, &place);
    }
    let Some(inner) = open_directory(directory.as_fd(), name, &place)? else { return Ok(Removed::default()) };
    let mut removed = empty(&inner, &place, depth + 1)?;
    match unlinkat(directory, name, AtFlags::REMOVEDIR) {
        Ok(()) => removed.entries += 1,
        Err(Errno::NOENT) => {}
        Err(error) => return Err(FileError::io(place, error)),
    }
    Ok(removed)
}

/// Removes one file or link of a directory.
pub(super) fn unlink(directory: BorrowedFd<'_>, name: &CStr, place: &Path) -> Result<Removed, FileError> {
    let stat = open_beneath(directory, name, OFlags::PATH).map_err(|error| FileError::io(place, error))?;
    let Some(stat) = stat else { return Ok(Removed::default()) };
    let stat = fstat(&stat).map_err(|error| FileError::io(place, error))?;
    match unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) => {}
        Err(Errno::NOENT) => return Ok(Removed::default()),
        Err(error) => return Err(FileError::io(place, error)),
    }
    Ok(Removed { entries: 1, bytes: size(&stat) })
}

/// Bytes that are free once a file is gone. Blocks are counted in units of 512 bytes; those of a file with another name are
/// not free yet.
fn size(stat: &Stat) -> u64 {
    if stat.st_nlink > 1 { 0 } else { u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512) }
}

fn open_directory(at: BorrowedFd<'_>, name: &CStr, place: &Path) -> Result<Option<OwnedFd>, FileError> {
    open_beneath(at, name, OFlags::DIRECTORY | OFlags::RDONLY).map_err(|error| FileError::io(place, error))
}

/// An entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub name: CString,
    pub inode: u64,
    pub kind: FileType,
}

/// The entries of a directory, `.` and `..` left out. Read to the end before any is removed: a directory that changes
/// while it is read may skip some.
pub(super) fn entries(directory: &OwnedFd, place: &Path) -> Result<Vec<Entry>, FileError> {
    let reader = Dir::read_from(directory).map_err(|error| FileError::io(place, error))?;
    let mut all = Vec::new();
    for entry in reader {
        let entry = entry.map_err(|error| FileError::io(place, error))?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let kind = match entry.file_type() {
            // Some file systems leave the type to a stat.
            FileType::Unknown => match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                Err(Errno::NOENT) => continue,
                Err(error) => return Err(FileError::io(place, error)),
            },
            known => known,
        };
        all.push(Entry { name: name.to_owned(), inode: entry.ino(), kind });
    }
    Ok(all)
}

pub(super) fn to_path(name: &CStr) -> &Path {
    use std::os::unix::ffi::OsStrExt;
    Path::new(std::ffi::OsStr::from_bytes(name.to_bytes()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn root() -> (tempfile::TempDir, Root) {
        let folder = tempfile::tempdir().unwrap();
        let pods = folder.path().join("pods");
        fs::create_dir(&pods).unwrap();
        let root = Root::open(&pods).unwrap().unwrap();
        (folder, root)
    }

    #[test]
    fn a_directory_goes_with_all_its_content() {
        let (folder, root) = root();
        let dir = folder.path().join("pods/a_b_c/web");
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("0.log"), vec![b'x'; 100_000]).unwrap();
        fs::write(dir.join("0.log.1.gz"), "y").unwrap();
        let measured = measure(&root, "a_b_c").unwrap().unwrap();
        let removed = remove(&root, "a_b_c").unwrap().unwrap();
        assert_eq!(removed.entries, 4);
        assert!(removed.bytes >= 100_000);
        assert_eq!(measured, removed.bytes);
        assert_eq!(measure(&root, "a_b_c").unwrap(), None);
        assert!(fs::read_dir(root.path()).unwrap().next().is_none());
        assert_eq!(
            remove(&root, "a_b_c").unwrap(),
            None,
            "a second time there is nothing, which is no error"
        );
    }

    #[test]
    fn a_removal_that_fails_half_way_leaves_the_modification_time_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a", "b", "c"] {
            fs::write(folder.path().join(name), "x").unwrap();
        }
        let directory = fs::File::open(folder.path()).unwrap();
        directory.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
        let directory = OwnedFd::from(directory);
        let mut count = 0;
        let removed = remove_each(&directory, folder.path(), |name, _| {
            count += 1;
            if count == 3 {
                return Err(FileError::TooDeep(folder.path().to_owned()));
            }
            unlink(directory.as_fd(), name, folder.path())
        });
        assert!(removed.is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        let modified = fs::metadata(folder.path()).unwrap().modified().unwrap();
        assert_eq!(modified, std::time::SystemTime::UNIX_EPOCH);
    }

    /// A chain of that many directories in `from`, each with a file; the deepest one.
    fn chain(from: &Path, levels: usize) -> OwnedFd {
        let mut at = OwnedFd::from(fs::File::open(from).unwrap());
        for _ in 0..levels {
            rustix::fs::mkdirat(&at, "d", rustix::fs::Mode::RWXU).unwrap();
            let flags = OFlags::CREATE | OFlags::WRONLY;
            rustix::fs::openat(&at, "f", flags, rustix::fs::Mode::RUSR).unwrap();
            at = rustix::fs::openat(&at, "d", OFlags::DIRECTORY, rustix::fs::Mode::empty()).unwrap();
        }
        at
    }

    #[test]
    fn a_tree_of_any_depth_goes_and_what_its_links_point_to_stays() {
        let (folder, root) = root();
        let outside = folder.path().join("data");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("precious"), "data").unwrap();
        let dir = folder.path().join("pods/a_b_c");
        for branch in ["x", "y"] {
            fs::create_dir_all(dir.join(branch)).unwrap();
            let deepest = chain(&dir.join(branch), 2_000);
            rustix::fs::symlinkat(&outside, &deepest, "link").unwrap();
        }
        // A name that is taken.
        fs::write(dir.join("cri-gc-moved-1"), "x").unwrap();
        let removed = remove(&root, "a_b_c").unwrap().unwrap();
        assert_eq!(removed.entries, 2 * (2 * 2_000 + 2) + 2);
        assert!(!dir.exists());
        assert_eq!(fs::read_to_string(outside.join("precious")).unwrap(), "data");
    }

    #[test]
    fn a_mount_point_deep_inside_saves_the_whole_directory() {
        if !rustix::process::geteuid().is_root() {
            return crate::test_note(
                "SKIPPED a_mount_point_deep_inside_saves_the_whole_directory: needs root to mount",
            );
        }
        for depth in [MAX_DEPTH - 1, MAX_DEPTH, MAX_DEPTH + 1, 3 * MAX_DEPTH] {
            let (folder, root) = root();
            let data = folder.path().join("data");
            fs::create_dir(&data).unwrap();
            fs::write(data.join("precious"), "data").unwrap();
            let dir = folder.path().join("pods/a_b_c");
            fs::create_dir(&dir).unwrap();
            drop(chain(&dir, 4 * MAX_DEPTH));
            let volume: std::path::PathBuf = std::iter::repeat_n("d", depth).collect();
            let volume = dir.join(volume);
            let run = |args: &[&std::ffi::OsStr]| {
                assert!(std::process::Command::new(args[0]).args(&args[1..]).status().unwrap().success());
            };
            run(&["mount".as_ref(), "--bind".as_ref(), data.as_ref(), volume.as_ref()]);
            assert!(matches!(remove(&root, "a_b_c"), Err(FileError::MountPoint(_))), "{depth}");
            assert_eq!(fs::read_to_string(data.join("precious")).unwrap(), "data");
            assert!(dir.join("f").exists(), "nothing is removed");
            // Where it was moved with what is around it, it is still there.
            let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
            let at = mounts.lines().filter_map(|line| line.split(' ').nth(4));
            let at: Vec<&str> = at.filter(|at| at.starts_with(dir.to_str().unwrap())).collect();
            assert_eq!(at.len(), 1, "{mounts}");
            run(&["umount".as_ref(), at[0].as_ref()]);
            remove(&root, "a_b_c").unwrap().unwrap();
            assert!(data.join("precious").exists());
        }
    }

    #[test]
    fn what_a_link_points_to_stays() {
        let (folder, root) = root();
        let outside = folder.path().join("data");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("precious"), "data").unwrap();
        let dir = folder.path().join("pods/a_b_c");
        fs::create_dir(&dir).unwrap();
        symlink(&outside, dir.join("to-a-directory")).unwrap();
        symlink(outside.join("precious"), dir.join("to-a-file")).unwrap();
        symlink("nowhere", dir.join("to-nothing")).unwrap();
        remove(&root, "a_b_c").unwrap().unwrap();
        assert!(!dir.exists());
        assert_eq!(fs::read_to_string(outside.join("precious")).unwrap(), "data");
    }

    #[test]
    fn a_link_in_place_of_the_directory_is_not_followed() {
        let (folder, root) = root();
        let outside = folder.path().join("data");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("precious"), "data").unwrap();
        symlink(&outside, folder.path().join("pods/a_b_c")).unwrap();
        assert!(matches!(remove(&root, "a_b_c"), Err(FileError::Io(..))));
        assert!(outside.join("precious").exists());
    }

    #[test]
    fn a_name_that_leads_elsewhere_is_refused() {
        let (folder, root) = root();
        fs::create_dir(folder.path().join("data")).unwrap();
        fs::create_dir_all(folder.path().join("pods/x/y")).unwrap();
        for name in ["", ".", "..", "../data", "/", "/etc", "x/y", "x/../x", "./x/.."] {
            assert!(matches!(remove(&root, name), Err(FileError::Outside(..))), "{name:?}");
        }
        assert!(folder.path().join("data").exists() && folder.path().join("pods/x/y").exists());
    }

    #[test]
    fn a_file_in_place_of_the_directory_is_left_alone() {
        let (folder, root) = root();
        let file = folder.path().join("pods/a_b_c");
        fs::write(&file, "x").unwrap();
        assert!(remove(&root, "a_b_c").is_err());
        assert!(file.exists());
    }

    #[test]
    fn a_mount_point_inside_saves_the_whole_directory() {
        if !rustix::process::geteuid().is_root() {
            return crate::test_note(
                "SKIPPED a_mount_point_inside_saves_the_whole_directory: needs root to mount",
            );
        }
        let (folder, root) = root();
        let data = folder.path().join("data");
        fs::create_dir(&data).unwrap();
        fs::write(data.join("precious"), "data").unwrap();
        let dir = folder.path().join("pods/a_b_c");
        let (volume, file) = (dir.join("volume"), dir.join("file"));
        fs::create_dir_all(&volume).unwrap();
        fs::write(&file, "").unwrap();
        fs::write(dir.join("0.log"), "x").unwrap();
        // Bind mounts of the same file system: the device number alone would not give them away.
        for (from, to) in [(data.clone(), volume), (data.join("precious"), file)] {
            let mounted =
                std::process::Command::new("mount").arg("--bind").arg(&from).arg(&to).status().unwrap();
            assert!(mounted.success());
            assert!(matches!(remove(&root, "a_b_c"), Err(FileError::MountPoint(_))), "{}", to.display());
            assert!(dir.join("0.log").exists(), "nothing else is touched either");
            assert_eq!(fs::read_to_string(data.join("precious")).unwrap(), "data");
            assert!(std::process::Command::new("umount").arg(&to).status().unwrap().success());
        }
        remove(&root, "a_b_c").unwrap().unwrap();
        assert!(data.join("precious").exists());
    }
}
