//! What is said about a configuration file that can't be used.

use super::{ConfigFile, file_message, load_text, problem};
use crate::{FileSource, Sources, load};

fn message(text: &str) -> String {
    file_message(&ConfigFile::new(text))
}

#[test]
fn an_unknown_key_is_named_with_line_and_the_nearest_one() {
    let text = "[image_gc]\nperiod = \"5m\"\nhigh_treshold_percent = 90\n";
    let message = message(text);
    assert!(
        message.starts_with(
            "FILE:3:1: image_gc.high_treshold_percent = 90: there is no such key in [image_gc]; \
             allowed: mode, period, high_threshold_percent, "
        ),
        "{message}"
    );
    assert!(message.ends_with("; did you mean `image_gc.high_threshold_percent`?"), "{message}");
}

#[test]
fn an_unknown_section_is_one_problem_whatever_is_in_it() {
    let message = message("[imagegc]\nperiod = \"5m\"\nmode = \"on\"\n");
    assert_eq!(message.lines().count(), 1, "{message}");
    assert!(message.starts_with("FILE:1:2: imagegc: there is no such key or section"), "{message}");
    assert!(message.ends_with("; did you mean `image_gc`?"), "{message}");
}

#[test]
fn a_line_end_in_a_name_makes_no_second_problem() {
    let message = message("\"a\\nFILE:9:9: mode = off\" = 1\n");
    assert!(message.starts_with("FILE:1:1: a\\nFILE:9:9: mode = off = 1: there is no such key"), "{message}");
    assert_eq!(message.lines().count(), 1, "{message}");
}

#[test]
fn an_unknown_key_in_a_nested_section_is_named_with_its_path() {
    let message = message("[pods.kubelet]\nuri = 'x'\n");
    assert!(
        message.starts_with("FILE:2:1: pods.kubelet.uri = 'x': there is no such key in [pods.kubelet]"),
        "{message}"
    );
    assert!(message.ends_with("; did you mean `pods.kubelet.url`?"), "{message}");
}

#[test]
fn a_key_of_another_section_is_pointed_at() {
    let message = message("[image_gc]\nmax_containers = 5\n");
    assert!(message.ends_with("; did you mean `container_gc.max_containers`?"), "{message}");
}

#[test]
fn where_nothing_is_near_the_default_configuration_is_pointed_at() {
    let message = message("zebra = 1\n");
    assert!(message.ends_with("; remove it; `cri-gc config show` lists all keys"), "{message}");
}

#[test]
fn a_quoted_name_with_dots_is_no_path() {
    let message = message("\"image_gc.period\" = \"5m\"\n");
    assert!(message.starts_with("FILE:1:1: image_gc.period"), "{message}");
}

#[test]
fn dotted_keys_and_inline_tables_are_the_same_as_sections() {
    for text in ["image_gc.period = '7m'", "image_gc = { period = '7m' }", "[image_gc]\nperiod = '7m'"] {
        assert_eq!(load_text(text).unwrap().settings.image_gc.period.as_secs(), 420, "{text}");
    }
}

#[test]
fn a_value_in_place_of_a_section_is_named() {
    let message = message("log = \"debug\"\n");
    assert_eq!(
        message,
        "FILE:1:7: log = \"debug\": `log` is a section, not a key; allowed: level, format; set the keys in it"
    );
}

#[test]
fn a_number_for_a_duration_says_how_to_write_it() {
    assert_eq!(
        message("[container_gc]\nperiod = 60\n"),
        "FILE:2:10: container_gc.period = 60: the number 60 has no unit; \
         allowed: a duration from 1s to 100 years; write \"60s\" if seconds are meant"
    );
    let message = message("[container_gc]\nperiod = -60\n");
    assert!(message.ends_with("write a number with a unit, as \"30s\", \"5m\" or \"1h30m\""), "{message}");
}

