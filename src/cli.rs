//! What can be typed. The doc comments are the help texts. `demo`: what is typed for the
//! demo. [`service`]: what is typed to talk to a running service.

#![expect(
    missing_docs,
    reason = "a doc comment here is a help text; what has none is a container for others"
)]

#[cfg(feature = "demo")]
pub mod demo;
pub mod service;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use cri_gc_config::LogLevel;
use jiff::SignedDuration;

#[cfg(feature = "demo")]
pub use demo::Demo;
pub use service::{ChangeLogLevel, Events, Explain, LoopName, Loops, RunNow, Service, Status};

/// Garbage collector of a node that runs containers through a CRI runtime (containerd, CRI-O).
///
/// Removes dead containers, sandboxes, the log directories of deleted pods, and images, by the rules of the kubelet.
///
/// Exit codes: 0 good, 1 failed, 2 wrong usage, 3 partly failed, 4 no runtime (or no service) reachable, 64 bad
/// configuration.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// Where the settings come from: later ones win. Defaults, file, environment (CRI_GC__SECTION__KEY), flags.
#[derive(Debug, Args)]
pub struct Global {
    /// Configuration file [default: /etc/cri-gc/config.toml, if it is there]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// One setting, e.g. --set image_gc.min_age=0s (may be given several times)
    #[arg(long, global = true, value_name = "KEY=VALUE", value_parser = key_value)]
    pub set: Vec<(String, String)>,
    /// Socket of the runtime; the same as --set runtime.endpoint=SOCKET
    #[arg(long, global = true, value_name = "SOCKET")]
    pub endpoint: Option<String>,
    /// What is logged on stderr: error, warning, info, debug or trace [default: log.level for run, else error]
    #[arg(long, global = true, value_name = "LEVEL", value_parser = log_level)]
    pub log_level: Option<LogLevel>,
}

fn log_level(text: &str) -> Result<LogLevel, String> {
    text.parse().map_err(|error| format!("{error}; write one of {}", LogLevel::WORDS.join(", ")))
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.trim().to_owned())),
        _ => Err("write KEY=VALUE, e.g. image_gc.min_age=0s".to_owned()),
    }
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run as the service of this node: all loops with their periods, until SIGTERM or SIGINT
    Run,
    /// Show what a sweep would remove now, what it would keep, and why; removes nothing
    ///
    /// Ends with 3 where something could not be found out; what is known is printed.
    Plan(Plan),
    /// Write what one look at the node sees, to be planned on elsewhere (plan --snapshot reads the JSON form)
    Snapshot(Snapshot),
    /// Make one pass of each loop now, without a service: containers, sandboxes, logs, images
    ///
    /// SIGINT and SIGTERM end it once the removals that were sent are answered, with the table of what was done and exit code 130
    /// or 143; a second one ends it at once.
    Sweep(Sweep),
    /// Clean up an embedded node with a full disk, to show what cri-gc does; needs no root, no network and no runtime
    #[cfg(feature = "demo")]
    Demo(Demo),
    /// Show how the running service is: its loops, the runtime, the pod source, the file systems
    ///
    /// Ends with 3 where the service could not find out everything.
    Status(Status),
    /// Ask the running service why an object goes or stays
    ///
    /// Ends with 1 where nothing is called that, and with 2 where the beginning of an id fits several.
    Explain(Explain),
    /// Have the running service make a pass of each named loop now, and watch it
    ///
    /// The passes belong to the service: they go on if this command is ended. Ends with 1 where a loop is paused or the
    /// service is stopping, and with 3 where a pass failed or could not remove something.
    RunNow(RunNow),
    /// Have the running service begin no pass and no removal any more, until resumed or restarted
    Pause(Loops),
    /// End a pause; a pass is made at once
    Resume(Loops),
    /// Show what happened lately in the running service
    Events(Events),
    /// Show, check or reload the configuration, or make one of a kubelet's
    #[command(subcommand)]
    Config(Config),
    /// Show what the running service logs, or have it log from another level on, until a reload changes log.level
    LogLevel(ChangeLogLevel),
    /// Print what makes a shell complete the commands and flags of cri-gc
    ///
    /// For bash: cri-gc completions bash > /usr/share/bash-completion/completions/cri-gc
    Completions(Completions),
}

