//! How a list of everything is put together where one answer can't hold it: by state, and where a state is too large by itself, by
//! sandbox (containers) or by the UID of the pod (sandboxes, and containers whose sandbox is not listed). What was too large is
//! remembered, so that the next list does not begin with the call that fails, until there is less of it.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;

use cri_gc_policy::Sandbox;
use futures_util::StreamExt;

use crate::answers::Owner;
use crate::error::{CriError, CriResult, ErrorClass};
use crate::lists::{Gap, Listed, Listing, Part};
use crate::rpc::Rpc;

/// Parts that are requested at a time.
const AT_A_TIME: usize = 8;

/// What was too large is tried again with every so many lists at the latest: one large object less may be enough.
const TRY_AGAIN: u32 = 20;

/// What is remembered of lists that were too large.
#[derive(Debug, Default)]
pub struct Memory {
    /// By the name of the method and the state that it was about.
    large: HashMap<(&'static str, Option<i32>), Large>,
    /// The methods that the runtime does not have.
    missing: HashSet<&'static str>,
    /// Pods that have objects, as far as anything names them; `None` before anything did.
    pods: Option<BTreeSet<String>>,
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
    /// Names pods whose sandboxes are to be found where a list has to be made pod by pod.
    pub fn name_pods(&mut self, uids: impl IntoIterator<Item = String>) {
        self.pods = Some(uids.into_iter().filter(|uid| !uid.is_empty()).collect());
    }

    /// Whether pods have to be named: a list is, or the first one may be, made pod by pod.
    pub fn asks_for_pods(&self) -> bool {
        self.pods.is_none() || self.large.keys().any(|(_, state)| state.is_some())
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

    /// Its parts hold so many objects. `failed` is whether it was tried in vain.
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

/// Makes lists.
#[derive(Clone)]
pub struct Lister {
    pub memory: Rc<RefCell<Memory>>,
    /// Makes an RPC of that name.
    pub rpc: Rc<dyn Fn(&'static str) -> CriResult<Rpc>>,
}

impl Lister {
    /// All objects of one kind.
    pub async fn all<T: Listed>(&self) -> CriResult<Listing<T>> {
        let list = (T::METHOD, None);
        let mut too_large = None;
        if self.memory.borrow_mut().tries(list) {
            match self.part::<T>(Part::default()).await {
                Ok(objects) => {
                    self.memory.borrow_mut().large.remove(&list);
                    return Ok(complete(objects));
                }
                Err(error) if error.class == ErrorClass::TooLarge => too_large = Some(error),
                Err(error) => return Err(error),
            }
        }
        let failed = too_large.is_some();
        if let Some(objects) = self.streamed::<T>().await? {
            self.memory.borrow_mut().listed_in_parts(list, objects.len(), failed);
            return Ok(complete(objects));
        }
        if T::STATES.is_empty() {
            // It is never spared: the answer is the error. Next time the runtime may be a newer one.
            self.memory.borrow_mut().missing.remove(T::STREAM);
            return Err(too_large.unwrap_or_else(|| CriError::too_large(T::METHOD)));
        }
        let (mut all, mut gaps) = (Vec::new(), Vec::new());
        // The rest may take a while: what has come meanwhile would be in none of them.
        for state in T::STATES.iter().chain(T::LIVELY) {
            let (objects, missing) = Box::pin(self.in_state::<T>(*state)).await?;
            all.extend(objects);
            gaps.extend(missing);
        }
        let objects = T::once(all);
        self.memory.borrow_mut().listed_in_parts(list, objects.len(), failed);
        Ok(Listing { objects: Arc::new(objects), in_parts: true, gaps })
    }

    /// All of them by a stream; `None` where the runtime has none, or an object is too large for it.
    async fn streamed<T: Listed>(&self) -> CriResult<Option<Vec<T>>> {
        if self.memory.borrow().missing.contains(T::STREAM) {
            return Ok(None);
        }
        let rpc = (self.rpc)(T::STREAM)?;
        let place = rpc.place(rpc.deadline).await;
        let _place = place.ok_or_else(|| CriError::crowded(T::STREAM, rpc.deadline))?;
        match rpc.within("", rpc.deadline, T::stream(rpc.clients.clone())).await {
            Ok(objects) => Ok(Some(objects)),
            Err(error) if error.class == ErrorClass::Unimplemented => {
                self.memory.borrow_mut().missing.insert(T::STREAM);
                Ok(None)
            }
            Err(error) if error.class == ErrorClass::TooLarge => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All of one state, with what could not be listed of it.
    async fn in_state<T: Listed>(&self, state: i32) -> CriResult<(Vec<T>, Vec<Gap>)> {
        let list = (T::METHOD, Some(state));
        let mut failed = None;
        if self.memory.borrow_mut().tries(list) {
            match self.part::<T>(Part { state: Some(state), owner: None }).await {
                Ok(objects) => {
                    self.memory.borrow_mut().large.remove(&list);
                    return Ok((objects, Vec::new()));
                }
                Err(error) if error.class == ErrorClass::TooLarge => failed = Some(error),
                Err(error) => return Err(error),
            }
        }
        let (owners, is_complete) = self.owners::<T>().await?;
        let is_lively = T::LIVELY.contains(&state);
        let ask = async |owner: Owner| {
            let part = Part { state: Some(state), owner: Some(owner.clone()) };
            (owner, self.part::<T>(part).await)
        };
        let mut answers = futures_util::stream::iter(owners).map(ask).buffer_unordered(AT_A_TIME);
        let (mut all, mut gaps) = (Vec::new(), Vec::new());
        while let Some((owner, answer)) = answers.next().await {
            match answer {
                Ok(objects) => all.extend(objects),
                Err(error) if error.class == ErrorClass::TooLarge => {
                    gaps.push(Gap { of: Some(owner), is_lively, error });
                }
                Err(error) => return Err(error),
            }
        }
        self.memory.borrow_mut().listed_in_parts(list, all.len(), failed.is_some());
        if !is_complete {
            let error = failed.unwrap_or_else(|| CriError::too_large(T::METHOD));
            gaps.push(Gap { of: None, is_lively, error });
        }
        Ok((all, gaps))
    }

    /// Whose objects are listed one by one, and whether those of all others are none.
    async fn owners<T: Listed>(&self) -> CriResult<(Vec<Owner>, bool)> {
        let mut pods = self.memory.borrow().pods.clone().unwrap_or_default();
        if !T::BY_SANDBOX {
            return Ok((pods.into_iter().map(Owner::Pod).collect(), false));
        }
        let sandboxes = self.all::<Sandbox>().await?;
        // A container is in a sandbox. A pod whose sandbox is gone is asked for by its UID.
        for sandbox in sandboxes.objects.iter() {
            pods.remove(&sandbox.pod_uid);
        }
        let owners = sandboxes.objects.iter().map(|sandbox| Owner::Sandbox(sandbox.id.clone()));
        Ok((owners.chain(pods.into_iter().map(Owner::Pod)).collect(), sandboxes.gaps.is_empty()))
    }

    async fn part<T: Listed>(&self, part: Part) -> CriResult<Vec<T>> {
        let id = match &part.owner {
            Some(Owner::Pod(id) | Owner::Sandbox(id)) => id.clone(),
            None => String::new(),
        };
        let rpc = (self.rpc)(T::METHOD)?;
        let place = rpc.place(rpc.deadline).await;
        let _place = place.ok_or_else(|| CriError::crowded(T::METHOD, rpc.deadline))?;
        rpc.within(&id, rpc.deadline, T::fetch(rpc.clients.clone(), part)).await
    }
}

fn complete<T>(objects: Vec<T>) -> Listing<T> {
    Listing { objects: Arc::new(objects), in_parts: false, gaps: Vec::new() }
}
