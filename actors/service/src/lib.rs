//! What a service has besides its loops: the admin socket, the configuration while it runs, events at the API server.

pub mod admin;
pub mod configuration;
#[cfg(feature = "kubernetes")]
pub mod node_events;
