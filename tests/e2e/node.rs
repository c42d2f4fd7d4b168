//! A node to sweep: what a test puts on it, in words for every runtime, and the sweeps of it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use cri_gc::wiring::Seams;
use cri_gc_proto::cri::PodSandboxState;
use cri_gc_test_support::{
    ContainerSpec, Cri, Kubelet, Pod, PodSpec, legacy_log_link, pod_log_dir, until_async,
};

use crate::inventory::{Inventory, REGISTRY};
use crate::program::{self, Ended, Report};
use crate::service::Service;

/// The image of every container that asks for no other.
pub const APP: &str = "app:1";

/// How long a log directory that is left over has been unchanged.
const LOG_DIR_AGE: Duration = Duration::from_secs(180);

/// What differs between runtimes; everything else uses the socket.
pub trait Runtime {
    /// A client.
    fn cri(&self) -> Cri;
    /// The socket as a setting names it.
    fn endpoint(&self) -> String;
    /// A folder of the test's own.
    fn dir(&self) -> PathBuf;
    /// The root of the log directories of pods.
    fn pod_logs(&self) -> PathBuf;
    /// The root of the legacy links.
    fn container_logs(&self) -> PathBuf;
    /// Where the images lie.
    fn image_root(&self) -> PathBuf;
    /// Lets time pass, where it does not by itself: no two objects are made at the same moment.
    fn tick(&self);
    /// Brings an image of these names (without the registry) with so many MiB of its own.
    fn add_image(&self, names: &[&str], mib: u64);
    /// Brings an image with so many small files.
    fn add_image_of_files(&self, name: &str, files: u64);
    /// Brings an image of these layers, each of so many MiB; layers of one name and size are shared by all images that have them.
    fn add_layered_image(&self, name: &str, layers: &[(&str, u64)]);
    /// Gives an image one more name, taking it from whichever had it.
    fn tag(&self, image: &str, name: &str);
    /// Sees to it that a container that ends by itself does.
    fn end(&self, container: &str);
    /// A container has written so many MiB to its layer; the runtime counts them soon.
    fn wrote(&self, container: &str, mib: u64);
    /// Whether it reports the writable layers of containers that have exited; CRI-O does not.
    fn reports_layers_of_dead_containers(&self) -> bool;
    /// Ends a sandbox without the runtime: it is not ready, and its network is still there.
    fn lose_sandbox(&self, id: &str);
    /// Makes the runtime forget the state of a container: it is UNKNOWN now.
    fn lose_status(&mut self, container: &str);
    /// From now on, no sandbox can be stopped.
    fn break_teardown(&self);
    /// Undoes that.
    fn repair_teardown(&self);
    /// From now on it takes a moment to remove a container, where it does not anyhow: a pass can be met in the middle.
    fn slow_down(&self);
    /// StopContainer and RemoveContainer calls for a container, in order.
    fn order_of_calls(&self, container: &str) -> Vec<&'static str>;
    /// Lets time pass, for collectors in this process.
    fn advance(&self, by: Duration);
    /// Clock and filesystems, for collectors in this process.
    fn seams(&self) -> Seams;
    /// The runtime is to die when only so many containers are left. Said before a sweep begins ...
    fn order_death(&mut self, left: usize);
    /// ... and while it continues.
    fn await_death(&mut self, left: usize);
    /// It dies at once, without notice.
    fn kill(&mut self);
    /// It answers no client any more ...
    fn hang(&self);
    /// ... until now.
    fn go_on(&self);
    /// Starts a dead runtime again.
    fn restart(&mut self);
    /// Whether the runtime names the image of its sandboxes in its status; the newer ones only pin it.
    fn names_the_sandbox_image(&self) -> bool;
    /// Whether it makes a pod that has no UID, so that there are objects of no pod; CRI-O refuses one.
    fn takes_pods_without_uid(&self) -> bool;
    /// Whether it sends lists of any length as streams.
    fn has_streams(&self) -> bool;
    /// A real kubelet beside it; `None` where there is none, which is said on stderr.
    fn kubelet(&self, test: &str) -> Option<Kubelet>;
}

/// A runtime, its log roots, and the settings of the program.
pub struct Node {
    pub runtime: Box<dyn Runtime>,
    pub cri: Cri,
    settings: BTreeMap<String, String>,
    /// Whether sweeps are made in this process; and the collectors that make them, once they are needed.
    inside: bool,
    service: RefCell<Option<Service>>,
}

