//! Requests to the admin socket: what their arguments mean.

use std::sync::Arc;
use std::collections::HashSet;
use std::sync::LazyLock;

use cri_gc_config::LogLevel;
use cri_gc_kit::words::Loop;
use cri_gc_policy::explain::{Found, explain};
use cri_gc_policy::{Container, Image, Observation, PlanReport, Sandbox, SandboxState, decide};
use cri_gc_proto::admin as api;
use cri_gc_service::admin::arguments;
use jiff::Timestamp;
use prost::Message;
use tonic::{Code, Status};

/// The first byte says which request, the others are its bytes. An argument means what it says, or the request is refused as invalid: with
/// the argument where it is a word, and never in part. A pause that ends does so after it began. A filter that says more never means more events; what
/// `explain` finds is called like that.
pub fn admin_requests(data: &[u8]) {
    let Some((kind, bytes)) = data.split_first() else { return };
    match kind % 7 {
        0 => read(bytes, |asked: api::PauseRequest| {
            loops(&asked.loops);
            pause(asked.for_seconds);
        }),
        1 => read(bytes, |asked: api::ResumeRequest| loops(&asked.loops)),
        2 => read(bytes, |asked: api::RunNowRequest| loops(&asked.loops)),
        3 => read(bytes, |asked: api::SetLogLevelRequest| level(&asked.level)),
        4 => read(bytes, |asked: api::ExplainRequest| {
            waits(asked.wait_seconds);
            object(&asked.object);
        }),
        5 => read(bytes, |asked: api::HistoryRequest| {
            let limit = arguments::limit(asked.limit);
            assert!((1..=10_000).contains(&limit) && (asked.limit == 0 || limit <= asked.limit as usize));
            filter(&asked.filter.unwrap_or_default());
        }),
        _ => read(bytes, |asked: api::FollowRequest| filter(&asked.filter.unwrap_or_default())),
    }
}

fn read<M: Message + Default>(bytes: &[u8], check: impl Fn(M)) {
    if let Ok(asked) = M::decode(bytes) {
        check(asked);
    }
}

fn invalid<T>(refused: Result<T, Status>, word: &str) -> Option<T> {
    refused
        .inspect_err(|status| {
            assert_eq!(status.code(), Code::InvalidArgument);
            assert!(status.message().contains(word), "{} does not name {word:?}", status.message());
        })
        .ok()
}

fn loops(names: &[String]) {
    let known = Loop::ALL.map(Loop::as_str);
    let unknown = names.iter().find(|name| !known.contains(&name.as_str()));
    let meant = invalid(arguments::loops(names), unknown.map_or("", String::as_str));
    assert_eq!(meant.is_none(), unknown.is_some(), "{names:?}");
    let Some(meant) = meant else { return };
    // In the order of the chain, each once.
    let expected = known.into_iter().filter(|known| names.is_empty() || names.iter().any(|name| name == known));
    assert!(meant.iter().map(|meant| meant.as_str()).eq(expected), "{names:?}");
}

fn level(name: &str) {
    let meant = invalid(arguments::level(name), name);
    assert_eq!(meant.map(LogLevel::as_str), LogLevel::WORDS.iter().copied().find(|word| *word == name));
}

fn pause(seconds: f64) {
    for since in [Timestamp::UNIX_EPOCH, Timestamp::MAX] {
        let end = invalid(arguments::pause_end(seconds, since), "");
        match end {
            Some(None) => assert!(seconds == 0.0, "a pause of {seconds} s does not end"),
            Some(Some(end)) => {
                assert!(end > since, "a pause of {seconds} s ends before it begins");
                let length = end.duration_since(since).as_secs_f64();
                assert!((length - seconds).abs() <= seconds * 1e-9 + 1e-9, "{seconds} s: {length} s");
            }
            None => assert!(!(1.0..=1e8).contains(&seconds) || since == Timestamp::MAX, "{seconds} s is refused"),
        }
    }
}

fn waits(seconds: f64) {
    match arguments::waits(seconds) {
        // Rounded to a nanosecond.
        Some(wait) => assert!(wait.as_secs_f64() <= seconds + 1e-9, "{seconds} s: {wait:?}"),
        None => assert!(!(0.001..=1e9).contains(&seconds), "{seconds} s are none"),
    }
}

