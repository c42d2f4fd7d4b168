//! `cri-gc log-level`: what the running service logs.

use std::process::ExitCode;

use serde::Serialize;

use super::{in_system, service};
use crate::cli::{ChangeLogLevel, Global};
use crate::failure::Failure;
use crate::output::show;

/// The level that holds now, and the one before it, if this changed it.
#[derive(Serialize)]
struct Level {
    level: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous: Option<String>,
}

/// Asks or changes, and prints.
///
/// # Errors
/// No service answers, or it refuses.
pub fn run(global: &Global, args: &ChangeLogLevel) -> Result<ExitCode, Failure> {
    let level = in_system(async {
        let service = service(global, &args.service).await?;
        Ok::<_, Failure>(match args.level {
            None => Level { level: service.status().await?.log_level, previous: None },
            Some(level) => {
                let level = level.as_str().to_owned();
                let previous = service.set_log_level(level.clone()).await?.previous;
                Level { level, previous: Some(previous) }
            }
        })
    })?;
    show(args.output.output, &level, |level| match &level.previous {
        None => format!("{}\n", level.level),
        Some(previous) => format!("{} (was {previous})\n", level.level),
    })?;
    Ok(ExitCode::SUCCESS)
}
