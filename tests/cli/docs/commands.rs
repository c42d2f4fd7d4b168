//! Commands on the pages that are not run: each `cri-gc` command has to be one of the program, with flags that it has, wherever it
//! is named; commands of other programs are on a list, with what runs them instead.

use std::collections::BTreeSet;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use cri_gc::cli::Cli;

use super::page::{Page, pages};

/// Other programs in blocks of `sh`, and why they are not run here.
const OTHERS: &[(&str, &str)] = &[
    ("apt", "the package is installed, upgraded and removed by .ci/deploy, on Debian 12 and 13"),
    ("buildah", "the image is built by .ci/deploy"),
    ("cargo", "every test here is built by it"),
    ("cat", "writes the kustomization that .ci/deploy renders as it is on the page"),
    (
        "cp",
        "copies an example of the package, which deploy/tests/package checks, or a configuration, which .ci/deploy does",
    ),
    ("deploy/build/package", "run by .ci/deploy"),
    ("deploy/kubernetes/node-kubeconfig", "run by .ci/deploy"),
    ("echo", "appends to a kustomization, as .ci/deploy does"),
    ("install", "copies the kubeconfig of a node, which .ci/deploy makes"),
    ("journalctl", "needs a machine that systemd has booted"),
    (
        "kubectl",
        "needs a cluster; .ci/deploy renders all manifests and checks them by the schemas of Kubernetes",
    ),
    ("mkdir", "makes directories for files; .ci/deploy and deploy/tests/package do the same"),
    ("mv", "puts a configuration in its place that deploy/tests/package makes and checks"),
    ("printf", "appends to that configuration, as deploy/tests/package does"),
    ("sed", "removes a line of a kustomization, as .ci/deploy does"),
    ("systemctl", "the units are run by deploy/tests/package"),
];

/// How texts begin that look like a command: one of any command, and messages of the log.
const NO_COMMANDS: &[&str] = &["cri-gc COMMAND --help", "cri-gc status and the other client commands "];

/// The text may name a command without its arguments, and what ends it at once.
const IN_TEXT: [ErrorKind; 3] =
    [ErrorKind::MissingRequiredArgument, ErrorKind::DisplayHelp, ErrorKind::DisplayVersion];

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

/// The commands of a line of shell: pipes, lists and redirections end them. One that a pod of cri-gc runs is a command of its own.
fn commands(line: &str) -> Vec<Vec<String>> {
    let words = words(line);
    let parts = words.split(|word| matches!(word.as_str(), "|" | "&&" | "||" | ";"));
    let mut commands: Vec<Vec<String>> = parts
        .map(|part| {
            let end = part.iter().position(|word| word.starts_with(['>', '<']) || word.starts_with("2>"));
            part[..end.unwrap_or(part.len())].to_vec()
        })
        .filter(|command| !command.is_empty())
        .collect();
    let in_pod = |command: &Vec<String>| command.iter().position(|word| word == "/usr/bin/cri-gc");
    let inner: Vec<Vec<String>> = commands
        .iter()
        .filter_map(|command| Some(command[in_pod(command).filter(|at| *at > 0)?..].to_vec()))
        .collect();
    commands.extend(inner);
    commands
}

/// The lines of a block that are typed: not what it writes into a file.
fn typed(text: &str) -> Vec<String> {
    let (mut lines, mut end) = (Vec::new(), None);
    for line in text.lines() {
        match end {
            Some(word) if line == word => end = None,
            Some(_) => {}
            None => {
                end = line.split_once("<<'").and_then(|(_, rest)| Some(rest.split_once('\'')?.0));
                lines.push(line.to_owned());
            }
        }
    }
    lines
}

/// What is typed in all blocks of commands, each with its place.
fn lines(page: &Page) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for block in &page.blocks {
        let text = page.text(block);
        let lines: Vec<String> = match Page::kind(block).0 {
            "sh" => typed(&text),
            "console" => text.lines().filter_map(|line| Some(line.strip_prefix("$ ")?.to_owned())).collect(),
            "ini" => {
                let exec = |line: &str| Some(line.strip_prefix("Exec")?.split_once('=')?.1.to_owned());
                text.lines().filter_map(exec).collect()
            }
            _ => continue,
        };
        let line = |line: String| (page.place(block), line.replace("cargo run -- ", "cri-gc "));
        all.extend(lines.into_iter().map(line));
    }
    all
}