#[test]
fn a_number_for_a_size_says_how_to_write_it() {
    assert_eq!(
        message("[runtime]\nmax_message_size = 67108864\n"),
        "FILE:2:20: runtime.max_message_size = 67108864: the number 67108864 has no unit; \
         allowed: a size from 1MiB to 2GiB; write a number with a unit, as \"64MiB\""
    );
}

#[test]
fn a_wrong_word_names_the_right_ones() {
    assert_eq!(
        message("[log]\nlevel = \"warn\"\n"),
        "FILE:2:9: log.level = \"warn\": there is no `warn`; did you mean `warning`?; \
         allowed: error, warning, info, debug, trace; write one of these words"
    );
    let message = message("[pods]\nsource = \"kubeapi\"\n");
    assert!(message.contains("did you mean `kube-api`?"), "{message}");
}

#[test]
fn values_of_every_wrong_type_are_named_and_none_panics() {
    let values =
        ["true", "1", "-1", "1.5", "nan", "inf", "1979-05-27", "[1]", "{ a = 1 }", "\"\"", "\"\\u0000\""];
    for key in crate::key_names() {
        for value in values {
            let text = format!("{key} = {value}\n");
            match load_text(&text) {
                Ok(_) => {}
                Err(error) => {
                    for problem in error.problems {
                        // A threshold that is valid by itself may not fit the default of the other one.
                        let found = problem.key.as_deref().unwrap_or_default();
                        assert!(found.starts_with(key) || problem.what.contains(key), "{text}: {problem}");
                        assert!(problem.allowed.is_some() && !problem.remedy.is_empty(), "{problem}");
                    }
                }
            }
        }
        // No setting accepts these.
        for value in ["nan", "1.5", "{ a = 1 }", "1979-05-27"] {
            assert!(load_text(&format!("{key} = {value}\n")).is_err(), "{key} = {value}");
        }
    }
}

#[test]
fn texts_are_not_made_of_other_values() {
    let message = message("node_name = 5\n");
    assert!(message.starts_with("FILE:1:13: node_name = 5: expected a string, found integer"), "{message}");
    assert!(message.ends_with("write it in quotes, as \"5\""), "{message}");
}

#[test]
fn numbers_and_switches_are_not_made_of_text() {
    let message =
        message("[image_gc]\nhigh_threshold_percent = \"85\"\n[pods]\nruntime_beside_kubelet = \"true\"\n");
    assert!(message.contains("\"85\" is a string; write it without quotes"), "{message}");
    assert!(
        message.contains(
            "expected a boolean, found string; allowed: true or false; write true or false, without quotes"
        ),
        "{message}"
    );
}

#[test]
fn numbers_beyond_all_bounds_are_errors() {
    for (text, what) in [
        ("[image_gc]\nhigh_threshold_percent = 300\n", "300 is out of range"),
        ("[image_gc]\nhigh_threshold_percent = -1\n", "-1 is out of range"),
        ("[image_gc]\nparallel_removals = 9223372036854775807\n", "9223372036854775807 is out of range"),
        ("[state]\nhistory_max_events = 9223372036854775808\n", "does not fit in 64 bits"),
        ("[state]\nhistory_max_events = 1e400\n", "does not fit in 64 bits"),
        ("[state]\nhistory_max_events = nan\n", "`nan` is not a whole number"),
        ("[image_gc]\nmax_age = \"18446744073709551615s\"\n", "it is longer than 100 years"),
        ("[image_gc]\nmax_age = \"99999999999999999999999y\"\n", "it is longer than 100 years"),
        ("[image_gc]\nmax_age = nan\n", "the number nan has no unit"),
        ("[runtime]\nmax_message_size = \"99999999999EiB\"\n", "it is greater than 2GiB"),
    ] {
        let message = message(text);
        assert!(message.starts_with("FILE:2:"), "{message}");
        assert!(message.contains(what), "{message}");
    }
}

