//! What must never happen (behaviour: Never removed), checked on the model at every call that stops or removes something, and on the log
//! directories whenever time has passed.
//!
//! - [`rules`]: when an object may be removed. [`pods`]: when its pod is gone. [`files`]: the log directories.
//!
//! Between the last answer that the service got about an object and its removal, others may change that object, and no client of a runtime
//! can prevent it: such a change excuses a removal for [`EXCUSED`], unless the service has asked about it since ([`State::answered`]).

mod files;
mod pods;
mod rules;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cri_gc_config::{Mode, PodSource, Settings};
use cri_gc_kit::words::{Loop, LoopSettings};
use cri_gc_proto::RUNTIME_MESSAGE_LIMIT;
use cri_gc_sim::{Method, Node, Sim};
use jiff::Timestamp;
use parking_lot::Mutex;

use crate::story::Story;

pub use files::is_uid;
pub use pods::{Phase, Version, is_old};
pub use rules::{DISK, is_protected, uses};

/// How long after its last check something may still be removed (behaviour: Re-check before removal), with the time of the removal.
const EXCUSED: Duration = Duration::from_secs(6);

/// How long a pass may last.
const PASS: Duration = Duration::from_secs(600);

/// What was changed of an object, and so what has to be asked to notice it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// A container: of that id, of a pod or sandbox, or one that uses an image.
    Container,
    /// A sandbox, also as one of its pod.
    Sandbox,
    /// The names or pins of an image, or the room on the disk.
    Image,
}

/// The judge of a run. Clones are the same one.
#[derive(Clone)]
pub struct Judge(Arc<Mutex<State>>);

struct State {
    sim: Sim,
    story: Story,
    source: PodSource,
    /// Those in force, the newest last, and since when.
    settings: Vec<(Duration, Arc<Settings>)>,
    life: Life,
    /// By id, UID or image: what was changed last, when, and whether the service knows it by an answer.
    changes: HashMap<String, (Change, Duration, bool)>,
    /// When each object came to the node, and when each container ended.
    appeared: HashMap<String, Duration>,
    ended: HashMap<String, Duration>,
    /// The lists of pods that were written.
    versions: Vec<Version>,
    /// Between which times each pod was seen ready.
    ready: HashMap<String, (Duration, Duration)>,
    /// When each image was last used by a container, as of the last list of containers.
    used: HashMap<String, Duration>,
    /// When the wall clock was set.
    clock_set: Option<Duration>,
    /// Until when the runtime may answer late.
    slow_until: Duration,
    /// Until when the runtime may say something odd of its objects: when they were made, what they are called.
    odd_until: Duration,
    /// Whether something had to be listed in parts.
    has_long_lists: bool,
    /// When each loop was paused.
    paused: HashMap<Loop, Duration>,
    /// Containers in an unknown state that were stopped.
    stopped: HashSet<String>,
    /// The log directories that there were, and the logs of what ran.
    directories: BTreeMap<String, Duration>,
    /// How long ago what is judged may have happened: it was found by a look at the files.
    since_look: Duration,
    logs: Vec<(String, PathBuf)>,
    violations: Vec<String>,
    removed: [u64; 4],
}

/// What one process of the service has done.
#[derive(Default)]
struct Life {
    since: Duration,
    /// The lists that were answered.
    lists: HashSet<Method>,
    /// Whether it has shut down.
    finished: bool,
}

impl Judge {
    /// A judge that watches from now on.
    pub fn of(sim: &Sim, story: &Story, source: PodSource) -> Self {
        let state = State {
            sim: sim.clone(),
            story: story.clone(),
            source,
            settings: Vec::new(),
            life: Life::default(),
            changes: HashMap::new(),
            appeared: HashMap::new(),
            ended: HashMap::new(),
            versions: Vec::new(),
            ready: HashMap::new(),
            used: HashMap::new(),
            clock_set: None,
            slow_until: Duration::ZERO,
            odd_until: Duration::ZERO,
            has_long_lists: false,
            paused: HashMap::new(),
            stopped: HashSet::new(),
            directories: BTreeMap::new(),
            since_look: Duration::ZERO,
            logs: Vec::new(),
            violations: Vec::new(),
            removed: [0; 4],
        };
        let this = Self(Arc::new(Mutex::new(state)));
        this.watch(sim);
        this
    }

    /// From now on, nothing else happens before a call is carried out.
    pub fn watch(&self, sim: &Sim) {
        sim.clear_hooks();
        for method in Method::ALL.iter().copied() {
            let state = Arc::clone(&self.0);
            sim.before(method, move |node, id| state.lock().called(method, node, id));
        }
    }

    // ---- What it has to know ----

    /// A process of the service starts.
    pub fn started(&self, settings: Settings) {
        let state = &mut *self.0.lock();
        let now = state.sim.uptime();
        state.life = Life { since: now, ..Life::default() };
        state.settings = vec![(now, Arc::new(settings))];
        state.paused.clear();
    }

