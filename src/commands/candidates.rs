//! What the completions of a shell offer: words of the program, and ids, names, settings and levels of the running service.
//!
//! A service that does not answer at once offers nothing, and no error is shown: someone is typing. What is offered is inserted into a
//! command line as it is, so names with characters that mean something to a shell are left out.

use std::ffi::OsString;
use std::time::Duration;

use clap::{Arg, Command, CommandFactory, FromArgMatches};
use clap_complete::{ArgValueCandidates, CompletionCandidate};
use cri_gc_config::{LogLevel, key_names};
use cri_gc_kit::recorder::EventKind;
use cri_gc_policy::Reason;
use cri_gc_proto::admin::{ConfigRequest, HistoryRequest, PlanRequest, Section};

use super::setup::{in_system, service};
use crate::cli::{Cli, Global, Service};
use crate::client::{Client, ClientError};

/// How long a completion waits for the service.
const PATIENCE: Duration = Duration::from_secs(1);

/// How many of the newest events are asked for the names of their objects.
const EVENTS: u32 = 1000;

/// The state of a loop that can be resumed, as [`cri_gc_proto::admin::LoopStatus`] has it.
const PAUSED: &str = "paused";

/// The command line with what is offered for its values.
#[must_use]
pub fn command() -> Command {
    let filter = |command: Command| {
        command
            .mut_arg("kinds", offers(|| words(EventKind::ALL.iter().map(|kind| kind.as_str()))))
            .mut_arg("reasons", offers(reasons))
            .mut_arg("object", offers(past_objects))
    };
    Cli::command()
        .mut_arg("log_level", offers(|| words(LogLevel::WORDS.iter().copied())))
        .mut_arg("set", offers(settings))
        .mut_subcommand("plan", |command| command.mut_arg("reasons", offers(reasons)))
        .mut_subcommand("explain", |command| command.mut_arg("object", offers(objects)))
        .mut_subcommand("events", filter)
        .mut_subcommand("history", filter)
        .mut_subcommand("resume", |command| command.mut_arg("loops", offers(paused_loops)))
        .mut_subcommand("log-level", |command| command.mut_arg("level", offers(levels)))
}

/// Lets an argument offer what `candidates` returns.
fn offers(
    candidates: impl Fn() -> Vec<CompletionCandidate> + Send + Sync + 'static,
) -> impl FnOnce(Arg) -> Arg {
    |argument| argument.add(ArgValueCandidates::new(candidates))
}

fn reasons() -> Vec<CompletionCandidate> {
    words(Reason::ALL.iter().map(|reason| reason.as_str()))
}

fn words<'a>(words: impl Iterator<Item = &'a str>) -> Vec<CompletionCandidate> {
    words.map(CompletionCandidate::new).collect()
}

/// Names and ids of what is on the node, each with the decision about it.
fn objects() -> Vec<CompletionCandidate> {
    let plan = ask(async |service| service.ask(async |admin| admin.plan(PlanRequest {}).await).await);
    let Some(plan) = plan else { return Vec::new() };
    let kinds = [
        ("container", plan.containers),
        ("sandbox", plan.sandboxes),
        ("log directory", plan.log_dirs),
        ("image", plan.images),
    ];
    let mut candidates = Vec::new();
    for (kind, section) in kinds {
        let Section { remove, follow, keep, .. } = section.unwrap_or_default();
        let decided = [("removed", remove), ("removed", follow), ("kept", keep)];
        for (decision, item) in decided
            .into_iter()
            .flat_map(|(decision, items)| items.into_iter().map(move |item| (decision, item)))
        {
            let help = format!("{kind}, {decision}: {}", item.reason);
            let texts = [item.name, item.id].into_iter().chain(item.names);
            candidates.extend(texts.filter_map(|text| candidate(text, &help)));
        }
    }
    candidates
}

/// Names and ids of what the newest events are about.
fn past_objects() -> Vec<CompletionCandidate> {
    let request = HistoryRequest { filter: None, limit: EVENTS };
    let events = ask(async |service| {
        let mut stream = service.stream(async |admin| admin.history(request).await).await?;
        let mut events = Vec::new();
        while let Some(event) = stream.next().await? {
            events.push(event);
        }
        Ok(events)
    });
    let texts = events.unwrap_or_default().into_iter().flat_map(|event| {
        let help = format!("{}, {}", event.object_kind, event.kind);
        [event.object_name, event.object_id].map(|text| candidate(text, &help))
    });
    texts.flatten().collect()
}

/// The keys of all settings, each with its value in the running service.
fn settings() -> Vec<CompletionCandidate> {
    let config = ask(async |service| service.ask(async |admin| admin.config(ConfigRequest {}).await).await);
    let values: serde_json::Value =
        config.and_then(|config| serde_json::from_str(&config.json).ok()).unwrap_or_default();
    let setting = |key: &str| {
        let value = key.split('.').try_fold(&values, |value, part| value.get(part));
        let help = value.map(|value| format!("now {value}").into());
        CompletionCandidate::new(format!("{key}=")).help(help)
    };
    key_names().map(setting).collect()
}

/// The levels, with a mark at the one in force.
fn levels() -> Vec<CompletionCandidate> {
    let in_force = ask(async |service| service.status().await).map(|status| status.log_level);
    let level = |word: &&str| {
        let is_in_force = in_force.as_deref() == Some(*word);
        CompletionCandidate::new(*word).help(is_in_force.then(|| "in force".into()))
    };
    LogLevel::WORDS.iter().map(level).collect()
}

fn paused_loops() -> Vec<CompletionCandidate> {
    let status = ask(async |service| service.status().await).unwrap_or_default();
    let paused = status.loops.into_iter().filter(|of| of.state == PAUSED);
    paused.filter_map(|of| candidate(of.r#loop, PAUSED)).collect()
}

/// A text of the service as a candidate, unless a shell would read it as more than a word.
fn candidate(text: String, help: &str) -> Option<CompletionCandidate> {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "._/:@+-#".contains(letter);
    let is_word = text.starts_with(|first: char| first.is_ascii_alphanumeric()) && text.chars().all(is_plain);
    is_word.then(|| CompletionCandidate::new(text).help(Some(help.to_owned().into())))
}

/// Asks the service that the words typed so far mean.
fn ask<T>(request: impl AsyncFnOnce(Client) -> Result<T, ClientError>) -> Option<T> {
    let (global, named) = typed(std::env::args_os().skip_while(|word| word != "--").skip(1))?;
    in_system(async {
        let answer = async { request(service(&global, &named).await.ok()?).await.ok() };
        tokio::time::timeout(PATIENCE, answer).await.ok().flatten()
    })
}

/// What an unfinished command line says about the settings and the socket.
fn typed(words: impl Iterator<Item = OsString>) -> Option<(Global, Service)> {
    let matches = Cli::command().ignore_errors(true).try_get_matches_from(words).ok()?;
    // An unfinished `--set` would be refused where a service is asked.
    let global = Global { set: Vec::new(), endpoint: None, ..Global::from_arg_matches(&matches).ok()? };
    let socket = matches.subcommand().and_then(|(_, of)| of.try_get_one("socket").ok().flatten().cloned());
    Some((global, Service { socket, timeout: Some(PATIENCE) }))
}
