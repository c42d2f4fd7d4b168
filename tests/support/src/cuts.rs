//! What a kill or a power cut leaves of a file, for the stores that cri-gc has (redb): whatever is cut off, what is read
//! afterwards is one commit, whole: the last that had ended, or the one that was in progress.

use std::fmt::Debug;
use std::io;
use std::sync::{Arc, Mutex};

use redb::StorageBackend;
use redb::backends::InMemoryBackend;

/// What a disk writes at once or not at all, in bytes.
const SECTOR: usize = 512;

/// Power cuts that are tried at each moment: each loses other sectors.
const ATTEMPTS: usize = 4;

/// What was done to a file, in order.
#[derive(Debug, Clone)]
enum Done {
    Length(u64),
    Written(u64, Vec<u8>),
    Synced,
}

impl Done {
    /// Does it to the bytes of a file.
    fn redo(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Length(length) => bytes.resize(usize::try_from(*length).unwrap(), 0),
            Self::Written(offset, data) => {
                let offset = usize::try_from(*offset).unwrap();
                let end = offset + data.len();
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes[offset..end].copy_from_slice(data);
            }
            Self::Synced => {}
        }
    }
}

/// A file that remembers what was done to it.
#[derive(Debug, Clone)]
pub struct Journal {
    file: Arc<InMemoryBackend>,
    done: Arc<Mutex<Vec<Done>>>,
}

impl Default for Journal {
    fn default() -> Self {
        Self { file: Arc::new(InMemoryBackend::new()), done: Arc::default() }
    }
}

impl Journal {
    fn note(&self, done: Done) {
        self.done.lock().unwrap().push(done);
    }

    fn all(&self) -> Vec<Done> {
        self.done.lock().unwrap().clone()
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

/// What a store reads in a file.
#[derive(Debug)]
pub enum Found<T> {
    /// It holds that.
    Content(T),
    /// It is of no use, and set aside.
    Damaged,
    /// Anything else, which must not happen.
    Failed(String),
}

/// What a store holds after each of its commits.
#[derive(Debug)]
pub struct Commits<T> {
    journal: Journal,
    /// How much had been done to the file when a commit had ended, and what the store holds from then on.
    ends: Vec<(usize, T)>,
}

impl<T: Clone + PartialEq + Debug> Commits<T> {
    /// The store was just made, and holds that.
    #[must_use]
    pub fn new(journal: &Journal, content: T) -> Self {
        let mut commits = Self { journal: journal.clone(), ends: Vec::new() };
        commits.ended(content);
        commits
    }

    /// A commit has ended.
    pub fn ended(&mut self, content: T) {
        self.ends.push((self.journal.all().len(), content));
    }

    /// What the store holds.
    #[must_use]
    pub fn last(&self) -> &T {
        &self.ends.last().unwrap().1
    }

    /// The process is killed before each thing that was done to the file, and in the middle of each write.
    ///
    /// # Panics
    /// What `read` finds then is no commit that it may be.
    pub fn survive_kills(&mut self, read: impl Fn(InMemoryBackend) -> Found<T>) {
        self.close();
        let done = self.journal.all();
        let (mut bytes, mut wrong) = (Vec::new(), Vec::new());
        for (at, next) in done.iter().enumerate() {
            wrong.extend(self.check(at, read(file(&bytes))).map(|why| format!("killed before {at}: {why}")));
            if let Done::Written(offset, data) = next {
                // The kernel has taken the first half.
                let mut half = bytes.clone();
                Done::Written(*offset, data[..data.len() / 2].to_vec()).redo(&mut half);
                wrong.extend(
                    self.check(at, read(file(&half))).map(|why| format!("killed within {at}: {why}")),
                );
            }
            next.redo(&mut bytes);
        }
        wrong.extend(self.check(done.len(), read(file(&bytes))).map(|why| format!("at the end: {why}")));
        assert!(wrong.is_empty(), "{} of {} kills: {wrong:#?}", wrong.len(), done.len());
    }

    /// The machine loses its power at each thing that was done to the file: what was synced is there, and of what was written since
    /// then any sectors are.
    ///
    /// # Panics
    /// What `read` finds then is no commit that it may be.
    pub fn survive_power_cuts(&mut self, seed: u64, read: impl Fn(InMemoryBackend) -> Found<T>) {
        self.close();
        let mut chance = fastrand::Rng::with_seed(seed);
        let (mut synced, mut since, mut wrong) = (Vec::new(), Vec::<Done>::new(), Vec::new());
        let done = self.journal.all();
        for (at, next) in done.iter().enumerate() {
            since.push(next.clone());
            if matches!(next, Done::Synced) {
                since.drain(..).for_each(|done| done.redo(&mut synced));
            }
            for _ in 0..ATTEMPTS {
                let mut bytes = synced.clone();
                since.iter().for_each(|done| lose(done, &mut chance, &mut bytes));
                // What is done at `at` is in progress: it counts as ended only if it was a sync that has ended.
                let at = if since.is_empty() { at + 1 } else { at };
                wrong.extend(
                    self.check(at, read(file(&bytes))).map(|why| format!("power lost at {at}: {why}")),
                );
            }
        }
        assert!(wrong.is_empty(), "{} of {} cuts: {wrong:#?}", wrong.len(), done.len() * ATTEMPTS);
    }

    /// The store was closed in an orderly way: nothing else may come of that, wherever it ends.
    fn close(&mut self) {
        let last = self.last().clone();
        self.ended(last);
    }

    /// Why what was found after so much had been done is not one of two: the last commit that had ended, or the one in progress.
    fn check(&self, at: usize, found: Found<T>) -> Option<String> {
        let ended = self.ends.iter().rposition(|(end, _)| *end <= at);
        let allowed = match ended {
            Some(ended) => &self.ends[ended..(ended + 2).min(self.ends.len())],
            None => &self.ends[..1],
        };
        match found {
            Found::Content(content) if allowed.iter().any(|(_, allowed)| *allowed == content) => None,
            Found::Content(content) => {
                let known = self.ends.iter().position(|(_, other)| *other == content);
                Some(format!("commit {known:?}, not {ended:?}"))
            }
            // Nothing had been written yet.
            Found::Damaged if ended.is_none() => None,
            other => Some(format!("{other:?}, after commit {ended:?}")),
        }
    }
}

/// A file of these bytes.
fn file(bytes: &[u8]) -> InMemoryBackend {
    let file = InMemoryBackend::new();
    file.set_len(bytes.len() as u64).unwrap();
    file.write(0, bytes).unwrap();
    file
}

/// Does a part of what was done, by sectors.
fn lose(done: &Done, chance: &mut fastrand::Rng, bytes: &mut Vec<u8>) {
    match done {
        Done::Written(offset, data) => {
            for (sector, data) in (0_u64..).step_by(SECTOR).zip(data.chunks(SECTOR)) {
                if chance.bool() {
                    Done::Written(offset + sector, data.to_vec()).redo(bytes);
                }
            }
        }
        other => other.redo(bytes),
    }
}
