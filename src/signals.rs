//! The signals that end a command which has to clean up first. The clean-up is the command's own.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Receives the signals that end a command: while it exists, they do not end the process by themselves.
pub struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
    /// SIGHUP, where that means that the terminal is closed. To a service it means to reload its configuration.
    hangup: Option<Signal>,
}

/// A signal that ends a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StopSignal {
    /// Its name.
    pub name: &'static str,
    number: u8,
}

impl StopSignal {
    /// The exit code of a command that it ended: 128 and its number, as shells have it.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        128 + self.number
    }
}

impl StopSignals {
    /// Listens to SIGTERM and SIGINT. Must be called in an actix system.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn listen() -> std::io::Result<Self> {
        let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        Ok(Self { terminate, interrupt, hangup: None })
    }

    /// Listens to SIGHUP as well: that of a command which belongs to a terminal.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn listen_on_terminal() -> std::io::Result<Self> {
        Ok(Self { hangup: Some(signal(SignalKind::hangup())?), ..Self::listen()? })
    }

    /// Waits for the next signal.
    pub async fn recv(&mut self) -> StopSignal {
        let hung_up = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        let (name, number) = tokio::select! {
            _ = self.terminate.recv() => ("SIGTERM", 15),
            _ = self.interrupt.recv() => ("SIGINT", 2),
            _ = hung_up => ("SIGHUP", 1),
        };
        StopSignal { name, number }
    }
}
