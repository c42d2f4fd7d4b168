//! What can be typed to talk to a running service. The doc comments are the help texts.

use std::time::Duration;

use clap::{Args, ValueEnum};
use cri_gc_config::LogLevel;
use cri_gc_kit::words::Loop;

use super::output::{Form, Output};
use super::values::{length, log_level};

#[derive(Debug, Args)]
pub struct Service {
    /// Socket of the service; with it, no configuration is read [default: admin.socket of the settings]
    #[arg(long, value_name = "PATH")]
    pub socket: Option<String>,
    /// How long to wait until all is answered, e.g. 1m [default: 15s; for run-now and events --follow as long as it takes]
    #[arg(long, value_name = "DURATION", value_parser = length)]
    pub timeout: Option<Duration>,
}

#[derive(Debug, Args)]
pub struct Status {
    #[command(flatten)]
    pub service: Service,
    #[command(flatten)]
    pub output: Output,
}

#[derive(Debug, Args)]
pub struct Explain {
    /// A whole id or the beginning of one, a name (of a pod, container or log directory), a tag or digest, a pod UID
    pub object: String,
    #[command(flatten)]
    pub service: Service,
    #[command(flatten)]
    pub output: Output,
}

#[derive(Debug, Args)]
pub struct RunNow {
    /// Which loops; containers, sandboxes, logs and images will do, too [default: all]
    #[arg(value_enum, value_name = "LOOP")]
    pub loops: Vec<LoopName>,
    /// Confirm that the pods that are missing from the pod source now are deleted, although many vanished at once (see
    /// `status`); each must still be proved deleted
    #[arg(long)]
    pub confirm_deleted: bool,
    #[command(flatten)]
    pub service: Service,
    /// Form of the output; json: one update a line, as it comes
    #[arg(short, long, value_name = "FORM", value_enum, default_value_t = Form::Table)]
    pub output: Form,
}

#[derive(Debug, Args)]
pub struct Loops {
    /// Which loops; containers, sandboxes, logs and images will do, too [default: all]
    #[arg(value_enum, value_name = "LOOP")]
    pub loops: Vec<LoopName>,
    #[command(flatten)]
    pub service: Service,
    #[command(flatten)]
    pub output: Output,
}

#[derive(Debug, Args)]
pub struct Events {
    /// Go on with what happens from now on, until ended
    #[arg(short, long)]
    pub follow: bool,
    /// How many of the newest past events are shown
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub recent: u32,
    #[command(flatten)]
    pub service: Service,
    /// Form of the output; json: one event a line
    #[arg(short, long, value_name = "FORM", value_enum, default_value_t = Form::Table)]
    pub output: Form,
}

#[derive(Debug, Args)]
pub struct ChangeLogLevel {
    /// error, warning, info, debug or trace; without it, the one that holds is shown
    #[arg(value_parser = log_level)]
    pub level: Option<LogLevel>,
    #[command(flatten)]
    pub service: Service,
    #[command(flatten)]
    pub output: Output,
}

/// The loops, named as in the configuration; or by what they remove.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LoopName {
    #[value(name = "container_gc", alias = "containers")]
    Containers,
    #[value(name = "sandbox_gc", alias = "sandboxes")]
    Sandboxes,
    #[value(name = "log_gc", alias = "logs")]
    Logs,
    #[value(name = "image_gc", alias = "images")]
    Images,
}

impl From<LoopName> for Loop {
    fn from(name: LoopName) -> Self {
        match name {
            LoopName::Containers => Self::ContainerGc,
            LoopName::Sandboxes => Self::SandboxGc,
            LoopName::Logs => Self::LogGc,
            LoopName::Images => Self::ImageGc,
        }
    }
}
