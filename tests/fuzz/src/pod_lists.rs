//! Lists of pods: the file of `pods.file`, and the answer of a kubelet.

use std::collections::{HashMap, HashSet};

use cri_gc_pods::Listing;
use cri_gc_policy::PodState;
use serde_json::Value;

/// The annotations by which a pod names another UID of itself.
const MIRRORS: [&str; 2] = ["kubernetes.io/config.hash", "kubernetes.io/config.mirror"];

/// The first byte says whose list it is, the others are the text. A list has the UIDs that its text has, none more and none less, and
/// takes no pod for finished of which one entry says otherwise; none is deleted. A text of which the end is missing is no list; the same text as YAML
/// is the same list, or none.
pub fn pod_lists(data: &[u8]) {
    let Some((kind, text)) = data.split_first() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let is_kubelet = kind % 2 == 1;
    let read = if is_kubelet { Listing::of_kubelet } else { Listing::parse };
    let listing = match read(text) {
        Ok(listing) => listing,
        Err(why) => return assert!(!why.trim().is_empty()),
    };
    for (uid, (state, _)) in &listing.pods {
        assert!(!uid.is_empty() && *state != PodState::Deleted, "{uid:?}: {state:?}");
    }
    assert_eq!(listing.to_pods().len(), listing.pods.len());
    let is_json = text.trim_start().starts_with(['[', '{']);
    if !is_json {
        return;
    }
    for part in 1..8 {
        let cut = (0..=text.len() * part / 8).rev().find(|at| text.is_char_boundary(*at)).unwrap();
        if text[..cut].trim_end().len() < text.trim_end().len() {
            assert!(read(&text[..cut]).is_err(), "a list that is cut off after {cut} of {} bytes", text.len());
        }
    }
    if !is_kubelet && let Ok(same) = Listing::parse(&format!("---\n{text}")) {
        assert_eq!(same, listing, "as YAML");
    }
    if let Ok(value) = serde_json::from_str::<Value>(text) {
        agrees(&listing, &value, is_kubelet);
    }
}

/// Whether a list is what the document says.
fn agrees(listing: &Listing, document: &Value, is_kubelet: bool) {
    let mut uids: HashMap<&str, HashSet<PodState>> = HashMap::new();
    let (mut images, mut from_api) = (HashSet::new(), false);
    let plain = Vec::new();
    let items = document.as_array().or(document["items"].as_array()).unwrap_or(&plain);
    if !items.iter().all(has_names) {
        return;
    }
    for pod in items {
        if document.is_array() {
            let state = pod["state"].as_str().unwrap();
            if state != "deleted" {
                uids.entry(pod["uid"].as_str().unwrap()).or_default().insert(serde_json::from_value(pod["state"].clone()).unwrap());
            }
            continue;
        }
        let state = match (pod["status"]["phase"].as_str(), pod["status"]["reason"].as_str()) {
            (Some("Failed"), Some("Evicted")) => PodState::Evicted,
            (Some("Failed" | "Succeeded"), _) => PodState::Terminated,
            _ => PodState::Active,
        };
        let uid = pod["metadata"]["uid"].as_str().unwrap();
        uids.entry(uid).or_default().insert(state);
        let annotations = &pod["metadata"]["annotations"];
        for other in MIRRORS.iter().filter_map(|name| annotations[name].as_str()).filter(|other| !other.is_empty() && *other != uid) {
            // Every user can write that.
            uids.entry(other).or_default().insert(if state == PodState::Active { state } else { PodState::Unknown });
        }
        let source = annotations["kubernetes.io/config.source"].as_str();
        from_api |= source.is_none_or(|source| source == "api");
        images.extend(pod_images(&pod["spec"]));
    }
    let listed: HashSet<&str> = listing.pods.keys().map(|uid| &**uid).collect();
    assert_eq!(listed, uids.keys().copied().collect());
    for (uid, (state, _)) in &listing.pods {
        let said = &uids[&**uid];
        let expected = if said.len() == 1 { *said.iter().next().unwrap() } else { PodState::Unknown };
        assert_eq!(*state, expected, "{uid}: {said:?}");
    }
    let named: HashSet<&str> = listing.pods.values().flat_map(|(_, images)| images).map(String::as_str).collect();
    assert_eq!(named, images);
    assert_eq!(listing.only_static, is_kubelet && !from_api);
}

/// Whether the parts of a pod have names. A reader takes lists in their place, in the order of its own fields, which no program writes.
fn has_names(pod: &Value) -> bool {
    let (metadata, spec) = (&pod["metadata"], &pod["spec"]);
    let kinds = ["containers", "initContainers", "ephemeralContainers", "volumes"];
    let inner = kinds.iter().filter_map(|name| spec[name].as_array()).flatten();
    let images = spec["volumes"].as_array().into_iter().flatten().map(|volume| &volume["image"]);
    let parts = [metadata, spec, &pod["status"], &metadata["annotations"]];
    pod.is_object() && !parts.into_iter().chain(inner).chain(images).any(Value::is_array)
}

fn pod_images(spec: &Value) -> impl Iterator<Item = &str> {
    let containers = ["containers", "initContainers", "ephemeralContainers"].into_iter().filter_map(|name| spec[name].as_array());
    let images = containers.flatten().filter_map(|container| container["image"].as_str());
    let volumes = spec["volumes"].as_array().into_iter().flatten();
    images.chain(volumes.filter_map(|volume| volume["image"]["reference"].as_str())).filter(|image| !image.is_empty())
}
