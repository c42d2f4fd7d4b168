//! The handle of a running simulation: it starts and ends the server, and leads to the model, the faults and the journal. It
//! has no rules of its own.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cri_gc_policy::{ContainerState, FsStats};
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::io::DuplexStream;

use crate::calls::{Call, Journal, Method};
use crate::clock::{Clock, earlier};
use crate::error::SimError;
use crate::faults::{Fault, Faults, Hooks, Scope};
use crate::model::{Node, Paths, Usage};
use crate::options::Options;
use crate::server::{Server, Shared};
use crate::spec::{ContainerSpec, ImageSpec, PodSpec};

/// A clock that shows modelled time.
pub type ClockFn = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// What stands in for statvfs.
pub type FsProbe = Arc<dyn Fn(&Path) -> io::Result<FsStats> + Send + Sync>;

/// A modelled node whose runtime serves on a unix socket. Clones are handles of the same one; with the last handle the
/// server ends.
///
/// All methods may be called from any thread, but, except for [`Sim::now`], [`Sim::uptime`] and [`Sim::kill`], not
/// from within a hook or [`Sim::with`]: those have the lock of the model, and use the [`Node`] instead.
#[derive(Debug, Clone)]
pub struct Sim(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    paths: Paths,
    server: Mutex<Option<Server>>,
    in_memory: bool,
}

impl Sim {
    /// Makes a node in the folder `dir` and serves its runtime on `<dir>/cri.sock`. Also makes `<dir>/pods` and
    /// `<dir>/containers` (log roots) and the folders that the runtime names as mountpoints.
    ///
    /// # Errors
    /// The folders or the socket cannot be made. (The path of a socket has at most about 100 bytes.)
    pub fn start(dir: &Path, options: Options) -> Result<Self, SimError> {
        let sim = Self::make(dir, options, false)?;
        *sim.0.server.lock() = Some(sim.serve()?);
        Ok(sim)
    }

    /// Makes a node in the folder `dir` for a simulation: without a socket, and dead until [`Sim::enter`].
    ///
    /// # Errors
    /// The folders cannot be made.
    pub fn in_memory(dir: &Path, options: Options) -> Result<Self, SimError> {
        Self::make(dir, options, true)
    }

    fn make(dir: &Path, options: Options, in_memory: bool) -> Result<Self, SimError> {
        let root = std::path::absolute(dir).map_err(SimError::io(dir))?;
        let paths = Paths::beneath(root, &options);
        for dir in [&paths.pod_logs_root, &paths.legacy_root, &paths.images, &paths.containers_fs] {
            std::fs::create_dir_all(dir).map_err(SimError::io(dir))?;
        }
        let clock = Arc::new(Clock::new(options.start_time));
        let shared = Arc::new(Shared {
            node: Mutex::new(Node::new(options, paths.clone(), Arc::clone(&clock))),
            clock,
            faults: Faults::default(),
            hooks: Hooks::default(),
            journal: Journal::default(),
        });
        Ok(Self(Arc::new(Inner { shared, paths, server: Mutex::new(None), in_memory })))
    }

    fn serve(&self) -> Result<Server, SimError> {
        let shared = Arc::clone(&self.0.shared);
        if self.0.in_memory { Ok(Server::here(shared)) } else { Server::start(shared, &self.0.paths.socket) }
    }

    // ---- In memory ----

    /// Serves on the tokio runtime that this is called on; the modelled time passes with its time.
    pub fn enter(&self) {
        self.0.shared.clock.follow(true);
        *self.0.server.lock() = Some(Server::here(Arc::clone(&self.0.shared)));
    }

    /// Ends the server, and the modelled time stands still: the tokio runtime that was entered ends.
    pub fn leave(&self) {
        self.kill();
        self.0.shared.clock.follow(false);
    }

    /// A new connection to the server in memory.
    ///
    /// # Errors
    /// It is dead.
    pub fn connect(&self) -> io::Result<DuplexStream> {
        let server = self.0.server.lock();
        server.as_ref().map_or_else(|| Err(io::ErrorKind::ConnectionRefused.into()), Server::connect)
    }

    // ---- The server ----

    /// Ends the server abruptly: calls in flight are cut off, the socket is left behind and refuses connections. The node
    /// continues: containers keep running.
    pub fn kill(&self) {
        let server = self.0.server.lock().take();
        // Not under its lock: it is waited for.
        drop(server);
    }

    /// Brings the server back on the same socket, with the same model, faults and hooks. One that runs is killed first.
    ///
    /// # Errors
    /// The socket cannot be bound.
    pub fn restart(&self) -> Result<(), SimError> {
        self.kill();
        self.0.shared.node.lock().restarted();
        let server = self.serve()?;
        *self.0.server.lock() = Some(server);
        Ok(())
    }

