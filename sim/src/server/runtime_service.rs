//! RuntimeService, as each flavour answers it.

use std::collections::HashMap;
use std::path::Path;

use cri_gc_policy::ContainerState;
use cri_gc_proto::POD_UID_LABEL;
use cri_gc_proto::cri::runtime_service_server::RuntimeService;
use cri_gc_proto::cri::*;
use tonic::{Request, Status, async_trait};

use super::{Messages, Reply, Services, missing_is_fine, odd, wire};
use crate::calls::Method;
use crate::error::SimError;
use crate::model::{Container, Node, Sandbox};
use crate::options::Flavour;
use crate::spec::{ContainerSpec, PodSpec};

#[async_trait]
impl RuntimeService for Services {
    async fn version(&self, _request: Request<VersionRequest>) -> Reply<VersionResponse> {
        self.call(Method::Version, "", |node| {
            let answer = VersionResponse {
                version: "0.1.0".to_owned(),
                runtime_name: node.options.flavour.runtime_name().to_owned(),
                runtime_version: node.options.flavour.version().to_owned(),
                runtime_api_version: "v1".to_owned(),
            };
            Ok((answer, 0))
        })
        .await
    }

    async fn status(&self, request: Request<StatusRequest>) -> Reply<StatusResponse> {
        let verbose = request.into_inner().verbose;
        self.call(Method::Status, "", |node| {
            let mut config = match node.options.flavour {
                Flavour::CriO => serde_json::json!({}),
                Flavour::Containerd16 | Flavour::Containerd21 => serde_json::json!({
                    "containerdRootDir": node.paths.root,
                    "containerdEndpoint": node.paths.socket,
                }),
            };
            // containerd 2 pins the image instead, and names it nowhere.
            let names_it = node.options.flavour.names_the_sandbox_image();
            if let Some(config) = config.as_object_mut().filter(|_| names_it) {
                config.insert("sandboxImage".to_owned(), node.options.sandbox_image.clone().into());
            }
            let info = Pair { key: "config".to_owned(), value: config.to_string() };
            let condition = |of: &str| RuntimeCondition { r#type: of.to_owned(), status: true };
            let conditions = ["RuntimeReady", "NetworkReady"].map(condition).into();
            let status = Some(RuntimeStatus { conditions });
            Ok((StatusResponse { status, info: verbose.then_some(info).into_iter().collect() }, 0))
        })
        .await
    }

    async fn list_pod_sandbox(
        &self,
        request: Request<ListPodSandboxRequest>,
    ) -> Reply<ListPodSandboxResponse> {
        let filter = request.into_inner().filter.unwrap_or_default();
        let named = named(&filter.id, &filter.label_selector);
        self.call(Method::ListPodSandbox, named, |node| Ok(list_sandboxes(node, &filter))).await
    }

    type StreamPodSandboxesStream = Messages<StreamPodSandboxesResponse>;

    async fn stream_pod_sandboxes(
        &self,
        request: Request<StreamPodSandboxesRequest>,
    ) -> Reply<Self::StreamPodSandboxesStream> {
        let filter = request.into_inner().filter.unwrap_or_default();
        let messages = |node: &Node| {
            let message = |sandbox: &Sandbox| {
                let pod_sandboxes = odd::sandboxes(node, vec![wire::sandbox(sandbox)]);
                (StreamPodSandboxesResponse { pod_sandboxes }, sandbox.spec.annotation_bytes)
            };
            selected_sandboxes(node, &filter).map(message).collect()
        };
        self.stream(Method::StreamPodSandboxes, messages).await
    }

    async fn pod_sandbox_status(
        &self,
        request: Request<PodSandboxStatusRequest>,
    ) -> Reply<PodSandboxStatusResponse> {
        let id = request.into_inner().pod_sandbox_id;
        self.call(Method::PodSandboxStatus, &id, |node| {
            let sandbox = node.find_sandbox(&id)?;
            let status = Some(wire::sandbox_status(sandbox));
            Ok((PodSandboxStatusResponse { status }, sandbox.spec.annotation_bytes))
        })
        .await
    }

    async fn stop_pod_sandbox(
        &self,
        request: Request<StopPodSandboxRequest>,
    ) -> Reply<StopPodSandboxResponse> {
        let id = request.into_inner().pod_sandbox_id;
        self.change(Method::StopPodSandbox, &id, |node| stopped(node.options.flavour, node.stop_sandbox(&id)))
            .await
    }

    async fn remove_pod_sandbox(
        &self,
        request: Request<RemovePodSandboxRequest>,
    ) -> Reply<RemovePodSandboxResponse> {
        let id = request.into_inner().pod_sandbox_id;
        self.change(Method::RemovePodSandbox, &id, |node| missing_is_fine(node.remove_sandbox(&id))).await
    }

    async fn list_containers(
        &self,
        request: Request<ListContainersRequest>,
    ) -> Reply<ListContainersResponse> {
        let filter = request.into_inner().filter.unwrap_or_default();
        self.call(Method::ListContainers, named(object(&filter), &filter.label_selector), |node| {
            let (containers, unsent) = selected(node, &filter, |container| wire::container(node, container));
            Ok((ListContainersResponse { containers: odd::containers(node, containers) }, unsent))
        })
        .await
    }

    type StreamContainersStream = Messages<StreamContainersResponse>;

    async fn stream_containers(
        &self,
        request: Request<StreamContainersRequest>,
    ) -> Reply<Self::StreamContainersStream> {
        let filter = request.into_inner().filter.unwrap_or_default();
        self.stream(Method::StreamContainers, |node| {
            let message = |container: &Container| {
                let containers = odd::containers(node, vec![wire::container(node, container)]);
                (StreamContainersResponse { containers }, container.spec.annotation_bytes)
            };
            selected_containers(node, &filter).into_iter().map(message).collect()
        })
        .await
    }

    async fn container_status(
        &self,
        request: Request<ContainerStatusRequest>,
    ) -> Reply<ContainerStatusResponse> {
        let id = request.into_inner().container_id;
        self.call(Method::ContainerStatus, &id, |node| {
            let container = node.find_container(&id)?;
            let status = Some(odd::container_status(node, wire::container_status(node, container)));
            Ok((ContainerStatusResponse { status }, container.spec.annotation_bytes))
        })
        .await
    }

    async fn stop_container(&self, request: Request<StopContainerRequest>) -> Reply<StopContainerResponse> {
        let id = request.into_inner().container_id;
        self.change(Method::StopContainer, &id, |node| {
            stopped(node.options.flavour, node.stop_container(&id))
        })
        .await
    }

    async fn remove_container(
        &self,
        request: Request<RemoveContainerRequest>,
    ) -> Reply<RemoveContainerResponse> {
        let id = request.into_inner().container_id;
        self.change(Method::RemoveContainer, &id, |node| missing_is_fine(node.remove_container(&id))).await
    }

    async fn list_container_stats(
        &self,
        request: Request<ListContainerStatsRequest>,
    ) -> Reply<ListContainerStatsResponse> {
        let ContainerStatsFilter { id, pod_sandbox_id, label_selector } =
            request.into_inner().filter.unwrap_or_default();
        let filter = ContainerFilter { id, pod_sandbox_id, label_selector, state: None };
        self.call(Method::ListContainerStats, object(&filter), |node| {
            let (stats, _) = selected(node, &filter, |container| wire::container_stats(node, container));
            Ok((ListContainerStatsResponse { stats: stats.into_iter().flatten().collect() }, 0))
        })
        .await
    }

    async fn run_pod_sandbox(&self, request: Request<RunPodSandboxRequest>) -> Reply<RunPodSandboxResponse> {
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
            let pod_sandbox_id = node.run_sandbox(spec, config.log_directory.into())?;
            Ok((RunPodSandboxResponse { pod_sandbox_id }, 0))
        })
        .await
    }

    async fn create_container(
        &self,
        request: Request<CreateContainerRequest>,
    ) -> Reply<CreateContainerResponse> {
        let CreateContainerRequest { pod_sandbox_id, config, sandbox_config } = request.into_inner();
        self.call(Method::CreateContainer, &pod_sandbox_id, |node| {
            let config = config.unwrap_or_default();
            let metadata = config.metadata.ok_or_else(|| missing("the metadata of the container config"))?;
            let sandbox_config = sandbox_config.unwrap_or_default();
            let writable = config.mounts.iter().any(|mount| mount.image.is_some() && !mount.readonly);
            if writable && node.options.flavour != Flavour::CriO {
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
            let container_id =
                node.create_container(spec, Path::new(&sandbox_config.log_directory), &config.log_path)?;
            Ok((CreateContainerResponse { container_id }, 0))
        })
        .await
    }

    async fn start_container(
        &self,
        request: Request<StartContainerRequest>,
    ) -> Reply<StartContainerResponse> {
        let id = request.into_inner().container_id;
        self.change(Method::StartContainer, &id, |node| node.start_container(&id)).await
    }
}

