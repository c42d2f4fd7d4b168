//! The log-directory reaper: removes the log directories of deleted pods, and legacy links that point to nothing
//! (behaviour: Log directories). The file work is done by the workers.
//!
//! - here: the directories. `links`: the links, and the memory of which were dangling a pass ago.

mod links;

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::time::Duration;

use actix::{Addr, Context, Handler, Message, ResponseFuture};
use cri_gc_config::{PodSource, Settings};
use cri_gc_policy::log_dirs::pod_uid_of;
use cri_gc_policy::{Decision, Plan, PlanReport, PodTable, Reason};
use cri_gc_policy::{follow, naming};
use slog::warn;

use crate::collector::{Collect, Collector, Pass, Relay, Removed, Target};
use crate::observe::PodView;
use crate::report::Outcome;
use crate::tools::Tools;
use cri_gc_files::root::Root;
use cri_gc_files::tree;
use cri_gc_gateway::{CriError, CriResult};
use cri_gc_kit::words::{Kind, Loop};

/// The collector of log directories and links.
#[derive(Debug, Default)]
pub struct LogReaper {
    /// Links that pointed to nothing at the last look.
    pub(crate) dangling: RefCell<HashSet<String>>,
    /// Names that were foreign at the last look: each is said once as long as it is there.
    foreign: RefCell<HashSet<String>>,
}

/// Look for dangling links now, so that the next pass is the second one that sees them. A one-shot command asks this
/// before anything else.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "usize")]
pub struct LookAtLinks;

impl Relay for LookAtLinks {}

impl Handler<LookAtLinks> for Collector<LogReaper> {
    type Result = ResponseFuture<usize>;

    fn handle(&mut self, _look: LookAtLinks, _ctx: &mut Context<Self>) -> Self::Result {
        let (logic, tools, settings) = (self.logic.clone(), self.tools.clone(), self.settings());
        Box::pin(async move { logic.look(&tools, &settings).await.map_or(0, |links| links.len()) })
    }
}

/// Looks for dangling links by message.
///
/// # Errors
/// The collector is gone.
pub async fn look_at_links(reaper: &Addr<Collector<LogReaper>>) -> Result<usize, actix::MailboxError> {
    reaper.send(LookAtLinks).await
}

impl Collect for LogReaper {
    const LOOP: Loop = Loop::LogGc;

    fn period(settings: &Settings) -> Duration {
        settings.log_gc.period
    }

    fn deadline(settings: &Settings) -> Duration {
        settings.log_gc.deadline
    }

    async fn pass(&self, tools: &Tools, pass: &Pass) {
        match pass.pods(tools).await {
            Ok(view) => self.directories(tools, pass, &view).await,
            // Without a runtime nothing can be checked of links either.
            Err(error) if error.is_away() => return pass.error(error),
            Err(error) => {
                pass.error(error);
                // Whether a kubelet manages this node after all was not looked at.
                let pods = &pass.settings.pods;
                if pods.source == PodSource::Runtime && !pods.runtime_beside_kubelet {
                    pass.only_report(
                        "the pods could not be looked at, so log links are only reported".to_owned(),
                    );
                }
            }
        }
        self.links(tools, pass).await;
    }
}

impl LogReaper {
    async fn directories(&self, tools: &Tools, pass: &Pass, view: &PodView) {
        if let Some(problem) = &view.problem {
            return pass.error(problem.clone());
        }
        let observation = &view.observation;
        let pods = PodTable::new(observation);
        let mut section = cri_gc_policy::log_dirs::decide(observation, &pods);
        let removed = pass.foreseen.of(observation);
        let following = follow::of_log_dirs(&mut section, observation, &pods, &removed);
        let plan = Plan { log_dirs: section, ..Plan::default() };
        let report = PlanReport::new(&plan, observation, &pass.settings.policy());
        self.tell_foreign(tools, pass, &report.log_dirs.keep);
        pass.kept(Kind::LogDir, report.log_dirs.keep);
        let target = |decision: &Decision| {
            let id = observation.log_dirs.get(decision.index)?.clone();
            let name = naming::log_dir(&id);
            Some(Target { kind: Kind::LogDir, id, name, reason: decision.reason, object: () })
        };
        let targets: Vec<Target<()>> = plan.log_dirs.remove.iter().filter_map(target).collect();
        pass.planned(targets.len());
        pass.follow(following.iter().filter_map(target));
        let parallel = pass.settings.log_gc.workers.into();
        pass.act(targets, parallel, async |target| remove(tools, pass, &target.id).await).await;
    }

    /// A name that is nobody's log directory is reported once.
    fn tell_foreign(&self, tools: &Tools, pass: &Pass, kept: &[cri_gc_policy::report::Item]) {
        let foreign = || kept.iter().filter(|item| item.reason == Reason::ForeignName.as_str());
        let now = foreign().map(|item| item.id.clone()).collect();
        let known = self.foreign.replace(now);
        for item in foreign() {
            if !known.contains(&item.id) {
                let root = pass.settings.log_gc.pod_logs_root.display();
                warn!(tools.log, "not the log directory of a pod; left alone"; "loop" => Self::LOOP.as_str(),
                    "path" => format!("{root}/{}", item.id));
            }
        }
    }
}

/// UIDs of which the runtime knows a sandbox or a container at this moment.
async fn alive(tools: &Tools) -> CriResult<HashSet<String>> {
    use cri_gc_gateway::Freshness::Fresh;
    // The sandboxes last: a pod that comes up meanwhile has its sandbox first.
    let containers = tools.gateway.list::<cri_gc_policy::Container>(Fresh).await?;
    let sandboxes = tools.gateway.list::<cri_gc_policy::Sandbox>(Fresh).await?;
    let of_sandboxes = sandboxes.iter().map(|sandbox| sandbox.pod_uid.clone());
    Ok(of_sandboxes.chain(containers.iter().map(|container| container.pod_uid.clone())).collect())
}

/// Removes a directory. The runtime is asked once a worker is free for it, so that no answer grows old in a queue.
async fn remove(tools: &Tools, pass: &Pass, name: &str) -> Removed {
    let (root, directory) = (pass.settings.log_gc.pod_logs_root.clone(), name.to_owned());
    let (asked, halted) = (RefCell::new(Ok(())), Cell::new(false));
    let nothing_is_known_of_it = async {
        match alive(tools).await {
            Ok(_) if !pass.may_remove() => {
                halted.set(true);
                false
            }
            Ok(alive) => pod_uid_of(name).is_some_and(|uid| !alive.contains(uid)),
            Err(error) => {
                *asked.borrow_mut() = Err(error);
                false
            }
        }
    };
    let removed = tools.files.run_checked(nothing_is_known_of_it, move || match Root::open(&root)? {
        Some(root) => tree::remove(&root, &directory),
        None => Ok(None),
    });
    let removed = removed.await;
    asked.into_inner()?;
    Ok(match removed {
        Ok(None) if halted.get() => (Outcome::halted(), 0),
        Ok(None) => (Outcome::refused(Reason::HasContainers), 0),
        Ok(Some(Ok(Some(removed)))) => (Outcome::Removed, removed.bytes),
        Ok(Some(Ok(None))) => (Outcome::AlreadyGone, 0),
        Ok(Some(Err(error))) => (Outcome::Failed { error: error.to_string() }, 0),
        Err(gone) => (Outcome::Failed { error: gone.to_string() }, 0),
    })
}

/// An RPC that failed for want of the runtime, told as the state of a link's container.
fn is_not_found(error: &CriError) -> bool {
    error.class == cri_gc_gateway::ErrorClass::NotFound
}
