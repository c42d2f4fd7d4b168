//! A state directory that can't be written: the records are in the copy meanwhile and move back later, no time decreases, and no
//! image becomes older than it is.

use std::collections::BTreeMap;
use std::path::PathBuf;

use cri_gc_policy::Image;
use cri_gc_test_support::{Tmpfs, TmpfsSize};

use super::refused::fill;
use super::*;
use crate::records::Records;
use crate::store::fallback::{FallbackStore, Outcome, read_both};
use cri_gc_files::dirs::Dirs;
use cri_gc_kit::seams::Moment;

const BOOT: &str = "this boot";

/// A state directory and a place for its copy.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("state")).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn dirs(&self) -> Dirs {
        Dirs { state: self.path("state"), runtime: Some(self.path("run/state")) }
    }

    fn store(&self) -> FallbackStore {
        FallbackStore::new(self.dirs(), Origin::default(), BOOT.to_owned())
    }

    fn copy(&self) -> PathBuf {
        self.path("run/state").join(NAME)
    }

    /// Nothing can be read or written in the state directory from now on, or again.
    fn break_disk(&self, is_broken: bool) {
        let (state, moved) = (self.path("state"), self.path("moved"));
        if is_broken {
            fs::rename(&state, &moved).unwrap();
            fs::write(&state, "a file").unwrap();
        } else {
            fs::remove_file(&state).unwrap();
            fs::rename(&moved, &state).unwrap();
        }
    }

    /// What a command that only plans reads.
    fn planned(&self) -> Content {
        read_both(&self.dirs(), &Origin::default(), BOOT).unwrap()
    }
}

/// It was observed at that second of this boot.
fn seen_at(content: Content, second: i64) -> Content {
    let (wall, boot) = (Timestamp::from_second(second).unwrap(), SignedDuration::from_secs(second));
    Content { observed: Some(Observed { wall, boot, boot_id: BOOT.to_owned() }), ..content }
}

#[track_caller]
fn is_in_copy(done: Result<Outcome, StoreError>) {
    assert!(done.unwrap().refused.is_some(), "it is on the disk");
}

#[track_caller]
fn is_on_disk(done: Result<Outcome, StoreError>) {
    let refused = done.unwrap().refused;
    assert!(refused.is_none(), "{refused:?}");
}

#[track_caller]
fn loaded(store: &mut FallbackStore, is_on_disk: bool) -> Content {
    let Outcome { opened, refused } = store.open().unwrap();
    assert_eq!(refused.is_none(), is_on_disk, "{refused:?}");
    opened.unwrap().content
}

#[test]
fn on_a_full_disk_the_records_are_in_the_copy_and_return_when_there_is_room() {
    for restarts in [false, true] {
        let place = Place::new();
        let _tmpfs = match Tmpfs::mount(&place.path("state"), TmpfsSize::mib(4)) {
            Ok(tmpfs) => tmpfs,
            Err(error) => return println!("skipped: no tmpfs can be mounted here ({error})"),
        };
        let ballast = place.path("state/ballast");
        fill(&ballast);
        let content = seen_at(sample(30), 50);
        let mut store = place.store();
        assert_eq!(loaded(&mut store, false), Content::default());
        is_in_copy(store.commit(content.clone()));
        assert_eq!(place.planned(), content);
        if restarts {
            drop(store);
            store = place.store();
            assert_eq!(loaded(&mut store, false), content, "another process continues with the copy");
        }
        let more = seen_at(sample(40), 60);
        is_in_copy(store.commit(more.clone()));
        fs::remove_file(ballast).unwrap();
        if restarts {
            drop(store);
            store = place.store();
            assert_eq!(loaded(&mut store, true), more);
        } else {
            is_on_disk(store.commit(more.clone()));
        }
        assert!(!place.copy().exists());
        drop(store);
        assert_eq!(read_copy(&place.path("state"), &Origin::default()).unwrap(), more);
    }
}

