//! The loops of a service: one line each, then what is the matter with them.

use std::time::Duration;

use bytesize::ByteSize;
use cri_gc_proto::admin::{LoopStatus, Pass};
use jiff::Timestamp;

use super::super::ages::{Now, rough, span};
use super::super::table::{labelled, short, table};

/// Errors that are shown of one pass, and stuck objects that are shown at all: the rest would fill the screen.
const SHOWN_ERRORS: usize = 3;
const SHOWN_STUCK: usize = 5;

/// One line for each loop.
pub fn table_of(loops: &[LoopStatus], now: Now) -> String {
    if loops.is_empty() {
        return String::new();
    }
    let row = |of: &LoopStatus| {
        let state = match (of.state.as_str(), now.since(&of.state_since)) {
            ("running", Some(since)) => format!("running {}", rough(since)),
            (state, _) => state.to_owned(),
        };
        let next = match now.until(&of.next_pass_at) {
            _ if of.state == "restarting" => "-".to_owned(),
            Some(Duration::ZERO) => "now".to_owned(),
            Some(left) => format!("in {}", rough(left)),
            None => "-".to_owned(),
        };
        [
            of.r#loop.clone(),
            of.mode.clone(),
            state,
            of.last_pass.as_ref().map_or_else(|| "none yet".to_owned(), |pass| last_pass(pass, now)),
            next,
            of.removed.to_string(),
            of.failures.to_string(),
            of.restarts.to_string(),
        ]
    };
    let header = ["LOOP", "MODE", "STATE", "LAST PASS", "NEXT", "REMOVED", "FAILED PASSES", "RESTARTS"];
    table(header, &[4, 5, 6, 7], loops.iter().map(row))
}

/// "12s ago: 2 removed (1.0 GiB), 1 failed".
fn last_pass(pass: &Pass, now: Now) -> String {
    let took = Duration::try_from_secs_f64(pass.took_seconds).unwrap_or_default();
    let ended = pass.started_at.parse::<Timestamp>().ok().and_then(|began| began.checked_add(took).ok());
    let ended = ended.and_then(|ended| now.since(&ended.to_string()));
    let removed = pass.removed + pass.gone;
    let mut did = match pass.mode.as_str() {
        "report" => format!("{} would be removed", pass.would_remove),
        "off" => "off".to_owned(),
        _ if pass.freed_bytes > 0 => format!("{removed} removed ({})", ByteSize(pass.freed_bytes)),
        _ => format!("{removed} removed"),
    };
    if pass.failed > 0 {
        did.push_str(&format!(", {} failed", pass.failed));
    } else if !pass.errors.is_empty() {
        match (removed, pass.would_remove) {
            (0, 0) => did = "FAILED".to_owned(),
            _ => did.push_str(", then FAILED"),
        }
    }
    match ended {
        Some(ago) => format!("{} ago: {did}", rough(ago)),
        None => did,
    }
}

/// What is the matter, for each loop of which something is.
pub fn matters(loops: &[LoopStatus], generation: u64, now: Now) -> String {
    loops.iter().map(|of| labelled(&of.r#loop, &matter(of, generation, now))).collect()
}

fn matter(of: &LoopStatus, generation: u64, now: Now) -> Vec<String> {
    let mut lines = Vec::new();
    match of.state.as_str() {
        "waiting" | "running" | "off" => {}
        "paused" => {
            let until = match now.until(&of.paused_until) {
                Some(left) => format!(", ends in {}", span(left)),
                None => String::new(),
            };
            lines.push(format!(
                "PAUSED {}{until}; `cri-gc resume {}` ends that",
                now.lasting(&of.state_since),
                of.r#loop
            ));
        }
        state => lines.push(format!("{} {}", state.to_uppercase(), now.lasting(&of.state_since))),
    }
    let errors = of.last_pass.as_ref().map_or(&[][..], |pass| &pass.errors);
    if of.failures > 0 {
        let passes = if of.failures == 1 { "1 pass".to_owned() } else { format!("{} passes", of.failures) };
        let colon = if errors.is_empty() { "" } else { ":" };
        lines.push(format!("FAILING {} ({passes}){colon}", now.lasting(&of.failing_since)));
    }
    lines.extend(errors.iter().take(SHOWN_ERRORS).map(|error| format!("  {error}")));
    lines.extend(more(errors.len(), SHOWN_ERRORS).map(|more| format!("  {more}")));
    if of.restarts > 0 {
        let times = if of.restarts == 1 { "once".to_owned() } else { format!("{} times", of.restarts) };
        lines.push(format!("restarted {times}, the last time for: {}", of.last_restart));
    }
    if of.generation != generation && generation > 0 {
        lines.push(format!("still uses generation {} of the settings", of.generation));
    }
    lines
}

/// Objects that could not be removed.
pub fn stuck(loops: &[LoopStatus]) -> String {
    let all: Vec<_> = loops.iter().flat_map(|of| &of.stuck).collect();
    if all.is_empty() {
        return String::new();
    }
    let rows = all.iter().take(SHOWN_STUCK);
    let rows = rows.map(|of| [&*of.kind, &*of.name, &*of.reason, &*of.detail, short(&of.id)]);
    let more = more(all.len(), SHOWN_STUCK).map_or_else(String::new, |more| format!("{more}\n"));
    table(["STUCK", "NAME", "REASON", "WHY", "ID"], &[], rows) + &more
}

fn more(all: usize, shown: usize) -> Option<String> {
    (all > shown).then(|| format!("... and {} more; -o json lists all", all - shown))
}
