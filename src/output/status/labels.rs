//! Lines with a label in front of the first of them.

use cri_gc_policy::text::one_line;

/// Width of the column of labels.
const LABEL: usize = 15;

/// Lines, the first of which has a label.
pub fn labelled(label: &str, lines: &[String]) -> String {
    let line = |(number, line): (usize, &String)| {
        let label = if number == 0 { label } else { "" };
        let indented = line.len() - line.trim_start_matches(' ').len();
        format!("{}\n", format!("{label:<LABEL$}{:indented$}{}", "", one_line(line)).trim_end())
    };
    lines.iter().enumerate().map(line).collect()
}
