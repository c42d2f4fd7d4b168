//! Tables, and the words in them. Every cell is one line of printable characters ([`one_line`]).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::io;

use bytesize::ByteSize;
use cri_gc_policy::text::{Lines, escape, one_line};

use super::fit::{Fit, cut, elided};
use super::text::{Paint, Style, Text};

/// Characters of an id that are shown, as `crictl` does.
const SHORT_ID: usize = 13;

/// No column is padded further: one long cell would push the columns after it out of sight in all rows.
const WIDEST: usize = 120;

/// What is between columns.
const GAP: usize = 2;

/// A column of a table. Where a table is too wide, its rightmost columns give way first, for those that say most come first.
#[derive(Debug, Clone, Copy)]
pub struct Column<'a> {
    heading: &'a str,
    is_right: bool,
    /// To how many characters its cells are shortened, in the middle; `None`: they never are.
    least: Option<usize>,
    is_list: bool,
    is_optional: bool,
}

impl<'a> Column<'a> {
    /// One that is always shown whole.
    #[must_use]
    pub const fn new(heading: &'a str) -> Self {
        Self { heading, is_right: false, least: None, is_list: false, is_optional: false }
    }

    /// Aligned to the right: numbers.
    #[must_use]
    pub const fn right(self) -> Self {
        Self { is_right: true, ..self }
    }

    /// Shortened down to so many characters where there is no space.
    #[must_use]
    pub const fn at_least(self, least: usize) -> Self {
        Self { least: Some(least), ..self }
    }

    /// Shortened at the end instead: what comes first in a list says most.
    #[must_use]
    pub const fn list(self) -> Self {
        Self { is_list: true, ..self }
    }

    /// Left out where there is no space at all.
    #[must_use]
    pub const fn optional(self) -> Self {
        Self { is_optional: true, ..self }
    }
}

/// A cell of a table.
#[derive(Debug, Clone, Default)]
pub struct Cell<'a> {
    style: Style,
    text: Cow<'a, str>,
}

impl<'a> Cell<'a> {
    /// A cell in that style.
    pub fn styled(style: Style, text: impl Into<Cow<'a, str>>) -> Self {
        Self { style, text: text.into() }
    }

    /// The same cell in that style, if so.
    #[must_use]
    pub fn styled_if(self, is_so: bool, style: Style) -> Self {
        if is_so { Self { style, ..self } } else { self }
    }

    /// What is shown of it.
    fn shown(&self, fit: Fit) -> Cow<'_, str> {
        match fit {
            Fit::Whole => {
                let words: Vec<&str> = self.text.split_ascii_whitespace().collect();
                Cow::Owned(escape(&words.join(" "), Lines::Escape).into_owned())
            }
            Fit::Any | Fit::Columns(_) => one_line(&self.text),
        }
    }
}

impl<'a, T: Into<Cow<'a, str>>> From<T> for Cell<'a> {
    fn from(text: T) -> Self {
        Self::styled(Style::Plain, text)
    }
}

/// A table without lines, as kubectl and crictl print them: as wide as its cells or what it has to fit into, never wrapped, without
/// trailing blanks.
#[must_use]
pub fn table<'a, const N: usize>(
    columns: [Column<'_>; N],
    rows: impl IntoIterator<Item = [Cell<'a>; N]>,
    fit: Fit,
) -> Text {
    let rows: Vec<[Cell<'a>; N]> = rows.into_iter().collect();
    let mut text = Text::default();
    // Writing to memory can't fail.
    let _ = write_rows(&mut text, &columns, || rows.iter().cloned(), fit);
    text
}

/// Writes such a table row by row, for any number of rows: `rows` is called twice, first for the widths.
///
/// # Errors
/// The error of `out`.
pub fn write_rows<'a, R>(
    out: &mut dyn Paint,
    columns: &[Column<'_>],
    rows: impl Fn() -> R,
    fit: Fit,
) -> io::Result<()>
where
    R: Iterator,
    R::Item: IntoIterator<Item = Cell<'a>>,
{
    let mut needs: Vec<Need> = columns.iter().map(|column| Need { column, width: 0 }).collect();
    for row in rows() {
        for (need, cell) in needs.iter_mut().zip(row) {
            need.width = need.width.max(cell.shown(fit).chars().count());
        }
    }
    let widths = widths(&needs, fit);
    let headings = columns.iter().map(|column| Cell::styled(Style::Heading, column.heading));
    write_row(out, headings, columns, &widths, fit)?;
    rows().try_for_each(|row| write_row(out, row, columns, &widths, fit))
}

/// A column, and how wide its widest cell is.
struct Need<'a> {
    column: &'a Column<'a>,
    width: usize,
}

impl Need<'_> {
    fn whole(&self) -> usize {
        self.width.max(self.column.heading.len())
    }

    /// The least width that it can have.
    fn least(&self) -> usize {
        let whole = self.whole();
        self.column.least.map_or(whole, |least| whole.min(least.max(self.column.heading.len())))
    }
}

/// How wide the table is with those columns that are not left out.
fn needed<'a>(needs: &[Need<'a>], widths: &[Option<usize>], of: fn(&Need<'a>) -> usize) -> usize {
    let shown = needs.iter().zip(widths).filter(|(_, width)| width.is_some());
    shown.map(|(need, _)| of(need) + GAP).sum::<usize>().saturating_sub(GAP)
}

fn leave_out(widths: &mut [Option<usize>], at: usize) {
    if let Some(width) = widths.get_mut(at) {
        *width = None;
    }
}

