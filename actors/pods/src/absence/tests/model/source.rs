//! The modelled source: how the state of the node reaches the service, late, in part, wrongly or not at all, and what the
//! provider does with it. As `sources`, `kube_source` and `actor` do it, without the actor.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet, VecDeque};
use std::rc::Rc;

use cri_gc_config::PodSource;
use ecow::EcoString;
use jiff::{SignedDuration, Timestamp};

use super::super::super::{Reading as Listed, Rules};
use super::world::World;
use super::{Model, RULES};
use crate::judge::Memory;
use crate::listing::Listing;
use crate::sources::Before;

/// Which source it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    File,
    Kubelet,
    Api,
}

/// What the provider remembers, and what the oracle has to know besides: which true facts it received.
#[derive(Default)]
pub struct Mind {
    pub memory: Memory,
    /// The newest true facts that it received: their times, for all pods and for single ones.
    pub all_known_at: i64,
    pub known_at: HashMap<EcoString, i64>,
    /// For the time of each observation, since when what it shows was truly so.
    pub observed: HashMap<Timestamp, i64>,
    /// When a list of that time arrived, and when the source was last unreachable.
    pub arrived: HashMap<Timestamp, i64>,
    pub lost_at: i64,
    /// As of when the last word truly counts.
    pub fresh: i64,
    /// When it was last noticed that the source reports nothing.
    pub unsynced: Option<Timestamp>,
    /// A newer list is wanted.
    pub wanted: bool,
}

impl Mind {
    pub fn rules(&self, kind: Kind) -> Rules {
        let source = match kind {
            Kind::File => PodSource::File,
            Kind::Kubelet => PodSource::Kubelet,
            Kind::Api => PodSource::KubeApi,
        };
        Rules { source, clock_set: self.memory.clock_set, ..RULES }
    }

    /// What it received is true as of then, or a lie. Where directories show what a lie hides, it knows nothing by its
    /// source any more.
    fn receive(&mut self, truth_of: Option<i64>, dirs: bool) {
        match truth_of {
            Some(at) => self.all_known_at = self.all_known_at.max(at),
            None if dirs => {
                self.all_known_at = 0;
                self.known_at.clear();
            }
            None => {}
        }
    }

    fn lose(&mut self, now: i64) {
        self.memory.absence.void_lists();
        self.lost_at = now;
    }

    fn observe(&mut self, at: Timestamp, truly: i64, now: i64) {
        self.arrived.insert(at, now);
        self.fresh = truly;
        let known = self.observed.entry(at).or_insert(truly);
        *known = truly.max(*known);
    }
}

/// How a source misleads.
#[derive(Default)]
pub struct Lie {
    /// These are missing from lists.
    pub hides: HashSet<EcoString>,
    /// Questions for single pods are answered in the same way.
    pub answers_too: bool,
}

/// A reading in progress.
pub struct Reading {
    mind: Rc<RefCell<Mind>>,
    before: Before,
    at: Timestamp,
    began: i64,
}

/// Who follows the API server.
pub enum Follower {
    Pausing { until: i64 },
    Listing { before: Before, at: Timestamp, began: i64 },
    Watching { news: VecDeque<(i64, Option<Listing>)>, version: u64, heard: i64, listed: i64 },
}

/// The file, as it was last written.
#[derive(Default)]
pub struct File {
    listing: Listing,
    at: Timestamp,
    truly: i64,
}

/// The source, and what is wrong with it.
pub struct Source {
    pub kind: Kind,
    pub is_down: bool,
    /// The file is not written, the watch reports nothing.
    pub hangs: bool,
    pub lie: Lie,
    /// One list only is wrong.
    pub lies_once: bool,
    /// The last reading was no lie.
    pub last_true: bool,
    /// What the last judgement saw of the runtime.
    pub earlier: Option<Before>,
    pub reading: Option<Reading>,
    read: i64,
    pub follower: Follower,
    file: File,
}

impl Source {
    pub fn new(kind: Kind) -> Self {
        Self {
            kind,
            is_down: false,
            hangs: false,
            lie: Lie::default(),
            lies_once: false,
            last_true: true,
            earlier: None,
            reading: None,
            read: 0,
            follower: Follower::Pausing { until: 0 },
            file: File::default(),
        }
    }

