//! A directory with what an input describes, and what is there before and after.
//!
//! An input is a line for each entry, with paths below the log root: `d PATH` (a directory), `f PATH` (a file), `l PATH` (a symbolic link),
//! `h PATH` (a second name of a file that is elsewhere), `p PATH` (a pipe), `n PATH` (many directories, one in the other). Whatever
//! the lines say, nothing is made outside the temporary directory, and no link leads out of it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, mknodat};

/// The most entries that an input makes: a disk is slow.
const MOST: usize = 24;

/// How many directories are in one another, where an input has many: more than a removal takes in one piece.
const NESTED: usize = 40;

/// How often an input has that many.
const MOST_NESTED: usize = 2;

/// A temporary directory with a root of pod logs, a root of links and a directory outside of both.
pub(crate) struct Disk {
    folder: tempfile::TempDir,
    /// The last file that was made.
    last: Option<PathBuf>,
    nested: usize,
    /// Whether two names of a file may be in one tree.
    pub(crate) has_second_names: bool,
}

/// What is known of an entry without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) is_dir: bool,
    pub(crate) target: Option<PathBuf>,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

/// All entries, by their paths below the temporary directory.
pub(crate) type Entries = BTreeMap<PathBuf, Entry>;

impl Disk {
    /// The roots, with a file outside.
    pub(crate) fn new() -> Self {
        // In memory, if there is such a filesystem: thousands of directories are made.
        let memory = Path::new("/dev/shm");
        let folder =
            if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
        for name in ["pods", "links", "outside"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        fs::write(folder.path().join("outside/precious.log"), "data").unwrap();
        Self { folder, last: None, nested: 0, has_second_names: false }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn pods(&self) -> PathBuf {
        self.path().join("pods")
    }

    pub(crate) fn links(&self) -> PathBuf {
        self.path().join("links")
    }

    /// Makes what these lines describe below `root`.
    pub(crate) fn make<'a>(&mut self, root: &Path, lines: impl Iterator<Item = &'a [u8]>) {
        for (number, line) in lines.take(MOST).enumerate() {
            let [what, b' ', path @ ..] = line else { continue };
            // Names as they are, but no way up and no way out.
            let names = path.split(|byte| *byte == b'/').filter(|name| is_plain(name)).take(8);
            let Some(place) = self.parents(root, names.map(OsStr::from_bytes)) else { continue };
            // What is there already is left as it is.
            let _ = match what {
                b'd' => fs::create_dir(&place),
                b'f' if place.symlink_metadata().is_err() => {
                    self.last = Some(place.clone());
                    fs::write(&place, vec![b'x'; number * 1000])
                }
                b'l' => symlink(self.target(&place, number), &place),
                b'h' => fs::hard_link(self.second_of(number), &place),
                b'p' => mknodat(CWD, &place, FileType::Fifo, Mode::RWXU, 0).map_err(Into::into),
                b'n' if self.nested < MOST_NESTED => {
                    self.nested += 1;
                    fs::create_dir(&place).and_then(|()| fs::create_dir_all(place.join("n/".repeat(NESTED))))
                }
                _ => Ok(()),
            };
        }
    }

    /// A file that gets one more name.
    fn second_of(&mut self, number: usize) -> PathBuf {
        match &self.last {
            Some(last) if number.is_multiple_of(2) => {
                self.has_second_names = true;
                last.clone()
            }
            _ => self.path().join("outside/precious.log"),
        }
    }

    /// Makes the directories above the last name; where that is. `None` if something else is in the way: no link is followed.
    fn parents<'a>(&self, root: &Path, names: impl Iterator<Item = &'a OsStr>) -> Option<PathBuf> {
        let mut place = root.to_owned();
        let mut names = names.peekable();
        names.peek()?;
        while let Some(name) = names.next() {
            place.push(name);
            if names.peek().is_some() {
                let _ = fs::create_dir(&place);
            }
            let is_dir = place.symlink_metadata().is_ok_and(|meta| meta.is_dir());
            if names.peek().is_some() && !is_dir {
                return None;
            }
        }
        Some(place)
    }

    /// Where a link points to.
    fn target(&self, place: &Path, number: usize) -> PathBuf {
        let outside = self.path().join("outside");
        let up = place.strip_prefix(self.path()).unwrap().components().count() - 1;
        match number % 7 {
            0 => outside,
            1 => outside.join("precious.log"),
            2 => Path::new(&"../".repeat(up)).join("outside"),
            3 => PathBuf::from(".."),
            4 => PathBuf::from("."),
            5 => PathBuf::from("nowhere"),
            _ => place.to_owned(),
        }
    }

    /// A path as an input writes it, which never leads out of the temporary directory, not even by a mistake of what is tested: the root is
    /// that directory, and there is no way above it from the `depth`th directory in it.
    pub(crate) fn confined(&self, written: &str, depth: usize) -> String {
        let is_absolute = written.starts_with('/');
        let mut depth = if is_absolute { 0 } else { depth };
        let mut names = Vec::new();
        for name in written.split('/').skip(usize::from(is_absolute)) {
            match name {
                ".." if depth == 0 => continue,
                ".." => depth -= 1,
                "" | "." => {}
                _ => depth += 1,
            }
            names.push(name);
        }
        let names = names.join("/");
        if is_absolute { format!("{}/{names}", self.path().display()) } else { names }
    }

    /// What is there now.
    pub(crate) fn entries(&self) -> Entries {
        let mut all = Entries::new();
        self.add(self.path(), &mut all);
        all
    }

    fn add(&self, directory: &Path, all: &mut Entries) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let meta = path.symlink_metadata().unwrap();
            let entry = Entry {
                is_dir: meta.is_dir(),
                target: path.read_link().ok(),
                inode: meta.ino(),
                size: meta.size(),
                modified: (meta.mtime(), meta.mtime_nsec()),
            };
            if entry.is_dir {
                self.add(&path, all);
            }
            all.insert(path.strip_prefix(self.path()).unwrap().to_owned(), entry);
        }
    }
}

/// The paths that were there and are not any more. All else must be as it was, but for the time and the size of the directories in `changed`.
pub(crate) fn removed(before: &Entries, after: &Entries, changed: &[&str]) -> Vec<PathBuf> {
    assert!(after.keys().all(|path| before.contains_key(path)), "something was made: {after:?}");
    let mut removed = Vec::new();
    for (path, entry) in before {
        match after.get(path) {
            None => removed.push(path.clone()),
            Some(now) if changed.iter().any(|name| path == Path::new(name)) => {
                assert_eq!((now.is_dir, now.inode), (entry.is_dir, entry.inode), "{}", path.display());
            }
            // A directory has another size once it has fewer entries.
            Some(now) if entry.is_dir => {
                assert_eq!(Entry { size: entry.size, ..now.clone() }, *entry, "{}", path.display());
            }
            Some(now) => assert_eq!(now, entry, "{}", path.display()),
        }
    }
    removed
}

/// Whether that is one name, with no way up.
fn is_plain(name: &[u8]) -> bool {
    let mut parts = Path::new(OsStr::from_bytes(name)).components();
    let is_name = matches!(parts.next(), Some(Component::Normal(_)));
    is_name && parts.next().is_none() && name.len() <= 255 && !name.contains(&0)
}
