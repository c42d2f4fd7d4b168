//! Every message that the log can have, and every error that a message can end with, has an entry in docs/troubleshooting.md, and
//! every entry there is such a message.
//!
//! The messages are read from the sources: what the macros of the log are called with, the texts of the error types of the actors,
//! and, where a message is made elsewhere, the texts of the functions in `MAKERS`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};

use super::{files, root};

/// Where messages come from.
const SOURCES: &[&str] = &["actors", "config/src", "policy/src", "src"];

/// Folders and files that are part of the sources and only for tests.
const TESTS: &[&str] = &["tests", "tests.rs", "model"];

/// What writes records from INFO on.
const LOGS: &[&str] = &["info", "warn", "error", "crit", "log"];

/// Error types whose texts end a message of the log, or end the service.
const ERRORS: &[&str] = &["actors", "policy/src/images"];

/// Calls of the log whose text is made elsewhere, and how many of them are in a file. Where one is added, the functions that make
/// its texts are added to `MAKERS`.
const DYNAMIC: &[(&str, usize)] = &[
    ("actors/collectors/src/collector/pass_log.rs", 4),
    ("actors/images/src/keeper.rs", 1),
    ("actors/kit/src/supervision/outage_log.rs", 3),
    ("actors/pods/src/actor.rs", 1),
    ("actors/service/src/history/writer.rs", 1),
    ("src/commands/run.rs", 2),
    // The records of libraries, in their words.
    ("src/logging.rs", 2),
];

/// Functions, constants and methods that make texts of messages or of errors.
const MAKERS: &[(&str, &[&str])] = &[
    ("actors/collectors/src/collector/pass.rs", &["report_untried"]),
    ("actors/collectors/src/collector/pass_log.rs", &["pass_ended", "crashed", "errors", "removals"]),
    ("actors/collectors/src/collector/supervisor.rs", &["replace"]),
    ("actors/collectors/src/container_gc/removals.rs", &["link_names", "remove_logs"]),
    ("actors/collectors/src/unlisted.rs", &["notes"]),
    ("actors/collectors/src/image_gc/account.rs", &["text"]),
    ("actors/collectors/src/image_gc/confirm.rs", &["confirm"]),
    ("actors/collectors/src/image_gc/mod.rs", &["pass"]),
    ("actors/collectors/src/image_gc/recheck.rs", &["remove"]),
    ("actors/collectors/src/log_reaper/links.rs", &["check_links"]),
    ("actors/collectors/src/log_reaper/mod.rs", &["pass"]),
    ("actors/collectors/src/observe.rs", &["log_dirs"]),
    ("actors/gateway/src/error.rs", &["NO_CRI", "crowded", "deadline", "empty_id", "gateway_gone", "late"]),
    ("actors/images/src/keeper.rs", &["failed", "succeeded"]),
    ("actors/images/src/store.rs", &["put_aside"]),
    ("actors/pods/src/absence.rs", &["brake", "judge", "judge_without_source"]),
    ("actors/pods/src/actor.rs", &["log_reading"]),
    ("actors/pods/src/gather.rs", &["kept", "kubelet_here"]),
    ("actors/pods/src/judge.rs", &["judge"]),
    ("actors/pods/src/kube_api/client.rs", &["keeps_its_secrets", "read_configuration"]),
    (
        "actors/pods/src/kube_api/error.rs",
        &["configuration", "deadline", "expired", "status_error", "unreachable", "unread"],
    ),
    ("actors/pods/src/kube_api/pods.rs", &["check_node"]),
    ("actors/pods/src/kubelet.rs", &["advice", "ask", "certificates", "credentials", "unreachable"]),
    ("actors/pods/src/leftovers.rs", &["orphaned"]),
    ("actors/pods/src/listing.rs", &["EMPTY", "kubernetes"]),
    ("actors/pods/src/verdict.rs", &["nothing"]),
    ("actors/service/src/admin/access.rs", &["check_right"]),
    ("actors/service/src/admin/calls.rs", &["ambiguous", "explain_gone"]),
    ("actors/service/src/admin/desk.rs", &["observe"]),
    ("actors/service/src/configuration/actor.rs", &["check", "read"]),
    ("actors/service/src/history/store.rs", &["open"]),
    ("actors/service/src/history/writer.rs", &["log_result", "refused"]),
    ("actors/service/src/node_events/mod.rs", &["failed", "succeeded"]),
    ("config/src/notes.rs", &["mistake", "notes"]),
    ("policy/src/images/mod.rs", &["unmatched"]),
    ("src/commands/config.rs", &["but_refused"]),
    ("src/commands/plan.rs", &["refuse_what_a_snapshot_has"]),
    ("src/commands/run.rs", &["EXHAUSTED"]),
    ("src/commands/setup.rs", &["service"]),
    (FAILURES, &["from", "runtime"]),
];

