//! Ages, and what is newer than what: said once for all kinds of objects.

use std::cmp::Ordering;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// Newest first: larger creation time; ties by larger attempt, then by smaller id (spec 3 and 4).
pub(crate) fn newest_first<T: Ord>(a: (T, u32, &str), b: (T, u32, &str)) -> Ordering {
    (b.0, b.1).cmp(&(a.0, a.1)).then_with(|| a.2.cmp(b.2))
}

/// Whether `time` was at least `age` before `now`. A time in the future never was.
pub(crate) fn at_least(age: Duration, time: Timestamp, now: Timestamp) -> bool {
    // No setting is longer than a century, so the fallback is never reached; it keeps more.
    let age = SignedDuration::try_from(age).unwrap_or(SignedDuration::MAX);
    time <= now && now.duration_since(time) >= age
}
