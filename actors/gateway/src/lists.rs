//! The lists of all objects of a node, whatever number there is of them (behaviour: Lists of any length): in one answer; where that is
//! too large for one message, as a stream; where the runtime has no streams, in parts.
//!
//! - here: what is listed, and what such a list says. `parts`: how it is put together.

use std::collections::HashMap;
use std::sync::Arc;

use cri_gc_kit::in_flight::InFlight;
use cri_gc_policy::{Container, Image, Sandbox};
use cri_gc_proto::{POD_UID_LABEL, cri};
use tonic::Status;

use crate::answers::Owner;
use crate::connection::Clients;
use crate::error::{CriError, CriResult};
use crate::shared::{Item, Last, Object, Sharing, Texts};
use crate::{convert, decode};

/// All objects of one kind, as far as they can be listed.
#[derive(Debug, Clone)]
pub struct Listing<T> {
    /// Each once. Those that did not change since the list before are shared with it.
    pub objects: Arc<Vec<Arc<T>>>,
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

/// What is remembered of the last lists.
#[derive(Debug, Default)]
pub struct LastLists {
    containers: Last<Container>,
    sandboxes: Last<Sandbox>,
}

/// A part of a list: the objects in that state, of that owner.
#[derive(Debug, Clone, Default)]
pub struct Part {
    pub state: Option<i32>,
    pub owner: Option<Owner>,
}

/// What the gateway lists.
pub trait Listed: Object<Wire: prost::Message + Default + 'static> + Clone + Unpin {
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

    /// Asks the runtime. Each object is turned into an item at once: it takes many times less memory then.
    fn fetch<R: Send + Sync + 'static>(
        clients: Clients,
        part: Part,
        item: impl Item<Self::Wire, R>,
    ) -> impl Future<Output = Result<Vec<R>, Status>>;

    /// Asks the runtime for a stream of all, likewise.
    fn stream<R: Send + Sync + 'static>(
        clients: Clients,
        item: impl Item<Self::Wire, R>,
    ) -> impl Future<Output = Result<Vec<R>, Status>>;

    /// Whether something of the list is known at all if the answer has this object.
    ///
    /// # Errors
    /// Nothing is.
    fn check(_wire: &Self::Wire) -> Result<(), Status> {
        Ok(())
    }

    /// Each object once, of those in all answers.
    fn once(all: Vec<Arc<Self>>) -> Vec<Arc<Self>>;

    /// The list of this kind in flight.
    fn pending(lists: &mut Lists) -> &mut Pending<Self>;

    /// What is remembered of the last list of this kind; `None` where nothing is: images are changed by those who request them.
    fn last(memory: &mut LastLists) -> Option<&mut Last<Self>>;
}

/// What the objects in all messages of a stream are turned into.
async fn collect<M, W, R>(
    mut stream: tonic::Streaming<M>,
    objects: impl Fn(M) -> Vec<W>,
    mut item: impl FnMut(W) -> R,
) -> Result<Vec<R>, Status> {
    let mut all = Vec::new();
    while let Some(message) = stream.message().await? {
        all.extend(objects(message).into_iter().map(&mut item));
    }
    Ok(all)
}

/// The item of an object with which something of the list is known.
fn checked<T: Listed, R>(mut item: impl Item<T::Wire, R>) -> impl Item<T::Wire, Result<R, Status>> {
    move |wire| T::check(&wire).map(|()| item(wire))
}

/// The objects of one kind in an answer of a runtime, each once, as they are read from its bytes.
///
/// # Errors
/// It can't be read, or nothing is known with what it has.
pub fn read<T: Listed>(answer: &[u8]) -> Result<Vec<Arc<T>>, Status> {
    let all = decode::objects(&mut &answer[..], checked::<T, _>(Sharing::default().item()))?;
    Ok(T::once(all.into_iter().collect::<Result<_, _>>()?))
}

