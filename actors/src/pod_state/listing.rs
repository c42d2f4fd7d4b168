//! Pod lists as a source tells them: a Kubernetes `PodList` (JSON or YAML), or a plain list of `{uid, state}`.

use std::collections::HashMap;

use cri_gc_policy::PodState;
use serde::Deserialize;
use serde_json::Value;

/// What one reading of a source listed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// By UID: the state, and the images that the pod's spec names.
    pub pods: HashMap<String, (PodState, Vec<String>)>,
}

/// Why a list could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ListingError {
    /// Nothing in it: a file that was just truncated, or an error page of length 0.
    #[error("it is empty; a node without pods is written as an empty list: []")]
    Empty,
    /// No JSON and no YAML.
    #[error("it is neither JSON nor YAML: {0}")]
    Syntax(String),
    /// Something else than pods.
    #[error("it is neither a PodList (an object with `items`) nor a list of {{uid, state}}: {0}")]
    Shape(String),
    /// One page of a longer list.
    #[error("it is one page of a longer list (metadata.continue is set); write the whole list")]
    Page,
    /// A pod that nothing could be compared with.
    #[error("pod number {0} has no UID")]
    NoUid(usize),
}

fn json<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, ListingError> {
    serde_json::from_str(text).map_err(|error| {
        if error.is_data() {
            ListingError::Shape(error.to_string())
        } else {
            ListingError::Syntax(error.to_string())
        }
    })
}

impl Listing {
    /// Reads a list from text.
    ///
    /// # Errors
    /// See [`ListingError`]. Nothing is ever guessed: a list that is not understood as a whole is no list.
    pub fn parse(text: &str) -> Result<Self, ListingError> {
        if text.trim().is_empty() {
            return Err(ListingError::Empty);
        }
        // JSON goes straight into the types, which refuse a key that stands there twice; YAML refuses that by itself.
        match text.trim_start().chars().next() {
            Some('[') => Self::plain(json(text)?),
            Some('{') => Self::kubernetes(json(text)?),
            _ => {
                let document: Value =
                    serde_saphyr::from_str(text).map_err(|error| ListingError::Syntax(error.to_string()))?;
                let shape = |error: serde_json::Error| ListingError::Shape(error.to_string());
                match document {
                    Value::Null => Err(ListingError::Empty),
                    Value::Array(_) => Self::plain(serde_json::from_value(document).map_err(shape)?),
                    Value::Object(_) => Self::kubernetes(serde_json::from_value(document).map_err(shape)?),
                    _ => Err(ListingError::Shape("it is a single value".to_owned())),
                }
            }
        }
    }

    fn plain(pods: Vec<PlainPod>) -> Result<Self, ListingError> {
        let mut listing = Self::default();
        for (number, pod) in pods.into_iter().enumerate() {
            let state = match pod.state {
                PlainState::Active => PodState::Active,
                PlainState::Terminated => PodState::Terminated,
                PlainState::Evicted => PodState::Evicted,
                PlainState::Unknown => PodState::Unknown,
                // As good as not listed: whether that proves anything is for the proof to say.
                PlainState::Deleted => continue,
            };
            listing.add(pod.uid, state, Vec::new(), number)?;
        }
        Ok(listing)
    }

    fn kubernetes(list: PodList) -> Result<Self, ListingError> {
        // `kubectl` writes a `List` whose items each say what they are. The kind stands behind the items in its YAML, so one
        // that is cut off has none.
        let of_pods = match list.kind.as_str() {
            "PodList" => list.items.iter().all(|pod| matches!(pod.kind.as_deref(), None | Some("Pod"))),
            "List" => list.items.iter().all(|pod| pod.kind.as_deref() == Some("Pod")),
            _ => false,
        };
        if !of_pods {
            return Err(ListingError::Shape(format!("its kind is {:?}, or an item is no Pod", list.kind)));
        }
        let page = list.metadata.unwrap_or_default();
        if page.next.is_some_and(|next| !next.is_empty()) || page.remaining_item_count.is_some_and(|n| n > 0)
        {
            return Err(ListingError::Page);
        }
        let mut listing = Self::default();
        for (number, pod) in list.items.into_iter().enumerate() {
            let state = pod.status.state();
            let images = pod.spec.images();
            // A mirror pod bears another UID than the sandbox of its static pod; its annotations name that one.
            for (key, uid) in pod.metadata.annotations.unwrap_or_default() {
                if matches!(key.as_str(), "kubernetes.io/config.hash" | "kubernetes.io/config.mirror")
                    && !uid.is_empty()
                {
                    listing.add(uid, state, images.clone(), number)?;
                }
            }
            listing.add(pod.metadata.uid, state, images, number)?;
        }
        Ok(listing)
    }

