//! The connection of a client command to the admin socket of a running service.
//!
//! It sends requests, with a deadline, and sorts errors by what an operator can do about them. It prints nothing and decides
//! nothing.

use std::error::Error as _;
use std::io::ErrorKind;
use std::iter::successors;
use std::path::Path;
use std::time::Duration;

use cri_gc_files::socket;
use cri_gc_gateway::innermost_io;
use cri_gc_kit::text::duration;
use cri_gc_proto::admin::admin_client::AdminClient;
use cri_gc_proto::admin::{Event, FollowRequest, StatusRequest, StatusResponse};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Response, Status, Streaming};

/// The default limit for an answer. For some the service observes the whole node first.
pub const DEADLINE: Duration = Duration::from_secs(15);

/// The largest answer that is accepted: a status with very many stuck objects.
const MAX_ANSWER: usize = 64 * 1024 * 1024;

/// Why a request to a service failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{socket}: {message}")]
pub struct ClientError {
    /// The socket.
    pub socket: String,
    /// What kind of error.
    pub trouble: Trouble,
    /// The error of the service or of the connection.
    pub message: String,
}

/// Kinds of errors, by what to do about them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Nothing listens there.
    NoService,
    /// This user may not open the socket.
    Locked,
    /// The connection ended during the call.
    Gone,
    /// Something listens there that is no cri-gc service, or one without this call.
    Stranger,
    /// No answer within the deadline.
    Silent,
    /// The service refuses this user.
    Denied,
    /// The request or a configuration is invalid.
    Invalid,
    /// There is no such object.
    NotFound,
    /// Not possible in the current state of the service.
    NotNow,
    /// The runtime does not answer the service.
    NoRuntime,
    /// The service failed.
    Failed,
}

/// A connection to a service.
#[derive(Debug, Clone)]
pub struct Client {
    admin: AdminClient<Channel>,
    socket: String,
    /// How long each answer is waited for.
    pub deadline: Duration,
}

impl Client {
    /// Connects to the socket of this path, or to that next to it for those who may only read. Each answer is waited for until
    /// `deadline`.
    ///
    /// # Errors
    /// Nothing listens there, or this user may not connect.
    pub async fn connect(socket: &str, deadline: Duration) -> Result<Self, ClientError> {
        match Self::connect_to(socket, deadline).await {
            Err(locked) if locked.trouble == Trouble::Locked => {
                let reading = socket::reading(Path::new(socket));
                Self::connect_to(&reading.to_string_lossy(), deadline).await.map_err(|_| locked)
            }
            connected => connected,
        }
    }

    async fn connect_to(socket: &str, deadline: Duration) -> Result<Self, ClientError> {
        let no_service = |error: &tonic::transport::Error| {
            let io = innermost_io(error);
            let locked = io.is_some_and(|io| io.kind() == ErrorKind::PermissionDenied);
            ClientError {
                socket: socket.to_owned(),
                trouble: if locked { Trouble::Locked } else { Trouble::NoService },
                message: io.map_or_else(|| error.to_string(), ToString::to_string),
            }
        };
        let endpoint = Endpoint::try_from(format!("unix://{socket}")).map_err(|error| no_service(&error))?;
        let channel = endpoint.connect().await.map_err(|error| no_service(&error))?;
        Ok(Self {
            admin: AdminClient::new(channel).max_decoding_message_size(MAX_ANSWER),
            socket: socket.to_owned(),
            deadline,
        })
    }

    /// The state of the service.
    ///
    /// # Errors
    /// The errors of all calls: see [`Trouble`].
    pub async fn status(&self) -> Result<StatusResponse, ClientError> {
        let wait_seconds = self.deadline.as_secs_f64();
        self.ask(async |admin| admin.status(StatusRequest { wait_seconds }).await).await
    }

    /// Events: the `recent` last ones, then each that happens.
    ///
    /// # Errors
    /// The errors of all calls.
    pub async fn follow(&self, request: FollowRequest) -> Result<Answers<Event>, ClientError> {
        self.stream(async |admin| admin.follow(request).await).await
    }

