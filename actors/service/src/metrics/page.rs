//! The state of the service as one page for people, with the facts of `cri-gc status` that need no request to the runtime. No scripts.

use bytesize::ByteSize;
use cri_gc_collectors::collector::{Doing, LoopState, StuckObject};
use cri_gc_config::Mode;
use cri_gc_kit::recorder::Stamped;
use cri_gc_kit::text::{duration, host_name};
use cri_gc_policy::images::space::usage_percent;
use cri_gc_policy::text::counted;
use cri_gc_policy::{FileSystem, PodState};
use jiff::Timestamp;

use super::answers::Answers;
use super::html::Html;
use super::readiness;

const HEAD: &str = "<!DOCTYPE html>
<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">
<meta name=\"color-scheme\" content=\"light dark\"><title>cri-gc</title><style>
:root { --text: #1b1f24; --faint: #57606a; --back: #ffffff; --line: #d0d7de; --warning: #9a3412; --panel: #fff4ec; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e6edf3; --faint: #9aa4af; --back: #11151a; --line: #343b44; --warning: #ffb38a; --panel: #2b1c12; }
}
body { margin: 2rem auto; max-width: 76rem; padding: 0 1rem; color: var(--text); background: var(--back); font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.4rem; margin: 0; }
h2 { font-size: 1.05rem; margin: 1.8rem 0 .4rem; }
p { margin: .3rem 0; overflow-wrap: anywhere; }
.warning { color: var(--warning); background: var(--panel); border-left: 3px solid; padding: .3rem .8rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1.2rem; margin: .6rem 0; }
dt, th, footer { color: var(--faint); }
dd { margin: 0; overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; vertical-align: top; padding: .25rem 1.2rem .25rem 0; border-bottom: 1px solid var(--line); }
th { font-weight: 500; }
th, td:not(:last-child) { white-space: nowrap; }
footer { margin-top: 2rem; font-size: .85rem; }
a { color: inherit; }
</style></head><body>
";

const FOOT: &str = "<footer>As of the time above; reload the page for the state now. <a href=\"metrics\">metrics</a> · \
<a href=\"readyz\">readyz</a> · <a href=\"healthz\">healthz</a> · on the node: <code>cri-gc status</code></footer>
</body></html>
";

/// Events that the page shows.
pub const EVENTS: usize = 20;

/// The page, with the newest events, oldest first.
pub fn page(answers: &Answers, events: &[Stamped]) -> String {
    let mut html = Html::default();
    html.raw(HEAD);
    let settings = answers.configuration.as_ref().map(|state| &state.generation.settings);
    let node = settings.and_then(|settings| settings.node_name.clone()).unwrap_or_else(host_name);
    html.element("h1", &format!("cri-gc {} on {node}", answers.version));
    let up = lasting(answers, answers.started_at);
    html.element("p", &format!("{:.0}, running for {up}, pid {}", answers.now, std::process::id()));
    let reasons = readiness::reasons(answers);
    match reasons.is_empty() {
        true => html.element("p", "ready"),
        false => reasons.iter().for_each(|reason| html.warning(&format!("not ready: {reason}"))),
    }
    html.facts([
        ("runtime", runtime(answers)),
        ("pod source", source(answers)),
        ("configuration", configuration(answers)),
    ]);
    loops(&mut html, answers);
    filesystems(&mut html, answers);
    recent(&mut html, events);
    html.raw(FOOT);
    html.into_text()
}

/// How long something has lasted.
fn lasting(answers: &Answers, since: Timestamp) -> String {
    duration(answers.now.duration_since(since))
}

fn ago(answers: &Answers, time: Timestamp) -> String {
    format!("{} ago", lasting(answers, time))
}

fn runtime(answers: &Answers) -> String {
    let Some(runtime) = &answers.runtime else { return "not known: the gateway does not answer".to_owned() };
    let version = runtime.version.as_ref().map(|version| format!("{} {}", version.name, version.version));
    let since = runtime.since.map(|since| format!(" for {}", lasting(answers, since))).unwrap_or_default();
    let state = match (runtime.reachable, runtime.hangs) {
        (Some(true), false) => format!("reachable{since}"),
        (Some(true), true) => "does not answer in time".to_owned(),
        (Some(false), _) => format!("unreachable{since}"),
        (None, _) => "not asked yet".to_owned(),
    };
    let error = runtime.error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
    let version = version.as_deref().unwrap_or("container runtime");
    format!("{version} at {}, {state}{error}", runtime.endpoint)
}

fn source(answers: &Answers) -> String {
    let Some(source) = &answers.source else {
        return "not known: the pod tracking does not answer".to_owned();
    };
    let count = |state: PodState, word: &str| {
        let count = source.pods.iter().filter(|pod| pod.state == state).count();
        (count > 0).then(|| format!("{count} {word}"))
    };
    let pods = [
        count(PodState::Active, "active"),
        count(PodState::Unknown, "unknown"),
        count(PodState::Deleted, "deleted"),
        count(PodState::Evicted, "evicted"),
        count(PodState::Terminated, "terminated"),
    ];
    let synced = if source.synced { "synced" } else { "not synced" }.to_owned();
    let as_of = source.synced_at.map(|time| format!("as of {}", ago(answers, time)));
    let parts = [Some(format!("{}: {synced}", source.source.as_str())), as_of].into_iter().chain(pods);
    let notes = source.problem.iter().chain(&source.notes).map(|note| format!("; {note}"));
    parts.flatten().collect::<Vec<_>>().join(", ") + &notes.collect::<String>()
}

