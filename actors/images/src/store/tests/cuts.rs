//! A process that is killed, or a machine that loses its power, at each write of a store.

use cri_gc_test_support::cuts::{Commits, Found, Journal};

use super::*;

/// Commits of a store that begins as nothing.
fn work() -> Commits<Content> {
    let journal = Journal::default();
    let (database, content) = read(journal.clone(), &Origin::default()).unwrap();
    assert_eq!(content, Content::default());
    let mut commits = Commits::new(&journal, content);
    let mut chance = Chance::new(5);
    for round in 0..24 {
        let mut content = commits.last().clone();
        if chance.below(6) == 0 {
            content = Content::default();
        }
        for (key, record) in sample(60).images {
            match chance.below(12) {
                0 => drop(content.images.remove(&key)),
                1..4 => drop(content.images.insert(key, record)),
                _ => {}
            }
        }
        let reference = format!("r.io/{}", round % 5);
        match round % 3 {
            0 => drop(content.uses.remove(&reference)),
            _ => drop(content.uses.insert(reference, nanos(round))),
        }
        content.observed = Some(observed(round));
        super::write(&database, &Origin::default(), &content).unwrap();
        commits.ended(content);
    }
    commits
}

/// What a file is read as, by the way that a service takes.
fn found(file: InMemoryBackend) -> Found<Content> {
    match read(file, &Origin::default()) {
        Ok((_, content)) => Found::Content(content),
        Err(StoreError::Damaged(_)) => Found::Damaged,
        Err(error) => Found::Failed(error.to_string()),
    }
}

#[test]
fn a_process_that_is_killed_at_a_write_leaves_one_commit_or_the_next() {
    work().survive_kills(found);
}

#[test]
fn a_machine_that_loses_its_power_keeps_one_commit_or_the_next() {
    work().survive_power_cuts(6, found);
}
