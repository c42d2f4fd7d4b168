//! Why one object is removed or kept: finds in a plan what is called by an id, the beginning of one, or a name.
//!
//! It decides nothing: what it answers is what the plan has.

use crate::kind::Kind;
use crate::observation::{Observation, PodState};
use crate::pods::PodTable;
use crate::reference::{Reference, canonical};
use crate::report::{Item, PlanReport, SectionReport};

/// In which list of a plan an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Verdict {
    /// It is removed.
    Remove,
    /// It is removed after others, whose removal makes it removable.
    Follow,
    /// It is kept.
    Keep,
}

impl Verdict {
    /// The word for it, which is the name of the list.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// One object, and what the plan has about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained {
    /// What it is.
    pub kind: Kind,
    /// In which list it is.
    pub verdict: Verdict,
    /// Its entry there.
    pub item: Item,
    /// State of its pod; `None` for what belongs to none.
    pub pod_state: Option<PodState>,
}

/// The objects that a text means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// None.
    Nothing,
    /// The ids of several objects begin with it: these, by id.
    Ambiguous(Vec<Explained>),
    /// These: one object of that id, or all of that name.
    Objects(Vec<Explained>),
}

/// Finds what is called `text`: by its whole id; by a name (an image's tag or digest, also in its short form; a pod's
/// "name", "namespace/name" or UID, which means all objects of it; a container's "name", "pod/name" or
/// "namespace/pod/name"); else by the beginning of an id, if only one begins with it; else by the last parts of an image's name, with
/// its tag or without. `report` is that of a plan made of `observation`.
#[must_use]
pub fn explain(observation: &Observation, report: &PlanReport, text: &str) -> Found {
    let text = text.trim();
    if text.is_empty() {
        return Found::Nothing;
    }
    let all = all(observation, report);
    let matching = |matches: &dyn Fn(&Explained) -> bool| -> Vec<Explained> {
        all.iter().filter(|object| matches(object)).cloned().collect()
    };
    let exact = [
        matching(&|object| ids(&object.item).contains(&text)),
        matching(&|object| is_called(object.kind, &object.item, text)),
    ];
    if let Some(objects) = exact.into_iter().find(|objects| !objects.is_empty()) {
        return Found::Objects(objects);
    }
    let mut by_prefix = matching(&|object| ids(&object.item).iter().any(|id| id.starts_with(text)));
    by_prefix.sort_by(|a, b| a.item.id.cmp(&b.item.id));
    // The copies of an image for several runtime handlers have one id.
    match (by_prefix.first(), by_prefix.last()) {
        (Some(first), Some(last)) if first.item.id == last.item.id => Found::Objects(by_prefix),
        (None, _) => {
            match matching(&|object| object.kind == Kind::Image && is_part_of_a_name(&object.item, text)) {
                none if none.is_empty() => Found::Nothing,
                images => Found::Objects(images),
            }
        }
        _ => Found::Ambiguous(by_prefix),
    }
}

/// The id with the algorithm and without.
fn ids(item: &Item) -> [&str; 2] {
    [item.id.strip_prefix("sha256:").unwrap_or(&item.id), &item.id]
}

/// Whether a text may mean that object: its id, a name, or, if that is enough, the beginning of its id.
#[must_use]
pub fn is_meant(kind: Kind, item: &Item, text: &str, by_prefix: bool) -> bool {
    let is_id = |id: &&str| if by_prefix { id.starts_with(text) } else { *id == text };
    ids(item).iter().any(is_id) || is_called(kind, item, text)
}

/// Whether that is a name of it.
fn is_called(kind: Kind, item: &Item, text: &str) -> bool {
    if item.pod_uid == text {
        return true;
    }
    let ends = |name: &str| ends_with(name, text);
    // With the attempt and without.
    let bare = item.name.rsplit_once('#').map_or(item.name.as_str(), |(bare, _)| bare);
    match kind {
        Kind::Image => {
            let wanted = canonical(text);
            item.names.iter().any(|name| name == text || canonical(name) == wanted)
        }
        Kind::LogDir | Kind::LogLink => ends(&item.name),
        Kind::Sandbox => ends(&item.name) || ends(bare),
        // A pod's name means its containers too.
        Kind::Container => {
            ends(&item.name) || ends(bare) || bare.rsplit_once('/').is_some_and(|(pod, _)| ends(pod))
        }
    }
}

/// At a slash only: "app" is no name of "ns/pod/my-app".
fn ends_with(name: &str, text: &str) -> bool {
    name.strip_suffix(text).is_some_and(|front| front.is_empty() || front.ends_with('/'))
}

