//! Reads the values of flags.

use std::ffi::OsStr;
use std::time::Duration;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Arg, Command, ValueEnum};
use cri_gc_config::{LogLevel, parse_duration};
use cri_gc_policy::Reason;
use jiff::Timestamp;

pub fn log_level(text: &str) -> Result<LogLevel, String> {
    text.parse().map_err(|error| format!("{error}; write one of {}", LogLevel::WORDS.join(", ")))
}

pub fn reason() -> PossibleValuesParser {
    PossibleValuesParser::new(Reason::ALL.iter().map(|reason| reason.as_str()))
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

/// The loops. Those of [`LoopName`] as they are; only the error is another one, which names the short names too.
#[derive(Debug, Clone, Copy)]
pub struct LoopParser;

impl TypedValueParser for LoopParser {
    type Value = LoopName;

    fn parse_ref(
        &self,
        command: &Command,
        arg: Option<&Arg>,
        value: &OsStr,
    ) -> Result<LoopName, clap::Error> {
        let parse = |text: &str| {
            LoopName::from_str(text, false).map_err(|_| "write one of ".to_owned() + &loop_words())
        };
        parse.parse_ref(command, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(LoopName::value_variants().iter().filter_map(LoopName::to_possible_value)))
    }
}

/// "container_gc or containers, ...".
fn loop_words() -> String {
    let values = LoopName::value_variants().iter().filter_map(LoopName::to_possible_value);
    let words = values.map(|value| value.get_name_and_aliases().collect::<Vec<_>>().join(" or "));
    words.collect::<Vec<_>>().join(", ")
}

pub fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.trim().to_owned())),
        _ => Err("write KEY=VALUE, e.g. image_gc.min_age=0s".to_owned()),
    }
}

/// A moment, as people write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    At(Timestamp),
    Ago(Duration),
}

impl When {
    /// The moment itself. One before the calendar is its begin.
    #[must_use]
    pub fn time(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(time) => time,
            Self::Ago(ago) => now.checked_sub(ago).unwrap_or(Timestamp::MIN),
        }
    }
}

pub fn when(text: &str) -> Result<When, String> {
    let ago = || parse_duration(text).ok().map(When::Ago);
    text.parse()
        .map(When::At)
        .ok()
        .or_else(ago)
        .ok_or_else(|| "write how long ago, e.g. 30m or 2h, or a time as 2026-01-31T12:00:00Z".to_owned())
}

/// The longest watch, and the longest wait: a day.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// The longest pause that ends by itself, in days.
const LONGEST_PAUSE: u32 = 366;

/// How long a pause lasts.
pub fn span(text: &str) -> Result<Duration, String> {
    let span = parse_duration(text).ok();
    span.filter(|span| *span >= Duration::from_secs(1) && *span <= LONGEST * LONGEST_PAUSE)
        .ok_or_else(|| "write a number with its unit, from 1s to 366d, e.g. 30m, 1h or 2d".to_owned())
}

pub fn length(text: &str) -> Result<Duration, String> {
    let length = parse_duration(text).ok();
    length
        .filter(|length| *length >= Duration::from_secs(1) && *length <= LONGEST)
        .ok_or_else(|| "write a number with its unit, from 1s to 24h, e.g. 30s or 5m".to_owned())
}
