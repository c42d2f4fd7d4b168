//! Trees in the root of the pods' logs: what is listed there, and what a removal takes.

use std::fs;
use std::path::Path;

use cri_gc_files::root::Root;
use cri_gc_files::scan::log_dirs;
use cri_gc_files::tree::{measure, remove};
use cri_gc_policy::log_dirs::pod_uid_of;

use crate::disk::{Disk, removed};
use crate::input::pieces;

/// The first piece is the name that is removed, the second one what is there. A removal takes the directory of that name with all that is
/// in it, or nothing at all: whatever links, pipes and second names of files are in it, what is outside is as it was. What was measured
/// before is what was freed. The list has each directory of the root, and the name of a pod only for one that is there.
pub fn log_trees(data: &[u8]) {
    let pieces = pieces(data);
    let Some(name) = pieces[0].split(|byte| *byte == b'\n').next().and_then(|name| std::str::from_utf8(name).ok()) else {
        return;
    };
    let mut disk = Disk::new();
    let name = disk.confined(name, 1);
    let pods = disk.pods();
    disk.make(&pods, pieces.get(1).into_iter().flat_map(|piece| piece.split(|byte| *byte == b'\n')));
    list(&pods);

    let root = Root::open(&pods).unwrap().unwrap();
    let before = disk.entries();
    let measured = measure(&root, &name);
    assert!(removed(&before, &disk.entries(), &[]).is_empty(), "{name:?}: measuring removes nothing");
    let outcome = remove(&root, &name);
    // The entry is removed from the root, which gets another time by that.
    let gone = removed(&before, &disk.entries(), &["pods"]);

    let place = Path::new("pods").join(&name);
    let is_name = !name.is_empty() && !name.contains(['/', '\0']) && name != "." && name != "..";
    let is_there = is_name && before.get(&place).is_some_and(|entry| entry.is_dir);
    match outcome {
        Ok(Some(freed)) => {
            assert!(is_there, "{name:?} is no directory of the root");
            let all = before.keys().filter(|path| path.starts_with(&place));
            assert!(all.eq(&gone), "{name:?}: not all of it, or more than that, is removed: {gone:?}");
            assert_eq!(freed.entries, gone.len() as u64, "{name:?}");
            let measured = measured.unwrap().unwrap();
            // Both names of a file may be in the tree: its space is free only once both are removed.
            assert!(measured == freed.bytes || disk.has_second_names && measured < freed.bytes, "{name:?}");
            assert_eq!(remove(&root, &name).unwrap(), None, "{name:?}: it is not there twice");
        }
        Ok(None) => {
            assert!(gone.is_empty() && !before.contains_key(&place), "{name:?}");
            assert_eq!(measured.unwrap(), None);
        }
        Err(error) => {
            assert!(gone.is_empty(), "{name:?} is refused ({error}) after {gone:?} was removed");
            assert!(!is_there, "{name:?} is refused: {error}");
            assert!(measured.is_err());
        }
    }
}

fn list(pods: &Path) {
    let listed = log_dirs(pods).unwrap().unwrap();
    let entries = fs::read_dir(pods).unwrap().map(Result::unwrap);
    let directories: Vec<_> = entries.filter(|entry| entry.file_type().unwrap().is_dir()).collect();
    assert_eq!(listed.len(), directories.len());
    assert!(listed.is_sorted_by(|a, b| a.name <= b.name), "the same node is listed in the same order");
    for name in directories.iter().filter_map(|entry| entry.file_name().into_string().ok()) {
        assert!(listed.iter().any(|dir| dir.name == name), "{name:?} is not listed");
    }
    let names = listed.iter().map(|dir| &dir.name);
    for name in names.filter(|name| pod_uid_of(name).is_some()) {
        assert!(pods.join(name).is_dir(), "{name:?} is taken for a pod's, and is the name of no directory");
        assert_eq!(listed.iter().filter(|dir| dir.name == *name).count(), 1, "{name:?} is listed twice");
    }
}
