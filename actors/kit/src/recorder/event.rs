//! What an event is. The kinds that a kubelet has keep its names.

use std::sync::Arc;

use jiff::Timestamp;

use crate::words::{Kind, Loop};

/// What happened.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, strum::Display, strum::IntoStaticStr, strum::VariantArray,
)]
pub enum EventKind {
    /// The service has started.
    Started,
    /// The service is shutting down.
    Stopping,
    /// An object is gone.
    Removed,
    /// An object could not be removed.
    RemovalFailed,
    /// A pass of container GC failed (the kubelet's name).
    #[strum(serialize = "ContainerGCFailed")]
    ContainerGcFailed,
    /// A pass of the sandbox reaper failed.
    #[strum(serialize = "SandboxGCFailed")]
    SandboxGcFailed,
    /// A pass of the log-directory reaper failed.
    #[strum(serialize = "LogGCFailed")]
    LogGcFailed,
    /// A pass of image GC failed (the kubelet's name).
    #[strum(serialize = "ImageGCFailed")]
    ImageGcFailed,
    /// Image GC could not free what is needed (the kubelet's name).
    FreeDiskSpaceFailed,
    /// An image filesystem reports impossible figures (the kubelet's name).
    InvalidDiskCapacity,
    /// The first good pass after failed ones.
    Recovered,
    /// A loop panicked or hung, and is restarted.
    Restarted,
    /// A loop is paused.
    Paused,
    /// A loop is resumed.
    Resumed,
    /// New settings are in force.
    Reloaded,
    /// New settings were refused; the old ones are still in force.
    ReloadRefused,
    /// A client has requested passes.
    PassRequested,
    /// A client has changed the log level.
    LogLevelChanged,
    /// Events are missing from the history on disk.
    EventsLost,
    /// The runtime does not answer any more.
    RuntimeLost,
    /// The runtime answers again.
    RuntimeReturned,
}

impl EventKind {
    /// All of them.
    pub const ALL: &[Self] = <Self as strum::VariantArray>::VARIANTS;

    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Whether something failed.
    #[must_use]
    pub fn is_failure(self) -> bool {
        match self {
            Self::RemovalFailed
            | Self::ContainerGcFailed
            | Self::SandboxGcFailed
            | Self::LogGcFailed
            | Self::ImageGcFailed
            | Self::FreeDiskSpaceFailed
            | Self::InvalidDiskCapacity
            | Self::Restarted
            | Self::ReloadRefused
            | Self::EventsLost
            | Self::RuntimeLost => true,
            Self::Started
            | Self::Stopping
            | Self::Removed
            | Self::Recovered
            | Self::Paused
            | Self::Resumed
            | Self::Reloaded
            | Self::PassRequested
            | Self::LogLevelChanged
            | Self::RuntimeReturned => false,
        }
    }

    /// A failed pass of that loop.
    #[must_use]
    pub fn failed(of: Loop) -> Self {
        match of {
            Loop::ContainerGc => Self::ContainerGcFailed,
            Loop::SandboxGc => Self::SandboxGcFailed,
            Loop::LogGc => Self::LogGcFailed,
            Loop::ImageGc => Self::ImageGcFailed,
        }
    }
}

/// The object that an event is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// What it is.
    pub kind: Kind,
    /// Its id.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// Why it was removed: a word of `cri_gc_policy::Reason`.
    pub reason: String,
    /// The pod that it belongs to; empty if none.
    pub pod_uid: String,
}

/// The pass in which something happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InPass {
    /// What began it: a word of the admin API.
    pub trigger: &'static str,
    /// When it began.
    pub began: Timestamp,
}

/// A process that sent a request, by the credentials that the kernel gives of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Its user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Its number, where the kernel knows it.
    pub pid: Option<i32>,
}

/// An event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// In which loop; `None` for what concerns none, or all.
    pub of: Option<Loop>,
    /// To which object.
    pub object: Option<Box<Object>>,
    /// Bytes that were freed.
    pub bytes: u64,
    /// Of a failure: which it is since the last success, from 1.
    pub count: u64,
    /// In which pass.
    pub pass: Option<InPass>,
    /// Who has requested it.
    pub by: Option<Peer>,
    /// In words.
    pub message: String,
}

impl Event {
    /// An event in words, of no object.
    pub fn new(kind: EventKind, of: Option<Loop>, message: impl Into<String>) -> Self {
        Self { kind, of, object: None, bytes: 0, count: 0, pass: None, by: None, message: message.into() }
    }

    /// The same, requested by that process.
    #[must_use]
    pub fn by(self, peer: Option<Peer>) -> Self {
        Self { by: peer, ..self }
    }
}

/// An event with its place among all others.
#[derive(Debug, Clone)]
pub struct Stamped {
    /// Counts up by one; from 1, or from where the history on disk ends.
    pub sequence: u64,
    /// When it happened.
    pub time: Timestamp,
    /// What happened.
    pub event: Arc<Event>,
}
