//! Panics that nothing caught. They would be written over the view, so they are kept, and written to stderr at the end.
//!
//! They are read off the log, where the panic hook writes them; other records are ignored.

use std::fmt::Arguments;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use slog::{Drain, KV, Key, Never, OwnedKVList, Record, Serializer};

use crate::output::remark;

/// How the record of such a panic begins.
const PANIC: &str = "panic: ";

/// The panics so far. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct UncaughtPanics(Arc<Mutex<Vec<String>>>);

impl UncaughtPanics {
    fn all(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many.
    #[must_use]
    pub fn count(&self) -> usize {
        self.all().len()
    }
}

/// Writes the panics to stderr when it is dropped, so also when the thread that draws panics.
#[derive(Debug)]
pub struct WrittenAtTheEnd(pub UncaughtPanics);

impl Drop for WrittenAtTheEnd {
    fn drop(&mut self) {
        self.0.all().drain(..).for_each(|panic| remark(&panic));
    }
}

impl Drain for UncaughtPanics {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record<'_>, _values: &OwnedKVList) -> Result<(), Never> {
        let text = record.msg().to_string();
        if text.starts_with(PANIC) {
            let mut place = Place(String::new());
            // A place that can't be written is left out.
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
        let uncaught = UncaughtPanics::default();
        let log = Logger::root(uncaught.clone().fuse(), o!());
        error!(log, "pass failed: panic: no"; "at" => "a");
        assert_eq!(uncaught.count(), 0);
        error!(log, "panic: index out of bounds"; "thread" => "main", "at" => Some("x.rs:1:2"));
        assert_eq!(*uncaught.all(), ["panic: index out of bounds (x.rs:1:2)"]);
    }
}
