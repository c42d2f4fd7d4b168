//! In place of `kube_api` in a program that was built without the cargo feature `kubernetes`: there is no client.

use crate::error::SourceError;

/// The API server, which cannot be asked.
#[derive(Clone)]
pub enum Api {}

impl Api {
    /// Whether a pod of that UID is there under one of these namespaces and names.
    #[expect(clippy::unused_async, reason = "as the client that is not here")]
    pub async fn is_there(&self, _: &str, _: &[(&str, &str)]) -> Result<bool, SourceError> {
        match *self {}
    }
}
