//! The check right before the containers of a pod are removed: one list of them, which is used for all that are removed
//! within a moment. What has ended never runs again, so such a list says enough of it; anything else is asked by itself.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use cri_gc_gateway::{CriResult, Gateway, Owner, Sibling};
use cri_gc_policy::{Container, ContainerState, SandboxState};
use tokio::sync::OnceCell;
use tokio::time::Instant;

/// How long a list is used. The gateway refuses a removal whose check is 5 s old, and a removal may wait for its place.
pub const USED_FOR: Duration = Duration::from_secs(2);

/// Pods whose lists are kept: those of the removals in flight, which go pod by pod.
const PODS: usize = 64;

/// What was listed of a pod.
pub struct Listed {
    /// When it was requested.
    pub at: Instant,
    /// Its containers by id.
    pub containers: HashMap<String, Sibling>,
    /// Whether one of its sandboxes is ready; asked only where something is removed because the pod has ended.
    pub has_ready_sandbox: bool,
}

impl Listed {
    /// Whether the pod has a dead container of that name that is newer.
    pub fn has_newer_dead(&self, than: &Container) -> bool {
        let age =
            |container: &Container| (container.created_at, container.attempt, Reverse(container.id.clone()));
        let own = age(than);
        self.containers.values().map(|sibling| &sibling.container).any(|other| {
            other.name == than.name && other.state != ContainerState::Running && age(other) > own
        })
    }
}

type Shared = Rc<OnceCell<Rc<Listed>>>;

/// The lists of a pass.
pub struct Checks<'a> {
    gateway: &'a Gateway,
    /// The newest last, each with when it was begun.
    lists: RefCell<VecDeque<(Owner, Instant, Shared)>>,
}

impl<'a> Checks<'a> {
    pub fn new(gateway: &'a Gateway) -> Self {
        Self { gateway, lists: RefCell::default() }
    }

    /// What the runtime lists of that pod, as of a moment ago; `ended` is what is removed because its pod has ended.
    ///
    /// # Errors
    /// A list failed.
    pub async fn of(&self, container: &Container, uid: &str, ended: bool) -> CriResult<Rc<Listed>> {
        let owner = owner(container);
        let (at, shared) = self.shared(&owner);
        let list = async || {
            let has_ready_sandbox = ended
                && !uid.is_empty()
                && self.gateway.sandboxes_of(uid).await?.iter().any(|s| s.state == SandboxState::Ready);
            let containers = self.gateway.containers_of(&owner).await?;
            let containers = containers.into_iter().map(|s| (s.container.id.clone(), s)).collect();
            Ok(Rc::new(Listed { at, containers, has_ready_sandbox }))
        };
        shared.get_or_try_init(list).await.cloned()
    }

    fn shared(&self, owner: &Owner) -> (Instant, Shared) {
        let mut lists = self.lists.borrow_mut();
        if let Some((_, at, shared)) = lists.iter().find(|(of, at, _)| of == owner && at.elapsed() < USED_FOR)
        {
            return (*at, Rc::clone(shared));
        }
        lists.retain(|(of, ..)| of != owner);
        if lists.len() >= PODS {
            lists.pop_front();
        }
        let (at, shared) = (Instant::now(), Shared::default());
        lists.push_back((owner.clone(), at, Rc::clone(&shared)));
        (at, shared)
    }
}

/// By what its siblings are listed.
pub fn owner(container: &Container) -> Owner {
    match container.pod_uid.as_str() {
        "" => Owner::Sandbox(container.pod_sandbox_id.clone()),
        uid => Owner::Pod(uid.to_owned()),
    }
}
