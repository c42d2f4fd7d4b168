//! The progress of a pass: one line on stderr that is overwritten, and only if that is a terminal.
//!
//! A crate for such bars would be mapped into the service's memory too, with the C library's mathematics behind it.

use std::io::Write;

use super::color;

/// The line. One pass after the other moves it.
pub struct Bar {
    is_shown: bool,
    of: String,
    counts: Counts,
}

/// How many objects a pass had planned to remove, and the outcomes so far.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    all: u64,
    removed: u64,
    would_be_removed: u64,
    kept: u64,
    failed: u64,
}

impl Default for Bar {
    fn default() -> Self {
        Self { is_shown: color::can_draw(&std::io::stderr()), of: String::new(), counts: Counts::default() }
    }
}

impl Drop for Bar {
    /// What is printed next is on a line of its own.
    fn drop(&mut self) {
        self.end();
    }
}

impl Bar {
    /// A pass has its plan: `all` objects will be removed.
    pub fn planned(&mut self, of: &str, all: u64) {
        of.clone_into(&mut self.of);
        self.counts = Counts { all, ..Counts::default() };
        self.show();
    }

    /// The result of one of them, in the words of the admin API. A word of a newer service counts as kept.
    pub fn ended(&mut self, result: &str) {
        *match result {
            "removed" | "already_gone" => &mut self.counts.removed,
            "would_remove" => &mut self.counts.would_be_removed,
            "failed" => &mut self.counts.failed,
            _ => &mut self.counts.kept,
        } += 1;
        self.show();
    }

    /// Clears the line.
    pub fn end(&self) {
        self.write("");
    }

    fn show(&self) {
        // Nothing to do is nothing to wait for.
        if self.counts.all > 0 {
            self.write(&self.counts.line(&self.of));
        }
    }

    fn write(&self, line: &str) {
        if self.is_shown {
            // If stderr is closed, there is no one to show it to.
            let _ = write!(std::io::stderr().lock(), "\r\x1b[K{line}");
        }
    }
}

/// Characters of the bar.
const WIDTH: u64 = 40;

impl Counts {
    /// The number is that of removed objects; the bar shows how many of all have a result.
    fn line(self, of: &str) -> String {
        let Self { all, removed, would_be_removed, kept, failed } = self;
        let ended = removed + would_be_removed + kept + failed;
        let full = usize::try_from(ended.min(all).saturating_mul(WIDTH) / all.max(1)).unwrap_or_default();
        let rest = usize::try_from(WIDTH).unwrap_or_default().saturating_sub(full);
        let mut line = format!("{of:14} [{}{}] ", "#".repeat(full), "-".repeat(rest));
        line.push_str(&match would_be_removed {
            0 => format!("{removed} of {all} removed"),
            would => format!("{would} of {all} would be removed"),
        });
        for (count, what) in [(kept, "kept"), (failed, "failed")] {
            if count > 0 {
                line.push_str(&format!(", {count} {what}"));
            }
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_counts_what_was_removed_and_the_bar_shows_what_has_ended() {
        let counts = Counts { all: 43, removed: 25, kept: 17, failed: 1, ..Counts::default() };
        let full = "#".repeat(40);
        assert_eq!(
            counts.line("container_gc"),
            format!("container_gc   [{full}] 25 of 43 removed, 17 kept, 1 failed")
        );
        let half = Counts { all: 4, removed: 1, kept: 1, ..Counts::default() };
        let bar = format!("[{}{}]", "#".repeat(20), "-".repeat(20));
        assert_eq!(half.line("image_gc"), format!("image_gc       {bar} 1 of 4 removed, 1 kept"));
        let dry = Counts { all: 2, would_be_removed: 2, ..Counts::default() };
        assert_eq!(dry.line("log_gc"), format!("log_gc         [{full}] 2 of 2 would be removed"));
        let more = Counts { all: 1, removed: 9, ..Counts::default() };
        assert!(more.line("log_gc").contains(&full), "more than were planned");
        assert!(Counts::default().line("log_gc").contains(&"-".repeat(40)));
    }
}
