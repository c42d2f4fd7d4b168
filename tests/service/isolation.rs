//! An RPC that fails or hangs for 50 periods, or a directory that can't be read: the failure remains in its own loop, is logged as
//! docs/behaviour.md says (behaviour: Failures and log levels) and not once more, and is over within a period.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use cri_gc_kit::recorder::EventKind;
use cri_gc_kit::text::duration;
use cri_gc_kit::words::Loop;
use cri_gc_sim::{Code, ContainerState, Fault, Method, Scope};

use crate::lines;
use crate::stage::{PERIOD, SECOND, STEP, Setup, Stage};

/// Periods for which something is wrong.
const PERIODS: u64 = 50;

/// More calls than any test lets hang.
pub const FOR_EVER: usize = 1_000_000;

/// An object that fails is tried in each pass, so that each pass fails.
fn setup() -> Setup {
    Setup::new().set("supervision.stuck_backoff_max", "1s")
}

/// A node on which that loop has one object to remove, and no other has any. The id of the object.
pub fn node(of: Loop) -> (Setup, String) {
    let setup = setup().set("container_gc.max_per_pod_container", "0");
    let id = match of {
        Loop::ContainerGc => setup.ended(&setup.living_pod(1), 0),
        Loop::SandboxGc => setup.replaced_sandbox(2),
        Loop::ImageGc => {
            let id = setup.image("free:1", 10_000);
            setup.sim.with(|node| node.fill_to_percent(90));
            id
        }
        Loop::LogGc => String::new(),
    };
    (setup, id)
}

/// Lets the periods pass, by such steps, with `of` broken, and checks that every other loop passes in each of them.
pub async fn the_others_keep_their_pace(stage: &Stage, of: Loop, step: Duration) {
    let mut last = stage.passes().await;
    for period in 1..=PERIODS {
        let before = std::mem::replace(&mut last, stage.passes().await);
        stage.pass_time_by(step, PERIOD).await;
        let after = stage.passes().await;
        for (((other, before), last), after) in Loop::ALL.into_iter().zip(before).zip(last).zip(after) {
            // Sandboxes and logs wait for the loop before them, for a tenth of a period longer than a period.
            let alone = matches!(other, Loop::ContainerGc | Loop::ImageGc);
            let kept = if alone { after == last + 1 } else { period == 1 || after > before };
            assert!(other == of || kept, "{other} in period {period}: {before}, {last}, {after} passes");
        }
    }
}

/// Waits, by such steps, for `of`, which was repaired now, and checks that it takes a period at most.
pub async fn it_recovers_within_a_period(stage: &Stage, of: Loop, step: Duration) {
    let mut waited = Duration::ZERO;
    while stage.state(of).await.failures > 0 {
        assert!(waited < PERIOD, "it has not recovered: {:?}", stage.state(of).await);
        stage.step(step).await;
        waited += step;
        // A timer that is due at the same time as another is a millisecond late.
        stage.step(Duration::ZERO).await;
    }
}

/// What a broken loop has to log: so many passes, each of which failed in all of these ways.
pub struct Outage {
    pub of: Loop,
    pub texts: Vec<String>,
    /// Whether there is an object that could not be removed.
    pub object: bool,
}

impl Outage {
    fn events(&self, failures: u64) -> Vec<(EventKind, u64)> {
        let mut events = Vec::new();
        for number in lines::logged_numbers(failures) {
            if self.object {
                events.push((EventKind::RemovalFailed, number));
            }
            for text in &self.texts {
                if lines::is_lasting(text) {
                    events.extend(lines::lasting(number).map(|_| (EventKind::FreeDiskSpaceFailed, number)));
                } else if self.of != Loop::ImageGc || number > 1 {
                    // The first of image GC may be none.
                    events.push((EventKind::failed(self.of), number));
                }
            }
        }
        events
    }

    /// Runs the 50 periods on a service that is about to make its first passes, and what `repair` repairs.
    pub async fn runs_its_course(mut self, stage: Stage, repair: impl FnOnce(&Stage)) {
        let of = self.of;
        stage.step(SECOND).await;
        let first = stage.sim.now();
        the_others_keep_their_pace(&stage, of, STEP).await;
        let broken = stage.state(of).await;
        let (failures, since) = (broken.failures, broken.failing_since.unwrap());
        assert_eq!(broken.passes, failures, "every pass has failed");
        assert!(failures >= PERIODS / 2 && since <= first + 2 * PERIOD, "{broken:?}");
        let errors = broken.last.unwrap().errors.into_iter().map(|error| error.to_string());
        if let Some(needed) = errors.into_iter().find(|error| lines::is_lasting(error)) {
            self.texts.insert(0, needed);
        }

        repair(&stage);
        stage.settle().await;
        it_recovers_within_a_period(&stage, of, STEP).await;
        let (lasted, recovered) = (stage.sim.now().duration_since(since), stage.state(of).await);
        stage.pass_time(5 * PERIOD).await;

        let removals = (0..recovered.removed).map(|_| lines::removed(of));
        let total = failures * self.texts.len() as u64;
        let mut expected = lines::failed(of, &self.texts, failures);
        expected.extend(removals.chain([lines::recovered(of, total, lasted)]));
        let same = |lines: &[String]| lines.iter().map(|line| lines::unaccounted(line)).collect::<Vec<_>>();
        lines::assert_same(&same(&stage.lines.all()), &same(&expected));

        let mut expected = self.events(failures);
        expected.extend((0..recovered.removed).map(|_| (EventKind::Removed, 0)));
        expected.push((EventKind::Recovered, 0));
        assert_eq!(stage.event_kinds().await, expected);
    }
}

