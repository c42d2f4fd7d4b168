//! The check right before the containers of a pod are removed: one list of them, which is used for all that are removed
//! within a moment. What has ended never runs again, so such a list says enough of it; anything else is asked by itself.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use cri_gc_gateway::{CriError, CriResult, Gateway, Owner, Sibling};
use cri_gc_policy::{Container, ContainerState, SandboxState};
use tokio::time::Instant;

use crate::recent::Recent;

/// Pods whose lists are kept: those of the removals in flight, which go pod by pod.
const PODS: usize = 64;

/// What was listed of a pod.
pub struct Listed {
    /// Its containers by id.
    pub containers: HashMap<String, Sibling>,
    /// Whether a sandbox or a container of it may be running; asked only where something is removed because the pod has ended.
    pub is_alive: bool,
}

type ListOf = Recent<Listed, CriError>;

/// The lists of a pass.
pub struct Checks<'a> {
    gateway: &'a Gateway,
    /// The newest last.
    lists: RefCell<VecDeque<(Owner, Rc<ListOf>)>>,
}

impl<'a> Checks<'a> {
    pub fn new(gateway: &'a Gateway) -> Self {
        Self { gateway, lists: RefCell::default() }
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
            let runs = siblings.iter().any(|sibling| sibling.container.state == ContainerState::Running);
            let is_alive = ended && (runs || sandboxes.iter().any(|s| s.state != SandboxState::NotReady));
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
        uid => Owner::Pod(uid.to_owned()),
    }
}
