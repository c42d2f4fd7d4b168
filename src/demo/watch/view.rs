//! What is shown of the service and its node: a text, made of a snapshot and nothing else.
//!
//! What matters most comes first, so that a low terminal cuts off the oldest news only. Columns have fixed widths, so that
//! nothing jumps from one picture to the next.

#[cfg(test)]
pub mod tests;

use std::fmt::Write;
use std::time::Duration;

use bytesize::ByteSize;
use cri_gc_collectors::collector::{Doing, LoopState};
use cri_gc_gateway::RuntimeState;
use cri_gc_kit::words::{Kind, Loop};
use cri_gc_policy::images::space::usage_percent;
use jiff::Timestamp;

use super::breakages::meaning;
use super::told::Line;
use crate::cli::Breakage;
use crate::demo::Tally;
use crate::output::ages::{rough, span};
use crate::output::table::{bytes, short};
use cri_gc_policy::text::one_line;

/// Cells of the bar of the disk: two percent each.
const CELLS: u16 = 50;

/// Characters of an error that are shown beside its loop.
const ERROR: usize = 70;

/// The keys, as the view shows them.
const KEYS: &str = "i images  h hang  r runtime  p panic  t thread  space pause  q quit";

/// All that is shown, as of one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Now, by the modelled clock, which the service has too.
    pub now: Timestamp,
    /// How long it has been watched.
    pub lasted: Duration,
    /// How long it will be; `None` until somebody ends it.
    pub left: Option<Duration>,
    /// Whether keys are read.
    pub keys: bool,
    /// What is broken, and for how long it has been.
    pub broken: Vec<(Breakage, Duration)>,
    /// The runtime as the service sees it; `None` before it has said so.
    pub runtime: Option<RuntimeState>,
    /// What is on the node.
    pub node: Tally,
    /// Where image GC begins and where it stops, in percent.
    pub thresholds: (u8, u8),
    /// The loops that have said how they are.
    pub loops: Vec<LoopState>,
    /// The last news.
    pub news: Vec<Line>,
}

// Writing to a `String` cannot fail.
macro_rules! say {
    ($to:expr, $($text:tt)*) => { let _ = writeln!($to, $($text)*); };
}

/// The whole view.
#[must_use]
pub fn text(now: &Snapshot) -> String {
    let mut text = String::new();
    // Rounded up, so that it says nothing is left only when nothing is.
    let whole = |left: Duration| Duration::from_secs_f64(left.as_secs_f64().ceil());
    let left = now.left.map(|left| format!(", {} left", span(whole(left)))).unwrap_or_default();
    say!(text, "cri-gc at work on a modelled node under churn, for {}{left}", span(now.lasted));
    if now.keys {
        say!(text, "keys     {KEYS}");
    }
    match now.broken.as_slice() {
        [] => {
            say!(text, "broken   nothing");
        }
        broken => {
            for (number, (what, since)) in broken.iter().enumerate() {
                let label = if number == 0 { "BROKEN" } else { "" };
                say!(text, "{label:<9}for {}: {}", span(*since), meaning(*what));
            }
        }
    }
    text.push('\n');
    say!(text, "runtime  {}", runtime(now));
    say!(text, "disk     {}", disk(&now.node, now.thresholds));
    say!(
        text,
        "node     {} containers run, {} are dead; {} sandboxes, {} log directories, {} images",
        now.node.running,
        now.node.dead,
        now.node.sandboxes,
        now.node.log_dirs,
        now.node.images
    );
    text.push('\n');
    text.push_str(&loops(now));
    text.push('\n');
    now.news.iter().for_each(|line| text.push_str(&news(line)));
    text
}

fn since(then: Option<Timestamp>, now: Timestamp) -> Duration {
    then.and_then(|then| Duration::try_from(now.duration_since(then)).ok()).unwrap_or_default()
}

fn runtime(snapshot: &Snapshot) -> String {
    let Some(state) = &snapshot.runtime else { return "not asked yet".to_owned() };
    let which = state.version.as_ref().map(|version| format!("{} {}", version.name, version.version));
    let which = which.unwrap_or_else(|| "not known yet".to_owned());
    let lasting = span(since(state.since, snapshot.now));
    match state.reachable {
        Some(true) => format!("{which}, reachable for {lasting}"),
        Some(false) => {
            let error = state.error.as_deref().map(|error| format!(": {}", one_line(error)));
            format!("AWAY for {lasting}{}", error.unwrap_or_default())
        }
        None => which,
    }
}

