//! Reads the body of an HTTP answer whole; nothing of it is understood here. And which error codes a server answers for a
//! while that has just started.

use std::error::Error;

use http::StatusCode;
use http_body_util::{BodyExt, LengthLimitError, Limited};

/// A list of a node with many pods is below 10 MiB; what is longer than this is none.
const LONGEST: usize = 64 * 1024 * 1024;

/// Whether a server answers so for some seconds after its start, and to everybody: roles or tokens are not known yet, too many
/// ask at once, its store is not ready or elects a leader.
pub fn may_pass(code: StatusCode) -> bool {
    let refused = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN, StatusCode::TOO_MANY_REQUESTS];
    code.is_server_error() || refused.contains(&code)
}

/// All of a body, or why it could not be read.
pub async fn read<B>(body: B) -> Result<Vec<u8>, String>
where
    B: BodyExt,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let read = Limited::new(body, LONGEST).collect().await.map_err(|error| {
        let too_long = error.is::<LengthLimitError>();
        if too_long {
            format!("it is longer than {LONGEST} bytes")
        } else {
            cri_gc_kit::text::causes(&*error)
        }
    })?;
    Ok(read.to_bytes().into())
}
