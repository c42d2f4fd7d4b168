//! Configurations that cannot be used: refused with exit code 64 before anything is touched, with the place, what is
//! wrong, which values are valid and what to do.

use super::program::{Bench, Said, said, text};

fn with_file(bench: &Bench, toml: &str) -> Said {
    let file = bench.file("cri-gc.toml", toml);
    said(bench.bare(&["config", "check", "--config", &file]), "")
}

#[test]
fn a_valid_configuration_is_reported_as_valid() {
    let bench = Bench::new();
    let good = with_file(&bench, "[image_gc]\nmin_age = \"1h\"\n").succeeded();
    assert_eq!(good, format!("{} is valid\n", text(&bench.path("cri-gc.toml"))));
}

#[test]
fn what_a_start_on_this_machine_would_refuse_is_noted() {
    let bench = Bench::new();
    let said = with_file(
        &bench,
        "[admin]\ngroup = \"no-such-group-here\"\n[image_gc]\nmin_age = \"2h\"\nmax_age = \"1h\"\n",
    );
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.out.contains("there is no group \"no-such-group-here\""), "{said:?}");
    assert!(said.err.contains("image_gc.max_age is shorter than image_gc.min_age"), "{said:?}");
}

#[test]
fn an_unknown_key_is_named_with_its_place_and_the_nearest_one() {
    let bench = Bench::new();
    let parts =
        ["cri-gc.toml:3:1", "image_gc.high_treshold_percent", "high_threshold_percent", "did you mean"];
    with_file(&bench, "[image_gc]\nmode = \"report\"\nhigh_treshold_percent = 90\n").refused(64, &parts);
    with_file(&bench, "[image-gc]\nmode = \"report\"\n")
        .refused(64, &["image-gc", "did you mean `image_gc`?"]);
    with_file(&bench, "nonsense = 1\n").refused(64, &["cri-gc.toml:1:1", "nonsense", "remove it"]);
}

#[test]
fn every_kind_of_value_out_of_its_range_is_refused() {
    let bench = Bench::new();
    for (section, line, parts) in [
        ("image_gc", "high_threshold_percent = 101", &["it is greater than 100", "0 to 100"][..]),
        ("image_gc", "low_threshold_percent = -1", &["0 to 100"]),
        ("image_gc", "high_threshold_percent = \"85%\"", &["without a percent sign"]),
        ("image_gc", "parallel_removals = 0", &["1 to 64"]),
        ("container_gc", "parallel_removals = 65", &["it is greater than 64", "1 to 64"]),
        ("container_gc", "max_containers = -2", &["it is less than -1", "no limit"]),
        ("container_gc", "max_containers = 99999999999999999999", &["container_gc.max_containers"]),
        ("container_gc", "period = \"0s\"", &["it is shorter than 1s"]),
        ("container_gc", "min_age = \"-1s\"", &["container_gc.min_age", "a number with a unit"]),
        ("container_gc", "min_age = 60", &["\"60s\""]),
        ("container_gc", "min_age = \"200years\"", &["100 years"]),
        ("container_gc", "mode = \"enforced\"", &["enforce, report, off"]),
        ("container_gc", "evict_terminated_pods = \"yes\"", &["true or false"]),
        ("runtime", "max_message_size = \"1KiB\"", &["it is less than 1MiB"]),
        ("runtime", "max_message_size = \"64 apples\"", &["1MiB to 2GiB"]),
        ("runtime", "request_timeout = \"500ms\"", &["it is shorter than 1s"]),
        ("log_gc", "pod_logs_root = \"var/log/pods\"", &["not absolute"]),
        ("log_gc", "pod_logs_root = \"/\"", &["the root of the filesystem"]),
        ("log_gc", "pod_logs_root = \"/var/log/../..\"", &["`..`"]),
        ("log_gc", "workers = 65", &["1 to 64"]),
        ("pods", "source = \"kubernetes\"", &["runtime, file, kubelet, kube-api"]),
        ("metrics", "listen = \"9477\"", &["it has no host", "127.0.0.1:9477"]),
        ("log", "level = \"loud\"", &["error, warning, info, debug, trace"]),
        ("image_gc", "protect = [\"\"]", &["image_gc.protect[0]"]),
    ] {
        let key = line.split_once(' ').unwrap().0;
        let parts = [&["cri-gc.toml:2:", key], parts].concat();
        with_file(&bench, &format!("[{section}]\n{line}\n")).refused(64, &parts);
    }
}