#[test]
fn records_on_a_read_only_disk_are_known_and_what_changes_is_in_the_copy() {
    let place = Place::new();
    let tmpfs = match Tmpfs::mount(&place.path("state"), TmpfsSize::mib(4)) {
        Ok(tmpfs) => tmpfs,
        Err(error) => return println!("skipped: no tmpfs can be mounted here ({error})"),
    };
    let content = seen_at(sample(30), 50);
    is_on_disk(place.store().commit(content.clone()));
    tmpfs.set_read_only(true).unwrap();
    let mut store = place.store();
    assert_eq!(loaded(&mut store, false), content);
    // One image has gone meanwhile.
    let mut less = seen_at(content.clone(), 60);
    let gone = key("sha256:0000000000000000000000000000000000000000000000000000000000000003", "");
    assert!(less.images.remove(&gone).is_some());
    is_in_copy(store.commit(less.clone()));
    drop(store);
    assert_eq!(place.planned(), less, "and not what the disk holds of it");
    tmpfs.set_read_only(false).unwrap();
    assert_eq!(loaded(&mut place.store(), true), less);
    assert_eq!(reads(&place.path("state")), less);
}

#[test]
fn a_state_directory_that_is_missing_is_made_once_it_can_be() {
    let place = Place::new();
    fs::remove_dir(place.path("state")).unwrap();
    fs::write(place.path("state"), "a file").unwrap();
    let content = seen_at(sample(3), 50);
    let mut store = place.store();
    assert!(store.open().is_err());
    is_in_copy(store.commit(content.clone()));
    fs::remove_file(place.path("state")).unwrap();
    is_on_disk(store.commit(content.clone()));
    let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(place.path("state")).unwrap());
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn where_neither_can_be_written_both_are_named() {
    let place = Place::new();
    place.break_disk(true);
    fs::write(place.path("run"), "a file").unwrap();
    let mut store = place.store();
    assert!(store.open().is_err());
    let error = store.commit(seen_at(sample(3), 50)).unwrap_err();
    assert!(matches!(error, StoreError::Nowhere { .. }), "{error}");
    assert!(error.to_string().contains(place.copy().to_str().unwrap()), "{error}");
}

#[test]
fn a_copy_of_another_boot_or_another_runtime_is_not_used() {
    let of = |runtime: &str| Origin { machine: "machine".to_owned(), runtime: runtime.to_owned() };
    for (boot, runtime) in [("the next boot", "/a.sock"), (BOOT, "/b.sock")] {
        let place = Place::new();
        place.break_disk(true);
        let mut store = FallbackStore::new(place.dirs(), of("/a.sock"), BOOT.to_owned());
        is_in_copy(store.commit(seen_at(sample(3), 50)));
        drop(store);
        place.break_disk(false);
        assert_eq!(read_both(&place.dirs(), &of(runtime), boot).unwrap(), Content::default());
        assert!(place.copy().exists(), "a read touches nothing");
        let mut store = FallbackStore::new(place.dirs(), of(runtime), boot.to_owned());
        assert_eq!(loaded(&mut store, true), Content::default(), "{boot}, {runtime}");
        // That of another runtime is left until something was seen of this one.
        assert_eq!(place.copy().exists(), boot == BOOT);
        is_on_disk(store.commit(seen_at(sample(1), 60)));
        assert!(!place.copy().exists());
    }
}

#[test]
fn a_copy_that_a_crash_left_behind_does_not_outlive_what_was_observed_since() {
    let place = Place::new();
    place.break_disk(true);
    let mut store = place.store();
    is_in_copy(store.commit(seen_at(sample(8), 50)));
    let left = fs::read(place.copy()).unwrap();
    place.break_disk(false);
    // An image is removed, another one is pulled again.
    let mut newer = seen_at(sample(8), 60);
    let keys: Vec<Key> = newer.images.keys().cloned().collect();
    newer.images.remove(&keys[0]);
    newer.images.insert(
        keys[1].clone(),
        Record {
            absent_at: Some(nanos(1_795_000_000_000_000_000)),
            ..record(1_800_000_000_000_000_000, None)
        },
    );
    newer.listed = Some(nanos(1_800_000_000_000_000_000));
    is_on_disk(store.commit(newer.clone()));
    drop(store);
    fs::write(place.copy(), left).unwrap();
    assert_eq!(place.planned().images, newer.images);
    assert_eq!(loaded(&mut place.store(), true).images, newer.images);
    assert!(!place.copy().exists());
}

#[test]
fn a_store_that_was_written_before_the_clock_was_set_is_not_used() {
    let place = Place::new();
    let content = seen_at(sample(8), 50);
    is_on_disk(place.store().commit(content.clone()));
    place.break_disk(true);
    // Set forward by an hour, ten seconds later.
    let mut set = Content { images: sample(2).images, ..seen_at(Content::default(), 3_660) };
    set.observed.as_mut().unwrap().boot = SignedDuration::from_secs(60);
    is_in_copy(place.store().commit(set.clone()));
    place.break_disk(false);
    assert_eq!(place.planned(), set);
    assert_eq!(loaded(&mut place.store(), true), set);
}

