//! What can be typed. The doc comments are the help texts.
//!
//! - [`service`]: the commands that talk to a running service. `demo`: the demo. [`output`]: forms of the output.
//! - [`values`]: reads the values of flags.

#![expect(
    missing_docs,
    reason = "a doc comment here is a help text; what has none is a container for others"
)]

#[cfg(feature = "demo")]
pub mod demo;
pub mod output;
pub mod service;
pub mod values;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use cri_gc_config::LogLevel;

#[cfg(feature = "demo")]
pub use demo::Demo;
pub use output::{Color, ConfigForm, DataForm, Form, Output, PlanForm, Sort, TableForm, Tables};
pub use service::{
    ChangeLogLevel, EventFilter, Events, Explain, History, Loops, Pause, RunNow, Service, Status,
};
pub use values::LoopName;

/// What `--version` prints; `-V` prints the first line.
const LONG_VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    "\ncommit    ",
    env!("CRI_GC_COMMIT"),
    "\nfeatures  ",
    env!("CRI_GC_FEATURES")
);

/// Garbage collector of a node that runs containers through a CRI runtime (containerd, CRI-O).
///
/// Removes dead containers, sandboxes, the log directories of deleted pods, and images, by the rules of the kubelet.
///
/// Exit codes: 0 success, 1 failed, 2 wrong usage, 3 partly failed, 4 runtime (or service) unreachable, 64 invalid
/// configuration, 130 and 143 ended by SIGINT and SIGTERM.
#[derive(Debug, Parser)]
#[command(version, long_version = LONG_VERSION, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// The sources of the settings; later ones override earlier ones: defaults, file, environment (CRI_GC__SECTION__KEY), flags.
#[derive(Debug, Args)]
pub struct Global {
    /// Configuration file [default: /etc/cri-gc/config.toml, if it exists]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// One setting, e.g. --set image_gc.min_age=0s (may be given several times); commands that ask a running service accept
    /// admin.socket only
    #[arg(long, global = true, value_name = "KEY=VALUE", value_parser = values::key_value)]
    pub set: Vec<(String, String)>,
    /// Socket of the runtime; the same as --set runtime.endpoint=SOCKET
    #[arg(long, global = true, value_name = "SOCKET")]
    pub endpoint: Option<String>,
    /// Log level on stderr: error, warning, info, debug or trace [default: log.level for run, else error]
    #[arg(long, global = true, value_name = "LEVEL", value_parser = values::log_level)]
    pub log_level: Option<LogLevel>,
    /// Colour in texts for people
    #[arg(long, global = true, value_name = "WHEN", value_enum, default_value_t)]
    pub color: Color,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the service of this node: all loops with their periods, until SIGTERM or SIGINT
    Run,
    /// Show what a sweep would remove now, what it would keep, and why; removes nothing
    ///
    /// Exits with 3 if something could not be observed; what is known is printed.
    Plan(Plan),
    /// Show what uses the disk: images, writable layers of containers, logs, and what of it the next pass would free
    ///
    /// Exits with 3 if something could not be observed; what is known is printed.
    Df(Df),
    /// Write a snapshot of the node, for `plan --snapshot` on another machine (it reads the JSON form)
    Snapshot(Snapshot),
    /// Run one pass of each loop now, without a service: containers, sandboxes, logs, images
    ///
    /// After SIGINT or SIGTERM it waits for the removals in progress, prints what was done, and exits with 130 or 143; a second
    /// signal ends it at once.
    Sweep(Sweep),
    /// Clean up a simulated node with a full disk, to show what cri-gc does; needs no root, no network and no runtime
    #[cfg(feature = "demo")]
    Demo(Demo),
    /// Show the state of the running service: its loops, the runtime, the pod source, the filesystems
    ///
    /// Exits with 3 if the service could not observe everything.
    Status(Status),
    /// Show why the running service removes or keeps an object, or when and why it removed it
    ///
    /// Exits with 1 if there is no such object in the history either, and with 2 if several ids begin with what was given.
    Explain(Explain),
    /// Run a pass of each named loop in the running service now, and show its progress
    ///
    /// The service makes the passes: they continue if this command is ended. Exits with 1 if a loop is paused or the service
    /// is stopping, and with 3 if a pass failed or could not remove something.
    RunNow(RunNow),
    /// Pause loops of the running service, for a time or until they are resumed: no pass and no removal begins, also after a
    /// restart of the service
    Pause(Pause),
    /// Resume paused loops; each makes a pass at once
    Resume(Loops),
    /// Show recent events of the running service, and new ones as they happen
    Events(Events),
    /// Show past events from the history on disk: what was removed, when and why, failures, reloads, pauses
    ///
    /// The history contains the newest state.history_max_events events, over restarts.
    History(History),
    /// Show, check or reload the configuration, or convert a kubelet's
    #[command(subcommand)]
    Config(Config),
    /// Show or change the log level of the running service, until a reload changes log.level
    LogLevel(ChangeLogLevel),
    /// Print the completion script for a shell
    ///
    /// They offer the ids, names, settings and levels of the running service, too.
    ///
    /// For bash: cri-gc completions bash > /usr/share/bash-completion/completions/cri-gc
    Completions(Completions),
}

