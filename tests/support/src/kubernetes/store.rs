//! The pods of an API server: their versions, the history that watches replay, the snapshots that pages are cut from.
//!
//! Pure state: it knows neither the clients nor the transport.

use std::collections::BTreeMap;
use std::sync::Arc;

use hyper::body::Bytes;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::answer::{Cut, Piece, status};
use super::pod::{PodObject, item};

/// The version of a server that has just started. Not the first one: a store that was wiped begins below it.
const FIRST_VERSION: u64 = 1000;

/// Half an event: what is sent before a watch is cut.
const TORN: &[u8] = br#"{"type":"MODIFIED","object":{"kind":"Pod","apiVersion":"v1","metadata":{"na"#;

type Pods = BTreeMap<(String, String), Arc<Value>>;

/// Whom a list or a watch asks for: the pods of a node, or all.
pub(super) type Selector = Option<String>;

pub(super) struct Store {
    version: u64,
    /// Up to here, the history is forgotten.
    compacted: u64,
    pods: Pods,
    history: Vec<Change>,
    watchers: Vec<Watcher>,
    /// What lists were given out in pages, by version.
    snapshots: BTreeMap<u64, Pods>,
    /// What lists have instead of the pods.
    frozen: Option<(u64, Pods)>,
}

/// What happened to a pod.
struct Change {
    version: u64,
    before: Option<Arc<Value>>,
    after: Option<Arc<Value>>,
}

struct Watcher {
    selector: Selector,
    /// It has requested what comes after this version.
    after: u64,
    bookmarks: bool,
    pieces: mpsc::UnboundedSender<Piece>,
}

/// What a list asks for.
pub(super) struct ListQuery {
    pub(super) selector: Selector,
    pub(super) limit: Option<usize>,
    pub(super) token: Option<String>,
    /// The version that it names, and whether it must be that one.
    pub(super) version: Option<u64>,
    pub(super) exact: bool,
}

impl Store {
    pub(super) fn new() -> Self {
        Self {
            version: FIRST_VERSION,
            compacted: 0,
            pods: Pods::new(),
            history: Vec::new(),
            watchers: Vec::new(),
            snapshots: BTreeMap::new(),
            frozen: None,
        }
    }

    pub(super) fn apply(&mut self, pod: &PodObject) {
        let key = pod.key();
        if self.pods.get(&key).is_some_and(|old| old["metadata"]["uid"] != pod.uid()) {
            self.delete(&key);
        }
        self.version += 1;
        let after = Arc::new(at_version(&pod.to_json(), self.version));
        let before = self.pods.insert(key, Arc::clone(&after));
        self.publish(Change { version: self.version, before, after: Some(after) });
    }

    pub(super) fn delete(&mut self, key: &(String, String)) -> bool {
        let before = self.pods.remove(key);
        let found = before.is_some();
        if found {
            self.version += 1;
            self.publish(Change { version: self.version, before, after: None });
        }
        found
    }

    pub(super) fn wipe(&mut self) {
        self.cut_watches();
        *self = Self { version: 1, ..Self::new() };
    }

    pub(super) fn compact(&mut self) {
        self.compacted = self.version;
        self.history.clear();
        self.snapshots.clear();
    }

    pub(super) fn freeze_lists(&mut self, freeze: bool) {
        self.frozen = freeze.then(|| (self.version, self.pods.clone()));
    }

    pub(super) fn get(&self, key: &(String, String)) -> Option<&Value> {
        self.pods.get(key).map(Arc::as_ref)
    }

    /// A page, or the `Status` that refuses it.
    pub(super) fn list(&mut self, query: &ListQuery) -> Result<Value, Value> {
        let (version, offset, pods) = match &query.token {
            Some(token) => {
                let parts = token.strip_prefix('p').and_then(|rest| rest.split_once('-'));
                let parts = parts.and_then(|(at, offset)| Some((at.parse().ok()?, offset.parse().ok()?)));
                let (version, offset): (u64, usize) =
                    parts.ok_or_else(|| status(400, "continue key is not valid"))?;
                let pods = self.snapshots.get(&version).cloned();
                (version, offset, pods.ok_or_else(|| status(410, "The continue token is too old"))?)
            }
            None => {
                if let Some(asked) = query.version.filter(|asked| *asked > self.version) {
                    return Err(self.too_large(asked));
                }
                let (version, pods) =
                    self.frozen.clone().unwrap_or_else(|| (self.version, self.pods.clone()));
                if query.exact && query.version != Some(version) {
                    return Err(status(410, "The resourceVersion for the provided list is too old"));
                }
                (version, 0, pods)
            }
        };

        let chosen: Vec<&Value> =
            pods.values().map(Arc::as_ref).filter(|pod| matches(&query.selector, pod)).collect();
        let limit = query.limit.unwrap_or(usize::MAX);
        let page: Vec<Value> = chosen.iter().skip(offset).take(limit).map(|pod| item(pod)).collect();
        let mut metadata = json!({"resourceVersion": version.to_string()});
        let end = offset + page.len();
        let remaining = chosen.len().saturating_sub(end);
        if remaining > 0 {
            metadata["continue"] = format!("p{version}-{end}").into();
            // With a selector, the real one doesn't know without reading all.
            if query.selector.is_none() {
                metadata["remainingItemCount"] = remaining.into();
            }
            self.snapshots.insert(version, pods);
        }
        Ok(json!({"kind": "PodList", "apiVersion": "v1", "metadata": metadata, "items": page}))
    }

