//! Which logs are removed with their containers (behaviour: Container logs): all but the one that `logs` of a living pod shows, and one that another
//! container may be writing.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;

use cri_gc_policy::{Container, PodState, PodTable};

/// What a log file is named by: pod, container name and attempt. Containers of no pod are distinguished by their sandbox.
type LogKey<'a> = (&'a str, &'a str, u32);

/// Knows whose log is kept.
pub struct LogKeeper<'a> {
    pods: &'a PodTable<'a>,
    /// Highest attempt of each container name of each pod, over containers in any state.
    highest: HashMap<(&'a str, &'a str), u32>,
    /// How many containers there are still that may write to a log of that name, where there was more than one.
    writers: RefCell<HashMap<LogKey<'a>, usize>>,
    /// The filesystem of the logs does not answer: for the rest of the pass the containers are removed without their logs,
    /// which are left to the log-directory reaper.
    pub is_stuck: Cell<bool>,
}

impl<'a> LogKeeper<'a> {
    /// Counts what was observed.
    pub fn new(containers: &'a [Arc<Container>], pods: &'a PodTable<'a>) -> Self {
        let mut keys: Vec<LogKey<'_>> = containers.iter().map(|container| key(pods, container)).collect();
        keys.sort_unstable();
        // The last attempt of a name is the highest one.
        let highest = keys.iter().map(|(uid, name, attempt)| ((*uid, *name), *attempt)).collect();
        let same = keys.chunk_by(|one, next| one == next).filter(|same| same.len() > 1);
        let writers = same.filter_map(|same| Some((*same.first()?, same.len()))).collect();
        Self { pods, highest, writers: RefCell::new(writers), is_stuck: Cell::new(false) }
    }

    /// Whether the log of this container may be removed with it.
    pub fn may_go(&self, container: &'a Container) -> bool {
        let key = key(self.pods, container);
        // What belongs to no pod is only removed at all if the operator says so.
        let lives = match self.pods.uid_of_container(container).as_str() {
            "" => false,
            uid => !matches!(self.pods.state(uid), PodState::Deleted | PodState::Evicted),
        };
        let shown = self.highest.get(&(key.0, key.1)) == Some(&container.attempt);
        let alone = self.writers.borrow().get(&key).is_none_or(|&writers| writers <= 1);
        alone && !(lives && shown)
    }

    /// This container is removed: its name is free for the next to take the log along.
    pub fn gone(&self, container: &'a Container) {
        if let Some(writers) = self.writers.borrow_mut().get_mut(&key(self.pods, container)) {
            *writers = writers.saturating_sub(1);
        }
    }
}

fn key<'a>(pods: &PodTable<'a>, container: &'a Container) -> LogKey<'a> {
    let uid = match pods.uid_of_container(container).as_str() {
        "" => container.pod_sandbox_id.as_str(),
        uid => uid,
    };
    (uid, container.name.as_str(), container.attempt)
}

#[cfg(test)]
mod tests {
    use cri_gc_policy::{Absent, ContainerState, Pod, PodState, Pods};
    use jiff::Timestamp;

    use cri_gc_policy::Observation;

    use super::*;

    fn container(id: &str, uid: &str, name: &str, attempt: u32) -> Container {
        Container {
            id: id.into(),
            pod_uid: uid.into(),
            pod_sandbox_id: "s".into(),
            name: name.into(),
            attempt,
            state: ContainerState::Exited,
            created_at: None,
            finished_at: None,
            image: "".into(),
            image_ref: "".into(),
            image_id: "".into(),
            image_volumes: Vec::new(),
            log_path: "".into(),
        }
    }

    fn may_go(state: PodState, containers: Vec<Container>) -> Vec<bool> {
        let observation = Observation {
            containers: Arc::new(containers.into_iter().map(Arc::new).collect()),
            pods: Pods {
                synced: true,
                pods: vec![Pod { uid: "u".into(), state, images: Vec::new() }],
                absent: Absent::Unknown,
            },
            ..Observation::empty(Timestamp::UNIX_EPOCH)
        };
        let pods = PodTable::new(&observation);
        let keeper = LogKeeper::new(&observation.containers, &pods);
        let answers = observation.containers.iter().map(|c| {
            let may_go = keeper.may_go(c);
            keeper.gone(c);
            may_go
        });
        answers.collect()
    }

    #[test]
    fn of_a_living_pod_the_log_of_the_highest_attempt_is_kept() {
        let three = || {
            vec![container("a", "u", "web", 0), container("b", "u", "web", 1), container("c", "u", "db", 0)]
        };
        for state in [PodState::Active, PodState::Unknown, PodState::Terminated] {
            assert_eq!(may_go(state, three()), [true, false, false], "{state:?}");
        }
        for state in [PodState::Deleted, PodState::Evicted] {
            assert_eq!(may_go(state, three()), [true, true, true], "{state:?}");
        }
    }

    #[test]
    fn a_log_that_another_process_may_write_is_kept_until_that_one_is_gone() {
        let twins =
            vec![container("a", "u", "web", 0), container("b", "u", "web", 0), container("c", "u", "web", 1)];
        assert_eq!(may_go(PodState::Active, twins), [false, true, false]);
    }
}
