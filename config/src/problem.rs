//! What is wrong with a configuration: a list of problems, each with its place and what to do about it.
//!
//! An operator who repairs a node wants to do it in one go, so a [`ConfigError`] lists all problems that can be found.

use std::fmt;
use std::path::PathBuf;

use cri_gc_policy::text::{Lines, escape, excerpt};

/// The layer that a value came from; later layers win (in the order of the variants).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The built-in default.
    Default,
    /// The configuration file of this path.
    File(PathBuf),
    /// The environment variable of this name.
    Env(String),
    /// A flag of the command line.
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("built-in default"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Env(name) => write!(f, "environment variable {name}"),
            Self::Flag => f.write_str("command line"),
        }
    }
}

/// A place in a file. Both numbers start at 1; columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

impl Position {
    /// The place of the byte at `offset` in `text`.
    pub(crate) fn of(text: &str, offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Self {
            line: before.matches('\n').count() + 1,
            column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
        }
    }
}

/// Where one value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) origin: Origin,
    /// The place of the value, if it came from a file.
    pub(crate) position: Option<Position>,
    /// The value as it was written there.
    pub(crate) raw: String,
}

impl Source {
    /// A problem with the value that `key` has here.
    pub(crate) fn problem(&self, key: &str, what: String, allowed: String, remedy: &str) -> Problem {
        Problem {
            key: Some(key.to_owned()),
            value: Some(self.raw.clone()),
            allowed: Some(allowed),
            ..Problem::of(self.origin.clone(), self.position, what, remedy)
        }
    }
}

/// One thing that is wrong. Its `Display` is one line with all of the fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The layer that the value came from.
    pub origin: Origin,
    /// The place in the file, if the origin is a file and the problem has a place in it.
    pub position: Option<Position>,
    /// The dotted key, with the index for an element of a list; none if the problem is one of the whole file.
    pub key: Option<String>,
    /// The value as it was written.
    pub value: Option<String>,
    /// What is wrong with it.
    pub what: String,
    /// Which values are valid.
    pub allowed: Option<String>,
    /// What to do.
    pub remedy: String,
}

impl Problem {
    /// A problem that is not one of a single value.
    pub(crate) fn of(origin: Origin, position: Option<Position>, what: String, remedy: &str) -> Self {
        Self { origin, position, key: None, value: None, what, allowed: None, remedy: remedy.to_owned() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = self.origin.to_string();
        if let Some(Position { line: at, column }) = self.position {
            line.push_str(&format!(":{at}:{column}"));
        }
        match (&self.key, &self.value) {
            (Some(key), Some(value)) => line.push_str(&format!(": {key} = {}", excerpt(value))),
            (Some(key), None) => line.push_str(&format!(": {key}")),
            (None, _) => {}
        }
        line.push_str(&format!(": {}", self.what));
        if let Some(allowed) = &self.allowed {
            line.push_str(&format!("; allowed: {allowed}"));
        }
        line.push_str(&format!("; {}", self.remedy));
        // A quoted key or a path may have line ends, which must not make two problems of one.
        f.write_str(&escape(&line, Lines::Escape))
    }
}

/// A configuration that can't be used, with everything that is wrong with it. The program ends with exit code 64.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// The problems, those of a file in the order of its lines; at least one.
    pub problems: Vec<Problem>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.as_slice() {
            [problem] => write!(f, "invalid configuration: {problem}"),
            problems => {
                write!(f, "invalid configuration, {} errors:", problems.len())?;
                problems.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_lines_and_characters() {
        let text = "a = 1\nä = 2\n";
        assert_eq!(Position::of(text, 0), Position { line: 1, column: 1 });
        assert_eq!(Position::of(text, 6), Position { line: 2, column: 1 });
        assert_eq!(Position::of(text, 11), Position { line: 2, column: 5 });
        assert_eq!(Position::of(text, 999), Position { line: 3, column: 1 });
    }

    #[test]
    fn a_value_of_many_lines_is_shown_on_one() {
        assert_eq!(excerpt("a\nb"), "a b");
        assert_eq!(excerpt(&"x".repeat(161)), format!("{}...", "x".repeat(160)));
    }
}
