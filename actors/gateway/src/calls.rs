//! The RPCs that a collector makes, one method of [`Gateway`] for each: what is sent, what it counts against, what comes back.
//!
//! Ids are always sent whole: a runtime takes a unique prefix for the object, so an empty id is refused before it is sent.

use std::sync::Arc;
use std::time::Duration;

use cri_gc_policy::{Container, Image, Sandbox, SandboxState};
use cri_gc_proto::cri;
use tokio::time::Instant;
use tonic::Status;

use crate::actor::CONTAINER_STATUS;
use crate::answers::{ContainerFacts, ContainerLayer, FsPlaces, Owner, RuntimeVersion, Sibling};
use crate::connection::{Clients, check_answered};
use crate::convert;
use crate::error::{CriError, CriResult, ErrorClass, LIST_CONTAINER_STATS, REMOVE_IMAGE};
use crate::gateway::Gateway;
use crate::lanes::Lane;
use crate::lists::{self, Listed, Part};
use crate::messages::Call;
use crate::shared::Sharing;

/// Each fails with what the runtime answered, sorted; nothing is tried twice.
#[expect(clippy::missing_errors_doc, reason = "said once, above")]
impl Gateway {
    /// Name and version of the runtime: the cheapest proof that the socket is that of a CRI runtime.
    pub async fn version(&self) -> CriResult<RuntimeVersion> {
        self.ask("Version", None, Clients::version).await
    }

    /// The sandbox (pause) image, as the runtime names it; empty where it does not report it.
    pub async fn sandbox_image(&self) -> CriResult<String> {
        let send = async |mut clients: Clients| {
            let answer = clients.runtime.status(cri::StatusRequest { verbose: true }).await?.into_inner();
            // Without its conditions it is no answer, and names no image for that reason.
            check_answered(answer.status.as_ref(), |_| true)?;
            Ok(convert::sandbox_image(&answer))
        };
        self.ask("Status", None, send).await
    }

    /// The state of one container now.
    pub async fn container_status(&self, id: &str) -> CriResult<ContainerFacts> {
        let whole = id.to_owned();
        self.ask(CONTAINER_STATUS, Some(id), async |clients: Clients| clients.container_status(whole).await)
            .await
    }

    /// The state of one sandbox now.
    pub async fn sandbox_status(&self, id: &str) -> CriResult<SandboxState> {
        let request = cri::PodSandboxStatusRequest { pod_sandbox_id: id.to_owned() };
        let send = async |mut clients: Clients| {
            let id = request.pod_sandbox_id.clone();
            let status = clients.runtime.pod_sandbox_status(request).await?.into_inner().status;
            let status = check_answered(status, |status| status.id == id)?;
            Ok(convert::sandbox_state(status.state))
        };
        self.ask("PodSandboxStatus", Some(id), send).await
    }

    /// The sandboxes of the pod of that UID, in any state, as far as they have the label that a kubelet gives them.
    pub async fn sandboxes_of(&self, uid: &str) -> CriResult<Vec<Arc<Sandbox>>> {
        let ask = async |state| {
            let part = Part { state, owner: Some(Owner::Pod(uid.into())) };
            let send = async move |clients| Sandbox::fetch(clients, part, Sharing::default().item()).await;
            self.ask(Sandbox::METHOD, Some(uid), send).await
        };
        let mut sandboxes = match ask(None).await {
            Err(error) if error.class == ErrorClass::TooLarge => {
                let mut all = Vec::new();
                for state in Sandbox::STATES.iter().chain(Sandbox::STATES_OF_NEW) {
                    all.extend(ask(Some(*state)).await?);
                }
                all
            }
            answer => answer?,
        };
        sandboxes = Sandbox::once(sandboxes);
        // Should a runtime ignore the filter.
        sandboxes.retain(|sandbox| sandbox.pod_uid == uid);
        Ok(sandboxes)
    }

