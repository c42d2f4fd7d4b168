//! New settings while the service runs: an invalid configuration changes nothing and says why, a valid one is in force in every loop
//! without a restart, and a thousand of them under load lose nothing.

use std::path::Path;
use std::process::Command;

use cri_gc_collectors::collector::Doing;
use cri_gc_collectors::report::Trigger;
use cri_gc_config::{LogLevel, Mode};
use cri_gc_kit::generation::Cause;
use cri_gc_kit::recorder::EventKind;
use cri_gc_kit::words::Loop;
use cri_gc_service::configuration::{Refused, Reloaded};
use cri_gc_sim::{ContainerSpec, Method};
use futures_util::FutureExt;
use futures_util::future::join_all;

use crate::isolation::node;
use crate::stage::{HOUR, PERIOD, SECOND, Setup, Stage};

/// Writes the file and has it read.
async fn reload(stage: &Stage, file: &Path, text: &str) -> Result<Reloaded, Refused> {
    std::fs::write(file, text).unwrap();
    read(stage).await
}

async fn read(stage: &Stage) -> Result<Reloaded, Refused> {
    let answer = stage.answer("the reload", stage.service.configuration.reload(Cause::Admin, None)).await;
    stage.settle().await;
    answer
}

async fn generations(stage: &Stage) -> [u64; 5] {
    let configuration = stage.service.configuration.state().await.unwrap();
    let mut all = [configuration.generation.number; 5];
    for (of, place) in Loop::ALL.into_iter().zip(&mut all[1..]) {
        *place = stage.state(of).await.generation;
    }
    all
}

#[actix_rt::test]
async fn an_invalid_configuration_changes_nothing_and_says_why() {
    let mut setup = Setup::new();
    let file = setup.file("[container_gc]\nmode = \"report\"\n");
    let stage = setup.start().await;
    let path = file.display().to_string();
    let put = |text: &[u8]| {
        let _ = std::fs::remove_dir(&file);
        std::fs::write(&file, text).unwrap();
    };
    let bad: [(&str, &dyn Fn(), &str, &str); 8] = [
        ("an unknown key", &|| put(b"[container_gc]\nmodus = \"off\"\n"), &path, "container_gc.modus"),
        (
            "out of range",
            &|| put(b"\n[image_gc]\nhigh_threshold_percent = 101\n"),
            &path,
            "high_threshold_percent = 101",
        ),
        ("of another form", &|| put(b"[log_gc]\nperiod = 7\n"), &path, "log_gc.period = 7"),
        ("no TOML", &|| put(b"[log_gc\n"), &path, "not valid TOML"),
        ("no text", &|| put(b"\xff\xfe"), &path, "not UTF-8"),
        (
            "what this program cannot do",
            &|| put(b"[pods]\nsource = \"kube-api\"\n"),
            "pods.source",
            "not in this program",
        ),
        ("gone", &|| std::fs::remove_file(&file).unwrap(), &path, "does not exist"),
        ("a directory", &|| std::fs::create_dir(&file).unwrap(), &path, "it is a directory"),
    ];
    for (what, spoil, place, why) in bad {
        spoil();
        let refused = read(&stage).await.unwrap_err();
        assert!(refused.0.contains(place) && refused.0.contains(why), "{what}: {refused}");
        let state = stage.service.configuration.state().await.unwrap();
        assert_eq!(state.refused.map(|(why, _)| why), Some(refused.0.clone()), "{what}");
        assert_eq!(generations(&stage).await, [1; 5], "{what}");
        assert_eq!(stage.state(Loop::ContainerGc).await.mode, Mode::Report, "{what}");
        let line = format!(
            "ERRO - reload refused, the previous configuration remains in force: {} cause=admin",
            refused.0
        );
        assert_eq!(stage.lines.take(), [line], "{what}");
    }
    assert_eq!(stage.event_kinds().await, [(EventKind::ReloadRefused, 0); 8]);
    put(b"[container_gc]\nmode = \"enforce\"\n");
    let reloaded = read(&stage).await.unwrap();
    assert_eq!((reloaded.changed, reloaded.state.refused), (vec!["container_gc.mode"], None));
    assert_eq!(generations(&stage).await, [2; 5]);
    assert_eq!(stage.lines.take(), ["INFO - configuration reloaded cause=admin"]);
}

