//! The lists of all objects of a node, whatever number there is of them (behaviour: Lists of any length): in one answer; where that is
//! too large for one message, as a stream; where the runtime has no streams, in parts.
//!
//! - here: what is listed, and what such a list says. `parts`: how it is put together.

use std::collections::HashMap;
use std::sync::Arc;

use cri_gc_kit::in_flight::InFlight;
use cri_gc_policy::{Container, Image, Sandbox};
use cri_gc_proto::{POD_UID_LABEL, cri};
use ecow::EcoString;
use tonic::Status;

use crate::answers::Owner;
use crate::connection::Clients;
use crate::convert::{self, Texts};
use crate::error::{CriError, CriResult};

/// All objects of one kind, as far as they can be listed.
#[derive(Debug, Clone)]
pub struct Listing<T> {
    /// Each once.
    pub objects: Arc<Vec<T>>,
    /// The runtime could not send them in one answer, nor as a stream.
    pub in_parts: bool,
    /// What could not be listed at all; empty for a complete list.
    pub gaps: Vec<Gap>,
}

/// Objects that could not be listed.
#[derive(Debug, Clone)]
pub struct Gap {
    /// Whose they are; `None` for those of pods that nothing names.
    pub owner: Option<Owner>,
    /// Whether they may be running, or ready.
    pub may_run: bool,
    /// Why.
    pub error: CriError,
}

/// A list in flight that equal requests may join.
pub type Pending<T> = InFlight<CriResult<Listing<T>>>;

/// The lists in flight.
#[derive(Default)]
pub struct Lists {
    containers: Pending<Container>,
    sandboxes: Pending<Sandbox>,
    images: Pending<Image>,
}

/// A part of a list: the objects in that state, of that owner.
#[derive(Debug, Clone, Default)]
pub struct Part {
    pub state: Option<i32>,
    pub owner: Option<Owner>,
}

/// What the gateway lists.
pub trait Listed: Clone + Send + Sync + Unpin + 'static {
    /// Name of the CRI method.
    const METHOD: &'static str;

    /// Name of the CRI method that answers with a stream.
    const STREAM: &'static str;

    /// The states that the list can be divided by, in an order in which an object that changes between two of them is in one of both.
    const STATES: &'static [i32];

    /// The states among these that something new is in: it may have come while the others were listed.
    const STATES_OF_NEW: &'static [i32];

    /// Whether a part is of a sandbox; else it is of a pod.
    const BY_SANDBOX: bool;

    /// One of them in an answer.
    type Wire: Send + 'static;

    /// Asks the runtime.
    fn fetch(clients: Clients, part: Part) -> impl Future<Output = Result<Vec<Self::Wire>, Status>>;

    /// Asks the runtime for a stream of all.
    fn stream(clients: Clients, texts: &mut Texts) -> impl Future<Output = Result<Vec<Self>, Status>>;

    /// Those of an answer, as often as it has them.
    fn of(answer: Vec<Self::Wire>, texts: &mut Texts) -> Vec<Self>;

    /// Its id, where that is held once for all lists.
    fn id(&self) -> Option<&EcoString>;

    /// Each object once, of those in all answers.
    fn once(all: Vec<Self>) -> Vec<Self>;

    /// The list of this kind in flight.
    fn pending(lists: &mut Lists) -> &mut Pending<Self>;
}

/// All messages of a stream, each of them converted as it comes: it takes many times less memory then.
async fn collect<M, T>(
    mut stream: tonic::Streaming<M>,
    mut items: impl FnMut(M) -> Result<Vec<T>, Status>,
) -> Result<Vec<T>, Status> {
    let mut all = Vec::new();
    while let Some(message) = stream.message().await? {
        all.extend(items(message)?);
    }
    Ok(all)
}

/// Containers by a stream.
pub async fn stream_containers<T>(
    mut clients: Clients,
    part: Part,
    mut items: impl FnMut(Vec<cri::Container>) -> Vec<T>,
) -> Result<Vec<T>, Status> {
    let request = cri::StreamContainersRequest { filter: Some(container_filter(part)) };
    let answer = clients.runtime.stream_containers(request).await?;
    collect(answer.into_inner(), |message| Ok(items(message.containers))).await
}

fn container_filter(Part { state, owner }: Part) -> cri::ContainerFilter {
    let mut filter = cri::ContainerFilter {
        state: state.map(|state| cri::ContainerStateValue { state }),
        ..cri::ContainerFilter::default()
    };
    match owner {
        Some(Owner::Pod(uid)) => filter.label_selector = pod_label(&uid),
        Some(Owner::Sandbox(id)) => filter.pod_sandbox_id = id.into(),
        None => {}
    }
    filter
}

