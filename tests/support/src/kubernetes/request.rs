//! What was asked of a server, as its log keeps it.

use std::sync::atomic::{AtomicU64, Ordering};

use hyper::header::{AUTHORIZATION, CONTENT_TYPE};
use hyper::http::request::Parts;

use super::faults::On;

/// Counts the requests to all servers of this process, so that those to two servers have an order.
static SEQUENCE: AtomicU64 = AtomicU64::new(0);

/// A request that arrived.
#[derive(Debug, Clone)]
pub struct Request {
    /// `GET`, `POST` or `PATCH`.
    pub method: String,
    /// The path, without the query.
    pub path: String,
    /// The query as it was sent, empty without one.
    pub query: String,
    /// Grows with every request to any server of this process.
    pub at_sequence: u64,
    /// The bearer token that came with it.
    pub token: Option<String>,
    pub(super) content_type: String,
    /// Whether the client showed a certificate (that TLS found to be good).
    pub(super) certificate: bool,
}

impl Request {
    pub(super) fn new(head: &Parts, certificate: bool) -> Self {
        let header = |name| head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        Self {
            method: head.method.to_string(),
            path: head.uri.path().to_owned(),
            query: head.uri.query().unwrap_or_default().to_owned(),
            at_sequence: SEQUENCE.fetch_add(1, Ordering::Relaxed),
            token: header(AUTHORIZATION).strip_prefix("Bearer ").map(str::to_owned),
            content_type: header(CONTENT_TYPE).to_owned(),
            certificate,
        }
    }

    /// A parameter of the query, decoded.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<String> {
        let pairs = self.query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs.map(|(key, value)| (decode(key), decode(value))).find(|(key, _)| key == name).map(|(_, v)| v)
    }

    /// The parts of the path.
    pub(super) fn segments(&self) -> Vec<&str> {
        self.path.trim_matches('/').split('/').collect()
    }

    /// What kind of request it is; `None` for one that no matcher but [`On::Any`] means.
    pub(super) fn kind(&self) -> Option<On> {
        let watch = self.parameter("watch").is_some_and(|value| matches!(value.as_str(), "1" | "true"));
        match *self.segments() {
            ["pods"] | ["api", "v1", "pods"] => Some(if watch { On::Watch } else { On::List }),
            ["api", "v1", "namespaces", _, "pods", _] => Some(On::Get),
            ["api", "v1", "nodes", _] => Some(On::Node),
            ["api", "v1", "namespaces", _, "events", ..] => Some(On::Events),
            _ => None,
        }
    }
}

/// Undoes the escapes of a query; what is no escape is kept.
fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let escaped = tail.get(..2).and_then(|hex| str::from_utf8(hex).ok());
        let escaped = escaped.and_then(|hex| u8::from_str_radix(hex, 16).ok()).filter(|_| first == b'%');
        bytes.push(escaped.unwrap_or(if first == b'+' { b' ' } else { first }));
        rest = if escaped.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
