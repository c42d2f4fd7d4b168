//! Which layer wins, and where values come from.

use std::path::PathBuf;

use super::{ConfigFile, load_text, pairs, problem, problems};
use crate::{DEFAULT_PATH, FileSource, Mode, Origin, Position, Settings, Sources, changed_keys, load};

#[test]
fn later_layers_win_and_every_origin_is_known() {
    let file = ConfigFile::new(
        "node_name = 'from-file'\n[image_gc]\nperiod = '2m'\nmin_age = '2s'\nmode = 'report'\n",
    );
    let loaded = load(&Sources {
        file: file.source(),
        env: pairs(&[("CRI_GC__IMAGE_GC__MIN_AGE", "3s"), ("CRI_GC__IMAGE_GC__MODE", "off")]),
        overrides: pairs(&[("image_gc.mode", "enforce")]),
    })
    .unwrap();
    let settings = &loaded.settings;
    assert_eq!(settings.node_name.as_deref(), Some("from-file"));
    assert_eq!(settings.image_gc.period.as_secs(), 120);
    assert_eq!(settings.image_gc.min_age.as_secs(), 3);
    assert_eq!(settings.image_gc.mode, Mode::Enforce);
    assert_eq!(settings.image_gc.settle, Settings::default().image_gc.settle);

    let origin = |key| loaded.origins.get(key).cloned();
    assert_eq!(origin("image_gc.period"), Some(Origin::File(file.path())));
    assert_eq!(origin("image_gc.min_age"), Some(Origin::Env("CRI_GC__IMAGE_GC__MIN_AGE".to_owned())));
    assert_eq!(origin("image_gc.mode"), Some(Origin::Flag));
    assert_eq!(origin("image_gc.settle"), Some(Origin::Default));
    assert_eq!(origin("image_gc.nonsense"), None);
    let position = |key| loaded.origins.source(key).unwrap().position;
    assert_eq!(position("image_gc.period"), Some(Position { line: 3, column: 10 }));
    assert_eq!(position("image_gc.min_age"), None, "it came from the environment");
    assert_eq!(loaded.file, Some(file.path()));
}

#[test]
fn a_list_replaces_the_list_of_the_layer_below() {
    let file = ConfigFile::new("[image_gc]\nprotect = ['a', 'b', 'c']\n");
    let loaded = load(&Sources {
        file: file.source(),
        env: pairs(&[("CRI_GC__IMAGE_GC__PROTECT", "d")]),
        ..Sources::default()
    });
    let protect: Vec<_> = loaded.unwrap().settings.image_gc.protect.iter().map(ToString::to_string).collect();
    assert_eq!(protect, ["d"]);
}

#[test]
fn the_default_file_may_be_absent_and_a_named_one_must_exist() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.toml");
    let loaded = load(&Sources { file: FileSource::Default(path.clone()), ..Sources::default() }).unwrap();
    assert_eq!((loaded.settings, loaded.file), (Settings::default(), None));

    let refused = problem(load(&Sources { file: FileSource::Explicit(path.clone()), ..Sources::default() }));
    assert_eq!(
        refused.to_string(),
        format!("{}: the file does not exist; create it, or name another one with --config", path.display())
    );
}

#[test]
fn a_default_file_that_exists_is_read_and_must_be_valid() {
    let file = ConfigFile::new("node_name = 'n'");
    let source = FileSource::Default(file.path());
    let loaded = load(&Sources { file: source, ..Sources::default() }).unwrap();
    assert_eq!((loaded.settings.node_name.as_deref(), loaded.file), (Some("n"), Some(file.path())));

    let file = ConfigFile::new("node_name = ");
    problem(load(&Sources { file: FileSource::Default(file.path()), ..Sources::default() }));
    assert_eq!(DEFAULT_PATH, "/etc/cri-gc/config.toml");
}

