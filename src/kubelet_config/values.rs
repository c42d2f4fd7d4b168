//! How the kubelet writes values: whole numbers, Go's durations, endpoints, eviction signals.
//!
//! Each is read from the file or from a flag with an error in words. What ranges hold is not known here.

use std::time::Duration;

use cri_gc_policy::text::excerpt;
use serde_json::Value;

use super::near::meant;

/// A value as it was written.
#[derive(Debug, Clone, Copy)]
pub(super) enum Written<'a> {
    /// In the file.
    Field(&'a Value),
    /// On the command line.
    Flag(&'a str),
}

impl Written<'_> {
    /// For messages and comments.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Field(Value::String(text)) if !text.is_empty() => excerpt(text),
            Self::Field(value) => excerpt(&value.to_string()),
            Self::Flag(text) => excerpt(text),
        }
    }
}

/// A whole number of 32 bits, as all of the kubelet's are that matter here.
pub(super) fn number(written: Written<'_>) -> Result<i64, String> {
    let number = match written {
        Written::Field(Value::Number(number)) => number.as_i64(),
        Written::Field(Value::String(text)) if text.parse::<i64>().is_ok() => {
            return Err("it is text; write the number without quotes".to_owned());
        }
        Written::Field(_) => None,
        Written::Flag(text) => text.parse().ok(),
    };
    match number {
        Some(number) if i32::try_from(number).is_ok() => Ok(number),
        _ => Err("it is not a whole number of 32 bits".to_owned()),
    }
}

/// Text.
pub(super) fn text(written: Written<'_>) -> Result<String, String> {
    match written {
        Written::Field(Value::String(text)) => Ok(text.clone()),
        Written::Field(_) => Err("it is not text".to_owned()),
        Written::Flag(text) => Ok(text.to_owned()),
    }
}

/// A duration: Go's text, or in the file a whole number of nanoseconds.
pub(super) fn duration(written: Written<'_>) -> Result<Duration, String> {
    match written {
        Written::Field(Value::String(text)) => go_duration(text),
        Written::Field(Value::Number(number)) => match number.as_i64() {
            Some(nanos) => u64::try_from(nanos).map(Duration::from_nanos).map_err(|_| NEGATIVE.to_owned()),
            None => Err("it is not a whole number of nanoseconds".to_owned()),
        },
        Written::Field(_) => Err("it is not a duration, as 2m0s".to_owned()),
        Written::Flag(text) => go_duration(text),
    }
}

const NEGATIVE: &str = "a duration can't be negative";

/// Reads `1h30m`, `2m0s`, `300ms`, `1.5h`; a zero needs no unit.
fn go_duration(text: &str) -> Result<Duration, String> {
    let bad = || "it is not a duration, as 2m0s, 1h30m or 300ms".to_owned();
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(bad());
    }
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let (whole, after) = digits(rest);
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => digits(after),
            None => ("", after),
        };
        if whole.is_empty() && fraction.is_empty() {
            return Err(bad());
        }
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let nanos: u128 = match unit {
            "ns" => 1,
            // Both signs that are used for a millionth.
            "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60 * 1_000_000_000,
            "h" => 3_600 * 1_000_000_000,
            "" => return Err(format!("its number {whole} has no unit; write it as 2m0s, 1h30m or 300ms")),
            _ => return Err(format!("`{unit}` is no unit of a kubelet's durations: h, m, s, ms, us, ns")),
        };
        let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| too_long())? };
        // More digits than these are finer than a nanosecond.
        let fraction: String = fraction.chars().take(18).collect();
        let scale = fraction.chars().fold(1_u128, |scale, _| scale * 10);
        let fraction: u128 = fraction.parse().unwrap_or(0);
        total += u128::from(whole) * nanos + fraction * nanos / scale;
        if i64::try_from(total).is_err() {
            return Err(too_long());
        }
        rest = after;
    }
    match u64::try_from(total) {
        Ok(0) => Ok(Duration::ZERO),
        Ok(_) if negative => Err(NEGATIVE.to_owned()),
        Ok(nanos) => Ok(Duration::from_nanos(nanos)),
        Err(_) => Err(too_long()),
    }
}

fn too_long() -> String {
    "it is longer than the kubelet can count".to_owned()
}

fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

/// The text of an endpoint as our settings write it. The kubelet also takes `unix:/path`.
pub(super) fn endpoint(written: Written<'_>) -> Result<String, String> {
    let text = text(written)?;
    Ok(match text.strip_prefix("unix:/") {
        Some(path) if !path.starts_with('/') => format!("unix:///{path}"),
        _ => text,
    })
}

