//! Errors at the edge: a sentence with the cause and what to do, on stderr, and an exit code (spec 10).

use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;

use cri_gc_actors::gateway::{CriError, ErrorClass};

/// How a command ended badly.
#[derive(Debug)]
pub struct Failure {
    code: u8,
    message: String,
}

/// The command failed.
const FAILED: u8 = 1;
/// Part of what was to be done failed; the output says which.
pub const PARTLY: u8 = 3;
/// Nothing could be reached.
const UNREACHABLE: u8 = 4;
/// The configuration is bad.
const BAD_CONFIGURATION: u8 = 64;

impl Failure {
    /// The command failed.
    pub fn failed(message: impl Display) -> Self {
        Self { code: FAILED, message: message.to_string() }
    }

    /// The configuration is bad.
    pub fn configuration(message: impl Display) -> Self {
        Self { code: BAD_CONFIGURATION, message: message.to_string() }
    }

    /// Nothing could be reached at that socket.
    #[must_use]
    pub fn runtime(socket: &str, error: &CriError) -> Self {
        let remedy = match error.class {
            ErrorClass::NoSocket if error.message.contains("denied") => {
                "run it as root, or as a user that may open the socket"
            }
            ErrorClass::NoSocket => {
                "check that the runtime runs, and that runtime.endpoint (or --endpoint) names its socket"
            }
            ErrorClass::Unimplemented => {
                "what listens there speaks gRPC but not CRI v1; set runtime.endpoint (or --endpoint) to the socket of a CRI \
                 runtime"
            }
            ErrorClass::DeadlineExceeded | ErrorClass::Failed | ErrorClass::TooLarge => {
                "what listens there does not answer as a CRI runtime does; check runtime.endpoint (or --endpoint)"
            }
            _ => "check that the runtime runs, and that it is a CRI runtime that listens there",
        };
        Self {
            code: UNREACHABLE,
            message: format!("no CRI runtime answers at {socket}: {error}\n  {remedy}"),
        }
    }

    /// What went wrong, and what to do.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Says it on stderr.
    #[must_use]
    pub fn report(&self) -> ExitCode {
        // Nowhere is left to say that stderr is closed.
        let _ = writeln!(std::io::stderr().lock(), "cri-gc: {}", self.message);
        ExitCode::from(self.code)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::failed(error)
    }
}