    /// Makes a call whose answer has to arrive by the deadline.
    ///
    /// # Errors
    /// The errors of all calls.
    pub async fn ask<T>(
        &self,
        call: impl AsyncFnOnce(&mut AdminClient<Channel>) -> Result<Response<T>, Status>,
    ) -> Result<T, ClientError> {
        match tokio::time::timeout(self.deadline, call(&mut self.admin.clone())).await {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(status)) => Err(failed(&self.socket, &status)),
            Err(_) => Err(self.silent(self.deadline)),
        }
    }

    /// Makes a call that is answered by a stream. Its beginning has to arrive by the deadline.
    ///
    /// # Errors
    /// The errors of all calls.
    pub async fn stream<T>(
        &self,
        call: impl AsyncFnOnce(&mut AdminClient<Channel>) -> Result<Response<Streaming<T>>, Status>,
    ) -> Result<Answers<T>, ClientError> {
        Ok(Answers { stream: self.ask(call).await?, socket: self.socket.clone() })
    }

    /// For what takes several answers: the same within a limit; without one as long as it takes.
    ///
    /// # Errors
    /// Its own, and [`Trouble::Silent`].
    pub async fn within<T, E: From<ClientError>>(
        &self,
        limit: Option<Duration>,
        answers: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let Some(limit) = limit else { return answers.await };
        tokio::time::timeout(limit, answers).await.unwrap_or_else(|_| Err(self.silent(limit).into()))
    }

    /// The error that the service has not answered within that time.
    fn silent(&self, waited: Duration) -> ClientError {
        ClientError {
            socket: self.socket.clone(),
            trouble: Trouble::Silent,
            message: format!("waited {}", duration(waited)),
        }
    }
}

/// A stream of answers.
#[derive(Debug)]
pub struct Answers<T> {
    stream: Streaming<T>,
    socket: String,
}

impl<T> Answers<T> {
    /// The next one; `None` at the end.
    ///
    /// # Errors
    /// The errors of all calls.
    pub async fn next(&mut self) -> Result<Option<T>, ClientError> {
        self.stream.message().await.map_err(|status| {
            let mut error = failed(&self.socket, &status);
            // What has begun to answer is a service: its connection broke.
            if error.trouble == Trouble::Stranger {
                error.trouble = Trouble::Gone;
            }
            error
        })
    }

    /// The error that the service ended the stream early.
    #[must_use]
    pub fn cut_short(&self, message: &str) -> ClientError {
        ClientError { socket: self.socket.clone(), trouble: Trouble::Gone, message: message.to_owned() }
    }
}

/// Sorts the errors of tonic.
fn failed(socket: &str, status: &Status) -> ClientError {
    let io = innermost_io(status);
    let trouble = match status.code() {
        _ if io.is_some() => Trouble::Gone,
        // We never cancel a call, so a cancelled one is a connection that ended under it.
        Code::Unavailable | Code::Cancelled => Trouble::Gone,
        // A status that was sent has no source; one with a source was made of an answer that is not gRPC.
        _ if status.source().is_some() => Trouble::Stranger,
        Code::Unimplemented => Trouble::Stranger,
        Code::DeadlineExceeded => Trouble::Silent,
        Code::PermissionDenied | Code::Unauthenticated => Trouble::Denied,
        Code::InvalidArgument => Trouble::Invalid,
        Code::NotFound => Trouble::NotFound,
        Code::FailedPrecondition => Trouble::NotNow,
        Code::Aborted => Trouble::NoRuntime,
        _ => Trouble::Failed,
    };
    // One that was not sent, but made of a broken connection, has causes, of which the innermost one says most.
    let message = match (successors(status.source(), |&error| error.source()).last(), status.message()) {
        (Some(cause), _) => cause.to_string(),
        (None, "") => status.code().to_string(),
        (None, message) => message.to_owned(),
    };
    ClientError { socket: socket.to_owned(), trouble, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_that_does_not_answer_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("admin.sock");
        // The kernel accepts for it.
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let error = runtime.block_on(async {
            let client = Client::connect(socket.to_str().unwrap(), Duration::from_millis(1)).await.unwrap();
            client.status().await.unwrap_err()
        });
        assert_eq!((error.trouble, error.message.as_str()), (Trouble::Silent, "waited 1ms"));
    }

    #[test]
    fn errors_are_sorted_by_what_to_do_about_them() {
        for (code, trouble) in [
            (Code::PermissionDenied, Trouble::Denied),
            (Code::InvalidArgument, Trouble::Invalid),
            (Code::NotFound, Trouble::NotFound),
            (Code::FailedPrecondition, Trouble::NotNow),
            (Code::Aborted, Trouble::NoRuntime),
            (Code::Unimplemented, Trouble::Stranger),
            (Code::Unavailable, Trouble::Gone),
            (Code::Internal, Trouble::Failed),
            (Code::Unknown, Trouble::Failed),
        ] {
            let error = failed("/run/x.sock", &Status::new(code, "no"));
            assert_eq!((error.trouble, error.message.as_str()), (trouble, "no"));
        }
        assert!(!failed("/run/x.sock", &Status::new(Code::Internal, "")).message.is_empty());
    }
}
