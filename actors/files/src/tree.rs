//! Removes a directory of a root with all its content: first a survey that refuses the whole if anything in it is not
//! ours to remove, then the removal. Each level takes a file descriptor and a part of the stack, so what is nested too deeply for
//! that is moved up first, within the directory.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path};
use std::time::Instant;

use rustix::fs::{AtFlags, FileType, OFlags, RenameFlags, fstat, renameat_with};
use rustix::io::Errno;

use crate::entries::{Entry, entries, to_path};
use crate::own_change::{Removed, remove_file, remove_with_itself, size};
use crate::root::{FileError, Root, open_beneath, open_directory, unlink};

/// Directories within directories, at most: a log directory has two levels.
const MAX_DEPTH: usize = 32;

/// Removes the directory `name` of `root` with all its content. `None` if there is none: another process was faster.
///
/// # Errors
/// A mount point anywhere in it (then nothing is removed), a name that is not that of a directory right in the root, or
/// what the operating system says. A file that vanishes meanwhile is no error.
pub fn remove(root: &Root, name: &str) -> Result<Option<Removed>, FileError> {
    let Some(directory) = directory(root, name)? else { return Ok(None) };
    let place = root.path().join(name);
    let too_deep = |place: &Path| Err(FileError::TooDeep(place.to_owned()));
    if let Err(FileError::TooDeep(_)) = survey(&directory, &place, 0, &mut |deep| too_deep(deep)) {
        flatten(&directory, &place)?;
    }
    survey(&directory, &place, 0, &mut |deep| too_deep(deep))?;
    remove_directory(root.as_fd(), name, &directory, &place, 0).map(Some)
}

/// Bytes that a removal of the directory `name` of `root` would free. `None` if there is none.
///
/// # Errors
/// As for the removal: then none would be made.
pub fn measure(root: &Root, name: &str) -> Result<Option<u64>, FileError> {
    let Some(directory) = directory(root, name)? else { return Ok(None) };
    let top = root.path().join(name);
    let (mut bytes, mut open) = (0u64, vec![top.clone()]);
    while let Some(place) = open.pop() {
        let inside = place.strip_prefix(&top).unwrap_or(Path::new(""));
        let Some(opened) = descend(&directory, inside, &place)? else { continue };
        // What is too deep is measured by itself after that.
        let mut later = |deep: &Path| {
            open.push(deep.to_owned());
            Ok(())
        };
        bytes = bytes.saturating_add(survey(&opened, &place, 0, &mut later)?);
    }
    Ok(Some(bytes))
}

/// Opens a directory however deep it is below another, name by name; `None` if it is not there any more.
fn descend(top: &OwnedFd, inside: &Path, place: &Path) -> Result<Option<OwnedFd>, FileError> {
    let mut opened = top.try_clone().map_err(|error| FileError::Io(place.to_owned(), error))?;
    for name in inside {
        let Some(inner) = open_directory(opened.as_fd(), name, place)? else { return Ok(None) };
        opened = inner;
    }
    Ok(Some(opened))
}

/// What was measured of many directories.
#[derive(Debug, Default)]
pub struct Sizes {
    /// Names and bytes.
    pub known: Vec<(String, u64)>,
    /// How many were not measured: a removal of them would fail too, or there was no time left.
    pub unknown: usize,
    /// Why, of the first of them; `None` if there was no time left.
    pub error: Option<FileError>,
}

/// Bytes of each of the directories `names` of `root`, as [`measure`] does, but of none any more from `until` on.
#[must_use]
pub fn measure_all(root: &Root, names: Vec<String>, until: Instant) -> Sizes {
    let mut sizes = Sizes::default();
    for name in names {
        if Instant::now() >= until {
            sizes.unknown += 1;
            continue;
        }
        match measure(root, &name) {
            Ok(Some(bytes)) => sizes.known.push((name, bytes)),
            // It was removed meanwhile.
            Ok(None) => {}
            Err(error) => {
                sizes.unknown += 1;
                sizes.error.get_or_insert(error);
            }
        }
    }
    sizes
}

