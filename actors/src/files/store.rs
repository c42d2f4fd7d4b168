//! The store of image records: a small database of its own (redb) in the state directory. It blocks: it is used by a worker.
//!
//! What is committed survives the process however it ends. A store that is damaged, or that a newer cri-gc wrote, is set
//! aside under another name and a new one is begun: records that are lost make images young, never old. A store that
//! can't be opened for another reason (no permission, a full disk) is left as it is and tried again at the next commit,
//! so that nothing in it is forgotten by a bad hour of the disk.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use redb::backends::{FileBackend, InMemoryBackend};
use redb::{
    Builder, Database, DatabaseError, ReadableDatabase, ReadableTable, StorageBackend, StorageError,
    TableDefinition, TableError,
};

use crate::image_records::records::{Batch, Content, Observed, Record};
use crate::supervision::panics::catch;

/// Name of the store in the state directory.
const NAME: &str = "images.redb";

/// What a store that can't be used is named from then on. There is one such file at most: the newest.
const ASIDE: &str = "images.redb.set-aside";

/// What the tables hold, and how. A store of a higher number was written by a newer cri-gc.
const FORMAT: u32 = 1;

/// Records are few and small.
const CACHE: usize = 256 * 1024;

/// "format": the number.
const META: TableDefinition<'_, &str, u32> = TableDefinition::new("meta");

/// First detected, last used (nanoseconds since the epoch), size in bytes, pinned.
type Row = (i128, Option<i128>, u64, bool);

/// By image id and runtime handler.
const IMAGES: TableDefinition<'_, (&str, &str), Row> = TableDefinition::new("images");

/// References of containers that no look at the images has resolved yet: used until then.
const USES: TableDefinition<'_, &str, i128> = TableDefinition::new("uses");

/// "last": when the newest of all was observed: wall clock, boot clock (nanoseconds), and which boot.
const OBSERVED: TableDefinition<'_, &str, (i128, i128, &str)> = TableDefinition::new("observed");

/// Why a store can't be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Its content can't be trusted.
    #[error("it is damaged: {0}")]
    Damaged(String),
    /// It says that a newer cri-gc wrote it.
    #[error("a newer cri-gc wrote it (format {0}, this one knows {FORMAT})")]
    Newer(u32),
    /// The operating system refuses.
    #[error("{0}")]
    Refused(#[from] io::Error),
}

impl StoreError {
    fn is_of_the_content(&self) -> bool {
        matches!(self, Self::Damaged(_) | Self::Newer(_))
    }
}

impl From<redb::Error> for StoreError {
    fn from(error: redb::Error) -> Self {
        match error {
            redb::Error::Io(error) => Self::Refused(error),
            // What failed first was told then; the store is opened anew.
            redb::Error::PreviousIo | redb::Error::DatabaseClosed | redb::Error::LockPoisoned(_) => {
                Self::Refused(io::Error::other(error.to_string()))
            }
            redb::Error::DatabaseAlreadyOpen => {
                Self::Refused(io::Error::new(ErrorKind::WouldBlock, error.to_string()))
            }
            other => Self::Damaged(other.to_string()),
        }
    }
}

macro_rules! by_way_of {
    ($($error:ty),*) => { $(
        impl From<$error> for StoreError {
            fn from(error: $error) -> Self {
                redb::Error::from(error).into()
            }
        }
    )* };
}
by_way_of!(DatabaseError, StorageError, TableError, redb::TransactionError, redb::CommitError);

/// What became of the store when it was opened.
#[derive(Debug, Default)]
pub struct Opened {
    /// What it held.
    pub content: Content,
    /// Why a store was set aside, if one was: a sentence.
    pub set_aside: Option<String>,
}

/// The store.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    /// `None` before it is opened, and after anything has failed.
    database: Option<Database>,
}

impl Store {
    /// That of a state directory. Nothing is opened yet.
    #[must_use]
    pub fn of(state_dir: &Path) -> Self {
        Self { path: state_dir.join(NAME), database: None }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens it, makes it if there is none, and reads it. If its content is of no use it is set aside, and a new one made.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn open(&mut self) -> Result<Opened, StoreError> {
        self.database = None;
        match self.try_open() {
            Ok(content) => Ok(Opened { content, set_aside: None }),
            Err(bad) if bad.is_of_the_content() => {
                let aside = self.path.with_file_name(ASIDE);
                fs::rename(&self.path, &aside)?;
                let set_aside = format!(
                    "the image records in {} can't be used: {bad}; they were set aside as {}, and all images count as new",
                    self.path.display(),
                    aside.display()
                );
                Ok(Opened { content: self.try_open()?, set_aside: Some(set_aside) })
            }
            Err(error) => Err(error),
        }
    }

    fn try_open(&mut self) -> Result<Content, StoreError> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&self.path)?;
        if !file.metadata()?.is_file() {
            return Err(StoreError::Damaged("it is no file".to_owned()));
        }
        let (database, content) = read(FileBackend::new(file)?)?;
        self.database = Some(database);
        Ok(content)
    }

    /// Writes a batch, and returns once it is on the disk. After any failure before, the store is opened anew first; what
    /// it holds of the same images is then merged into the batch, so that no record goes back in time.
    ///
    /// # Errors
    /// Nothing of the batch is kept for sure; a whole one is to follow.
    pub fn commit(&mut self, mut batch: Batch) -> Result<Option<Opened>, StoreError> {
        let opened = if self.database.is_none() { Some(self.open()?) } else { None };
        if let Some(opened) = &opened {
            batch.merge(&opened.content);
        }
        let done = match &self.database {
            Some(database) => {
                catch(|| write(database, &batch)).unwrap_or_else(|panic| Err(StoreError::Damaged(panic)))
            }
            // It was opened right above.
            None => Err(StoreError::Refused(ErrorKind::NotFound.into())),
        };
        if let Err(error) = done {
            self.database = None;
            return Err(error);
        }
        Ok(opened)
    }
}

