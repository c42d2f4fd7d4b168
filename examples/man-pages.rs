//! Writes the manual pages of the program, from its own definition of what can be typed, into a directory:
//!
//!     cargo run --example man-pages --no-default-features --features kubernetes -- DIRECTORY
//!
//! The features are those of the packaged program. This is an example and no subcommand so that what makes the pages is no
//! dependency of the program.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::CommandFactory;

fn main() -> ExitCode {
    let Some(directory) = std::env::args_os().nth(1).map(PathBuf::from) else {
        return failed("the directory for the pages is missing");
    };
    let made = std::fs::create_dir_all(&directory)
        .and_then(|()| clap_mangen::generate_to(cri_gc::cli::Cli::command(), &directory));
    match made {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&format!("{}: {error}", directory.display())),
    }
}

fn failed(why: &str) -> ExitCode {
    cri_gc::output::remark(&format!("man-pages: {why}"));
    ExitCode::FAILURE
}
