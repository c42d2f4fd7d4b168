//! behaviour: Re-check before removal, where time is what matters: between the last check and a removal, and between one life of the
//! service and the next.
//!
//! The race is run for real, on a containerd. Who was first is not guessed from pauses: the service reports when it began each
//! RPC (at level trace), the test when each of its own was answered, both by the same clock, and the two are compared
//! afterwards. What is forced to happen in between is shown on the embedded runtime, in `images` and in
//! `actors/tests/actors/image_gc.rs`.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use cri_gc::logging::JsonLines;
use cri_gc::wiring::{Seams, Service, Start};
use cri_gc_config::{FileSource, LogLevel, Sources, load};
use cri_gc_images::store::Store;
use cri_gc_images::{Home, Observed, Origin, Record};
use cri_gc_kit::generation::Generation;
use cri_gc_kit::seams::{Clock, LogThreshold};
use cri_gc_kit::supervision::threads::Threads;
use cri_gc_service::admin::Groups;
use cri_gc_test_support::{ContainerSpec, Pod};
use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use rustix::process::Signal;
use serde_json::{Value, json};
use slog::{Drain, Logger, o};
use tokio::sync::oneshot;

use crate::node::{Node, image};
use crate::program::{self, Running};
use crate::running_service::status;
use crate::service_commands::{ask, json as answer, succeeded};

on_both!(a_restart_makes_no_image_younger_and_none_older);

// ---- A container that is created while its image is removed ----

const ROUNDS: usize = 15;
/// Images of a round that get a container while the pass continues; one more gets its container before.
const RACING: usize = 3;

