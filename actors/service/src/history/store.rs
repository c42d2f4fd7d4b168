//! The file of the history: a small database (redb) in the state directory, in which the newest events have running numbers. It
//! blocks: it is used by the writer's thread. What is committed survives the process however it ends. A file that is damaged, or
//! that a newer cri-gc wrote, is set aside, and a new one is begun.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use cri_gc_files::database::{self, DatabaseError, FileIdentity};
use cri_gc_files::dirs::make_private_dir;
use cri_gc_proto::admin as api;
use jiff::Timestamp;
use prost::Message;
use redb::{Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition, TableError};

use super::filter::Filter;
use super::messages::Page;
use super::sums::Sums;
use cri_gc_kit::supervision::panics::catch;

/// Name of the file in the state directory.
const NAME: &str = "history.redb";

/// What the table holds, and how. A file of a higher number was written by a newer cri-gc.
const FORMAT: u64 = 1;

/// "format": the number.
const META: TableDefinition<'static, &'static str, u64> = TableDefinition::new("meta");

/// By its number, each event as the admin API answers it: a `cri_gc.admin.v1.Event`, to which fields may be added.
const EVENTS: TableDefinition<'static, u64, &'static [u8]> = TableDefinition::new("events");

/// Events that are read for one page at most, so that writing never waits for long.
const READ_AT_ONCE: usize = 20_000;

/// Longest message that is kept, in bytes: a runtime may answer an error of any length.
const LONGEST: usize = 2_000;

/// The file.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    most: u64,
    /// `None` before it is opened, and after anything has failed.
    open: Option<(Database, FileIdentity)>,
}

impl Store {
    /// That of a state directory. Nothing is opened yet.
    pub fn of(state_dir: &Path, most: u64) -> Self {
        Self { path: state_dir.join(NAME), most, open: None }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens it if it is not open, makes it if there is none, and sets it aside if it is of no use: then the answer says why.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn open(&mut self) -> Result<Option<String>, DatabaseError> {
        let is_ours = |(_, file): &(Database, FileIdentity)| {
            fs::metadata(&self.path).is_ok_and(|meta| FileIdentity::from(&meta) == *file)
        };
        if self.open.as_ref().is_some_and(is_ours) {
            return Ok(None);
        }
        // Closed first: a file that was removed or replaced is not written to any more.
        self.open = None;
        // What a database does with a file that something else has written is not to be relied on.
        let opened = catch(|| self.try_open()).unwrap_or_else(|panic| Err(DatabaseError::Damaged(panic)));
        let why = match opened {
            Err(DatabaseError::Damaged(why)) => why,
            opened => return opened.map(|()| None),
        };
        let aside = database::set_aside(&self.path, 1)?;
        self.try_open()?;
        Ok(Some(format!(
            "the history in {} can't be used: {why}; the file was renamed to {}, and the history begins again",
            self.path.display(),
            aside.display()
        )))
    }

    fn try_open(&mut self) -> Result<(), DatabaseError> {
        if let Some(dir) = self.path.parent().filter(|dir| !dir.is_dir()) {
            make_private_dir(dir)?;
        }
        self.open = Some(database::open_file(&self.path, |file, identity| {
            let database = database::of_file(file)?;
            match format(&database)? {
                Some(FORMAT) => {}
                None => {
                    let transaction = database.begin_write()?;
                    transaction.open_table(META)?.insert("format", FORMAT)?;
                    transaction.open_table(EVENTS)?;
                    transaction.commit()?;
                }
                Some(other) => {
                    return Err(DatabaseError::Damaged(format!(
                        "a newer cri-gc wrote it (format {other}, this one knows {FORMAT})"
                    )));
                }
            }
            Ok::<_, DatabaseError>((database, identity))
        })?);
        Ok(())
    }

    /// Number of the newest event; 0 where there is none.
    ///
    /// # Errors
    /// It can't be read.
    pub fn last(&mut self) -> Result<u64, DatabaseError> {
        self.with(|database| {
            let last = database.begin_read()?.open_table(EVENTS)?.last()?.map(|(number, _)| number.value());
            Ok(last.unwrap_or(0))
        })
    }

    /// Adds events, and returns once they are on the disk; the oldest leave. Each gets the number that it has, or, where that is taken,
    /// the next one.
    ///
    /// # Errors
    /// None of them is kept for sure.
    pub fn add<'a>(&mut self, new: impl IntoIterator<Item = &'a api::Event>) -> Result<(), DatabaseError> {
        let most = self.most;
        self.with(|database| {
            let transaction = database.begin_write()?;
            {
                let mut events = transaction.open_table(EVENTS)?;
                let mut last = events.last()?.map_or(0, |(number, _)| number.value());
                for event in new {
                    last = event.sequence.max(last.saturating_add(1));
                    let event = api::Event { sequence: last, message: cut(&event.message), ..event.clone() };
                    events.insert(last, event.encode_to_vec().as_slice())?;
                }
                while events.len()? > most {
                    events.pop_first()?;
                }
            }
            Ok(transaction.commit()?)
        })
    }

