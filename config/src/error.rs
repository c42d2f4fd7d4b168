//! What is wrong with a configuration: a list of problems, each with its place and what to do about it.
//!
//! Whoever repairs a node wants to do it in one go, so a [`ConfigError`] holds all problems that can be told.

use std::fmt;

use cri_gc_policy::text::excerpt;
use serde::Serialize;

use crate::Origin;

/// A place in a file. Both numbers start at 1; columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
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

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// One thing that is wrong. Its `Display` is one line that holds all of the fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The layer that the value came from.
    pub origin: Origin,
    /// The place in the file, if the origin is one and the problem has a place.
    pub position: Option<Position>,
    /// The dotted key, with the index for an element of a list; none if the problem is of the file as a whole.
    pub key: Option<String>,
    /// The value as it was written.
    pub value: Option<String>,
    /// What is wrong with it.
    pub what: String,
    /// What would be right.
    pub allowed: Option<String>,
    /// What to do.
    pub remedy: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.origin)?;
        if let Some(position) = self.position {
            write!(f, ":{position}")?;
        }
        match (&self.key, &self.value) {
            (Some(key), Some(value)) => write!(f, ": {key} = {}", excerpt(value))?,
            (Some(key), None) => write!(f, ": {key}")?,
            (None, _) => {}
        }
        write!(f, ": {}", self.what)?;
        if let Some(allowed) = &self.allowed {
            write!(f, "; allowed: {allowed}")?;
        }
        write!(f, "; {}", self.remedy)
    }
}

/// A configuration that can't be used, with everything that is wrong with it. A program ends with exit code 64.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    problems: Vec<Problem>,
}

impl ConfigError {
    /// An error of these problems; there has to be one.
    pub(crate) fn new(problems: Vec<Problem>) -> Self {
        debug_assert!(!problems.is_empty(), "an error says what is wrong");
        Self { problems }
    }

    /// The problems, those of a file in the order of its lines; at least one.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.as_slice() {
            [problem] => write!(f, "the configuration can't be used: {problem}"),
            problems => {
                write!(f, "the configuration can't be used for {} reasons:", problems.len())?;
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
        assert_eq!(Position::of(text, 0).to_string(), "1:1");
        assert_eq!(Position::of(text, 6).to_string(), "2:1");
        assert_eq!(Position::of(text, 11), Position { line: 2, column: 5 });
        assert_eq!(Position::of(text, 999).to_string(), "3:1");
    }

    #[test]
    fn a_value_of_many_lines_is_told_on_one() {
        assert_eq!(excerpt("a\nb"), "a b");
        assert_eq!(excerpt(&"x".repeat(161)), format!("{}...", "x".repeat(160)));
    }
}