/// The words for an object that could not be removed.
pub fn stuck(of: Loop, id: &str, why: &str) -> String {
    let digits = id.trim_start_matches("sha256:");
    let object = match of {
        Loop::ContainerGc => format!("container could not be removed, ns/pod-1/app#0 ({})", &digits[..13]),
        Loop::SandboxGc => format!("sandbox could not be removed, ns/pod-2#0 ({})", &digits[..13]),
        Loop::LogGc => format!("log directory could not be removed, {id}"),
        Loop::ImageGc => format!("image could not be removed, docker.io/library/free:1 ({})", &digits[..13]),
    };
    format!("1 {object}: {why}")
}

/// Whether a call of that method is about an object that is to be removed.
fn is_removal(method: Method) -> bool {
    !matches!(method, Method::ListImages | Method::ImageFsInfo | Method::Status)
}

fn node_for(of: Loop, method: Method) -> (Setup, String) {
    if method == Method::PodSandboxStatus {
        // Asked only of a sandbox that is in no list of its pod.
        let setup = setup();
        let id = setup.replaced_sandbox_without_labels(2);
        return (setup, id);
    }
    let (setup, id) = node(of);
    if method == Method::StopContainer {
        setup.sim.set_container_state(&id, ContainerState::Unknown).unwrap();
    }
    (setup.set("container_gc.stop_timeout", "0s"), id)
}

/// `method`, which no other loop calls, is answered with an error.
async fn errs(of: Loop, method: Method, code: Code) {
    let (setup, id) = node_for(of, method);
    setup.sim.fault(method, Fault::error(code, "boom"), Scope::Always);
    let lead = if code == Code::Unavailable { "the runtime is not ready: " } else { "" };
    let error = format!("{method}: {lead}boom");
    let object = is_removal(method);
    let text = if object { stuck(of, &id, &error) } else { error };
    let outage = Outage { of, texts: vec![text], object };
    outage.runs_its_course(setup.start().await, Stage::clear_faults).await;
}

/// `method`, which no other loop calls, is not answered for that long.
async fn hangs(of: Loop, method: Method, timeout: u64) {
    let (setup, id) = node_for(of, method);
    let stage = setup.set("runtime.request_timeout", &format!("{timeout}s")).start().await;
    stage.hang(of, method, FOR_EVER, Duration::from_secs(timeout)).await;
    let error = format!("{method}: no answer within {}", duration(Duration::from_secs(timeout)));
    let object = is_removal(method);
    let text = if object { stuck(of, &id, &error) } else { error };
    Outage { of, texts: vec![text], object }.runs_its_course(stage, Stage::clear_faults).await;
}

/// `method` is not answered for longer than a pass may take.
async fn hangs_for_longer_than_a_pass(of: Loop, method: Method) {
    let (setup, _) = node_for(of, method);
    let stage = setup.set("runtime.request_timeout", "100s").set(&format!("{of}.deadline"), "40s");
    let stage = stage.start().await;
    stage.hang(of, method, FOR_EVER, 2 * STEP).await;
    let text = "the pass was stopped at its deadline of 40s; the next pass continues";
    let outage = Outage { of, texts: vec![text.to_owned()], object: false };
    outage.runs_its_course(stage, Stage::clear_faults).await;
}

/// Something else is put where a root of logs was.
async fn a_log_root_is_broken(
    root: impl Fn(&Stage) -> PathBuf,
    step: &str,
    break_root: impl Fn(&PathBuf),
    why: &str,
) {
    let stage = node(Loop::LogGc).0.start().await;
    let root = root(&stage);
    let moved = root.with_extension("away");
    fs::rename(&root, &moved).unwrap();
    break_root(&root);
    let text = format!("{step}: {}: {why}", root.display());
    let outage = Outage { of: Loop::LogGc, texts: vec![text], object: false };
    let repair = |_: &Stage| {
        fs::remove_file(&root).unwrap();
        fs::rename(&moved, &root).unwrap();
    };
    outage.runs_its_course(stage, repair).await;
}

macro_rules! tests {
    ($($name:ident: $run:expr;)+) => {
        $(#[actix_rt::test]
        async fn $name() {
            $run.await;
        })+
    };
}

