//! The client commands where no service answers: each says so, what to do, and ends with 4.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;

use tonic::Status;

use super::fake::{Answers, Fake};
use super::program::{Bench, said, text};
use super::strangers::{Stranger, another_http, grpc_without_services};

/// All commands that talk to a service.
pub const COMMANDS: [&[&str]; 10] = [
    &["status"],
    &["explain", "x"],
    &["run-now"],
    &["pause"],
    &["resume", "images"],
    &["events"],
    &["events", "-f"],
    &["config", "show", "--running"],
    &["config", "reload"],
    &["log-level", "debug"],
];

/// Every command is refused with 4, at that socket, with these parts.
fn refused(bench: &Bench, socket: &str, parts: &[&str]) {
    for command in COMMANDS {
        bench.run(&[command, &["--socket", socket]].concat()).refused(4, &[&[socket], parts].concat());
    }
}

#[test]
fn without_a_socket() {
    let bench = Bench::new();
    let missing = bench.path("missing.sock");
    let parts = ["no cri-gc service answers at", "No such file", "or `cri-gc run`", "--socket"];
    refused(&bench, text(&missing), &parts);
    let unix = format!("unix://{}", text(&missing));
    bench.run(&["status", "--socket", &unix]).refused(4, &parts);
    // As a shell understands it.
    bench.run(&["status", "--socket", "missing.sock"]).refused(4, &[text(&missing)]);
}

#[test]
fn no_service_listens_on_the_socket_any_more() {
    let bench = Bench::new();
    let stale = bench.path("stale.sock");
    drop(UnixListener::bind(&stale).unwrap());
    refused(&bench, text(&stale), &["Connection refused", "start it with `systemctl start cri-gc`"]);
}

#[test]
fn what_is_named_is_no_socket() {
    let bench = Bench::new();
    let file = bench.file("file", "x");
    let long = format!("{}/{}", text(&bench.path("")), "x".repeat(120));
    for path in [&file, &format!("{file}/below"), text(&bench.path("")), &long] {
        let parts = ["no cri-gc service answers at", "--socket"];
        bench.run(&["status", "--socket", path]).refused(4, &parts);
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "x");
    bench.run(&["status", "--socket", ""]).refused(2, &["--socket", "is not a path"]);
}

#[test]
fn this_user_may_not_open_the_socket() {
    let bench = Bench::new();
    let folder = bench.path("closed");
    std::fs::create_dir(&folder).unwrap();
    let socket = folder.join("admin.sock");
    let _listener = UnixListener::bind(&socket).unwrap();
    let mut command = bench.bare(&["status", "--socket", text(&socket)]);
    command.current_dir("/");
    std::fs::set_permissions(&folder, PermissionsExt::from_mode(0o000)).unwrap();
    if rustix::process::geteuid().is_root() {
        command.uid(65534).gid(65534);
        if command.output().is_err() {
            // No other user may run what is built below a closed folder.
            eprintln!("SKIPPED: the binary cannot be run by another user");
            return;
        }
    }
    let parts = ["this user may not open", "Permission denied", "as root", "admin.group"];
    said(command, "").refused(4, &parts);
    std::fs::set_permissions(&folder, PermissionsExt::from_mode(0o700)).unwrap();
}

#[test]
fn the_socket_of_the_settings_is_the_default() {
    let bench = Bench::new();
    let set = format!("admin.socket={}", text(&bench.path("other.sock")));
    bench.run(&["status", "--set", &set]).refused(4, &["other.sock"]);
    let fake = Fake::start(&bench, Answers { status: Some(Ok(Default::default())), ..Answers::default() });
    let set = format!("admin.socket={}", fake.socket());
    bench.run(&["status", "--set", &set]).succeeded();
}

