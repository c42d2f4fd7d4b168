//! How the kubelet writes values: whole numbers, Go's durations, endpoints, eviction signals. Each is read by the kubelet's
//! rules, and written as cri-gc writes it. This module must not know which setting a value belongs to.

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

impl<'a> Written<'a> {
    /// For messages and comments.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Field(Value::String(text)) if !text.is_empty() => excerpt(text),
            Self::Field(value) => excerpt(&value.to_string()),
            Self::Flag(text) => excerpt(text),
        }
    }

    fn text(self) -> Option<&'a str> {
        match self {
            Self::Field(value) => value.as_str(),
            Self::Flag(text) => Some(text),
        }
    }
}

/// All whole numbers of the kubelet that matter here have 32 bits.
fn whole(written: Written<'_>) -> Result<i32, String> {
    let number = match written {
        Written::Field(Value::String(text)) if text.parse::<i64>().is_ok() => {
            return Err("it is text; write the number without quotes".to_owned());
        }
        Written::Field(value) => value.as_i64().and_then(|number| i32::try_from(number).ok()),
        Written::Flag(text) => text.parse().ok(),
    };
    number.ok_or_else(|| "it is not a whole number of 32 bits".to_owned())
}

pub(super) fn number(written: Written<'_>) -> Result<String, String> {
    Ok(whole(written)?.to_string())
}

/// A number of which any negative one is "no limit" to the kubelet.
pub(super) fn limit(written: Written<'_>) -> Result<String, String> {
    Ok(whole(written)?.max(-1).to_string())
}

pub(super) fn text(written: Written<'_>) -> Result<String, String> {
    written.text().map(str::to_owned).ok_or_else(|| "it is not text".to_owned())
}

/// The name of a Node, as the kubelet writes it before it looks for its Node.
pub(super) fn name(written: Written<'_>) -> Result<String, String> {
    let text = text(written)?;
    match text.trim().to_lowercase() {
        name if name.is_empty() && !text.is_empty() => Err("it is not a name".to_owned()),
        name => Ok(name),
    }
}

/// The kubelet accepts `unix:/path`, too.
pub(super) fn endpoint(written: Written<'_>) -> Result<String, String> {
    let text = text(written)?;
    Ok(match text.strip_prefix("unix:/") {
        Some(path) if !path.starts_with('/') => format!("unix:///{path}"),
        _ => text,
    })
}

/// A duration: Go's text, or in the file a whole number of nanoseconds.
pub(super) fn duration(written: Written<'_>) -> Result<String, String> {
    let duration = match (written, written.text()) {
        (_, Some(text)) => go_duration(text)?,
        (Written::Field(Value::Number(number)), _) => {
            let nanos = number.as_i64().ok_or("it is not a whole number of nanoseconds")?;
            Duration::from_nanos(u64::try_from(nanos).map_err(|_| NEGATIVE)?)
        }
        _ => return Err("it is not a duration, as 2m0s".to_owned()),
    };
    Ok(match duration.subsec_nanos() {
        0 => format!("{}s", duration.as_secs()),
        nanos => format!("{}s{nanos}ns", duration.as_secs()),
    })
}

const NEGATIVE: &str = "a duration can't be negative";

/// Reads `1h30m`, `2m0s`, `300ms`, `1.5h`; a zero needs no unit.
fn go_duration(text: &str) -> Result<Duration, String> {
    let bad = || "it is not a duration, as 2m0s, 1h30m or 300ms".to_owned();
    let too_long = || "it is longer than the kubelet can count".to_owned();
    let (is_negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(bad());
    }
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let is_digit = |c: char| c.is_ascii_digit() || c == '.';
        let (number, after) = rest.split_at(rest.find(|c| !is_digit(c)).unwrap_or(rest.len()));
        let (unit, after) = after.split_at(after.find(is_digit).unwrap_or(after.len()));
        let count: f64 = number.parse().map_err(|_| bad())?;
        let seconds = match unit {
            "ns" => 1e-9,
            // Both signs that are used for a millionth.
            "us" | "\u{b5}s" | "\u{3bc}s" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            "" => return Err(format!("its number {number} has no unit; write it as 2m0s, 1h30m or 300ms")),
            _ => return Err(format!("`{unit}` is not a unit of a kubelet's durations: h, m, s, ms, us, ns")),
        };
        let piece = Duration::try_from_secs_f64(count * seconds).map_err(|_| too_long())?;
        total = total.checked_add(piece).ok_or_else(too_long)?;
        rest = after;
    }
    match i64::try_from(total.as_nanos()) {
        Err(_) => Err(too_long()),
        Ok(1..) if is_negative => Err(NEGATIVE.to_owned()),
        Ok(_) => Ok(total),
    }
}

