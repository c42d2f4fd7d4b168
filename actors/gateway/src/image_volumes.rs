//! Which images are mounted into containers as image volumes (CRI `ContainerStatus.mounts[].image`).
//!
//! No list reports them, and they never change for a container. So each container is asked once, and the answer is kept as long as
//! the container is listed. Nothing is asked here by itself: only image GC needs this, and only before it removes something.

use std::collections::{HashMap, HashSet};

use actix::{Context, Handler, Message, MessageResult};
use cri_gc_policy::Container;
use futures_util::StreamExt;

use super::actor::GatewayActor;
use super::calls::ContainerStatus;
use super::error::ErrorClass;
use super::{CriError, CriResult, Freshness, Gateway};

/// Containers asked at a time.
const PARALLEL: usize = 8;

/// The image volumes of a container, by its id.
pub type ImageVolumes = HashMap<String, Vec<String>>;

/// What is known of the containers of these ids, which are all there are?
#[derive(Debug, Message)]
#[rtype(result = "Known")]
pub(super) struct AskKnown(HashSet<String>);

/// What is known of them.
pub(super) struct Known {
    /// Those that have image volumes.
    volumes: ImageVolumes,
    /// Ids of those that were not asked yet.
    unknown: Vec<String>,
}

/// The container of this id has these image volumes.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Learn(String, Vec<String>);

impl Gateway {
    /// The image volumes of the containers that have any, and whether one had to be asked: the list is a little older then.
    /// `containers` is a complete list.
    ///
    /// # Errors
    /// A container could not be asked, so what it has mounted is not known. One that is gone has nothing mounted; one that is listed
    /// all the same is not gone.
    pub async fn image_volumes(&self, containers: &[Container]) -> CriResult<(ImageVolumes, bool)> {
        let listed = containers.iter().map(|container| container.id.clone()).collect();
        let known = self.address.send(AskKnown(listed)).await;
        let Known { mut volumes, unknown } = known.map_err(|_| CriError::gateway_gone("ContainerStatus"))?;
        let asks = !unknown.is_empty();
        let asked = futures_util::stream::iter(unknown).map(|id| async {
            let answer = self.call(ContainerStatus { id: id.clone() }).await;
            (id, answer)
        });
        let mut asked = asked.buffer_unordered(PARALLEL);
        let (mut gone, mut failed) = (Vec::new(), None);
        while let Some((id, answer)) = asked.next().await {
            match answer {
                Ok(facts) => {
                    // At once: the caller may give up, and the next one continues from here.
                    self.address.do_send(Learn(id.clone(), facts.image_volumes.clone()));
                    if !facts.image_volumes.is_empty() {
                        volumes.insert(id, facts.image_volumes);
                    }
                }
                Err(error) if error.class == ErrorClass::NotFound => gone.push((id, error)),
                Err(error) => {
                    failed = Some(about(&id, error));
                    break;
                }
            }
        }
        drop(asked);
        if failed.is_none() && !gone.is_empty() {
            let listed = self.list::<Container>(Freshness::Fresh).await?;
            let still = gone.into_iter().find(|(id, _)| listed.iter().any(|container| container.id == *id));
            failed = still.map(|(id, error)| about(&id, error));
        }
        failed.map_or(Ok((volumes, asks)), Err)
    }
}

/// The same error, with the container that it is about.
fn about(id: &str, error: CriError) -> CriError {
    let message = format!("the image volumes of container {id} can't be read: {}", error.message);
    let class = if error.class == ErrorClass::NotFound { ErrorClass::Failed } else { error.class };
    CriError { message, class, ..error }
}

impl Handler<AskKnown> for GatewayActor {
    type Result = MessageResult<AskKnown>;

    fn handle(&mut self, AskKnown(listed): AskKnown, _ctx: &mut Context<Self>) -> Self::Result {
        self.image_volumes.retain(|id, _| listed.contains(id));
        let unknown = listed.into_iter().filter(|id| !self.image_volumes.contains_key(id)).collect();
        let volumes = self.image_volumes.iter().filter(|(_, images)| !images.is_empty());
        let volumes = volumes.map(|(id, images)| (id.clone(), images.clone())).collect();
        MessageResult(Known { volumes, unknown })
    }
}

impl Handler<Learn> for GatewayActor {
    type Result = ();

    fn handle(&mut self, Learn(id, volumes): Learn, _ctx: &mut Context<Self>) {
        self.image_volumes.insert(id, volumes);
    }
}
