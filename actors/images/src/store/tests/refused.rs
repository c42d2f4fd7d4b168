//! An operating system that says no: the store is left as it is, and nothing in it is forgotten once it says yes.

use cri_gc_test_support::{Tmpfs, TmpfsSize};

use super::*;

/// A state directory on a small filesystem of its own, and the filesystem; `None` without the right to mount one.
fn small_disk() -> Option<(Tmpfs, tempfile::TempDir)> {
    let folder = tempfile::tempdir().unwrap();
    match Tmpfs::mount(folder.path(), TmpfsSize::mib(8)) {
        // Unmounted first, then removed.
        Ok(tmpfs) => Some((tmpfs, folder)),
        Err(error) => {
            println!("skipped: no tmpfs can be mounted here ({error})");
            None
        }
    }
}

#[track_caller]
fn refused<T: std::fmt::Debug>(done: Result<T, StoreError>) -> String {
    match done {
        Err(StoreError::Refused(error)) => error.to_string(),
        other => panic!("not refused, but {other:?}"),
    }
}

/// Records that are newer than those of [`sample`] in every respect, of the same images and one more.
fn newer(content: &Content) -> Content {
    let mut content = content.clone();
    let day = 86_400_000_000_000;
    for record in content.images.values_mut() {
        record.first_detected = nanos(record.first_detected.as_nanosecond() + day);
        record.last_used = record.last_used.map(|_| record.first_detected);
    }
    content.images.insert(key("sha256:new", ""), record(2_000_000_000_000_000_000, None));
    content
}

/// Nothing of `content` has gone back: what is older of first detected, what is newer of last used.
#[track_caller]
fn is_merged(disk: &Content, content: &Content, written: &Content) {
    assert_eq!(disk.images.len(), content.images.len() + 1);
    for (key, new) in &written.images {
        let now = &disk.images[key];
        let Some(old) = content.images.get(key) else {
            assert_eq!(now, new);
            continue;
        };
        assert_eq!(now.first_detected, old.first_detected, "{key:?}");
        assert_eq!(now.last_used, new.last_used.max(old.last_used), "{key:?}");
    }
}

#[test]
fn a_directory_in_its_place_is_reported_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join(NAME).join("in it")).unwrap();
    let mut store = Store::of(folder.path(), Origin::default());
    refused(store.open());
    refused(store.commit(sample(3)));
    assert!(read_copy(folder.path(), &Origin::default()).is_err());
    assert!(folder.path().join(NAME).join("in it").is_dir() && !folder.path().join(ASIDE).exists());
    // Once it is gone, all is well.
    fs::remove_dir_all(folder.path().join(NAME)).unwrap();
    store.commit(sample(3)).unwrap();
    assert_eq!(read_copy(folder.path(), &Origin::default()).unwrap(), sample(3));
}

#[test]
fn a_state_directory_that_is_missing_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("state");
    let mut store = Store::of(&dir, Origin::default());
    refused(store.open());
    refused(store.commit(sample(3)));
    fs::create_dir(&dir).unwrap();
    store.commit(sample(3)).unwrap();
    assert_eq!(read_copy(&dir, &Origin::default()).unwrap(), sample(3));
}

#[test]
fn a_bad_store_that_cannot_be_set_aside_is_reported_and_left_alone() {
    let folder = stored(&sample(3));
    let mut bytes = fs::read(folder.path().join(NAME)).unwrap();
    bytes[64..].fill(0xA5);
    fs::write(folder.path().join(NAME), &bytes).unwrap();
    let names = (2..=MOST_ASIDE).map(|number| format!("{ASIDE}.{number}")).chain([ASIDE.to_owned()]);
    names.for_each(|name| fs::create_dir(folder.path().join(name)).unwrap());
    let mut store = Store::of(folder.path(), Origin::default());
    refused(store.open());
    refused(store.commit(sample(3)));
    fs::remove_dir(folder.path().join(ASIDE)).unwrap();
    let opened = store.commit(sample(3)).unwrap().unwrap();
    assert!(opened.set_aside.is_some());
    drop(store);
    assert_eq!(reads(folder.path()), sample(3));
}

#[test]
fn a_store_that_was_set_aside_is_reported_though_the_new_one_cannot_be_made_at_once() {
    let Some((_tmpfs, folder)) = small_disk() else { return };
    // Far larger than a new store, so that no room is left for one next to it.
    fs::write(folder.path().join(NAME), [b"redb\x1A\x0A\xA9\x0D\x0A".as_slice(), &[0xA5; 100_000]].concat())
        .unwrap();
    let ballast = folder.path().join("ballast");
    fill(&ballast);
    let mut store = Store::of(folder.path(), Origin::default());
    let mut notices: Vec<String> =
        store.open().ok().into_iter().filter_map(|opened| opened.set_aside).collect();
    assert!(folder.path().join(ASIDE).exists());
    fs::remove_file(ballast).unwrap();
    let opened = store.commit(sample(3)).unwrap();
    notices.extend(opened.and_then(|opened| opened.set_aside));
    assert_eq!(notices.len(), 1, "it is reported once that the records are gone: {notices:?}");
    let kept = fs::metadata(folder.path().join(ASIDE)).unwrap().len();
    assert_eq!(
        kept, 100_009,
        "what was set aside is still there, and not what a full disk left of a new one"
    );
}

