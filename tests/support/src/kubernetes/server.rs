//! The HTTP server below both fakes: its thread, its connections, its log, and the faults that are ordered. What the right
//! answer is, it doesn't know.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, mpsc as std_mpsc};
use std::thread::JoinHandle;

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::answer::{Answer, Body, status};
use super::faults::{Fault, Faults, On};
use super::request::Request;

/// Connections that wait to be accepted.
const BACKLOG: u32 = 128;

/// The number of checks in a turn of what has arrived: one accepts, one reads, one answers, one sends.
const TURNS: usize = 4;

/// What a server answers when nothing fails.
pub(super) type Handler = Box<dyn Fn(&Request, &[u8]) -> Answer + Send + Sync>;

/// What [`FakeApi`](super::FakeApi) and [`FakeKubelet`](super::FakeKubelet) have in common. Ends on drop.
pub struct FakeServer {
    address: SocketAddr,
    scheme: &'static str,
    shared: Arc<Shared>,
    /// Taken on drop, which ends the thread.
    commands: Option<mpsc::UnboundedSender<Command>>,
    thread: Option<JoinHandle<()>>,
    /// Bound, never listening: while the server is down, no other process is given its port.
    _port: TcpSocket,
}

struct Shared {
    handler: Handler,
    desk: Mutex<Desk>,
}

/// What a request meets first, under one lock: a test that sees it in the log knows that it has its fault.
struct Desk {
    log: Vec<Request>,
    faults: Faults,
    release: watch::Sender<()>,
}

struct Command {
    /// Whether to listen from now on; `None` changes nothing.
    listen: Option<bool>,
    done: std_mpsc::Sender<()>,
}

impl FakeServer {
    pub(super) fn start(tls: Option<TlsAcceptor>, handler: Handler) -> Self {
        let desk = Desk { log: Vec::new(), faults: Faults::default(), release: watch::Sender::new(()) };
        let shared = Arc::new(Shared { handler, desk: Mutex::new(desk) });
        let port = hold_port();
        let address = port.local_addr().expect("a bound socket has an address");
        let scheme = if tls.is_some() { "https" } else { "http" };

        let (commands, orders) = mpsc::unbounded_channel();
        let (ready, is_ready) = std_mpsc::channel();
        let server = Loop { address, tls, shared: Arc::clone(&shared) };
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime for a server").block_on(server.run(orders, ready));
        });
        is_ready.recv().expect("the server starts");
        Self { address, scheme, shared, commands: Some(commands), thread: Some(thread), _port: port }
    }

    /// Where it listens, `http://127.0.0.1:PORT`, with `https` if it speaks TLS.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// The same without a scheme.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Orders a fault for the next request of a kind. Several happen in the order they were ordered.
    pub fn fail_next(&self, on: On, fault: Fault) {
        self.desk().faults.push(on, fault);
    }

    /// Orders a fault for every request of a kind, or cancels that order.
    pub fn fail(&self, on: On, fault: Option<Fault>) {
        self.desk().faults.stand(on, fault);
    }

    /// Cancels all orders, also those that were for once, and releases all stalled answers.
    pub fn clear_faults(&self) {
        self.desk().faults = Faults::default();
        self.release_stalled();
    }

    /// Releases all answers that [`Fault::Stall`] holds.
    pub fn release_stalled(&self) {
        self.desk().release.send_replace(());
    }

    /// Closes the port: connections are refused, open ones end, whatever they are in the middle of.
    pub fn stop_listening(&self) {
        self.command(Some(false));
    }

    /// Opens the same port again.
    pub fn listen_again(&self) {
        self.command(Some(true));
    }

    /// All requests that have arrived, also those that a fault met.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.desk().log.clone()
    }

    /// How many requests of a kind have arrived.
    #[must_use]
    pub fn count(&self, on: On) -> usize {
        self.desk().log.iter().filter(|request| on.covers(request.kind())).count()
    }

    /// Gives the server its turn: what a client had sent by now has arrived when this returns, and is answered but where a
    /// fault holds it. For a test whose time stands still, and whose client needs turns of its own in between.
    pub fn turn(&self) {
        for _ in 0..TURNS {
            self.command(None);
        }
    }

    fn command(&self, listen: Option<bool>) {
        let (done, is_done) = std_mpsc::channel();
        let commands = self.commands.as_ref().expect("there until drop");
        let _ = commands.send(Command { listen, done });
        is_done.recv().expect("the server runs");
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.shared.desk.lock().unwrap()
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        self.commands = None;
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the server {} panicked", self.address);
        }
    }
}

