//! The documentation as a whole: what refers to a page refers to something that is there. Whether the examples on the pages are
//! right is tested in `tests/cli/docs`, and their words in `tests/words.rs`.
//!
//! - `messages`: the messages of the log, and their entries in docs/troubleshooting.md.

#![allow(clippy::unwrap_used, clippy::panic, reason = "test code: failing loudly is its job")]

mod messages;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use cri_gc_kit::recorder::EventKind;

/// How code refers to a section of docs/behaviour.md (CONTRIBUTING.md, "Refer to behaviour").
const REFERENCE: &str = "behaviour: ";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Files below `folder` with one of these endings, with their text.
fn files(folder: &Path, endings: &[&str]) -> Vec<(PathBuf, String)> {
    let (mut found, mut open) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let hidden = path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'));
            if path.is_dir() {
                // What cargo builds is not ours.
                if !hidden && !path.join("CACHEDIR.TAG").exists() {
                    open.push(path);
                }
            } else if path.extension().is_some_and(|ending| endings.iter().any(|e| ending == *e)) {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "no file with {endings:?} below {}", folder.display());
    found
}

/// The headings of a page, outside its examples.
fn headings(text: &str) -> Vec<String> {
    let mut is_example = false;
    let heading = |line: &str| {
        is_example ^= line.trim_start().starts_with("```");
        let text = line.trim_start_matches('#').strip_prefix(' ')?;
        (line.starts_with('#') && !is_example).then(|| text.to_owned())
    };
    text.lines().filter_map(heading).collect()
}

/// What a link to a heading ends with.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase();
    let kept = kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// Whether a comment that continues with `rest` names one of these headings.
fn names_one(rest: &str, headings: &[String]) -> bool {
    let ends = |rest: &str| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '-');
    headings.iter().any(|heading| rest.strip_prefix(heading.as_str()).is_some_and(ends))
}

