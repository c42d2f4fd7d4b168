//! The actor: asks the runtime and reads files for the pure parts, and keeps what they remember.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::io::{self, Read};
use std::mem::Discriminant;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::fut::wrap_future;
use actix::{
    Actor, ActorFutureExt, AsyncContext, Context, Handler, Message, MessageResult, ResponseFuture, Supervised,
};
use cri_gc_config::{PodSource, Settings};
use cri_gc_policy::{Container, Sandbox, SandboxState};
use futures_util::StreamExt;
use jiff::{SignedDuration, Timestamp};
use slog::{Logger, debug, error, info, warn};
use tokio::time::Instant;

use super::absence::{Absence, Judgement, Rules, Sync};
use super::evidence::by_pod;
use super::listing::Listing;
use super::runtime_source::{FinishTimes, RuntimeSource};
use super::{AskNamed, AskSource, Configure, Judge, Resync, Seen, SourceState, SyncError, Verdict};
use crate::configuration::Reconfigure;
use crate::files::Workers;
use crate::gateway::calls::ContainerStatus;
use crate::gateway::{ErrorClass, Freshness, Gateway};
use crate::seams::{Clock, Moment};
use crate::supervision::failure_log::{Due, FailureLog, First, lasted};

/// How often the service reads a source that lists pods (spec 2).
const READ_EVERY: Duration = Duration::from_secs(10);

/// Status questions in flight.
const PARALLEL_STATUS: usize = 8;

/// Two readings by the service are at least this far apart, as those of a one-shot command are (spec 2).
const APART: Duration = Duration::from_secs(2);

/// How long a file system may take to answer: a network mount that hangs must not hold up who asks for pods.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// A file may be this much ahead of the clock: file systems and clocks round differently.
const CLOCK_SLACK: SignedDuration = SignedDuration::from_secs(10);

/// The actor. Use it through [`super::PodStates`].
pub struct Provider {
    tools: Tools,
    configuration: Configure,
    memory: Rc<RefCell<Memory>>,
    /// When it began to remember: a clock that was set since makes all of it void.
    since: Moment,
    failures: FailureLog<Discriminant<SyncError>>,
    /// Whether the service reads the source, and when it last did.
    reading: bool,
    read_at: Option<Instant>,
    /// Why the source could not be read the last time.
    problem: Option<String>,
    log: Logger,
}

/// What a question needs. Owned by each, so that none holds the actor.
#[derive(Clone)]
struct Tools {
    gateway: Gateway,
    files: Workers,
    clock: Clock,
}

#[derive(Default)]
struct Memory {
    runtime: RuntimeSource,
    finished: FinishTimes,
    absence: Absence,
    /// How often the runtime had come back when it was last asked; `None` before the first question.
    returns: Option<u64>,
    /// Whether anybody has asked since.
    asked: bool,
    /// What the last verdict told beside.
    notes: Vec<String>,
}

impl Provider {
    pub(super) fn new(
        gateway: Gateway,
        files: Workers,
        clock: Clock,
        configuration: Configure,
        log: Logger,
    ) -> Self {
        let (failures, since) = (FailureLog::new(First::Error), clock.moment());
        Self {
            tools: Tools { gateway, files, clock },
            configuration,
            memory: Rc::default(),
            since,
            failures,
            reading: false,
            read_at: None,
            problem: None,
            log,
        }
    }
}

impl Actor for Provider {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        if self.configuration.service {
            // The first reading at once: two are needed before anything is proved.
            ctx.notify(Reread);
            ctx.run_interval(READ_EVERY, |_, ctx| ctx.notify(Reread));
        }
    }
}

impl Supervised for Provider {
    fn restarting(&mut self, _ctx: &mut Context<Self>) {
        // What was remembered may have been half written when it fell.
        self.memory = Rc::default();
        self.reading = false;
    }
}

/// Read the source because it is time to.
#[derive(Message)]
#[rtype(result = "()")]
struct Reread;

impl Handler<Reread> for Provider {
    type Result = ();

    fn handle(&mut self, _reread: Reread, ctx: &mut Context<Self>) {
        // Two readings that end together are one: what both lack may have been missing for a moment only.
        let too_soon = self.read_at.is_some_and(|at| at.elapsed() < APART);
        if self.reading || too_soon {
            return;
        }
        self.reading = true;
        let reading = Handler::<Resync>::handle(self, Resync, ctx);
        ctx.spawn(wrap_future(reading).map(|read, this: &mut Self, _ctx| {
            this.reading = false;
            this.read_at = Some(Instant::now());
            this.tell(&read);
        }));
    }
}

