//! A client that makes, inspects and removes pods, containers and images over CRI, on any runtime's socket.
//!
//! Every call is one RPC unless it says otherwise, and returns the runtime's own status, so that tests can check
//! codes and messages. Nothing is retried.

mod spec;

use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use cri_gc_proto::cri::image_service_client::ImageServiceClient;
use cri_gc_proto::cri::runtime_service_client::RuntimeServiceClient;
use cri_gc_proto::cri::{
    Container, ContainerFilter, ContainerState, ContainerStatus, ContainerStatusRequest,
    CreateContainerRequest, Image, ImageFsInfoRequest, ImageFsInfoResponse, ImageSpec, ListContainersRequest,
    ListImagesRequest, ListPodSandboxRequest, PodSandbox, PodSandboxFilter, PodSandboxStatus,
    PodSandboxStatusRequest, RemoveContainerRequest, RemoveImageRequest, RemovePodSandboxRequest,
    RunPodSandboxRequest, StartContainerRequest, StatusRequest, StopContainerRequest, StopPodSandboxRequest,
    VersionRequest, VersionResponse,
};
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use crate::poll::until_async;

pub use spec::{ContainerSpec, PodSpec, fresh_uid};

/// The largest answer that is taken, in bytes.
const DECODE_LIMIT: usize = 64 * 1024 * 1024;

/// How long a container may take to end, or an image to appear.
const PATIENCE: Duration = Duration::from_secs(30);

/// A sandbox that was made, and what it was made from: containers in it repeat that.
#[derive(Debug, Clone)]
pub struct Pod {
    /// Id of the sandbox.
    pub id: String,
    /// What it was made from.
    pub spec: PodSpec,
}

/// A client of one runtime. Cheap to clone; bound to the async runtime that it was made in.
#[derive(Debug, Clone)]
pub struct Cri {
    runtime: RuntimeServiceClient<Channel>,
    images: ImageServiceClient<Channel>,
    cgroup_parent: String,
}

impl Cri {
    /// A client of the runtime that listens on this unix socket, now or later.
    ///
    /// # Panics
    /// Outside an async runtime.
    #[must_use]
    pub fn new(socket: &Path) -> Self {
        let endpoint = Endpoint::try_from(format!("unix://{}", socket.display())).expect("a socket's path");
        let channel = endpoint.connect_lazy();
        Self {
            runtime: RuntimeServiceClient::new(channel.clone()).max_decoding_message_size(DECODE_LIMIT),
            images: ImageServiceClient::new(channel).max_decoding_message_size(DECODE_LIMIT),
            cgroup_parent: String::new(),
        }
    }

    /// The same client, making its pods below this cgroup.
    #[must_use]
    pub fn with_cgroup_parent(mut self, cgroup_parent: &str) -> Self {
        cgroup_parent.clone_into(&mut self.cgroup_parent);
        self
    }

    /// The generated client, for calls that have no method here.
    #[must_use]
    pub fn runtime(&self) -> RuntimeServiceClient<Channel> {
        self.runtime.clone()
    }

    /// The generated client of the image service.
    #[must_use]
    pub fn images(&self) -> ImageServiceClient<Channel> {
        self.images.clone()
    }
}

/// Making and ending pods and containers.
#[allow(clippy::missing_errors_doc, reason = "what the runtime answers, for all of them")]
impl Cri {
    /// Makes and starts a sandbox.
    pub async fn run_pod(&self, spec: PodSpec) -> Result<Pod, Status> {
        let request = RunPodSandboxRequest { config: Some(spec.config(&self.cgroup_parent)) };
        let answer = self.runtime().run_pod_sandbox(request).await?;
        Ok(Pod { id: answer.into_inner().pod_sandbox_id, spec })
    }

    /// Makes a container and does not start it.
    pub async fn create(&self, pod: &Pod, spec: &ContainerSpec) -> Result<String, Status> {
        let request = CreateContainerRequest {
            pod_sandbox_id: pod.id.clone(),
            config: Some(spec.config(&pod.spec)),
            sandbox_config: Some(pod.spec.config(&self.cgroup_parent)),
        };
        let answer = self.runtime().create_container(request).await?;
        Ok(answer.into_inner().container_id)
    }

    /// Starts a container.
    pub async fn start(&self, id: &str) -> Result<(), Status> {
        let request = StartContainerRequest { container_id: id.to_owned() };
        self.runtime().start_container(request).await.map(drop)
    }

    /// Makes a container and starts it (two RPCs).
    pub async fn run(&self, pod: &Pod, spec: &ContainerSpec) -> Result<String, Status> {
        let id = self.create(pod, spec).await?;
        self.start(&id).await?;
        Ok(id)
    }

    /// Runs a container that ends by itself once for each attempt, one after another; gives their ids, oldest first.
    pub async fn run_dead(
        &self,
        pod: &Pod,
        spec: &ContainerSpec,
        attempts: Range<u32>,
    ) -> Result<Vec<String>, Status> {
        let mut ids = Vec::new();
        for attempt in attempts {
            let id = self.run(pod, &spec.clone().attempt(attempt)).await?;
            self.wait_exited(&id).await?;
            ids.push(id);
        }
        Ok(ids)
    }

    /// Ends a container, by force after `timeout` seconds.
    pub async fn stop(&self, id: &str, timeout: i64) -> Result<(), Status> {
        let request = StopContainerRequest { container_id: id.to_owned(), timeout };
        self.runtime().stop_container(request).await.map(drop)
    }

