//! RuntimeService, as each flavour answers it.

use std::path::Path;

use cri_gc_policy::ContainerState;
use cri_gc_proto::cri::{self, runtime_service_server::RuntimeService};
use tonic::{Request, Status, async_trait};

use super::{Answer, Reply, Services, missing_is_fine, status, wire};
use crate::calls::Method;
use crate::error::SimError;
use crate::model::{Container, Node};
use crate::options::Flavour;
use crate::spec::{ContainerSpec, PodSpec};

#[async_trait]
impl RuntimeService for Services {
    async fn version(&self, _request: Request<cri::VersionRequest>) -> Reply<cri::VersionResponse> {
        self.call(Method::Version, "", |node| {
            Ok(cri::VersionResponse {
                version: "0.1.0".to_owned(),
                runtime_name: node.options().flavour.runtime_name().to_owned(),
                runtime_version: node.options().flavour.version().to_owned(),
                runtime_api_version: "v1".to_owned(),
            }
            .into())
        })
        .await
    }

    async fn status(&self, request: Request<cri::StatusRequest>) -> Reply<cri::StatusResponse> {
        let verbose = request.into_inner().verbose;
        self.call(Method::Status, "", |node| {
            let mut config = match node.options().flavour {
                Flavour::CriO => serde_json::json!({}),
                Flavour::Containerd16 | Flavour::Containerd21 => serde_json::json!({
                    "containerdRootDir": node.paths().root,
                    "containerdEndpoint": node.paths().socket,
                }),
            };
            // containerd 2 pins the image instead, and names it nowhere.
            let names_it = node.options().flavour.names_the_sandbox_image();
            if let Some(config) = config.as_object_mut().filter(|_| names_it) {
                config.insert("sandboxImage".to_owned(), node.options().sandbox_image.clone().into());
            }
            let info = cri::Pair { key: "config".to_owned(), value: config.to_string() };
            let condition = |of: &str| cri::RuntimeCondition { r#type: of.to_owned(), status: true };
            let conditions = ["RuntimeReady", "NetworkReady"].map(condition).into();
            let status = Some(cri::RuntimeStatus { conditions });
            Ok(cri::StatusResponse { status, info: verbose.then_some(info).into_iter().collect() }.into())
        })
        .await
    }

    async fn list_pod_sandbox(
        &self,
        request: Request<cri::ListPodSandboxRequest>,
    ) -> Reply<cri::ListPodSandboxResponse> {
        let filter = request.into_inner().filter.unwrap_or_default();
        self.call(Method::ListPodSandbox, &filter.id, |node| Ok(list_sandboxes(node, &filter))).await
    }

    async fn pod_sandbox_status(
        &self,
        request: Request<cri::PodSandboxStatusRequest>,
    ) -> Reply<cri::PodSandboxStatusResponse> {
        let id = request.into_inner().pod_sandbox_id;
        self.call(Method::PodSandboxStatus, &id, |node| {
            let id = node.resolve_sandbox(&id).map_err(|error| status(&error))?;
            let sandbox = node.sandbox(&id);
            let unsent = sandbox.map_or(0, |sandbox| sandbox.annotation_bytes);
            let message = cri::PodSandboxStatusResponse { status: sandbox.map(wire::sandbox_status) };
            Ok(Answer { message, unsent })
        })
        .await
    }

    async fn stop_pod_sandbox(
        &self,
        request: Request<cri::StopPodSandboxRequest>,
    ) -> Reply<cri::StopPodSandboxResponse> {
        let id = request.into_inner().pod_sandbox_id;
        self.call(Method::StopPodSandbox, &id, |node| {
            let result = node.stop_sandbox(&id);
            stopped(node, result)?;
            Ok(cri::StopPodSandboxResponse {}.into())
        })
        .await
    }

    async fn remove_pod_sandbox(
        &self,
        request: Request<cri::RemovePodSandboxRequest>,
    ) -> Reply<cri::RemovePodSandboxResponse> {
        let id = request.into_inner().pod_sandbox_id;
        self.call(Method::RemovePodSandbox, &id, |node| {
            missing_is_fine(node.remove_sandbox(&id))?;
            Ok(cri::RemovePodSandboxResponse {}.into())
        })
        .await
    }

    async fn list_containers(
        &self,
        request: Request<cri::ListContainersRequest>,
    ) -> Reply<cri::ListContainersResponse> {
        let filter = request.into_inner().filter.unwrap_or_default();
        self.call(Method::ListContainers, named(&filter), |node| {
            let (containers, unsent) = selected(node, &filter, |container| wire::container(node, container));
            Ok(Answer { message: cri::ListContainersResponse { containers }, unsent })
        })
        .await
    }

    async fn container_status(
        &self,
        request: Request<cri::ContainerStatusRequest>,
    ) -> Reply<cri::ContainerStatusResponse> {
        let id = request.into_inner().container_id;
        self.call(Method::ContainerStatus, &id, |node| {
            let id = node.resolve_container(&id).map_err(|error| status(&error))?;
            let container = node.container(&id);
            let unsent = container.map_or(0, |container| container.annotation_bytes);
            let message =
                cri::ContainerStatusResponse { status: container.map(|c| wire::container_status(node, c)) };
            Ok(Answer { message, unsent })
        })
        .await
    }

    async fn stop_container(
        &self,
        request: Request<cri::StopContainerRequest>,
    ) -> Reply<cri::StopContainerResponse> {
        let id = request.into_inner().container_id;
        self.call(Method::StopContainer, &id, |node| {
            let result = node.stop_container(&id);
            stopped(node, result)?;
            Ok(cri::StopContainerResponse {}.into())
        })
        .await
    }

    async fn remove_container(
        &self,
        request: Request<cri::RemoveContainerRequest>,
    ) -> Reply<cri::RemoveContainerResponse> {
        let id = request.into_inner().container_id;
        self.call(Method::RemoveContainer, &id, |node| {
            missing_is_fine(node.remove_container(&id))?;
            Ok(cri::RemoveContainerResponse {}.into())
        })
        .await
    }

    async fn list_container_stats(
        &self,
        request: Request<cri::ListContainerStatsRequest>,
    ) -> Reply<cri::ListContainerStatsResponse> {
        let cri::ContainerStatsFilter { id, pod_sandbox_id, label_selector } =
            request.into_inner().filter.unwrap_or_default();
        let filter = cri::ContainerFilter { id, pod_sandbox_id, label_selector, state: None };
        self.call(Method::ListContainerStats, named(&filter), |node| {
            let mountpoint = node.paths().containers_fs.to_string_lossy();
            let (stats, _) = selected(node, &filter, |c| wire::container_stats(c, &mountpoint, node.now()));
            Ok(cri::ListContainerStatsResponse { stats }.into())
        })
        .await
    }

    async fn run_pod_sandbox(
        &self,
        request: Request<cri::RunPodSandboxRequest>,
    ) -> Reply<cri::RunPodSandboxResponse> {
        let config = request.into_inner().config.unwrap_or_default();
        let uid = config.metadata.as_ref().map(|metadata| metadata.uid.clone()).unwrap_or_default();
        self.call(Method::RunPodSandbox, &uid, |node| {
            let metadata = config.metadata.ok_or_else(|| missing("the metadata of the sandbox config"))?;
            let spec = PodSpec {
                attempt: metadata.attempt,
                labels: config.labels.into_iter().collect(),
                annotation_bytes: wire::map_bytes(&config.annotations),
                ..PodSpec::new(metadata.namespace, metadata.name, metadata.uid)
            };
            let pod_sandbox_id =
                node.run_sandbox(spec, config.log_directory.into()).map_err(|error| status(&error))?;
            Ok(cri::RunPodSandboxResponse { pod_sandbox_id }.into())
        })
        .await
    }

    async fn create_container(
        &self,
        request: Request<cri::CreateContainerRequest>,
    ) -> Reply<cri::CreateContainerResponse> {
        let cri::CreateContainerRequest { pod_sandbox_id, config, sandbox_config } = request.into_inner();
        self.call(Method::CreateContainer, &pod_sandbox_id, |node| {
            let config = config.unwrap_or_default();
            let metadata = config.metadata.ok_or_else(|| missing("the metadata of the container config"))?;
            let sandbox_config = sandbox_config.unwrap_or_default();
            let writable = config.mounts.iter().any(|mount| mount.image.is_some() && !mount.readonly);
            if writable && node.options().flavour != Flavour::CriO {
                return Err(Status::unknown("an image volume has to be read-only"));
            }
            let image_volumes = config.mounts.into_iter().filter_map(|mount| mount.image);
            let spec = ContainerSpec {
                attempt: metadata.attempt,
                image: config.image.unwrap_or_default().image,
                image_volumes: image_volumes.map(|image| image.image).collect(),
                state: ContainerState::Created,
                labels: config.labels.into_iter().collect(),
                annotation_bytes: wire::map_bytes(&config.annotations),
                ..ContainerSpec::new(&*pod_sandbox_id, metadata.name)
            };
            let container_id = node
                .create_container(spec, Path::new(&sandbox_config.log_directory), &config.log_path)
                .map_err(|error| status(&error))?;
            Ok(cri::CreateContainerResponse { container_id }.into())
        })
        .await
    }

    async fn start_container(
        &self,
        request: Request<cri::StartContainerRequest>,
    ) -> Reply<cri::StartContainerResponse> {
        let id = request.into_inner().container_id;
        self.call(Method::StartContainer, &id, |node| {
            node.start_container(&id).map_err(|error| status(&error))?;
            Ok(cri::StartContainerResponse {}.into())
        })
        .await
    }
}

/// The sandboxes that pass the filter. A prefix in it that fits no sandbox, or several, passes none.
fn list_sandboxes(node: &Node, filter: &cri::PodSandboxFilter) -> Answer<cri::ListPodSandboxResponse> {
    let id = node.resolve_sandbox(&filter.id).unwrap_or_else(|_| filter.id.clone());
    let mut unsent = 0;
    let items = node
        .sandboxes()
        .filter(|sandbox| filter.id.is_empty() || sandbox.id == id)
        .filter(|sandbox| {
            filter.state.is_none_or(|wanted| wanted.state == i32::from(wire::sandbox_state(sandbox.state)))
        })
        .filter(|sandbox| wire::selected(&sandbox.labels, &filter.label_selector))
        .inspect(|sandbox| unsent += sandbox.annotation_bytes)
        .map(wire::sandbox)
        .collect();
    Answer { message: cri::ListPodSandboxResponse { items }, unsent }
}

/// The object that a filter of containers names.
fn named(filter: &cri::ContainerFilter) -> &str {
    if filter.id.is_empty() { &filter.pod_sandbox_id } else { &filter.id }
}

/// The messages for the containers that pass the filter, and the size of their annotations.
fn selected<T>(
    node: &Node,
    filter: &cri::ContainerFilter,
    message: impl Fn(&Container) -> T,
) -> (Vec<T>, usize) {
    let sandbox =
        node.resolve_sandbox(&filter.pod_sandbox_id).unwrap_or_else(|_| filter.pod_sandbox_id.clone());
    let candidates: Box<dyn Iterator<Item = &Container>> = if !filter.id.is_empty() {
        Box::new(node.container(&filter.id).into_iter())
    } else if !sandbox.is_empty() {
        Box::new(node.containers_in(&sandbox))
    } else {
        Box::new(node.containers())
    };
    let mut unsent = 0;
    let containers = candidates
        .filter(|container| filter.pod_sandbox_id.is_empty() || container.sandbox == sandbox)
        .filter(|container| {
            filter
                .state
                .is_none_or(|wanted| wanted.state == i32::from(wire::container_state(container.state)))
        })
        .filter(|container| wire::selected(&container.labels, &filter.label_selector))
        .inspect(|container| unsent += container.annotation_bytes)
        .map(message)
        .collect();
    (containers, unsent)
}

/// How a stop ends: on what is missing it succeeds, but for containerd 1.6.
fn stopped(node: &Node, result: Result<(), SimError>) -> Result<(), Status> {
    match node.options().flavour {
        Flavour::Containerd16 => result.map_err(|error| status(&error)),
        Flavour::Containerd21 | Flavour::CriO => missing_is_fine(result),
    }
}

fn missing(what: &str) -> Status {
    Status::unknown(format!("{what} is missing"))
}
