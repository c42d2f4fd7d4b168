//! What a service has besides its loops: the admin socket, metrics, the configuration while it runs, the history of events, the
//! pauses on disk, events at the API server.

pub mod admin;
pub mod configuration;
pub mod history;
pub mod metrics;
#[cfg(feature = "kubernetes")]
pub mod node_events;
pub mod pauses;
