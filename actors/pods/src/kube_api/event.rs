//! Events of the node at the API server, where `kubectl describe node` shows them.

use http::header::CONTENT_TYPE;
use http::{Request, StatusCode};
use jiff::{Timestamp, Unit};
use serde::Serialize;
use serde_json::{Value, json};

use super::client::Api;
use super::error::{refused, unreachable};
use crate::error::SourceError;

/// The component that reports events.
const COMPONENT: &str = "cri-gc";

/// Events of what is in no namespace are kept here.
const NAMESPACE: &str = "default";

/// The API server refuses longer messages, in bytes.
const LONGEST_MESSAGE: usize = 1024;

const POST: &str = "recording an event of the node";

/// Whether something is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Severity {
    /// All is well.
    Normal,
    /// An operator should check.
    Warning,
}

/// An event of the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeEvent {
    /// When it happened.
    pub time: Timestamp,
    /// Its number in this run of the service: a clock may show one time twice.
    pub sequence: u64,
    /// In one word: the kubelet's, where it has one.
    pub reason: &'static str,
    /// Whether something is wrong.
    pub severity: Severity,
    /// In words.
    pub message: String,
}

impl NodeEvent {
    /// As the API server takes it.
    fn body(&self, node: &str) -> Value {
        let time = self.time.round(Unit::Second).unwrap_or(self.time).to_string();
        json!({
            "apiVersion": "v1",
            "kind": "Event",
            // The same name each time it is sent, so that it is taken once.
            "metadata": {
                "name": format!("{node}.{:x}.{:x}", self.time.as_nanosecond(), self.sequence),
                "namespace": NAMESPACE,
            },
            // A kubelet names the node so, too, and this is how it is found.
            "involvedObject": { "kind": "Node", "name": node, "uid": node },
            "reason": self.reason,
            "message": cut(&self.message, LONGEST_MESSAGE),
            "type": self.severity,
            "source": { "component": COMPONENT, "host": node },
            "reportingComponent": COMPONENT,
            "reportingInstance": node,
            "firstTimestamp": time,
            "lastTimestamp": time,
            "count": 1,
        })
    }
}

/// The beginning of a text, at most so many bytes, and no half character.
fn cut(text: &str, longest: usize) -> &str {
    let ends = text.char_indices().map(|(start, char)| start + char.len_utf8());
    let end = ends.take_while(|end| *end <= longest).last().unwrap_or_default();
    text.get(..end).unwrap_or_default()
}

impl Api {
    /// Records an event of the node.
    ///
    /// # Errors
    /// It was not recorded, or it is not known whether it was.
    pub async fn record(&self, event: &NodeEvent) -> Result<(), SourceError> {
        let body = event.body(&self.node).to_string().into_bytes();
        let path = format!("/api/v1/namespaces/{NAMESPACE}/events");
        let request = Request::post(path).header(CONTENT_TYPE, "application/json").body(body);
        let request = request.map_err(|error| unreachable(POST, &error))?;
        let (code, answer) = self.call(POST, request).await?;
        // It is there already: it was sent before, and the answer lost.
        if code.is_success() || code == StatusCode::CONFLICT {
            return Ok(());
        }
        Err(refused(POST, code, &answer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_names_the_node_as_a_kubelet_does_and_is_never_too_long() {
        let event = NodeEvent {
            time: Timestamp::from_millisecond(1_700_000_000_400).unwrap(),
            sequence: 31,
            reason: "ImageGCFailed",
            severity: Severity::Warning,
            message: "ä".repeat(1_000),
        };
        let body = event.body("worker-1");
        assert_eq!(body["involvedObject"], json!({ "kind": "Node", "name": "worker-1", "uid": "worker-1" }));
        assert_eq!(body["metadata"]["name"], "worker-1.17979cfe4e018400.1f");
        assert_eq!(body["lastTimestamp"], "2023-11-14T22:13:20Z");
        assert_eq!(body["type"], "Warning");
        assert_eq!(body["message"].as_str().unwrap().len(), 1024);
    }
}