#[test]
fn the_source_file_needs_a_file() {
    let bench = Bench::new();
    let parts = [
        "pods.file",
        "it is not set, with pods.source = \"file\"",
        "path of the list of pods",
        "cri-gc.toml",
    ];
    with_file(&bench, "[pods]\nsource = \"file\"\n").refused(64, &parts);
    with_file(&bench, "[pods]\nsource = \"file\"\nfile = \"pods.json\"\n")
        .refused(64, &["pods.file", "not absolute"]);
}

#[cfg(not(feature = "kubernetes"))]
#[test]
fn the_source_kube_api_needs_a_program_that_was_built_with_it() {
    let bench = Bench::new();
    let file = bench.file("cri-gc.toml", "[pods]\nsource = \"kube-api\"\n");
    let parts = [
        "pods.source = \"kube-api\" is not built into this program",
        "cargo feature `kubernetes`",
        "\"file\"",
    ];
    for command in [&["config", "check"][..], &["run"], &["sweep"], &["plan"], &["snapshot"]] {
        let state = format!("state.dir={}", text(&bench.path("state")));
        said(bench.bare(&[command, &["--config", &file, "--set", &state]].concat()), "").refused(64, &parts);
    }
    with_file(&bench, "[pods]\nsource = \"kubelet\"\n").succeeded();
}

#[test]
fn settings_that_contradict_each_other_and_variables_that_are_not_read_are_named() {
    let bench = Bench::new();
    let file = bench.file("cri-gc.toml", "[image_gc]\nmin_age = \"2h\"\nmax_age = \"1h\"\n");
    let mut command = bench.bare(&["config", "check", "--config", &file]);
    command.env("CRI_GC_IMAGE_GC_MIN_AGE", "0s").env("CRI_GC_SERVICE_HOST", "10.0.0.1");
    let said = said(command, "");
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(
        said.err,
        "cri-gc: note: image_gc.max_age is shorter than image_gc.min_age: an unused image is removed once min_age has passed; \
             raise max_age, or lower min_age\n\
             cri-gc: note: the environment variable CRI_GC_IMAGE_GC_MIN_AGE is not read: CRI_GC__IMAGE_GC__MIN_AGE sets \
             image_gc.min_age\n"
    );
}

#[test]
fn thresholds_and_pauses_have_to_fit_together() {
    let bench = Bench::new();
    let parts = [
        "image_gc.low_threshold_percent = 90",
        "it is greater than image_gc.high_threshold_percent = 85",
        "lower it",
    ];
    with_file(&bench, "[image_gc]\nhigh_threshold_percent = 85\nlow_threshold_percent = 90\n")
        .refused(64, &parts);
    let inodes = "[image_gc]\ninode_high_threshold_percent = 50\ninode_low_threshold_percent = 60\n";
    with_file(&bench, inodes).refused(64, &["inode_low_threshold_percent = 60"]);
    with_file(&bench, "[supervision]\nrestart_backoff_min = \"2m\"\n").refused(64, &["restart_backoff_max"]);
    with_file(&bench, "[image_gc]\nhigh_threshold_percent = 80\nlow_threshold_percent = 80\n").succeeded();
}

#[test]
fn all_problems_are_listed_at_once() {
    let bench = Bench::new();
    let toml =
        "[image_gc]\nhigh_threshold_percent = 200\n[container_gc]\nperiod = \"x\"\n[log]\nlevle = \"info\"\n";
    let parts = ["3 errors", "high_threshold_percent", "container_gc.period", "log.levle", "level"];
    with_file(&bench, toml).refused(64, &parts);
}

