//! The store of image records with a copy for bad times: while `state.dir` can't be written (a full or read-only disk), the
//! records are kept in the runtime directory, which is in memory (behaviour: State on disk). It blocks: it is used by a worker.
//!
//! The copy is a store like the other one. It counts only within the boot that wrote it. At the next start both are read and
//! become one content; as soon as `state.dir` can be written it holds all of that, and only then the copy is removed, so that a
//! crash in between loses nothing: what was observed last decides which of the two has the word.

use super::{Opened, Origin, Store, StoreError, path_in, read_copy};
use crate::content::Content;
use cri_gc_files::dirs::{Dirs, make_private_dir};

/// The result of reading or writing the store and its copy.
#[derive(Debug)]
pub struct Outcome {
    /// What was read, where something had to be.
    pub opened: Option<Opened>,
    /// Why the state directory can't be written, so that the records are in the copy; `None` if it can.
    pub refused: Option<StoreError>,
}

/// A store and its copy.
#[derive(Debug)]
pub struct FallbackStore {
    dirs: Dirs,
    origin: Origin,
    boot_id: String,
    main: Store,
    copy: Option<Store>,
    /// Both were read once.
    is_read: bool,
    /// There may be a copy.
    has_copy: bool,
}

impl FallbackStore {
    /// That of these directories, in the boot of that name. Nothing is opened yet.
    #[must_use]
    pub fn new(dirs: Dirs, origin: Origin, boot_id: String) -> Self {
        let main = Store::of(&dirs.state, origin.clone());
        let copy = dirs.runtime.as_deref().map(|dir| Store::of(dir, origin.clone()));
        let has_copy = copy.is_some();
        Self { dirs, origin, boot_id, main, copy, is_read: false, has_copy }
    }

    /// Reads the store and its copy. What only the copy holds is written to the state directory at once, where that is possible.
    ///
    /// # Errors
    /// The operating system refuses, and nothing could be read.
    pub fn open(&mut self) -> Result<Outcome, StoreError> {
        self.is_read = true;
        let copied = match copied(&self.dirs, &self.origin, &self.boot_id) {
            Ok(copied) => copied,
            // What is of another runtime is left until something was seen of this one.
            Err(StoreError::Refused(_) | StoreError::Foreign { .. }) => None,
            // Of another boot, or damaged: it says nothing about the images here.
            Err(_) => {
                self.remove_copy();
                None
            }
        };
        let (mut opened, mut refused) = match self.make_state_dir().and_then(|()| self.main.open_at_start()) {
            Ok(opened) => (opened, None),
            // What can't be written may be readable.
            Err(refused) => match (read_copy(&self.dirs.state, &self.origin), &copied) {
                (Ok(content), _) => (Opened { content, set_aside: None }, Some(refused)),
                (Err(_), Some(_)) => (Opened::default(), Some(refused)),
                (Err(_), None) => return Err(refused),
            },
        };
        if let Some(copied) = copied {
            opened.content = joined(copied, opened.content);
            refused = refused.or_else(|| self.main.commit(opened.content.clone()).err());
            if refused.is_none() {
                self.remove_copy();
            }
        }
        Ok(Outcome { opened: Some(opened), refused })
    }

    /// Writes all that is remembered to the state directory, and returns once it is on the disk. Where that is refused, it is
    /// written to the copy instead.
    ///
    /// # Errors
    /// Nothing of the content is kept for sure.
    pub fn commit(&mut self, mut content: Content) -> Result<Outcome, StoreError> {
        // The start stopped waiting for it, or it was never its turn.
        let late = if self.is_read { None } else { self.open().ok().and_then(|read| read.opened) };
        if let Some(late) = &late {
            content = content.joined_with(late.content.clone());
        }
        let mut written = self.write(content.clone());
        if written.is_err() && self.copy.is_some() {
            // What failed may be the database as it was opened: it is opened again before the copy is used.
            written = self.write(content.clone());
        }
        let refused = match written {
            Ok(opened) => {
                self.remove_copy();
                return Ok(Outcome { opened: both(opened, late), refused: None });
            }
            Err(refused @ StoreError::Refused(_)) => refused,
            Err(error) => return Err(error),
        };
        let (Some(copy), Some(dir)) = (&mut self.copy, &self.dirs.runtime) else { return Err(refused) };
        // Only this process writes the copy: what it holds is read once, when it is opened.
        self.has_copy = true;
        match make_private_dir(dir).map_err(StoreError::from).and_then(|()| copy.commit(content)) {
            Ok(opened) => Ok(Outcome { opened: both(opened, late), refused: Some(refused) }),
            Err(error) => Err(StoreError::Nowhere {
                refused: Box::new(refused),
                copy: path_in(dir),
                error: Box::new(error),
            }),
        }
    }

    /// Closes the store in the state directory: the next commit reads it again.
    pub fn close(&mut self) {
        self.main.close();
    }

    fn write(&mut self, content: Content) -> Result<Option<Opened>, StoreError> {
        self.make_state_dir()?;
        self.main.commit(content)
    }

    /// Where a copy can be used instead, a state directory that is missing is made as soon as that is possible.
    fn make_state_dir(&self) -> Result<(), StoreError> {
        match self.copy {
            Some(_) if !self.dirs.state.is_dir() => Ok(make_private_dir(&self.dirs.state)?),
            _ => Ok(()),
        }
    }

    /// One that can't be removed is older than the store from now on, which is seen at the next start.
    fn remove_copy(&mut self) {
        if let Some(copy) = self.copy.as_mut().filter(|_| self.has_copy) {
            self.has_copy = !copy.remove();
        }
    }
}

/// What the store and its copy hold, without touching them: for a command that only plans.
///
/// # Errors
/// Neither can be read. Where there is none, nothing is remembered, which is no error.
pub fn read_both(dirs: &Dirs, origin: &Origin, boot_id: &str) -> Result<Content, StoreError> {
    // One that does not fit, or can't be read, adds nothing.
    let copied = copied(dirs, origin, boot_id).ok().flatten();
    match (read_copy(&dirs.state, origin), copied) {
        (Ok(content), Some(copied)) => Ok(joined(copied, content)),
        (Err(_), Some(copied)) => Ok(copied),
        (read, None) => read,
    }
}

/// What the copy holds, if there is one.
fn copied(dirs: &Dirs, origin: &Origin, boot_id: &str) -> Result<Option<Content>, StoreError> {
    let Some(dir) = &dirs.runtime else { return Ok(None) };
    let content = read_copy(dir, origin)?;
    match &content.observed {
        None => Ok(None),
        Some(observed) if observed.boot_id == boot_id => Ok(Some(content)),
        Some(_) => Err(StoreError::OtherBoot),
    }
}

/// One content out of both: that of the two has the word that was written last.
fn joined(copied: Content, main: Content) -> Content {
    let main_is_newer = match (&main.observed, &copied.observed) {
        (Some(main), Some(copied)) => main.boot_id == copied.boot_id && main.boot >= copied.boot,
        _ => false,
    };
    if main_is_newer { main.joined_with(copied) } else { copied.joined_with(main) }
}

fn both(opened: Option<Opened>, late: Option<Opened>) -> Option<Opened> {
    match (opened, late) {
        (Some(opened), Some(late)) => Some(Opened {
            content: joined(late.content, opened.content),
            set_aside: opened.set_aside.or(late.set_aside),
        }),
        (opened, late) => opened.or(late),
    }
}
