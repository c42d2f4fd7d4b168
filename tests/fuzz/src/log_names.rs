//! Names in the log roots: which pod, and which container, they say that a log belongs to.

use std::sync::Arc;

use cri_gc_files::links::container_id;
use cri_gc_policy::log_dirs::{decide, pod_name_of, pod_uid_of};
use cri_gc_policy::{Absent, Observation, PodTable, Pods, Reason, Sandbox, SandboxState, naming};
use jiff::Timestamp;

/// A UID that is taken from a directory's name is at its end, has the form of one, and writes back to that name with the names of the pod.
/// A directory is removed only if its name has one, and only while the runtime knows nothing of it.
pub fn log_names(data: &[u8]) {
    let name = &*String::from_utf8_lossy(data);
    assert_eq!(pod_uid_of(name), expected(name), "{name:?}");
    match (pod_uid_of(name), pod_name_of(name)) {
        (Some(uid), Some((namespace, pod))) => {
            assert_eq!(format!("{namespace}_{pod}_{uid}"), name);
            assert_eq!(naming::log_dir(name), format!("{namespace}/{pod}"));
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
            assert!([namespace, pod].iter().all(|part| !part.is_empty() && part.chars().all(plain)), "{name:?}");
        }
        (Some(uid), None) => assert_eq!(uid, name),
        (None, pod) => assert_eq!(pod, None, "{name:?}: the name of a pod without its UID"),
    }
    removals(name);
    if let Some(id) = container_id(name) {
        assert!(name.ends_with(&format!("-{id}.log")), "{name:?}");
        assert!(id.len() == 64 && id.chars().all(|c| c.is_ascii_hexdigit()), "{name:?}");
    }
}

/// The last part of three, or the only one, if it is 32 hex digits, or these in five groups.
fn expected(name: &str) -> Option<&str> {
    let uid = match name.split('_').collect::<Vec<_>>()[..] {
        [uid] => uid,
        [namespace, pod, uid] => {
            let is_dns = |part: &str| {
                let odd = |c: char| !matches!(c, 'a'..='z' | '0'..='9' | '-' | '.');
                !part.is_empty() && !part.contains(odd)
            };
            if !is_dns(namespace) || !is_dns(pod) {
                return None;
            }
            uid
        }
        _ => return None,
    };
    let groups: Vec<usize> = uid.split('-').map(str::len).collect();
    let hex = uid.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f' | '-'));
    (hex && (groups == [32] || groups == [8, 4, 4, 4, 12])).then_some(uid)
}

fn removals(name: &str) {
    let synced = Pods { synced: true, pods: Vec::new(), absent: Absent::Deleted };
    let mut seen = Observation {
        log_dirs: vec![name.to_owned()],
        pods: synced,
        ..Observation::empty(Timestamp::UNIX_EPOCH)
    };
    let removed = |seen: &Observation| !decide(seen, &PodTable::new(seen)).remove.is_empty();
    let Some(uid) = pod_uid_of(name) else {
        assert!(!removed(&seen), "{name:?} is no pod's");
        let kept = decide(&seen, &PodTable::new(&seen)).keep;
        assert!(kept.len() == 1 && kept[0].reason == Reason::ForeignName, "{name:?}");
        return;
    };
    assert!(removed(&seen), "{name:?}: its pod is deleted");
    seen.pods.synced = false;
    assert!(!removed(&seen), "{name:?}: nothing is known of its pod");
    seen.pods.synced = true;
    for state in [SandboxState::NotReady, SandboxState::Ready, SandboxState::Unknown] {
        let sandbox = Sandbox { id: "s".into(), pod_uid: uid.into(), state, ..Sandbox::default() };
        seen.sandboxes = Arc::new(vec![Arc::new(sandbox)]);
        assert!(!removed(&seen), "{name:?}: the runtime has a sandbox of it, {state:?}");
    }
}
