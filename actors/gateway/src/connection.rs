//! The connection to the runtime: lazy, and made again by itself when the runtime is reachable again.
//!
//! tonic connects with the first request and, after a loss, with each following one, so the pause before a runtime that
//! was restarted is used again is never longer than the pause between two requests.

use std::path::{Path, PathBuf};

use cri_gc_config::Settings;
use cri_gc_proto::cri::image_service_client::ImageServiceClient;
use cri_gc_proto::cri::runtime_service_client::RuntimeServiceClient;
use tonic::transport::{Channel, Endpoint};

/// The sockets of a runtime.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sockets {
    /// Of the runtime service.
    pub runtime: PathBuf,
    /// Of the image service; nearly always the same.
    pub images: PathBuf,
}

impl From<&Settings> for Sockets {
    fn from(settings: &Settings) -> Self {
        Self {
            runtime: settings.runtime.endpoint.path().to_owned(),
            images: settings.runtime.image_endpoint().path().to_owned(),
        }
    }
}

/// Clients of both services. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Clients {
    pub(crate) runtime: RuntimeServiceClient<Channel>,
    pub(crate) images: ImageServiceClient<Channel>,
}

/// A large list comes faster when the sender may be this many bytes ahead; HTTP/2's own 64 KiB make it wait for us.
const WINDOW: u32 = 4 * 1024 * 1024;

impl Clients {
    /// Clients that connect with the first request. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// A path that cannot be written as an endpoint.
    pub fn lazy(sockets: &Sockets, max_message_size: usize) -> Result<Self, tonic::transport::Error> {
        let runtime = channel(&sockets.runtime)?;
        let images =
            if sockets.images == sockets.runtime { runtime.clone() } else { channel(&sockets.images)? };
        Ok(Self {
            runtime: RuntimeServiceClient::new(runtime).max_decoding_message_size(max_message_size),
            images: ImageServiceClient::new(images).max_decoding_message_size(max_message_size),
        })
    }
}

fn channel(socket: &Path) -> Result<Channel, tonic::transport::Error> {
    let endpoint = Endpoint::try_from(format!("unix://{}", socket.display()))?;
    Ok(endpoint.initial_stream_window_size(WINDOW).initial_connection_window_size(WINDOW).connect_lazy())
}