    /// Whether the server serves.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.0.server.lock().as_ref().is_some_and(Server::is_alive)
    }

    // ---- Places ----

    /// Where the node's real files are.
    #[must_use]
    pub fn paths(&self) -> &Paths {
        &self.0.paths
    }

    /// The socket.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.0.paths.socket
    }

    /// The socket as `unix:///path`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    // ---- Time ----

    /// The modelled wall clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.0.shared.clock.now()
    }

    /// That long ago by the modelled wall clock.
    #[must_use]
    pub fn ago(&self, by: Duration) -> Timestamp {
        earlier(self.now(), by)
    }

    /// Modelled time since the start. A step of the wall clock does not change it.
    #[must_use]
    pub fn uptime(&self) -> Duration {
        self.0.shared.clock.uptime()
    }

    /// Lets modelled time pass.
    pub fn advance(&self, by: Duration) {
        self.0.shared.node.lock().advance(by);
    }

    /// Steps the modelled wall clock, forward or back, without any time passing.
    pub fn step_clock(&self, to: Timestamp) {
        self.0.shared.clock.set_wall(to);
    }

    /// The modelled wall clock, as a function.
    #[must_use]
    pub fn clock(&self) -> ClockFn {
        let clock = Arc::clone(&self.0.shared.clock);
        Arc::new(move || clock.now())
    }

    /// What stands in for statvfs on the node's filesystems; see [`Node::statvfs`].
    #[must_use]
    pub fn fs_probe(&self) -> FsProbe {
        let shared = Arc::clone(&self.0.shared);
        Arc::new(move |path| shared.node.lock().statvfs(path))
    }

    // ---- The model ----

    /// Reads or changes the model, with the server held off meanwhile.
    pub fn with<T>(&self, act: impl FnOnce(&mut Node) -> T) -> T {
        act(&mut self.0.shared.node.lock())
    }

    /// See [`Node::add_image`].
    pub fn add_image(&self, spec: ImageSpec) -> String {
        self.with(|node| node.add_image(spec))
    }

    /// See [`Node::add_pod`].
    ///
    /// # Errors
    /// As there.
    pub fn add_pod(&self, spec: PodSpec) -> Result<String, SimError> {
        self.with(|node| node.add_pod(spec))
    }

    /// See [`Node::add_container`].
    ///
    /// # Errors
    /// As there.
    pub fn add_container(&self, spec: ContainerSpec) -> Result<String, SimError> {
        self.with(|node| node.add_container(spec))
    }

    /// See [`Node::set_container_state`].
    ///
    /// # Errors
    /// As there.
    pub fn set_container_state(&self, id: &str, state: ContainerState) -> Result<(), SimError> {
        self.with(|node| node.set_container_state(id, state))
    }

    /// Ids of all containers, sorted.
    #[must_use]
    pub fn container_ids(&self) -> Vec<String> {
        self.with(|node| node.containers().map(|container| container.id.clone()).collect())
    }

    /// Ids of all sandboxes, sorted.
    #[must_use]
    pub fn sandbox_ids(&self) -> Vec<String> {
        self.with(|node| node.sandboxes().map(|sandbox| sandbox.id.clone()).collect())
    }

    /// Ids of all images, sorted. The sandbox image is one of them.
    #[must_use]
    pub fn image_ids(&self) -> Vec<String> {
        self.with(|node| node.images().map(|image| image.id.clone()).collect())
    }

    /// What is on the disk now.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.with(|node| node.usage())
    }

    // ---- Faults and hooks ----

    /// Orders a fault for the calls of `method` in `scope`. A call meets at most one: the one ordered first.
    pub fn fault(&self, method: Method, fault: Fault, scope: Scope) {
        self.0.shared.faults.order(method, fault, scope);
    }

    /// Cancels all faults; calls that hang go on.
    pub fn clear_faults(&self) {
        self.0.shared.faults.clear();
    }

    /// Runs `hook` right before every call of `method` is carried out, with the model and the id that the call names
    /// (as [`Call::id`]). Nothing happens on the node between the two. A call that a fault ends first runs no hook.
    ///
    /// A hook that owns a `Sim` keeps the server alive until [`Sim::clear_hooks`].
    pub fn before(&self, method: Method, hook: impl FnMut(&mut Node, &str) + Send + 'static) {
        self.0.shared.hooks.add(method, Box::new(hook));
    }

    /// The same, before the next such call only.
    pub fn before_next(&self, method: Method, hook: impl FnOnce(&mut Node, &str) + Send + 'static) {
        self.before_nth(method, 1, hook);
    }

    /// The same, before one such call only, counted from now: 1 is the next.
    pub fn before_nth(
        &self,
        method: Method,
        number: usize,
        hook: impl FnOnce(&mut Node, &str) + Send + 'static,
    ) {
        let (mut calls, mut hook) = (0, Some(hook));
        self.before(method, move |node, id| {
            calls += 1;
            if calls == number
                && let Some(hook) = hook.take()
            {
                hook(node, id);
            }
        });
    }

    /// Drops all hooks.
    pub fn clear_hooks(&self) {
        self.0.shared.hooks.clear();
    }

    // ---- The journal ----

    /// All calls so far, in the order in which they arrived.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.0.shared.journal.entries.lock().calls.clone()
    }

    /// How many calls of `method` have arrived.
    #[must_use]
    pub fn count(&self, method: Method) -> usize {
        self.0.shared.journal.entries.lock().count(method)
    }

    /// The most calls of `method` that were waiting for an answer at once.
    #[must_use]
    pub fn most_in_flight(&self, method: Method) -> usize {
        self.0.shared.journal.entries.lock().in_flight.get(&method).map_or(0, |(_, most)| *most)
    }

    /// Forgets the calls so far.
    pub fn clear_calls(&self) {
        self.0.shared.journal.clear();
    }

    /// Blocks the calling thread until `count` calls of `method` have arrived; false if that takes longer than `within`
    /// of real time.
    #[must_use]
    pub fn wait_for_calls(&self, method: Method, count: usize, within: Duration) -> bool {
        self.0.shared.journal.wait_for(method, count, within)
    }
}
