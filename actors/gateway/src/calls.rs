//! The RPCs that a collector makes, one struct for each: what is sent, what it counts against, what comes back.
//!
//! Ids always go out whole: a runtime takes a unique prefix for the object, so an empty id is refused before it is sent.

use std::time::Duration;

use cri_gc_policy::Container;
use cri_gc_proto::{POD_UID_LABEL, cri};
use tonic::{Response, Status};

use super::answers::{ContainerFacts, FsPlaces, RuntimeVersion};
use super::connection::Clients;
use super::convert;

/// What an RPC counts against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// Questions.
    Read,
    /// Stops and removals of containers.
    Containers,
    /// Stops and removals of sandboxes.
    Sandboxes,
    /// Removals of images.
    Images,
}

/// One RPC.
pub trait CriCall: Send + 'static {
    /// Name of the CRI method, for errors and metrics.
    const METHOD: &'static str;
    /// What it counts against.
    const LANE: Lane;
    /// What comes back.
    type Answer: Send + 'static;

    /// Id of the object that it is about; `None` where it is about none.
    fn id(&self) -> Option<&str> {
        None
    }

    /// What the object itself is given, on top of the deadline of the RPC.
    fn extra_time(&self) -> Duration {
        Duration::ZERO
    }

    /// Sends it.
    fn send(self, clients: Clients) -> impl Future<Output = Result<Self::Answer, Status>>;
}

