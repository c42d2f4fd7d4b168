//! The files in `deploy/monitoring/`: alert rules and the dashboard ask for metrics that cri-gc has, and promtool (Debian package
//! `prometheus`) accepts them. Where it is missing that part is skipped; with `CRI_GC_TEST_REQUIRE_PROMTOOL=1` it is an error.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: failing loudly is its job"
)]

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn folder() -> PathBuf {
    root().join("deploy/monitoring")
}

/// The names of all metrics, as docs/metrics.md has them; `tests/service/metrics` compares that page with what is served.
fn metrics() -> BTreeSet<String> {
    let page = fs::read_to_string(root().join("docs/metrics.md")).unwrap();
    let mut names = BTreeSet::new();
    let rows = page
        .lines()
        .skip_while(|line| !line.starts_with("| name | type |"))
        .take_while(|line| !line.is_empty());
    for row in rows.filter_map(|line| line.strip_prefix("| `")) {
        let (name, rest) = row.split_once("` | ").unwrap();
        match rest.starts_with("histogram") {
            true => names.extend(["bucket", "count", "sum"].map(|part| format!("{name}_{part}"))),
            false => drop(names.insert(name.to_owned())),
        }
    }
    assert!(names.len() > 30, "{names:?}");
    names
}

/// The metrics of cri-gc that a query names.
fn named_in(query: &str) -> impl Iterator<Item = &str> {
    let words = query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("cri_gc_") || word.starts_with("process_"))
}

fn rules() -> Vec<Value> {
    let text = fs::read_to_string(folder().join("alerts.yaml")).unwrap();
    let file: Value = serde_saphyr::from_str(&text).unwrap();
    file["groups"][0]["rules"].as_array().unwrap().clone()
}

/// Panels with their queries.
fn panels() -> Vec<(String, Vec<String>)> {
    let text = fs::read_to_string(folder().join("dashboard.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let panel = |panel: &Value| {
        let targets = panel["targets"].as_array()?;
        let queries = targets.iter().map(|target| target["expr"].as_str().unwrap().to_owned()).collect();
        assert!(!panel["description"].as_str().unwrap().is_empty(), "{panel}");
        Some((panel["title"].as_str().unwrap().to_owned(), queries))
    };
    dashboard["panels"].as_array().unwrap().iter().filter_map(panel).collect()
}

fn promtool(arguments: &[&str]) -> Option<Output> {
    match Command::new("promtool").args(arguments).current_dir(folder()).output() {
        Ok(output) => Some(output),
        Err(error) => {
            let required = std::env::var_os("CRI_GC_TEST_REQUIRE_PROMTOOL").is_some_and(|value| value == "1");
            assert!(!required, "promtool (Debian package prometheus): {error}");
            let _ = std::io::stderr().write_all(b"SKIPPED a check by promtool (Debian package prometheus)\n");
            None
        }
    }
}

#[test]
fn every_metric_that_alerts_and_panels_ask_for_exists() {
    let (known, mut count) = (metrics(), 0);
    let alerts = rules().into_iter().map(|rule| {
        let query = rule["expr"].as_str().unwrap().to_owned();
        (rule["alert"].as_str().unwrap().to_owned(), vec![query])
    });
    for (name, queries) in alerts.chain(panels()) {
        for metric in queries.iter().flat_map(|query| named_in(query)) {
            assert!(known.contains(metric), "{name} asks for {metric}, which does not exist");
            count += 1;
        }
    }
    assert!(count > 40, "{count}");
}

#[test]
fn every_alert_has_a_summary_a_description_a_severity_and_a_test() {
    let tests = fs::read_to_string(folder().join("alerts_test.yaml")).unwrap();
    for rule in rules() {
        let name = rule["alert"].as_str().unwrap();
        assert!(
            rule["annotations"]["summary"].as_str().unwrap().contains("{{ $labels.instance }}"),
            "{name}"
        );
        assert!(rule["annotations"]["description"].as_str().unwrap().len() > 80, "{name} has no remedy");
        assert!(matches!(rule["labels"]["severity"].as_str(), Some("page" | "ticket")), "{name}");
        assert!(tests.contains(&format!("alertname: {name}\n")), "{name} has no test");
        let page = fs::read_to_string(root().join("docs/metrics.md")).unwrap();
        assert!(page.contains(&format!("`{name}`")), "{name} is not in docs/metrics.md");
    }
}

#[test]
fn the_alerts_fire_when_they_have_to_and_at_no_other_time() {
    let Some(tested) = promtool(&["test", "rules", "alerts_test.yaml"]) else { return };
    assert!(tested.status.success(), "{tested:?}");
    for check in [["check", "rules", "alerts.yaml"], ["check", "config", "prometheus.yaml"]] {
        let checked = promtool(&check).unwrap();
        assert!(checked.status.success(), "{checked:?}");
    }
}

#[test]
fn every_query_of_the_dashboard_can_be_evaluated() {
    let rules: Vec<Value> = panels()
        .into_iter()
        .flat_map(|(_, queries)| queries)
        .enumerate()
        .map(|(number, query)| {
            let query = query.replace("$__rate_interval", "5m").replace("$instance", "node-1");
            assert!(!query.contains('$'), "{query}");
            json!({"record": format!("query_{number}"), "expr": query})
        })
        .collect();
    assert!(rules.len() > 20);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("queries.yaml");
    // JSON is YAML.
    fs::write(&file, json!({"groups": [{"name": "dashboard", "rules": rules}]}).to_string()).unwrap();
    let Some(checked) = promtool(&["check", "rules", file.to_str().unwrap()]) else { return };
    assert!(checked.status.success(), "{checked:?}");
}
