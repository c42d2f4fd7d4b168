//! Decisions.

pub mod observation;
pub mod policy;
pub mod protect;
pub mod reason;
pub mod reference;
pub mod snapshot;

pub use observation::*;
pub use policy::*;
pub use protect::{Pattern, PatternError};
pub use reason::Reason;
