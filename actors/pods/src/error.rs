//! Why a pod source could not be read, in sentences with what to do.

use std::mem::Discriminant;

use cri_gc_gateway::CriError;
use http::StatusCode;
use jiff::Timestamp;

/// Why the source could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The file is not there, or may not be read.
    #[error("pods.file {path}: {error}; check the path, and that whatever writes it runs")]
    File {
        /// The file.
        path: String,
        /// What the operating system says.
        error: std::io::Error,
    },
    /// What it holds is no list of pods.
    #[error("pods.file {path} is not a list of pods: {why}")]
    Listing {
        /// The file.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// The file has a timestamp in the future, by which it is not known how old it is.
    #[error(
        "the modification time of pods.file {path} is in the future ({at:.0}); check the clock of this node, or run `touch {path}`"
    )]
    Future {
        /// The file.
        path: String,
        /// Its modification time.
        at: Timestamp,
    },
    /// It lists none of the pods that run.
    #[error(
        "the pod source lists none of the pods that run here ({ready} with a ready sandbox); it is the list of another node, or incomplete: check what writes it, and node_name"
    )]
    ListsNoneThatRun {
        /// How many there are.
        ready: usize,
    },
    /// The runtime could not be asked what there is.
    #[error("could not list the containers and sandboxes of the runtime: {0}")]
    Runtime(#[from] CriError),
    /// The kubelet or the API server could not be asked, or its answer is of no use.
    #[error("{text}")]
    Server {
        /// In which way.
        failure: ServerFailure,
        /// Which server, what is wrong and what to do.
        text: String,
    },
    /// The kubelet may have just started.
    #[error(
        "the kubelet lists only static pods (since {since:.0}); it may have just started. Its list is used after 10m, or at \
         once with --confirm-deleted (sweep, run-now)"
    )]
    OnlyStatic {
        /// Since when.
        since: Timestamp,
    },
    /// This program was built without the source.
    #[error(
        "pods.source = \"kube-api\" is not built into this program (it needs the cargo feature `kubernetes`); use \"kubelet\", \
         \"file\" or \"runtime\""
    )]
    NotBuiltIn,
    /// A worker thread or the provider itself failed.
    #[error("the pod tracking of cri-gc panicked and is being restarted; try again, and see the log")]
    Failed,
}

/// In which way a server could not be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ServerFailure {
    /// Its address is none, or it is not known how to reach it.
    Address,
    /// The credentials for it can't be used.
    Credentials,
    /// It did not answer.
    Unreachable,
    /// Its certificate is not one that we trust.
    Untrusted,
    /// It answered with an error.
    Status(StatusCode),
    /// It took too long.
    Deadline,
    /// The answer was cut off, too long, or is not understood.
    Answer,
    /// The answer is no list of pods.
    Listing,
    /// What we have seen is too old to continue from; a new list is needed. Nothing is wrong.
    Expired,
    /// There is no such node.
    NodeMissing,
    /// The node of that name is another machine, or this one before its last boot.
    OtherNode,
}

/// What makes two errors the same failure (behaviour: Failures and log levels): the variant, and what failed at the
/// server that was asked.
pub type ErrorKind = (Discriminant<SourceError>, Option<ServerFailure>);

impl SourceError {
    /// A server could not be asked in that way. The text is a whole sentence, with the server and what to do.
    pub(crate) fn server(failure: ServerFailure, text: impl Into<String>) -> Self {
        Self::Server { failure, text: text.into() }
    }

    fn failure(&self) -> Option<ServerFailure> {
        if let Self::Server { failure, .. } = self { Some(*failure) } else { None }
    }

    /// What makes two of them the same failure.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        (std::mem::discriminant(self), self.failure())
    }

    /// Whether this happens while nothing is wrong, and passes by itself: a server that has just started refuses whom it does
    /// not know yet, is busy, or waits for its store; a kubelet that has just started has not reported its node.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        let busy = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN, StatusCode::TOO_MANY_REQUESTS];
        match self.failure() {
            Some(ServerFailure::Status(code)) => code.is_server_error() || busy.contains(&code),
            Some(ServerFailure::NodeMissing | ServerFailure::OtherNode) => true,
            _ => matches!(self, Self::OnlyStatic { .. }),
        }
    }

    /// Whether the server has made up its mind: the same request would be answered the same way.
    #[must_use]
    pub fn is_final(&self) -> bool {
        let passing = [StatusCode::UNAUTHORIZED, StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS];
        matches!(self.failure(), Some(ServerFailure::Status(code)) if code.is_client_error() && !passing.contains(&code))
    }

    /// Whether the server answers no request at all.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        match self.failure() {
            Some(ServerFailure::Unreachable | ServerFailure::Deadline) => true,
            Some(ServerFailure::Status(code)) => [
                StatusCode::UNAUTHORIZED,
                StatusCode::FORBIDDEN,
                StatusCode::TOO_MANY_REQUESTS,
                StatusCode::SERVICE_UNAVAILABLE,
            ]
            .contains(&code),
            _ => false,
        }
    }
}
