//! How a value of each type is written in a configuration, and read from it. Ranges are not checked here but in `check`.
//!
//! Every field of the settings is read and written by these functions (`#[serde(with = "crate::written")]`), so that
//! messages speak of what an operator writes and not of types of Rust.

use std::fmt::Display;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use cri_gc_policy::Pattern;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use toml::Value;

use crate::choices::{LogFormat, LogLevel, Mode, PodSource, Unmanaged};
use crate::endpoint::Endpoint;
use crate::units::{format_duration, format_size, no_unit, parse_duration, parse_size};

/// A type of a setting.
pub(crate) trait Written: Sized {
    /// Reads a value, or says what is wrong with it.
    fn read(value: &Value) -> Result<Self, String>;
    /// The value that [`Written::read`] reads as the same.
    fn write(&self) -> Value;
}

pub(crate) fn serialize<T: Written, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
    value.write().serialize(to)
}

pub(crate) fn deserialize<'de, T: Written, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    T::read(&Value::deserialize(from)?).map_err(de::Error::custom)
}

/// Reads what is written as text.
fn text<T: FromStr<Err: Display>>(value: &Value) -> Result<T, String> {
    let text = value.as_str().ok_or_else(|| not_a("string", value))?;
    text.parse().map_err(|error: T::Err| error.to_string())
}

fn not_a(wanted: &str, found: &Value) -> String {
    format!("expected a {wanted}, found {}", found.type_str())
}

/// Reads a number that has a unit: one without is refused, since a wrong guess at the unit of `period = 60` would run a
/// collector sixty times as often.
fn with_unit<T>(value: &Value, name: &str, parse: fn(&str) -> Result<T, String>) -> Result<T, String> {
    match value {
        Value::String(text) => parse(text),
        Value::Integer(_) | Value::Float(_) => Err(no_unit(value)),
        _ => Err(not_a(name, value)),
    }
}

/// Reads a whole number that fits `T`.
fn whole<T: TryFrom<i64>>(value: &Value) -> Result<T, String> {
    match value {
        Value::Integer(number) => T::try_from(*number).map_err(|_| format!("{number} is out of range")),
        // A number in quotes in a file; or text of the environment that could not be made a number.
        Value::String(text) => {
            let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
            let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
            Err(match (is_number, text.parse::<i64>()) {
                (true, Ok(_)) => format!("\"{text}\" is a string; write it without quotes"),
                (true, Err(_)) => format!("{text} is out of range"),
                (false, _) => format!("\"{text}\" is not a whole number"),
            })
        }
        _ => Err(format!("`{value}` is not a whole number")),
    }
}

/// The empty string is "not set", as TOML has no null.
impl<T: Written> Written for Option<T> {
    fn read(value: &Value) -> Result<Self, String> {
        if value.as_str() == Some("") { Ok(None) } else { T::read(value).map(Some) }
    }

    fn write(&self) -> Value {
        self.as_ref().map_or_else(|| Value::String(String::new()), T::write)
    }
}

/// How each type is read from a value and written as one.
macro_rules! written {
    ($($type:ty: $value:ident => $read:expr, $this:ident => $write:expr;)+) => {
        $(impl Written for $type {
            fn read($value: &Value) -> Result<Self, String> {
                $read
            }

            fn write(&self) -> Value {
                let $this = self;
                $write.into()
            }
        })+
    };
}

written! {
    bool: value => value.as_bool().ok_or_else(|| not_a("boolean", value)), this => *this;
    u8: value => whole(value), this => i64::from(*this);
    i64: value => whole(value), this => *this;
    // A size in bytes.
    u64: value => with_unit(value, "size", parse_size), this => format_size(*this);
    Duration: value => with_unit(value, "duration", parse_duration), this => format_duration(*this);
    String: value => text(value), this => this.as_str();
    // Whatever bytes the path has, for `config show` must never fail. One that was read from a configuration is text.
    PathBuf: value => text(value), this => this.to_string_lossy().into_owned();
    Endpoint: value => text(value), this => this.as_str();
    Mode: value => text(value), this => this.as_str();
    PodSource: value => text(value), this => this.as_str();
    Unmanaged: value => text(value), this => this.as_str();
    LogLevel: value => text(value), this => this.as_str();
    LogFormat: value => text(value), this => this.as_str();
    Vec<Pattern>: value => value.as_array().ok_or_else(|| not_a("list", value))?.iter().map(text).collect(),
        this => this.iter().map(ToString::to_string).collect::<Vec<_>>();
}