/// The width of each column; `None` if it is left out.
fn widths(needs: &[Need<'_>], fit: Fit) -> Vec<Option<usize>> {
    let mut widths: Vec<Option<usize>> = needs.iter().map(|need| Some(need.whole())).collect();
    let Fit::Columns(space) = fit else { return widths };
    // Columns whose cells are all empty are left out first, then others from the right, until the rest has a place.
    let optional = || needs.iter().enumerate().rev().filter(|(_, need)| need.column.is_optional);
    for (at, _) in optional().filter(|(_, need)| need.width == 0) {
        if needed(needs, &widths, Need::whole) > space {
            leave_out(&mut widths, at);
        }
    }
    for (at, _) in optional() {
        if needed(needs, &widths, Need::least) > space {
            leave_out(&mut widths, at);
        }
    }
    let mut excess = needed(needs, &widths, Need::whole).saturating_sub(space);
    for (width, need) in widths.iter_mut().zip(needs).rev() {
        if let Some(width) = width {
            let less = excess.min(width.saturating_sub(need.least()));
            *width -= less;
            excess -= less;
        }
    }
    widths
}

fn write_row<'a>(
    out: &mut dyn Paint,
    cells: impl IntoIterator<Item = Cell<'a>>,
    columns: &[Column<'_>],
    widths: &[Option<usize>],
    fit: Fit,
) -> io::Result<()> {
    // Blanks are written once something follows them.
    let mut blanks = 0;
    for (cell, (column, width)) in cells.into_iter().zip(columns.iter().zip(widths)) {
        let Some(width) = width else { continue };
        let shown = cell.shown(fit);
        let shown = match fit {
            Fit::Columns(_) if column.is_list => cut(&shown, *width),
            Fit::Columns(_) => elided(&shown, *width),
            Fit::Any | Fit::Whole => shown,
        };
        let missing = width.min(&WIDEST).saturating_sub(shown.chars().count());
        let (before, after) = if column.is_right { (missing, 0) } else { (0, missing) };
        blanks += before;
        if !shown.is_empty() {
            write!(out, "{:blanks$}", "")?;
            out.paint(cell.style, &shown)?;
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

/// Lines, the first of which has a label; where there is no space they are wrapped.
#[must_use]
pub fn labelled(label: &str, lines: &[Text], fit: Fit) -> Text {
    let mut text = Text::default();
    for (number, line) in lines.iter().enumerate() {
        let line = line.one_line();
        let wrapped = match fit {
            Fit::Columns(space) => line.wrapped(space.saturating_sub(LABEL).max(LABEL)),
            Fit::Any | Fit::Whole => vec![line],
        };
        for (part, line) in wrapped.into_iter().enumerate() {
            let label = if number + part == 0 { label } else { "" };
            let begin = if line.is_empty() { label.to_owned() } else { format!("{label:<LABEL$}") };
            text.push(Text::from(begin) + line.trimmed() + "\n");
        }
    }
    text
}

/// Sentences: where there is no space they are wrapped.
#[must_use]
pub fn prose(line: &Text, fit: Fit) -> Text {
    let lines = match fit {
        Fit::Columns(space) => line.wrapped(space),
        Fit::Any | Fit::Whole => vec![line.clone()],
    };
    lines.into_iter().map(|line| line + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(space: usize) -> String {
        let columns = [
            Column::new("NAME").at_least(8),
            Column::new("BYTES").right(),
            Column::new("EMPTY").optional(),
            Column::new("DETAIL").at_least(10).optional(),
            Column::new("ID").optional(),
        ];
        let row = |name: &'static str, bytes: &'static str, detail: &'static str| {
            [name, bytes, "", detail, "7e5560b376b0f"].map(Cell::from)
        };
        let rows = [row("shop/web-0/web#0", "1.0 KiB", "the pod is deleted"), row("a", "", "")];
        table(columns, rows, Fit::Columns(space)).to_string()
    }

    #[test]
    fn a_table_that_is_too_wide_gives_way_from_the_right() {
        assert_eq!(
            shown(80),
            "NAME                BYTES  EMPTY  DETAIL              ID\n\
             shop/web-0/web#0  1.0 KiB         the pod is deleted  7e5560b376b0f\n\
             a                                                     7e5560b376b0f\n"
        );
        assert!(shown(60).contains("shop/web-0/web#0  1.0 KiB  the pod is deleted  7e5560b376b0f"));
        assert!(shown(55).contains("shop/web-0/web#0  1.0 KiB  the p...leted  7e5560b376b0f"));
        for space in 17..90 {
            let widest = shown(space).lines().map(|line| line.chars().count()).max();
            assert!(widest <= Some(space), "{space}: {}", shown(space));
        }
        assert_eq!(shown(28), "NAME                BYTES\nshop/web-0/web#0  1.0 KiB\na\n");
        assert_eq!(shown(17), "NAME        BYTES\nsho...#0  1.0 KiB\na\n");
    }

    #[test]
    fn styles_change_no_width() {
        let rows = [[Cell::styled(Style::Bad, "failed"), "x".into()], ["ok".into(), "y".into()]];
        let text = table([Column::new("RESULT"), Column::new("ID")], rows, Fit::Any);
        assert_eq!(text.to_string(), "RESULT  ID\nfailed  x\nok      y\n");
        assert!(text.parts().any(|part| part == (Style::Bad, "failed")));
        assert!(text.parts().any(|part| part == (Style::Heading, "RESULT")));
    }

    #[test]
    fn nothing_is_shortened_where_all_is_wanted() {
        let long = "x".repeat(9_000);
        let whole = table([Column::new("NAME").at_least(9)], [[Cell::from(&*long)]], Fit::Whole).to_string();
        assert!(whole.contains(&long));
        let short = table([Column::new("NAME").at_least(9)], [[Cell::from(&*long)]], Fit::Any).to_string();
        assert!(short.len() < 400 && short.contains("more characters"), "{short}");
    }
}