#[test]
fn bad_settings_are_no_reason_not_to_ask_a_service_that_is_named() {
    let bench = Bench::new();
    let bad = bench.file("bad.toml", "nonsense = 1\n");
    let fake = Fake::start(&bench, Answers { status: Some(Ok(Default::default())), ..Answers::default() });
    said(bench.bare(&["status", "--config", &bad, "--socket", fake.socket()]), "").succeeded();
    // What can be read of the file names the socket.
    let named = format!("nonsense = 1\n[admin]\nsocket = \"{}\"\n", fake.socket());
    let bad = bench.file("named.toml", &named);
    let answer = said(bench.bare(&["status", "--config", &bad]), "");
    let asks = format!("this asks the service at {}", fake.socket());
    assert!(answer.err.contains("nonsense") && answer.err.contains(&asks), "{}", answer.err);
    assert_eq!(answer.code, Some(0));
    // Nothing can be read.
    let parts = ["TOML", "can still be reached", "--socket"];
    for bad in [bench.file("broken.toml", "[admin\n"), text(&bench.path("missing.toml")).to_owned()] {
        let parts = if bad.contains("missing") { &parts[1..] } else { &parts[..] };
        said(bench.bare(&["status", "--config", &bad]), "").refused(64, parts);
    }
}

// Whether another server is recognised as such, or as a service that ends, depends on how far the call gets before its answer is
// there: in any case it is said, with what to do.
#[test]
fn one_that_closes_at_once() {
    let bench = Bench::new();
    let stranger = Stranger::new(&bench, drop);
    refused(&bench, text(&stranger.socket), &["--socket"]);
}

#[test]
fn one_that_answers_garbage() {
    let bench = Bench::new();
    let stranger = Stranger::new(&bench, |mut stream| {
        let _ = stream.write_all(&[0xff; 4096]);
        // Open as long as the other side likes.
        let _ = stream.read_to_end(&mut Vec::new());
    });
    refused(&bench, text(&stranger.socket), &["--socket"]);
}

#[test]
fn one_that_never_answers_is_given_up() {
    let bench = Bench::new();
    let kept = std::sync::Mutex::new(Vec::new());
    let stranger = Stranger::new(&bench, move |stream| kept.lock().unwrap().push(stream));
    let socket = text(&stranger.socket);
    for command in
        [&["status"][..], &["explain", "x"], &["run-now"], &["pause"], &["events"], &["config", "reload"]]
    {
        let args = [command, &["--timeout", "1s", "--socket", socket]].concat();
        bench.run(&args).refused(4, &[socket, "does not answer in time", "waited 1s", "--timeout"]);
    }
}

#[test]
fn one_that_speaks_another_http() {
    let bench = Bench::new();
    let stranger = Stranger::new(&bench, another_http);
    refused(&bench, text(&stranger.socket), &["--socket"]);
}

#[test]
fn one_that_speaks_grpc_but_is_no_cri_gc() {
    let bench = Bench::new();
    let server = grpc_without_services(&bench);
    refused(&bench, text(&server.socket), &["does not answer as a cri-gc service does", "--socket"]);
}

#[test]
fn a_service_that_dies_during_the_call() {
    let bench = Bench::new();
    for command in COMMANDS {
        let fake = Fake::start(&bench, Answers { dies: true, ..Answers::default() });
        let said = bench.run(&[command, &["--socket", fake.socket()]].concat());
        said.refused(4, &[fake.socket(), "the connection to the service at", "see the log of the service"]);
        assert_eq!(fake.calls().len(), 1, "nothing is sent twice: {:?}", fake.calls());
    }
}

#[test]
fn a_service_that_refuses_this_user() {
    let bench = Bench::new();
    let denied = || Status::permission_denied("uid 1000 is neither root nor in the group");
    for command in COMMANDS {
        let answers = Answers {
            status: Some(Err(denied())),
            explain: Some(Err(denied())),
            pause: Some(Err(denied())),
            resume: Some(Err(denied())),
            config: Some(Err(denied())),
            reload: Some(Err(denied())),
            set_log_level: Some(Err(denied())),
            run_now: Some(Err(denied())),
            follow: Some(Err(denied())),
            ..Answers::default()
        };
        let fake = Fake::start(&bench, answers);
        let parts = ["refuses this user", "uid 1000", "run this as root", "admin.group"];
        bench.run(&[command, &["--socket", fake.socket()]].concat()).refused(1, &parts);
    }
}
