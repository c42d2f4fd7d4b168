//! Texts that more than one actor needs.

use jiff::SignedDuration;

/// The name of this machine.
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// A length of time, for people: to the second, and below 10 s to the millisecond.
#[must_use]
pub fn duration(length: impl TryInto<SignedDuration>) -> String {
    let length = length.try_into().unwrap_or(SignedDuration::MAX);
    let is_short = length.abs() < SignedDuration::from_secs(10);
    let nanos = if is_short { length.subsec_millis() * 1_000_000 } else { 0 };
    format!("{:#}", SignedDuration::new(length.as_secs(), nanos))
}

/// An error with all its causes, for the first alone says little.
pub fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let chain = std::iter::successors(Some(error), |error| error.source());
    let mut texts: Vec<String> = Vec::new();
    for cause in chain.map(ToString::to_string) {
        // Many repeat their cause.
        if !texts.iter().any(|known| known.contains(&cause)) {
            texts.push(cause);
        }
    }
    texts.join(": ")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_length_of_time_is_written_for_people() {
        assert_eq!(duration(SignedDuration::new(2, 99_646_043)), "2s 99ms");
        assert_eq!(duration(SignedDuration::new(3_725, 999_999_999)), "1h 2m 5s");
        assert_eq!(duration(SignedDuration::ZERO), "0s");
        assert_eq!(duration(Duration::from_secs(600)), "10m");
    }
}
