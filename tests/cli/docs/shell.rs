//! The place where the commands of a page run: a shell in a folder that looks like the root of the repository, with the program on
//! its path, and where the page asks for it an embedded runtime and a service on it.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::Duration;

use cri_gc_sim::{ContainerSpec, Options, PodSpec, Sim, Space};
use rustix::process::{Pid, Signal, kill_process};

use super::super::program::{Bench, ended, said, started, text};
use super::page::root;

const MINUTE: Duration = Duration::from_secs(60);

/// As often as the runtime counts writable layers.
const COUNTED: Duration = Duration::from_secs(10);

/// So many MiB in the writable layer of a container.
fn written(mib: u64) -> impl FnOnce(&mut ContainerSpec) {
    move |spec| spec.writable = Space { bytes: mib << 20, inodes: mib }
}

/// The shell.
pub struct Shell {
    service: Option<Child>,
    environment: Vec<(String, String)>,
    /// Places of this test, and what they are called on a real node: the pages show these.
    usual: Vec<(String, &'static str)>,
    bench: Bench,
    // After the service: fields are dropped in this order.
    _node: Option<(Sim, tempfile::TempDir)>,
}

/// What a page needs to run its commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Nothing but the program.
    Nothing,
    /// A node with an embedded runtime.
    Node,
    /// The service on such a node.
    Service,
}

impl Shell {
    pub fn new(needs: Needs) -> Self {
        let bench = Bench::new();
        for name in ["config", "deploy", "docs", "policy", "proto"] {
            symlink(root().join(name), bench.path(name)).unwrap();
        }
        // The configuration of this machine does not matter, unless the page names a file.
        bench.file("empty.toml", "");
        let program = format!(
            "#!/bin/sh\ncase \" $* \" in *' --config'*) exec {0} \"$@\" ;; esac\nexec {0} --config {1} \"$@\"\n",
            env!("CARGO_BIN_EXE_cri-gc"),
            text(&bench.path("empty.toml")),
        );
        std::fs::create_dir(bench.path("bin")).unwrap();
        let program = bench.file("bin/cri-gc", program);
        std::fs::set_permissions(program, PermissionsExt::from_mode(0o755)).unwrap();
        let usual = vec![(text(&bench.path("empty.toml")).to_owned(), "/etc/cri-gc/config.toml")];
        let mut shell = Self { service: None, environment: Vec::new(), usual, _node: None, bench };
        if needs != Needs::Nothing {
            shell.start_node();
        }
        if needs == Needs::Service {
            shell.start_service();
        }
        shell
    }