/// The signals by which the kubelet evicts.
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

/// How little of something is left: `10%` or `1Gi`.
pub(super) fn thresholds(written: Written<'_>) -> Result<String, String> {
    signals('<', written, |value| amount(value, false))
}

/// How much has to be reclaimed, in the same form.
pub(super) fn reclaims(written: Written<'_>) -> Result<String, String> {
    signals('=', written, |value| amount(value, true))
}

/// How long a signal has to last.
pub(super) fn periods(written: Written<'_>) -> Result<String, String> {
    signals('=', written, |value| go_duration(value).map(drop))
}

/// A map of signals with their values, as `imagefs.available 15%, nodefs.available 10%`; on the command line a signal and its
/// value have `sign` between them.
fn signals<'a>(
    sign: char,
    written: Written<'a>,
    check: fn(&str) -> Result<(), String>,
) -> Result<String, String> {
    let in_map = |(signal, value): (&'a String, &'a Value)| match value.as_str() {
        Some(value) => Ok((signal.as_str(), value)),
        None => Err(format!("{} is not text, as 10% or 1Gi", excerpt(signal))),
    };
    let in_flag = |one: &'a str| match one.split_once(sign) {
        Some((signal, value)) => Ok((signal.trim(), value.trim())),
        None => {
            Err(format!("`{}` is not a signal with a value, as imagefs.available{sign}15%", excerpt(one)))
        }
    };
    let pairs: Result<Vec<_>, _> = match written {
        Written::Field(Value::Object(map)) => map.iter().map(in_map).collect(),
        Written::Field(_) => Err("it is not a map of signals, as imagefs.available: 15%".to_owned()),
        Written::Flag(text) => text.split(',').filter(|one| !one.is_empty()).map(in_flag).collect(),
    };
    let pairs = pairs?;
    for (signal, value) in &pairs {
        if !SIGNALS.contains(signal) {
            let remedy = match meant(signal, SIGNALS) {
                Some(meant) => format!("write {meant} if that is meant"),
                None => format!("it knows {}", SIGNALS.join(", ")),
            };
            return Err(format!("the kubelet knows no signal `{}`; {remedy}", excerpt(signal)));
        }
        check(value).map_err(|what| format!("{signal} {}: {what}", excerpt(value)))?;
    }
    Ok(pairs.iter().map(|(signal, value)| format!("{signal} {value}")).collect::<Vec<_>>().join(", "))
}

/// The pairs of what [`thresholds`], [`reclaims`] and [`periods`] write.
pub(super) fn pairs(signals: &str) -> impl Iterator<Item = (&str, &str)> {
    signals.split(", ").filter_map(|pair| pair.split_once(' '))
}

