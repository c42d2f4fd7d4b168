//! The keeper of image records and its store: what it has answered is on the disk, what it was given is written there, and what the
//! disk had before it could be read is not overwritten.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant, SystemTime};

use actix::{Arbiter, System};
use cri_gc_files::dirs::Dirs;
use cri_gc_images::store::{self, Store};
use cri_gc_images::{Content, Home, ImageRecords, Origin, Record};
use cri_gc_kit::seams::{Clock, Moment};
use cri_gc_kit::supervision::guard::Pace;
use cri_gc_kit::workers::Workers;
use cri_gc_policy::Image;
use cri_gc_test_support::{Tmpfs, TmpfsSize};
use jiff::{SignedDuration, Timestamp};
use slog::{Drain, KV, Key, Level, Logger, Never, OwnedKVList, Serializer, o};

use super::bed::PATIENCE;

pub const STORE: &str = "images.redb";

/// Seconds since the epoch at which these tests begin.
const BEGUN: i64 = 1_790_000_000;

/// Collects what is logged from INFO on, as "LEVL message failures=1 suppressed=0".
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

struct Numbers(String);

impl Serializer for Numbers {
    fn emit_arguments(&mut self, key: Key, value: &std::fmt::Arguments<'_>) -> slog::Result {
        if ["failures", "suppressed"].contains(&key) {
            self.0 = format!(" {key}={value}{}", self.0);
        }
        Ok(())
    }
}

impl Drain for Lines {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &slog::Record<'_>, _values: &OwnedKVList) -> Result<(), Never> {
        if record.level().is_at_least(Level::Info) {
            let mut numbers = Numbers(String::new());
            let _ = record.kv().serialize(record, &mut numbers);
            self.0.lock().unwrap().push(format!("{} {}{}", record.level(), record.msg(), numbers.0));
        }
        Ok(())
    }
}

/// A state directory, a clock that only moves when a test sets it, and what a keeper logs.
pub struct Desk {
    pub folder: tempfile::TempDir,
    /// Seconds since the beginning.
    time: Arc<AtomicI64>,
    /// The next so many questions of the time panic.
    fuse: Arc<AtomicU32>,
    lines: Lines,
}

impl Desk {
    pub fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            time: Arc::default(),
            fuse: Arc::default(),
            lines: Lines::default(),
        }
    }

    pub fn dir(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    fn clock(&self) -> Clock {
        let (time, fuse) = (Arc::clone(&self.time), Arc::clone(&self.fuse));
        let boot = Arc::clone(&self.time);
        let now = move || {
            let burns = fuse.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1));
            assert!(burns.is_err(), "on purpose");
            at(time.load(SeqCst))
        };
        Clock::with_boot(now, move || SignedDuration::from_secs(boot.load(SeqCst))).of_boot("this boot")
    }

    /// The moment of so many seconds after the beginning, which is now from then on.
    pub fn moment(&self, second: i64) -> Moment {
        self.time.store(second, SeqCst);
        Moment::new(at(second), SignedDuration::from_secs(second))
    }

    /// The state directory, and a runtime directory next to it.
    pub fn dirs(&self) -> Dirs {
        Dirs { state: self.dir(), runtime: Some(self.folder.path().join("run/state")) }
    }

    /// A keeper on this thread, and its worker.
    pub fn keeper(&self, home: Home) -> (ImageRecords, Workers) {
        let worker = Workers::start(1).unwrap();
        (self.keeper_with(home, worker.clone()), worker)
    }

    pub fn keeper_with(&self, home: Home, worker: Workers) -> ImageRecords {
        let pace = Pace { min: Duration::from_millis(1), max: Duration::from_millis(10) };
        let lines = self.lines.clone();
        let log_panic =
            Box::new(move |why: &str, _| lines.0.lock().unwrap().push(format!("panicked: {why}")));
        let log = Logger::root(self.lines.clone().fuse(), o!());
        let here = Arbiter::current();
        ImageRecords::start(&here, (pace, log_panic), home, worker, self.clock(), log)
    }

    /// Does something with a keeper that has the state directory. At the end it is stopped, and its store closed.
    pub fn keep<T>(&self, test: impl AsyncFnOnce(&ImageRecords) -> T) -> T {
        System::new().block_on(async { self.keep_at(self.dir().into(), test).await })
    }

    pub async fn keep_at<T>(&self, dirs: Dirs, test: impl AsyncFnOnce(&ImageRecords) -> T) -> T {
        let (keeper, worker) = self.keeper(Home::Store(dirs, Origin::default()));
        let result = test(&keeper).await;
        // A commit in progress would keep the store open for a moment longer.
        worker.run(|| ()).await.unwrap();
        result
    }

    pub fn disk(&self) -> Content {
        store::read_copy(&self.dir(), &Origin::default()).unwrap()
    }

    pub fn logged(&self) -> Vec<String> {
        std::mem::take(&mut self.lines.0.lock().unwrap())
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(BEGUN + second).unwrap()
}

