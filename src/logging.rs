//! Logging: for people on a terminal, one JSON object a line for everything else; the level can be changed while running.

use std::io::{self, IsTerminal, Write};
use std::sync::Mutex;

use cri_gc_config::{LogFormat, LogLevel};
use cri_gc_kit::seams::LogThreshold;
use cri_gc_kit::supervision::panics;
use cri_gc_policy::text::{Lines, escape, shorten};
use serde_json::{Map, Value};
use slog::{Drain, KV, Key, Level, Logger, Never, OwnedKVList, Record, Serializer, o};
use slog_term::{Decorator, RecordDecorator};

use crate::output::color;

/// Records that may wait to be written. More are dropped, and their number is logged: nothing waits for the log.
const QUEUE: usize = 512;

/// A logger, and what has to live until the last record is written.
pub struct Logging {
    /// Where to log.
    pub log: Logger,
    /// From which level on.
    pub threshold: LogThreshold,
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
        // Writing blocks: it is done on a thread of its own, and flushed when the guard is dropped.
        let (drain, flush) = if people {
            let decorator = PrintableText(decorator().build());
            let format = slog_term::FullFormat::new(decorator)
                .use_original_order()
                .use_custom_timestamp(|to| write!(to, "{:.0}", jiff::Timestamp::now()));
            slog_async::Async::new(format.build().fuse()).chan_size(QUEUE).build_with_guard()
        } else {
            slog_async::Async::new(JsonLines::new(std::io::stderr()).fuse())
                .chan_size(QUEUE)
                .build_with_guard()
        };
        let threshold = LogThreshold::new(level);
        let switch = threshold.clone();
        // Outside of the asynchronous drain, so that what is not wanted costs nothing.
        let drain = drain.filter(move |record| switch.lets(level_of(record.level())));
        Self { log: Logger::root(drain.fuse(), o!()), threshold, _flush: flush }
    }

    /// From now on the records of libraries are written to this log too, and so are panics that are not handled. This is for the
    /// whole process, so only the service does it, once.
    pub fn take_over(&self) {
        panics::install(self.log.clone());
        let libraries = Libraries { log: self.log.clone(), threshold: self.threshold.clone() };
        // It fails only if it was done before. There are no traces in the program.
        if log::set_boxed_logger(Box::new(libraries)).is_ok() {
            log::set_max_level(log::LevelFilter::Debug);
        }
    }
}

/// Text on stderr, with colour where other texts have it.
fn decorator() -> slog_term::TermDecoratorBuilder {
    let decorator = slog_term::TermDecorator::new().stderr();
    if color::is_on(&std::io::stderr()) { decorator.force_color() } else { decorator.force_plain() }
}

/// A value or a message that is longer than this number of characters is shortened in the middle.
const LONGEST: usize = 8_192;

/// Escapes messages, names and values before they reach a terminal, line ends too: a record is one line.
struct PrintableText<D>(D);

impl<D: Decorator> Decorator for PrintableText<D> {
    fn with_record<F>(&self, record: &Record<'_>, values: &OwnedKVList, write: F) -> io::Result<()>
    where
        F: FnOnce(&mut dyn RecordDecorator) -> io::Result<()>,
    {
        self.0.with_record(record, values, |to| write(&mut PrintableRecord { to, is_text: false }))
    }
}

struct PrintableRecord<'a> {
    to: &'a mut dyn RecordDecorator,
    /// Whether a message, a name or a value is written now, not the frame of the record.
    is_text: bool,
}

impl Write for PrintableRecord<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let lines = if self.is_text { Lines::Escape } else { Lines::Keep };
        let text = String::from_utf8_lossy(bytes);
        self.to.write_all(escape(&shorten(&text, LONGEST), lines).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// Each part of a record is announced; what is not announced here counts as part of the frame.
macro_rules! announced {
    ($($part:ident: $is_text:literal,)*) => {
        impl RecordDecorator for PrintableRecord<'_> {
            $(fn $part(&mut self) -> io::Result<()> {
                self.is_text = $is_text;
                self.to.$part()
            })*
        }
    };
}

announced! {
    reset: false,
    start_whitespace: false,
    start_timestamp: false,
    start_level: false,
    start_separator: false,
    start_comma: false,
    start_msg: true,
    start_key: true,
    start_value: true,
}

/// The records of libraries, one level lower: what is information to a library is a detail here. An error that a library also
/// returns is a detail as well: the caller logs it, and suppresses repetitions (behaviour: Failures and log levels).
struct Libraries {
    log: Logger,
    threshold: LogThreshold,
}

/// The client of the API server: it returns all its errors to its caller.
const RETURNS_ERRORS: &str = "kube_client";

