//! A plan in words: the form that `plan --output json` prints (behaviour: Plans), a contract, and that tables are made of.
//!
//! Of an item `id`, `reason` and `detail` are always there; what else is known of the object comes beside them, and is left
//! out where it is not known.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::age::Now;
use crate::decide::Plan;
use crate::images::space::usage_percent;
use crate::naming::{self, Naming};
use crate::observation::{FileSystem, Observation};
use crate::plan::{Decision, Detail};
use crate::pods::PodTable;
use crate::policy::{ImagePolicy, Policy};
use crate::reason::Reason;
use crate::text::counted;

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
    /// When the observation was made, by which the ages of a table count.
    #[serde(skip)]
    pub now: Option<Now>,
}

/// The decisions on one kind of object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SectionReport {
    /// What is removed, in the order of removal.
    pub remove: Vec<Item>,
    /// What is removed after it, because removals of other sections make it removable; left out where there is nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub follow: Vec<Item>,
    /// What is kept, by id.
    pub keep: Vec<Item>,
    /// Sum of the sizes that are known of `remove` and `follow`; left out where none is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub would_free_bytes: Option<u64>,
}

/// The decisions on images.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageReport {
    /// What is removed and what is kept.
    #[serde(flatten)]
    pub section: SectionReport,
    /// Bytes missing to the low threshold; 0 while no file system of images is at its high one.
    pub bytes_to_free: u64,
    /// The file systems that images lie on; left out where none is known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filesystems: Vec<FileSystemReport>,
}

/// How full a file system of images is, and the thresholds that it is judged by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileSystemReport {
    /// A directory on it.
    pub mountpoint: String,
    /// Its size.
    pub capacity_bytes: u64,
    /// What can still be written.
    pub available_bytes: u64,
    /// Percent in use, rounded up as for the thresholds; left out where it can't be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_percent: Option<u8>,
    /// Usage at which images start to be removed; 100 is never.
    pub high_threshold_percent: u8,
    /// Usage down to which images are removed.
    pub low_threshold_percent: u8,
}

/// One decision.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Id of the object (of a log directory: its name).
    pub id: String,
    /// A word of [`Reason`].
    pub reason: String,
    /// The reason in words, with what matters of this object; for people, may change.
    pub detail: String,
    /// What people call it (see [`naming`]).
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// All tags and digests of an image: removing it by id removes them all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// Handler whose copy of an image this is; left out for the default one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub runtime_handler: String,
    /// UID of its pod; left out for what belongs to none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub pod_uid: String,
    /// Bytes: of an image as the runtime reports them, of a log directory that is removed as measured (the logs of containers
    /// that are removed before included).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
    /// When a container or sandbox was created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
    /// When an image was first seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_detected: Option<Timestamp>,
    /// When an image was last seen used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used: Option<Timestamp>,
}

impl Item {
    /// The time from which its age counts: when it was created, or when it was last used and else first seen.
    #[must_use]
    pub fn since(&self) -> Option<Timestamp> {
        self.created_at.or(self.last_used).or(self.first_detected)
    }
}

impl SectionReport {
    /// Fills in the sizes of what is removed and of what follows, as far as they were found out.
    pub fn measured(&mut self, size: impl Fn(&str) -> Option<u64>) {
        for item in self.remove.iter_mut().chain(&mut self.follow) {
            item.size_bytes = size(&item.id).or(item.size_bytes);
        }
        self.would_free_bytes = self.sum();
    }

    fn sum(&self) -> Option<u64> {
        let sizes = self.remove.iter().chain(&self.follow).filter_map(|item| item.size_bytes);
        sizes.reduce(u64::saturating_add)
    }
}