/// The thread's own part.
struct Loop {
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
    shared: Arc<Shared>,
}

impl Loop {
    async fn run(self, mut commands: mpsc::UnboundedReceiver<Command>, ready: std_mpsc::Sender<()>) {
        let mut listener = Some(listen(self.address));
        let _ = ready.send(());
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = accept(listener.as_ref()) => {
                    connections.spawn(connection(accepted, self.tls.clone(), Arc::clone(&self.shared)));
                }
                Some(ended) = connections.join_next() => ended.expect("an answer that does not panic"),
                command = commands.recv() => {
                    let Some(Command { listen: wanted, done }) = command else { return };
                    match wanted {
                        Some(false) => {
                            listener = None;
                            connections.shutdown().await;
                        }
                        Some(true) if listener.is_none() => listener = Some(listen(self.address)),
                        _ => {}
                    }
                    // A task that yields runs again after a check of all sockets.
                    for _ in 0..TURNS {
                        tokio::task::yield_now().await;
                    }
                    let _ = done.send(());
                }
            }
        }
    }
}

/// A socket that holds a port of its own, also while the server does not listen. Only once it has one, the server may bind the same: before
/// that, two such sockets could be given one port, and one of the servers could not listen again.
fn hold_port() -> TcpSocket {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
    socket.set_reuseaddr(true).expect("a socket that shares its port");
    socket
}

fn listen(address: SocketAddr) -> TcpListener {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_reuseaddr(true).expect("a socket that shares its port");
    socket.bind(address).expect("the port that is held");
    socket.listen(BACKLOG).expect("a port that no other process listens to")
}

/// The next connection; never one without a listener.
async fn accept(listener: Option<&TcpListener>) -> TcpStream {
    let Some(listener) = listener else { return std::future::pending().await };
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            return stream;
        }
        tokio::task::yield_now().await;
    }
}

async fn connection(stream: TcpStream, tls: Option<TlsAcceptor>, shared: Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else { return speak(stream, false, shared).await };
    if let Ok(stream) = tls.accept(stream).await {
        let certificate = stream.get_ref().1.peer_certificates().is_some();
        speak(stream, certificate, shared).await;
    }
}

async fn speak(stream: impl AsyncRead + AsyncWrite + Unpin, certificate: bool, shared: Arc<Shared>) {
    let service = service_fn(|request| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(shared.respond(request, certificate).await) }
    });
    // How a connection ends is the client's business, or a fault that was ordered.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

impl Shared {
    async fn respond(&self, request: hyper::Request<Incoming>, certificate: bool) -> hyper::Response<Body> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        let request = Request::new(&head, certificate);
        let (fault, release) = self.arrive(&request);
        if let Some(Fault::Delay(time)) = fault {
            tokio::time::sleep(time).await;
        }
        let right = || (self.handler)(&request, &body);
        let answer = match fault {
            Some(Fault::Status(code)) => Answer::status(&status(code, "a fault that the test ordered")),
            Some(Fault::PlainText(code, page)) => Answer::whole(code, "text/html", page),
            Some(Fault::Garbage(body)) => Answer::whole(200, "application/json", body),
            Some(Fault::CutBody(bytes)) => right().cut_after(bytes),
            Some(Fault::Stall) => right().stalled(release),
            Some(Fault::Delay(_)) | None => right(),
        };
        answer.into_response()
    }

    fn arrive(&self, request: &Request) -> (Option<Fault>, watch::Receiver<()>) {
        let mut desk = self.desk.lock().unwrap();
        desk.log.push(request.clone());
        (desk.faults.take(request.kind()), desk.release.subscribe())
    }
}
