//! What the service remembers of images survives its death at any moment, in the middle of a commit too.
//!
//! The program's own binary serves the embedded node while images and the containers that use them come and go, and while
//! the admin socket has it make pass after pass, so that it commits all the time. Then SIGKILL: right after the start (a
//! store is just being opened and repaired), between two answers, or as soon as a thread of it is in a system call on the
//! store. What is on the disk afterwards is compared with what was there before and with what the service had answered.
//!
//! Ten kills by default. All 200 of the acceptance test, about a minute:
//!
//! ```text
//! CRI_GC_TEST_KILLS=200 cargo test --test e2e crashes -- --nocapture
//! ```
//!
//! `CRI_GC_TEST_SEED` draws other moments. Whatever they are, what is asserted has to be true: nothing here depends on how
//! long the machine takes.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::time::{Duration, Instant};

use cri_gc_images::store;
use cri_gc_images::{Content, Origin, Record};
use cri_gc_proto::admin::admin_client::AdminClient;
use cri_gc_proto::admin::{Pass, RunNowRequest, pass_update::What};
use cri_gc_sim::{ContainerSpec, ContainerState, ImageSpec, Options, Sim};
use fastrand::Rng;
use jiff::Timestamp;
use rustix::process::Signal;
use serde_json::Value;
use tokio::sync::watch;
use tonic::transport::{Channel, Endpoint};

use crate::node::Node;
use crate::program::Running;
use crate::running_service::serve;

/// How long the service may take for a few answers on a machine however busy.
const PATIENCE: Duration = Duration::from_secs(90);

/// Images that appear and disappear.
const IMAGES: usize = 16;

/// Dead containers that are left for the service to collect. It seldom lives long enough.
const DEAD: usize = 32;

/// The node's clock advances by this with each change.
const TICK: Duration = Duration::from_micros(100);

/// A number that the environment may give.
pub fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

/// An image of the node, by the clock of this machine.
struct Life {
    number: usize,
    /// Since when it is there.
    there: Option<Timestamp>,
    /// Since when it is not.
    gone: Option<Timestamp>,
    /// It is known that nothing of it is on the disk.
    forgotten: bool,
    /// It came when nothing was remembered of it any more: it was not seen before.
    not_before: Timestamp,
    /// The container that uses it, and since when.
    container: Option<(String, Timestamp)>,
    known: Known,
}

/// What is known to be on the disk about an image until it is removed.
#[derive(Debug, Default)]
struct Known {
    /// It has been read there.
    first_detected: Option<Timestamp>,
    /// The service has answered after it had seen the image.
    first_detected_by: Option<Timestamp>,
    /// It has been read there, or the service has answered after it had seen it used.
    last_used: Option<Timestamp>,
}

/// The node as the test knows it.
struct Truth {
    sim: Sim,
    pod: String,
    rng: Rng,
    attempt: u32,
    dead: VecDeque<String>,
    images: BTreeMap<String, Life>,
}

impl Truth {
    fn new(sim: Sim, pod: String, seed: u64) -> Self {
        let begun = Timestamp::now();
        let life = |number| Life {
            number,
            there: None,
            gone: Some(begun),
            forgotten: true,
            not_before: begun,
            container: None,
            known: Known::default(),
        };
        let images = (0..IMAGES).map(|number| (format!("sha256:{number:064x}"), life(number))).collect();
        Self { sim, pod, rng: Rng::with_seed(seed), attempt: 0, dead: VecDeque::new(), images }
    }

