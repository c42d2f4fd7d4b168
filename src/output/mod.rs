//! How data is printed: one value, three forms. What people read and what programs read come from the same value.

pub mod plan;
pub mod sweep;
pub mod table;

use std::io::{ErrorKind, Write};

use serde::Serialize;

use crate::failure::Failure;

/// Writes to stdout. A reader that went away (`| head`) is no error.
///
/// # Errors
/// What the operating system says, e.g. that the disk is full.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::failed(format_args!("the output could not be written: {error}")))
        }
        _ => Ok(()),
    }
}

/// Says something beside the data, on stderr.
pub fn remark(text: &str) {
    // If stderr is closed, nobody wants to hear it.
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// As JSON, on lines.
///
/// # Errors
/// The value cannot be written as JSON.
pub fn json<T: Serialize>(value: &T) -> Result<String, Failure> {
    let mut text = serde_json::to_string_pretty(value).map_err(Failure::failed)?;
    text.push('\n');
    Ok(text)
}

/// As YAML.
///
/// # Errors
/// The value cannot be written as YAML.
pub fn yaml<T: Serialize>(value: &T) -> Result<String, Failure> {
    serde_saphyr::to_string(value).map_err(Failure::failed)
}
