//! Files that are not as redb left them.

use std::os::unix::fs::symlink;

use redb::MultimapTableDefinition;

use super::*;

/// The bytes of a store that was closed.
fn bytes_of(content: &Content) -> Vec<u8> {
    fs::read(stored(content).path().join(NAME)).unwrap()
}

/// The bytes of a store of several commits that a service is at work with, as a crash leaves them.
fn bytes_in_use(contents: &[Content]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::of(folder.path(), Origin::default());
    for content in contents {
        store.commit(content.clone()).unwrap();
    }
    fs::read(folder.path().join(NAME)).unwrap()
}

/// How a store of such bytes is taken.
#[derive(Debug, PartialEq, Eq)]
enum Taken {
    /// It is used, with that content.
    As(Box<Content>),
    /// It was set aside, and there is a new one.
    SetAside,
    /// It was left where it is, for it may come right.
    Refused(String),
}

/// Opens a store of such bytes. Whatever they are, the next steps work.
#[track_caller]
fn take(bytes: &[u8], what: &str) -> Taken {
    let folder = tempfile::tempdir().unwrap();
    let (path, aside) = (folder.path().join(NAME), folder.path().join(ASIDE));
    fs::write(&path, bytes).unwrap();
    let copied = read_copy(folder.path(), &Origin::default());
    assert_eq!(fs::read(&path).unwrap(), bytes, "{what}: a read changes nothing");
    let mut store = Store::of(folder.path(), Origin::default());
    match store.open() {
        Ok(Opened { content, set_aside: None }) => {
            assert!(!aside.exists(), "{what}");
            assert_eq!(copied.unwrap(), content, "{what}: a read sees the same");
            drop(store);
            assert_eq!(reads(folder.path()), content, "{what}: and the next one does");
            Taken::As(Box::new(content))
        }
        Ok(Opened { content, set_aside: Some(notice) }) => {
            is_set_aside(folder.path(), &content, &notice, what);
            assert!(copied.is_err(), "{what}: {copied:?}");
            store.commit(sample(3)).unwrap();
            drop(store);
            assert_eq!(reads(folder.path()), sample(3), "{what}: the new one is of use");
            Taken::SetAside
        }
        Err(error) => {
            assert!(matches!(error, StoreError::Refused(_)), "{what}: {error}");
            assert!(!aside.exists(), "{what}");
            Taken::Refused(error.to_string())
        }
    }
}

/// No image is old by what is left, and the sentence names both files.
#[track_caller]
fn is_set_aside(folder: &Path, content: &Content, notice: &str, what: &str) {
    assert_eq!(*content, Content::default(), "{what}");
    for file in [folder.join(NAME), folder.join(ASIDE)] {
        assert!(notice.contains(file.to_str().unwrap()), "{what}: {notice}");
        assert!(file.exists(), "{what}: {}", file.display());
    }
    assert!(notice.contains("all images count as new"), "{notice}");
}

#[test]
fn an_empty_file_is_set_aside_as_any_other_that_is_no_store() {
    assert_eq!(take(b"", "0 bytes"), Taken::SetAside);
}

#[test]
fn what_was_never_a_store_is_set_aside() {
    let mut chance = Chance::new(2);
    let mut others: Vec<(String, Vec<u8>)> = vec![
        ("text".to_owned(), b"this is no store\n".repeat(1000)),
        ("SQLite".to_owned(), b"SQLite format 3\0".repeat(4096)),
        ("only the beginning of one".to_owned(), b"redb\x1A\x0A\xA9\x0D\x0A".to_vec()),
    ];
    for length in [1, 8, 9, 63, 64, 320, 4096, 100_000, 2_000_000] {
        others.push((format!("{length} zeros"), vec![0; length]));
        let garbage: Vec<u8> = (0..length).map(|_| u8::try_from(chance.below(256)).unwrap()).collect();
        let mut begun = garbage.clone();
        others.push((format!("{length} bytes of garbage"), garbage));
        // It begins as a store does.
        let head = &bytes_of(&sample(3))[..320.min(length)];
        begun[..head.len()].copy_from_slice(head);
        others.push((format!("{length} bytes, garbage behind the header"), begun));
    }
    let wrong: Vec<(String, Taken)> = others
        .into_iter()
        .map(|(what, bytes)| (what.clone(), take(&bytes, &what)))
        .filter(|(_, taken)| *taken != Taken::SetAside)
        .collect();
    assert_eq!(wrong, [], "taken otherwise");
}

