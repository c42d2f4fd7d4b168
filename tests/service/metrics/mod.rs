//! Metrics, probes and the page, as a client reads them over HTTP (behaviour: Metrics).
//!
//! Here: a service that serves them, and a client that sends what it likes. `figures`: what is served, and docs/metrics.md. `probes`:
//! when the service is alive and ready. `clients`: clients that are wrong, slow or too many. `page`: what people see.

mod clients;
mod figures;
mod page;
mod probes;

use std::net::SocketAddr;

use cri_gc_collectors::collector::Paused;
use cri_gc_kit::words::Loop;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::stage::{Setup, Stage};

/// A service, and where it serves.
struct Served {
    stage: Stage,
    address: SocketAddr,
}

/// An answer.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Served {
    async fn start(setup: Setup) -> Self {
        let setup = setup.set("metrics.listen", "127.0.0.1:0");
        let settings = cri_gc_config::load(&setup.sources).unwrap().settings;
        let stage = setup.start().await;
        let address = stage.service.metrics(&settings).unwrap().unwrap();
        Self { stage, address }
    }

    /// Gets a path.
    async fn get(&self, path: &str) -> Answer {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await
    }

    /// The metrics, in the format that older readers ask for.
    async fn metrics(&self) -> String {
        let answer = self.send("GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: text/plain\r\n\r\n").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body
    }

    /// Sends a request and reads the answer to the end of the connection.
    async fn send(&self, request: &str) -> Answer {
        let mut stream = self.connect().await;
        self.stage
            .answer("an answer", async {
                stream.write_all(request.as_bytes()).await.unwrap();
                read(&mut stream).await
            })
            .await
    }

    /// Pauses a loop without an end.
    async fn pause(&self, of: Loop) {
        let paused = Paused { since: self.stage.sim.now(), until: None };
        self.stage.handle(of).pause(Some(paused), None).await;
    }

    /// Connects from another address of this machine.
    async fn connect_from(&self, address: [u8; 4]) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((address, 0).into()).unwrap();
        socket.connect(self.address).await.unwrap()
    }

    async fn connect(&self) -> TcpStream {
        self.stage.answer("a connection", TcpStream::connect(self.address)).await.unwrap()
    }
}

/// Reads an answer to the end of the connection.
async fn read(stream: &mut TcpStream) -> Answer {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
    Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
}

/// The value of a sample, by its name and labels as they are written.
fn value(metrics: &str, sample: &str) -> Option<f64> {
    let line = metrics.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '))?;
    Some(line.parse().unwrap())
}