#[test]
fn broken_toml_is_reported_with_line_and_column() {
    let bench = Bench::new();
    for (toml, place) in [
        ("[image_gc\nmin_age = \"1h\"\n", "cri-gc.toml:1:"),
        ("[image_gc]\nmin_age = 1h\n", "cri-gc.toml:2:"),
        ("[image_gc]\n\nmin_age = \"1h\"\nmin_age = \"2h\"\n", "cri-gc.toml:4:"),
        ("{\"image_gc\": {}}", "cri-gc.toml:1:"),
    ] {
        with_file(&bench, toml).refused(64, &[place, "not valid TOML"]);
    }
    let file = bench.file("cri-gc.toml", b"# \xff\xfe\n");
    said(bench.bare(&["plan", "--config", &file]), "").refused(64, &["not UTF-8"]);
    with_file(&bench, &"[".repeat(100_000)).refused(64, &["not valid TOML"]);
    with_file(&bench, &format!("x = {}", "[".repeat(100_000))).refused(64, &["not valid TOML"]);
    with_file(&bench, &"#".repeat(2 << 20)).refused(64, &["larger than 1MiB"]);
}

#[test]
fn a_file_that_was_named_must_exist() {
    let bench = Bench::new();
    let missing = bench.path("missing.toml");
    for command in
        [&["plan"][..], &["snapshot"], &["sweep"], &["config", "check"], &["config", "show"], &["run"]]
    {
        let parts = [text(&missing), "the file does not exist", "--config"];
        said(bench.bare(&[command, &["--config", text(&missing)]].concat()), "").refused(64, &parts);
    }
    let folder = text(&bench.path("")).to_owned();
    said(bench.bare(&["config", "check", "--config", &folder]), "").refused(64, &["it is a directory"]);
}

#[test]
fn an_invalid_variable_is_named() {
    let bench = Bench::new();
    for (name, value, parts) in [
        ("CRI_GC__IMAGE_GC__MIN_AGE", "soon", &["image_gc.min_age = \"soon\"", "a number with a unit"][..]),
        ("CRI_GC__IMAGE_GC__MIN_AEG", "1h", &["CRI_GC__IMAGE_GC__MIN_AGE"]),
        ("CRI_GC__IMAGE_GC", "1h", &["is a section"]),
        ("CRI_GC__CONTAINER_GC__MAX_CONTAINERS", "many", &["container_gc.max_containers"]),
    ] {
        let mut command = bench.command(&["config", "check"]);
        command.env(name, value);
        said(command, "").refused(64, &[&["environment variable", name], parts].concat());
    }
    let mut command = bench.command(&["config", "show", "--output", "table"]);
    command.env("CRI_GC__IMAGE_GC__MIN_AGE", "90s").env("CRI_GC_OTHER", "x").env("cri_gc__x", "x");
    assert!(said(command, "").succeeded().contains("environment variable CRI_GC__IMAGE_GC__MIN_AGE"));
}

#[test]
fn an_invalid_flag_is_named() {
    let bench = Bench::new();
    let set = |what: &str| bench.run(&["config", "check", "--set", what]);
    set("image_gc.min_age=soon").refused(64, &["command line", "image_gc.min_age = \"soon\""]);
    set("image_gc.min_aeg=1h").refused(64, &["command line", "did you mean", "image_gc.min_age"]);
    set("image_gc=1").refused(64, &["is a section"]);
    set("image_gc.min_age").refused(2, &["write KEY=VALUE"]);
    set("=1h").refused(2, &["write KEY=VALUE"]);
}

#[test]
fn the_service_does_not_start_with_an_invalid_configuration() {
    let bench = Bench::new();
    let file = bench.file("bad.toml", "[image_gc]\nhigh_threshold_percent = 101\n");
    said(bench.bare(&["run", "--config", &file]), "")
        .refused(64, &["bad.toml:2:", "image_gc.high_threshold_percent"]);
}