/// Containers by a stream.
pub async fn stream_containers<R>(
    mut clients: Clients,
    part: Part,
    item: impl FnMut(cri::Container) -> R,
) -> Result<Vec<R>, Status> {
    let request = cri::StreamContainersRequest { filter: Some(container_filter(part)) };
    let answer = clients.runtime.stream_containers(request).await?;
    collect(answer.into_inner(), |message| message.containers, item).await
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

impl Object for Container {
    type Wire = cri::Container;

    fn of(wire: cri::Container, texts: &mut Texts) -> Self {
        convert::container(wire, texts)
    }

    fn id(&self) -> &str {
        &self.id
    }
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

    async fn fetch<R: Send + Sync + 'static>(
        clients: Clients,
        part: Part,
        item: impl Item<cri::Container, R>,
    ) -> Result<Vec<R>, Status> {
        let request = cri::ListContainersRequest { filter: Some(container_filter(part)) };
        clients.list("/runtime.v1.RuntimeService/ListContainers", request, item).await
    }

    async fn stream<R: Send + Sync + 'static>(
        clients: Clients,
        item: impl Item<cri::Container, R>,
    ) -> Result<Vec<R>, Status> {
        stream_containers(clients, Part::default(), item).await
    }

    fn once(all: Vec<Arc<Self>>) -> Vec<Arc<Self>> {
        convert::each_container(all)
    }

    fn pending(lists: &mut Lists) -> &mut Pending<Self> {
        &mut lists.containers
    }

    fn last(memory: &mut LastLists) -> Option<&mut Last<Self>> {
        Some(&mut memory.containers)
    }
}

impl Object for Sandbox {
    type Wire = cri::BarePodSandbox;

    fn of(wire: cri::BarePodSandbox, texts: &mut Texts) -> Self {
        convert::sandbox(wire, texts)
    }

    fn id(&self) -> &str {
        &self.id
    }
}

impl Listed for Sandbox {
    const METHOD: &'static str = "ListPodSandbox";
    const STREAM: &'static str = "StreamPodSandboxes";
    const STATES: &'static [i32] =
        &[cri::PodSandboxState::SandboxReady as i32, cri::PodSandboxState::SandboxNotready as i32];
    const STATES_OF_NEW: &'static [i32] = &[cri::PodSandboxState::SandboxReady as i32];
    const BY_SANDBOX: bool = false;

    async fn fetch<R: Send + Sync + 'static>(
        clients: Clients,
        Part { state, owner }: Part,
        item: impl Item<cri::BarePodSandbox, R>,
    ) -> Result<Vec<R>, Status> {
        let mut filter = cri::PodSandboxFilter {
            state: state.map(|state| cri::PodSandboxStateValue { state }),
            ..cri::PodSandboxFilter::default()
        };
        match owner {
            Some(Owner::Pod(uid)) => filter.label_selector = pod_label(&uid),
            Some(Owner::Sandbox(id)) => filter.id = id.into(),
            None => {}
        }
        let request = cri::ListPodSandboxRequest { filter: Some(filter) };
        let path = "/runtime.v1.RuntimeService/ListPodSandbox";
        clients.list(path, request, checked::<Self, _>(item)).await?.into_iter().collect()
    }

    async fn stream<R: Send + Sync + 'static>(
        mut clients: Clients,
        item: impl Item<cri::BarePodSandbox, R>,
    ) -> Result<Vec<R>, Status> {
        let answer = clients.runtime.stream_pod_sandboxes(cri::StreamPodSandboxesRequest::default()).await?;
        let bare = |sandbox: cri::PodSandbox| {
            let cri::PodSandbox { id, metadata, state, created_at, .. } = sandbox;
            cri::BarePodSandbox { id, metadata, state, created_at }
        };
        let mut item = checked::<Self, _>(item);
        let item = |sandbox| item(bare(sandbox));
        collect(answer.into_inner(), |message| message.pod_sandboxes, item).await?.into_iter().collect()
    }

    // One that does not say what and whose it is may be the newest of any pod, and be ready: nothing is known of a pod then.
    fn check(wire: &cri::BarePodSandbox) -> Result<(), Status> {
        if wire.id.is_empty() || wire.metadata.is_none() {
            let id = &wire.id;
            let text = format!("the runtime lists a sandbox without an id or without metadata: {id:?}");
            return Err(Status::unknown(text));
        }
        Ok(())
    }

    fn once(all: Vec<Arc<Self>>) -> Vec<Arc<Self>> {
        convert::each_sandbox(all)
    }

    fn pending(lists: &mut Lists) -> &mut Pending<Self> {
        &mut lists.sandboxes
    }

    fn last(memory: &mut LastLists) -> Option<&mut Last<Self>> {
        Some(&mut memory.sandboxes)
    }
}

