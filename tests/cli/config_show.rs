//! `config show` in its forms, and that they can be read as configurations.

use super::expected::is_as_expected;
use super::program::{Bench, said, text};

const CHANGED: &str = r#"
node_name = "edge-7"
[runtime]
endpoint = "/run/crio/crio.sock"
max_message_size = "128MiB"
[pods]
source = "file"
file = "/etc/pods with \"quotes\".json"
[container_gc]
mode = "report"
max_containers = 240
min_age = "1h30m"
[image_gc]
protect = ["registry.example.com/edge/*", "busybox:1.36"]
[metrics]
listen = "[::1]:9477"
"#;

#[test]
fn what_is_shown_as_toml_loads_as_the_same() {
    let bench = Bench::new();
    for (number, settings) in ["", CHANGED].into_iter().enumerate() {
        let file = bench.file("settings.toml", settings);
        let shown = said(bench.bare(&["config", "show", "--config", &file]), "").succeeded();
        let again = bench.file("again.toml", &shown);
        assert_eq!(
            said(bench.bare(&["config", "show", "--config", &again]), "").succeeded(),
            shown,
            "{number}"
        );
        assert_eq!(said(bench.bare(&["config", "check", "--config", &again]), "").code, Some(0));
    }
}

#[test]
fn json_and_yaml_say_the_same() {
    let bench = Bench::new();
    let file = bench.file("settings.toml", CHANGED);
    let show =
        |form: &str| said(bench.bare(&["config", "show", "-o", form, "--config", &file]), "").succeeded();
    let json: serde_json::Value = serde_json::from_str(&show("json")).unwrap();
    let yaml: serde_json::Value = serde_saphyr::from_str(&show("yaml")).unwrap();
    assert_eq!(json, yaml);
    assert_eq!(json["container_gc"]["max_containers"], 240);
    assert_eq!(json["pods"]["file"], "/etc/pods with \"quotes\".json");
}

#[test]
fn the_table_says_where_each_value_comes_from() {
    let bench = Bench::new();
    let file = bench.file("settings.toml", CHANGED);
    let mut command = bench.bare(&["config", "show", "--output", "table", "--config", &file]);
    command.args(["--set", "sandbox_gc.period=2m"]).env("CRI_GC__LOG__LEVEL", "debug");
    let table = said(command, "").succeeded().replace(text(&bench.path("settings.toml")), "settings.toml");
    // The width of a column depends on the path that was replaced.
    is_as_expected("config-show-table", &table);
}

#[test]
fn without_a_file_it_is_said_that_there_is_none() {
    let bench = Bench::new();
    if std::path::Path::new(cri_gc_config::DEFAULT_PATH).exists() {
        return;
    }
    let good = said(bench.bare(&["config", "check"]), "").succeeded();
    assert!(good.contains("there is no configuration file"), "{good}");
}
