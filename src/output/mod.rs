//! How data is printed: one value, three forms. What people read and what programs read come from the same value.

pub mod ages;
pub mod answers;
pub mod color;
pub mod config;
pub mod df;
pub mod events;
pub mod explain;
pub mod fit;
pub mod passes;
pub mod plan;
pub mod progress;
pub mod sink;
pub mod status;
pub mod table;
pub mod terminal;
pub mod text;
pub mod unrecorded;

use std::io::{self, ErrorKind, Write};

use cri_gc_policy::text::{Lines, escape};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use serde::Serialize;
use tokio::sync::oneshot;

use crate::cli::Form;
use crate::failure::Failure;
use text::{Paint, Style, Text};

/// Whether stdout still has a reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// It has one, as far as is known.
    Reads,
    /// It has none any more.
    Gone,
}

/// Writes to stdout. A closed pipe (`| head`) is no error.
///
/// # Errors
/// An error of the operating system, e.g. that the disk is full.
pub fn print(text: impl Into<Text>) -> Result<(), Failure> {
    deliver(&text.into()).map(drop)
}

/// As [`print()`], for a caller that has more to print: also returns whether there is still a reader.
///
/// # Errors
/// An error of the operating system, e.g. that the disk is full.
pub fn deliver(text: &Text) -> Result<Reader, Failure> {
    deliver_by(|out| text.write_to(out))
}

/// As [`deliver`], for what is written in parts.
fn deliver_by(write: impl FnOnce(&mut dyn Paint) -> io::Result<()>) -> Result<Reader, Failure> {
    let mut out = sink::stdout();
    match write(&mut out).and_then(|()| out.flush()) {
        Ok(()) => Ok(Reader::Reads),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(Reader::Gone),
        Err(error) => Err(Failure::failed(format_args!("could not write the output: {error}"))),
    }
}

/// Waits until the reader of stdout is gone: what waits for something to print has to end then (`| head`). Waits forever if
/// stdout is no pipe.
pub async fn reader_gone() {
    let (gone, is_gone) = oneshot::channel::<()>();
    // It blocks a thread of its own, which ends with the process.
    let watch = std::thread::Builder::new().name("reader".to_owned()).spawn(move || {
        let stdout = std::io::stdout();
        // POLLERR, for a closed read end, is reported without being requested.
        let mut stdout = [PollFd::new(&stdout, PollFlags::empty())];
        while poll(&mut stdout, None) == Err(Errno::INTR) {}
        // The caller may have stopped waiting.
        let _ = gone.send(());
    });
    if watch.is_err() || is_gone.await.is_err() {
        std::future::pending().await
    }
}

/// Prints a value in the requested form.
///
/// # Errors
/// The value cannot be written in that form, or not at all.
pub fn show<T: Serialize>(form: Form, value: &T, table: impl FnOnce(&T) -> Text) -> Result<(), Failure> {
    show_by(form, value, |value, out| table(value).write_to(out))
}

/// As [`show`], for tables of any length: they are written row by row.
///
/// # Errors
/// The value cannot be written in that form, or not at all.
pub fn show_by<T: Serialize>(
    form: Form,
    value: &T,
    table: impl FnOnce(&T, &mut dyn Paint) -> io::Result<()>,
) -> Result<(), Failure> {
    match form {
        Form::Table => deliver_by(|out| table(value, out)),
        Form::Json => deliver_by(|out| write_json(value, out)),
        Form::Yaml => deliver(&yaml(value)?.into()),
    }
    .map(drop)
}

/// Prints one of many values as soon as it is there: JSON as one line each, YAML as one document each.
///
/// # Errors
/// The value cannot be written in that form, or not at all.
pub fn item<T: Serialize>(form: Form, value: &T, line: impl FnOnce(&T) -> Text) -> Result<Reader, Failure> {
    deliver(&match form {
        Form::Table => line(value),
        Form::Json => (serde_json::to_string(value).map_err(Failure::failed)? + "\n").into(),
        Form::Yaml => format!("---\n{}", yaml(value)?).into(),
    })
}

/// Writes a message to stderr.
pub fn remark(text: &str) {
    say(&Text::from("cri-gc: "), text);
}

/// Writes a note to stderr.
pub fn note(text: &str) {
    say(&(Text::from("cri-gc: ") + Text::styled(Style::Heading, "note:") + " "), text);
}

/// Writes to stderr what could not be done or observed, where the rest was.
pub fn error(text: &str) {
    say(&(Text::from("cri-gc: ") + Text::bad("error:") + " "), text);
}

/// Writes to stderr why the program fails.
pub fn fail(text: &str) {
    say(&(Text::bad("cri-gc:") + " "), text);
}

/// Writes to stderr why a command line is wrong, as the parser puts it.
pub fn usage(text: &str) {
    let mut stderr = sink::stderr();
    let begin = if text.starts_with(WRONG) { WRONG } else { "" };
    // If stderr is closed, there is no one to read it.
    let rest = text.strip_prefix(begin).unwrap_or_default();
    let _ = stderr.paint(Style::Bad, begin).and_then(|()| write!(stderr, "{rest}"));
}

/// What the parser begins an error with.
const WRONG: &str = "error:";

fn say(begin: &Text, text: &str) {
    let mut stderr = sink::stderr();
    // If stderr is closed, there is no one to read it.
    let _ = begin.write_to(&mut stderr).and_then(|()| writeln!(stderr, "{}", sink::message(text)));
}

/// As JSON, on lines.
///
/// # Errors
/// The value cannot be written as JSON.
pub fn json<T: Serialize>(value: &T) -> Result<String, Failure> {
    let mut text = Vec::new();
    write_json(value, &mut text).map_err(Failure::failed)?;
    String::from_utf8(text).map_err(Failure::failed)
}

fn write_json<T: Serialize>(value: &T, out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    writeln!(out)
}

/// As YAML.
///
/// # Errors
/// The value cannot be written as YAML.
pub fn yaml<T: Serialize>(value: &T) -> Result<String, Failure> {
    let yaml = serde_saphyr::to_string(value).map_err(Failure::failed)?;
    // Only quoted strings can hold escapes. Where a name needs some, YAML is written as JSON, which is YAML as well.
    if escape(&yaml, Lines::Keep) == yaml { Ok(yaml) } else { json(value) }
}
