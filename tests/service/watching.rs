//! A configuration file that changes by itself is read, however it is written, once it no longer changes; one that vanishes
//! is reported.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use cri_gc_config::{FileSource, Mode};
use cri_gc_kit::generation::Cause;
use cri_gc_kit::words::Loop;

use crate::stage::{PERIOD, SECOND, Setup, Stage};

const REPORT: &str = "[image_gc]\nmode = \"report\"\n";
const OFF: &str = "[image_gc]\nmode = \"off\"\n";
const RELOADED: &str = "INFO - configuration reloaded cause=file";

/// Has the configuration actor check its file, and waits until it has.
async fn check(stage: &Stage) {
    let checks = async || stage.service.configuration.state().await.map_or(0, |state| state.checks);
    let before = checks().await;
    stage.step(2 * SECOND).await;
    stage.until("the check", async || (checks().await > before).then_some(())).await;
    stage.settle().await;
}

/// What is in force: the generation, what had it read, and the mode that image GC follows.
async fn in_force(stage: &Stage) -> (u64, Cause, Mode) {
    let state = stage.answer("the configuration", stage.service.configuration.state()).await.unwrap();
    let followed = stage.state(Loop::ImageGc).await;
    (state.generation.number, state.generation.cause, followed.mode)
}

/// Checks that what was changed right now is applied at the second check, and not at the first.
async fn is_applied_at_the_second_check(stage: &Stage, number: u64, mode: Mode) {
    let before = in_force(stage).await;
    check(stage).await;
    assert_eq!(in_force(stage).await, before, "it may still be written");
    check(stage).await;
    let taken = async || (in_force(stage).await == (number, Cause::File, mode)).then_some(());
    stage.until("the new configuration", taken).await;
    assert_eq!(stage.lines.take(), [RELOADED]);
    for _ in 0..3 {
        check(stage).await;
    }
    assert_eq!(in_force(stage).await, (number, Cause::File, mode), "it is read once");
    assert_eq!(stage.lines.take(), Vec::<String>::new());
}

async fn started(file: &Path) -> Stage {
    let mut setup = Setup::new();
    setup.sources.file = FileSource::Explicit(file.to_owned());
    let stage = setup.start().await;
    check(&stage).await;
    assert_eq!(in_force(&stage).await, (1, Cause::Start, Mode::Enforce));
    stage
}

#[actix_rt::test]
async fn a_file_that_is_written_in_place_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    fs::write(&file, "").unwrap();
    let stage = started(&file).await;
    fs::write(&file, REPORT).unwrap();
    is_applied_at_the_second_check(&stage, 2, Mode::Report).await;
    fs::write(&file, OFF).unwrap();
    is_applied_at_the_second_check(&stage, 3, Mode::Off).await;
}

#[actix_rt::test]
async fn a_file_that_is_replaced_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    fs::write(&file, "").unwrap();
    let stage = started(&file).await;
    fs::write(file.with_extension("new"), REPORT).unwrap();
    fs::rename(file.with_extension("new"), &file).unwrap();
    is_applied_at_the_second_check(&stage, 2, Mode::Report).await;
}

#[actix_rt::test]
async fn a_config_map_whose_link_is_swapped_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    // As a kubelet does it: a directory for each state, a link to the current one, and a link through that one.
    let publish = |state: &str, text: &str| {
        fs::create_dir(at(state)).unwrap();
        fs::write(at(state).join("config.toml"), text).unwrap();
        symlink(state, at("..data_tmp")).unwrap();
        fs::rename(at("..data_tmp"), at("..data")).unwrap();
    };
    publish("..2026_1", "");
    symlink("..data/config.toml", at("config.toml")).unwrap();
    let stage = started(&at("config.toml")).await;
    publish("..2026_2", REPORT);
    fs::remove_dir_all(at("..2026_1")).unwrap();
    is_applied_at_the_second_check(&stage, 2, Mode::Report).await;
    publish("..2026_3", OFF);
    fs::remove_dir_all(at("..2026_2")).unwrap();
    is_applied_at_the_second_check(&stage, 3, Mode::Off).await;
}

#[actix_rt::test]
async fn what_is_half_written_is_not_taken() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    let whole = "[image_gc]\nmode = \"report\"\nprotect = [\"needed\"]\n";
    fs::write(&file, whole).unwrap();
    let mut setup = Setup::new();
    setup.image("needed", 1);
    setup.sources.file = FileSource::Explicit(file.clone());
    let stage = setup.start().await;
    check(&stage).await;
    // Every beginning of it that ends with a line is a valid configuration, which removes images.
    let new = "[container_gc]\nperiod = \"2m\"\n[image_gc]\nmode = \"off\"\nprotect = [\"needed\"]\n";
    let lines: Vec<&str> = new.split_inclusive('\n').collect();
    for written in 0..=lines.len() {
        fs::write(&file, lines[..written].concat()).unwrap();
        check(&stage).await;
        assert_eq!(in_force(&stage).await, (1, Cause::Start, Mode::Report), "{written} lines");
    }
    check(&stage).await;
    let taken = async || (in_force(&stage).await == (2, Cause::File, Mode::Off)).then_some(());
    stage.until("the whole of it", taken).await;
    assert_eq!(stage.lines.all(), [RELOADED]);
}

#[actix_rt::test]
async fn a_file_that_vanishes_is_reported_once_and_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    fs::write(&file, "").unwrap();
    let stage = started(&file).await;
    fs::remove_file(&file).unwrap();
    check(&stage).await;
    assert_eq!(stage.lines.all(), Vec::<String>::new(), "it may be being swapped");
    check(&stage).await;
    stage.until("the report", async || stage.lines.all().first().cloned()).await;
    for _ in 0..5 {
        check(&stage).await;
    }
    stage.pass_time(PERIOD).await;
    assert_eq!(in_force(&stage).await, (1, Cause::Start, Mode::Enforce));
    let logged = stage.lines.take();
    assert_eq!(logged.len(), 1, "{logged:?}");
    let why = format!("{}: the file does not exist", file.display());
    assert!(
        logged[0].contains("the previous configuration remains in force") && logged[0].contains(&why),
        "{logged:?}"
    );
    fs::write(&file, OFF).unwrap();
    is_applied_at_the_second_check(&stage, 2, Mode::Off).await;
}

#[actix_rt::test]
async fn an_invalid_file_is_refused_once_and_a_valid_one_applied_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    fs::write(&file, "").unwrap();
    let stage = started(&file).await;
    fs::write(&file, "[image_gc]\nmood = \"report\"\n").unwrap();
    check(&stage).await;
    check(&stage).await;
    stage.until("the refusal", async || stage.lines.all().first().cloned()).await;
    for _ in 0..5 {
        check(&stage).await;
    }
    let logged = stage.lines.take();
    assert_eq!(logged.len(), 1, "{logged:?}");
    let refused = format!(
        "reload refused, the previous configuration remains in force: invalid configuration: {}:2",
        file.display()
    );
    assert!(logged[0].contains(&refused) && logged[0].contains("image_gc.mood"), "{logged:?}");
    assert_eq!(in_force(&stage).await, (1, Cause::Start, Mode::Enforce));
    fs::write(&file, REPORT).unwrap();
    is_applied_at_the_second_check(&stage, 2, Mode::Report).await;
}
