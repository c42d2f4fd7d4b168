//! The pods of this node at the API server: the list, what changes it, single pods, and whether the node is this machine.

use std::collections::HashMap;

use ecow::EcoString;
use futures_util::{Stream, StreamExt};
use http::{Request, StatusCode};
use kube::api::{ListParams, WatchEvent, WatchParams};
use serde_json::Value;

use super::client::{ANSWER_WITHIN, Api};
use super::error::{StatusBody, deadline, expired, of_client, refused, unreachable, unread};
use crate::error::{ServerFailure, SourceError};
use crate::kube_pod::KubePod;
use crate::listing::{Listing, PodList};

/// Pods of one page.
const PAGE: u32 = 500;

/// No node has so many pods: a server that continues after these pages answers something else.
const MOST_PAGES: usize = 200;

/// Seconds after which the API server ends a watch, and a new one continues from there.
const WATCH_SECONDS: u32 = 290;

/// The pods of the node, as of a version that a watch can continue from.
#[derive(Debug)]
pub struct PodStore {
    /// By the UIDs of the API's own objects.
    pods: HashMap<EcoString, KubePod>,
    /// From which version a watch continues.
    pub version: String,
}

impl PodStore {
    /// Takes over an event of the watch. Returns whether anything is different now.
    ///
    /// # Errors
    /// The watch cannot continue from it: a new list is needed.
    pub fn apply(&mut self, event: WatchEvent<KubePod>) -> Result<bool, SourceError> {
        let (reached, has_changed) = match event {
            WatchEvent::Added(pod) | WatchEvent::Modified(pod) => {
                let pod = known(pod)?;
                let reached = pod.metadata.resource_version.clone();
                self.pods.insert(pod.metadata.uid.clone(), pod);
                (reached, true)
            }
            WatchEvent::Deleted(pod) => {
                self.pods.remove(&known(pod.clone())?.metadata.uid);
                (pod.metadata.resource_version, true)
            }
            WatchEvent::Bookmark(mark) => (Some(mark.metadata.resource_version), false),
            WatchEvent::Error(status) => return Err(of_client(WATCH, &kube::Error::Api(status))),
        };
        if let Some(reached) = reached {
            if is_before(&reached, &self.version) {
                // It has lost what it reported before: nothing of that counts any more.
                return Err(expired("its versions decreased"));
            }
            self.version = reached;
        }
        Ok(has_changed)
    }

    /// The list that they make up.
    #[must_use]
    pub fn listing(&self) -> Listing {
        let mut listing = Listing::default();
        for (number, pod) in self.pods.values().enumerate() {
            // All of them have a UID, so this cannot fail.
            let _ = listing.take(pod, number);
        }
        listing
    }
}

/// The pages of a list, put together.
#[derive(Debug, Default)]
pub struct Pages {
    pods: HashMap<EcoString, KubePod>,
    version: Option<String>,
    /// Where the next page begins.
    next: Option<String>,
    count: usize,
}

impl Pages {
    /// Takes the next page. With the last one the list is whole; `None`: another page follows, from [`Self::next`].
    ///
    /// # Errors
    /// It is no page of such a list, or the list does not end: nothing of it counts then.
    pub fn take(&mut self, page: PodList) -> Result<Option<PodStore>, SourceError> {
        let of_pods = |kind: &Option<String>| matches!(kind.as_deref(), None | Some("Pod"));
        let (Some(metadata), Some(items)) = (page.metadata, page.items) else {
            return Err(unread(LIST, "it is no list"));
        };
        if page.kind != "PodList" || !items.iter().all(|pod| of_pods(&pod.kind)) {
            return Err(unread(LIST, "it is no list of pods"));
        }
        for pod in items {
            let pod = known(pod)?;
            self.pods.insert(pod.metadata.uid.clone(), pod);
        }
        // All pages are of the version of the first.
        let version = self.version.take().or(metadata.resource_version);
        self.version = version.filter(|version| !version.is_empty());
        let Some(next) = metadata.next.filter(|next| !next.is_empty()) else {
            if metadata.remaining_item_count.is_some_and(|left| left > 0) {
                return Err(unread(LIST, "it ends before it is whole"));
            }
            let version = self.version.take().ok_or_else(|| unread(LIST, "it has no version"))?;
            return Ok(Some(PodStore { pods: std::mem::take(&mut self.pods), version }));
        };
        self.count += 1;
        if self.count == MOST_PAGES || self.next.as_ref() == Some(&next) {
            return Err(unread(LIST, "it does not end"));
        }
        self.next = Some(next);
        Ok(None)
    }

