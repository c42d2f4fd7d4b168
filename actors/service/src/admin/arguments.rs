//! What the arguments of requests mean. They are read before anything is done: a request with an invalid argument is refused as a
//! whole, with the valid values, and changes nothing. Nothing is asked here.

use std::time::Duration;

use cri_gc_config::LogLevel;
use cri_gc_kit::words::Loop;
use cri_gc_proto::admin as api;
use jiff::Timestamp;
use tonic::Status;

use crate::history::Filter;

/// Events of one answer from the history.
const MOST_EVENTS: usize = 10_000;

/// How long the client waits, less what its answer takes to reach it; `None` where it does not say.
#[must_use]
pub fn waits(seconds: f64) -> Option<Duration> {
    let wait = Duration::try_from_secs_f64(seconds).ok().filter(|wait| !wait.is_zero())?;
    Some(wait.mul_f64(0.9))
}

/// The loops of these names, in the order of the chain; all of them if none is named.
///
/// # Errors
/// There is no loop of one of the names.
pub fn loops(names: &[String]) -> Result<Vec<Loop>, Status> {
    let is_known = |name: &&String| Loop::ALL.iter().any(|known| known.as_str() == **name);
    if let Some(unknown) = names.iter().find(|name| !is_known(name)) {
        let loops = Loop::ALL.map(Loop::as_str).join(", ");
        return Err(Status::invalid_argument(format!("there is no loop \"{unknown}\"; there are {loops}")));
    }
    let is_meant = |known: &Loop| names.is_empty() || names.iter().any(|name| name == known.as_str());
    Ok(Loop::ALL.into_iter().filter(is_meant).collect())
}

/// A log level.
///
/// # Errors
/// There is none of that name.
pub fn level(name: &str) -> Result<LogLevel, Status> {
    let no_level = |error: String| format!("{error}; write one of {}", LogLevel::WORDS.join(", "));
    name.parse().map_err(|error| Status::invalid_argument(no_level(error)))
}

/// When a pause ends that begins at `since`; `None` if it does not end by itself.
///
/// # Errors
/// No pause can last that long.
pub fn pause_end(seconds: f64, since: Timestamp) -> Result<Option<Timestamp>, Status> {
    if seconds == 0.0 {
        return Ok(None);
    }
    // Of less than a nanosecond nothing is left: such a pause would end before it begins.
    let length = Duration::try_from_secs_f64(seconds).ok().filter(|length| !length.is_zero());
    let end = length.and_then(|length| since.checked_add(length).ok());
    let wrong = || Status::invalid_argument(format!("no pause lasts {seconds} seconds"));
    end.map(Some).ok_or_else(wrong)
}

/// Which events are meant; all where there is no filter.
///
/// # Errors
/// A time is none, or there is no such word.
pub fn filter(asked: Option<&api::EventFilter>) -> Result<Filter, Status> {
    Filter::read(asked.unwrap_or(&api::EventFilter::default())).map_err(Status::invalid_argument)
}

/// How many events are answered at most.
#[must_use]
pub fn limit(asked: u32) -> usize {
    match usize::try_from(asked).unwrap_or(MOST_EVENTS) {
        0 => MOST_EVENTS,
        limit => limit.min(MOST_EVENTS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_ends_after_it_began_or_not_by_itself() {
        let end = |seconds| pause_end(seconds, Timestamp::UNIX_EPOCH);
        assert_eq!(end(0.0).unwrap(), None);
        assert_eq!(end(90.5).unwrap(), Some(Timestamp::from_millisecond(90_500).unwrap()));
        for none in [-1.0, 1e-10, 1e300, f64::NAN, f64::INFINITY] {
            let refused = end(none).unwrap_err();
            assert!(refused.message().starts_with("no pause lasts"), "{none}: {refused}");
        }
    }

    #[test]
    fn loops_are_in_the_order_of_the_chain_and_an_unknown_one_is_named() {
        let named = |names: &[&str]| loops(&names.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(named(&[]).unwrap(), Loop::ALL);
        assert_eq!(
            named(&["image_gc", "container_gc", "image_gc"]).unwrap(),
            [Loop::ContainerGc, Loop::ImageGc]
        );
        let refused = named(&["image_gc", "images"]).unwrap_err();
        assert_eq!(
            refused.message(),
            "there is no loop \"images\"; there are container_gc, sandbox_gc, log_gc, image_gc"
        );
    }
}
