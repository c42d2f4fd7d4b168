//! Why the model refused something. The server turns these into gRPC codes; callers of the model see them as they are.

use std::io;
use std::path::{Path, PathBuf};

/// Why an operation on the modelled node, or its start, failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SimError {
    /// There is no object of that kind and id, name or prefix.
    #[error("{kind} {id:?}: not found")]
    NotFound {
        /// "container", "sandbox" or "image".
        kind: &'static str,
        /// What was requested.
        id: String,
    },
    /// The state of the object does not allow the request, or the request is not valid.
    #[error("{0}")]
    Refused(String),
    /// The real filesystem under the node's folder failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which file or folder.
        path: PathBuf,
        /// What the operating system reported.
        source: io::Error,
    },
}

impl SimError {
    /// Whether the object is missing, as opposed to any other error.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    /// An adapter for `map_err` that remembers the path.
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        move |source| Self::Io { path: path.to_path_buf(), source }
    }
}
