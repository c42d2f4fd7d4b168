//! Names and errors with escape sequences, line ends and bidi marks, through every command, table, message and log line: none
//! comes out raw, and as data every name is what it was.

use std::io::Read;
use std::time::{Duration, Instant};

use cri_gc_policy::text::{Lines, escape};
use cri_gc_sim::{Code, ContainerSpec, Fault, ImageSpec, Method, Options, PodSpec, Scope, Sim};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::program::{Bench, Said, ended, said, started, text};

const MINUTE: Duration = Duration::from_secs(60);
const EVIL: &str = "\u{1b}[2J\u{202e}b\nFORGED: \u{7}\u{9b}1m\u{200b}";
const UIDS: [&str; 2] = ["0f6c8d3e-1b2a-4c5d-8e9f-a0b1c2d3e4f5", "1f6c8d3e-1b2a-4c5d-8e9f-a0b1c2d3e4f5"];

/// A node all of whose names are hostile, and whose runtime reports hostile errors.
struct Node {
    sim: Sim,
    bench: Bench,
    _folder: tempfile::TempDir,
}

impl Node {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = Options { start_time: jiff::Timestamp::now(), ..Options::default() };
        let sim = Sim::start(folder.path(), options).unwrap();
        for (uid, ready) in UIDS.into_iter().zip([true, false]) {
            let pod =
                PodSpec::new(format!("ns{EVIL}"), format!("pod{EVIL}"), uid).created_at(sim.ago(60 * MINUTE));
            let pod = sim.add_pod(if ready { pod } else { pod.not_ready() }).unwrap();
            for attempt in 0..4 {
                let made = sim.ago((50 - attempt) * MINUTE);
                let job = ContainerSpec::new(&pod, format!("job{EVIL}")).attempt(attempt).exited(made, made);
                sim.add_container(job.no_log()).unwrap();
            }
        }
        sim.add_image(ImageSpec::single(format!("r.example/a{EVIL}:1"), 1 << 20, 1 << 20));
        std::fs::create_dir(sim.paths().pod_logs_root.join(format!("foreign{EVIL}"))).unwrap();
        let ids = sim.container_ids();
        for (id, method) in ids.iter().zip([Method::RemoveContainer, Method::ContainerStatus]) {
            sim.fault(method, Fault::error(Code::Unknown, EVIL), Scope::ForId(id.clone()));
        }
        sim.fault(Method::ImageFsInfo, Fault::error(Code::Unknown, EVIL), Scope::Always);
        Self { sim, bench: Bench::new(), _folder: folder }
    }

    fn command(&self, args: &[&str]) -> std::process::Command {
        let places = [("state.dir", "state"), ("state.runtime_dir", "run"), ("admin.socket", "admin.sock")]
            .map(|(key, name)| format!("{key}={}", text(&self.bench.path(name))));
        self.bench.command_on(&self.sim, args, &places.each_ref().map(String::as_str))
    }

    fn run(&self, args: &[&str]) -> Said {
        said(self.command(args), "")
    }

    fn ask(&self, args: &[&str]) -> Said {
        let socket = self.bench.path("admin.sock");
        said(self.bench.bare(&[args, &["--socket", text(&socket)]].concat()), "")
    }
}

fn is_clean(what: &str, shown: &str) {
    assert_eq!(escape(shown, Lines::Keep), shown, "{what}");
    assert!(shown.lines().all(|line| !line.trim_start().starts_with("FORGED")), "{what}: {shown}");
}

/// What is said for people and for programs.
fn says_it_cleanly(what: &str, said: &Said, names_something: bool) {
    is_clean(what, &said.out);
    is_clean(what, &said.err);
    assert!(!names_something || said.out.contains("\\u001b[2J\\u202eb"), "{what}: {said:?}");
}

/// Whether data has a name as it is.
fn has(data: &Value, name: &str) -> bool {
    match data {
        Value::String(text) => text.contains(name),
        Value::Array(all) => all.iter().any(|one| has(one, name)),
        Value::Object(all) => all.values().any(|one| has(one, name)),
        _ => false,
    }
}

#[test]
fn no_command_prints_a_name_raw() {
    let node = Node::new();
    for command in [&["plan"][..], &["plan", "--all"], &["sweep", "--dry-run"], &["snapshot"], &["sweep"]] {
        for form in ["table", "json", "yaml"] {
            if command == ["snapshot"] && form == "table" {
                continue;
            }
            let said = node.run(&[command, &["--output", form]].concat());
            says_it_cleanly(&format!("{command:?} {form}"), &said, command != ["sweep"] || form == "table");
            if form == "json" && command != ["sweep"] {
                assert!(
                    has(&serde_json::from_str(&said.out).unwrap(), EVIL),
                    "{command:?} keeps names as they are"
                );
            }
        }
    }
}

/// With colour there are the sequences of the program, and no others.
#[test]
fn colour_makes_no_name_raw() {
    let node = Node::new();
    for args in [&["plan", "--all"][..], &["plan", "-o", "wide"], &["sweep", "--dry-run"]] {
        let Said { code, out, err } = node.run(&[args, &["--color", "always"]].concat());
        assert!(out.contains("\x1b[1m"), "{out:?}");
        let plain = |text: &str| {
            let ours = ["\x1b[1m", "\x1b[33m", "\x1b[1;31m", "\x1b[0m"];
            ours.into_iter().fold(text.to_owned(), |text, sequence| text.replace(sequence, ""))
        };
        says_it_cleanly(&format!("{args:?}"), &Said { code, out: plain(&out), err: plain(&err) }, true);
    }
}

#[test]
fn no_log_line_and_no_answer_of_the_service_has_a_name_raw() {
    for format in ["term", "json"] {
        let node = Node::new();
        let form = format!("log.format={format}");
        let mut service = started(node.command(&["run", "--log-level", "debug", "--set", &form]));
        let process = Pid::from_child(&service);
        let mut stderr = service.stderr.take().unwrap();
        let log = std::thread::spawn(move || {
            let mut all = String::new();
            stderr.read_to_string(&mut all).map(|_| all).unwrap()
        });
        let until = Instant::now() + 2 * MINUTE;
        while node.ask(&["status"]).code == Some(4) {
            assert!(Instant::now() < until, "the service does not come up");
            // Asking takes a while by itself.
        }
        let commands: [&[&str]; 4] = [&["run-now"], &["status"], &["explain", UIDS[0]], &["events"]];
        for command in commands {
            for form in ["table", "json", "yaml"] {
                let said = node.ask(&[command, &["--output", form]].concat());
                says_it_cleanly(&format!("{command:?} {form}"), &said, false);
            }
        }
        kill_process(process, Signal::TERM).unwrap();
        assert_eq!(ended(service).code, Some(0));
        let log = log.join().unwrap();
        is_clean(format, &log);
        assert!(log.contains("u001b[2J"), "{log}");
    }
}
