//! Where a view is drawn again and again, and which keys are pressed: in place on a terminal, else one block after the other.
//!
//! However the command ends, the terminal is restored: that happens when this is dropped.

use std::io::{self, Read, Write};

use cri_gc_policy::text::{Lines, escape};
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::fit::size;
use super::sink::Printable;
use super::text::{Paint, Text};
use super::{Reader, color, deliver};
use crate::failure::Failure;

/// The other screen of the terminal, without a cursor, where a line that is too wide does not continue on the next.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l";
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";
/// To the upper left corner.
const HOME: &str = "\x1b[H";
/// Clears the rest of a line, or all lines below, of an earlier picture.
const CLEAR_LINE: &str = "\x1b[K\n";
const CLEAR_BELOW: &str = "\x1b[J";

/// The terminal, or what stdout is instead.
pub struct Terminal<K> {
    /// Whether stdout is a terminal, where the view is drawn in place.
    pub in_place: bool,
    /// How stdin is to be restored, if it is a terminal.
    before: Option<Termios>,
    /// The keys that are pressed, where they are read.
    pub keys: Option<UnboundedReceiver<K>>,
}

impl<K: Send + 'static> Terminal<K> {
    /// Prepares the terminal, if there is one. `parse` reads the bytes of keys.
    ///
    /// # Errors
    /// The terminal can't be written to, or the operating system has no thread left.
    pub fn open(parse: fn(u8) -> Option<K>) -> Result<Self, Failure> {
        let in_place = color::can_draw(&io::stdout());
        // Made first: from here on it restores whatever was changed.
        let mut terminal = Self { in_place, before: None, keys: None };
        if in_place {
            terminal.before = report_keys_at_once();
            if terminal.before.is_some() {
                terminal.keys = Some(read_keys(parse)?);
            }
            write_commands(ENTER.as_bytes())?;
        }
        Ok(terminal)
    }

    /// Waits for the next key: forever where no keys are read.
    pub async fn next_key(&mut self) -> K {
        if let Some(keys) = &mut self.keys
            && let Some(key) = keys.recv().await
        {
            return key;
        }
        self.keys = None;
        std::future::pending().await
    }

    /// Draws a picture.
    ///
    /// # Errors
    /// What the operating system reports.
    pub fn draw(&self, text: &Text) -> Result<Reader, Failure> {
        if self.in_place {
            let picture = picture(text, size(), color::is_on(&io::stdout()))?;
            // A closed terminal ends the view, as a closed pipe does.
            return Ok(write_commands(&picture).map_or(Reader::Gone, |()| Reader::Reads));
        }
        deliver(&(text.clone() + "\n"))
    }
}

impl<K> Drop for Terminal<K> {
    fn drop(&mut self) {
        if !self.in_place {
            return;
        }
        // A closed terminal needs no restoring.
        let _ = write_commands(LEAVE.as_bytes());
        if let Some(before) = &self.before {
            let _ = tcsetattr(io::stdin(), OptionalActions::Flush, before);
        }
    }
}

/// Writes escape sequences as they are; `deliver` would make them visible.
fn write_commands(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush())
}

/// Has the terminal report keys one by one, without showing them, and returns its state before. Ctrl-C still sends its
/// signal, but Ctrl-Z does not: the shell would get the terminal in this state. `None` where stdin is no terminal.
fn report_keys_at_once() -> Option<Termios> {
    let before = tcgetattr(io::stdin()).ok()?;
    let mut now = before.clone();
    now.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
    now.special_codes[SpecialCodeIndex::VSUSP] = 0;
    now.special_codes[SpecialCodeIndex::VMIN] = 1;
    now.special_codes[SpecialCodeIndex::VTIME] = 0;
    tcsetattr(io::stdin(), OptionalActions::Now, &now).ok()?;
    Some(before)
}

/// Reads keys until stdin ends. Reading blocks a thread of its own, which ends with the process.
fn read_keys<K: Send + 'static>(parse: fn(u8) -> Option<K>) -> io::Result<UnboundedReceiver<K>> {
    let (pressed, keys) = unbounded_channel();
    std::thread::Builder::new().name("keys".to_owned()).spawn(move || {
        let bytes = io::stdin().lock().bytes().map_while(Result::ok);
        let _ = bytes.filter_map(parse).try_for_each(|key| pressed.send(key));
    })?;
    Ok(keys)
}

/// What draws that text over an earlier picture: as many lines, and as much of each, as fit. The last line of the terminal
/// is left empty, as writing its end would scroll, or says how much is missing.
fn picture(text: &Text, (rows, columns): (usize, usize), color: bool) -> io::Result<Vec<u8>> {
    let mut picture = HOME.as_bytes().to_vec();
    let lines = text.lines();
    let most = rows.saturating_sub(1);
    for line in lines.iter().take(most) {
        let mut space = columns;
        for (style, part) in line.parts() {
            let shown: String = escape(part, Lines::Escape).chars().take(space).collect();
            space -= shown.chars().count();
            Printable::new(&mut picture, color).paint(style, &shown)?;
        }
        picture.write_all(CLEAR_LINE.as_bytes())?;
    }
    picture.write_all(CLEAR_BELOW.as_bytes())?;
    if let Some(missing @ 1..) = lines.len().checked_sub(most) {
        let more = format!("... {missing} more: make the terminal higher");
        picture.extend(more.bytes().take(columns));
    }
    Ok(picture)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_fits_the_terminal() {
        let text = Text::from("one\ntwo ") + Text::bad("and more\x1b[2J") + "\nthree\nfour\n";
        let drawn = |size, color| String::from_utf8(picture(&text, size, color).unwrap()).unwrap();
        assert_eq!(drawn((5, 7), false), "\x1b[Hone\x1b[K\ntwo and\x1b[K\nthree\x1b[K\nfour\x1b[K\n\x1b[J");
        assert_eq!(drawn((3, 7), false), "\x1b[Hone\x1b[K\ntwo and\x1b[K\n\x1b[J... 2 m");
        assert!(drawn((5, 16), true).contains("two \x1b[1;31mand more\\u00\x1b[0m\x1b[K\n"));
    }
}