    /// Something happens on the node: an image, or a container that uses one, appears or disappears.
    fn change(&mut self) {
        self.sim.advance(TICK);
        let number = self.rng.usize(0..IMAGES);
        let often = self.rng.u8(0..10);
        let (id, life) = self.images.iter_mut().nth(number).unwrap();
        let tag = format!("cri-gc.test/churn:{number}");
        match (&life.there, &life.container) {
            (None, _) => {
                let before = Timestamp::now();
                self.sim.add_image(ImageSpec::single(tag, size(number), 1).id(id));
                // If it is still remembered, it may count as the one that it was.
                if std::mem::take(&mut life.forgotten) {
                    life.not_before = before;
                }
                (life.there, life.gone, life.known) = (Some(Timestamp::now()), None, Known::default());
            }
            (Some(_), Some(_)) => {
                let (container, _) = life.container.take().unwrap();
                self.sim.set_container_state(&container, ContainerState::Exited).unwrap();
                self.dead.push_back(container);
            }
            (Some(_), None) if often < 3 => {
                (life.there, life.known) = (None, Known::default());
                self.sim.with(|node| node.remove_image(id)).unwrap();
                life.gone = Some(Timestamp::now());
            }
            (Some(_), None) => {
                self.attempt += 1;
                let spec = ContainerSpec::new(&self.pod, format!("job-{number}")).attempt(self.attempt);
                let container = self.sim.add_container(spec.image(tag).no_log()).unwrap();
                life.container = Some((container, Timestamp::now()));
            }
        }
        if self.dead.len() > DEAD {
            // The service may have removed it.
            let _ = self.dead.pop_front().map(|oldest| self.sim.with(|node| node.remove_container(&oldest)));
        }
    }

    /// The service has answered a question, and has checked everything for it. What appeared, disappeared or was used before `settled` is
    /// the same to every observation that may still have been in progress then. A use that another loop has just noted is not noted
    /// again, so that of the question itself may not be there.
    fn answered(&mut self, settled: Timestamp) {
        let now = Timestamp::now();
        for life in self.images.values_mut() {
            life.forgotten |= life.gone.is_some_and(|gone| gone < settled);
            if life.there.is_some_and(|there| there < settled) {
                life.known.first_detected_by.get_or_insert(now);
                if life.container.as_ref().is_some_and(|(_, since)| *since < settled) {
                    life.known.last_used = life.known.last_used.max(Some(settled));
                }
            }
        }
    }

    /// Compares what is on the disk with all that is known of it, and takes it as known from then on, for images that
    /// have been there since before `settled`.
    fn compare(&mut self, disk: &Content, settled: Timestamp) {
        for (id, handler) in disk.images.keys() {
            assert_eq!(handler, "", "{id}");
        }
        for (id, life) in &mut self.images {
            let record = disk.images.get(&(id.clone(), String::new()));
            let says = format!("image {}: {record:?} on the disk, {:?} known", life.number, life.known);
            if life.there.is_none() {
                assert!(!life.forgotten || record.is_none(), "it was removed, and known to be: {says}");
                continue;
            }
            let Known { first_detected, first_detected_by, last_used } = &mut life.known;
            let Some(record) = record else {
                assert!(first_detected.is_none() && first_detected_by.is_none(), "it is missing: {says}");
                continue;
            };
            sound(record, life.number);
            assert!(record.first_detected >= life.not_before, "by a record of another: {says}");
            assert!(first_detected.is_none_or(|first| first == record.first_detected), "another age: {says}");
            assert!(
                first_detected_by.is_none_or(|by| record.first_detected <= by),
                "not as answered: {says}"
            );
            assert!(record.last_used >= *last_used, "a use is missing: {says}");
            if life.there.is_some_and(|there| there < settled) {
                *first_detected = Some(record.first_detected);
                *last_used = record.last_used;
            }
        }
    }
}

/// Bytes that the runtime reports for an image: each has its own.
fn size(number: usize) -> u64 {
    (1 + number as u64) << 20
}

#[track_caller]
fn sound(record: &Record, number: usize) {
    let now = Timestamp::now();
    assert!(record.first_detected <= now && record.last_used.is_none_or(|used| used <= now), "{record:?}");
    assert_eq!((record.size_bytes, record.pinned), (size(number), false), "{record:?}");
}

/// What was done, for people.
#[derive(Debug, Default)]
struct Tally {
    kills: u64,
    /// Answers of the service to questions for which it checks everything.
    answers: u64,
    /// How often the store changed while it was read, with the service running.
    observations: u64,
    torn_observations: u64,
    /// In which system call on the store a thread was found right before a kill, by the number of the call.
    calls: BTreeMap<String, u64>,
}