/// Whether a name of an image ends with that, with its tag or without.
fn is_part_of_a_name(image: &Item, text: &str) -> bool {
    image.names.iter().any(|name| ends_with(name, text) || ends_with(Reference::parse(name).repo, text))
}

/// Every object of a plan.
fn all(observation: &Observation, report: &PlanReport) -> Vec<Explained> {
    let pods = PodTable::new(observation);
    let mut all = Vec::new();
    let mut add = |kind: Kind, section: &SectionReport| {
        let lists = [
            (&section.remove, Verdict::Remove),
            (&section.follow, Verdict::Follow),
            (&section.keep, Verdict::Keep),
        ];
        for (items, verdict) in lists {
            all.extend(items.iter().map(|item| Explained {
                kind,
                verdict,
                item: item.clone(),
                pod_state: (!item.pod_uid.is_empty()).then(|| pods.state(&item.pod_uid)),
            }));
        }
    };
    add(Kind::Container, &report.containers);
    add(Kind::Sandbox, &report.sandboxes);
    add(Kind::LogDir, &report.log_dirs);
    add(Kind::Image, &report.images.section);
    all
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::Timestamp;

    use super::*;
    use crate::{Container, ContainerState, Image, Sandbox, SandboxState, decide};

    const UID: &str = "11111111-2222-3333-4444-555555555555";

    fn node() -> Observation {
        let container = |id: &str, name: &str| {
            Arc::new(Container {
                id: id.into(),
                pod_uid: UID.into(),
                pod_sandbox_id: "5a0d".into(),
                name: name.into(),
                attempt: 0,
                state: ContainerState::Running,
                created_at: None,
                finished_at: None,
                image: "".into(),
                image_ref: "sha256:feed01".into(),
                image_id: "".into(),
                image_volumes: Vec::new(),
                log_path: "".into(),
            })
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
            containers: vec![container("c0ffee01", "app"), container("c0ffee02", "my-app")].into(),
            sandboxes: vec![Arc::new(Sandbox {
                id: "5a0d".into(),
                pod_uid: UID.into(),
                namespace: "ns".into(),
                name: "web".into(),
                attempt: 0,
                state: SandboxState::Ready,
                created_at: None,
                unlisted: false,
            })]
            .into(),
            images: vec![
                image("sha256:feed01", "docker.io/library/busybox:1.36"),
                image("sha256:feed02", "r.io/x:1"),
            ],
            log_dirs: vec![format!("ns_web_{UID}")],
            ..Observation::empty(Timestamp::UNIX_EPOCH)
        }
    }

    fn found(text: &str) -> Found {
        let (node, policy) = (node(), crate::policy::tests::policy());
        explain(&node, &PlanReport::new(&decide(&node, &policy), &node, &policy), text)
    }

    fn ids(text: &str) -> Vec<String> {
        match found(text) {
            Found::Objects(objects) => objects.into_iter().map(|object| object.item.id.to_string()).collect(),
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
        for part in ["busybox", "library/busybox", "docker.io/library/busybox"] {
            assert_eq!(ids(part), ["sha256:feed01"], "{part}");
        }
        for part in ["x", "x:1", "r.io/x"] {
            assert_eq!(ids(part), ["sha256:feed02"], "{part}");
        }
        assert_eq!(ids("5a"), ["5a0d"]);
        let Found::Ambiguous(several) = found("c0f") else { panic!("two begin so") };
        assert_eq!(
            several.iter().map(|object| &*object.item.id).collect::<Vec<_>>(),
            ["c0ffee01", "c0ffee02"]
        );
        for nothing in ["", " ", "ap", "eb", "box", "box:1.36", "zz", "app#1", "#0"] {
            assert_eq!(found(nothing), Found::Nothing, "{nothing:?}");
        }
    }

    #[test]
    fn a_pod_means_all_its_objects() {
        for pod in [UID, "web", "ns/web"] {
            assert_eq!(ids(pod), ["c0ffee01", "c0ffee02", "5a0d", &format!("ns_web_{UID}")], "{pod}");
        }
    }

    #[test]
    fn an_object_is_explained_as_the_plan_has_it() {
        let Found::Objects(objects) = found("c0ffee01") else { panic!("it is there") };
        let object = &objects[0];
        assert_eq!((object.verdict, object.item.reason.as_str()), (Verdict::Keep, "running"));
        assert_eq!((object.item.pod_uid.as_str(), object.pod_state), (UID, Some(PodState::Active)));
        let Found::Objects(objects) = found("busybox:1.36") else { panic!("it is there") };
        assert_eq!((objects[0].item.reason.as_str(), objects[0].item.names.len()), ("in_use", 2));
    }
}