pub fn image(number: usize) -> Image {
    Image {
        id: format!("sha256:{number:064x}"),
        runtime_handler: String::new(),
        repo_tags: vec![format!("r.io/app:{number}")],
        repo_digests: Vec::new(),
        size_bytes: number as u64,
        pinned: false,
        first_detected: None,
        last_used: None,
        in_use_elsewhere: false,
    }
}

pub fn images(numbers: impl IntoIterator<Item = usize>) -> Vec<Image> {
    numbers.into_iter().map(image).collect()
}

/// First detected and last used of each, in seconds, from an answer.
pub fn records_in(images: &[Image]) -> BTreeMap<String, (i64, Option<i64>)> {
    let second = |time: Timestamp| time.as_second() - BEGUN;
    let ages = |image: &Image| (second(image.first_detected.unwrap()), image.last_used.map(second));
    images.iter().map(|image| (image.id.clone(), ages(image))).collect()
}

/// The same from the store on the disk.
pub fn records_on_disk(content: &Content) -> BTreeMap<String, (i64, Option<i64>)> {
    let second = |time: Timestamp| time.as_second() - BEGUN;
    let ages = |record: &Record| (second(record.first_detected), record.last_used.map(second));
    content.images.iter().map(|((id, _), record)| (id.clone(), ages(record))).collect()
}

/// Waits, in real time, for what a worker has to do.
async fn until<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = check() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "{what}: it does not come about");
        tokio::task::yield_now().await;
    }
}

#[test]
fn what_it_has_answered_is_on_the_disk_and_the_next_one_answers_the_same() {
    let desk = Desk::new();
    fs::create_dir(desk.dir()).unwrap();
    let mut last = BTreeMap::new();
    for keeper in 0..4 {
        desk.keep(async |records| {
            for round in 0..30 {
                let second = keeper * 1_000 + round * 10;
                let now = desk.moment(second);
                // The images of a sliding window; every third of them is used in every other round.
                let begin = usize::try_from(keeper * 10 + round / 3).unwrap();
                let there = begin..begin + 12;
                let used: Vec<String> = there.clone().step_by(3).map(|n| format!("r.io/app:{n}")).collect();
                if round % 2 == 0 {
                    records.seen(used.iter().map(String::as_str), now);
                }
                let known = records.remember(images(there), now).await.unwrap();
                assert_eq!(records_on_disk(&desk.disk()), records_in(&known), "round {round} of {keeper}");
                for (id, (first_detected, last_used)) in records_in(&known) {
                    let Some((before, used_before)) = last.get(&id) else { continue };
                    assert_eq!(first_detected, *before, "{id}");
                    assert!(last_used >= *used_before, "{id}");
                }
                last = records_in(&known);
            }
        });
    }
    assert_eq!(desk.logged(), Vec::<String>::new());
}