/// A part of the whole, or a quantity as Kubernetes writes it.
fn amount(text: &str, is_reclaim: bool) -> Result<(), String> {
    if let Some(percent) = text.strip_suffix('%') {
        return match percent.parse::<f32>() {
            Ok(percent) if is_reclaim && percent <= 0.0 => Err("it has to be above 0%".to_owned()),
            Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(()),
            Ok(_) => Err("it has to be from 0% to 100%".to_owned()),
            Err(_) => Err("it is not a percentage, as 10%".to_owned()),
        };
    }
    const UNITS: [&str; 16] =
        ["", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    let is_number = |c: char| c.is_ascii_digit() || matches!(c, '.' | '+' | '-');
    let (number, unit) = text.split_at(text.find(|c| !is_number(c)).unwrap_or(text.len()));
    let is_exponent = unit.strip_prefix(['e', 'E']).is_some_and(|exponent| exponent.parse::<i32>().is_ok());
    match number.parse::<f64>() {
        Ok(number) if UNITS.contains(&unit) || is_exponent => {
            match number > 0.0 || is_reclaim && number == 0.0 {
                true => Ok(()),
                false => Err("it has to be above 0".to_owned()),
            }
        }
        _ => Err("it is neither a percentage nor a quantity, as 10% or 1Gi".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    type Read = fn(Written<'_>) -> Result<String, String>;

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
            assert_eq!(go_duration(text), Ok(Duration::from_nanos(nanos)), "{text}");
            assert_eq!(duration(Written::Flag(text)), duration(Written::Field(&json!(text))), "{text}");
        }
        assert_eq!(duration(Written::Field(&json!(120_000_000_000_u64))), Ok("120s".to_owned()));
    }

    #[test]
    fn text_that_is_no_duration_is_refused_as_such() {
        for (text, part) in [
            ("", "not a duration"),
            ("soon", "not a duration"),
            (".s", "not a duration"),
            ("5", "no unit"),
            ("1h5", "no unit"),
            ("1d", "`d` is not a unit"),
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
        assert_eq!(number(Written::Flag("-1")), Ok("-1".to_owned()));
        assert_eq!(number(Written::Field(&json!(85))), Ok("85".to_owned()));
        assert!(number(Written::Field(&json!("85"))).unwrap_err().contains("without quotes"));
        for text in ["", "85%", "2147483648", "1e2"] {
            assert!(number(Written::Flag(text)).is_err(), "{text}");
        }
    }

    #[test]
    fn signals_are_read_from_the_file_and_from_a_flag() {
        let wanted = Ok("imagefs.available 15%".to_owned());
        assert_eq!(thresholds(Written::Field(&json!({"imagefs.available": "15%"}))), wanted);
        assert_eq!(thresholds(Written::Flag("imagefs.available<15%")), wanted);
        assert_eq!(reclaims(Written::Flag("imagefs.available=15%")), wanted);
        assert_eq!(thresholds(Written::Flag("")), Ok(String::new()));
        assert_eq!(thresholds(Written::Field(&json!({}))), Ok(String::new()));
        for good in ["0%", "100%", "7.5%", "1", "1.5Gi", "500M", "1e9", "100Mi"] {
            assert!(thresholds(Written::Field(&json!({"nodefs.available": good}))).is_ok(), "{good}");
        }
        assert!(periods(Written::Flag("nodefs.available=1m30s")).is_ok());
        assert!(thresholds(Written::Field(&json!({"imagefs.available": 15}))).is_err());
    }

    #[test]
    fn signals_that_a_kubelet_refuses_are_refused() {
        for (read, text, part) in [
            (thresholds as Read, "imagefs.available", "not a signal with a value"),
            (thresholds as Read, "imagefs.available=15%", "imagefs.available<15%"),
            (thresholds as Read, "imagefs.avail<15%", "no signal `imagefs.avail`; it knows"),
            (thresholds as Read, "imageFs.available<15%", "write imagefs.available"),
            (thresholds as Read, "nodefs.available<lots", "lots: it is neither"),
            (thresholds as Read, "nodefs.available<", "it is neither"),
            (thresholds as Read, "nodefs.available<-5%", "0% to 100%"),
            (thresholds as Read, "nodefs.available<101%", "0% to 100%"),
            (thresholds as Read, "nodefs.available<NaN%", "0% to 100%"),
            (thresholds as Read, "nodefs.available<x%", "not a percentage"),
            (thresholds as Read, "nodefs.available<0", "above 0"),
            (thresholds as Read, "nodefs.available<-1Gi", "above 0"),
            (thresholds as Read, "nodefs.available<1GB", "it is neither"),
            (reclaims, "nodefs.available=0%", "above 0%"),
            (reclaims, "nodefs.available<1Gi", "imagefs.available=15%"),
            (periods, "nodefs.available=soon", "not a duration"),
            (periods, "nodefs.available=-1s", "negative"),
        ] {
            let error = read(Written::Flag(text)).unwrap_err();
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
