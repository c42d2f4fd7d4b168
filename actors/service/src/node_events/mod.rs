//! Events of the node at the API server (behaviour: Events), with the pod source `kube-api` only: what an operator finds with
//! `kubectl describe node`.
//!
//! An actor of its own that follows the recorder: nothing waits for it, and that an event can't be sent disturbs no pass. What
//! concerns single objects is not sent: a full node would write thousands of them to a database that all nodes share.
//!
//! - `limit`: how many may be sent. Here: which ones, and the sending.

mod limit;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::fut::wrap_future;
use actix::{Actor, ArbiterHandle, AsyncContext, Context, Handler, Recipient, SpawnHandle, Supervised};
use cri_gc_config::{PodSource, Settings};
use slog::{Logger, debug, error};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::sleep;

use cri_gc_kit::generation::Reconfigure;
use cri_gc_kit::recorder::{EventKind, Recorder, Stamped};
use cri_gc_kit::seams::Clock;
use cri_gc_kit::supervision::backoff::Backoff;
use cri_gc_kit::supervision::failure_log::{FailureLog, First};
use cri_gc_kit::supervision::grace::{Grace, Weight};
use cri_gc_kit::supervision::guard::{self, Guarded, OnRestart, Pace};
use cri_gc_kit::supervision::outage_log;
use cri_gc_kit::workers::Workers;
use cri_gc_pods::kube_api::{Api, NodeEvent, Severity};
use cri_gc_pods::{ErrorKind, SourceError};
use cri_gc_policy::text::one_line;
use limit::Limit;

/// Pauses between attempts at an event, from and to.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// What the sender uses.
#[derive(Clone)]
pub struct Means {
    /// Where the events come from.
    pub recorder: Recorder,
    /// Since when something has failed.
    pub clock: Clock,
    /// Where to log.
    pub log: Logger,
}

/// The actor.
struct NodeEvents {
    settings: Arc<Settings>,
    means: Means,
    done: Rc<RefCell<Done>>,
    sending: Option<SpawnHandle>,
}

/// What was sent: it outlives a reload and a crash, so that nothing is sent twice.
#[derive(Default)]
struct Done {
    limit: Limit,
    /// The last event that was sent or left out.
    sequence: u64,
    /// Events that could not be sent, or were too many at once.
    suppressed: u64,
}

/// Starts the actor on an arbiter, and returns where it gets new settings.
#[must_use]
pub fn start(
    on: &ArbiterHandle,
    (pace, on_restart): (Pace, OnRestart),
    settings: Arc<Settings>,
    means: Means,
) -> Recipient<Reconfigure> {
    guard::start(on, pace, on_restart, |_| NodeEvents { settings, means, done: Rc::default(), sending: None })
        .recipient()
}

impl Actor for NodeEvents {
    type Context = Context<Self>;
}

impl Guarded for NodeEvents {
    fn begin(&mut self, ctx: &mut Context<Self>) {
        self.send(ctx);
    }
}

impl Supervised for NodeEvents {
    fn restarting(&mut self, _ctx: &mut Context<Self>) {
        self.sending = None;
    }
}

impl NodeEvents {
    fn send(&mut self, ctx: &mut Context<Self>) {
        if let Some(before) = self.sending.take() {
            ctx.cancel_future(before);
        }
        if self.settings.pods.source != PodSource::KubeApi {
            return;
        }
        // A worker of its own: a program that prints a token may hang, and nothing else is to wait for it.
        match Workers::start(1) {
            Ok(files) => {
                let sender =
                    Sender::new(Arc::clone(&self.settings), self.means.clone(), files, Rc::clone(&self.done));
                self.sending = Some(ctx.spawn(wrap_future(sender.follow())));
            }
            Err(error) => {
                error!(self.means.log, "Events of the Node are not sent: {}", error)
            }
        }
    }
}

impl Handler<Reconfigure> for NodeEvents {
    type Result = ();

    fn handle(&mut self, Reconfigure(generation): Reconfigure, ctx: &mut Context<Self>) {
        let other = self.settings.pods.source != generation.settings.pods.source
            || self.settings.pods.kube_api != generation.settings.pods.kube_api;
        self.settings = Arc::clone(&generation.settings);
        if other {
            self.send(ctx);
        }
    }
}

/// What is sent of an event, if anything.
fn of_node(stamped: &Stamped, suppressed: u64) -> Option<NodeEvent> {
    let event = &stamped.event;
    let severity = match event.kind {
        EventKind::Removed
        | EventKind::RemovalFailed
        | EventKind::PassRequested
        | EventKind::LogLevelChanged
        | EventKind::EventsLost => return None,
        EventKind::ContainerGcFailed
        | EventKind::SandboxGcFailed
        | EventKind::LogGcFailed
        | EventKind::ImageGcFailed
        | EventKind::FreeDiskSpaceFailed
        | EventKind::InvalidDiskCapacity
        | EventKind::Restarted
        | EventKind::ReloadRefused
        | EventKind::RuntimeLost => Severity::Warning,
        EventKind::Started
        | EventKind::Stopping
        | EventKind::Recovered
        | EventKind::Paused
        | EventKind::Resumed
        | EventKind::Reloaded
        | EventKind::RuntimeReturned => Severity::Normal,
    };
    let of = event.of.map(|of| of.as_str());
    let words: Vec<&str> =
        of.into_iter().chain([event.message.as_str()]).filter(|word| !word.is_empty()).collect();
    let mut message = words.join(": ");
    if message.is_empty() {
        event.kind.as_str().clone_into(&mut message);
    }
    if event.count > 1 {
        message.push_str(&format!(" (failure number {} since the last success)", event.count));
    }
    if suppressed > 0 {
        message.push_str(&format!(" ({suppressed} earlier events of this node were not sent)"));
    }
    let (time, sequence) = (stamped.time, stamped.sequence);
    // It will be printed on a terminal.
    let message = one_line(&message).into_owned();
    Some(NodeEvent { time, sequence, reason: event.kind.as_str(), severity, message })
}

