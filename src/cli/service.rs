//! The commands that talk to a running service. The doc comments are the help texts.

use std::time::Duration;

use clap::Args;
use cri_gc_config::LogLevel;

use super::output::{Form, Output, TableForm, Tables};
use super::values::{LoopName, LoopParser, When, length, log_level, span, when};

#[derive(Debug, Args)]
pub struct Service {
    /// Socket of the service; with it, no configuration is read [default: admin.socket of the settings]
    #[arg(long, value_name = "PATH")]
    pub socket: Option<String>,
    /// How long to wait for the answer, e.g. 1m [default: 15s; no limit for run-now and events --follow]
    #[arg(long, value_name = "DURATION", value_parser = length)]
    pub timeout: Option<Duration>,
}

#[derive(Debug, Args)]
pub struct Status {
    /// Show what changes and what is wrong, again and again; q or Ctrl-C ends it
    #[arg(short, long)]
    pub watch: bool,
    /// How often it is shown again, e.g. 10s
    #[arg(long, value_name = "DURATION", requires = "watch", default_value = "2s", value_parser = length)]
    pub interval: Duration,
    #[command(flatten)]
    pub service: Service,
    #[command(flatten)]
    pub output: Tables,
}

#[derive(Debug, Args)]
pub struct Explain {
    /// An id or the beginning of one, a name (of a pod, container or log directory), a tag or digest, or a pod UID
    pub object: String,
    #[command(flatten)]
    pub service: Service,
    #[command(flatten)]
    pub output: Output,
}

#[derive(Debug, Args)]
pub struct RunNow {
    /// Loops; containers, sandboxes, logs and images are accepted, too [default: all]
    #[arg(value_parser = LoopParser, value_name = "LOOP")]
    pub loops: Vec<LoopName>,
    /// Confirm that pods missing from the pod source now are deleted, even if many disappeared at once (see `status`); the
    /// other checks before a pod counts as deleted stay in force
    #[arg(long)]
    pub confirm_deleted: bool,
    #[command(flatten)]
    pub service: Service,
    /// Form of the output; json: one update per line, as it arrives
    #[arg(short, long, value_name = "FORM", value_enum, default_value_t = TableForm::Table)]
    pub output: TableForm,
}

#[derive(Debug, Args)]
pub struct Loops {
    /// Loops; containers, sandboxes, logs and images are accepted, too [default: all]
    #[arg(value_parser = LoopParser, value_name = "LOOP")]
    pub loops: Vec<LoopName>,
    #[command(flatten)]
    pub service: Service,
    #[command(flatten)]
    pub output: Output,
}

#[derive(Debug, Args)]
pub struct Pause {
    /// How long, e.g. 1h [default: until they are resumed]
    #[arg(long = "for", value_name = "DURATION", value_parser = span)]
    pub length: Option<Duration>,
    #[command(flatten)]
    pub loops: Loops,
}

/// Which events are meant.
#[derive(Debug, Args)]
pub struct EventFilter {
    /// Only events since then: a duration, e.g. 2h, or a time as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "WHEN", value_parser = when)]
    pub since: Option<When>,
    /// Only events until then
    #[arg(long, value_name = "WHEN", value_parser = when)]
    pub until: Option<When>,
    /// Only events of this loop (several: with commas, or the flag again)
    #[arg(long = "loop", value_parser = LoopParser, value_name = "LOOP", value_delimiter = ',')]
    pub loops: Vec<LoopName>,
    /// Only events of this kind, e.g. Removed (several: with commas, or the flag again)
    #[arg(long = "kind", value_name = "KIND", value_delimiter = ',')]
    pub kinds: Vec<String>,
    /// Only events about this object: an id, the beginning of one, a name or a pod UID
    #[arg(long, value_name = "OBJECT")]
    pub object: Option<String>,
    /// Only events with this reason, e.g. pod_deleted (several: with commas, or the flag again)
    #[arg(long = "reason", value_name = "REASON", value_delimiter = ',')]
    pub reasons: Vec<String>,
}

#[derive(Debug, Args)]
pub struct History {
    #[command(flatten)]
    pub filter: EventFilter,
    /// Show at most this many events, the newest ones; at most 10000
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub limit: u32,
    #[command(flatten)]
    pub service: Service,
    /// Form of the output; json: one event per line
    #[arg(short, long, value_name = "FORM", value_enum, default_value_t = Form::Table)]
    pub output: Form,
}

#[derive(Debug, Args)]
pub struct Events {
    #[command(flatten)]
    pub filter: EventFilter,
    /// Continue with new events, until ended
    #[arg(short, long)]
    pub follow: bool,
    /// Show at most this many past events, the newest ones
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub recent: u32,
    #[command(flatten)]
    pub service: Service,
    /// Form of the output; json: one event per line
    #[arg(short, long, value_name = "FORM", value_enum, default_value_t = Form::Table)]
    pub output: Form,
}

#[derive(Debug, Args)]
pub struct ChangeLogLevel {
    /// error, warning, info, debug or trace; without it, the level in force is shown
    #[arg(value_parser = log_level)]
    pub level: Option<LogLevel>,
    #[command(flatten)]
    pub service: Service,
    #[command(flatten)]
    pub output: Output,
}