#[test]
fn a_store_that_could_not_be_read_at_first_is_merged_and_no_time_decreases() {
    let Some((tmpfs, folder)) = small_disk() else { return };
    let content = sample(30);
    let mut store = Store::of(folder.path(), Origin::default());
    store.commit(content.clone()).unwrap();
    drop(store);
    let bytes = fs::read(folder.path().join(NAME)).unwrap();
    tmpfs.set_read_only(true).unwrap();
    let mut store = Store::of(folder.path(), Origin::default());
    for _ in 0..3 {
        refused(store.open());
        refused(store.commit(newer(&content)));
    }
    assert_eq!(read_copy(folder.path(), &Origin::default()).unwrap(), content, "it can still be read");
    assert_eq!(fs::read(folder.path().join(NAME)).unwrap(), bytes, "untouched");
    tmpfs.set_read_only(false).unwrap();
    let opened = store.commit(newer(&content)).unwrap().unwrap();
    assert_eq!((opened.content, opened.set_aside), (content.clone(), None));
    drop(store);
    is_merged(&reads(folder.path()), &content, &newer(&content));
}

#[test]
fn unknown_records_are_kept_in_a_store_that_could_not_be_read_at_first() {
    // A loop has reported a use before any loop has listed the images: what is not known by then is not gone.
    let content = sample(8);
    let folder = stored(&content);
    let uses = [("r.io/new:1".to_owned(), nanos(1_800_000_000_000_000_000))].into();
    let known = Content { uses, ..Content::default() };
    let opened = Store::of(folder.path(), Origin::default()).commit(known).unwrap().unwrap();
    assert_eq!(opened.content, content);
    let disk = reads(folder.path());
    assert_eq!(disk.images, content.images);
    for (reference, at) in &content.uses {
        assert_eq!(disk.uses.get(reference), Some(at), "{reference}");
    }
}

#[test]
fn a_disk_that_becomes_full_costs_no_record_and_is_used_again_when_it_is_not() {
    let Some((_tmpfs, folder)) = small_disk() else { return };
    let content = sample(30);
    let mut store = Store::of(folder.path(), Origin::default());
    store.commit(content.clone()).unwrap();
    let ballast = folder.path().join("ballast");
    fill(&ballast);
    // So many records that the store has to grow, and cannot.
    let many = Content { images: sample(8_000).images, ..content.clone() };
    for round in 0..6 {
        match store.commit(many.clone()) {
            Ok(_) => panic!("it finds room: round {round}"),
            Err(StoreError::Refused(_)) => {}
            Err(error) => panic!("a full disk is no damage: {error}"),
        }
        assert!(!folder.path().join(ASIDE).exists());
        assert_eq!(
            read_copy(folder.path(), &Origin::default()).unwrap(),
            content,
            "what was committed is there, round {round}"
        );
    }
    // Another process can't do more.
    drop(store);
    let mut store = Store::of(folder.path(), Origin::default());
    if let Ok(opened) = store.open() {
        assert_eq!((opened.content, opened.set_aside), (content, None));
    }
    drop(store);
    fs::remove_file(ballast).unwrap();
    let mut store = Store::of(folder.path(), Origin::default());
    store.commit(many.clone()).unwrap();
    drop(store);
    assert_eq!(reads(folder.path()), many);
}

#[test]
fn on_a_disk_that_is_full_from_the_start_it_is_made_later() {
    let Some((_tmpfs, folder)) = small_disk() else { return };
    let ballast = folder.path().join("ballast");
    fill(&ballast);
    let mut store = Store::of(folder.path(), Origin::default());
    for _ in 0..3 {
        refused(store.open());
        refused(store.commit(sample(3)));
    }
    drop(store);
    fs::remove_file(ballast).unwrap();
    let mut store = Store::of(folder.path(), Origin::default());
    let opened = store.commit(sample(3)).unwrap().unwrap();
    assert_eq!(opened.content, Content::default());
    drop(store);
    assert_eq!(reads(folder.path()), sample(3));
}

/// Takes all room there is.
pub fn fill(file: &Path) {
    use std::io::Write;
    let mut file = fs::File::create(file).unwrap();
    for size in [1 << 16, 4096, 1] {
        while file.write_all(&vec![1; size]).is_ok() {}
    }
}
