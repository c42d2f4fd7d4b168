//! The store of image records: a small database of its own (redb) in the state directory. It blocks: it is used by a worker.
//!
//! What is committed survives the process however it ends. A store that is damaged, or that a newer cri-gc wrote, is set
//! aside under another name and a new one is begun: records that are lost make images young, never old. A store that
//! can't be opened for another reason (no permission, a full disk) is left as it is and tried again at the next commit,
//! so that nothing in it is forgotten by a bad hour of the disk. [`fallback`] keeps a copy elsewhere meanwhile.

pub mod fallback;

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use cri_gc_config::Settings;
use cri_gc_files::database::{self, DatabaseError, FileIdentity};
use redb::backends::{FileBackend, InMemoryBackend};
use redb::{
    Database, ReadableDatabase, ReadableTable, StorageBackend, TableDefinition, TableError, WriteTransaction,
};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::content::Content;
use cri_gc_kit::supervision::panics::catch;
use cri_gc_kit::workers::WorkerGone;

/// Name of the store in the state directory.
const NAME: &str = "images.redb";

/// How many stores that can't be used are set aside at most.
const MOST_ASIDE: usize = 9;

/// What the tables hold, and how. A store of a higher number was written by a newer cri-gc.
const FORMAT: u32 = 1;

/// All tables are of one kind, which keeps the program small. Values are JSON: fields may be added.
type Table = TableDefinition<'static, &'static str, &'static [u8]>;

/// "format": the number. "origin": an [`Origin`]. "observed": when the newest of all was observed. "listed": when a complete
/// list of the images was seen last.
const META: Table = TableDefinition::new("meta");

/// By image id and runtime handler, with a line break in between.
const IMAGES: Table = TableDefinition::new("images");

/// When references of containers that no list of images has resolved yet were used last.
const USES: Table = TableDefinition::new("uses");

/// The machine and runtime of the records. Those of another machine (a copied disk) or another runtime say nothing about the images here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// What the machine is called by; empty if unknown.
    pub machine: String,
    /// Socket of the image service.
    pub runtime: String,
}

impl Origin {
    /// What the records would be of now.
    #[must_use]
    pub fn here(settings: &Settings) -> Self {
        let runtime = &settings.runtime;
        let machine = fs::read_to_string("/etc/machine-id").unwrap_or_default();
        let socket = runtime.image_endpoint.as_ref().unwrap_or(&runtime.endpoint);
        Self { machine: machine.trim().to_owned(), runtime: resolved(socket.as_str()) }
    }

    /// Whether records of that origin are about the same images. What is not known is no difference.
    fn is(&self, other: &Self) -> bool {
        let same = |a: &str, b: &str| a.is_empty() || b.is_empty() || a == b;
        // Earlier releases wrote the socket as the settings name it.
        same(&self.machine, &other.machine) && same(&resolved(&self.runtime), &resolved(&other.runtime))
    }
}

/// One spelling for each socket: without the scheme, the directory without links (`/var/run` is `/run`), doubled slashes and
/// dots. The socket itself is not followed, for it may not exist at the moment.
fn resolved(socket: &str) -> String {
    let path = Path::new(socket.strip_prefix("unix://").unwrap_or(socket));
    let directory = path
        .parent()
        .map(|parent| fs::canonicalize(parent).unwrap_or_else(|_| parent.components().collect()));
    match (directory, path.file_name()) {
        (Some(directory), Some(name)) => directory.join(name).to_string_lossy().into_owned(),
        _ => socket.to_owned(),
    }
}

/// Why a store can't be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Its content can't be trusted.
    #[error("damaged: {0}")]
    Damaged(String),
    /// It says that a newer cri-gc wrote it.
    #[error("a newer cri-gc wrote them (format {0}, this one knows {FORMAT})")]
    Newer(u32),
    /// It was written on another machine, or for another runtime.
    #[error("they belong to another {}", if .theirs.runtime == .ours.runtime { "machine" } else { "runtime" })]
    Foreign {
        /// Its origin.
        theirs: Origin,
        /// The origin that was expected.
        ours: Origin,
    },
    /// It is a copy that an earlier boot of this machine left.
    #[error("they belong to an earlier boot")]
    OtherBoot,
    /// The operating system refuses.
    #[error("{0}")]
    Refused(#[from] io::Error),
    /// The work on it ended without a result, or takes too long.
    #[error(transparent)]
    Worker(#[from] WorkerGone),
    /// Neither the store nor its copy can be written.
    #[error("{refused}; and the copy {copy} can't be used: {error}")]
    Nowhere {
        /// Why the store can't.
        refused: Box<Self>,
        /// The copy.
        copy: PathBuf,
        /// Why the copy can't.
        error: Box<Self>,
    },
}

impl From<DatabaseError> for StoreError {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::Damaged(why) => Self::Damaged(why),
            DatabaseError::Refused(error) => Self::Refused(error),
        }
    }
}

cri_gc_files::from_redb!(StoreError: redb::StorageError, TableError, redb::TransactionError, redb::CommitError);

