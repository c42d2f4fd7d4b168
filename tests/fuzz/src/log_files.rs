//! The log of one container: which files are removed with it.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use cri_gc_files::logs::remove;
use cri_gc_policy::log_dirs::pod_uid_of;

use crate::disk::{Disk, removed};
use crate::input::{lines, pieces};

/// The first piece is a UID, the path of the log and names of links, a line each; then follows what is there, below the root of the pods'
/// logs and below that of the links. Nothing is removed but the log with its rotated files, in a directory of that pod, and links of those
/// names to that path. The log itself is always removed where it is a file of that pod. The directory has its time back.
pub fn log_files(data: &[u8]) {
    let pieces = pieces(data);
    let described = lines(pieces[0]);
    let (Some(uid), Some(log)) = (described.first(), described.get(1)) else { return };
    let mut disk = Disk::new();
    let (pods, links) = (disk.pods(), disk.links());
    let names: Vec<String> = described.iter().skip(2).map(|name| disk.confined(name, 1)).collect();
    let log = disk.confined(log, 0);
    for (root, piece) in [&pods, &links].into_iter().zip(pieces.iter().skip(1)) {
        disk.make(root, piece.split(|byte| *byte == b'\n'));
    }
    // What a kubelet would have made.
    for name in names.iter().filter(|name| !name.contains(['/', '\0']) && name.len() < 200).take(4) {
        let _ = std::os::unix::fs::symlink(&log, links.join(name));
    }
    let before = disk.entries();
    let outcome = remove(&pods, &links, uid, &log, &names);
    let gone = removed(&before, &disk.entries(), &["links"]);

    let inside = Path::new(&log).strip_prefix(disk.path()).ok().map(Path::to_owned);
    for path in &gone {
        let entry = &before[path];
        assert!(!entry.is_dir, "{}: a directory is removed", path.display());
        if path.starts_with("links") {
            let name = path.file_name().unwrap().to_str().unwrap();
            assert!(names.iter().any(|known| known == name), "{name}: a link of another container");
            assert_eq!(entry.target.as_deref(), Some(Path::new(&log)), "{name}: a link to another log");
            continue;
        }
        let log = inside.as_ref().expect("a log outside is removed");
        assert_eq!(path.parent(), log.parent(), "a file of another directory");
        let pod = path.strip_prefix("pods").ok().and_then(|path| path.components().next());
        let pod = pod.and_then(|name| name.as_os_str().to_str()).and_then(pod_uid_of);
        assert_eq!(pod, Some(uid.as_str()), "{}: the log of another pod", path.display());
        let [name, log] = [path, log].map(|path| path.file_name().unwrap().as_bytes());
        let rest = name.strip_prefix(log).expect("another file");
        assert!(rest.is_empty() || rest.starts_with(b".") && log.ends_with(b".log"), "{}", path.display());
    }
    if let Ok(freed) = outcome {
        assert_eq!(freed.entries, gone.len() as u64);
    }
    // Plainly a log of that pod: `/pods/DIRECTORY/.../FILE`, with no link on the way.
    let plain = |path: &std::path::PathBuf| {
        let pod = path.strip_prefix("pods").ok().and_then(|path| path.iter().next()?.to_str()).and_then(pod_uid_of);
        pod == Some(uid.as_str()) && path.components().count() > 2 && before.get(path).is_some_and(|entry| !entry.is_dir)
    };
    if let Some(log) = inside.filter(plain) {
        assert!(gone.contains(&log), "{} is still there", log.display());
    }
}
