//! How a list of everything is put together where one answer can't hold it: by state, and where a state is too large by itself, by
//! sandbox (containers) or by the UID of the pod (sandboxes, and containers whose sandbox is not listed). What was too large is
//! remembered, so that the next list does not begin with the call that fails, until there is less of it.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cri_gc_policy::Sandbox;
use ecow::EcoString;
use futures_util::StreamExt;
use tonic::Status;

use crate::answers::Owner;
use crate::connection::Clients;
use crate::error::{CriError, CriResult, ErrorClass};
use crate::lists::{Gap, LastLists, Listed, Listing, Part};
use crate::rpc::Rpc;
use crate::shared::Sharing;

/// Parts that are requested at a time.
const AT_A_TIME: usize = 8;

/// What was too large is tried again with every so many lists at the latest: one large object less may be enough.
const TRY_AGAIN: u32 = 20;

/// Objects of a list that is so short that several callers may each have one made at the same time. The answer of a long one takes as
/// much memory as all that is made of it.
const SHORT: usize = 1_000;

/// What is remembered of lists that were too large.
#[derive(Debug)]
pub struct Memory {
    /// By the name of the method and the state that it was about.
    large: HashMap<(&'static str, Option<i32>), Large>,
    /// The methods whose last list was [`SHORT`], and one answer.
    short: HashSet<&'static str>,
    /// The methods that the runtime does not have.
    missing: HashSet<&'static str>,
    /// The objects of the last lists, which the next ones share.
    last: LastLists,
    /// Pods that have objects, as far as anything names them; `None` before anything did.
    pods: Option<BTreeSet<EcoString>>,
    /// Whether pods have to be named: a list is, or the first one may be, made pod by pod.
    asks_for_pods: Arc<AtomicBool>,
}

/// A list that was too large.
#[derive(Debug, Clone, Copy)]
struct Large {
    /// Objects in it when it failed last.
    failed: usize,
    /// Objects in its parts, last.
    last: usize,
    /// How often it was not tried since.
    spared: u32,
}

impl Memory {
    /// Nothing yet. `asks_for_pods` shows from then on whether pods have to be named.
    pub fn new(asks_for_pods: Arc<AtomicBool>) -> Self {
        let memory = Self {
            large: HashMap::new(),
            short: HashSet::new(),
            missing: HashSet::new(),
            last: LastLists::default(),
            pods: None,
            asks_for_pods,
        };
        memory.settle();
        memory
    }

    /// Forgets all of it: the runtime, or what limits its answers, may be another one.
    pub fn forget(&mut self) {
        *self = Self::new(Arc::clone(&self.asks_for_pods));
    }

    /// Names the pods that are asked for where a list is made pod by pod.
    pub fn name_pods(&mut self, uids: impl IntoIterator<Item = EcoString>) {
        self.pods = Some(uids.into_iter().filter(|uid| !uid.is_empty()).collect());
        self.settle();
    }

    /// Whether the last list of all of them was not [`SHORT`], or there was none yet.
    pub fn may_be_long<T: Listed>(&self) -> bool {
        !self.short.contains(T::METHOD)
    }

    fn settle(&self) {
        let asks = self.pods.is_none() || self.large.keys().any(|(_, state)| state.is_some());
        self.asks_for_pods.store(asks, Ordering::Relaxed);
    }

