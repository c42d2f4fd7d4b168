//! The program `cri-gc`: its command line, its subcommands, and the wiring of its actors.
//!
//! - [`cli`]: what can be typed. [`commands`]: what the subcommands do. `demo` (a feature): the
//!   command `demo` and its embedded node.
//! - [`wiring`]: which actors run on which threads. [`client`]: the connection to a running service.
//! - [`output`]: tables for people, JSON and YAML for programs. [`failure`]: errors as sentences, and exit codes.
//! - [`kubelet_config`]: a kubelet's configuration as settings of ours.
//! - [`signals`]: those that end a command which has to clean up first.
//!
//! No decision is made here, no RPC is sent to a runtime from here, and no file is removed from here.

pub mod cli;
pub mod client;
pub mod commands;
#[cfg(feature = "demo")]
pub mod demo;
pub mod failure;
pub mod kubelet_config;
pub mod logging;
pub mod output;
pub mod signals;
pub mod wiring;

use std::process::ExitCode;

use clap::Parser;

use crate::failure::Failure;

/// Runs the program with the arguments and the environment of this process.
#[must_use]
pub fn run() -> ExitCode {
    commands::completions::answer();
    // A closed pipe (`cri-gc plan | head`) ends the program quietly, as it does other tools.
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    output::color::choose(cli.global.color);
    match commands::dispatch(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { code, message }) => {
            if !message.is_empty() {
                output::fail(&message);
            }
            ExitCode::from(code)
        }
    }
}

/// Prints the help or the version that was requested, or why the command line is wrong.
fn refuse(error: &clap::Error) -> ExitCode {
    output::color::choose(output::color::among(std::env::args_os()));
    let text = error.render().to_string();
    if error.use_stderr() {
        output::usage(&text);
    } else if let Err(Failure { code, message }) = output::print(text) {
        output::fail(&message);
        return ExitCode::from(code);
    }
    u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from)
}