fn is_ours(program: &str) -> bool {
    matches!(program, "cri-gc" | "/usr/bin/cri-gc")
}

/// Fails unless the program takes this command, or ends it in one of these ways.
fn check(place: &str, command: &[String], allowed: &[ErrorKind]) {
    match Cli::try_parse_from(command) {
        Err(error) if !allowed.contains(&error.kind()) => panic!("{place}: {}\n{error}", command.join(" ")),
        _ => {}
    }
}

#[test]
fn every_command_of_the_examples_is_one_of_the_program() {
    let mut count = 0;
    for (place, line) in pages().iter().flat_map(lines) {
        for command in commands(&line).iter().filter(|command| is_ours(&command[0])) {
            check(&place, command, &[]);
            count += 1;
        }
    }
    assert!(count > 60, "{count} commands are too few to be all");
}

#[test]
fn every_other_command_is_run_elsewhere() {
    let mut used = BTreeSet::new();
    for page in pages() {
        for block in page.blocks.iter().filter(|block| block.kind == "sh") {
            for command in typed(&page.text(block)).iter().flat_map(|line| commands(line)) {
                let program = command[0].clone();
                let known = is_ours(&program) || OTHERS.iter().any(|(other, _)| *other == program);
                assert!(known, "{}: \"{program}\" is not in OTHERS", page.place(block));
                used.insert(program);
            }
        }
    }
    let unused: Vec<_> = OTHERS.iter().filter(|(other, _)| !used.contains(*other)).collect();
    assert!(unused.is_empty(), "no page has {unused:?}");
}

#[test]
fn every_command_that_the_text_names_is_one_of_the_program() {
    let mut count = 0;
    for page in pages() {
        for (number, line) in page.prose() {
            let place = format!("{}:{number}", page.path.display());
            // Names between backquotes.
            for named in line.split('`').skip(1).step_by(2) {
                let named = named.replace("\\|", "|");
                if !named.starts_with("cri-gc ") || NO_COMMANDS.iter().any(|text| named.starts_with(text)) {
                    continue;
                }
                for command in commands(&named).iter().filter(|command| is_ours(&command[0])) {
                    check(&place, command, &IN_TEXT);
                    count += 1;
                }
            }
        }
    }
    assert!(count > 50, "{count} commands are too few to be all");
}

#[test]
fn every_command_of_the_program_is_on_the_page_of_commands() {
    let page = std::fs::read_to_string(super::page::root().join("docs/commands.md")).unwrap();
    let named: BTreeSet<&str> = page.split('`').skip(1).step_by(2).collect();
    for command in Cli::command().get_subcommands().filter(|command| command.get_name() != "help") {
        let names: Vec<String> = match command.has_subcommands() {
            true => command.get_subcommands().map(|inner| format!("config {}", inner.get_name())).collect(),
            false => vec![command.get_name().to_owned()],
        };
        for name in names.iter().filter(|name| !name.ends_with(" help")) {
            let is_named = |known: &&str| {
                let known = known.trim_start_matches("cri-gc ");
                known == name || known.starts_with(&format!("{name} "))
            };
            assert!(named.iter().any(is_named), "docs/commands.md does not have `{name}`");
        }
    }
}

#[test]
fn commands_are_found_in_lines_of_shell() {
    let all = |line: &str| commands(line).iter().map(|command| command.join(" ")).collect::<Vec<_>>();
    assert_eq!(all("a 'b c' > f && d | e # g"), ["a b c", "d", "e"]);
    assert_eq!(
        all("kubectl exec x -- /usr/bin/cri-gc plan"),
        ["kubectl exec x -- /usr/bin/cri-gc plan", "/usr/bin/cri-gc plan"]
    );
    assert_eq!(typed("cat > f <<'EOF'\nnot typed\nEOF\nb"), ["cat > f <<'EOF'", "b"]);
}
