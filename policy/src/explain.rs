//! Why one object goes or stays: finds in a plan what somebody calls by an id, the beginning of one, or a name.
//!
//! It decides nothing: what it says of an object is what the plan says.

use jiff::Timestamp;

use crate::observation::{Observation, PodState};
use crate::pods::PodTable;
use crate::reference::canonical;
use crate::report::{Item, PlanReport, SectionReport};

/// What kind of object it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum What {
    /// A container.
    Container,
    /// A pod sandbox.
    Sandbox,
    /// The log directory of a pod.
    LogDir,
    /// An image.
    Image,
}

/// What becomes of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is removed.
    Remove,
    /// It is removed after others, whose removal makes it removable.
    Follow,
    /// It is kept.
    Keep,
}

impl Verdict {
    /// The word for it, which is the name of the list of a plan.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Remove => "remove",
            Self::Follow => "follow",
            Self::Keep => "keep",
        }
    }
}

/// One object, and what the plan says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained {
    /// What it is.
    pub what: What,
    /// Its id; of a log directory its name.
    pub id: String,
    /// What people call it. The names of an image go together: removing it by id removes them all.
    pub names: Vec<String>,
    /// UID of its pod; empty for what belongs to none.
    pub pod_uid: String,
    /// State of that pod; `None` for what belongs to none.
    pub pod_state: Option<PodState>,
    /// What becomes of it.
    pub verdict: Verdict,
    /// A word of [`crate::Reason`].
    pub reason: String,
    /// The reason in words.
    pub detail: String,
    /// What is remembered of an image.
    pub image: Option<ImageFacts>,
}

/// What is known of an image beside the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageFacts {
    /// Bytes as the runtime tells them.
    pub size_bytes: u64,
    /// When it was first seen.
    pub first_detected: Option<Timestamp>,
    /// When it was last seen used; `None` is never.
    pub last_used: Option<Timestamp>,
}

/// What is called so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Nothing.
    Nothing,
    /// The ids of several objects begin so: these, or the first of them.
    Ambiguous(Vec<String>),
    /// These: one object of that id, or all of that name.
    Objects(Vec<Explained>),
}

/// Ids that are named where several begin alike.
const NAMED: usize = 10;

/// Finds what is called `text`: by its whole id; by a name (an image's tag or digest, also in its short form; a pod's
/// "name", "namespace/name" or UID, which means all there is of it; a container's "name", "pod/name" or
/// "namespace/pod/name"); else by the beginning of an id, if only one begins so. `report` is that of a plan made of
/// `observation`.
#[must_use]
pub fn explain(observation: &Observation, report: &PlanReport, text: &str) -> Found {
    let text = text.trim();
    if text.is_empty() {
        return Found::Nothing;
    }
    let all = all(observation, report);
    let bare = |id: &str| id.strip_prefix("sha256:").unwrap_or(id).to_owned();
    let by_id: Vec<&Explained> =
        all.iter().filter(|object| object.id == text || bare(&object.id) == text).collect();
    if !by_id.is_empty() {
        return Found::Objects(by_id.into_iter().cloned().collect());
    }
    let by_name: Vec<&Explained> = all.iter().filter(|object| is_called(object, text)).collect();
    if !by_name.is_empty() {
        return Found::Objects(by_name.into_iter().cloned().collect());
    }
    let begins = |object: &&Explained| object.id.starts_with(text) || bare(&object.id).starts_with(text);
    let mut by_prefix: Vec<&Explained> = all.iter().filter(begins).collect();
    // The copies of an image for several runtime handlers are one id.
    let one = by_prefix.first().is_some_and(|first| by_prefix.iter().all(|other| other.id == first.id));
    match by_prefix.len() {
        0 => Found::Nothing,
        _ if one => Found::Objects(by_prefix.into_iter().cloned().collect()),
        _ => {
            by_prefix.sort_by(|a, b| a.id.cmp(&b.id));
            Found::Ambiguous(by_prefix.into_iter().take(NAMED).map(|object| object.id.clone()).collect())
        }
    }
}

/// Whether people call it that.
fn is_called(object: &Explained, text: &str) -> bool {
    if object.pod_uid == text {
        return true;
    }
    // At a slash only: "app" is no name of "ns/pod/my-app".
    let ends =
        |name: &str| name.strip_suffix(text).is_some_and(|front| front.is_empty() || front.ends_with('/'));
    // With the attempt and without.
    let bare =
        |name: &str| name.rsplit_once('#').map_or_else(|| name.to_owned(), |(bare, _)| bare.to_owned());
    match object.what {
        What::Image => {
            let wanted = canonical(text);
            object.names.iter().any(|name| name == text || canonical(name) == wanted)
        }
        What::LogDir => object.names.iter().any(|name| ends(name)),
        // A pod's name means its containers too.
        What::Container => object.names.iter().any(|name| {
            let bare = bare(name);
            ends(name) || ends(&bare) || bare.rsplit_once('/').is_some_and(|(pod, _)| ends(pod))
        }),
        What::Sandbox => object.names.iter().any(|name| ends(name) || ends(&bare(name))),
    }
}

