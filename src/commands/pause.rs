//! `cri-gc pause`: loops of the running service begin nothing any more.

use std::process::ExitCode;

use super::{in_system, loops, service};
use crate::cli::{Global, Loops};
use crate::failure::Failure;
use crate::output::{answers, show};

/// Pauses, and says what is paused.
///
/// # Errors
/// No service answers, or it refuses.
pub fn run(global: &Global, args: &Loops) -> Result<ExitCode, Failure> {
    let answer = in_system(async {
        Ok::<_, Failure>(service(global, &args.service).await?.pause(loops(&args.loops)).await?)
    })?;
    show(args.output.output, &answer, |answer| answers::paused(&answer.paused))?;
    Ok(ExitCode::SUCCESS)
}
