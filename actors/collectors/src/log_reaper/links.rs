//! Legacy links that point to nothing: seen on two passes in a row, and only those of ended containers.

use std::collections::HashSet;

use cri_gc_config::Settings;
use cri_gc_policy::links::{DanglingLink, LinkOwner, decide};
use cri_gc_policy::report::Item;
use cri_gc_policy::{ContainerState, Reason};

use super::{LogReaper, is_not_found};
use crate::collector::{Pass, Removed, Target};
use crate::observe;
use crate::report::{Outcome, PassError};
use crate::tools::Tools;
use cri_gc_files::links::{self, container_id};
use cri_gc_gateway::calls::ContainerStatus;
use cri_gc_kit::words::Kind;

impl LogReaper {
    /// Looks for links that point to nothing and remembers them. Those that did so at the look before come marked.
    pub(super) async fn look(
        &self,
        tools: &Tools,
        settings: &Settings,
    ) -> Result<Vec<(String, bool)>, PassError> {
        let root = settings.log_gc.legacy_container_logs_root.clone();
        let found = tools.files.run_within(observe::SCAN_WITHIN, move || links::scan(&root)).await?;
        let found = found
            .map_err(|error| PassError::File { step: "looking for log links", error: error.to_string() })?;
        let now: HashSet<String> =
            found.into_iter().filter(|link| link.dangling).map(|link| link.name).collect();
        let before = self.dangling.replace(now.clone());
        let mut marked: Vec<(String, bool)> = now
            .into_iter()
            .map(|name| {
                let seen = before.contains(&name);
                (name, seen)
            })
            .collect();
        marked.sort_unstable();
        Ok(marked)
    }

    pub(super) async fn links(&self, tools: &Tools, pass: &Pass) {
        let looked = match self.look(tools, &pass.settings).await {
            Ok(looked) => looked,
            Err(error) => return pass.error(error),
        };
        let mut dangling = Vec::with_capacity(looked.len());
        for (name, before) in looked {
            let owner = owner(tools, &name, before).await;
            dangling.push(DanglingLink { name, before, owner });
        }
        let section = decide(&dangling);
        let name = |index: usize| dangling.get(index).map(|link| link.name.clone());
        let kept = section.keep.iter().filter_map(|decision| {
            let detail = match decision.reason {
                Reason::TargetMissingOnce => "its log is missing for the first time".to_owned(),
                reason => reason.as_str().replace('_', " "),
            };
            let (id, reason) = (name(decision.index)?, decision.reason.as_str().to_owned());
            Some(Item { id: id.clone(), reason, detail, name: id, ..Item::default() })
        });
        pass.kept(Kind::LogLink, kept.collect());
        let removals = section.remove.iter();
        let targets: Vec<Target<()>> = removals
            .filter_map(|decision| {
                let name = name(decision.index)?;
                Some(Target {
                    kind: Kind::LogLink,
                    id: name.clone(),
                    name,
                    reason: decision.reason,
                    object: (),
                })
            })
            .collect();
        pass.planned(targets.len());
        let parallel = pass.settings.log_gc.workers.into();
        pass.act(targets, parallel, async |target| remove(tools, pass, &target.id).await).await;
    }
}

/// What is known of the container of a link. Asked only where it decides.
async fn owner(tools: &Tools, name: &str, before: bool) -> LinkOwner {
    let Some(id) = container_id(name) else { return LinkOwner::Nobody };
    if !before {
        return LinkOwner::Unreadable;
    }
    match tools.gateway.call(ContainerStatus { id: id.to_owned() }).await {
        Ok(facts) => match facts.status.state {
            ContainerState::Exited => LinkOwner::Exited,
            ContainerState::Running | ContainerState::Created => LinkOwner::Alive,
            ContainerState::Unknown => LinkOwner::Unreadable,
        },
        Err(error) if is_not_found(&error) => LinkOwner::NotFound,
        Err(_) => LinkOwner::Unreadable,
    }
}

async fn remove(tools: &Tools, pass: &Pass, name: &str) -> Removed {
    let (root, link) = (pass.settings.log_gc.legacy_container_logs_root.clone(), name.to_owned());
    // Asked once a worker is free: the loop may have been halted while it waited.
    let may_go = async { pass.may_remove() };
    let removed = tools.files.run_checked(may_go, move || links::remove_dangling(&root, &link)).await;
    Ok(match removed {
        Ok(None) => (Outcome::halted(), 0),
        Ok(Some(Ok(true))) => (Outcome::Removed, 0),
        // Gone, or its log is back.
        Ok(Some(Ok(false))) => (Outcome::AlreadyGone, 0),
        Ok(Some(Err(error))) => (Outcome::Failed { error: error.to_string() }, 0),
        Err(gone) => (Outcome::Failed { error: gone.to_string() }, 0),
    })
}