#[derive(Debug, Args)]
pub struct Plan {
    /// Plan on a snapshot instead of a runtime ("-": standard input); its time is taken as now
    #[arg(long, value_name = "FILE")]
    pub snapshot: Option<PathBuf>,
    /// List every object, what is kept too (table only). Without it, what is kept is counted by reason, and a terminal shows 10
    /// of the objects that would be removed for the same reason
    #[arg(long)]
    pub all: bool,
    #[command(flatten)]
    pub source: Source,
    #[command(flatten)]
    pub output: Output,
}

#[derive(Debug, Args)]
pub struct Snapshot {
    #[command(flatten)]
    pub source: Source,
    /// Form of the output
    #[arg(short, long, value_name = "FORM", value_enum, default_value_t = DataForm::Json)]
    pub output: DataForm,
}

#[derive(Debug, Args)]
pub struct Sweep {
    /// Remove nothing: list what a sweep would remove; works beside a running service
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub source: Source,
    #[command(flatten)]
    pub output: Output,
}

#[derive(Debug, Args)]
pub struct Source {
    /// Believe the pod source even if it says that many pods are deleted at once (pods.max_newly_deleted_percent)
    #[arg(long)]
    pub confirm_deleted: bool,
}

/// The longest watch, and the longest wait: a day.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

fn length(text: &str) -> Result<Duration, String> {
    let length = text.parse::<SignedDuration>().ok().and_then(|length| Duration::try_from(length).ok());
    length
        .filter(|length| *length >= Duration::from_secs(1) && *length <= LONGEST)
        .ok_or_else(|| "write a number with its unit, from 1s to 24h, e.g. 30s or 5m".to_owned())
}

#[derive(Debug, Subcommand)]
pub enum Config {
    /// Print the settings, all layers merged: those that a command would use now, or those of the running service
    Show {
        /// The settings that the running service follows
        #[arg(long)]
        running: bool,
        /// Socket of the service [default: admin.socket of the settings]
        #[arg(long, value_name = "PATH", requires = "running")]
        socket: Option<String>,
        #[command(flatten)]
        output: ConfigOutput,
    },
    /// Check the configuration and say everything that is wrong with it
    Check,
    /// Have the running service read its configuration anew
    ///
    /// A bad one is refused and changes nothing; the exit code is 64 then.
    Reload {
        #[command(flatten)]
        service: Service,
        #[command(flatten)]
        output: Output,
    },
    /// Print the configuration that does what a kubelet's own garbage collection does
    ///
    /// Comments in it say where each setting comes from, what to set in the kubelet so that not both collect images, and what
    /// only the kubelet does.
    ///
    /// For example: cri-gc config import-kubelet /var/lib/kubelet/config.yaml -- --root-dir=/data/kubelet > config.toml
    ImportKubelet(ImportKubelet),
}

#[derive(Debug, Args)]
pub struct ImportKubelet {
    /// The kubelet's configuration, in YAML or JSON ("-": standard input): a KubeletConfiguration, what the kubelet answers at
    /// /configz, or a KubeletConfig of OpenShift [default: the file that the kubelet's flag --config names, if it is given]
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// What the kubelet is started with; its flags beat the file, those that matter here are taken over. The drop-ins of
    /// --config-dir are read
    #[arg(last = true, value_name = "KUBELET FLAGS")]
    pub flags: Vec<String>,
}

#[derive(Debug, Args)]
pub struct Completions {
    /// Which shell
    #[arg(value_enum)]
    pub shell: Shell,
}

#[derive(Debug, Args)]
pub struct Output {
    /// Form of the output
    #[arg(short, long, value_name = "FORM", value_enum, default_value_t = Form::Table)]
    pub output: Form,
}

#[derive(Debug, Args)]
pub struct ConfigOutput {
    /// Form of the output
    #[arg(short, long, value_name = "FORM", value_enum, default_value_t = ConfigForm::Toml)]
    pub output: ConfigForm,
}

/// How data is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// For people
    Table,
    /// For programs
    Json,
    /// For both
    Yaml,
}

/// How data is printed that no table could show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DataForm {
    Json,
    Yaml,
}

/// How settings are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ConfigForm {
    /// A table of keys, values and where each comes from
    Table,
    /// As a configuration file
    Toml,
    /// For programs
    Json,
    /// For both
    Yaml,
}
