//! Servers of Kubernetes for tests: an API server ([`FakeApi`]) and a kubelet ([`FakeKubelet`]), as far as an agent on a node
//! speaks to them. They must answer as the real ones do, also in failing; nothing here knows cri-gc.
//!
//! ```
//! use cri_gc_test_support::kubernetes::{FakeApi, Fault, On, PodObject};
//!
//! let api = FakeApi::start("node-1");
//! api.set_node("node-1", "0b6e9d2c-boot");
//! api.apply(PodObject::new("default", "web-0", "uid-0").phase("Running").image("app:1"));
//! api.fail_next(On::List, Fault::Status(503));
//! assert_eq!((api.count(On::Any), api.open_watches()), (0, 0));
//! ```
//!
//! Each server lives on a thread of its own, in time of its own: a test may pause its clock. What a test orders is done
//! when the call returns.

mod answer;
mod api;
pub(crate) mod certificates;
mod faults;
mod kubelet;
mod pod;
mod request;
mod server;
mod store;

pub use api::FakeApi;
pub use faults::{Fault, On};
pub use kubelet::FakeKubelet;
pub use pod::PodObject;
pub use request::Request;
pub use server::FakeServer;
