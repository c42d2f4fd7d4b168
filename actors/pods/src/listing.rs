//! Pod lists as a source has them: a Kubernetes `PodList` (JSON or YAML), or a plain list of `{uid, state}`.

use std::collections::HashMap;
use std::fmt::Display;

use cri_gc_policy::{Pod, PodState};
use ecow::EcoString;
use serde::de::{DeserializeOwned, Error as _, IntoDeserializer};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::kube_pod::KubePod;

/// What one reading of a source listed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// By UID: the state, and the images that the pod's spec names.
    pub pods: HashMap<EcoString, (PodState, Vec<String>)>,
    /// Whether it is a kubelet's, and none of its pods comes from the API server: one that has just started answers so.
    pub only_static: bool,
}

const EMPTY: &str = "it is empty; a node without pods is written as an empty list: []";

fn syntax(why: impl Display) -> String {
    format!("it is neither JSON nor YAML: {why}")
}

fn shape(why: impl Display) -> String {
    format!("it is neither a PodList (an object with `items`) nor a list of {{uid, state}}: {why}")
}

fn json<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|error| if error.is_data() { shape(error) } else { syntax(error) })
}

impl Listing {
    /// Reads a list as a kubelet answers it: a `PodList`, whose items are null where it has no pods.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn of_kubelet(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Err(EMPTY.to_owned());
        }
        let list: PodList = json(text)?;
        let items = list.items.unwrap_or_default();
        let only_static = items.iter().all(KubePod::is_static);
        Ok(Self { only_static, ..Self::kubernetes(PodList { items: Some(items), ..list })? })
    }

    /// Reads a list from text.
    ///
    /// # Errors
    /// What is wrong with it, in words. Nothing is ever guessed: a list that is not understood as a whole is no list.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Err(EMPTY.to_owned());
        }
        // JSON goes straight into the types, which refuse a key that stands there twice; YAML refuses that by itself.
        match text.trim_start().chars().next() {
            Some('[') => Self::plain(json(text)?),
            Some('{') => Self::kubernetes(json(text)?),
            _ => {
                let document: Value = serde_saphyr::from_str(text).map_err(syntax)?;
                match document {
                    Value::Null => Err(EMPTY.to_owned()),
                    Value::Array(_) => Self::plain(serde_json::from_value(document).map_err(shape)?),
                    Value::Object(_) => Self::kubernetes(serde_json::from_value(document).map_err(shape)?),
                    _ => Err(shape("it is a single value")),
                }
            }
        }
    }

    fn plain(pods: Vec<PlainPod>) -> Result<Self, String> {
        let mut listing = Self::default();
        for (number, pod) in pods.into_iter().enumerate() {
            // One that is deleted counts as not listed: whether that proves anything is decided by the proof.
            if pod.state != PodState::Deleted {
                listing.add(&pod.uid, pod.state, None, number)?;
            }
        }
        Ok(listing)
    }

    fn kubernetes(list: PodList) -> Result<Self, String> {
        // `kubectl` writes a `List` whose items each say what they are. The kind stands behind the items in its YAML, so one
        // that is cut off has none.
        let Some(items) = list.items else {
            return Err(shape("it has no items"));
        };
        let of_pods = match list.kind.as_str() {
            "PodList" => items.iter().all(|pod| matches!(pod.kind.as_deref(), None | Some("Pod"))),
            "List" => items.iter().all(|pod| pod.kind.as_deref() == Some("Pod")),
            _ => false,
        };
        if !of_pods {
            return Err(shape(format_args!("its kind is {:?}, or an item is no Pod", list.kind)));
        }
        let page = list.metadata.unwrap_or_default();
        if page.next.is_some_and(|next| !next.is_empty()) || page.remaining_item_count.is_some_and(|n| n > 0)
        {
            return Err(
                "it is one page of a longer list (metadata.continue is set); write the whole list".to_owned()
            );
        }
        let mut listing = Self::default();
        for (number, pod) in items.iter().enumerate() {
            listing.take(pod, number)?;
        }
        Ok(listing)
    }

    /// The pods, as a plan takes them.
    #[must_use]
    pub fn to_pods(&self) -> Vec<Pod> {
        let pod = |(uid, (state, images)): (&EcoString, &(PodState, Vec<String>))| Pod {
            uid: uid.clone(),
            state: *state,
            images: images.clone(),
        };
        self.pods.iter().map(pod).collect()
    }

    /// Adds a pod as Kubernetes lists it, the `number`th.
    ///
    /// # Errors
    /// It has no UID.
    pub fn take(&mut self, pod: &KubePod, number: usize) -> Result<(), String> {
        for (uid, state) in pod.uids() {
            self.add(uid, state, pod.images().cloned(), number)?;
        }
        Ok(())
    }

    fn add(
        &mut self,
        uid: &str,
        state: PodState,
        images: impl IntoIterator<Item = String>,
        number: usize,
    ) -> Result<(), String> {
        if uid.is_empty() {
            return Err(format!("pod number {number} has no UID"));
        }
        let (known, all) = self.pods.entry(uid.into()).or_insert((state, Vec::new()));
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
    uid: EcoString,
    #[serde(deserialize_with = "named_state")]
    state: PodState,
}