impl Provider {
    /// What was proved by times of a clock that was set since is not proved (spec 2).
    fn start_over_if_the_clock_was_set(&mut self) {
        if self.tools.clock.was_set_since(&self.since) {
            warn!(self.log, "the clock was set; all proofs of deleted pods start over");
            self.memory = Rc::default();
            self.memory.borrow_mut().runtime.watch_anew(self.tools.clock.now());
            self.since = self.tools.clock.moment();
        }
    }

    /// Tells how a reading by itself went, less and less while it fails the same way.
    fn tell(&mut self, read: &Result<(), SyncError>) {
        let (now, log) = (self.tools.clock.now(), &self.log);
        self.problem = read.as_ref().err().map(ToString::to_string);
        match read {
            Ok(()) => {
                if let Some(outage) = self.failures.succeeded(now) {
                    info!(log, "the pod source is back"; "failures" => outage.failures,
                        "lasted" => lasted(outage.lasted));
                }
            }
            // The gateway has told it.
            Err(SyncError::Runtime(error)) if error.is_away() => {
                debug!(log, "the pod source failed: {}", error)
            }
            Err(error) => {
                let line = self.failures.failed(std::mem::discriminant(error), now);
                match line.due {
                    Due::Error => error!(log, "the pod source failed: {}", error),
                    Due::Warning => warn!(log, "the pod source failed: {}", error;
                        "failures" => line.number, "untold" => line.untold),
                    Due::Info | Due::Debug => debug!(log, "the pod source failed: {}", error),
                }
            }
        }
    }
}

impl Handler<Reconfigure> for Provider {
    type Result = ();

    fn handle(&mut self, Reconfigure(generation): Reconfigure, _ctx: &mut Context<Self>) {
        // All that a proof rests on. What was proved by another source, or by a shorter grace, proves nothing here.
        let rules = |settings: &Settings| {
            let pods = &settings.pods;
            (
                (pods.source, pods.file.clone(), pods.kubelet_root.clone()),
                (pods.runtime_grace, pods.max_staleness, pods.max_newly_deleted_percent),
            )
        };
        if rules(&generation.settings) != rules(&self.configuration.settings) {
            self.memory = Rc::default();
            self.problem = None;
        }
        self.configuration.settings = Arc::clone(&generation.settings);
    }
}

impl Handler<AskSource> for Provider {
    type Result = MessageResult<AskSource>;

    fn handle(&mut self, _ask: AskSource, _ctx: &mut Context<Self>) -> Self::Result {
        let pods = &self.configuration.settings.pods;
        let memory = self.memory.borrow();
        let (synced, synced_at) = match pods.source {
            // The collectors' own lists are all there is to it.
            PodSource::Runtime => (memory.asked, None),
            _ => memory.absence.synced_at(pods.max_staleness, self.tools.clock.now()),
        };
        MessageResult(SourceState {
            source: pods.source,
            synced,
            synced_at,
            problem: self.problem.clone(),
            notes: memory.notes.clone(),
        })
    }
}

impl Handler<AskNamed> for Provider {
    type Result = MessageResult<AskNamed>;

    fn handle(&mut self, _ask: AskNamed, _ctx: &mut Context<Self>) -> Self::Result {
        MessageResult(self.memory.borrow().absence.named())
    }
}

impl Handler<Judge> for Provider {
    type Result = ResponseFuture<Verdict>;

    fn handle(&mut self, Judge(seen): Judge, _ctx: &mut Context<Self>) -> Self::Result {
        self.start_over_if_the_clock_was_set();
        let (tools, configuration, memory) =
            (self.tools.clone(), self.configuration.clone(), Rc::clone(&self.memory));
        Box::pin(async move {
            let pods = &configuration.settings.pods;
            let verdict = match pods.source {
                PodSource::Runtime => tools.judge_by_runtime(&seen, &configuration, &memory).await,
                PodSource::File => tools.judge_by_file(&seen, &configuration, &memory).await,
                other => Verdict::nothing(SyncError::NotAvailable(other.as_str()).to_string()),
            };
            let mut memory = memory.borrow_mut();
            memory.asked = true;
            memory.notes = verdict.notes.iter().chain(&verdict.report_only).cloned().collect();
            verdict
        })
    }
}