impl Object for Image {
    type Wire = cri::Image;

    fn of(wire: cri::Image, _texts: &mut Texts) -> Self {
        convert::image(wire)
    }

    fn id(&self) -> &str {
        &self.id
    }
}

impl Listed for Image {
    const METHOD: &'static str = "ListImages";
    const STREAM: &'static str = "StreamImages";
    // There is no filter that would divide them.
    const STATES: &'static [i32] = &[];
    const STATES_OF_NEW: &'static [i32] = &[];
    const BY_SANDBOX: bool = false;

    async fn fetch<R: Send + Sync + 'static>(
        mut clients: Clients,
        _all: Part,
        item: impl Item<cri::Image, R>,
    ) -> Result<Vec<R>, Status> {
        let answer = clients.images.list_images(cri::ListImagesRequest::default()).await?;
        Ok(answer.into_inner().images.into_iter().map(item).collect())
    }

    async fn stream<R: Send + Sync + 'static>(
        mut clients: Clients,
        item: impl Item<cri::Image, R>,
    ) -> Result<Vec<R>, Status> {
        let answer = clients.images.stream_images(cri::StreamImagesRequest::default()).await?;
        collect(answer.into_inner(), |message| message.images, item).await
    }

    fn once(all: Vec<Arc<Self>>) -> Vec<Arc<Self>> {
        convert::each_image(all)
    }

    fn pending(lists: &mut Lists) -> &mut Pending<Self> {
        &mut lists.images
    }

    fn last(_memory: &mut LastLists) -> Option<&mut Last<Self>> {
        None
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

    fn id(wire: cri::Container) -> String {
        wire.id
    }

    /// Field 1 is the list, and in it field 1 is the id.
    const CONTAINER: &[u8] = b"\x0a\x03\x0a\x01a";
    const NOT_UTF8: &[u8] = b"\x0a\x03\x0a\x01a\x0a\x04\x0a\x02\xc3\x28";
    /// With metadata, which are empty.
    const SANDBOX: &[u8] = b"\x0a\x05\x0a\x01a\x12\x00";
    const SANDBOX_NOT_UTF8: &[u8] = b"\x0a\x05\x0a\x01a\x12\x00\x0a\x06\x0a\x02\xc3\x28\x12\x00";

    #[tokio::test]
    async fn an_answer_with_a_text_that_is_not_utf8_is_no_list() {
        let containers = async |answer| Container::fetch(clients(&[answer]), Part::default(), id).await;
        assert_eq!(containers(CONTAINER).await.unwrap().len(), 1);
        let error = containers(NOT_UTF8).await.unwrap_err();
        assert!(error.message().contains("UTF-8"), "{error}");
        let sandboxes =
            async |answer| Sandbox::fetch(clients(&[answer]), Part::default(), |wire| wire.id).await;
        assert_eq!(sandboxes(SANDBOX).await.unwrap().len(), 1);
        let error = sandboxes(SANDBOX_NOT_UTF8).await.unwrap_err();
        assert!(error.message().contains("UTF-8"), "{error}");
    }

    #[tokio::test]
    async fn a_stream_of_which_one_message_is_not_utf8_is_no_list() {
        let all = Container::stream(clients(&[CONTAINER, CONTAINER]), id).await;
        assert_eq!(all.unwrap().len(), 2);
        for answers in [[CONTAINER, NOT_UTF8], [NOT_UTF8, CONTAINER]] {
            let error = Container::stream(clients(&answers), id).await.unwrap_err();
            assert!(error.message().contains("UTF-8"), "{error}");
        }
    }
}