    /// Where the page begins that follows; `None` for the first one.
    #[must_use]
    pub fn next(&self) -> Option<&str> {
        self.next.as_deref()
    }
}

/// Whether a version is before another. All known servers use numbers; what is none cannot be compared.
fn is_before(version: &str, other: &str) -> bool {
    matches!((version.parse::<u64>(), other.parse::<u64>()), (Ok(version), Ok(other)) if version < other)
}

fn known(pod: KubePod) -> Result<KubePod, SourceError> {
    if pod.metadata.uid.is_empty() {
        return Err(unread(LIST, "a pod has no UID"));
    }
    Ok(pod)
}

const LIST: &str = "listing the pods of this node";
const WATCH: &str = "watching the pods of this node";
const ASK: &str = "asking for a pod";
const NODE: &str = "asking for the node";

impl Api {
    fn selector(&self) -> String {
        format!("spec.nodeName={}", self.node)
    }

    /// Is the node of that name this machine, in this boot? The pods of another one would prove all of ours absent.
    ///
    /// # Errors
    /// It is not, or that is not known.
    pub async fn check_node(&self, boot_id: &str) -> Result<(), SourceError> {
        let request = get(NODE, &format!("/api/v1/nodes/{}", name(NODE, &self.node)?))?;
        let node: Value = self.read(NODE, request).await.map_err(|error| match error {
            SourceError::Server { failure: ServerFailure::Status(StatusCode::NOT_FOUND), .. } => {
                let text = format!(
                    "there is no node \"{}\" in the cluster, so its pods are not those of this machine; set node_name to the \
                     name of this node (kubectl get nodes), in a DaemonSet by CRI_GC__NODE_NAME from spec.nodeName",
                    self.node
                );
                SourceError::server(ServerFailure::NodeMissing, text)
            }
            error => error,
        })?;
        let theirs = node.pointer("/status/nodeInfo/bootID").and_then(Value::as_str).unwrap_or_default();
        // A machine that has no boot id is not the node of the one that has none either.
        if theirs == boot_id && !boot_id.is_empty() {
            return Ok(());
        }
        let text = format!(
            "node \"{}\" of the cluster is in boot \"{theirs}\", this machine in \"{boot_id}\": it is another machine, or its \
             kubelet has not reported since the last boot; check node_name (in a system container the two may \
             see different boot ids: use pods.source = \"kubelet\" there)",
            self.node
        );
        Err(SourceError::server(ServerFailure::OtherNode, text))
    }

    /// All pods of the node, as they are now: the newest list, never one out of a cache of unknown age.
    ///
    /// # Errors
    /// It could not be read whole.
    pub async fn list(&self) -> Result<PodStore, SourceError> {
        let mut params = ListParams::default().fields(&self.selector()).limit(PAGE);
        let mut pages = Pages::default();
        loop {
            let request = kube::api::Request::new("/api/v1/pods").list(&params);
            let request = request.map_err(|error| unreachable(LIST, &error))?;
            if let Some(whole) = pages.take(self.read(LIST, request).await?)? {
                return Ok(whole);
            }
            params.continue_token = pages.next().map(ToOwned::to_owned);
        }
    }

    /// What changes from that version on. It ends when the API server or the connection does.
    ///
    /// # Errors
    /// The watch could not be begun; an item: it could not go on.
    pub async fn watch(
        &self,
        version: &str,
    ) -> Result<impl Stream<Item = Result<WatchEvent<KubePod>, SourceError>> + Unpin + use<>, SourceError>
    {
        let params = WatchParams::default().fields(&self.selector()).timeout(WATCH_SECONDS);
        let request = kube::api::Request::new("/api/v1/pods").watch(&params, version);
        let request = request.map_err(|error| unreachable(WATCH, &error))?;
        let begun = tokio::time::timeout(ANSWER_WITHIN, self.client.request_events::<KubePod>(request)).await;
        let events = match begun {
            Ok(begun) => begun.map_err(|error| of_client(WATCH, &error))?,
            Err(_) => return Err(deadline(WATCH, ANSWER_WITHIN)),
        };
        Ok(Box::pin(events.map(|event| event.map_err(|error| of_client(WATCH, &error)))))
    }

