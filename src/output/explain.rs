//! Why objects are removed or kept, in words.

use bytesize::ByteSize;
use cri_gc_proto::admin::{ExplainResponse, Explained, Stuck};

use super::ages::moment;
use super::text::{Style, Text};
use cri_gc_policy::text::{counted, one_line};

/// A paragraph for each object.
#[must_use]
pub fn text(answer: &ExplainResponse) -> Text {
    let mut text = Text::default();
    for object in &answer.objects {
        text.push(if text.is_empty() { "" } else { "\n" });
        text.push(paragraph(object));
    }
    for (number, note) in answer.notes.iter().enumerate() {
        text.push(if number > 0 || text.is_empty() { "" } else { "\n" });
        text.push(Text::styled(Style::Heading, "note:") + format!(" {}\n", one_line(note)));
    }
    text
}

fn paragraph(object: &Explained) -> Text {
    let mut text = Text::styled(Style::Heading, format!("{} {}", object.kind, one_line(&object.id))) + "\n";
    let mut line = |label: &str, value: &str| {
        let is_removed = label == "verdict" && matches!(object.decision.as_str(), "remove" | "follow");
        let style = if is_removed { Style::Attention } else { Style::Plain };
        text.push(Text::from(format!("  {label:<8}  ")) + Text::styled(style, value) + "\n");
    };
    for (number, name) in object.names.iter().enumerate() {
        line(if number == 0 { "name" } else { "" }, &one_line(name));
    }
    if !object.first_detected.is_empty() {
        let used = match moment(&object.last_used) {
            never if never.is_empty() => "never seen used".to_owned(),
            used => format!("last used {used}"),
        };
        let size = ByteSize(object.size_bytes);
        line("image", &format!("{size}, first seen {}, {used}", moment(&object.first_detected)));
    }
    if !object.pod_uid.is_empty() {
        let since = match moment(&object.pod_since) {
            since if since.is_empty() => String::new(),
            since => format!(" since {since}"),
        };
        let state = if object.pod_state.is_empty() { "" } else { ", " };
        line("pod", &format!("{}{state}{}{since}", one_line(&object.pod_uid), object.pod_state));
        if !object.pod_evidence.is_empty() {
            line("", &one_line(&object.pod_evidence));
        }
    }
    let verdict = match moment(&object.removed_at) {
        removed if removed.is_empty() => verdict(object).to_owned(),
        removed => format!("was removed at {removed}"),
    };
    line("verdict", &format!("{verdict}: {}", object.reason));
    if !object.detail.is_empty() {
        line("", &one_line(&object.detail));
    }
    if !object.removed_at.is_empty() {
        line("loop", &format!("{}, in a pass begun by {}", object.r#loop, object.trigger));
        return text;
    }
    if let Some(Stuck { removal, since, attempts, next_try_at }) = &object.stuck {
        let attempts = counted(*attempts, "attempt");
        line(
            "stuck",
            &format!("{attempts} since {}, the next one from {} on", moment(since), moment(next_try_at)),
        );
        line("", &one_line(removal.as_ref().map_or("", |removal| removal.detail.as_str())));
    }
    let next = match moment(&object.next_pass_at) {
        next if next.is_empty() => "no pass is planned".to_owned(),
        next => format!("next pass at {next}"),
    };
    line("loop", &format!("{}: mode {}, {}, {next}", object.r#loop, object.loop_mode, object.loop_state));
    text
}

/// What the decision means in the mode and the state that the loop is in.
fn verdict(object: &Explained) -> &'static str {
    match (object.decision.as_str(), object.loop_mode.as_str(), object.loop_state.as_str()) {
        ("keep", ..) => "is kept",
        ("remove" | "follow", "enforce", "paused") => "would be removed, but the loop is paused",
        ("remove" | "follow", "enforce", "hung" | "restarting" | "stopped") => {
            "would be removed, but the loop is not running"
        }
        ("remove", "enforce", _) if object.stuck.is_some() => "could not be removed, and is tried again",
        ("remove", "enforce", _) => "will be removed by the next pass",
        ("follow", "enforce", _) => "will be removed after the removals that it follows",
        ("remove" | "follow", "off", _) => "would be removed, but the loop is off",
        ("remove" | "follow", ..) => "would be removed, but the loop is in report mode",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use cri_gc_proto::admin::Removal;

    use super::*;

    fn container() -> Explained {
        Explained {
            kind: "container".to_owned(),
            id: "7e".repeat(32),
            names: vec!["shop/web-0/web#0".to_owned()],
            pod_uid: "0f6c8d3e-1b2a-4c5d-8e9f-a0b1c2d3e4f5".to_owned(),
            pod_state: "active".to_owned(),
            pod_since: "2026-01-31T11:58:00.5Z".to_owned(),
            pod_evidence: "the pod source lists it".to_owned(),
            decision: "remove".to_owned(),
            reason: "over_pod_container_limit".to_owned(),
            detail: "2 newer ones are kept".to_owned(),
            r#loop: "container_gc".to_owned(),
            loop_mode: "enforce".to_owned(),
            loop_state: "waiting".to_owned(),
            next_pass_at: "2026-01-31T12:00:48.5Z".to_owned(),
            ..Explained::default()
        }
    }

    #[test]
    fn what_could_not_be_removed_says_why_and_when_it_is_tried_again() {
        let removal = Removal {
            detail: "StopPodSandbox: the network can't be torn down".to_owned(),
            ..Removal::default()
        };
        let stuck = Stuck {
            removal: Some(removal),
            since: "2026-01-31T09:00:00Z".to_owned(),
            attempts: 8,
            next_try_at: "2026-01-31T13:00:00Z".to_owned(),
        };
        let answer = ExplainResponse {
            objects: vec![Explained { stuck: Some(stuck), ..container() }],
            notes: Vec::new(),
        };
        let text = text(&answer).to_string();
        let expected = "\
  verdict   could not be removed, and is tried again: over_pod_container_limit
            2 newer ones are kept
  stuck     8 attempts since 2026-01-31T09:00:00Z, the next one from 2026-01-31T13:00:00Z on
            StopPodSandbox: the network can't be torn down
";
        assert!(text.contains(expected), "{text}");
    }

    #[test]
    fn every_object_has_its_paragraph() {
        let image = Explained {
            kind: "image".to_owned(),
            id: "sha256:a3".to_owned(),
            names: vec!["registry.example.com/web:0".to_owned(), "registry.example.com/web:old".to_owned()],
            decision: "keep".to_owned(),
            reason: "in_use".to_owned(),
            r#loop: "image_gc".to_owned(),
            loop_mode: "report".to_owned(),
            loop_state: "paused".to_owned(),
            size_bytes: 3 << 29,
            first_detected: "2026-01-30T10:00:00.25Z".to_owned(),
            ..Explained::default()
        };
        let answer = ExplainResponse {
            objects: vec![container(), image],
            notes: vec!["the pod source is not synced".to_owned()],
        };
        assert_eq!(
            text(&answer).to_string(),
            "\
container 7e7e7e7e7e7e7e7e7e7e7e7e7e7e7e7e7e7e7e7e7e7e7e7e7e7e7e7e7e7e7e7e
  name      shop/web-0/web#0
  pod       0f6c8d3e-1b2a-4c5d-8e9f-a0b1c2d3e4f5, active since 2026-01-31T11:58:00Z
            the pod source lists it
  verdict   will be removed by the next pass: over_pod_container_limit
            2 newer ones are kept
  loop      container_gc: mode enforce, waiting, next pass at 2026-01-31T12:00:48Z

image sha256:a3
  name      registry.example.com/web:0
            registry.example.com/web:old
  image     1.5 GiB, first seen 2026-01-30T10:00:00Z, never seen used
  verdict   is kept: in_use
  loop      image_gc: mode report, paused, no pass is planned

note: the pod source is not synced
"
        );
    }

    #[test]
    fn a_verdict_depends_on_what_the_loop_may_do_now() {
        let shown = |decision: &str, mode: &str, state: &str| {
            verdict(&Explained {
                decision: decision.to_owned(),
                loop_mode: mode.to_owned(),
                loop_state: state.to_owned(),
                ..container()
            })
        };
        assert_eq!(shown("remove", "enforce", "running"), "will be removed by the next pass");
        assert_eq!(shown("remove", "enforce", "paused"), "would be removed, but the loop is paused");
        assert_eq!(shown("remove", "enforce", "hung"), "would be removed, but the loop is not running");
        assert_eq!(shown("remove", "report", "paused"), "would be removed, but the loop is in report mode");
        assert_eq!(shown("remove", "off", "off"), "would be removed, but the loop is off");
        assert_eq!(
            shown("follow", "enforce", "waiting"),
            "will be removed after the removals that it follows"
        );
        assert_eq!(shown("follow", "enforce", "paused"), "would be removed, but the loop is paused");
        assert_eq!(shown("follow", "report", "waiting"), "would be removed, but the loop is in report mode");
        assert_eq!(shown("keep", "off", "off"), "is kept");
        assert_eq!(shown("postpone", "enforce", "waiting"), "unknown");
    }
}
