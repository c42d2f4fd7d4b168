//! Plain words (CONTRIBUTING.md): no text that an operator meets has one of the words that have to be read twice. It reads pages,
//! comments of manifests and of the admin API, help texts, and the string literals of the sources.

#![allow(clippy::unwrap_used, clippy::panic, reason = "test code: failing loudly is its job")]

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory};
use proc_macro2::{TokenStream, TokenTree};
use syn::visit::Visit;

/// Words and phrases that no text may have, and what to write instead. Only those that can be found without false alarms.
const WORDS: &[(&str, &str)] = &[
    ("a look", "observation, list, check"),
    ("a time to come", "a timestamp in the future"),
    ("anew", "again"),
    ("at rest", "idle"),
    ("bear", "have"),
    ("bears", "has"),
    ("beside", "next to, or with"),
    ("brought", "freed"),
    ("comes to rest", "shuts down"),
    ("coming to rest", "shutting down"),
    ("fell", "panicked, crashed"),
    ("file system of images", "image filesystem"),
    ("file systems of images", "image filesystems"),
    ("from the future", "a timestamp in the future"),
    ("goes", "is removed, continues"),
    ("going on", "continuing"),
    ("held back", "paused, postponed"),
    ("in vain", "without effect"),
    ("is away", "is unreachable"),
    ("is back", "is reachable again"),
    ("is good", "is valid"),
    ("is to go", "will be removed"),
    ("lacks", "is missing from"),
    ("looked at", "checked, observed"),
    ("looks at", "checks, observes"),
    ("mended", "fixed"),
    ("nobody", "no caller, no client"),
    ("proved", "confirmed"),
    ("somebody", "a caller, a client"),
    ("stays", "is kept"),
    ("tells", "reports"),
    ("told", "reported, logged"),
    ("under way", "in progress"),
    ("untold", "suppressed"),
    ("was away", "was unreachable"),
    ("went", "was removed"),
    ("whoever", "the caller"),
    ("will do", "is enough"),
    ("would go", "would be removed"),
];

/// Pages and files in plain words.
const TEXTS: &[&str] = &[
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "ARCHITECTURE.md",
    "config/default.toml",
    "config/examples",
    "docs",
    "deploy",
    "proto",
];

/// Folders whose messages are in plain words.
const SOURCES: &[&str] = &["actors", "config/src", "policy/src", "src"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The words that a text has and should not have, with what to write instead.
fn found_in(text: &str) -> Vec<String> {
    let text = text.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ");
    // What joins words to a name: `beside-a-kubelet.md`, `would_go`.
    let joins = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '/' | '\'');
    let has = |word: &str| {
        text.match_indices(word).any(|(at, _)| {
            let before = text.get(..at).and_then(|before| before.chars().next_back());
            let after = text.get(at + word.len()..).and_then(|after| after.chars().next());
            !before.is_some_and(joins) && !after.is_some_and(joins)
        })
    };
    let found = WORDS.iter().filter(|(word, _)| has(word));
    found.map(|(word, instead)| format!("\"{word}\" (write: {instead})")).collect()
}

/// Files below a path with one of these endings; the path itself, if it is a file.
fn files(path: &Path, endings: &[&str]) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let mut found: Vec<PathBuf> = Vec::new();
    let folder = fs::read_dir(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    for entry in folder {
        let path = entry.unwrap().path();
        let ours = path.extension().is_some_and(|ending| endings.iter().any(|e| ending == *e));
        if path.is_dir() || ours {
            found.extend(files(&path, endings));
        }
    }
    found.sort();
    found
}

/// The paragraphs of a page with their lines: without what programs print and read, names in backquotes, and the table of words.
fn prose(page: &str) -> Vec<(usize, String)> {
    let (mut paragraphs, mut is_example, mut is_table) = (Vec::<(usize, String)>::new(), false, false);
    let mut begins = true;
    for (number, line) in (1..).zip(page.lines()) {
        if line.trim_start().starts_with("```") {
            is_example = !is_example;
            begins = true;
            continue;
        }
        is_table = line.starts_with("| not |") || (is_table && line.starts_with('|'));
        if is_example || is_table || line.trim().is_empty() {
            begins = true;
            continue;
        }
        let plain: String = line.split('`').step_by(2).collect::<Vec<_>>().join("`");
        // A row of a table, a heading and an item of a list begin a text of their own.
        begins |= line.trim_start().starts_with(['|', '#', '-']);
        match paragraphs.last_mut() {
            Some((_, text)) if !begins => text.push_str(&format!(" {plain}")),
            _ => paragraphs.push((number, plain)),
        }
        begins = false;
    }
    paragraphs
}

/// The comments of a file, with their lines; those of lines that follow each other are one text.
fn comments(text: &str, sign: &str) -> Vec<(usize, String)> {
    let (mut all, mut last) = (Vec::<(usize, String)>::new(), 0);
    for (number, line) in (1..).zip(text.lines()) {
        let Some((_, comment)) = line.split_once(sign) else { continue };
        match all.last_mut() {
            Some((_, text)) if last + 1 == number => text.push_str(comment),
            _ => all.push((number, comment.to_owned())),
        }
        last = number;
    }
    all
}

