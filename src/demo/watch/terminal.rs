//! Where the view is drawn, and which keys are pressed: in place on a terminal, else one block after the other.
//!
//! However the demo ends, the terminal is restored: that happens when this is dropped.

use std::io::{self, IsTerminal, Read, Write};

use cri_gc_policy::text::{Lines, escape};
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetwinsize, tcsetattr,
};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::cli::demo::Breakage;
use crate::failure::Failure;
use crate::output::{Reader, deliver};

/// The other screen of the terminal, without a cursor.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
/// To the upper left corner.
const HOME: &str = "\x1b[H";
/// Clears the rest of a line, or all lines below, of an earlier picture.
const CLEAR_LINE: &str = "\x1b[K\n";
const CLEAR_BELOW: &str = "\x1b[J";

/// The size of a terminal that does not report it.
const SIZE: (usize, usize) = (24, 80);

/// What a key requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyPress {
    /// Break this, or fix it.
    Toggle(Breakage),
    /// Pause all loops, or resume them.
    Pause,
    /// End.
    Quit,
}

impl KeyPress {
    fn parse(byte: u8) -> Option<Self> {
        Some(match byte.to_ascii_lowercase() {
            b'i' => Self::Toggle(Breakage::Images),
            b'h' => Self::Toggle(Breakage::Hang),
            b'r' => Self::Toggle(Breakage::Runtime),
            b'p' => Self::Toggle(Breakage::Panic),
            b't' => Self::Toggle(Breakage::Thread),
            b' ' => Self::Pause,
            b'q' => Self::Quit,
            _ => return None,
        })
    }
}

/// The terminal, or what stdout is instead.
pub struct Terminal {
    /// Whether stdout is a terminal, where the view is drawn in place.
    pub in_place: bool,
    /// How stdin is to be restored, if it is a terminal.
    before: Option<Termios>,
    /// The keys that are pressed, where they are read.
    pub keys: Option<UnboundedReceiver<KeyPress>>,
}

impl Terminal {
    /// Prepares the terminal, if there is one.
    ///
    /// # Errors
    /// The terminal can't be written to, or the operating system has no thread left.
    pub fn open() -> Result<Self, Failure> {
        let in_place = io::stdout().is_terminal();
        // Made first: from here on it restores whatever was changed.
        let mut terminal = Self { in_place, before: None, keys: None };
        if in_place {
            terminal.before = report_keys_at_once();
            if terminal.before.is_some() {
                terminal.keys = Some(read_keys()?);
            }
            write_commands(ENTER)?;
        }
        Ok(terminal)
    }

    /// Waits for the next key: forever where no keys are read.
    pub async fn next_key(&mut self) -> KeyPress {
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
    pub fn draw(&self, text: &str) -> Result<Reader, Failure> {
        if self.in_place {
            let size = tcgetwinsize(io::stdout()).ok().filter(|size| size.ws_row > 0 && size.ws_col > 0);
            let size = size.map_or(SIZE, |size| (size.ws_row.into(), size.ws_col.into()));
            // A closed terminal ends the view, as a closed pipe does.
            return Ok(write_commands(&picture(text, size)).map_or(Reader::Gone, |()| Reader::Reads));
        }
        deliver(&format!("{text}\n"))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if !self.in_place {
            return;
        }
        // A closed terminal needs no restoring.
        let _ = write_commands(LEAVE);
        if let Some(before) = &self.before {
            let _ = tcsetattr(io::stdin(), OptionalActions::Flush, before);
        }
    }
}

/// Writes escape sequences as they are; `deliver` would make them visible.
fn write_commands(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush())
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
fn read_keys() -> io::Result<UnboundedReceiver<KeyPress>> {
    let (pressed, keys) = unbounded_channel();
    std::thread::Builder::new().name("keys".to_owned()).spawn(move || {
        let bytes = io::stdin().lock().bytes().map_while(Result::ok);
        let _ = bytes.filter_map(KeyPress::parse).try_for_each(|key| pressed.send(key));
    })?;
    Ok(keys)
}

/// What draws that text over an earlier picture: as many lines, and as much of each, as fit. The last line of the terminal
/// is left empty: writing its end would scroll.
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

    #[test]
    fn every_breakage_has_a_key() {
        let keys: Vec<KeyPress> = (0..=127).filter_map(KeyPress::parse).collect();
        for what in <Breakage as clap::ValueEnum>::value_variants() {
            assert!(keys.contains(&KeyPress::Toggle(*what)), "{what:?}");
        }
        let parsed = [b'Q', b' ', b'x'].map(KeyPress::parse);
        assert_eq!(parsed, [Some(KeyPress::Quit), Some(KeyPress::Pause), None]);
    }
}