/// When a service is killed.
#[derive(Debug)]
enum Moment {
    /// So long after its start.
    Early(Duration),
    /// So long after it has answered so many times.
    Between(u64, Duration),
    /// Once it has answered so many times, when it is in a system call on the store.
    Commit(u64),
}

impl Moment {
    fn draw(rng: &mut Rng) -> Self {
        match rng.u8(0..10) {
            0..2 => Self::Early(Duration::from_millis(rng.u64(0..250))),
            2..5 => Self::Between(rng.u64(1..6), Duration::from_micros(rng.u64(0..20_000))),
            _ => Self::Commit(rng.u64(0..6)),
        }
    }

    /// Waits for it, and says which system call on the store was seen then.
    async fn come(self, service: &Running, mut answers: watch::Receiver<u64>) -> Option<String> {
        match self {
            Self::Early(after) => tokio::time::sleep(after).await,
            Self::Between(count, after) => {
                until(service, &mut answers, count).await;
                tokio::time::sleep(after).await;
            }
            Self::Commit(count) => {
                until(service, &mut answers, count).await;
                // Where the kernel does not show it, the service is killed at any moment.
                let begun = Instant::now();
                while begun.elapsed() < Duration::from_secs(5) {
                    if let Some(call) = call_on_store(service.id()) {
                        return Some(call);
                    }
                    tokio::task::yield_now().await;
                }
            }
        }
        call_on_store(service.id())
    }
}

async fn until(service: &Running, answers: &mut watch::Receiver<u64>, count: u64) {
    let come = tokio::time::timeout(PATIENCE, answers.wait_for(|answers| *answers >= count)).await;
    assert!(come.is_ok(), "the service does not answer: {}", service.stderr());
}

/// In which system call on the store a thread of that process is: one whose first argument is the descriptor of the file.
fn call_on_store(process: u32) -> Option<String> {
    let root = format!("/proc/{process}");
    let is_store = |entry: &fs::DirEntry| {
        fs::read_link(entry.path()).is_ok_and(|target| target.ends_with("state/images.redb"))
    };
    let descriptor = fs::read_dir(format!("{root}/fd")).ok()?.flatten().find(is_store)?;
    let number: u32 = descriptor.file_name().to_str()?.parse().ok()?;
    let argument = format!("{number:#x}");
    let calls = fs::read_dir(format!("{root}/task")).ok()?.flatten().filter_map(|thread| {
        let text = fs::read_to_string(thread.path().join("syscall")).ok()?;
        let mut words = text.split_whitespace();
        let call = words.next()?.to_owned();
        (words.next()? == argument).then_some(call)
    });
    calls.into_iter().next()
}

/// Lets things happen on the node, for as long as it is polled.
async fn churn<T>(truth: &RefCell<Truth>) -> T {
    loop {
        truth.borrow_mut().change();
        let pause = Duration::from_micros(truth.borrow_mut().rng.u64(0..3_000));
        tokio::time::sleep(pause).await;
    }
}

/// Asks the service again and again, for as long as it is polled: for a pass of image GC, which waits for one in progress, and for
/// one more. Both observe everything, and are answered once what they saw is on the disk.
async fn ask<T>(
    node: &Node,
    truth: &RefCell<Truth>,
    tally: &RefCell<Tally>,
    answers: watch::Sender<u64>,
) -> T {
    let endpoint = Endpoint::try_from(format!("unix://{}", node.path("admin.sock").display())).unwrap();
    let channel = loop {
        match endpoint.connect().await {
            Ok(channel) => break channel,
            // It is just starting.
            Err(_) => tokio::time::sleep(Duration::from_millis(2)).await,
        }
    };
    let mut settled = None;
    loop {
        let begun = Timestamp::now();
        if cycle(AdminClient::new(channel.clone())).await.is_none() {
            continue;
        }
        if let Some(settled) = settled {
            truth.borrow_mut().answered(settled);
            tally.borrow_mut().observations += 1;
            match store::read_copy(&node.path("state"), &Origin::default()) {
                Ok(disk) => truth.borrow_mut().compare(&disk, settled),
                // It was read in the middle of a commit.
                Err(_) => tally.borrow_mut().torn_observations += 1,
            }
        }
        settled = Some(begun);
        tally.borrow_mut().answers += 2;
        answers.send_modify(|count| *count += 1);
    }
}

