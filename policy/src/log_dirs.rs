//! Which of the pods' log directories are removed (behaviour: Log directories).

use ecow::EcoString;
use foldhash::HashSet;

use crate::follow::Removed;
use crate::observation::{Observation, PodState};
use crate::plan::{Decision, Section};
use crate::pods::PodTable;
use crate::reason::Reason;

/// UID of the pod that a directory of this name belongs to: `<namespace>_<name>_<uid>`, or the old form `<uid>`, where
/// a uid is 8-4-4-4-12 or 32 hex digits. `None` for any other name: it is not known what that is.
#[must_use]
pub fn pod_uid_of(name: &str) -> Option<&str> {
    parts(name).map(|(_, uid)| uid)
}

/// Namespace and name of the pod that a directory of this name belongs to, where they are in the name.
#[must_use]
pub fn pod_name_of(name: &str) -> Option<(&str, &str)> {
    parts(name).and_then(|(pod, _)| pod)
}

/// The parts of a directory's name: namespace and name (only in the new form), and the UID.
fn parts(name: &str) -> Option<(Option<(&str, &str)>, &str)> {
    let mut parts = name.split('_');
    let (pod, uid) = match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(uid), None, None, None) => (None, uid),
        (Some(namespace), Some(pod), Some(uid), None) if is_dns(namespace) && is_dns(pod) => {
            (Some((namespace, pod)), uid)
        }
        _ => return None,
    };
    is_uid(uid).then_some((pod, uid))
}

/// Whether `part` can be the name of a namespace or a pod: lower-case letters, digits, `-` and `.`.
fn is_dns(part: &str) -> bool {
    !part.is_empty()
        && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.')
}

/// Whether `text` is a pod's UID. Kubernetes writes them in lower case; anything else would compare wrongly with the
/// UIDs of pods, so it is not taken for one.
fn is_uid(text: &str) -> bool {
    let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    match text.len() {
        32 => text.bytes().all(hex),
        36 => text.bytes().enumerate().all(
            |(i, b)| {
                if matches!(i, 8 | 13 | 18 | 23) { b == b'-' } else { hex(b) }
            },
        ),
        _ => false,
    }
}

/// Decides on all log directories. A directory whose pod still has a container or a sandbox is kept: the check right before a
/// removal would refuse it.
#[must_use]
pub fn decide(observation: &Observation, pods: &PodTable<'_>) -> Section {
    let known = known(observation, &Removed::default());
    let mut section = Section::default();
    let mut names: Vec<(usize, &str)> =
        observation.log_dirs.iter().enumerate().map(|(index, name)| (index, name.as_str())).collect();
    names.sort_unstable_by_key(|&(index, name)| (name, index));
    names.dedup_by_key(|&mut (_, name)| name);
    for (index, name) in names {
        let reason = match pod_uid_of(name) {
            None => Reason::ForeignName,
            Some(uid) => match reason_of(pods.state(uid)) {
                reason if reason.removes() && known.contains(uid) => Reason::HasContainers,
                reason => reason,
            },
        };
        section.push(Decision::new(index, reason));
    }
    section
}

/// What the state of its pod means for a log directory.
fn reason_of(state: PodState) -> Reason {
    match state {
        PodState::Deleted => Reason::PodDeleted,
        PodState::Evicted => Reason::PodEvicted,
        PodState::Active => Reason::PodActive,
        PodState::Terminated => Reason::PodFinished,
        PodState::Unknown => Reason::PodUnknown,
    }
}

/// UIDs of the sandboxes and containers of the runtime, except for those removed.
fn known<'a>(observation: &'a Observation, removed: &Removed) -> HashSet<&'a str> {
    let sandboxes = observation.sandboxes.iter().enumerate();
    let sandboxes = sandboxes.filter(|(at, _)| !removed.sandboxes.contains(at)).map(|(_, s)| &s.pod_uid);
    let containers = observation.containers.iter().enumerate();
    let containers = containers.filter(|(at, _)| !removed.containers.contains(at)).map(|(_, c)| &c.pod_uid);
    sandboxes.chain(containers).map(EcoString::as_str).collect()
}

/// Has the directories of a section follow that are removable once those containers and sandboxes are removed.
pub fn follow(section: &mut Section, observation: &Observation, pods: &PodTable<'_>, removed: &Removed) {
    if removed.containers.is_empty() && removed.sandboxes.is_empty() {
        return;
    }
    let known = known(observation, removed);
    section.follow_kept(|decision| {
        let uid = pod_uid_of(observation.log_dirs.get(decision.index)?)?;
        let is_emptied = decision.reason == Reason::HasContainers && !known.contains(uid);
        is_emptied.then(|| reason_of(pods.state(uid)))
    });
}

#[cfg(test)]
mod tests {
    use super::pod_uid_of;

    #[test]
    fn both_forms_of_a_name_and_both_forms_of_a_uid_are_known() {
        let dashed = "0f6c8d3e-1b2a-4c5d-8e9f-a0b1c2d3e4f5";
        let plain = "0f6c8d3e1b2a4c5d8e9fa0b1c2d3e4f5";
        for uid in [dashed, plain] {
            assert_eq!(pod_uid_of(uid), Some(uid));
            assert_eq!(pod_uid_of(&format!("kube-system_etcd-node1.example_{uid}")), Some(uid));
        }
    }

    #[test]
    fn any_other_name_is_foreign() {
        let uid = "0f6c8d3e-1b2a-4c5d-8e9f-a0b1c2d3e4f5";
        for name in [
            "",
            ".",
            "..",
            "lost+found",
            "pods",
            "default_web",
            "a_b_c",
            &format!("_web_{uid}"),
            &format!("default__{uid}"),
            &format!("web_{uid}"),
            &format!("default_web_x_{uid}"),
            &format!("default_web_{uid} "),
            &format!("default_../x_{uid}"),
            &format!("default_web_{}", uid.to_uppercase()),
            &format!("default_web_{}", &uid[1..]),
            &format!("default_web_{}", uid.replace('-', "_")),
            &format!("default_web_{uid}.bak"),
            &format!("default_we\u{e9}_{uid}"),
            "0f6c8d3e-1b2a-4c5d-8e9f-a0b1c2d3e4fé",
        ] {
            assert_eq!(pod_uid_of(name), None, "{name}");
        }
    }
}
