//! The history keeps what a question has shown, whatever happens to the process, and loses events rather than make anything
//! wait.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use cri_gc_kit::recorder::{Event, EventKind, InPass, Object, Peer, Stamped};
use cri_gc_kit::words::Loop;
use cri_gc_policy::{Kind, Reason};
use cri_gc_test_support::{Tmpfs, TmpfsSize};
use jiff::{SignedDuration, Timestamp};
use slog::o;

use super::*;

fn silent() -> Logger {
    Logger::root(slog::Discard, o!())
}

/// A history, and its recorder: it numbers from where the history ends.
struct Kept {
    folder: PathBuf,
    history: History,
    line: HistoryLine,
    next: AtomicU64,
}

const BEGIN: &str = "2026-01-31T12:00:00Z";

fn at(second: i64) -> Timestamp {
    BEGIN.parse::<Timestamp>().unwrap() + SignedDuration::from_secs(second)
}

impl Kept {
    fn open(folder: &Path, most: u64) -> Self {
        let (history, line) = History::start(folder, most, Clock::system(), silent()).unwrap();
        let mut line = line.unwrap();
        let (_, never) = oneshot::channel();
        let last = std::mem::replace(&mut line.last, never).blocking_recv().unwrap_or(0);
        Self { folder: folder.to_owned(), history, line, next: AtomicU64::new(last + 1) }
    }

    /// Ends it, and waits until its thread has let go of the file.
    fn close(self) {
        drop((self.history, self.line));
        while Store::of(&self.folder, 1).open().is_err() {
            std::thread::yield_now();
        }
    }

    /// Records one, a second after the one before.
    fn record(&self, event: Event) -> u64 {
        let sequence = self.next.fetch_add(1, SeqCst);
        let time = at(i64::try_from(sequence).unwrap());
        self.send(Stamped { sequence, time, event: Arc::new(event) });
        sequence
    }

    /// Sends it once there is a place for it.
    fn send(&self, stamped: Stamped) {
        while self.line.events.is_full() {
            std::thread::yield_now();
        }
        self.line.events.try_send(stamped).unwrap();
    }

    fn ask(&self, filter: Filter, limit: usize) -> Result<Vec<api::Event>, HistoryError> {
        block_on(self.history.newest(&nothing(), filter, limit))
    }

    fn all(&self) -> Vec<api::Event> {
        self.ask(Filter::default(), usize::MAX).unwrap()
    }

    fn flush(&self) -> Result<(), HistoryError> {
        block_on(self.history.flush(&nothing()))
    }

    /// What is meant by that.
    fn numbers(&self, filter: &api::EventFilter) -> Vec<u64> {
        numbers(&self.ask(Filter::read(filter).unwrap(), 100).unwrap())
    }
}

/// What it has to wait for has been sent by this test.
fn nothing() -> Recorder {
    Recorder::none(Clock::system())
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn numbers(events: &[api::Event]) -> Vec<u64> {
    events.iter().map(|event| event.sequence).collect()
}

fn recovered(message: &str) -> Event {
    Event::new(EventKind::Recovered, Some(Loop::LogGc), message)
}

fn removed(kind: Kind, id: &str, name: &str, reason: Reason) -> Event {
    let object = Object {
        kind,
        id: id.to_owned(),
        name: name.to_owned(),
        reason: reason.as_str().to_owned(),
        pod_uid: if kind == Kind::Image { String::new() } else { "uid-1".to_owned() },
    };
    let pass = Some(InPass { trigger: "period", began: at(0) });
    let event = Event::new(EventKind::Removed, Some(Loop::of(kind)), "");
    Event { object: Some(Box::new(object)), bytes: 7, pass, ..event }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}

#[test]
fn what_was_recorded_is_there_after_a_restart_with_everything_that_is_known_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let kept = Kept::open(folder.path(), 100);
    let by = Some(Peer { uid: 7, gid: 8, pid: Some(9) });
    kept.record(removed(Kind::Container, "c1", "ns/web/app#0", Reason::PodDeleted));
    kept.record(Event::new(EventKind::Paused, Some(Loop::ImageGc), "").by(by));
    let before = kept.all();
    kept.close();
    let kept = Kept::open(folder.path(), 100);
    assert_eq!(kept.record(recovered("later")), 3, "the numbers go on");
    let after = kept.all();
    assert_eq!(after[..2], before);
    assert_eq!(numbers(&after), [1, 2, 3]);
    let expected = api::Event {
        sequence: 1,
        time: "2026-01-31T12:00:01Z".to_owned(),
        r#loop: "container_gc".to_owned(),
        kind: "Removed".to_owned(),
        object_kind: "container".to_owned(),
        object_id: "c1".to_owned(),
        object_name: "ns/web/app#0".to_owned(),
        reason: "pod_deleted".to_owned(),
        bytes: 7,
        pod_uid: "uid-1".to_owned(),
        trigger: "period".to_owned(),
        pass_started_at: BEGIN.to_owned(),
        ..api::Event::default()
    };
    assert_eq!(after[0], expected);
    assert_eq!(after[1].requested_by, Some(api::Peer { uid: 7, gid: 8, pid: 9 }));
}

