//! What passes did, as a table: those of this process ([`super::sweep`]) and those of a service ([`super::run_now`]).

use std::time::Duration;

use super::table::{bytes, render, short, table};
use cri_gc_policy::text::one_line;

/// An object that was to go.
#[derive(Debug)]
pub struct RemovalRow<'a> {
    /// What it is.
    pub kind: &'a str,
    /// Its id.
    pub id: &'a str,
    /// What people call it.
    pub name: &'a str,
    /// Why it was to go.
    pub reason: &'a str,
    /// How that ended.
    pub result: String,
    /// Its size.
    pub bytes: u64,
}

/// A pass.
#[derive(Debug)]
pub struct PassRow<'a> {
    /// Of which loop.
    pub of: &'a str,
    /// What the loop may do.
    pub mode: &'a str,
    /// How many objects went, or would go.
    pub gone: Gone,
    /// How many could not be removed.
    pub failed: u64,
    /// How many stayed.
    pub kept: u64,
    /// For which reasons, where that is told.
    pub kept_for: Option<String>,
    /// How long it took.
    pub took: Duration,
    /// Bytes by which file systems became emptier.
    pub freed_bytes: u64,
    /// What an operator should know.
    pub notes: &'a [String],
    /// What went wrong.
    pub errors: Vec<String>,
}

/// How many objects went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gone {
    /// So many went.
    Removed(u64),
    /// So many would go.
    WouldGo(u64),
    /// Nobody asked.
    Off,
}

/// One line for each object that was to go, one for each loop, and all notes and errors.
#[must_use]
pub fn text(removals: &[RemovalRow<'_>], passes: &[PassRow<'_>]) -> String {
    let mut text = String::new();
    if !removals.is_empty() {
        let mut rows = table(&["KIND", "NAME", "REASON", "RESULT", "BYTES", "ID"]);
        for removal in removals {
            rows.add_row([
                removal.kind,
                removal.name,
                removal.reason,
                &removal.result,
                &bytes(removal.bytes),
                short(removal.id),
            ]);
        }
        text.push_str(&render(rows, &[4]));
        text.push('\n');
    }
    if passes.is_empty() {
        // Removals of a pass whose end is not known.
        return text;
    }
    text.push_str(&summary(passes));
    text.push_str(&notes(passes.iter().map(|pass| (pass.of, pass.notes))));
    for pass in passes {
        for error in &pass.errors {
            text.push_str(&format!("error ({}): {}\n", pass.of, one_line(error)));
        }
    }
    text
}

/// One line for each loop.
#[must_use]
pub fn summary(passes: &[PassRow<'_>]) -> String {
    let mut header = vec!["LOOP", "MODE", "REMOVED", "FAILED", "KEPT", "TOOK"];
    if passes.iter().any(|pass| pass.kept_for.is_some()) {
        header.push("KEPT FOR");
    }
    let mut rows = table(&header);
    for pass in passes {
        let gone = match pass.gone {
            Gone::Removed(count) => count.to_string(),
            Gone::WouldGo(count) => format!("({count})"),
            Gone::Off => "-".to_owned(),
        };
        let mut row = vec![
            pass.of.to_owned(),
            pass.mode.to_owned(),
            gone,
            pass.failed.to_string(),
            pass.kept.to_string(),
            format!("{:.1?}", pass.took),
        ];
        row.extend(pass.kept_for.clone());
        rows.add_row(row);
    }
    let mut text = render(rows, &[2, 3, 4, 5]);
    for pass in passes.iter().filter(|pass| pass.freed_bytes > 0) {
        text.push_str(&format!(
            "{}: the file system has {} more available.\n",
            pass.of,
            bytes(pass.freed_bytes)
        ));
    }
    text
}

/// Notes, each said once, with all the loops that it holds for.
#[must_use]
pub fn notes<'a>(of_loops: impl IntoIterator<Item = (&'a str, &'a [String])>) -> String {
    let mut known: Vec<(&str, Vec<&str>)> = Vec::new();
    for (of, notes) in of_loops {
        for note in notes {
            match known.iter_mut().find(|(known, _)| known == note) {
                Some((_, loops)) => loops.push(of),
                None => known.push((note, vec![of])),
            }
        }
    }
    let line =
        |(note, loops): (&str, Vec<&str>)| format!("note ({}): {}\n", loops.join(", "), one_line(note));
    known.into_iter().map(line).collect()
}
