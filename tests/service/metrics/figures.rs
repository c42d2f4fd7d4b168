//! What is served: each figure is that of its actor, no label names an object, and docs/metrics.md has a row for each metric.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use cri_gc_kit::words::Loop;
use cri_gc_policy::Reason;
use cri_gc_sim::{Code, Fault, Method, Scope};

use super::{Served, value};
use crate::stage::{HOUR, PERIOD, SECOND, Setup, pod, uid};

/// A node with something to remove for each loop but that of the logs, which can't remove its image, after two passes.
async fn served() -> Served {
    let setup = Setup::new()
        .set("container_gc.max_per_pod_container", "0")
        .set("supervision.stuck_backoff_max", "1s");
    setup.ended(&setup.living_pod(1), 0);
    setup.replaced_sandbox(2);
    setup.sim.add_pod(pod(3).created_at(setup.sim.ago(HOUR)).not_ready()).unwrap();
    setup.image("free:1", 10_000);
    setup.sim.with(|node| node.fill_to_percent(90));
    setup.sim.fault(Method::RemoveImage, Fault::Error(Code::Unknown, "busy".to_owned()), Scope::Always);
    let served = Served::start(setup).await;
    served.stage.step(SECOND).await;
    served.stage.pass_time(PERIOD).await;
    served
}

#[actix_rt::test]
async fn what_the_loops_have_done_is_counted() {
    let served = served().await;
    let metrics = served.metrics().await;
    let is =
        |sample: &str| value(&metrics, sample).unwrap_or_else(|| panic!("{sample} is missing:\n{metrics}"));
    for of in Loop::ALL {
        let state = served.stage.state(of).await;
        let of = of.as_str();
        assert_eq!(is(&format!("cri_gc_pass_duration_seconds_count{{loop=\"{of}\"}}")), state.passes as f64);
        assert_eq!(is(&format!("cri_gc_consecutive_failures{{loop=\"{of}\"}}")), state.failures as f64);
        assert_eq!(is(&format!("cri_gc_loop_state{{loop=\"{of}\",state=\"waiting\"}}")), 1.0);
        assert_eq!(is(&format!("cri_gc_loop_state{{loop=\"{of}\",state=\"hung\"}}")), 0.0);
        assert_eq!(is(&format!("cri_gc_loop_overdue{{loop=\"{of}\"}}")), 0.0);
    }
    let of_a_container = "{loop=\"container_gc\",reason=\"over_pod_container_limit\",result=\"removed\"}";
    assert_eq!(is(&format!("cri_gc_removals_total{of_a_container}")), 1.0);
    let of_an_image = "{loop=\"image_gc\",reason=\"disk_pressure\",result=\"failed\"}";
    assert_eq!(is(&format!("cri_gc_removals_total{of_an_image}")), 2.0);
    assert_eq!(is("cri_gc_objects_stuck{loop=\"image_gc\"}"), 1.0);
    assert_eq!(is("cri_gc_passes_total{loop=\"image_gc\",trigger=\"period\",result=\"failed\"}"), 1.0);
    let missing = is("cri_gc_missing_bytes{loop=\"image_gc\"}");
    assert!(missing > 0.0, "the image could not be removed");
    assert_eq!(is("cri_gc_wanted_bytes_total{loop=\"image_gc\"}"), 2.0 * missing);
    assert_eq!(is("cri_gc_freed_bytes_total{loop=\"image_gc\",measure=\"measured\"}"), 0.0);
    assert_eq!(is("cri_gc_rpc_duration_seconds_count{method=\"RemoveImage\",code=\"UNKNOWN\"}"), 2.0);
    assert!(is("cri_gc_rpc_duration_seconds_count{method=\"ListContainers\",code=\"OK\"}") >= 2.0);
    assert_eq!(is("cri_gc_runtime_reachable"), 1.0);
    assert_eq!(is("cri_gc_pods{state=\"active\"}"), 2.0);
    // A container, and the sandbox that was replaced.
    assert_eq!(is("cri_gc_events_total{kind=\"Removed\"}"), 2.0);
    assert_eq!(is("cri_gc_events_total{kind=\"RuntimeLost\"}"), 0.0);
    assert_eq!(is("cri_gc_history_lost_events_total"), 0.0);
    assert!(is("process_resident_memory_bytes") > 1e6 && is("process_cpu_seconds_total") > 0.0);
    let full = metrics.lines().filter(|line| line.starts_with("cri_gc_filesystem_available_bytes{")).count();
    assert_eq!(full, 1, "{metrics}");

    // What was stuck is removed, and freed as measured.
    served.stage.clear_faults();
    served.stage.pass_time(PERIOD).await;
    let metrics = served.metrics().await;
    let is =
        |sample: &str| value(&metrics, sample).unwrap_or_else(|| panic!("{sample} is missing:\n{metrics}"));
    assert_eq!(is("cri_gc_objects_stuck{loop=\"image_gc\"}"), 0.0);
    assert_eq!(is("cri_gc_missing_bytes{loop=\"image_gc\"}"), 0.0);
    assert!(is("cri_gc_freed_bytes_total{loop=\"image_gc\",measure=\"measured\"}") >= missing);
    assert!(is("cri_gc_freed_bytes_total{loop=\"image_gc\",measure=\"reported\"}") > 0.0);
    assert!(is("cri_gc_last_good_pass_timestamp_seconds{loop=\"image_gc\"}") > 0.0);
}