/// The answer with the sandboxes that pass the filter, and the size of their annotations.
fn list_sandboxes(node: &Node, filter: &PodSandboxFilter) -> (ListPodSandboxResponse, usize) {
    let mut unsent = 0;
    let count = |sandbox: &&Sandbox| unsent += sandbox.spec.annotation_bytes;
    let items = selected_sandboxes(node, filter).inspect(count).map(wire::sandbox).collect();
    (ListPodSandboxResponse { items: odd::sandboxes(node, items) }, unsent)
}

/// The sandboxes that pass the filter. A prefix in it that fits no sandbox, or several, passes none.
fn selected_sandboxes<'a>(
    node: &'a Node,
    filter: &'a PodSandboxFilter,
) -> impl Iterator<Item = &'a Sandbox> + 'a {
    let id = node.sandbox(&filter.id).map_or(&filter.id, |sandbox| &sandbox.id);
    let candidates: Vec<&Sandbox> = match filter.label_selector.get(POD_UID_LABEL) {
        Some(uid) => node.sandboxes_of(uid).collect(),
        None => node.sandboxes().collect(),
    };
    candidates
        .into_iter()
        .filter(move |sandbox| filter.id.is_empty() || sandbox.id == *id)
        .filter(|sandbox| {
            filter
                .state
                .is_none_or(|wanted| wanted.state == i32::from(wire::sandbox_state(sandbox.spec.state)))
        })
        .filter(|sandbox| wire::selected(&sandbox.spec.labels, &filter.label_selector))
}

