//! The namespaces that a containerd, its containers and what belongs to its node run in.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::tool;

/// A network namespace, which a file keeps, and maybe a mount namespace, which a process keeps.
#[derive(Debug)]
pub struct Namespaces {
    net: PathBuf,
    keeper: Option<Child>,
}

impl Namespaces {
    pub(super) fn of_network(net: &Path) -> Self {
        Self { net: net.to_owned(), keeper: None }
    }

    /// Makes a mount namespace in which these folders are seen at other places. What is mounted outside appears inside, and
    /// nothing of the inside appears outside.
    pub(super) fn bind(&mut self, folders: &[(&Path, &str)]) -> Result<(), String> {
        const SCRIPT: &str = "while [ $# -gt 0 ]; do busybox mount --bind \"$1\" \"$2\" || exit 1; shift 2; done; \
                              echo bound; exec busybox cat >/dev/null";
        let mut command = self.command("unshare");
        command.args(["--mount", "--propagation", "slave", "busybox", "sh", "-c", SCRIPT, "sh"]);
        for (folder, place) in folders {
            std::fs::create_dir_all(place).map_err(|error| format!("{place}: {error}"))?;
            command.arg(folder).arg(place);
        }
        let mut keeper = command
            // It ends with this process at the latest, which has the other end.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("unshare: {error}"))?;
        let mut answer = String::new();
        let read = keeper.stdout.take().map(|output| BufReader::new(output).read_line(&mut answer));
        self.keeper = Some(keeper);
        match read {
            Some(Ok(_)) if answer == "bound\n" => Ok(()),
            _ => Err(format!(
                "the folders of logs can't be bound in a mount namespace of its own ({answer:?})"
            )),
        }
    }

    /// A program in them, by name or absolute path. The process that is started becomes the program.
    ///
    /// # Panics
    /// Without nsenter on this machine.
    #[must_use]
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        self.entry().command(program)
    }

    /// The way into them, for as long as they exist.
    #[must_use]
    pub fn entry(&self) -> Entry {
        let mount = self.keeper.iter().map(|keeper| format!("--mount=/proc/{}/ns/mnt", keeper.id()));
        Entry(std::iter::once(format!("--net={}", self.net.display())).chain(mount).collect())
    }

    /// Ends the process that keeps the mount namespace.
    pub(super) fn end(&mut self) {
        if let Some(mut keeper) = self.keeper.take() {
            let _ = keeper.kill();
            let _ = keeper.wait();
        }
    }
}

/// The way into namespaces: arguments of nsenter.
#[derive(Debug, Clone)]
pub struct Entry(Vec<String>);

impl Entry {
    /// A program in them, by name or absolute path. The process that is started becomes the program.
    ///
    /// # Panics
    /// Without nsenter on this machine.
    #[must_use]
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = tool("nsenter").unwrap();
        command.args(&self.0).arg(program.as_ref());
        command
    }
}
