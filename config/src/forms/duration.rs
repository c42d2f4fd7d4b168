//! Durations as `"30s"`, `"5m"`, `"1h30m"`.
//!
//! A number without a unit is refused: whoever writes `period = 60` may mean seconds or minutes, and a wrong guess
//! here lets a collector run sixty times as often.

use std::fmt;
use std::time::Duration;

use serde::{Deserializer, Serializer, de};

/// The longest duration that is taken: 100 years of 365.25 days. Anything longer is a typing error, and sums of such
/// durations with points in time could overflow.
pub(crate) const MAX: Duration = Duration::from_secs(100 * 31_557_600);

/// Reads `text`, or says in words what is wrong with it.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err("it is empty".to_owned());
    }
    if text.starts_with('-') {
        return Err("a duration can't be negative".to_owned());
    }
    let mut total = Duration::ZERO;
    for piece in pieces(text) {
        let digits = piece.trim();
        if digits.bytes().all(|b| b.is_ascii_digit()) {
            // humantime takes a bare zero; here every number has its unit.
            return Err(no_unit(digits));
        }
        let duration = humantime::parse_duration(piece).map_err(|e| explain(&e))?;
        total =
            total.checked_add(duration).ok_or_else(|| explain(&humantime::DurationError::NumberOverflow))?;
    }
    Ok(total)
}

/// Splits before every number that follows a unit. humantime adds the pieces up itself, but panics when the sum
/// exceeds 64 bits by a carry from the nanoseconds; single pieces can't do that.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let mut after_unit = false;
        let end = rest.char_indices().find_map(|(at, c)| {
            after_unit |= c.is_alphabetic();
            (after_unit && c.is_ascii_digit()).then_some(at)
        });
        let (piece, tail) = rest.split_at(end.unwrap_or(rest.len()));
        rest = tail;
        (!piece.is_empty()).then_some(piece)
    })
}

fn explain(error: &humantime::DurationError) -> String {
    use humantime::DurationError::{NumberOverflow, UnknownUnit};
    match error {
        UnknownUnit { unit, value, .. } if unit.is_empty() => no_unit(&value.to_string()),
        UnknownUnit { unit, .. } => format!("`{unit}` is no unit of time"),
        NumberOverflow => "it is longer than 100 years, or finer than a nanosecond".to_owned(),
        _ => "it is not a number with a unit".to_owned(),
    }
}

fn no_unit(number: &str) -> String {
    format!("the number {number} has no unit")
}

/// Writes `duration` in the shortest form that [`parse`] reads back as the same value.
pub(crate) fn format(duration: Duration) -> String {
    humantime::format_duration(duration).to_string().replace(' ', "")
}

pub(crate) fn serialize<S: Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&format(*duration))
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    struct Visitor;

    impl de::Visitor<'_> for Visitor {
        type Value = Duration;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a duration as \"30s\"")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Duration, E> {
            parse(text).map_err(E::custom)
        }

        fn visit_i64<E: de::Error>(self, number: i64) -> Result<Duration, E> {
            Err(E::custom(no_unit(&number.to_string())))
        }

        fn visit_u64<E: de::Error>(self, number: u64) -> Result<Duration, E> {
            Err(E::custom(no_unit(&number.to_string())))
        }

        fn visit_f64<E: de::Error>(self, number: f64) -> Result<Duration, E> {
            Err(E::custom(no_unit(&number.to_string())))
        }

        fn visit_bool<E: de::Error>(self, value: bool) -> Result<Duration, E> {
            Err(super::not_text(value, "a duration"))
        }
    }

    from.deserialize_any(Visitor)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_add_up_and_may_hold_spaces() {
        assert_eq!(parse("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(parse(" 1h 30m "), Ok(Duration::from_secs(5400)));
        assert_eq!(parse("1.5h"), Ok(Duration::from_secs(5400)));
        assert_eq!(parse("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse("0s"), Ok(Duration::ZERO));
        assert_eq!(parse("7d"), Ok(Duration::from_secs(7 * 86_400)));
    }

    #[test]
    fn they_are_written_without_spaces() {
        assert_eq!(format(Duration::from_secs(5400)), "1h30m");
        assert_eq!(format(Duration::from_secs(60)), "1m");
        assert_eq!(format(Duration::ZERO), "0s");
    }

    #[test]
    fn a_bare_number_is_refused_zero_included() {
        assert_eq!(parse("60"), Err("the number 60 has no unit".to_owned()));
        assert_eq!(parse("0"), Err("the number 0 has no unit".to_owned()));
        assert_eq!(parse("1h30"), Err("the number 30 has no unit".to_owned()));
        assert_eq!(parse("1h 0"), Err("the number 0 has no unit".to_owned()));
    }

    #[test]
    fn nonsense_is_named() {
        assert_eq!(parse(""), Err("it is empty".to_owned()));
        assert_eq!(parse("-5s"), Err("a duration can't be negative".to_owned()));
        assert_eq!(parse("5 parsecs"), Err("`parsecs` is no unit of time".to_owned()));
        assert_eq!(parse("soon"), Err("it is not a number with a unit".to_owned()));
        assert_eq!(parse("NaNs"), Err("it is not a number with a unit".to_owned()));
    }

    #[test]
    fn numbers_beyond_all_bounds_are_an_error_and_no_panic() {
        for text in [
            "99999999999999999999999s",
            "18446744073709551615years",
            "18446744073709551615s1000000000ns",
            "18446744073709551615s18446744073709551615s",
            "18446744073709551615s1s",
            "1e9s",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_as_the_same(secs in 0..=MAX.as_secs(), nanos in 0..1_000_000_000_u32) {
            let duration = Duration::new(secs, nanos);
            prop_assert_eq!(parse(&format(duration)), Ok(duration));
        }

        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = parse(&text);
        }

        #[test]
        fn no_run_of_numbers_and_units_panics(text in "([0-9]{1,20}(\\.[0-9]{1,5})?(s|ns|ms|m|h|years|µs| ){1,2}){1,4}") {
            let _ = parse(&text);
        }
    }
}
