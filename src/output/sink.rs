//! The last stop before stdout and stderr: here, and nowhere else, text from others is escaped
//! ([`cri_gc_policy::text`]). Only what draws on a terminal bypasses it, and writes only its own commands.

use std::io::{self, BufWriter, StderrLock, StdoutLock, Write};

use cri_gc_policy::text::{Lines, escape, one_line};

/// Escapes what is written, except for line ends.
#[derive(Debug)]
pub struct Printable<W: Write>(W);

impl<W: Write> Printable<W> {
    /// In front of `to`.
    pub fn new(to: W) -> Self {
        Self(to)
    }
}

impl<W: Write> Write for Printable<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Formatting and serde write whole strings, so no character is cut in two.
        let text = String::from_utf8_lossy(bytes);
        self.0.write_all(escape(&text, Lines::Keep).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Standard output.
#[must_use]
pub fn stdout() -> Printable<BufWriter<StdoutLock<'static>>> {
    Printable(BufWriter::new(io::stdout().lock()))
}

/// Standard error.
#[must_use]
pub fn stderr() -> Printable<StderrLock<'static>> {
    Printable(io::stderr().lock())
}

/// What separates the lines of a message.
const SEPARATOR: &str = "\n  ";

/// A message of one or more lines for people. Its own line ends are followed by two blanks; any other is part of a name or a
/// message from elsewhere.
#[must_use]
pub fn message(text: &str) -> String {
    let one = |part: &str| {
        let indented = part.len() - part.trim_start_matches(' ').len();
        format!("{:indented$}{}", "", one_line(part))
    };
    text.split(SEPARATOR).map(one).collect::<Vec<_>>().join(SEPARATOR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_escaped_and_data_is_unchanged() {
        let names = ["a\u{1b}[2J\nb", "\u{202e}gpj", "é"];
        let mut written = Vec::new();
        serde_json::to_writer_pretty(Printable::new(&mut written), &names).unwrap();
        let text = String::from_utf8(written).unwrap();
        assert_eq!(text, "[\n  \"a\\u001b[2J\\nb\",\n  \"\\u202egpj\",\n  \"é\"\n]");
        assert_eq!(serde_json::from_str::<Vec<String>>(&text).unwrap(), names);
    }

    #[test]
    fn yaml_is_printable_and_its_value_is_unchanged() {
        let all: String = ('\0'..='\u{3000}').collect();
        for name in ["a\u{202e}b", "a\u{1b}b", "a\nb", "\u{feff}a", "a\u{200b}: b", "a\u{85}b", &all] {
            let yaml = crate::output::yaml(&[name]).unwrap();
            let printed = escape(&yaml, Lines::Keep);
            assert_eq!(serde_saphyr::from_str::<Vec<String>>(&printed).unwrap(), [name], "{printed}");
        }
    }

    #[test]
    fn a_message_has_no_lines_but_its_own() {
        let text = "a\u{7}\nFORGED: b\n  check it\n    deeper";
        assert_eq!(message(text), "a\\u0007 FORGED: b\n  check it\n    deeper");
    }
}