/// A state by its name. An empty one is not "unknown", as in a snapshot: whatever wrote it has failed in part.
fn named_state<'de, D: Deserializer<'de>>(from: D) -> Result<PodState, D::Error> {
    let name = String::deserialize(from)?;
    if name.is_empty() {
        return Err(D::Error::custom("a state is empty"));
    }
    PodState::deserialize(IntoDeserializer::<D::Error>::into_deserializer(name))
}

/// A list of pods as Kubernetes writes it, or a page of one.
#[derive(Deserialize)]
pub struct PodList {
    #[serde(default)]
    pub kind: String,
    pub metadata: Option<ListMetadata>,
    pub items: Option<Vec<KubePod>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(
    not(feature = "kubernetes"),
    expect(dead_code, reason = "only the source kube-api needs all of it")
)]
pub struct ListMetadata {
    /// Where the next page begins.
    #[serde(rename = "continue")]
    pub next: Option<String>,
    pub remaining_item_count: Option<i64>,
    pub resource_version: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn states(text: &str) -> Vec<(EcoString, PodState)> {
        let mut states: Vec<_> =
            Listing::parse(text).unwrap().pods.into_iter().map(|(uid, (state, _))| (uid, state)).collect();
        states.sort_by(|a, b| a.0.cmp(&b.0));
        states
    }

    #[test]
    fn the_plain_form_is_read_as_json_and_as_yaml() {
        let expected = vec![("a".into(), PodState::Active), ("b".into(), PodState::Evicted)];
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
    fn a_pod_list_has_states_mirrors_and_images() {
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
    fn annotations_that_anybody_may_write_never_say_that_a_pod_is_finished() {
        let evicted = "status: {phase: Failed, reason: Evicted}";
        let pod = |uid: &str, hash: &str| {
            format!(
                "- metadata: {{uid: {uid}, annotations: {{kubernetes.io/config.hash: {hash}}}}}\n  {evicted}\n"
            )
        };
        let text = format!("kind: PodList\nitems:\n{}{}", pod("own", "other"), pod("static", "static"));
        let listing = Listing::parse(&text).unwrap();
        let state = |uid: &str| listing.pods[uid].0;
        assert_eq!(state("own"), PodState::Evicted);
        assert_eq!(state("other"), PodState::Unknown);
        assert_eq!(state("static"), PodState::Evicted, "a kubelet's own static pod names itself");
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
            r#"[{"uid": "a", "state": ""}]"#,
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
            [("a".into(), PodState::Unknown)]
        );
    }
}