    /// The service has shut down.
    pub fn finished(&self) {
        self.0.lock().life.finished = true;
    }

    /// These settings are in force.
    pub fn reloaded(&self, settings: Settings) {
        let state = &mut *self.0.lock();
        let now = state.sim.uptime();
        state.settings.push((now, Arc::new(settings)));
    }

    /// A loop is paused, or is no longer.
    pub fn paused(&self, of: Loop, paused: bool) {
        let state = &mut *self.0.lock();
        let now = state.sim.uptime();
        if paused {
            state.paused.insert(of, now);
        } else {
            state.paused.remove(&of);
        }
    }

    /// Something is new on the node.
    pub fn appeared(&self, id: &str) {
        let state = &mut *self.0.lock();
        let now = state.sim.uptime();
        state.appeared.insert(id.to_owned(), now);
    }

    /// A container has ended.
    pub fn ended(&self, id: &str) {
        let state = &mut *self.0.lock();
        let now = state.sim.uptime();
        state.ended.insert(id.to_owned(), now);
    }

    /// Something of these was changed.
    pub fn changed(&self, change: Change, of: &[&str]) {
        let state = &mut *self.0.lock();
        let now = state.sim.uptime();
        state.changes.extend(of.iter().map(|id| ((*id).to_owned(), (change, now, false))));
    }

    /// It was changed right before a question was answered that shows it.
    pub fn changed_and_shown(&self, node: &Node, change: Change, of: &[&str]) {
        self.changed(change, of);
        if node.options.message_limit < RUNTIME_MESSAGE_LIMIT {
            // The answer may be too large; what is listed in parts does not say how all was at one time.
            return;
        }
        let state = &mut *self.0.lock();
        for id in of {
            state.changes.entry((*id).to_owned()).and_modify(|(_, _, is_known)| *is_known = true);
        }
    }

    /// The wall clock was set.
    pub fn clock_was_set(&self) {
        let state = &mut *self.0.lock();
        state.clock_set = Some(state.sim.uptime());
    }

    /// The runtime may answer late, until then.
    pub fn slow_until(&self, end: Duration) {
        let state = &mut *self.0.lock();
        state.slow_until = state.slow_until.max(end);
    }

    /// The runtime may say something odd of its objects, until then.
    pub fn odd_until(&self, end: Duration) {
        let state = &mut *self.0.lock();
        state.odd_until = state.odd_until.max(end);
    }

    /// From now on there may be lists that are too long for an answer.
    pub fn lists_are_long(&self) {
        self.0.lock().has_long_lists = true;
    }

    /// An image was pulled.
    pub fn pulled(&self, id: &str) {
        self.appeared(id);
        self.0.lock().used.remove(id);
    }

    /// A list of pods was written.
    pub fn wrote_pods(&self, version: Version) {
        self.0.lock().versions.push(version);
    }

    // ---- What came of it ----

    /// Some time has passed: which log directories are gone since.
    pub fn look(&self) {
        // The model's lock comes first, as in a hook.
        let sim = self.0.lock().sim.clone();
        sim.with(|node| {
            let state = &mut *self.0.lock();
            state.note_ready(node);
            state.look_at_files(node);
        });
    }

    /// Something that is known elsewhere to be wrong.
    pub fn violated(&self, what: String) {
        self.0.lock().violated(what);
    }

    pub fn is_violated(&self) -> bool {
        !self.0.lock().violations.is_empty()
    }

    /// Whether that pod is deleted, as far as is known outside of the service; a pod that the service may take for deleted only
    /// later is one, too.
    pub fn is_gone(&self, node: &Node, uid: &str) -> bool {
        let state = self.0.lock();
        let Some((_, settings)) = state.settings.last() else { return false };
        state.is_gone(node, settings, uid).is_ok()
    }

    /// What was wrong, and how many containers, sandboxes, images and log directories were removed.
    pub fn verdict(&self) -> (Vec<String>, [u64; 4]) {
        let state = &mut *self.0.lock();
        (std::mem::take(&mut state.violations), state.removed)
    }
}

impl State {
    /// A call is about to be carried out.
    fn called(&mut self, method: Method, node: &Node, id: &str) {
        self.story.tell_call(method, id);
        if matches!(method, Method::ListContainers | Method::StreamContainers) {
            self.note_use(node);
        }
        match method {
            Method::StopContainer => self.stop_container(node, id),
            Method::RemoveContainer => self.remove_container(node, id),
            Method::StopPodSandbox => self.end_sandbox(node, id, "stopped"),
            Method::RemovePodSandbox => self.end_sandbox(node, id, "removed"),
            Method::RemoveImage => self.remove_image(node, id),
            Method::StreamContainers => self.answered(Method::ListContainers, id),
            Method::StreamPodSandboxes => self.answered(Method::ListPodSandbox, id),
            Method::StreamImages => self.answered(Method::ListImages, id),
            question => self.answered(question, id),
        }
    }

