//! What the actors answer when metrics are read, all asked at the same time. One that does not answer in time is left out and named.
//!
//! It asks nothing of the runtime; filesystems are measured by the worker that measures them for image GC.

use std::time::Duration;

use cri_gc_collectors::collector::{LoopHandle, LoopState};
use cri_gc_collectors::observe;
use cri_gc_gateway::{RpcTotal, RuntimeState};
use cri_gc_kit::recorder::EventKind;
use cri_gc_kit::words::Loop;
use cri_gc_pods::SourceState;
use cri_gc_policy::FileSystem;
use futures_util::future::join_all;
use jiff::Timestamp;
use tokio::time::{Instant, timeout, timeout_at};

use crate::admin::Subjects;
use crate::configuration::ConfigurationState;

/// How long an answer is waited for. The supervisor of a loop that hangs says so after 2 s.
pub const WITHIN: Duration = Duration::from_millis(2_500);

/// How long the filesystems may take to be measured.
const MEASURED_WITHIN: Duration = Duration::from_secs(1);

/// What has to answer besides the loops, in the order of the metric that counts what did not.
const OTHERS: [&str; 4] = ["gateway", "pod_source", "configuration", "filesystems"];

/// All that is asked.
pub fn parts() -> impl Iterator<Item = &'static str> {
    Loop::ALL.into_iter().map(Loop::as_str).chain(OTHERS)
}

/// What the actors answered.
#[derive(Debug)]
pub struct Answers {
    /// Version of the program.
    pub version: &'static str,
    /// When the service started.
    pub started_at: Timestamp,
    /// Now.
    pub now: Timestamp,
    /// The loops whose supervisors answered.
    pub loops: Vec<LoopState>,
    /// The runtime, as the gateway saw it last.
    pub runtime: Option<RuntimeState>,
    /// How often it became reachable again.
    pub returns: u64,
    /// The RPCs so far.
    pub rpcs: Vec<RpcTotal>,
    /// The events so far, by kind.
    pub events: Vec<(EventKind, u64)>,
    /// How many of them are missing from the history on disk.
    pub lost: u64,
    /// The pod source.
    pub source: Option<SourceState>,
    /// The settings in force.
    pub configuration: Option<ConfigurationState>,
    /// The image filesystems that the last pass of image GC knew, as they are now. Empty before [`Answers::measure`].
    pub filesystems: Vec<FileSystem>,
    /// Of [`parts`], what did not answer.
    pub unanswered: Vec<&'static str>,
}

impl Answers {
    /// Asks all actors.
    pub async fn ask(subjects: &Subjects) -> Self {
        let until = Instant::now() + WITHIN;
        let tools = &subjects.tools;
        let loops = join_all(subjects.loops.iter().map(|of| by(until, LoopHandle::state(of))));
        let (loops, runtime, rpcs, source, configuration) = futures_util::join!(
            loops,
            by(until, tools.gateway.runtime()),
            by(until, tools.gateway.rpcs()),
            by(until, tools.pods.source()),
            by(until, subjects.configuration.state()),
        );
        let answered = |name: &str| match name {
            "gateway" => runtime.is_some() && rpcs.is_some(),
            "pod_source" => source.is_some(),
            "configuration" => configuration.is_some(),
            "filesystems" => true,
            name => loops.iter().flatten().any(|state| state.of.as_str() == name),
        };
        Self {
            unanswered: parts().filter(|name| !answered(name)).collect(),
            version: subjects.version,
            started_at: subjects.started_at,
            now: tools.clock.now(),
            loops: loops.into_iter().flatten().collect(),
            runtime,
            returns: tools.gateway.returns(),
            rpcs: rpcs.unwrap_or_default(),
            events: tools.recorder.counts().events().collect(),
            lost: tools.recorder.counts().lost(),
            source,
            configuration,
            filesystems: Vec::new(),
        }
    }

    /// Measures the filesystems that image GC knows.
    pub async fn measure(mut self, subjects: &Subjects) -> Self {
        let known =
            self.loops.iter().find(|state| state.of == Loop::ImageGc).map(|state| &state.space.places);
        let Some(places) = known.filter(|places| !places.images.is_empty()) else { return self };
        // Of its own: what another part does not answer is no fault of a disk.
        match timeout(MEASURED_WITHIN, observe::measure(&subjects.tools, places)).await {
            Ok((filesystems, problems)) if problems.is_empty() => self.filesystems = filesystems,
            Ok((filesystems, _)) => {
                self.filesystems = filesystems;
                self.unanswered.push("filesystems");
            }
            Err(_elapsed) => self.unanswered.push("filesystems"),
        }
        self
    }
}

/// The answer, if it is there by then.
async fn by<T>(until: Instant, answer: impl Future<Output = Option<T>>) -> Option<T> {
    timeout_at(until, answer).await.ok().flatten()
}
