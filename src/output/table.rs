//! Tables, and the words in them. Every cell is one line of printable characters ([`one_line`]).

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::{self, Write};

use bytesize::ByteSize;
use cri_gc_policy::text::one_line;

/// Characters of an id that are shown, as `crictl` does.
const SHORT_ID: usize = 13;

/// No column is padded further: one long cell would push the columns after it out of sight in all rows.
const WIDEST: usize = 120;

/// What is between columns.
const GAP: usize = 2;

/// A table without lines, as kubectl and crictl print them: as wide as its cells, never wrapped, without trailing blanks. The columns
/// at the positions `right` are aligned to the right.
#[must_use]
pub fn table<C: AsRef<str>, const N: usize>(
    header: [&str; N],
    right: &[usize],
    rows: impl IntoIterator<Item = [C; N]>,
) -> String {
    let rows: Vec<[C; N]> = rows.into_iter().collect();
    let mut text = Vec::new();
    // Writing to memory can't fail, and what is written is text.
    let _ = write_rows(&mut text, &header, right, || rows.iter());
    String::from_utf8_lossy(&text).into_owned()
}

/// Writes such a table row by row, for any number of rows: `rows` is called twice, first for the widths.
///
/// # Errors
/// The error of `out`.
pub fn write_rows<R, C>(
    out: &mut dyn Write,
    header: &[&str],
    right: &[usize],
    rows: impl Fn() -> R,
) -> io::Result<()>
where
    R: Iterator,
    R::Item: IntoIterator<Item = C>,
    C: AsRef<str>,
{
    let mut widths: Vec<usize> = header.iter().map(|heading| heading.len()).collect();
    for row in rows() {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(one_line(cell.as_ref()).chars().count());
        }
    }
    for width in &mut widths {
        *width = (*width).min(WIDEST);
    }
    write_row(out, header, &widths, right)?;
    for row in rows() {
        write_row(out, row, &widths, right)?;
    }
    Ok(())
}

fn write_row<C: AsRef<str>>(
    out: &mut dyn Write,
    cells: impl IntoIterator<Item = C>,
    widths: &[usize],
    right: &[usize],
) -> io::Result<()> {
    // Blanks are written once something follows them.
    let mut blanks = 0;
    for (column, (cell, width)) in cells.into_iter().zip(widths).enumerate() {
        let cell = one_line(cell.as_ref());
        let missing = width.saturating_sub(cell.chars().count());
        let (before, after) = if right.contains(&column) { (missing, 0) } else { (0, missing) };
        blanks += before;
        if !cell.is_empty() {
            write!(out, "{:blanks$}{cell}", "")?;
            blanks = 0;
        }
        blanks += after + GAP;
    }
    writeln!(out)
}

/// An id as it is shown.
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

/// Bytes in readable units; empty for 0.
#[must_use]
pub fn bytes(bytes: u64) -> String {
    if bytes == 0 { String::new() } else { ByteSize(bytes).to_string() }
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
pub fn tally_line<'a, K: AsRef<str> + Ord + 'a, N: Copy + Ord + Display + 'a>(
    counts: impl IntoIterator<Item = (&'a K, &'a N)>,
) -> String {
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by(|a, b| b.1.cmp(a.1).then_with(|| a.0.cmp(b.0)));
    let parts: Vec<String> =
        counts.into_iter().map(|(word, count)| format!("{count} {}", word.as_ref())).collect();
    parts.join(", ")
}

/// Width of the column of labels.
const LABEL: usize = 15;

/// Lines, the first of which has a label.
#[must_use]
pub fn labelled(label: &str, lines: &[String]) -> String {
    let line = |(number, line): (usize, &String)| {
        let label = if number == 0 { label } else { "" };
        let indented = line.len() - line.trim_start_matches(' ').len();
        format!("{}\n", format!("{label:<LABEL$}{:indented$}{}", "", one_line(line)).trim_end())
    };
    lines.iter().enumerate().map(line).collect()
}
