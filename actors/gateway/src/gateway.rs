//! The handle to the gateway, for all who ask a runtime.

use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use actix::{Addr, ArbiterHandle, Recipient};
use cri_gc_config::Settings;
use cri_gc_kit::generation::Reconfigure;
use cri_gc_kit::supervision::guard::{self, Pace};
use cri_gc_kit::supervision::threads::Lease;
use cri_gc_policy::{Container, Image};
use ecow::EcoString;
use slog::Logger;
use tokio::time::Instant;

use crate::actor::{CONTAINER_STATUS, GatewayActor};
use crate::answers::ContainerFacts;
use crate::connection::{Connect, Sockets};
use crate::error::{CriError, CriResult, ErrorClass};
use crate::health::{Health, RuntimeState, Waits};
use crate::lanes::Limits;
use crate::lists::{Listed, Listing};
use crate::messages::{AskKnownVolumes, AskRpcs, AskRuntime, AskStatuses, Freshness, List, NamePods};
use crate::parts::Memory;
use crate::returns::Returns;
use crate::rpcs::RpcTotal;

/// A handle to the gateway. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Gateway {
    pub(crate) address: Addr<GatewayActor>,
    /// The caller's: under a revoked one only questions are sent.
    pub(crate) lease: Lease,
    /// How often the runtime became reachable again; changed each time that it answers again.
    returns: Returns,
    /// Whether pods have to be named.
    asks_for_pods: Arc<AtomicBool>,
}

impl Gateway {
    /// Starts the actor on an arbiter. It connects with the first request, and is restarted after a panic; one that `waits` retries
    /// while the runtime is unreachable.
    #[must_use]
    pub fn start(
        on: &ArbiterHandle,
        settings: &Settings,
        connect: Connect,
        waits: Option<Waits>,
        log: Logger,
    ) -> Self {
        let returns = Returns::default();
        let (mut log_restart, gaps) = (guard::log_restart(log.clone(), "gateway", None), returns.clone());
        let on_restart = Box::new(move |why: &str, pause| {
            // At once, and again when it has restarted: nothing is seen in between.
            gaps.count_silently();
            log_restart(why, pause);
        });
        let (sockets, limits) =
            (Sockets { runtime: settings.runtime.clone(), connect }, Limits::from(settings));
        let asks_for_pods = Arc::new(AtomicBool::new(true));
        let memory = Memory::new(Arc::clone(&asks_for_pods));
        let health = Health::new(waits, returns.clone(), log);
        let make = move |_: &mut _| GatewayActor::new(sockets, limits, memory, health);
        let address = guard::start(on, Pace::from(settings), on_restart, make);
        Self { address, lease: Lease::default(), returns, asks_for_pods }
    }

    /// The same gateway, for a caller that may remove things under that lease.
    #[must_use]
    pub fn under(&self, lease: Lease) -> Self {
        Self { lease, ..self.clone() }
    }

    /// The same gateway, for what that caller removes in the name of another loop as well.
    #[must_use]
    pub fn also_under(&self, lease: &Lease) -> Self {
        self.under(self.lease.together_with(lease))
    }

    /// The state of each of these containers, in their order. From `until` on no more are asked, nor once the
    /// runtime does not answer in time.
    pub async fn statuses(&self, ids: Vec<EcoString>, until: Instant) -> Vec<CriResult<ContainerFacts>> {
        self.ask_statuses(AskStatuses { ids, until: Some(until), for_volumes: false }).await
    }

    async fn ask_statuses(&self, ask: AskStatuses) -> Vec<CriResult<ContainerFacts>> {
        if ask.ids.is_empty() {
            return Vec::new();
        }
        let count = ask.ids.len();
        let answers = self.address.send(ask).await;
        answers.unwrap_or_else(|_| vec![Err(CriError::gateway_gone(CONTAINER_STATUS)); count])
    }

    /// All objects of one kind.
    ///
    /// # Errors
    /// What the runtime answered, sorted. An answer is complete or an error.
    pub async fn list<T: Listed>(&self, freshness: Freshness) -> CriResult<Arc<Vec<Arc<T>>>> {
        let Listing { objects, gaps, .. } = self.list_most(freshness).await?;
        match gaps.into_iter().next() {
            Some(gap) => Err(gap.error),
            None => Ok(objects),
        }
    }

