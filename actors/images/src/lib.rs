//! The image records: when each image was first seen and last used, over restarts and crashes (behaviour: State on disk).
//!
//! Every pass reports which images the containers that it saw use, so that short-lived jobs count; image GC
//! ([`ImageRecords::remember`]) gets its images back with what is remembered of them. What it gets is on the disk before, or in the
//! runtime directory where that is refused, unless both fail: then the keeper continues from memory, logs it, and tries again. A
//! question ([`ImageRecords::recall`]) changes nothing and waits for no disk. The keeper asks the runtime nothing and decides nothing.
//!
//! - `handle`: what others call. `messages`: the protocol. `keeper`: the actor. [`Home`]: where the records are kept.
//! - `content`: the values, and how two of them are merged. `records`: those in memory, pure. `refusals`: which images the runtime
//!   refused to remove.
//! - [`store`]: the file, and `store::fallback`: its copy in the runtime directory.

mod content;
mod handle;
mod home;
mod keeper;
mod messages;
mod records;
mod refusals;
pub mod store;

pub use content::{Content, Observed, Record};
pub use handle::ImageRecords;
pub use home::Home;
pub use messages::{Ages, Recalled};
pub use store::Origin;
