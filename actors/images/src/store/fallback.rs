//! The store of image records with a copy for bad times: while `state.dir` can't be written (a full or read-only disk), the
//! records are kept in the runtime directory, which is in memory (behaviour: State on disk). It blocks: it is used by a worker.
//!
//! The copy is a store like the other one. It counts only within the boot that wrote it. At the next start both are read and
//! become one content; as soon as `state.dir` can be written it holds all of that, and only then the copy is removed, so that a
//! crash in between loses nothing: what was observed last decides which of the two has the word.

use super::{Opened, Origin, Store, StoreError, look, path_in};
use crate::records::{Batch, Content};
use cri_gc_files::dirs::{Dirs, make_private_dir};

/// What a store and its copy held when they were read.
#[derive(Debug)]
pub struct Loaded {
    /// What they held.
    pub opened: Opened,
    /// Why the state directory can't be written; `None` if it can.
    pub refused: Option<StoreError>,
}

/// Where a batch was written.
#[derive(Debug)]
pub struct Committed {
    /// What was read before, where something had to be.
    pub opened: Option<Opened>,
    /// Why the batch is in the copy and not in the state directory; `None` if it is there.
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
    pub fn open(&mut self) -> Result<Loaded, StoreError> {
        self.is_read = true;
        let copied = match copied(&self.dirs, &self.origin, &self.boot_id) {
            Ok(copied) => copied,
            Err(StoreError::Refused(_)) => None,
            // Of another boot, machine or runtime, or damaged: it says nothing of the images here.
            Err(_) => {
                self.remove_copy();
                None
            }
        };
        let (mut opened, refused) = match self.make_state_dir().and_then(|()| self.main.open()) {
            Ok(opened) => (opened, None),
            // What can't be written may be readable.
            Err(refused) => match (look(&self.dirs.state, &self.origin), &copied) {
                (Ok(content), _) => (Opened { content, set_aside: None }, Some(refused)),
                (Err(_), Some(_)) => (Opened::default(), Some(refused)),
                (Err(_), None) => return Err(refused),
            },
        };
        let Some(copied) = copied else { return Ok(Loaded { opened, refused }) };
        opened.content = joined(copied, opened.content);
        let refused = refused.or_else(|| self.main.commit(Batch::replacing(&opened.content)).err());
        if refused.is_none() {
            self.remove_copy();
        }
        Ok(Loaded { opened, refused })
    }

    /// Writes a batch to the state directory, and returns once it is on the disk. Where that is refused, a batch that is unsure
    /// (it holds all there is) is written to the copy instead.
    ///
    /// # Errors
    /// Nothing of the batch is kept for sure; one that is unsure is to follow.
    pub fn commit(&mut self, mut batch: Batch) -> Result<Committed, StoreError> {
        // The start did not wait for it any longer, or never got its turn.
        let late = if self.is_read { None } else { self.open().ok().map(|loaded| loaded.opened) };
        if let Some(late) = &late {
            batch.merge(&late.content);
        }
        let refused = match self.make_state_dir().and_then(|()| self.main.commit(batch.clone())) {
            Ok(opened) => {
                self.remove_copy();
                return Ok(Committed { opened: both(opened, late), refused: None });
            }
            Err(refused @ StoreError::Refused(_)) if batch.unsure => refused,
            Err(error) => return Err(error),
        };
        let (Some(copy), Some(dir)) = (&mut self.copy, &self.dirs.runtime) else { return Err(refused) };
        // Only this process writes the copy: what it holds is read once, when it is opened.
        batch.unsure = false;
        self.has_copy = true;
        match make_private_dir(dir).map_err(StoreError::from).and_then(|()| copy.commit(batch)) {
            Ok(opened) => Ok(Committed { opened: both(opened, late), refused: Some(refused) }),
            Err(error) => Err(StoreError::Nowhere {
                refused: Box::new(refused),
                copy: path_in(dir),
                error: Box::new(error),
            }),
        }
    }

    /// Where there is a copy to fall back on, a state directory that is missing is made as soon as that is possible.
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
pub fn look_at_both(dirs: &Dirs, origin: &Origin, boot_id: &str) -> Result<Content, StoreError> {
    // One that does not fit, or can't be read, adds nothing.
    let copied = copied(dirs, origin, boot_id).ok().flatten();
    match (look(&dirs.state, origin), copied) {
        (Ok(content), Some(copied)) => Ok(joined(copied, content)),
        (Err(_), Some(copied)) => Ok(copied),
        (looked, None) => looked,
    }
}

/// What the copy holds, if there is one.
fn copied(dirs: &Dirs, origin: &Origin, boot_id: &str) -> Result<Option<Content>, StoreError> {
    let Some(dir) = &dirs.runtime else { return Ok(None) };
    let content = look(dir, origin)?;
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