#[test]
fn the_newest_are_kept_and_the_file_does_not_grow() {
    let folder = tempfile::tempdir().unwrap();
    let kept = Kept::open(folder.path(), 1_000);
    let size = || std::fs::metadata(folder.path().join("history.redb")).unwrap().len();
    let fill = |count: usize| {
        for number in 0..count {
            kept.record(removed(Kind::Image, &format!("sha256:{number:064}"), "web:1", Reason::DiskPressure));
        }
        kept.flush().unwrap();
    };
    fill(3_000);
    let first = size();
    fill(30_000);
    assert_eq!(numbers(&kept.all()), (32_001..=33_000).collect::<Vec<u64>>());
    assert!(size() <= 4 * first, "{} is more than {first} by far", size());
    kept.close();
    // With fewer in the settings, the rest leaves with the next event.
    let kept = Kept::open(folder.path(), 10);
    kept.record(recovered(""));
    assert_eq!(numbers(&kept.all()), (32_992..=33_001).collect::<Vec<u64>>());
}

#[test]
fn a_filter_says_which_events_are_meant() {
    let folder = tempfile::tempdir().unwrap();
    let kept = Kept::open(folder.path(), 100);
    kept.record(removed(Kind::Container, "abc1", "ns/web/app#0", Reason::PodDeleted));
    kept.record(removed(Kind::Sandbox, "abd2", "ns/web#0", Reason::OlderSandbox));
    kept.record(removed(Kind::Image, "sha256:abe3", "registry.example.com/web:1", Reason::DiskPressure));
    kept.record(recovered("2 failed passes"));
    let any = api::EventFilter::default;
    assert_eq!(kept.numbers(&any()), [1, 2, 3, 4]);
    let object = |object: &str| kept.numbers(&api::EventFilter { object: object.to_owned(), ..any() });
    assert_eq!(object("abc1"), [1]);
    assert_eq!(object("ab"), [1, 2, 3], "the beginning of an id");
    assert_eq!(object("ns/web"), [1, 2], "a pod");
    assert_eq!(object("uid-1"), [1, 2]);
    assert_eq!(object("registry.example.com/web:1"), [3]);
    assert_eq!(object("eb"), [0; 0], "the middle of a name");
    assert_eq!(kept.numbers(&api::EventFilter { loops: words(&["log_gc", "image_gc"]), ..any() }), [3, 4]);
    assert_eq!(kept.numbers(&api::EventFilter { kinds: words(&["recovered"]), ..any() }), [4]);
    assert_eq!(kept.numbers(&api::EventFilter { reasons: words(&["pod_deleted"]), ..any() }), [1]);
    let time = |since: i64, until: i64| {
        kept.numbers(&api::EventFilter {
            since: at(since).to_string(),
            until: at(until).to_string(),
            ..any()
        })
    };
    assert_eq!((time(2, 3), time(0, 0)), (vec![2, 3], vec![]));
    assert_eq!(numbers(&kept.ask(Filter::default(), 2).unwrap()), [3, 4], "the newest ones");
    assert_eq!(numbers(&kept.ask(Filter::removed("ns/web/app"), 9).unwrap()), [1]);
}

#[test]
fn a_word_that_there_is_not_is_refused_with_those_that_there_are() {
    let read = |filter: api::EventFilter| Filter::read(&filter).unwrap_err();
    let any = api::EventFilter::default;
    let error = read(api::EventFilter { loops: words(&["pods"]), ..any() });
    assert_eq!(error, "there is no loop \"pods\"; there are container_gc, sandbox_gc, log_gc, image_gc");
    let error = read(api::EventFilter { kinds: words(&["Gone"]), ..any() });
    assert!(error.contains("\"Gone\"") && error.contains("Removed, RemovalFailed"), "{error}");
    let error = read(api::EventFilter { reasons: words(&["full"]), ..any() });
    assert!(error.contains("\"full\"") && error.contains("disk_pressure"), "{error}");
    let error = read(api::EventFilter { since: "now".to_owned(), ..any() });
    assert!(error.starts_with("since \"now\" is no time"), "{error}");
}

