//! `cri-gc completions`: completion scripts for shells.

use clap::CommandFactory;
use clap_complete::{Shell, generate};

use crate::cli::Cli;
use crate::failure::Failure;
use crate::output::print;

/// Prints the script for a shell.
///
/// # Errors
/// The output cannot be written.
pub fn run(shell: Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    generate(shell, &mut Cli::command(), env!("CARGO_PKG_NAME"), &mut script);
    let script = String::from_utf8_lossy(&script);
    // clap_complete 4.6 names the program by two rules where its name has a hyphen, and then finds nothing.
    let script =
        if shell == Shell::Bash { script.replace("cri__subcmd__gc", "cri__gc") } else { script.into_owned() };
    print(&script)?;
    Ok(())
}
