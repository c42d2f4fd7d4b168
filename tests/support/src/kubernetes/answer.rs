//! An answer on its way out: whole or a stream, and what faults make of it.

use std::fmt;
use std::pin::Pin;

use futures_util::{Stream, StreamExt as _, future, stream};
use http_body_util::StreamBody;
use hyper::body::{Bytes, Frame};
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use hyper::{Response, StatusCode};
use serde_json::{Value, json};
use tokio::sync::watch;

/// The end of a connection in the middle of a body.
#[derive(Debug)]
pub(super) struct Cut;

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cut, as a test ordered")
    }
}

impl std::error::Error for Cut {}

/// A piece of a body, or its abrupt end.
pub(super) type Piece = Result<Bytes, Cut>;

type Pieces = Pin<Box<dyn Stream<Item = Piece> + Send>>;

/// The body that the HTTP server is given.
pub(super) type Body = StreamBody<Pin<Box<dyn Stream<Item = Result<Frame<Bytes>, Cut>> + Send>>>;

enum Content {
    Whole(Bytes),
    Live(Pieces),
}

/// A code, a content type and a body.
pub(super) struct Answer {
    code: StatusCode,
    content_type: &'static str,
    /// Of a body that is known from the start. Kept when a fault cuts it: that is how a client notices.
    length: Option<usize>,
    content: Content,
}

impl Answer {
    pub(super) fn json(code: u16, value: &Value) -> Self {
        Self::whole(code, "application/json", value.to_string())
    }

    pub(super) fn text(code: u16, text: &str) -> Self {
        Self::whole(code, "text/plain; charset=utf-8", text.to_owned())
    }

    pub(super) fn whole(code: u16, content_type: &'static str, body: String) -> Self {
        let code = StatusCode::from_u16(code).expect("a code of HTTP");
        Self { code, content_type, length: Some(body.len()), content: Content::Whole(body.into()) }
    }

    /// A `Status` object, with the code that stands in it.
    pub(super) fn status(status: &Value) -> Self {
        let code = status["code"].as_u64().and_then(|code| u16::try_from(code).ok());
        Self::json(code.expect("a Status has a code"), status)
    }

    /// Lines of JSON, as long as there are some.
    pub(super) fn lines(pieces: impl Stream<Item = Piece> + Send + 'static) -> Self {
        let content = Content::Live(Box::pin(pieces));
        Self { code: StatusCode::OK, content_type: "application/json", length: None, content }
    }

    /// The same answer, but the connection ends after this number of bytes of the body.
    pub(super) fn cut_after(self, bytes: usize) -> Self {
        let pieces =
            stream::unfold((self.content.into_pieces(), Some(bytes)), |(mut pieces, left)| async move {
                let left = left?;
                if left == 0 {
                    return Some((cut().await, (pieces, None)));
                }
                let piece = pieces.next().await?.ok()?;
                let part = piece.slice(..left.min(piece.len()));
                let left = left - part.len();
                Some((Ok(part), (pieces, Some(left))))
            });
        Self { content: Content::Live(Box::pin(pieces)), ..self }
    }

    /// The same answer, but half of the body, or all of a stream, waits for the release.
    pub(super) fn stalled(self, mut release: watch::Receiver<()>) -> Self {
        let (now, later) = match self.content {
            Content::Whole(bytes) => {
                let half = bytes.len() / 2;
                (bytes.slice(..half), Content::Whole(bytes.slice(half..)))
            }
            live @ Content::Live(_) => (Bytes::new(), live),
        };
        let later = stream::once(async move {
            // An error says that the server is about to end.
            let _ = release.changed().await;
            later.into_pieces()
        });
        let pieces = stream::once(future::ready(Ok(now))).chain(later.flatten());
        Self { content: Content::Live(Box::pin(pieces)), ..self }
    }

    pub(super) fn into_response(self) -> Response<Body> {
        let mut response = Response::builder().status(self.code).header(CONTENT_TYPE, self.content_type);
        if let Some(length) = self.length {
            response = response.header(CONTENT_LENGTH, length);
        }
        if self.code == StatusCode::TOO_MANY_REQUESTS {
            response = response.header(RETRY_AFTER, 1);
        }
        let frames = self.content.into_pieces().map(|piece| piece.map(Frame::data));
        response.body(StreamBody::new(Box::pin(frames) as _)).expect("headers that are valid")
    }
}

impl Content {
    fn into_pieces(self) -> Pieces {
        match self {
            Self::Whole(bytes) => Box::pin(stream::once(future::ready(Ok(bytes)))),
            Self::Live(pieces) => pieces,
        }
    }
}

/// The end of a connection, after what was written before has gone out.
pub(super) async fn cut() -> Piece {
    // The HTTP server flushes when a body has nothing for it, and only then.
    tokio::task::yield_now().await;
    Err(Cut)
}

/// A `Status` object that refuses, with the reason that belongs to the code.
pub(super) fn status(code: u16, message: &str) -> Value {
    let reason = match code {
        400 => "BadRequest",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "NotFound",
        409 => "AlreadyExists",
        410 => "Expired",
        415 => "UnsupportedMediaType",
        422 => "Invalid",
        429 => "TooManyRequests",
        500 => "InternalError",
        503 => "ServiceUnavailable",
        504 => "Timeout",
        _ => "",
    };
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code,
    })
}

/// The refusal of an object that is not there; `kind` is its plural.
pub(super) fn not_found(kind: &str, name: &str) -> Value {
    let mut status = status(404, &format!("{kind} \"{name}\" not found"));
    status["details"] = json!({"name": name, "kind": kind});
    status
}
