//! The log-directory reaper: removes the log directories of deleted pods, and legacy links that point to nothing
//! (behaviour: Log directories). The file work is done by the workers.
//!
//! - here: the directories. `links`: the links, and the memory of which were dangling a pass ago.

mod links;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use cri_gc_config::{PodSource, Settings};
use cri_gc_gateway::{CriError, CriResult, Freshness, Owner};
use cri_gc_policy::log_dirs::{self, pod_uid_of};
use cri_gc_policy::report::Words;
use cri_gc_policy::{Container, Decision, Kind, Observation, PodTable, Reason, Sandbox};
use ecow::EcoString;
use slog::warn;
use tokio::time::Instant;

use crate::collector::{Collect, Pass, Removed};
use crate::observe::PodView;
use crate::recent::Recent;
use crate::report::{Outcome, PassError};
use crate::tools::Tools;
use crate::unlisted;
use cri_gc_files::root::{FileError, Root};
use cri_gc_files::tree;
use cri_gc_kit::words::Loop;

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
    /// Names that were foreign in the last pass: each is logged once as long as it is there.
    foreign: RefCell<BTreeSet<String>>,
}

impl Collect for LogReaper {
    const LOOP: Loop = Loop::LogGc;

    /// Checks the links, so that the pass is the second one that does.
    async fn prepare(&self, tools: &Tools, settings: &Settings) {
        // What fails here fails in the pass again, which reports it.
        if self.check_links(tools, settings).await.is_ok_and(|links| !links.is_empty()) {
            self.prepared_at.set(Some(Instant::now()));
        }
    }

    async fn pass(&self, pass: &Pass) -> Result<(), PassError> {
        match pass.pods().await {
            Ok(view) => {
                // Before the first container of a node it need not exist.
                if view.has_no_log_root && !view.observation.containers.is_empty() {
                    pass.note(format!(
                        "{} does not exist, so no log directory is removed; check log_gc.pod_logs_root, and in a container its mount",
                        pass.settings.log_gc.pod_logs_root.display()
                    ));
                }
                match &view.problem {
                    Some(problem) => pass.error(problem.clone()),
                    None => self.directories(pass, &view).await,
                }
            }
            // Without a runtime nothing can be checked of links either.
            Err(error) if error.is_unreachable() => return Err(error.into()),
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
        self.links(pass).await
    }
}

impl LogReaper {
    async fn directories(&self, pass: &Pass, view: &PodView) {
        let observation = &view.observation;
        pass.there_are(Kind::LogDir, observation.log_dirs.iter().map(String::as_str));
        let pods = PodTable::new(observation);
        let mut section = log_dirs::decide(observation, &pods);
        log_dirs::follow(&mut section, observation, &pods, &pass.foreseen.of(observation));
        self.log_foreign(pass, observation, &section.keep);
        let policy = pass.settings.policy();
        let words = Words::new(observation, &pods, &policy);
        let parallel = pass.settings.log_gc.workers.into();
        let known = Known { in_parts: view.in_parts, ..Known::default() };
        pass.carry_out(
            Kind::LogDir,
            &section,
            |decisions: &[Decision]| words.items(Kind::LogDir, decisions),
            |_| Some(()),
            parallel,
            async |target| remove(pass, &known, &target.id).await,
        )
        .await;
    }

    /// Logs once what is not the log directory of a pod.
    fn log_foreign(&self, pass: &Pass, observation: &Observation, kept: &[Decision]) {
        let foreign = kept.iter().filter(|decision| decision.reason == Reason::ForeignName);
        let names = foreign.filter_map(|decision| observation.log_dirs.get(decision.index)).cloned();
        let names: BTreeSet<String> = names.collect();
        let known = self.foreign.replace(names.clone());
        for name in names.difference(&known) {
            let root = pass.settings.log_gc.pod_logs_root.display();
            warn!(pass.tools.log, "kept: its name is not that of a pod log directory (NAMESPACE_NAME_UID)"; "loop" => Self::LOOP.as_str(),
                "path" => format!("{root}/{name}"));
        }
    }
}

/// UIDs of which the runtime knows a sandbox or a container.
async fn known_uids(tools: &Tools) -> CriResult<HashSet<EcoString>> {
    // The sandboxes last: a pod that comes up meanwhile has its sandbox first.
    let containers = tools.gateway.list_most::<Container>(Freshness::Fresh).await?;
    let sandboxes = tools.gateway.list_most::<Sandbox>(Freshness::Fresh).await?;
    let of_containers = containers.objects.iter().map(|container| container.pod_uid.clone());
    let of_sandboxes = sandboxes.objects.iter().map(|sandbox| sandbox.pod_uid.clone());
    let mut gaps = containers.gaps.iter().chain(&sandboxes.gaps);
    if let Some(gap) = gaps.find(|gap| gap.owner.is_none()) {
        return Err(gap.error.clone());
    }
    // What is not listed may be there.
    let unlisted = unlisted::pods(&containers.gaps, &sandboxes.gaps);
    Ok(of_containers.chain(of_sandboxes).chain(unlisted).collect())
}

/// Whether the runtime knows a sandbox or a container of a pod.
async fn is_known(tools: &Tools, uid: &str) -> CriResult<bool> {
    Ok(!tools.gateway.containers_of(&Owner::Pod(uid.into())).await?.is_empty()
        || !tools.gateway.sandboxes_of(uid).await?.is_empty())
}

/// What the removals of directories share.
#[derive(Default)]
struct Known {
    uids: Recent<HashSet<EcoString>, CriError>,
    /// Lists that are made in parts take longer than they are used: each pod is asked for.
    in_parts: bool,
}

/// Removes a directory. What the runtime knows is looked at once a worker is free for it, so that no answer becomes old in a queue.
async fn remove(pass: &Pass, known: &Known, name: &str) -> Removed {
    let (root, directory) = (pass.settings.log_gc.pod_logs_root.clone(), name.to_owned());
    let check = async {
        let kept = || Err(Ok((Outcome::refused(Reason::HasContainers), 0)));
        let Some(uid) = pod_uid_of(name) else { return kept() };
        let is_known = if known.in_parts {
            is_known(&pass.tools, uid).await.map_err(Err)?
        } else {
            let ask = async || known_uids(&pass.tools).await;
            known.uids.get(ask).await.map_err(Err)?.0.contains(uid)
        };
        match is_known {
            _ if !pass.may_remove() => Err(Ok((Outcome::halted(), 0))),
            true => kept(),
            false => Ok(()),
        }
    };
    let work = move || match Root::open(&root)? {
        Some(root) => Ok(tree::remove(&root, &directory)?.map(|removed| removed.bytes)),
        None => Ok(None),
    };
    remove_checked(&pass.tools, check, work).await
}

/// Does the file work of a removal, unless the check has another result. The work returns the bytes that it freed, or `None` where
/// there was nothing to remove.
async fn remove_checked(
    tools: &Tools,
    check: impl Future<Output = Result<(), Removed>>,
    work: impl FnOnce() -> Result<Option<u64>, FileError> + Send + 'static,
) -> Removed {
    let error = match tools.files.run_checked(check, work).await {
        Ok(Err(unchecked)) => return unchecked,
        Ok(Ok(Ok(Some(bytes)))) => return Ok((Outcome::Removed, bytes)),
        Ok(Ok(Ok(None))) => return Ok((Outcome::AlreadyGone, 0)),
        Ok(Ok(Err(error))) => error.to_string(),
        Err(gone) => gone.to_string(),
    };
    Ok((Outcome::Failed { error }, 0))
}
