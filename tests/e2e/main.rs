//! End-to-end tests: the program's own binary, as an operator runs it, against runtimes that really remove.
//!
//! Each behaviour is written once, as a function of a [`node::Node`], and shown on a containerd of the test's own, and on
//! the embedded runtime in this process, as containerd 1.6 and 2.1 and as CRI-O. Where containerd can't be had the first
//! says so and steps aside (`CRI_GC_TEST_REQUIRE_CONTAINERD=1` makes that an error).
//!
//! - [`node`]: pods, containers and images on either runtime, and sweeps of it. [`containerd`] and [`embedded`]: the two.
//! - [`inventory`]: all there is on a node, by names that people read. [`program`]: running the binary.
//!   [`cluster`]: a node of a Kubernetes cluster, by either source.
//!   [`service`]: the same collectors in this process, by the clock and the disk of the embedded runtime.
//! - the others: what is shown, by section of docs/behaviour.md.
//!
//! Ages are shown by settings ("0s", "1h"), never by waiting.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "helpers of tests may fail loudly as tests may"
)]

/// Makes a test on containerd and one on each flavour of the embedded runtime of each of these functions.
macro_rules! on_both {
    ($($name:ident),+ $(,)?) => {
        mod containerd {
            $(#[tokio::test] async fn $name() {
                if let Some(mut node) = crate::containerd::node(stringify!($name)) {
                    super::$name(&mut node).await;
                }
            })+
        }
        mod embedded {
            $(async fn $name() {
                super::$name(&mut crate::embedded::node()).await;
            })+
            cri_gc_test_support::on_each_flavour!(#[tokio::test] async: $($name),+);
        }
    };
}

mod cluster;
mod containerd;
mod embedded;
mod inventory;
mod node;
mod program;
mod service;

mod admin_socket;
mod container_logs;
mod containers;
mod crashes;
mod df;
mod disk_pressure;
mod full_state_disk;
mod history;
mod image_need;
mod image_pressure;
mod image_race;
mod image_volumes;
mod images;
mod kills;
mod log_dirs;
mod long_lists;
mod metrics;
mod modes;
mod plans;
mod pods_file;
#[cfg(feature = "kubernetes")]
mod pods_kube_api;
mod pods_kubelet;
mod pods_runtime;
mod running_service;
mod sandboxes;
mod service_commands;
mod soak;
mod trouble;
mod whole_node;
