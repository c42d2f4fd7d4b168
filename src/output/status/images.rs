//! The images of a node: how many may be removed, what protects the rest, and which would be removed next.

use bytesize::ByteSize;
use cri_gc_proto::admin::{Candidate, Images};

use super::super::ages::{Now, rough};
use super::super::table::{short, table};

/// Candidates that are shown: the rest would fill the screen.
const SHOWN: usize = 5;

/// Both tables; nothing where there is no image.
pub fn text(images: &Images, now: Now) -> String {
    if images.sums.is_empty() {
        return String::new();
    }
    let sums = images.sums.iter().map(|sum| {
        let may_go = if sum.may_go { "nothing protects them" } else { "" };
        [sum.reason.clone(), sum.count.to_string(), ByteSize(sum.size_bytes).to_string(), may_go.to_owned()]
    });
    let mut text = table(["IMAGES", "COUNT", "SIZE", ""], &[1, 2], sums);
    for (count, what) in [
        (images.bytes_to_free, ByteSize(images.bytes_to_free).to_string()),
        (images.inodes_to_free, format!("{} inodes", images.inodes_to_free)),
    ] {
        if count > 0 {
            text.push_str(&format!("{what} have to be freed to the low threshold\n"));
        }
    }
    if images.next.is_empty() {
        return text;
    }
    let next = images.next.iter().take(SHOWN).map(|candidate| row(candidate, now));
    text + "\n" + &table(["NEXT TO BE REMOVED", "ID", "SIZE", "FIRST SEEN", "LAST USED"], &[2, 3, 4], next)
}

fn row(candidate: &Candidate, now: Now) -> [String; 5] {
    let name = match candidate.names.as_slice() {
        [] => "<none>".to_owned(),
        [name] => name.clone(),
        [name, more @ ..] => format!("{} (+{})", name, more.len()),
    };
    let ago = |then: &str| now.since(then).map(|since| format!("{} ago", rough(since)));
    [
        name,
        short(&candidate.id).to_owned(),
        ByteSize(candidate.size_bytes).to_string(),
        ago(&candidate.first_detected).unwrap_or_else(|| "?".to_owned()),
        ago(&candidate.last_used).unwrap_or_else(|| "never".to_owned()),
    ]
}
