//! The signals that end a command which has to clean up first. The clean-up is the command's own.

use std::process::ExitCode;

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
pub enum StopSignal {
    /// SIGTERM.
    Terminate,
    /// SIGINT.
    Interrupt,
    /// SIGHUP.
    Hangup,
}

impl StopSignal {
    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Terminate => "SIGTERM",
            Self::Interrupt => "SIGINT",
            Self::Hangup => "SIGHUP",
        }
    }

    /// The exit code of a command that it ended: 128 and its number, as shells have it.
    #[must_use]
    pub fn exit_code(self) -> ExitCode {
        ExitCode::from(match self {
            Self::Terminate => 143,
            Self::Interrupt => 130,
            Self::Hangup => 129,
        })
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
        tokio::select! {
            _ = self.terminate.recv() => StopSignal::Terminate,
            _ = self.interrupt.recv() => StopSignal::Interrupt,
            () = hung_up(&mut self.hangup) => StopSignal::Hangup,
        }
    }
}

/// Waits for SIGHUP; forever where that is not listened to.
async fn hung_up(hangup: &mut Option<Signal>) {
    match hangup {
        Some(hangup) => drop(hangup.recv().await),
        None => std::future::pending().await,
    }
}
