//! The RPCs that a collector makes, one struct for each: what is sent, what it counts against, what comes back.
//!
//! Ids always go out whole: a runtime takes a unique prefix for the object, so an empty id is refused before it is sent.

use std::time::Duration;

use cri_gc_policy::{Container, SandboxState};
use cri_gc_proto::{POD_UID_LABEL, cri};
use tonic::Status;

use crate::answers::{ContainerFacts, FsPlaces, RuntimeVersion};
use crate::connection::Clients;
use crate::convert;
use crate::lanes::Lane;

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

/// Defines an RPC of the method of that name: its fields, its lane, its answer, which field is the id of the object, and how it is
/// sent, with the fields by their names.
macro_rules! rpc {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty),* } in $lane:ident -> $answer:ty;
     $(id: $id:ident;)? $(extra_time: $extra:ident;)? |$clients:ident| $send:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone)]
        pub struct $name { $($(#[$field_doc])* pub $field: $type),* }

        impl CriCall for $name {
            const METHOD: &'static str = stringify!($name);
            const LANE: Lane = Lane::$lane;
            type Answer = $answer;

            $(fn id(&self) -> Option<&str> {
                Some(&self.$id)
            })?

            $(fn extra_time(&self) -> Duration {
                self.$extra
            })?

            async fn send(self, mut $clients: Clients) -> Result<$answer, Status> {
                let Self { $($field),* } = self;
                $send
            }
        }
    };
}

rpc! {
    /// Name and version of the runtime: the cheapest proof that the socket is that of a CRI runtime.
    Version {} in Read -> RuntimeVersion;
    |clients| {
        let answer = clients.runtime.version(cri::VersionRequest::default()).await?.into_inner();
        Ok(RuntimeVersion { name: answer.runtime_name, version: answer.runtime_version })
    }
}

/// The sandbox (pause) image, as the runtime names it; empty where it does not report it.
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

rpc! {
    /// The state of one container now.
    ContainerStatus {
        /// Whole id.
        id: String
    } in Read -> ContainerFacts;
    id: id;
    |clients| {
        let request = cri::ContainerStatusRequest { container_id: id.clone() };
        let status = clients.runtime.container_status(request).await?.into_inner().status;
        let status = status.ok_or_else(no_status)?;
        is_the_same(&status.id, &id)?;
        Ok(convert::container_facts(status))
    }
}

rpc! {
    /// State of one sandbox now.
    PodSandboxStatus {
        /// Whole id.
        id: String
    } in Read -> SandboxState;
    id: id;
    |clients| {
        let request = cri::PodSandboxStatusRequest { pod_sandbox_id: id.clone() };
        let status = clients.runtime.pod_sandbox_status(request).await?.into_inner().status;
        let status = status.ok_or_else(no_status)?;
        is_the_same(&status.id, &id)?;
        Ok(convert::sandbox_state(status.state))
    }
}

rpc! {
    /// Whether a sandbox of that pod is ready, as far as sandboxes have the label that a kubelet gives them.
    HasReadySandbox {
        /// UID of the pod.
        uid: String
    } in Read -> bool;
    id: uid;
    |clients| {
        let state = cri::PodSandboxStateValue { state: cri::PodSandboxState::SandboxReady.into() };
        let label_selector = [(POD_UID_LABEL.to_owned(), uid)].into();
        let filter = cri::PodSandboxFilter { state: Some(state), label_selector, ..Default::default() };
        let request = cri::ListPodSandboxRequest { filter: Some(filter) };
        Ok(!clients.runtime.list_pod_sandbox(request).await?.into_inner().items.is_empty())
    }
}

rpc! {
    /// The containers in one sandbox, in any state.
    ListContainers {
        /// Whole id of the sandbox.
        sandbox: String
    } in Read -> Vec<Container>;
    id: sandbox;
    |clients| {
        let filter = cri::ContainerFilter { pod_sandbox_id: sandbox, ..Default::default() };
        let request = cri::ListContainersRequest { filter: Some(filter) };
        let answer = clients.runtime.list_containers(request).await?.into_inner();
        Ok(convert::containers(answer.containers))
    }
}

rpc! {
    /// Where images and containers are stored.
    ImageFsInfo {} in Read -> FsPlaces;
    |clients| {
        let answer = clients.images.image_fs_info(cri::ImageFsInfoRequest {}).await?.into_inner();
        Ok(convert::fs_places(answer))
    }
}

rpc! {
    /// Whether there is an image of that id.
    ImageStatus {
        /// Whole id, as it is listed.
        id: String,
        /// Handler whose copy is meant; empty is the default one.
        runtime_handler: String
    } in Read -> bool;
    id: id;
    |clients| {
        let image = Some(cri::ImageSpec { image: id.clone(), runtime_handler });
        let answer = clients.images.image_status(cri::ImageStatusRequest { image }).await?.into_inner();
        // A runtime takes the beginning of an id for the image.
        Ok(answer.image.is_some_and(|image| image.id == id))
    }
}

rpc! {
    /// Ends a container, by force after `timeout`.
    StopContainer {
        /// Whole id.
        id: String,
        /// What the container is given to end by itself.
        timeout: Duration
    } in Containers -> ();
    id: id;
    extra_time: timeout;
    |clients| {
        let timeout = i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX);
        clients.runtime.stop_container(cri::StopContainerRequest { container_id: id, timeout }).await.map(drop)
    }
}

rpc! {
    /// Removes a container. A runtime kills it first if it runs, so the caller has checked it.
    RemoveContainer {
        /// Whole id.
        id: String
    } in Containers -> ();
    id: id;
    |clients| clients.runtime.remove_container(cri::RemoveContainerRequest { container_id: id }).await.map(drop)
}

rpc! {
    /// Ends what is left of a sandbox and gives its network back.
    StopPodSandbox {
        /// Whole id.
        id: String
    } in Sandboxes -> ();
    id: id;
    |clients| clients.runtime.stop_pod_sandbox(cri::StopPodSandboxRequest { pod_sandbox_id: id }).await.map(drop)
}

rpc! {
    /// Removes a sandbox and everything in it, so the caller has checked it.
    RemovePodSandbox {
        /// Whole id.
        id: String
    } in Sandboxes -> ();
    id: id;
    |clients| clients.runtime.remove_pod_sandbox(cri::RemovePodSandboxRequest { pod_sandbox_id: id }).await.map(drop)
}

rpc! {
    /// Removes an image with all its names, or (CRI-O, by a name) that name. A runtime checks little, so the caller has checked it.
    RemoveImage {
        /// Whole id, as it is listed; or one of its names.
        id: String,
        /// Handler whose copy is meant; empty is the default one.
        runtime_handler: String
    } in Images -> ();
    id: id;
    |clients| {
        let image = Some(cri::ImageSpec { image: id, runtime_handler });
        clients.images.remove_image(cri::RemoveImageRequest { image }).await.map(drop)
    }
}

/// A runtime takes a unique prefix for the object: where the object is gone, another may answer for it.
fn is_the_same(answered: &str, asked: &str) -> Result<(), Status> {
    if answered == asked { Ok(()) } else { Err(Status::not_found("the runtime answered for another object")) }
}

fn no_status() -> Status {
    Status::unknown("the answer holds no status")
}