/// One copy of an image, as the test knows it. Copies of which the next came before anybody saw that the last had gone are one.
#[derive(Debug, Clone, Copy, Default)]
struct Truth {
    is_there: bool,
    first_seen: Option<i64>,
    last_used: Option<i64>,
}

/// A process at work with a store, as the keeper is.
struct Life {
    store: FallbackStore,
    records: Records,
    /// All that was seen before is known: by the state directory, or by a copy that was made of it.
    knows_all: bool,
    copy_knows_all: bool,
    listed_at: Option<i64>,
}

impl Life {
    fn begin(place: &Place, now: i64, copy_knows_all: bool) -> Self {
        let (mut store, mut records) = (place.store(), Records::new(BOOT.to_owned()));
        let loaded = store.open();
        let knows_all = loaded.as_ref().is_ok_and(|loaded| loaded.refused.is_none() || copy_knows_all);
        if loaded.as_ref().map_or(true, |loaded| loaded.refused.is_some()) {
            records.mark_unsaved();
        }
        if let Some(opened) = loaded.ok().and_then(|loaded| loaded.opened) {
            records.load(opened.content, moment(now));
        }
        Self { store, records, knows_all, copy_knows_all, listed_at: None }
    }

    fn commit(&mut self, now: Moment) {
        while let Some(content) = self.records.unsaved() {
            let Outcome { opened, refused } = self.store.commit(content).unwrap();
            if let Some(opened) = opened {
                self.records.load(opened.content, now);
            }
            self.knows_all |= refused.is_none();
            self.copy_knows_all = refused.is_some() && (self.copy_knows_all || self.knows_all);
            if refused.is_some() {
                return self.records.mark_unsaved();
            }
        }
    }
}

fn moment(second: i64) -> Moment {
    Moment::new(Timestamp::from_second(second).unwrap(), SignedDuration::from_secs(second))
}

fn image(id: &str) -> Image {
    Image {
        id: id.to_owned(),
        runtime_handler: String::new(),
        repo_tags: Vec::new(),
        repo_digests: Vec::new(),
        size_bytes: 1,
        pinned: false,
        first_detected: None,
        last_used: None,
        in_use_elsewhere: false,
    }
}

/// The clock is set while the records are in the copy: what the disk still holds is by the old clock.
#[test]
fn ages_count_from_when_the_clock_was_set_though_the_disk_still_holds_what_was_before() {
    const DAYS: i64 = 3 * 86_400;
    for restarts in [false, true] {
        let place = Place::new();
        let set = |second: i64| {
            Moment::new(Timestamp::from_second(second + DAYS).unwrap(), SignedDuration::from_secs(second))
        };
        let list = |life: &mut Life, now: Moment| {
            let mut images = vec![image("a")];
            life.commit(now);
            life.records.list(&mut images, now);
            life.commit(now);
            images[0].first_detected.unwrap().as_second()
        };
        let mut life = Life::begin(&place, 1_000, false);
        assert_eq!(list(&mut life, moment(1_000)), 1_000);
        place.break_disk(true);
        assert_eq!(list(&mut life, moment(1_020)), 1_000);
        let since = 1_040 + DAYS;
        assert_eq!(list(&mut life, set(1_040)), since);
        place.break_disk(false);
        assert_eq!(list(&mut life, set(1_060)), since);
        assert_eq!(list(&mut life, set(1_080)), since);
        assert!(!place.copy().exists());
        if restarts {
            drop(life);
            let mut store = place.store();
            let mut records = Records::new(BOOT.to_owned());
            records.load(loaded(&mut store, true), set(1_100));
            let mut images = vec![image("a")];
            records.list(&mut images, set(1_100));
            assert_eq!(images[0].first_detected.unwrap().as_second(), since);
        }
    }
}

