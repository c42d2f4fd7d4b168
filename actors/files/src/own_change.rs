//! What a removal of ours does to the modification time of the directory around it is undone: that time is evidence of whether
//! a pod lives (behaviour: Confirmed deletion), and cri-gc's own change is no sign of life. The time lies on the disk, so this is true for the next start and the
//! next one-shot command as well.
//!
//! Only our own change is undone. No filesystem can compare and set a time in one step, so the entries are compared
//! before and after: where anything but what we removed is different, the newer time is kept. What another process does after
//! that sets a new time by itself.

use std::collections::HashSet;
use std::ffi::{CStr, CString};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, FileType, OFlags, Stat, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, fstat, futimens,
};
use rustix::io::Errno;

use crate::entries::{Entry, entries};
use crate::root::{FileError, open_beneath, unlink};

/// The result of a removal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removed {
    /// Files, links and directories that were removed.
    pub entries: u64,
    /// Bytes that their blocks took.
    pub bytes: u64,
}

impl Removed {
    pub(crate) fn add(&mut self, other: Self) {
        self.entries += other.entries;
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}

/// Calls `remove` for each entry of a directory, up to its first error, and leaves the modification time of the directory as
/// it was, also where that fails: neither says anything about the pod.
pub fn remove_each(
    directory: &OwnedFd,
    place: &Path,
    remove: impl FnMut(&CStr, FileType) -> Result<Removed, FileError>,
) -> Result<Removed, FileError> {
    remove_with_itself(directory, place, remove, || Ok(false))
}

/// The same for a directory that is removed `itself` after that, if it can be: whether it was. Then it has no time any more.
pub fn remove_with_itself(
    directory: &OwnedFd,
    place: &Path,
    remove: impl FnMut(&CStr, FileType) -> Result<Removed, FileError>,
    itself: impl FnOnce() -> Result<bool, FileError>,
) -> Result<Removed, FileError> {
    let mut before = Before::read(directory, place)?;
    let removed = before.each(remove).and_then(|removed| Ok((removed, itself()?)));
    if let Ok((mut removed, true)) = removed {
        removed.entries += 1;
        return Ok(removed);
    }
    before.restore_time();
    removed.map(|(removed, _)| removed)
}

/// Removes one file or link of a directory.
pub fn remove_file(directory: BorrowedFd<'_>, name: &CStr, place: &Path) -> Result<Removed, FileError> {
    let Some(file) = open_beneath(directory, name, OFlags::PATH, place)? else {
        return Ok(Removed::default());
    };
    let bytes = size(&fstat(&file).map_err(FileError::at(place))?);
    let is_removed = unlink(directory, name, AtFlags::empty(), place)?;
    Ok(if is_removed { Removed { entries: 1, bytes } } else { Removed::default() })
}

/// Bytes that are free once a file is removed. Blocks are counted in units of 512 bytes; those of a file with another name are
/// not free yet.
pub fn size(stat: &Stat) -> u64 {
    if stat.st_nlink > 1 { 0 } else { u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512) }
}

/// A directory as it was before something of it is removed, and what of it was removed since.
struct Before<'d> {
    directory: &'d OwnedFd,
    place: PathBuf,
    /// Modification time; `None` if it changed while the entries were read.
    modified: Option<Timespec>,
    entries: Vec<Entry>,
    removed: HashSet<CString>,
    /// Modification time right after our last removal: another one is not our doing.
    left: Option<Timespec>,
}

impl<'d> Before<'d> {
    /// Reads the entries and the time.
    fn read(directory: &'d OwnedFd, place: &Path) -> Result<Self, FileError> {
        let time = || modification_time(directory).map_err(FileError::at(place));
        let before = time()?;
        let entries = entries(directory, place)?;
        let modified = (time()? == before).then_some(before);
        let place = place.to_owned();
        Ok(Self { directory, place, modified, entries, removed: HashSet::new(), left: None })
    }

    /// Calls `remove` for each entry, up to its first error.
    fn each(
        &mut self,
        mut remove: impl FnMut(&CStr, FileType) -> Result<Removed, FileError>,
    ) -> Result<Removed, FileError> {
        let mut all = Removed::default();
        for Entry { name, kind, .. } in &self.entries {
            let removed = remove(name, *kind)?;
            all.add(removed);
            if removed.entries > 0 {
                self.removed.insert(name.clone());
                self.left = modification_time(self.directory).ok();
            }
        }
        Ok(all)
    }

    /// Gives the directory its time back. Where that can't be done, or something else has changed, it keeps the newer time:
    /// then a pod is kept for longer.
    fn restore_time(self) {
        let Some(modified) = self.modified.filter(|_| !self.removed.is_empty()) else { return };
        let left = |entry: &Entry| !self.removed.contains(&entry.name);
        let expected: Vec<Entry> = sorted(self.entries.iter().filter(|entry| left(entry)).cloned().collect());
        let is_as_left =
            || entries(self.directory, &self.place).is_ok_and(|entries| sorted(entries) == expected);
        if modification_time(self.directory).ok() != self.left
            || !is_as_left()
            || set_modified(self.directory, modified).is_err()
        {
            return;
        }
        // Something may have changed between the comparison and the new time.
        if !is_as_left() {
            let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
            // Where the one time could be set, so can the other.
            let _ = set_modified(self.directory, now);
        }
    }
}