    /// All images.
    ///
    /// # Errors
    /// Those of [`Gateway::list`].
    pub async fn images(&self, freshness: Freshness) -> CriResult<Vec<Image>> {
        let images = Arc::unwrap_or_clone(self.list(freshness).await?);
        Ok(images.into_iter().map(Arc::unwrap_or_clone).collect())
    }

    /// All objects of one kind, as far as the runtime can list them, for decisions that what is missing can't make wrong.
    ///
    /// # Errors
    /// What the runtime answered, sorted.
    pub async fn list_most<T: Listed>(&self, freshness: Freshness) -> CriResult<Listing<T>> {
        let answer = self.address.send(List(freshness, PhantomData)).await;
        answer.unwrap_or_else(|_| Err(CriError::gateway_gone(T::METHOD)))
    }

    /// Whether something may have to be listed pod by pod, so that [pods have to be named](Self::name_pods).
    #[must_use]
    pub fn asks_for_pods(&self) -> bool {
        self.asks_for_pods.load(Ordering::Relaxed)
    }

    /// Names the pods that have, or had, something on this node, by UID: all that are known.
    pub async fn name_pods(&self, uids: Vec<EcoString>) {
        // If it is lost, the next pass names them.
        let _ = self.address.send(NamePods(uids)).await;
    }

    /// The images that are mounted into containers as image volumes (CRI `ContainerStatus.mounts[].image`), by id of the container,
    /// and whether a container had to be asked: the list is a little older then. `containers` is a complete list.
    ///
    /// No list reports image volumes. So each container is asked once, and the answer is kept as long as the container is listed.
    /// Only image GC needs this, and only before it removes something.
    ///
    /// # Errors
    /// A container could not be asked, so what it has mounted is not known. One that is gone has nothing mounted; one that is listed
    /// all the same is not gone.
    pub async fn image_volumes(
        &self,
        containers: &[Arc<Container>],
    ) -> CriResult<(HashMap<EcoString, Vec<EcoString>>, bool)> {
        let ids = containers.iter().map(|container| &container.id);
        let known = self.address.send(AskKnownVolumes(ids.clone().cloned().collect())).await;
        let mut volumes = known.map_err(|_| CriError::gateway_gone(CONTAINER_STATUS))?;
        let ids: Vec<EcoString> = ids.filter(|id| !volumes.contains_key(*id)).cloned().collect();
        let asked = !ids.is_empty();
        let ask = AskStatuses { ids: ids.clone(), until: None, for_volumes: true };
        let (mut gone, mut failed) = (Vec::new(), None);
        for (id, answer) in ids.into_iter().zip(self.ask_statuses(ask).await) {
            match answer {
                Ok(facts) => drop(volumes.insert(id, facts.image_volumes)),
                Err(error) if error.class == ErrorClass::NotFound => gone.push((id, error)),
                Err(error) => drop(failed.get_or_insert((id, error))),
            }
        }
        if failed.is_none() && !gone.is_empty() {
            let listed = self.list::<Container>(Freshness::Fresh).await?;
            let is_listed = |id: &EcoString| listed.iter().any(|container| container.id == *id);
            failed = gone.into_iter().find(|(id, _)| is_listed(id));
        }
        if let Some((id, error)) = failed {
            let class = if error.class == ErrorClass::NotFound { ErrorClass::Failed } else { error.class };
            let message = format!("the image volumes of container {id} can't be read: {}", error.message);
            return Err(CriError { message, class, ..error });
        }
        volumes.retain(|_, volumes| !volumes.is_empty());
        Ok((volumes, asked))
    }

    /// Ends once the runtime answers again after it was unreachable or hung, counted from this call on.
    pub fn answers_again(&self) -> impl Future<Output = ()> + use<> {
        self.returns.next_ring()
    }

    /// How often the runtime became reachable again: what rests on having seen the node all the time compares this.
    /// A gateway that was restarted has seen nothing, which counts as a return.
    #[must_use]
    pub fn returns(&self) -> u64 {
        self.returns.get()
    }

    /// The state of the runtime. `None` while the gateway is being restarted.
    pub async fn runtime(&self) -> Option<RuntimeState> {
        self.address.send(AskRuntime).await.ok()
    }

    /// The RPCs that have ended since the start. `None` while the gateway is being restarted.
    pub async fn rpcs(&self) -> Option<Vec<RpcTotal>> {
        self.address.send(AskRpcs).await.ok()
    }

    /// Where to send new settings; RPCs in flight end under the old ones.
    #[must_use]
    pub fn follower(&self) -> Recipient<Reconfigure> {
        self.address.clone().recipient()
    }
}