#[actix_rt::test]
async fn every_loop_follows_a_new_period() {
    let mut setup = Setup::new();
    // Without the chain's doing: it wakes sandboxes and logs after each pass over containers.
    let sections = |periods: [&str; 4]| {
        let text =
            Loop::ALL.iter().zip(periods).map(|(of, period)| format!("[{of}]\nperiod = \"{period}\"\n"));
        text.collect::<String>()
    };
    setup.sources.overrides.retain(|(key, _)| key != "image_gc.period");
    let file = setup.file(&sections(["1m"; 4]));
    let stage = setup.start().await;
    stage.step(SECOND).await;
    let before = stage.passes().await;
    stage.pass_time(6 * PERIOD).await;
    let passes = |before: [u64; 4], after: [u64; 4]| -> Vec<u64> {
        after.iter().zip(before).map(|(after, before)| after - before).collect()
    };
    let made = passes(before, stage.passes().await);
    assert_eq!((made[0], made[3]), (6, 6));

    reload(&stage, &file, &sections(["2m", "40s", "3m", "20s"])).await.unwrap();
    let before = stage.passes().await;
    stage.pass_time(6 * PERIOD).await;
    let made = passes(before, stage.passes().await);
    assert_eq!((made[0], made[3]), (3, 18));
    // Three after passes of the loop before it, and the others when its period has passed since.
    assert!((9..=10).contains(&made[1]), "sandboxes: {made:?}");
    assert_eq!(made[2], made[1], "logs: after each of those");
    for (of, period) in Loop::ALL.into_iter().zip([120, 40, 180, 20]) {
        let state = stage.state(of).await;
        assert_eq!((state.period.as_secs(), state.restarts), (period, 0), "{of}");
    }
}

async fn is_switched_off_and_to_reports_and_on(of: Loop) {
    let (mut setup, id) = node(of);
    let mode = |mode: &str| format!("[{of}]\nmode = \"{mode}\"\n");
    let file = setup.file(&mode("off"));
    let stage = setup.start().await;
    stage.step(SECOND).await;
    stage.pass_time(2 * PERIOD).await;
    let state = stage.state(of).await;
    assert_eq!((state.doing, state.passes, state.next_pass_at), (Doing::Off, 0, None), "{of}");
    reload(&stage, &file, &mode("report")).await.unwrap();
    stage.pass_time(2 * PERIOD).await;
    let last = stage.state(of).await.last.unwrap();
    assert_eq!((last.mode, last.counts.would_remove, last.counts.removed), (Mode::Report, 1, 0), "{of}");
    assert!(all_ids(&stage).contains(&id), "{of}");
    reload(&stage, &file, &mode("enforce")).await.unwrap();
    assert_eq!(stage.state(of).await.mode_in_effect(), Mode::Enforce, "{of}, before its next pass");
    stage.pass_time(PERIOD).await;
    assert!(!all_ids(&stage).contains(&id), "{of}");
    assert_eq!(stage.state(of).await.removed, 1, "{of}");
}

#[actix_rt::test]
async fn container_gc_is_switched_off_and_to_reports_and_on() {
    is_switched_off_and_to_reports_and_on(Loop::ContainerGc).await;
}

#[actix_rt::test]
async fn sandbox_gc_is_switched_off_and_to_reports_and_on() {
    is_switched_off_and_to_reports_and_on(Loop::SandboxGc).await;
}

#[actix_rt::test]
async fn image_gc_is_switched_off_and_to_reports_and_on() {
    is_switched_off_and_to_reports_and_on(Loop::ImageGc).await;
}

fn all_ids(stage: &Stage) -> Vec<String> {
    [stage.sim.container_ids(), stage.sim.sandbox_ids(), stage.sim.image_ids()].concat()
}

#[actix_rt::test]
async fn limits_and_patterns_apply_from_the_next_pass_on() {
    let mut setup = Setup::new().set("image_gc.max_age", "1s");
    let pod = setup.living_pod(1);
    let ended = [0, 1, 2].map(|attempt| setup.ended(&pod, attempt));
    let images = [setup.image("base/one:1", 10), setup.image("base/two:1", 10)];
    let file =
        setup.file("[container_gc]\nmax_per_pod_container = 3\n[image_gc]\nprotect = [\"*/base/*\"]\n");
    let stage = setup.start().await;
    stage.step(SECOND).await;
    stage.pass_time(3 * PERIOD).await;
    assert_eq!(stage.sim.container_ids().len(), 3);
    let kept = |id: &String| stage.sim.image_ids().contains(id);
    assert!(images.iter().all(kept));
    let text = "[container_gc]\nmax_per_pod_container = 1\n[image_gc]\nprotect = [\"*/base/two\"]\n";
    let changed = reload(&stage, &file, text).await.unwrap().changed;
    assert_eq!(changed, ["container_gc.max_per_pod_container", "image_gc.protect"]);
    stage.pass_time(PERIOD).await;
    assert_eq!(stage.sim.container_ids(), ended[2..]);
    assert_eq!([kept(&images[0]), kept(&images[1])], [false, true]);
}