/// Where the errors of commands are made: what is no call of `format!` is a remedy there, which the error has anyway.
const FAILURES: &str = "src/failure.rs";

/// Parts of messages that are no messages.
const PARTS: &[&str] = &[
    "(the statistics of a runtime that has just started may not be ready yet)",
    "pods.kubelet.client_cert_file or client_key_file",
    "reserved for root …,",
    "the first is",
    "the history has no removal of it either",
    "… more free inodes",
    "… more free space",
];

/// A message as it reads with values in it: each is shown as `…`. Line ends and signs of code do not count.
fn shown(text: &str) -> String {
    let (mut shown, mut depth, mut chars) = (String::new(), 0, text.chars().peekable());
    while let Some(c) = chars.next() {
        match c {
            '{' | '}' if depth == 0 && chars.peek() == Some(&c) => shown.extend(chars.next()),
            '{' => depth += 1,
            '}' => {
                depth -= 1;
                shown.push('…');
            }
            '`' => {}
            c if depth == 0 => shown.push(c),
            _ => {}
        }
    }
    shown.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether a text is a sentence, or a part of one, and no name.
fn is_sentence(text: &str) -> bool {
    text.split_whitespace().filter(|word| word.chars().any(char::is_alphabetic)).count() >= 3
}

fn text_of(token: &TokenTree) -> Option<String> {
    let TokenTree::Literal(literal) = token else { return None };
    if let syn::Lit::Str(text) = syn::Lit::new(literal.clone()) { Some(text.value()) } else { None }
}

/// What a file says.
#[derive(Default)]
struct Messages<'a> {
    /// Functions and constants of which all texts count.
    makers: &'a [&'a str],
    has_errors: bool,
    /// Of their texts, those in calls of macros only.
    only_macros: bool,
    /// Those of `makers` that were found, and that are entered now.
    made: BTreeSet<&'a str>,
    inside: usize,
    found: BTreeSet<String>,
    /// Calls whose text is made elsewhere.
    dynamic: usize,
}

impl Messages<'_> {
    fn add(&mut self, text: &str) {
        let text = shown(text);
        if is_sentence(&text) && !PARTS.contains(&text.as_str()) {
            self.found.insert(text);
        }
    }

    /// A call of a macro.
    fn call(&mut self, name: &str, tokens: TokenStream) {
        if LOGS.contains(&name) {
            let text = tokens.into_iter().filter_map(|token| text_of(&token)).find(|text| !text.is_empty());
            match text.as_deref() {
                Some("{}") | None => self.dynamic += 1,
                Some(text) => _ = self.found.insert(shown(text)),
            }
        } else if !["debug", "trace"].contains(&name) {
            self.tokens(tokens);
        }
    }

    /// The texts in the call of a macro, and the calls within it.
    fn tokens(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            match (token, tokens.get(at + 1), tokens.get(at + 2)) {
                (TokenTree::Ident(name), Some(TokenTree::Punct(sign)), Some(TokenTree::Group(group)))
                    if sign.as_char() == '!' =>
                {
                    self.call(&name.to_string(), group.stream());
                    at += 2;
                }
                (TokenTree::Group(group), ..) => self.tokens(group.stream()),
                (token, ..) if self.inside > 0 => {
                    if let Some(text) = text_of(token) {
                        self.add(&text);
                    }
                }
                _ => {}
            }
            at += 1;
        }
    }

    fn within(&mut self, name: &syn::Ident, visit: impl FnOnce(&mut Self)) {
        let maker = self.makers.iter().find(|maker| name == **maker);
        self.made.extend(maker);
        self.inside += usize::from(maker.is_some());
        visit(self);
        self.inside -= usize::from(maker.is_some());
    }
}

impl<'ast> Visit<'ast> for Messages<'_> {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        let is_test = |attribute: &syn::Attribute| {
            let list = attribute.meta.require_list();
            list.is_ok_and(|list| list.path.is_ident("cfg") && list.tokens.to_string() == "test")
        };
        if !module.attrs.iter().any(is_test) {
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.within(&item.sig.ident, |this| visit::visit_item_fn(this, item));
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.within(&item.sig.ident, |this| visit::visit_impl_item_fn(this, item));
    }

    fn visit_item_const(&mut self, item: &'ast syn::ItemConst) {
        self.within(&item.ident, |this| visit::visit_item_const(this, item));
    }

    fn visit_attribute(&mut self, attribute: &'ast syn::Attribute) {
        if let syn::Meta::List(list) = &attribute.meta
            && list.path.is_ident("error")
            && self.has_errors
            && let Some(text) = list.tokens.clone().into_iter().find_map(|token| text_of(&token))
        {
            self.add(&text);
        }
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        if let Some(name) = call.path.segments.last() {
            self.call(&name.ident.to_string(), call.tokens.clone());
        }
    }

    fn visit_lit_str(&mut self, text: &'ast syn::LitStr) {
        if self.inside > 0 && !self.only_macros {
            self.add(&text.value());
        }
    }
}

