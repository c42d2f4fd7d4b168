//! What a service has besides its loops: the admin socket, metrics, the configuration while it runs, events at the API server.

pub mod admin;
pub mod configuration;
pub mod metrics;
#[cfg(feature = "kubernetes")]
pub mod node_events;
