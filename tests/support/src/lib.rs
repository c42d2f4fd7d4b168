//! What the tests of cri-gc share: a real containerd, images, pods and containers, made without a registry.
//!
//! ```no_run
//! use cri_gc_test_support::{ContainerSpec, OciImage, Options, PodSpec, containerd_or_skip};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let Some(containerd) = containerd_or_skip("my_test", Options::default()) else { return Ok(()) };
//! containerd.import(&OciImage::new("cri-gc.test/app:1").payload(7, 1 << 20));
//!
//! let cri = containerd.cri();
//! let pod = cri.run_pod(PodSpec::new("default", "web-0").logs(containerd.pod_logs())).await?;
//! let running = cri.run(&pod, &ContainerSpec::sleeper("main", "cri-gc.test/app:1")).await?;
//! let dead = cri.run_dead(&pod, &ContainerSpec::exits("job", "cri-gc.test/app:1"), 0..3).await?;
//! assert_eq!(cri.list_containers().await?.len(), 1 + dead.len());
//! # let _ = running;
//! # Ok(())
//! # }
//! ```
//!
//! Everything that a [`Containerd`] makes lies below one temporary folder, in one network namespace and in one cgroup,
//! and is gone after it is dropped, whether the test passed or panicked. [`Cri`] speaks to any runtime's socket, the
//! embedded one's too. [`kubernetes`] has what answers to a node's agent besides the runtime: an API server and a kubelet, both
//! made up, with faults to order; [`cluster`] starts the real ones. [`flavours`] puts a test on every flavour of the embedded runtime. [`cuts`]
//! has what a kill or a power cut leaves of a file. There are no assertions about cri-gc in here.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "test support: failing loudly is its job"
)]

pub mod cluster;
mod containerd;
mod cri;
pub mod cuts;
pub mod flavours;
pub mod kubernetes;
mod logs;
mod oci;
mod poll;
mod program;
mod skip;
mod tmpfs;

pub use containerd::{Containerd, Entry, Kubelet, NODE, Namespaces, Options, StartError, static_pod_name};
pub use cri::{ContainerSpec, Cri, Pod, PodSpec, fresh_uid};
pub use logs::{legacy_log_link, pod_log_dir};
pub use oci::{Layer, OciImage, PAUSE_IMAGE};
pub use poll::{until, until_async, until_every};
pub use program::{Ended, Running};
pub use skip::{CONTAINERD_ENV, Missing, REQUIRE_ENV, containerd_or_skip, missing_pieces};
pub use tmpfs::{Space, Tmpfs, TmpfsSize, space};
