//! behaviour: Container logs: which logs are removed with their containers.

use std::fs;

use cri_gc_test_support::PodSpec;

use crate::node::Node;

on_both!(
    a_log_is_removed_with_its_rotated_files_and_its_link_and_no_other_file,
    logs_outside_the_root_are_left_alone,
);

async fn a_log_is_removed_with_its_rotated_files_and_its_link_and_no_other_file(node: &mut Node) {
    let web = node.pod("web").await;
    let main = node.running(&web, "main").await;
    node.link(&web, "main", 0, &main);
    for (attempt, id) in (0..).zip(node.dead(&web, "job", 0..3).await) {
        node.link(&web, "job", attempt, &id);
    }
    let rotated = [
        "0.log.20240101-000000.gz",
        "0.log.20240102-000000",
        "1.log.20240101-000000",
        "2.log.20240101-000000",
    ];
    let foreign = ["0.logger", "10.log", "10.log.20240101-000000", "x0.log", "0.log-old"];
    for file in rotated.iter().chain(&foreign) {
        node.write_log(&web, "job", file);
    }
    fs::write(node.runtime.container_logs().join("notes.log"), "no link\n").unwrap();
    let report = node
        .loses(&[
            "container web/job#0",
            "log web/job/0.log",
            "log web/job/0.log.20240101-000000.gz",
            "log web/job/0.log.20240102-000000",
            "link web/job/0.log",
            "container web/job#1",
            "log web/job/1.log",
            "log web/job/1.log.20240101-000000",
            "link web/job/1.log",
        ])
        .await;
    report.is_good();
    node.is_settled().await;
}

async fn logs_outside_the_root_are_left_alone(node: &mut Node) {
    let elsewhere = node.path("elsewhere");
    let far = node.run_pod(PodSpec::new("default", "far").logs(&elsewhere)).await;
    node.dead(&far, "job", 0..2).await;
    let files = || {
        let logs = cri_gc_test_support::pod_log_dir(&elsewhere, &far.spec).join("job");
        fs::read_dir(logs).unwrap().count()
    };
    assert_eq!(files(), 2);
    node.loses(&["container far/job#0"]).await.is_good();
    // Nor with the whole pod.
    node.stop(&far).await;
    node.loses(&["container far/job#1", "sandbox far#0"]).await.is_good();
    assert_eq!(files(), 2);
    node.is_settled().await;
}