impl Node {
    /// With the image [`APP`], and settings under which no age and no image matters.
    pub fn new(runtime: Box<dyn Runtime>) -> Self {
        runtime.add_image(&[APP], 0);
        let dir = runtime.dir();
        let file = |name: &str| dir.join(name).display().to_string();
        let settings = [
            ("runtime.endpoint", runtime.endpoint()),
            ("log_gc.pod_logs_root", runtime.pod_logs().display().to_string()),
            ("log_gc.legacy_container_logs_root", runtime.container_logs().display().to_string()),
            ("pods.kubelet_root", file("kubelet")),
            ("pods.runtime_grace", "0s".to_owned()),
            ("state.dir", file("state")),
            ("state.runtime_dir", file("run")),
            ("admin.socket", file("admin.sock")),
            ("container_gc.min_dead_age", "0s".to_owned()),
            ("container_gc.created_grace", "0s".to_owned()),
            ("image_gc.mode", "off".to_owned()),
            ("image_gc.settle", "0s".to_owned()),
        ];
        // Not the file of this machine.
        fs::write(dir.join("cri-gc.toml"), "").unwrap();
        let cri = runtime.cri();
        let settings = settings.map(|(key, value)| (key.to_owned(), value)).into();
        Self { runtime, cri, settings, inside: false, service: RefCell::default() }
    }

    /// Changes a setting for the sweeps to come.
    pub fn set(&mut self, key: &str, value: impl ToString) -> &mut Self {
        self.settings.insert(key.to_owned(), value.to_string());
        self.service.take();
        self
    }

    /// From now on sweeps are made by collectors in this process, which live from one sweep to the next, by the clock and
    /// the disk of the runtime. They observe the images when they are started: by the first sweep, or by [`Self::serve`].
    pub fn inside(&mut self) -> &mut Self {
        self.inside = true;
        self
    }

    /// Starts the collectors of this process, or restarts them if the settings have changed.
    pub fn serve(&self) {
        let start = || Service::start(self.settings(), self.runtime.seams());
        self.service.borrow_mut().get_or_insert_with(start);
    }

    /// The runtime was restarted.
    pub fn reconnect(&mut self) {
        self.cri = self.runtime.cri();
    }

    /// A path in the folder of the test.
    pub fn path(&self, name: &str) -> PathBuf {
        self.runtime.dir().join(name)
    }

    // ---- Putting things on it ----

    /// A pod with a ready sandbox and a log directory.
    pub async fn pod(&self, name: &str) -> Pod {
        self.run_pod(PodSpec::new("default", name).logs(&self.runtime.pod_logs())).await
    }

    /// The same from a specification.
    pub async fn run_pod(&self, spec: PodSpec) -> Pod {
        self.runtime.tick();
        if let Some(root) = &spec.log_root {
            fs::create_dir_all(pod_log_dir(root, &spec)).unwrap();
        }
        self.cri.run_pod(spec).await.unwrap()
    }

    /// One more sandbox of a pod.
    pub async fn again(&self, pod: &Pod) -> Pod {
        self.run_pod(pod.spec.clone().attempt(pod.spec.attempt + 1)).await
    }

    /// A pod that has ended: its containers of these names ran once, and its sandbox is stopped.
    pub async fn ended_pod(&self, name: &str, containers: &[&str]) -> Pod {
        let pod = self.pod(name).await;
        for container in containers {
            self.dead(&pod, container, 0..1).await;
        }
        self.stop(&pod).await;
        pod
    }

    /// Stops a sandbox. A runtime may fail to while its containers are just ending; then again.
    pub async fn stop(&self, pod: &Pod) {
        let stopped = || async { self.cri.stop_pod(&pod.id).await.ok() };
        until_async(Duration::from_secs(30), stopped).await.expect("a sandbox can be stopped");
    }

    /// Waits until the runtime has noticed that a sandbox has ended.
    pub async fn until_not_ready(&self, pod: &Pod) {
        let noticed = || async {
            let status = self.cri.pod_status(&pod.id).await.unwrap();
            (status.state() == PodSandboxState::SandboxNotready).then_some(())
        };
        until_async(Duration::from_secs(30), noticed)
            .await
            .expect("a sandbox without a process is not ready");
    }

    /// A container that is not started.
    pub async fn created(&self, pod: &Pod, spec: &ContainerSpec) -> String {
        self.runtime.tick();
        if let Some(root) = &pod.spec.log_root {
            fs::create_dir_all(pod_log_dir(root, &pod.spec).join(&spec.name)).unwrap();
        }
        self.cri.create(pod, spec).await.unwrap()
    }

    /// A running container.
    pub async fn running(&self, pod: &Pod, name: &str) -> String {
        self.run(pod, &ContainerSpec::sleeper(name, &image(APP))).await
    }

    /// A running container by its specification.
    pub async fn run(&self, pod: &Pod, spec: &ContainerSpec) -> String {
        let id = self.created(pod, spec).await;
        self.cri.start(&id).await.unwrap();
        id
    }

    /// Containers that ran and ended, one of each attempt, oldest first.
    pub async fn dead(&self, pod: &Pod, name: &str, attempts: Range<u32>) -> Vec<String> {
        self.dead_of(pod, name, APP, attempts).await
    }

