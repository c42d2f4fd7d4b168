//! The admin API, served on its socket.

use std::path::PathBuf;
use std::rc::Rc;

use actix::ArbiterHandle;
use cri_gc_files::socket::{self, SocketError};
use cri_gc_kit::supervision::guard::{self, Pace};
use tokio::sync::oneshot;

use super::access::Access;
use super::actor::AdminActor;
use super::desk::Desk;
use super::server;
use super::subjects::Subjects;

/// The admin API, served.
pub struct Admin {
    path: PathBuf,
    stop: oneshot::Sender<()>,
    stopped: oneshot::Receiver<()>,
}

impl Admin {
    /// Makes the socket and serves on that arbiter. Besides root and this process's own user, members of `group` may call.
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
        let log = subjects.tools.log.clone();
        let on_restart = guard::log_restart(log.clone(), "admin", None);
        let make = move |_: &mut _| AdminActor { desk: Rc::new(Desk::new(subjects)) };
        let address = guard::start(on, pace, on_restart, make);
        let (stop, stopping) = oneshot::channel();
        let (ended, stopped) = oneshot::channel();
        on.spawn(async move {
            server::serve(listener, Access::new(group), address, stopping, log).await;
            let _ = ended.send(());
        });
        Ok(Self { path, stop, stopped })
    }

    /// Ends the calls that are in progress and removes the socket.
    pub async fn stop(self) {
        let _ = self.stop.send(());
        let _ = self.stopped.await;
        socket::remove(&self.path);
    }
}
