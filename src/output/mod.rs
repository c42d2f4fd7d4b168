//! How data is printed: one value, three forms. What people read and what programs read come from the same value.

pub mod ages;
pub mod answers;
pub mod config;
pub mod events;
pub mod explain;
pub mod passes;
pub mod plan;
pub mod progress;
pub mod run_now;
pub mod status;
pub mod sweep;
pub mod table;
pub mod unrecorded;

use std::io::{ErrorKind, Write};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use serde::Serialize;
use tokio::sync::oneshot;

use crate::cli::Form;
use crate::failure::Failure;

/// Whether somebody still reads what is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// As far as is known.
    Reads,
    /// Nobody does any more.
    Gone,
}

/// Writes to stdout. A reader that went away (`| head`) is no error.
///
/// # Errors
/// What the operating system says, e.g. that the disk is full.
pub fn print(text: &str) -> Result<(), Failure> {
    deliver(text).map(drop)
}

/// As [`print()`], for whoever has more to print: also says whether that is still of use.
///
/// # Errors
/// What the operating system says, e.g. that the disk is full.
pub fn deliver(text: &str) -> Result<Reader, Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(Reader::Reads),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(Reader::Gone),
        Err(error) => Err(Failure::failed(format_args!("the output could not be written: {error}"))),
    }
}

/// Waits until nobody reads stdout any more: what waits for something to print has to end then (`| head`). For ever where
/// stdout is no pipe.
pub async fn reader_gone() {
    let (tell, told) = oneshot::channel::<()>();
    // It blocks a thread of its own, which ends with the process.
    let watch = std::thread::Builder::new().name("reader".to_owned()).spawn(move || {
        let stdout = std::io::stdout();
        // That the other end is gone is told without being asked for.
        let mut stdout = [PollFd::new(&stdout, PollFlags::empty())];
        while poll(&mut stdout, None) == Err(Errno::INTR) {}
        // Whoever waited may be gone as well.
        let _ = tell.send(());
    });
    if watch.is_err() || told.await.is_err() {
        std::future::pending().await
    }
}

/// Prints a value in the form that is asked for.
///
/// # Errors
/// The value cannot be written in that form, or not at all.
pub fn show<T: Serialize>(form: Form, value: &T, table: impl FnOnce(&T) -> String) -> Result<(), Failure> {
    print(&match form {
        Form::Table => table(value),
        Form::Json => json(value)?,
        Form::Yaml => yaml(value)?,
    })
}

/// Prints one of many values as soon as it is there: as JSON one a line, as YAML one a document.
///
/// # Errors
/// The value cannot be written in that form, or not at all.
pub fn item<T: Serialize>(form: Form, value: &T, line: impl FnOnce(&T) -> String) -> Result<Reader, Failure> {
    deliver(&match form {
        Form::Table => line(value),
        Form::Json => serde_json::to_string(value).map_err(Failure::failed)? + "\n",
        Form::Yaml => format!("---\n{}", yaml(value)?),
    })
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
