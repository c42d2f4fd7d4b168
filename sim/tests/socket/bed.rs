//! What the tests of the embedded runtime share: a node in a temporary folder and clients on its socket.

use cri_gc_proto::cri;
use cri_gc_proto::cri::image_service_client::ImageServiceClient;
use cri_gc_proto::cri::runtime_service_client::RuntimeServiceClient;
use cri_gc_sim::{Code, ContainerSpec, Flavour, Options, PodSpec, Sim};
use cri_gc_test_support::flavours::options;
use tonic::transport::{Channel, Endpoint};

pub(crate) const MIB: u64 = 1 << 20;

/// A node with clients. The folder is removed with it.
pub(crate) struct Bed {
    pub(crate) sim: Sim,
    pub(crate) runtime: RuntimeServiceClient<Channel>,
    pub(crate) images: ImageServiceClient<Channel>,
    pub(crate) _dir: tempfile::TempDir,
}

pub(crate) type Answer<T> = Result<T, tonic::Status>;

impl Bed {
    /// The flavour that the test is about.
    pub(crate) fn new() -> Self {
        Self::with(options())
    }

    pub(crate) fn flavour(flavour: Flavour) -> Self {
        Self::with(Options { flavour, ..Options::default() })
    }

    pub(crate) fn with(options: Options) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let sim = Sim::start(dir.path(), options).unwrap();
        let channel = Endpoint::try_from(sim.endpoint()).unwrap().connect_lazy();
        let limit = 64 << 20;
        Self {
            sim,
            runtime: RuntimeServiceClient::new(channel.clone()).max_decoding_message_size(limit),
            images: ImageServiceClient::new(channel).max_decoding_message_size(limit),
            _dir: dir,
        }
    }

    /// A ready sandbox of pod `default/name`, with a UID made from the name.
    pub(crate) fn pod(&self, name: &str) -> String {
        self.sim.add_pod(PodSpec::new("default", name, format!("uid-of-{name}"))).unwrap()
    }

    /// A running container.
    pub(crate) fn container(&self, sandbox: &str, name: &str) -> String {
        self.sim.add_container(ContainerSpec::new(sandbox, name)).unwrap()
    }

    pub(crate) async fn list(&mut self, filter: cri::ContainerFilter) -> Answer<Vec<cri::Container>> {
        let request = cri::ListContainersRequest { filter: Some(filter) };
        Ok(self.runtime.list_containers(request).await?.into_inner().containers)
    }

    pub(crate) async fn list_all(&mut self) -> Vec<cri::Container> {
        self.list(cri::ContainerFilter::default()).await.unwrap()
    }

    pub(crate) async fn list_ids(&mut self, filter: cri::ContainerFilter) -> Vec<String> {
        self.list(filter).await.unwrap().into_iter().map(|container| container.id).collect()
    }

    pub(crate) async fn sandboxes(&mut self, filter: cri::PodSandboxFilter) -> Answer<Vec<cri::PodSandbox>> {
        let request = cri::ListPodSandboxRequest { filter: Some(filter) };
        Ok(self.runtime.list_pod_sandbox(request).await?.into_inner().items)
    }

    pub(crate) async fn sandbox_ids(&mut self, filter: cri::PodSandboxFilter) -> Vec<String> {
        self.sandboxes(filter).await.unwrap().into_iter().map(|sandbox| sandbox.id).collect()
    }

    pub(crate) async fn status(&mut self, id: &str) -> Answer<cri::ContainerStatus> {
        let request = cri::ContainerStatusRequest { container_id: id.into() };
        Ok(self.runtime.container_status(request).await?.into_inner().status.unwrap())
    }

    pub(crate) async fn sandbox_status(&mut self, id: &str) -> Answer<cri::PodSandboxStatus> {
        let request = cri::PodSandboxStatusRequest { pod_sandbox_id: id.into() };
        Ok(self.runtime.pod_sandbox_status(request).await?.into_inner().status.unwrap())
    }

    pub(crate) async fn stop(&mut self, id: &str) -> Answer<()> {
        let request = cri::StopContainerRequest { container_id: id.into(), timeout: 0 };
        self.runtime.stop_container(request).await.map(drop)
    }

    pub(crate) async fn remove(&mut self, id: &str) -> Answer<()> {
        let request = cri::RemoveContainerRequest { container_id: id.into() };
        self.runtime.remove_container(request).await.map(drop)
    }

    pub(crate) async fn stop_sandbox(&mut self, id: &str) -> Answer<()> {
        let request = cri::StopPodSandboxRequest { pod_sandbox_id: id.into() };
        self.runtime.stop_pod_sandbox(request).await.map(drop)
    }

    pub(crate) async fn remove_sandbox(&mut self, id: &str) -> Answer<()> {
        let request = cri::RemovePodSandboxRequest { pod_sandbox_id: id.into() };
        self.runtime.remove_pod_sandbox(request).await.map(drop)
    }

    pub(crate) async fn start(&mut self, id: &str) -> Answer<()> {
        let request = cri::StartContainerRequest { container_id: id.into() };
        self.runtime.start_container(request).await.map(drop)
    }

    pub(crate) async fn run_sandbox(&mut self, config: cri::PodSandboxConfig) -> Answer<String> {
        let request = cri::RunPodSandboxRequest { config: Some(config) };
        Ok(self.runtime.run_pod_sandbox(request).await?.into_inner().pod_sandbox_id)
    }

    pub(crate) async fn create(
        &mut self,
        sandbox: &str,
        config: cri::ContainerConfig,
        of: &cri::PodSandboxConfig,
    ) -> Answer<String> {
        let request = cri::CreateContainerRequest {
            pod_sandbox_id: sandbox.into(),
            config: Some(config),
            sandbox_config: Some(of.clone()),
        };
        Ok(self.runtime.create_container(request).await?.into_inner().container_id)
    }

    pub(crate) async fn list_images(&mut self) -> Vec<cri::Image> {
        self.images.list_images(cri::ListImagesRequest::default()).await.unwrap().into_inner().images
    }

    pub(crate) async fn remove_image(&mut self, name: &str) -> Answer<()> {
        let image = Some(cri::ImageSpec { image: name.into(), runtime_handler: String::new() });
        self.images.remove_image(cri::RemoveImageRequest { image }).await.map(drop)
    }

    pub(crate) async fn fs_info(&mut self) -> cri::ImageFsInfoResponse {
        self.images.image_fs_info(cri::ImageFsInfoRequest {}).await.unwrap().into_inner()
    }

    /// Available bytes of the images' filesystem.
    pub(crate) fn available(&self) -> u64 {
        self.sim.fs_probe()(&self.sim.paths().images).unwrap().available_bytes
    }
}

pub(crate) fn code<T>(answer: Answer<T>) -> Code {
    answer.err().map_or(Code::Ok, |status| status.code())
}

pub(crate) fn sandbox_config(name: &str) -> cri::PodSandboxConfig {
    cri::PodSandboxConfig {
        metadata: Some(cri::PodSandboxMetadata {
            name: name.into(),
            uid: format!("uid-of-{name}"),
            namespace: "default".into(),
            attempt: 0,
        }),
        ..Default::default()
    }
}

pub(crate) fn container_config(name: &str, attempt: u32, image: &str) -> cri::ContainerConfig {
    cri::ContainerConfig {
        metadata: Some(cri::ContainerMetadata { name: name.into(), attempt }),
        image: Some(cri::ImageSpec { image: image.into(), runtime_handler: String::new() }),
        ..Default::default()
    }
}
