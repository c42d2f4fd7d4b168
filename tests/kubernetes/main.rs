//! cri-gc on nodes of a real Kubernetes: a kubelet, an API server with etcd, the controllers of jobs, and a containerd, of which each
//! test starts its own (`CRI_GC_TEST_KUBERNETES` names the folder of the programs that tests/support/build-kubernetes.sh makes).
//! Without them a test reports SKIPPED; `CRI_GC_TEST_REQUIRE_KUBERNETES=1` makes that an error.
//!
//! - [`node`]: one node, its cluster and who collects there. [`workload`]: the pods that run there. [`view`]: what a user of the cluster
//!   sees of them. [`removals`]: whether a kubelet would have been allowed to remove what was removed.
//! - [`churn`]: the same pods with cri-gc and with the kubelet's own collection. [`outages`]: an API server that fails.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "helpers of tests may fail loudly as tests may"
)]

mod node;
mod removals;
mod view;
mod workload;

mod churn;
mod outages;
