//! What an operator would have seen: what happened to the node, and what the service logged, each with the time of the node's clock.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use cri_gc_sim::{Method, Sim};
use parking_lot::Mutex;
use slog::{Drain, KV, Key, Level, Never, OwnedKVList, Record, Serializer};

/// How a panic that the simulation ordered begins.
pub const ORDERED_PANIC: &str = "ordered by the simulation";

/// The lines so far. Clones write to the same ones.
#[derive(Clone)]
pub struct Story(Arc<AssertUnwindSafe<Lines>>);

struct Lines {
    sim: Sim,
    /// Where the node is, which has another name in each run.
    place: String,
    lines: Mutex<Vec<Line>>,
}

/// A line of a story.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// With the time of the node's clock.
    pub text: String,
    /// Whether it is an RPC that the runtime carried out.
    pub is_call: bool,
}

impl Story {
    pub fn of(sim: &Sim) -> Self {
        let place = sim.paths().root.display().to_string();
        Self(Arc::new(AssertUnwindSafe(Lines { sim: sim.clone(), place, lines: Mutex::default() })))
    }

    /// Adds a line.
    pub fn tell(&self, what: impl AsRef<str>) {
        self.add(what.as_ref(), false);
    }

    /// Adds an RPC.
    pub fn tell_call(&self, method: Method, about: &str) {
        self.add(&format!("        {method} {about}"), true);
    }

    fn add(&self, what: &str, is_call: bool) {
        let time = self.0.sim.now().strftime("%H:%M:%S%.3f");
        let text = format!("{time} {what}").replace(&*self.0.place, "NODE");
        self.0.lines.lock().push(Line { text, is_call });
    }

    /// All lines.
    pub fn lines(&self) -> Vec<Line> {
        self.0.lines.lock().clone()
    }

    /// Panics that the service reported and that nothing ordered.
    pub fn unordered_panics(&self) -> Vec<String> {
        let lines = self.0.lines.lock();
        let panics = lines.iter().map(|line| &line.text).filter(|line| line.contains("it panicked"));
        panics.filter(|line| !line.contains(ORDERED_PANIC)).cloned().collect()
    }
}

/// The fields of a line.
#[derive(Default)]
struct Fields(Vec<String>);

impl Serializer for Fields {
    fn emit_arguments(&mut self, key: Key, value: &std::fmt::Arguments<'_>) -> slog::Result {
        self.0.push(format!("{key}={value}"));
        Ok(())
    }

    fn emit_none(&mut self, _key: Key) -> slog::Result {
        Ok(())
    }
}

impl Drain for Story {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record<'_>, _values: &OwnedKVList) -> Result<(), Never> {
        if record.level().is_at_least(Level::Info) {
            let mut fields = Fields::default();
            let _ = record.kv().serialize(record, &mut fields);
            fields.0.reverse();
            self.tell(format!("    {} {} {}", record.level(), record.msg(), fields.0.join(" ")));
        }
        Ok(())
    }
}
