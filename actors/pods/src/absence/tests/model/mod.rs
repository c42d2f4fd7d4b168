//! Random nodes against the proof of absence: pods come and go, the kubelet works them off, the source fails, hangs, lies,
//! the service is restarted, the clock is set. An oracle that knows the truth asks two things after every judgement: no pod
//! is called deleted that the source could have listed, and after some calm no deleted pod is left over.
//!
//! `world` is the node, `source` how the service learns of it, this module the collectors that ask, and what is checked.
//! `CRI_GC_MODEL_SEED` tries one more seed, `CRI_GC_MODEL_STEPS` that many steps with each.

mod checks;
mod source;
mod world;

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use cri_gc_policy::{Absent, PodState, Pods};
use ecow::EcoString;
use jiff::{SignedDuration, Timestamp};

use super::super::{APART, Answer, Kept, Questions, Rules};
use super::RULES;
use crate::Seen;
use crate::evidence::{Evidence, by_pod};
use crate::judge::{Facts, Found};
use crate::sources::Before;
use crate::standing::Standing;
use cri_gc_kit::seams::Moment;
use source::{Follower, Kind, Lie, Mind, Source};
use world::World;

/// Steps of each run, and how many runs there are of each kind of node.
const STEPS: usize = 6000;
const SEEDS: u64 = 8;

/// Time for some lists and judgements of a calm.
const PASSES: SignedDuration = SignedDuration::from_mins(3);

/// How many actions are shown when something is wrong.
const TRAIL: usize = 40;

/// One question, as a collector asks it. Others may be asked meanwhile.
#[derive(Default)]
struct Session {
    mind: Option<Rc<RefCell<Mind>>>,
    seen: Seen,
    kept: Option<Kept>,
    asked: Questions,
    rules: Rules,
    began: Option<Moment>,
    stage: usize,
    to_ask: Vec<EcoString>,
    in_flight: Vec<Question>,
}

/// The UID, when it was asked, and the answer in flight, with the time that it is true of.
type Question = (EcoString, Timestamp, Option<(Answer, i64)>);

impl Session {
    /// As the actor gathers them.
    fn facts(&self) -> Facts {
        let (kept, asked) = (self.kept.clone().unwrap(), self.asked.clone());
        Facts { seen: self.seen.clone(), found: Found::Lists { kept, asked } }
    }
}

struct Model {
    world: World,
    source: Source,
    mind: Rc<RefCell<Mind>>,
    /// When the provider began to remember.
    since: Moment,
    sessions: Vec<Session>,
    /// Whether the directories of the kubelet can be relied on. If not there are none: the other rules are alone.
    dirs: bool,
    unreadable: bool,
    only_static_since: i64,
    /// The last judgement, by UID.
    last: HashMap<EcoString, (PodState, Standing)>,
    /// What was done last.
    trail: VecDeque<String>,
    name: String,
    step: usize,
    /// How often something was judged deleted, a calm was had, and all vanished.
    deleted: usize,
    calms: usize,
    vanished: usize,
}

impl Drop for Model {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}, step {}:\n{}", self.name, self.step, Vec::from(self.trail.clone()).join("\n"));
        }
    }
}

impl Model {
    fn new(kind: Kind, dirs: bool, seed: u64) -> Self {
        let world = World::new(seed, dirs);
        let mut source = Source::new(kind);
        source.write(&world);
        Self {
            mind: Rc::default(),
            since: world.moment(),
            sessions: Vec::new(),
            source,
            dirs,
            unreadable: false,
            only_static_since: 0,
            last: HashMap::new(),
            trail: VecDeque::new(),
            name: format!("{kind:?}, directories: {dirs}, seed {seed}"),
            step: 0,
            deleted: 0,
            calms: 0,
            vanished: 0,
            world,
        }
    }

    fn trail(&mut self, what: &str) {
        if self.trail.len() == TRAIL {
            self.trail.pop_front();
        }
        self.trail.push_back(format!("{:>9} {} {what}", self.world.now, self.world.wall()));
    }

    fn step(&mut self) {
        self.step += 1;
        let chance = &mut self.world.chance;
        let longest = match chance.below(20) {
            0 => 30_000,
            1..=7 => 3000,
            _ => 400,
        };
        self.world.now += chance.between(0, longest);
        match self.world.chance.below(100) {
            0..=26 => self.ask(),
            27..=50 => self.source_does(),
            51..=75 => {
                let did = self.world.kubelet();
                self.trail(&did);
            }
            76..=83 => {
                let did = self.world.will();
                self.trail(&did);
            }
            84..=85 => self.bookmark(),
            86 => self.world.trim(),
            87 if !self.source.hangs => self.source.write(&self.world),
            88..=97 => self.fault(),
            _ => {}
        }
        if !self.source.hangs && self.world.chance.of_thousand(100) {
            self.source.write(&self.world);
        }
        if self.world.only_static && self.world.now - self.only_static_since > 420_000 {
            self.world.only_static = false;
        }
        self.api_notes();
    }

