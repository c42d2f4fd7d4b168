//! The subcommands that send one request to the running service and print the answer: `status`, `explain`, `pause`,
//! `resume` and `log-level`.

use cri_gc_proto::admin::{
    ExplainRequest, PauseRequest, PauseResponse, ResumeRequest, ResumeResponse, SetLogLevelRequest,
    StatusResponse,
};
use serde::Serialize;

use super::setup::{in_system, loops, service};
use super::watch;
use crate::cli::{ChangeLogLevel, Explain, Form, Global, Loops, Pause, Service, Status};
use crate::client::{Client, ClientError, Trouble};
use crate::failure::Failure;
use crate::output::fit::Fit;
use crate::output::text::Text;
use crate::output::{self, answers, show};

/// Sends a request to the service and prints the answer.
///
/// # Errors
/// No service answers, or it refuses.
pub fn ask<T: Serialize, E: Into<Failure>>(
    global: &Global,
    meant: &Service,
    form: Form,
    request: impl AsyncFnOnce(Client) -> Result<T, E>,
    text: impl FnOnce(&T) -> Text,
) -> Result<T, Failure> {
    let answer = in_system(async { request(service(global, meant).await?).await.map_err(Into::into) })?;
    show(form, &answer, text)?;
    Ok(answer)
}

/// The state of the service.
///
/// # Errors
/// No service answers.
pub fn status(global: &Global, args: &Status) -> Result<(), Failure> {
    if args.watch {
        return watch::run(global, args);
    }
    let form = args.output.output;
    let request = async |service: Client| service.status().await;
    let text = |status: &StatusResponse| output::status::text(status, Fit::of(form));
    let status = ask(global, &args.service, form.into(), request, text)?;
    let is_refused = status.configuration.as_ref().is_some_and(|of| !of.refused.is_empty());
    let is_unsynced = status.pods.as_ref().is_some_and(|pods| !pods.synced);
    let is_well = status.problems.is_empty() && !is_refused && !is_unsynced;
    Failure::partly_unless(is_well)
}

/// Why an object is removed or kept.
///
/// # Errors
/// No service answers, nothing is called that, or several objects are.
pub fn explain(global: &Global, args: &Explain) -> Result<(), Failure> {
    let request = async |service: Client| {
        let (object, wait_seconds) = (args.object.clone(), service.deadline.as_secs_f64());
        let answer =
            service.ask(async |admin| admin.explain(ExplainRequest { object, wait_seconds }).await).await;
        answer.map_err(|error| match error.trouble {
            Trouble::Invalid => Failure::usage(error.message).or("write more of the id"),
            _ => error.into(),
        })
    };
    ask(global, &args.service, args.output.output, request, output::explain::text).map(drop)
}

/// Pauses loops, and prints which are paused then.
///
/// # Errors
/// No service answers, or it refuses; or the pause would not hold over a restart.
pub fn pause(global: &Global, args: &Pause) -> Result<(), Failure> {
    let Loops { loops: named, service, output } = &args.loops;
    let for_seconds = args.length.unwrap_or_default().as_secs_f64();
    let request = PauseRequest { loops: loops(named), for_seconds };
    let request = async |service: Client| service.ask(async |admin| admin.pause(request).await).await;
    let text =
        |answer: &PauseResponse| answers::paused("Paused:", &answer.paused, &answer.until, &answer.problem);
    let answer = ask(global, service, output.output, request, text)?;
    Failure::partly_unless(answer.problem.is_empty())
}

/// Resumes loops, and prints which are still paused.
///
/// # Errors
/// No service answers, or it refuses; or they would be paused again after a restart.
pub fn resume(global: &Global, args: &Loops) -> Result<(), Failure> {
    let request = ResumeRequest { loops: loops(&args.loops) };
    let request = async |service: Client| service.ask(async |admin| admin.resume(request).await).await;
    let begin = "Still paused:";
    let text =
        |answer: &ResumeResponse| answers::paused(begin, &answer.paused, &answer.until, &answer.problem);
    let answer = ask(global, &args.service, args.output.output, request, text)?;
    Failure::partly_unless(answer.problem.is_empty())
}

/// The log level in force, and the one before it, if this command changed it.
#[derive(Serialize)]
struct Level {
    level: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous: Option<String>,
}

/// Shows or changes the log level.
///
/// # Errors
/// No service answers, or it refuses.
pub fn log_level(global: &Global, args: &ChangeLogLevel) -> Result<(), Failure> {
    let request = async |service: Client| {
        Ok::<_, ClientError>(match args.level {
            None => Level { level: service.status().await?.log_level, previous: None },
            Some(level) => {
                let level = level.as_str().to_owned();
                let request = SetLogLevelRequest { level: level.clone() };
                let answer = service.ask(async |admin| admin.set_log_level(request).await).await?;
                Level { level, previous: Some(answer.previous) }
            }
        })
    };
    let text = |level: &Level| match &level.previous {
        None => format!("{}\n", level.level).into(),
        Some(previous) => format!("{} (was {previous})\n", level.level).into(),
    };
    ask(global, &args.service, args.output.output, request, text).map(drop)
}
