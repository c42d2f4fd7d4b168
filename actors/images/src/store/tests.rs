//! The store survives what a disk, a crash or a stranger does to it: what is read is what was written, or the store is set
//! aside, or it is left alone.
//!
//! - here: what is written is read back. [`damage`]: files that are not as redb left them. [`refused`]: an operating system
//!   that says no, and [`fallback`]: where the records are then. [`cuts`]: a process that is killed, or a machine that loses its power, at each write.

mod cuts;
mod damage;
mod fallback;
mod refused;

use jiff::{SignedDuration, Timestamp};
use proptest::test_runner::{RngAlgorithm, TestRng};

use super::*;
use crate::content::{Key, Observed, Record};

/// Chance that is the same each time.
struct Chance(TestRng);

impl Chance {
    fn new(seed: u8) -> Self {
        Self(TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]))
    }

    fn below(&mut self, limit: usize) -> usize {
        use proptest::prelude::Rng as _;
        usize::try_from(self.0.next_u64() % limit as u64).unwrap()
    }
}

fn nanos(nanoseconds: i128) -> Timestamp {
    Timestamp::from_nanosecond(nanoseconds).unwrap()
}

fn key(id: &str, handler: &str) -> Key {
    (id.to_owned(), handler.to_owned())
}

/// What a store that can't be used is named.
const ASIDE: &str = "images.redb.set-aside";

fn record(first_detected: i128, last_used: Option<i128>) -> Record {
    Record {
        first_detected: nanos(first_detected),
        last_used: last_used.map(nanos),
        size_bytes: 1,
        pinned: false,
        absent_at: None,
    }
}

fn observed(wall: i128) -> Observed {
    Observed { wall: nanos(wall), boot: SignedDuration::from_nanos(7), boot_id: "this boot".to_owned() }
}

/// Changes some images and uses of a content.
fn change(content: &mut Content, chance: &mut Chance, round: i128) {
    if chance.below(20) == 0 {
        *content = Content::default();
    }
    for _ in 0..chance.below(12) {
        let at = i128::try_from(chance.below(1 << 40)).unwrap();
        let key = key(&format!("image-{}", chance.below(40)), ["", "runsc"][chance.below(2)]);
        let last_used = (chance.below(2) == 0).then_some(at + 1);
        match chance.below(3) {
            0 => drop(content.images.remove(&key)),
            _ => drop(content.images.insert(key, record(at, last_used))),
        }
        let reference = format!("r.io/{}", chance.below(20));
        match chance.below(3) {
            0 => drop(content.uses.remove(&reference)),
            _ => drop(content.uses.insert(reference, nanos(at))),
        }
    }
    content.observed = Some(observed(round));
}

/// Some images and uses of the year 2026, each with times of its own.
fn sample(images: i128) -> Content {
    let begun = 1_790_000_000_000_000_000;
    let image = |number: i128| {
        let record = Record {
            first_detected: nanos(begun + number),
            last_used: (number % 3 > 0).then(|| nanos(begun + 1_000_000_000 * number + 1)),
            size_bytes: u64::try_from(number).unwrap() << 20,
            pinned: number % 5 == 0,
            absent_at: (number % 7 == 0).then(|| nanos(begun - 1)),
        };
        (key(&format!("sha256:{number:064x}"), if number % 4 == 0 { "runsc" } else { "" }), record)
    };
    let uses = (0..images / 4).map(|n| (format!("r.io/job:{n}"), nanos(begun + 3 * n))).collect();
    Content {
        images: (0..images).map(image).collect(),
        uses,
        observed: Some(observed(begun)),
        listed: Some(nanos(begun)),
    }
}

/// A state directory with a store that holds a content; it was closed.
fn stored(content: &Content) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::of(folder.path(), Origin::default());
    store.open().unwrap();
    store.commit(content.clone()).unwrap();
    folder
}

/// What another process reads there, in both ways.
#[track_caller]
fn reads(folder: &Path) -> Content {
    let copied = read_copy(folder, &Origin::default()).unwrap();
    let opened = Store::of(folder, Origin::default()).open().unwrap();
    assert_eq!(opened.set_aside, None);
    assert_eq!(copied, opened.content);
    opened.content
}

