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
            Ok::<_, DatabaseError>((prepared(database::of_file(file)?)?, identity))
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
        self.with(|database| add(database, most, new))
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

/// The database, with its tables.
fn prepared(database: Database) -> Result<Database, DatabaseError> {
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
    Ok(database)
}

/// Adds events, as [`Store::add`] does.
fn add<'a>(
    database: &Database,
    most: u64,
    new: impl IntoIterator<Item = &'a api::Event>,
) -> Result<(), DatabaseError> {
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

#[cfg(test)]
mod tests {
    use cri_gc_test_support::cuts::{Commits, Found, Journal};
    use redb::backends::InMemoryBackend;

    use super::*;

    /// Events that are kept.
    const MOST: u64 = 20;

    /// Numbers and messages of all events.
    type Content = Vec<(u64, String)>;

    fn content(database: &Database) -> Result<Content, DatabaseError> {
        let events = database.begin_read()?.open_table(EVENTS)?;
        let event = |entry: Result<
            (redb::AccessGuard<'_, u64>, redb::AccessGuard<'_, &[u8]>),
            redb::StorageError,
        >| {
            let (number, event) = entry?;
            let event = api::Event::decode(event.value());
            let event = event.map_err(|error| DatabaseError::Damaged(error.to_string()))?;
            Ok((number.value(), event.message))
        };
        events.iter()?.map(event).collect()
    }

    /// Commits of a history that begins as nothing.
    fn work() -> Commits<Content> {
        let journal = Journal::default();
        let database = prepared(database::verified(journal.clone()).unwrap()).unwrap();
        let mut commits = Commits::new(&journal, content(&database).unwrap());
        let mut sequence = 0;
        for round in 0..24 {
            let mut event = |text: &str| {
                sequence += 1;
                api::Event { sequence, message: text.repeat(round * 20), ..api::Event::default() }
            };
            let new = [event("a"), event("b"), event("c")];
            add(&database, MOST, new.iter().take(1 + round % 3)).unwrap();
            commits.ended(content(&database).unwrap());
        }
        commits
    }

    /// What a file is read as, by the way that a service takes.
    fn found(file: InMemoryBackend) -> Found<Content> {
        let opened = catch(|| prepared(database::verified(file)?).and_then(|database| content(&database)));
        match opened.unwrap_or_else(|panic| Err(DatabaseError::Damaged(panic))) {
            Ok(content) => Found::Content(content),
            Err(DatabaseError::Damaged(_)) => Found::Damaged,
            Err(error) => Found::Failed(error.to_string()),
        }
    }

    #[test]
    fn a_process_that_is_killed_at_a_write_leaves_one_commit_or_the_next() {
        work().survive_kills(found);
    }

    #[test]
    fn a_machine_that_loses_its_power_keeps_one_commit_or_the_next() {
        work().survive_power_cuts(7, found);
    }
}
