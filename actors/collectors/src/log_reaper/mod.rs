//! The log-directory reaper: removes the log directories of deleted pods, and legacy links that point to nothing
//! (behaviour: Log directories). The file work is done by the workers.
//!
//! - here: the directories. `links`: the links, and the memory of which were dangling a pass ago.

mod links;

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::time::Duration;

use cri_gc_config::{PodSource, Settings};
use cri_gc_policy::log_dirs::pod_uid_of;
use cri_gc_policy::{Follow, Plan, PlanReport, PodTable, Reason, log_dirs};
use slog::warn;
use tokio::time::Instant;

use crate::collector::{Collect, Pass, Removed};
use crate::observe::PodView;
use crate::report::Outcome;
use crate::tools::Tools;
use cri_gc_files::root::Root;
use cri_gc_files::tree;
use cri_gc_gateway::{CriError, CriResult};
use cri_gc_kit::words::{Kind, Loop};

/// A link is removed once its target is missing twice, this far apart at least: the target of a log that is being rotated is missing for
/// a moment only.
const BETWEEN_CHECKS: Duration = Duration::from_secs(2);

/// The collector of log directories and links.
#[derive(Debug, Default)]
pub struct LogReaper {
    /// Links that had no target when they were checked last.
    dangling: RefCell<HashSet<String>>,
    /// When they were checked for the only pass of a command.
    prepared_at: Cell<Option<Instant>>,
    /// Names that were foreign at the last look: each is said once as long as it is there.
    foreign: RefCell<HashSet<String>>,
}

impl Collect for LogReaper {
    const LOOP: Loop = Loop::LogGc;

    fn period(settings: &Settings) -> Duration {
        settings.log_gc.period
    }

    fn deadline(settings: &Settings) -> Duration {
        settings.log_gc.deadline
    }

    /// Checks the links, so that the pass is the second one that does.
    async fn prepare(&self, tools: &Tools, settings: &Settings) {
        // What goes wrong here goes wrong in the pass again, which reports it.
        if self.check_links(tools, settings).await.is_ok_and(|links| !links.is_empty()) {
            self.prepared_at.set(Some(Instant::now()));
        }
    }

    async fn pass(&self, tools: &Tools, pass: &Pass) {
        match pass.pods(tools).await {
            Ok(view) => self.directories(tools, pass, &view).await,
            // Without a runtime nothing can be checked of links either.
            Err(error) if error.is_away() => return pass.error(error),
            Err(error) => {
                pass.error(error);
                // Whether a kubelet manages this node after all was not checked.
                let pods = &pass.settings.pods;
                if pods.source == PodSource::Runtime && !pods.runtime_beside_kubelet {
                    pass.only_report(
                        "the pods could not be listed, so log links are only reported".to_owned(),
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
        let mut section = log_dirs::decide(observation, &pods);
        let removed = pass.foreseen.of(observation);
        let following = log_dirs::follow(&mut section, observation, &pods, &removed);
        let follow = Follow { log_dirs: following, ..Follow::default() };
        let plan = Plan { log_dirs: section, follow, ..Plan::default() };
        let report = PlanReport::new(&plan, observation, &pass.settings.policy()).log_dirs;
        self.tell_foreign(tools, pass, &report.keep);
        let parallel = pass.settings.log_gc.workers.into();
        pass.carry_out(
            Kind::LogDir,
            report,
            &plan.log_dirs.remove,
            |_| Some(()),
            parallel,
            async |target| remove(tools, pass, &target.id).await,
        )
        .await;
    }

    /// A name that is nobody's log directory is reported once.
    fn tell_foreign(&self, tools: &Tools, pass: &Pass, kept: &[cri_gc_policy::report::Item]) {
        let foreign = || kept.iter().filter(|item| item.reason == Reason::ForeignName.as_str());
        let now = foreign().map(|item| item.id.clone()).collect();
        let known = self.foreign.replace(now);
        for item in foreign() {
            if !known.contains(&item.id) {
                let root = pass.settings.log_gc.pod_logs_root.display();
                warn!(tools.log, "kept: its name is not that of a pod log directory (NAMESPACE_NAME_UID)"; "loop" => Self::LOOP.as_str(),
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