fn modification_time(directory: &OwnedFd) -> Result<Timespec, Errno> {
    let stat = fstat(directory)?;
    // Nanoseconds are below a thousand million.
    Ok(Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec.try_into().unwrap_or_default() })
}

fn set_modified(directory: &OwnedFd, last_modification: Timespec) -> Result<(), Errno> {
    let last_access = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
    futimens(directory, &Timestamps { last_access, last_modification })
}

fn sorted(mut entries: Vec<Entry>) -> Vec<Entry> {
    entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    entries
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::fd::AsFd;
    use std::time::{Duration, SystemTime};

    use super::*;

    const OLD: SystemTime = SystemTime::UNIX_EPOCH;

    struct Directory(tempfile::TempDir, OwnedFd);

    impl Directory {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            for name in ["0.log", "1.log"] {
                fs::write(folder.path().join(name), "x").unwrap();
            }
            let file = File::open(folder.path()).unwrap();
            file.set_modified(OLD + Duration::new(5, 123_456_789)).unwrap();
            Self(folder, file.into())
        }

        fn modified(&self) -> Duration {
            fs::metadata(self.0.path()).unwrap().modified().unwrap().duration_since(OLD).unwrap()
        }

        fn before(&self) -> Before<'_> {
            Before::read(&self.1, self.0.path()).unwrap()
        }

        fn remove(&self, before: &mut Before<'_>, wanted: &str) {
            let remove = |name: &CStr| match name.to_bytes() == wanted.as_bytes() {
                true => remove_file(self.1.as_fd(), name, self.0.path()),
                false => Ok(Removed::default()),
            };
            before.each(|name, _| remove(name)).unwrap();
        }
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
            remove_file(directory.as_fd(), name, folder.path())
        });
        assert!(removed.is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        let modified = fs::metadata(folder.path()).unwrap().modified().unwrap();
        assert_eq!(modified, std::time::SystemTime::UNIX_EPOCH);
    }

    #[test]
    fn a_removal_leaves_the_time_as_it_was() {
        let directory = Directory::new();
        let mut before = directory.before();
        directory.remove(&mut before, "0.log");
        assert!(directory.modified() > Duration::from_secs(6));
        before.restore_time();
        assert_eq!(directory.modified(), Duration::new(5, 123_456_789));
    }

    #[test]
    fn the_change_of_another_process_is_not_hidden() {
        type Change = (&'static str, fn(&Path));
        let changes: [Change; 4] = [
            ("a new file", |path| fs::write(path.join("2.log"), "x").unwrap()),
            ("the removed file again", |path| fs::write(path.join("0.log"), "x").unwrap()),
            ("another file removed", |path| fs::remove_file(path.join("1.log")).unwrap()),
            ("another file replaced", |path| {
                fs::write(path.join("new"), "x").unwrap();
                fs::rename(path.join("new"), path.join("1.log")).unwrap();
            }),
        ];
        for (what, change) in changes {
            let directory = Directory::new();
            let mut before = directory.before();
            directory.remove(&mut before, "0.log");
            change(directory.0.path());
            before.restore_time();
            assert!(directory.modified() > Duration::from_secs(6), "{what}");
        }
    }

    #[test]
    fn a_change_after_ours_sets_a_new_time() {
        let directory = Directory::new();
        let mut before = directory.before();
        directory.remove(&mut before, "0.log");
        before.restore_time();
        fs::write(directory.0.path().join("2.log"), "x").unwrap();
        assert!(directory.modified() > Duration::from_secs(6));
    }

    #[test]
    fn a_file_that_was_made_and_removed_after_our_removal_is_the_change_of_another_process() {
        let directory = Directory::new();
        let mut before = directory.before();
        directory.remove(&mut before, "0.log");
        let ours = directory.modified();
        // The clock of a filesystem advances in steps.
        while directory.modified() == ours {
            fs::write(directory.0.path().join("2.log"), "x").unwrap();
            fs::remove_file(directory.0.path().join("2.log")).unwrap();
        }
        before.restore_time();
        assert!(directory.modified() > Duration::from_secs(6));
    }

    #[test]
    fn a_file_that_another_process_removed_before_us_is_its_change() {
        let directory = Directory::new();
        let mut before = directory.before();
        fs::remove_file(directory.0.path().join("0.log")).unwrap();
        directory.remove(&mut before, "0.log");
        directory.remove(&mut before, "1.log");
        before.restore_time();
        assert!(directory.modified() > Duration::from_secs(6));
    }
}
