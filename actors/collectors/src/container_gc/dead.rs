//! Since when each container was seen dead. Lists do not report when a container finished; one that was watched for as long
//! as `container_gc.min_dead_age` asks need not be asked for it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use cri_gc_kit::seams::Moment;
use cri_gc_policy::{Container, ContainerState};
use ecow::EcoString;
use jiff::SignedDuration;

use crate::collector::Pass;

/// The memory of a loop, by id, in the time since the boot.
#[derive(Debug, Default)]
pub struct SeenDead(RefCell<HashMap<EcoString, SignedDuration>>);

impl SeenDead {
    /// Takes note of a complete list of that time. What is not in it is forgotten.
    pub fn observe(&self, containers: &[Arc<Container>], at: Moment) {
        let mut before = self.0.take();
        let exited = containers.iter().filter(|container| container.state == ContainerState::Exited);
        let since = |container: &Arc<Container>| {
            let known = before.remove_entry(&container.id);
            known.unwrap_or_else(|| (container.id.clone(), at.boot()))
        };
        self.0.replace(exited.map(since).collect());
    }

    /// Whether it has been seen dead for that long.
    fn is_for(&self, id: &str, long: Duration, now: Moment) -> bool {
        let watched = |since: &SignedDuration| now.boot().saturating_sub(*since).unsigned_abs();
        self.0.borrow().get(id).map(watched).is_some_and(|watched| watched >= long)
    }

    /// Whether it was seen dead for as long as the settings of a pass ask, so that it need not be asked when it finished.
    pub fn is_long(&self, pass: &Pass, container: &Container) -> bool {
        let asked = pass.settings.container_gc.min_dead_age;
        self.is_for(&container.id, asked, pass.tools.clock.moment())
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn container(id: &str, state: ContainerState) -> Arc<Container> {
        Arc::new(Container { id: id.into(), state, ..Container::default() })
    }

    fn at(second: i64) -> Moment {
        // The wall clock says nothing.
        Moment::new(Timestamp::UNIX_EPOCH, SignedDuration::from_secs(second))
    }

    #[test]
    fn a_container_is_watched_from_when_it_is_first_seen_dead_without_a_gap() {
        let seen = SeenDead::default();
        let minute = Duration::from_secs(60);
        seen.observe(
            &[container("a", ContainerState::Running), container("b", ContainerState::Exited)],
            at(0),
        );
        seen.observe(
            &[container("a", ContainerState::Exited), container("b", ContainerState::Exited)],
            at(30),
        );
        let long = |second| ["a", "b", "c"].map(|id| seen.is_for(id, minute, at(second)));
        assert_eq!(long(59), [false, false, false]);
        assert_eq!(long(60), [false, true, false]);
        assert_eq!(long(90), [true, true, false]);
        // One that is not listed, or not dead, begins again.
        seen.observe(&[container("a", ContainerState::Unknown)], at(91));
        seen.observe(
            &[container("a", ContainerState::Exited), container("b", ContainerState::Exited)],
            at(92),
        );
        assert_eq!(long(151), [false, false, false]);
        assert_eq!(long(152), [true, true, false]);
    }
}
