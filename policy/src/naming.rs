//! Names of objects for people: the same in plans, reports, logs and `explain`.
//!
//! Containers are "namespace/pod/container#attempt", sandboxes "namespace/pod#attempt", log directories "namespace/pod".

use std::cell::OnceCell;
use std::sync::Arc;

use foldhash::HashMap;

use crate::kind::Kind;
use crate::log_dirs::pod_name_of;
use crate::observation::{Container, Image, Observation, Sandbox};
use crate::pods::PodTable;

/// The name of an image that has none.
pub const UNNAMED: &str = "<none>";

/// Knows the names of the pods that containers belong to: a container itself only has an id of its sandbox and a UID.
#[derive(Debug)]
pub struct Naming<'a> {
    sandboxes: &'a [Arc<Sandbox>],
    table: &'a PodTable<'a>,
    /// By UID, from the first container on whose sandbox is not listed.
    pods: OnceCell<HashMap<&'a str, &'a Sandbox>>,
}

impl<'a> Naming<'a> {
    /// For the objects of an observation, which the table was made of.
    #[must_use]
    pub fn new(observation: &'a Observation, table: &'a PodTable<'a>) -> Self {
        Self { sandboxes: &observation.sandboxes, table, pods: OnceCell::new() }
    }

    /// Name of a container. Where the name of its pod is not known, that is left out.
    #[must_use]
    pub fn container(&self, container: &Container) -> String {
        let Container { name, attempt, .. } = container;
        let sandbox =
            self.table.sandbox_of(container).and_then(|index| self.sandboxes.get(index)).map(Arc::as_ref);
        match sandbox.or_else(|| self.pod(&container.pod_uid)) {
            Some(pod) => format!("{}/{}/{name}#{attempt}", pod.namespace, pod.name),
            None => format!("{name}#{attempt}"),
        }
    }

    /// The first sandbox of a pod.
    fn pod(&self, uid: &str) -> Option<&'a Sandbox> {
        let by_uid = || {
            let named = self.sandboxes.iter().map(Arc::as_ref).filter(|sandbox| !sandbox.pod_uid.is_empty());
            // The first one counts.
            named.rev().map(|sandbox| (sandbox.pod_uid.as_str(), sandbox)).collect()
        };
        self.pods.get_or_init(by_uid).get(uid).copied()
    }
}

/// Name of a sandbox.
#[must_use]
pub fn sandbox(sandbox: &Sandbox) -> String {
    format!("{}/{}#{}", sandbox.namespace, sandbox.name, sandbox.attempt)
}

/// Name of the log directory of a pod: that of the pod, if it is part of the directory's name.
#[must_use]
pub fn log_dir(name: &str) -> String {
    pod_name_of(name).map_or_else(|| name.to_owned(), |(namespace, pod)| format!("{namespace}/{pod}"))
}

/// The namespace in a name that these functions made; `None` for an image, and where the name of the pod is not known.
#[must_use]
pub fn namespace(kind: Kind, name: &str) -> Option<&str> {
    match kind {
        Kind::Image | Kind::LogLink => None,
        Kind::Container | Kind::Sandbox | Kind::LogDir => {
            name.split_once('/').map(|(namespace, _)| namespace)
        }
    }
}

/// Name of an image: its first tag, else its first digest. All of its names are removed with it.
#[must_use]
pub fn image(image: &Image) -> &str {
    image.names().next().unwrap_or(UNNAMED)
}