/// The result of opening the store.
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
    origin: Origin,
    /// `None` before it is opened, and after anything has failed.
    database: Option<Database>,
    /// Which file it was opened as.
    file: Option<FileIdentity>,
    /// That one was set aside, until that can be reported with a new one.
    set_aside: Option<String>,
}

impl Store {
    /// That of a state directory. Nothing is opened yet.
    #[must_use]
    pub fn of(state_dir: &Path, origin: Origin) -> Self {
        Self { path: path_in(state_dir), origin, database: None, file: None, set_aside: None }
    }

    /// Closes and removes it. Whether it is gone.
    fn remove(&mut self) -> bool {
        self.database = None;
        match fs::remove_file(&self.path) {
            Ok(()) => true,
            Err(error) => error.kind() == ErrorKind::NotFound,
        }
    }

    /// Opens it, makes it if there is none, and reads it. If its content is of no use it is set aside, and a new one made.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn open(&mut self) -> Result<Opened, StoreError> {
        let tried = self.try_open();
        self.opened(tried)
    }

    /// The same at the start of a service, which has not seen its runtime yet: records of another runtime are left as they are
    /// until the first commit, for the settings may name a wrong socket, at which nothing will ever be seen.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn open_at_start(&mut self) -> Result<Opened, StoreError> {
        match self.try_open() {
            Err(StoreError::Foreign { .. }) => Ok(Opened::default()),
            tried => self.opened(tried),
        }
    }

    fn opened(&mut self, tried: Result<Content, StoreError>) -> Result<Opened, StoreError> {
        let content = match tried {
            Ok(content) => content,
            Err(bad @ (StoreError::Damaged(_) | StoreError::Newer(_) | StoreError::Foreign { .. })) => {
                if self.set_aside.is_none() {
                    self.put_aside(&bad)?;
                } else {
                    // The one that was worth keeping is aside already; this is what a full disk left of the next.
                    fs::remove_file(&self.path)?;
                }
                self.try_open()?
            }
            Err(error) => return Err(error),
        };
        Ok(Opened { content, set_aside: self.set_aside.take() })
    }

    fn put_aside(&mut self, bad: &StoreError) -> io::Result<()> {
        let aside = database::set_aside(&self.path, MOST_ASIDE)?;
        self.set_aside = Some(format!(
            "the image records in {} can't be used: {bad}; the file was renamed to {}, and all images count as new",
            self.path.display(),
            aside.display()
        ));
        Ok(())
    }

    fn try_open(&mut self) -> Result<Content, StoreError> {
        self.database = None;
        let (database, identity, content) = database::open_file(&self.path, |file, identity| {
            let (database, content) =
                read(FileBackend::new(file).map_err(DatabaseError::from)?, &self.origin)?;
            Ok::<_, StoreError>((database, identity, content))
        })?;
        (self.database, self.file) = (Some(database), Some(identity));
        Ok(content)
    }

    /// Writes all that is remembered in place of what the store holds, and returns once it is on the disk. After a failure, and
    /// before the first commit, the store is opened and read first; what it holds is then joined into the content, so that no
    /// newer time is overwritten by an older one.
    ///
    /// # Errors
    /// Nothing of the content is kept for sure.
    pub fn commit(&mut self, mut content: Content) -> Result<Option<Opened>, StoreError> {
        if self.database.is_some()
            && fs::metadata(&self.path).ok().as_ref().map(FileIdentity::from) != self.file
        {
            self.database = None;
            return Err(StoreError::Refused(io::Error::other("the file was removed or replaced")));
        }
        let opened = if self.database.is_none() { Some(self.open()?) } else { None };
        if let Some(opened) = &opened {
            content = content.joined_with(opened.content.clone());
        }
        let done = match &self.database {
            Some(database) => catch(|| write(database, &self.origin, &content))
                .unwrap_or_else(|panic| Err(StoreError::Damaged(panic))),
            // It was opened right above.
            None => Err(StoreError::Refused(ErrorKind::NotFound.into())),
        };
        if let Err(error) = done {
            self.database = None;
            return Err(error);
        }
        Ok(opened)
    }

    /// Closes it: the next commit reads it again.
    pub fn close(&mut self) {
        self.database = None;
    }
}

/// Where the store of a state directory is.
#[must_use]
pub fn path_in(state_dir: &Path) -> PathBuf {
    state_dir.join(NAME)
}

/// What the store of a state directory holds, without touching it: a command that only plans reads a copy, and a service may
/// use the store meanwhile.
///
/// # Errors
/// It can't be read, or is damaged. Where there is none, nothing is remembered, which is no error.
pub fn read_copy(state_dir: &Path, origin: &Origin) -> Result<Content, StoreError> {
    let mut copied = copy(state_dir, origin);
    for _ in 1..COPIES {
        if !matches!(copied, Err(StoreError::Damaged(_))) {
            break;
        }
        copied = copy(state_dir, origin);
    }
    copied
}