/// A service in this process, on the clock and the disk of the machine. Its log loses no line; that of the binary drops
/// records rather than let anything wait for it, and at level trace there are many.
struct Inside {
    log: Log,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Inside {
    fn start(node: &Node) -> Self {
        let sources = Sources { file: FileSource::None, env: Vec::new(), overrides: node.settings() };
        let loaded = load(&sources).unwrap();
        let (stop, stopped) = oneshot::channel();
        let log = Log::default();
        let lines = log.clone();
        let serve = async move {
            let seams = Seams::system();
            let generation = Generation::first(loaded, seams.clock.now());
            let settings = Arc::clone(&generation.settings);
            let service = Service::start(Start {
                generation,
                sources,
                cannot: |_| None,
                seams,
                home: Home::Memory,
                threads: Threads::own(),
                stagger: Duration::ZERO,
                threshold: LogThreshold::new(LogLevel::Trace),
                log: Logger::root(JsonLines::new(lines).fuse(), o!()),
            });
            let service = service.unwrap();
            let admin = service.admin(&settings, Groups::default()).unwrap();
            // It shuts down too when the test fails.
            let _ = stopped.await;
            futures_util::join!(service.finish(), admin.stop());
            service.stop();
        };
        let thread = std::thread::spawn(|| actix::System::new().block_on(serve));
        Self { log, stop, thread }
    }

    /// Shuts it down. Returns all that it has logged.
    fn stop(self) -> String {
        self.stop.send(()).unwrap();
        self.thread.join().unwrap();
        String::from_utf8(self.log.0.lock().unwrap().clone()).unwrap()
    }
}

/// An RPC of the service, as it was logged.
struct Rpc {
    method: String,
    id: String,
    began: Timestamp,
    code: String,
}

/// All RPCs that a log reports, in the order in which they began.
fn rpcs(log: &str) -> Vec<Rpc> {
    let records = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let rpc = |record: Value| {
        let text = |field: &str| record[field].as_str().unwrap().to_owned();
        let began = text("began").parse().unwrap();
        Rpc { method: text("method"), id: text("id"), began, code: text("code") }
    };
    let mut all: Vec<Rpc> = records.filter(|record| record["msg"] == "rpc").map(rpc).collect();
    all.sort_by_key(|rpc| rpc.began);
    all
}

/// How a container came to its image, or did not.
struct Made {
    image: String,
    /// Id of the image, and when CreateContainer had returned, if it succeeded.
    id: String,
    created_at: Option<Timestamp>,
    /// Whether the image is removed after the pass.
    gone: bool,
}

#[tokio::test]
async fn an_image_is_removed_only_if_its_container_came_after_the_last_check() {
    let name = "an_image_is_removed_only_if_its_container_came_after_the_last_check";
    let Some(mut node) = crate::containerd::node(name) else { return };
    for section in ["container_gc", "sandbox_gc", "log_gc"] {
        node.set(&format!("{section}.mode"), "off");
    }
    // Passes are made when the test requests one. Everything that may be removed has to be, one image after the other.
    node.set("image_gc.mode", "enforce").set("image_gc.pressure_poll", "0s").set("image_gc.min_age", "0s");
    node.set("image_gc.high_threshold_percent", 0).set("image_gc.low_threshold_percent", 0);
    node.set("image_gc.parallel_removals", 1);
    let pod = node.pod("racer").await;
    let service = Inside::start(&node);
    status(&node, |s| s.loops.len() == 4 && s.loops[3].passes > 0).await;

    // How long such a round takes, so that the containers come all over it.
    let whole = round(&node, &pod, 0, None).await.1;
    let mut all = Vec::new();
    for number in 1..=ROUNDS {
        all.extend(round(&node, &pod, number, Some(whole)).await.0);
    }
    let log = service.stop();
    let rpcs = rpcs(&log);

    let (mut saved, mut too_late, mut refused, mut crossed) = (0, 0, 0, Vec::new());
    for made in &all {
        let Some(created_at) = made.created_at else {
            assert!(made.gone, "{} is there, and no container could be made of it", made.image);
            refused += 1;
            continue;
        };
        if !made.gone {
            saved += 1;
            continue;
        }
        too_late += 1;
        let removal = rpcs.iter().position(|rpc| rpc.method == "RemoveImage" && rpc.id == made.id);
        let removal = removal.unwrap_or_else(|| {
            panic!("{} is removed, and no removal is logged; of {}", made.image, rpcs.len())
        });
        let list = rpcs[..removal].iter().rev().find(|rpc| rpc.method == "ListContainers").unwrap();
        assert_eq!((list.code.as_str(), rpcs[removal].code.as_str()), ("Ok", "Ok"));
        assert!(
            created_at >= list.began,
            "{} was removed at {} after a check at {}, and its container was there at {created_at}",
            made.image,
            rpcs[removal].began,
            list.began
        );
        crossed.push((created_at.duration_since(list.began), rpcs[removal].began.duration_since(list.began)));
    }
    crossed.sort();
    eprintln!(
        "race: a round of {whole:?}; of {} images {saved} were saved by their containers, {refused} gone before, \
         {too_late} removed under a container that came after the last check: {crossed:?} (container created, removal requested, \
         both after the check)",
        all.len(),
    );
    // Each removal has a check of its own. (Images are also listed for a status whose client has its answer already.)
    let steps = ["ListContainers", "RemoveImage"];
    let steps: Vec<&Rpc> = rpcs.iter().filter(|rpc| steps.contains(&rpc.method.as_str())).collect();
    let removals = steps.windows(2).filter(|two| two[1].method == "RemoveImage");
    // One round had no containers.
    assert!(removals.clone().count() > RACING + 1, "a race needs two: {saved} of {} were saved", all.len());
    for two in removals {
        assert_eq!(two[0].method, "ListContainers", "before {} at {}", two[1].id, two[1].began);
    }
}

/// Brings images, has a pass made, and makes containers meanwhile, spread over the time that a round takes; without that time,
/// none. Gives what became of them, and how long it took.
async fn round(node: &Node, pod: &Pod, number: usize, whole: Option<Duration>) -> (Vec<Made>, Duration) {
    let names: Vec<String> = (0..=RACING).map(|of| format!("race:{number}-{of}")).collect();
    for name in &names {
        node.runtime.add_image(&[name], 0);
    }
    let before = node.inventory().await;
    let make = async |of: usize, after: Duration| {
        tokio::time::sleep(after).await;
        let spec = ContainerSpec::sleeper(&format!("round-{number}-{of}"), &image(&names[of]));
        let made = node.cri.create(pod, &spec).await;
        (made.ok(), Timestamp::now())
    };
    let mut made = Vec::new();
    if whole.is_some() {
        made.push(make(0, Duration::ZERO).await);
    }
    let socket = node.path("admin.sock").display().to_string();
    let command = ["run-now", "images", "--socket", &socket, "-o", "json"].map(str::to_owned);
    let began = Instant::now();
    let pass = program::start(&command, None);
    if let Some(whole) = whole {
        // Each at another moment, and over all rounds at every moment.
        let share = |of: usize| (number * RACING + of) as f64 * 0.618_034 % 1.0;
        made.extend(join_all((1..=RACING).map(|of| make(of, whole.mul_f64(share(of))))).await);
    }
    let ended = pass.wait();
    let took = began.elapsed();
    assert!(ended.stdout.contains("\"ended\""), "{ended:?}");

    let after = node.inventory().await;
    let result = |(of, (id, created_at)): (usize, &(Option<String>, Timestamp))| {
        let name = format!("image {}", names[of]);
        Made {
            id: before.id(&name).to_owned(),
            created_at: id.as_ref().map(|_| *created_at),
            gone: !after.has(&name),
            image: name,
        }
    };
    let results: Vec<Made> = made.iter().enumerate().map(result).collect();
    if let Some(used) = results.first() {
        assert!(!used.gone && used.created_at.is_some(), "{} was in use before the pass began", used.image);
    }
    for id in made.iter().filter_map(|(id, _)| id.as_ref()) {
        node.cri.remove(id).await.unwrap();
    }
    for name in names.iter().filter(|name| after.has(&format!("image {name}"))) {
        node.cri.remove_image(&image(name)).await.unwrap();
    }
    (results, took)
}

// ---- One life of the service, and the next ----

/// How old the record of an image is to be.
pub struct Age {
    first_detected: SignedDuration,
    last_used: Option<SignedDuration>,
}

impl Age {
    /// First seen so many hours ago, and last used so many.
    pub fn hours(first_detected: i64, last_used: Option<i64>) -> Self {
        let (first_detected, last_used) =
            (SignedDuration::from_hours(first_detected), last_used.map(SignedDuration::from_hours));
        Self { first_detected, last_used }
    }
}

/// Writes records of that age for images, as a service of hours ago would have. No service may run now.
pub async fn remember(node: &Node, images: &[&str], age: Age) {
    let (there, clock) = (node.inventory().await, Clock::system());
    let moment = clock.moment();
    let now = moment.wall();
    let record = |name: &&str| {
        let record = Record {
            first_detected: now - age.first_detected,
            last_used: age.last_used.map(|ago| now - ago),
            size_bytes: 0,
            pinned: false,
            absent_at: None,
        };
        ((there.id(&format!("image {name}")).to_owned(), String::new()), record)
    };
    let state = node.path("state");
    std::fs::create_dir_all(&state).unwrap();
    let mut store = Store::of(&state, Origin::default());
    let mut content = store.open().unwrap().content;
    content.images.extend(images.iter().map(record));
    // Without that the clock would have to be taken for one that was set since.
    content.observed = Some(Observed::new(moment, clock.boot_id()));
    store.commit(content).unwrap();
}

/// When an image was first seen, as a snapshot of the node says.
fn first_detected(node: &Node, name: &str) -> String {
    let snapshot = answer(&succeeded(node.run_program(&["snapshot"], None)));
    let images = snapshot["images"].as_array().unwrap();
    let named = |known: &&Value| known["repo_tags"].as_array().unwrap().contains(&json!(image(name)));
    images.iter().find(named).unwrap()["first_detected"].as_str().unwrap().to_owned()
}

/// Starts a service, and waits until it has made its first pass of images. It makes no second one soon.
async fn live(node: &Node) -> Running {
    let running = program::start(&node.arguments(&["run"]), None);
    let now = status(node, |s| s.loops.len() == 4 && s.loops[3].passes > 0).await;
    let images = &now.loops[3];
    assert_eq!((images.passes, images.last_pass.as_ref().unwrap().trigger.as_str()), (1, "start"));
    running
}

async fn a_restart_makes_no_image_younger_and_none_older(node: &mut Node) {
    let web = node.pod("web").await;
    node.running(&web, "main").await;
    for name in ["young:1", "old:1"] {
        node.runtime.add_image(&[name], 0);
    }
    node.set("image_gc.mode", "enforce").set("image_gc.pressure_poll", "0s").set("log.format", "json");
    node.set("image_gc.min_age", "1h").set("image_gc.max_age", "2h");
    // The disk needs the removal of all of them.
    node.set("image_gc.high_threshold_percent", 0).set("image_gc.low_threshold_percent", 0);
    let before = node.inventory().await;
    let explain = |name: &str| {
        let explained = answer(&succeeded(ask(node, &["explain", &image(name), "-o", "json"])));
        explained["objects"][0]["reason"].as_str().unwrap().to_owned()
    };

    let running = live(node).await;
    let seen = first_detected(node, "young:1");
    assert_eq!((explain("young:1"), explain("old:1")), ("too_young".to_owned(), "too_young".to_owned()));
    // It crashes.
    running.signal(Signal::KILL);
    running.wait();
    assert!(before.removed_in(&node.inventory().await).is_empty());

    remember(node, &["old:1"], Age::hours(5, Some(3))).await;
    let running = live(node).await;
    let removed = before.removed_in(&node.inventory().await);
    assert_eq!(removed, BTreeSet::from(["image old:1".to_owned()]), "at the first pass");
    let events = succeeded(ask(node, &["events", "-o", "json"])).stdout;
    assert!(events.lines().any(|event| event.contains("unused_too_long")), "{events}");
    assert_eq!(first_detected(node, "young:1"), seen, "after a crash");
    assert_eq!(explain("young:1"), "too_young");
    running.terminate();
    assert_eq!(running.wait().code, 0);

    let running = live(node).await;
    assert_eq!(first_detected(node, "young:1"), seen, "after a stop");
    assert_eq!(explain("young:1"), "too_young");
    running.terminate();
    assert_eq!(running.wait().code, 0);
    assert_eq!(before.removed_in(&node.inventory().await), removed);
}
