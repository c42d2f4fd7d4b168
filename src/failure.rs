//! Errors of commands: a sentence with the cause and what to do, and an exit code (behaviour: Commands).

use std::fmt::Display;

use cri_gc_gateway::{CriError, ErrorClass, NO_CRI};

use crate::client::{ClientError, Trouble};
use crate::signals::StopSignal;

/// Why a command failed.
#[derive(Debug)]
pub struct Failure {
    /// The exit code of the program.
    pub code: u8,
    /// What failed, and what to do; empty if the output says it.
    pub message: String,
}

/// The command failed.
const FAILED: u8 = 1;
/// The command line is wrong.
const USAGE: u8 = 2;
/// Part of the work failed; the output says which.
const PARTLY: u8 = 3;
/// The runtime or the service is unreachable.
const UNREACHABLE: u8 = 4;
/// The configuration is invalid.
const BAD_CONFIGURATION: u8 = 64;

impl Failure {
    /// The command failed.
    pub fn failed(message: impl Display) -> Self {
        Self { code: FAILED, message: message.to_string() }
    }

    /// The configuration is invalid.
    pub fn configuration(message: impl Display) -> Self {
        Self { code: BAD_CONFIGURATION, message: message.to_string() }
    }

    /// The command line is wrong.
    pub fn usage(message: impl Display) -> Self {
        Self { code: USAGE, message: message.to_string() }
    }

    /// Success, or that part of the work failed: the output says which.
    ///
    /// # Errors
    /// Unless it is good.
    pub fn partly_unless(good: bool) -> Result<(), Self> {
        if good { Ok(()) } else { Err(Self { code: PARTLY, message: String::new() }) }
    }

    /// A signal ended the command.
    #[must_use]
    pub fn ended_by(signal: StopSignal) -> Self {
        Self { code: signal.exit_code(), message: format!("ended by {}", signal.name) }
    }

    /// Whether waiting may help: the runtime or the service is unreachable.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        self.code == UNREACHABLE
    }

    /// The same failure, with one more remedy.
    #[must_use]
    pub fn or(mut self, remedy: &str) -> Self {
        self.message.push_str("\n  ");
        self.message.push_str(remedy);
        self
    }

    /// No runtime could be reached at that socket.
    #[must_use]
    pub fn runtime(socket: &str, error: &CriError) -> Self {
        let remedy = match error.class {
            ErrorClass::NoSocket if error.message.contains("denied") => {
                "run this as root, or as a user that may open the socket"
            }
            ErrorClass::NoSocket => {
                "check that the runtime is running, and that runtime.endpoint (or --endpoint) is its socket"
            }
            ErrorClass::Unimplemented => NO_CRI,
            ErrorClass::DeadlineExceeded => {
                "if that is the runtime, it hangs: check its unit and its journal; else set runtime.endpoint (or --endpoint)"
            }
            ErrorClass::Failed | ErrorClass::TooLarge => {
                "the server on that socket does not answer as a CRI runtime does; check runtime.endpoint (or --endpoint)"
            }
            _ => "check that the runtime is running, and that the socket is that of a CRI runtime",
        };
        Self {
            code: UNREACHABLE,
            message: format!("container runtime unreachable at {socket}: {error}\n  {remedy}"),
        }
    }
}

/// The remedy where a user may not use a service.
const WHO_MAY: &str = "run this as root, as the user of the service, or as a member of its admin.group; members of its admin.read_group \
     may ask and not change anything";

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let ClientError { socket, message, trouble } = error;
        let (code, cause, remedy) = match trouble {
            Trouble::NoService => (
                UNREACHABLE,
                format!("no cri-gc service answers at {socket}: {message}"),
                "start it with `systemctl start cri-gc` or `cri-gc run`, or set its socket with --socket",
            ),
            Trouble::Locked => (
                UNREACHABLE,
                format!("this user may not open {socket}, the socket of the service: {message}"),
                WHO_MAY,
            ),
            Trouble::Gone => (
                UNREACHABLE,
                format!("the connection to the service at {socket} ended early: {message}"),
                "see the log of the service; if that is no cri-gc service, set the right socket with --socket",
            ),
            Trouble::Stranger => (
                UNREACHABLE,
                format!("the server at {socket} does not answer as a cri-gc service does: {message}"),
                "set the socket of the service with --socket; restart a service that is older than this program",
            ),
            Trouble::Silent => (
                UNREACHABLE,
                format!("the service at {socket} does not answer in time: {message}"),
                "`cri-gc status` shows whether the runtime answers; wait longer with --timeout; if another program listens on that \
                 socket, set the right one with --socket",
            ),
            Trouble::Denied => {
                (FAILED, format!("the service at {socket} refuses this user: {message}"), WHO_MAY)
            }
            Trouble::Invalid => (
                USAGE,
                format!("the service refuses the request as invalid: {message}"),
                "see --help for valid arguments",
            ),
            Trouble::NotFound => (FAILED, message, "`cri-gc plan --all` lists all objects"),
            Trouble::NotNow => (
                FAILED,
                format!("the service cannot do that now: {message}"),
                "`cri-gc status` shows the state of each loop, and whether the runtime answers",
            ),
            Trouble::NoRuntime => (
                UNREACHABLE,
                message,
                "`cri-gc status` shows since when; check the unit and the journal of the runtime",
            ),
            Trouble::Failed => {
                (FAILED, format!("the service at {socket} failed: {message}"), "see the log of the service")
            }
        };
        Self { code, message: cause }.or(remedy)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::failed(error)
    }
}