#[test]
fn every_section_of_behaviour_that_code_refers_to_exists() {
    let behaviour = fs::read_to_string(root().join("docs/behaviour.md")).unwrap();
    let headings = headings(&behaviour);
    let (mut wrong, mut count) = (Vec::new(), 0);
    for (path, text) in files(root(), &["rs", "proto", "toml"]) {
        if path == root().join(file!()) {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            for rest in line.split(REFERENCE).skip(1) {
                count += 1;
                if !names_one(rest, &headings) {
                    wrong.push(format!("{}:{}: {}", path.display(), number + 1, line.trim()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "not a heading of docs/behaviour.md:\n{}", wrong.join("\n"));
    assert!(count >= 80, "{count} references are too few to be all");
}

#[test]
fn nothing_refers_to_a_specification_that_is_not_here() {
    let numbered = |line: &str| {
        let digit = |rest: &str| rest.starts_with(|c: char| c.is_ascii_digit());
        ["spec ", "Section ", "section "].iter().any(|word| line.split(word).skip(1).any(digit))
    };
    let mut wrong = Vec::new();
    for (path, text) in files(root(), &["rs", "proto", "toml", "md"]) {
        let lines = text.lines().enumerate().filter(|(_, line)| numbered(line));
        wrong.extend(
            lines.map(|(number, line)| format!("{}:{}: {}", path.display(), number + 1, line.trim())),
        );
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Texts between `](` and `)`: where the links of a page lead.
fn links(text: &str) -> Vec<String> {
    let mut is_example = false;
    let lines = text.lines().filter(|line| {
        is_example ^= line.trim_start().starts_with("```");
        !is_example
    });
    let of_line = |line: &str| -> Vec<String> {
        line.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0.to_owned())).collect()
    };
    lines.flat_map(of_line).collect()
}

#[test]
fn every_link_of_a_page_leads_somewhere() {
    let pages =
        ["README.md", "CONTRIBUTING.md", "ARCHITECTURE.md", "CHANGELOG.md"].map(|page| root().join(page));
    let docs = files(&root().join("docs"), &["md"]).into_iter().map(|(path, _)| path);
    let (mut broken, mut count) = (Vec::new(), 0);
    for page in pages.into_iter().chain(docs) {
        let text = fs::read_to_string(&page).unwrap();
        for link in links(&text).into_iter().filter(|link| !link.contains("://")) {
            count += 1;
            let (file, heading) = link.split_once('#').unwrap_or((&link, ""));
            let target = if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            let leads = target.exists()
                && (heading.is_empty()
                    || headings(&fs::read_to_string(&target).unwrap()).iter().any(|h| anchor(h) == heading));
            if !leads {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    assert!(count >= 50, "{count} links are too few to be all");
}

/// The words that a page explains in the first columns of its tables.
fn explained(page: &str) -> Vec<String> {
    let page = fs::read_to_string(root().join(page)).unwrap();
    let words = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` |"));
    let mut words: Vec<String> = words.map(|(word, _)| word.to_owned()).collect();
    words.sort_unstable();
    words
}

#[test]
fn the_page_of_reasons_explains_every_reason_and_no_other() {
    let mut reasons: Vec<&str> = cri_gc_policy::Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    reasons.sort_unstable();
    assert_eq!(explained("docs/reasons.md"), reasons);
}

#[test]
fn the_page_of_events_explains_every_kind_and_no_other() {
    let mut kinds: Vec<&str> = EventKind::ALL.iter().map(|kind| kind.as_str()).collect();
    kinds.sort_unstable();
    assert_eq!(explained("docs/events.md"), kinds);
}

/// The section of a page below a heading.
fn section<'a>(page: &'a str, heading: &str) -> &'a str {
    let (_, rest) = page.split_once(&format!("\n## {heading}\n")).unwrap();
    rest.split("\n## ").next().unwrap()
}

#[test]
fn each_quick_start_has_at_most_ten_lines() {
    let page = fs::read_to_string(root().join("docs/install.md")).unwrap();
    for heading in ["On a CI node", "On a node with a kubelet", "On a cluster, as a DaemonSet"] {
        let blocks = section(&page, heading).split("```").skip(1).step_by(2);
        let lines: usize = blocks.map(|block| block.trim_end().lines().count() - 1).sum();
        assert!((5..=10).contains(&lines), "{heading}: {lines} lines");
    }
}

/// The first cells of the table below a heading.
fn first_cells(page: &str, heading: &str) -> Vec<String> {
    let page = fs::read_to_string(root().join(page)).unwrap();
    let rows = section(&page, heading).lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" |"));
    rows.map(|(cell, _)| cell.to_owned()).collect()
}

#[test]
fn the_pages_have_every_exit_code_and_no_other() {
    let source = fs::read_to_string(root().join("src/failure.rs")).unwrap();
    let constant =
        |line: &str| line.strip_prefix("const ")?.split_once(": u8 = ")?.1.strip_suffix(';')?.parse().ok();
    let codes: Vec<u8> = source.lines().filter_map(constant).collect();
    assert!(codes.len() >= 5, "{codes:?} are too few to be all");
    // Success, and the signals that end a command.
    let expected: BTreeSet<u8> = codes.into_iter().chain([0, 130, 143]).collect();
    for (page, heading) in [("docs/commands.md", "Exit codes"), ("docs/behaviour.md", "Commands")] {
        let codes = first_cells(page, heading);
        let codes = codes.iter().flat_map(|cell| cell.split(", ")).filter_map(|code| code.parse().ok());
        assert_eq!(codes.collect::<BTreeSet<u8>>(), expected, "{page}");
    }
}

#[test]
fn the_page_of_metrics_has_every_alert_and_no_other() {
    let rules = fs::read_to_string(root().join("deploy/monitoring/alerts.yaml")).unwrap();
    let alerts = rules.lines().filter_map(|line| line.trim_start().strip_prefix("- alert: "));
    let explained = first_cells("docs/metrics.md", "Alerts");
    let explained = explained.iter().filter_map(|cell| cell.strip_prefix('`')?.strip_suffix('`'));
    assert_eq!(explained.collect::<BTreeSet<_>>(), alerts.collect::<BTreeSet<_>>());
}

#[test]
fn headings_and_anchors_are_read_as_they_are_written() {
    let page = "# A\n\n```sh\n# no heading\n```\n## What is `x`, and why?\n";
    assert_eq!(headings(page), ["A", "What is `x`, and why?"]);
    assert_eq!(anchor("What is `x`, and why?"), "what-is-x-and-why");
    let known = ["Images".to_owned(), "Images in use".to_owned()];
    assert!(names_one("Images in use)", &known) && names_one("Images; the kubelet", &known));
    assert!(names_one("Images", &known) && !names_one("Imagery)", &known) && !names_one("Disks)", &known));
}
