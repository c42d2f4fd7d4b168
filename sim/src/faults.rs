//! Faults ordered for RPCs, and hooks that run just before them. What a fault does to a call is in `server`; here is
//! which one it meets.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;
use tonic::Code;

use crate::calls::Method;
use crate::model::Node;

/// What is wrong with a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It is answered with this error.
    Error(Code, String),
    /// It is answered with nothing in the answer, as by a runtime that has no statistics yet.
    Empty,
    /// It waits until the faults are cleared (then it continues) or the server ends.
    Hang,
    /// It waits for this long, in real time, then continues.
    Delay(Duration),
    /// The runtime dies with every call in flight, as by [`crate::Sim::kill`].
    Die,
    /// The call is carried out first; the fault is that of its answer. Within it there is neither this nor `Empty`.
    After(Box<Fault>),
}

impl Fault {
    /// An error with that code and message.
    #[must_use]
    pub fn error(code: Code, message: impl Into<String>) -> Self {
        Self::Error(code, message.into())
    }

    /// The same fault, once the call has been carried out.
    #[must_use]
    pub fn after(self) -> Self {
        Self::After(Box::new(self))
    }
}

/// Which calls of a method meet a fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// All of them, until the faults are cleared.
    Always,
    /// The next calls, this many.
    Times(u32),
    /// Those that name this object (in the sense of [`crate::Call::id`]), until the faults are cleared.
    ForId(String),
    /// The next calls that name this object, this many.
    ForIdTimes(String, u32),
}

impl Scope {
    /// Whether a call that names `id` is in scope; if so, one of the times is used up.
    fn take(&mut self, id: &str) -> bool {
        match self {
            Self::Always => true,
            Self::ForId(wanted) => wanted == id,
            Self::ForIdTimes(wanted, _) if wanted != id => false,
            Self::Times(left) | Self::ForIdTimes(_, left) => {
                let any = *left > 0;
                *left = left.saturating_sub(1);
                any
            }
        }
    }
}

/// The ordered faults.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    ordered: Mutex<BTreeMap<Method, Vec<(Fault, Scope)>>>,
    /// Rung when all are cancelled. Those that wait are woken in the order in which they began to.
    cleared: Arc<Notify>,
}

impl Faults {
    pub(crate) fn order(&self, method: Method, fault: Fault, scope: Scope) {
        self.ordered.lock().entry(method).or_default().push((fault, scope));
    }

    /// The fault, if any, that a call meets (of those in whose scope it is, the one ordered first), and what ends when the faults
    /// are cleared.
    pub(crate) fn meet(&self, method: Method, id: &str) -> Option<(Fault, OwnedNotified)> {
        let mut ordered = self.ordered.lock();
        let fault = ordered
            .get_mut(&method)?
            .iter_mut()
            .find_map(|(fault, scope)| scope.take(id).then(|| fault.clone()))?;
        // Made under the lock that `clear` takes as well, so that no clearing in between is missed.
        Some((fault, Arc::clone(&self.cleared).notified_owned()))
    }

    pub(crate) fn clear(&self) {
        let mut ordered = self.ordered.lock();
        ordered.clear();
        self.cleared.notify_waiters();
    }
}

type Hook = Box<dyn FnMut(&mut Node, &str) + Send>;

/// The hooks by method, in the order in which they were added.
#[derive(Default)]
pub(crate) struct Hooks(Mutex<BTreeMap<Method, Vec<Hook>>>);

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hooks")
    }
}

impl Hooks {
    pub(crate) fn add(&self, method: Method, hook: Hook) {
        self.0.lock().entry(method).or_default().push(hook);
    }

    /// Runs the hooks of `method`. They are out of the map meanwhile, so that a hook may add one (for later calls).
    pub(crate) fn run(&self, method: Method, node: &mut Node, id: &str) {
        let Some(mut due) = self.0.lock().remove(&method) else {
            return;
        };
        for hook in &mut due {
            hook(node, id);
        }
        let mut hooks = self.0.lock();
        due.append(hooks.entry(method).or_default());
        hooks.insert(method, due);
    }

    pub(crate) fn clear(&self) {
        // Dropped outside the lock: a hook may own anything, even the last handle of this server.
        let all = std::mem::take(&mut *self.0.lock());
        drop(all);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn met(faults: &Faults, id: &str) -> Option<Fault> {
        faults.meet(Method::RemoveContainer, id).map(|(fault, _)| fault)
    }

    #[test]
    fn times_run_out_and_the_next_order_takes_over() {
        let faults = Faults::default();
        faults.order(Method::RemoveContainer, Fault::Hang, Scope::Times(1));
        faults.order(Method::RemoveContainer, Fault::Die, Scope::Always);
        assert_eq!(met(&faults, "a"), Some(Fault::Hang));
        assert_eq!(met(&faults, "a"), Some(Fault::Die));
        assert!(faults.meet(Method::StopContainer, "a").is_none());
        faults.clear();
        assert_eq!(met(&faults, "a"), None);
    }

    #[test]
    fn an_id_is_met_only_by_its_own_faults_and_uses_up_no_others() {
        let faults = Faults::default();
        faults.order(Method::RemoveContainer, Fault::Die, Scope::ForIdTimes("a".into(), 1));
        faults.order(Method::RemoveContainer, Fault::Hang, Scope::ForId("b".into()));
        assert_eq!(met(&faults, "c"), None);
        assert_eq!(met(&faults, "b"), Some(Fault::Hang));
        assert_eq!(met(&faults, "b"), Some(Fault::Hang));
        assert_eq!(met(&faults, "a"), Some(Fault::Die));
        assert_eq!(met(&faults, "a"), None);
    }
}
