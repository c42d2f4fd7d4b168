//! The API server: what an agent on a node may ask of it, over plain HTTP.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::stream;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::answer::{Answer, Piece, cut, not_found, status};
use super::pod::PodObject;
use super::request::Request;
use super::server::FakeServer;
use super::store::{ListQuery, Selector, Store, line};

/// How long a watch lasts that says nothing of it.
const WATCH_TIME: Duration = Duration::from_secs(1800);

/// An API server with pods, nodes and events in memory. What all servers do (faults, the log, being down) is
/// [`FakeServer`]'s.
pub struct FakeApi {
    node: String,
    state: Arc<Mutex<State>>,
    server: FakeServer,
}

struct State {
    store: Store,
    nodes: BTreeMap<String, Value>,
    /// Nodes that were ever registered: each has its own uid.
    registrations: u64,
    events: Vec<Value>,
    token: Option<String>,
    max_page: usize,
    expired_as_http: bool,
}

impl FakeApi {
    /// Starts one. The node is the one that pods are bound to when they don't say; it is not registered before
    /// [`set_node`](Self::set_node).
    #[must_use]
    pub fn start(node: &str) -> Self {
        let state = Arc::new(Mutex::new(State {
            store: Store::new(),
            nodes: BTreeMap::new(),
            registrations: 0,
            events: Vec::new(),
            token: None,
            max_page: usize::MAX,
            expired_as_http: false,
        }));
        let shared = Arc::clone(&state);
        let answer = move |request: &Request, body: &[u8]| shared.lock().unwrap().answer(request, body);
        Self { node: node.to_owned(), state, server: FakeServer::start(None, Box::new(answer)) }
    }

    /// Writes `kubeconfig` into a folder, with the token that is demanded now.
    ///
    /// # Panics
    /// If the file can't be written.
    #[must_use]
    pub fn write_kubeconfig(&self, folder: &Path) -> PathBuf {
        let user =
            self.state().token.as_ref().map_or("{}".to_owned(), |token| format!("{{token: {token:?}}}"));
        // There is no TLS to verify, and to read all the certificates that a machine trusts takes a client long.
        let text = format!(
            "apiVersion: v1\n\
             kind: Config\n\
             current-context: fake\n\
             clusters:\n\
             - name: fake\n  cluster:\n    server: {}\n    insecure-skip-tls-verify: true\n\
             contexts:\n\
             - name: fake\n  context:\n    cluster: fake\n    user: agent\n\
             users:\n\
             - name: agent\n  user: {user}\n",
            self.url()
        );
        let path = folder.join("kubeconfig");
        std::fs::write(&path, text).expect("a folder that can be written to");
        path
    }

    /// Demands this bearer token from now on, or none.
    pub fn set_token(&self, token: Option<&str>) {
        self.state().token = token.map(str::to_owned);
    }

    /// Registers a node, or says that a registered one was rebooted.
    pub fn set_node(&self, name: &str, boot_id: &str) {
        let mut state = self.state();
        let known = state.nodes.get(name).map(|node| node["metadata"]["uid"].clone());
        let uid = known.unwrap_or_else(|| {
            state.registrations += 1;
            format!("00000000-0000-4000-8000-{:012}", state.registrations).into()
        });
        let node = json!({
            "kind": "Node",
            "apiVersion": "v1",
            "metadata": {"name": name, "uid": uid},
            "spec": {},
            "status": {"nodeInfo": {"bootID": boot_id}},
        });
        state.nodes.insert(name.to_owned(), node);
    }

    /// Takes a node out of the cluster; registered again, it has another uid.
    pub fn remove_node(&self, name: &str) {
        self.state().nodes.remove(name);
    }

    /// Creates or changes a pod, and sends it to the watches. If one of this name but of another uid is there, it is
    /// deleted first.
    pub fn apply(&self, pod: PodObject) {
        self.state().store.apply(&pod.or_node(&self.node));
    }

    /// Deletes a pod at once, and sends it to the watches; false if it was not there.
    pub fn delete(&self, namespace: &str, name: &str) -> bool {
        self.state().store.delete(&(namespace.to_owned(), name.to_owned()))
    }

