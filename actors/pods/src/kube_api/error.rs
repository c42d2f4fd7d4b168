//! Why the API server could not be asked, in sentences with what to do.

use std::time::Duration;

use http::StatusCode;
use serde::Deserialize;

use crate::http_body;

/// Why the API server could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// There are no credentials, or they are not understood.
    #[error(
        "how to reach the API server is not known: {0}; name a kubeconfig in pods.kube_api.kubeconfig, or run as a pod with \
         a service account"
    )]
    Configuration(String),
    /// It did not answer, or it is not trusted.
    #[error("the API server cannot be reached ({what}): {why}")]
    Unreachable {
        /// What was asked.
        what: &'static str,
        /// Why, with all causes.
        why: String,
    },
    /// It answered with an error.
    #[error("the API server answered {code} ({what}): {message}{}", advice(*code))]
    Status {
        /// What was asked.
        what: &'static str,
        /// The HTTP status.
        code: StatusCode,
        /// What it says.
        message: String,
    },
    /// The answer was cut off, too long, or is not understood.
    #[error("the answer of the API server could not be read ({what}): {why}")]
    Answer {
        /// What was asked.
        what: &'static str,
        /// Why.
        why: String,
    },
    /// It took too long.
    #[error("the API server has not answered within {}s ({what})", within.as_secs())]
    Deadline {
        /// What was asked.
        what: &'static str,
        /// For so long.
        within: Duration,
    },
    /// What we have seen is too old to go on from; a new list is needed. Nothing is wrong.
    #[error("the watch of the API server expired (410 Gone), the pods are listed again ({what})")]
    Expired {
        /// What was asked.
        what: &'static str,
    },
    /// There is no such node.
    #[error(
        "there is no node \"{0}\" in the cluster, so its pods are not those of this machine; set node_name to the name of this \
         node (kubectl get nodes), in a DaemonSet by CRI_GC__NODE_NAME from spec.nodeName"
    )]
    NodeMissing(String),
    /// The node of that name is another machine, or this one before its last boot.
    #[error(
        "node \"{node}\" of the cluster is in boot \"{theirs}\", this machine in \"{ours}\": it is another machine, or its \
         kubelet has not reported since the last boot; check node_name"
    )]
    OtherNode {
        /// The node.
        node: String,
        /// Its boot id.
        theirs: String,
        /// That of this kernel.
        ours: String,
    },
}

/// How an error is answered.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct StatusBody {
    pub kind: String,
    pub message: String,
    pub reason: String,
    pub details: Option<StatusDetails>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct StatusDetails {
    pub name: String,
    pub kind: String,
}

/// What to do about an error that it answers.
fn advice(code: StatusCode) -> &'static str {
    match code {
        StatusCode::UNAUTHORIZED => "; check the token or certificate of the kubeconfig or service account",
        StatusCode::FORBIDDEN => {
            "; apply deploy/kubernetes/rbac.yaml, which has the rights that are needed (the kubelet's own credentials do not have them)"
        }
        _ => "",
    }
}

impl ApiError {
    pub(super) fn configuration(error: &(dyn std::error::Error + 'static)) -> Self {
        Self::Configuration(cri_gc_kit::text::causes(error))
    }

    pub(super) fn unreachable(what: &'static str, error: &(dyn std::error::Error + 'static)) -> Self {
        Self::Unreachable { what, why: cri_gc_kit::text::causes(error) }
    }

    pub(super) fn status(what: &'static str, code: StatusCode, body: &[u8]) -> Self {
        if code == StatusCode::GONE {
            return Self::Expired { what };
        }
        // A proxy answers with a page of its own.
        let status: StatusBody = serde_json::from_slice(body).unwrap_or_default();
        let said = if status.message.is_empty() { "no reason given".to_owned() } else { status.message };
        Self::Status { what, code, message: said }
    }

    /// An error of the client library.
    pub(super) fn of_client(what: &'static str, error: &kube::Error) -> Self {
        match error {
            kube::Error::Api(status) if status.code == StatusCode::GONE.as_u16() => Self::Expired { what },
            kube::Error::Api(status) => Self::Status {
                what,
                code: StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
                message: status.message.clone(),
            },
            kube::Error::SerdeError(error) => Self::Answer { what, why: error.to_string() },
            // Its own words for this one say nothing.
            kube::Error::Service(error) => Self::unreachable(what, &**error),
            other => Self::unreachable(what, other),
        }
    }

    /// Whether the API server has made up its mind: the same request would be answered the same way.
    #[must_use]
    pub fn is_final(&self) -> bool {
        let passing = [StatusCode::UNAUTHORIZED, StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS];
        matches!(self, Self::Status { code, .. } if code.is_client_error() && !passing.contains(code))
    }

    /// Whether this happens while nothing is wrong, and passes by itself: an API server that has just started refuses whom it
    /// does not know yet, is busy, or waits for its store; a kubelet that has just started has not reported its node.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Status { code, .. } => http_body::may_pass(*code),
            Self::NodeMissing(_) | Self::OtherNode { .. } => true,
            _ => false,
        }
    }

    /// Whether it answers no request at all.
    #[must_use]
    pub fn is_away(&self) -> bool {
        let away = [
            StatusCode::UNAUTHORIZED,
            StatusCode::FORBIDDEN,
            StatusCode::TOO_MANY_REQUESTS,
            StatusCode::SERVICE_UNAVAILABLE,
        ];
        match self {
            Self::Unreachable { .. } | Self::Deadline { .. } => true,
            Self::Status { code, .. } => away.contains(code),
            _ => false,
        }
    }

    /// What makes two of them the same failure: the kind, and the code.
    #[must_use]
    pub fn kind(&self) -> u16 {
        match self {
            Self::Configuration(_) => 1,
            Self::Unreachable { .. } => 2,
            Self::Answer { .. } => 3,
            Self::Deadline { .. } => 4,
            Self::Expired { .. } => 5,
            Self::NodeMissing(_) => 6,
            Self::OtherNode { .. } => 7,
            Self::Status { code, .. } => code.as_u16(),
        }
    }
}