#[actix_rt::test]
async fn reading_metrics_asks_the_runtime_nothing() {
    let served = served().await;
    let before: Vec<usize> = METHODS.iter().map(|method| served.stage.sim.count(*method)).collect();
    for _ in 0..3 {
        served.metrics().await;
        served.get("/").await;
        served.get("/readyz").await;
    }
    let after: Vec<usize> = METHODS.iter().map(|method| served.stage.sim.count(*method)).collect();
    assert_eq!(before, after);
}

const METHODS: [Method; 6] = [
    Method::Version,
    Method::ListContainers,
    Method::ListPodSandbox,
    Method::ListImages,
    Method::ImageFsInfo,
    Method::ContainerStatus,
];

/// Runs promtool, which is in the Debian package `prometheus`. `None`, after a line on stderr, where it is missing and not required.
fn promtool(arguments: &[&str], input: &str) -> Option<Output> {
    let mut promtool = Command::new("promtool");
    promtool.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = match promtool.spawn() {
        Ok(child) => child,
        Err(error) => {
            let required = std::env::var_os("CRI_GC_TEST_REQUIRE_PROMTOOL").is_some_and(|value| value == "1");
            assert!(!required, "promtool (Debian package prometheus): {error}");
            let _ = std::io::stderr()
                .write_all(b"SKIPPED a check of metrics by promtool (Debian package prometheus)\n");
            return None;
        }
    };
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    Some(child.wait_with_output().unwrap())
}

#[actix_rt::test]
async fn promtool_reads_both_formats_and_has_nothing_to_say_about_the_names() {
    let served = served().await;
    let Some(checked) = promtool(&["check", "metrics"], &served.metrics().await) else { return };
    assert!(checked.status.success() && checked.stderr.is_empty(), "{checked:?}");
    // Its reader of OpenMetrics wants a time with each sample.
    let open = served.get("/metrics").await.body;
    let timed = |line: &str| match line.starts_with('#') {
        true => format!("{line}\n"),
        false => format!("{line} 1700000000\n"),
    };
    let folder = tempfile::tempdir().unwrap();
    let (file, blocks) = (folder.path().join("metrics"), folder.path().join("blocks"));
    std::fs::write(&file, open.lines().map(timed).collect::<String>()).unwrap();
    let arguments =
        ["tsdb", "create-blocks-from", "openmetrics", file.to_str().unwrap(), blocks.to_str().unwrap()];
    let read = promtool(&arguments, "").unwrap();
    assert!(read.status.success(), "{read:?}");
}

/// A metric as it is served.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Metric {
    of: String,
    help: String,
    /// Names of its labels, with all values that were seen.
    labels: BTreeMap<String, BTreeSet<String>>,
}

/// What a text serves, by name.
fn parse(text: &str) -> BTreeMap<String, Metric> {
    let mut all = BTreeMap::<String, Metric>::new();
    let mut last = String::new();
    for line in text.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            assert!(!all.contains_key(name), "{name} is served twice");
            name.clone_into(&mut last);
            all.entry(last.clone()).or_default().help = help.to_owned();
        } else if let Some((name, of)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            assert_eq!(name, last);
            all.get_mut(name).unwrap().of = of.to_owned();
        } else if !line.starts_with('#') {
            let (sample, _) = line.rsplit_once(' ').unwrap();
            assert!(sample.starts_with(&last), "{sample} is none of {last}");
            let Some((_, labels)) = sample.trim_end_matches('}').split_once('{') else { continue };
            for label in labels.split(',') {
                let (name, value) = label.split_once('=').unwrap();
                let values = all.get_mut(&last).unwrap().labels.entry(name.to_owned()).or_default();
                values.insert(value.trim_matches('"').to_owned());
            }
        }
    }
    all
}