    fn violated(&mut self, what: String) {
        self.story.tell(format!("!!! {what}"));
        self.violations.push(what);
    }

    /// The service gets an answer to that question. It is about what was changed if it is asked right before such a removal.
    fn answered(&mut self, method: Method, about: &str) {
        // What is too long for one answer is listed in parts.
        self.life.lists.insert(method);
        let of = match method {
            Method::ListContainers | Method::ContainerStatus => Change::Container,
            Method::ListPodSandbox | Method::PodSandboxStatus => Change::Sandbox,
            _ => return,
        };
        if let Some((change, _, is_known)) = self.changes.get_mut(about)
            && *change == of
        {
            *is_known = true;
        }
    }

    /// Whether something of it was changed a moment ago.
    fn has_just_changed(&self, id: &str) -> bool {
        let now = self.sim.uptime();
        self.changes.get(id).is_some_and(|(_, at, _)| now.saturating_sub(*at) <= EXCUSED)
    }

    /// Whether something of these was changed a moment ago, and the service could not know.
    fn is_excused(&self, of: &[&str]) -> bool {
        let now = self.sim.uptime();
        let recent = |at: Duration| now.saturating_sub(at) <= EXCUSED;
        let is_unknown = |id: &str| self.changes.get(id).is_some_and(|(_, _, is_known)| !is_known);
        let changed = |id: &&str| self.has_just_changed(id) && is_unknown(id);
        self.clock_set.is_some_and(recent) || of.iter().any(changed)
    }

    /// The settings in force, and those that were so long ago.
    fn settings(&self, within: Duration) -> impl Iterator<Item = &Arc<Settings>> {
        let now = self.sim.uptime();
        let next = self.settings.iter().skip(1).map(|(since, _)| Some(*since)).chain([None]);
        let until = self.settings.iter().zip(next);
        until
            .filter(move |(_, until)| until.is_none_or(|until| now.saturating_sub(until) <= within))
            .map(|((_, settings), _)| settings)
    }

    /// Something is about to be stopped or removed: notes what forbids it. `at_once` are the rules for which new settings count from the
    /// next removal on; a pass ends by the others with the settings with which it began (behaviour: Reloading the configuration).
    fn check(
        &mut self,
        what: &str,
        excuses: &[&str],
        at_once: impl Fn(&Self, &Settings) -> Result<(), String>,
        rules: impl Fn(&Self, &Settings) -> Result<(), String>,
    ) {
        if self.life.finished {
            self.violated(format!("{what}, and the service has shut down"));
        }
        let forbidden = |within: Duration, rules: &dyn Fn(&Self, &Settings) -> Result<(), String>| {
            let mut why = Some("there are no settings".to_owned());
            for settings in self.settings(within) {
                why = rules(self, settings).err();
                if why.is_none() {
                    break;
                }
            }
            why
        };
        let forbidden = forbidden(EXCUSED, &at_once).or_else(|| forbidden(PASS, &rules));
        if let Some(why) = forbidden.filter(|_| !self.is_excused(excuses)) {
            self.violated(format!("{what}, and {why}"));
        }
    }

    /// A loop may remove things: it enforces, and is not paused.
    fn may_remove(&self, settings: &Settings, of: Loop) -> Result<(), String> {
        let LoopSettings { mode, .. } = of.settings(settings);
        if mode != Mode::Enforce {
            return Err(format!("the mode of {} is {}", of.as_str(), mode.as_str()));
        }
        let now = self.sim.uptime();
        match self.paused.get(&of) {
            Some(since) if now.saturating_sub(*since) > EXCUSED => Err(format!("{} is paused", of.as_str())),
            _ => Ok(()),
        }
    }

    /// Whether the runtime has said something odd of its objects a moment ago.
    fn is_odd(&self) -> bool {
        self.sim.uptime() <= self.odd_until + EXCUSED
    }

    /// Whether that happened less than `age` ago: by the wall clock, whose times the runtime reports, and in truth. A clock that was set makes
    /// things older than they are, which the service cannot know, or younger, which it knows of what it has seen itself.
    fn is_young(&self, node: &Node, wall: Timestamp, truly: Option<&Duration>, age: Duration) -> bool {
        // Which times the runtime has reported is not known then.
        if self.is_odd() {
            return false;
        }
        let now = self.sim.uptime();
        let truly = truly.is_none_or(|at| now.saturating_sub(*at) < age);
        truly && !is_old(node, wall, age)
    }

    /// The lists that everything rests on were answered as a whole.
    fn has_seen(&self, lists: &[Method]) -> Result<(), String> {
        match lists.iter().find(|list| !self.life.lists.contains(list)) {
            Some(list) => Err(format!("{list} was not answered since the start")),
            None => Ok(()),
        }
    }
}
