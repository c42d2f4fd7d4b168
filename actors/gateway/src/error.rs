//! What can go wrong with an RPC, sorted by what it means for the caller (behaviour: Runtime).

use std::error::Error as _;
use std::time::Duration;

use cri_gc_kit::text::duration;
use tonic::{Code, Status};

/// The CRI method that removes an image.
pub const REMOVE_IMAGE: &str = "RemoveImage";

/// What to do about a server that answers, and does not know a method that cri-gc needs.
pub const NO_CRI: &str = "the server on that socket speaks gRPC but not CRI v1; set runtime.endpoint to the socket of a CRI runtime, or \
     enable CRI there (containerd: remove \"cri\" from disabled_plugins in its config.toml)";

/// Result of an RPC.
pub type CriResult<T> = Result<T, CriError>;

/// A failed RPC. Two are the same failure if method and code are the same.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{method}: {class}{message}")]
pub struct CriError {
    /// The CRI method.
    pub method: &'static str,
    /// What it means.
    pub class: ErrorClass,
    /// The gRPC code behind it.
    pub code: Code,
    /// What the runtime, or the connection, said.
    pub message: String,
}

/// What a failed RPC means for the caller. Written out, it leads the message of the failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ErrorClass {
    /// There is no such object. On a removal that is success.
    #[error("not found: ")]
    NotFound,
    /// The runtime is unreachable: not started, restarting, or it died during the call. Logged once, not per object.
    #[error("the runtime is unreachable: ")]
    Unavailable,
    /// The runtime answers that it is not available, e.g. while it is starting. What else it is asked may well succeed.
    #[error("the runtime is not ready: ")]
    NotReady,
    /// Our own gateway failed, whatever the runtime does; it is restarted.
    #[error("")]
    GatewayGone,
    /// The socket cannot be used at all: it does not exist, is refused to this user, or is no socket.
    #[error("the socket cannot be used: ")]
    NoSocket,
    /// No answer within the deadline.
    #[error("")]
    DeadlineExceeded,
    /// The answer is larger than the runtime sends or than we accept.
    #[error("the answer is too large: ")]
    TooLarge,
    /// Another client is removing the object right now.
    #[error("another client is removing it: ")]
    AlreadyRemoving,
    /// The runtime refuses to remove an image because something uses it: a container, an image volume, another program with the
    /// same store (CRI-O).
    #[error("the runtime refuses to remove it: ")]
    InUse,
    /// The runtime does not know the method. For `Version` it means that the socket is not that of a CRI runtime.
    #[error("the runtime does not know the method: ")]
    Unimplemented,
    /// It was not sent: the caller may not remove any more, or what it had checked is too old.
    #[error("")]
    Withheld,
    /// Anything else: the runtime's own failure.
    #[error("")]
    Failed,
}

impl CriError {
    fn new(method: &'static str, class: ErrorClass, code: Code, message: impl Into<String>) -> Self {
        Self { method, class, code, message: message.into() }
    }

    /// Sorts what tonic says.
    #[must_use]
    pub fn from_status(method: &'static str, status: &Status) -> Self {
        let message = match innermost_io(status) {
            Some(io) if io.kind() == std::io::ErrorKind::NotFound => "it does not exist".to_owned(),
            Some(io) => io.to_string(),
            None => status.message().to_owned(),
        };
        Self::new(method, classify(method, status), status.code(), message)
    }

    /// No answer within `deadline`.
    #[must_use]
    pub fn deadline(method: &'static str, deadline: Duration) -> Self {
        let message = format!("no answer within {}", duration(deadline));
        Self::new(method, ErrorClass::DeadlineExceeded, Code::DeadlineExceeded, message)
    }

    /// It could not be sent within `deadline`, because earlier questions are not answered.
    #[must_use]
    pub fn crowded(method: &'static str, deadline: Duration) -> Self {
        let message =
            format!("not sent: {} passed while earlier requests were not answered", duration(deadline));
        Self { message, ..Self::deadline(method, deadline) }
    }

    /// The gateway actor itself has ended or was restarted during the call.
    #[must_use]
    pub fn gateway_gone(method: &'static str) -> Self {
        let message = "the CRI gateway of cri-gc panicked and was restarted during the call; see its log for the reason";
        Self::new(method, ErrorClass::GatewayGone, Code::Internal, message)
    }

    /// A removal that was not sent, and why.
    #[must_use]
    pub fn withheld(method: &'static str, why: impl Into<String>) -> Self {
        Self::new(method, ErrorClass::Withheld, Code::Aborted, why)
    }

    /// A removal that waited for so long that what was checked before it is old.
    #[must_use]
    pub fn late(method: &'static str, waited: Duration) -> Self {
        let waited = duration(Duration::from_secs(waited.as_secs()));
        let message = format!(
            "not sent: the check before the removal is too old ({waited}); the next pass checks again"
        );
        Self::withheld(method, message)
    }

    /// The runtime answered OK to the removal of an image, and that was not all.
    #[must_use]
    pub fn image_removal(message: impl Into<String>) -> Self {
        Self::new(REMOVE_IMAGE, ErrorClass::Failed, Code::Ok, message)
    }

    /// A list that was too large before, and was not tried again.
    #[must_use]
    pub fn too_large(method: &'static str) -> Self {
        let message = "it was before, and was not requested again";
        Self::new(method, ErrorClass::TooLarge, Code::ResourceExhausted, message)
    }

    /// A request that must never be sent: an empty id is a prefix of every id, and a runtime takes a unique prefix for
    /// the object.
    #[must_use]
    pub fn empty_id(method: &'static str) -> Self {
        Self::new(method, ErrorClass::Failed, Code::InvalidArgument, "the object has no id")
    }

