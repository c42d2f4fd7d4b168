//! Why one object goes or stays: finds in a plan what somebody calls by an id, the beginning of one, or a name.
//!
//! It decides nothing: what it says of an object is what the plan says.

use std::collections::HashMap;

use jiff::Timestamp;

use crate::log_dirs::pod_uid_of;
use crate::observation::{Container, Image, Observation, PodState, Sandbox};
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
    /// Whether it would go.
    pub goes: bool,
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
    let ends = |name: &String| {
        // At a slash only: "app" is no name of "ns/pod/my-app".
        name.strip_suffix(text).is_some_and(|front| front.is_empty() || front.ends_with('/'))
    };
    match object.what {
        What::Image => {
            let wanted = canonical(text);
            object.names.iter().any(|name| name == text || canonical(name) == wanted)
        }
        What::LogDir => object.names.iter().any(ends),
        // A pod's name means its containers too.
        What::Container => object
            .names
            .iter()
            .any(|name| ends(name) || name.rsplit_once('/').is_some_and(|(pod, _)| ends(&pod.to_owned()))),
        What::Sandbox => object.names.iter().any(ends),
    }
}

/// Every object of a plan.
fn all(observation: &Observation, report: &PlanReport) -> Vec<Explained> {
    let pods = PodTable::new(observation);
    let sandboxes: HashMap<&str, &Sandbox> =
        observation.sandboxes.iter().map(|sandbox| (sandbox.id.as_str(), sandbox)).collect();
    let containers: HashMap<&str, &Container> =
        observation.containers.iter().map(|container| (container.id.as_str(), container)).collect();
    let mut images: HashMap<&str, Vec<&Image>> = HashMap::new();
    for image in &observation.images {
        images.entry(&image.id).or_default().push(image);
    }
    let pod_name = |sandbox: &Sandbox| format!("{}/{}", sandbox.namespace, sandbox.name);
    let of_pod = |uid: &str| (uid.to_owned(), (!uid.is_empty()).then(|| pods.state(uid)));

    let mut all = Vec::new();
    let mut take = |what: What, section: &SectionReport, about: &dyn Fn(&str) -> About| {
        for (items, goes) in [(&section.remove, true), (&section.keep, false)] {
            for Item { id, reason, detail } in items {
                let About { names, pod: (pod_uid, pod_state), image } = about(id);
                let (id, reason, detail) = (id.clone(), reason.clone(), detail.clone());
                all.push(Explained { what, id, names, pod_uid, pod_state, goes, reason, detail, image });
            }
        }
    };
    take(What::Container, &report.containers, &|id| {
        let Some(container) = containers.get(id) else { return About::default() };
        let pod = sandboxes.get(container.pod_sandbox_id.as_str()).map(|sandbox| pod_name(sandbox));
        let name = match pod {
            Some(pod) => format!("{pod}/{}", container.name),
            None => container.name.clone(),
        };
        About { names: vec![name], pod: of_pod(pods.uid_of_container(container)), ..About::default() }
    });
    take(What::Sandbox, &report.sandboxes, &|id| match sandboxes.get(id) {
        Some(sandbox) => {
            About { names: vec![pod_name(sandbox)], pod: of_pod(&sandbox.pod_uid), ..About::default() }
        }
        None => About::default(),
    });
    take(What::LogDir, &report.log_dirs, &|id| {
        let uid = pod_uid_of(id).unwrap_or_default();
        // "namespace_name_uid"; neither namespaces nor names of pods hold an underscore.
        let pod = id.strip_suffix(uid).and_then(|front| front.strip_suffix('_')).unwrap_or_default();
        About { names: vec![pod.replacen('_', "/", 1)], pod: of_pod(uid), ..About::default() }
    });
    take(What::Image, &report.images.section, &|id| {
        let copies = images.get(id).into_iter().flatten();
        let names = copies.clone().flat_map(|image| image.names());
        let mut names: Vec<String> = names.map(ToOwned::to_owned).collect();
        names.sort_unstable();
        names.dedup();
        // Of several copies, one for each runtime handler, the newest.
        let facts = copies.map(|image| ImageFacts {
            size_bytes: image.size_bytes,
            first_detected: image.first_detected,
            last_used: image.last_used,
        });
        About { names, image: facts.max_by_key(|facts| facts.first_detected), ..About::default() }
    });
    all
}

/// What an observation tells of an object beside the plan.
#[derive(Default)]
struct About {
    names: Vec<String>,
    pod: (String, Option<PodState>),
    image: Option<ImageFacts>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ContainerState, Policy, SandboxState, decide};

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
        for name in ["app", "web/app", "ns/web/app"] {
            assert_eq!(ids(name), ["c0ffee01"], "{name}");
        }
        for tag in ["busybox:1.36", "docker.io/library/busybox:1.36", "library/busybox:1.36-too"] {
            assert_eq!(ids(tag), ["sha256:feed01"], "{tag}");
        }
        assert_eq!(ids("5a"), ["5a0d"]);
        assert_eq!(found("c0f"), Found::Ambiguous(vec!["c0ffee01".to_owned(), "c0ffee02".to_owned()]));
        for nothing in ["", " ", "ap", "eb", "busybox", "zz"] {
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
        assert_eq!((object.goes, object.reason.as_str()), (false, "running"));
        assert_eq!((object.pod_uid.as_str(), object.pod_state), (UID, Some(PodState::Active)));
        let Found::Objects(objects) = found("busybox:1.36") else { panic!("it is there") };
        assert_eq!((objects[0].reason.as_str(), objects[0].names.len()), ("in_use", 2));
    }
}
