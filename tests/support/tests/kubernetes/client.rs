//! A client that hides nothing: one connection for each request, the body as it comes.

use std::net::SocketAddr;
use std::time::Duration;

use cri_gc_test_support::kubernetes::FakeServer;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::CONTENT_TYPE;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// Longer than anything takes here.
pub const SOON: Duration = Duration::from_secs(10);

/// The pods of the node that the tests are about.
pub const PODS: &str = "/api/v1/pods?fieldSelector=spec.nodeName%3Dnode-1";

/// What a request needs besides its path.
#[derive(Default)]
pub struct Ask<'a> {
    pub method: Option<&'a str>,
    pub token: Option<&'a str>,
    pub content_type: Option<&'a str>,
    pub body: String,
}

/// Sends a request over a connection, and gives what is answered when the headers are there.
pub async fn over(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    path: &str,
    ask: Ask<'_>,
) -> hyper::Result<Response<Incoming>> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let mut request = Request::builder().method(ask.method.unwrap_or("GET")).uri(path);
    if let Some(token) = ask.token {
        request = request.header("Authorization", format!("Bearer {token}"));
    }
    if let Some(content_type) = ask.content_type {
        request = request.header(CONTENT_TYPE, content_type);
    }
    sender.send_request(request.body(Full::new(Bytes::from(ask.body))).unwrap()).await
}

pub async fn open(address: SocketAddr, path: &str) -> Response<Incoming> {
    over(TcpStream::connect(address).await.unwrap(), path, Ask::default()).await.unwrap()
}

/// Code and body.
pub async fn send(server: &FakeServer, path: &str, ask: Ask<'_>) -> (u16, String) {
    let stream = TcpStream::connect(server.address()).await.unwrap();
    let response = tokio::time::timeout(SOON, over(stream, path, ask)).await.expect("an answer");
    let (code, body, end) = read(response.unwrap()).await;
    assert!(end.is_ok(), "{end:?}");
    (code, body)
}

pub async fn get(server: &FakeServer, path: &str) -> (u16, String) {
    send(server, path, Ask::default()).await
}

pub async fn get_json(server: &FakeServer, path: &str) -> (u16, Value) {
    let (code, body) = get(server, path).await;
    (code, serde_json::from_str(&body).unwrap())
}

/// Code, what came of the body, and how that ended.
pub async fn read(response: Response<Incoming>) -> (u16, String, hyper::Result<()>) {
    let code = response.status().as_u16();
    let mut body = Lines { body: response.into_body(), text: String::new() };
    let end = loop {
        match body.more().await {
            Some(Ok(())) => {}
            Some(Err(error)) => break Err(error),
            None => break Ok(()),
        }
    };
    (code, body.text, end)
}

/// A body that is read line by line.
pub struct Lines {
    body: Incoming,
    /// What has come and was not taken yet.
    pub text: String,
}

impl Lines {
    pub async fn open(server: &FakeServer, path: &str) -> Self {
        let response = open(server.address(), path).await;
        assert_eq!(response.status(), 200);
        Self { body: response.into_body(), text: String::new() }
    }

    /// Waits for the next piece; `None` at a clean end.
    pub async fn more(&mut self) -> Option<hyper::Result<()>> {
        let frame = tokio::time::timeout(SOON, self.body.frame()).await.expect("the body continues")?;
        Some(frame.map(|frame| {
            let bytes = frame.into_data().unwrap();
            self.text.push_str(str::from_utf8(&bytes).unwrap());
        }))
    }

    /// The type of the next event and its object; `None` at a clean end.
    pub async fn event(&mut self) -> Option<(String, Value)> {
        while !self.text.contains('\n') {
            self.more().await?.unwrap();
        }
        let (line, rest) = self.text.split_once('\n').unwrap();
        let mut event: Value = serde_json::from_str(line).unwrap();
        self.text = rest.to_owned();
        Some((event["type"].as_str().unwrap().to_owned(), event["object"].take()))
    }
}
