//! Reads the body of an HTTP answer whole; nothing of it is understood here.

use std::error::Error;

use http_body_util::{BodyExt, LengthLimitError, Limited};

/// A list of a node with many pods is below 10 MiB; what is longer than this is none.
const LONGEST: usize = 64 * 1024 * 1024;

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
