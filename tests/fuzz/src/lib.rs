//! What must be true of cri-gc whatever it reads: one function for each kind of input. Each states a property of what the product makes
//! of the bytes, and panics where that is not true; none of them only asks that nothing panics.
//!
//! The same functions run in two ways: `tests/corpus.rs` calls them with the inputs of `corpus/` and with mutations of these, on each
//! test run; the programs of `fuzz/` (cargo-fuzz, a workspace of its own) search for inputs that reach new code.
//!
//! - [`mutate`]: inputs made of others. `input`: pieces of an input. `disk`: a directory with what an input describes.
//! - the other modules: a target each.
//!
//! A property must not be computed by the code that it is about: it is stated again, in the simplest way.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: failing loudly is its job"
)]

mod disk;
mod input;
pub mod mutate;

/// A target: its name, and what is called with the bytes.
pub type Target = (&'static str, fn(&[u8]));

/// Calls a macro with the names of all targets.
#[macro_export]
macro_rules! for_each_target {
    ($call:ident) => {
        $call! {
            admin_requests,
            #[cfg(feature = "kubernetes")]
            api_pages,
            cri_answers,
            cri_lists,
            kubelet_config,
            log_files,
            log_names,
            log_trees,
            patterns,
            pod_lists,
            references,
            settings,
            snapshots,
        }
    };
}

/// Declares the targets: a module of each name, and in it the function of that name.
macro_rules! targets {
    ($($(#[$attribute:meta])* $name:ident,)+) => {
        $($(#[$attribute])* mod $name; $(#[$attribute])* pub use $name::$name;)+

        /// All of them, by name.
        pub const TARGETS: &[Target] = &[$($(#[$attribute])* (stringify!($name), $name),)+];
    };
}

for_each_target!(targets);
