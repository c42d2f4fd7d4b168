//! Numbers with units: durations as `"30s"`, `"5m"`, `"1h30m"`, and sizes as `"64MiB"`.

use std::time::Duration;

use bytesize::ByteSize;

/// The longest valid duration: 100 years of 365.25 days. Anything longer is a typing error, and sums of such durations
/// with points in time could overflow.
pub(crate) const MAX_DURATION: Duration = Duration::from_secs(100 * 31_557_600);

/// Reads a duration, or says in words what is wrong with it.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let mut total = Duration::ZERO;
    for piece in pieces(number_with_unit("duration", text)?) {
        // humantime accepts a zero without a unit.
        let piece = number_with_unit("duration", piece)?;
        let duration = humantime::parse_duration(piece).map_err(|error| explain(&error))?;
        total = total.checked_add(duration).ok_or(TOO_LONG)?;
    }
    Ok(total)
}

/// Writes a duration in the shortest form that [`parse_duration`] reads back as the same value.
pub(crate) fn format_duration(duration: Duration) -> String {
    let text = humantime::format_duration(duration).to_string().replace(' ', "");
    text.replace("days", "d").replace("day", "d")
}

/// Reads a size in bytes, or says in words what is wrong with it.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let text = number_with_unit("size", text)?;
    let size = text.parse::<ByteSize>();
    size.map(|size| size.as_u64()).map_err(|_| format!("`{text}` is not a number with a unit"))
}

/// Writes `bytes` with the largest unit that needs no fraction, so that [`parse_size`] reads back the same value.
pub(crate) fn format_size(bytes: u64) -> String {
    let units = [(bytesize::GIB, "GiB"), (bytesize::MIB, "MiB"), (bytesize::KIB, "KiB")];
    match units.into_iter().find(|(unit, _)| bytes > 0 && bytes.is_multiple_of(*unit)) {
        Some((unit, name)) => format!("{}{name}", bytes / unit),
        None => format!("{bytes}B"),
    }
}

pub(crate) fn no_unit(number: impl std::fmt::Display) -> String {
    format!("the number {number} has no unit")
}

/// The text without white space around it, unless it is certainly wrong.
fn number_with_unit<'a>(name: &str, text: &'a str) -> Result<&'a str, String> {
    match text.trim() {
        "" => Err("it is empty".to_owned()),
        text if text.starts_with('-') => Err(format!("a {name} can't be negative")),
        text if text.bytes().all(|b| b.is_ascii_digit()) => Err(no_unit(text)),
        text => Ok(text),
    }
}

/// Splits before every number that follows a unit. humantime itself would add the pieces up, but it panics when the sum
/// exceeds 64 bits by a carry from the nanoseconds.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let unit = rest.find(char::is_alphabetic).unwrap_or(rest.len());
        let digit = rest.get(unit..)?.find(|c: char| c.is_ascii_digit());
        let (piece, tail) = rest.split_at(digit.map_or(rest.len(), |digit| unit + digit));
        rest = tail;
        (!piece.is_empty()).then_some(piece)
    })
}

fn explain(error: &humantime::DurationError) -> String {
    use humantime::DurationError::{NumberOverflow, UnknownUnit};
    match error {
        UnknownUnit { unit, value, .. } if unit.is_empty() => no_unit(value),
        UnknownUnit { unit, .. } => format!("`{unit}` is not a unit of time"),
        NumberOverflow => TOO_LONG.to_owned(),
        _ => "it is not a number with a unit".to_owned(),
    }
}

const TOO_LONG: &str = "it is longer than 100 years, or finer than a nanosecond";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_add_up_and_may_hold_spaces() {
        assert_eq!(parse_duration("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(parse_duration(" 1h 30m "), Ok(Duration::from_secs(5400)));
        assert_eq!(parse_duration("1.5h"), Ok(Duration::from_secs(5400)));
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_duration("0s"), Ok(Duration::ZERO));
        assert_eq!(parse_duration("7d"), Ok(Duration::from_secs(7 * 86_400)));
    }

    #[test]
    fn they_are_written_without_spaces() {
        assert_eq!(format_duration(Duration::from_secs(5400)), "1h30m");
        assert_eq!(format_duration(Duration::from_secs(60)), "1m");
        assert_eq!(format_duration(Duration::ZERO), "0s");
    }

    #[test]
    fn a_bare_number_is_refused_zero_included() {
        assert_eq!(parse_duration("60"), Err("the number 60 has no unit".to_owned()));
        assert_eq!(parse_duration("0"), Err("the number 0 has no unit".to_owned()));
        assert_eq!(parse_duration("1h30"), Err("the number 30 has no unit".to_owned()));
        assert_eq!(parse_duration("1h 0"), Err("the number 0 has no unit".to_owned()));
    }

    #[test]
    fn nonsense_is_named() {
        assert_eq!(parse_duration(""), Err("it is empty".to_owned()));
        assert_eq!(parse_duration("-5s"), Err("a duration can't be negative".to_owned()));
        assert_eq!(parse_duration("5 parsecs"), Err("`parsecs` is not a unit of time".to_owned()));
        assert_eq!(parse_duration("soon"), Err("it is not a number with a unit".to_owned()));
        assert_eq!(parse_duration("NaNs"), Err("it is not a number with a unit".to_owned()));
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
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn binary_and_decimal_units_differ() {
        assert_eq!(parse_size("64MiB"), Ok(64 << 20));
        assert_eq!(parse_size("64 MiB"), Ok(64 << 20));
        assert_eq!(parse_size("64MB"), Ok(64_000_000));
        assert_eq!(parse_size("1.5GiB"), Ok(3 << 29));
    }

    #[test]
    fn nonsense_for_a_size_is_named() {
        assert_eq!(parse_size(""), Err("it is empty".to_owned()));
        assert_eq!(parse_size("-1MiB"), Err("a size can't be negative".to_owned()));
        assert_eq!(parse_size("1000"), Err("the number 1000 has no unit".to_owned()));
        assert_eq!(parse_size("NaNMiB"), Err("`NaNMiB` is not a number with a unit".to_owned()));
        assert_eq!(parse_size("64 pages"), Err("`64 pages` is not a number with a unit".to_owned()));
    }

    #[test]
    fn sizes_are_written_with_the_largest_exact_unit() {
        assert_eq!(format_size(64 << 20), "64MiB");
        assert_eq!(format_size(2 << 30), "2GiB");
        assert_eq!(format_size(1536 << 20), "1536MiB");
        assert_eq!(format_size((1 << 20) + 1), "1048577B");
        assert_eq!(format_size(0), "0B");
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_as_the_same(secs in 0..=MAX_DURATION.as_secs(), nanos in 0..1_000_000_000_u32) {
            let duration = Duration::new(secs, nanos);
            prop_assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
        }

        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = parse_duration(&text);
        }

        #[test]
        fn no_run_of_numbers_and_units_panics(text in "([0-9]{1,20}(\\.[0-9]{1,5})?(s|ns|ms|m|h|years|µs| ){1,2}){1,4}") {
            let _ = parse_duration(&text);
        }

        #[test]
        fn a_size_reads_back_as_the_same(bytes: u64) {
            prop_assert_eq!(parse_size(&format_size(bytes)), Ok(bytes));
        }

        #[test]
        fn no_text_for_a_size_panics(text in "[0-9.]{0,30}\\PC{0,4}") {
            let _ = parse_size(&text);
        }
    }
}
