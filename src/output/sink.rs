//! The last stop before stdout and stderr: here, and nowhere else, text from others is escaped
//! ([`cri_gc_policy::text`]), and a [`Style`] becomes a sequence of the terminal. Only what draws on a terminal writes commands of
//! its own.

use std::io::{self, BufWriter, StderrLock, StdoutLock, Write};

use cri_gc_policy::text::{Lines, escape, one_line};

use super::color;
use super::text::{INDENT, Paint, Style};

/// Escapes what is written, except for line ends.
#[derive(Debug)]
pub struct Printable<W: Write> {
    to: W,
    color: bool,
}

impl<W: Write> Printable<W> {
    /// In front of `to`, with colour or without.
    pub fn new(to: W, color: bool) -> Self {
        Self { to, color }
    }
}

impl<W: Write> Write for Printable<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Formatting and serde write whole strings, so no character is cut in two.
        let text = String::from_utf8_lossy(bytes);
        self.to.write_all(escape(&text, Lines::Keep).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

impl<W: Write> Paint for Printable<W> {
    fn paint(&mut self, style: Style, text: &str) -> io::Result<()> {
        let Some(sequence) = sequence(style).filter(|_| self.color) else {
            return self.write_all(text.as_bytes());
        };
        self.to.write_all(sequence.as_bytes())?;
        self.write_all(text.as_bytes())?;
        self.to.write_all(RESET.as_bytes())
    }
}

/// What begins a style on a terminal: only bold and the 16 colours that every theme adapts to its background.
fn sequence(style: Style) -> Option<&'static str> {
    match style {
        Style::Plain => None,
        Style::Heading => Some("\x1b[1m"),
        Style::Attention => Some("\x1b[33m"),
        Style::Bad => Some("\x1b[1;31m"),
    }
}

/// What ends it.
const RESET: &str = "\x1b[0m";

/// Standard output.
#[must_use]
pub fn stdout() -> Printable<BufWriter<StdoutLock<'static>>> {
    Printable::new(BufWriter::new(io::stdout().lock()), color::is_on(&io::stdout()))
}

/// Standard error.
#[must_use]
pub fn stderr() -> Printable<StderrLock<'static>> {
    Printable::new(io::stderr().lock(), color::is_on(&io::stderr()))
}

/// What separates the lines of a message.
const SEPARATOR: &str = "\n  ";

/// A message of one or more lines for people. Its own line ends are followed by two blanks; any other is part of a name or a
/// message from elsewhere.
#[must_use]
pub fn message(text: &str) -> String {
    let one = |part: &str| {
        let indented = part.len() - part.trim_start_matches(' ').len();
        format!("{}{}", " ".repeat(indented.min(INDENT)), one_line(part))
    };
    text.split(SEPARATOR).map(one).collect::<Vec<_>>().join(SEPARATOR)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::text::Text;

    #[test]
    fn what_is_written_is_escaped_and_data_is_unchanged() {
        let names = ["a\u{1b}[2J\nb", "\u{202e}gpj", "é"];
        let mut written = Vec::new();
        serde_json::to_writer_pretty(Printable::new(&mut written, true), &names).unwrap();
        let text = String::from_utf8(written).unwrap();
        assert_eq!(text, "[\n  \"a\\u001b[2J\\nb\",\n  \"\\u202egpj\",\n  \"é\"\n]");
        assert_eq!(serde_json::from_str::<Vec<String>>(&text).unwrap(), names);
    }

    #[test]
    fn a_name_of_many_blanks_is_no_indent() {
        let blanks = " ".repeat(70_000);
        assert_eq!(message(&format!("x\n  {blanks}y")), format!("x\n  {}y", " ".repeat(INDENT)));
        let text = Text::from(format!("{blanks}y")).one_line();
        assert_eq!(text.to_string(), format!("{}y", " ".repeat(INDENT)));
    }

    #[test]
    fn only_a_style_makes_a_sequence_and_never_a_text() {
        let text = Text::from("a\u{1b}[31m") + Text::bad("b\u{1b}[0mc");
        let written = |color| {
            let mut out = Vec::new();
            text.write_to(&mut Printable::new(&mut out, color)).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(written(true), "a\\u001b[31m\x1b[1;31mb\\u001b[0mc\x1b[0m");
        assert_eq!(written(false), "a\\u001b[31mb\\u001b[0mc");
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
