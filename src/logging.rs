//! Logging: for people on a terminal, one JSON object a line for everything else; the level can be changed while running.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use cri_gc_config::{LogFormat, LogLevel};
use serde_json::{Map, Value};
use slog::{Drain, KV, Key, Level, Logger, Never, OwnedKVList, Record, Serializer, o};

/// A logger, and what has to live until the last record is written.
pub struct Logging {
    /// Where to log.
    pub log: Logger,
    level: Arc<AtomicUsize>,
    _flush: slog_async::AsyncGuard,
}

impl Logging {
    /// Logs on stderr from this level on. `Auto` is for people where stderr is a terminal, else JSON.
    #[must_use]
    pub fn to_stderr(level: LogLevel, format: LogFormat) -> Self {
        let people = match format {
            LogFormat::Auto => std::io::stderr().is_terminal(),
            LogFormat::Term => true,
            LogFormat::Json => false,
        };
        // Writing blocks: it is done on a thread of its own, and flushed when the guard goes.
        let (drain, flush) = if people {
            let decorator = slog_term::TermDecorator::new().stderr().build();
            slog_async::Async::new(slog_term::FullFormat::new(decorator).build().fuse()).build_with_guard()
        } else {
            slog_async::Async::new(JsonLines::new(std::io::stderr()).fuse()).build_with_guard()
        };
        let threshold = Arc::new(AtomicUsize::new(slog_level(level).as_usize()));
        let switch = Arc::clone(&threshold);
        // Outside of the asynchronous drain, so that what is not wanted costs nothing.
        let drain = drain.filter(move |record| record.level().as_usize() <= switch.load(Ordering::Relaxed));
        Self { log: Logger::root(drain.fuse(), o!()), level: threshold, _flush: flush }
    }

    /// Logs from another level on.
    pub fn set_level(&self, level: LogLevel) {
        self.level.store(slog_level(level).as_usize(), Ordering::Relaxed);
    }
}

fn slog_level(level: LogLevel) -> Level {
    match level {
        LogLevel::Error => Level::Error,
        LogLevel::Warning => Level::Warning,
        LogLevel::Info => Level::Info,
        LogLevel::Debug => Level::Debug,
        LogLevel::Trace => Level::Trace,
    }
}

/// The words of `log.level`.
fn word(level: Level) -> &'static str {
    match level {
        Level::Critical | Level::Error => "error",
        Level::Warning => "warning",
        Level::Info => "info",
        Level::Debug => "debug",
        Level::Trace => "trace",
    }
}

/// One JSON object a line: `ts`, `level`, `loop` where a loop speaks, `msg`, and the fields of the record.
pub struct JsonLines<W: Write>(Mutex<W>);

impl<W: Write> JsonLines<W> {
    /// Writes to `to`.
    pub fn new(to: W) -> Self {
        Self(Mutex::new(to))
    }
}

impl<W: Write> Drain for JsonLines<W> {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record<'_>, values: &OwnedKVList) -> Result<(), Never> {
        let mut fields = Fields(Map::new());
        fields.put("ts", jiff::Timestamp::now().to_string().into());
        fields.put("level", word(record.level()).into());
        fields.put("msg", record.msg().to_string().into());
        // A value that cannot be written is left out; the line still is.
        let _ =
            values.serialize(record, &mut fields).and_then(|()| record.kv().serialize(record, &mut fields));
        let mut line = Value::Object(fields.0).to_string();
        line.push('\n');
        let mut to = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // Where the log goes wrong there is nowhere to say so.
        let _ = to.write_all(line.as_bytes());
        Ok(())
    }
}

struct Fields(Map<String, Value>);

impl Fields {
    fn put(&mut self, key: &str, value: Value) {
        self.0.insert(key.to_owned(), value);
    }
}

impl Serializer for Fields {
    fn emit_arguments(&mut self, key: Key, value: &std::fmt::Arguments<'_>) -> slog::Result {
        self.put(key, value.to_string().into());
        Ok(())
    }

    fn emit_u64(&mut self, key: Key, value: u64) -> slog::Result {
        self.put(key, value.into());
        Ok(())
    }

    fn emit_usize(&mut self, key: Key, value: usize) -> slog::Result {
        self.put(key, value.into());
        Ok(())
    }

    fn emit_i64(&mut self, key: Key, value: i64) -> slog::Result {
        self.put(key, value.into());
        Ok(())
    }

    fn emit_f64(&mut self, key: Key, value: f64) -> slog::Result {
        self.put(key, value.into());
        Ok(())
    }

    fn emit_bool(&mut self, key: Key, value: bool) -> slog::Result {
        self.put(key, value.into());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A place to write that can be read afterwards.
    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_record_is_one_object_on_one_line() {
        let buffer = Buffer::default();
        let log = Logger::root(JsonLines::new(buffer.clone()).fuse(), o!("node" => "n1"));
        slog::warn!(log, "two\nlines"; "loop" => "image_gc", "failures" => 4u64);
        let text = String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.lines().count(), 1);
        let line: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["level"], "warning");
        assert_eq!((&line["msg"], &line["loop"]), (&"two\nlines".into(), &"image_gc".into()));
        assert_eq!((&line["failures"], &line["node"]), (&4.into(), &"n1".into()));
        assert!(line["ts"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok());
    }
}