    /// A node with a pod that runs and has been restarted three times, and a pod that ended a day ago.
    fn start_node(&mut self) {
        let folder = tempfile::Builder::new().prefix("cri-gc-docs-").tempdir_in("/tmp").unwrap();
        let start_time = jiff::Timestamp::now() - COUNTED;
        let sim = Sim::start(folder.path(), Options { start_time, ..Options::default() }).unwrap();
        let add = |pod: PodSpec| sim.add_pod(pod).unwrap();
        let (web, job) = ("0f6c8d3e-1b2a-4c5d-8e9f-a0b1c2d3e4f5", "1f6c8d3e-1b2a-4c5d-8e9f-a0b1c2d3e4f5");
        let pod = add(PodSpec::new("shop", "web-0", web).created_at(sim.ago(100 * MINUTE)));
        for attempt in 0..3 {
            let made = sim.ago((90 - 10 * attempt) * MINUTE);
            let dead = ContainerSpec::new(&pod, "web").attempt(attempt).exited(made, made + 5 * MINUTE);
            sim.add_container(dead.with(written(4))).unwrap();
        }
        let running = ContainerSpec::new(&pod, "web").attempt(3).created_at(sim.ago(55 * MINUTE));
        sim.add_container(running.with(written(12))).unwrap();
        let pod = add(PodSpec::new("ci", "job-1", job).created_at(sim.ago(1440 * MINUTE)).not_ready());
        let made = sim.ago(1439 * MINUTE);
        let compile = ContainerSpec::new(&pod, "compile").exited(made, made + 9 * MINUTE);
        sim.add_container(compile.with(written(180))).unwrap();
        // Its log is the largest.
        std::fs::write(
            sim.paths().pod_logs_root.join(format!("ci_job-1_{job}/compile/0.log")),
            vec![b'x'; 1 << 20],
        )
        .unwrap();
        sim.advance(COUNTED);
        let paths = sim.paths();
        let settings = [
            ("NODE_NAME", "worker-1".to_owned()),
            ("RUNTIME__ENDPOINT", sim.endpoint()),
            ("PODS__KUBELET_ROOT", text(&paths.root.join("kubelet")).to_owned()),
            ("LOG_GC__POD_LOGS_ROOT", text(&paths.pod_logs_root).to_owned()),
            ("LOG_GC__LEGACY_CONTAINER_LOGS_ROOT", text(&paths.legacy_root).to_owned()),
            ("ADMIN__SOCKET", text(&self.bench.path("admin.sock")).to_owned()),
            ("STATE__DIR", text(&self.bench.path("state")).to_owned()),
            ("STATE__RUNTIME_DIR", text(&self.bench.path("run")).to_owned()),
            // The disk is the one of this machine, which may be rather full.
            ("IMAGE_GC__HIGH_THRESHOLD_PERCENT", "99".to_owned()),
            ("IMAGE_GC__LOW_THRESHOLD_PERCENT", "98".to_owned()),
            // One after the other, so that the order is always the same.
            ("CONTAINER_GC__PARALLEL_REMOVALS", "1".to_owned()),
            ("SANDBOX_GC__PARALLEL_REMOVALS", "1".to_owned()),
        ];
        self.environment = settings.map(|(key, value)| (format!("CRI_GC__{key}"), value)).to_vec();
        self.usual
            .push((text(&sim.paths().root.join("cri.sock")).to_owned(), "/run/containerd/containerd.sock"));
        self.usual.push((text(&sim.paths().root.join("snapshotter")).to_owned(), "/var/lib/containerd"));
        self._node = Some((sim, folder));
    }

    /// The service, once it has made a pass of each loop.
    fn start_service(&mut self) {
        let mut service = self.command("exec cri-gc run 2> service.log");
        service.stdout(std::process::Stdio::null());
        self.service = Some(service.spawn().unwrap());
        let asked = |command: &str| said(self.command(command), "");
        let deadline = std::time::Instant::now() + 2 * MINUTE;
        loop {
            let status = asked("cri-gc status -o json");
            let status: serde_json::Value = serde_json::from_str(&status.out).unwrap_or_default();
            let loops = status["loops"].as_array().cloned().unwrap_or_default();
            let passes = |of: &serde_json::Value| of["passes"].as_u64().unwrap_or_default();
            if !loops.is_empty() && loops.iter().all(|of| passes(of) > 0) {
                break;
            }
            assert!(std::time::Instant::now() < deadline, "the service does not start: {status}");
        }
        // What the first passes found is removed now, and all of them have the same trigger.
        let run = asked("cri-gc run-now");
        assert_eq!(run.code, Some(0), "{run:?}");
    }

    fn command(&self, command: &str) -> Command {
        let mut shell = Command::new("/bin/sh");
        let path = format!("{}:/usr/bin:/bin", text(&self.bench.path("bin")));
        shell.env_clear().env("PATH", path).env("TMPDIR", self.temporary());
        shell.envs(self.environment.iter().cloned());
        shell.current_dir(self.bench.path("")).arg("-c").arg(command);
        shell
    }

    fn temporary(&self) -> PathBuf {
        let folder = self.bench.path("tmp");
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    /// Writes a file into the folder of the commands.
    pub fn write(&self, name: &str, text: &str) {
        self.bench.file(name, text);
    }

    /// Runs a command, and returns what a terminal would show.
    pub fn run(&self, command: &str) -> String {
        let command = command.replace("cargo run -- ", "cri-gc ");
        let child = started(self.command(&format!("exec 2>&1; {command}")));
        let mut shown = ended(child).out;
        for (ours, usual) in &self.usual {
            // A cell of a table keeps its width.
            let cell = format!("{usual:<0$}  ", ours.len());
            shown = shown.replace(&format!("{ours}  "), &cell).replace(ours, usual);
        }
        shown
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        if let Some(mut service) = self.service.take() {
            // Not waited for yet, so the number is still its own.
            let _ = kill_process(Pid::from_child(&service), Signal::TERM);
            let _ = service.wait();
        }
    }
}
