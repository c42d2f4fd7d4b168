//! The check right before the containers of a pod are removed: one list of them, which is used for all that are removed
//! within a moment. What has ended never runs again, so such a list says enough of it; anything else is asked by itself.

use std::cell::{OnceCell, RefCell};
use std::collections::{HashMap, HashSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use cri_gc_gateway::{CriError, CriResult, Gateway, Owner, Sibling};
use cri_gc_policy::{Container, ContainerState, Sandbox, SandboxState};
use ecow::EcoString;
use tokio::time::Instant;

use crate::recent::Recent;

/// Pods whose lists are kept: those of the removals in flight, which go pod by pod.
const PODS: usize = 64;

/// How long the list of ready sandboxes is used for the whole pods that are removed meanwhile.
const READY_FOR: Duration = Duration::from_secs(1);

/// What was listed of a pod.
pub struct Listed {
    /// Its containers by id.
    pub containers: HashMap<EcoString, Sibling>,
    /// Whether a sandbox or a container of it may be running, or is new since the pass has seen the pod; asked only where something is
    /// removed because the pod has ended.
    pub is_alive: bool,
}

type ListOf = Recent<Listed, CriError>;

/// The lists of a pass.
pub struct Checks<'a> {
    gateway: &'a Gateway,
    /// All containers that the pass has seen.
    seen: &'a [Arc<Container>],
    /// Their ids, from the first pod on of which something is removed because it has ended.
    ids: OnceCell<HashSet<&'a str>>,
    ready: Recent<Vec<Arc<Sandbox>>, CriError>,
    /// The newest last.
    lists: RefCell<VecDeque<(Owner, Rc<ListOf>)>>,
}

impl<'a> Checks<'a> {
    pub fn new(gateway: &'a Gateway, seen: &'a [Arc<Container>]) -> Self {
        Self { gateway, seen, ids: OnceCell::new(), ready: Recent::new(READY_FOR), lists: RefCell::default() }
    }

    /// The sandboxes that are ready, or may be, and when that was requested: one list for all whole pods that are removed within a
    /// moment. A node has few ready sandboxes, however many are dead.
    ///
    /// # Errors
    /// The list failed.
    pub async fn ready(&self) -> CriResult<(Rc<Vec<Arc<Sandbox>>>, Instant)> {
        self.ready.get(async || self.gateway.ready_sandboxes().await).await
    }

    /// What the runtime lists of a pod, which has that UID, as of a moment ago, and when that was requested; `ended` is whether
    /// something is removed because the pod has ended.
    ///
    /// # Errors
    /// A list failed.
    pub async fn of(&self, owner: &Owner, uid: &str, ended: bool) -> CriResult<(Rc<Listed>, Instant)> {
        let recent = self.recent(owner);
        let ask = async || {
            let sandboxes =
                if ended && !uid.is_empty() { self.gateway.sandboxes_of(uid).await? } else { Vec::new() };
            let siblings = self.gateway.containers_of(owner).await?;
            // What is new is about to run.
            let ids = || self.seen.iter().map(|container| container.id.as_str()).collect();
            let runs = |Sibling { container, .. }: &Sibling| {
                container.state == ContainerState::Running
                    || !self.ids.get_or_init(ids).contains(container.id.as_str())
            };
            let is_alive = ended
                && (siblings.iter().any(runs) || sandboxes.iter().any(|s| s.state != SandboxState::NotReady));
            let containers = siblings.into_iter().map(|s| (s.container.id.clone(), s)).collect();
            Ok(Listed { containers, is_alive })
        };
        recent.get(ask).await
    }

    fn recent(&self, owner: &Owner) -> Rc<ListOf> {
        let mut lists = self.lists.borrow_mut();
        if let Some((_, recent)) = lists.iter().find(|(of, _)| of == owner) {
            return Rc::clone(recent);
        }
        if lists.len() >= PODS {
            lists.pop_front();
        }
        let recent = Rc::<ListOf>::default();
        lists.push_back((owner.clone(), Rc::clone(&recent)));
        recent
    }
}

/// By what its siblings are listed: by the pod whose label it has, else by its sandbox.
pub fn owner(container: &Container) -> Owner {
    match container.pod_uid.as_str() {
        "" => Owner::Sandbox(container.pod_sandbox_id.clone()),
        _ => Owner::Pod(container.pod_uid.clone()),
    }
}
