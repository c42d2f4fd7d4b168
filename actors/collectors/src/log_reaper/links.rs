//! Legacy links that point to nothing: seen on two passes in a row, and only those of ended containers.

use std::collections::HashSet;

use cri_gc_config::Settings;
use cri_gc_policy::links::{DanglingLink, LinkOwner, decide};
use cri_gc_policy::report::Item;
use cri_gc_policy::{ContainerState, Decision, Kind, Reason};

use super::{BETWEEN_CHECKS, LogReaper, remove_checked};
use crate::collector::{Pass, Removed};
use crate::observe;
use crate::report::{Outcome, PassError, files_done};
use crate::tools::Tools;
use cri_gc_files::links::{self, container_id};
use cri_gc_gateway::ErrorClass;

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
        let root = &settings.log_gc.legacy_container_logs_root;
        let scanned = root.clone();
        let found = tools.files.run_within(observe::SCAN_WITHIN, move || links::scan(&scanned)).await;
        let found = files_done("could not list log links", root, found)?;
        let now: HashSet<String> =
            found.into_iter().filter(|link| link.dangling).map(|link| link.name).collect();
        let before = self.dangling.replace(now.clone());
        let mark = |name: String| (name.clone(), before.contains(&name));
        let mut marked: Vec<(String, bool)> = now.into_iter().map(mark).collect();
        marked.sort_unstable();
        Ok(marked)
    }

    pub(super) async fn links(&self, pass: &Pass) -> Result<(), PassError> {
        if let Some(at) = self.prepared_at.take() {
            tokio::time::sleep_until(at + BETWEEN_CHECKS).await;
        }
        let found = self.check_links(&pass.tools, &pass.settings).await?;
        let mut dangling = Vec::with_capacity(found.len());
        for (name, before) in found {
            let owner = owner(&pass.tools, &name, before).await;
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
            Some(Item { id: name.as_str().into(), reason, detail, name, ..Item::default() })
        };
        let items = |decisions: &[Decision]| decisions.iter().filter_map(item).collect();
        let parallel = pass.settings.log_gc.workers.into();
        pass.carry_out(
            Kind::LogLink,
            &section,
            items,
            |_| Some(()),
            parallel,
            async |target| remove_link(pass, &target.id).await,
        )
        .await;
        Ok(())
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
        Err(error) if error.class == ErrorClass::NotFound => LinkOwner::NotFound,
        Err(_) => LinkOwner::Unreadable,
    }
}

async fn remove_link(pass: &Pass, name: &str) -> Removed {
    let (root, link) = (pass.settings.log_gc.legacy_container_logs_root.clone(), name.to_owned());
    let check = async { if pass.may_remove() { Ok(()) } else { Err(Ok((Outcome::halted(), 0))) } };
    // `None`: it is gone, or its log is there again.
    let work = move || Ok(links::remove_dangling(&root, &link)?.then_some(0));
    remove_checked(&pass.tools, check, work).await
}
