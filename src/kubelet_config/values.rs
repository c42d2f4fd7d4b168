//! How the kubelet writes values: whole numbers, Go's durations, endpoints, eviction signals.
//!
//! Each is read from the file or from a flag with an error in words. What ranges hold is not known here.

use std::time::Duration;

use serde_json::Value;

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
            Self::Field(Value::String(text)) if !text.is_empty() => plain(text),
            Self::Field(value) => plain(&value.to_string()),
            Self::Flag(text) => plain(text),
        }
    }
}

/// Text of a file as a message can bear it: on one line of bearable length, and nothing that a terminal would obey.
pub(super) fn plain(text: &str) -> String {
    const MAX: usize = 160;
    let mut line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX).collect();
    if text.chars().nth(MAX).is_some() {
        line.push_str("...");
    }
    line
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

/// The signals that the kubelet evicts by: each with its value.
pub(super) fn signals(written: Written<'_>) -> Result<Vec<(String, String)>, String> {
    match written {
        Written::Field(Value::Object(map)) => map
            .iter()
            .map(|(signal, value)| match value {
                Value::String(value) => Ok((signal.clone(), value.clone())),
                _ => Err(format!("{signal} is not text, as 10% or 1Gi")),
            })
            .collect(),
        Written::Field(_) => Err("it is not a map of signals, as imagefs.available: 15%".to_owned()),
        Written::Flag(text) => text
            .split(',')
            .filter(|one| !one.is_empty())
            .map(|one| match one.split_once(['<', '=']) {
                Some((signal, value)) => Ok((signal.trim().to_owned(), value.trim().to_owned())),
                None => Err(format!("`{one}` is no signal with a value, as imagefs.available<15%")),
            })
            .collect(),
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
        let wanted = Ok(vec![("imagefs.available".to_owned(), "15%".to_owned())]);
        assert_eq!(signals(Written::Field(&json!({"imagefs.available": "15%"}))), wanted);
        assert_eq!(signals(Written::Flag("imagefs.available<15%")), wanted);
        assert_eq!(signals(Written::Flag("imagefs.available=15%")), wanted);
        assert_eq!(signals(Written::Flag("")), Ok(vec![]));
        assert!(signals(Written::Field(&json!({"imagefs.available": 15}))).is_err());
        assert!(signals(Written::Flag("imagefs.available")).is_err());
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
