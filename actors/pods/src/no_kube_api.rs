//! In place of `kube_api` in a program that was built without the cargo feature `kubernetes`: there is no client.

/// The API server, which cannot be asked.
#[derive(Clone)]
pub enum Api {}
