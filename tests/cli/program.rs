//! Runs the binary: in an environment of its own, for a bounded time, with all that it says kept.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use cri_gc_sim::Sim;

/// How long a command may take on a machine however busy. What hangs fails its test, and is ended.
const PATIENCE: Duration = Duration::from_secs(120);

/// A folder with an empty configuration, so that nothing of this machine is read.
pub struct Bench {
    folder: tempfile::TempDir,
}

/// What a command said, and how it ended.
#[derive(Debug)]
pub struct Said {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Bench {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("empty.toml"), "").unwrap();
        Self { folder }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file, and says where.
    pub fn file(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        std::fs::write(self.path(name), text).unwrap();
        self.path(name).to_str().unwrap().to_owned()
    }

    /// The program with these arguments and the empty configuration.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = self.bare(args);
        command.arg("--config").arg(self.path("empty.toml"));
        if args.contains(&"sweep") {
            // It remembers images: here, not on this machine.
            command.arg("--set").arg(format!("state.dir={}", self.path("state").display()));
            command.arg("--set").arg(format!("state.runtime_dir={}", self.path("run").display()));
        }
        command
    }

    /// The program with these arguments on the node of an embedded runtime, with further settings.
    pub fn command_on(&self, sim: &Sim, args: &[&str], settings: &[&str]) -> Command {
        let paths = sim.paths();
        let places = [
            format!("runtime.endpoint={}", sim.endpoint()),
            format!("pods.kubelet_root={}", text(&paths.root.join("kubelet"))),
            format!("log_gc.pod_logs_root={}", text(&paths.pod_logs_root)),
            format!("log_gc.legacy_container_logs_root={}", text(&paths.legacy_root)),
        ];
        let all = places.iter().map(String::as_str).chain(settings.iter().copied());
        let set: Vec<&str> = all.flat_map(|setting| ["--set", setting]).collect();
        self.command(&[args, &set].concat())
    }

    /// The program with these arguments, and nothing else.
    pub fn bare(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cri-gc"));
        command.env_clear().current_dir(self.folder.path()).args(args);
        command
    }

    pub fn run(&self, args: &[&str]) -> Said {
        said(self.command(args), "")
    }
}

/// Runs a command to its end, with that text as its standard input.
pub fn said(mut command: Command, input: &str) -> Said {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // It may well end without reading all of it.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    ended(child)
}

/// Waits for a command that runs already, with all that it still says.
pub fn ended(child: Child) -> Said {
    let process = rustix::process::Pid::from_child(&child);
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || sender.send(child.wait_with_output()));
    let Ok(output) = receiver.recv_timeout(PATIENCE) else {
        rustix::process::kill_process(process, rustix::process::Signal::KILL).unwrap();
        panic!("the command does not end");
    };
    let Output { status, stdout, stderr } = output.unwrap();
    let said = Said {
        code: status.code(),
        out: String::from_utf8(stdout).unwrap(),
        err: String::from_utf8(stderr).unwrap(),
    };
    assert!(!said.err.contains("panicked"), "{said:?}");
    said
}

/// Starts a command whose lines are read as they come.
pub fn started(mut command: Command) -> Child {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// The next line of a command that continues to run; nothing after it has been read.
pub fn next_line(child: &mut Child) -> String {
    let mut stdout = child.stdout.take().unwrap();
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut line = Vec::new();
        let mut byte = [0];
        while line.last() != Some(&b'\n') && stdout.read(&mut byte).unwrap() > 0 {
            line.extend(byte);
        }
        sender.send((line, stdout))
    });
    let Ok((line, stdout)) = receiver.recv_timeout(PATIENCE) else {
        child.kill().unwrap();
        panic!("the command says nothing");
    };
    child.stdout = Some(stdout);
    String::from_utf8(line).unwrap()
}

impl Said {
    /// Checks that it succeeded. Returns what it printed.
    pub fn succeeded(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        assert_eq!(self.err, "", "{self:?}");
        self.out
    }

    /// Checks that it failed: with that code, a message on stderr that has all these parts, and nothing on stdout.
    pub fn refused(self, code: i32, parts: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert_eq!(self.out, "", "{self:?}");
        for part in parts {
            assert!(self.err.contains(part), "{part:?} is not in {:?}", self.err);
        }
    }
}

/// A path as text.
pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
