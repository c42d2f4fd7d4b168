//! A plan in words: the form that `plan --output json` prints (spec 11), a contract, and that tables are made of.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::decide::Plan;
use crate::observation::{Image, Observation};
use crate::plan::{Decision, Detail, Section};
use crate::pods::PodTable;
use crate::policy::Policy;
use crate::reason::Reason;

/// A whole plan.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanReport {
    /// Containers.
    pub containers: SectionReport,
    /// Sandboxes.
    pub sandboxes: SectionReport,
    /// Images.
    pub images: ImageReport,
    /// Log directories; their `id` is their name.
    pub log_dirs: SectionReport,
}

/// The decisions on one kind of object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SectionReport {
    /// What goes, in the order of removal.
    pub remove: Vec<Item>,
    /// What stays, by id.
    pub keep: Vec<Item>,
}

/// The decisions on images.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageReport {
    /// What goes and what stays.
    #[serde(flatten)]
    pub section: SectionReport,
    /// Bytes missing to the low threshold; 0 while no file system of images is at its high one.
    pub bytes_to_free: u64,
}

/// One decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Id of the object (of a log directory: its name).
    pub id: String,
    /// A word of [`Reason`].
    pub reason: String,
    /// The reason in words, with what matters of this object; for people, may change.
    pub detail: String,
}

impl PlanReport {
    /// Puts a plan into words. `observation` and `policy` are those that it was made of.
    #[must_use]
    pub fn new(plan: &Plan, observation: &Observation, policy: &Policy) -> Self {
        let words = Words { observation, policy, pods: PodTable::new(observation) };
        let section = |section: &Section, describe: &dyn Fn(&Decision) -> Option<(String, String)>| {
            let item = |decision: &Decision| {
                describe(decision).map(|(id, detail)| Item {
                    id,
                    reason: decision.reason.as_str().to_owned(),
                    detail,
                })
            };
            let mut keep: Vec<Item> = section.keep.iter().filter_map(item).collect();
            keep.sort_by(|a, b| (&a.id, &a.detail).cmp(&(&b.id, &b.detail)));
            SectionReport { remove: section.remove.iter().filter_map(item).collect(), keep }
        };
        Self {
            containers: section(&plan.containers, &|d| words.container(d)),
            sandboxes: section(&plan.sandboxes, &|d| words.sandbox(d)),
            images: ImageReport {
                section: section(&plan.images.section, &|d| words.image(d)),
                bytes_to_free: plan.images.missing.bytes,
            },
            log_dirs: section(&plan.log_dirs, &|d| words.log_dir(d)),
        }
    }
}

/// What the words are made of. A decision whose index is not of this observation has no words; `PlanReport::new` is
/// called with what the plan was made of, so there is none.
struct Words<'a> {
    observation: &'a Observation,
    policy: &'a Policy,
    pods: PodTable<'a>,
}