    /// The newest events before that number that are meant.
    ///
    /// # Errors
    /// They can't be read.
    pub fn page(&mut self, filter: &Filter, before: u64, wanted: usize) -> Result<Page, DatabaseError> {
        self.with(|database| {
            let events = database.begin_read()?.open_table(EVENTS)?;
            let mut page = Page::default();
            for (read, entry) in events.range(..before)?.rev().enumerate() {
                let (number, event) = entry?;
                if page.events.len() >= wanted || read >= READ_AT_ONCE {
                    page.rest_before = Some(number.value().saturating_add(1));
                    break;
                }
                let event = api::Event::decode(event.value())
                    .map_err(|error| DatabaseError::Damaged(error.to_string()))?;
                if filter.matches(&event) {
                    page.events.push(event);
                }
            }
            Ok(page)
        })
    }

    /// What happened from then until then, as far back as is kept; `waiting` are events that are not in here yet.
    ///
    /// # Errors
    /// It can't be read.
    pub fn sums<'a>(
        &mut self,
        since: Timestamp,
        until: Timestamp,
        waiting: impl IntoIterator<Item = &'a api::Event>,
    ) -> Result<Sums, DatabaseError> {
        self.with(|database| {
            let events = database.begin_read()?.open_table(EVENTS)?;
            let newest = events.iter()?.rev().take(READ_AT_ONCE).map(|entry| {
                let (_, event) = entry?;
                api::Event::decode(event.value()).map_err(|error| DatabaseError::Damaged(error.to_string()))
            });
            let mut sums = Sums::new(since, until);
            sums.count(waiting.into_iter().cloned().map(Ok).chain(newest))?;
            Ok(sums)
        })
    }

    /// Works on the open database. After a failure it is opened again.
    fn with<T>(
        &mut self,
        work: impl FnOnce(&Database) -> Result<T, DatabaseError>,
    ) -> Result<T, DatabaseError> {
        let Some((database, _)) = &self.open else {
            return Err(io::Error::from(io::ErrorKind::NotFound).into());
        };
        // What a database does with a file that something else has written is not to be relied on.
        let done = catch(|| work(database)).unwrap_or_else(|panic| Err(DatabaseError::Damaged(panic)));
        if done.is_err() {
            self.open = None;
        }
        done
    }
}

/// The format of what is in there; `None` where nothing is.
fn format(database: &Database) -> Result<Option<u64>, DatabaseError> {
    match database.begin_read()?.open_table(META) {
        Ok(meta) => Ok(meta.get("format")?.map(|format| format.value())),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn cut(message: &str) -> String {
    match message.char_indices().map(|(at, _)| at).find(|at| *at >= LONGEST) {
        Some(end) => format!("{}...", message.get(..end).unwrap_or_default()),
        None => message.to_owned(),
    }
}
