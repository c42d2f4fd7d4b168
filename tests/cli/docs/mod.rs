//! The examples of README.md and docs/: commands are run and their output is compared, those that need a real node are checked by
//! the parser of the command line, and configurations by `config check`. CONTRIBUTING.md has the table of fences.

mod page;
mod shell;

use clap::Parser;
use cri_gc::cli::Cli;

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
            shells.push((needs, Shell::new(needs)));
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

/// The words of a command line, without comments; quotes keep words together.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in line.chars() {
        match (c, quote) {
            ('#', None) if word.is_none() => break,
            (c, Some(open)) if c == open => quote = None,
            ('\'' | '"', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (c, None) if c.is_whitespace() => words.extend(word.take()),
            (';', None) => words.extend(word.take().into_iter().chain([";".to_owned()])),
            (c, _) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// The `cri-gc` commands of a line of shell: pipes, lists and redirections end them.
fn commands(line: &str) -> Vec<Vec<String>> {
    let words = words(line);
    let parts = words.split(|word| matches!(word.as_str(), "|" | "&&" | "||" | ";"));
    let commands = parts.map(|part| {
        let end = part.iter().position(|word| word.starts_with(['>', '<']) || word.starts_with("2>"));
        part[..end.unwrap_or(part.len())].to_vec()
    });
    commands.filter(|command| command.first().is_some_and(|program| program == "cri-gc")).collect()
}

#[test]
fn every_command_that_the_pages_name_is_one_of_the_program() {
    let mut count = 0;
    for page in pages() {
        for block in
            page.blocks.iter().filter(|block| block.kind == "sh" || block.kind.starts_with("console"))
        {
            let is_console = block.kind != "sh";
            for line in page.text(block).lines() {
                let typed = if is_console { line.strip_prefix("$ ") } else { Some(line) };
                let line = typed.unwrap_or_default().replace("cargo run -- ", "cri-gc ");
                for command in commands(&line) {
                    count += 1;
                    if let Err(error) = Cli::try_parse_from(&command) {
                        panic!("{}: {}\n{error}", page.place(block), command.join(" "));
                    }
                }
            }
        }
    }
    assert!(count > 30, "{count} commands are too few to be all");
}

#[test]
fn every_configuration_on_the_pages_is_valid() {
    let mut count = 0;
    for page in pages() {
        for block in page.blocks.iter().filter(|block| block.kind == "toml") {
            let bench = Bench::new();
            let file = bench.file("config.toml", page.text(block));
            let checked = super::program::said(bench.bare(&["config", "check", "--config", &file]), "");
            assert_eq!(checked.code, Some(0), "{}: {checked:?}", page.place(block));
            count += 1;
        }
    }
    assert!(count >= 2, "{count} configurations are too few to be all");
}

#[test]
fn every_fence_is_of_a_kind_that_is_tested() {
    let kinds = ["console", "console live", "console node", "console service", "sh", "toml"];
    for page in pages() {
        for block in &page.blocks {
            assert!(kinds.contains(&block.kind.as_str()), "{}: {:?}", page.place(block), block.kind);
        }
    }
}

#[test]
fn what_differs_from_run_to_run_is_blurred() {
    assert_eq!(blurred("next pass  in 3m 57s   75196246cd2e2"), blurred("next pass in 59s 7e5560b376b0f"));
    assert_eq!(blurred("at 2026-01-31T12:00:00Z, 1.5 MiB"), "at #-#-#:#:#, # MiB\n");
    assert_ne!(blurred("pod web-0 is active"), blurred("pod web-0 is unknown"));
}
