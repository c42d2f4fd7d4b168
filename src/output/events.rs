//! An event as a line, which is wrapped where there is no space. Events are printed one by one, so the columns have fixed widths.

use cri_gc_kit::recorder::EventKind;
use cri_gc_proto::admin::{Event, Peer};

use super::ages::moment;
use super::fit::Fit;
use super::table::{bytes, short};
use super::text::{Style, Text};
use cri_gc_policy::text::one_line;

/// Where the last column begins.
const LAST: usize = 57;

/// The indent of wrapped lines where the last column is narrow.
const INDENT: usize = 4;

/// When, which loop, what happened, and to what.
#[must_use]
pub fn line(event: &Event, fit: Fit) -> Text {
    let of = if event.r#loop.is_empty() { "-" } else { &event.r#loop };
    let kind = Text::styled(style(&event.kind), &*event.kind);
    let blanks = " ".repeat(19_usize.saturating_sub(event.kind.len()));
    let line = Text::from(format!("{}  {of:<12}  ", moment(&event.time))) + kind;
    let line = (line + format!("{blanks}  {}", what(event))).trimmed();
    let lines = match fit {
        Fit::Columns(space) => line.wrapped_to(space, if space > 2 * LAST { LAST } else { INDENT }),
        Fit::Any | Fit::Whole => vec![line],
    };
    lines.into_iter().map(|line| line + "\n").collect()
}

/// What a kind of event means. One that only a newer service knows has no colour.
fn style(kind: &str) -> Style {
    match EventKind::ALL.iter().find(|known| known.as_str() == kind) {
        Some(kind) if kind.is_failure() => Style::Bad,
        Some(EventKind::Paused) => Style::Attention,
        _ => Style::Plain,
    }
}

/// "container shop/web-0/web#0 (7e5560b376b0f): pod_deleted, 1.0 KiB, failure number 2: device busy".
fn what(event: &Event) -> String {
    let id = match event.object_name.as_str() {
        "" => short(&event.object_id).to_owned(),
        _ if event.object_id.is_empty() => String::new(),
        _ => format!("({})", short(&event.object_id)),
    };
    let object = [event.object_kind.as_str(), &event.object_name, &id];
    let object = object.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
    let count = if event.count > 1 { format!("failure number {}", event.count) } else { String::new() };
    let why = [event.reason.clone(), bytes(event.bytes), count];
    let why = why.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ");
    let by = event.requested_by.map(requested_by).unwrap_or_default();
    let parts = [object, why, event.message.clone(), by];
    let parts = parts.iter().map(|part| one_line(part)).filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join(": ")
}

/// "requested by uid 0, gid 0, pid 4711".
fn requested_by(peer: Peer) -> String {
    let Peer { uid, gid, pid } = peer;
    let pid = if pid == 0 { String::new() } else { format!(", pid {pid}") };
    format!("requested by uid {uid}, gid {gid}{pid}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line() {
        let event = |of: &str, kind: &str| Event {
            sequence: 7,
            time: "2026-01-31T11:59:48.512345Z".to_owned(),
            r#loop: of.to_owned(),
            kind: kind.to_owned(),
            ..Event::default()
        };
        let removed = Event {
            object_kind: "image".to_owned(),
            object_id: format!("sha256:{}", "a0".repeat(32)),
            object_name: "registry.example.com/web:1\u{1b}[2J".to_owned(),
            reason: "disk_pressure".to_owned(),
            bytes: 12 << 20,
            ..event("image_gc", "Removed")
        };
        let failed = Event {
            count: 4,
            message: "ListImages: the runtime\ndoes not answer".to_owned(),
            ..event("image_gc", "ImageGCFailed")
        };
        let lost = Event {
            message: "connection refused".to_owned(),
            time: String::new(),
            ..event("", "RuntimeLost")
        };
        let lines: String = [removed, failed, event("log_gc", "Recovered"), lost]
            .iter()
            .map(|event| line(event, Fit::Any).to_string())
            .collect();
        assert_eq!(
            lines,
            "\
2026-01-31T11:59:48Z  image_gc      Removed              image registry.example.com/web:1\\u001b[2J (a0a0a0a0a0a0a): disk_pressure, 12.0 MiB
2026-01-31T11:59:48Z  image_gc      ImageGCFailed        failure number 4: ListImages: the runtime does not answer
2026-01-31T11:59:48Z  log_gc        Recovered
  -             RuntimeLost          connection refused
"
        );
        let narrow = line(&event("log_gc", "Recovered"), Fit::Columns(40));
        assert_eq!(narrow.to_string(), "2026-01-31T11:59:48Z  log_gc\n    Recovered\n");
    }
}
