//! The modelled node: the pods that are wanted, a kubelet that makes and unmakes what belongs to them, what the runtime and
//! the log root list of it, and a wall clock that can be set. It knows nothing of how pods are judged.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use cri_gc_policy::{Container, ContainerState, PodState, Sandbox, SandboxState};
use ecow::EcoString;
use jiff::{SignedDuration, Timestamp};

use crate::listing::Listing;
use crate::sources::Before;
use cri_gc_files::scan::{Identity, LogDir};
use cri_gc_kit::seams::Moment;

/// Chance, the same for the same seed.
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below that one.
    pub fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).unwrap()
    }

    /// A number of milliseconds between these, both included.
    pub fn between(&mut self, from: i64, to: i64) -> i64 {
        from + i64::try_from(self.next() % u64::try_from(to - from + 1).unwrap()).unwrap()
    }

    /// True in that many of a thousand cases.
    pub fn of_thousand(&mut self, cases: usize) -> bool {
        self.below(1000) < cases
    }
}

/// A pod as it truly is. Times are milliseconds since the boot.
pub struct Pod {
    pub uid: EcoString,
    pub name: String,
    /// Its mirror pod's UID, if it is a static pod.
    pub mirror: Option<EcoString>,
    /// A static pod: whether its manifest is there.
    pub manifest: bool,
    /// Since when the API server has it (a static pod: its mirror).
    pub in_api: Option<i64>,
    /// Since when the kubelet has it.
    pub in_kubelet: Option<i64>,
    pub state: PodState,
    /// Whether its sandboxes and log directories have namespace and name.
    pub named: bool,
}

impl Pod {
    pub fn is_static(&self) -> bool {
        self.mirror.is_some()
    }
}

/// The node.
pub struct World {
    pub chance: Chance,
    /// Milliseconds since the boot: it never steps.
    pub now: i64,
    /// How much the wall clock is ahead of it, as it is set.
    pub set: i64,
    pub pods: Vec<Pod>,
    pub sandboxes: Vec<Sandbox>,
    pub containers: Vec<Container>,
    pub log_dirs: Vec<LogDir>,
    /// Containers and sandboxes.
    pub made: HashMap<EcoString, i64>,
    pub made_dirs: HashMap<Identity, i64>,
    /// The pod directories of the kubelet, and whether each is orphaned.
    pub dirs: HashMap<EcoString, bool>,
    /// Whether the kubelet has just started, and has its static pods only.
    pub only_static: bool,
    /// Whether a mirror pod may come and go later than its static pod.
    pub late_mirrors: bool,
    /// Whether no other process writes logs at the moment.
    pub is_quiet: bool,
    /// Counts the changes of what the API server has.
    pub version: u64,
    count: u64,
}

const NAMESPACE: &str = "shop";

impl World {
    pub fn new(seed: u64, late_mirrors: bool) -> Self {
        Self {
            chance: Chance::new(seed),
            now: 1_000_000,
            set: 0,
            pods: Vec::new(),
            sandboxes: Vec::new(),
            containers: Vec::new(),
            log_dirs: Vec::new(),
            made: HashMap::new(),
            made_dirs: HashMap::new(),
            dirs: HashMap::new(),
            only_static: false,
            late_mirrors,
            is_quiet: false,
            version: 0,
            count: 0,
        }
    }

    /// What the wall clock shows.
    pub fn wall(&self) -> Timestamp {
        Timestamp::from_millisecond(1_700_000_000_000 + self.now + self.set).unwrap()
    }

    pub fn moment(&self) -> Moment {
        Moment::new(self.wall(), SignedDuration::from_millis(self.now))
    }

