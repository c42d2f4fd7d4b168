//! The handle to the gateway, for all who ask a runtime.

use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::Arc;

use actix::{Addr, ArbiterHandle, Recipient};
use cri_gc_config::Settings;
use cri_gc_kit::generation::Reconfigure;
use cri_gc_kit::supervision::guard::{self, Pace};
use cri_gc_kit::supervision::threads::Lease;
use cri_gc_policy::Container;
use slog::Logger;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::actor::GatewayActor;
use crate::answers::ContainerFacts;
use crate::error::{CriError, CriResult, ErrorClass};
use crate::health::{Health, RuntimeState, Waits};
use crate::lanes::Limits;
use crate::lists::Listed;
use crate::messages::{AskImageVolumes, AskRuntime, AskStatuses, Freshness, List};

/// A handle to the gateway. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Gateway {
    pub(crate) address: Addr<GatewayActor>,
    /// The caller's: under a revoked one only questions are sent.
    pub(crate) lease: Lease,
    /// Changes each time that the runtime answers again.
    answers: watch::Receiver<()>,
}

impl Gateway {
    /// Starts the actor on an arbiter. It connects with the first request, and is restarted after a panic; one that `waits` retries
    /// while the runtime is unreachable.
    #[must_use]
    pub fn start(on: &ArbiterHandle, settings: &Settings, waits: Option<Waits>, log: Logger) -> Self {
        let on_restart = guard::log_restart(log.clone(), "gateway", None);
        let (sender, answers) = watch::channel(());
        let (sockets, limits) = (settings.runtime.clone(), Limits::from(settings));
        let make = move |_: &mut _| GatewayActor::new(sockets, limits, Health::new(waits, sender, log));
        let address = guard::start(on, Pace::from(settings), on_restart, make);
        Self { address, lease: Lease::default(), answers }
    }

    /// The same gateway, for a caller that may remove things under that lease.
    #[must_use]
    pub fn under(&self, lease: Lease) -> Self {
        Self { lease, ..self.clone() }
    }

    /// The state of each of these containers, in their order. From `until` on no more are asked, nor once the
    /// runtime does not answer in time.
    pub async fn statuses(&self, ids: Vec<String>, until: Instant) -> Vec<CriResult<ContainerFacts>> {
        if ids.is_empty() {
            return Vec::new();
        }
        let count = ids.len();
        let answers = self.address.send(AskStatuses { ids, until }).await;
        answers.unwrap_or_else(|_| vec![Err(CriError::gateway_gone("ContainerStatus")); count])
    }

    /// All objects of one kind.
    ///
    /// # Errors
    /// What the runtime answered, sorted. An answer is complete or an error.
    pub async fn list<T: Listed>(&self, freshness: Freshness) -> CriResult<Arc<Vec<T>>> {
        let answer = self.address.send(List(freshness, PhantomData)).await;
        answer.unwrap_or_else(|_| Err(CriError::gateway_gone(T::METHOD)))
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
        containers: &[Container],
    ) -> CriResult<(HashMap<String, Vec<String>>, bool)> {
        let ids = containers.iter().map(|container| container.id.clone()).collect();
        let known = self.address.send(AskImageVolumes(ids)).await;
        let known = known.map_err(|_| CriError::gateway_gone("ContainerStatus"))?;
        let (gone, failed): (Vec<_>, Vec<_>) =
            known.failed.into_iter().partition(|(_, error)| error.class == ErrorClass::NotFound);
        let mut failed = failed.into_iter().next();
        if failed.is_none() && !gone.is_empty() {
            let listed = self.list::<Container>(Freshness::Fresh).await?;
            failed = gone.into_iter().find(|(id, _)| listed.iter().any(|container| container.id == *id));
        }
        match failed {
            None => Ok((known.volumes, known.asked)),
            Some((id, error)) => {
                let class =
                    if error.class == ErrorClass::NotFound { ErrorClass::Failed } else { error.class };
                let message = format!("the image volumes of container {id} can't be read: {}", error.message);
                Err(CriError { message, class, ..error })
            }
        }
    }

    /// Ends once the runtime answers again after it was unreachable or hung, counted from this call on.
    pub fn answers_again(&self) -> impl Future<Output = ()> + use<> {
        let mut answers = self.answers.clone();
        answers.mark_unchanged();
        async move {
            if answers.changed().await.is_err() {
                // The gateway has ended, and nothing follows.
                std::future::pending::<()>().await;
            }
        }
    }

    /// How often the runtime became reachable again: what rests on having seen the node all the time compares this.
    pub async fn returns(&self) -> u64 {
        // A gateway that was restarted has seen nothing, which is as good as a return.
        self.runtime().await.map_or(u64::MAX, |runtime| runtime.returns)
    }

    /// The state of the runtime. `None` while the gateway is being restarted.
    pub async fn runtime(&self) -> Option<RuntimeState> {
        self.address.send(AskRuntime).await.ok()
    }

    /// Where to send new settings; RPCs in flight end under the old ones.
    #[must_use]
    pub fn follower(&self) -> Recipient<Reconfigure> {
        self.address.clone().recipient()
    }
}
