//! Which images are mounted into containers as image volumes (CRI `ContainerStatus.mounts[].image`).
//!
//! No list reports them, and they never change for a container. So each container is asked once, and the answer is kept as long as
//! the container is listed. Nothing is asked here by itself: only image GC needs this, and only before it removes something.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use actix::{Context, Handler, Message, MessageResult};
use cri_gc_policy::Container;
use futures_util::StreamExt;

use super::actor::GatewayActor;
use super::calls::ContainerStatus;
use super::error::ErrorClass;
use super::{CriError, CriResult, Gateway};

/// Containers asked at a time.
const PARALLEL: usize = 8;

/// The image volumes of a container, by its id.
pub type ImageVolumes = HashMap<String, Vec<String>>;

/// What is known of all containers of the node.
#[derive(Debug, Message)]
#[rtype(result = "Known")]
pub(super) struct AskKnown(Arc<Vec<Container>>);

/// What is known of them.
pub(super) struct Known {
    /// Those that have image volumes.
    volumes: ImageVolumes,
    /// Ids of those that were not asked yet.
    unknown: Vec<String>,
}

/// These were asked.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Learn(ImageVolumes);

impl Gateway {
    /// The image volumes of the containers that have any, and whether one had to be asked: the list is a little older then.
    /// `containers` is a complete list.
    ///
    /// # Errors
    /// A container could not be asked, so what it has mounted is not known. One that is gone has nothing mounted.
    pub async fn image_volumes(&self, containers: Arc<Vec<Container>>) -> CriResult<(ImageVolumes, bool)> {
        let known = self.address.send(AskKnown(containers)).await;
        let Known { mut volumes, unknown } = known.map_err(|_| CriError::gateway_gone("ContainerStatus"))?;
        let asks = !unknown.is_empty();
        let asked = futures_util::stream::iter(unknown).map(|id| async {
            let answer = self.call(ContainerStatus { id: id.clone() }).await;
            (id, answer)
        });
        let mut asked = asked.buffer_unordered(PARALLEL);
        let (mut learned, mut failed) = (ImageVolumes::new(), None);
        while let Some((id, answer)) = asked.next().await {
            match answer {
                Ok(facts) => {
                    learned.insert(id, facts.image_volumes);
                }
                Err(error) if error.class == ErrorClass::NotFound => {}
                Err(error) => {
                    let message = format!("container {id}: {}", error.message);
                    failed = Some(CriError { message, ..error });
                    break;
                }
            }
        }
        volumes.extend(
            learned
                .iter()
                .filter(|(_, images)| !images.is_empty())
                .map(|(id, images)| (id.clone(), images.clone())),
        );
        self.address.do_send(Learn(learned));
        failed.map_or(Ok((volumes, asks)), Err)
    }
}

impl Handler<AskKnown> for GatewayActor {
    type Result = MessageResult<AskKnown>;

    fn handle(&mut self, AskKnown(containers): AskKnown, _ctx: &mut Context<Self>) -> Self::Result {
        let listed: HashSet<&str> = containers.iter().map(|container| container.id.as_str()).collect();
        self.image_volumes.retain(|id, _| listed.contains(id.as_str()));
        let unknown = listed.into_iter().filter(|id| !self.image_volumes.contains_key(*id));
        let unknown = unknown.map(ToOwned::to_owned).collect();
        let volumes = self.image_volumes.iter().filter(|(_, images)| !images.is_empty());
        let volumes = volumes.map(|(id, images)| (id.clone(), images.clone())).collect();
        MessageResult(Known { volumes, unknown })
    }
}

impl Handler<Learn> for GatewayActor {
    type Result = ();

    fn handle(&mut self, Learn(learned): Learn, _ctx: &mut Context<Self>) {
        self.image_volumes.extend(learned);
    }
}
