//! Tables, and the words in them.

use bytesize::ByteSize;
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use std::collections::BTreeMap;

/// Width of a table where stdout is no terminal: wide enough that nothing is wrapped.
const UNLIMITED: u16 = 400;

/// Characters of an id that people read: what `crictl` shows.
const SHORT_ID: usize = 13;

/// A table without lines, as kubectl and crictl print them.
#[must_use]
pub fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(header);
    let terminal = console_width();
    table.set_width(terminal.unwrap_or(UNLIMITED));
    table
}

/// Ready to print: lines without trailing blanks.
#[must_use]
pub fn render(mut table: Table, right: &[usize]) -> String {
    for (number, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if right.contains(&number) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut text = String::new();
    for line in table.lines() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Width of the terminal that stdout is, if it is one.
fn console_width() -> Option<u16> {
    if cfg!(test) {
        // What a test expects does not depend on the terminal that it is run in.
        return None;
    }
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
    (size.ws_col > 0).then_some(size.ws_col)
}

/// An id as people read it.
#[must_use]
pub fn short(id: &str) -> &str {
    let (digits, all) = match id.strip_prefix("sha256:") {
        Some(digits) => (digits, digits),
        None => (id, id),
    };
    if digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        digits.get(..SHORT_ID).unwrap_or(all)
    } else {
        id
    }
}

/// Bytes as people read them; nothing for 0.
#[must_use]
pub fn bytes(bytes: u64) -> String {
    if bytes == 0 { String::new() } else { ByteSize(bytes).to_string() }
}

/// What somebody else named or said, on one line and without what a terminal would take for a command.
#[must_use]
pub fn plain(text: &str) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ")
}

/// How often each of the words occurs.
#[must_use]
pub fn tally<'a>(words: impl IntoIterator<Item = &'a str>) -> BTreeMap<&'a str, usize> {
    let mut counts = BTreeMap::new();
    for word in words {
        *counts.entry(word).or_default() += 1;
    }
    counts
}

/// "3 running, 2 within_limits", most first.
#[must_use]
pub fn tally_line(counts: &BTreeMap<&str, usize>) -> String {
    let mut counts: Vec<_> = counts.iter().collect();
    counts.sort_by(|a, b| b.1.cmp(a.1).then_with(|| a.0.cmp(b.0)));
    let parts: Vec<String> = counts.into_iter().map(|(word, count)| format!("{count} {word}")).collect();
    parts.join(", ")
}