#[derive(Debug, Args)]
pub struct Plan {
    /// Plan on a snapshot instead of a runtime ("-": standard input); its time counts as now
    #[arg(long, value_name = "FILE")]
    pub snapshot: Option<PathBuf>,
    /// List every object, also those that are kept (table only). Without it, kept objects are counted by reason, and on a
    /// terminal at most 10 objects are listed for each reason to remove them
    #[arg(long)]
    pub all: bool,
    /// Only objects of this loop; containers, sandboxes, logs and images are accepted, too (several: with commas, or the flag again)
    #[arg(long = "loop", value_parser = values::LoopParser, value_name = "LOOP", value_delimiter = ',')]
    pub loops: Vec<LoopName>,
    /// Only objects that are removed or kept for this reason, e.g. pod_deleted (several: with commas, or the flag again)
    #[arg(
        long = "reason",
        value_name = "REASON",
        value_parser = values::reason(),
        hide_possible_values = true,
        value_delimiter = ','
    )]
    pub reasons: Vec<String>,
    /// Only objects of pods in this namespace; images have none (several: with commas, or the flag again)
    #[arg(short, long = "namespace", value_name = "NAMESPACE", value_delimiter = ',')]
    pub namespaces: Vec<String>,
    /// Order within each kind of object [default: the order of removal]
    #[arg(long, value_name = "KEY", value_enum)]
    pub sort: Option<Sort>,
    #[command(flatten)]
    pub source: Source,
    /// Form of the output
    #[arg(short, long, value_name = "FORM", value_enum, default_value_t = PlanForm::Table)]
    pub output: PlanForm,
}

#[derive(Debug, Args)]
pub struct Df {
    /// List every image, container and log directory, largest first (table only). Without it, the largest log directories are listed
    #[arg(short, long)]
    pub verbose: bool,
    #[command(flatten)]
    pub source: Source,
    #[command(flatten)]
    pub output: Tables,
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
    /// Remove nothing: list what a sweep would remove; can run next to a running service
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub source: Source,
    #[command(flatten)]
    pub output: Tables,
}

#[derive(Debug, Args)]
pub struct Source {
    /// Confirm that pods missing from the pod source are deleted, even if many disappear at once (pods.max_newly_deleted_percent)
    #[arg(long)]
    pub confirm_deleted: bool,
}

#[derive(Debug, Subcommand)]
pub enum Config {
    /// Print the settings, all sources merged: those that a command would use now, or those of the running service
    Show {
        /// Print the settings of the running service
        #[arg(long)]
        running: bool,
        /// Socket of the service [default: admin.socket of the settings]
        #[arg(long, value_name = "PATH", requires = "running")]
        socket: Option<String>,
        /// Form of the output
        #[arg(short, long, value_name = "FORM", value_enum, default_value_t = ConfigForm::Toml)]
        output: ConfigForm,
    },
    /// Check the configuration and print all its problems
    Check,
    /// Reload the configuration of the running service
    ///
    /// An invalid configuration is refused and changes nothing; the exit code is 64 then.
    Reload {
        #[command(flatten)]
        service: Service,
        #[command(flatten)]
        output: Output,
    },
    /// Print the configuration that is equivalent to the garbage collection of a kubelet
    ///
    /// Comments in it say where each setting comes from, what to set in the kubelet so that only one of the two collects
    /// images, and what only the kubelet does.
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
    /// The command line of the kubelet. Its flags override the file; those that matter here are converted. The drop-ins of
    /// --config-dir are read
    #[arg(last = true, value_name = "KUBELET FLAGS")]
    pub flags: Vec<String>,
}

#[derive(Debug, Args)]
pub struct Completions {
    /// The shell
    #[arg(value_enum)]
    pub shell: Shell,
}
