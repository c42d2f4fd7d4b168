//! Which pods were proved deleted before, by which evidence and by which objects. A proof is valid for its UID until something
//! new of the pod is seen: what we removed since (and what that did to the times of its log directory) does not void it.

use std::collections::HashMap;

use super::evidence::{Evidence, Known};
use super::standing::Standing;
use cri_gc_files::scan::Identity;
use ecow::EcoString;

/// The proofs that hold.
#[derive(Debug, Default)]
pub struct Proofs {
    proved: HashMap<EcoString, Proved>,
}

/// What there was of a pod when it was proved deleted.
#[derive(Debug)]
struct Proved {
    objects: Known<EcoString>,
    log_dirs: Known<Identity>,
    by: Standing,
}

impl Proofs {
    /// By which evidence the pod was proved deleted, if it was and nothing new of it is there.
    #[must_use]
    pub fn hold(&self, uid: &str, evidence: &Evidence<'_>) -> Option<&Standing> {
        let proved = self.proved.get(uid)?;
        let known = !evidence.runs
            && !evidence.unknown_container
            && evidence.objects.iter().all(|id| proved.objects.contains(id))
            && evidence.log_dirs.iter().all(|dir| proved.log_dirs.contains(dir));
        known.then_some(&proved.by)
    }

    /// A pod of which nothing is there any more has nothing to prove: should its UID return, it is another one.
    pub fn forget_all_but(&mut self, seen: &HashMap<&str, Evidence<'_>>) {
        self.proved.retain(|uid, _| seen.contains_key(uid.as_str()));
    }

    /// The pod is proved deleted.
    pub fn add(&mut self, uid: &str, evidence: &Evidence<'_>, by: Standing) {
        let objects = evidence.objects.iter().copied().cloned().collect();
        let log_dirs = evidence.log_dirs.iter().copied().collect();
        self.proved.insert(uid.into(), Proved { objects, log_dirs, by });
    }

    /// The pod is not proved deleted any more.
    pub fn void(&mut self, uid: &str) {
        self.proved.remove(uid);
    }

    /// No proof is valid any more.
    pub fn void_all(&mut self) {
        self.proved.clear();
    }
}
