//! Where the view is drawn: in place on a terminal, else block after block.
//!
//! A terminal is given back as it was, however the demo ends: the screen does that when it is dropped.

use std::io::{self, IsTerminal, Write};

use cri_gc_policy::text::{Lines, escape};
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetwinsize, tcsetattr,
};

use crate::failure::Failure;
use crate::output::{Reader, deliver};

/// The other screen of the terminal, without a cursor.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
/// From the upper left corner.
const HOME: &str = "\x1b[H";
/// What is left of a line, or below, from an earlier picture.
const CLEAR_LINE: &str = "\x1b[K\n";
const CLEAR_BELOW: &str = "\x1b[J";

/// The size of a terminal that does not tell.
const SIZE: (usize, usize) = (24, 80);

/// The screen.
pub struct Screen {
    /// Whether stdout is a terminal.
    in_place: bool,
    /// How the terminal was that keys are read from.
    before: Option<Termios>,
}

impl Screen {
    /// Takes the terminal, where there is one.
    ///
    /// # Errors
    /// The terminal can't be written to.
    pub fn open() -> Result<Self, Failure> {
        let in_place = std::io::stdout().is_terminal();
        // Made first: from here on it puts back whatever was changed.
        let mut screen = Self { in_place, before: None };
        if in_place {
            screen.before = read_keys_at_once();
            command(ENTER).map_err(Failure::failed)?;
        }
        Ok(screen)
    }

    /// Whether pictures are drawn in place.
    #[must_use]
    pub fn is_in_place(&self) -> bool {
        self.in_place
    }

    /// Whether keys come as they are typed.
    #[must_use]
    pub fn has_keys(&self) -> bool {
        self.before.is_some()
    }

    /// Draws a picture.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn draw(&self, text: &str) -> Result<Reader, Failure> {
        if self.in_place {
            let size = tcgetwinsize(std::io::stdout()).ok().filter(|size| size.ws_row > 0 && size.ws_col > 0);
            let size = size.map_or(SIZE, |size| (size.ws_row.into(), size.ws_col.into()));
            // A terminal that is closed ends the view, as the reader of a pipe does.
            return Ok(command(&picture(text, size)).map_or(Reader::Gone, |()| Reader::Reads));
        }
        deliver(&format!("{text}\n"))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if !self.in_place {
            return;
        }
        // Where the terminal is gone, nothing is left to put back.
        let _ = command(LEAVE);
        if let Some(before) = &self.before {
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Flush, before);
        }
    }
}

/// Writes what a terminal is meant to act on.
fn command(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush())
}

/// Has the terminal hand over keys one by one, unseen, and says how it was before. Ctrl-C goes on to send its signal, but
/// Ctrl-Z does not: the shell would get a terminal like this one. `None` where stdin is no terminal.
fn read_keys_at_once() -> Option<Termios> {
    let before = tcgetattr(std::io::stdin()).ok()?;
    let mut now = before.clone();
    now.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
    now.special_codes[SpecialCodeIndex::VSUSP] = 0;
    now.special_codes[SpecialCodeIndex::VMIN] = 1;
    now.special_codes[SpecialCodeIndex::VTIME] = 0;
    tcsetattr(std::io::stdin(), OptionalActions::Now, &now).ok()?;
    Some(before)
}

/// What draws that text over an earlier picture: as many lines, and as much of each, as there is room for. The last line of
/// the terminal stays empty: writing its end would move all up.
fn picture(text: &str, (rows, columns): (usize, usize)) -> String {
    let mut picture = HOME.to_owned();
    for line in escape(text, Lines::Keep).lines().take(rows.saturating_sub(1)) {
        picture.extend(line.chars().take(columns));
        picture.push_str(CLEAR_LINE);
    }
    picture.push_str(CLEAR_BELOW);
    picture
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_fits_the_terminal() {
        let drawn = picture("one\ntwo and more\nthree\nfour\n", (4, 7));
        assert_eq!(drawn, "\x1b[Hone\x1b[K\ntwo and\x1b[K\nthree\x1b[K\n\x1b[J");
    }
}