impl Listed for Container {
    const METHOD: &'static str = "ListContainers";
    const STREAM: &'static str = "StreamContainers";
    // One whose state is not known may be stopped; one that is created may start, and what runs may end.
    const STATES: &'static [i32] = &[
        cri::ContainerState::ContainerUnknown as i32,
        cri::ContainerState::ContainerCreated as i32,
        cri::ContainerState::ContainerRunning as i32,
        cri::ContainerState::ContainerExited as i32,
    ];
    const STATES_OF_NEW: &'static [i32] =
        &[cri::ContainerState::ContainerCreated as i32, cri::ContainerState::ContainerRunning as i32];
    const BY_SANDBOX: bool = true;

    type Wire = cri::Container;

    async fn fetch(mut clients: Clients, part: Part) -> Result<Vec<cri::Container>, Status> {
        let request = cri::ListContainersRequest { filter: Some(container_filter(part)) };
        Ok(clients.runtime.list_containers(request).await?.into_inner().containers)
    }

    async fn stream(clients: Clients, texts: &mut Texts) -> Result<Vec<Self>, Status> {
        stream_containers(clients, Part::default(), |message| Self::of(message, texts)).await
    }

    fn of(answer: Vec<cri::Container>, texts: &mut Texts) -> Vec<Self> {
        convert::containers(answer, texts)
    }

    fn id(&self) -> Option<&EcoString> {
        Some(&self.id)
    }

    fn once(all: Vec<Self>) -> Vec<Self> {
        convert::each_container(all)
    }

    fn pending(lists: &mut Lists) -> &mut Pending<Self> {
        &mut lists.containers
    }
}

impl Listed for Sandbox {
    const METHOD: &'static str = "ListPodSandbox";
    const STREAM: &'static str = "StreamPodSandboxes";
    const STATES: &'static [i32] =
        &[cri::PodSandboxState::SandboxReady as i32, cri::PodSandboxState::SandboxNotready as i32];
    const STATES_OF_NEW: &'static [i32] = &[cri::PodSandboxState::SandboxReady as i32];
    const BY_SANDBOX: bool = false;

    type Wire = cri::BarePodSandbox;

    async fn fetch(
        clients: Clients,
        Part { state, owner }: Part,
    ) -> Result<Vec<cri::BarePodSandbox>, Status> {
        let mut filter = cri::PodSandboxFilter {
            state: state.map(|state| cri::PodSandboxStateValue { state }),
            ..cri::PodSandboxFilter::default()
        };
        match owner {
            Some(Owner::Pod(uid)) => filter.label_selector = pod_label(&uid),
            Some(Owner::Sandbox(id)) => filter.id = id.into(),
            None => {}
        }
        clients.sandboxes(filter).await.and_then(convert::with_pods)
    }

    async fn stream(mut clients: Clients, texts: &mut Texts) -> Result<Vec<Self>, Status> {
        let answer = clients.runtime.stream_pod_sandboxes(cri::StreamPodSandboxesRequest::default()).await?;
        let bare = |sandbox: cri::PodSandbox| {
            let cri::PodSandbox { id, metadata, state, created_at, .. } = sandbox;
            cri::BarePodSandbox { id, metadata, state, created_at }
        };
        let of = |all: Vec<_>, texts: &mut _| {
            convert::with_pods(all.into_iter().map(bare).collect()).map(|all| Self::of(all, texts))
        };
        collect(answer.into_inner(), |message| of(message.pod_sandboxes, texts)).await
    }

    fn of(answer: Vec<cri::BarePodSandbox>, texts: &mut Texts) -> Vec<Self> {
        convert::sandboxes(answer, texts)
    }

    fn id(&self) -> Option<&EcoString> {
        Some(&self.id)
    }

    fn once(all: Vec<Self>) -> Vec<Self> {
        convert::each_sandbox(all)
    }

    fn pending(lists: &mut Lists) -> &mut Pending<Self> {
        &mut lists.sandboxes
    }
}

impl Listed for Image {
    const METHOD: &'static str = "ListImages";
    const STREAM: &'static str = "StreamImages";
    // There is no filter that would divide them.
    const STATES: &'static [i32] = &[];
    const STATES_OF_NEW: &'static [i32] = &[];
    const BY_SANDBOX: bool = false;

    type Wire = cri::Image;

    async fn fetch(mut clients: Clients, _all: Part) -> Result<Vec<cri::Image>, Status> {
        let answer = clients.images.list_images(cri::ListImagesRequest::default()).await?;
        Ok(answer.into_inner().images)
    }

    async fn stream(mut clients: Clients, texts: &mut Texts) -> Result<Vec<Self>, Status> {
        let answer = clients.images.stream_images(cri::StreamImagesRequest::default()).await?;
        collect(answer.into_inner(), |message| Ok(Self::of(message.images, texts))).await
    }

