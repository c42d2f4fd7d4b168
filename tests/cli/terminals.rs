//! What differs on a terminal: colour, the width of tables, and a view that is drawn in place. The terminal is that of `script`.

use std::process::Command;

use super::fake::Fake;
use super::program::{Bench, Said, said};
use super::watching::status;

/// The embedded example, all of it.
const PLAN: &str = "plan --all --snapshot node.json";

/// The command on a terminal of 80 columns, where a key is pressed.
fn on_terminal(bench: &Bench, command: &str, environment: &[(&str, &str)], key: &str) -> Said {
    let program = env!("CARGO_BIN_EXE_cri-gc");
    let mut script = Command::new("script");
    script.args(["-qec", &format!("{program} {command} --config empty.toml"), "/dev/null"]);
    script.env_clear().env("TERM", "xterm").env("SHELL", "/bin/sh").current_dir(bench.path(""));
    script.envs(environment.iter().copied());
    said(script, key)
}

fn bench() -> Bench {
    let bench = Bench::new();
    let node = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/examples/node.json");
    bench.file("node.json", std::fs::read(node).unwrap());
    bench
}

fn has_color(said: &Said) -> bool {
    assert_eq!(said.code, Some(0), "{said:?}");
    said.out.contains("\x1b[1mREMOVE\x1b[0m") && said.out.contains("\x1b[33mpod_deleted\x1b[0m")
}

#[test]
fn there_is_colour_on_a_terminal_unless_it_is_not_wanted() {
    let bench = bench();
    for (environment, args, color) in [
        (&[][..], "", true),
        (&[("NO_COLOR", "")], "", true),
        (&[("NO_COLOR", "1")], "", false),
        (&[("TERM", "dumb")], "", false),
        (&[("NO_COLOR", "1")], "--color always", true),
        (&[], "--color never", false),
    ] {
        let said = on_terminal(&bench, &format!("{PLAN} {args}"), environment, "");
        assert_eq!(has_color(&said), color, "{environment:?} {args}: {said:?}");
        assert_eq!(said.out.contains('\x1b'), color, "{said:?}");
    }
}

#[test]
fn in_a_pipe_there_is_colour_only_on_request() {
    let bench = bench();
    let plan: Vec<&str> = PLAN.split(' ').collect();
    assert!(!bench.run(&plan).succeeded().contains('\x1b'));
    let colored = bench.run(&[&plan[..], &["--color", "always"]].concat());
    assert!(has_color(&colored));
    // Data has none.
    let json = bench.run(&[&plan[..], &["--color", "always", "-o", "json"]].concat()).succeeded();
    assert!(!json.contains('\x1b'));
    for (args, part) in [
        (&["plann", "--color", "always"][..], "\x1b[1;31merror:\x1b[0m unrecognized"),
        (&["plan", "--snapshot", "none.json", "--color=always"], "\x1b[1;31mcri-gc:\x1b[0m could not read"),
    ] {
        let colored = said(bench.bare(args), "");
        assert!(colored.err.contains(part), "{colored:?}");
        let plain = said(bench.bare(&[&[args[0]], &args[1..args.len() - 1]].concat()), "");
        assert!(!plain.err.contains('\x1b'), "{plain:?}");
    }
}

/// Sequences in names are not those of the program.
#[test]
fn no_name_makes_colour() {
    let bench = Bench::new();
    let snapshot = r#"{"version": 1, "taken_at": "2026-01-31T12:00:00Z", "log_dirs": ["a\u001b[31mb"]}"#;
    let file = bench.file("node.json", snapshot);
    let said = bench.run(&["plan", "--all", "--snapshot", &file, "--color", "always"]).succeeded();
    assert!(said.contains("a\\u001b[31mb") && !said.contains("\x1b[31m"), "{said:?}");
}

#[test]
fn no_table_is_wider_than_the_terminal() {
    let bench = bench();
    let narrow = on_terminal(&bench, &format!("{PLAN} --color never"), &[], "");
    assert!(narrow.out.lines().all(|line| line.trim_end().len() <= 80), "{}", narrow.out);
    let wide = on_terminal(&bench, &format!("{PLAN} -o wide --color never"), &[], "");
    assert!(
        wide.out.contains("c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0"),
        "{}",
        wide.out
    );
}

#[test]
fn a_watch_is_drawn_in_place_and_q_restores_the_terminal() {
    let bench = Bench::new();
    let _fake = Fake::start(&bench, status());
    let said = on_terminal(&bench, "status --watch --socket admin.sock", &[], "q");
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.out.contains("\x1b[?1049h\x1b[?25l\x1b[?7l"), "{said:?}");
    assert!(said.out.trim_end().ends_with("\x1b[?7h\x1b[?25h\x1b[?1049l"), "{said:?}");
}