    /// The sandboxes that are ready, or may be.
    pub async fn ready_sandboxes(&self) -> CriResult<Vec<Arc<Sandbox>>> {
        let part = Part { state: Some(cri::PodSandboxState::SandboxReady.into()), owner: None };
        let send = async move |clients| Sandbox::fetch(clients, part, Sharing::default().item()).await;
        let mut sandboxes = Sandbox::once(self.ask(Sandbox::METHOD, None, send).await?);
        // Should a runtime ignore the filter.
        sandboxes.retain(|sandbox| sandbox.state != SandboxState::NotReady);
        Ok(sandboxes)
    }

    /// The containers in one sandbox, or those of one pod, in any state. Where a runtime ignores the filter, a sandbox seems to have all.
    pub async fn containers_of(&self, owner: &Owner) -> CriResult<Vec<Sibling>> {
        let mut siblings = convert::siblings(self.raw_containers_of(owner).await?);
        if let Owner::Pod(uid) = owner {
            siblings.retain(|sibling| sibling.container.pod_uid == *uid);
        }
        Ok(siblings)
    }

    /// At once, where that is too large by a stream, else by state, and if need be by the sandboxes of the pod.
    async fn raw_containers_of(&self, owner: &Owner) -> CriResult<Vec<cri::Container>> {
        let list = async |state: Option<i32>, owner: &Owner| {
            let part = Part { state, owner: Some(owner.clone()) };
            let send =
                async move |clients: Clients| Container::fetch(clients, part, |container| container).await;
            self.ask(Container::METHOD, Some(owner.id()), send).await
        };
        match list(None, owner).await {
            Err(error) if error.class == ErrorClass::TooLarge => {}
            answer => return answer,
        }
        let part = Part { state: None, owner: Some(owner.clone()) };
        let send = async move |clients: Clients| {
            lists::stream_containers(clients, part, |container| container).await
        };
        match self.ask(Container::STREAM, Some(owner.id()), send).await {
            Err(error) if matches!(error.class, ErrorClass::TooLarge | ErrorClass::Unimplemented) => {}
            answer => return answer,
        }
        let mut all = Vec::new();
        for state in Container::STATES.iter().chain(Container::STATES_OF_NEW) {
            match (list(Some(*state), owner).await, owner) {
                (Err(error), Owner::Pod(uid)) if error.class == ErrorClass::TooLarge => {
                    for sandbox in self.sandboxes_of(uid).await? {
                        all.extend(list(Some(*state), &Owner::Sandbox(sandbox.id.clone())).await?);
                    }
                }
                (answer, _) => all.extend(answer?),
            }
        }
        Ok(all)
    }

    /// Where images and containers are stored.
    pub async fn image_fs_info(&self) -> CriResult<FsPlaces> {
        let send = async |mut clients: Clients| {
            let answer = clients.images.image_fs_info(cri::ImageFsInfoRequest {}).await?;
            Ok(convert::fs_places(answer.into_inner()))
        };
        self.ask("ImageFsInfo", None, send).await
    }

    /// The writable layers of the containers that the runtime counts: containerd those of all, CRI-O not those of exited ones.
    pub async fn container_layers(&self) -> CriResult<Vec<ContainerLayer>> {
        let send = async |mut clients: Clients| {
            let answer =
                clients.runtime.list_container_stats(cri::ListContainerStatsRequest::default()).await?;
            Ok(convert::container_layers(answer.into_inner().stats))
        };
        self.ask(LIST_CONTAINER_STATS, None, send).await
    }

    /// The image of that whole id, as it is listed, for that runtime handler; an empty one is the default one.
    pub async fn image(&self, id: &str, runtime_handler: &str) -> CriResult<Option<Image>> {
        let image = image_spec(id, runtime_handler);
        let send = async |mut clients: Clients| {
            let id = image.image.clone();
            let request = cri::ImageStatusRequest { image: Some(image) };
            let answer = clients.images.image_status(request).await?.into_inner();
            // A runtime takes the beginning of an id for the image.
            Ok(answer.image.map(convert::image).filter(|image| image.id == id))
        };
        self.ask("ImageStatus", Some(id), send).await
    }