    fn number(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    fn uid(&mut self) -> String {
        format!("00000000-0000-0000-0000-{:012x}", self.number())
    }

    /// Somebody creates, ends, or deletes a pod, or the manifest of one.
    pub fn will(&mut self) -> String {
        let living = self.pods.iter().filter(|pod| pod.in_api.is_some() || pod.manifest).count();
        if self.pods.is_empty() || (self.chance.of_thousand(500) && living < 9) {
            return self.create();
        }
        let place = self.chance.below(self.pods.len());
        let (dice, now) = (self.chance.below(10), self.now);
        let pod = &mut self.pods[place];
        if pod.is_static() {
            pod.manifest = !pod.manifest;
            return format!("manifest of {} there: {}", pod.uid, pod.manifest);
        }
        if pod.in_api.is_none() {
            return "nothing".to_owned();
        }
        self.version += 1;
        match dice {
            0 | 1 if pod.state == PodState::Active => pod.state = PodState::Terminated,
            2 if pod.state == PodState::Active => pod.state = PodState::Evicted,
            _ => {
                pod.in_api = None;
                return format!("{} deleted at {now}", pod.uid);
            }
        }
        format!("{} is {:?}", pod.uid, pod.state)
    }

    fn create(&mut self) -> String {
        let is_static = self.chance.of_thousand(150);
        let (uid, mirror) = (self.uid(), self.uid());
        // Names are few: they are given to pod after pod, as a StatefulSet does; but not to two at once.
        let taken: HashSet<&str> = self
            .pods
            .iter()
            .filter(|p| p.in_api.is_some() || p.is_static())
            .map(|p| p.name.as_str())
            .collect();
        let name = (0..).map(|n| format!("web-{n}")).find(|name| !taken.contains(name.as_str())).unwrap();
        let created = format!("{uid} created as {name}, static: {is_static}");
        self.version += 1;
        let named = !self.chance.of_thousand(80);
        let in_api = (!is_static).then_some(self.now);
        self.pods.push(Pod {
            uid: uid.into(),
            name,
            mirror: is_static.then_some(mirror.into()),
            manifest: is_static,
            in_api,
            in_kubelet: None,
            state: PodState::Active,
            named,
        });
        created
    }

    /// Many pods are made at once, and come up.
    pub fn crowd(&mut self) {
        while self.pods.len() < 40 {
            self.create();
            let place = self.pods.len() - 1;
            for _ in 0..6 {
                self.kubelet_does(place);
            }
        }
    }

    /// The kubelet does the next thing for some pod.
    pub fn kubelet(&mut self) -> String {
        if self.pods.is_empty() {
            return "nothing".to_owned();
        }
        let place = self.chance.below(self.pods.len());
        let did = self.kubelet_does(place);
        format!("kubelet: {} {did}", self.pods.get(place).map_or("", |pod| &pod.uid))
    }

    fn kubelet_does(&mut self, place: usize) -> &'static str {
        let (now, later) = (self.now, self.late_mirrors && self.chance.of_thousand(700));
        // It learns late that a pod is deleted, and continues to make things for it.
        let unheard = self.chance.of_thousand(600);
        let pod = &mut self.pods[place];
        if pod.is_static() {
            if pod.manifest != pod.in_api.is_some() && (!later && pod.manifest == pod.in_kubelet.is_some()) {
                self.version += 1;
                pod.in_api = pod.manifest.then_some(now);
                return "has its mirror made or deleted";
            }
            if pod.manifest != pod.in_kubelet.is_some() {
                pod.in_kubelet = pod.manifest.then_some(now);
                if !self.late_mirrors {
                    self.version += 1;
                    pod.in_api = pod.in_kubelet;
                }
                return "is learned or given up";
            }
        } else if self.only_static {
            return "is not known to it yet";
        } else if pod.in_api.is_some() != pod.in_kubelet.is_some()
            && (pod.in_api.is_some() || !unheard || pod.state != PodState::Active)
        {
            pod.in_kubelet = pod.in_api.map(|_| now);
            return "is learned or given up";
        }
        let wanted = pod.in_kubelet.is_some();
        if wanted && pod.state == PodState::Active {
            self.sustain(place)
        } else {
            self.tear_down(place, wanted)
        }
    }

