//! An embedded CRI runtime: a real gRPC server on a real unix socket, with a modelled node behind it.
//!
//! It is for tests and for `cri-gc demo`. It answers as containerd 1.6 or 2.1 or CRI-O 1.37 does ([`Flavour`]), also where
//! that is inconvenient: containerd removes images in use, CRI-O answers OK and keeps an artifact; sizes
//! are hints; lists fail when they grow too large. It can also be made to fail, hang, die, answer oddly and race with its callers.
//!
//! - The **model** ([`Node`]) has sandboxes, containers, images made of shared layers, a disk and a clock. All time
//!   in it is modelled: it passes only by [`Sim::advance`], or in memory with the time of the tokio runtime. Log files and
//!   their directories are real, in the folder given to [`Sim::start`].
//! - The **server** runs on a thread of its own. [`Sim::kill`] ends it in the middle of whatever call, as a crash does;
//!   [`Sim::restart`] brings it back with the same model. For a simulation on one thread, [`Sim::in_memory`] has no socket.
//! - **Faults** ([`Sim::fault`]) make RPCs fail; **hooks** ([`Sim::before`]) change the model right before one is carried
//!   out; the **journal** ([`Sim::calls`]) lists all RPCs.
//!
//! ```
//! use std::time::Duration;
//!
//! use cri_gc_sim::{Code, ContainerSpec, Fault, ImageSpec, Method, Options, PodSpec, Scope, Sim};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let dir = tempfile::tempdir()?;
//! let sim = Sim::start(dir.path(), Options::default())?;
//! sim.add_image(ImageSpec::single("app:1", 30 << 20, 80 << 20));
//! let pod = sim.add_pod(PodSpec::new("default", "web", "0000-1").not_ready())?;
//! let (made, ended) = (sim.ago(Duration::from_secs(600)), sim.ago(Duration::from_secs(90)));
//! let id = sim.add_container(ContainerSpec::new(&pod, "app").image("app:1").exited(made, ended))?;
//!
//! sim.fault(Method::RemoveContainer, Fault::error(Code::DeadlineExceeded, "busy"), Scope::ForId(id));
//! sim.before_next(Method::RemoveImage, move |node, _| {
//!     // A container is started from the image just before it is removed.
//!     let _ = node.add_container(ContainerSpec::new(&pod, "app").attempt(1).image("app:1"));
//! });
//! // ... run the collector on sim.endpoint(), with sim.clock() and sim.fs_probe() ...
//! sim.advance(Duration::from_secs(60));
//! assert_eq!(sim.count(Method::RemoveContainer), 0);
//! # Ok(())
//! # }
//! ```
//!
//! It knows nothing of garbage collection: what may be removed is neither decided nor checked here.

mod calls;
mod clock;
mod error;
mod faults;
mod ids;
mod model;
mod options;
mod server;
mod sim;
mod space;
mod spec;

pub use calls::{Call, Method};
pub use cri_gc_policy::{ContainerState, FsStats, SandboxState};
pub use error::SimError;
pub use faults::{Fault, Scope};
pub use model::{Container, Disk, Image, ImageVolume, Node, Paths, Sandbox, Usage, Volume};
pub use options::{Flavour, Options};
pub use sim::{ClockFn, FsProbe, Sim};
pub use space::Space;
pub use spec::{ContainerSpec, ImageSpec, LayerSpec, LogSpec, PodSpec, uid};
pub use tonic::Code;
