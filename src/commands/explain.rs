//! `cri-gc explain`: why an object goes or stays, by the running service.

use std::process::ExitCode;

use super::{in_system, service};
use crate::cli::{self, Global};
use crate::client::{ClientError, Trouble};
use crate::failure::Failure;
use crate::output::{self, show};

/// Asks and prints.
///
/// # Errors
/// No service answers, nothing is called that, or several objects are.
pub fn run(global: &Global, args: &cli::Explain) -> Result<ExitCode, Failure> {
    let answer = in_system(async {
        let service = service(global, &args.service).await?;
        service.explain(args.object.clone()).await.map_err(several)
    })?;
    show(args.output.output, &answer, output::explain::text)?;
    Ok(ExitCode::SUCCESS)
}

fn several(error: ClientError) -> Failure {
    match error.trouble {
        Trouble::Invalid => Failure::usage(error.message).or("write more of it"),
        _ => error.into(),
    }
}