    /// The writer of the file writes it.
    pub fn write(&mut self, world: &World) {
        self.file = File { listing: world.api(), at: world.wall(), truly: world.now };
    }

    fn report(&self, mut listing: Listing) -> (Listing, bool) {
        let all = listing.pods.len();
        listing.pods.retain(|uid, _| !self.lie.hides.contains(uid));
        let is_true = all == listing.pods.len();
        (listing, is_true)
    }
}

impl Model {
    /// What was remembered is forgotten: the service was restarted, or the clock was set.
    pub fn restart_provider(&mut self, clock_set: Option<Timestamp>) {
        let mut memory = Memory::default();
        memory.clock_set = clock_set;
        self.mind = Rc::new(RefCell::new(Mind { memory, ..Mind::default() }));
        self.source.follower = Follower::Pausing { until: 0 };
    }

    /// As the provider does it.
    pub fn start_over_if_the_clock_was_set(&mut self) {
        if self.world.moment().was_set_since(&self.since) {
            self.trail("the service sees that the clock was set");
            self.restart_provider(Some(self.world.wall()));
            self.since = self.world.moment();
        }
    }

    /// The source does the next thing, if it is time to.
    pub fn source_does(&mut self) {
        match self.source.kind {
            Kind::Api => self.follow(),
            Kind::File | Kind::Kubelet if self.source.reading.is_none() => self.begin_reading(),
            Kind::File | Kind::Kubelet => self.end_reading(),
        }
    }

    fn begin_reading(&mut self) {
        if self.world.now - self.source.read < 2000 {
            return;
        }
        self.start_over_if_the_clock_was_set();
        // What the last judgement saw serves as well.
        let earlier = self.source.earlier.clone().filter(|earlier| !earlier.ready.is_empty());
        let before = earlier.unwrap_or_else(|| self.world.before());
        let (at, began) = (self.world.wall(), self.world.now);
        self.source.reading = Some(Reading { mind: Rc::clone(&self.mind), before, at, began });
    }

    fn end_reading(&mut self) {
        let Some(Reading { mind, before, at, began }) = self.source.reading.take() else { return };
        let now = self.world.now;
        self.source.read = now;
        let mut mind = mind.borrow_mut();
        if self.source.is_down {
            self.source.last_true = true;
            self.trail("a reading fails");
            mind.lose(now);
            return;
        }
        let (listing, at, truly, true_at) = match self.source.kind {
            Kind::Kubelet => (self.world.kubelet_pods(), at, began, now),
            _ => {
                let file = &self.source.file;
                let ahead = file.at.duration_since(self.world.wall());
                if ahead > SignedDuration::from_secs(10) {
                    mind.lose(now);
                    return;
                }
                (file.listing.clone(), file.at.min(self.world.wall()), file.truly, file.truly)
            }
        };
        let (listing, is_true) = self.source.report(listing);
        if self.source.lies_once {
            self.source.lies_once = false;
            self.source.lie = Lie::default();
        }
        self.source.last_true = is_true;
        let is_true = is_true && !(self.source.kind == Kind::Kubelet && self.world.only_static);
        let checked = before.check(&listing).or_else(|_| self.world.before().check(&listing));
        let sync = checked.map(|()| Listed { at, listing, objects: before.objects });
        let shown = sync.as_ref().map(listed).unwrap_or_default();
        let read = mind.memory.read(sync, false, self.world.wall());
        self.trail(&format!("a reading that began at {began}: true: {is_true}, {shown:?}, {read:?}"));
        if read.is_ok() {
            mind.observe(at, truly, now);
            mind.receive(is_true.then_some(true_at), self.dirs);
        } else {
            mind.lose(now);
        }
    }

    fn fail(&mut self, why: &str) {
        self.trail(why);
        self.start_over_if_the_clock_was_set();
        self.mind.borrow_mut().lose(self.world.now);
        let pause = self.world.chance.between(1000, 20_000);
        self.source.follower = Follower::Pausing { until: self.world.now + pause };
    }