#[test]
fn a_store_that_was_cut_off_is_set_aside_or_holds_what_was_written() {
    let bytes = bytes_of(&sample(60));
    let pages = (1..=20).flat_map(|page| [page * 4096 - 1, page * 4096, bytes.len() - page]);
    let lengths = (1..330).step_by(7).chain((1..bytes.len()).step_by(bytes.len() / 150)).chain(pages);
    let mut wrong = Vec::new();
    for length in lengths {
        match take(&bytes[..length], &format!("{length} of {} bytes", bytes.len())) {
            Taken::SetAside => {}
            Taken::As(content) if *content == sample(60) => {}
            other => wrong.push((length, brief(&other))),
        }
    }
    assert_eq!(wrong, [], "of {} bytes", bytes.len());
}

#[test]
fn a_longer_file_is_set_aside_or_holds_what_was_written() {
    for more in [1, 4095, 4096, 1 << 20] {
        let mut bytes = bytes_of(&sample(60));
        bytes.resize(bytes.len() + more, 0);
        match take(&bytes, &format!("{more} more")) {
            Taken::SetAside => {}
            other => assert_eq!(other, Taken::As(Box::new(sample(60))), "{more} more"),
        }
    }
}

/// Where to change something: anywhere, but mostly where something is.
fn places(bytes: &[u8], count: usize, chance: &mut Chance) -> Vec<usize> {
    let written: Vec<usize> = (0..bytes.len()).filter(|place| bytes[*place] != 0).collect();
    let place = |number: usize| match number % 4 {
        0 => chance.below(bytes.len()),
        // The header and its two slots.
        1 => chance.below(320),
        _ => written[chance.below(written.len())],
    };
    (0..count).map(place).collect()
}

/// The results for stores in which a byte was changed.
#[derive(Debug, Default)]
struct Changed {
    /// They hold what was written last.
    good: usize,
    /// They hold what was written before that.
    before: usize,
    aside: usize,
    /// Other results.
    wrong: Vec<String>,
}

/// Changes one byte at each of many places of a store, which holds the last of these contents.
fn changed(bytes: &[u8], contents: [&Content; 2], seed: u8) -> Changed {
    let mut chance = Chance::new(seed);
    let mut all = Changed::default();
    for (number, place) in places(bytes, 400, &mut chance).into_iter().enumerate() {
        let mut bytes = bytes.to_vec();
        let bit = number % 2 == 0;
        let change = if bit { 1 << chance.below(8) } else { u8::try_from(1 + chance.below(255)).unwrap() };
        bytes[place] ^= change;
        let what = format!("byte {place} changed by {change:#04x}");
        // Every check takes time: what is the same for all is only checked now and then.
        let taken = if number % 8 == 0 { take(&bytes, &what) } else { glance(&bytes) };
        match taken {
            Taken::SetAside => all.aside += 1,
            Taken::As(content) if *content == *contents[1] => all.good += 1,
            Taken::As(content) if *content == *contents[0] => all.before += 1,
            other => all.wrong.push(format!("{what}: {}", brief(&other))),
        }
    }
    println!("of 400: {} good, {} of the commit before, {} set aside", all.good, all.before, all.aside);
    all
}

/// The same as [`take`], without the checks of the next steps.
fn glance(bytes: &[u8]) -> Taken {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(NAME), bytes).unwrap();
    match Store::of(folder.path(), Origin::default()).open() {
        Ok(Opened { content, set_aside: None }) => Taken::As(Box::new(content)),
        Ok(_) => Taken::SetAside,
        Err(error) => Taken::Refused(error.to_string()),
    }
}

