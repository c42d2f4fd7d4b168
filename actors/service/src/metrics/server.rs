//! Listens, bounds what a client can cost, and knows which path is answered by whom.
//!
//! A connection has one request, a small head, and a short time for all of it: a client that is slow or silent takes one of a few
//! places for that long, and nothing else. A request has no effect; what it sends besides its head is not read.

use std::cell::RefCell;
use std::convert::Infallible;
use std::net::{IpAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use slog::{debug, error, warn};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::answers::{Answers, WITHIN};
use super::figures::{Format, metrics};
use super::page::{EVENTS, page};
use super::readiness;
use crate::admin::Subjects;

/// Connections at a time, and those from one address: who is silent takes no place of others. One more is closed at once.
const CONNECTIONS: usize = 16;
const FROM_ONE_ADDRESS: usize = 4;

/// Header fields of a request, and bytes of its head.
const FIELDS: usize = 48;
const HEAD: usize = 8 * 1024;

/// How long a client may take to send a request, and for everything from the connection to the end of the answer.
const REQUEST_WITHIN: Duration = Duration::from_secs(5);
const ALL_WITHIN: Duration = Duration::from_secs(15);

const TEXT: &str = "text/plain; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";

/// Serves until the thread ends.
pub async fn serve(listener: TcpListener, subjects: Subjects) {
    let (subjects, log) = (Rc::new(subjects.clone()), subjects.tools.log);
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            return error!(log, "metrics and probes are not served: the listener can't be used"; "error" => %error);
        }
    };
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    // The addresses of the connections that there are.
    let peers = Rc::new(RefCell::new(Vec::<IpAddr>::new()));
    loop {
        let (stream, from) = match listener.accept().await {
            Ok((stream, peer)) => (stream, peer.ip().to_canonical()),
            Err(error) => {
                // E.g. no file descriptor is left: that passes.
                warn!(log, "could not accept a connection to metrics.listen, retrying in 1s"; "error" => %error);
                sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
        if peers.borrow().iter().filter(|peer| **peer == from).count() >= FROM_ONE_ADDRESS {
            continue;
        }
        peers.borrow_mut().push(from);
        let peers = Rc::clone(&peers);
        let (subjects, log) = (Rc::clone(&subjects), log.clone());
        actix_rt::spawn(async move {
            if let Ok(Err(error)) = timeout(ALL_WITHIN, connection(stream, subjects)).await {
                debug!(log, "a connection to metrics.listen failed"; "error" => %error);
            }
            let mut peers = peers.borrow_mut();
            if let Some(at) = peers.iter().position(|peer| *peer == from) {
                peers.swap_remove(at);
            }
            drop(place);
        });
    }
}

/// Answers the one request of a connection.
async fn connection(stream: TcpStream, subjects: Rc<Subjects>) -> hyper::Result<()> {
    let service = service_fn(move |request: Request<Incoming>| {
        let subjects = Rc::clone(&subjects);
        async move { Ok::<_, Infallible>(respond(&request, &subjects).await) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_WITHIN)
        .keep_alive(false)
        .max_headers(FIELDS)
        .max_buf_size(HEAD)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

async fn respond(request: &Request<Incoming>, subjects: &Subjects) -> Response<String> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut refused =
            response(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET and HEAD are answered here\n");
        refused.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    match request.uri().path() {
        "/" => show_page(subjects).await,
        "/metrics" => {
            let accept =
                request.headers().get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
            let format = Format::accepted(&accept.collect::<Vec<_>>().join(","));
            let answers = Arc::new(Answers::ask(subjects).await.measure(subjects).await);
            match metrics(&answers, format) {
                Ok(text) => response(StatusCode::OK, format.content_type(), text),
                Err(error) => response(StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("{error}\n")),
            }
        }
        "/healthz" => match timeout(WITHIN, subjects.is_alive()).await {
            Ok(true) => response(StatusCode::OK, TEXT, "ok\n"),
            _ => response(
                StatusCode::SERVICE_UNAVAILABLE,
                TEXT,
                "an internal part of cri-gc does not answer; see its log\n",
            ),
        },
        "/readyz" => match readiness::reasons(&Answers::ask(subjects).await) {
            reasons if reasons.is_empty() => response(StatusCode::OK, TEXT, "ok\n"),
            reasons => {
                let lines =
                    reasons.iter().map(|reason| format!("{}\n", cri_gc_policy::text::one_line(reason)));
                response(StatusCode::SERVICE_UNAVAILABLE, TEXT, lines.collect::<String>())
            }
        },
        _ => {
            response(StatusCode::NOT_FOUND, TEXT, "not found; there are /, /metrics, /healthz and /readyz\n")
        }
    }
}

async fn show_page(subjects: &Subjects) -> Response<String> {
    let recent = timeout(WITHIN, subjects.tools.recorder.subscribe(EVENTS));
    let (answers, recent) = futures_util::join!(Answers::ask(subjects), recent);
    let answers = answers.measure(subjects).await;
    let past = recent.ok().flatten().map(|subscription| subscription.past).unwrap_or_default();
    let mut shown = response(StatusCode::OK, HTML, page(&answers, &past));
    let nothing_else =
        HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'");
    shown.headers_mut().insert(header::CONTENT_SECURITY_POLICY, nothing_else);
    shown
}

fn response(status: StatusCode, content_type: &'static str, body: impl Into<String>) -> Response<String> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