/// The directory of that name right in the root.
fn directory(root: &Root, name: &str) -> Result<Option<OwnedFd>, FileError> {
    let path = Path::new(name);
    // As it is listed: `a/` and `a/.` are other ways to write a path, and no names.
    let is_name =
        matches!(path.components().next(), Some(Component::Normal(first)) if first == path.as_os_str());
    if !is_name {
        return Err(FileError::Outside(path.to_owned(), root.path().to_owned()));
    }
    root.directory(path)
}

/// Walks the whole tree and removes nothing. The bytes of its files, but for those of directories that are too deep, which are given to
/// `deeper`.
fn survey(
    directory: &OwnedFd,
    place: &Path,
    depth: usize,
    deeper: &mut dyn FnMut(&Path) -> Result<(), FileError>,
) -> Result<u64, FileError> {
    if depth > MAX_DEPTH {
        return deeper(place).map(|()| 0);
    }
    let mut bytes = 0u64;
    for Entry { name, kind, .. } in entries(directory, place)? {
        let place = place.join(to_path(&name));
        if kind == FileType::Directory {
            if let Some(inner) = open_directory(directory.as_fd(), &*name, &place)? {
                bytes = bytes.saturating_add(survey(&inner, &place, depth + 1, deeper)?);
            }
        } else if let Some(file) = open_beneath(directory.as_fd(), &*name, OFlags::PATH, &place)? {
            // It was opened because a file can be a mount point too.
            let stat = fstat(&file).map_err(FileError::at(&place))?;
            bytes = bytes.saturating_add(size(&stat));
        }
    }
    Ok(bytes)
}

/// Moves what is nested too deeply right into `top`, piece by piece, until nothing is. Nothing is removed by that; the modification
/// time of `top` is a new one, which keeps it for longer if its removal fails.
///
/// # Errors
/// A mount point among what would be moved, or what the operating system says.
fn flatten(top: &OwnedFd, place: &Path) -> Result<(), FileError> {
    let mut flattening = Flattening { top, place, moved: 0, open: Vec::new() };
    flattening.lift(top, 0)?;
    while let Some(name) = flattening.open.pop() {
        if let Some(directory) = open_directory(top.as_fd(), &*name, &place.join(to_path(&name)))? {
            flattening.lift(&directory, 1)?;
        }
    }
    Ok(())
}

/// A directory whose content is moved up.
struct Flattening<'t> {
    top: &'t OwnedFd,
    place: &'t Path,
    /// Directories that were moved, which numbers their names.
    moved: u64,
    /// Names of moved directories that are not gone through yet.
    open: Vec<CString>,
}

impl Flattening<'_> {
    /// Moves the directories below a directory of the greatest depth into the top, with names that are free there.
    fn lift(&mut self, directory: &OwnedFd, depth: usize) -> Result<(), FileError> {
        for Entry { name, kind, .. } in entries(directory, self.place)? {
            if kind != FileType::Directory {
                continue;
            }
            // A mount point is refused here.
            let Some(inner) = open_directory(directory.as_fd(), &*name, self.place)? else { continue };
            if depth < MAX_DEPTH {
                self.lift(&inner, depth + 1)?;
                continue;
            }
            drop(inner);
            loop {
                self.moved += 1;
                let free = format!("cri-gc-moved-{}", self.moved).into_bytes();
                // It has no zero byte.
                let Ok(free) = CString::new(free) else {
                    return Err(FileError::TooDeep(self.place.to_owned()));
                };
                match renameat_with(directory, &name, self.top, &free, RenameFlags::NOREPLACE) {
                    Ok(()) => self.open.push(free),
                    Err(Errno::EXIST) => continue,
                    // It vanished meanwhile.
                    Err(Errno::NOENT) => {}
                    Err(error) => return Err(FileError::at(self.place)(error)),
                }
                break;
            }
        }
        Ok(())
    }
}