#[actix_rt::test]
async fn no_label_has_the_name_of_an_object_and_all_values_are_of_closed_sets() {
    let served = served().await;
    let all = parse(&served.metrics().await);
    let words = |reasons: &[Reason]| reasons.iter().map(|reason| reason.as_str().to_owned()).collect();
    let reasons: BTreeSet<String> = words(Reason::ALL);
    for (name, metric) in &all {
        for (label, values) in &metric.labels {
            let known = match label.as_str() {
                "reason" => values.is_subset(&reasons),
                // What the runtime names, of which there are as many as filesystems.
                "mountpoint" => values.len() == 1,
                "le" => values.len() <= 10,
                _ => values
                    .iter()
                    .all(|value| value.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))),
            };
            assert!(known && values.len() <= Reason::ALL.len(), "{name}: {label}: {values:?}");
        }
    }
    let text = served.metrics().await;
    for object in ["pod-1", "free:1", &uid(1)] {
        assert!(!text.contains(object), "{object}");
    }
}

/// The table of docs/metrics.md, as it has to be.
fn table(all: &BTreeMap<String, Metric>) -> String {
    let mut table = "| name | type | unit | labels | meaning |\n|---|---|---|---|---|\n".to_owned();
    for (name, metric) in all {
        let unit = ["seconds", "bytes", "ratio"]
            .into_iter()
            .find(|unit| name.trim_end_matches("_total").ends_with(&format!("_{unit}")));
        let labels = metric.labels.keys().filter(|label| *label != "le").map(|label| format!("`{label}`"));
        let labels = labels.collect::<Vec<_>>().join(", ");
        let row =
            format!("| `{name}` | {} | {} | {labels} | {} |\n", metric.of, unit.unwrap_or(""), metric.help);
        table.push_str(&row.replace("  ", " ").replace("|  |", "| |"));
    }
    table
}

#[actix_rt::test]
async fn the_page_of_metrics_has_a_row_for_each_metric_and_no_other() {
    let all = parse(&served().await.metrics().await);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let begin = page.find("| name | type |").expect("the table of metrics");
    let end = begin + page[begin..].find("\n\n").map_or(page.len() - begin, |end| end + 1);
    let expected = table(&all);
    if std::env::var_os("CRI_GC_UPDATE_EXPECTED").is_some() {
        std::fs::write(path, format!("{}{expected}{}", &page[..begin], &page[end..])).unwrap();
        return;
    }
    assert_eq!(page[begin..end], expected, "CRI_GC_UPDATE_EXPECTED=1 writes it again");
}

#[actix_rt::test]
async fn prometheus_gets_open_metrics_and_older_readers_what_they_ask_for() {
    let served = served().await;
    let with =
        async |accept: &str| served.send(&format!("GET /metrics HTTP/1.1\r\nHost: x\r\n{accept}\r\n")).await;
    let prometheus =
        "Accept: application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1\r\n";
    for accept in ["", "Accept: */*\r\n", prometheus] {
        let answer = with(accept).await;
        assert!(
            answer.head.contains("content-type: application/openmetrics-text; version=1.0.0"),
            "{}",
            answer.head
        );
        assert!(
            answer.body.ends_with("# EOF\n") && answer.body.contains("# UNIT cri_gc_freed_bytes bytes\n")
        );
        assert!(answer.body.contains("# TYPE cri_gc_build info\n"), "{}", answer.body);
    }
    let plain = with("Accept: text/plain\r\n").await;
    assert!(plain.head.contains("content-type: text/plain; version=0.0.4"), "{}", plain.head);
    assert!(!plain.body.contains("# EOF") && plain.body.contains("# TYPE cri_gc_passes_total counter\n"));
    // The same metrics in both.
    let open = with(prometheus).await.body;
    let samples = |text: &str| -> BTreeSet<Vec<String>> {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let names = lines.filter_map(|line| Some(line.rsplit_once(' ')?.0));
        let parts = names.map(|name| {
            let name = name.replace(".0\"", "\"");
            name.split(['{', ',', '}']).map(ToOwned::to_owned).collect::<Vec<_>>()
        });
        parts
            .map(|mut parts| {
                parts.sort();
                parts
            })
            .collect()
    };
    assert_eq!(samples(&open), samples(&plain.body));
}