/// "[#########----|--]  74%, 10.4 GiB of 40.0 GiB free".
fn disk(node: &Tally, (high, low): (u8, u8)) -> String {
    let used = usage_percent(node.capacity, node.available).unwrap_or_default();
    let cell = |percent: u8| u16::from(percent) * CELLS / 100;
    let cells = (0..CELLS).map(|at| match at {
        _ if at == cell(low) || at == cell(high) => '|',
        _ if at < cell(used) => '#',
        _ => '-',
    });
    format!(
        "[{}] {used:>3}%, {} of {} free; above {high}% images go, down to {low}%",
        cells.collect::<String>(),
        ByteSize(node.available),
        ByteSize(node.capacity)
    )
}

fn loops(snapshot: &Snapshot) -> String {
    let mut text = String::new();
    let header = ["LOOP", "MODE", "STATE", "PASSES", "REMOVED", "FAILURES", "RESTARTS", "LAST PASS"];
    let mut row = |[of, mode, state, passes, removed, failures, restarts, last]: [&str; 8]| {
        say!(
            text,
            "{of:<12}  {mode:<7}  {state:<10}  {passes:>6}  {removed:>7}  {failures:>8}  {restarts:>8}  {last}"
        );
    };
    row(header);
    for state in &snapshot.loops {
        let doing = match state.doing {
            Doing::Hung | Doing::Restarting => state.doing.as_str().to_uppercase(),
            _ if state.paused_since.is_some() => Doing::Paused.as_str().to_owned(),
            _ => state.doing.as_str().to_owned(),
        };
        row([
            state.of.as_str(),
            state.mode.as_str(),
            &doing,
            &state.passes.to_string(),
            &state.removed.to_string(),
            &state.failures.to_string(),
            &state.restarts.to_string(),
            &last_pass(state, snapshot.now),
        ]);
    }
    text
}

/// "2s ago: 3 removed, 1 failed", "1s ago: ERROR the runtime is away".
fn last_pass(state: &LoopState, now: Timestamp) -> String {
    let Some(last) = &state.last else { return "none yet".to_owned() };
    let ago = rough(since(last.started_at.checked_add(last.took).ok(), now));
    let mut did = format!("{ago} ago: {} removed", last.removed);
    if last.freed_bytes > 0 {
        let _ = write!(did, " ({})", ByteSize(last.freed_bytes));
    }
    if last.failed > 0 {
        let _ = write!(did, ", {} failed", last.failed);
    }
    if let Some(error) = last.errors.first() {
        let error = one_line(error);
        let shown: String = error.chars().take(ERROR).collect();
        let dots = if shown.len() < error.len() { "..." } else { "" };
        let _ = write!(did, ", ERROR {shown}{dots}");
    }
    did
}

/// "07:54:01  container_gc  Removed  3 containers: pod_deleted".
fn news(line: &Line) -> String {
    let event = &line.event;
    let of = event.of.map_or("-", |of| of.as_str());
    let object = event.object.as_deref().map(|object| match (object.kind, line.times) {
        (kind, 2..) => format!("{} {}", line.times, several(kind)),
        // The id of these is their name, or part of it.
        (Kind::LogDir | Kind::LogLink, _) => format!("{} {}", object.kind.as_str(), object.name),
        (kind, _) => format!("{} {} {}", kind.as_str(), short(&object.id), object.name),
    });
    let object = object.unwrap_or_default();
    let reason = event.object.as_ref().map(|object| object.reason.clone()).unwrap_or_default();
    // What the runtime tells of images is no measure of what they bring.
    let brought = if event.of == Some(Loop::ImageGc) { 0 } else { line.bytes };
    let count = if event.count > 1 { format!("failure number {}", event.count) } else { String::new() };
    let why = [reason, bytes(brought), count].into_iter().filter(|part| !part.is_empty());
    let parts = [object, why.collect::<Vec<_>>().join(", "), event.message.clone()];
    let parts = parts.iter().map(|part| one_line(part)).filter(|part| !part.is_empty());
    let what = parts.collect::<Vec<_>>().join(": ");
    let text = format!("{}  {of:<12}  {:<19}  {what}", line.time.strftime("%H:%M:%S"), event.kind.as_str());
    format!("{}\n", text.trim_end())
}

fn several(kind: Kind) -> &'static str {
    match kind {
        Kind::Container => "containers",
        Kind::Sandbox => "sandboxes",
        Kind::LogDir => "log directories",
        Kind::LogLink => "log links",
        Kind::Image => "images",
    }
}