    /// Whether a pod of that UID is there under one of these namespaces and names.
    ///
    /// # Errors
    /// That is not known: nothing follows from it.
    pub async fn is_there(&self, uid: &str, names: &[(&str, &str)]) -> Result<bool, SourceError> {
        if names.is_empty() {
            return Err(unread(ASK, "its name is not known"));
        }
        for (namespace, pod) in names {
            let path = format!("/api/v1/namespaces/{}/pods/{}", name(ASK, namespace)?, name(ASK, pod)?);
            let (code, body) = self.call(ASK, get(ASK, &path)?).await?;
            if code == StatusCode::NOT_FOUND && says_no_such_pod(&body, pod) {
                continue;
            }
            if !code.is_success() {
                return Err(refused(ASK, code, &body));
            }
            let found: KubePod = serde_json::from_slice(&body).map_err(|error| unread(ASK, error))?;
            if found.kind.as_deref() != Some("Pod")
                || (found.metadata.namespace.as_str(), found.metadata.name.as_str()) != (*namespace, *pod)
            {
                return Err(unread(ASK, "it is not the pod that was asked for"));
            }
            // Another UID is another pod, unless it is the mirror of this one.
            if known(found)?.uids().any(|(known, _)| known == uid) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn get(what: &'static str, path: &str) -> Result<Request<Vec<u8>>, SourceError> {
    Request::get(path).body(Vec::new()).map_err(|error| unreachable(what, &error))
}

/// A name that may stand in a path: those of Kubernetes all may. What a runtime says can be anything.
fn name<'a>(what: &'static str, name: &'a str) -> Result<&'a str, SourceError> {
    let is_good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
    if !name.is_empty() && name.bytes().all(is_good) && !name.starts_with('.') {
        return Ok(name);
    }
    Err(unread(what, format_args!("{name:?} is no name of Kubernetes")))
}

/// Whether that is how an API server says that there is no such pod. A proxy that knows no such path answers 404 as well.
fn says_no_such_pod(body: &[u8], name: &str) -> bool {
    let Ok(status) = serde_json::from_slice::<StatusBody>(body) else { return false };
    let meant = status.details.is_some_and(|details| details.kind == "pods" && details.name == name);
    status.kind == "Status"
        && status.reason == "NotFound"
        && (meant || status.message == format!("pods \"{name}\" not found"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_api_servers_own_words_say_that_a_pod_is_gone() {
        let gone = |text: &str| says_no_such_pod(text.as_bytes(), "web-0");
        let status = |rest: &str| format!(r#"{{"kind":"Status","apiVersion":"v1","code":404,{rest}}}"#);
        assert!(gone(&status(r#""reason":"NotFound","details":{"name":"web-0","kind":"pods"}"#)));
        assert!(gone(&status(r#""reason":"NotFound","message":"pods \"web-0\" not found""#)));
        for other in [
            "404 page not found".to_owned(),
            String::new(),
            "{}".to_owned(),
            status(
                r#""reason":"NotFound","message":"the server could not find the requested resource","details":{}"#,
            ),
            status(r#""reason":"NotFound","details":{"name":"web-1","kind":"pods"}"#),
            status(r#""reason":"NotFound","details":{"name":"web-0","kind":"nodes"}"#),
            status(r#""reason":"Forbidden","details":{"name":"web-0","kind":"pods"}"#),
        ] {
            assert!(!gone(&other), "{other}");
        }
    }

    #[test]
    fn only_names_of_kubernetes_are_used_in_a_path() {
        for good in ["web-0", "kube-system", "a.b", "0"] {
            assert!(name(ASK, good).is_ok(), "{good}");
        }
        for bad in ["", "..", "../nodes", "a/b", "a?b", "a b", "A", "ä", "%2e", "a\n"] {
            assert!(name(ASK, bad).is_err(), "{bad}");
        }
    }
}
