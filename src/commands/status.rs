//! `cri-gc status`: how the running service is.

use std::process::ExitCode;

use super::{in_system, service};
use crate::cli::{self, Global};
use crate::failure::{Failure, PARTLY};
use crate::output::{self, show};

/// Asks and prints.
///
/// # Errors
/// No service answers.
pub fn run(global: &Global, args: &cli::Status) -> Result<ExitCode, Failure> {
    let status =
        in_system(async { Ok::<_, Failure>(service(global, &args.service).await?.status().await?) })?;
    show(args.output.output, &status, output::status::text)?;
    let refused = status.configuration.as_ref().is_some_and(|of| !of.refused.is_empty());
    let unsynced = status.pods.as_ref().is_some_and(|pods| !pods.synced);
    let is_well = status.problems.is_empty() && !refused && !unsynced;
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::from(PARTLY) })
}