    fn of(answer: Vec<cri::Image>, _texts: &mut Texts) -> Vec<Self> {
        convert::images(answer)
    }

    fn id(&self) -> Option<&EcoString> {
        None
    }

    fn once(all: Vec<Self>) -> Vec<Self> {
        convert::each_image(all)
    }

    fn pending(lists: &mut Lists) -> &mut Pending<Self> {
        &mut lists.images
    }
}

/// What all objects have that a kubelet made for the pod of that UID.
fn pod_label(uid: &str) -> HashMap<String, String> {
    [(POD_UID_LABEL.to_owned(), uid.to_owned())].into()
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::{Ready, ready};
    use std::sync::Mutex;
    use std::task::{Context, Poll};

    use futures_util::StreamExt as _;
    use http_body_util::Full;
    use tokio::io::{DuplexStream, duplex};
    use tonic::body::Body;
    use tonic::codegen::{Service, http};
    use tonic::server::NamedService;
    use tonic::transport::Server;

    use super::*;
    use crate::connection::{Connect, Sockets};

    /// A runtime that answers each request with these messages.
    #[derive(Clone)]
    struct Answers(Vec<&'static [u8]>);

    impl Service<http::Request<Body>> for Answers {
        type Response = http::Response<Body>;
        type Error = Infallible;
        type Future = Ready<Result<Self::Response, Infallible>>;

        fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _request: http::Request<Body>) -> Self::Future {
            let mut bytes = Vec::new();
            for message in &self.0 {
                // Not compressed; the length.
                bytes.push(0);
                bytes.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
                bytes.extend(*message);
            }
            let answer = http::Response::builder()
                .header("content-type", "application/grpc")
                .header("grpc-status", "0");
            ready(Ok(answer.body(Body::new(Full::new(bytes.into()))).unwrap()))
        }
    }

    impl NamedService for Answers {
        const NAME: &'static str = "runtime.v1.RuntimeService";
    }

    fn clients(answers: &[&'static [u8]]) -> Clients {
        let (ours, theirs) = duplex(64 * 1024);
        let incoming = futures_util::stream::iter([Ok::<DuplexStream, std::io::Error>(theirs)]);
        // Without an end: the connection is in use.
        let incoming = incoming.chain(futures_util::stream::pending());
        tokio::spawn(Server::builder().add_service(Answers(answers.to_vec())).serve_with_incoming(incoming));
        let ours = Mutex::new(Some(ours));
        let connect = Connect::InMemory(Arc::new(move || Ok(ours.lock().unwrap().take().unwrap())));
        Clients::lazy(&Sockets { runtime: cri_gc_config::Settings::default().runtime, connect }, 1 << 20)
            .unwrap()
    }

    /// Field 1 is the list, and in it field 1 is the id.
    const CONTAINER: &[u8] = b"\x0a\x03\x0a\x01a";
    const NOT_UTF8: &[u8] = b"\x0a\x03\x0a\x01a\x0a\x04\x0a\x02\xc3\x28";
    /// With metadata, which are empty.
    const SANDBOX: &[u8] = b"\x0a\x05\x0a\x01a\x12\x00";
    const SANDBOX_NOT_UTF8: &[u8] = b"\x0a\x05\x0a\x01a\x12\x00\x0a\x06\x0a\x02\xc3\x28\x12\x00";

    #[tokio::test]
    async fn an_answer_with_a_text_that_is_not_utf8_is_no_list() {
        let containers = async |answer| Container::fetch(clients(&[answer]), Part::default()).await;
        assert_eq!(containers(CONTAINER).await.unwrap().len(), 1);
        let error = containers(NOT_UTF8).await.unwrap_err();
        assert!(error.message().contains("UTF-8"), "{error}");
        let sandboxes = async |answer| Sandbox::fetch(clients(&[answer]), Part::default()).await;
        assert_eq!(sandboxes(SANDBOX).await.unwrap().len(), 1);
        let error = sandboxes(SANDBOX_NOT_UTF8).await.unwrap_err();
        assert!(error.message().contains("UTF-8"), "{error}");
    }

    #[tokio::test]
    async fn a_stream_of_which_one_message_is_not_utf8_is_no_list() {
        let texts = &mut Texts::default();
        let all = Container::stream(clients(&[CONTAINER, CONTAINER]), texts).await;
        assert_eq!(all.unwrap().len(), 2);
        for answers in [[CONTAINER, NOT_UTF8], [NOT_UTF8, CONTAINER]] {
            let error = Container::stream(clients(&answers), texts).await.unwrap_err();
            assert!(error.message().contains("UTF-8"), "{error}");
        }
    }
}
