//! The entries of a directory.

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, statat};
use rustix::io::Errno;

use crate::root::FileError;

/// An entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub name: CString,
    pub inode: u64,
    pub kind: FileType,
}

/// The entries of a directory, `.` and `..` left out. Read to the end before any is removed: a directory that changes
/// while it is read may skip some.
pub fn entries(directory: impl AsFd, place: &Path) -> Result<Vec<Entry>, FileError> {
    let mut all = Vec::new();
    for entry in Dir::read_from(&directory).map_err(FileError::at(place))? {
        let entry = entry.map_err(FileError::at(place))?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let kind = match entry.file_type() {
            // Some filesystems leave the type to a stat.
            FileType::Unknown => match statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                Err(Errno::NOENT) => continue,
                Err(error) => return Err(FileError::at(place)(error)),
            },
            known => known,
        };
        all.push(Entry { name: name.to_owned(), inode: entry.ino(), kind });
    }
    Ok(all)
}

pub fn to_path(name: &CStr) -> &Path {
    Path::new(OsStr::from_bytes(name.to_bytes()))
}