impl Words<'_> {
    fn container(&self, decision: &Decision) -> Option<(String, String)> {
        let container = self.observation.containers.get(decision.index)?;
        let limits = &self.policy.containers;
        let name = &container.name;
        let detail = match decision.reason {
            Reason::OverPodContainerLimit => {
                let stay = limits.max_per_pod_container.unwrap_or_default();
                format!("{} of {name:?} in its pod are newer, {stay} may stay", newer(decision))
            }
            Reason::OverUnitShare => {
                format!(
                    "{} of {name:?} in its pod are newer, which is its share of max_containers",
                    newer(decision)
                )
            }
            Reason::OverNodeLimit => format!(
                "{} dead containers of the node are newer, {} may stay",
                newer(decision),
                limits.max_containers.unwrap_or_default()
            ),
            Reason::TooYoung => self.young("created", container.created_at, "min_age", limits.min_age),
            Reason::FinishedRecently => {
                self.young("finished", container.finished_at, "min_dead_age", limits.min_dead_age)
            }
            Reason::CreatedRecently => {
                self.young("created", container.created_at, "created_grace", limits.created_grace)
            }
            Reason::WithinLimits => format!("one of the newest of {name:?} in its pod"),
            reason => self.common(reason, self.pods.uid_of_container(container)),
        };
        Some((container.id.clone(), detail))
    }

    fn sandbox(&self, decision: &Decision) -> Option<(String, String)> {
        let sandbox = self.observation.sandboxes.get(decision.index)?;
        let detail = match decision.reason {
            Reason::TooYoung => {
                self.young("created", sandbox.created_at, "min_age", self.policy.sandboxes.min_age)
            }
            reason => self.common(reason, &sandbox.pod_uid),
        };
        Some((sandbox.id.clone(), detail))
    }

    fn log_dir(&self, decision: &Decision) -> Option<(String, String)> {
        let name = self.observation.log_dirs.get(decision.index)?;
        let uid = crate::log_dirs::pod_uid_of(name).unwrap_or_default();
        Some((name.clone(), self.common(decision.reason, uid)))
    }

    fn image(&self, decision: &Decision) -> Option<(String, String)> {
        let image = self.observation.images.get(decision.index)?;
        let policy = &self.policy.images;
        let why = match (decision.reason, decision.detail) {
            (Reason::InUse, Detail::Holder(at)) => match self.observation.containers.get(at) {
                Some(container) => format!("used by container {} ({:?})", container.id, container.name),
                None => "used by a container".to_owned(),
            },
            (Reason::InUse, Detail::Mount(at)) => match self.observation.containers.get(at) {
                Some(container) => {
                    format!("mounted as an image volume in container {} ({:?})", container.id, container.name)
                }
                None => "mounted as an image volume".to_owned(),
            },
            (Reason::NamedByPod, Detail::Holder(at)) => match self.observation.pods.pods.get(at) {
                Some(pod) => format!("the spec of pod {} names it", pod.uid),
                None => "the spec of a pod names it".to_owned(),
            },
            (Reason::Protected, Detail::Holder(at)) => match policy.protect.get(at) {
                Some(pattern) => format!("image_gc.protect holds \"{pattern}\""),
                None => "image_gc.protect matches it".to_owned(),
            },
            (Reason::UnusedTooLong, _) => {
                let since = image.last_used.or(image.first_detected);
                format!("unused for {}, max_age is {}", self.age(since), span(policy.max_age))
            }
            (Reason::TooYoung, _) => {
                self.young("first seen", image.first_detected, "min_age", policy.min_age)
            }
            (Reason::DiskPressure | Reason::InodePressure, _) => match image.last_used {
                Some(_) => format!("next in line: last used {} ago", self.age(image.last_used)),
                None => format!(
                    "next in line: never seen used, first seen {} ago",
                    self.age(image.first_detected)
                ),
            },
            (reason, _) => self.common(reason, ""),
        };
        Some((image.id.clone(), with_names(why, image)))
    }

    fn common(&self, reason: Reason, uid: &str) -> String {
        match reason {
            Reason::PodDeleted => format!("pod {uid} is deleted"),
            Reason::PodEvicted => format!("pod {uid} was evicted"),
            Reason::PodTerminated => format!("pod {uid} finished, and evict_terminated_pods is set"),
            Reason::UnmanagedCollected => "belongs to no pod, and pods.unmanaged is \"collect\"".to_owned(),
            Reason::Unmanaged if self.observation.pods.synced => "belongs to no pod".to_owned(),
            Reason::Unmanaged => "belongs to no pod, and the pod source is not synced".to_owned(),
            Reason::OlderSandbox => format!("pod {uid} has a newer sandbox"),
            Reason::NewestSandbox => format!("the newest sandbox of pod {uid}"),
            Reason::Running => "it runs".to_owned(),
            Reason::SandboxReady => "it is ready".to_owned(),
            Reason::StateUnknown => "the runtime does not tell its state".to_owned(),
            Reason::HasContainers => "a container is still in it".to_owned(),
            Reason::AgeUnknown => "the runtime does not tell when it was created".to_owned(),
            Reason::PodActive => format!("pod {uid} is active"),
            Reason::PodFinished => format!("pod {uid} finished but is not deleted"),
            Reason::PodUnknown => format!("it is not proved that pod {uid} is deleted"),
            Reason::ForeignName => "not named as the log directory of a pod".to_owned(),
            Reason::Pinned => "the runtime pins it".to_owned(),
            Reason::SandboxImage => "the runtime makes its sandboxes of it".to_owned(),
            Reason::BelowThreshold => "no file system of images is at its high threshold".to_owned(),
            Reason::EnoughFreed => "what goes before it frees enough".to_owned(),
            Reason::ImageGcOff => "image GC is off: high thresholds of 100, no max_age".to_owned(),
            Reason::UsageUnknown => "it is not known how full the file system is".to_owned(),
            Reason::InUse => "a container uses it".to_owned(),
            Reason::InUseElsewhere => {
                "the runtime refused to remove it: something other than a CRI container uses it".to_owned()
            }
            reason => reason.as_str().replace('_', " "),
        }
    }

    /// "created 12s ago, min_age is 1m".
    fn young(&self, what: &str, since: Option<Timestamp>, setting: &str, needs: Duration) -> String {
        format!("{what} {} ago, {setting} is {}", self.age(since), span(needs))
    }

    fn age(&self, since: Option<Timestamp>) -> String {
        // What is not known counts as now (spec 6).
        let age = since.and_then(|t| self.observation.now().age(t)).unwrap_or_default();
        format!("{:#}", SignedDuration::from_secs(age.as_secs()))
    }
}

fn newer(decision: &Decision) -> usize {
    match decision.detail {
        Detail::Newer(newer) => newer,
        Detail::None | Detail::Holder(_) | Detail::Mount(_) => 0,
    }
}

fn span(duration: Duration) -> String {
    SignedDuration::try_from(duration).map_or_else(|_| "for ever".to_owned(), |d| format!("{d:#}"))
}

/// Removing an image by id removes all its names, so a plan says them.
fn with_names(why: String, image: &Image) -> String {
    let names: Vec<&str> = image.names().collect();
    let handler = match image.runtime_handler.as_str() {
        "" => String::new(),
        handler => format!(" (handler {handler})"),
    };
    if names.is_empty() { format!("{why}{handler}") } else { format!("{why}{handler}: {}", names.join(", ")) }
}
