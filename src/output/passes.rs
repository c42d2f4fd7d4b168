//! What passes did, as tables: those of a sweep and those of a service.

use std::time::Duration;

use cri_gc_kit::text::duration;
use cri_gc_policy::text::one_line;
use cri_gc_proto::admin::{Pass, Removal};

use super::fit::Fit;
use super::table::{Cell, Column, bytes, prose, short, table, tally_line};
use super::text::{Style, Text};

/// The mode of a pass of a loop that would remove, in a dry run.
pub const DRY_RUN: &str = "dry run";

/// One line for each object that was to be removed, one for each pass, and all notes and errors. Without passes, the removals of a
/// pass whose end is not known.
#[must_use]
pub fn text(removals: &[Removal], passes: &[Pass], fit: Fit) -> Text {
    let mut text = Text::default();
    if !removals.is_empty() {
        let rows = removals.iter().map(|removal| {
            let Removal { kind, name, reason, id, .. } = removal;
            let (result, bytes, id) = (result(removal), bytes(removal.bytes), short(id).to_owned());
            let id = if fit == Fit::Whole { removal.id.clone() } else { id };
            let result = Cell::from(result).styled_if(removal.result == "failed", Style::Bad);
            [kind.into(), name.into(), reason.into(), result, bytes.into(), id.into()]
        });
        text.push(table(OBJECTS, rows, fit));
        text.push("\n");
    }
    if passes.is_empty() {
        return text;
    }
    text.push(summary(passes, fit));
    text.push(notes(passes.iter().map(|pass| (pass.r#loop.as_str(), pass.notes.as_slice())), fit));
    for pass in passes {
        for error in &pass.errors {
            let line = Text::bad(format!("error ({}):", pass.r#loop)) + format!(" {}", one_line(error));
            text.push(prose(&line, fit));
        }
    }
    text
}

const OBJECTS: [Column<'_>; 6] = [
    Column::new("KIND"),
    Column::new("NAME").at_least(16),
    Column::new("REASON"),
    Column::new("RESULT").at_least(16),
    Column::new("BYTES").right().optional(),
    Column::new("ID").at_least(13).optional(),
];

const PASSES: [Column<'_>; 7] = [
    Column::new("LOOP"),
    Column::new("MODE"),
    Column::new("REMOVED").right(),
    Column::new("FAILED").right(),
    Column::new("KEPT").right(),
    Column::new("TOOK").right().optional(),
    Column::new("KEPT FOR").at_least(16).list().optional(),
];

/// One line for each pass.
fn summary(passes: &[Pass], fit: Fit) -> Text {
    let rows = passes.iter().map(|pass| {
        let took = Duration::try_from_secs_f64(pass.took_seconds).unwrap_or_default();
        let failed = Cell::from(pass.failed.to_string()).styled_if(pass.failed > 0, Style::Bad);
        [
            (&pass.r#loop).into(),
            (&pass.mode).into(),
            removed(pass).into(),
            failed,
            (pass.kept + pass.refused).to_string().into(),
            duration(took).into(),
            tally_line(&pass.kept_for).into(),
        ]
    });
    let mut text = table(PASSES, rows, fit);
    for Pass { r#loop, freed_bytes, .. } in passes.iter().filter(|pass| pass.freed_bytes > 0) {
        text.push(match r#loop.as_str() {
            "image_gc" => {
                format!("{loop}: {} more are available on the image filesystem\n", bytes(*freed_bytes))
            }
            _ => format!("{loop}: removed {} of logs\n", bytes(*freed_bytes)),
        });
    }
    text
}

/// How many objects a pass has removed; in parentheses how many it would remove.
fn removed(pass: &Pass) -> String {
    match pass.mode.as_str() {
        "report" | DRY_RUN => format!("({})", pass.would_remove),
        "off" => "-".to_owned(),
        _ => (pass.removed + pass.gone).to_string(),
    }
}

/// The outcome for an object. A word that only a newer service knows is shown as it is.
fn result(removal: &Removal) -> String {
    let (word, detail) = match removal.result.as_str() {
        "already_gone" => ("already removed", ""),
        "would_remove" => ("would be removed", ""),
        "would_follow" => ("would be removed next", ""),
        "refused" => ("kept", removal.detail.as_str()),
        other => (other, removal.detail.as_str()),
    };
    if detail.is_empty() { word.to_owned() } else { format!("{word}: {detail}") }
}

/// Notes, each of them once, with all the loops that they apply to.
#[must_use]
pub fn notes<'a>(of_loops: impl IntoIterator<Item = (&'a str, &'a [String])>, fit: Fit) -> Text {
    let mut known: Vec<(&str, Vec<&str>)> = Vec::new();
    for (of, notes) in of_loops {
        for note in notes {
            match known.iter_mut().find(|(known, _)| known == note) {
                Some((_, loops)) => loops.push(of),
                None => known.push((note, vec![of])),
            }
        }
    }
    let line = |(note, loops): (&str, Vec<&str>)| {
        let begin = Text::styled(Style::Heading, format!("note ({}):", loops.join(", ")));
        prose(&(begin + format!(" {}", one_line(note))), fit)
    };
    known.into_iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_is_printed_like_a_sweep() {
        let removal = |id: &str, result: &str, detail: &str| Removal {
            kind: "container".to_owned(),
            id: id.to_owned(),
            name: "shop/web-0/web#0".to_owned(),
            reason: "pod_deleted".to_owned(),
            result: result.to_owned(),
            detail: detail.to_owned(),
            bytes: 0,
        };
        let removals = [
            removal(&"7e".repeat(32), "removed", ""),
            removal("c1", "already_gone", ""),
            removal("c2", "refused", "running"),
            removal("c3", "failed", "device\nbusy"),
            removal("c4", "postponed", ""),
        ];
        let pass = |of: &str, mode: &str| Pass {
            r#loop: of.to_owned(),
            mode: mode.to_owned(),
            took_seconds: 0.4123,
            kept: 12,
            notes: vec!["the node has a kubelet".to_owned()],
            ..Pass::default()
        };
        let passes = [
            Pass { removed: 1, gone: 1, refused: 1, failed: 1, ..pass("container_gc", "enforce") },
            Pass { would_remove: 3, ..pass("log_gc", "report") },
            Pass { mode: "off".to_owned(), notes: Vec::new(), ..pass("sandbox_gc", "off") },
            Pass {
                removed: 5,
                freed_bytes: 1 << 30,
                errors: vec!["ImageFsInfo: boom".to_owned()],
                ..pass("image_gc", "enforce")
            },
        ];
        assert_eq!(
            text(&removals, &passes, Fit::Any).to_string(),
            "\
KIND       NAME              REASON       RESULT               BYTES  ID
container  shop/web-0/web#0  pod_deleted  removed                     7e7e7e7e7e7e7
container  shop/web-0/web#0  pod_deleted  already removed             c1
container  shop/web-0/web#0  pod_deleted  kept: running               c2
container  shop/web-0/web#0  pod_deleted  failed: device busy         c3
container  shop/web-0/web#0  pod_deleted  postponed                   c4

LOOP          MODE     REMOVED  FAILED  KEPT   TOOK  KEPT FOR
container_gc  enforce        2       1    13  412ms
log_gc        report       (3)       0    12  412ms
sandbox_gc    off            -       0    12  412ms
image_gc      enforce        5       0    12  412ms
image_gc: 1.0 GiB more are available on the image filesystem
note (container_gc, log_gc, image_gc): the node has a kubelet
error (image_gc): ImageFsInfo: boom
"
        );
    }
}
