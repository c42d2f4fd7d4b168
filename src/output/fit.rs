//! What texts for people have to fit into: the terminal, or anything.

use std::borrow::Cow;
use std::io::{self, IsTerminal};

use rustix::termios::tcgetwinsize;

use crate::cli::TableForm;

/// What a text has to fit into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// A terminal of so many columns.
    Columns(usize),
    /// A file or a pipe: lines of any length, in which only what is unusually long is shortened.
    Any,
    /// The same, and nothing is shortened.
    Whole,
}

impl Fit {
    /// That of stdout.
    #[must_use]
    pub fn of_stdout() -> Self {
        if io::stdout().is_terminal() { Self::Columns(size().1) } else { Self::Any }
    }

    /// That of stdout, for a form of the output.
    #[must_use]
    pub fn of(form: TableForm) -> Self {
        if form == TableForm::Wide { Self::Whole } else { Self::of_stdout() }
    }
}

/// The size of a terminal that does not report it.
const SIZE: (usize, usize) = (24, 80);

/// Rows and columns of the terminal.
#[must_use]
pub fn size() -> (usize, usize) {
    let size = tcgetwinsize(io::stdout()).ok().filter(|size| size.ws_row > 0 && size.ws_col > 0);
    size.map_or(SIZE, |size| (size.ws_row.into(), size.ws_col.into()))
}

/// What a long text is shortened by.
const DOTS: &str = "...";

/// A text of at most `width` characters: the beginning and the end of a longer one, for these say most of a name or a path.
#[must_use]
pub fn elided(text: &str, width: usize) -> Cow<'_, str> {
    let count = text.chars().count();
    if count <= width {
        return Cow::Borrowed(text);
    }
    let rest = width.saturating_sub(DOTS.len());
    let begin: String = text.chars().take(rest.div_ceil(2)).collect();
    let end: String = text.chars().skip(count - rest / 2).collect();
    Cow::Owned(format!("{begin}{DOTS}{end}").chars().take(width).collect())
}

/// The beginning of a text of more than `width` characters.
#[must_use]
pub fn cut(text: &str, width: usize) -> Cow<'_, str> {
    if text.chars().count() <= width {
        return Cow::Borrowed(text);
    }
    let begin: String = text.chars().take(width.saturating_sub(DOTS.len())).collect();
    Cow::Owned(format!("{begin}{DOTS}").chars().take(width).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_keeps_its_beginning_and_its_end() {
        for (width, shown) in
            [(11, "shop/web-0#"), (10, "shop...-0#"), (9, "sho...-0#"), (3, "..."), (2, "..")]
        {
            assert_eq!(elided("shop/web-0#", width), shown);
        }
        assert_eq!(cut("3 running, 1 in_use", 12), "3 running...");
    }
}
