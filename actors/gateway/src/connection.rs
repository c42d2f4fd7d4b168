//! The connection to the runtime: lazy, and made again by itself when the runtime is reachable again.
//!
//! tonic connects with the first request and, after a loss, with each following one, so the pause before a runtime that
//! was restarted is used again is never longer than the pause between two requests.

use std::future::{Ready, ready};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Poll};

use cri_gc_config::Runtime;
use cri_gc_proto::cri;
use cri_gc_proto::cri::image_service_client::ImageServiceClient;
use cri_gc_proto::cri::runtime_service_client::RuntimeServiceClient;
use hyper_util::rt::TokioIo;
use prost::Message;
use tokio::io::DuplexStream;
use tonic::client::Grpc;
use tonic::codegen::Service;
use tonic::codegen::http::Uri;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use crate::answers::{ContainerFacts, RuntimeVersion};
use crate::convert;
use crate::decode::Objects;
use crate::shared::Item;

/// How the runtime is connected to.
#[derive(Clone, Default)]
pub enum Connect {
    /// By its socket.
    #[default]
    Socket,
    /// By a stream in memory, in a simulation.
    InMemory(InMemory),
}

/// Makes one stream after the other, to one and the same runtime.
pub type InMemory = Arc<dyn Fn() -> io::Result<DuplexStream> + Send + Sync>;

/// Where the runtime is, and how it is connected to.
#[derive(Clone)]
pub struct Sockets {
    pub runtime: Runtime,
    pub connect: Connect,
}

/// What tonic asks for a connection in memory.
struct Streams(InMemory);

impl Service<Uri> for Streams {
    type Response = TokioIo<DuplexStream>;
    type Error = io::Error;
    type Future = Ready<io::Result<Self::Response>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _uri: Uri) -> Self::Future {
        ready((self.0)().map(TokioIo::new))
    }
}

/// Clients of both services. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Clients {
    pub(crate) runtime: RuntimeServiceClient<Channel>,
    /// For its lists, which are read object by object.
    lists: Grpc<Channel>,
    pub(crate) images: ImageServiceClient<Channel>,
}

/// A large list comes faster when the sender may be this many bytes ahead; HTTP/2's own 64 KiB make it wait for us.
const WINDOW: u32 = 4 * 1024 * 1024;

impl Clients {
    /// Clients that connect with the first request. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// A path that cannot be written as an endpoint.
    pub(crate) fn lazy(sockets: &Sockets, max_message_size: usize) -> Result<Self, tonic::transport::Error> {
        let Sockets { runtime: places, connect } = sockets;
        let runtime = channel(places.endpoint.path(), connect)?;
        let images = match &places.image_endpoint {
            Some(own) if own.path() != places.endpoint.path() => channel(own.path(), connect)?,
            _ => runtime.clone(),
        };
        Ok(Self {
            lists: Grpc::new(runtime.clone()).max_decoding_message_size(max_message_size),
            runtime: RuntimeServiceClient::new(runtime).max_decoding_message_size(max_message_size),
            images: ImageServiceClient::new(images).max_decoding_message_size(max_message_size),
        })
    }

    pub(crate) async fn version(mut self) -> Result<RuntimeVersion, Status> {
        let answer = self.runtime.version(cri::VersionRequest::default()).await?.into_inner();
        Ok(RuntimeVersion { name: answer.runtime_name, version: answer.runtime_version })
    }

    /// What the objects become that the runtime service lists at this path.
    pub(crate) async fn list<Q, W, R>(
        mut self,
        path: &'static str,
        request: Q,
        item: impl Item<W, R>,
    ) -> Result<Vec<R>, Status>
    where
        Q: Message + 'static,
        W: Message + Default + 'static,
        R: Send + Sync + 'static,
    {
        self.lists.ready().await.map_err(|error| Status::from_error(error.into()))?;
        let (request, path) = (Request::new(request), PathAndQuery::from_static(path));
        Ok(self.lists.unary(request, path, Objects::into(item)).await?.into_inner())
    }

    pub(crate) async fn container_status(mut self, id: String) -> Result<ContainerFacts, Status> {
        let request = cri::ContainerStatusRequest { container_id: id.clone() };
        let status = self.runtime.container_status(request).await?.into_inner().status;
        Ok(convert::container_facts(check_answered(status, |status| status.id == id)?))
    }
}

/// The status in an answer, of the object that was requested. A runtime takes a unique prefix for the object: where the object is gone,
/// another may answer for it.
pub fn check_answered<T>(status: Option<T>, is_asked: impl FnOnce(&T) -> bool) -> Result<T, Status> {
    let status = status.ok_or_else(|| Status::unknown("the answer holds no status"))?;
    if is_asked(&status) {
        Ok(status)
    } else {
        Err(Status::not_found("the runtime answered for another object"))
    }
}

fn channel(socket: &Path, connect: &Connect) -> Result<Channel, tonic::transport::Error> {
    let endpoint = Endpoint::try_from(format!("unix://{}", socket.display()))?;
    let endpoint = endpoint.initial_stream_window_size(WINDOW).initial_connection_window_size(WINDOW);
    Ok(match connect {
        Connect::Socket => endpoint.connect_lazy(),
        Connect::InMemory(streams) => endpoint.connect_with_connector_lazy(Streams(Arc::clone(streams))),
    })
}
