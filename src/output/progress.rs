//! A bar for passes that are under way; shown on stderr, and only where that is a terminal.

use indicatif::{ProgressBar, ProgressStyle};

/// The bar. One pass after the other moves it.
pub struct Bar(ProgressBar);

impl Default for Bar {
    fn default() -> Self {
        // The template is a constant; were it wrong, the default style would do.
        let style = ProgressStyle::with_template("{msg:14} {wide_bar} {pos}/{len}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        Self(ProgressBar::new(0).with_style(style))
    }
}

impl Bar {
    /// A pass has its plan: so many objects are to go.
    pub fn planned(&self, of: &str, count: u64) {
        self.0.set_message(of.to_owned());
        self.0.set_position(0);
        self.0.set_length(count);
    }

    /// One of them is done.
    pub fn done(&self) {
        self.0.inc(1);
    }

    /// Everything is done: the bar goes.
    pub fn end(&self) {
        self.0.finish_and_clear();
    }
}