    fn fault(&mut self) {
        let what = match self.world.chance.below(80) {
            0..=8 => {
                self.source.is_down = !self.source.is_down && self.world.chance.of_thousand(400);
                format!("the source is down: {}", self.source.is_down)
            }
            9..=14 => {
                self.source.hangs = !self.source.hangs && self.world.chance.of_thousand(400);
                format!("the source hangs: {}", self.source.hangs)
            }
            15..=26 => self.lie(),
            27..=28 => {
                self.expire();
                "the watch expires".to_owned()
            }
            29..=34 => {
                let by = self.world.chance.between(-6000, 6000);
                // A file has the time of its last change: by small steps back it seems newer than it is.
                self.world.set += if self.source.kind == Kind::File { by.abs() } else { by };
                format!("the clock drifts by {by} ms")
            }
            35..=36 => {
                let far = self.world.chance.between(11_000, 3_600_000);
                let by = if self.world.chance.of_thousand(500) { far } else { -far };
                self.world.set += by;
                // The same applies to large steps, if the file was written before them and is not written again.
                self.source.write(&self.world);
                format!("the clock is set by {by} ms")
            }
            37..=39 => {
                self.restart_provider(None);
                self.since = self.world.moment();
                self.sessions.clear();
                self.source.reading = None;
                "the service is restarted".to_owned()
            }
            40..=43 => {
                self.world.only_static = !self.world.only_static && self.world.chance.of_thousand(600);
                self.only_static_since = self.world.now;
                format!("the kubelet has just started: {}", self.world.only_static)
            }
            44..=47 => {
                self.unreadable = self.dirs && !self.unreadable && self.source.kind != Kind::File;
                format!("the kubelet's directories are unreadable: {}", self.unreadable)
            }
            48 => {
                self.world.reboot();
                "the machine is rebooted".to_owned()
            }
            49 if self.world.chance.of_thousand(700) => return self.check_nothing_is_left(),
            52 => return self.check_own_changes(),
            50 | 51 => return self.check_vanished(),
            // An administrator knows what is deleted; a kubelet that has just started does not.
            53 if self.source.last_true && self.source.lie.hides.is_empty() && !self.world.only_static => {
                let now = self.world.wall();
                let mut mind = self.mind.borrow_mut();
                mind.memory.chronicle.note(&self.standings(), now);
                format!("an administrator confirms {} pods", mind.memory.confirm(now))
            }
            _ => return,
        };
        self.trail(&what);
    }

    /// How all pods stood at the last judgement.
    fn standings(&self) -> Vec<(EcoString, PodState, Standing)> {
        self.last.iter().map(|(uid, (state, standing))| (uid.clone(), *state, standing.clone())).collect()
    }

    /// The source begins to lie, or ends it. Without directories, only one list in a row lies, and a query for a
    /// single pod gets the truth: nothing but the brake protects from more.
    fn lie(&mut self) -> String {
        let all = self.world.chance.of_thousand(200);
        let was = std::mem::take(&mut self.source.lie);
        if was.hides.is_empty() && self.source.last_true {
            let uids = self.world.pods.iter().flat_map(|pod| pod.mirror.iter().chain([&pod.uid]).cloned());
            let uids: Vec<EcoString> = uids.collect();
            self.source.lie.hides =
                uids.into_iter().filter(|_| all || self.world.chance.of_thousand(400)).collect();
            self.source.lie.answers_too = self.dirs && self.world.chance.of_thousand(500);
            self.source.lies_once = !self.dirs && self.source.kind != Kind::Api;
        }
        format!("the source hides {:?}", self.source.lie.hides)
    }

    /// A collector does the next thing.
    fn ask(&mut self) {
        if self.sessions.is_empty() || (self.sessions.len() < 3 && self.world.chance.of_thousand(100)) {
            self.sessions.push(Session::default());
        }
        let place = self.world.chance.below(self.sessions.len());
        let mut session = self.sessions.swap_remove(place);
        if !self.advance(&mut session, false) {
            self.sessions.push(session);
        }
    }

