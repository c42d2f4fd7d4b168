//! Text that others wrote: names of containers and log directories, tags, messages of a runtime or an API server.
//!
//! Whatever is printed or logged passes [`escape`] at the sink, once, so that no name can clear a terminal, hide the text
//! next to it or forge a line. It must not be used on what is compared or sent back: there the bytes count.

use std::borrow::Cow;
use std::fmt::{self, Write as _};

/// What is done with line ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lines {
    /// They structure the text: tables, JSON, messages of several lines.
    Keep,
    /// They are escaped: the text is one name or one message.
    Escape,
}

/// Replaces every character that a terminal acts on or doesn't show (control, bidi and zero-width characters, blanks other
/// than the space) by its escape as JSON writes it: `\n`, `\u001b`. So JSON keeps its value.
#[must_use]
pub fn escape(text: &str, lines: Lines) -> Cow<'_, str> {
    let safe = |c: char| is_printable(c) || (c == '\n' && lines == Lines::Keep);
    // Nearly every text is printable ASCII.
    let Some(at) = text.find(|c| !safe(c)) else { return Cow::Borrowed(text) };
    let (start, rest) = text.split_at(at);
    let mut escaped = start.to_owned();
    for c in rest.chars() {
        match c {
            c if safe(c) => escaped.push(c),
            '\n' => escaped.push_str("\\n"),
            '\t' => escaped.push_str("\\t"),
            '\r' => escaped.push_str("\\r"),
            c => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    // Writing to a string can't fail.
                    let _ = write!(escaped, "\\u{unit:04x}");
                }
            }
        }
    }
    Cow::Owned(escaped)
}

fn is_printable(c: char) -> bool {
    // Letters and symbols by their category, of which nothing is seen.
    let is_blank = matches!(c, '\u{115f}' | '\u{1160}' | '\u{2800}' | '\u{3164}' | '\u{ffa0}');
    // Rust escapes exactly what Unicode doesn't count as printable, and three characters that its own literals need escaped.
    matches!(c, ' '..='~') || (!c.is_ascii() && !is_blank && c.escape_debug().len() == 1)
}

/// Longest word that is shown to people: a tag with a digest, a path, the names of a pod and its container fit.
const WORD: usize = 200;

/// Longest text that is shown to people in one place.
const TEXT: usize = 2_000;

/// One line for people: escaped, line ends and runs of blanks as one space, and what is too long shortened in the middle,
/// for the beginning and the end of a path or a name say most. Data (JSON, YAML) is never shortened.
#[must_use]
pub fn one_line(text: &str) -> Cow<'_, str> {
    let plain = |bytes: &[u8]| bytes.iter().all(|byte| matches!(byte, b' '..=b'~'));
    if text.len() <= WORD && plain(text.as_bytes()) && text.trim() == text && !text.contains("  ") {
        return Cow::Borrowed(text);
    }
    let words = text.split(|c: char| c.is_ascii_whitespace()).filter(|word| !word.is_empty());
    let words = words.map(|word| shorten(word, WORD)).collect::<Vec<_>>().join(" ");
    Cow::Owned(escape(&shorten(&words, TEXT), Lines::Escape).into_owned())
}

/// The beginning and the end of a text of more than `limit` characters, with what is missing between them.
#[must_use]
pub fn shorten(text: &str, limit: usize) -> Cow<'_, str> {
    // A character is at least a byte long.
    if text.len() <= limit {
        return Cow::Borrowed(text);
    }
    let count = text.chars().count();
    if count <= limit {
        return Cow::Borrowed(text);
    }
    let half = limit / 2;
    let start: String = text.chars().take(half).collect();
    let end: String = text.chars().skip(count - half).collect();
    Cow::Owned(format!("{start}...({} more characters)...{end}", count - 2 * half))
}

/// The beginning of a value that is quoted in a message about it, without control characters. (What is shown for itself is
/// [`one_line`].)
#[must_use]
pub fn excerpt(text: &str) -> String {
    const MAX: usize = 160;
    let mut line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX).collect();
    if text.chars().nth(MAX).is_some() {
        line.push_str("...");
    }
    line
}

/// "1 container", "4 containers", "2 log directories".
#[must_use]
pub fn counted<N: fmt::Display + PartialEq + From<u8>>(count: N, noun: &str) -> String {
    if count == N::from(1) { format!("{count} {noun}") } else { format!("{count} {}", plural(noun)) }
}

/// The plural of a noun, or of a phrase that ends with one.
#[must_use]
pub fn plural(noun: &str) -> String {
    match noun.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None if noun.ends_with(['s', 'x']) => format!("{noun}es"),
        None => format!("{noun}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_agree_with_their_nouns() {
        for (count, noun, text) in [
            (1, "sandbox", "1 sandbox"),
            (0, "sandbox", "0 sandboxes"),
            (2, "failed pass", "2 failed passes"),
            (2, "log directory", "2 log directories"),
            (3, "image", "3 images"),
        ] {
            assert_eq!(counted(count, noun), text);
        }
    }

    #[test]
    fn nothing_that_a_terminal_acts_on_is_left() {
        for (text, lines, escaped) in [
            (
                "shop/web-0 (é, 日本, \"q\", \\, 100 %)",
                Lines::Escape,
                "shop/web-0 (é, 日本, \"q\", \\, 100 %)",
            ),
            ("a\nb\tc\r", Lines::Escape, "a\\nb\\tc\\r"),
            ("a\nb", Lines::Keep, "a\nb"),
            ("\u{1b}[2J\u{7}\u{7f}\u{9b}1m", Lines::Keep, "\\u001b[2J\\u0007\\u007f\\u009b1m"),
            (
                "\u{202e}gpj\u{2066}\u{200b}\u{feff}\u{2028}",
                Lines::Keep,
                "\\u202egpj\\u2066\\u200b\\ufeff\\u2028",
            ),
            ("\u{e0041}", Lines::Keep, "\\udb40\\udc41"),
            ("a\u{3164}b\u{2800}", Lines::Escape, "a\\u3164b\\u2800"),
        ] {
            assert_eq!(escape(text, lines), escaped);
        }
        let all: String = ('\0'..=char::MAX).collect();
        let escaped = escape(&all, Lines::Escape);
        assert!(!escaped.contains(char::is_control));
        assert_eq!(escape(&escaped, Lines::Escape), escaped, "what is escaped is not changed again");
    }

    #[test]
    fn escaped_json_is_the_same_value() {
        let all: String = ('\0'..=char::MAX).collect();
        let json = serde_json::to_string(&all).unwrap();
        assert_eq!(serde_json::from_str::<String>(&escape(&json, Lines::Keep)).unwrap(), all);
    }

    #[test]
    fn what_is_too_long_for_people_is_shortened_in_the_middle() {
        let path = "/d".repeat(10_000);
        let text = format!("the directory {path}\n  is too deep");
        let shown = one_line(&text);
        assert!(shown.starts_with("the directory /d/d/d") && shown.ends_with("/d/d is too deep"), "{shown}");
        assert!(shown.contains("...(19800 more characters)..."), "{shown}");
        assert!(shown.len() < 300);
        assert_eq!(shorten("ééé", 3), "ééé");
        assert_eq!(shorten("äöüé", 2), "ä...(2 more characters)...é");
        assert!(one_line(&"word ".repeat(5_000)).len() < 2_100);
    }
}