    /// Ends a container, by force after `timeout`, which it is given to end by itself.
    pub async fn stop_container(&self, id: &str, timeout: Duration) -> CriResult<()> {
        let seconds = i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX);
        let request = cri::StopContainerRequest { container_id: id.to_owned(), timeout: seconds };
        let send = async |mut clients: Clients| clients.runtime.stop_container(request).await.map(drop);
        self.call("StopContainer", Lane::Containers, Some(id), timeout, Instant::now(), send).await
    }

    /// Removes a container. A runtime kills it first if it runs, so the caller has checked it, at the time `checked`.
    pub async fn remove_container(&self, id: &str, checked: Instant) -> CriResult<()> {
        let request = cri::RemoveContainerRequest { container_id: id.to_owned() };
        let send = async |mut clients: Clients| clients.runtime.remove_container(request).await.map(drop);
        self.call("RemoveContainer", Lane::Containers, Some(id), Duration::ZERO, checked, send).await
    }

    /// Ends what is left of a sandbox and gives its network back. It kills what runs, so the caller has checked it, at the time `checked`.
    pub async fn stop_sandbox(&self, id: &str, checked: Instant) -> CriResult<()> {
        let request = cri::StopPodSandboxRequest { pod_sandbox_id: id.to_owned() };
        let send = async |mut clients: Clients| clients.runtime.stop_pod_sandbox(request).await.map(drop);
        self.call("StopPodSandbox", Lane::Sandboxes, Some(id), Duration::ZERO, checked, send).await
    }

    /// Removes a sandbox and everything in it, so the caller has checked it, at the time `checked`.
    pub async fn remove_sandbox(&self, id: &str, checked: Instant) -> CriResult<()> {
        let request = cri::RemovePodSandboxRequest { pod_sandbox_id: id.to_owned() };
        let send = async |mut clients: Clients| clients.runtime.remove_pod_sandbox(request).await.map(drop);
        self.call("RemovePodSandbox", Lane::Sandboxes, Some(id), Duration::ZERO, checked, send).await
    }

    /// Removes an image by its whole id with all its names, or (CRI-O, by a name) that name; of the copy for that runtime handler. A
    /// runtime checks little, so the caller has checked it.
    pub async fn remove_image(&self, id: &str, runtime_handler: &str) -> CriResult<()> {
        let request = cri::RemoveImageRequest { image: Some(image_spec(id, runtime_handler)) };
        let send = async |mut clients: Clients| clients.images.remove_image(request).await.map(drop);
        self.call(REMOVE_IMAGE, Lane::Images, Some(id), Duration::ZERO, Instant::now(), send).await
    }

    /// Makes one RPC that changes nothing.
    async fn ask<T: Send + 'static>(
        &self,
        method: &'static str,
        id: Option<&str>,
        send: impl AsyncFnOnce(Clients) -> Result<T, Status> + Send + 'static,
    ) -> CriResult<T> {
        self.call(method, Lane::Read, id, Duration::ZERO, Instant::now(), send).await
    }

    /// Makes one RPC, which may take `extra_time` on top of the deadline of all. A removal rests on a check of the time `checked`.
    async fn call<T: Send + 'static>(
        &self,
        method: &'static str,
        lane: Lane,
        id: Option<&str>,
        extra_time: Duration,
        checked: Instant,
        send: impl AsyncFnOnce(Clients) -> Result<T, Status> + Send + 'static,
    ) -> CriResult<T> {
        let call = Call {
            method,
            lane,
            id: id.map(ToOwned::to_owned),
            extra_time,
            send: Box::new(|clients| Box::pin(async { send(clients).await })),
            checked,
            lease: self.lease.clone(),
        };
        self.address.send(call).await.unwrap_or_else(|_| Err(CriError::gateway_gone(method)))
    }
}

fn image_spec(id: &str, runtime_handler: &str) -> cri::ImageSpec {
    cri::ImageSpec { image: id.to_owned(), runtime_handler: runtime_handler.to_owned() }
}