    fn add(
        &mut self,
        uid: String,
        state: PodState,
        images: Vec<String>,
        number: usize,
    ) -> Result<(), ListingError> {
        if uid.is_empty() {
            return Err(ListingError::NoUid(number));
        }
        let (known, all) = self.pods.entry(uid).or_insert((state, Vec::new()));
        // Listed twice with two states: nothing is certain of it.
        if *known != state {
            *known = PodState::Unknown;
        }
        all.extend(images);
        Ok(())
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlainPod {
    uid: String,
    state: PlainState,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum PlainState {
    Active,
    Terminated,
    Evicted,
    Deleted,
    Unknown,
}

// The parts of Kubernetes' pods that matter here. A field that may be null is an `Option`.

#[derive(Deserialize)]
struct PodList {
    #[serde(default)]
    kind: String,
    metadata: Option<ListMetadata>,
    items: Vec<KubePod>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct ListMetadata {
    #[serde(rename = "continue")]
    next: Option<String>,
    remaining_item_count: Option<i64>,
}

#[derive(Deserialize)]
struct KubePod {
    kind: Option<String>,
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    uid: String,
    annotations: Option<HashMap<String, String>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct Spec {
    containers: Option<Vec<KubeContainer>>,
    init_containers: Option<Vec<KubeContainer>>,
    ephemeral_containers: Option<Vec<KubeContainer>>,
    volumes: Option<Vec<Volume>>,
}

#[derive(Deserialize)]
struct KubeContainer {
    image: Option<String>,
}

#[derive(Deserialize)]
struct Volume {
    image: Option<ImageVolume>,
}

#[derive(Deserialize)]
struct ImageVolume {
    reference: Option<String>,
}

#[derive(Deserialize, Default)]
struct Status {
    phase: Option<String>,
    reason: Option<String>,
}

impl Spec {
    fn images(self) -> Vec<String> {
        let containers = [self.containers, self.init_containers, self.ephemeral_containers];
        let named = containers.into_iter().flatten().flatten().filter_map(|container| container.image);
        let volumes = self.volumes.into_iter().flatten().filter_map(|volume| volume.image?.reference);
        named.chain(volumes).filter(|image| !image.is_empty()).collect()
    }
}

impl Status {
    fn state(&self) -> PodState {
        match (self.phase.as_deref(), self.reason.as_deref()) {
            (Some("Failed"), Some("Evicted")) => PodState::Evicted,
            (Some("Failed" | "Succeeded"), _) => PodState::Terminated,
            _ => PodState::Active,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn states(text: &str) -> Vec<(String, PodState)> {
        let mut states: Vec<_> =
            Listing::parse(text).unwrap().pods.into_iter().map(|(uid, (state, _))| (uid, state)).collect();
        states.sort_by(|a, b| a.0.cmp(&b.0));
        states
    }

    #[test]
    fn the_plain_form_is_read_as_json_and_as_yaml() {
        let expected = vec![("a".to_owned(), PodState::Active), ("b".to_owned(), PodState::Evicted)];
        assert_eq!(
            states(
                r#"[{"uid":"a","state":"active"},{"uid":"b","state":"evicted"},{"uid":"c","state":"deleted"}]"#
            ),
            expected
        );
        assert_eq!(states("- uid: a\n  state: active\n- {uid: b, state: evicted}\n"), expected);
        assert_eq!(states("[]"), []);
    }

    #[test]
    fn a_pod_list_tells_states_mirrors_and_images() {
        let text = r#"
apiVersion: v1
kind: PodList
items:
- metadata: {uid: run, name: web}
  spec:
    containers: [{name: web, image: "app:1"}]
    initContainers: [{name: init, image: "init:1"}]
    ephemeralContainers: null
    volumes: [{name: v, image: {reference: "data:1"}}, {name: w, emptyDir: {}}]
  status: {phase: Running}
- metadata: {uid: done}
  status: {phase: Succeeded}
- metadata: {uid: out}
  status: {phase: Failed, reason: Evicted}
- metadata: {uid: mirror, annotations: {kubernetes.io/config.mirror: m, kubernetes.io/config.hash: h}}
"#;
        let listing = Listing::parse(text).unwrap();
        let state = |uid: &str| listing.pods[uid].0;
        assert_eq!(listing.pods.len(), 6);
        assert_eq!(state("done"), PodState::Terminated);
        assert_eq!(state("out"), PodState::Evicted);
        assert!(["run", "mirror", "m", "h"].iter().all(|uid| state(uid) == PodState::Active));
        assert_eq!(listing.pods["run"].1, ["app:1", "init:1", "data:1"]);
    }

    #[test]
    fn what_is_not_understood_as_a_whole_is_no_list() {
        for text in [
            "",
            " \n",
            "null",
            "---\n",
            "{}",
            "42",
            "items",
            "<html>error</html>",
            r#"{"items": []}"#,
            r#"{"kind": "NodeList", "items": []}"#,
            r#"{"kind": "List", "items": [{"kind": "Node", "metadata": {"uid": "x"}}]}"#,
            r#"{"kind": "PodList", "items": [], "items": []}"#,
            r#"{"kind": "PodList", "metadata": {"continue": "x"}, "items": []}"#,
            r#"{"kind": "PodList", "metadata": {"remainingItemCount": 3}, "items": []}"#,
            "apiVersion: v1\nitems:\n- metadata: {uid: cut-off}\n",
            r#"{"kind": "PodList", "items": null}"#,
            r#"{"kind": "PodList", "items": [{}]}"#,
            r#"{"kind": "PodList", "items": [{"metadata": {"name": "x"}}]}"#,
            r#"{"kind": "PodList", "items": [{"metadata": {"uid": "x"}}"#,
            r#"[{"uid": "a"}]"#,
            r#"[{"uid": "", "state": "active"}]"#,
            r#"[{"uid": "a", "state": "gone"}]"#,
            r#"[{"uid": "a", "state": "active", "phase": "x"}]"#,
            r#"["a", "b"]"#,
        ] {
            assert!(Listing::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_pod_listed_with_two_states_is_unknown() {
        assert_eq!(
            states(r#"[{"uid":"a","state":"evicted"},{"uid":"a","state":"active"}]"#),
            [("a".to_owned(), PodState::Unknown)]
        );
    }
}