    fn sustain(&mut self, place: usize) -> &'static str {
        let (uid, name, named) = {
            let pod = &self.pods[place];
            (pod.uid.clone(), pod.name.clone(), pod.named)
        };
        self.dirs.insert(uid.clone(), false);
        let ready = self.sandboxes.iter().find(|s| s.pod_uid == uid && s.state == SandboxState::Ready);
        let Some(sandbox) = ready.map(|sandbox| sandbox.id.clone()) else {
            let logs = if named { format!("{NAMESPACE}_{name}_{uid}") } else { uid.to_string() };
            self.write_log(&logs);
            // The log directory is there before the sandbox.
            if self.chance.of_thousand(200) {
                return "gets a log directory";
            }
            let id = format!("s{}", self.number());
            self.made.insert(id.as_str().into(), self.now);
            let created_at = self.created_at();
            self.sandboxes.push(Sandbox {
                id: id.into(),
                pod_uid: uid,
                namespace: if named { NAMESPACE.into() } else { "".into() },
                name: name.into(),
                attempt: 0,
                state: SandboxState::Ready,
                created_at,
                unlisted: false,
            });
            return "gets a sandbox";
        };
        let running = self
            .containers
            .iter_mut()
            .find(|c| c.pod_sandbox_id == sandbox && c.state == ContainerState::Running);
        if let Some(container) = running {
            match self.chance.below(8) {
                0 => container.state = ContainerState::Unknown,
                1..=3 => container.state = ContainerState::Exited,
                4 => {
                    self.stop(&uid);
                    return "has its sandbox die";
                }
                _ => {}
            }
            return "has a container that may have ended";
        }
        let id = format!("c{}", self.number());
        self.made.insert(id.as_str().into(), self.now);
        // Not every container has the label.
        let pod_uid = if self.chance.of_thousand(100) { EcoString::new() } else { uid };
        let created_at = self.created_at();
        self.containers.push(Container {
            id: id.into(),
            pod_uid,
            pod_sandbox_id: sandbox,
            name: "main".into(),
            attempt: 0,
            state: if self.chance.of_thousand(100) {
                ContainerState::Created
            } else {
                ContainerState::Running
            },
            created_at,
            finished_at: None,
            image: "".into(),
            image_ref: "".into(),
            image_id: "".into(),
            image_volumes: Vec::new(),
            log_path: "".into(),
        });
        "gets a container"
    }

    fn created_at(&mut self) -> Option<Timestamp> {
        let is_dated = !self.chance.of_thousand(8);
        is_dated.then(|| self.wall())
    }

    /// Something is written to a log directory, which is made if it is not there.
    fn write_log(&mut self, name: &str) {
        let changed_at = self.created_at();
        if let Some(dir) = self.log_dirs.iter_mut().find(|dir| dir.name == name) {
            dir.changed_at = dir.changed_at.max(changed_at);
            return;
        }
        let identity = Identity { inode: self.number(), born: None };
        self.made_dirs.insert(identity, self.now);
        self.log_dirs.push(LogDir { name: name.to_owned(), changed_at, identity });
    }

    /// Whether something of the pod is not dead.
    pub fn runs(&self, uid: &str) -> bool {
        let sandbox = |id: &str| self.sandboxes.iter().any(|s| s.id == id && s.pod_uid == uid);
        self.sandboxes.iter().any(|s| s.pod_uid == uid && s.state != SandboxState::NotReady)
            || self.containers.iter().any(|c| {
                c.state == ContainerState::Running && (c.pod_uid == uid || sandbox(&c.pod_sandbox_id))
            })
    }

    /// All of the pod dies.
    fn stop(&mut self, uid: &str) {
        let ids: HashSet<&str> =
            self.sandboxes.iter().filter(|s| s.pod_uid == uid).map(|s| s.id.as_str()).collect();
        for container in &mut self.containers {
            let is_of_it = container.pod_uid == uid || ids.contains(container.pod_sandbox_id.as_str());
            if is_of_it && container.state == ContainerState::Running {
                container.state = ContainerState::Exited;
            }
        }
        self.sandboxes.iter_mut().filter(|s| s.pod_uid == uid).for_each(|s| s.state = SandboxState::NotReady);
    }

    fn tear_down(&mut self, place: usize, wanted: bool) -> &'static str {
        let uid = self.pods[place].uid.clone();
        if self.runs(&uid) {
            self.stop(&uid);
            return "is stopped";
        }
        if !wanted && self.dirs.get(&uid) == Some(&false) {
            if self.chance.of_thousand(40) {
                self.dirs.insert(uid, true);
                return "has its directory orphaned";
            }
            self.dirs.remove(&uid);
            return "has its directory removed";
        }
        if !wanted
            && !self.has_objects(&uid)
            && !self.dirs.contains_key(&uid)
            && !self.pods[place].is_static()
        {
            self.pods.remove(place);
            return "is forgotten";
        }
        "is as it shall be"
    }

    pub fn has_objects(&self, uid: &str) -> bool {
        self.sandboxes.iter().any(|s| s.pod_uid == uid)
            || self.containers.iter().any(|c| c.pod_uid == uid)
            || self.log_dirs.iter().any(|dir| dir.name.ends_with(uid))
    }

    /// The machine was switched off and on: nothing runs.
    pub fn reboot(&mut self) {
        let uids: Vec<EcoString> = self.pods.iter().map(|pod| pod.uid.clone()).collect();
        uids.iter().for_each(|uid| self.stop(uid));
    }

    /// The kubelet has done all it has to, but starts nothing again.
    pub fn settle(&mut self) {
        self.only_static = false;
        for _ in 0..40 {
            for place in (0..self.pods.len()).rev() {
                let pod = &self.pods[place];
                let wanted = (!pod.is_static() || pod.manifest) && pod.in_api.is_some();
                if !(wanted && pod.in_kubelet.is_some() && pod.state == PodState::Active) {
                    self.kubelet_does(place);
                }
            }
        }
    }

    /// What the API server has.
    pub fn api(&self) -> Listing {
        let mut listing = Listing::default();
        for pod in self.pods.iter().filter(|pod| pod.in_api.is_some()) {
            for uid in pod.mirror.iter().chain([&pod.uid]) {
                listing.pods.insert(uid.clone(), (pod.state, Vec::new()));
            }
        }
        listing
    }

    /// What the kubelet says it has.
    pub fn kubelet_pods(&self) -> Listing {
        let mut listing = Listing { only_static: true, ..Listing::default() };
        let is_listed = |pod: &&Pod| pod.in_kubelet.is_some() && (pod.is_static() || !self.only_static);
        for pod in self.pods.iter().filter(is_listed) {
            listing.only_static &= pod.is_static();
            listing.pods.insert(pod.uid.clone(), (pod.state, Vec::new()));
        }
        listing
    }

    /// Whether the API server has that pod under one of those names.
    pub fn api_has(&self, uid: &str, names: &[(&str, &str)]) -> bool {
        self.pods.iter().any(|pod| {
            pod.uid == uid && pod.in_api.is_some() && names.contains(&(NAMESPACE, pod.name.as_str()))
        })
    }

    /// What the runtime has right before a list.
    pub fn before(&self) -> Before {
        Before::of(&self.list_sandboxes(), &self.list_containers())
    }

    /// A collector removes some or all of what it saw of a pod, as far as that is dead: containers first, logs last. The log
    /// directory keeps its time, unless another process writes to it at that moment.
    pub fn collect(&mut self, uid: &str, seen: &crate::Seen, all: bool) {
        let some = |chance: &mut Chance| all || chance.of_thousand(500);
        let of_it: HashSet<EcoString> =
            self.sandboxes.iter().filter(|s| s.pod_uid == uid).map(|s| s.id.clone()).collect();
        let chance = &mut self.chance;
        let mut removed_log = false;
        self.containers.retain(|c| {
            let is_of_it = c.pod_uid == uid || of_it.contains(&c.pod_sandbox_id);
            let is_removed = is_of_it
                && c.state != ContainerState::Running
                && seen.containers.iter().any(|s| s.id == c.id)
                && some(chance);
            removed_log |= is_removed;
            !is_removed
        });
        let used: HashSet<&str> = self.containers.iter().map(|c| c.pod_sandbox_id.as_str()).collect();
        self.sandboxes.retain(|s| {
            let is_removed = s.pod_uid == uid
                && s.state == SandboxState::NotReady
                && !used.contains(s.id.as_str())
                && seen.sandboxes.iter().any(|known| known.id == s.id)
                && some(chance);
            !is_removed
        });
        let is_written = removed_log && !self.is_quiet && self.chance.of_thousand(100);
        let wall = self.wall();
        let has_more = self.sandboxes.iter().any(|s| s.pod_uid == uid)
            || self.containers.iter().any(|c| c.pod_uid == uid);
        for dir in self.log_dirs.iter_mut().filter(|dir| is_written && dir.name.ends_with(uid)) {
            dir.changed_at = dir.changed_at.map(|_| wall);
        }
        let chance = &mut self.chance;
        self.log_dirs.retain(|dir| {
            let is_known = seen.log_dirs.iter().any(|known| known.identity == dir.identity);
            has_more || !dir.name.ends_with(uid) || !is_known || !some(chance)
        });
    }

    /// Others clear up too: the kubelet old dead containers of living pods, an administrator what is left over.
    pub fn trim(&mut self) {
        for place in (0..self.pods.len()).rev() {
            let pod = &self.pods[place];
            let is_gone = pod.in_api.is_none() && pod.in_kubelet.is_none() && !pod.manifest;
            if is_gone && self.chance.of_thousand(60) && !self.runs(&self.pods[place].uid) {
                let uid = self.pods.remove(place).uid;
                self.dirs.remove(&uid);
                let of_it = |s: &Sandbox| s.pod_uid == uid;
                let ids: HashSet<EcoString> =
                    self.sandboxes.iter().filter(|s| of_it(s)).map(|s| s.id.clone()).collect();
                self.containers.retain(|c| c.pod_uid != uid && !ids.contains(&c.pod_sandbox_id));
                self.sandboxes.retain(|s| !of_it(s));
                self.log_dirs.retain(|dir| !dir.name.ends_with(uid.as_str()));
            }
        }
        let mut newest: HashMap<EcoString, usize> = HashMap::new();
        for (place, container) in self.containers.iter().enumerate() {
            newest.insert(container.pod_sandbox_id.clone(), place);
        }
        let mut place = 0;
        self.containers.retain(|container| {
            place += 1;
            container.state == ContainerState::Running || newest[&container.pod_sandbox_id] == place - 1
        });
        let used: HashSet<&str> = self.containers.iter().map(|c| c.pod_sandbox_id.as_str()).collect();
        let last: HashMap<&str, &str> =
            self.sandboxes.iter().map(|s| (s.pod_uid.as_str(), s.id.as_str())).collect();
        let keep: HashSet<EcoString> =
            used.into_iter().chain(last.into_values()).map(EcoString::from).collect();
        self.sandboxes.retain(|s| s.state == SandboxState::Ready || keep.contains(&s.id));
    }

    pub fn list_sandboxes(&self) -> Arc<Vec<Arc<Sandbox>>> {
        Arc::new(self.sandboxes.iter().cloned().map(Arc::new).collect())
    }

    pub fn list_containers(&self) -> Arc<Vec<Arc<Container>>> {
        Arc::new(self.containers.iter().cloned().map(Arc::new).collect())
    }

    pub fn list_log_dirs(&self) -> Arc<Vec<LogDir>> {
        Arc::new(self.log_dirs.clone())
    }
}
