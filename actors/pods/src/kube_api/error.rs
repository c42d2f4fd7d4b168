//! What can go wrong with a request to the API server, in sentences with what to do. `what` is what was asked.

use std::error::Error;
use std::fmt::Display;
use std::time::Duration;

use http::StatusCode;
use serde::Deserialize;

use crate::error::{ServerFailure, SourceError};
use cri_gc_kit::text::causes;

/// How an error is answered.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct StatusBody {
    pub kind: String,
    pub message: String,
    pub reason: String,
    pub details: Option<StatusDetails>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct StatusDetails {
    pub name: String,
    pub kind: String,
}

/// There are no credentials, or they are not understood.
pub fn configuration(why: impl Display) -> SourceError {
    let text = format!(
        "how to reach the API server is not known: {why}; name a kubeconfig in pods.kube_api.kubeconfig, or run as a pod with \
         a service account"
    );
    SourceError::server(ServerFailure::Address, text)
}

/// It did not answer, or it is not trusted.
pub fn unreachable(what: &str, error: &(dyn Error + 'static)) -> SourceError {
    let text = format!("the API server cannot be reached ({what}): {}", causes(error));
    SourceError::server(ServerFailure::Unreachable, text)
}

/// It took too long.
pub fn deadline(what: &str, within: Duration) -> SourceError {
    let text = format!("the API server has not answered within {}s ({what})", within.as_secs());
    SourceError::server(ServerFailure::Deadline, text)
}

/// The answer was cut off, too long, or is not understood.
pub fn unread(what: &str, why: impl Display) -> SourceError {
    let text = format!("the answer of the API server could not be read ({what}): {why}");
    SourceError::server(ServerFailure::Answer, text)
}

/// What we have seen is too old to continue from.
pub fn expired(what: &str) -> SourceError {
    let text = format!("the watch of the API server expired (410 Gone), the pods are listed again ({what})");
    SourceError::server(ServerFailure::Expired, text)
}

/// It answered with an error, and that body.
pub fn refused(what: &str, code: StatusCode, body: &[u8]) -> SourceError {
    // A proxy answers with a page of its own.
    let status: StatusBody = serde_json::from_slice(body).unwrap_or_default();
    let said = if status.message.is_empty() { "no reason given" } else { &status.message };
    status_error(what, code, said)
}

fn status_error(what: &str, code: StatusCode, said: &str) -> SourceError {
    let advice = match code {
        StatusCode::GONE => return expired(what),
        StatusCode::UNAUTHORIZED => "; check the token or certificate of the kubeconfig or service account",
        StatusCode::FORBIDDEN => {
            "; apply deploy/kubernetes/rights/rbac.yaml, which has the rights that are needed (the kubelet's own credentials do not have them)"
        }
        _ => "",
    };
    let text = format!("the API server answered {code} ({what}): {said}{advice}");
    SourceError::server(ServerFailure::Status(code), text)
}

/// An error of the client library.
pub fn of_client(what: &str, error: &kube::Error) -> SourceError {
    match error {
        kube::Error::Api(status) => {
            let code = StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            status_error(what, code, &status.message)
        }
        kube::Error::SerdeError(error) => unread(what, error),
        // Its own words for this one say nothing.
        kube::Error::Service(error) => unreachable(what, &**error),
        other => unreachable(what, other),
    }
}
