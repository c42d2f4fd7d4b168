//! Which pods were proved deleted before, and by which objects. A proof holds for its UID until something new of the pod
//! is seen: what we removed since (and what that did to the times of its log directory) does not void it.

use std::collections::{HashMap, HashSet};

use super::evidence::Evidence;

/// The proofs that hold.
#[derive(Debug, Default)]
pub struct Proofs {
    objects: HashMap<String, HashSet<String>>,
}

impl Proofs {
    /// Whether the pod was proved deleted, and nothing new of it is there.
    #[must_use]
    pub fn hold(&self, uid: &str, evidence: &Evidence<'_>) -> bool {
        let known = |objects: &HashSet<String>| evidence.objects.iter().all(|id| objects.contains(*id));
        !evidence.runs && self.objects.get(uid).is_some_and(known)
    }

    /// The pod is proved deleted.
    pub fn add(&mut self, uid: &str, evidence: &Evidence<'_>) {
        self.objects.insert(uid.to_owned(), evidence.objects.iter().map(|id| (*id).to_owned()).collect());
    }

    /// The pod is not proved deleted any more.
    pub fn void(&mut self, uid: &str) {
        self.objects.remove(uid);
    }

    /// No proof holds any more.
    pub fn void_all(&mut self) {
        self.objects.clear();
    }
}
