//! What the API server answers: pages of a list of pods, and events of a watch that continues it.

use std::collections::HashSet;

use cri_gc_pods::kube_api::Pages;
use cri_gc_policy::PodState;
use serde_json::Value;

use crate::input::pieces;

/// The first piece has a page in each line, the second one an event. A list is whole only with its last page: then it has the pods of all
/// its pages. A watch that continues it adds the pods of its events and removes those that are deleted; its version never decreases.
pub fn api_pages(data: &[u8]) {
    let pieces = pieces(data);
    let mut lines = pieces[0].split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let (mut pages, mut uids) = (Pages::default(), HashSet::new());
    let mut store = loop {
        let Some(line) = lines.next() else { return };
        let Ok(page) = serde_json::from_slice(line) else { return };
        let Ok(value) = serde_json::from_slice::<Value>(line) else { return };
        // A reader takes lists in place of objects, in the order of its own fields, which no server writes.
        let items = value["items"].as_array().into_iter().flatten();
        if !value["metadata"].is_object() || !items.map(|pod| &pod["metadata"]).all(Value::is_object) {
            return;
        }
        let before = pages.next().map(ToOwned::to_owned);
        let taken = pages.take(page);
        let metadata = &value["metadata"];
        let next = metadata["continue"].as_str().filter(|next| !next.is_empty());
        match taken {
            Err(error) => return assert!(!error.to_string().is_empty()),
            Ok(None) => {
                assert!(next.is_some() && pages.next() == next && before.as_deref() != next, "{next:?}");
                add(&value, &mut uids);
            }
            Ok(Some(store)) => {
                assert_eq!(next, None, "a list is whole before its last page");
                assert!(metadata["remainingItemCount"].as_i64().is_none_or(|left| left <= 0));
                add(&value, &mut uids);
                break store;
            }
        }
    };
    assert!(!store.version.is_empty());
    let listed = |store: &cri_gc_pods::kube_api::PodStore| -> HashSet<String> {
        store.listing().pods.keys().map(ToString::to_string).collect()
    };
    let of_pods: HashSet<String> = uids.iter().cloned().collect();
    // Annotations name others too.
    assert!(listed(&store).is_superset(&of_pods), "{of_pods:?} of {:?}", store.listing());
    assert!(store.listing().pods.values().all(|(state, _)| *state != PodState::Deleted));

    let events = pieces.get(1).into_iter().flat_map(|piece| piece.split(|byte| *byte == b'\n'));
    for line in events {
        let (Ok(event), Ok(value)) = (serde_json::from_slice(line), serde_json::from_slice::<Value>(line)) else { return };
        if !value["object"]["metadata"].is_object() {
            return;
        }
        let version = store.version.clone();
        let Ok(has_changed) = store.apply(event) else { return };
        if let (Ok(before), Ok(now)) = (version.parse::<u64>(), store.version.parse::<u64>()) {
            assert!(before <= now, "from {before} to {now}");
        }
        let uid = value["object"]["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
        match value["type"].as_str() {
            Some("ADDED" | "MODIFIED") => drop(uids.insert(uid)),
            Some("DELETED") => drop(uids.remove(&uid)),
            _ => assert!(!has_changed, "{value}"),
        }
        assert!(listed(&store).is_superset(&uids), "{uids:?} of {:?}", store.listing());
    }
    let count = store.listing().pods.len();
    assert!(count >= uids.len() && count <= 3 * uids.len(), "a pod has three UIDs at most");
}

fn add(page: &Value, uids: &mut HashSet<String>) {
    let items = page["items"].as_array().unwrap();
    uids.extend(items.iter().map(|pod| pod["metadata"]["uid"].as_str().unwrap().to_owned()));
}
