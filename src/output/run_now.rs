//! What the passes of a service did, as a table.

use std::time::Duration;

use cri_gc_collectors::report::Outcome;
use cri_gc_proto::admin::{Pass, Removal};

use super::passes::{self, Gone, PassRow, RemovalRow};

/// One line for each object that was to go, one for each pass that ended, and all errors.
#[must_use]
pub fn text(removals: &[Removal], passes: &[Pass]) -> String {
    let removals: Vec<RemovalRow<'_>> = removals.iter().map(removal).collect();
    let passes: Vec<PassRow<'_>> = passes.iter().map(row).collect();
    passes::text(&removals, &passes)
}

fn removal(removal: &Removal) -> RemovalRow<'_> {
    RemovalRow {
        kind: &removal.kind,
        id: &removal.id,
        name: &removal.name,
        reason: &removal.reason,
        result: result(removal),
        bytes: removal.bytes,
    }
}

/// The same words as those of a sweep. One that only a newer service knows is shown as it is.
fn result(removal: &Removal) -> String {
    let detail = removal.detail.clone();
    match removal.result.as_str() {
        "removed" => Outcome::Removed.to_string(),
        "already_gone" => Outcome::AlreadyGone.to_string(),
        "would_remove" => Outcome::WouldRemove.to_string(),
        "refused" => Outcome::Refused { because: detail }.to_string(),
        "failed" => Outcome::Failed { error: detail }.to_string(),
        other if detail.is_empty() => other.to_owned(),
        other => format!("{other}: {detail}"),
    }
}

fn row(pass: &Pass) -> PassRow<'_> {
    PassRow {
        of: &pass.r#loop,
        mode: &pass.mode,
        gone: gone(pass),
        failed: pass.failed,
        kept: pass.kept + pass.refused,
        kept_for: None,
        took: Duration::try_from_secs_f64(pass.took_seconds).unwrap_or_default(),
        freed_bytes: pass.freed_bytes,
        notes: &pass.notes,
        errors: pass.errors.clone(),
    }
}

/// How many objects a pass took, by its mode.
#[must_use]
pub fn gone(pass: &Pass) -> Gone {
    match pass.mode.as_str() {
        "report" => Gone::WouldGo(pass.would_remove),
        "off" => Gone::Off,
        _ => Gone::Removed(pass.removed + pass.gone),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_looks_like_a_sweep() {
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
            text(&removals, &passes),
            "\
KIND       NAME              REASON       RESULT               BYTES  ID
container  shop/web-0/web#0  pod_deleted  removed                     7e7e7e7e7e7e7
container  shop/web-0/web#0  pod_deleted  already gone                c1
container  shop/web-0/web#0  pod_deleted  kept: running               c2
container  shop/web-0/web#0  pod_deleted  failed: device busy         c3
container  shop/web-0/web#0  pod_deleted  postponed                   c4

LOOP          MODE     REMOVED  FAILED  KEPT     TOOK
container_gc  enforce        2       1    13  412.3ms
log_gc        report       (3)       0    12  412.3ms
sandbox_gc    off            -       0    12  412.3ms
image_gc      enforce        5       0    12  412.3ms
image_gc: the file system has 1.0 GiB more available.
note (container_gc, log_gc, image_gc): the node has a kubelet
error (image_gc): ImageFsInfo: boom
"
        );
    }
}
