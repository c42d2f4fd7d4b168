//! Errors at the edge: a sentence with the cause and what to do, on stderr, and an exit code (behaviour: Commands).

use std::fmt::Display;
use std::process::ExitCode;

use cri_gc_gateway::{CriError, ErrorClass};

use crate::client::{ClientError, Trouble};
use crate::output::remark;

/// How a command ended badly.
#[derive(Debug)]
pub struct Failure {
    code: u8,
    message: String,
}

/// The command failed.
const FAILED: u8 = 1;
/// What was typed cannot be meant.
const USAGE: u8 = 2;
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

    /// What was typed cannot be meant.
    pub fn usage(message: impl Display) -> Self {
        Self { code: USAGE, message: message.to_string() }
    }

    /// The same failure, with one more thing to do about it.
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
                "run it as root, or as a user that may open the socket"
            }
            ErrorClass::NoSocket => {
                "check that the runtime runs, and that runtime.endpoint (or --endpoint) names its socket"
            }
            ErrorClass::Unimplemented => {
                "what listens there speaks gRPC but not CRI v1; set runtime.endpoint (or --endpoint) to the socket of a CRI \
                 runtime"
            }
            ErrorClass::DeadlineExceeded => {
                "if it is the runtime it hangs: look at its unit and its journal; else set runtime.endpoint (or --endpoint)"
            }
            ErrorClass::Failed | ErrorClass::TooLarge => {
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
        remark(&format!("cri-gc: {}", self.message));
        ExitCode::from(self.code)
    }
}

/// Who may talk to a service, as a remedy.
const WHO_MAY: &str = "run this as root, as the user of the service, or as a member of its admin.group";

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let ClientError { socket, message, trouble } = error;
        let (code, cause, remedy) = match trouble {
            Trouble::NoService => (
                UNREACHABLE,
                format!("no cri-gc service answers at {socket}: {message}"),
                "start it with `cri-gc run`, or name its socket with --socket",
            ),
            Trouble::Locked => (
                UNREACHABLE,
                format!("the socket of the service, {socket}, is closed to this user: {message}"),
                WHO_MAY,
            ),
            Trouble::Gone => (
                UNREACHABLE,
                format!("the service at {socket} went away before it had told all: {message}"),
                "its log says why; if that is no cri-gc service, name the right socket with --socket",
            ),
            Trouble::Stranger => (
                UNREACHABLE,
                format!("what listens at {socket} does not answer as a cri-gc service does: {message}"),
                "name the service's socket with --socket; a service that is older than this program has to be restarted",
            ),
            Trouble::Silent => (
                UNREACHABLE,
                format!("the service at {socket} gives no answer in time: {message}"),
                "`cri-gc status` shows whether the runtime answers it; --timeout waits longer; if something else listens there, \
                 name the right socket with --socket",
            ),
            Trouble::Denied => {
                (FAILED, format!("the service at {socket} refuses this user: {message}"), WHO_MAY)
            }
            Trouble::Invalid => (
                USAGE,
                format!("the service cannot tell what is meant: {message}"),
                "see --help for what can be asked",
            ),
            Trouble::NotFound => (FAILED, message, "`cri-gc plan --all` lists what there is"),
            Trouble::NotNow => (
                FAILED,
                format!("not now: {message}"),
                "`cri-gc status` shows the state of each loop, and whether the runtime answers",
            ),
            Trouble::NoRuntime => (
                UNREACHABLE,
                message,
                "`cri-gc status` shows since when; look at the runtime (its unit, its journal)",
            ),
            Trouble::Failed => {
                (FAILED, format!("the service at {socket} failed: {message}"), "its log may say more")
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
