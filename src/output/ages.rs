//! Times for people: how long ago, how long from now.

use std::time::Duration;

use jiff::Timestamp;

/// The units of a span, largest first.
const UNITS: [(&str, u64); 4] = [("d", 24 * 60 * 60), ("h", 60 * 60), ("m", 60), ("s", 1)];

/// The two largest units of a span: "3d 4h", "12m 3s", "5s".
#[must_use]
pub fn span(span: Duration) -> String {
    in_units(span, 2)
}

/// Its largest unit only, where space is short: "3d", "12m".
#[must_use]
pub fn rough(span: Duration) -> String {
    in_units(span, 1)
}

fn in_units(span: Duration, units: usize) -> String {
    let mut rest = span.as_secs();
    let mut parts = Vec::new();
    for (unit, seconds) in UNITS {
        let count = rest / seconds;
        rest %= seconds;
        // Units in a row: 3 days and 5 seconds are "3d".
        if parts.len() == units || (count == 0 && !parts.is_empty()) {
            break;
        }
        if count > 0 {
            parts.push(format!("{count}{unit}"));
        }
    }
    if parts.is_empty() { "0s".to_owned() } else { parts.join(" ") }
}

/// The time of an answer, by the clock of the service.
#[derive(Debug, Clone, Copy)]
pub struct Now(Option<Timestamp>);

impl Now {
    /// An RFC 3339 text.
    #[must_use]
    pub fn new(now: &str) -> Self {
        Self(now.parse().ok())
    }

    /// "12s ago"; where that is not known, the text itself.
    #[must_use]
    pub fn ago(self, then: &str) -> String {
        match self.since(then) {
            Some(since) => format!("{} ago", span(since)),
            None => format!("at {}", known(then)),
        }
    }

    /// "for 12s"; where that is not known, "since" and the text itself.
    #[must_use]
    pub fn lasting(self, then: &str) -> String {
        match self.since(then) {
            Some(since) => format!("for {}", span(since)),
            None => format!("since {}", known(then)),
        }
    }

    /// How long ago that was. A time in the future, by a clock that was set, is now.
    #[must_use]
    pub fn since(self, then: &str) -> Option<Duration> {
        let passed = self.0?.duration_since(then.parse().ok()?);
        Some(Duration::try_from(passed).unwrap_or_default())
    }

    /// How long it is until then; nothing if it is past.
    #[must_use]
    pub fn until(self, then: &str) -> Option<Duration> {
        let left = then.parse::<Timestamp>().ok()?.duration_since(self.0?);
        Some(Duration::try_from(left).unwrap_or_default())
    }
}

fn known(time: &str) -> &str {
    if time.is_empty() { "an unknown time" } else { time }
}

/// A time to the second; any other text is unchanged.
#[must_use]
pub fn moment(time: &str) -> String {
    match time.parse::<Timestamp>() {
        Ok(time) => time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        Err(_) => time.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_has_its_two_largest_units() {
        for (seconds, text, roughly) in [
            (0, "0s", "0s"),
            (59, "59s", "59s"),
            (60, "1m", "1m"),
            (723, "12m 3s", "12m"),
            (3600, "1h", "1h"),
            (3605, "1h", "1h"),
            (7500, "2h 5m", "2h"),
            (273_600, "3d 4h", "3d"),
            (40_000_000, "462d 23h", "462d"),
        ] {
            let length = Duration::from_secs(seconds);
            assert_eq!((span(length).as_str(), rough(length).as_str()), (text, roughly));
        }
    }

    #[test]
    fn a_clock_that_was_set_makes_no_negative_age() {
        let now = Now::new("2026-01-31T12:00:00Z");
        assert_eq!(now.ago("2026-01-31T11:59:48.5Z"), "11s ago");
        assert_eq!(now.ago("2026-01-31T13:00:00Z"), "0s ago");
        assert_eq!(now.until("2026-01-31T11:00:00Z"), Some(Duration::ZERO));
        assert_eq!(now.until(""), None);
        assert_eq!(now.ago(""), "at an unknown time");
        assert_eq!(Now::new("").lasting("2026-01-31T11:00:00Z"), "since 2026-01-31T11:00:00Z");
    }

    #[test]
    fn a_moment_has_whole_seconds() {
        assert_eq!(moment("2026-01-31T11:59:48.512345Z"), "2026-01-31T11:59:48Z");
        assert_eq!(moment("soon"), "soon");
    }
}