#[test]
fn pages_and_comments_that_operators_read_are_in_plain_words() {
    let mut wrong = Vec::new();
    for path in TEXTS.iter().flat_map(|path| files(&root().join(path), &["md", "yaml", "toml", "proto"])) {
        let text = fs::read_to_string(&path).unwrap();
        let texts = match path.extension().and_then(|ending| ending.to_str()) {
            Some("md") => prose(&text),
            Some("proto") => comments(&text, "//"),
            _ => comments(&text, "#"),
        };
        for (line, text) in texts {
            wrong.extend(found_in(&text).iter().map(|word| format!("{}:{line}: {word}", path.display())));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The help of a command and of all below it.
fn helps(command: &mut Command, all: &mut Vec<(String, String)>) {
    all.push((command.get_name().to_owned(), command.render_long_help().to_string()));
    for inner in command.get_subcommands_mut() {
        helps(inner, all);
    }
}

#[test]
fn help_texts_are_in_plain_words() {
    let mut all = Vec::new();
    helps(&mut cri_gc::cli::Cli::command(), &mut all);
    assert!(all.len() > 15, "{} texts are too few to be all", all.len());
    let wrong: Vec<String> = all
        .iter()
        .flat_map(|(name, help)| {
            found_in(help).into_iter().map(move |word| format!("cri-gc {name} --help: {word}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Whether the first token is that word.
fn begins_with(tokens: &TokenStream, word: &str) -> bool {
    matches!(tokens.clone().into_iter().next(), Some(TokenTree::Ident(ident)) if ident == word)
}

/// The string literals of a source, with their lines; not those of tests, nor comments, nor reasons of lints.
#[derive(Default)]
struct Literals(Vec<(usize, String)>);

impl Literals {
    fn of(source: &str) -> Vec<(usize, String)> {
        let mut literals = Self::default();
        literals.visit_file(&syn::parse_file(source).unwrap());
        literals.0
    }

    fn tokens(&mut self, tokens: TokenStream) {
        for token in tokens {
            match token {
                // A comment in a macro call.
                TokenTree::Group(group) if begins_with(&group.stream(), "doc") => {}
                TokenTree::Group(group) => self.tokens(group.stream()),
                TokenTree::Literal(literal) => {
                    if let syn::Lit::Str(text) = syn::Lit::new(literal) {
                        self.visit_lit_str(&text);
                    }
                }
                TokenTree::Ident(_) | TokenTree::Punct(_) => {}
            }
        }
    }
}

impl<'ast> Visit<'ast> for Literals {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        let is_test = |attribute: &syn::Attribute| {
            attribute
                .meta
                .require_list()
                .is_ok_and(|list| list.path.is_ident("cfg") && list.tokens.to_string() == "test")
        };
        if !module.attrs.iter().any(is_test) {
            syn::visit::visit_item_mod(self, module);
        }
    }

    fn visit_attribute(&mut self, attribute: &'ast syn::Attribute) {
        // Those whose texts reach an operator: of errors, and of the command line.
        if let syn::Meta::List(list) = &attribute.meta
            && ["error", "arg", "command", "value", "clap"].iter().any(|name| list.path.is_ident(name))
        {
            self.tokens(list.tokens.clone());
        }
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.tokens(call.tokens.clone());
    }

    fn visit_lit_str(&mut self, text: &'ast syn::LitStr) {
        self.0.push((text.span().start().line, text.value()));
    }
}

/// Folders and files that are part of the sources and only for tests.
const TESTS: &[&str] = &["tests", "tests.rs", "model"];

/// Words of the literals of these folders and files.
fn words_of_sources(paths: &[&str]) -> Vec<String> {
    let mut wrong = Vec::new();
    for path in paths.iter().flat_map(|path| files(&root().join(path), &["rs"])) {
        if path.iter().any(|part| TESTS.iter().any(|name| part == *name)) {
            continue;
        }
        for (line, text) in Literals::of(&fs::read_to_string(&path).unwrap()) {
            wrong.extend(found_in(&text).iter().map(|word| format!("{}:{line}: {word}", path.display())));
        }
    }
    wrong
}

#[test]
fn messages_in_the_sources_are_in_plain_words() {
    let wrong = words_of_sources(SOURCES);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn words_are_found_where_they_are_words() {
    assert_eq!(found_in("What goes, and why").len(), 1);
    assert_eq!(found_in("removals\n  under way").len(), 1);
    assert!(found_in("docs/beside-a-kubelet.md, undergoes, would_go, fellow").is_empty());
    let page = "a `told`\nthat went\n\n```sh\ngoes\n```\n| not | but |\n|---|---|\n| told | logged |\n\nend";
    assert_eq!(prose(page), [(1, "a ` that went".to_owned()), (11, "end".to_owned())]);
    assert_eq!(
        comments("a: 1 # one\n# two\n\n# three", "#"),
        [(1, " one two".to_owned()), (4, " three".to_owned())]
    );
    let source = "#[doc = \"goes\"]\n#[error(\"fell\")]\nfn f() { info!(log, \"told {}\", \"a\"); g(\"b\") }\n\
                  #[cfg(test)]\nmod tests { const A: &str = \"went\"; }\n";
    let literals = Literals::of(source);
    let texts: Vec<&str> = literals.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(texts, ["fell", "told {}", "a", "b"]);
    assert_eq!(literals.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [2, 3, 3, 3]);
}