#[test]
fn a_use_that_no_observation_has_resolved_is_on_the_disk_and_known_to_the_next_one() {
    let desk = Desk::new();
    fs::create_dir(desk.dir()).unwrap();
    desk.keep(async |records| {
        records.seen(["r.io/app:1", "r.io/gone:1"], desk.moment(10));
        records.were_used(["r.io/app:2"], at(5), desk.moment(20));
        let uses = |uses: [(&str, i64); 3]| uses.map(|(name, second)| (name.to_owned(), at(second))).into();
        let expected = uses([("r.io/app:1", 10), ("r.io/gone:1", 10), ("r.io/app:2", 5)]);
        // It is just being made.
        let stored = || {
            store::read_copy(&desk.dir(), &Origin::default())
                .is_ok_and(|disk| disk.uses == expected)
                .then_some(())
        };
        until("the uses", stored).await;
    });
    desk.keep(async |records| {
        let known = records.remember(images(1..4), desk.moment(30)).await.unwrap();
        assert_eq!(
            known.iter().map(|image| image.last_used).collect::<Vec<_>>(),
            [Some(at(10)), Some(at(5)), None]
        );
        assert!(desk.disk().uses.is_empty(), "they are resolved");
    });
}

/// Has the keeper take a few observations while the disk is broken, and then once more.
async fn breaks_and_is_repaired(desk: &Desk, records: &ImageRecords, repair: impl FnOnce()) {
    for round in 1..=20 {
        let known = records.remember(images(0..400), desk.moment(100 + round)).await.unwrap();
        assert_eq!(known.len(), 400, "it continues from memory");
        // What changes is what is tried again.
        records.seen(["r.io/app:1"], desk.moment(100 + round));
        assert!(records.problem().await.is_some_and(|why| why.contains(STORE)), "round {round}");
    }
    repair();
    let known = records.remember(images(0..400), desk.moment(200)).await.unwrap();
    assert_eq!(records.problem().await, None);
    assert_eq!(records_on_disk(&desk.disk()), records_in(&known));
}

#[test]
fn a_disk_that_fails_is_logged_less_and_less_often_and_its_recovery_once() {
    let desk = Desk::new();
    // The directory is not there yet.
    desk.keep(async |records| {
        breaks_and_is_repaired(&desk, records, || fs::create_dir(desk.dir()).unwrap()).await;
    });
    let lines = desk.logged();
    let (last, failures) = lines.split_last().unwrap();
    assert!(last.starts_with("INFO the image records are on the disk again failures="), "{lines:#?}");
    let file = desk.dir().join(STORE);
    for (number, line) in failures.iter().enumerate() {
        assert!(line.contains(&format!("the image records in {} can't be used", file.display())), "{line}");
        let ending = match 1_u64 << number {
            1 => String::new(),
            power => format!(" failures={power} suppressed={}", power / 2 - 1),
        };
        assert!(line.starts_with(if number == 0 { "ERRO" } else { "WARN" }), "{lines:#?}");
        assert!(line.ends_with(&format!("and a restart loses them{ending}")), "{number}: {lines:#?}");
    }
    // Two tries in each of twenty rounds: one for the observation, one for the use.
    assert!((5..=7).contains(&failures.len()), "{lines:#?}");
}

#[test]
fn a_disk_that_becomes_full_is_logged_and_what_was_missed_is_written_once_it_has_room() {
    let desk = Desk::new();
    fs::create_dir(desk.dir()).unwrap();
    let _tmpfs = match Tmpfs::mount(&desk.dir(), TmpfsSize::mib(2)) {
        Ok(tmpfs) => tmpfs,
        Err(error) => return println!("skipped: no tmpfs can be mounted here ({error})"),
    };
    desk.keep(async |records| {
        let first = records.remember(images(0..8), desk.moment(10)).await.unwrap();
        assert_eq!(records_on_disk(&desk.disk()), records_in(&first));
        let ballast = desk.dir().join("ballast");
        let _ = fs::write(&ballast, vec![1; 4 << 20]);
        breaks_and_is_repaired(&desk, records, || fs::remove_file(ballast).unwrap()).await;
        let now = records.remember(images(0..400), desk.moment(210)).await.unwrap();
        assert!(now[..8].iter().all(|image| image.first_detected == Some(at(10))), "as before");
    });
    let lines = desk.logged();
    assert!(lines[0].starts_with("ERRO") && lines[1].ends_with("failures=2 suppressed=0"), "{lines:#?}");
    assert!(lines.last().unwrap().starts_with("INFO the image records are on the disk again"), "{lines:#?}");
}

