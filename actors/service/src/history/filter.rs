//! Which events are meant by a question.

use cri_gc_kit::recorder::EventKind;
use cri_gc_kit::words::Loop;
use cri_gc_policy::explain::is_meant;
use cri_gc_policy::report::Item;
use cri_gc_policy::{Kind, Reason};
use cri_gc_proto::admin as api;
use jiff::Timestamp;

/// Which events are meant. What is empty says nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    loops: Vec<&'static str>,
    kinds: Vec<&'static str>,
    reasons: Vec<&'static str>,
    object: String,
    /// Whether the beginning of an id means the object.
    by_prefix: bool,
}

impl Filter {
    /// Reads one.
    ///
    /// # Errors
    /// What is wrong with it, with the words that there are.
    pub fn read(asked: &api::EventFilter) -> Result<Self, String> {
        let time = |name: &str, text: &str| match text {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|error| {
                format!("{name} \"{text}\" is no time: {error}; write it as 2026-01-31T12:00:00Z")
            }),
        };
        Ok(Self {
            since: time("since", &asked.since)?,
            until: time("until", &asked.until)?,
            loops: words("loop", &asked.loops, &Loop::ALL.map(Loop::as_str))?,
            kinds: words("kind of event", &asked.kinds, &all(EventKind::ALL, |kind| kind.as_str()))?,
            reasons: words("reason", &asked.reasons, &all(Reason::ALL, |reason| reason.as_str()))?,
            object: asked.object.trim().to_owned(),
            by_prefix: true,
        })
    }

    /// What was removed of that name or id.
    pub fn removed(object: &str) -> Self {
        Self { kinds: vec![EventKind::Removed.as_str()], object: object.trim().to_owned(), ..Self::default() }
    }

    /// What was removed whose id begins like that.
    pub fn removed_by_prefix(object: &str) -> Self {
        Self { by_prefix: true, ..Self::removed(object) }
    }

    /// Whether it means this event.
    #[must_use]
    pub fn matches(&self, event: &api::Event) -> bool {
        let has = |words: &[&str], word: &str| words.is_empty() || words.contains(&word);
        has(&self.loops, &event.r#loop)
            && has(&self.kinds, &event.kind)
            && has(&self.reasons, &event.reason)
            && (self.since.is_none() && self.until.is_none() || self.is_in_time(event))
            && (self.object.is_empty() || self.is_about(event))
    }

    fn is_in_time(&self, event: &api::Event) -> bool {
        event.time.parse::<Timestamp>().is_ok_and(|time| {
            self.since.is_none_or(|since| since <= time) && self.until.is_none_or(|until| time <= until)
        })
    }

    fn is_about(&self, event: &api::Event) -> bool {
        let Some(kind) = Kind::ALL.iter().find(|kind| kind.as_str() == event.object_kind) else {
            return false;
        };
        // Only an image has names that are written in several ways; of all else most events are sorted out here, without a copy.
        let texts = [&event.object_id, &event.object_name, &event.pod_uid];
        if *kind != Kind::Image && !texts.iter().any(|text| text.contains(&self.object)) {
            return false;
        }
        let item = Item {
            id: event.object_id.as_str().into(),
            name: event.object_name.clone(),
            names: vec![event.object_name.clone()],
            pod_uid: event.pod_uid.as_str().into(),
            ..Item::default()
        };
        is_meant(*kind, &item, &self.object, self.by_prefix)
    }
}

fn all<T: Copy>(of: &[T], word: fn(T) -> &'static str) -> Vec<&'static str> {
    of.iter().copied().map(word).collect()
}

/// The known words that were given, in whatever case.
fn words(what: &str, given: &[String], known: &[&'static str]) -> Result<Vec<&'static str>, String> {
    let word = |given: &String| {
        let found = known.iter().find(|known| known.eq_ignore_ascii_case(given));
        found
            .copied()
            .ok_or_else(|| format!("there is no {what} \"{given}\"; there are {}", known.join(", ")))
    };
    given.iter().map(word).collect()
}