#[test]
fn a_file_that_is_of_no_use_is_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    let (path, aside) = (folder.path().join("history.redb"), folder.path().join("history.redb.set-aside"));
    for bad in [b"not a database".as_slice(), b""] {
        std::fs::write(&path, bad).unwrap();
        let kept = Kept::open(folder.path(), 100);
        assert_eq!(kept.record(recovered("first")), 1);
        assert_eq!(numbers(&kept.all()), [1]);
        assert_eq!(std::fs::read(&aside).unwrap(), bad);
        kept.close();
        std::fs::remove_file(&path).unwrap();
    }
    // One that is removed while it is in use is begun again.
    let kept = Kept::open(folder.path(), 100);
    kept.record(recovered("first"));
    kept.flush().unwrap();
    std::fs::remove_file(&path).unwrap();
    kept.record(recovered("second"));
    assert_eq!(numbers(&kept.all()), [2]);
}

#[test]
fn while_the_disk_is_full_or_read_only_events_wait_and_then_they_are_written() {
    let folder = tempfile::tempdir().unwrap();
    let Ok(disk) = Tmpfs::mount(folder.path(), TmpfsSize::mib(8)) else {
        println!("skipped: no tmpfs can be mounted here");
        return;
    };
    let kept = Kept::open(folder.path(), 10_000);
    kept.record(recovered("first"));
    kept.flush().unwrap();
    let fill = || {
        let mut rest = std::fs::File::create(folder.path().join("rest")).unwrap();
        while rest.write_all(&[0; 4096]).is_ok() {}
    };
    fill();
    let mut refused = 0;
    for number in 0..5_000 {
        kept.record(removed(Kind::Image, &format!("{number:060}"), "web:1", Reason::DiskPressure));
        if number % 500 == 0 {
            refused += usize::from(kept.flush().is_err());
        }
    }
    let error = kept.flush().unwrap_err();
    assert!(refused > 0 && error.to_string().contains("Free space in state.dir"), "{error}");
    let shown = kept.ask(Filter::default(), 100);
    assert!(shown.is_ok_and(|shown| !shown.is_empty()), "what is on the disk is shown all the same");
    std::fs::remove_file(folder.path().join("rest")).unwrap();
    kept.record(recovered("last"));
    let all = kept.all();
    let loss = all.iter().position(|event| event.kind == "EventsLost").unwrap();
    let lost = all[loss].sequence - all[loss - 1].sequence;
    assert!(lost > 500, "{lost} were lost");
    assert_eq!(kept.line.lost.load(SeqCst), lost, "metrics count them");
    assert_eq!(
        all[loss].message,
        format!("{lost} events are missing from the history before this one: the disk refused them")
    );
    let rest = numbers(&all[loss..]);
    assert_eq!(rest, (all[loss].sequence..=5_002).collect::<Vec<_>>(), "nothing is missing after that");
    kept.close();
    // Read-only from the start: there is no history, and no harm.
    std::fs::remove_file(folder.path().join("history.redb")).unwrap();
    disk.set_read_only(true).unwrap();
    let kept = Kept::open(folder.path(), 100);
    kept.record(recovered("kept in memory"));
    assert!(kept.flush().is_err());
    disk.set_read_only(false).unwrap();
    assert_eq!(numbers(&kept.all()), [1]);
}

