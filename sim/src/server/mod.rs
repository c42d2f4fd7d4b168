//! The runtime's side of the socket: what serves, on a thread of its own or in memory, and what happens to every call on its way to the model.
//!
//! A call is recorded in the journal, meets its fault, then runs the hooks and is carried out on the model under one
//! lock, so that nothing happens between a hook and its RPC. What the RPCs mean is in `runtime_service` and
//! `image_service`; the rules of the node are in the model.

mod image_service;
mod odd;
mod runtime_service;
mod wire;

use std::fs;
use std::io;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use cri_gc_proto::RUNTIME_MESSAGE_LIMIT;
use cri_gc_proto::cri::image_service_server::ImageServiceServer;
use cri_gc_proto::cri::runtime_service_server::RuntimeServiceServer;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, copy_bidirectional, duplex};
use tokio::sync::futures::OwnedNotified;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::{UnboundedReceiverStream, UnixListenerStream};
use tokio_stream::{Stream, StreamExt};
use tonic::transport::Server as Tonic;
use tonic::transport::server::Connected;
use tonic::{Code, Response, Status};

use crate::calls::{Journal, Method};
use crate::clock::Clock;
use crate::error::SimError;
use crate::faults::{Fault, Faults, Hooks};
use crate::model::Node;
use crate::options::Flavour;

/// What is kept when the server dies.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) node: Mutex<Node>,
    pub(crate) clock: Arc<Clock>,
    pub(crate) faults: Faults,
    pub(crate) hooks: Hooks,
    pub(crate) journal: Journal,
}

/// One life of the server.
#[derive(Debug)]
pub(crate) struct Server {
    place: Place,
    /// True once it is to end.
    die: watch::Sender<bool>,
}

/// Where it serves.
#[derive(Debug)]
enum Place {
    /// On the socket, on a thread of its own. `None` while it is dropped.
    Thread(Option<JoinHandle<()>>),
    /// On the tokio runtime that it was started on; these are new connections.
    Here(mpsc::UnboundedSender<DuplexStream>),
}

/// How much may be on its way in each direction of a connection in memory.
const IN_MEMORY: usize = 64 * 1024;

impl Server {
    /// Binds the socket and serves on it, on a thread of its own.
    ///
    /// # Errors
    /// The socket cannot be bound (a path over about 100 bytes is too long for one), or the operating system has no thread left.
    pub(crate) fn start(shared: Arc<Shared>, socket: &Path) -> Result<Self, SimError> {
        // A runtime that died leaves its socket behind.
        match fs::remove_file(socket) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(SimError::io(socket)(error)),
            _ => {}
        }
        let listener = UnixListener::bind(socket)
            .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
            .map_err(SimError::io(socket))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(SimError::io(socket))?;
        let die = watch::Sender::new(false);
        let services = Services { shared, die: die.clone() };
        // Tokio's listener belongs to the runtime that is entered when it is made.
        let entered = runtime.enter();
        let listener = tokio::net::UnixListener::from_std(listener).map_err(SimError::io(socket))?;
        drop(entered);
        let thread = thread::Builder::new()
            .name("cri-gc-sim".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    let die = services.die.clone();
                    tokio::select! {
                        () = services.serve(UnixListenerStream::new(listener)) => {}
                        () = died(&die) => {}
                    }
                });
                // Dropping the runtime drops every connection, in the middle of whatever call.
                drop(runtime);
            })
            .map_err(SimError::io(socket))?;
        Ok(Self { place: Place::Thread(Some(thread)), die })
    }

    /// Serves in memory, on the tokio runtime that this is called on.
    pub(crate) fn here(shared: Arc<Shared>) -> Self {
        let die = watch::Sender::new(false);
        let (streams, incoming) = mpsc::unbounded_channel();
        let services = Services { shared, die: die.clone() };
        let incoming = UnboundedReceiverStream::new(incoming).map(io::Result::Ok);
        tokio::spawn(services.serve(incoming));
        Self { place: Place::Here(streams), die }
    }

    /// A new connection to a server in memory.
    ///
    /// # Errors
    /// It is dead, or has a socket.
    pub(crate) fn connect(&self) -> io::Result<DuplexStream> {
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        let Place::Here(streams) = &self.place else { return Err(refused()) };
        if *self.die.borrow() {
            return Err(refused());
        }
        let ((client, mut inner), (mut outer, server)) = (duplex(IN_MEMORY), duplex(IN_MEMORY));
        streams.send(server).map_err(|_| refused())?;
        let die = self.die.clone();
        tokio::spawn(async move {
            // Both ends are cut off together, in the middle of whatever is on its way.
            tokio::select! {
                biased;
                () = died(&die) => {}
                _ = copy_bidirectional(&mut inner, &mut outer) => {}
            }
        });
        Ok(client)
    }

    /// Whether it still serves.
    pub(crate) fn is_alive(&self) -> bool {
        match &self.place {
            Place::Thread(thread) => thread.as_ref().is_some_and(|thread| !thread.is_finished()),
            Place::Here(_) => !*self.die.borrow(),
        }
    }
}

impl Drop for Server {
    /// Ends it in the middle of whatever it does, and waits for that, unless the caller is the server itself.
    fn drop(&mut self) {
        self.die.send_replace(true);
        let Place::Thread(thread) = &mut self.place else { return };
        if let Some(thread) = thread.take().filter(|thread| thread.thread().id() != thread::current().id()) {
            // The thread ends in any case; a panic in it has been printed already.
            drop(thread.join());
        }
    }
}