/// How often a store is copied until it makes sense: one that is being written may be seen half before and half after.
const COPIES: usize = 5;

fn copy(state_dir: &Path, origin: &Origin) -> Result<Content, StoreError> {
    let bytes = match database::read_file(&path_in(state_dir)) {
        Ok(bytes) => bytes,
        Err(DatabaseError::Refused(error)) if error.kind() == ErrorKind::NotFound => {
            return Ok(Content::default());
        }
        Err(error) => return Err(error.into()),
    };
    let copy = InMemoryBackend::new();
    copy.set_len(bytes.len() as u64)?;
    copy.write(0, &bytes)?;
    match read(copy, origin) {
        Ok((_, content)) => Ok(content),
        // Memory refuses nothing: a copy that was cut off names a place that it does not have.
        Err(StoreError::Refused(error)) => Err(StoreError::Damaged(error.to_string())),
        Err(error) => Err(error),
    }
}

/// Opens what lies there, verifies all of it, and reads it.
fn read(from: impl StorageBackend, origin: &Origin) -> Result<(Database, Content), StoreError> {
    let work = move || {
        let database = database::verified(from)?;
        let content = content(&database, origin)?;
        Ok((database, content))
    };
    // What a database does with a file that something else has written is not to be relied on.
    catch(work).unwrap_or_else(|panic| Err(StoreError::Damaged(panic)))
}

fn content(database: &Database, origin: &Origin) -> Result<Content, StoreError> {
    let transaction = database.begin_read()?;
    let meta = match transaction.open_table(META) {
        Ok(meta) => meta,
        // Made, but nothing was ever written.
        Err(TableError::TableDoesNotExist(_)) => return Ok(Content::default()),
        Err(error) => return Err(error.into()),
    };
    match meta.get("format")?.map(|format| from_json(format.value())).transpose()? {
        Some(FORMAT) => {}
        Some(newer) if newer > FORMAT => return Err(StoreError::Newer(newer)),
        _ => return Err(StoreError::Damaged("no format version".to_owned())),
    }
    let theirs: Origin = meta.get("origin")?.map(|of| from_json(of.value())).transpose()?.unwrap_or_default();
    if !theirs.is(origin) {
        return Err(StoreError::Foreign { theirs, ours: origin.clone() });
    }
    let mut content = Content {
        observed: meta.get("observed")?.map(|observed| from_json(observed.value())).transpose()?,
        listed: meta.get("listed")?.map(|listed| from_json(listed.value())).transpose()?,
        ..Content::default()
    };
    for entry in transaction.open_table(IMAGES)?.iter()? {
        let (key, record) = entry?;
        let Some((id, handler)) = key.value().split_once(BETWEEN) else {
            return Err(StoreError::Damaged("an image has no runtime handler".to_owned()));
        };
        content.images.insert((id.to_owned(), handler.to_owned()), from_json(record.value())?);
    }
    for entry in transaction.open_table(USES)?.iter()? {
        let (reference, at) = entry?;
        content.uses.insert(reference.value().to_owned(), from_json(at.value())?);
    }
    Ok(content)
}

/// No id holds one.
const BETWEEN: char = '\n';

fn from_json<T: DeserializeOwned>(value: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(value).map_err(|error| StoreError::Damaged(error.to_string()))
}

/// What can't be written as JSON is no value of ours.
fn to_json(value: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(value).map_err(|error| StoreError::Refused(error.into()))
}

fn write(database: &Database, origin: &Origin, content: &Content) -> Result<(), StoreError> {
    let transaction = database.begin_write()?;
    {
        let mut meta = transaction.open_table(META)?;
        meta.insert("format", to_json(&FORMAT)?.as_slice())?;
        meta.insert("origin", to_json(origin)?.as_slice())?;
        if let Some(observed) = &content.observed {
            meta.insert("observed", to_json(observed)?.as_slice())?;
        }
        if let Some(listed) = &content.listed {
            meta.insert("listed", to_json(listed)?.as_slice())?;
        }
    }
    let mut images = BTreeMap::new();
    for ((id, handler), record) in &content.images {
        images.insert(format!("{id}{BETWEEN}{handler}"), to_json(record)?);
    }
    replace(&transaction, IMAGES, images)?;
    let mut uses = BTreeMap::new();
    for (reference, at) in &content.uses {
        uses.insert(reference.clone(), to_json(at)?);
    }
    replace(&transaction, USES, uses)?;
    transaction.commit()?;
    Ok(())
}

/// Makes that the content of a table. Only what is different is written: with thousands of images the rest is most of it.
fn replace(
    transaction: &WriteTransaction,
    table: Table,
    mut content: BTreeMap<String, Vec<u8>>,
) -> Result<(), StoreError> {
    let mut table = transaction.open_table(table)?;
    table.retain(|key, value| {
        let is_same = content.get(key).is_some_and(|new| new == value);
        if is_same {
            content.remove(key);
        }
        is_same
    })?;
    for (key, value) in content {
        table.insert(key.as_str(), value.as_slice())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