/// What the store of a state directory holds, without touching it: whoever only plans reads a copy, and a service may
/// work with the store meanwhile.
///
/// # Errors
/// It can't be read, or is damaged. Where there is none, nothing is remembered, which is no error.
pub fn look(state_dir: &Path) -> Result<Content, StoreError> {
    let mut copied = copy(state_dir);
    for _ in 1..COPIES {
        if !matches!(copied, Err(StoreError::Damaged(_))) {
            break;
        }
        copied = copy(state_dir);
    }
    copied
}

/// How often a store is copied until it makes sense: one that is being written may be seen half before and half after.
const COPIES: usize = 5;

fn copy(state_dir: &Path) -> Result<Content, StoreError> {
    let bytes = match fs::read(state_dir.join(NAME)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Content::default()),
        Err(error) => return Err(error.into()),
    };
    let copy = InMemoryBackend::new();
    copy.set_len(bytes.len() as u64)?;
    copy.write(0, &bytes)?;
    Ok(read(copy)?.1)
}

/// Opens what lies there, verifies all of it, and reads it.
fn read(from: impl StorageBackend) -> Result<(Database, Content), StoreError> {
    let work = move || {
        let mut builder = Builder::new();
        let builder = builder.set_cache_size(CACHE).set_check_integrity_on_open(true);
        let database = builder.create_with_backend(from)?;
        let content = content(&database)?;
        Ok((database, content))
    };
    // What a database does with a file that something else has written is not to be relied on.
    catch(work).unwrap_or_else(|panic| Err(StoreError::Damaged(panic)))
}

fn content(database: &Database) -> Result<Content, StoreError> {
    let transaction = database.begin_read()?;
    let meta = match transaction.open_table(META) {
        Ok(meta) => meta,
        // Made, but nothing was ever written.
        Err(TableError::TableDoesNotExist(_)) => return Ok(Content::default()),
        Err(error) => return Err(error.into()),
    };
    match meta.get("format")?.map(|format| format.value()) {
        Some(FORMAT) => {}
        Some(newer) if newer > FORMAT => return Err(StoreError::Newer(newer)),
        _ => return Err(StoreError::Damaged("it says no format".to_owned())),
    }
    let mut content = Content::default();
    for entry in transaction.open_table(IMAGES)?.iter()? {
        let (key, value) = entry?;
        let ((id, handler), (first_detected, last_used, size_bytes, pinned)) = (key.value(), value.value());
        let record = Record {
            first_detected: time(first_detected)?,
            last_used: last_used.map(time).transpose()?,
            size_bytes,
            pinned,
        };
        content.images.insert((id.to_owned(), handler.to_owned()), record);
    }
    for entry in transaction.open_table(USES)?.iter()? {
        let (reference, at) = entry?;
        content.uses.insert(reference.value().to_owned(), time(at.value())?);
    }
    if let Some(observed) = transaction.open_table(OBSERVED)?.get("last")? {
        let (wall, boot, boot_id) = observed.value();
        content.observed = Some(Observed {
            wall: time(wall)?,
            boot: SignedDuration::try_from_nanos_i128(boot)
                .ok_or_else(|| StoreError::Damaged("a time".to_owned()))?,
            boot_id: boot_id.to_owned(),
        });
    }
    Ok(content)
}

fn time(nanoseconds: i128) -> Result<Timestamp, StoreError> {
    Timestamp::from_nanosecond(nanoseconds).map_err(|error| StoreError::Damaged(error.to_string()))
}

fn write(database: &Database, batch: &Batch) -> Result<(), StoreError> {
    let transaction = database.begin_write()?;
    {
        if batch.whole {
            transaction.delete_table(IMAGES)?;
            transaction.delete_table(USES)?;
        }
        transaction.open_table(META)?.insert("format", FORMAT)?;
        let mut images = transaction.open_table(IMAGES)?;
        for ((id, handler), record) in &batch.images {
            let key: (&str, &str) = (id, handler);
            match record {
                Some(record) => {
                    let last_used = record.last_used.map(Timestamp::as_nanosecond);
                    let first_detected = record.first_detected.as_nanosecond();
                    images.insert(key, (first_detected, last_used, record.size_bytes, record.pinned))?;
                }
                None => drop(images.remove(key)?),
            }
        }
        let mut uses = transaction.open_table(USES)?;
        for (reference, at) in &batch.uses {
            match at {
                Some(at) => drop(uses.insert(reference.as_str(), at.as_nanosecond())?),
                None => drop(uses.remove(reference.as_str())?),
            }
        }
        if let Some(observed) = &batch.observed {
            let value = (observed.wall.as_nanosecond(), observed.boot.as_nanos(), observed.boot_id.as_str());
            transaction.open_table(OBSERVED)?.insert("last", value)?;
        }
    }
    transaction.commit()?;
    Ok(())
}
