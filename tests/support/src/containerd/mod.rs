//! A real containerd of the test's own: its folder, its network namespace, its cgroup, its life.
//!
//! It runs in a network namespace of its own, so that CNI makes no interface on the machine (and `ptp` does not turn it
//! into a router), instances cannot clash, and all of it ends with the namespace. Its socket is reached as any other: a
//! socket with a path belongs to the filesystem. Blocking calls only; they may be made inside an async runtime too.

mod cleanup;
mod config;
mod faults;
mod images;
mod kubelet;
mod namespaces;

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tempfile::TempDir;

use crate::cri::Cri;
use crate::oci::OciImage;
use crate::poll::{block_on, try_until};
use crate::skip::{Missing, containerd_binary, find_tool, missing_pieces, tool_path};
use crate::tmpfs::{Tmpfs, TmpfsSize};

use cleanup::Belongings;
use config::Version;
pub use kubelet::{Kubelet, NODE, static_pod_name};
pub use namespaces::{Entry, Namespaces};

const START_DEADLINE: Duration = Duration::from_secs(60);

/// How an instance is set up.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Puts images and containers on a tmpfs of this size; `None` leaves them on the disk.
    pub root_tmpfs: Option<TmpfsSize>,
    /// Has its processes see the folders of [`Containerd::pod_logs`] and [`Containerd::container_logs`] as `/var/log/pods` and
    /// `/var/log/containers`: a kubelet has no setting for these, and those of the machine belong to all.
    pub usual_log_folders: bool,
}

/// Why there is no containerd.
#[derive(Debug)]
pub enum StartError {
    /// These are missing on the machine.
    Unavailable(Vec<Missing>),
    /// Everything is there, and still it does not run.
    Failed(String),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable(missing) => {
                let missing: Vec<String> = missing.iter().map(ToString::to_string).collect();
                write!(f, "missing: {}", missing.join(", "))
            }
            Self::Failed(why) => write!(f, "containerd does not start: {why}"),
        }
    }
}

impl std::error::Error for StartError {}

/// A running containerd. Dropping it ends it and everything in it, and panics if something is left.
#[derive(Debug)]
pub struct Containerd {
    child: Option<Child>,
    name: String,
    printed_version: String,
    version: Version,
    root: PathBuf,
    pod_logs: PathBuf,
    container_logs: PathBuf,
    namespaces: Namespaces,
    // Unmounted before the folder is removed: fields are dropped in order.
    tmpfs: Option<Tmpfs>,
    folder: TempDir,
}

impl Containerd {
    /// Starts one, imports the sandbox image, and waits until both are there.
    ///
    /// # Errors
    /// If something is missing on this machine, or containerd does not answer in time (with the end of its log).
    pub fn start(options: Options) -> Result<Self, StartError> {
        let missing = missing_pieces();
        if !missing.is_empty() {
            return Err(StartError::Unavailable(missing));
        }
        let mut containerd = Self::prepare(options).map_err(StartError::Failed)?;
        containerd.launch().map_err(StartError::Failed)?;
        containerd.import(&OciImage::pause());
        Ok(containerd)
    }

    fn prepare(options: Options) -> Result<Self, String> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let count = COUNTER.fetch_add(1, Ordering::Relaxed);
        let name = format!("cri-gc-test-{}-{count}", std::process::id());
        let folder = short_folder().map_err(|error| format!("a temporary folder: {error}"))?;
        let dir = folder.path().canonicalize().map_err(|error| format!("its path: {error}"))?;
        let (root, pod_logs, container_logs) = (dir.join("root"), dir.join("pods"), dir.join("containers"));

        let binary = containerd_binary().ok_or("no containerd")?;
        let printed = run(Command::new(binary).arg("--version"))?;
        let version = Version::parse(&printed).ok_or_else(|| format!("what version is {printed:?}?"))?;