    /// One step of a question; whether it is answered.
    fn advance(&mut self, session: &mut Session, is_calm: bool) -> bool {
        session.stage += 1;
        match session.stage {
            1 => session.seen.sandboxes = self.world.list_sandboxes(),
            2 => session.seen.containers = self.world.list_containers(),
            // A root that can't be listed has no directories.
            3 if is_calm || !self.world.chance.of_thousand(100) => {
                session.seen.log_dirs = self.world.list_log_dirs();
            }
            3 => {}
            4 => {
                self.start_over_if_the_clock_was_set();
                session.mind = Some(Rc::clone(&self.mind));
                session.began = Some(self.world.moment());
            }
            5 => session.kept = Some(self.kept()),
            6 => {
                let mind = session.mind.as_ref().unwrap().borrow();
                session.rules = mind.rules(self.source.kind);
                let mut facts = session.facts();
                mind.memory.plan(&mut facts, &session.rules, self.world.wall());
                let Found::Lists { asked, .. } = facts.found else { unreachable!() };
                session.to_ask.clone_from(&asked.uids);
                session.asked = asked;
            }
            _ if self.world.chance.of_thousand(500) && session.in_flight.len() < 4 => {
                match session.to_ask.pop() {
                    Some(uid) => session.in_flight.push((uid, self.world.wall(), None)),
                    None if session.in_flight.is_empty() => {
                        self.judge(session, is_calm);
                        return true;
                    }
                    None => {}
                }
            }
            _ if !session.in_flight.is_empty() => self.answers(session, is_calm),
            _ => {}
        }
        false
    }

    fn kept(&self) -> Kept {
        if self.unreadable {
            return Kept::Unreadable("it cannot be read".to_owned());
        }
        let dirs = self.world.dirs.keys().filter(|_| self.dirs);
        Kept::Of(dirs.cloned().collect())
    }

    /// Something happens to a question for a single pod.
    fn answers(&mut self, session: &mut Session, is_calm: bool) {
        let place = self.world.chance.below(session.in_flight.len());
        let (uid, at, answer) = session.in_flight.swap_remove(place);
        let Some((answer, true_at)) = answer else {
            let lie = &self.source.lie;
            let evidence = by_pod(&session.seen);
            let names = evidence.get(uid.as_str()).map(|evidence| evidence.names.clone()).unwrap_or_default();
            let answer = if self.source.is_down || (!is_calm && self.world.chance.of_thousand(50)) {
                Answer::Failed("it cannot be reached".to_owned())
            } else if self.world.api_has(&uid, &names) && !(lie.answers_too && lie.hides.contains(&uid)) {
                Answer::There
            } else {
                Answer::Gone { at }
            };
            session.in_flight.push((uid, at, Some((answer, self.world.now))));
            return;
        };
        self.trail(&format!("queried {uid} at {at}: {answer:?}"));
        let mut mind = session.mind.as_ref().unwrap().borrow_mut();
        if matches!(answer, Answer::Failed(_)) {
            session.to_ask.clear();
            session.in_flight.clear();
        } else if !self.source.lie.answers_too {
            let known = mind.known_at.entry(uid.clone()).or_default();
            *known = true_at.max(*known);
        }
        session.asked.answers.insert(uid, answer);
    }

    fn judge(&mut self, session: &Session, is_calm: bool) {
        let Session { mind: Some(mind), kept: Some(kept), seen, rules, .. } = session else { unreachable!() };
        if session.began.is_some_and(|began| self.world.moment().was_set_since(&began)) {
            return;
        }
        self.source.earlier = Some(Before::of(&seen.sandboxes, &seen.containers));
        let evidence = by_pod(seen);
        let now = self.world.wall();
        let judged = mind.borrow_mut().memory.judge(session.facts(), rules, now);
        let (pods, wants_list) = (judged.verdict.pods, judged.wants_list);
        let known = mind.borrow().memory.chronicle.facts();
        self.last = known.into_iter().map(|pod| (pod.uid, (pod.state, pod.standing))).collect();
        let is_deleted = |pod: &&cri_gc_policy::Pod| pods.synced && pod.state == PodState::Deleted;
        let deleted: Vec<EcoString> =
            pods.pods.iter().filter(is_deleted).map(|pod| pod.uid.clone()).collect();
        self.trail(&format!("judged: {deleted:?} are deleted"));
        assert_eq!(pods.absent, Absent::Unknown);
        for uid in &deleted {
            let Some((PodState::Deleted, standing)) = self.last.get(uid) else {
                panic!("{uid} is deleted without a proof");
            };
            let nothing = Evidence::default();
            let evidence = evidence.get(uid.as_str()).unwrap_or(&nothing);
            self.check_is_gone(uid, evidence, kept, standing, &mind.borrow());
        }
        self.check_states(&pods);
        let age = self.world.now - mind.borrow().fresh;
        assert!(!pods.synced || age < 325_000, "a source that is {age} ms old counts as synced");
        if !pods.synced {
            mind.borrow_mut().unsynced = Some(now);
        }
        self.deleted += deleted.len();
        if wants_list && Rc::ptr_eq(mind, &self.mind) {
            mind.borrow_mut().wanted = true;
        }
        for uid in deleted {
            self.world.collect(&uid, seen, is_calm);
        }
    }

