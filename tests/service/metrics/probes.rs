//! When the service is alive and ready, and what it says of a part that does not answer.

use cri_gc_kit::words::Loop;
use cri_gc_sim::Method;
use tokio::io::AsyncWriteExt;

use super::{Answer, Served, read, value};
use crate::panics::Fuse;
use crate::stage::{HOUR, PERIOD, SECOND, Setup, turns};

async fn is_ready(served: &Served) {
    let ready = served.get("/readyz").await;
    assert_eq!((ready.status, ready.body.as_str()), (200, "ok\n"), "{ready:?}");
    assert_eq!(value(&served.metrics().await, "cri_gc_ready"), Some(1.0));
}

/// It is not ready for exactly these reasons, each of which begins like that.
async fn is_not_ready(served: &Served, reasons: &[&str]) {
    let ready = served.get("/readyz").await;
    let lines: Vec<&str> = ready.body.lines().collect();
    let as_expected =
        lines.len() == reasons.len() && lines.iter().zip(reasons).all(|(line, r)| line.starts_with(r));
    assert!(ready.status == 503 && as_expected, "{ready:?}");
    assert_eq!(value(&served.metrics().await, "cri_gc_ready"), Some(0.0));
    let alive = served.get("/healthz").await;
    assert_eq!((alive.status, alive.body.as_str()), (200, "ok\n"));
}

#[actix_rt::test]
async fn it_is_ready_once_the_first_pass_has_asked_the_pod_source() {
    let served = Served::start(Setup::new()).await;
    is_not_ready(&served, &["pod source runtime: it is not synced: no pass has asked it yet"]).await;
    served.stage.step(SECOND).await;
    is_ready(&served).await;
    served.stage.pass_time(10 * PERIOD).await;
    is_ready(&served).await;
}

#[actix_rt::test]
async fn a_source_that_no_pass_will_ask_is_no_reason() {
    let setup = Setup::new();
    let modes = ["container_gc.mode", "sandbox_gc.mode", "log_gc.mode"];
    let served = Served::start(modes.iter().fold(setup, |setup, mode| setup.set(mode, "off"))).await;
    served.stage.step(SECOND).await;
    is_ready(&served).await;
}

#[actix_rt::test]
async fn it_is_not_ready_while_the_runtime_is_unreachable_and_alive_all_the_same() {
    let served = Served::start(Setup::new()).await;
    served.stage.step(SECOND).await;
    served.stage.sim.kill();
    served.stage.pass_time(PERIOD).await;
    is_not_ready(&served, &["runtime: it is not reached: "]).await;
    let metrics = served.metrics().await;
    assert_eq!(value(&metrics, "cri_gc_runtime_reachable"), Some(0.0));
    served.stage.sim.restart().unwrap();
    served.stage.step(SECOND).await;
    let gateway = &served.stage.service.tools.gateway;
    served.stage.until("the return", async || gateway.runtime().await?.reachable?.then_some(())).await;
    served.stage.pass_time(PERIOD).await;
    is_ready(&served).await;
    assert_eq!(value(&served.metrics().await, "cri_gc_runtime_returns_total"), Some(1.0));
}

#[actix_rt::test]
async fn a_loop_that_is_late_is_overdue_and_one_that_is_paused_is_not() {
    let served = Served::start(Setup::new()).await;
    served.stage.step(SECOND).await;
    is_ready(&served).await;
    served.pause(Loop::LogGc).await;
    served.stage.pass_time(10 * PERIOD).await;
    is_ready(&served).await;
    // The clock of the node runs on, and no timer is due: as if all loops slept.
    served.stage.sim.advance(HOUR);
    let late = "its next pass is overdue by ";
    let reasons = ["container_gc", "sandbox_gc", "image_gc"].map(|of| format!("{of}: {late}"));
    is_not_ready(&served, &reasons.each_ref().map(String::as_str)).await;
    let metrics = served.metrics().await;
    assert_eq!(value(&metrics, "cri_gc_loop_overdue{loop=\"image_gc\"}"), Some(1.0));
    assert_eq!(value(&metrics, "cri_gc_loop_overdue{loop=\"log_gc\"}"), Some(0.0));
}

#[actix_rt::test]
async fn a_runtime_that_hangs_is_none_that_is_reached() {
    let served = Served::start(Setup::new()).await;
    served.stage.step(SECOND).await;
    served.stage.hang(Loop::ImageGc, Method::ListImages, 1, 20 * SECOND).await;
    served.stage.hang(Loop::ImageGc, Method::Version, usize::from(u8::MAX), HOUR).await;
    served.stage.pass_time(PERIOD).await;
    served.stage.step_without_waiting(30 * SECOND).await;
    let ready = served.get("/readyz").await;
    assert!(ready.status == 503 && ready.body.contains("runtime: it does not answer in time\n"), "{ready:?}");
    assert_eq!(value(&served.metrics().await, "cri_gc_runtime_reachable"), Some(0.0));
}

/// Asks, and drives the time on until there is an answer: at most so many quarters of a second.
async fn ask_slowly(served: &Served, path: &str, quarters: u32) -> Answer {
    let mut stream = served.connect().await;
    let request = format!("GET {path} HTTP/1.1\r\nAccept: text/plain\r\n\r\n");
    served.stage.answer("a request", stream.write_all(request.as_bytes())).await.unwrap();
    let mut answer = Box::pin(read(&mut stream));
    for _ in 0..=quarters {
        tokio::select! {
            biased;
            answer = &mut answer => return answer,
            () = turns(2_000) => served.stage.step_without_waiting(SECOND / 4).await,
        }
    }
    panic!("no answer from {path} within {quarters} quarters of a second");
}

#[actix_rt::test]
async fn a_part_that_does_not_answer_is_left_out_named_and_not_waited_for() {
    // It crashes for long.
    let mut setup = Setup::new().set("supervision.restart_backoff_min", "60s");
    let fuse = Fuse::lay(&mut setup);
    let served = Served::start(setup).await;
    served.stage.step(SECOND).await;
    is_ready(&served).await;
    fuse.light();
    served.pause(Loop::LogGc).await;
    assert!(fuse.has_burnt());
    let metrics = ask_slowly(&served, "/metrics", 11).await.body;
    assert_eq!(value(&metrics, "cri_gc_scrape_unanswered{part=\"log_gc\"}"), Some(1.0));
    assert_eq!(value(&metrics, "cri_gc_scrape_unanswered{part=\"image_gc\"}"), Some(0.0));
    assert_eq!(value(&metrics, "cri_gc_loop_overdue{loop=\"log_gc\"}"), None, "it is not known");
    assert_eq!(value(&metrics, "cri_gc_loop_overdue{loop=\"image_gc\"}"), Some(0.0));
    assert_eq!(value(&metrics, "cri_gc_ready"), Some(0.0));
    let ready = ask_slowly(&served, "/readyz", 11).await;
    let reason = "log_gc: this part of cri-gc does not answer\n";
    assert_eq!((ready.status, ready.body.as_str()), (503, reason));
    let alive = ask_slowly(&served, "/healthz", 11).await;
    assert_eq!(alive.status, 503, "{alive:?}");
    assert!(ask_slowly(&served, "/", 11).await.body.contains(reason.trim_end()));
}
