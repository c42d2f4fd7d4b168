//! The runtime becomes unreachable in the middle of a sweep.

use cri_gc_test_support::ContainerSpec;

use crate::node::{APP, Node, image};
use crate::program::{self, Report};

on_both!(
    a_sweep_whose_runtime_dies_says_so_once_and_the_next_one_finishes,
    without_a_runtime_nothing_is_done,
);

const JOBS: u32 = 40;

async fn a_sweep_whose_runtime_dies_says_so_once_and_the_next_one_finishes(node: &mut Node) {
    let web = node.pod("web").await;
    node.running(&web, "main").await;
    // What never ran is as dead, and quickly made.
    for attempt in 0..JOBS {
        node.created(&web, &ContainerSpec::sleeper("job", &image(APP)).attempt(attempt)).await;
    }
    node.runtime.add_image(&["unused:1"], 0);
    node.log_dir(&format!("default_lost_{}", cri_gc_test_support::fresh_uid()));
    node.set("container_gc.parallel_removals", 2);
    node.set("image_gc.mode", "enforce").set("image_gc.min_age", "0s");
    node.set("image_gc.high_threshold_percent", 0).set("image_gc.low_threshold_percent", 0);

    let before = node.inventory().await;
    let left = JOBS as usize - 4;
    node.runtime.order_death(left);
    let running = program::start(&node.arguments(&["sweep", "--output", "json"]), None);
    node.runtime.await_death(left);
    let report = Report::new(&running.wait(), &before);
    node.runtime.restart();
    node.reconnect();
    assert_eq!(report.code, 3, "{report:#?}");
    let removed = before.removed_in(&node.inventory().await);
    assert!(
        !removed.is_empty() && removed.len() < JOBS as usize - 1,
        "it died too early or too late: {removed:?}"
    );
    let mut jobs = removed.iter().filter_map(|name| name.strip_prefix("container web/job#"));
    assert!(jobs.all(|attempt| attempt.parse::<u32>().unwrap() < JOBS - 1), "the newest is kept");
    assert!(
        removed.iter().all(|name| name.starts_with("container web/job#")),
        "nothing but what was to be removed: {removed:?}"
    );

    // The pass reports the loss once, however many removals it cost; so does each pass after it.
    let errors = |pass: &str| report.pass(pass)["errors"].as_array().unwrap().len();
    let untried = |error: &String| error.contains("were not started");
    assert_eq!(errors("container_gc"), 2, "{:?}", report.errors());
    assert_eq!(report.errors().iter().filter(|error| untried(error)).count(), 1);
    assert!(report.with_result("failed").len() <= 2, "those in progress: {report:#?}");
    for pass in ["sandbox_gc", "log_gc", "image_gc"] {
        assert_eq!(errors(pass), 1, "{pass}: {:?}", report.errors());
    }

    let rest: Vec<String> = (0..JOBS - 1).map(|job| format!("container web/job#{job}")).collect();
    let rest: Vec<&str> = rest.iter().map(String::as_str).filter(|name| !removed.contains(*name)).collect();
    node.loses(&[&rest[..], &["log lost/*", "image unused:1"]].concat()).await;
    node.set("image_gc.mode", "off").is_settled().await;
}

async fn without_a_runtime_nothing_is_done(node: &mut Node) {
    node.log_dir(&format!("default_lost_{}", cri_gc_test_support::fresh_uid()));
    let before = node.inventory().await;
    node.set("runtime.endpoint", format!("unix://{}", node.path("nobody.sock").display()));
    let ended = node.run_program(&["sweep", "--output", "json"], None);
    assert_eq!((ended.code, ended.stdout.as_str()), (4, ""), "{ended:?}");
    assert!(
        ended.stderr.contains("nobody.sock") && ended.stderr.contains("check that the runtime is running"),
        "{ended:?}"
    );
    assert!(before.removed_in(&node.inventory().await).is_empty());
}