    /// Since when the source could list the pod, if it can.
    fn listed_since(&self, uid: &str) -> Option<i64> {
        let pod = self.world.pods.iter().find(|pod| pod.uid == uid)?;
        if pod.is_static() && !pod.manifest && pod.in_kubelet.is_none() {
            // Its mirror may outlive it.
            return None;
        }
        if self.source.kind == Kind::Kubelet { pod.in_kubelet } else { pod.in_api }
    }

    /// The first invariant: a pod that counts as deleted is deleted.
    fn check_is_gone(&self, uid: &str, evidence: &Evidence<'_>, kept: &Kept, by: &Standing, mind: &Mind) {
        assert!(!evidence.runs, "something of {uid} runs");
        let Kept::Of(kept) = kept else { panic!("it is unknown whether {uid} has a directory") };
        assert!(!kept.contains(uid), "{uid} has a directory");
        let known = mind.all_known_at.max(mind.known_at.get(uid).copied().unwrap_or_default());
        if let Some(since) = self.listed_since(uid) {
            assert!(since >= known, "{uid} is there since {since}, which was known at {known}; it is {by:?}");
        }
        let (Standing::MissingTwice { first, second } | Standing::MissingWhenAsked { first, second }) = by
        else {
            panic!("{uid}: {by:?}")
        };
        let age = self.world.now - mind.fresh;
        assert!(age < 325_000, "the source is {age} ms old, and yet {uid} is deleted");
        assert!(mind.arrived.get(first) > Some(&mind.lost_at), "{uid}: {by:?} is from before a loss");
        let slack = SignedDuration::from_secs(20);
        let is_new = mind.unsynced.is_none_or(|unsynced| *second + slack >= unsynced);
        assert!(is_new || self.source.kind != Kind::Api, "{uid}: {by:?} is from before the source was stale");
        let apart = second.duration_since(*first);
        assert!(self.source.kind != Kind::Api || apart >= APART, "{uid}: {by:?}");
        let observed =
            mind.observed.get(first).unwrap_or_else(|| panic!("{uid}: {by:?}, no such observation"));
        for id in &evidence.objects {
            let made = self.world.made[*id];
            assert!(
                made <= *observed,
                "{id} of {uid} was made at {made}, after the first observation at {observed}"
            );
        }
        for dir in &evidence.log_dirs {
            let made = self.world.made_dirs[dir];
            // Only its own time shows how old it is, and the clock may drift by 10 s either way unnoticed.
            assert!(
                made <= observed + 20_000,
                "a log directory of {uid} was made at {made}, after the observation at {observed}"
            );
        }
    }

    /// What a source says of the end of a pod is passed on only if it is so.
    fn check_states(&self, judged: &Pods) {
        let ended = |state| matches!(state, PodState::Terminated | PodState::Evicted);
        for pod in judged.pods.iter().filter(|pod| ended(pod.state)) {
            let truly = self.world.pods.iter().find(|known| known.uid == pod.uid).map(|known| known.state);
            assert!(truly.is_none_or(|truly| truly == pod.state), "{} is {truly:?}", pod.uid);
        }
    }
}

/// Runs a model, and returns how many times something was deleted, a calm was had, and all vanished.
fn run(kind: Kind, dirs: bool, seed: u64, steps: usize) -> (usize, usize, usize) {
    let mut model = Model::new(kind, dirs, seed);
    for _ in 0..steps {
        model.step();
    }
    (model.deleted, model.calms, model.vanished)
}

fn runs(kind: Kind, dirs: bool) {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse().ok());
    let steps = number("CRI_GC_MODEL_STEPS").map_or(STEPS, |steps| usize::try_from(steps).unwrap());
    for seed in (1..=SEEDS).chain(number("CRI_GC_MODEL_SEED")) {
        let (deleted, calms, vanished) = run(kind, dirs, seed, steps);
        eprintln!("{kind:?} {dirs} {seed}: {deleted} deleted, {calms} calms, {vanished} vanished");
        assert!(deleted > 0 && calms > 0, "seed {seed} tries nothing");
    }
}

#[test]
fn a_file_next_to_a_kubelet() {
    runs(Kind::File, true);
}

#[test]
fn a_file_alone() {
    runs(Kind::File, false);
}

#[test]
fn a_kubelet_with_directories() {
    runs(Kind::Kubelet, true);
}

#[test]
fn a_kubelet_alone() {
    runs(Kind::Kubelet, false);
}

#[test]
fn an_api_server_with_directories() {
    runs(Kind::Api, true);
}

#[test]
fn an_api_server_alone() {
    runs(Kind::Api, false);
}
