//! Sizes as `"64MiB"`; in the program, bytes.

use std::fmt;

use bytesize::ByteSize;
use serde::{Deserializer, Serializer, de};

/// Reads `text` in bytes, or says in words what is wrong with it.
pub(crate) fn parse(text: &str) -> Result<u64, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err("it is empty".to_owned());
    }
    if text.starts_with('-') {
        return Err("a size can't be negative".to_owned());
    }
    if text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(no_unit(text));
    }
    text.parse::<ByteSize>()
        .map(|size| size.as_u64())
        .map_err(|_| format!("`{text}` is not a number with a unit"))
}

fn no_unit(number: &str) -> String {
    format!("the number {number} has no unit")
}

/// Writes `bytes` with the largest unit that needs no fraction, so that [`parse`] reads back the same value.
pub(crate) fn format(bytes: u64) -> String {
    let units = [(bytesize::GIB, "GiB"), (bytesize::MIB, "MiB"), (bytesize::KIB, "KiB")];
    match units.into_iter().find(|(unit, _)| bytes > 0 && bytes.is_multiple_of(*unit)) {
        Some((unit, name)) => format!("{}{name}", bytes / unit),
        None => format!("{bytes}B"),
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
pub(crate) fn serialize<S: Serializer>(bytes: &u64, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&format(*bytes))
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    struct Visitor;

    impl de::Visitor<'_> for Visitor {
        type Value = u64;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a size as \"64MiB\"")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<u64, E> {
            parse(text).map_err(E::custom)
        }

        fn visit_i64<E: de::Error>(self, number: i64) -> Result<u64, E> {
            Err(E::custom(no_unit(&number.to_string())))
        }

        fn visit_u64<E: de::Error>(self, number: u64) -> Result<u64, E> {
            Err(E::custom(no_unit(&number.to_string())))
        }

        fn visit_f64<E: de::Error>(self, number: f64) -> Result<u64, E> {
            Err(E::custom(no_unit(&number.to_string())))
        }

        fn visit_bool<E: de::Error>(self, value: bool) -> Result<u64, E> {
            Err(super::not_text(value, "a size"))
        }
    }

    from.deserialize_any(Visitor)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn binary_and_decimal_units_differ() {
        assert_eq!(parse("64MiB"), Ok(64 << 20));
        assert_eq!(parse("64 MiB"), Ok(64 << 20));
        assert_eq!(parse("64MB"), Ok(64_000_000));
        assert_eq!(parse("1.5GiB"), Ok(3 << 29));
    }

    #[test]
    fn nonsense_is_named() {
        assert_eq!(parse(""), Err("it is empty".to_owned()));
        assert_eq!(parse("-1MiB"), Err("a size can't be negative".to_owned()));
        assert_eq!(parse("1000"), Err("the number 1000 has no unit".to_owned()));
        assert_eq!(parse("NaNMiB"), Err("`NaNMiB` is not a number with a unit".to_owned()));
        assert_eq!(parse("64 pages"), Err("`64 pages` is not a number with a unit".to_owned()));
    }

    #[test]
    fn sizes_are_written_with_the_largest_exact_unit() {
        assert_eq!(format(64 << 20), "64MiB");
        assert_eq!(format(2 << 30), "2GiB");
        assert_eq!(format(1536 << 20), "1536MiB");
        assert_eq!(format((1 << 20) + 1), "1048577B");
        assert_eq!(format(0), "0B");
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_as_the_same(bytes: u64) {
            prop_assert_eq!(parse(&format(bytes)), Ok(bytes));
        }

        #[test]
        fn no_text_panics(text in "[0-9.]{0,30}\\PC{0,4}") {
            let _ = parse(&text);
        }
    }
}
