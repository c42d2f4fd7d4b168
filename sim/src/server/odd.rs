//! Answers that no runtime should give, and some do: objects without an id or metadata, twice or of an unknown state, times that cannot be,
//! sandboxes that are in no list, labels without end. What is odd about an answer never says of something that runs only that it has
//! ended: that would be a lie.

use cri_gc_proto::cri;

use crate::model::{Node, Odd};

/// A state that is none.
const NO_STATE: i32 = 99;

const TIMES: [i64; 4] = [0, -1, i64::MIN, i64::MAX];

const EXITED: i32 = cri::ContainerState::ContainerExited as i32;
const NOT_READY: i32 = cri::PodSandboxState::SandboxNotready as i32;

/// The list, odd if its node answers so.
pub(super) fn containers(node: &Node, mut list: Vec<cri::Container>) -> Vec<cri::Container> {
    distort(node.odd(), &mut list, |odd, one| {
        let (id, state) = (one.id.clone(), one.state);
        match odd.below(9) {
            0 => return Some(one.clone()),
            1 => return Some(cri::Container { state: EXITED, ..one.clone() }),
            2 => return Some(cri::Container { id: String::new(), ..one.clone() }),
            3 if state == EXITED => one.state = NO_STATE,
            4 => one.metadata = None,
            5 => one.created_at = odd.one_of(&TIMES),
            6 if !one.labels.is_empty() => {
                one.pod_sandbox_id = odd.one_of(&[String::new(), "f".repeat(64), id])
            }
            7 => one.labels.push(endless_label()),
            _ => one.image = None,
        }
        None
    });
    list
}

/// The same of sandboxes.
pub(super) fn sandboxes(node: &Node, mut list: Vec<cri::PodSandbox>) -> Vec<cri::PodSandbox> {
    distort(node.odd(), &mut list, |odd, one| {
        match odd.below(7) {
            0 => return Some(one.clone()),
            1 => return Some(cri::PodSandbox { state: NOT_READY, ..one.clone() }),
            2 => return Some(cri::PodSandbox { id: String::new(), ..one.clone() }),
            3 if one.state == NOT_READY => one.state = NO_STATE,
            4 => one.metadata = None,
            5 => one.created_at = odd.one_of(&TIMES),
            _ => one.labels.push(endless_label()),
        }
        None
    });
    list
}

/// The same of images.
pub(super) fn images(node: &Node, mut list: Vec<cri::Image>) -> Vec<cri::Image> {
    distort(node.odd(), &mut list, |odd, one| {
        match odd.below(4) {
            0 => return Some(one.clone()),
            1 => return Some(cri::Image { id: String::new(), ..one.clone() }),
            2 => one.size = odd.one_of(&[0, u64::MAX]),
            _ => one.repo_digests.push(String::new()),
        }
        None
    });
    list
}

/// The status of a container, odd if its node answers so.
pub(super) fn container_status(node: &Node, mut status: cri::ContainerStatus) -> cri::ContainerStatus {
    if let Some(odd) = node.odd() {
        match odd.below(6) {
            0 => status.metadata = None,
            1 if status.state == EXITED => status.state = NO_STATE,
            2 => status.created_at = odd.one_of(&TIMES),
            3 if status.state == EXITED => status.finished_at = i64::MAX,
            4 => status.image = None,
            _ => {
                let outside = node.paths.root.join("outside.log").display().to_string();
                status.log_path = odd.one_of(&[String::new(), "../outside.log".to_owned(), outside]);
            }
        }
    }
    status
}

/// Distorts a few objects of a list; what `distort` returns is one more.
fn distort<T>(odd: Option<Odd<'_>>, list: &mut Vec<T>, distort: impl Fn(Odd<'_>, &mut T) -> Option<T>) {
    let Some(odd) = odd else { return };
    for _ in 0..odd.below(4) {
        let at = odd.below(list.len().max(1));
        let Some(one) = list.get_mut(at) else { return };
        if let Some(more) = distort(odd, one) {
            let place = odd.one_of(&[0, list.len()]);
            list.insert(place, more);
        }
    }
}

fn endless_label() -> cri::Pair {
    cri::Pair { key: "endless".to_owned(), value: "label".repeat(10_000) }
}
