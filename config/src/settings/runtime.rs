//! `[runtime]`: the container runtime and the RPCs to it (spec 8).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Endpoint;
use crate::forms::{duration, optional, size};

/// How the container runtime is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Runtime {
    /// The socket of the runtime service; containerd's by default. The kubelet's setting is
    /// `containerRuntimeEndpoint`.
    pub endpoint: Endpoint,
    /// The socket of the image service where it is another one; see [`Runtime::image_endpoint`]. The kubelet's setting
    /// is `imageServiceEndpoint`.
    #[serde(with = "optional")]
    pub image_endpoint: Option<Endpoint>,
    /// The deadline of one RPC, at least 1s. The kubelet's setting is `runtimeRequestTimeout`.
    #[serde(with = "duration")]
    pub request_timeout: Duration,
    /// The largest answer that is taken, in bytes: 1MiB to 2GiB. A larger list is asked for in parts.
    #[serde(with = "size")]
    pub max_message_size: u64,
}

impl Runtime {
    /// The socket of the image service: its own, else that of the runtime service.
    #[must_use]
    pub fn image_endpoint(&self) -> &Endpoint {
        self.image_endpoint.as_ref().unwrap_or(&self.endpoint)
    }
}

impl Default for Runtime {
    fn default() -> Self {
        Self {
            endpoint: Endpoint::containerd(),
            image_endpoint: None,
            request_timeout: Duration::from_secs(2 * 60),
            max_message_size: 64 * bytesize::MIB,
        }
    }
}
