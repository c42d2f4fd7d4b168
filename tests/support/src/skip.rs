//! What is missing on a machine for a real containerd, and tests that are skipped, audibly, where something is missing.

use std::ffi::OsString;
use std::fmt;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::containerd::{Containerd, Options, StartError};

/// Names the containerd binary to test with; its shim and `ctr` are taken from the same folder.
pub const CONTAINERD_ENV: &str = "CRI_GC_TEST_CONTAINERD";

/// Set to `1`, a missing piece is a failure instead of a skipped test.
pub const REQUIRE_ENV: &str = "CRI_GC_TEST_REQUIRE_CONTAINERD";

/// Where Debian puts the CNI plugins.
pub(crate) const CNI_PLUGINS: &str = "/usr/lib/cni";

/// The CNI plugins that a sandbox needs.
pub(crate) const CNI_NEEDED: [&str; 3] = ["ptp", "host-local", "loopback"];

/// CAP_NET_ADMIN and CAP_SYS_ADMIN, as bits of the effective set.
const CAPABILITIES_NEEDED: u64 = 1 << 12 | 1 << 21;

/// Something that a real containerd needs and that is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// What it is.
    pub what: String,
    /// The Debian package that has it; `None` for what no package gives.
    pub package: Option<&'static str>,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.package {
            Some(package) => write!(f, "{} (Debian package {package})", self.what),
            None => f.write_str(&self.what),
        }
    }
}

/// Everything that is missing on this machine; empty if a containerd can be started.
#[must_use]
pub fn missing_pieces() -> Vec<Missing> {
    let mut missing = Vec::new();
    let mut note_missing = |what: &str, package| missing.push(Missing { what: what.to_owned(), package });

    if !rustix::process::geteuid().is_root() {
        note_missing("root", None);
    } else if effective_capabilities() & CAPABILITIES_NEEDED != CAPABILITIES_NEEDED {
        note_missing("CAP_SYS_ADMIN and CAP_NET_ADMIN", None);
    }
    match containerd_binary() {
        None => {
            note_missing(&format!("containerd (in PATH, or named by {CONTAINERD_ENV})"), Some("containerd"))
        }
        Some(_) => {
            for tool in ["ctr", "containerd-shim-runc-v2"] {
                if find_tool(tool).is_none() {
                    note_missing(tool, Some("containerd"));
                }
            }
        }
    }
    for (tool, package) in [("runc", "runc"), ("unshare", "util-linux"), ("nsenter", "util-linux")] {
        if find_tool(tool).is_none() {
            note_missing(tool, Some(package));
        }
    }
    for plugin in CNI_NEEDED {
        if !Path::new(CNI_PLUGINS).join(plugin).is_file() {
            note_missing(
                &format!("CNI plugin {plugin} in {CNI_PLUGINS}"),
                Some("containernetworking-plugins"),
            );
        }
    }
    if !find_tool("busybox").is_some_and(|path| is_static(&path)) {
        note_missing("a static busybox", Some("busybox-static"));
    }
    missing
}

/// A running containerd, or `None` on a machine where something for it is missing, after a line on stderr that says what.
///
/// # Panics
/// If something is missing and [`REQUIRE_ENV`] is `1`, and if nothing is missing and it does not start all the same.
#[must_use]
pub fn containerd_or_skip(test: &str, options: Options) -> Option<Containerd> {
    match Containerd::start(options) {
        Ok(containerd) => Some(containerd),
        Err(error @ StartError::Failed(_)) => panic!("{test}: {error}"),
        Err(StartError::Unavailable(missing)) => {
            let missing: Vec<String> = missing.iter().map(ToString::to_string).collect();
            let missing = missing.join(", ");
            assert!(
                !is_required(REQUIRE_ENV),
                "{test}: {REQUIRE_ENV}=1, but missing on this machine: {missing}"
            );
            skipped(
                test,
                &format!(
                    "needs root and containerd (set {REQUIRE_ENV}=1 to make this an error); missing: {missing}"
                ),
            );
            None
        }
    }
}

/// Says on stderr that a test is skipped: past the capture of the test harness, which hides what a passing test prints. The last
/// such line of a program has the count of all.
pub(crate) fn skipped(test: &str, why: &str) {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed) + 1;
    let _ = std::io::stderr().write_all(format!("SKIPPED {test}: {why} ({count} skipped here)\n").as_bytes());
}

/// Whether the tests of something must not be skipped, by a variable of the environment.
pub(crate) fn is_required(variable: &str) -> bool {
    std::env::var_os(variable).is_some_and(|value| value == "1")
}

/// The containerd to test with, as an absolute path.
pub(crate) fn containerd_binary() -> Option<PathBuf> {
    match std::env::var_os(CONTAINERD_ENV).filter(|value| !value.is_empty()) {
        Some(named) => std::path::absolute(named).ok().filter(|path| path.is_file()),
        None => in_path(std::env::var_os("PATH")?, "containerd"),
    }
}

/// PATH with the folder of the containerd under test in front, so that its own shim and `ctr` are found first.
pub(crate) fn tool_path() -> OsString {
    let own = containerd_binary().and_then(|binary| binary.parent().map(Path::to_owned));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].map(PathBuf::from);
    let folders = own.into_iter().chain(std::env::split_paths(&path)).chain(system);
    std::env::join_paths(folders).expect("folders of PATH hold no colon")
}

/// A tool by name, from the folder of the containerd under test first.
pub(crate) fn find_tool(name: &str) -> Option<PathBuf> {
    in_path(tool_path(), name)
}

fn in_path(path: OsString, name: &str) -> Option<PathBuf> {
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// The effective capabilities of this process, as a bit set.
pub(crate) fn effective_capabilities() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0)
}

/// Whether an ELF file asks for no dynamic loader: in an image there is none.
fn is_static(binary: &Path) -> bool {
    let Ok(bytes) = std::fs::read(binary) else {
        return false;
    };
    let loader = b"/ld-linux";
    bytes.starts_with(b"\x7fELF")
        && !bytes[..bytes.len().min(4096)].windows(loader.len()).any(|w| w == loader)
}
