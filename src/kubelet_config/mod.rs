//! Translates the configuration of a kubelet into settings of cri-gc that do the same (`cri-gc config import-kubelet`).
//!
//! [`import`] is a pure function: the texts of the kubelet's files and the flags of its command line go in, settings and
//! a commented configuration file come out. `known` is the table of the kubelet's settings that matter here; all others are
//! listed. `form` and `flags` read the two sources, `values` single values of them, `kubelet` one setting from both;
//! `translate` makes cri-gc's settings of them, `remaining` lists what the kubelet still does, and `text` prints the file.
//!
//! It must not read files, and it must never print a configuration that does something else than its comments say: what
//! can't be translated is an error or a comment, never dropped.

mod error;
mod flags;
mod form;
mod known;
mod kubelet;
mod near;
mod remaining;
#[cfg(test)]
mod tests;
mod text;
mod translate;
mod values;

pub use error::ImportError;
pub use flags::Flags;
pub use kubelet::DropIn;
pub use text::Imported;

/// Translates the text of a kubelet's configuration, its drop-ins in their order, which override it, and the flags of the
/// kubelet, which override both.
///
/// # Errors
/// A text is not such a configuration, a kubelet would refuse it, or cri-gc has no such value; all invalid values are named.
pub fn import(file: Option<&str>, drop_ins: &[DropIn], flags: &Flags) -> Result<Imported, ImportError> {
    translate::translate(kubelet::Kubelet::read(file, drop_ins, flags)?)
}
