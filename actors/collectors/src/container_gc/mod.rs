//! The container GC supervisor: removes dead containers with their logs (behaviour: Dead containers).
//!
//! - here: observe, plan, act. `removals`: the re-check and removal of a container; `whole_pods`: of a sandbox with all that is in it.
//!   `check`: one list of a pod for both. `dead`: what was seen dead for long enough. `logs`: which logs are removed.

mod check;
mod dead;
mod logs;
mod removals;
mod whole_pods;

use std::collections::HashMap;
use std::sync::Arc;

use cri_gc_policy::containers::{self, Status};
use cri_gc_policy::report::Words;
use cri_gc_policy::{Container, Decision, Kind, PodTable};

use crate::collector::{Collect, Pass};
use crate::planning::{is_of_kubelet, settle};
use crate::report::PassError;
use check::Checks;
use cri_gc_kit::supervision::threads::Lease;
use cri_gc_kit::words::Loop;
use dead::SeenDead;
use logs::LogKeeper;
use removals::{Removals, link_names};
use whole_pods::WholePods;

/// The collector of dead containers.
#[derive(Debug, Default)]
pub struct ContainerGc {
    seen_dead: SeenDead,
    whole: WholePods,
}

impl Collect for ContainerGc {
    const LOOP: Loop = Loop::ContainerGc;

    async fn pass(&self, pass: &Pass) -> Result<(), PassError> {
        let view = pass.pods().await?;
        let observation = &view.observation;
        self.seen_dead.observe(&observation.containers, view.listed_at);
        pass.there_are(Kind::Container, observation.containers.iter().map(|container| container.id.as_str()));
        let policy = pass.settings.policy();
        let pods = PodTable::new(observation);
        let mut section = containers::decide(observation, &pods, &policy);
        if pass.enforces() {
            by_pod(&mut section.remove, &observation.containers);
        } else {
            // No check is made right before the removals, so it is made here.
            let known = |container: &Container| {
                let is_known = is_of_kubelet(container) && self.seen_dead.is_long(pass, container);
                is_known.then(|| Status::listed(container))
            };
            let settled = settle(&pass.tools, observation, &mut section, &policy, known).await;
            settled.into_iter().for_each(|problem| pass.error(problem));
        }
        let words = Words::new(observation, &pods, &policy);
        let removes = pass.enforces() && !section.remove.is_empty();
        let keeper = LogKeeper::new(if removes { &observation.containers } else { &[] }, &pods);
        let links = if removes { link_names(pass, &keeper).await } else { HashMap::new() };
        let parallel = pass.settings.container_gc.parallel_removals.into();
        let removals = Removals {
            pass,
            seen_dead: &self.seen_dead,
            clock_set: observation.clock_set,
            checks: Checks::new(&pass.tools.gateway, &observation.containers),
            keeper,
            links,
            observation,
            pods: &pods,
            words: &words,
        };
        pass.decided(Kind::Container, &section, |decisions| words.items(Kind::Container, decisions));
        let planned = section.remove.len();
        let whole = match pass.enforces() {
            true => whole_pods::take(&mut section, observation, &pods, &policy),
            false => Vec::new(),
        };
        pass.planned(planned + whole.len());
        let record = |target, removed| pass.record(&target, removed);
        let one_by_one = |decisions: Vec<Decision>| {
            let targets = decisions.into_iter().filter_map(|decision| removals.target(decision));
            pass.attempt(targets, parallel, async |target| removals.of(target).await, record)
        };
        // Neither waits for the other: each has places of its own among what is in flight.
        let removed = futures_util::join!(self.whole.remove(&removals, whole), one_by_one(section.remove));
        one_by_one(removed.0).await;
        Ok(())
    }
}

impl ContainerGc {
    /// That of a service whose sandbox loop gives others that lease; without one only the settings decide what is removed together.
    #[must_use]
    pub fn new(sandboxes: Lease) -> Self {
        Self { seen_dead: SeenDead::default(), whole: WholePods::new(sandboxes) }
    }
}

/// Brings what is removed of one pod together, so that one list shows all of it right before. The pod with the oldest comes first.
fn by_pod(remove: &mut [Decision], containers: &[Arc<Container>]) {
    let owner = |decision: &Decision| containers.get(decision.index).map(|container| check::owner(container));
    let mut order = HashMap::new();
    for decision in remove.iter() {
        let next = order.len();
        order.entry(owner(decision)).or_insert(next);
    }
    remove.sort_by_cached_key(|decision| order.get(&owner(decision)).copied());
}
