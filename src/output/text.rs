//! Text for people, with styles. A style is a value next to the text and never part of it: only the sink makes a sequence of a
//! terminal of it, so that no foreign text can.

use std::fmt::{self, Display};
use std::io::{self, Write};
use std::ops::Add;

use cri_gc_policy::text::one_line;

/// By how many blanks at most a line is indented: what is longer comes from elsewhere.
pub const INDENT: usize = 20;

/// What a part of a text means. Most text has none of these: colour is sparse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Style {
    /// Everything else.
    #[default]
    Plain,
    /// The heading of a table or a paragraph.
    Heading,
    /// Worth noticing: what is removed, or paused.
    Attention,
    /// It failed, or it is not as it has to be.
    Bad,
}

/// What takes text with styles.
pub trait Paint: Write {
    /// Writes a text in that style.
    ///
    /// # Errors
    /// Those of writing.
    fn paint(&mut self, style: Style, text: &str) -> io::Result<()>;
}

/// Text with styles, in memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Text(Vec<(Style, String)>);

impl Text {
    /// A text in one style.
    #[must_use]
    pub fn styled(style: Style, text: impl Into<String>) -> Self {
        let text = text.into();
        if text.is_empty() { Self::default() } else { Self(vec![(style, text)]) }
    }

    /// What failed, or is not as it has to be.
    #[must_use]
    pub fn bad(text: impl Into<String>) -> Self {
        Self::styled(Style::Bad, text)
    }

    /// Adds a text at the end.
    pub fn push(&mut self, text: impl Into<Self>) {
        for (style, part) in text.into().0 {
            match self.0.last_mut() {
                Some((last, text)) if *last == style => text.push_str(&part),
                _ => self.0.push((style, part)),
            }
        }
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The parts, each in one style.
    pub fn parts(&self) -> impl Iterator<Item = (Style, &str)> {
        self.0.iter().map(|(style, text)| (*style, text.as_str()))
    }

    /// Writes all of it.
    ///
    /// # Errors
    /// Those of writing.
    pub fn write_to(&self, out: &mut dyn Paint) -> io::Result<()> {
        self.parts().try_for_each(|(style, text)| out.paint(style, text))
    }

    /// The same as one line: see [`one_line`]. Blanks between its parts, and those that it begins with, are kept.
    #[must_use]
    pub fn one_line(&self) -> Self {
        let mut line = Self::default();
        for (style, text) in self.parts() {
            let begin = if line.is_empty() { text.len() - text.trim_start_matches(' ').len() } else { 0 };
            let begin = begin.max(text.starts_with(char::is_whitespace).into());
            let end = usize::from(text.ends_with(char::is_whitespace) && !text.trim().is_empty());
            let [begin, end] = [begin.min(INDENT), end].map(|count| " ".repeat(count));
            line.push(Self::styled(style, format!("{begin}{}{end}", one_line(text))));
        }
        line
    }

    /// Without blanks at its end.
    #[must_use]
    pub fn trimmed(mut self) -> Self {
        while let Some((_, text)) = self.0.last_mut() {
            text.truncate(text.trim_end_matches(' ').len());
            if !text.is_empty() {
                break;
            }
            self.0.pop();
        }
        self
    }

    /// Its lines, without their ends.
    #[must_use]
    pub fn lines(&self) -> Vec<Self> {
        let mut lines = vec![Self::default()];
        for (style, text) in self.parts() {
            for (number, part) in text.split('\n').enumerate() {
                if number > 0 {
                    lines.push(Self::default());
                }
                if let Some(last) = lines.last_mut() {
                    last.push(Self::styled(style, part));
                }
            }
        }
        // What ends with a line end has no line after it.
        lines.pop_if(|last| last.is_empty());
        lines
    }

    /// As lines of at most `width` characters, broken at blanks; a word that is longer remains whole. Lines after the first begin
    /// with as many blanks as the text.
    #[must_use]
    pub fn wrapped(&self, width: usize) -> Vec<Self> {
        let letters = self.parts().flat_map(|(_, text)| text.chars());
        self.wrapped_to(width, letters.take_while(|c| *c == ' ').count())
    }

    /// The same, where lines after the first begin with `indent` blanks.
    #[must_use]
    pub fn wrapped_to(&self, width: usize, indent: usize) -> Vec<Self> {
        let all: Vec<(Style, char)> =
            self.parts().flat_map(|(style, text)| text.chars().map(move |c| (style, c))).collect();
        let (mut lines, mut line, mut count) = (Vec::new(), Self::default(), 0);
        for word in all.split_inclusive(|(_, c)| *c == ' ') {
            let length = word.iter().filter(|(_, c)| *c != ' ').count();
            if count + length > width && count > indent {
                lines.push(std::mem::replace(&mut line, " ".repeat(indent).into()).trimmed());
                count = indent;
            }
            count += word.len();
            word.iter().for_each(|(style, c)| line.push(Self::styled(*style, *c)));
        }
        lines.push(line);
        lines
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self::styled(Style::Plain, text)
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self::styled(Style::Plain, text)
    }
}

impl<T: Into<Self>> Add<T> for Text {
    type Output = Self;

    fn add(mut self, more: T) -> Self {
        self.push(more);
        self
    }
}

impl FromIterator<Self> for Text {
    fn from_iter<I: IntoIterator<Item = Self>>(texts: I) -> Self {
        texts.into_iter().fold(Self::default(), Add::add)
    }
}

/// Without styles.
impl Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts().try_for_each(|(_, text)| f.write_str(text))
    }
}

impl fmt::Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text);
        Ok(())
    }
}

impl Write for Text {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.push(&*String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Paint for Text {
    fn paint(&mut self, style: Style, text: &str) -> io::Result<()> {
        self.push(Self::styled(style, text));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(lines: &[Text]) -> Vec<String> {
        lines.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn lines_and_words_keep_their_styles() {
        let text = Text::bad("FAILED\nagain") + " and\nagain\n";
        assert_eq!(texts(&text.lines()), ["FAILED", "again and", "again"]);
        let [first, second, _] = text.lines().try_into().unwrap();
        assert_eq!(first, Text::bad("FAILED"));
        assert_eq!(second, Text::bad("again") + " and");
        let wrapped = (Text::from("  one ") + Text::bad("two three") + " fourfourfour").wrapped(9);
        assert_eq!(texts(&wrapped), ["  one two", "  three", "  fourfourfour"]);
        assert_eq!(wrapped.first(), Some(&(Text::from("  one ") + Text::bad("two"))));
    }

    #[test]
    fn one_line_keeps_the_blanks_between_parts() {
        let text = Text::from("  at ") + Text::bad("a\nb\u{1b}[2J") + " for\n3s";
        assert_eq!(text.one_line().to_string(), "  at a b\\u001b[2J for 3s");
        assert_eq!((Text::bad("UNREACHABLE") + " " + Text::from("")).one_line().to_string(), "UNREACHABLE ");
    }
}