    /// Whether the runtime may have done what was requested, or may still do it: it did not answer.
    #[must_use]
    pub fn may_have_done_it(&self) -> bool {
        matches!(self.class, ErrorClass::DeadlineExceeded | ErrorClass::Unavailable | ErrorClass::GatewayGone)
    }

    /// What to do, where that follows from the class; else empty. Appended to a message.
    #[must_use]
    pub fn remedy(&self) -> String {
        let is_no_cri = self.class == ErrorClass::Unimplemented && self.method != LIST_CONTAINER_STATS;
        if is_no_cri { format!("; {NO_CRI}") } else { String::new() }
    }

    /// Whether nothing at all can be reached, so that every further call would fail the same way.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        matches!(self.class, ErrorClass::Unavailable | ErrorClass::NoSocket)
    }

    /// Whether the runtime did not answer: it cannot be reached, or hangs.
    #[must_use]
    pub fn is_unanswered(&self) -> bool {
        self.is_unreachable() || self.class == ErrorClass::DeadlineExceeded
    }
}

/// The one method here that a CRI runtime may lack.
pub const LIST_CONTAINER_STATS: &str = "ListContainerStats";

/// How CRI-O refuses to remove an image: "image used by X: image is in use by a container", "the image is in use by X", and in older
/// releases "image X is mounted as volume to container with ID: Y". A lock, a layer or a device that is in use is a failure.
const IN_USE: [&str; 2] = ["image is in use by", "is mounted as volume to container"];

fn classify(method: &str, status: &Status) -> ErrorClass {
    if let Some(io) = innermost_io(status) {
        use std::io::ErrorKind as Kind;
        return match io.kind() {
            Kind::NotFound | Kind::PermissionDenied | Kind::NotADirectory | Kind::InvalidInput => {
                ErrorClass::NoSocket
            }
            _ => ErrorClass::Unavailable,
        };
    }
    match status.code() {
        Code::NotFound => ErrorClass::NotFound,
        Code::DeadlineExceeded => ErrorClass::DeadlineExceeded,
        // `OutOfRange` is tonic's word for an answer over our own limit.
        Code::ResourceExhausted | Code::OutOfRange => ErrorClass::TooLarge,
        Code::Unimplemented => ErrorClass::Unimplemented,
        // Said by the runtime itself, over a connection that is intact.
        Code::Unavailable | Code::Cancelled if status.source().is_none() => ErrorClass::NotReady,
        // We never cancel a call, so a cancelled one is a connection that ended under it.
        Code::Unavailable | Code::Cancelled => ErrorClass::Unavailable,
        // A status that the runtime sent has no source; one with a source was made of a broken connection.
        _ if status.source().is_some() => ErrorClass::Unavailable,
        _ if status.message().contains("already in removing state") => ErrorClass::AlreadyRemoving,
        _ if method == REMOVE_IMAGE && IN_USE.iter().any(|text| status.message().contains(text)) => {
            ErrorClass::InUse
        }
        _ => ErrorClass::Failed,
    }
}

/// The error of the operating system at the bottom of another one, if there is one.
#[must_use]
pub fn innermost_io<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a std::io::Error> {
    let mut source = error.source();
    let mut found = None;
    while let Some(error) = source {
        found = error.downcast_ref::<std::io::Error>().or(found);
        source = error.source();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(code: Code, message: &str) -> ErrorClass {
        CriError::from_status("X", &Status::new(code, message)).class
    }

    #[test]
    fn codes_are_sorted_by_what_they_mean() {
        assert_eq!(class(Code::NotFound, ""), ErrorClass::NotFound);
        assert_eq!(class(Code::Cancelled, ""), ErrorClass::NotReady);
        assert_eq!(class(Code::Unavailable, ""), ErrorClass::NotReady, "it answers, so it is reachable");
        assert_eq!(class(Code::ResourceExhausted, "larger than max"), ErrorClass::TooLarge);
        assert_eq!(class(Code::OutOfRange, ""), ErrorClass::TooLarge);
        assert_eq!(class(Code::Unimplemented, ""), ErrorClass::Unimplemented);
        assert_eq!(class(Code::Unknown, "CNI teardown failed"), ErrorClass::Failed);
        assert_eq!(
            class(Code::Unknown, "failed to set removing state: container is already in removing state"),
            ErrorClass::AlreadyRemoving
        );
    }

    #[test]
    fn an_image_in_use_is_distinguished_from_other_failures() {
        let class = |method, message: &str| CriError::from_status(method, &Status::unknown(message)).class;
        for message in ["image used by 5a0d: image is in use by a container", "the image is in use by c0ffee"]
        {
            assert_eq!(class("RemoveImage", message), ErrorClass::InUse, "{message}");
            assert_eq!(class("RemoveContainer", message), ErrorClass::Failed, "{message}");
        }
        assert_eq!(class("RemoveImage", "layer is locked"), ErrorClass::Failed);
    }

    #[test]
    fn a_broken_connection_means_an_unreachable_runtime_whatever_its_code() {
        let mut broken = Status::unknown("h2 protocol error");
        broken.set_source(std::sync::Arc::new(std::io::Error::from(std::io::ErrorKind::BrokenPipe)));
        assert_eq!(CriError::from_status("X", &broken).class, ErrorClass::Unavailable);
        let mut missing = Status::unavailable("connect error");
        missing.set_source(std::sync::Arc::new(std::io::Error::from(std::io::ErrorKind::NotFound)));
        assert_eq!(CriError::from_status("X", &missing).class, ErrorClass::NoSocket);
    }
}
