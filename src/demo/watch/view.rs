//! What is shown while the service runs: one text.
//!
//! What matters most comes first: a low terminal cuts off the oldest events.

use std::time::Duration;

use bytesize::ByteSize;
use cri_gc_proto::admin::StatusResponse;

use super::breakages::meaning;
use super::events::EventLog;
use crate::cli::demo::Breakage;
use crate::demo::node::Tally;
use crate::output::ages::span;
use crate::output::status;

/// Cells of the bar of the disk: two percent each.
const CELLS: u16 = 50;

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
    /// What is on the node.
    pub node: Tally,
    /// Where image GC starts and where it stops, in percent.
    pub thresholds: (u8, u8),
    /// The state of the service.
    pub status: &'a StatusResponse,
    /// The last events.
    pub events: &'a EventLog,
}

const KEYS: &str = "keys     i images  h hang  r runtime  p panic  t thread  space pause  q quit\n";

impl View<'_> {
    /// The whole text.
    #[must_use]
    pub fn text(&self) -> String {
        // Rounded up: nothing is left only at the end.
        let left = self.left.map(|left| Duration::from_secs_f64(left.as_secs_f64().ceil()));
        let left = left.map(|left| format!(", {} left", span(left))).unwrap_or_default();
        // The node and its disk are above, as of this moment.
        let status = StatusResponse {
            configuration: None,
            pods: None,
            filesystems: Vec::new(),
            images: None,
            ..self.status.clone()
        };
        format!(
            "cri-gc on a modelled node where pods come and go, for {}{left}\n{}{}\ndisk     {}\nnode     {}\n\n{}\n{}",
            span(self.lasted),
            if self.keys { KEYS } else { "" },
            self.broken(),
            self.disk(),
            self.node,
            status::text(&status),
            self.events.lines()
        )
    }

    fn broken(&self) -> String {
        if self.broken.is_empty() {
            return "broken   nothing\n".to_owned();
        }
        let labels = std::iter::once("BROKEN").chain(std::iter::repeat(""));
        let lines = labels.zip(&self.broken);
        lines
            .map(|(label, (what, since))| format!("{label:<9}for {}: {}\n", span(*since), meaning(*what)))
            .collect()
    }

    /// "[#########----|--]  74%, 10.4 GiB of 40.0 GiB available".
    fn disk(&self) -> String {
        let (high, low) = self.thresholds;
        let used = self.node.disk_percent();
        let cell = |percent: u8| u16::from(percent) * CELLS / 100;
        let cells = (0..CELLS).map(|at| match at {
            _ if at == cell(low) || at == cell(high) => '|',
            _ if at < cell(used) => '#',
            _ => '-',
        });
        format!(
            "[{}] {used:>3}%, {} of {} available; image GC starts at {high}% and stops at {low}%",
            cells.collect::<String>(),
            ByteSize(self.node.available),
            ByteSize(self.node.capacity)
        )
    }
}

#[cfg(test)]
mod tests {
    use cri_gc_proto::admin::{Event, LoopStatus, Pass, Runtime};

    use super::*;

    const GIB: u64 = 1 << 30;

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

    fn node() -> Tally {
        Tally {
            running: 11,
            dead: 14,
            sandboxes: 12,
            log_dirs: 13,
            images: 37,
            capacity: 40 * GIB,
            available: 10 * GIB,
        }
    }

    #[test]
    fn the_view_shows_the_node_the_service_and_the_last_events() {
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
            node: node(),
            thresholds: (85, 70),
            status: &status(),
            events: &events,
        };
        let top = "\
cri-gc on a modelled node where pods come and go, for 30s, 30s left
broken   nothing

disk     [###################################|#-----|-------]  75%, 10.0 GiB of 40.0 GiB available; image GC starts at 85% and stops at 70%
node     11 running and 14 dead containers, 12 sandboxes, 13 log directories, 37 images

";
        let text = view.text();
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
        view.node.available = 0;
        let top = "\
cri-gc on a modelled node where pods come and go, for 30s
keys     i images  h hang  r runtime  p panic  t thread  space pause  q quit
BROKEN   for 3s: the runtime answers requests about images with errors
         for 1s: the runtime is down
         for 4s: the thread of sandbox_gc hangs

disk     [###################################|######|#######] 100%, 0 B of 40.0 GiB available; image GC starts at 85% and stops at 70%
";
        let text = view.text();
        assert!(text.starts_with(top), "{text}");
    }

    #[test]
    fn a_view_without_an_answer_of_the_service_is_no_failure() {
        let view = View {
            lasted: Duration::ZERO,
            left: None,
            keys: false,
            broken: Vec::new(),
            node: Tally { capacity: 0, ..node() },
            thresholds: (85, 70),
            status: &StatusResponse::default(),
            events: &EventLog::default(),
        };
        assert!(view.text().contains("  0%, 10.0 GiB of 0 B available"), "{}", view.text());
    }
}