/// An event of each loop.
static EVENTS: LazyLock<Vec<api::Event>> = LazyLock::new(|| {
    let event = |(number, (kind, object_kind, r#loop, name)): (u64, (&str, &str, &str, &str))| api::Event {
        sequence: number,
        time: format!("2026-01-31T12:00:0{number}Z"),
        r#loop: r#loop.to_owned(),
        kind: kind.to_owned(),
        object_kind: object_kind.to_owned(),
        object_id: format!("{number}0ffee"),
        object_name: name.to_owned(),
        reason: if number % 2 == 0 { "pod_deleted" } else { "max_age" }.to_owned(),
        ..api::Event::default()
    };
    let all = [
        ("Removed", "container", "container_gc", "shop/web/app#0"),
        ("Removed", "sandbox", "sandbox_gc", "shop/web#0"),
        ("RemovalFailed", "log_dir", "log_gc", "shop/web"),
        ("Removed", "image", "image_gc", "docker.io/library/busybox:1.36"),
        ("Reloaded", "", "", ""),
    ];
    (0..).zip(all).map(event).collect()
});

fn filter(asked: &api::EventFilter) {
    let Some(filter) = invalid(arguments::filter(Some(asked)), "") else { return };
    let time = |text: &str| (!text.is_empty()).then(|| text.parse::<Timestamp>().unwrap());
    let (since, until) = (time(&asked.since), time(&asked.until));
    let wider = [
        api::EventFilter { since: String::new(), until: String::new(), ..asked.clone() },
        api::EventFilter { loops: Vec::new(), kinds: Vec::new(), reasons: Vec::new(), ..asked.clone() },
        api::EventFilter { object: String::new(), ..asked.clone() },
        api::EventFilter::default(),
    ];
    for event in &*EVENTS {
        if !filter.matches(event) {
            continue;
        }
        let has = |words: &[String], word: &str| words.is_empty() || words.iter().any(|one| one.eq_ignore_ascii_case(word));
        assert!(has(&asked.loops, &event.r#loop) && has(&asked.kinds, &event.kind) && has(&asked.reasons, &event.reason));
        let at: Timestamp = event.time.parse().unwrap();
        assert!(since.is_none_or(|since| since <= at) && until.is_none_or(|until| at <= until), "{asked:?}");
        for wider in &wider {
            let wider = arguments::filter(Some(wider)).expect("a part of a valid filter is valid");
            assert!(wider.matches(event), "{wider:?} means less than {asked:?}");
        }
    }
}

/// A node with a pod and an image.
static NODE: LazyLock<(Observation, PlanReport)> = LazyLock::new(|| {
    let uid = "11111111-2222-3333-4444-555555555555";
    let sandbox = Sandbox {
        id: "5a0d".into(),
        pod_uid: uid.into(),
        namespace: "shop".into(),
        name: "web".into(),
        state: SandboxState::Ready,
        ..Sandbox::default()
    };
    let container = |id: &str, name: &str| Arc::new(Container {
        id: id.into(),
        pod_uid: uid.into(),
        pod_sandbox_id: "5a0d".into(),
        name: name.into(),
        ..Container::default()
    });
    let image = Image {
        id: "sha256:feed01".to_owned(),
        repo_tags: vec!["docker.io/library/busybox:1.36".to_owned()],
        ..Image::default()
    };
    let node = Observation {
        containers: Arc::new(vec![container("c0ffee01", "app"), container("c0ffee02", "my-app")]),
        sandboxes: Arc::new(vec![Arc::new(sandbox)]),
        images: vec![image],
        log_dirs: vec![format!("shop_web_{uid}")],
        ..Observation::empty(Timestamp::UNIX_EPOCH)
    };
    let policy = cri_gc_config::Settings::default().policy();
    let report = PlanReport::new(&decide(&node, &policy), &node, &policy);
    (node, report)
});

fn object(text: &str) {
    let (node, report) = &*NODE;
    let written = text.trim();
    match explain(node, report, text) {
        Found::Nothing => {
            let ids = node.containers.iter().map(|container| &*container.id).chain(["5a0d", "sha256:feed01"]);
            assert!(written.is_empty() || !ids.into_iter().any(|id| id.starts_with(written)), "{text:?} begins an id");
        }
        Found::Ambiguous(several) => {
            assert!(several.iter().map(|object| &object.item.id).collect::<HashSet<_>>().len() > 1);
            assert!(several.iter().all(|object| object.item.id.starts_with(written)), "{text:?}: {several:?}");
        }
        Found::Objects(objects) => {
            assert!(!objects.is_empty());
            for object in objects {
                let item = &object.item;
                let names = item.names.iter().map(String::as_str).chain([&*item.id, &*item.name, &*item.pod_uid]);
                let last = written.rsplit('/').next().unwrap_or_default();
                let last = last.split([':', '@']).next().unwrap_or_default();
                assert!(names.into_iter().any(|name| name.contains(last)), "{text:?} is none of the names of {item:?}");
            }
        }
    }
}
