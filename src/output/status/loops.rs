//! The loops of a service: one line each, then what is the matter with them.

use std::time::Duration;

use bytesize::ByteSize;
use cri_gc_gateway::ErrorClass;
use cri_gc_proto::admin::{LoopStatus, Pass};
use jiff::Timestamp;

use super::super::ages::{Now, rough, span};
use super::super::fit::Fit;
use super::super::table::{Cell, Column, labelled, short, table};
use super::super::text::{Style, Text};
use cri_gc_policy::text::counted;

/// Errors that are shown of one pass, and stuck objects that are shown at all: the rest would fill the screen.
const SHOWN_ERRORS: usize = 3;
const SHOWN_STUCK: usize = 5;

/// One line for each loop.
pub fn table_of(loops: &[LoopStatus], now: Now, fit: Fit) -> Text {
    if loops.is_empty() {
        return Text::default();
    }
    let rows = loops.iter().map(|of| {
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
        let last = of.last_pass.as_ref();
        let has_failed = last.is_some_and(|pass| pass.failed > 0 || !pass.errors.is_empty());
        let last = last.map_or_else(|| "none yet".to_owned(), |pass| last_pass(pass, now));
        [
            (&of.r#loop).into(),
            (&of.mode).into(),
            Cell::styled(style(&of.state), state),
            Cell::from(last).styled_if(has_failed, Style::Bad),
            next.into(),
            of.removed.to_string().into(),
            Cell::from(of.failures.to_string()).styled_if(of.failures > 0, Style::Bad),
            Cell::from(of.restarts.to_string()).styled_if(of.restarts > 0, Style::Attention),
        ]
    });
    table(LOOPS, rows, fit)
}

const LOOPS: [Column<'_>; 8] = [
    Column::new("LOOP"),
    Column::new("MODE"),
    Column::new("STATE"),
    Column::new("LAST PASS").at_least(20),
    Column::new("NEXT").right(),
    Column::new("REMOVED").right().optional(),
    Column::new("FAILED PASSES").right().optional(),
    Column::new("RESTARTS").right().optional(),
];

/// What a state of a loop means.
fn style(state: &str) -> Style {
    match state {
        "waiting" | "running" | "off" => Style::Plain,
        "paused" => Style::Attention,
        _ => Style::Bad,
    }
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
        _ if pass.freed_bytes > 0 => {
            let of = if pass.r#loop == "image_gc" { "" } else { " of logs" };
            format!("{removed} removed ({}{of})", ByteSize(pass.freed_bytes))
        }
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

/// What the matters of loops are seen in.
#[derive(Clone, Copy)]
pub struct Context {
    /// The generation of settings in force.
    pub generation: u64,
    /// Whether the runtime is unreachable: that is said once, not for every loop.
    pub is_unreachable: bool,
    pub now: Now,
    pub fit: Fit,
}

/// What is the matter, for each loop of which something is.
pub fn matters(loops: &[LoopStatus], context: Context) -> Text {
    loops.iter().map(|of| labelled(&of.r#loop, &matter(of, context), context.fit)).collect()
}

fn matter(of: &LoopStatus, context: Context) -> Vec<Text> {
    let Context { generation, is_unreachable, now, fit } = context;
    let mut lines: Vec<Text> = Vec::new();
    match of.state.as_str() {
        "waiting" | "running" | "off" => {}
        "paused" => {
            let until = match now.until(&of.paused_until) {
                Some(left) => format!(", ends in {}", span(left)),
                None => String::new(),
            };
            lines.push(
                Text::styled(Style::Attention, "PAUSED")
                    + format!(
                        " {}{until}; `cri-gc resume {}` ends that",
                        now.lasting(&of.state_since),
                        of.r#loop
                    ),
            );
        }
        state => {
            lines.push(Text::bad(state.to_uppercase()) + format!(" {}", now.lasting(&of.state_since)));
        }
    }
    let errors = of.last_pass.as_ref().map_or(&[][..], |pass| &pass.errors);
    let others: Vec<&String> =
        errors.iter().filter(|error| !(is_unreachable && is_of_runtime(error))).collect();
    // That the runtime is unreachable is said once, where the runtime is.
    if of.failures > 0 && (errors.is_empty() || !others.is_empty()) {
        let colon = if others.is_empty() { "" } else { ":" };
        let passes = counted(of.failures, "pass");
        let line = format!(" {} ({passes}){colon}", now.lasting(&of.failing_since));
        lines.push(Text::bad("FAILING") + line);
    }
    let shown = if fit == Fit::Whole { usize::MAX } else { SHOWN_ERRORS };
    lines.extend(others.iter().take(shown).map(|error| format!("  {error}").into()));
    lines.extend(more(others.len(), shown).map(|more| format!("  {more}").into()));
    if of.restarts > 0 {
        let times = if of.restarts == 1 { "once".to_owned() } else { format!("{} times", of.restarts) };
        lines.push(format!("restarted {times}, the last time for: {}", of.last_restart).into());
    }
    if of.generation != generation && generation > 0 {
        lines.push(format!("still uses generation {} of the settings", of.generation).into());
    }
    lines
}

/// Whether an error says no more than that the runtime is unreachable.
pub fn is_of_runtime(error: &str) -> bool {
    [ErrorClass::Unavailable, ErrorClass::NoSocket].iter().any(|class| error.contains(&class.to_string()))
}

/// Objects that could not be removed.
pub fn stuck(loops: &[LoopStatus], now: Now, fit: Fit) -> Text {
    let all: Vec<_> = loops.iter().flat_map(|of| &of.stuck).collect();
    if all.is_empty() {
        return Text::default();
    }
    let shown = if fit == Fit::Whole { usize::MAX } else { SHOWN_STUCK };
    let rows = all.iter().take(shown).map(|stuck| {
        let of = stuck.removal.clone().unwrap_or_default();
        let tried = match now.since(&stuck.since) {
            Some(since) => format!("{} in {}", stuck.attempts, rough(since)),
            None => stuck.attempts.to_string(),
        };
        let next = match now.until(&stuck.next_try_at) {
            Some(Duration::ZERO) | None => "now".to_owned(),
            Some(left) => format!("in {}", rough(left)),
        };
        let why = Cell::styled(Style::Bad, of.detail);
        let id = if fit == Fit::Whole { of.id } else { short(&of.id).to_owned() };
        [of.kind.into(), of.name.into(), of.reason.into(), tried.into(), next.into(), why, id.into()]
    });
    // A status names the first of very many.
    let count = loops.iter().map(|of| of.stuck_count).sum::<u64>();
    let more = match (count.saturating_sub(shown.min(all.len()) as u64), all.len().saturating_sub(shown)) {
        (0, _) => String::new(),
        (left, 0) => format!("... and {left} more\n"),
        (left, hidden) if hidden as u64 == left => format!("... and {left} more; -o wide lists all\n"),
        (left, hidden) => format!("... and {left} more; -o wide lists {hidden} of them\n"),
    };
    table(STUCK, rows, fit) + more
}

const STUCK: [Column<'_>; 7] = [
    Column::new("STUCK"),
    Column::new("NAME").at_least(16),
    Column::new("REASON"),
    Column::new("TRIED"),
    Column::new("NEXT"),
    Column::new("WHY").at_least(20),
    Column::new("ID").optional(),
];

fn more(all: usize, shown: usize) -> Option<String> {
    (all > shown).then(|| format!("... and {} more; -o wide lists all", all - shown))
}