#[test]
fn a_state_directory_that_is_removed_is_noticed_and_one_that_is_created_again_is_used() {
    let desk = Desk::new();
    fs::create_dir(desk.dir()).unwrap();
    desk.keep(async |records| {
        records.remember(images(0..8), desk.moment(10)).await.unwrap();
        fs::remove_dir_all(desk.dir()).unwrap();
        records.seen(["r.io/app:1"], desk.moment(20));
        records.remember(images(0..9), desk.moment(20)).await.unwrap();
        assert!(records.problem().await.is_some(), "what it has answered is not stored");
        fs::create_dir(desk.dir()).unwrap();
        let known = records.remember(images(0..10), desk.moment(30)).await.unwrap();
        assert_eq!(records_on_disk(&desk.disk()), records_in(&known));
    });
}

/// A store of some images that were seen at 0 and used at 5, the first `uses` of them.
pub fn stored(desk: &Desk, count: usize, uses: usize) {
    fs::create_dir_all(desk.dir()).unwrap();
    desk.keep(async |records| {
        let names: Vec<String> = (0..uses).map(|number| format!("r.io/app:{number}")).collect();
        records.remember(images(0..count), desk.moment(0)).await.unwrap();
        records.seen(names.iter().map(String::as_str), desk.moment(5));
        records.remember(images(0..count), desk.moment(5)).await.unwrap();
    });
}

#[test]
fn a_copy_is_read_and_nothing_is_written() {
    let desk = Desk::new();
    stored(&desk, 8, 4);
    let file = desk.dir().join(STORE);
    let long_ago = SystemTime::now() - Duration::from_secs(100_000);
    fs::File::open(&file).unwrap().set_modified(long_ago).unwrap();
    let bytes = fs::read(&file).unwrap();
    System::new().block_on(async {
        let (records, _) = desk.keeper(Home::Copy(desk.dir().into(), Origin::default()));
        records.seen(["r.io/app:7"], desk.moment(50));
        let known = records.remember(images(0..9), desk.moment(60)).await.unwrap();
        let ages = |first, used| (first, used);
        let all = records_in(&known);
        let of = |number: usize| all[&image(number).id];
        assert_eq!(
            [of(0), of(4), of(7), of(8)],
            [ages(0, Some(5)), ages(0, None), ages(0, Some(50)), ages(60, None)]
        );
        records.remember(Vec::new(), desk.moment(70)).await.unwrap();
        assert_eq!(records.problem().await, None);
    });
    assert_eq!(fs::read(&file).unwrap(), bytes);
    assert_eq!(fs::metadata(&file).unwrap().modified().unwrap(), long_ago);
    assert_eq!(fs::read_dir(desk.dir()).unwrap().count(), 1);
    // Nor is anything made where nothing is.
    System::new().block_on(async {
        let (records, _) =
            desk.keeper(Home::Copy(desk.folder.path().join("nowhere").into(), Origin::default()));
        records.remember(images(0..9), desk.moment(80)).await.unwrap();
        assert_eq!(records.problem().await, None);
    });
    assert!(!desk.folder.path().join("nowhere").exists());
    assert_eq!(desk.logged(), Vec::<String>::new());
}

#[test]
fn a_keeper_that_panics_after_a_commit_keeps_its_records() {
    let desk = Desk::new();
    stored(&desk, 8, 4);
    desk.keep(async |records| {
        let before = records.remember(images(0..9), desk.moment(20)).await.unwrap();
        for panics in 1..4 {
            // It asks the time when a commit has ended.
            desk.fuse.store(1, SeqCst);
            records.seen(["r.io/app:8"], desk.moment(20 + 20 * panics));
            let has_panicked =
                || (desk.lines.0.lock().unwrap().len() == usize::try_from(panics).unwrap()).then_some(());
            until("the panic", has_panicked).await;
        }
        let after = records.remember(images(0..9), desk.moment(90)).await.unwrap();
        assert_eq!(records_in(&after)[&image(8).id], (20, Some(80)));
        assert_eq!(records_in(&after[..8]), records_in(&before[..8]));
        assert_eq!(records_on_disk(&desk.disk()), records_in(&after));
    });
    assert!(desk.logged().iter().all(|line| line.starts_with("panicked")));
}

