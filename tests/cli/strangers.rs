//! Sockets on which something listens that is no CRI runtime.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use cri_gc_sim::{Code, Fault, Method, Options, Scope, Sim};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::service::Routes;
use tonic::transport::Server;

use super::program::{Bench, text};

/// Something that listens, and does the same with everybody who comes.
pub struct Stranger {
    pub socket: PathBuf,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Stranger {
    pub fn new(bench: &Bench, meet: impl Fn(UnixStream) + Send + 'static) -> Self {
        let socket = bench.path("stranger.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let ends = Arc::new(AtomicBool::new(false));
        let end = Arc::clone(&ends);
        let thread = std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if end.load(Ordering::Relaxed) {
                    return;
                }
                meet(stream);
            }
        });
        Self { socket, ends, thread: Some(thread) }
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        drop(UnixStream::connect(&self.socket));
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

/// A gRPC server that knows no call at all.
pub struct NoServices {
    pub socket: PathBuf,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

pub fn grpc_without_services(bench: &Bench) -> NoServices {
    let socket = bench.path("grpc.sock");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let listener = runtime.block_on(async { tokio::net::UnixListener::bind(&socket).unwrap() });
    let thread = std::thread::spawn(move || {
        let served = Server::builder()
            .add_routes(Routes::default())
            .serve_with_incoming_shutdown(UnixListenerStream::new(listener), async { drop(stopped.await) });
        runtime.block_on(served).unwrap();
    });
    NoServices { socket, stop: Some(stop), thread: Some(thread) }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

fn refused(bench: &Bench, socket: &Path, parts: &[&str]) {
    for command in ["plan", "snapshot", "sweep"] {
        let parts = [&[text(socket), "container runtime unreachable"], parts].concat();
        bench.run(&[command, "--endpoint", text(socket)]).refused(4, &parts);
    }
}

#[test]
fn one_that_closes_at_once() {
    let bench = Bench::new();
    let stranger = Stranger::new(&bench, drop);
    refused(
        &bench,
        &stranger.socket,
        &["check that the runtime is running, and that the socket is that of a CRI runtime"],
    );
}

#[test]
fn one_that_answers_garbage() {
    let bench = Bench::new();
    let stranger = Stranger::new(&bench, |mut stream| {
        let _ = stream.write_all(&[0xff; 4096]);
    });
    refused(&bench, &stranger.socket, &["that the socket is that of a CRI runtime"]);
}

/// Answers as a server of HTTP/1.1 answers a request that it does not understand.
pub fn another_http(mut stream: UnixStream) {
    // Reads a little first, as a server does.
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let _ = stream.read(&mut [0; 16]);
    let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
}

#[test]
fn one_that_speaks_another_http() {
    let bench = Bench::new();
    let stranger = Stranger::new(&bench, another_http);
    refused(&bench, &stranger.socket, &["that the socket is that of a CRI runtime"]);
}

#[test]
fn one_that_never_answers_is_given_up() {
    let bench = Bench::new();
    let kept = std::sync::Mutex::new(Vec::new());
    let stranger = Stranger::new(&bench, move |stream| kept.lock().unwrap().push(stream));
    let parts = [text(&stranger.socket), "no answer within 10s", "if that is the runtime, it hangs"];
    bench.run(&["sweep", "--endpoint", text(&stranger.socket)]).refused(4, &parts);
}

#[test]
fn one_that_speaks_grpc_but_not_cri() {
    let bench = Bench::new();
    let server = grpc_without_services(&bench);
    refused(&bench, &server.socket, &["speaks gRPC but not CRI v1"]);
}

#[test]
fn a_runtime_that_fails_at_the_version_call_gets_no_other_call() {
    let bench = Bench::new();
    let folder = tempfile::tempdir().unwrap();
    let sim = Sim::start(folder.path(), Options::default()).unwrap();
    for code in [Code::Unimplemented, Code::Unavailable, Code::Unknown, Code::PermissionDenied] {
        sim.clear_faults();
        sim.fault(Method::Version, Fault::error(code, "not today"), Scope::Always);
        refused(&bench, sim.socket(), &["not today"]);
    }
    assert!(sim.calls().iter().all(|call| call.method == Method::Version), "{:?}", sim.calls());
}