fn brief(taken: &Taken) -> String {
    match taken {
        Taken::As(content) => format!("{} images, {} uses", content.images.len(), content.uses.len()),
        other => format!("{other:?}"),
    }
}

#[test]
fn one_changed_byte_of_a_closed_store_changes_nothing_or_sets_it_aside() {
    // Of several commits: redb could return to the one before.
    let folder = tempfile::tempdir().unwrap();
    for content in [sample(30), sample(40), sample(60)] {
        Store::of(folder.path(), Origin::default()).commit(content.clone()).unwrap();
    }
    let bytes = fs::read(folder.path().join(NAME)).unwrap();
    let Changed { before, aside, wrong, .. } = changed(&bytes, [&sample(40), &sample(60)], 3);
    assert!(aside > 50, "{aside}: the changes must hit something");
    assert!(wrong.is_empty(), "{}: {wrong:#?}", wrong.len());
    assert_eq!(before, 0, "it is older than what was written last, and no error is reported");
}

#[test]
fn one_changed_byte_after_a_crash_changes_nothing_undoes_one_commit_or_sets_it_aside() {
    // A last commit that a crash may have cut short is undone as a whole: redb can't distinguish it from a changed byte.
    let (first, second, last) = (sample(30), sample(40), sample(60));
    let bytes = bytes_in_use(&[first, second.clone(), last.clone()]);
    let Changed { wrong, .. } = changed(&bytes, [&second, &last], 4);
    assert!(wrong.is_empty(), "{}: {wrong:#?}", wrong.len());
}

/// A store that something else made with redb.
fn made(make: impl FnOnce(&redb::WriteTransaction)) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::create(folder.path().join(NAME)).unwrap();
    let transaction = database.begin_write().unwrap();
    make(&transaction);
    transaction.commit().unwrap();
    drop(database);
    fs::read(folder.path().join(NAME)).unwrap()
}

fn with_format(transaction: &redb::WriteTransaction, format: u32) {
    transaction.open_table(META).unwrap().insert("format", format.to_string().as_bytes()).unwrap();
}

#[test]
fn a_store_of_a_newer_format_is_set_aside_and_one_of_none_too() {
    for format in [FORMAT + 1, u32::MAX] {
        // What else a newer one holds may be of any form.
        let newer = made(|transaction| {
            with_format(transaction, format);
            let images: TableDefinition<'_, &str, &str> = TableDefinition::new("images");
            transaction.open_table(images).unwrap().insert("a", "b").unwrap();
        });
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(NAME), &newer).unwrap();
        assert!(
            matches!(read_copy(folder.path(), &Origin::default()), Err(StoreError::Newer(newer)) if newer == format)
        );
        let notice = Store::of(folder.path(), Origin::default()).open().unwrap().set_aside.unwrap();
        let says = format!("a newer cri-gc wrote them (format {format}, this one knows {FORMAT})");
        assert!(notice.contains(&says), "{notice}");
        assert_eq!(fs::read(folder.path().join(ASIDE)).unwrap().len(), newer.len());
        assert_eq!(take(&newer, "newer"), Taken::SetAside);
    }
    assert_eq!(take(&made(|transaction| with_format(transaction, 0)), "format 0"), Taken::SetAside);
    let none = made(|transaction| drop(transaction.open_table(META).unwrap()));
    assert_eq!(take(&none, "no format"), Taken::SetAside);
}

