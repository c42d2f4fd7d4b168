//! A process that is killed, or a machine that loses its power, at each write of a store: what is read afterwards is what
//! one commit wrote, the last that had ended or the one that was in progress, whole.

use std::sync::{Arc, Mutex};

use super::*;

/// What was done to a file, in order.
#[derive(Debug, Clone)]
enum Done {
    Length(u64),
    Written(u64, Vec<u8>),
    Synced,
}

/// A file that keeps a journal.
#[derive(Debug, Clone)]
struct Journal {
    file: Arc<InMemoryBackend>,
    done: Arc<Mutex<Vec<Done>>>,
}

impl Journal {
    fn new() -> Self {
        Self { file: Arc::new(InMemoryBackend::new()), done: Arc::default() }
    }

    fn note(&self, done: Done) {
        self.done.lock().unwrap().push(done);
    }

    fn all(&self) -> Vec<Done> {
        self.done.lock().unwrap().clone()
    }

    fn count(&self) -> usize {
        self.done.lock().unwrap().len()
    }
}

impl StorageBackend for Journal {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.note(Done::Length(length));
        self.file.set_len(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.note(Done::Synced);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.note(Done::Written(offset, data.to_vec()));
        self.file.write(offset, data)
    }
}

/// Does that to the bytes of a file.
fn redo(bytes: &mut Vec<u8>, done: &Done) {
    match done {
        Done::Length(length) => bytes.resize(usize::try_from(*length).unwrap(), 0),
        Done::Written(offset, data) => {
            let offset = usize::try_from(*offset).unwrap();
            let end = offset + data.len();
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            bytes[offset..end].copy_from_slice(data);
        }
        Done::Synced => {}
    }
}

/// What is done by commits of a store that begins as nothing, each with the number of things done when it had ended, and
/// what the store holds from then on.
fn work() -> (Vec<Done>, Vec<(usize, Content)>) {
    let journal = Journal::new();
    let (database, content) = read(journal.clone(), &Origin::default()).unwrap();
    assert_eq!(content, Content::default());
    let mut ends = vec![(journal.count(), content)];
    let mut chance = Chance::new(5);
    for round in 0..24 {
        let mut content = ends.last().unwrap().1.clone();
        if chance.below(6) == 0 {
            content = Content::default();
        }
        for (key, record) in sample(60).images {
            match chance.below(12) {
                0 => drop(content.images.remove(&key)),
                1..4 => drop(content.images.insert(key, record)),
                _ => {}
            }
        }
        let reference = format!("r.io/{}", round % 5);
        match round % 3 {
            0 => drop(content.uses.remove(&reference)),
            _ => drop(content.uses.insert(reference, nanos(round))),
        }
        content.observed = Some(observed(round));
        super::write(&database, &Origin::default(), &content).unwrap();
        ends.push((journal.count(), content));
    }
    drop(database);
    // It is closed in an orderly way: nothing else may come of that, wherever it ends.
    let last = ends.last().unwrap().1.clone();
    ends.push((journal.count(), last));
    (journal.all(), ends)
}

/// What these bytes are read as, by the way that a service takes.
fn taken(bytes: &[u8]) -> Result<Content, StoreError> {
    let file = InMemoryBackend::new();
    file.set_len(bytes.len() as u64)?;
    file.write(0, bytes)?;
    Ok(read(file, &Origin::default())?.1)
}

/// Sees that what is read is the last commit that had ended before `at`, or the one in progress.
fn is_one_of_two(bytes: &[u8], at: usize, ends: &[(usize, Content)], wrong: &mut Vec<String>, what: &str) {
    let ended = ends.iter().rposition(|(end, _)| *end <= at);
    let allowed = match ended {
        Some(ended) => &ends[ended..(ended + 2).min(ends.len())],
        None => &ends[..1],
    };
    match taken(bytes) {
        Ok(content) if allowed.iter().any(|(_, allowed)| *allowed == content) => {}
        Ok(content) => {
            let known = ends.iter().position(|(_, other)| *other == content);
            wrong.push(format!("{what}: {} images; commit {known:?}, not {ended:?}", content.images.len()));
        }
        // It would be set aside, with nothing in it: nothing had been written yet.
        Err(StoreError::Damaged(_)) if ended.is_none() => {}
        Err(error) => wrong.push(format!("{what}: {error:?}, after commit {ended:?}")),
    }
}

#[test]
fn a_process_that_is_killed_at_a_write_leaves_one_commit_or_the_next() {
    let (done, ends) = work();
    let (mut bytes, mut wrong) = (Vec::new(), Vec::new());
    for (at, next) in done.iter().enumerate() {
        is_one_of_two(&bytes, at, &ends, &mut wrong, &format!("killed before {at} of {}", done.len()));
        if let Done::Written(offset, data) = next {
            // In the middle of a write: the kernel has taken the first half.
            let mut half = bytes.clone();
            redo(&mut half, &Done::Written(*offset, data[..data.len() / 2].to_vec()));
            is_one_of_two(&half, at, &ends, &mut wrong, &format!("killed within {at} of {}", done.len()));
        }
        redo(&mut bytes, next);
    }
    is_one_of_two(&bytes, done.len(), &ends, &mut wrong, "at the end");
    println!("{} things done by {} commits", done.len(), ends.len() - 2);
    assert!(wrong.is_empty(), "{}: {wrong:#?}", wrong.len());
}

#[test]
fn a_machine_that_loses_its_power_keeps_one_commit_or_the_next() {
    let (done, ends) = work();
    let mut chance = Chance::new(6);
    let mut wrong = Vec::new();
    // What was on the disk at the last sync; since then, any part of what was written may be.
    let (mut synced, mut since) = (Vec::new(), Vec::<Done>::new());
    let mut cuts = 0;
    for (at, next) in done.iter().enumerate() {
        since.push(next.clone());
        if matches!(next, Done::Synced) {
            since.drain(..).for_each(|done| redo(&mut synced, &done));
        }
        for attempt in 0..4 {
            let mut bytes = synced.clone();
            for lost in &since {
                match lost {
                    Done::Written(offset, data) => {
                        // Each sector by itself.
                        for (sector, data) in (0_u64..).zip(data.chunks(512)) {
                            if chance.below(2) == 0 {
                                redo(&mut bytes, &Done::Written(offset + 512 * sector, data.to_vec()));
                            }
                        }
                    }
                    other => redo(&mut bytes, other),
                }
            }
            cuts += 1;
            // What is done at `at` is in progress: it counts as ended only if it was a sync that has ended.
            let at = if since.is_empty() { at + 1 } else { at };
            is_one_of_two(&bytes, at, &ends, &mut wrong, &format!("power lost at {at}, attempt {attempt}"));
        }
    }
    println!("{cuts} cuts");
    assert!(wrong.is_empty(), "{}: {wrong:#?}", wrong.len());
}