/// The signals that the kubelet evicts by.
pub(super) const SIGNALS: [&str; 9] = [
    "memory.available",
    "allocatableMemory.available",
    "nodefs.available",
    "nodefs.inodesFree",
    "imagefs.available",
    "imagefs.inodesFree",
    "containerfs.available",
    "containerfs.inodesFree",
    "pid.available",
];

/// What the signals of a map have as values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// How little is left: `10%` or `1Gi`.
    Threshold,
    /// How much has to be reclaimed, in the same form.
    Reclaim,
    /// How long that has to last.
    Period,
}

impl Kind {
    /// What is between signal and value on the command line.
    fn sign(self) -> char {
        if self == Self::Threshold { '<' } else { '=' }
    }
}

/// A map of signals: each with its value, by the kubelet's own rules.
pub(super) fn signals(kind: Kind, written: Written<'_>) -> Result<Vec<(String, String)>, String> {
    let all: Vec<(String, String)> = match written {
        Written::Field(Value::Object(map)) => map
            .iter()
            .map(|(signal, value)| match value {
                Value::String(value) => Ok((signal.clone(), value.clone())),
                _ => Err(format!("{} is not text, as 10% or 1Gi", excerpt(signal))),
            })
            .collect::<Result<_, _>>(),
        Written::Field(_) => Err("it is not a map of signals, as imagefs.available: 15%".to_owned()),
        Written::Flag(text) => text
            .split(',')
            .filter(|one| !one.is_empty())
            .map(|one| match one.split_once(kind.sign()) {
                Some((signal, value)) => Ok((signal.trim().to_owned(), value.trim().to_owned())),
                None => Err(format!(
                    "`{}` is no signal with a value, as imagefs.available{}15%",
                    excerpt(one),
                    kind.sign()
                )),
            })
            .collect::<Result<_, _>>(),
    }?;
    for (signal, value) in &all {
        if !SIGNALS.contains(&signal.as_str()) {
            let remedy = match meant(signal, SIGNALS) {
                Some(meant) => format!("write {meant} if that is meant"),
                None => format!("it knows {}", SIGNALS.join(", ")),
            };
            return Err(format!("the kubelet knows no signal `{}`; {remedy}", excerpt(signal)));
        }
        let checked = match kind {
            Kind::Period => go_duration(value).map(drop),
            Kind::Threshold | Kind::Reclaim => amount(kind, value),
        };
        checked.map_err(|what| format!("{signal} {}: {what}", excerpt(value)))?;
    }
    Ok(all)
}