#[test]
fn every_bad_pattern_is_named_by_its_place() {
    let message = message("[image_gc]\nprotect = [\"good\", \"\", \"a b\", 5]\n");
    let lines: Vec<_> = message.lines().collect();
    assert_eq!(lines.len(), 3, "{message}");
    assert!(lines[0].starts_with("FILE:2:11: image_gc.protect[1] = \"\": it is empty;"), "{message}");
    assert!(
        lines[1].starts_with("FILE:2:11: image_gc.protect[2] = \"a b\": it contains white space"),
        "{message}"
    );
    assert!(lines[2].contains("image_gc.protect[3] = 5: expected a string, found integer"), "{message}");
    assert!(lines[2].ends_with("write it as [\"registry.example/*\", \"busybox:1.36\"]"), "{message}");
}

#[test]
fn a_single_pattern_still_needs_its_brackets() {
    let message = message("[image_gc]\nprotect = \"busybox\"\n");
    assert!(message.contains("image_gc.protect = \"busybox\": expected a list, found string"), "{message}");
    assert!(message.contains("write it as [\""), "{message}");
}

#[test]
fn broken_toml_is_reported_with_line_and_column() {
    let text = message("[image_gc]\nperiod = \n");
    assert!(text.starts_with("FILE:2:"), "{text}");
    assert!(text.contains("this is not valid TOML: "), "{text}");
    assert!(text.contains("; correct the line; "), "{text}");

    let text = message("[image_gc]\nperiod = \"5m\"\nperiod = \"6m\"\n");
    assert!(text.starts_with("FILE:3:1: this is not valid TOML: duplicate key"), "{text}");

    let text = message("[image_gc\n");
    assert!(text.starts_with("FILE:1:10: this is not valid TOML: "), "{text}");
}

#[test]
fn a_directory_is_named_as_such() {
    let dir = tempfile::tempdir().unwrap();
    for file in [FileSource::Explicit(dir.path().into()), FileSource::Default(dir.path().into())] {
        let refused = problem(load(&Sources { file, ..Sources::default() })).to_string();
        let expected =
            format!("{}: it is a directory; name the file in it, as config.toml", dir.path().display());
        assert_eq!(refused, expected);
    }
}

#[test]
fn text_that_is_not_utf8_is_reported_with_its_place() {
    assert_eq!(
        file_message(&ConfigFile::new(b"node_name = \"a\"\n# \xff\n")),
        "FILE:2:3: the text is not UTF-8; save the file in UTF-8"
    );
}

#[test]
fn a_file_of_endless_size_is_refused() {
    let file = ConfigFile::new(vec![b'\n'; (1 << 20) + 1]);
    assert_eq!(
        file_message(&file),
        "FILE: the file is larger than 1MiB; name the configuration file of cri-gc"
    );
    assert!(load_text(&"\n".repeat(1 << 20)).is_ok());
}

#[test]
fn a_path_through_a_file_can_not_be_read() {
    let file = ConfigFile::new("");
    let path = file.path().join("below");
    let refused = problem(load(&Sources { file: FileSource::Explicit(path), ..Sources::default() }));
    assert!(refused.what.starts_with("the file can't be read: "), "{refused}");
}

#[test]
fn an_empty_file_and_a_byte_order_mark_are_no_error() {
    assert!(load_text("").is_ok());
    assert!(load_text("\u{feff}node_name = 'n'").is_ok());
}

#[test]
fn what_a_broken_file_would_have_set_is_not_guessed() {
    // The environment's threshold fits no default; whether it fits the file is unknown.
    let file = ConfigFile::new("[image_gc\n");
    let env = super::pairs(&[("CRI_GC__IMAGE_GC__LOW_THRESHOLD_PERCENT", "90"), ("CRI_GC__LOG__LEVEL", "x")]);
    let found = super::problems(load(&Sources { file: file.source(), env, ..Sources::default() }));
    assert_eq!(found.len(), 2, "{found:#?}");
    assert_eq!(found[1].key.as_deref(), Some("log.level"));
}
