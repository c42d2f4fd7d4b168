//! What is shown while the service runs: its status, as `cri-gc status --watch` shows it, with what is broken and the last events.
//!
//! What matters most comes first: a low terminal cuts off the oldest events.

use std::time::Duration;

use cri_gc_proto::admin::StatusResponse;

use super::breakages::meaning;
use super::events::EventLog;
use super::keys::KEYS;
use crate::cli::demo::Breakage;
use crate::output::ages::span;
use crate::output::fit::Fit;
use crate::output::status;
use crate::output::table::labelled;
use crate::output::text::Text;

/// All that is shown, as of one moment.
pub struct View<'a> {
    /// How long it has run.
    pub lasted: Duration,
    /// How long it will run; `None`: until it is ended.
    pub left: Option<Duration>,
    /// Whether keys are read.
    pub keys: bool,
    /// What is broken, and for how long it has been.
    pub broken: Vec<(Breakage, Duration)>,
    /// The state of the service.
    pub status: &'a StatusResponse,
    /// The last events.
    pub events: &'a EventLog,
}

impl View<'_> {
    /// The whole text.
    #[must_use]
    pub fn text(&self, fit: Fit) -> Text {
        // Rounded up: nothing is left only at the end.
        let left = self.left.map(|left| Duration::from_secs_f64(left.as_secs_f64().ceil()));
        let left = left.map(|left| format!(", {} left", span(left))).unwrap_or_default();
        let lasted = span(self.lasted);
        let mut text = Text::from(format!("A simulated node where pods come and go, for {lasted}{left}\n"));
        text.push(if self.keys { KEYS } else { "" });
        text.push(self.broken(fit));
        text.push("\n");
        text.push(status::screen(self.status, fit));
        text.push("\n");
        text + self.events.lines()
    }

    fn broken(&self, fit: Fit) -> Text {
        if self.broken.is_empty() {
            return labelled("broken", &["nothing".into()], fit);
        }
        let line = |(what, since): &(Breakage, Duration)| {
            Text::bad(meaning(*what)) + format!(", for {}", span(*since))
        };
        labelled("BROKEN", &self.broken.iter().map(line).collect::<Vec<_>>(), fit)
    }
}

#[cfg(test)]
mod tests {
    use cri_gc_proto::admin::{Event, LoopStatus, Pass, Runtime};

    use super::*;

    fn status() -> StatusResponse {
        StatusResponse {
            version: "0.1.0".to_owned(),
            pid: 4711,
            node_name: "edge-7".to_owned(),
            started_at: "2026-01-31T12:00:00Z".to_owned(),
            now: "2026-01-31T12:00:30Z".to_owned(),
            log_level: "info".to_owned(),
            runtime: Some(Runtime {
                endpoint: "unix:///tmp/demo/cri.sock".to_owned(),
                name: "containerd".to_owned(),
                version: "v2.1.9".to_owned(),
                reachable: true,
                since: "2026-01-31T12:00:00Z".to_owned(),
                ..Runtime::default()
            }),
            loops: vec![LoopStatus {
                r#loop: "container_gc".to_owned(),
                mode: "enforce".to_owned(),
                state: "waiting".to_owned(),
                last_pass: Some(Pass {
                    started_at: "2026-01-31T12:00:29Z".to_owned(),
                    mode: "enforce".to_owned(),
                    removed: 3,
                    ..Pass::default()
                }),
                removed: 40,
                ..LoopStatus::default()
            }],
            ..StatusResponse::default()
        }
    }

    #[test]
    fn the_view_shows_what_is_broken_the_service_and_the_last_events() {
        let mut events = EventLog::default();
        events.add(&Event {
            time: "2026-01-31T12:00:29Z".to_owned(),
            kind: "Paused".to_owned(),
            r#loop: "log_gc".to_owned(),
            message: "by\u{1b}[2J\nrequest".to_owned(),
            ..Event::default()
        });
        let mut view = View {
            lasted: Duration::from_millis(30_400),
            left: Some(Duration::from_millis(29_600)),
            keys: false,
            broken: Vec::new(),
            status: &status(),
            events: &events,
        };
        let top = "\
A simulated node where pods come and go, for 30s, 30s left
broken         nothing

cri-gc 0.1.0 on edge-7, pid 4711, running for 30s
";
        let text = view.text(Fit::Any).to_string();
        assert!(text.starts_with(top), "{text}");
        for part in [
            "containerd v2.1.9",
            "container_gc  enforce  waiting",
            "log_gc        Paused               by\\u001b[2J request\n",
        ] {
            assert!(text.contains(part), "{part:?} is not in\n{text}");
        }
        view.keys = true;
        view.left = None;
        view.broken = vec![
            (Breakage::Images, Duration::from_secs(3)),
            (Breakage::Runtime, Duration::from_secs(1)),
            (Breakage::Thread, Duration::from_secs(4)),
        ];
        let top = "\
A simulated node where pods come and go, for 30s
keys: i images  h hang  r runtime  p panic  t thread  space pause  q quit
BROKEN         the runtime answers requests about images with errors, for 3s
               the runtime is down, for 1s
               the thread of sandbox_gc hangs, for 4s
";
        let text = view.text(Fit::Any).to_string();
        assert!(text.starts_with(top), "{text}");
    }
}
