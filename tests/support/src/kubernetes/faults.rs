//! Faults to order: what a server does instead of answering as it should.

use std::collections::BTreeMap;
use std::time::Duration;

/// Which requests are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum On {
    /// Lists of pods, a kubelet's `/pods` too.
    List,
    /// Watches of pods.
    Watch,
    /// One pod.
    Get,
    /// One node.
    Node,
    /// Events that are written.
    Events,
    /// All requests, also those that are none of the above.
    Any,
}

/// What happens to a request.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Refused with this code and a `Status` object.
    Status(u16),
    /// Refused with this code and a page, as by a proxy on the way.
    PlainText(u16, String),
    /// Answered correctly, after this delay.
    Delay(Duration),
    /// Headers and half of the body are sent (of a watch: no event), the rest after
    /// [`release_stalled`](super::FakeServer::release_stalled).
    Stall,
    /// The connection ends after this number of bytes of the body, if it is longer. Of very many, fewer may arrive.
    CutBody(usize),
    /// Code 200, `application/json`, and this for a body.
    Garbage(String),
}

/// The faults that are ordered: each of the queue happens once, before the standing ones.
#[derive(Default)]
pub(super) struct Faults {
    queue: Vec<(On, Fault)>,
    standing: BTreeMap<On, Fault>,
}

impl Faults {
    pub(super) fn push(&mut self, on: On, fault: Fault) {
        self.queue.push((on, fault));
    }

    pub(super) fn stand(&mut self, on: On, fault: Option<Fault>) {
        match fault {
            Some(fault) => self.standing.insert(on, fault),
            None => self.standing.remove(&on),
        };
    }

    /// The fault of a request that has just arrived; one of the queue is used up.
    pub(super) fn take(&mut self, kind: Option<On>) -> Option<Fault> {
        let next = self.queue.iter().position(|(on, _)| on.covers(kind));
        match next {
            Some(index) => Some(self.queue.remove(index).1),
            None => self.standing.iter().find(|(on, _)| on.covers(kind)).map(|(_, fault)| fault.clone()),
        }
    }
}

impl On {
    pub(super) fn covers(self, kind: Option<On>) -> bool {
        self == Self::Any || Some(self) == kind
    }
}