/// Removes the directory `name` of `at`, which was opened, with all its content, deepest first.
fn remove_directory(
    at: BorrowedFd<'_>,
    name: impl rustix::path::Arg,
    directory: &OwnedFd,
    place: &Path,
    depth: usize,
) -> Result<Removed, FileError> {
    if depth > MAX_DEPTH {
        return Err(FileError::TooDeep(place.to_owned()));
    }
    let each = |entry: &CStr, kind| remove_entry(directory.as_fd(), entry, kind, place, depth);
    remove_with_itself(directory, place, each, || unlink(at, name, AtFlags::REMOVEDIR, place))
}

/// Removes one entry of a directory, a directory with all its content.
fn remove_entry(
    directory: BorrowedFd<'_>,
    name: &CStr,
    kind: FileType,
    place: &Path,
    depth: usize,
) -> Result<Removed, FileError> {
    let place = place.join(to_path(name));
    if kind != FileType::Directory {
        return remove_file(directory, name, &place);
    }
    match open_directory(directory, name, &place)? {
        Some(inner) => remove_directory(directory, name, &inner, &place, depth + 1),
        None => Ok(Removed::default()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    /// Straight to stderr: the test passes.
    fn skipped(line: &str) {
        use std::io::Write;
        let _ = writeln!(std::io::stderr(), "{line}");
    }

    fn root() -> (tempfile::TempDir, Root) {
        let folder = tempfile::tempdir().unwrap();
        let pods = folder.path().join("pods");
        fs::create_dir(&pods).unwrap();
        let root = Root::open(&pods).unwrap().unwrap();
        (folder, root)
    }

    #[test]
    fn a_directory_is_removed_with_all_its_content() {
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
    fn of_many_directories_each_is_measured_that_can_be_in_time() {
        let (folder, root) = root();
        for name in ["a", "b"] {
            fs::create_dir(folder.path().join("pods").join(name)).unwrap();
        }
        fs::write(folder.path().join("pods/a/0.log"), vec![b'x'; 100_000]).unwrap();
        fs::write(folder.path().join("pods/file"), "x").unwrap();
        symlink("a", folder.path().join("pods/link")).unwrap();
        let names = || ["a", "b", "file", "link", "gone"].map(ToOwned::to_owned).to_vec();
        let minute = std::time::Duration::from_secs(60);
        let sizes = measure_all(&root, names(), Instant::now() + minute);
        let known: Vec<&str> = sizes.known.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(known, ["a", "b"]);
        assert!(sizes.known[0].1 >= 100_000 && sizes.known[1].1 == 0);
        assert!(
            sizes.unknown == 2 && sizes.error.unwrap().to_string().contains("pods/file"),
            "file and link"
        );
        let late = measure_all(&root, names(), Instant::now());
        assert!(late.known.is_empty() && late.unknown == 5 && late.error.is_none());
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
    fn a_tree_of_any_depth_is_removed_and_the_targets_of_its_links_are_kept() {
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
        let measured = measure(&root, "a_b_c").unwrap().unwrap();
        let removed = remove(&root, "a_b_c").unwrap().unwrap();
        assert_eq!(removed.entries, 2 * (2 * 2_000 + 2) + 2);
        assert_eq!(removed.bytes, measured);
        assert!(!dir.exists());
        assert_eq!(fs::read_to_string(outside.join("precious")).unwrap(), "data");
    }

    #[test]
    fn a_mount_point_deep_inside_saves_the_whole_directory() {
        if !rustix::process::geteuid().is_root() {
            return skipped(
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
    fn the_target_of_a_link_is_kept() {
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
        for name in ["", ".", "..", "../data", "/", "/etc", "x/y", "x/../x", "./x/..", "x/", "x/.", "./x"] {
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
            return skipped("SKIPPED a_mount_point_inside_saves_the_whole_directory: needs root to mount");
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
        // Bind mounts of the same filesystem: the device number alone would not reveal them.
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
