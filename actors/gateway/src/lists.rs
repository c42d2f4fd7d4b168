//! The three complete lists of a node.

use std::sync::Arc;

use cri_gc_kit::in_flight::InFlight;
use cri_gc_policy::{Container, Image, Sandbox};
use cri_gc_proto::cri;
use tonic::Status;

use crate::connection::Clients;
use crate::convert;
use crate::error::CriResult;

/// A list in flight that equal requests may join.
pub type Pending<T> = InFlight<CriResult<Arc<Vec<T>>>>;

/// The lists in flight.
#[derive(Default)]
pub struct Lists {
    containers: Pending<Container>,
    sandboxes: Pending<Sandbox>,
    images: Pending<Image>,
}

/// What the gateway lists.
pub trait Listed: Send + Sync + Sized + Unpin + 'static {
    /// Name of the CRI method.
    const METHOD: &'static str;

    /// Asks the runtime.
    fn fetch(clients: Clients) -> impl Future<Output = Result<Vec<Self>, Status>>;

    /// The list of this kind in flight.
    fn pending(lists: &mut Lists) -> &mut Pending<Self>;
}

impl Listed for Container {
    const METHOD: &'static str = "ListContainers";

    async fn fetch(mut clients: Clients) -> Result<Vec<Self>, Status> {
        let answer = clients.runtime.list_containers(cri::ListContainersRequest::default()).await?;
        Ok(convert::containers(answer.into_inner().containers))
    }

    fn pending(lists: &mut Lists) -> &mut Pending<Self> {
        &mut lists.containers
    }
}

impl Listed for Sandbox {
    const METHOD: &'static str = "ListPodSandbox";

    async fn fetch(mut clients: Clients) -> Result<Vec<Self>, Status> {
        let answer = clients.runtime.list_pod_sandbox(cri::ListPodSandboxRequest::default()).await?;
        Ok(convert::sandboxes(answer.into_inner().items))
    }

    fn pending(lists: &mut Lists) -> &mut Pending<Self> {
        &mut lists.sandboxes
    }
}

impl Listed for Image {
    const METHOD: &'static str = "ListImages";

    async fn fetch(mut clients: Clients) -> Result<Vec<Self>, Status> {
        let answer = clients.images.list_images(cri::ListImagesRequest::default()).await?;
        Ok(convert::images(answer.into_inner().images))
    }

    fn pending(lists: &mut Lists) -> &mut Pending<Self> {
        &mut lists.images
    }
}
