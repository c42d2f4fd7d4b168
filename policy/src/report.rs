//! A plan in words: the form that `plan --output json` prints, a contract (behaviour: Plans), and that tables are made of.
//!
//! An item always has `id`, `reason` and `detail`; everything else is left out where it is not known.

use std::time::Duration;

use ecow::EcoString;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::age::Now;
use crate::decide::Plan;
use crate::images::space::usage_percent;
use crate::kind::Kind;
use crate::log_dirs::pod_uid_of;
use crate::naming::{self, Naming};
use crate::observation::{FileSystem, Image, Observation};
use crate::plan::{Decision, Detail, Section};
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
    /// Which objects are listed; left out where all are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only: Option<Only>,
    /// The kinds of objects that could not be listed; left out if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unseen: Vec<Kind>,
    /// When the observation was made, by which the ages of a table count.
    #[serde(skip)]
    pub now: Option<Now>,
}

/// What the objects of a plan have in common that is filtered: one of the values of each list that is not empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Only {
    /// The loops that remove them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub loops: Vec<String>,
    /// Words of [`Reason`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
    /// The namespaces of their pods.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
}

/// The decisions on one kind of object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SectionReport {
    /// What is removed, in the order of removal.
    pub remove: Vec<Item>,
    /// What is removed after it, because removals of other sections make it removable; left out if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub follow: Vec<Item>,
    /// What is kept, by id.
    pub keep: Vec<Item>,
    /// Sum of the known sizes of `remove` and `follow`; left out where none is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub would_free_bytes: Option<u64>,
}

/// The decisions on images.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageReport {
    /// What is removed and what is kept.
    #[serde(flatten)]
    pub section: SectionReport,
    /// Bytes to free to reach the low threshold; 0 while no image filesystem is at its high one.
    pub bytes_to_free: u64,
    /// The image filesystems; left out where none is known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filesystems: Vec<FileSystemReport>,
}

/// How full an image filesystem is, and the thresholds for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileSystemReport {
    /// A directory on it.
    pub mountpoint: String,
    /// Its size.
    pub capacity_bytes: u64,
    /// What can still be written.
    pub available_bytes: u64,
    /// Percent in use, rounded up as for the thresholds; left out where it is not known.
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
    pub id: EcoString,
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
    #[serde(default, skip_serializing_if = "EcoString::is_empty")]
    pub pod_uid: EcoString,
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
    /// Fills in the sizes of what is removed and of what follows, as far as they were measured.
    pub fn measured(&mut self, size: impl Fn(&str) -> Option<u64>) {
        for item in self.remove.iter_mut().chain(&mut self.follow) {
            item.size_bytes = size(&item.id).or(item.size_bytes);
        }
        self.would_free_bytes = self.sum();
    }

    /// Keeps only those items that are meant, and their sum.
    pub fn retain(&mut self, is_meant: impl Fn(&Item) -> bool) {
        for items in [&mut self.remove, &mut self.follow, &mut self.keep] {
            items.retain(&is_meant);
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
        let pods = PodTable::new(observation);
        let words = Words::new(observation, &pods, policy);
        Self {
            containers: words.section(Kind::Container, &plan.containers),
            sandboxes: words.section(Kind::Sandbox, &plan.sandboxes),
            images: ImageReport {
                section: words.section(Kind::Image, &plan.images.section),
                bytes_to_free: plan.images.missing.bytes,
                filesystems: filesystems(&observation.filesystems, &policy.images),
            },
            log_dirs: words.section(Kind::LogDir, &plan.log_dirs),
            only: None,
            unseen: Vec::new(),
            now: Some(observation.now()),
        }
    }
}

/// The image filesystems, each once.
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

/// Puts what is kept in the order of a report: by id.
pub fn sort_kept(items: &mut [Item]) {
    items.sort_by(|a, b| (&a.id, &a.detail, &a.runtime_handler).cmp(&(&b.id, &b.detail, &b.runtime_handler)));
}

/// Puts decisions into words. A decision whose index is not in this observation has no words; `observation` and `policy` are
/// those that it was made of, so there is none.
#[derive(Debug)]
pub struct Words<'a> {
    observation: &'a Observation,
    policy: &'a Policy,
    pods: &'a PodTable<'a>,
    naming: Naming<'a>,
}

impl<'a> Words<'a> {
    /// For decisions that were made of these.
    #[must_use]
    pub fn new(observation: &'a Observation, pods: &'a PodTable<'a>, policy: &'a Policy) -> Self {
        Self { observation, policy, pods, naming: Naming::new(observation, pods) }
    }