    /// Ends everything in a sandbox.
    pub async fn stop_pod(&self, id: &str) -> Result<(), Status> {
        let request = StopPodSandboxRequest { pod_sandbox_id: id.to_owned() };
        self.runtime().stop_pod_sandbox(request).await.map(drop)
    }

    /// Removes a container.
    pub async fn remove(&self, id: &str) -> Result<(), Status> {
        let request = RemoveContainerRequest { container_id: id.to_owned() };
        self.runtime().remove_container(request).await.map(drop)
    }

    /// Removes a sandbox with everything in it.
    pub async fn remove_pod(&self, id: &str) -> Result<(), Status> {
        let request = RemovePodSandboxRequest { pod_sandbox_id: id.to_owned() };
        self.runtime().remove_pod_sandbox(request).await.map(drop)
    }

    /// Removes an image, by name, digest or id.
    pub async fn remove_image(&self, image: &str) -> Result<(), Status> {
        let image = Some(ImageSpec { image: image.to_owned(), ..ImageSpec::default() });
        self.images().remove_image(RemoveImageRequest { image }).await.map(drop)
    }

    /// Waits until a container has ended (asks again and again); DeadlineExceeded if it does not.
    pub async fn wait_exited(&self, id: &str) -> Result<ContainerStatus, Status> {
        let check = || async move {
            match self.status(id).await {
                Ok(status) if status.state() != ContainerState::ContainerExited => None,
                ended_or_failed => Some(ended_or_failed),
            }
        };
        let late = || Err(Status::deadline_exceeded(format!("container {id} runs on after {PATIENCE:?}")));
        until_async(PATIENCE, check).await.unwrap_or_else(late)
    }

    /// Waits until an image has this tag or digest (asks again and again): containerd lists an import a little later.
    pub async fn wait_image(&self, name: &str) -> Result<Image, Status> {
        let check = || async move {
            match self.list_images().await {
                Ok(images) => images.into_iter().find(|image| is_named(image, name)).map(Ok),
                Err(status) => Some(Err(status)),
            }
        };
        let late = || Err(Status::deadline_exceeded(format!("no image {name} after {PATIENCE:?}")));
        until_async(PATIENCE, check).await.unwrap_or_else(late)
    }
}

fn is_named(image: &Image, name: &str) -> bool {
    image.repo_tags.iter().chain(&image.repo_digests).any(|known| known == name)
}

/// Looking.
#[allow(clippy::missing_errors_doc, reason = "what the runtime answers, for all of them")]
impl Cri {
    /// Name and version of the runtime.
    pub async fn version(&self) -> Result<VersionResponse, Status> {
        Ok(self.runtime().version(VersionRequest::default()).await?.into_inner())
    }

    /// The value of a key of the verbose `Status`; empty if there is none.
    pub async fn status_info(&self, key: &str) -> Result<String, Status> {
        let answer = self.runtime().status(StatusRequest { verbose: true }).await?.into_inner();
        Ok(answer.info.into_iter().find(|pair| pair.key == key).map(|pair| pair.value).unwrap_or_default())
    }

    /// All containers.
    pub async fn list_containers(&self) -> Result<Vec<Container>, Status> {
        self.list_containers_where(ContainerFilter::default()).await
    }

    /// The containers that pass a filter.
    pub async fn list_containers_where(&self, filter: ContainerFilter) -> Result<Vec<Container>, Status> {
        let request = ListContainersRequest { filter: Some(filter) };
        Ok(self.runtime().list_containers(request).await?.into_inner().containers)
    }

    /// All sandboxes.
    pub async fn list_sandboxes(&self) -> Result<Vec<PodSandbox>, Status> {
        self.list_sandboxes_where(PodSandboxFilter::default()).await
    }

    /// The sandboxes that pass a filter.
    pub async fn list_sandboxes_where(&self, filter: PodSandboxFilter) -> Result<Vec<PodSandbox>, Status> {
        let request = ListPodSandboxRequest { filter: Some(filter) };
        Ok(self.runtime().list_pod_sandbox(request).await?.into_inner().items)
    }

    /// All images.
    pub async fn list_images(&self) -> Result<Vec<Image>, Status> {
        Ok(self.images().list_images(ListImagesRequest::default()).await?.into_inner().images)
    }

    /// One container.
    pub async fn status(&self, id: &str) -> Result<ContainerStatus, Status> {
        let request = ContainerStatusRequest { container_id: id.to_owned() };
        let answer = self.runtime().container_status(request).await?.into_inner();
        answer.status.ok_or_else(|| Status::internal("a ContainerStatus without a status"))
    }

    /// One sandbox.
    pub async fn pod_status(&self, id: &str) -> Result<PodSandboxStatus, Status> {
        let request = PodSandboxStatusRequest { pod_sandbox_id: id.to_owned() };
        let answer = self.runtime().pod_sandbox_status(request).await?.into_inner();
        answer.status.ok_or_else(|| Status::internal("a PodSandboxStatus without a status"))
    }

    /// Where images and containers lie.
    pub async fn image_fs_info(&self) -> Result<ImageFsInfoResponse, Status> {
        Ok(self.images().image_fs_info(ImageFsInfoRequest::default()).await?.into_inner())
    }
}