    /// The same from another image.
    pub async fn dead_of(&self, pod: &Pod, name: &str, app: &str, attempts: Range<u32>) -> Vec<String> {
        let mut ids = Vec::new();
        for attempt in attempts {
            let spec = ContainerSpec::exits(name, &image(app)).attempt(attempt);
            let id = self.run(pod, &spec).await;
            self.runtime.end(&id);
            self.cri.wait_exited(&id).await.unwrap();
            ids.push(id);
        }
        ids
    }

    /// The log of a container.
    pub fn log(&self, pod: &Pod, container: &str, file: &str) -> PathBuf {
        pod_log_dir(&self.runtime.pod_logs(), &pod.spec).join(container).join(file)
    }

    /// A file next to the log of a container.
    pub fn write_log(&self, pod: &Pod, container: &str, file: &str) {
        fs::write(self.log(pod, container, file), "logged\n").unwrap();
    }

    /// The legacy link to the log of a container.
    pub fn link(&self, pod: &Pod, container: &str, attempt: u32, id: &str) -> PathBuf {
        let log = self.log(pod, container, &format!("{attempt}.log"));
        legacy_log_link(&self.runtime.container_logs(), &pod.spec, container, id, &log).unwrap()
    }

    /// A log directory of that name, with a file in it that has not changed for some minutes.
    pub fn log_dir(&self, name: &str) -> PathBuf {
        let dir = self.runtime.pod_logs().join(name);
        fs::create_dir_all(dir.join("main")).unwrap();
        fs::write(dir.join("main/0.log"), "logged\n").unwrap();
        for path in [dir.join("main/0.log"), dir.join("main"), dir.clone()] {
            set_age(&path, LOG_DIR_AGE);
        }
        dir
    }

    /// Makes the runtime forget the state of a container. That restarts it.
    pub fn lose_status(&mut self, container: &str) {
        self.runtime.lose_status(container);
        self.reconnect();
    }

    // ---- Looking and sweeping ----

    /// All there is.
    pub async fn inventory(&self) -> Inventory {
        Inventory::take(&self.cri, &self.runtime.pod_logs(), &self.runtime.container_logs()).await
    }

    /// The settings, for a service in this process.
    pub fn settings(&self) -> Vec<(String, String)> {
        self.settings.clone().into_iter().collect()
    }

    /// The arguments of a command with the settings.
    pub fn arguments(&self, command: &[&str]) -> Vec<String> {
        let mut arguments: Vec<String> = command.iter().map(ToString::to_string).collect();
        arguments.extend(["--config".to_owned(), self.path("cri-gc.toml").display().to_string()]);
        let settings = self.settings.iter().map(|(key, value)| format!("{key}={value}"));
        arguments.extend(settings.flat_map(|setting| ["--set".to_owned(), setting]));
        arguments
    }

    /// Runs a command of the program to its end.
    pub fn run_program(&self, command: &[&str], input: Option<&Path>) -> Ended {
        program::start(&self.arguments(command), input).wait()
    }

    /// Sweeps, with any result.
    pub async fn sweep(&self, flags: &[&str]) -> Report {
        let before = self.inventory().await;
        let ended = if self.inside {
            self.serve();
            self.service.borrow().as_ref().unwrap().sweep()
        } else {
            let command: Vec<&str> = ["sweep", "--output", "json"].iter().chain(flags).copied().collect();
            self.run_program(&command, None)
        };
        Report::new(&ended, &before)
    }

    /// Sweeps: exactly this is removed, and the report says so. The test checks whether all succeeded.
    pub async fn loses(&self, gone: &[&str]) -> Report {
        self.loses_with(&[], gone).await
    }

    /// The same with further flags.
    pub async fn loses_with(&self, flags: &[&str], gone: &[&str]) -> Report {
        let before = self.inventory().await;
        let report = self.sweep(flags).await;
        let removed = before.removed_in(&self.inventory().await);
        assert_eq!(removed, before.meant(gone), "what is removed, and what was to be removed: {report:#?}");
        report.reports_exactly(&removed);
        report
    }

    /// A sweep does nothing, and finds nothing wrong.
    pub async fn is_settled(&self) {
        let report = self.loses(&[]).await;
        report.is_good();
        let removals: usize =
            report.passes.as_array().unwrap().iter().map(|p| p["removals"].as_array().unwrap().len()).sum();
        assert_eq!(removals, 0, "{report:#?}");
    }
}

/// Makes a file or a folder last changed that long ago.
pub fn set_age(path: &Path, age: Duration) {
    fs::File::open(path).unwrap().set_modified(SystemTime::now() - age).unwrap();
}

/// The full name of an image.
pub fn image(name: &str) -> String {
    format!("{REGISTRY}{name}")
}
