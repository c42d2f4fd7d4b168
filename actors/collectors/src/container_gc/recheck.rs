//! What is asked right before a container is removed: a runtime kills a running one without a word.

use cri_gc_policy::containers;
use cri_gc_policy::{Container, ContainerPolicy, Now, Reason};
use jiff::Timestamp;

use crate::tools::Tools;
use cri_gc_gateway::{ContainerFacts, CriResult};

/// What the re-check saw.
pub enum Recheck {
    /// It is still dead, and has been for long enough.
    Go(ContainerFacts),
    /// It must stay.
    Stay(Reason),
}

/// Reads the status and applies rule 1 to it once more (behaviour: Dead containers). Lists do not tell when a container finished, so
/// this is where `min_dead_age` takes effect.
pub async fn recheck(
    tools: &Tools,
    container: &Container,
    policy: &ContainerPolicy,
    clock_set: Option<Timestamp>,
) -> CriResult<Recheck> {
    let facts = tools.gateway.container_status(&container.id).await?;
    let now = Now { at: tools.clock.now(), clock_set };
    Ok(match containers::recheck(container, Some(facts.status), policy, now) {
        Ok(()) => Recheck::Go(facts),
        Err(reason) => Recheck::Stay(reason),
    })
}