/// Every object of a plan.
fn all(observation: &Observation, report: &PlanReport) -> Vec<Explained> {
    let pods = PodTable::new(observation);
    let of_kind = |what: What, section: &SectionReport| {
        let lists = [
            (&section.remove, Verdict::Remove),
            (&section.follow, Verdict::Follow),
            (&section.keep, Verdict::Keep),
        ];
        let explained = |item: &Item, verdict: Verdict| Explained {
            what,
            id: item.id.clone(),
            names: if what == What::Image { item.names.clone() } else { vec![item.name.clone()] },
            pod_uid: item.pod_uid.clone(),
            pod_state: (!item.pod_uid.is_empty()).then(|| pods.state(&item.pod_uid)),
            verdict,
            reason: item.reason.clone(),
            detail: item.detail.clone(),
            image: (what == What::Image).then(|| ImageFacts {
                size_bytes: item.size_bytes.unwrap_or_default(),
                first_detected: item.first_detected,
                last_used: item.last_used,
            }),
        };
        let lists = lists.into_iter();
        lists
            .flat_map(|(items, verdict)| items.iter().map(move |item| (item, verdict)))
            .map(|(item, verdict)| explained(item, verdict))
            .collect::<Vec<_>>()
    };
    let mut all = of_kind(What::Container, &report.containers);
    all.extend(of_kind(What::Sandbox, &report.sandboxes));
    all.extend(of_kind(What::LogDir, &report.log_dirs));
    all.extend(of_kind(What::Image, &report.images.section));
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Container, ContainerState, Image, Policy, Sandbox, SandboxState, decide};

    const UID: &str = "11111111-2222-3333-4444-555555555555";

    fn node() -> Observation {
        let container = |id: &str, name: &str| Container {
            id: id.to_owned(),
            pod_uid: UID.to_owned(),
            pod_sandbox_id: "5a0d".to_owned(),
            name: name.to_owned(),
            attempt: 0,
            state: ContainerState::Running,
            created_at: None,
            finished_at: None,
            image: String::new(),
            image_ref: "sha256:feed01".to_owned(),
            image_id: String::new(),
            image_volumes: Vec::new(),
            log_path: String::new(),
        };
        let image = |id: &str, tag: &str| Image {
            id: id.to_owned(),
            runtime_handler: String::new(),
            repo_tags: vec![tag.to_owned(), format!("{tag}-too")],
            repo_digests: Vec::new(),
            size_bytes: 1,
            pinned: false,
            first_detected: None,
            last_used: None,
            in_use_elsewhere: false,
        };
        Observation {
            containers: vec![container("c0ffee01", "app"), container("c0ffee02", "my-app")],
            sandboxes: vec![Sandbox {
                id: "5a0d".to_owned(),
                pod_uid: UID.to_owned(),
                namespace: "ns".to_owned(),
                name: "web".to_owned(),
                attempt: 0,
                state: SandboxState::Ready,
                created_at: None,
            }],
            images: vec![
                image("sha256:feed01", "docker.io/library/busybox:1.36"),
                image("sha256:feed02", "r.io/x:1"),
            ],
            log_dirs: vec![format!("ns_web_{UID}")],
            ..Observation::empty(Timestamp::UNIX_EPOCH)
        }
    }

    fn found(text: &str) -> Found {
        let (node, policy) = (node(), Policy::default());
        explain(&node, &PlanReport::new(&decide(&node, &policy), &node, &policy), text)
    }

    fn ids(text: &str) -> Vec<String> {
        match found(text) {
            Found::Objects(objects) => objects.into_iter().map(|object| object.id).collect(),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn an_object_is_found_by_id_by_name_and_by_a_prefix_that_is_its_own() {
        assert_eq!(ids("c0ffee01"), ["c0ffee01"]);
        assert_eq!(ids("feed02"), ["sha256:feed02"], "without its algorithm");
        assert_eq!(ids("sha256:feed02"), ["sha256:feed02"]);
        for name in ["app", "web/app", "ns/web/app", "ns/web/app#0", "app#0"] {
            assert_eq!(ids(name), ["c0ffee01"], "{name}");
        }
        for tag in ["busybox:1.36", "docker.io/library/busybox:1.36", "library/busybox:1.36-too"] {
            assert_eq!(ids(tag), ["sha256:feed01"], "{tag}");
        }
        assert_eq!(ids("5a"), ["5a0d"]);
        assert_eq!(found("c0f"), Found::Ambiguous(vec!["c0ffee01".to_owned(), "c0ffee02".to_owned()]));
        for nothing in ["", " ", "ap", "eb", "busybox", "zz", "app#1", "#0"] {
            assert_eq!(found(nothing), Found::Nothing, "{nothing:?}");
        }
    }

    #[test]
    fn a_pod_means_all_there_is_of_it() {
        for pod in [UID, "web", "ns/web"] {
            assert_eq!(ids(pod), ["c0ffee01", "c0ffee02", "5a0d", &format!("ns_web_{UID}")], "{pod}");
        }
    }

    #[test]
    fn what_is_said_of_an_object_is_what_the_plan_says() {
        let Found::Objects(objects) = found("c0ffee01") else { panic!("it is there") };
        let object = &objects[0];
        assert_eq!((object.verdict, object.reason.as_str()), (Verdict::Keep, "running"));
        assert_eq!((object.pod_uid.as_str(), object.pod_state), (UID, Some(PodState::Active)));
        let Found::Objects(objects) = found("busybox:1.36") else { panic!("it is there") };
        assert_eq!((objects[0].reason.as_str(), objects[0].names.len()), ("in_use", 2));
    }
}
