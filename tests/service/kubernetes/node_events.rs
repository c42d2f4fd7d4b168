//! What is reported to the API server about the node, and that no pass waits for it.

use cri_gc_kit::generation::Cause;
use cri_gc_kit::words::Loop;
use cri_gc_sim::{Code, Fault as RuntimeFault, Method, Scope};
use cri_gc_test_support::kubernetes::{Fault, On};
use serde_json::Value;

use super::{Before, NODE, World};
use crate::stage::{PERIOD, SECOND};

/// The reasons of the events at the server.
fn reasons(world: &World) -> Vec<String> {
    let reason = |event: &Value| event["reason"].as_str().unwrap().to_owned();
    world.api.events().iter().map(reason).collect()
}

async fn world() -> World {
    let before = Before::new();
    before.living(1);
    before.start().await
}

#[actix_rt::test]
async fn an_outage_of_the_runtime_and_failed_passes_are_events_of_the_node() {
    let world = world().await;
    world.pass_time(PERIOD).await;
    assert_eq!(reasons(&world), Vec::<String>::new(), "all is well");
    world.sim().kill();
    world.pass_time(3 * PERIOD).await;
    world.sim().restart().unwrap();
    world.pass_time(3 * PERIOD).await;
    assert_eq!(reasons(&world), ["RuntimeLost", "RuntimeReturned"]);
    for event in world.api.events() {
        assert_eq!(event["involvedObject"]["kind"], "Node");
        assert_eq!(event["involvedObject"]["name"], NODE);
        assert_eq!(event["metadata"]["namespace"], "default");
        assert_eq!(event["source"]["component"], "cri-gc");
    }
    // One fails in one way, and only its own events come, thinned as its lines are.
    let refused = || RuntimeFault::error(Code::Internal, "the disk is broken");
    world.sim().fault(Method::ListImages, refused(), Scope::Always);
    world.pass_time(9 * PERIOD).await;
    world.stage.clear_faults();
    world.pass_time(2 * PERIOD).await;
    let sent = reasons(&world);
    let (failed, recovered) = sent[2..].split_at(sent.len() - 3);
    assert!(failed.iter().all(|reason| reason == "ImageGCFailed") && failed.len() == 3, "{sent:?}");
    assert_eq!(recovered, ["Recovered"]);
    let failed = &world.api.events()[2];
    assert_eq!(failed["type"], "Warning");
    assert!(failed["message"].as_str().unwrap().contains("the disk is broken"), "{failed}");
    world.sim().fault(Method::ListContainers, refused(), Scope::Always);
    world.pass_time(2 * PERIOD).await;
    let of_loops = ["ContainerGCFailed", "SandboxGCFailed", "LogGCFailed", "ImageGCFailed"];
    let (sent, before) = (reasons(&world), sent.len());
    assert!(of_loops.iter().all(|of| sent[before..].iter().any(|sent| sent == of)), "{sent:?}");
}

#[actix_rt::test]
async fn a_server_that_takes_no_events_delays_no_pass_and_gets_them_later() {
    let world = world().await;
    world.api.fail(On::Events, Some(Fault::Status(500)));
    world.sim().kill();
    world.pass_time(2 * PERIOD).await;
    world.sim().restart().unwrap();
    world.pass_time(PERIOD).await;
    let passes = world.stage.passes().await;
    for _ in 0..60 {
        world.pass_time(10 * SECOND).await;
        // An attempt that is in progress gets its answer, for which no time of ours has to pass.
        for _ in 0..20 {
            world.exchange().await;
        }
    }
    let after = world.stage.passes().await;
    assert!(after.iter().zip(passes).all(|(after, before)| after - before >= 10), "{passes:?} {after:?}");
    assert_eq!(world.stage.state(Loop::ContainerGc).await.failures, 0);
    let tried = world.api.count(On::Events);
    assert!((5..=30).contains(&tried), "not at every moment: {tried}");
    assert_eq!(reasons(&world), Vec::<String>::new());
    let lines: Vec<String> = world.stage.lines.take();
    let of_events = lines.iter().filter(|line| line.contains("not sent: the API server answered 500"));
    let levels: Vec<&str> = of_events.map(|line| &line[..4]).collect();
    assert!(levels[0] == "ERRO" && levels[1..].iter().all(|level| *level == "WARN"), "{lines:#?}");
    assert!(levels.len() < 8, "{lines:#?}");
    world.api.fail(On::Events, None);
    for _ in 0..100 {
        if reasons(&world).len() < 2 {
            world.step(3 * SECOND).await;
        }
    }
    assert_eq!(reasons(&world), ["RuntimeLost", "RuntimeReturned"]);
    let is_said = |lines: &[String]| {
        lines.iter().any(|line| line.starts_with("INFO - Events of the Node are sent again"))
    };
    world.stage.until("it is said", async || is_said(&world.stage.lines.all()).then_some(())).await;
}