impl Libraries {
    fn level(meta: &log::Metadata<'_>) -> LogLevel {
        match meta.level() {
            log::Level::Error | log::Level::Warn if meta.target().starts_with(RETURNS_ERRORS) => {
                LogLevel::Debug
            }
            log::Level::Error => LogLevel::Error,
            log::Level::Warn => LogLevel::Warning,
            log::Level::Info => LogLevel::Debug,
            log::Level::Debug | log::Level::Trace => LogLevel::Trace,
        }
    }
}

impl log::Log for Libraries {
    fn enabled(&self, meta: &log::Metadata<'_>) -> bool {
        self.threshold.lets(Self::level(meta))
    }

    fn log(&self, record: &log::Record<'_>) {
        let fields = o!("library" => record.target().to_owned());
        match Self::level(record.metadata()) {
            LogLevel::Error => slog::error!(self.log, "{}", record.args(); fields),
            LogLevel::Warning => slog::warn!(self.log, "{}", record.args(); fields),
            LogLevel::Info | LogLevel::Debug => slog::debug!(self.log, "{}", record.args(); fields),
            LogLevel::Trace => slog::trace!(self.log, "{}", record.args(); fields),
        }
    }

    fn flush(&self) {}
}

/// The level in the words of the settings.
fn level_of(level: Level) -> LogLevel {
    match level {
        Level::Critical | Level::Error => LogLevel::Error,
        Level::Warning => LogLevel::Warning,
        Level::Info => LogLevel::Info,
        Level::Debug => LogLevel::Debug,
        Level::Trace => LogLevel::Trace,
    }
}

/// One JSON object a line: `ts`, `level`, `loop` where a loop logs, `msg`, and the fields of the record.
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
        fields.put("ts", format!("{:.0}", jiff::Timestamp::now()).into());
        fields.put("level", level_of(record.level()).as_str().into());
        fields.put("msg", record.msg().to_string().into());
        // A value that cannot be written is left out; the line still is.
        let _ =
            values.serialize(record, &mut fields).and_then(|()| record.kv().serialize(record, &mut fields));
        let line = Value::Object(fields.0).to_string();
        let mut line = escape(&line, Lines::Escape).into_owned();
        line.push('\n');
        let mut to = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // An error of the log can't be logged.
        let _ = to.write_all(line.as_bytes());
        Ok(())
    }
}

struct Fields(Map<String, Value>);

impl Fields {
    fn put(&mut self, key: &str, value: Value) {
        let value = match value {
            Value::String(text) => shorten(&text, LONGEST).into_owned().into(),
            other => other,
        };
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
    use std::sync::Arc;

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

    /// As which levels what a library says comes out, if debug and up is wanted.
    fn levels_of(library: &str, levels: &[log::Level]) -> Vec<Value> {
        use log::Log;
        let (buffer, threshold) = (Buffer::default(), LogThreshold::new(LogLevel::Debug));
        let log = Logger::root(JsonLines::new(buffer.clone()).fuse(), o!());
        let libraries = Libraries { log, threshold };
        for level in levels {
            let record =
                log::Record::builder().level(*level).target(library).args(format_args!("hi")).build();
            if libraries.enabled(record.metadata()) {
                libraries.log(&record);
            }
        }
        let text = String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap();
        assert!(text.contains(&format!("\"library\":\"{library}\"")));
        text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["level"].clone()).collect()
    }

    #[test]
    fn records_of_libraries_are_logged_one_level_lower_and_only_on_request() {
        use log::Level::{Debug, Error, Info, Warn};
        assert_eq!(levels_of("h2", &[Error, Warn, Info, Debug]), ["error", "warning", "debug"]);
        let api = levels_of("kube_client::client::builder", &[Error, Warn, Info, Debug]);
        assert_eq!(api, ["debug", "debug", "debug"], "its caller logs its errors");
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

    #[test]
    fn names_from_others_are_escaped_and_shortened() {
        let name = format!("a\u{1b}[2J\nFORGED \u{202e}b{}", "/d".repeat(20_000));
        let (json, term) = (Buffer::default(), Buffer::default());
        let log = Logger::root(JsonLines::new(json.clone()).fuse(), o!());
        slog::warn!(log, "could not remove {}", name; "error" => &name);
        let plain = PrintableText(slog_term::PlainSyncDecorator::new(term.clone()));
        let log = Logger::root(slog_term::FullFormat::new(plain).build().fuse(), o!());
        slog::warn!(log, "could not remove {}", name; "error" => &name);
        for buffer in [json, term] {
            let text = String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap();
            assert_eq!(text.lines().count(), 1, "{text}");
            let text = text.trim_end_matches('\n');
            assert_eq!(escape(text, Lines::Escape), text);
            assert!(
                text.contains("a\\u001b[2J\\nFORGED \\u202eb/d/d") && text.len() < 18_000,
                "{}",
                text.len()
            );
        }
    }
}