impl Handler<Resync> for Provider {
    type Result = ResponseFuture<Result<(), SyncError>>;

    fn handle(&mut self, _resync: Resync, _ctx: &mut Context<Self>) -> Self::Result {
        self.start_over_if_the_clock_was_set();
        let (tools, configuration, memory) =
            (self.tools.clone(), self.configuration.clone(), Rc::clone(&self.memory));
        Box::pin(async move {
            let pods = &configuration.settings.pods;
            match (pods.source, &pods.file) {
                // The runtime is asked by the collectors themselves.
                (PodSource::Runtime, _) => Ok(()),
                (PodSource::File, Some(file)) => {
                    let sync = tools.read_file(file).await;
                    let absence = &mut memory.borrow_mut().absence;
                    match sync {
                        Ok(sync) => {
                            absence.synced(sync);
                            Ok(())
                        }
                        Err(error) => {
                            absence.failed();
                            Err(error)
                        }
                    }
                }
                (other, _) => Err(SyncError::NotAvailable(other.as_str())),
            }
        })
    }
}

impl Tools {
    async fn judge_by_runtime(
        &self,
        seen: &Seen,
        configuration: &Configure,
        memory: &RefCell<Memory>,
    ) -> Verdict {
        let settings = &configuration.settings.pods;
        let now = self.clock.now();
        let evidence = by_pod(seen);
        let returns = if configuration.service { Some(self.gateway.returns().await) } else { None };
        let wanted: Vec<String> = {
            let memory = &mut *memory.borrow_mut();
            if memory.returns != returns {
                memory.returns = returns;
                memory.runtime.watch_anew(now);
            }
            memory.runtime.sight(&evidence, now);
            let listed: HashSet<&str> = seen.containers.iter().map(|c| c.id.as_str()).collect();
            memory.finished.retain(|id, _| listed.contains(id.as_str()));
            let wanted = memory.runtime.wanted(&evidence, settings.runtime_grace, now);
            wanted
                .into_iter()
                .filter(|id| !memory.finished.contains_key(*id))
                .map(ToOwned::to_owned)
                .collect()
        };
        let told: Vec<(String, Option<Timestamp>)> = futures_util::stream::iter(wanted)
            .map(|id| async move {
                match self.gateway.call(ContainerStatus { id: id.clone() }).await {
                    // One that has ended and does not tell when is not told: its pod stays unknown.
                    Ok(facts) => facts.finished_at.map(|at| (id, Some(at))),
                    // It is gone: what remains decides.
                    Err(error) if error.class == ErrorClass::NotFound => Some((id, None)),
                    // Not told: its pod stays unknown.
                    Err(_) => None,
                }
            })
            .buffer_unordered(PARALLEL_STATUS)
            .filter_map(std::future::ready)
            .collect()
            .await;
        let pods = {
            let memory = &mut *memory.borrow_mut();
            memory.finished.extend(told);
            let Memory { runtime, finished, .. } = memory;
            runtime.judge(&evidence, finished, settings.runtime_grace, now)
        };
        let kubelet = settings.kubelet_root.join("pods");
        let report_only = if settings.runtime_beside_kubelet { None } else { self.kubelet_at(kubelet).await };
        Verdict { pods, report_only, images_unknown: None, notes: Vec::new() }
    }

    /// Why a kubelet is taken to be on this node, if it is.
    async fn kubelet_at(&self, directory: PathBuf) -> Option<String> {
        let shown = directory.display().to_string();
        let root = directory.parent().map(Path::to_owned).unwrap_or_default();
        let look = move || match std::fs::read_dir(&directory) {
            Ok(mut entries) => Ok(entries.next().is_some()),
            // A link to a disk that is not mounted (yet): what is behind it is not known.
            Err(_) if root.symlink_metadata().is_ok_and(|meta| meta.is_symlink()) && !root.exists() => {
                Err(io::Error::other("it is a link to something that is not there"))
            }
            Err(error) => Err(error),
        };
        let found = self.files.run_within(ANSWER_WITHIN, look).await;
        let why = match found {
            Ok(Ok(false)) => return None,
            Ok(Err(error))
                if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
            {
                return None;
            }
            Ok(Ok(true)) => format!("{shown} is not empty, so a kubelet manages the pods of this node"),
            Ok(Err(error)) => {
                format!("{shown} cannot be read ({error}), so a kubelet may manage the pods of this node")
            }
            Err(gone) => format!("{shown} could not be looked at: {gone}"),
        };
        Some(format!(
            "{why}, and pods.source = \"runtime\" cannot tell which of them it still wants; containers, sandboxes and logs \
             are only reported (use another pod source, or set pods.runtime_beside_kubelet = true)"
        ))
    }

