//! What is logged from INFO on, and what was to be: the lines that docs/behaviour.md requires
//! (behaviour: Failures and log levels), worked out without the code that writes them.

use std::fmt::Write;
use std::sync::{Arc, Mutex};

use cri_gc_kit::text::duration;
use cri_gc_kit::words::Loop;
use slog::{Drain, KV, Key, Level, Never, OwnedKVList, Record, Serializer};

/// Fields that a line is compared with, in this order.
const SHOWN: [&str; 6] = ["actor", "settings", "cause", "failures", "suppressed", "lasted"];

/// Collects what is logged from INFO on, as "LEVL loop message field=value ...".
#[derive(Clone, Default)]
pub struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    /// All of them so far.
    pub fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    /// All of them so far, which are forgotten.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

#[derive(Default)]
struct Fields {
    of: String,
    shown: [Option<String>; SHOWN.len()],
}

impl Serializer for Fields {
    fn emit_arguments(&mut self, key: Key, value: &std::fmt::Arguments<'_>) -> slog::Result {
        if key == "loop" {
            self.of = value.to_string();
        } else if let Some(place) = SHOWN.iter().position(|shown| *shown == key) {
            self.shown[place] = Some(value.to_string());
        }
        Ok(())
    }

    fn emit_none(&mut self, _key: Key) -> slog::Result {
        Ok(())
    }
}

impl Drain for Lines {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record<'_>, _values: &OwnedKVList) -> Result<(), Never> {
        if record.level().is_at_least(Level::Info) {
            let mut fields = Fields { of: "-".to_owned(), ..Fields::default() };
            let _ = record.kv().serialize(record, &mut fields);
            let mut line = format!("{} {} {}", record.level(), fields.of, record.msg());
            for (name, value) in SHOWN.iter().zip(fields.shown) {
                if let Some(value) = value {
                    let _ = write!(line, " {name}={value}");
                }
            }
            self.0.lock().unwrap().push(line);
        }
        Ok(())
    }
}

/// Which of so many failures in a row are logged: the first, the second, and each that doubles the number.
pub fn logged_numbers(failures: u64) -> Vec<u64> {
    (0..64).map(|power| 1 << power).take_while(|number| *number <= failures).collect()
}

/// Of these, the ones that log again that a disk remains full, and how many came between.
pub fn lasting(number: u64) -> Option<u64> {
    match number {
        1 => Some(0),
        ..16 => None,
        16 => Some(14),
        _ => Some(number / 2 - 1),
    }
}

/// Whether that says that a disk remains full.
pub fn is_lasting(text: &str) -> bool {
    text.starts_with("FreeDiskSpaceFailed")
}

/// Without what uses a full disk: a runtime counts late.
pub fn unaccounted(line: &str) -> String {
    match (line.find(" Used by: images in use "), line.find("; look for logs, volumes")) {
        (Some(from), Some(to)) => line[..from].to_owned() + &line[to..],
        _ => line.to_owned(),
    }
}

/// How a failure of that number is logged.
fn level(number: u64, statistics: bool) -> &'static str {
    match (number, statistics) {
        (1, false) | (2, true) => "ERRO",
        _ => "WARN",
    }
}

/// The lines of so many failed passes in a row, each of which failed in all of these ways.
pub fn failed(of: Loop, texts: &[String], failures: u64) -> Vec<String> {
    let statistics = of == Loop::ImageGc;
    let mut lines = Vec::new();
    for number in logged_numbers(failures) {
        for text in texts {
            if is_lasting(text) {
                let Some(suppressed) = lasting(number) else { continue };
                let level = level(number, false);
                lines.push(format!(
                    "{level} {of} pass failed: {text} failures={number} suppressed={suppressed}"
                ));
                continue;
            }
            let hint = if statistics && number == 1 && text.contains("ImageFsInfo") {
                " (the statistics of a runtime that has just started may not be ready yet)"
            } else {
                ""
            };
            // Those between this one and the doubling before it.
            let suppressed = (number / 2).saturating_sub(1);
            lines.push(format!(
                "{} {of} pass failed: {text}{hint} failures={number} suppressed={suppressed}",
                level(number, statistics)
            ));
        }
    }
    lines
}

/// The lines of so many panics in a row. Each line has the pause that follows it.
pub fn panicked(of: Loop, why: &str, panics: u64) -> Vec<String> {
    let line = |number: u64| {
        let pause = if number > 6 { "1m".to_owned() } else { format!("{}s", 1 << (number - 1)) };
        let suppressed = (number / 2).saturating_sub(1);
        format!(
            "{} {of} {of} crashed, restarting in {pause}: {why} failures={number} suppressed={suppressed}",
            level(number, false)
        )
    };
    logged_numbers(panics).into_iter().map(line).collect()
}

/// The line that ends an outage.
pub fn recovered(of: Loop, failures: u64, lasted: jiff::SignedDuration) -> String {
    format!("INFO {of} the loop has recovered failures={failures} lasted={}", duration(lasted))
}

/// The line of a removal.
pub fn removed(of: Loop) -> String {
    format!("INFO {of} removed")
}

/// Checks that the lines are these and no others.
#[track_caller]
pub fn assert_same(logged: &[String], expected: &[String]) {
    let differs =
        (0..logged.len().max(expected.len())).find(|place| logged.get(*place) != expected.get(*place));
    if let Some(place) = differs {
        let (logged, expected) = (&logged[place.min(logged.len())..], &expected[place.min(expected.len())..]);
        panic!("from line {place} on there came\n{logged:#?}\nand not\n{expected:#?}");
    }
}
