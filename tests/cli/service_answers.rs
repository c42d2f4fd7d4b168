//! What the client commands make of the answers of a service, in all forms.

use cri_gc_config::{FileSource, Sources, load, render};
use cri_gc_proto::admin::{
    ConfigResponse, Configuration, ExplainResponse, Explained, LoopStatus, PauseResponse, PodSource,
    ReloadResponse, ResumeResponse, SetLogLevelResponse, StatusResponse,
};
use serde_json::Value;
use tonic::Status;

use super::fake::{Answers, Fake};
use super::program::{Bench, Said};

fn ask(answers: Answers, args: &[&str]) -> Said {
    let bench = Bench::new();
    let fake = Fake::start(&bench, answers);
    bench.run(&[args, &["--socket", fake.socket()]].concat())
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(ToString::to_string).collect()
}

/// What a command prints as JSON, which has to be what it prints as YAML.
fn data(answers: impl Fn() -> Answers, args: &[&str]) -> Value {
    let json = ask(answers(), &[args, &["-o", "json"]].concat()).succeeded();
    let yaml = ask(answers(), &[args, &["-o", "yaml"]].concat()).succeeded();
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json, serde_saphyr::from_str::<Value>(&yaml).unwrap());
    json
}

fn status() -> Answers {
    let status = StatusResponse {
        version: "0.1.0".to_owned(),
        node_name: "edge-7".to_owned(),
        log_level: "debug".to_owned(),
        loops: vec![LoopStatus { r#loop: "image_gc".to_owned(), ..LoopStatus::default() }],
        ..StatusResponse::default()
    };
    Answers { status: Some(Ok(status)), ..Answers::default() }
}

#[test]
fn status_in_its_forms() {
    let table = ask(status(), &["status"]).succeeded();
    assert!(table.starts_with("cri-gc 0.1.0 on edge-7"), "{table}");
    let json = data(status, &["status"]);
    assert_eq!((&json["node_name"], &json["loops"][0]["loop"]), (&"edge-7".into(), &"image_gc".into()));
    assert_eq!(json["runtime"], Value::Null);
}

#[test]
fn an_incomplete_status_ends_with_3() {
    let with = |change: fn(&mut StatusResponse)| {
        let mut answers = status();
        if let Some(Ok(status)) = &mut answers.status {
            change(status);
        }
        ask(answers, &["status"])
    };
    let said = with(|status| status.problems.push("the gateway does not answer".to_owned()));
    assert_eq!(said.code, Some(3), "{said:?}");
    assert!(said.out.contains("problem: the gateway does not answer"), "{said:?}");
    assert_eq!(
        with(|status| status.pods = Some(PodSource { synced: true, ..PodSource::default() })).code,
        Some(0)
    );
    let refused = with(|status| {
        let refused = "image_gc.min_age: no duration".to_owned();
        status.configuration = Some(Configuration { refused, ..Configuration::default() });
    });
    assert_eq!(refused.code, Some(3), "{refused:?}");
    assert!(refused.out.contains("image_gc.min_age"), "{refused:?}");
    let said = with(|status| {
        status.pods = Some(PodSource { source: "kube-api".to_owned(), ..PodSource::default() })
    });
    assert_eq!(said.code, Some(3), "{said:?}");
    assert!(said.out.contains("NOT SYNCED"), "{said:?}");
}

#[test]
fn explain_in_its_forms() {
    let answers = || {
        let object = Explained {
            kind: "image".to_owned(),
            id: "sha256:a3".to_owned(),
            names: texts(&["web:0"]),
            decision: "keep".to_owned(),
            reason: "in_use".to_owned(),
            ..Explained::default()
        };
        let answer = ExplainResponse { objects: vec![object], notes: Vec::new() };
        Answers { explain: Some(Ok(answer)), ..Answers::default() }
    };
    let table = ask(answers(), &["explain", "web:0"]).succeeded();
    assert!(table.contains("is kept: in_use"), "{table}");
    assert_eq!(data(answers, &["explain", "web:0"])["objects"][0]["id"], "sha256:a3");
    let bench = Bench::new();
    let fake = Fake::start(&bench, answers());
    bench.run(&["explain", "sha256:a3", "--socket", fake.socket()]).succeeded();
    assert_eq!(fake.calls(), ["explain sha256:a3"]);
}

#[test]
fn what_cannot_be_explained() {
    let refused =
        |status: Status| ask(Answers { explain: Some(Err(status)), ..Answers::default() }, &["explain", "a"]);
    refused(Status::not_found("nothing is called \"a\""))
        .refused(1, &["nothing is called", "cri-gc plan --all"]);
    refused(Status::invalid_argument("\"a\" begins 12 ids"))
        .refused(2, &["begins 12 ids", "write more of the id"]);
    refused(Status::internal("ListImages: boom"))
        .refused(1, &["failed", "ListImages: boom", "see the log of the service"]);
    refused(Status::failed_precondition("the service is stopping")).refused(1, &["the service is stopping"]);
}

#[test]
fn pause_and_resume_say_what_is_paused() {
    let answers = |paused: &'static [&'static str]| {
        move || Answers {
            pause: Some(Ok(PauseResponse { paused: texts(paused), ..PauseResponse::default() })),
            resume: Some(Ok(ResumeResponse { paused: texts(paused), ..ResumeResponse::default() })),
            ..Answers::default()
        }
    };
    let both = answers(&["log_gc", "image_gc"]);
    assert_eq!(ask(both(), &["pause", "images"]).succeeded(), "Paused: log_gc, image_gc\n");
    assert_eq!(ask(answers(&[])(), &["resume"]).succeeded(), "No loop is paused now.\n");
    for command in ["pause", "resume"] {
        assert_eq!(data(both, &[command])["paused"], serde_json::json!(["log_gc", "image_gc"]));
    }
    let bench = Bench::new();
    let fake = Fake::start(&bench, both());
    bench.run(&["pause", "images", "logs", "--socket", fake.socket()]).succeeded();
    bench.run(&["resume", "--socket", fake.socket()]).succeeded();
    bench.run(&["pause", "--for", "1h30m", "images", "--socket", fake.socket()]).succeeded();
    assert_eq!(fake.calls(), ["pause image_gc,log_gc", "resume ", "pause image_gc for 5400"]);
    for wrong in ["0s", "400d", "7", "soon"] {
        let said = bench.run(&["pause", "--for", wrong, "--socket", fake.socket()]);
        assert_eq!(said.code, Some(2), "{said:?}");
        assert!(said.err.contains("from 1s to 366d"), "{said:?}");
    }
}

#[test]
fn a_pause_that_would_not_hold_over_a_restart_is_a_partial_success() {
    let answers = || {
        let until = [("image_gc".to_owned(), "2026-01-31T13:00:00.5Z".to_owned())].into();
        let problem = "/var/lib/cri-gc/pauses.json can't be written: no space".to_owned();
        let pause = PauseResponse { paused: texts(&["log_gc", "image_gc"]), until, problem };
        Answers { pause: Some(Ok(pause)), ..Answers::default() }
    };
    let said = ask(answers(), &["pause"]);
    assert_eq!(said.code, Some(3), "{said:?}");
    assert_eq!(
        said.out,
        "Paused: log_gc, image_gc (until 2026-01-31T13:00:00Z)\n\
         This does not hold over a restart of the service: /var/lib/cri-gc/pauses.json can't be written: no space\n"
    );
}

#[test]
fn resume_says_when_the_other_pauses_end() {
    let until = [("image_gc".to_owned(), "2026-01-31T13:00:00.5Z".to_owned())].into();
    let resume = ResumeResponse { paused: texts(&["image_gc"]), until, ..ResumeResponse::default() };
    let answers = Answers { resume: Some(Ok(resume)), ..Answers::default() };
    let said = ask(answers, &["resume", "logs"]).succeeded();
    assert_eq!(said, "Still paused: image_gc (until 2026-01-31T13:00:00Z)\n");
}

#[test]
fn the_log_level_is_shown_or_changed() {
    assert_eq!(ask(status(), &["log-level"]).succeeded(), "debug\n");
    assert_eq!(data(status, &["log-level"]), serde_json::json!({"level": "debug"}));
    let changed = || {
        let answer = SetLogLevelResponse { previous: "info".to_owned() };
        Answers { set_log_level: Some(Ok(answer)), ..Answers::default() }
    };
    assert_eq!(ask(changed(), &["log-level", "trace"]).succeeded(), "trace (was info)\n");
    assert_eq!(
        data(changed, &["log-level", "trace"]),
        serde_json::json!({"level": "trace", "previous": "info"})
    );
    ask(changed(), &["log-level", "loud"]).refused(2, &["error, warning, info, debug, trace"]);
}

#[test]
fn a_reload_says_what_changed() {
    let answers = || {
        let answer = ReloadResponse {
            configuration: Some(Configuration { generation: 4, ..Configuration::default() }),
            changed: texts(&["image_gc.min_age"]),
        };
        Answers { reload: Some(Ok(answer)), ..Answers::default() }
    };
    let table = ask(answers(), &["config", "reload"]).succeeded();
    assert_eq!(table, "Generation 4 of the settings is in force; changed: image_gc.min_age\n");
    assert_eq!(data(answers, &["config", "reload"])["configuration"]["generation"], 4);
}

#[test]
fn a_reload_of_a_bad_configuration_ends_with_64() {
    let bad = Status::invalid_argument("/etc/cri-gc/config.toml:2:1: there is no image_gc.mn_age");
    let answers = Answers { reload: Some(Err(bad)), ..Answers::default() };
    let parts = ["reload refused", "the previous configuration remains in force", "config.toml:2:1"];
    ask(answers, &["config", "reload"]).refused(64, &parts);
}

/// What a service with these settings answers, and what `config show` prints of the same.
fn running(bench: &Bench, extra: Option<(&str, Value)>) -> (Answers, String) {
    let file = bench.file("settings.toml", "[image_gc]\nmin_age = \"90s\"\nprotect = [\"busybox:*\"]\n");
    let sources =
        Sources { file: FileSource::Explicit(file.clone().into()), env: Vec::new(), overrides: Vec::new() };
    let loaded = load(&sources).unwrap();
    let mut values = serde_json::to_value(&loaded.settings).unwrap();
    let keys = cri_gc_config::key_names();
    let mut origins: Vec<_> =
        keys.map(|key| (key.to_owned(), loaded.origins.get(key).unwrap().to_string())).collect();
    if let Some((key, value)) = extra {
        values[key] = value;
        origins.push((key.to_owned(), "the future".to_owned()));
    }
    let answer = ConfigResponse {
        configuration: None,
        toml: render(&loaded.settings),
        json: values.to_string(),
        origins: origins.into_iter().collect(),
    };
    (Answers { config: Some(Ok(answer)), ..Answers::default() }, file)
}

#[test]
fn the_settings_of_a_service_are_shown_like_those_of_a_file() {
    let bench = Bench::new();
    for form in ["toml", "json", "yaml", "table"] {
        let (answers, file) = running(&bench, None);
        let own = super::program::said(bench.bare(&["config", "show", "-o", form, "--config", &file]), "");
        assert_eq!(
            ask(answers, &["config", "show", "--running", "-o", form]).succeeded(),
            own.succeeded(),
            "{form}"
        );
    }
}

#[test]
fn settings_of_a_newer_service_are_shown_as_well() {
    let bench = Bench::new();
    for form in ["json", "yaml", "table"] {
        let (answers, _) = running(&bench, Some(("shiny", Value::from("new"))));
        let out = ask(answers, &["config", "show", "--running", "-o", form]).succeeded();
        assert!(out.contains("shiny") && out.contains("1m30s"), "{form}: {out}");
    }
    let broken = ConfigResponse { json: "{".to_owned(), toml: "x = 1\n".to_owned(), ..Default::default() };
    let answers = || Answers { config: Some(Ok(broken.clone())), ..Answers::default() };
    ask(answers(), &["config", "show", "--running", "-o", "json"])
        .refused(1, &["could not read the settings", "-o toml"]);
    assert_eq!(ask(answers(), &["config", "show", "--running"]).succeeded(), "x = 1\n");
}

#[test]
fn a_socket_is_of_no_use_to_show_the_settings_of_a_file() {
    let bench = Bench::new();
    bench.run(&["config", "show", "--socket", "/run/x.sock"]).refused(2, &["--running"]);
}

#[test]
fn a_call_that_the_service_does_not_know_is_reported() {
    let parts = ["does not answer as a cri-gc service does", "older than this program"];
    ask(Answers::default(), &["status"]).refused(4, &parts);
}