impl PlanReport {
    /// Puts a plan into words. `observation` and `policy` are those that it was made of.
    #[must_use]
    pub fn new(plan: &Plan, observation: &Observation, policy: &Policy) -> Self {
        let words =
            Words { observation, policy, pods: PodTable::new(observation), naming: Naming::new(observation) };
        let follow = &plan.follow;
        let (containers, sandboxes, log_dirs) = (&plan.containers, &plan.sandboxes, &plan.log_dirs);
        let images = &plan.images.section;
        Self {
            containers: section([&containers.remove, &[], &containers.keep], |d| words.container(d)),
            sandboxes: section([&sandboxes.remove, &follow.sandboxes, &sandboxes.keep], |d| words.sandbox(d)),
            images: ImageReport {
                section: section([&images.remove, &follow.images, &images.keep], |d| words.image(d)),
                bytes_to_free: plan.images.missing.bytes,
                filesystems: filesystems(&observation.filesystems, &policy.images),
            },
            log_dirs: section([&log_dirs.remove, &follow.log_dirs, &log_dirs.keep], |d| words.log_dir(d)),
            now: Some(observation.now()),
        }
    }
}

/// Puts what is removed, what follows and what is kept of one kind into words.
fn section(lists: [&[Decision]; 3], describe: impl Fn(&Decision) -> Option<Item>) -> SectionReport {
    let item = |decision: &Decision| {
        describe(decision).map(|item| Item { reason: decision.reason.as_str().to_owned(), ..item })
    };
    let [remove, mut follow, mut keep] = lists.map(|list| list.iter().filter_map(item).collect::<Vec<_>>());
    for item in &mut follow {
        item.detail.push_str("; follows other removals of this plan");
    }
    keep.sort_by(|a, b| (&a.id, &a.detail, &a.runtime_handler).cmp(&(&b.id, &b.detail, &b.runtime_handler)));
    let section = SectionReport { remove, follow, keep, would_free_bytes: None };
    SectionReport { would_free_bytes: section.sum(), ..section }
}

/// The file systems that images lie on, each once.
fn filesystems(all: &[FileSystem], policy: &ImagePolicy) -> Vec<FileSystemReport> {
    let mut reports: Vec<FileSystemReport> = Vec::new();
    for FileSystem { mountpoint, stats, .. } in all.iter().filter(|fs| fs.holds_images) {
        if reports.iter().all(|known| known.mountpoint != *mountpoint) {
            reports.push(FileSystemReport {
                mountpoint: mountpoint.clone(),
                capacity_bytes: stats.capacity_bytes,
                available_bytes: stats.available_bytes,
                used_percent: usage_percent(stats.capacity_bytes, stats.available_bytes),
                high_threshold_percent: policy.bytes.high_percent,
                low_threshold_percent: policy.bytes.low_percent,
            });
        }
    }
    reports
}

/// What the words are made of. A decision whose index is not of this observation has no words; `PlanReport::new` is
/// called with what the plan was made of, so there is none.
struct Words<'a> {
    observation: &'a Observation,
    policy: &'a Policy,
    pods: PodTable<'a>,
    naming: Naming<'a>,
}

