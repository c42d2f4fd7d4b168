//! The subcommands, most in a file of their own.
//!
//! - [`candidates`]: what completions offer. [`setup`]: what several of them begin with. [`requests`]: those that send one request to
//!   a running service. [`selection`]: which objects of a plan are meant.

pub mod candidates;
pub mod completions;
pub mod config;
#[cfg(feature = "demo")]
pub mod demo;
pub mod df;
pub mod events;
pub mod import_kubelet;
pub mod plan;
pub mod requests;
pub mod run;
pub mod run_now;
pub mod selection;
pub mod setup;
pub mod snapshot;
pub mod sweep;
pub mod watch;

use crate::cli::{Cli, Command};
use crate::failure::Failure;

/// Runs the subcommand that was typed.
///
/// # Errors
/// What failed, as a sentence with a remedy, and the exit code.
pub fn dispatch(cli: Cli) -> Result<(), Failure> {
    let global = cli.global;
    match cli.command {
        Command::Run => run::run(&global),
        Command::Plan(args) => plan::run(&global, &args),
        Command::Df(args) => df::run(&global, &args),
        Command::Snapshot(args) => snapshot::run(&global, &args),
        Command::Sweep(args) => sweep::run(&global, &args),
        #[cfg(feature = "demo")]
        Command::Demo(args) => demo::run(&global, &args),
        Command::Status(args) => requests::status(&global, &args),
        Command::Explain(args) => requests::explain(&global, &args),
        Command::RunNow(args) => run_now::run(&global, &args),
        Command::Pause(args) => requests::pause(&global, &args),
        Command::Resume(args) => requests::resume(&global, &args),
        Command::Events(args) => events::run(&global, &args),
        Command::History(args) => events::history(&global, &args),
        Command::Config(args) => config::run(&global, &args),
        Command::LogLevel(args) => requests::log_level(&global, &args),
        Command::Completions(args) => completions::run(args.shell),
    }
}
