//! The examples of README.md and docs/: commands are run and their output is compared, those that need a real node are checked by
//! the parser of the command line, and configurations by `config check`. CONTRIBUTING.md has the table of fences.
//!
//! - `commands`: what is not run: commands of other programs, commands named in the text, units.

mod commands;
mod page;
mod shell;

use super::program::Bench;
use page::{Example, Page, pages};
use shell::{Needs, Shell};

/// Replaces what differs from run to run: numbers, lengths and points of time, ids; and the width of columns.
fn blurred(text: &str) -> String {
    let word = |word: &str| {
        let is_id = |part: &&str| part.len() >= 8 && part.bytes().all(|b| b.is_ascii_hexdigit());
        let mut blurred = String::new();
        for part in word.split_inclusive(|c: char| !c.is_ascii_alphanumeric() && c != '.') {
            let bare = part.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
            let starts = bare.starts_with(|c: char| c.is_ascii_digit());
            let rest = part.get(bare.len()..).unwrap_or_default();
            blurred.push_str(if starts || is_id(&bare) { "#" } else { bare });
            blurred.push_str(rest);
        }
        blurred
    };
    let line = |line: &str| {
        let mut words: Vec<String> = line.split_whitespace().map(word).collect();
        words.dedup_by(|a, b| a == "#" && b == "#");
        words.join(" ") + "\n"
    };
    text.lines().map(line).collect()
}

/// The example as the program prints it now, if the page shows something else.
fn corrected(shell: &Shell, example: &Example, is_live: bool) -> Option<Example> {
    let lines = shell.run(&example.command);
    let output: String = lines.lines().map(|line| format!("{}\n", line.trim_end())).collect();
    let same = match is_live {
        true => blurred(&output) == blurred(&example.output),
        false => output == example.output,
    };
    (!same).then(|| Example { command: example.command.clone(), output })
}

/// Runs all examples of a page; returns what differs, or writes it into the page.
fn differences(page: &Page) -> Vec<String> {
    let needs = |kind: &str| match kind {
        "console" | "console live" => Some(Needs::Nothing),
        "console node" => Some(Needs::Node),
        "console service" => Some(Needs::Service),
        _ => None,
    };
    let (mut shells, mut changed, mut differences): (Vec<(Needs, Shell)>, _, _) =
        (Vec::new(), Vec::new(), Vec::new());
    for (number, block) in page.blocks.iter().enumerate() {
        let Some(needs) = needs(&block.kind) else { continue };
        if !shells.iter().any(|(known, _)| *known == needs) {
            let shell = Shell::new(needs);
            page.configurations().for_each(|(name, text)| shell.write(name, &text));
            shells.push((needs, shell));
        }
        let Some((_, shell)) = shells.iter().find(|(known, _)| *known == needs) else { continue };
        let mut examples = page.examples(block);
        // A service may be in the middle of a pass: then it is asked again.
        let tries = if needs == Needs::Service { 5 } else { 1 };
        let mut differs = false;
        for example in &mut examples {
            let mut found = None;
            for _ in 0..tries {
                found = corrected(shell, example, block.kind != "console");
                if found.is_none() {
                    break;
                }
            }
            let Some(found) = found else { continue };
            differences.push(format!(
                "{}: $ {}\n--- the page\n{}--- the program\n{}",
                page.place(block),
                example.command,
                example.output,
                found.output
            ));
            *example = found;
            differs = true;
        }
        if differs {
            changed.push((number, examples));
        }
    }
    if std::env::var_os("CRI_GC_UPDATE_EXPECTED").is_some() {
        page.rewrite(&changed);
        differences.clear();
    }
    differences
}

#[test]
fn commands_print_what_the_pages_show() {
    let all: Vec<String> = pages().iter().flat_map(differences).collect();
    assert!(all.is_empty(), "CRI_GC_UPDATE_EXPECTED=1 writes the pages\n{}", all.join("\n"));
}

#[test]
fn every_configuration_on_the_pages_is_valid() {
    let mut count = 0;
    for page in pages() {
        for block in page.blocks.iter().filter(|block| Page::kind(block).0 == "toml") {
            let bench = Bench::new();
            let file = bench.file("config.toml", page.text(block));
            let checked = super::program::said(bench.bare(&["config", "check", "--config", &file]), "");
            assert_eq!(checked.code, Some(0), "{}: {checked:?}", page.place(block));
            count += 1;
        }
    }
    assert!(count >= 10, "{count} configurations are too few to be all");
}

#[test]
fn every_fence_is_of_a_kind_that_is_tested() {
    let kinds = ["console", "console live", "console node", "console service", "sh", "toml", "ini"];
    for page in pages() {
        for block in &page.blocks {
            let is_known = kinds.contains(&block.kind.as_str()) || Page::kind(block).0 == "toml";
            assert!(is_known, "{}: {:?}", page.place(block), block.kind);
        }
        // A block without a fence would not be seen at all.
        for (number, line) in page.prose() {
            assert!(
                !line.starts_with("    "),
                "{}:{number}: write it with a fence: {line}",
                page.path.display()
            );
        }
    }
}

#[test]
fn what_differs_from_run_to_run_is_blurred() {
    assert_eq!(blurred("next pass  in 3m 57s   75196246cd2e2"), blurred("next pass in 59s 7e5560b376b0f"));
    assert_eq!(blurred("at 2026-01-31T12:00:00Z, 1.5 MiB"), "at #-#-#:#:#, # MiB\n");
    assert_ne!(blurred("pod web-0 is active"), blurred("pod web-0 is unknown"));
}
