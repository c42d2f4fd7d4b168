//! The admin API, served on its socket.

use std::path::PathBuf;
use std::rc::Rc;

use actix::ArbiterHandle;
use cri_gc_files::socket::{self, SocketError};
use cri_gc_kit::supervision::guard::{self, Pace};
use tokio::sync::oneshot;

use super::access::{Access, Groups};
use super::actor::AdminActor;
use super::desk::Desk;
use super::server::{self, Limits};
use super::subjects::Subjects;

/// The admin API, served.
pub struct Admin {
    path: PathBuf,
    stop: oneshot::Sender<()>,
    stopped: oneshot::Receiver<()>,
}

impl Admin {
    /// Makes the socket and serves on that arbiter. Besides root and this process's own user, members of these groups may call: a file
    /// has one group, so those who may only read have a socket of their own.
    ///
    /// # Errors
    /// A socket can't be made, or a live process has it.
    pub fn start(
        on: &ArbiterHandle,
        pace: Pace,
        path: PathBuf,
        groups: Groups,
        subjects: Subjects,
    ) -> Result<Self, SocketError> {
        let mut listeners = vec![(socket::listen(&path, groups.change)?, Limits::CHANGE)];
        let reading = socket::reading(&path);
        match groups.read {
            Some(group) => match socket::listen(&reading, Some(group)) {
                Ok(listener) => listeners.push((listener, Limits::READ)),
                Err(error) => {
                    drop(listeners);
                    socket::remove(&path);
                    return Err(error);
                }
            },
            // That of a service that was killed, from before the setting changed.
            None => socket::remove(&reading),
        }
        let log = subjects.tools.log.clone();
        let on_restart = guard::log_restart(log.clone(), "admin", None);
        let make = move |_: &mut _| AdminActor { desk: Rc::new(Desk::new(subjects)) };
        let address = guard::start(on, pace, on_restart, make);
        let (stop, stopping) = oneshot::channel();
        let (ended, stopped) = oneshot::channel();
        on.spawn(async move {
            server::serve(listeners, Access::new(groups), address, stopping, log).await;
            let _ = ended.send(());
        });
        Ok(Self { path, stop, stopped })
    }

    /// Ends the calls that are in progress and removes the sockets.
    pub async fn stop(self) {
        let _ = self.stop.send(());
        let _ = self.stopped.await;
        socket::remove(&self.path);
        socket::remove(&socket::reading(&self.path));
    }
}
