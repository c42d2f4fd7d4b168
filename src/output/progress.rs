//! How far the passes under way have come: one line on stderr that is written over, and only where that is a terminal.
//!
//! A crate for such bars would be mapped into the service's memory too, with the C library's mathematics behind it.

use std::cell::{Cell, RefCell};
use std::io::{IsTerminal, Write};

/// The line. One pass after the other moves it.
pub struct Bar {
    shown: bool,
    of: RefCell<String>,
    all: Cell<u64>,
    done: Cell<u64>,
}

impl Default for Bar {
    fn default() -> Self {
        let shown = std::io::stderr().is_terminal();
        Self { shown, of: RefCell::default(), all: Cell::default(), done: Cell::default() }
    }
}

impl Bar {
    /// A pass has its plan: so many objects are to go.
    pub fn planned(&self, of: &str, count: u64) {
        self.of.replace(of.to_owned());
        self.all.set(count);
        self.done.set(0);
        self.show();
    }

    /// One of them is done.
    pub fn done(&self) {
        self.done.set(self.done.get().saturating_add(1));
        self.show();
    }

    /// Everything is done: the line goes.
    pub fn end(&self) {
        self.write("");
    }

    fn show(&self) {
        // Nothing to do is nothing to wait for.
        if self.all.get() > 0 {
            self.write(&line(&self.of.borrow(), self.done.get(), self.all.get()));
        }
    }

    fn write(&self, line: &str) {
        if self.shown {
            // Where stderr is closed, nobody looks at it.
            let _ = write!(std::io::stderr().lock(), "\r\x1b[K{line}");
        }
    }
}

/// Characters of the bar.
const WIDTH: u64 = 40;

fn line(of: &str, done: u64, all: u64) -> String {
    let full = usize::try_from(done.min(all).saturating_mul(WIDTH) / all.max(1)).unwrap_or_default();
    let rest = usize::try_from(WIDTH).unwrap_or_default().saturating_sub(full);
    format!("{of:14} [{}{}] {done}/{all}", "#".repeat(full), "-".repeat(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_tells_how_far_it_has_come() {
        let half = format!("image_gc       [{}{}] 2/4", "#".repeat(20), "-".repeat(20));
        assert_eq!(line("image_gc", 2, 4), half);
        assert!(line("image_gc", 9, 4).contains(&"#".repeat(40)), "more than were planned");
        assert!(line("image_gc", 0, 0).contains(&"-".repeat(40)));
    }
}