    /// Whether that list is tried: it was not too large, or it has become shorter.
    fn tries(&mut self, list: (&'static str, Option<i32>)) -> bool {
        let Some(large) = self.large.get_mut(&list) else { return true };
        large.spared += 1;
        if large.spared > TRY_AGAIN {
            // The runtime may be a newer one by now.
            self.missing.clear();
            return true;
        }
        large.last < large.failed - large.failed / 8
    }

    /// All of them came in one answer.
    fn listed_at_once<T: Listed>(&mut self, count: usize) {
        self.large.retain(|(method, _), _| *method != T::METHOD);
        if count <= SHORT {
            self.short.insert(T::METHOD);
        } else {
            self.short.remove(T::METHOD);
        }
    }

    /// Its parts hold so many objects. `failed` is whether it was tried before that.
    fn listed_in_parts(&mut self, list: (&'static str, Option<i32>), count: usize, failed: bool) {
        let large = self.large.entry(list).or_insert(Large { failed: count, last: count, spared: 0 });
        large.last = count;
        if failed {
            (large.failed, large.spared) = (count, 0);
        } else {
            // It has grown, or the pods were not all named before.
            large.failed = large.failed.max(count);
        }
    }
}

/// Whose objects are listed one by one.
#[derive(Default)]
struct Owners {
    sandboxes: Vec<EcoString>,
    /// UIDs of the pods of these.
    with_sandboxes: HashSet<EcoString>,
    /// UIDs of all pods that are named.
    pods: BTreeSet<EcoString>,
    /// Whether others have nothing: a container is in a sandbox.
    is_complete: bool,
}

impl Owners {
    /// Those whose objects in one state are listed. A container whose sandbox is gone is found by the UID of its pod: what may run even
    /// where the pod has another sandbox.
    fn of(&self, may_run: bool) -> Vec<Owner> {
        let pods = self.pods.iter().filter(|uid| may_run || !self.with_sandboxes.contains(*uid));
        let sandboxes = self.sandboxes.iter().map(|id| Owner::Sandbox(id.clone()));
        sandboxes.chain(pods.map(|uid| Owner::Pod(uid.clone()))).collect()
    }
}

/// A list that is being made in parts.
struct Made<T> {
    all: Vec<Arc<T>>,
    gaps: Vec<Gap>,
}

/// Makes lists.
pub struct Lister {
    pub memory: Rc<RefCell<Memory>>,
    /// Makes an RPC of that name.
    pub rpc: Box<dyn Fn(&'static str) -> CriResult<Rpc>>,
}

impl Lister {
    /// All objects of one kind.
    pub async fn all<T: Listed>(&self) -> CriResult<Listing<T>> {
        let sharing = T::last(&mut self.memory.borrow_mut().last).map(|last| last.next()).unwrap_or_default();
        let listing = self.list_all(&sharing).await;
        let memory = &mut *self.memory.borrow_mut();
        memory.settle();
        if let (Ok(Listing { objects, .. }), Some(last)) = (&listing, T::last(&mut memory.last)) {
            last.replace(objects, sharing);
        }
        listing
    }

    async fn list_all<T: Listed>(&self, sharing: &Sharing<T>) -> CriResult<Listing<T>> {
        let list = (T::METHOD, None);
        let mut too_large = None;
        if self.memory.borrow_mut().tries(list) {
            match self.part(Part::default(), sharing).await {
                Ok(objects) => {
                    self.memory.borrow_mut().listed_at_once::<T>(objects.len());
                    return Ok(complete(T::once(objects)));
                }
                Err(error) if error.class == ErrorClass::TooLarge => too_large = Some(error),
                Err(error) => return Err(error),
            }
        }
        let failed = too_large.is_some();
        self.memory.borrow_mut().short.remove(T::METHOD);
        if let Some(objects) = self.streamed::<T>(sharing).await? {
            let objects = T::once(objects);
            let memory = &mut *self.memory.borrow_mut();
            memory.large.retain(|(method, state), _| *method != T::METHOD || state.is_none());
            memory.listed_in_parts(list, objects.len(), failed);
            return Ok(complete(objects));
        }
        if T::STATES.is_empty() {
            // It is never spared: the answer is the error. Next time the runtime may be a newer one.
            self.memory.borrow_mut().missing.remove(T::STREAM);
            return Err(too_large.unwrap_or_else(|| CriError::too_large(T::METHOD)));
        }
        let expected = self.memory.borrow().large.get(&list).map_or(0, |large| large.last);
        let mut made = Made { all: Vec::with_capacity(expected), gaps: Vec::new() };
        // That may take a while. What has come meanwhile is in a state that was listed before, so that is listed once more.
        for states in [T::STATES, T::STATES_OF_NEW] {
            let mut owners = None;
            for state in states {
                Box::pin(self.in_state(*state, &mut owners, sharing, &mut made)).await?;
            }
        }
        let Made { all, gaps, .. } = made;
        let mut objects = T::once(all);
        objects.shrink_to_fit();
        self.memory.borrow_mut().listed_in_parts(list, objects.len(), failed);
        Ok(Listing { objects: Arc::new(objects), in_parts: true, gaps })
    }

    /// All of them by a stream; `None` where the runtime has none, or an object is too large for it.
    async fn streamed<T: Listed>(&self, sharing: &Sharing<T>) -> CriResult<Option<Vec<Arc<T>>>> {
        if self.memory.borrow().missing.contains(T::STREAM) {
            return Ok(None);
        }
        let stream = async |clients| T::stream(clients, sharing.item()).await;
        match self.ask(T::STREAM, "", stream).await {
            Ok(objects) => Ok(Some(objects)),
            Err(error) if error.class == ErrorClass::Unimplemented => {
                self.memory.borrow_mut().missing.insert(T::STREAM);
                Ok(None)
            }
            Err(error) if error.class == ErrorClass::TooLarge => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Adds all of one state, with what could not be listed of it. Whose they may be is found out once for several states.
    async fn in_state<T: Listed>(
        &self,
        state: i32,
        owners: &mut Option<Owners>,
        sharing: &Sharing<T>,
        Made { all, gaps }: &mut Made<T>,
    ) -> CriResult<()> {
        let list = (T::METHOD, Some(state));
        let mut failed = None;
        if self.memory.borrow_mut().tries(list) {
            match self.part(Part { state: Some(state), owner: None }, sharing).await {
                Ok(objects) => {
                    self.memory.borrow_mut().large.remove(&list);
                    all.extend(objects);
                    return Ok(());
                }
                Err(error) if error.class == ErrorClass::TooLarge => failed = Some(error),
                Err(error) => return Err(error),
            }
        }
        let may_run = T::STATES_OF_NEW.contains(&state);
        let owners = match owners {
            Some(known) => known,
            none => none.insert(self.owners::<T>().await?),
        };
        let is_complete = owners.is_complete;
        let ask = async |owner: Owner| {
            let part = Part { state: Some(state), owner: Some(owner.clone()) };
            (owner, self.part(part, sharing).await)
        };
        let mut answers = futures_util::stream::iter(owners.of(may_run)).map(ask).buffer_unordered(AT_A_TIME);
        let before = all.len();
        while let Some((owner, answer)) = answers.next().await {
            match answer {
                Ok(objects) => all.extend(objects),
                Err(error) if error.class == ErrorClass::TooLarge => {
                    gaps.push(Gap { owner: Some(owner), may_run, error });
                }
                Err(error) => return Err(error),
            }
        }
        self.memory.borrow_mut().listed_in_parts(list, all.len() - before, failed.is_some());
        if !is_complete {
            let error = failed.unwrap_or_else(|| CriError::too_large(T::METHOD));
            gaps.push(Gap { owner: None, may_run, error });
        }
        Ok(())
    }

    /// Whose objects are listed one by one.
    async fn owners<T: Listed>(&self) -> CriResult<Owners> {
        let pods = self.memory.borrow().pods.clone().unwrap_or_default();
        if !T::BY_SANDBOX {
            return Ok(Owners { pods, is_complete: false, ..Owners::default() });
        }
        let listed = self.all::<Sandbox>().await?;
        let with_sandboxes = listed.objects.iter().map(|sandbox| sandbox.pod_uid.clone()).collect();
        let sandboxes = listed.objects.iter().map(|sandbox| sandbox.id.clone()).collect();
        Ok(Owners { sandboxes, with_sandboxes, pods, is_complete: listed.gaps.is_empty() })
    }

    async fn part<T: Listed>(&self, part: Part, sharing: &Sharing<T>) -> CriResult<Vec<Arc<T>>> {
        let id = part.owner.as_ref().map_or_else(String::new, |owner| owner.id().to_owned());
        self.ask(T::METHOD, &id, async |clients| T::fetch(clients, part, sharing.item()).await).await
    }

    /// Makes one RPC of that name, once there is a place for it.
    async fn ask<R>(
        &self,
        method: &'static str,
        id: &str,
        send: impl AsyncFnOnce(Clients) -> Result<R, Status>,
    ) -> CriResult<R> {
        let rpc = (self.rpc)(method)?;
        let place = rpc.place(rpc.deadline).await;
        let _place = place.ok_or_else(|| CriError::crowded(method, rpc.deadline))?;
        rpc.within(id, rpc.deadline, send(rpc.clients.clone())).await
    }
}

fn complete<T>(objects: Vec<Arc<T>>) -> Listing<T> {
    Listing { objects: Arc::new(objects), in_parts: false, gaps: Vec::new() }
}
