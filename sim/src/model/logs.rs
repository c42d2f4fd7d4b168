//! The real files of the node: log directories, log files, rotated ones and the kubelet's links.
//!
//! Every file and folder that is made gets a modelled modification time, because the real clock and the modelled one are
//! far apart. Nothing here removes a file: a runtime does not touch logs.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;

use crate::clock::later;
use crate::error::SimError;
use crate::spec::LogSpec;

/// Makes a folder, or takes the one that is there, and sets its modification time.
pub(crate) fn make_dir(path: &Path, modified: Timestamp) -> Result<(), SimError> {
    fs::create_dir_all(path).map_err(SimError::io(path))?;
    set_modified(path, modified)
}

/// Sets the modification time of a file or folder (of what a link points to, for a link).
pub(crate) fn set_modified(path: &Path, at: Timestamp) -> Result<(), SimError> {
    File::open(path).and_then(|file| file.set_modified(SystemTime::from(at))).map_err(SimError::io(path))
}

/// Makes the log file and its rotated ones, with the folders above them where they are missing. The folders of the
/// container and of the pod end up as new as they were or as `created`, whichever is later.
pub(crate) fn make_log(
    path: &Path,
    spec: &LogSpec,
    created: Timestamp,
    modified: Timestamp,
) -> Result<(), SimError> {
    let folder = path.parent().unwrap_or(path);
    let pod = folder.parent().unwrap_or(folder);
    let [folder_time, pod_time] =
        [folder, pod].map(|dir| modified_of(dir).map_or(created, |at| at.max(created)));
    make_dir(folder, folder_time)?;
    for number in 0..spec.rotated {
        write_log(&rotated_name(path, created, number), spec.bytes, created)?;
    }
    write_log(path, spec.bytes, created)?;
    set_modified(path, modified)?;
    set_modified(pod, pod_time)
}

/// Appends lines in the form of a runtime's logs, cut off at `bytes`, to a log file, which is made if it is missing; its folder has to
/// be there. The folder ends up as new as it was, or as the file if that is newer.
pub(crate) fn write_log(path: &Path, bytes: u64, at: Timestamp) -> Result<(), SimError> {
    let folder = path.parent().unwrap_or(path);
    let folder_time = modified_of(folder).map_or(at, |before| before.max(at));
    let line = format!("{at} stdout F a line of the modelled node\n");
    let text: Vec<u8> = line.bytes().cycle().take(usize::try_from(bytes).unwrap_or(usize::MAX)).collect();
    let file = fs::OpenOptions::new().append(true).create(true).open(path);
    file.and_then(|mut file| file.write_all(&text)).map_err(SimError::io(path))?;
    set_modified(path, at)?;
    set_modified(folder, folder_time)
}

fn modified_of(path: &Path) -> Option<Timestamp> {
    Timestamp::try_from(fs::metadata(path).ok()?.modified().ok()?).ok()
}

/// `<log>.<date>-<time>`, every second one with `.gz`, an hour apart.
fn rotated_name(path: &Path, first: Timestamp, number: u32) -> PathBuf {
    let at = later(first, Duration::from_secs(3600).saturating_mul(number));
    let compressed = if number % 2 == 1 { ".gz" } else { "" };
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}{compressed}", at.strftime("%Y%m%d-%H%M%S")));
    name.into()
}