/// What a list reports is what was seen, through broken disks, restarts, and crashes before the copy is removed.
#[test]
fn whatever_happens_to_the_disk_the_ages_of_an_image_are_those_that_were_seen() {
    for seed in 0..4 {
        let mut chance = Chance::new(seed);
        let place = Place::new();
        let (mut now, mut is_broken, mut unread) = (1_000_i64, false, 0);
        let mut there: BTreeMap<String, Truth> = BTreeMap::new();
        let mut life = Life::begin(&place, now, false);
        for step in 0..300 {
            now += 20;
            let id = format!("image-{}", chance.below(6));
            match chance.below(10) {
                0..2 => there.entry(id).or_default().is_there = true,
                // Another program removes it.
                2 if chance.below(2) == 0 => there.entry(id).or_default().is_there = false,
                2 => {
                    // A pass removes it, which has listed it before and knows of no use since.
                    let is_unused =
                        |truth: &Truth| life.listed_at.is_some_and(|at| truth.last_used < Some(at));
                    if there.get(&id).is_some_and(is_unused) {
                        there.remove(&id);
                        life.records.forget(&id);
                        life.commit(moment(now));
                    }
                }
                3..5 => {
                    if let Some(truth) = there.get_mut(&id).filter(|truth| truth.is_there) {
                        truth.last_used = Some(now);
                        life.records.used([(id.clone(), Timestamp::from_second(now).unwrap())], moment(now));
                        life.commit(moment(now));
                    }
                }
                5 => {
                    is_broken = !is_broken;
                    place.break_disk(is_broken);
                }
                6 => {
                    let copy = fs::read(place.copy()).ok();
                    life.commit(moment(now));
                    let copy_knows_all = life.copy_knows_all;
                    drop(life);
                    if let Some(copy) = copy.filter(|_| !place.copy().exists()) {
                        // It was killed right before it removed the copy.
                        fs::write(place.copy(), copy).unwrap();
                    }
                    life = Life::begin(&place, now, copy_knows_all);
                }
                _ => {
                    // As for a pass: after a failure the store may be read by now.
                    life.commit(moment(now));
                    // If it was seen that one is missing, it is another one that comes.
                    there.retain(|_, truth| truth.is_there);
                    life.listed_at = Some(now);
                    let mut images: Vec<Image> = there.keys().map(|id| image(id)).collect();
                    let mut recalled = images.clone();
                    life.records.recall(&mut recalled, &[], moment(now));
                    life.records.list(&mut images, moment(now));
                    assert_eq!(recalled, images, "a recall answers the same");
                    life.commit(moment(now));
                    for image in images {
                        let truth = there.get_mut(&image.id).unwrap();
                        let second = |time: Timestamp| time.as_second();
                        let (first, used) =
                            (image.first_detected.map(second).unwrap(), image.last_used.map(second));
                        let expected = *truth.first_seen.get_or_insert(now);
                        let case = format!("seed {seed}, step {step}: {image:?} is {truth:?}, now {now}");
                        if life.knows_all {
                            assert_eq!((first, used), (expected, truth.last_used), "{case}");
                        } else {
                            unread += 1;
                            assert!(first >= expected && used <= truth.last_used, "older than it is: {case}");
                        }
                    }
                }
            }
        }
        println!("seed {seed}: {unread} images were listed while the disk could not be read");
    }
}

/// A wrong socket in the settings, at which no runtime answers, costs no record.
#[test]
fn records_of_another_runtime_are_left_until_something_was_seen_of_this_one() {
    let place = Place::new();
    let store_of = |socket: &str| {
        let origin = Origin { machine: "m".to_owned(), runtime: socket.to_owned() };
        FallbackStore::new(place.dirs(), origin, BOOT.to_owned())
    };
    let (right, wrong) = ("/run/containerd/containerd.sock", "/run/containerd/containerd.sokc");
    let content = seen_at(sample(5), 50);
    is_on_disk(store_of(right).commit(content.clone()));
    // Its copy is of the same runtime.
    fs::create_dir_all(place.path("run/state")).unwrap();
    fs::copy(place.path("state").join(NAME), place.copy()).unwrap();
    assert_eq!(loaded(&mut store_of(wrong), true), Content::default());
    assert!(place.copy().exists());
    assert_eq!(loaded(&mut store_of(right), true), content);
    // There is another runtime after all.
    let mut other = store_of(wrong);
    assert_eq!(loaded(&mut other, true), Content::default());
    let opened = other.commit(seen_at(sample(2), 60)).unwrap().opened.unwrap();
    assert!(opened.set_aside.is_some_and(|why| why.contains("they belong to another runtime")));
    drop(other);
    assert_eq!(loaded(&mut store_of(wrong), true), seen_at(sample(2), 60));
}