#[test]
fn problems_of_all_layers_are_listed_at_once_in_the_order_of_lines() {
    let file = ConfigFile::new(
        "[image_gc]\nperiod = 60\nmode = 'on'\nhigh_threshold_percent = 101\n[container_gc]\nworkers = 1\n",
    );
    let found = problems(load(&Sources {
        file: file.source(),
        env: pairs(&[("CRI_GC__LOG__LEVEL", "loud")]),
        overrides: pairs(&[("log_gc.workers", "65"), ("nonsense", "1")]),
    }));
    let keys: Vec<_> = found.iter().filter_map(|p| p.key.as_deref()).collect();
    assert_eq!(
        keys,
        [
            "image_gc.period",
            "image_gc.mode",
            "container_gc.workers",
            "log.level",
            "nonsense",
            "log_gc.workers",
            "image_gc.high_threshold_percent",
        ]
    );
}

#[test]
fn the_error_is_one_line_for_each_problem() {
    let error = load_text("[image_gc]\nperiod = 60\nmode = 'on'\n").unwrap_err().to_string();
    assert_eq!(error.lines().count(), 3);
    assert!(error.starts_with("invalid configuration, 2 errors:\n"), "{error}");
    let error = load_text("[image_gc]\nperiod = 60\n").unwrap_err().to_string();
    assert_eq!(error.lines().count(), 1);
    assert!(error.starts_with("invalid configuration: /"), "{error}");
}

#[test]
fn a_wrong_form_is_refused_even_where_a_later_layer_sets_the_key() {
    let file = ConfigFile::new("[image_gc]\nperiod = 60\n");
    let refused = problem(load(&Sources {
        file: file.source(),
        overrides: pairs(&[("image_gc.period", "5m")]),
        ..Sources::default()
    }));
    assert_eq!(refused.origin, Origin::File(file.path()));
}

#[test]
fn ranges_are_those_of_the_merged_settings() {
    let file = ConfigFile::new("[image_gc]\nlow_threshold_percent = 95\nperiod = '1ms'\n");
    let sources = |overrides: &[(&str, &str)]| Sources {
        file: file.source(),
        overrides: pairs(overrides),
        ..Sources::default()
    };
    let valid = [("image_gc.high_threshold_percent", "96"), ("image_gc.period", "1m")];
    assert_eq!(load(&sources(&valid)).unwrap().settings.image_gc.low_threshold_percent, 95);
    assert_eq!(problems(load(&sources(&[]))).len(), 2);
}

#[test]
fn a_comparison_with_a_refused_value_is_left_out() {
    let refused =
        problem(load_text("[image_gc]\nhigh_threshold_percent = 'x'\nlow_threshold_percent = 90\n"));
    assert_eq!(refused.key.as_deref(), Some("image_gc.high_threshold_percent"));
}

#[test]
fn a_later_override_of_the_same_key_wins() {
    let overrides = pairs(&[("log.level", "debug"), ("log.level", "trace")]);
    let loaded = load(&Sources { overrides, ..Sources::default() }).unwrap();
    assert_eq!(loaded.settings.log.level, crate::LogLevel::Trace);
}

#[test]
fn overrides_name_the_command_line_and_the_nearest_key() {
    let refused = |key: &str, value: &str| {
        problem(load(&Sources { overrides: pairs(&[(key, value)]), ..Sources::default() })).to_string()
    };
    let message = refused("image_gc.perod", "1m");
    assert!(
        message.starts_with("command line: image_gc.perod = \"1m\": there is no such key in [image_gc]"),
        "{message}"
    );
    assert!(message.ends_with("did you mean `image_gc.period`?"), "{message}");
    assert!(refused("image_gc", "1").contains("`image_gc` is a section, not a key"));
    assert!(refused("", "1").contains("there is no such key or section"));
}

#[test]
fn changed_keys_are_named() {
    let old = Settings::default();
    let mut new = old.clone();
    new.pods.kubelet.url = "http://127.0.0.1:10255/pods".to_owned();
    new.log.level = crate::LogLevel::Debug;
    assert_eq!(changed_keys(&old, &new), ["pods.kubelet.url", "log.level"]);
    assert!(changed_keys(&old, &old).is_empty());
}

#[test]
fn nothing_else_is_read() {
    // Neither the environment of this process nor a file at the default place.
    let loaded = load(&Sources::default()).unwrap();
    assert_eq!((loaded.settings, loaded.file), (Settings::default(), None::<PathBuf>));
}
