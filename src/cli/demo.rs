//! What can be typed for the demo. The doc comments are the help texts.

use std::time::Duration;

use clap::{Args, ValueEnum};

#[derive(Debug, Args)]
pub struct Demo {
    /// List every object, not only the first few of each reason
    #[arg(long, conflicts_with = "watch")]
    pub all: bool,
    /// Show the running service instead, on a node where pods come and go all the time, and press keys to cause failures
    ///
    /// Exits with 3 if something failed that was not broken on purpose.
    #[arg(long)]
    pub watch: bool,
    /// Cause this failure in the middle third of the time (may be given several times)
    #[arg(long = "break", value_name = "WHAT", value_enum, requires = "watch")]
    pub breaks: Vec<Breakage>,
    /// How long to watch, e.g. 1m [default: until q on a terminal, else 30s]
    #[arg(long = "for", value_name = "DURATION", requires = "watch", value_parser = super::values::length)]
    pub length: Option<Duration>,
}

/// What can be broken in the demo.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Breakage {
    /// The runtime answers requests about images with errors
    Images,
    /// The runtime never answers RemoveContainer
    Hang,
    /// The runtime is down
    Runtime,
    /// container_gc panics
    Panic,
    /// The thread of sandbox_gc hangs
    Thread,
}