impl Words<'_> {
    fn container(&self, decision: &Decision) -> Option<Item> {
        let container = self.observation.containers.get(decision.index)?;
        let limits = &self.policy.containers;
        let name = &container.name;
        let newer = |what: &str| counted(newer(decision), &format!("newer {what}"));
        let at = |listed: Option<Timestamp>| match decision.detail {
            Detail::At(at) => Some(at),
            _ => listed,
        };
        let detail = match decision.reason {
            Reason::OverPodContainerLimit => format!(
                "{} {name:?} of its pod; max_per_pod_container keeps {}",
                newer("container"),
                limits.max_per_pod_container.unwrap_or_default()
            ),
            Reason::OverUnitShare => {
                format!("{} {name:?} of its pod, which is their share of max_containers", newer("container"))
            }
            Reason::OverNodeLimit => format!(
                "{} on the node; max_containers keeps {}",
                newer("dead container"),
                limits.max_containers.unwrap_or_default()
            ),
            Reason::TooYoung => self.young("created", at(container.created_at), "min_age", limits.min_age),
            Reason::FinishedRecently => {
                self.young("finished", at(container.finished_at), "min_dead_age", limits.min_dead_age)
            }
            Reason::CreatedRecently => {
                self.young("created", at(container.created_at), "created_grace", limits.created_grace)
            }
            Reason::WithinLimits => format!("one of the newest of {name:?} in its pod"),
            Reason::StateUnknown => "its status could not be read".to_owned(),
            reason => self.common(reason, self.pods.uid_of_container(container)),
        };
        Some(Item {
            id: container.id.clone(),
            detail,
            name: self.naming.container(container),
            pod_uid: self.pods.uid_of_container(container).to_owned(),
            created_at: container.created_at,
            ..Item::default()
        })
    }

    fn sandbox(&self, decision: &Decision) -> Option<Item> {
        let sandbox = self.observation.sandboxes.get(decision.index)?;
        let detail = match decision.reason {
            Reason::TooYoung => {
                self.young("created", sandbox.created_at, "min_age", self.policy.sandboxes.min_age)
            }
            reason => self.common(reason, &sandbox.pod_uid),
        };
        Some(Item {
            id: sandbox.id.clone(),
            detail,
            name: naming::sandbox(sandbox),
            pod_uid: sandbox.pod_uid.clone(),
            created_at: sandbox.created_at,
            ..Item::default()
        })
    }

    fn log_dir(&self, decision: &Decision) -> Option<Item> {
        let id = self.observation.log_dirs.get(decision.index)?;
        let uid = crate::log_dirs::pod_uid_of(id).unwrap_or_default();
        let detail = match decision.reason {
            Reason::HasContainers => "the runtime still has a container or a sandbox of its pod".to_owned(),
            reason => self.common(reason, uid),
        };
        let (name, pod_uid) = (naming::log_dir(id), uid.to_owned());
        Some(Item { id: id.clone(), detail, name, pod_uid, ..Item::default() })
    }

    fn image(&self, decision: &Decision) -> Option<Item> {
        let image = self.observation.images.get(decision.index)?;
        let policy = &self.policy.images;
        let detail = match (decision.reason, decision.detail) {
            (Reason::InUse, Detail::Holder(at)) => match self.observation.containers.get(at) {
                Some(container) => format!("used by container {}", self.naming.container(container)),
                None => "used by a container".to_owned(),
            },
            (Reason::InUse, Detail::Mount(at)) => match self.observation.containers.get(at) {
                Some(container) => {
                    format!("mounted as an image volume in container {}", self.naming.container(container))
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
            // First seen by this very observation: what was before is not remembered.
            (Reason::TooYoung, _) if self.seconds(image.first_detected) == 0 => {
                format!("no records yet: it counts as first seen now, min_age is {}", span(policy.min_age))
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
        Some(Item {
            id: image.id.clone(),
            detail,
            name: naming::image(image).to_owned(),
            names: image.names().map(ToOwned::to_owned).collect(),
            runtime_handler: image.runtime_handler.clone(),
            // 0 is a size that is not reported.
            size_bytes: Some(image.size_bytes).filter(|size| *size > 0),
            first_detected: image.first_detected,
            last_used: image.last_used,
            ..Item::default()
        })
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
            Reason::UseUnknown => match &self.observation.uses_unknown {
                Some(why) => why.clone(),
                None => "it is not known which images are in use".to_owned(),
            },
            Reason::InUseElsewhere => {
                "the runtime refused to remove it: something other than a CRI container uses it".to_owned()
            }
            reason => reason.as_str().replace('_', " "),
        }
    }

    /// "created 12s ago, min_age is 1m".
    fn young(&self, what: &str, since: Option<Timestamp>, setting: &str, needs: Duration) -> String {
        if let Some(ahead) = since.and_then(|since| self.observation.now().ahead(since)) {
            return format!(
                "{what} {ahead:#} in the future by the clock of this node, {setting} is {}",
                span(needs)
            );
        }
        format!("{what} {} ago, {setting} is {}", self.age(since), span(needs))
    }

    fn age(&self, since: Option<Timestamp>) -> String {
        format!("{:#}", SignedDuration::from_secs(self.seconds(since)))
    }

    fn seconds(&self, since: Option<Timestamp>) -> i64 {
        // What is not known counts as now (behaviour: Image ages).
        since.and_then(|t| self.observation.now().age(t)).unwrap_or_default().as_secs()
    }
}

fn newer(decision: &Decision) -> usize {
    match decision.detail {
        Detail::Newer(newer) => newer,
        Detail::None | Detail::Holder(_) | Detail::Mount(_) | Detail::At(_) => 0,
    }
}

fn span(duration: Duration) -> String {
    SignedDuration::try_from(duration).map_or_else(|_| "for ever".to_owned(), |d| format!("{d:#}"))
}