/// A part of the whole, or a quantity as Kubernetes writes it.
fn amount(kind: Kind, text: &str) -> Result<(), String> {
    if let Some(percent) = text.strip_suffix('%') {
        return match percent.parse::<f32>() {
            Ok(percent) if kind == Kind::Reclaim && percent <= 0.0 => Err("it has to be above 0%".to_owned()),
            Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(()),
            Ok(_) => Err("it has to be from 0% to 100%".to_owned()),
            Err(_) => Err("it is not a percentage, as 10%".to_owned()),
        };
    }
    let bad = || "it is neither a percentage nor a quantity, as 10% or 1Gi".to_owned();
    let number_ends =
        text.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '+' | '-'))).unwrap_or(text.len());
    let (number, unit) = text.split_at(number_ends);
    let units = ["", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    let exponent = unit.strip_prefix(['e', 'E']).is_some_and(|exponent| exponent.parse::<i32>().is_ok());
    let number: f64 = number.parse().map_err(|_| bad())?;
    if !units.contains(&unit) && !exponent {
        return Err(bad());
    }
    match kind {
        Kind::Reclaim if number >= 0.0 => Ok(()),
        Kind::Threshold if number > 0.0 => Ok(()),
        _ => Err("it has to be above 0".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn durations_are_those_of_go() {
        for (text, nanos) in [
            ("0", 0),
            ("0s", 0),
            ("-0s", 0),
            ("2m0s", 120_000_000_000),
            ("1h30m", 5_400_000_000_000),
            ("300ms", 300_000_000),
            ("1.5h", 5_400_000_000_000),
            (".5s", 500_000_000),
            ("1.s", 1_000_000_000),
            ("+1us", 1_000),
            ("1\u{b5}s1\u{3bc}s", 2_000),
            ("1.0000000000000000001ns", 1),
        ] {
            assert_eq!(duration(Written::Flag(text)), Ok(Duration::from_nanos(nanos)), "{text}");
            assert_eq!(duration(Written::Field(&json!(text))), Ok(Duration::from_nanos(nanos)), "{text}");
        }
        assert_eq!(duration(Written::Field(&json!(120_000_000_000_u64))), Ok(Duration::from_secs(120)));
    }

    #[test]
    fn what_is_no_duration_is_said_to_be_none() {
        for (text, part) in [
            ("", "not a duration"),
            ("soon", "not a duration"),
            (".s", "not a duration"),
            ("5", "no unit"),
            ("1h5", "no unit"),
            ("1d", "`d` is no unit"),
            ("-1s", "negative"),
            ("99999999999999999999999h", "longer"),
            ("9999999999h", "longer"),
        ] {
            let error = go_duration(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
        assert!(duration(Written::Field(&json!(-1))).unwrap_err().contains("negative"));
        for value in [json!(1.5), json!(true), json!([])] {
            assert!(duration(Written::Field(&value)).is_err(), "{value}");
        }
    }

    #[test]
    fn what_is_shown_is_plain_and_short() {
        assert_eq!(Written::Flag("a\n\u{1b}[31m").shown(), "a  [31m");
        assert_eq!(Written::Field(&json!("")).shown(), "\"\"");
        assert_eq!(Written::Field(&json!("x".repeat(161))).shown(), format!("{}...", "x".repeat(160)));
    }

    #[test]
    fn numbers_have_32_bits() {
        assert_eq!(number(Written::Flag("-1")), Ok(-1));
        assert_eq!(number(Written::Field(&json!(85))), Ok(85));
        assert!(number(Written::Field(&json!("85"))).unwrap_err().contains("without quotes"));
        for text in ["", "85%", "2147483648", "1e2"] {
            assert!(number(Written::Flag(text)).is_err(), "{text}");
        }
    }

    #[test]
    fn signals_are_read_from_the_file_and_from_a_flag() {
        fn thresholds(written: Written<'_>) -> Result<Vec<(String, String)>, String> {
            signals(Kind::Threshold, written)
        }
        let wanted = Ok(vec![("imagefs.available".to_owned(), "15%".to_owned())]);
        assert_eq!(thresholds(Written::Field(&json!({"imagefs.available": "15%"}))), wanted);
        assert_eq!(thresholds(Written::Flag("imagefs.available<15%")), wanted);
        assert_eq!(signals(Kind::Reclaim, Written::Flag("imagefs.available=15%")), wanted);
        assert_eq!(thresholds(Written::Flag("")), Ok(vec![]));
        assert_eq!(thresholds(Written::Field(&json!({}))), Ok(vec![]));
        for good in ["0%", "100%", "7.5%", "1", "1.5Gi", "500M", "1e9", "100Mi"] {
            assert!(thresholds(Written::Field(&json!({"nodefs.available": good}))).is_ok(), "{good}");
        }
        assert!(signals(Kind::Period, Written::Flag("nodefs.available=1m30s")).is_ok());
        assert!(thresholds(Written::Field(&json!({"imagefs.available": 15}))).is_err());
    }

    #[test]
    fn signals_that_a_kubelet_refuses_are_refused() {
        for (kind, text, part) in [
            (Kind::Threshold, "imagefs.available", "no signal with a value"),
            (Kind::Threshold, "imagefs.available=15%", "imagefs.available<15%"),
            (Kind::Threshold, "imagefs.avail<15%", "no signal `imagefs.avail`; it knows"),
            (Kind::Threshold, "imageFs.available<15%", "write imagefs.available"),
            (Kind::Threshold, "nodefs.available<lots", "lots: it is neither"),
            (Kind::Threshold, "nodefs.available<", "it is neither"),
            (Kind::Threshold, "nodefs.available<-5%", "0% to 100%"),
            (Kind::Threshold, "nodefs.available<101%", "0% to 100%"),
            (Kind::Threshold, "nodefs.available<NaN%", "0% to 100%"),
            (Kind::Threshold, "nodefs.available<x%", "not a percentage"),
            (Kind::Threshold, "nodefs.available<0", "above 0"),
            (Kind::Threshold, "nodefs.available<-1Gi", "above 0"),
            (Kind::Threshold, "nodefs.available<1GB", "it is neither"),
            (Kind::Reclaim, "nodefs.available=0%", "above 0%"),
            (Kind::Reclaim, "nodefs.available<1Gi", "imagefs.available=15%"),
            (Kind::Period, "nodefs.available=soon", "not a duration"),
            (Kind::Period, "nodefs.available=-1s", "negative"),
        ] {
            let error = signals(kind, Written::Flag(text)).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*|[0-9.hmsun+-]{0,40}") {
            let _ = go_duration(&text);
        }

        #[test]
        fn whole_seconds_are_read(h in 0..1000_u64, m in 0..60_u64, s in 0..60_u64) {
            prop_assert_eq!(go_duration(&format!("{h}h{m}m{s}s")), Ok(Duration::from_secs(h * 3600 + m * 60 + s)));
        }
    }
}
