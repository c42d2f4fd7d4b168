//! The configuration while the service runs: generations of settings, and how a new one is made (behaviour: Reloading the configuration).
//!
//! A generation never changes. A reload reads and checks the whole file first; an invalid one is refused and changes nothing, a
//! valid one becomes the next generation, which every actor gets as one message.
//!
//! - `handle`: where to ask. `messages`: what is asked. `actor`: the reload. `watch`: whether the file has changed.

mod actor;
mod handle;
mod messages;
mod watch;

pub use handle::Configuration;
pub use messages::{ConfigurationState, Reading, Refused, Reloaded};