    /// The decisions on all objects of a kind. Log links are not part of an observation, and have no words here.
    #[must_use]
    pub fn section(&self, kind: Kind, Section { remove, follow, keep }: &Section) -> SectionReport {
        let (mut follow, mut keep) = (self.items(kind, follow), self.items(kind, keep));
        for item in &mut follow {
            item.detail.push_str("; removed after other removals of this plan");
        }
        sort_kept(&mut keep);
        let section =
            SectionReport { remove: self.items(kind, remove), follow, keep, would_free_bytes: None };
        SectionReport { would_free_bytes: section.sum(), ..section }
    }

    /// Some decisions on objects of a kind, in their order.
    #[must_use]
    pub fn items(&self, kind: Kind, decisions: &[Decision]) -> Vec<Item> {
        let item = |decision: &Decision| {
            let item = match kind {
                Kind::Container => self.container(decision),
                Kind::Sandbox => self.sandbox(decision),
                Kind::LogDir => self.log_dir(decision),
                Kind::Image => self.image(decision),
                Kind::LogLink => None,
            };
            item.map(|item| Item { reason: decision.reason.as_str().to_owned(), ..item })
        };
        decisions.iter().filter_map(item).collect()
    }

    fn container(&self, decision: &Decision) -> Option<Item> {
        let container = self.observation.containers.get(decision.index)?;
        let limits = &self.policy.containers;
        let (name, uid) = (&container.name, self.pods.uid_of_container(container));
        let newer = |what: &str| match decision.detail {
            Detail::Newer(0) => format!("no newer {what}"),
            Detail::Newer(count) => counted(count, &format!("newer {what}")),
            _ => format!("newer {what}s"),
        };
        let at = |listed: Option<Timestamp>| match decision.detail {
            Detail::At(at) => Some(at),
            _ => listed,
        };
        let created = at(container.created_at);
        let detail = match decision.reason {
            Reason::OverPodContainerLimit => format!(
                "{} {name:?} in its pod; max_per_pod_container keeps {}",
                newer("container"),
                limits.max_per_pod_container.unwrap_or_default()
            ),
            Reason::OverUnitShare => {
                format!(
                    "{} {name:?} in its pod, which is the share of max_containers for that name",
                    newer("container")
                )
            }
            Reason::OverNodeLimit => format!(
                "{} on the node; max_containers keeps {}",
                newer("dead container"),
                limits.max_containers.unwrap_or_default()
            ),
            Reason::TooYoung => self.young("created", created, "min_age", limits.min_age),
            Reason::FinishedRecently => {
                self.young("finished", at(container.finished_at), "min_dead_age", limits.min_dead_age)
            }
            Reason::CreatedRecently => self.young("created", created, "created_grace", limits.created_grace),
            Reason::WithinLimits => format!("one of the newest of {name:?} in its pod"),
            Reason::StateUnknown => "its status could not be read".to_owned(),
            reason => self.common(reason, uid),
        };
        Some(Item {
            id: container.id.clone(),
            detail,
            name: self.naming.container(container),
            pod_uid: uid.clone(),
            created_at: container.created_at,
            ..Item::default()
        })
    }