macro_rules! call {
    ($(#[$doc:meta])* $name:ident { $($(#[$fdoc:meta])* $field:ident: $type:ty),* } in $lane:ident -> $answer:ty;
     id: $id:expr; $(extra: $extra:expr;)?
     |$call:ident, $clients:ident| $send:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone)]
        pub struct $name { $($(#[$fdoc])* pub $field: $type),* }

        impl CriCall for $name {
            const METHOD: &'static str = stringify!($name);
            const LANE: Lane = Lane::$lane;
            type Answer = $answer;

            fn id(&self) -> Option<&str> {
                let of: fn(&Self) -> Option<&str> = $id;
                of(self)
            }

            $(fn extra_time(&self) -> Duration {
                let of: fn(&Self) -> Duration = $extra;
                of(self)
            })?

            async fn send(self, mut $clients: Clients) -> Result<Self::Answer, Status> {
                let $call = self;
                $send
            }
        }
    };
}

call! {
    /// Name and version of the runtime: the cheapest proof that the socket is that of a CRI runtime.
    Version {} in Read -> RuntimeVersion;
    id: |_| None;
    |_call, clients| {
        let answer = clients.runtime.version(cri::VersionRequest::default()).await?.into_inner();
        Ok(RuntimeVersion { name: answer.runtime_name, version: answer.runtime_version })
    }
}

/// The image that the runtime makes sandboxes of, as it names it; empty where it does not tell.
#[derive(Debug, Clone)]
pub struct SandboxImage;

impl CriCall for SandboxImage {
    const METHOD: &'static str = "Status";
    const LANE: Lane = Lane::Read;
    type Answer = String;

    async fn send(self, mut clients: Clients) -> Result<String, Status> {
        let status = clients.runtime.status(cri::StatusRequest { verbose: true }).await?.into_inner();
        Ok(convert::sandbox_image(&status))
    }
}

call! {
    /// What is true of one container now.
    ContainerStatus {
        /// Whole id.
        id: String
    } in Read -> ContainerFacts;
    id: |call| Some(&call.id);
    |call, clients| {
        let id = call.id;
        let request = cri::ContainerStatusRequest { container_id: id.clone() };
        let answer = clients.runtime.container_status(request).await?.into_inner();
        let status = answer.status.ok_or_else(|| Status::unknown("the answer holds no status"))?;
        is_the_same(&status.id, &id)?;
        Ok(convert::container_facts(status))
    }
}

call! {
    /// State of one sandbox now.
    PodSandboxStatus {
        /// Whole id.
        id: String
    } in Read -> cri_gc_policy::SandboxState;
    id: |call| Some(&call.id);
    |call, clients| {
        let id = call.id;
        let request = cri::PodSandboxStatusRequest { pod_sandbox_id: id.clone() };
        let answer = clients.runtime.pod_sandbox_status(request).await?.into_inner();
        let status = answer.status.ok_or_else(|| Status::unknown("the answer holds no status"))?;
        is_the_same(&status.id, &id)?;
        Ok(convert::sandbox_state(status.state))
    }
}

call! {
    /// Whether a sandbox of that pod is ready, as far as sandboxes bear the label that a kubelet gives them.
    HasReadySandbox {
        /// UID of the pod.
        uid: String
    } in Read -> bool;
    id: |call| Some(&call.uid);
    |call, clients| {
        let state = cri::PodSandboxStateValue { state: cri::PodSandboxState::SandboxReady.into() };
        let label_selector = [(POD_UID_LABEL.to_owned(), call.uid)].into();
        let filter = cri::PodSandboxFilter { state: Some(state), label_selector, ..Default::default() };
        let request = cri::ListPodSandboxRequest { filter: Some(filter) };
        Ok(!clients.runtime.list_pod_sandbox(request).await?.into_inner().items.is_empty())
    }
}

call! {
    /// The containers in one sandbox, in any state.
    ListContainers {
        /// Whole id of the sandbox.
        sandbox: String
    } in Read -> Vec<Container>;
    id: |call| Some(&call.sandbox);
    |call, clients| {
        let filter = cri::ContainerFilter { pod_sandbox_id: call.sandbox, ..Default::default() };
        let request = cri::ListContainersRequest { filter: Some(filter) };
        let answer = clients.runtime.list_containers(request).await?.into_inner();
        Ok(convert::containers(answer.containers))
    }
}

call! {
    /// Where images and containers are stored.
    ImageFsInfo {} in Read -> FsPlaces;
    id: |_| None;
    |_call, clients| {
        let answer = clients.images.image_fs_info(cri::ImageFsInfoRequest {}).await?.into_inner();
        Ok(convert::fs_places(answer))
    }
}

call! {
    /// Whether there is an image of that id.
    ImageStatus {
        /// Whole id, as it is listed.
        id: String,
        /// Handler whose copy is meant; empty is the default one.
        runtime_handler: String
    } in Read -> bool;
    id: |call| Some(&call.id);
    |call, clients| {
        let image = cri::ImageSpec { image: call.id.clone(), runtime_handler: call.runtime_handler };
        let request = cri::ImageStatusRequest { image: Some(image) };
        let answer = clients.images.image_status(request).await?.into_inner();
        // A runtime takes the beginning of an id for the image.
        Ok(answer.image.is_some_and(|image| image.id == call.id))
    }
}

call! {
    /// Ends a container, by force after `timeout`.
    StopContainer {
        /// Whole id.
        id: String,
        /// What the container is given to end by itself.
        timeout: Duration
    } in Containers -> ();
    id: |call| Some(&call.id);
    extra: |call| call.timeout;
    |call, clients| {
        let timeout = i64::try_from(call.timeout.as_secs()).unwrap_or(i64::MAX);
        let request = cri::StopContainerRequest { container_id: call.id, timeout };
        clients.runtime.stop_container(request).await.map(done)
    }
}

call! {
    /// Removes a container. A runtime kills it first if it runs, so whoever sends this has looked.
    RemoveContainer {
        /// Whole id.
        id: String
    } in Containers -> ();
    id: |call| Some(&call.id);
    |call, clients| {
        clients.runtime.remove_container(cri::RemoveContainerRequest { container_id: call.id }).await.map(done)
    }
}

call! {
    /// Ends what is left of a sandbox and gives its network back.
    StopPodSandbox {
        /// Whole id.
        id: String
    } in Sandboxes -> ();
    id: |call| Some(&call.id);
    |call, clients| {
        clients.runtime.stop_pod_sandbox(cri::StopPodSandboxRequest { pod_sandbox_id: call.id }).await.map(done)
    }
}

call! {
    /// Removes a sandbox and whatever is in it, so whoever sends this has looked.
    RemovePodSandbox {
        /// Whole id.
        id: String
    } in Sandboxes -> ();
    id: |call| Some(&call.id);
    |call, clients| {
        clients.runtime.remove_pod_sandbox(cri::RemovePodSandboxRequest { pod_sandbox_id: call.id }).await.map(done)
    }
}

call! {
    /// Removes an image with all its names, or (CRI-O, by a name) that name. A runtime checks little, so whoever sends this has looked.
    RemoveImage {
        /// Whole id, as it is listed; or one of its names.
        id: String,
        /// Handler whose copy is meant; empty is the default one.
        runtime_handler: String
    } in Images -> ();
    id: |call| Some(&call.id);
    |call, clients| {
        let image = cri::ImageSpec { image: call.id, runtime_handler: call.runtime_handler };
        clients.images.remove_image(cri::RemoveImageRequest { image: Some(image) }).await.map(done)
    }
}

/// A runtime takes a unique prefix for the object: where the object is gone, another may answer for it.
fn is_the_same(told: &str, asked: &str) -> Result<(), Status> {
    if told == asked { Ok(()) } else { Err(Status::not_found("the runtime answered for another object")) }
}

fn done<T>(_answer: Response<T>) {}