#[test]
fn tables_of_another_form_are_set_aside() {
    let names: TableDefinition<'_, &str, &str> = TableDefinition::new("meta");
    assert_eq!(take(&made(|t| drop(t.open_table(names).unwrap())), "meta"), Taken::SetAside);
    for name in ["images", "uses"] {
        let others = |transaction: &redb::WriteTransaction| {
            with_format(transaction, FORMAT);
            let other = if name == "images" { USES } else { IMAGES };
            drop(transaction.open_table(other).unwrap());
        };
        let made_other = made(|transaction| {
            others(transaction);
            let other: TableDefinition<'_, u64, &str> = TableDefinition::new(name);
            transaction.open_table(other).unwrap().insert(1, "x").unwrap();
        });
        assert_eq!(take(&made_other, name), Taken::SetAside, "{name}");
        let made_several = made(|transaction| {
            others(transaction);
            let several: MultimapTableDefinition<'_, &str, &str> = MultimapTableDefinition::new(name);
            transaction.open_multimap_table(several).unwrap().insert("x", "y").unwrap();
        });
        assert_eq!(take(&made_several, name), Taken::SetAside, "{name} with several values");
    }
}

#[test]
fn values_that_are_none_are_set_aside() {
    for record in [
        r#"{"first_detected":"never","last_used":null,"size_bytes":1,"pinned":false}"#,
        r#"{"first_detected":"9999999-01-01T00:00:00Z","last_used":null,"size_bytes":1,"pinned":false}"#,
        r#"{"last_used":null,"size_bytes":1,"pinned":false}"#,
        r#"{"first_detected":"2026-01-01T00:00:00Z","last_used":null,"size_bytes":-1,"pinned":false}"#,
        "[]",
        "",
    ] {
        let bad = made(|transaction| {
            with_format(transaction, FORMAT);
            drop(transaction.open_table(USES).unwrap());
            let mut images = transaction.open_table(IMAGES).unwrap();
            images.insert("a\n", record.as_bytes()).unwrap();
        });
        assert_eq!(take(&bad, "a value"), Taken::SetAside, "{record}");
    }
}

#[test]
fn no_store_that_was_set_aside_is_lost_to_the_next_ones() {
    let folder = stored(&sample(3));
    let mut first = None;
    for round in 0..12_u32 {
        let bad = made(|transaction| with_format(transaction, 10 + round));
        fs::write(folder.path().join(NAME), &bad).unwrap();
        let opened = Store::of(folder.path(), Origin::default()).open().unwrap();
        is_set_aside(folder.path(), &opened.content, &opened.set_aside.unwrap(), "again");
        first.get_or_insert_with(|| fs::read(folder.path().join(ASIDE)).unwrap());
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1 + MOST_ASIDE, "not for ever");
    // It is the one that was worth keeping.
    assert!(fs::read(folder.path().join(ASIDE)).ok() == first, "the first one was overwritten");
}

#[test]
fn what_is_damaged_while_a_service_works_with_it_costs_no_more_than_its_records() {
    let folder = stored(&sample(30));
    let mut store = Store::of(folder.path(), Origin::default());
    store.open().unwrap();
    let length = fs::metadata(&store.path).unwrap().len();
    fs::write(&store.path, vec![0xA5; usize::try_from(length).unwrap()]).unwrap();
    // Whether redb notices is its matter; that nothing is fatal, and that the store is of use soon, is ours.
    for _ in 0..4 {
        let _ = store.commit(sample(40));
    }
    drop(store);
    let mut next = Store::of(folder.path(), Origin::default());
    let opened = next.open().unwrap();
    assert!(opened.content == sample(40) || opened.content == Content::default(), "{opened:?}");
    next.commit(sample(50)).unwrap();
    drop(next);
    assert_eq!(reads(folder.path()), sample(50));
}

#[test]
fn a_link_to_a_store_is_followed_and_one_to_nothing_makes_it() {
    let (folder, there) = (tempfile::tempdir().unwrap(), stored(&sample(8)));
    symlink(there.path().join(NAME), folder.path().join(NAME)).unwrap();
    assert_eq!(reads(folder.path()), sample(8));
    let (folder, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    symlink(there.path().join(NAME), folder.path().join(NAME)).unwrap();
    assert_eq!(read_copy(folder.path(), &Origin::default()).unwrap(), Content::default());
    Store::of(folder.path(), Origin::default()).commit(sample(8)).unwrap();
    assert_eq!(reads(folder.path()), sample(8));
    assert!(there.path().join(NAME).is_file());
}
