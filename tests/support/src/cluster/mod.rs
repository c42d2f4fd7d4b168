//! A real Kubernetes of one node: etcd, API server and the controllers of jobs ([`ControlPlane`]), in the namespaces of a
//! [`Containerd`](crate::Containerd), whose [kubelet](crate::Containerd::kubelet) joins them. All ports are those of that network,
//! so clusters cannot clash, and all of it ends with the values.

mod control_plane;
mod programs;
mod tokens;

pub use control_plane::{ControlPlane, NODE_ADDRESS};
pub(crate) use programs::kubernetes_or_skip;
pub use programs::{KUBERNETES_ENV, Programs, REQUIRE_KUBERNETES_ENV, cluster_or_skip};