    fn sandbox(&self, decision: &Decision) -> Option<Item> {
        let sandbox = self.observation.sandboxes.get(decision.index)?;
        let min_age = self.policy.sandboxes.min_age;
        let detail = match decision.reason {
            Reason::TooYoung => self.young("created", sandbox.created_at, "min_age", min_age),
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
        let uid = pod_uid_of(id).unwrap_or_default();
        let detail = match decision.reason {
            Reason::HasContainers => "the runtime still has a container or a sandbox of its pod".to_owned(),
            reason => self.common(reason, uid),
        };
        let (name, pod_uid) = (naming::log_dir(id), uid.into());
        Some(Item { id: id.into(), detail, name, pod_uid, ..Item::default() })
    }

    fn image(&self, decision: &Decision) -> Option<Item> {
        let image = self.observation.images.get(decision.index)?;
        Some(Item {
            id: image.id.as_str().into(),
            detail: self
                .holder(decision)
                .or_else(|| self.image_age(image, decision.reason))
                .unwrap_or_else(|| self.common(decision.reason, "")),
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

    /// What keeps an image, where that is one object or one pattern.
    fn holder(&self, decision: &Decision) -> Option<String> {
        let container = |at: usize| Some(self.naming.container(self.observation.containers.get(at)?));
        Some(match (decision.reason, decision.detail) {
            (Reason::InUse, Detail::Holder(at)) => format!("used by container {}", container(at)?),
            (Reason::InUse, Detail::Mount(at)) => {
                format!("mounted as an image volume in container {}", container(at)?)
            }
            (Reason::NamedByPod, Detail::Holder(at)) => {
                format!("the spec of pod {} names it", self.observation.pods.pods.get(at)?.uid)
            }
            (Reason::Protected, Detail::Holder(at)) => {
                format!("matches protect pattern \"{}\"", self.policy.images.protect.get(at)?)
            }
            _ => return None,
        })
    }

    /// The age of an image, where that is what decided.
    fn image_age(&self, image: &Image, reason: Reason) -> Option<String> {
        let Image { first_detected, last_used, .. } = *image;
        let ImagePolicy { min_age, max_age, .. } = self.policy.images;
        Some(match (reason, last_used) {
            (Reason::UnusedTooLong, _) => {
                format!("unused for {}, max_age is {}", self.age(last_used.or(first_detected)), span(max_age))
            }
            // First seen by this very observation: what was before is not recorded.
            (Reason::TooYoung, _) if self.seconds(first_detected) == 0 => {
                format!("first seen now (no earlier record), min_age is {}", span(min_age))
            }
            (Reason::TooYoung, _) => self.young("first seen", first_detected, "min_age", min_age),
            (Reason::DiskPressure | Reason::InodePressure, Some(_)) => {
                format!("next in line: last used {} ago", self.age(last_used))
            }
            (Reason::DiskPressure | Reason::InodePressure, None) => {
                format!("next in line: never seen used, first seen {} ago", self.age(first_detected))
            }
            _ => return None,
        })
    }

    /// What a reason means whatever the kind of object.
    fn common(&self, reason: Reason, uid: &str) -> String {
        let words = match reason {
            Reason::PodDeleted => return format!("pod {uid} is deleted"),
            Reason::PodEvicted => return format!("pod {uid} was evicted"),
            Reason::PodTerminated => return format!("pod {uid} finished, and evict_terminated_pods is set"),
            Reason::OlderSandbox => return format!("pod {uid} has a newer sandbox"),
            Reason::NewestSandbox => return format!("the newest sandbox of pod {uid}"),
            Reason::PodActive => return format!("pod {uid} is active"),
            Reason::PodFinished => return format!("pod {uid} finished but is not deleted"),
            Reason::PodUnknown => return format!("pod {uid} is not confirmed deleted"),
            Reason::UnmanagedCollected => "belongs to no pod, and pods.unmanaged is \"collect\"",
            Reason::Unmanaged if self.observation.lacks_sandboxes => {
                "names no pod, and not all sandboxes could be listed"
            }
            Reason::Unmanaged if self.observation.pods.synced => "belongs to no pod",
            Reason::Unmanaged => "belongs to no pod, and the pod source is not synced",
            Reason::Running => "it is running",
            Reason::SandboxReady => "it is ready",
            Reason::StateUnknown => "the runtime does not report its state",
            Reason::HasContainers => "it still has a container",
            Reason::NotAllListed => "the runtime could not list all containers in it",
            Reason::AgeUnknown => "the runtime does not report when it was created",
            Reason::ForeignName => "its name is not that of a pod log directory",
            Reason::Pinned => "the runtime pins it",
            Reason::SandboxImage => "sandbox (pause) image of the runtime",
            Reason::BelowThreshold => "no image filesystem is at its high threshold",
            Reason::EnoughFreed => "removing images earlier in line frees enough",
            Reason::ImageGcOff => "image GC is off: high thresholds are 100 and max_age is 0",
            Reason::UsageUnknown => "the usage of the image filesystem is not known",
            Reason::UseUnknown => match &self.observation.uses_unknown {
                Some(why) => why,
                None => "it is not known which images are in use",
            },
            Reason::InUseElsewhere => {
                "the runtime refused to remove it: something other than a CRI container uses it"
            }
            reason => return reason.as_str().replace('_', " "),
        };
        words.to_owned()
    }

    /// "created 12s ago, min_age is 1m".
    fn young(&self, what: &str, since: Option<Timestamp>, setting: &str, needs: Duration) -> String {
        let needs = span(needs);
        match since.and_then(|since| self.observation.now().ahead(since)) {
            Some(ahead) => {
                let ahead = in_days(ahead);
                format!("{what} {ahead} in the future by the clock of this node, {setting} is {needs}")
            }
            None => format!("{what} {} ago, {setting} is {needs}", self.age(since)),
        }
    }

    fn age(&self, since: Option<Timestamp>) -> String {
        in_days(SignedDuration::from_secs(self.seconds(since)))
    }

    fn seconds(&self, since: Option<Timestamp>) -> i64 {
        // What is not known counts as now.
        since.and_then(|t| self.observation.now().age(t)).unwrap_or_default().as_secs()
    }
}

fn span(duration: Duration) -> String {
    SignedDuration::try_from(duration).map_or_else(|_| "forever".to_owned(), in_days)
}

/// "30d", "2d 4h 10m", "5m 1s".
fn in_days(duration: SignedDuration) -> String {
    let days = duration.as_hours() / 24;
    let rest = duration - SignedDuration::from_hours(days * 24);
    match days {
        0 => format!("{duration:#}"),
        _ if rest.is_zero() => format!("{days}d"),
        _ => format!("{days}d {rest:#}"),
    }
}
