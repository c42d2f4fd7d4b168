//! Legacy links that point to nothing: seen on two passes in a row, and only those of ended containers.

use std::collections::HashSet;

use cri_gc_config::Settings;
use cri_gc_policy::links::{DanglingLink, LinkOwner, decide};
use cri_gc_policy::report::{Item, SectionReport};
use cri_gc_policy::{ContainerState, Decision, Reason};

use super::{BETWEEN_CHECKS, LogReaper, is_not_found};
use crate::collector::{Pass, Removed};
use crate::observe;
use crate::report::{Outcome, PassError};
use crate::tools::Tools;
use cri_gc_files::links::{self, container_id};
use cri_gc_kit::words::Kind;

impl LogReaper {
    /// The links that have no target, each with whether it had none at the check before. They are remembered for the next check.
    ///
    /// # Errors
    /// The directory could not be read in time.
    pub async fn check_links(
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
        if let Some(at) = self.prepared_at.take() {
            tokio::time::sleep_until(at + BETWEEN_CHECKS).await;
        }
        let found = match self.check_links(tools, &pass.settings).await {
            Ok(found) => found,
            Err(error) => return pass.error(error),
        };
        let mut dangling = Vec::with_capacity(found.len());
        for (name, before) in found {
            let owner = owner(tools, &name, before).await;
            dangling.push(DanglingLink { name, before, owner });
        }
        let section = decide(&dangling);
        let item = |decision: &Decision| {
            let detail = match decision.reason {
                Reason::TargetMissingOnce => "its log is missing for the first time".to_owned(),
                reason => reason.as_str().replace('_', " "),
            };
            let name = dangling.get(decision.index)?.name.clone();
            let reason = decision.reason.as_str().to_owned();
            Some(Item { id: name.clone(), reason, detail, name, ..Item::default() })
        };
        let [remove, keep] =
            [&section.remove, &section.keep].map(|list| list.iter().filter_map(item).collect());
        let report = SectionReport { remove, keep, ..SectionReport::default() };
        let parallel = pass.settings.log_gc.workers.into();
        pass.carry_out(
            Kind::LogLink,
            report,
            &section.remove,
            |_| Some(()),
            parallel,
            async |target| remove_link(tools, pass, &target.id).await,
        )
        .await;
    }
}

/// What is known of the container of a link. Asked only where it decides.
async fn owner(tools: &Tools, name: &str, before: bool) -> LinkOwner {
    let Some(id) = container_id(name) else { return LinkOwner::Nobody };
    if !before {
        return LinkOwner::Unreadable;
    }
    match tools.gateway.container_status(id).await {
        Ok(facts) => match facts.status.state {
            ContainerState::Exited => LinkOwner::Exited,
            ContainerState::Running | ContainerState::Created => LinkOwner::Alive,
            ContainerState::Unknown => LinkOwner::Unreadable,
        },
        Err(error) if is_not_found(&error) => LinkOwner::NotFound,
        Err(_) => LinkOwner::Unreadable,
    }
}

async fn remove_link(tools: &Tools, pass: &Pass, name: &str) -> Removed {
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