/// Both services.
#[derive(Debug, Clone)]
struct Services {
    shared: Arc<Shared>,
    /// True once it is to end.
    die: watch::Sender<bool>,
}

/// The messages of a stream.
type Messages<T> = tokio_stream::Iter<std::vec::IntoIter<Result<T, Status>>>;

/// How an RPC ends.
type Reply<T> = Result<Response<T>, Status>;

impl Services {
    async fn serve<S>(self, incoming: impl Stream<Item = io::Result<S>>)
    where
        S: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
    {
        // The limit on answers is kept in `call`, where what is not sent counts as well.
        let served = Tonic::builder()
            .add_service(
                RuntimeServiceServer::new(self.clone()).max_decoding_message_size(RUNTIME_MESSAGE_LIMIT),
            )
            .add_service(ImageServiceServer::new(self).max_decoding_message_size(RUNTIME_MESSAGE_LIMIT))
            .serve_with_incoming(incoming)
            .await;
        // An accept that fails ends the server, as any death does: callers see it as unavailable.
        drop(served);
    }

    /// Carries out one call, with its fault and its hooks. It is answered with a message; the number is that of the bytes by which
    /// the message would be larger with the annotations that are not sent.
    async fn call<T: prost::Message + Default>(
        &self,
        method: Method,
        id: &str,
        carry_out: impl FnOnce(&mut Node) -> Result<(T, usize), Status> + Send,
    ) -> Reply<T> {
        let _in_flight = self.shared.journal.enter(method, id, self.shared.clock.now());
        let mut met = self.shared.faults.meet(method, id);
        if met.as_ref().is_some_and(|(fault, _)| *fault == Fault::Empty) {
            return Ok(Response::new(T::default()));
        }
        if let Some((fault, cleared)) = met.take_if(|(fault, _)| !matches!(fault, Fault::After(_))) {
            self.meet(fault, cleared).await?;
        }
        let answer = {
            let mut node = self.shared.node.lock();
            self.shared.hooks.run(method, &mut node, id);
            // The server may have died meanwhile, even by a hook of this call: then nothing is carried out or answered.
            let lives = !*self.die.borrow();
            lives.then(|| carry_out(&mut node).and_then(|answer| checked(answer, node.options.message_limit)))
        };
        let Some(answer) = answer else { return std::future::pending().await };
        if let Some((Fault::After(fault), cleared)) = met {
            self.meet(*fault, cleared).await?;
        }
        answer
    }

    /// Carries out a call that is answered with a stream, which only CRI-O has. Each message comes with the bytes by which it would be
    /// larger with the annotations that are not sent.
    async fn stream<T: prost::Message>(
        &self,
        method: Method,
        messages: impl FnOnce(&Node) -> Vec<(T, usize)> + Send,
    ) -> Reply<Messages<T>> {
        let mut sent = Vec::new();
        let carry_out = |node: &mut Node| {
            if node.options.flavour != Flavour::CriO {
                return Err(Status::unimplemented(format!("unknown method {method:?}")));
            }
            let limit = node.options.message_limit;
            let messages = messages(node).into_iter();
            sent = messages.map(|message| checked(message, limit).map(Response::into_inner)).collect();
            Ok(((), 0))
        };
        self.call(method, "", carry_out).await?;
        Ok(Response::new(tokio_stream::iter(sent)))
    }

    /// Carries out a call whose answer is empty.
    async fn change<T: prost::Message + Default>(
        &self,
        method: Method,
        id: &str,
        change: impl FnOnce(&mut Node) -> Result<(), SimError> + Send,
    ) -> Reply<T> {
        self.call(method, id, |node| Ok(change(node).map(|()| (T::default(), 0))?)).await
    }

    /// Lets the fault happen.
    async fn meet(&self, fault: Fault, cleared: OwnedNotified) -> Result<(), Status> {
        match fault {
            Fault::Error(code, message) => return Err(Status::new(code, message)),
            Fault::Hang => cleared.await,
            Fault::Delay(pause) => tokio::time::sleep(pause).await,
            Fault::Die => {
                self.die.send_replace(true);
                std::future::pending().await
            }
            // `After` does not nest, and `Empty` is handled before.
            Fault::After(_) | Fault::Empty => {}
        }
        Ok(())
    }
}

/// The answer, or an error if it is larger than a runtime sends.
fn checked<T: prost::Message>((message, unsent): (T, usize), limit: usize) -> Reply<T> {
    let size = message.encoded_len().saturating_add(unsent);
    if size > limit {
        let text = format!("grpc: trying to send message larger than max ({size} vs. {limit})");
        return Err(Status::resource_exhausted(text));
    }
    Ok(Response::new(message))
}

/// Ends when the server is to end.
async fn died(die: &watch::Sender<bool>) {
    // Never an error: the sender exists as long as this runs.
    drop(die.subscribe().wait_for(|die| *die).await);
}

/// The status that both runtimes give: NotFound for what is missing, Unknown for all errors that have no code there.
impl From<SimError> for Status {
    fn from(error: SimError) -> Self {
        let code = if error.is_not_found() { Code::NotFound } else { Code::Unknown };
        Self::new(code, error.to_string())
    }
}

/// Success also if the object is missing.
fn missing_is_fine(result: Result<(), SimError>) -> Result<(), SimError> {
    result.or_else(|error| if error.is_not_found() { Ok(()) } else { Err(error) })
}
