//! The images of a node: how many may be removed, what protects the rest, and which would be removed next.

use bytesize::ByteSize;
use cri_gc_proto::admin::{Candidate, Images};

use super::super::ages::{Now, rough};
use super::super::fit::Fit;
use super::super::table::{Cell, Column, short, table};
use super::super::text::{Style, Text};

/// Candidates that are shown: the rest would fill the screen.
const SHOWN: usize = 5;

/// Both tables; nothing where there is no image.
pub fn text(images: &Images, now: Now, fit: Fit) -> Text {
    if images.sums.is_empty() {
        return Text::default();
    }
    let sums = images.sums.iter().map(|sum| {
        let may_go = if sum.may_go { "removable" } else { "" };
        let size = ByteSize(sum.size_bytes).to_string();
        [(&sum.reason).into(), sum.count.to_string().into(), size.into(), may_go.into()]
    });
    let columns =
        [Column::new("IMAGES"), Column::new("COUNT").right(), Column::new("SIZE").right(), Column::new("")];
    let mut text = table(columns, sums, fit);
    for (count, what) in [
        (images.bytes_to_free, ByteSize(images.bytes_to_free).to_string()),
        (images.inodes_to_free, format!("{} inodes", images.inodes_to_free)),
    ] {
        if count > 0 {
            let line = format!("Image GC has to free {what} to reach the low threshold.\n");
            text.push(Text::styled(Style::Attention, line));
        }
    }
    if images.next.is_empty() {
        return text;
    }
    let shown = if fit == Fit::Whole { usize::MAX } else { SHOWN };
    let next = images.next.iter().take(shown).map(|candidate| row(candidate, now, fit));
    text + "\n" + table(NEXT, next, fit)
}

const NEXT: [Column<'_>; 5] = [
    Column::new("NEXT TO BE REMOVED").at_least(20),
    Column::new("SIZE").right(),
    Column::new("FIRST SEEN").right(),
    Column::new("LAST USED").right(),
    Column::new("ID").optional(),
];

fn row(candidate: &Candidate, now: Now, fit: Fit) -> [Cell<'_>; 5] {
    let name = match candidate.names.as_slice() {
        [] => "<none>".to_owned(),
        [name] => name.clone(),
        names if fit == Fit::Whole => names.join(", "),
        [name, more @ ..] => format!("{} (+{})", name, more.len()),
    };
    let ago = |then: &str| now.since(then).map(|since| format!("{} ago", rough(since)));
    [
        name.into(),
        ByteSize(candidate.size_bytes).to_string().into(),
        ago(&candidate.first_detected).unwrap_or_else(|| "?".to_owned()).into(),
        ago(&candidate.last_used).unwrap_or_else(|| "never".to_owned()).into(),
        if fit == Fit::Whole { &*candidate.id } else { short(&candidate.id) }.into(),
    ]
}
