//! The admin API, served on its socket.

use std::path::PathBuf;

use actix::ArbiterHandle;
use cri_gc_files::socket::{self, SocketError};
use cri_gc_kit::supervision::guard::{self, Pace};

use super::access;
use super::actor;
use super::server;
use super::subjects::Subjects;

/// The admin API, served.
pub struct Admin {
    path: PathBuf,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    stopped: tokio::sync::oneshot::Receiver<()>,
}

impl Admin {
    /// Makes the socket and serves on that arbiter. Beside root and this process's own user, members of `group` may call.
    ///
    /// # Errors
    /// The socket can't be made, or a live process has it.
    pub fn start(
        on: &ArbiterHandle,
        pace: Pace,
        path: PathBuf,
        group: Option<u32>,
        subjects: Subjects,
    ) -> Result<Self, SocketError> {
        let listener = socket::listen(&path, group)?;
        let fell = guard::say(subjects.tools.log.clone(), "admin", None);
        let log = subjects.tools.log.clone();
        let address = guard::start(on, pace, fell, move |_| actor::AdminActor::new(subjects));
        let access = access::Access::new(group);
        let (stop, told) = tokio::sync::oneshot::channel();
        let (tell, stopped) = tokio::sync::oneshot::channel();
        on.spawn(async move {
            server::serve(listener, access, address, told, log).await;
            let _ = tell.send(());
        });
        Ok(Self { path, stop: Some(stop), stopped })
    }

    /// Ends the calls that are under way and takes the socket away.
    pub async fn stop(mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        let _ = self.stopped.await;
        socket::remove(&self.path);
    }
}
