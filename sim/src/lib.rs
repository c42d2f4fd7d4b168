//! An embedded CRI runtime: a real gRPC server on a real unix socket, with a modelled node behind it.
//!
//! It is for tests and for `cri-gc demo`. It answers as containerd 1.6 or 2.1 or CRI-O 1.37 does ([`Flavour`]), also where
//! that is inconvenient: containerd removes what it is told to, in use or not, CRI-O answers OK and keeps an artifact; sizes
//! are hints; lists fail when they grow too large. On top of that it can be made to fail, hang, die and race with its
//! callers on order.
//!
//! - The **model** ([`Node`]) holds sandboxes, containers, images made of shared layers, a disk and a clock. All time
//!   in it is modelled: it passes only by [`Sim::advance`]. Log files and their directories are real, in the folder
//!   given to [`Sim::start`].
//! - The **server** runs on a thread of its own. [`Sim::kill`] ends it in the middle of whatever call, as a crash does;
//!   [`Sim::restart`] brings it back with the same model.
//! - **Faults** ([`Sim::fault`]) befall RPCs; **hooks** ([`Sim::before`]) change the model right before one is carried
//!   out; the **journal** ([`Sim::calls`]) tells what was asked.
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
//!     // Somebody starts a container from the image just before it goes.
//!     let _ = node.add_container(ContainerSpec::new(&pod, "app").attempt(1).image("app:1"));
//! });
//! // ... let the collector loose on sim.endpoint(), with sim.clock() and sim.fs_probe() ...
//! sim.advance(Duration::from_secs(60));
//! assert_eq!(sim.count(Method::RemoveContainer), 0);
//! # Ok(())
//! # }
//! ```
//!
//! It must not know anything of collecting: what is right to remove is not decided here, nor checked.

mod clock;
mod error;
mod faults;
mod ids;
mod journal;
mod method;
mod model;
mod options;
mod server;
mod sim;
mod spec;

pub use cri_gc_policy::{ContainerState, FsStats, SandboxState};
pub use error::SimError;
pub use faults::{Fault, Scope};
pub use journal::Call;
pub use method::Method;
pub use model::{Container, Image, ImageVolume, Node, Paths, Sandbox, Usage};
pub use options::{Flavour, Options};
pub use sim::{ClockFn, FsProbe, Sim};
pub use spec::{ContainerSpec, ImageSpec, LayerSpec, LogSpec, PodSpec};
pub use tonic::Code;
