//! Whether the configuration file has changed: it is checked again and again, without notifications.
//!
//! A check follows symbolic links, so it sees a `ConfigMap` whose link is swapped as well as a file that is written in
//! place, on every filesystem. What it sees must be the same at two checks before the file is read: half of a file can be
//! a valid configuration that protects nothing.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

/// How often the file is checked.
pub const CHECK_EVERY: Duration = Duration::from_secs(2);

/// What distinguishes one state of a file from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Fingerprint {
    /// Of the file behind all links; `None` if there is none, or it can't be read.
    pub fn of(path: &Path) -> Option<Self> {
        let meta = std::fs::metadata(path).ok()?;
        Some(Self {
            device: meta.dev(),
            inode: meta.ino(),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        })
    }
}

/// What was seen of a file.
#[derive(Debug, Default)]
pub struct Watch {
    /// At the last check.
    last: Option<Fingerprint>,
    /// When it was last read, well or not.
    read: Option<Fingerprint>,
}

impl Watch {
    /// It is being read in that state.
    pub fn read(&mut self, state: Option<Fingerprint>) {
        self.read = state;
        self.last = state;
    }

    /// After a check: whether the file is to be read. It is if it is another one than was read, and was the same twice. So is one
    /// that is missing: that is refused, for what it set would be lost, and so the operator is informed.
    pub fn is_due(&mut self, state: Option<Fingerprint>) -> bool {
        let is_same = state == self.last;
        self.last = state;
        is_same && state != self.read
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(inode: u64, size: u64) -> Option<Fingerprint> {
        Some(Fingerprint { device: 1, inode, size, modified: (0, 0), changed: (0, 0) })
    }

    #[test]
    fn a_file_is_read_once_when_it_no_longer_changes() {
        let mut watch = Watch::default();
        watch.read(state(1, 10));
        assert!(!watch.is_due(state(1, 10)), "nothing has changed");
        assert!(!watch.is_due(state(1, 0)), "it is being written");
        assert!(!watch.is_due(state(1, 5)), "still");
        assert!(!watch.is_due(state(1, 12)), "still");
        assert!(watch.is_due(state(1, 12)));
        watch.read(state(1, 12));
        assert!(!watch.is_due(state(1, 12)), "a refused one is not read again and again");
    }

    #[test]
    fn a_swapped_link_is_another_file_and_a_vanished_file_is_none() {
        let mut watch = Watch::default();
        watch.read(state(1, 10));
        assert!(!watch.is_due(None), "it may be being swapped");
        assert!(watch.is_due(None), "it is gone");
        watch.read(None);
        assert!(!watch.is_due(None), "that is said once");
        assert!(!watch.is_due(state(2, 10)));
        assert!(watch.is_due(state(2, 10)), "another file of the same size");
    }
}