#[actix_rt::test]
async fn events_that_are_always_refused_are_dropped_and_counted() {
    let world = world().await;
    world.api.fail(On::Events, Some(Fault::Status(403)));
    for _ in 0..3 {
        world.sim().kill();
        world.pass_time(PERIOD).await;
        world.sim().restart().unwrap();
        world.pass_time(PERIOD).await;
    }
    // The server may have just started: the first event is tried again for half a minute, the five others once.
    let tried = world.api.count(On::Events);
    assert!((2 + 5..=6 + 5).contains(&tried), "{tried}");
    let lines = world.stage.lines.take();
    let sent: Vec<&String> =
        lines.iter().filter(|line| line.contains("not sent: the API server answered 403")).collect();
    assert!(sent[0].starts_with("ERRO") && sent[0].contains("rbac.yaml") && sent.len() == 3, "{sent:#?}");
    world.api.fail(On::Events, None);
    world.sim().kill();
    world.pass_time(PERIOD).await;
    let events = world.api.events();
    let message = events[0]["message"].as_str().unwrap();
    assert!(message.contains("(6 earlier events of this node were not sent)"), "{message}");
    assert_eq!(events.len(), 1);
}

#[actix_rt::test]
async fn no_more_events_are_sent_than_the_server_should_store() {
    let before = Before::new();
    before.living(1);
    let kubeconfig = before.setup.sim.paths().root.join("kubeconfig");
    let text = format!("[pods]\nsource = \"kube-api\"\n[pods.kube_api]\nkubeconfig = {kubeconfig:?}\n");
    let (before, file) = before.by_file(&text);
    let world = before.start_as_it_is().await;
    world.recovers("the first list").await;
    for _ in 0..40 {
        std::fs::write(&file, "[pods\n").unwrap();
        world.stage.service.configuration.reload(Cause::Admin, None).await.unwrap_err();
        world.step(SECOND).await;
    }
    assert_eq!(reasons(&world), ["ReloadRefused"].repeat(25));
    std::fs::write(&file, text).unwrap();
    world.pass_time(5 * PERIOD).await;
    assert_eq!(world.api.events().len(), 25);
    world.sim().kill();
    world.pass_time(PERIOD).await;
    let events = world.api.events();
    assert_eq!(events.len(), 26);
    let message = events[25]["message"].as_str().unwrap();
    // The file is checked as well: what it says is refused, and later taken, once more.
    let suppressed: u32 = message.split(['(', ' ']).filter_map(|word| word.parse().ok()).next_back().unwrap();
    assert!((15..=18).contains(&suppressed) && message.contains("earlier events"), "{message}");
}

#[actix_rt::test]
async fn with_another_source_none_are_sent() {
    let before = Before::new();
    before.living(1);
    let world = before.set("pods.source", "runtime").start_as_it_is().await;
    world.sim().kill();
    world.stage.pass_time(2 * PERIOD).await;
    world.sim().restart().unwrap();
    world.stage.pass_time(2 * PERIOD).await;
    world.exchange().await;
    assert_eq!(world.api.count(On::Any), 0);
}