    fn follow(&mut self) {
        let now = self.world.now;
        match std::mem::replace(&mut self.source.follower, Follower::Pausing { until: 0 }) {
            Follower::Pausing { until } if now < until => self.source.follower = Follower::Pausing { until },
            Follower::Pausing { .. } => self.list(),
            Follower::Listing { before, at, began } => self.end_list(before, at, began),
            Follower::Watching { mut news, version, heard, listed } => {
                let wanted = self.mind.borrow().wanted && now - listed >= 10_000;
                if wanted || (now - heard > 150_000 && !self.source.hangs) {
                    self.mind.borrow_mut().wanted = false;
                    return self.list();
                }
                if self.source.is_down && self.world.chance.of_thousand(300) {
                    return self.fail("the watch is lost");
                }
                let news_now = if self.source.hangs || self.source.is_down { None } else { news.pop_front() };
                let Some((true_at, listing)) = news_now else {
                    self.source.follower = Follower::Watching { news, version, heard, listed };
                    return;
                };
                let old = Rc::clone(&self.mind);
                self.start_over_if_the_clock_was_set();
                if !Rc::ptr_eq(&old, &self.mind) {
                    // Dropped: there is a new follower.
                    return;
                }
                let wall = self.world.wall();
                let is_true = self.source.lie.hides.is_empty();
                let has_list = listing.is_some();
                let listing = listing.map(|listing| self.source.report(listing).0);
                self.trail(&format!("the watch reports {:?}", listing.as_ref().map(uids)));
                let mut mind = self.mind.borrow_mut();
                if has_list {
                    mind.receive(is_true.then_some(true_at), self.dirs);
                }
                mind.fresh = now;
                mind.memory.absence.watched(listing, wall);
                self.source.follower = Follower::Watching { news, version, heard: now, listed };
            }
        }
    }

    fn list(&mut self) {
        let (before, at, began) = (self.world.before(), self.world.wall(), self.world.now);
        self.source.follower = Follower::Listing { before, at, began };
    }

    fn end_list(&mut self, before: Before, at: Timestamp, began: i64) {
        let now = self.world.now;
        if self.source.is_down {
            return self.fail("a list fails");
        }
        let (listing, is_true) = self.source.report(self.world.api());
        if before.check(&listing).is_err() {
            return self.fail("a list misses all that runs");
        }
        let old = Rc::clone(&self.mind);
        self.start_over_if_the_clock_was_set();
        if !Rc::ptr_eq(&old, &self.mind) {
            return;
        }
        let sync = Listed { at, listing, objects: before.objects };
        self.trail(&format!("a list that began at {began}: true: {is_true}, {:?}", listed(&sync)));
        let mut mind = self.mind.borrow_mut();
        mind.observe(sync.at, began, now);
        mind.memory.absence.listed(sync);
        mind.receive(is_true.then_some(now), self.dirs);
        let version = self.world.version;
        self.source.follower = Follower::Watching { news: VecDeque::new(), version, heard: now, listed: now };
    }

    /// The API server takes note of what changed, for all watches.
    pub fn api_notes(&mut self) {
        if let Follower::Watching { news, version, .. } = &mut self.source.follower
            && *version != self.world.version
        {
            *version = self.world.version;
            news.push_back((self.world.now, Some(self.world.api())));
        }
    }

    /// Once in a while the API server sends a bookmark.
    pub fn bookmark(&mut self) {
        if let Follower::Watching { news, .. } = &mut self.source.follower {
            news.push_back((self.world.now, None));
        }
    }

    /// The source is unreachable for a moment.
    pub fn lose(&mut self) {
        if self.source.kind == Kind::Api {
            return self.fail("the watch is lost");
        }
        self.source.is_down = true;
        self.world.now += 3000;
        self.begin_reading();
        self.end_reading();
        self.source.is_down = false;
    }

    /// The API server does not know any more what changed since.
    pub fn expire(&mut self) {
        if matches!(self.source.follower, Follower::Watching { .. }) {
            self.fail("the watch is expired");
        }
    }
}

fn listed(sync: &Listed) -> Vec<EcoString> {
    uids(&sync.listing)
}

/// The ends of the UIDs: enough to distinguish them.
fn uids(listing: &Listing) -> Vec<EcoString> {
    let mut uids: Vec<EcoString> =
        listing.pods.keys().map(|uid| uid.trim_start_matches(['0', '-']).into()).collect();
    uids.sort_unstable();
    uids
}
