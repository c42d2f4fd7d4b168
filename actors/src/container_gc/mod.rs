//! The container GC supervisor: removes dead containers with their logs (spec 3).
//!
//! - here: observe, plan, act. [`recheck`]: what is asked right before a removal. [`logs`]: which logs go with it.

mod logs;
mod recheck;

use std::collections::HashMap;
use std::time::Duration;

use actix::Recipient;
use cri_gc_config::Settings;
use cri_gc_policy::images::reference_of;
use cri_gc_policy::{Container, ContainerState, Observation, Plan, PlanReport, PodTable, Reason};

use crate::collector::{Collect, Kind, Loop, Outcome, Pass, PassError, Removed, Target, Tools};
use crate::files::links;
use crate::gateway::calls::{ContainerStatus, RemoveContainer, StopContainer};
use crate::image_gc::ImageUsed;
use crate::observe;
use logs::LogKeeper;
use recheck::{Recheck, recheck};

/// The collector of dead containers.
pub struct ContainerGc {
    /// Who is told that the image of a removed container was in use.
    images: Recipient<ImageUsed>,
}

impl ContainerGc {
    /// It tells `images` which images the containers that it removes have used.
    #[must_use]
    pub fn new(images: Recipient<ImageUsed>) -> Self {
        Self { images }
    }
}

impl Collect for ContainerGc {
    const LOOP: Loop = Loop::ContainerGc;

    fn period(settings: &Settings) -> Duration {
        settings.container_gc.period
    }

    fn deadline(settings: &Settings) -> Duration {
        settings.container_gc.deadline
    }

    async fn pass(&self, tools: &Tools, pass: &Pass) {
        let view = match observe::pods(tools, &pass.settings).await {
            Ok(view) => view,
            Err(error) => return pass.error(error),
        };
        view.verdict.notes.into_iter().for_each(|note| pass.note(note));
        view.verdict.report_only.into_iter().for_each(|why| pass.only_report(why));
        let observation = view.observation;
        let policy = pass.settings.policy();
        let pods = PodTable::new(&observation);
        let section = cri_gc_policy::containers::decide(&observation, &pods, &policy);
        let plan = Plan { containers: section, ..Plan::default() };
        pass.kept(Kind::Container, PlanReport::new(&plan, &observation, &policy).containers.keep);

        let names = names(&observation);
        let removals = plan.containers.remove.iter();
        let targets: Vec<Target<&Container>> = removals
            .filter_map(|decision| {
                let container = observation.containers.get(decision.index)?;
                Some(Target {
                    kind: Kind::Container,
                    id: container.id.clone(),
                    name: name(&names, container),
                    reason: decision.reason,
                    object: container,
                })
            })
            .collect();
        pass.planned(targets.len());
        if targets.is_empty() {
            return;
        }
        let links = link_names(tools, pass).await;
        let keeper = LogKeeper::new(&observation, &pods);
        let parallel = pass.settings.container_gc.parallel_removals.into();
        pass.act(targets, parallel, async |target| {
            self.remove(tools, pass, target.object, &keeper, &links).await
        })
        .await;
    }
}

impl ContainerGc {
    async fn remove<'a>(
        &self,
        tools: &Tools,
        pass: &Pass,
        container: &'a Container,
        keeper: &LogKeeper<'a>,
        links: &HashMap<String, Vec<String>>,
    ) -> Removed {
        let settings = &pass.settings;
        let mut facts = match recheck(tools, container, &settings.policy().containers).await? {
            Recheck::Go(facts) => facts,
            Recheck::Stay(reason) => return Ok((Outcome::refused(reason), 0)),
        };
        if facts.state == ContainerState::Unknown {
            // It may still run: if it can't be stopped, it stays.
            let timeout = settings.container_gc.stop_timeout;
            tools.gateway.call(StopContainer { id: container.id.clone(), timeout }).await?;
            // Only now the runtime tells what became of it, and where its log is.
            facts = tools.gateway.call(ContainerStatus { id: container.id.clone() }).await?;
            if facts.state == ContainerState::Running {
                return Ok((Outcome::refused(Reason::Running), 0));
            }
        }
        let mut bytes = 0;
        if keeper.may_go(container) {
            let (pods_root, links_root) =
                (settings.log_gc.pod_logs_root.clone(), settings.log_gc.legacy_container_logs_root.clone());
            let names = links.get(&container.id).cloned().unwrap_or_default();
            let log_path = facts.log_path;
            let removed = tools
                .files
                .run(move || crate::files::logs::remove(&pods_root, &links_root, &log_path, &names))
                .await;
            let step = "removing the log of a container";
            match removed {
                Ok(Ok(removed)) => bytes = removed.bytes,
                // The container goes all the same: its log is left for the log-directory reaper.
                Ok(Err(error)) => pass.error(PassError::File { step, error: error.to_string() }),
                Err(gone) => pass.error(PassError::File { step, error: gone.to_string() }),
            }
        }
        tools.gateway.call(RemoveContainer { id: container.id.clone() }).await?;
        keeper.gone(container);
        // A job that came and went between two looks has used its image all the same.
        if let Some(at) = facts.finished_at.or(container.created_at) {
            self.images.do_send(ImageUsed { reference: reference_of(container).to_owned(), at });
        }
        Ok((Outcome::Removed, bytes))
    }
}

/// Namespace and name of each sandbox's pod.
fn names(observation: &Observation) -> HashMap<&str, String> {
    let of = |s: &cri_gc_policy::Sandbox| format!("{}/{}", s.namespace, s.name);
    observation.sandboxes.iter().map(|sandbox| (sandbox.id.as_str(), of(sandbox))).collect()
}

/// "namespace/pod/container#attempt".
fn name(pods: &HashMap<&str, String>, container: &Container) -> String {
    let pod = pods.get(container.pod_sandbox_id.as_str()).map_or("?", String::as_str);
    format!("{pod}/{}#{}", container.name, container.attempt)
}

/// The legacy links by the id of their container. Without them the containers go all the same: a link that is left
/// points to nothing then, and the log-directory reaper takes it.
async fn link_names(tools: &Tools, pass: &Pass) -> HashMap<String, Vec<String>> {
    let root = pass.settings.log_gc.legacy_container_logs_root.clone();
    let step = "looking for log links";
    let found = match tools.files.run(move || links::scan(&root)).await {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => {
            pass.error(PassError::File { step, error: error.to_string() });
            Vec::new()
        }
        Err(gone) => {
            pass.error(PassError::File { step, error: gone.to_string() });
            Vec::new()
        }
    };
    let mut names: HashMap<String, Vec<String>> = HashMap::new();
    for link in found {
        if let Some(id) = link.container_id() {
            names.entry(id.to_owned()).or_default().push(link.name.clone());
        }
    }
    names
}