#[actix_rt::test]
async fn settings_that_need_a_restart_are_named_and_the_log_level_is_none_of_them() {
    let mut setup = Setup::new();
    let file = setup.file("");
    let stage = setup.start().await;
    let text = "node_name = \"other\"\n[log_gc]\nworkers = 3\n[log]\nlevel = \"debug\"\n";
    let reloaded = reload(&stage, &file, text).await.unwrap();
    assert_eq!(reloaded.state.waiting_for_restart, ["node_name", "log_gc.workers"]);
    assert_eq!(stage.service.threshold.get(), LogLevel::Debug);
    let late =
        "WARN - these settings take effect after a restart of cri-gc settings=node_name, log_gc.workers";
    assert_eq!(stage.lines.take(), ["INFO - configuration reloaded cause=admin", late]);
    let reloaded = reload(&stage, &file, "[log]\nlevel = \"info\"\n").await.unwrap();
    assert_eq!(
        reloaded.state.waiting_for_restart,
        Vec::<&str>::new(),
        "they are what they were at the start"
    );
}

// ---- Under load ----

const RELOADS: u64 = 1_000;

/// Passes that are requested before the answers are waited for. A loop takes 16.
const ASKED: u64 = 8;

/// Threads and open files of this process.
fn open_resources() -> (usize, usize) {
    let count = |folder: &str| std::fs::read_dir(folder).unwrap().count();
    (count("/proc/self/task"), count("/proc/self/fd"))
}

/// What is counted is of the whole process, in which other tests run too: so this one runs in one of its own.
#[test]
fn a_thousand_reloads_under_load_lose_and_leak_nothing() {
    let name = "reload::in_a_process_of_its_own";
    let ended = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--ignored", "--test-threads=1", "--nocapture"])
        .output()
        .unwrap();
    let output = String::from_utf8_lossy(&ended.stdout);
    assert!(
        ended.status.success() && output.contains("1 passed"),
        "{output}\n{}",
        String::from_utf8_lossy(&ended.stderr)
    );
}

#[ignore = "the test above runs it"]
#[actix_rt::test]
async fn in_a_process_of_its_own() {
    let mut setup = Setup::new();
    let (pod, file) = (setup.living_pod(1), setup.file(""));
    let stage = setup.start().await;
    stage.step(SECOND).await;
    let text = |number: u64| {
        // New limits have the gateway connect again.
        let (limit, parallel) = (1 + number % 2, 1 + number % 3);
        format!("[container_gc]\nmax_per_pod_container = {limit}\nparallel_removals = {parallel}\n")
    };
    let (mut asked, mut before, mut answered) = (Vec::new(), None::<(usize, usize)>, 0);
    for number in 1..=RELOADS {
        let made = stage.sim.ago(HOUR);
        let attempt = u32::try_from(number).unwrap();
        let dead = ContainerSpec::new(&pod, "app").attempt(attempt).exited(made, made + HOUR / 2).no_log();
        stage.sim.add_container(dead).unwrap();
        let mut pass = Box::pin(stage.service.loops[(number % 4) as usize].run(None));
        assert!(pass.as_mut().now_or_never().is_none());
        asked.push(pass);
        std::fs::write(&file, text(number)).unwrap();
        let reload = stage.service.configuration.reload(Cause::Admin, None);
        let reloaded = stage.answer("the reload", reload).await.unwrap();
        assert_eq!(reloaded.state.generation.number, number + 1);
        if number % ASKED == 0 {
            for report in stage.answer("the passes", join_all(asked.drain(..))).await {
                assert!(report.unwrap().is_good());
                answered += 1;
            }
        }
        if number % 50 == 0 {
            // The watch of the file checks too, and finds nothing that has not been read.
            stage.step(2 * SECOND).await;
            // A connection that is given up is closed a little later, so one may or may not be counted.
            if number <= 200 {
                let (now, most) = (open_resources(), before.unwrap_or_default());
                before = Some((now.0.max(most.0), now.1.max(most.1)));
            }
        }
    }
    assert_eq!(answered, RELOADS);
    stage.settle().await;
    assert_eq!(generations(&stage).await, [1_001; 5]);
    for of in Loop::ALL {
        let report = stage.answer("a last pass", stage.handle(of).run(None)).await.unwrap();
        assert!(report.is_good());
        stage.settle().await;
        let state = stage.state(of).await;
        assert_eq!((state.restarts, state.last.unwrap().trigger), (0, Trigger::Admin));
    }
    assert_eq!(stage.sim.container_ids().len(), 1, "as the last configuration says");
    let removed = stage.state(Loop::ContainerGc).await.removed;
    assert_eq!(removed, RELOADS - 1, "each once");
    assert_eq!(stage.sim.count(Method::RemoveContainer) as u64, removed);
    let before = before.unwrap();
    let is_as_before = || open_resources().0 <= before.0 && open_resources().1 <= before.1;
    stage.until("no more threads and files than before", async || is_as_before().then_some(())).await;
}