    async fn judge_by_file(
        &self,
        seen: &Seen,
        configuration: &Configure,
        memory: &RefCell<Memory>,
    ) -> Verdict {
        let settings = &configuration.settings.pods;
        let evidence = by_pod(seen);
        // All of them, not only those that are absent now: a sync may come in while the directories are looked at.
        let uids: Vec<String> = evidence.keys().map(|uid| (*uid).to_owned()).collect();
        let root = settings.kubelet_root.join("pods");
        let kept = self.files.run_within(ANSWER_WITHIN, move || {
            // With this source a kubelet's root that is not there, or cannot be read, is no evidence.
            uids.into_iter().filter(|uid| root.join(uid).symlink_metadata().is_ok()).collect::<HashSet<_>>()
        });
        let Ok(kept) = kept.await else {
            return Verdict::nothing(format!(
                "{} did not answer, so it is not known which pods a kubelet still holds",
                settings.kubelet_root.display()
            ));
        };
        let rules = Rules {
            max_staleness: settings.max_staleness,
            max_newly_deleted_percent: settings.max_newly_deleted_percent,
            confirmed: configuration.confirmed,
        };
        let Judgement { pods, notes } =
            memory.borrow_mut().absence.judge(&evidence, &kept, &rules, self.clock.now());
        let images_unknown = (!memory.borrow().absence.has_listing()).then(|| {
            "the pod source has not been read yet, so it is not known which images pods name; images are only reported"
                .to_owned()
        });
        Verdict { pods, report_only: None, images_unknown, notes }
    }

    /// One sync of the source `file`: first what the runtime has, then the file.
    async fn read_file(&self, path: &Path) -> Result<Sync, SyncError> {
        let sandboxes = self.gateway.list::<Sandbox>(Freshness::Fresh).await?;
        let containers = self.gateway.list::<Container>(Freshness::Fresh).await?;
        let shown = path.display().to_string();
        let file = path.to_owned();
        let read = self.files.run_within(ANSWER_WITHIN, move || {
            // One descriptor for time and content, so that both are those of the same file, and a second look at the time
            // for one that is written to while it is read.
            let mut file = std::fs::File::open(&file)?;
            let changed = file.metadata()?.modified()?;
            let mut text = String::new();
            file.read_to_string(&mut text)?;
            if file.metadata()?.modified()? != changed {
                return Err(io::Error::other("it was written to while it was read"));
            }
            Ok((text, Timestamp::try_from(changed).map_err(io::Error::other)?))
        });
        let read: io::Result<(String, Timestamp)> = read.await.map_err(|_| SyncError::Failed)?;
        let (text, at) = read.map_err(|error| SyncError::File { path: shown.clone(), error })?;
        let now = self.clock.now();
        if at.duration_since(now) > CLOCK_SLACK {
            return Err(SyncError::Future { path: shown, at });
        }
        let listing = Listing::parse(&text).map_err(|error| SyncError::Listing { path: shown, error })?;
        check_against_ready(&listing, &sandboxes)?;
        let objects =
            sandboxes.iter().map(|s| s.id.clone()).chain(containers.iter().map(|c| c.id.clone())).collect();
        Ok(Sync { at: at.min(now), listing, objects })
    }
}

/// A list that lacks every pod that runs, while some do, is not that of this node (spec 2, proof rule 3).
fn check_against_ready(listing: &Listing, sandboxes: &[Sandbox]) -> Result<(), SyncError> {
    let ready: HashMap<&str, ()> = sandboxes
        .iter()
        .filter(|sandbox| sandbox.state == SandboxState::Ready && !sandbox.pod_uid.is_empty())
        .map(|sandbox| (sandbox.pod_uid.as_str(), ()))
        .collect();
    if !ready.is_empty() && !ready.keys().any(|uid| listing.pods.contains_key(*uid)) {
        return Err(SyncError::ListsNoneThatRun { ready: ready.len() });
    }
    Ok(())
}