#[test]
fn what_is_written_is_read_back_exactly() {
    let (min, max) = (Timestamp::MIN.as_nanosecond(), Timestamp::MAX.as_nanosecond());
    let mut content = Content::default();
    let times =
        [(min, None), (0, Some(max)), (1, Some(-1)), (max, Some(min)), (1_790_000_000_123_456_789, Some(0))];
    for (number, (first_detected, last_used)) in times.into_iter().enumerate() {
        for handler in ["", "runsc", "kata\u{0}ö"] {
            let size_bytes = u64::MAX - number as u64;
            let record = Record { size_bytes, pinned: number % 2 == 0, ..record(first_detected, last_used) };
            content.images.insert(key(&format!("sha256:{number}"), handler), record);
        }
    }
    content.images.insert(key("", ""), record(5, None));
    content.images.insert(key(&"long".repeat(20_000), ""), record(6, Some(7)));
    for (reference, at) in [("", min), ("r.io/a:1", max), ("r.io/a@sha256:1", 1), ("ö\n\u{0}", -999_999_999)]
    {
        content.uses.insert(reference.to_owned(), nanos(at));
    }
    for boot in [SignedDuration::MIN, SignedDuration::new(0, 1), SignedDuration::MAX] {
        content.observed = Some(Observed { wall: nanos(max), boot, boot_id: "ö".to_owned() });
        assert_eq!(reads(stored(&content).path()), content);
    }
}

#[test]
fn a_store_that_nothing_was_written_to_is_empty_and_none_is_no_error() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(read_copy(folder.path(), &Origin::default()).unwrap(), Content::default());
    assert!(!folder.path().join(NAME).exists(), "a read creates nothing");
    assert_eq!(Store::of(folder.path(), Origin::default()).open().unwrap().content, Content::default());
    assert_eq!(reads(folder.path()), Content::default());
    let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(folder.path().join(NAME)).unwrap());
    assert_eq!(mode & 0o777, 0o600, "no other user may read it");
}

#[test]
fn what_is_committed_replaces_what_was_there() {
    let mut chance = Chance::new(1);
    let folder = tempfile::tempdir().unwrap();
    let (mut store, mut content) = (Store::of(folder.path(), Origin::default()), Content::default());
    for round in 0..300 {
        change(&mut content, &mut chance, round);
        store.commit(content.clone()).unwrap();
        assert_eq!(
            read_copy(folder.path(), &Origin::default()).unwrap(),
            content,
            "what is committed is there, round {round}"
        );
        // Now and then it is closed, and another one continues with it.
        if round % 50 == 49 {
            drop(store);
            store = Store::of(folder.path(), Origin::default());
            assert_eq!(store.open().unwrap().content, content, "round {round}");
        }
    }
}

#[test]
fn two_processes_cannot_use_one_store() {
    let folder = stored(&sample(8));
    let mut first = Store::of(folder.path(), Origin::default());
    first.open().unwrap();
    let mut second = Store::of(folder.path(), Origin::default());
    assert!(matches!(second.open(), Err(StoreError::Refused(_))), "it is not set aside");
    first.commit(sample(9)).unwrap();
    assert_eq!(read_copy(folder.path(), &Origin::default()).unwrap(), sample(9));
    drop(first);
    assert_eq!(second.open().unwrap().content, sample(9));
}

#[test]
fn a_read_during_commits_sees_a_complete_commit_or_fails() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::of(folder.path(), Origin::default());
    // Twice: a copy that is made while the header is written may show the commit before, which at first is that of an empty store. Then
    // all images count as young.
    store.commit(sample(0)).unwrap();
    store.commit(sample(1)).unwrap();
    let (done, is_done) = crossbeam_channel::bounded::<()>(0);
    let path = folder.path().to_owned();
    let reads = std::thread::spawn(move || {
        let (mut good, mut torn) = (0, 0);
        loop {
            // The last one is no longer disturbed.
            let is_last = is_done.try_recv() == Err(crossbeam_channel::TryRecvError::Disconnected);
            match read_copy(&path, &Origin::default()) {
                Ok(content) => {
                    let images = i128::try_from(content.images.len()).unwrap();
                    assert_eq!(content, sample(images), "half of one");
                    good += 1;
                }
                Err(StoreError::Damaged(_)) if !is_last => torn += 1,
                Err(error) => panic!("{error}"),
            }
            if is_last {
                return (good, torn);
            }
        }
    });
    for round in 1..300 {
        store.commit(sample(round % 60)).unwrap();
    }
    drop(done);
    let (good, torn) = reads.join().unwrap();
    println!("{good} good reads, {torn} in the middle of a commit");
    assert!(good > 0);
}

#[test]
fn a_socket_in_another_spelling_is_the_same_runtime() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    fs::create_dir(root.join("run")).unwrap();
    std::os::unix::fs::symlink("run", root.join("link")).unwrap();
    let of = |runtime: String| Origin { machine: "m".to_owned(), runtime };
    let ours = of(root.join("run/c.sock").display().to_string());
    for spelling in ["run/c.sock", "link/c.sock", "run//c.sock", "run/./c.sock"] {
        for scheme in ["", "unix://"] {
            let theirs = of(format!("{scheme}{}/{spelling}", root.display()));
            assert!(ours.is(&theirs) && theirs.is(&ours), "{scheme}{spelling}");
        }
    }
    assert!(!ours.is(&of(root.join("run/d.sock").display().to_string())));
    assert!(of("unix:///nowhere//c.sock".to_owned()).is(&of("/nowhere/c.sock".to_owned())));
}
