//! Whole numbers: percentages, counts, degrees of parallelism.
//!
//! serde's own messages speak of `u8` and `i64`, which no operator has to know.

use std::fmt;
use std::marker::PhantomData;

use serde::{Deserializer, de};

/// Reads a whole number that fits `T`. Its range proper is checked later; what does not even fit is named here.
pub(crate) fn deserialize<'de, T, D>(from: D) -> Result<T, D::Error>
where
    T: TryFrom<i128>,
    D: Deserializer<'de>,
{
    from.deserialize_any(Visitor(PhantomData))
}

struct Visitor<T>(PhantomData<T>);

impl<T: TryFrom<i128>> Visitor<T> {
    fn fit<E: de::Error>(number: i128) -> Result<T, E> {
        T::try_from(number).map_err(|_| E::custom(format_args!("{number} is out of range")))
    }
}

impl<T: TryFrom<i128>> de::Visitor<'_> for Visitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number")
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        Self::fit(number.into())
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        Self::fit(number.into())
    }

    fn visit_i128<E: de::Error>(self, number: i128) -> Result<T, E> {
        Self::fit(number)
    }

    fn visit_u128<E: de::Error>(self, number: u128) -> Result<T, E> {
        Self::fit(i128::try_from(number).unwrap_or(i128::MAX))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<T, E> {
        Err(super::not_text(number, "a whole number"))
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<T, E> {
        Err(super::not_text(value, "a whole number"))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        // A number in quotes in a file; or text of the environment that could not be made a number.
        let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
        let number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        Err(E::custom(match (number, text.parse::<i64>().is_ok()) {
            (true, true) => format!("\"{text}\" is a string; write it without quotes"),
            (true, false) => format!("{text} is out of range"),
            (false, _) => format!("\"{text}\" is not a whole number"),
        }))
    }
}