mod an_error {
    use super::Code::{Internal, Unavailable, Unknown};
    use super::Loop::{ContainerGc, ImageGc, SandboxGc};
    use super::Method::*;
    use super::errs;

    tests! {
        of_remove_container: errs(ContainerGc, RemoveContainer, Unknown);
        of_stop_container: errs(ContainerGc, StopContainer, Internal);
        of_pod_sandbox_status: errs(SandboxGc, PodSandboxStatus, Internal);
        of_stop_pod_sandbox: errs(SandboxGc, StopPodSandbox, Unknown);
        of_remove_pod_sandbox: errs(SandboxGc, RemovePodSandbox, Unknown);
        of_list_images: errs(ImageGc, ListImages, Unknown);
        of_image_fs_info: errs(ImageGc, ImageFsInfo, Internal);
        of_status: errs(ImageGc, Status, Unknown);
        of_remove_image: errs(ImageGc, RemoveImage, Internal);
        of_remove_container_that_is_not_ready: errs(ContainerGc, RemoveContainer, Unavailable);
        of_stop_pod_sandbox_that_is_not_ready: errs(SandboxGc, StopPodSandbox, Unavailable);
        of_list_images_that_is_not_ready: errs(ImageGc, ListImages, Unavailable);
        of_remove_image_that_is_not_ready: errs(ImageGc, RemoveImage, Unavailable);
    }
}

mod no_answer {
    use super::Loop::{ContainerGc, ImageGc, SandboxGc};
    use super::Method::*;
    use super::{hangs, hangs_for_longer_than_a_pass};

    tests! {
        to_remove_container: hangs(ContainerGc, RemoveContainer, 20);
        to_stop_container: hangs(ContainerGc, StopContainer, 20);
        to_pod_sandbox_status: hangs(SandboxGc, PodSandboxStatus, 20);
        to_stop_pod_sandbox: hangs(SandboxGc, StopPodSandbox, 20);
        to_remove_pod_sandbox: hangs(SandboxGc, RemovePodSandbox, 20);
        to_list_images: hangs(ImageGc, ListImages, 20);
        to_image_fs_info: hangs(ImageGc, ImageFsInfo, 20);
        to_status: hangs(ImageGc, Status, 20);
        to_remove_image: hangs(ImageGc, RemoveImage, 20);
        for_longer_than_a_period_to_remove_container: hangs(ContainerGc, RemoveContainer, 100);
        for_longer_than_a_period_to_stop_pod_sandbox: hangs(SandboxGc, StopPodSandbox, 100);
        for_longer_than_a_period_to_list_images: hangs(ImageGc, ListImages, 100);
        for_longer_than_a_pass_to_remove_container: hangs_for_longer_than_a_pass(ContainerGc, RemoveContainer);
        for_longer_than_a_pass_to_remove_pod_sandbox: hangs_for_longer_than_a_pass(SandboxGc, RemovePodSandbox);
        for_longer_than_a_pass_to_remove_image: hangs_for_longer_than_a_pass(ImageGc, RemoveImage);
    }
}

mod a_log_root {
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    use super::{Stage, a_log_root_is_broken, fs};

    const DIRECTORIES: &str = "could not list log directories";
    const NO_DIRECTORY: &str = "Not a directory (os error 20)";
    const A_LOOP: &str = "Too many levels of symbolic links (os error 40)";

    fn pods(stage: &Stage) -> PathBuf {
        stage.sim.paths().pod_logs_root.clone()
    }

    fn legacy(stage: &Stage) -> PathBuf {
        stage.sim.paths().legacy_root.clone()
    }

    fn file(root: &PathBuf) {
        fs::write(root, "a file").unwrap();
    }

    fn link_to_itself(root: &PathBuf) {
        symlink(root, root).unwrap();
    }

    tests! {
        that_is_a_file: a_log_root_is_broken(pods, DIRECTORIES, file, NO_DIRECTORY);
        that_cannot_be_read: a_log_root_is_broken(pods, DIRECTORIES, link_to_itself, A_LOOP);
        of_links_that_is_a_file: a_log_root_is_broken(legacy, "could not list log links", file, NO_DIRECTORY);
    }
}

#[actix_rt::test]
async fn a_server_without_cri_is_reported_with_what_to_do() {
    let setup = Setup::new();
    let unknown = "unknown service runtime.v1.RuntimeService";
    setup.sim.fault(Method::ListPodSandbox, Fault::error(Code::Unimplemented, unknown), Scope::Always);
    let stage = setup.start().await;
    stage.step(SECOND).await;
    let lines = stage.lines.all();
    let expected = "ERRO container_gc pass failed: ListPodSandbox: the runtime does not know the method: unknown service \
                    runtime.v1.RuntimeService; the server on that socket speaks gRPC but not CRI v1; set runtime.endpoint";
    assert!(lines.iter().any(|line| line.starts_with(expected)), "{lines:#?}");
}