/// Two passes; `None` if the service could not observe everything yet.
async fn cycle(mut client: AdminClient<Channel>) -> Option<()> {
    let first = pass(&mut client).await?;
    let second = pass(&mut client).await?;
    (first.errors.is_empty() && second.errors.is_empty()).then_some(())
}

async fn pass(client: &mut AdminClient<Channel>) -> Option<Pass> {
    let pass = RunNowRequest { loops: vec!["image_gc".to_owned()], confirm_deleted: false };
    let mut updates = client.run_now(pass).await.ok()?.into_inner();
    let mut ended = None;
    while let Some(update) = updates.message().await.ok()? {
        if let Some(What::Ended(pass)) = update.what {
            ended = Some(pass);
        }
    }
    ended
}

/// What is on the disk now that the service is dead.
fn left_over(node: &Node, log: &str) -> Content {
    assert!(!log.contains("image records"), "it had trouble with its store: {log}");
    assert!(!node.path("state/images.redb.set-aside").exists(), "the store was set aside: {log}");
    store::read_copy(&node.path("state"), &Origin::default()).unwrap_or_else(|error| panic!("{error}: {log}"))
}

/// One-shot commands read what a dead service has left, as it is.
fn compare_snapshot_with_disk(node: &Node, disk: &Content) {
    let ended = node.run_program(&["snapshot", "--output", "json"], None);
    let snapshot: Value = serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{ended:?}"));
    for image in snapshot["images"].as_array().unwrap() {
        let key = (image["id"].as_str().unwrap().to_owned(), String::new());
        let Some(record) = disk.images.get(&key) else { continue };
        let first_detected: Timestamp = image["first_detected"].as_str().unwrap().parse().unwrap();
        assert_eq!(first_detected, record.first_detected, "{image}");
    }
}

#[tokio::test]
async fn a_kill_at_any_moment_loses_no_record() {
    let (kills, seed) = (setting("CRI_GC_TEST_KILLS", 10), setting("CRI_GC_TEST_SEED", 1));
    let begun = Instant::now();
    let (mut node, sim) = crate::embedded::node_and_sim(Options::default());
    let pod = node.pod("web").await;
    let truth = RefCell::new(Truth::new(sim, pod.id, seed));
    let (tally, mut rng) = (RefCell::new(Tally::default()), Rng::with_seed(seed));
    for kill in 0..kills {
        // The first one creates the store: before that there is nothing to lose.
        let moment = if kill == 0 { Moment::Between(1, Duration::ZERO) } else { Moment::draw(&mut rng) };
        let service = serve(&mut node);
        let (answers, count) = watch::channel(0);
        let call = tokio::select! {
            biased;
            call = moment.come(&service, count) => call,
            never = churn(&truth) => never,
            never = ask(&node, &truth, &tally, answers) => never,
        };
        service.signal(Signal::KILL);
        let ended = service.wait();
        assert_eq!(ended.code, -1, "it was alive until then: {ended:?}");
        let disk = left_over(&node, &ended.stderr);
        // No observation is made any more: what is there now is there at the next observation, unless it is removed.
        truth.borrow_mut().compare(&disk, Timestamp::MAX);
        if kill % 10 == 0 {
            compare_snapshot_with_disk(&node, &disk);
        }
        let mut tally = tally.borrow_mut();
        tally.kills += 1;
        *tally.calls.entry(call.unwrap_or_else(|| "none".to_owned())).or_default() += 1;
    }
    // The last one ends as it should.
    let service = serve(&mut node);
    let (answers, mut count) = watch::channel(0);
    tokio::select! {
        biased;
        () = until(&service, &mut count, 3) => {}
        never = churn(&truth) => never,
        never = ask(&node, &truth, &tally, answers) => never,
    }
    service.terminate();
    let ended = service.wait();
    assert_eq!(ended.code, 0, "{ended:?}");
    truth.borrow_mut().compare(&left_over(&node, &ended.stderr), Timestamp::MAX);
    println!("{:?}; {:?}", begun.elapsed(), tally.borrow());
}