fn configuration(answers: &Answers) -> String {
    let Some(state) = &answers.configuration else {
        return "not known: the configuration part does not answer".to_owned();
    };
    let generation = &state.generation;
    let file = generation.file.as_ref().map(|file| format!(" from {}", file.display())).unwrap_or_default();
    let refused =
        state.refused.iter().map(|(why, when)| format!("; reload refused {}: {why}", ago(answers, *when)));
    let waiting = (!state.waiting_for_restart.is_empty())
        .then(|| format!("; after a restart: {}", state.waiting_for_restart.join(", ")));
    format!("generation {}, loaded {}{file}", generation.number, ago(answers, generation.loaded_at))
        + &refused.chain(waiting).collect::<String>()
}

fn loops(html: &mut Html, answers: &Answers) {
    html.heading("Loops");
    let row = |state: &LoopState| {
        let next = state.next_pass_at.map(|next| match next.duration_since(answers.now) {
            left if left.is_negative() => format!("due {}", ago(answers, next)),
            left => format!("in {}", duration(left)),
        });
        [
            state.of.as_str().to_owned(),
            state.mode_in_effect().as_str().to_owned(),
            doing(state),
            last_pass(answers, state),
            next.unwrap_or_else(|| "none planned".to_owned()),
            state.removed.to_string(),
            ByteSize(state.freed_bytes).to_string(),
            state.failures.to_string(),
            state.restarts.to_string(),
        ]
    };
    let columns =
        ["loop", "mode", "state", "last pass", "next", "removed", "freed", "failed passes", "restarts"];
    html.table(columns, answers.loops.iter().map(row));
    for state in &answers.loops {
        let Some(last) = &state.last else { continue };
        let errors = last.errors.iter().map(ToString::to_string);
        for text in errors.chain(state.stuck.iter().take(STUCK).map(|object| stuck(object))) {
            html.warning(&format!("{}: {text}", state.of));
        }
        last.notes.iter().for_each(|note| html.element("p", &format!("{}: {note}", state.of)));
        if let Some(why) = &state.last_restart {
            html.element("p", &format!("{} was restarted: {why}", state.of));
        }
    }
}

/// Objects that could not be removed, as far as a page names them.
const STUCK: usize = 50;

fn stuck(object: &StuckObject) -> String {
    let StuckObject { removal, since, attempts, next_try_at, .. } = object;
    let attempts = counted(*attempts, "attempt");
    format!(
        "{} could not be removed in {attempts} since {since:.0}, tried again at {next_try_at:.0}: {}",
        removal.name, removal.outcome
    )
}

/// What it does, and until when it is paused.
fn doing(state: &LoopState) -> String {
    let until = state.paused.and_then(|paused| paused.until).filter(|_| state.doing == Doing::Paused);
    let until = until.map(|until| format!(" until {until:.0}")).unwrap_or_default();
    format!("{}{until}", state.doing.as_str())
}

/// When the last pass ended, and what it did.
fn last_pass(answers: &Answers, state: &LoopState) -> String {
    let Some(last) = &state.last else { return "none yet".to_owned() };
    let ended = last.started_at.checked_add(last.took).unwrap_or(last.started_at);
    let counts = &last.counts;
    let result = match last.mode {
        Mode::Report => format!("{} would be removed", counted(counts.would_remove, "object")),
        _ => format!("{} removed", counts.removed),
    };
    let failed = if last.is_good() { "" } else { "FAILED, " };
    format!("{}: {failed}{result}, {} kept", ago(answers, ended), counts.kept_for.values().sum::<u64>())
}

fn filesystems(html: &mut Html, answers: &Answers) {
    if answers.filesystems.is_empty() {
        return;
    }
    html.heading("Filesystems");
    let gc = answers.configuration.as_ref().map(|state| &state.generation.settings.image_gc);
    let percent =
        |percent: Option<u8>| percent.map_or_else(|| "not known".to_owned(), |percent| format!("{percent}%"));
    let row = |fs: &FileSystem| {
        let stats = &fs.stats;
        let threshold = |percent: Option<u8>| match (percent, fs.holds_images) {
            (Some(percent), true) => format!("{percent}%"),
            _ => String::new(),
        };
        let holds = [(fs.holds_images, "images"), (fs.holds_containers, "containers")];
        let holds: Vec<&str> = holds.into_iter().filter(|(held, _)| *held).map(|(_, word)| word).collect();
        [
            fs.mountpoint.clone(),
            holds.join(", "),
            percent(usage_percent(stats.capacity_bytes, stats.available_bytes)),
            threshold(gc.map(|gc| gc.high_threshold_percent)),
            threshold(gc.map(|gc| gc.low_threshold_percent)),
            format!("{} of {}", ByteSize(stats.available_bytes), ByteSize(stats.capacity_bytes)),
            percent(usage_percent(stats.inodes, stats.inodes_free)),
        ]
    };
    let columns = ["filesystem", "holds", "used", "high", "low", "available", "inodes used"];
    html.table(columns, answers.filesystems.iter().map(row));
}

fn recent(html: &mut Html, events: &[Stamped]) {
    html.heading("Recent events");
    if events.is_empty() {
        return html.element("p", "none since the service started");
    }
    let row = |stamped: &Stamped| {
        let event = &stamped.event;
        let object = event.object.as_ref().map(|object| {
            let name = if object.name.is_empty() { &object.id } else { &object.name };
            format!("{} {name} ({})", object.kind.as_str(), object.reason)
        });
        let freed = (event.bytes > 0).then(|| ByteSize(event.bytes).to_string());
        let text = [object, freed, (!event.message.is_empty()).then(|| event.message.clone())];
        [
            format!("{:.0}", stamped.time),
            event.of.map_or("", |of| of.as_str()).to_owned(),
            event.kind.as_str().to_owned(),
            text.into_iter().flatten().collect::<Vec<_>>().join(": "),
        ]
    };
    html.table(["time", "loop", "event", "what"], events.iter().rev().map(row));
}