/// Follows the recorder and sends.
struct Sender {
    settings: Arc<Settings>,
    means: Means,
    files: Workers,
    done: Rc<RefCell<Done>>,
    failures: FailureLog<ErrorKind>,
    /// For failures that may pass by themselves.
    grace: Grace,
    api: Option<Api>,
}

impl Sender {
    fn new(settings: Arc<Settings>, means: Means, files: Workers, done: Rc<RefCell<Done>>) -> Self {
        let failures = FailureLog::new(First::Error);
        Self { settings, means, files, done, failures, grace: Grace::default(), api: None }
    }

    async fn follow(mut self) {
        let Some(mut subscription) = self.means.recorder.subscribe(usize::MAX).await else { return };
        for stamped in std::mem::take(&mut subscription.past) {
            self.take(&stamped).await;
        }
        loop {
            match subscription.coming.recv().await {
                Ok(stamped) => self.take(&stamped).await,
                Err(RecvError::Lagged(lost)) => self.done.borrow_mut().suppressed += lost,
                // The recorder crashed: what it records from now on comes on a new channel.
                Err(RecvError::Closed) => match self.means.recorder.subscribe(0).await {
                    Some(next) => subscription = next,
                    None => return,
                },
            }
        }
    }

    /// Takes an event that was not taken before. One that is cut short by a reload is taken again.
    async fn take(&mut self, stamped: &Stamped) {
        if stamped.sequence > self.done.borrow().sequence {
            self.send(stamped).await;
            self.done.borrow_mut().sequence = stamped.sequence;
        }
    }

    /// Sends an event if it concerns the API server, and tries until it is sent or refused.
    async fn send(&mut self, stamped: &Stamped) {
        let event = {
            let done = &mut *self.done.borrow_mut();
            let Some(event) = of_node(stamped, done.suppressed) else { return };
            if !done.limit.takes() {
                done.suppressed += 1;
                return;
            }
            event
        };
        let mut backoff = Backoff::new(PAUSES.0, PAUSES.1);
        loop {
            match self.try_once(&event).await {
                Ok(()) => {
                    self.done.borrow_mut().suppressed = 0;
                    self.succeeded();
                    return;
                }
                Err(error) => {
                    if self.failed(&error) && error.is_final() {
                        self.done.borrow_mut().suppressed += 1;
                        return;
                    }
                }
            }
            // Credentials may be other ones by then.
            self.api = None;
            sleep(backoff.pause()).await;
        }
    }

    async fn try_once(&mut self, event: &NodeEvent) -> Result<(), SourceError> {
        let api = match &self.api {
            Some(api) => api.clone(),
            None => self.api.insert(Api::connect(&self.settings, &self.files).await?).clone(),
        };
        api.record(event).await
    }

    fn succeeded(&mut self) {
        self.grace.passed();
        let outage = self.failures.succeeded(self.means.clock.now());
        outage_log::recovery(&self.means.log, outage, "Events of the Node are sent again");
    }

    /// Whether it is a failure, or may pass by itself.
    fn failed(&mut self, error: &SourceError) -> bool {
        let text = format!("Events of the Node are not sent: {error}");
        match self.grace.weigh(error.may_pass(), self.means.clock.now()) {
            Weight::MayPass { .. } => {
                debug!(self.means.log, "{}", text);
                false
            }
            Weight::Failure { since } => {
                let line = self.failures.failed(error.kind(), since);
                outage_log::failure(&self.means.log, &line, &text);
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use cri_gc_kit::recorder::Event;
    use cri_gc_kit::words::Loop;

    fn sent(event: Event, suppressed: u64) -> Option<(&'static str, Severity, String)> {
        let stamped = Stamped { sequence: 1, time: Timestamp::UNIX_EPOCH, event: Arc::new(event) };
        of_node(&stamped, suppressed).map(|event| (event.reason, event.severity, event.message))
    }

    #[test]
    fn failures_are_sent_with_the_kubelets_reasons_and_removals_are_not() {
        let failed =
            Event { count: 4, ..Event::new(EventKind::ImageGcFailed, Some(Loop::ImageGc), "no answer") };
        assert_eq!(
            sent(failed, 3),
            Some((
                "ImageGCFailed",
                Severity::Warning,
                "image_gc: no answer (failure number 4 since the last success) (3 earlier events of this node were not sent)"
                    .to_owned()
            ))
        );
        let stopping = Event::new(EventKind::Stopping, None, "");
        assert_eq!(sent(stopping, 0), Some(("Stopping", Severity::Normal, "Stopping".to_owned())));
        for kind in [EventKind::Removed, EventKind::RemovalFailed] {
            assert_eq!(sent(Event::new(kind, Some(Loop::ContainerGc), ""), 0), None);
        }
    }
}