#[test]
fn without_a_history_a_question_says_which_setting_to_change() {
    let folder = tempfile::tempdir().unwrap();
    let (history, line) = History::start(folder.path(), 0, Clock::system(), silent()).unwrap();
    assert!(line.is_none());
    let error = block_on(history.newest(&nothing(), Filter::default(), 1)).unwrap_err();
    assert!(error.to_string().contains("state.history_max_events"), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

/// Where the child writes its history; it is a test of its own binary.
const CHILD: &str = "CRI_GC_TEST_HISTORY";

/// How often a process is killed, if `CRI_GC_TEST_KILLS` says nothing else.
const KILLS: u64 = 40;

#[test]
#[ignore = "the process that the next test kills"]
fn a_child_that_writes_until_it_is_killed() {
    let Ok(folder) = std::env::var(CHILD) else { return };
    let kept = Kept::open(Path::new(&folder), 5_000);
    let mut out = std::io::stdout().lock();
    loop {
        let mut last = 0;
        for _ in 0..20 {
            last = kept.record(removed(Kind::Container, "c", "ns/pod/c#0", Reason::PodDeleted));
        }
        kept.flush().unwrap();
        writeln!(out, "acknowledged {last}").unwrap();
        out.flush().unwrap();
    }
}

#[test]
fn a_process_that_is_killed_loses_nothing_that_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = 0;
    let kills = std::env::var("CRI_GC_TEST_KILLS").map_or(KILLS, |kills| kills.parse().unwrap());
    for round in 0..kills {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "--nocapture"])
            .arg("history::tests::a_child_that_writes_until_it_is_killed")
            .env(CHILD, folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // From the middle of one round to the middle of another: the child goes on while this is read.
        let mut rounds = 0;
        for line in lines.map_while(Result::ok) {
            if let Some(last) = line.split("acknowledged ").nth(1) {
                acknowledged = last.trim().parse().unwrap();
                rounds += 1;
                if rounds > round % 7 {
                    break;
                }
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(rounds > 0, "the child of round {round} could not write");
        let kept = Kept::open(folder.path(), 5_000);
        let numbers = numbers(&kept.all());
        let last = *numbers.last().unwrap();
        assert!(last >= acknowledged, "{last} of {acknowledged} are there after round {round}");
        let first = last.saturating_sub(4_999).max(1);
        assert_eq!(numbers, (first..=last).collect::<Vec<_>>(), "round {round}");
        kept.close();
    }
}

#[test]
fn sums_count_what_happened_in_that_time_as_far_as_it_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let kept = Kept::open(folder.path(), 100);
    for number in 1..=10 {
        kept.record(removed(Kind::Container, &number.to_string(), "ns/web/app", Reason::PodDeleted));
    }
    kept.record(removed(Kind::Image, "sha256:a", "a:1", Reason::DiskPressure));
    kept.record(Event::new(EventKind::ImageGcFailed, Some(Loop::ImageGc), "boom"));
    kept.record(recovered("all is well"));
    let sums = |kept: &Kept, since, until| {
        let counted = block_on(kept.history.sums(&nothing(), at(since), at(until))).unwrap();
        assert_eq!(counted.problem, None);
        counted.sums.answer(String::new())
    };
    let sum = |kind: &str, count, bytes| api::RemovedSum { kind: kind.to_owned(), count, bytes };
    let all = sums(&kept, -3600, 3600);
    assert_eq!(all.removed, [sum("container", 10, 70), sum("image", 1, 7)]);
    assert_eq!(all.failures, [("ImageGCFailed".to_owned(), 1)].into());
    assert_eq!(all.since, at(1).to_string(), "nothing is known of the time before the first event");
    // Both ends count; what is in the future by a clock that was set back does not.
    let some = sums(&kept, 3, 5);
    assert_eq!((some.removed, some.failures.len()), (vec![sum("container", 3, 21)], 0));
    assert_eq!(some.since, at(3).to_string());
    kept.close();
    // After a restart it is the same, and a history that has dropped events says how far back it reaches.
    let kept = Kept::open(folder.path(), 5);
    assert_eq!(sums(&kept, -3600, 3600).removed, all.removed);
    kept.record(recovered("again"));
    let few = sums(&kept, -3600, 3600);
    assert_eq!(
        (few.since, few.removed),
        (at(10).to_string(), vec![sum("container", 1, 7), sum("image", 1, 7)])
    );
}

#[test]
fn sums_count_over_events_of_a_clock_that_was_set() {
    let folder = tempfile::tempdir().unwrap();
    let kept = Kept::open(folder.path(), 100);
    for (sequence, second) in [(1, 100), (2, 10), (3, 101), (4, 11), (5, 99)] {
        let event = Arc::new(removed(Kind::Image, "sha256:a", "a:1", Reason::DiskPressure));
        kept.send(Stamped { sequence, time: at(second), event });
    }
    let sums = |since, until| {
        let counted = block_on(kept.history.sums(&nothing(), at(since), at(until))).unwrap();
        let recent = counted.sums.answer(String::new());
        (recent.removed[0].count, recent.since)
    };
    assert_eq!(sums(50, 200), (3, at(50).to_string()));
    assert_eq!(sums(0, 200), (5, at(10).to_string()), "the oldest by its time");
}

#[test]
fn sums_count_what_a_full_disk_keeps_waiting_and_say_why_it_waits() {
    let folder = tempfile::tempdir().unwrap();
    let Ok(disk) = Tmpfs::mount(folder.path(), TmpfsSize::mib(8)) else {
        println!("skipped: no tmpfs can be mounted here");
        return;
    };
    let kept = Kept::open(folder.path(), 10_000);
    let image = |number: usize| removed(Kind::Image, &format!("{number:060}"), "web:1", Reason::DiskPressure);
    kept.record(image(0));
    kept.flush().unwrap();
    let mut rest = std::fs::File::create(folder.path().join("rest")).unwrap();
    while rest.write_all(&[0; 4096]).is_ok() {}
    let mut recorded = 1;
    // It writes into what is left of its file first.
    while kept.flush().is_ok() {
        for number in 0..500 {
            kept.record(image(number));
            recorded += 1;
        }
    }
    let counted = block_on(kept.history.sums(&nothing(), at(0), at(1_000_000))).unwrap();
    let problem = counted.problem.map(|problem| problem.to_string()).unwrap_or_default();
    assert!(problem.contains("Free space in state.dir"), "{problem}");
    let recent = counted.sums.answer(problem);
    assert_eq!((recent.removed[0].count, recent.since), (recorded, at(1).to_string()));
    drop((kept, disk));
}
