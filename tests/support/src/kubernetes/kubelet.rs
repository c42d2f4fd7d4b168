//! The kubelet: what it says of its pods, over its open port or over TLS.

use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::{Value, json};

use super::answer::Answer;
use super::certificates::Certificates;
use super::pod::{PodObject, item};
use super::request::Request;
use super::server::FakeServer;

/// A kubelet that answers `GET /pods`. What all servers do (faults, the log, being down) is [`FakeServer`]'s.
pub struct FakeKubelet {
    node: String,
    state: Arc<Mutex<State>>,
    certificates: Option<Certificates>,
    server: FakeServer,
}

#[derive(Default)]
struct State {
    body: String,
    token: Option<String>,
    certificate_required: bool,
}

impl FakeKubelet {
    /// Starts one that speaks plain HTTP. It has no pods, as a kubelet that hasn't heard of any yet.
    #[must_use]
    pub fn start(node: &str) -> Self {
        Self::start_with(node, None)
    }

    /// Starts one that speaks HTTPS, with certificates made for it.
    #[must_use]
    pub fn start_https(node: &str) -> Self {
        Self::start_with(node, Some(Certificates::new()))
    }

    fn start_with(node: &str, certificates: Option<Certificates>) -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        let answer = move |request: &Request, _: &[u8]| shared.lock().unwrap().answer(request);
        let acceptor = certificates.as_ref().map(|certificates| certificates.acceptor.clone());
        let server = FakeServer::start(acceptor, Box::new(answer));
        let kubelet = Self { node: node.to_owned(), state, certificates, server };
        kubelet.set_pods(Vec::new());
        kubelet
    }

    /// Admits clients with this bearer token (or, if that is demanded, a certificate); `None` demands no token.
    pub fn set_token(&self, token: Option<&str>) {
        self.state().token = token.map(str::to_owned);
    }

    /// Admits clients with a certificate (or, if one is set, the token).
    pub fn require_client_certificate(&self, required: bool) {
        self.state().certificate_required = required;
    }

    /// The pods that it lists from now on. Those that name no source came from the API.
    pub fn set_pods(&self, pods: Vec<PodObject>) {
        let pods = pods.into_iter().map(|pod| pod.or_node(&self.node).or_source("api").to_json());
        let items: Vec<Value> = pods.map(|pod| item(&pod)).collect();
        // Go's way to write an empty list that nothing was ever put into.
        let items = if items.is_empty() { Value::Null } else { items.into() };
        self.set_body(
            json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items}).to_string(),
        );
    }

    /// What it answers from now on, word by word.
    pub fn set_body(&self, body: String) {
        self.state().body = body;
    }

    /// The CA that its certificate is signed by.
    ///
    /// # Panics
    /// Without TLS, as the other two.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.certificates().ca_pem
    }

    /// A certificate that lets a client in.
    #[must_use]
    pub fn client_cert_pem(&self) -> &str {
        &self.certificates().client_cert_pem
    }

    /// The key of that certificate.
    #[must_use]
    pub fn client_key_pem(&self) -> &str {
        &self.certificates().client_key_pem
    }

    fn certificates(&self) -> &Certificates {
        self.certificates.as_ref().expect("a kubelet that was started with TLS")
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl Deref for FakeKubelet {
    type Target = FakeServer;

    fn deref(&self) -> &FakeServer {
        &self.server
    }
}

impl State {
    fn answer(&self, request: &Request) -> Answer {
        let open = self.token.is_none() && !self.certificate_required;
        let by_token = self.token.is_some() && self.token == request.token;
        if !(open || by_token || self.certificate_required && request.certificate) {
            return Answer::text(401, "Unauthorized");
        }
        match (request.method.as_str(), request.segments().as_slice()) {
            ("GET", ["pods"]) => Answer::whole(200, "application/json", self.body.clone()),
            _ => Answer::text(404, "404 page not found\n"),
        }
    }
}
