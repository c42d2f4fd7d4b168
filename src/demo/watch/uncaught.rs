//! Panics that nobody caught. They would be written over the view, so they are kept, and said on stderr when all is over.
//!
//! It is part of the log, for that is where they go; it does not look at any other record.

use std::fmt::Arguments;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use slog::{Drain, KV, Key, Never, OwnedKVList, Record, Serializer};

use crate::output::remark;

/// How the record of such a panic begins.
const PANIC: &str = "panic: ";

/// The panics so far. What is cloned shares them.
#[derive(Debug, Clone, Default)]
pub struct Uncaught(Arc<Mutex<Vec<String>>>);

impl Uncaught {
    fn all(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many.
    #[must_use]
    pub fn count(&self) -> usize {
        self.all().len()
    }

    /// Says them when what is returned is dropped, so also when the panic is that of the thread that shows the view.
    #[must_use]
    pub fn told_at_the_end(&self) -> AtTheEnd {
        AtTheEnd(self.clone())
    }
}

/// Says the panics when it is dropped.
#[derive(Debug)]
pub struct AtTheEnd(Uncaught);

impl Drop for AtTheEnd {
    fn drop(&mut self) {
        self.0.all().drain(..).for_each(|panic| remark(&panic));
    }
}

impl Drain for Uncaught {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record<'_>, _values: &OwnedKVList) -> Result<(), Never> {
        let text = record.msg().to_string();
        if text.starts_with(PANIC) {
            let mut place = Place(String::new());
            // A place that can't be told is left out.
            let _ = record.kv().serialize(record, &mut place);
            self.all().push(format!("{text} ({})", place.0));
        }
        Ok(())
    }
}

/// Where it was.
struct Place(String);

impl Serializer for Place {
    fn emit_arguments(&mut self, key: Key, value: &Arguments<'_>) -> slog::Result {
        if key == "at" {
            self.0 = value.to_string();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use slog::{Logger, error, o};

    use super::*;

    #[test]
    fn panics_are_kept_with_their_place_and_nothing_else_is() {
        let uncaught = Uncaught::default();
        let log = Logger::root(uncaught.clone().fuse(), o!());
        error!(log, "pass failed: panic: no"; "at" => "a");
        assert_eq!(uncaught.count(), 0);
        error!(log, "panic: index out of bounds"; "thread" => "main", "at" => Some("x.rs:1:2"));
        assert_eq!(*uncaught.all(), ["panic: index out of bounds (x.rs:1:2)"]);
        uncaught.all().clear();
    }
}
