//! Modes, dry runs, and two sweeps at once.

use crate::node::Node;
use crate::program::{self, Report};

on_both!(
    what_is_only_reported_is_kept,
    two_sweeps_at_once_both_succeed,
    a_state_directory_is_worked_with_once
);

const LOOPS: [&str; 4] = ["container_gc", "sandbox_gc", "log_gc", "image_gc"];

async fn full(node: &mut Node) {
    node.ended_pod("gone", &["job", "init"]).await;
    node.ended_pod("empty", &[]).await;
    let web = node.pod("web").await;
    node.running(&web, "main").await;
    node.dead(&web, "job", 0..3).await;
    node.runtime.add_image(&["unused:1"], 0);
    node.set("image_gc.mode", "enforce").set("image_gc.min_age", "0s");
    node.set("image_gc.high_threshold_percent", 0).set("image_gc.low_threshold_percent", 0);
}

const FULL: [&str; 9] = [
    "container gone/*",
    "sandbox gone#0",
    "log gone/*",
    "sandbox empty#0",
    "log empty/",
    "container web/job#0",
    "container web/job#1",
    "log web/job/0.log",
    "log web/job/1.log",
];

async fn what_is_only_reported_is_kept(node: &mut Node) {
    full(node).await;
    let would_go = ["container gone/job#0", "container web/job#1", "sandbox empty#0", "image unused:1"];
    let report = node.loses_with(&["--dry-run"], &[]).await;
    for name in would_go {
        assert!(report.is_good().with_result("would_remove").contains(&name), "{name}");
    }
    assert_eq!(report.follow(), ["sandbox gone#0", "log empty/", "log gone/"]);

    for name in LOOPS {
        node.set(&format!("{name}.mode"), "off");
    }
    let report = node.loses(&[]).await;
    for name in LOOPS {
        let pass = report.is_good().pass(name);
        assert_eq!(
            (pass["mode"].as_str(), pass["removals"].to_string()),
            (Some("off"), "[]".to_owned()),
            "{name}"
        );
    }

    for name in LOOPS {
        node.set(&format!("{name}.mode"), "report");
    }
    let report = node.loses(&[]).await;
    for name in would_go {
        assert!(report.is_good().with_result("would_remove").contains(&name), "{name}");
    }
    assert_eq!(report.follow(), Vec::<String>::new(), "what is only reported makes nothing follow");
    for name in LOOPS {
        assert_eq!(report.pass(name)["mode"], "report");
    }

    // One loop enforces, the others report.
    node.set("sandbox_gc.mode", "enforce");
    node.loses(&["sandbox empty#0"]).await.is_good();
    for name in LOOPS {
        node.set(&format!("{name}.mode"), "enforce");
    }
    let report = node.sweep(&[]).await;
    for name in would_go.iter().filter(|name| **name != "sandbox empty#0") {
        assert!(report.with_result("removed").contains(name), "{name}");
    }
}

async fn two_sweeps_at_once_both_succeed(node: &mut Node) {
    full(node).await;
    node.set("image_gc.mode", "off");
    let before = node.inventory().await;
    let first = program::start(&node.arguments(&["sweep", "--output", "json"]), None);
    // Of another user, say: they do not know of each other.
    node.set("state.dir", node.path("other-state").display());
    let second = program::start(&node.arguments(&["sweep", "--output", "json"]), None);
    let reports = [first, second].map(|running| Report::new(&running.wait(), &before));
    assert_eq!(before.removed_in(&node.inventory().await), before.meant(&FULL));
    for report in &reports {
        report.is_good();
    }
    node.is_settled().await;
}

async fn a_state_directory_is_worked_with_once(node: &mut Node) {
    full(node).await;
    node.set("image_gc.mode", "off");
    let before = node.inventory().await;
    let state = node.path("state");
    let lock = cri_gc_files::lock::hold(&state).unwrap();
    let refused = node.run_program(&["sweep"], None);
    assert_eq!(refused.code, 1, "{refused:?}");
    for part in [&format!("another cri-gc (pid {})", std::process::id()), state.to_str().unwrap(), "run-now"]
    {
        assert!(refused.stderr.contains(part), "{part}: {refused:?}");
    }
    assert_eq!(before.removed_in(&node.inventory().await), before.meant(&[]));
    // Commands that only read disturb nothing.
    assert_eq!(node.run_program(&["plan"], None).code, 0);
    let dry = node.run_program(&["sweep", "--dry-run"], None);
    assert_eq!((dry.code, dry.stderr.as_str()), (0, ""), "{dry:?}");
    assert!(dry.stdout.contains("web/job#1"), "{dry:?}");
    assert_eq!(before.removed_in(&node.inventory().await), before.meant(&[]));
    drop(lock);
    assert_eq!(node.run_program(&["sweep"], None).code, 0);
}
