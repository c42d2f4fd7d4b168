//! The wire types of cri-gc, generated from the `.proto` files next to this crate.
//!
//! [`cri`] is a subset of CRI `runtime.v1`, wire-compatible with every runtime that speaks it; [`admin`] is the API of a
//! running service. There is no logic here:
//! what a field means for a decision is said where the gateway turns these types into those of `cri-gc-policy`.

/// CRI `runtime.v1`: messages, clients and server traits. The comments are those of `proto/cri/runtime.proto`.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::allow_attributes_without_reason,
    clippy::indexing_slicing,
    reason = "generated code"
)]
pub mod cri {
    tonic::include_proto!("runtime.v1");
}

/// The admin API of cri-gc: messages, client and server. The comments are those of `proto/admin/admin.proto`.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::allow_attributes_without_reason,
    clippy::indexing_slicing,
    reason = "generated code"
)]
pub mod admin {
    tonic::include_proto!("cri_gc.admin.v1");

    /// The descriptors of this API, for the reflection service.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/admin.bin"));
}

/// The label in which a kubelet writes the UID of the pod that a container or sandbox belongs to.
pub const POD_UID_LABEL: &str = "io.kubernetes.pod.uid";

/// The label in which it writes the name of that pod.
pub const POD_NAME_LABEL: &str = "io.kubernetes.pod.name";

/// The label in which it writes the namespace of that pod.
pub const POD_NAMESPACE_LABEL: &str = "io.kubernetes.pod.namespace";

/// The label in which it writes the name of a container.
pub const CONTAINER_NAME_LABEL: &str = "io.kubernetes.container.name";

/// The largest message that containerd and CRI-O send or accept, in bytes: 16 MiB.
pub const RUNTIME_MESSAGE_LIMIT: usize = 16 * 1024 * 1024;