        let files = || {
            for folder in [&root, &pod_logs, &container_logs] {
                fs::create_dir_all(folder)?;
            }
            fs::write(dir.join("config.toml"), config::containerd_toml(version, &dir, &root))?;
            File::create(dir.join("netns"))?;
            config::write_cni(&dir, &name)
        };
        files().map_err(|error: std::io::Error| format!("its files: {error}"))?;
        let tmpfs = options.root_tmpfs.map(|size| Tmpfs::mount(&root, size)).transpose();
        let tmpfs = tmpfs.map_err(|error| format!("its tmpfs: {error}"))?;
        let printed_version = printed.trim().to_owned();
        let netns = dir.join("netns");
        let mut instance = Self {
            child: None,
            namespaces: Namespaces::of_network(&netns),
            name,
            printed_version,
            version,
            root,
            pod_logs,
            container_logs,
            tmpfs,
            folder,
        };
        // From here on a failure is cleaned up by the drop. The namespace is kept by a mount on the file.
        let net = format!("--net={}", netns.display());
        run(tool("unshare")?.arg(net).args(["busybox", "ip", "link", "set", "lo", "up"]))?;
        if options.usual_log_folders {
            let folders =
                [(&*instance.pod_logs, "/var/log/pods"), (&*instance.container_logs, "/var/log/containers")];
            instance.namespaces.bind(&folders)?;
        }
        Ok(instance)
    }

    /// Starts the process and waits until CRI answers.
    fn launch(&mut self) -> Result<(), String> {
        let log = OpenOptions::new().create(true).append(true).open(self.log_path());
        let log = log.map_err(|error| format!("its log: {error}"))?;
        let mut command = self.namespaces.command(containerd_binary().ok_or("no containerd")?);
        command.arg("--config").arg(self.dir().join("config.toml"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.child = Some(command.spawn().map_err(|error| format!("nsenter: {error}"))?);

        let socket = self.socket();
        let answers = try_until(START_DEADLINE, || {
            if let Some(status) = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten()) {
                return Some(Err(format!("it ended with {status}")));
            }
            block_on(answers(&socket)).then_some(Ok(()))
        });
        let failed = match answers {
            Some(Ok(())) => return Ok(()),
            Some(Err(ended)) => ended,
            None => format!("no answer on its socket within {START_DEADLINE:?}"),
        };
        Err(format!("{failed}; the end of its log:\n{}", self.log_tail(30)))
    }

    /// Its process id; 0 where it does not run.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// A client of its socket, which makes its pods where the drop finds them. To be called inside an async runtime.
    #[must_use]
    pub fn cri(&self) -> Cri {
        Cri::new(&self.socket()).with_cgroup_parent(&self.cgroup())
    }

    /// What it and its containers run in.
    #[must_use]
    pub fn namespaces(&self) -> &Namespaces {
        &self.namespaces
    }

    /// The cgroup that is removed with it.
    #[must_use]
    pub fn cgroup(&self) -> String {
        format!("/{}", self.name)
    }

    /// Path of its socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.dir().join("c.sock")
    }

    /// Its socket as a configuration names it, `unix:///...`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// Its temporary folder, in which a test may put its own files.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.folder.path()
    }

    /// Where its images and containers lie: the filesystem to measure.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// An empty folder for the log folders of pods.
    #[must_use]
    pub fn pod_logs(&self) -> &Path {
        &self.pod_logs
    }

    /// An empty folder for the links that a kubelet makes to logs.
    #[must_use]
    pub fn container_logs(&self) -> &Path {
        &self.container_logs
    }

    /// What `containerd --version` prints.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.printed_version
    }

    /// Whether it is this version or a later one.
    #[must_use]
    pub fn at_least(&self, major: u32, minor: u32) -> bool {
        self.version >= Version { major, minor }
    }

    /// Where it writes its log.
    #[must_use]
    pub fn log_path(&self) -> PathBuf {
        self.dir().join("containerd.log")
    }

    /// The last lines of its log.
    #[must_use]
    pub fn log_tail(&self, lines: usize) -> String {
        let log = fs::read_to_string(self.log_path()).unwrap_or_default();
        let all: Vec<&str> = log.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        let failing = std::thread::panicking();
        if failing {
            eprintln!("the end of the log of {}:\n{}", self.printed_version, self.log_tail(15));
        }
        self.kill();
        drop(self.tmpfs.take());
        let left = Belongings { folder: self.dir(), name: &self.name }.clear();
        self.namespaces.end();
        assert!(failing || left.is_empty(), "left behind by {}: {}", self.name, left.join("; "));
    }
}

/// A folder whose path is short enough for the sockets in it.
fn short_folder() -> std::io::Result<TempDir> {
    const LONGEST: usize = 60;
    let usual = std::env::temp_dir();
    let place = if usual.as_os_str().len() <= LONGEST { usual } else { PathBuf::from("/tmp") };
    tempfile::Builder::new().prefix("cri-gc-").tempdir_in(place)
}

/// Whether CRI answers, with its state read.
async fn answers(socket: &Path) -> bool {
    let cri = Cri::new(socket);
    let asked = async { cri.version().await.is_ok() && cri.list_sandboxes().await.is_ok() };
    tokio::time::timeout(Duration::from_secs(1), asked).await == Ok(true)
}

/// A command of a tool, which looks for its own tools next to the containerd under test first.
fn tool(name: &str) -> Result<Command, String> {
    let mut command = Command::new(find_tool(name).ok_or_else(|| format!("{name} is missing"))?);
    command.env("PATH", tool_path());
    Ok(command)
}

/// Runs a command to its end; gives what it printed, or what it said when it failed.
fn run(command: &mut Command) -> Result<String, String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!("{command:?}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim()))
}