    /// All pods are gone and no event says so; versions start again, far below the last one, and open watches are cut.
    /// As if the server was restarted with an empty store. Nodes and events are kept.
    pub fn wipe(&self) {
        self.state().store.wipe();
    }

    /// Sends a bookmark of the current version to all watches that want bookmarks.
    pub fn bookmark(&self) {
        self.state().store.bookmark();
    }

    /// Forgets the history: watches from an earlier version and pages of an earlier list are refused as expired.
    pub fn compact(&self) {
        self.state().store.compact();
    }

    /// A watch that comes too late is refused by code 410, instead of by 200 and an `ERROR` in the stream.
    pub fn expired_watch_as_http(&self, as_http: bool) {
        self.state().expired_as_http = as_http;
    }

    /// No page is longer than this, whatever limit the client names. A list without a limit is never cut into pages.
    pub fn set_max_page(&self, pods: usize) {
        self.state().max_page = pods;
    }

    /// Lists have what is there now, until [`thaw_lists`](Self::thaw_lists); all else continues.
    pub fn freeze_lists(&self) {
        self.state().store.freeze_lists(true);
    }

    /// Lists have what is there again.
    pub fn thaw_lists(&self) {
        self.state().store.freeze_lists(false);
    }

    /// How many watches are open.
    #[must_use]
    pub fn open_watches(&self) -> usize {
        self.state().store.open_watches()
    }

    /// Ends all watches as their timeout would.
    pub fn close_watches(&self) {
        self.state().store.close_watches();
    }

    /// Ends all watches in the middle of an event.
    pub fn cut_watches(&self) {
        self.state().store.cut_watches();
    }