/// The object that a filter of containers names.
fn object(filter: &ContainerFilter) -> &str {
    if filter.id.is_empty() { &filter.pod_sandbox_id } else { &filter.id }
}

/// What a filter names: an object, else the UID of a pod.
fn named<'a>(id: &'a str, labels: &'a HashMap<String, String>) -> &'a str {
    match labels.get(POD_UID_LABEL) {
        Some(uid) if id.is_empty() => uid,
        _ => id,
    }
}

/// The messages for the containers that pass the filter, and the size of their annotations.
fn selected<T>(node: &Node, filter: &ContainerFilter, message: impl Fn(&Container) -> T) -> (Vec<T>, usize) {
    let containers = selected_containers(node, filter);
    let unsent = containers.iter().map(|container| container.spec.annotation_bytes).sum();
    (containers.into_iter().map(message).collect(), unsent)
}

/// The containers that pass the filter.
fn selected_containers<'a>(node: &'a Node, filter: &'a ContainerFilter) -> Vec<&'a Container> {
    let sandbox = node.sandbox(&filter.pod_sandbox_id).map_or(&filter.pod_sandbox_id, |sandbox| &sandbox.id);
    let mut candidates: Vec<&Container> = if !filter.id.is_empty() {
        node.container(&filter.id).into_iter().collect()
    } else if !sandbox.is_empty() {
        node.containers_in(sandbox).collect()
    } else if let Some(uid) = filter.label_selector.get(POD_UID_LABEL) {
        node.containers_of(uid).collect()
    } else {
        node.containers().collect()
    };
    candidates.retain(|container| {
        let in_state = |wanted: ContainerStateValue| {
            wanted.state == i32::from(wire::container_state(container.spec.state))
        };
        (filter.pod_sandbox_id.is_empty() || container.spec.sandbox == *sandbox)
            && filter.state.is_none_or(in_state)
            && wire::selected(&container.spec.labels, &filter.label_selector)
    });
    candidates
}

/// How a stop ends: for a missing object it succeeds, except with containerd 1.6.
fn stopped(flavour: Flavour, result: Result<(), SimError>) -> Result<(), SimError> {
    if flavour == Flavour::Containerd16 { result } else { missing_is_fine(result) }
}

fn missing(what: &str) -> Status {
    Status::unknown(format!("{what} is missing"))
}
