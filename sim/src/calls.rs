//! The RPCs by name, and the journal of those that reached the server. It records; it decides nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::{Condvar, Mutex};

/// One RPC of the CRI subset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, strum::Display, strum::VariantArray)]
#[expect(missing_docs, reason = "each variant is the RPC of that name; the .proto file says what it does")]
pub enum Method {
    Version,
    Status,
    ListPodSandbox,
    StreamPodSandboxes,
    PodSandboxStatus,
    StopPodSandbox,
    RemovePodSandbox,
    ListContainers,
    StreamContainers,
    ContainerStatus,
    StopContainer,
    RemoveContainer,
    RunPodSandbox,
    CreateContainer,
    StartContainer,
    ListContainerStats,
    ListImages,
    StreamImages,
    ImageStatus,
    RemoveImage,
    ImageFsInfo,
}

impl Method {
    /// All of them.
    pub const ALL: &'static [Self] = <Self as strum::VariantArray>::VARIANTS;
}

/// One RPC that reached the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Which RPC.
    pub method: Method,
    /// The object it names: an id as the caller wrote it; of a list its filter's id, else its filter's sandbox id,
    /// else the UID of a pod that it selects, else empty; of RunPodSandbox the pod's UID; of CreateContainer the sandbox.
    pub id: String,
    /// When, by the modelled wall clock.
    pub at: Timestamp,
}

#[derive(Debug, Default)]
pub(crate) struct Entries {
    pub(crate) calls: Vec<Call>,
    /// Calls per method that have not been answered, and the most there ever were at once.
    pub(crate) in_flight: BTreeMap<Method, (usize, usize)>,
}

impl Entries {
    pub(crate) fn count(&self, method: Method) -> usize {
        self.calls.iter().filter(|call| call.method == method).count()
    }
}

/// All calls so far. A call is recorded when it arrives, before any fault delays it.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    pub(crate) entries: Mutex<Entries>,
    arrived: Condvar,
}

impl Journal {
    /// Records a call. It counts as in flight until what this returns is dropped.
    pub(crate) fn enter(&self, method: Method, id: &str, at: Timestamp) -> InFlight<'_> {
        let mut entries = self.entries.lock();
        entries.calls.push(Call { method, id: id.to_owned(), at });
        let (now, most) = entries.in_flight.entry(method).or_default();
        *now += 1;
        *most = (*most).max(*now);
        self.arrived.notify_all();
        InFlight { journal: self, method }
    }

    /// Forgets the calls; those in flight still count as in flight.
    pub(crate) fn clear(&self) {
        let mut entries = self.entries.lock();
        entries.calls.clear();
        for (now, most) in entries.in_flight.values_mut() {
            *most = *now;
        }
    }

    /// Blocks until `wanted` calls of `method` have arrived; false if that takes longer than `within` of real time.
    pub(crate) fn wait_for(&self, method: Method, wanted: usize, within: Duration) -> bool {
        let are_missing = |entries: &mut Entries| entries.count(method) < wanted;
        !self.arrived.wait_while_for(&mut self.entries.lock(), are_missing, within).timed_out()
    }
}

/// Marks one call as not answered yet. Dropped with the call's future, also when the caller gives up.
pub(crate) struct InFlight<'a> {
    journal: &'a Journal,
    method: Method,
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        if let Some((now, _)) = self.journal.entries.lock().in_flight.get_mut(&self.method) {
            *now = now.saturating_sub(1);
        }
    }
}
