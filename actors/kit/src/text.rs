//! Texts that more than one actor needs.

use jiff::SignedDuration;

/// The name of this machine.
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// A length of time, for people: to the nearest second, and below 1 s to the millisecond.
#[must_use]
pub fn duration(length: impl TryInto<SignedDuration>) -> String {
    let length = length.try_into().unwrap_or(SignedDuration::MAX);
    match length.abs().as_millis() {
        0 if !length.is_zero() => "<1ms".to_owned(),
        0..1_000 => format!("{:#}", SignedDuration::from_millis(length.subsec_millis().into())),
        _ => {
            let half = length.subsec_millis() / 500;
            format!("{:#}", SignedDuration::from_secs(length.as_secs().saturating_add(half.into())))
        }
    }
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
        assert_eq!(duration(SignedDuration::new(2, 99_646_043)), "2s");
        assert_eq!(duration(SignedDuration::from_millis(6_718)), "7s");
        assert_eq!(duration(Duration::from_micros(39_300)), "39ms");
        assert_eq!(duration(Duration::from_micros(466)), "<1ms");
        assert_eq!(duration(SignedDuration::new(3_725, 999_999_999)), "1h 2m 6s");
        assert_eq!(duration(SignedDuration::ZERO), "0s");
        assert_eq!(duration(Duration::from_secs(600)), "10m");
    }
}
