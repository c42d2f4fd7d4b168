//! The history of events: how large its file gets while a million events are written, and how long questions take.
//!
//! `cargo bench --bench history`. It ends with an error when a limit is passed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a measurement fails loudly"
)]

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cri_gc_kit::recorder::{Event, EventKind, InPass, Object, Recorder, Stamped};
use cri_gc_kit::seams::Clock;
use cri_gc_kit::words::{Kind, Loop};
use cri_gc_proto::admin::EventFilter;
use cri_gc_service::history::{Filter, History};
use jiff::Timestamp;
use slog::{Logger, o};

/// Events that are written.
const WRITTEN: u64 = 1_000_000;

/// Slowest question, with the default of `state.history_max_events`.
const SLOWEST: Duration = Duration::from_millis(50);

/// Largest file, in bytes for each event that is kept.
const LARGEST: u64 = 1_000;

fn main() -> ExitCode {
    let mut good = true;
    for most in [10_000, 100_000] {
        good &= measure(most, most == 10_000);
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn event(sequence: u64) -> Stamped {
    let object = Object {
        kind: Kind::Container,
        id: format!("{sequence:064x}"),
        name: format!("namespace-{}/application-{}/main#3", sequence % 10, sequence % 1_000),
        reason: "over_pod_container_limit".to_owned(),
        pod_uid: format!("{sequence:08x}-0000-4000-8000-000000000000"),
    };
    let time = Timestamp::UNIX_EPOCH + Duration::from_secs(sequence);
    let pass = Some(InPass { trigger: "period", began: time });
    let event = Event::new(EventKind::Removed, Some(Loop::ContainerGc), "");
    let event = Event { object: Some(Box::new(object)), bytes: sequence, pass, ..event };
    Stamped { sequence, time, event: Arc::new(event) }
}

/// Whether it is within the limits; those of time count for the default only.
fn measure(most: u64, is_default: bool) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let log = Logger::root(slog::Discard, o!());
    let (history, line) = History::start(folder.path(), most, Clock::system(), log).unwrap();
    let (line, nothing) = (line.unwrap(), Recorder::none(Clock::system()));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let began = Instant::now();
    for sequence in 1..=WRITTEN {
        while line.events.is_full() {
            std::thread::yield_now();
        }
        line.events.try_send(event(sequence)).unwrap();
    }
    runtime.block_on(history.flush(&nothing)).unwrap();
    let took = began.elapsed();
    let size = std::fs::metadata(folder.path().join("history.redb")).unwrap().len();
    println!("{most} of {WRITTEN} events kept: written in {took:.1?}, {:.1} MB on disk", size as f64 / 1e6);

    let any = EventFilter::default;
    let of = |object: &str| EventFilter { object: object.to_owned(), ..any() };
    let since = (Timestamp::UNIX_EPOCH + Duration::from_secs(WRITTEN - most / 2)).to_string();
    let questions = [
        ("the newest 100", any()),
        ("one by its id", of(&format!("{:064x}", WRITTEN - most + 2))),
        ("what is not there", of("nothing")),
        ("a loop that has none", EventFilter { loops: vec!["image_gc".to_owned()], ..any() }),
        ("since half of them", EventFilter { since, object: "nothing".to_owned(), ..any() }),
    ];
    let mut slowest = Duration::ZERO;
    for (what, filter) in questions {
        let filter = Filter::read(&filter).unwrap();
        let began = Instant::now();
        let found = runtime.block_on(history.newest(&nothing, filter, 100)).unwrap().len();
        slowest = slowest.max(began.elapsed());
        println!("  {what:<22} {found:>4} found in {:>9.2?}", began.elapsed());
    }
    size <= LARGEST * most && (!is_default || slowest <= SLOWEST)
}