/// All messages, each with the file that has it.
fn messages() -> BTreeMap<String, String> {
    let (mut all, mut dynamic) = (BTreeMap::new(), Vec::new());
    let sources = SOURCES.iter().flat_map(|folder| files(&root().join(folder), &["rs"]));
    for (path, source) in sources {
        let path = path.strip_prefix(root()).unwrap();
        if path.iter().any(|part| TESTS.iter().any(|name| part == *name)) {
            continue;
        }
        let makers = MAKERS.iter().find(|(file, _)| path == Path::new(file)).map_or(&[][..], |(_, all)| all);
        let has_errors = ERRORS.iter().any(|folder| path.starts_with(folder));
        let only_macros = path == Path::new(FAILURES);
        let mut messages = Messages { makers, has_errors, only_macros, ..Messages::default() };
        messages.visit_file(&syn::parse_file(&source).unwrap());
        let unknown: Vec<&&str> = makers.iter().filter(|name| !messages.made.contains(**name)).collect();
        assert!(unknown.is_empty(), "{} has no {unknown:?}", path.display());
        if messages.dynamic > 0 {
            dynamic.push((path.to_str().unwrap().to_owned(), messages.dynamic));
        }
        all.extend(messages.found.into_iter().map(|text| (text, path.display().to_string())));
    }
    dynamic.sort();
    let expected: Vec<(String, usize)> =
        DYNAMIC.iter().map(|(file, count)| ((*file).to_owned(), *count)).collect();
    assert_eq!(dynamic, expected, "calls of the log whose text is made elsewhere (see DYNAMIC)");
    all
}

/// The messages that the page explains: what is in backquotes in the first column of its tables.
fn entries() -> Vec<String> {
    let page = fs::read_to_string(root().join("docs/troubleshooting.md")).unwrap();
    let cells = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` |"));
    cells.map(|(cell, _)| cell.to_owned()).filter(|cell| !cell.contains('`')).collect()
}

/// Whether an entry is about a message. An entry that ends with `…` has the beginning of one.
fn is_about(entry: &str, message: &str) -> bool {
    entry == message || entry.strip_suffix('…').is_some_and(|beginning| message.starts_with(beginning))
}

#[test]
fn every_message_has_an_entry_and_every_entry_is_a_message() {
    let (messages, entries) = (messages(), entries());
    let missing: Vec<String> = messages
        .iter()
        .filter(|(message, _)| !entries.iter().any(|entry| is_about(entry, message)))
        .map(|(message, file)| format!("{file}: {message}"))
        .collect();
    let unknown: Vec<&String> =
        entries.iter().filter(|entry| !messages.keys().any(|message| is_about(entry, message))).collect();
    assert!(missing.is_empty(), "not in docs/troubleshooting.md:\n{}", missing.join("\n"));
    assert!(unknown.is_empty(), "in docs/troubleshooting.md, and in no source: {unknown:#?}");
}

#[test]
fn messages_are_found_where_they_are_made() {
    let source = r#"
        #[error("the disk {0} is full")] struct Full(String);
        const MADE: &str = "a text of a constant";
        fn f() {
            select! { () = x => warn!(log, "within another macro"; "field" => "not a message") }
            error!(log, "{}", MADE);
            debug!(log, "not from this level on");
            let text = "of a function that makes none";
        }
        #[cfg(test)] mod tests { fn t() { info!(log, "only a test") } }
    "#;
    let mut messages = Messages { makers: &["MADE"], has_errors: true, ..Messages::default() };
    messages.visit_file(&syn::parse_file(source).unwrap());
    let found: Vec<&str> = messages.found.iter().map(String::as_str).collect();
    assert_eq!(found, ["a text of a constant", "the disk … is full", "within another macro"]);
    assert_eq!(messages.dynamic, 1);
    assert_eq!(shown("`cri-gc {}` {{x}} in {:.0}\n  s"), "cri-gc … {x} in … s");
    assert!(is_about("the disk …", "the disk … is full") && !is_about("the disk", "the disk … is full"));
}
