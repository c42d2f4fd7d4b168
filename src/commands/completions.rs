//! `cri-gc completions`: completion scripts for shells. A script asks this program at each completion, so that it can offer what the
//! running service knows ([`candidates`]).

use std::io;

use clap_complete::env::Shells;
use clap_complete::{CompleteEnv, Shell};

use super::candidates;
use crate::failure::Failure;
use crate::output::print;

/// The environment variable by which a script asks.
const VARIABLE: &str = "CRI_GC_COMPLETE";

/// The name of the program, which scripts look for in `PATH`.
const PROGRAM: &str = env!("CARGO_PKG_NAME");

/// What zsh needs in a file that it loads by itself: the first completion runs the file, and the others its function.
const LOADED_BY_ZSH: &str =
    "\nif [[ $funcstack[1] == _cri-gc ]]; then\n    _clap_dynamic_completer_cri_gc \"$@\"\nfi\n";

/// Prints the script for a shell.
///
/// # Errors
/// The output cannot be written.
pub fn run(shell: Shell) -> Result<(), Failure> {
    let name = shell.to_string();
    let shells = Shells::builtins();
    let unknown = || io::Error::other(format!("there are no completions for {name}"));
    let completer = shells.completer(&name).ok_or_else(unknown)?;
    let mut script = Vec::new();
    completer.write_registration(VARIABLE, PROGRAM, PROGRAM, PROGRAM, &mut script)?;
    let mut script = String::from_utf8_lossy(&script).into_owned();
    if shell == Shell::Zsh {
        script.push_str(LOADED_BY_ZSH);
    }
    print(script)
}

/// Answers the question of a script, and ends the program then. Does nothing if no script asks: a service that inherits the variable
/// has to run.
pub fn answer() {
    if std::env::args_os().nth(1).is_some_and(|first| first == "--") {
        CompleteEnv::with_factory(candidates::command).var(VARIABLE).complete();
    }
}
