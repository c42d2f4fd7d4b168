//! Small databases of our own (redb) in the state directory: how their file is opened and verified, and set aside where it is
//! of no use. It blocks: it is used by workers. What is in them is the business of their owners.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use cri_gc_kit::supervision::panics::catch;
use redb::backends::FileBackend;
use redb::{Builder, Database, StorageBackend};

/// The databases are small, and rarely read.
const CACHE: usize = 64 * 1024;

/// A full disk makes such files, and so does an operator who wants to start over.
const EMPTY: &str = "it is empty";

/// Why a database can't be used.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// Its content can't be trusted.
    #[error("damaged: {0}")]
    Damaged(String),
    /// The operating system refuses.
    #[error("{0}")]
    Refused(#[from] io::Error),
}

impl From<redb::Error> for DatabaseError {
    fn from(error: redb::Error) -> Self {
        match error {
            // So it says of a file that is not its own, or too short.
            redb::Error::Io(error)
                if matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof) =>
            {
                Self::Damaged(error.to_string())
            }
            redb::Error::Io(error) => Self::Refused(error),
            // What failed first was reported then; the database is opened again.
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

/// Converts all errors of redb into an error that a [`DatabaseError`] can become.
#[macro_export]
macro_rules! from_redb {
    ($into:ty: $($error:ty),*) => { $(
        impl From<$error> for $into {
            fn from(error: $error) -> Self {
                $crate::database::DatabaseError::from(redb::Error::from(error)).into()
            }
        }
    )* };
}
from_redb!(
    DatabaseError:
    redb::DatabaseError, redb::StorageError, redb::TableError, redb::TransactionError, redb::CommitError
);

/// Distinguishes a file from all others, also from one of the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileIdentity {
    device: u64,
    inode: u64,
}

impl From<&fs::Metadata> for FileIdentity {
    fn from(meta: &fs::Metadata) -> Self {
        Self { device: meta.dev(), inode: meta.ino() }
    }
}

/// Opens the file of a database, or makes it, and opens the database in it by `open`. What a full disk left of a new file is removed
/// again: it is no database.
///
/// # Errors
/// The operating system refuses, or it can't be one, or an error of `open`.
pub fn open_file<T, E: From<DatabaseError>>(
    path: &Path,
    open: impl FnOnce(File, FileIdentity) -> Result<T, E>,
) -> Result<T, E> {
    let existed = path.symlink_metadata().is_ok();
    let opened = file(path, existed).map_err(E::from).and_then(|(file, identity)| open(file, identity));
    if !existed && opened.is_err() {
        // It may not be there at all.
        let _ = fs::remove_file(path);
    }
    opened
}

fn file(path: &Path, existed: bool) -> Result<(File, FileIdentity), DatabaseError> {
    let file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(DatabaseError::Damaged("not a regular file".to_owned()));
    }
    if existed && meta.len() == 0 {
        return Err(DatabaseError::Damaged(EMPTY.to_owned()));
    }
    Ok((file, FileIdentity::from(&meta)))
}

/// The content of a database file, for one that is only read.
///
/// # Errors
/// The operating system refuses, or it is empty.
pub fn read_file(path: &Path) -> Result<Vec<u8>, DatabaseError> {
    let bytes = fs::read(path)?;
    if bytes.is_empty() { Err(DatabaseError::Damaged(EMPTY.to_owned())) } else { Ok(bytes) }
}

/// Opens a database and verifies all of it. What it does with a file that something else has written is not to be relied on.
///
/// # Errors
/// It is damaged, or the operating system refuses.
pub fn verified(from: impl StorageBackend) -> Result<Database, DatabaseError> {
    let work = move || {
        let mut builder = Builder::new();
        let builder = builder.set_cache_size(CACHE).set_check_integrity_on_open(true);
        Ok(builder.create_with_backend(from)?)
    };
    catch(work).unwrap_or_else(|panic| Err(DatabaseError::Damaged(panic)))
}

/// The database of an open file.
///
/// # Errors
/// It is damaged, or the operating system refuses.
pub fn of_file(file: File) -> Result<Database, DatabaseError> {
    verified(FileBackend::new(file)?)
}

/// Renames a file that is of no use to `NAME.set-aside`, or with a number up to `most` if there is one already; the last one is
/// overwritten, none of the others ever is.
///
/// # Errors
/// The operating system refuses.
pub fn set_aside(path: &Path, most: usize) -> io::Result<PathBuf> {
    let named = |number: usize| {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(if number == 1 { ".set-aside".to_owned() } else { format!(".set-aside.{number}") });
        path.with_file_name(name)
    };
    let is_free = |path: &PathBuf| path.symlink_metadata().is_err();
    let aside = (1..most).map(named).find(is_free).unwrap_or_else(|| named(most));
    fs::rename(path, &aside)?;
    Ok(aside)
}