    /// All events that were written, the oldest first, each as it is now.
    #[must_use]
    pub fn events(&self) -> Vec<Value> {
        self.state().events.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl Deref for FakeApi {
    type Target = FakeServer;

    fn deref(&self) -> &FakeServer {
        &self.server
    }
}

impl State {
    fn answer(&mut self, request: &Request, body: &[u8]) -> Answer {
        if self.token.is_some() && self.token != request.token {
            return Answer::status(&status(401, "Unauthorized"));
        }
        let answer = match (request.method.as_str(), request.segments().as_slice()) {
            ("GET", ["version"]) => {
                let version =
                    json!({"major": "1", "minor": "34", "gitVersion": "v1.34.0", "platform": "linux/amd64"});
                Ok(Answer::json(200, &version))
            }
            ("GET", ["api", "v1", "pods"]) => self.pods(request),
            ("GET", ["api", "v1", "namespaces", namespace, "pods", name]) => {
                let pod = self.store.get(&((*namespace).to_owned(), (*name).to_owned()));
                pod.map(|pod| Answer::json(200, pod)).ok_or_else(|| not_found("pods", name))
            }
            ("GET", ["api", "v1", "nodes", name]) => {
                let node = self.nodes.get(*name);
                node.map(|node| Answer::json(200, node)).ok_or_else(|| not_found("nodes", name))
            }
            ("POST", ["api", "v1", "namespaces", namespace, "events"]) => self.post_event(namespace, body),
            ("PATCH", ["api", "v1", "namespaces", namespace, "events", name]) => {
                self.patch_event(namespace, name, &request.content_type, body)
            }
            _ => Ok(Answer::text(404, "404 page not found\n")),
        };
        answer.unwrap_or_else(|refusal| Answer::status(&refusal))
    }

    fn pods(&mut self, request: &Request) -> Result<Answer, Value> {
        let selector = selector(request)?;
        let version = number(request, "resourceVersion")?;
        if request.kind() == Some(super::On::Watch) {
            let bookmarks = request.parameter("allowWatchBookmarks").is_some_and(|value| value != "false");
            let time = number(request, "timeoutSeconds")?.filter(|time| *time > 0);
            let time = time.map_or(WATCH_TIME, Duration::from_secs);
            return match self.store.watch(selector, version.filter(|version| *version > 0), bookmarks) {
                Ok(events) => Ok(Answer::lines(until(events, Instant::now() + time))),
                Err(expired) if self.expired_as_http => Err(expired),
                Err(expired) => Ok(Answer::lines(stream::iter([Ok(line("ERROR", &expired))]))),
            };
        }
        let limit = number(request, "limit")?.filter(|limit| *limit > 0);
        let query = ListQuery {
            selector,
            limit: limit.map(|limit| self.max_page.min(usize::try_from(limit).unwrap_or(usize::MAX))),
            token: request.parameter("continue").filter(|token| !token.is_empty()),
            version,
            exact: request.parameter("resourceVersionMatch").is_some_and(|value| value == "Exact"),
        };
        Ok(Answer::json(200, &self.store.list(&query)?))
    }

    fn post_event(&mut self, namespace: &str, body: &[u8]) -> Result<Answer, Value> {
        let mut event = object(body)?;
        event["kind"] = "Event".into();
        event["apiVersion"] = "v1".into();
        if event["metadata"]["namespace"] != namespace {
            return Err(status(400, "the namespace of the event is not the one of the request"));
        }
        if let (None, Some(prefix)) =
            (event["metadata"]["name"].as_str(), event["metadata"]["generateName"].as_str())
        {
            event["metadata"]["name"] = format!("{prefix}{:05}", self.events.len()).into();
        }
        let Some(name) = event["metadata"]["name"].as_str() else {
            return Err(status(422, "Event \"\" is invalid: metadata.name: Required value"));
        };
        if self.event(namespace, name).is_some() {
            return Err(status(409, &format!("events \"{name}\" already exists")));
        }
        self.events.push(event.clone());
        Ok(Answer::json(201, &event))
    }

    fn patch_event(&mut self, namespace: &str, name: &str, kind: &str, body: &[u8]) -> Result<Answer, Value> {
        if !["application/merge-patch+json", "application/strategic-merge-patch+json"].contains(&kind) {
            return Err(status(415, "the media type of the patch is none that is known here"));
        }
        let patch = object(body)?;
        let event = self.event(namespace, name).ok_or_else(|| not_found("events", name))?;
        merge(event, patch);
        Ok(Answer::json(200, event))
    }

    fn event(&mut self, namespace: &str, name: &str) -> Option<&mut Value> {
        let mut events = self.events.iter_mut();
        events.find(|event| event["metadata"]["namespace"] == namespace && event["metadata"]["name"] == name)
    }
}

/// The stream of a watch, up to its deadline.
fn until(
    events: mpsc::UnboundedReceiver<Piece>,
    deadline: Instant,
) -> impl futures_util::Stream<Item = Piece> + Send {
    stream::unfold(events, move |mut events| async move {
        let piece = tokio::time::timeout_at(deadline, events.recv()).await.ok()??;
        let piece = if piece.is_err() { cut().await } else { piece };
        Some((piece, events))
    })
}

fn selector(request: &Request) -> Result<Selector, Value> {
    let Some(text) = request.parameter("fieldSelector").filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let node = text.strip_prefix("spec.nodeName=").map(|node| node.trim_start_matches('='));
    node.map(|node| Some(node.to_owned()))
        .ok_or_else(|| status(400, &format!("unable to parse the field selector {text}")))
}

fn number(request: &Request, name: &str) -> Result<Option<u64>, Value> {
    let text = request.parameter(name).filter(|text| !text.is_empty());
    let refusal = |text: &str| status(400, &format!("{name}: Invalid value: \"{text}\""));
    text.map(|text| text.parse().map_err(|_| refusal(&text))).transpose()
}

fn object(body: &[u8]) -> Result<Value, Value> {
    let value: Option<Value> = serde_json::from_slice(body).ok();
    value.filter(Value::is_object).ok_or_else(|| status(400, "the body is no JSON object"))
}

/// Puts a merge patch into an object: null removes, objects are merged, all else replaces.
fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (key, value) in patch {
        if !value.is_null() {
            merge(&mut target[key], value);
        } else if let Some(fields) = target.as_object_mut() {
            fields.remove(&key);
        }
    }
}
