//! A program that a test runs, with a deadline, and what it answered.

use std::fs::File;
use std::process::{Child, Command};
use std::time::Duration;

use rustix::process::{Pid, Signal};

use crate::poll::until;

/// No command of the tests takes nearly as long, even on a busy machine.
const DEADLINE: Duration = Duration::from_secs(120);

/// A running program. It is killed when the value is dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    files: tempfile::TempDir,
}

/// How a run ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code; -1 where a signal ended it.
    pub code: i32,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
}

#[allow(clippy::missing_panics_doc, reason = "test support: failing loudly is its job")]
impl Running {
    /// Starts a command, with its two outputs in files.
    #[must_use]
    pub fn start(mut command: Command) -> Self {
        let files = tempfile::tempdir().unwrap();
        let file = |name: &str| File::create(files.path().join(name)).unwrap();
        command.stdout(file("stdout")).stderr(file("stderr"));
        Self { child: command.spawn().unwrap(), files }
    }

    /// Its process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to stderr so far.
    #[must_use]
    pub fn stderr(&self) -> String {
        std::fs::read_to_string(self.files.path().join("stderr")).unwrap()
    }

    /// Asks it to end.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        rustix::process::kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits until it has ended.
    pub fn wait(mut self) -> Ended {
        let status = until(DEADLINE, "the program ends", || self.child.try_wait().unwrap());
        let read = |name: &str| {
            let bytes = std::fs::read(self.files.path().join(name)).unwrap();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        Ended { code: status.code().unwrap_or(-1), stdout: read("stdout"), stderr: read("stderr") }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