    /// The events after a version, then those that come; without a version, all pods first. `Err` if the version is
    /// too old.
    pub(super) fn watch(
        &mut self,
        selector: Selector,
        after: Option<u64>,
        bookmarks: bool,
    ) -> Result<mpsc::UnboundedReceiver<Piece>, Value> {
        let (pieces, receiver) = mpsc::unbounded_channel();
        let watcher = Watcher { selector, after: after.unwrap_or(self.version), bookmarks, pieces };
        match after {
            Some(after) if after < self.compacted => {
                return Err(status(410, &format!("too old resource version: {after} ({})", self.compacted)));
            }
            Some(_) => self.history.iter().for_each(|change| watcher.publish(change)),
            None => {
                for pod in self.pods.values().filter(|pod| matches(&watcher.selector, pod)) {
                    watcher.send("ADDED", pod);
                }
            }
        }
        self.watchers.push(watcher);
        Ok(receiver)
    }

    pub(super) fn bookmark(&mut self) {
        let object = json!({
            "kind": "Pod",
            "apiVersion": "v1",
            "metadata": {"resourceVersion": self.version.to_string(), "creationTimestamp": null},
            "spec": {"containers": null},
            "status": {},
        });
        for watcher in self.watchers.iter().filter(|watcher| watcher.bookmarks) {
            watcher.send("BOOKMARK", &object);
        }
    }

    pub(super) fn open_watches(&mut self) -> usize {
        self.watchers.retain(|watcher| !watcher.pieces.is_closed());
        self.watchers.len()
    }

    pub(super) fn close_watches(&mut self) {
        self.watchers.clear();
    }

    pub(super) fn cut_watches(&mut self) {
        for watcher in self.watchers.drain(..) {
            let _ = watcher.pieces.send(Ok(Bytes::from_static(TORN)));
            let _ = watcher.pieces.send(Err(Cut));
        }
    }

    fn publish(&mut self, change: Change) {
        self.watchers.iter().for_each(|watcher| watcher.publish(&change));
        self.history.push(change);
    }

    fn too_large(&self, asked: u64) -> Value {
        let message = format!("Too large resource version: {asked}, current: {}", self.version);
        let mut status = status(504, &message);
        let cause = json!({"reason": "ResourceVersionTooLarge", "message": "Too large resource version"});
        status["details"] = json!({"causes": [cause], "retryAfterSeconds": 1});
        status
    }
}

impl Watcher {
    /// A change as the selector shows it: a pod may come into it and leave it.
    fn publish(&self, change: &Change) {
        if change.version <= self.after {
            return;
        }
        let inside = |pod: &Option<Arc<Value>>| pod.clone().filter(|pod| matches(&self.selector, pod));
        match (inside(&change.before), inside(&change.after)) {
            (None, Some(pod)) => self.send("ADDED", &pod),
            (Some(_), Some(pod)) => self.send("MODIFIED", &pod),
            (Some(pod), None) => self.send("DELETED", &at_version(&pod, change.version)),
            (None, None) => {}
        }
    }

    fn send(&self, kind: &str, object: &Value) {
        // An error says that the client is gone.
        let _ = self.pieces.send(Ok(line(kind, object)));
    }
}

/// An event as it stands in the stream of a watch.
pub(super) fn line(kind: &str, object: &Value) -> Bytes {
    format!("{}\n", json!({"type": kind, "object": object})).into()
}

fn matches(selector: &Selector, pod: &Value) -> bool {
    selector.as_ref().is_none_or(|node| pod["spec"]["nodeName"] == node.as_str())
}

fn at_version(pod: &Value, version: u64) -> Value {
    let mut pod = pod.clone();
    pod["metadata"]["resourceVersion"] = version.to_string().into();
    pod
}