#[test]
fn a_keeper_that_panics_at_its_start_has_its_records_all_the_same() {
    let desk = Desk::new();
    stored(&desk, 8, 4);
    let before = records_on_disk(&desk.disk());
    // It asks the time when it has read its store.
    desk.fuse.store(1, SeqCst);
    desk.keep(async |records| {
        until("the panic", || (desk.fuse.load(SeqCst) == 0).then_some(())).await;
        let known = records.remember(images(0..8), desk.moment(100)).await.unwrap();
        assert_eq!(records_in(&known), before);
    });
    assert_eq!(records_on_disk(&desk.disk()), before);
}

#[test]
fn a_store_that_can_not_be_read_at_first_is_not_wiped_by_a_use_before_an_observation() {
    let desk = Desk::new();
    stored(&desk, 8, 4);
    let before = records_on_disk(&desk.disk());
    let (file, elsewhere) = (desk.dir().join(STORE), desk.folder.path().join("elsewhere"));
    fs::rename(&file, &elsewhere).unwrap();
    fs::create_dir(&file).unwrap();
    desk.keep(async |records| {
        assert!(records.problem().await.is_some());
        fs::remove_dir(&file).unwrap();
        fs::rename(&elsewhere, &file).unwrap();
        // The first that comes is a pass of another loop than that of the images.
        records.seen(["r.io/new:1"], desk.moment(100));
        until("the use", || desk.disk().uses.contains_key("r.io/new:1").then_some(())).await;
        assert_eq!(records_on_disk(&desk.disk()), before, "a crash now would lose them");
        let known = records.remember(images(0..8), desk.moment(110)).await.unwrap();
        assert_eq!(records_in(&known), before);
        assert_eq!(records_on_disk(&desk.disk()), before);
    });
}

#[test]
fn a_store_that_is_read_too_late_is_not_overwritten() {
    let desk = Desk::new();
    let dir = desk.dir();
    fs::create_dir(&dir).unwrap();
    // So many that it takes a while to verify them.
    let mut content = Content::default();
    let record = Record {
        first_detected: at(0),
        last_used: Some(at(5)),
        size_bytes: 1,
        pinned: false,
        absent_at: None,
    };
    let key = |number: usize| (image(number).id, String::new());
    content.images = (0..5_000).map(|number| (key(number), record.clone())).collect();
    Store::of(&dir, Origin::default()).commit(content).unwrap();
    System::new().block_on(async {
        tokio::time::pause();
        let (release, released) = mpsc::channel::<()>();
        // Paused time stands still while a blocking task is in progress.
        tokio::task::spawn_blocking(move || released.recv());
        let (records, worker) = desk.keeper(Home::Store(dir.clone().into(), Origin::default()));
        until("the worker has begun", || is_open(&dir.join(STORE)).then_some(())).await;
        tokio::time::advance(Duration::from_secs(11)).await;
        if records.problem().await.is_none() {
            // The worker was done before the time had passed.
            drop(release);
            return println!("not shown: this machine is too fast");
        }
        // It is read in the end.
        worker.run(|| ()).await.unwrap();
        records.remember(images(0..5_000), desk.moment(100)).await.unwrap();
        assert_eq!(records.problem().await, None);
        let content = store::read_copy(&dir, &Origin::default()).unwrap();
        let late = content.images.values().filter(|now| now.first_detected != at(0)).count();
        drop(release);
        assert_eq!(late, 0, "of {} images count as new on the disk", content.images.len());
    });
}

/// Whether this process has that file open.
fn is_open(file: &Path) -> bool {
    let open = fs::read_dir("/proc/self/fd").unwrap().flatten();
    open.into_iter().any(|entry| fs::read_link(entry.path()).is_ok_and(|target| target == file))
}
