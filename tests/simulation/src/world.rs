//! The node of a run, the pods on it, and what others know of them: the list of pods in a file, the configuration.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU8;
use std::time::{Duration, SystemTime};

use cri_gc_config::{FileSource, PodSource, Settings, Sources, load};
use cri_gc_images::{Home, Origin};
use cri_gc_sim::{Flavour, ImageSpec, LayerSpec, Options, Sim, uid};
use fastrand::Rng;
use jiff::SignedDuration;
use serde_json::json;

use crate::judge::{Judge, Phase, Version};
use crate::policy::{self, chance, pick};
use crate::story::Story;
use crate::{Outcome, Tally};

const MIB: u64 = 1 << 20;

/// How long trouble lasts, in modelled time.
const TROUBLE: Duration = Duration::from_secs(20 * 60);

/// A pod, as its cluster knows it.
#[derive(Debug, Clone)]
pub struct Pod {
    pub name: String,
    pub uid: String,
    pub phase: Phase,
    /// Whether its objects have the labels of a kubelet.
    pub labelled: bool,
    /// The image of its container.
    pub image: String,
}

/// What the list of pods in the file is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listing {
    /// It is written again and again, and says the truth.
    True,
    /// It lists no pods.
    Empty,
    /// It lists the pods of another node.
    Foreign,
    /// Some pods are missing in it.
    Partial(u64),
    /// It is no longer written.
    Stale,
    /// There is no file.
    Missing,
    /// It ends in the middle.
    CutOff,
}

/// Everything but the service.
pub struct World {
    pub seed: u64,
    pub random: Rng,
    pub sim: Sim,
    pub story: Story,
    pub judge: Judge,
    pub source: PodSource,
    pub pods: Vec<Pod>,
    pub made: usize,
    /// Tags of images that there may be.
    pub images: Vec<String>,
    pub listing: Listing,
    /// The text of the last valid configuration.
    pub policy: String,
    /// What panics when it reads its clock next: a bit for each loop, the last for all others.
    pub panics: Arc<AtomicU8>,
    /// When the runtime is started again, if it is down.
    pub runtime_back_at: Option<Duration>,
    /// When the faults of the runtime end.
    pub faults_end_at: Option<Duration>,
    pub trouble_ends_at: Duration,
    /// By how much the clock was set in all, and by how much at most.
    pub clock_is_ahead: SignedDuration,
    pub clock_was_ahead: SignedDuration,
    pub tally: Tally,
    keeps_records: bool,
    config_file: PathBuf,
    pods_file: PathBuf,
}

impl World {
    pub fn new(seed: u64, dir: &Path) -> Self {
        let mut random = Rng::with_seed(seed);
        let flavour = pick(&mut random, &Flavour::ALL);
        let options = Options {
            flavour,
            seed,
            capacity_bytes: 20_000 * MIB,
            pin_sandbox_image: random.bool(),
            container_image_ids: random.bool(),
            separate_container_fs: chance(&mut random, 0.2),
            ..Options::default()
        };
        let sim = Sim::in_memory(dir, options).unwrap();
        let source = pick(&mut random, &[PodSource::Runtime, PodSource::File]);
        let images = (0..8).map(|number| format!("registry.example.com/app-{number}:1")).collect::<Vec<_>>();
        let policy = policy::random(&mut random, &images);
        for own in ["state", "run"] {
            std::fs::create_dir(dir.join(own)).unwrap();
        }
        // What an odd answer names as a log.
        std::fs::write(sim.paths().root.join("outside.log"), "not of a container").unwrap();
        let story = Story::of(&sim);
        let mut this = Self {
            seed,
            judge: Judge::of(&sim, &story, source),
            sim,
            story,
            source,
            pods: Vec::new(),
            made: 0,
            images,
            listing: Listing::True,
            policy,
            panics: Arc::default(),
            runtime_back_at: None,
            faults_end_at: None,
            trouble_ends_at: TROUBLE,
            clock_is_ahead: SignedDuration::ZERO,
            clock_was_ahead: SignedDuration::ZERO,
            tally: Tally::default(),
            keeps_records: random.bool(),
            config_file: dir.join("config.toml"),
            pods_file: dir.join("pods.json"),
            random,
        };
        this.story.tell(format!("a node with {flavour:?}; pods are known from the source {source:?}"));
        for number in 0..this.images.len() {
            this.pull(number);
        }
        for _ in 0..this.random.usize(2..6) {
            this.start_pod();
        }
        this.write_config(&this.policy.clone());
        this.write_pods();
        this
    }

    pub fn chance(&mut self, probability: f64) -> bool {
        chance(&mut self.random, probability)
    }

    /// One of a few values.
    pub fn pick<T: Clone>(&mut self, values: &[T]) -> T {
        pick(&mut self.random, values)
    }

    /// Any of them, if there is one.
    pub fn any<T>(&mut self, of: Vec<T>) -> Option<T> {
        let number = (!of.is_empty()).then(|| self.random.usize(..of.len()))?;
        of.into_iter().nth(number)
    }

    // ---- Images ----

    /// The image of that number is pulled, if it is not there.
    pub fn pull(&mut self, number: usize) {
        let tag = self.images[number].clone();
        if self.sim.with(|node| node.image(&tag).is_some()) {
            return;
        }
        let own = LayerSpec::new(format!("own-{number}"), 100 * MIB, 300 * MIB);
        let shared = LayerSpec::new(format!("shared-{}", number % 2), 50 * MIB, 100 * MIB);
        let spec = ImageSpec::new(&tag).layer(own).layer(shared);
        let pinned = self.chance(0.1);
        let spec = spec.with(|image| image.pinned = pinned);
        let id = self.sim.add_image(spec);
        self.judge.pulled(&id);
    }

    // ---- The configuration ----

    /// The layers that the service reads.
    pub fn sources(&self) -> Sources {
        let paths = self.sim.paths();
        let path = |path: &Path| path.display().to_string();
        let mut fixed = vec![
            ("runtime.request_timeout", "20s".to_owned()),
            ("pods.source", <&str>::from(self.source).to_owned()),
            ("pods.kubelet_root", path(&paths.root.join("kubelet"))),
            ("log_gc.pod_logs_root", path(&paths.pod_logs_root)),
            ("log_gc.legacy_container_logs_root", path(&paths.legacy_root)),
            ("state.dir", path(&paths.root.join("state"))),
            ("state.runtime_dir", path(&paths.root.join("run"))),
            ("admin.socket", path(&paths.root.join("admin.sock"))),
            // It has a thread of its own.
            ("state.history_max_events", "0".to_owned()),
            ("image_gc.period", "2m".to_owned()),
            ("supervision.stuck_backoff_max", "4m".to_owned()),
            ("supervision.hang_timeout", "2m".to_owned()),
        ];
        if self.source == PodSource::File {
            fixed.push(("pods.file", path(&self.pods_file)));
        }
        let overrides = fixed.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        Sources { file: FileSource::Explicit(self.config_file.clone()), env: Vec::new(), overrides }
    }

    /// Writes the file; nothing reads it yet.
    pub fn write_config(&mut self, text: &str) {
        std::fs::write(&self.config_file, text).unwrap();
    }

    pub fn remove_config(&mut self) {
        drop(std::fs::remove_file(&self.config_file));
    }

    /// What a service that reads the file now gets.
    pub fn settings(&self) -> Result<Settings, String> {
        load(&self.sources()).map(|loaded| loaded.settings).map_err(|error| error.to_string())
    }

    /// Where the service keeps what it remembers of images.
    pub fn home(&self) -> Home {
        let dir = self.sim.paths().root.join("state");
        if self.keeps_records { Home::Store(dir.into(), Origin::default()) } else { Home::Memory }
    }

    // ---- The list of pods ----

    /// Writes the list of pods as it is now.
    pub fn write_pods(&mut self) {
        if self.source != PodSource::File || self.listing == Listing::Stale {
            return;
        }
        let listed = self.pods.iter().enumerate().filter(|(number, pod)| match self.listing {
            Listing::Empty | Listing::Foreign => false,
            Listing::Partial(missing) => pod.phase != Phase::Deleted && missing >> (number % 64) & 1 == 0,
            _ => pod.phase != Phase::Deleted,
        });
        let mut listed: Vec<Pod> = listed.map(|(_, pod)| pod.clone()).collect();
        if self.listing == Listing::Foreign {
            listed.push(Pod {
                name: "elsewhere".to_owned(),
                uid: uid(900_000),
                phase: Phase::Running,
                labelled: true,
                image: "elsewhere:1".to_owned(),
            });
        }
        let items: Vec<_> = listed.iter().map(Pod::json).collect();
        let text = json!({"kind": "PodList", "apiVersion": "v1", "items": items}).to_string();
        match self.listing {
            Listing::Missing => drop(std::fs::remove_file(&self.pods_file)),
            Listing::CutOff => std::fs::write(&self.pods_file, &text[..text.len() / 2]).unwrap(),
            _ => std::fs::write(&self.pods_file, text).unwrap(),
        }
        let understood = !matches!(self.listing, Listing::Missing | Listing::CutOff);
        if let Ok(file) = File::options().write(true).open(&self.pods_file) {
            file.set_modified(SystemTime::from(self.sim.now())).unwrap();
        }
        let content = listed.into_iter().map(|pod| (pod.uid, (pod.phase, pod.image))).collect();
        self.judge.wrote_pods(Version::new(&self.sim, understood.then_some(content)));
    }

    // ---- The end ----

    pub fn outcome(self) -> Outcome {
        self.sim.clear_hooks();
        let story = self.story.lines();
        let mut tally = self.tally;
        tally.rpcs = story.iter().filter(|line| line.is_call).count() as u64;
        let (mut violations, removed) = self.judge.verdict();
        [tally.containers, tally.sandboxes, tally.images, tally.log_directories] = removed;
        violations.extend(self.story.unordered_panics());
        let digest = story
            .iter()
            .flat_map(|line| line.text.bytes())
            .fold(0xcbf2_9ce4_8422_2325, |digest: u64, byte| {
                (digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            });
        Outcome { seed: self.seed, violations, story, tally, digest }
    }
}

impl Pod {
    fn json(&self) -> serde_json::Value {
        let status = match self.phase {
            Phase::Evicted => json!({"phase": "Failed", "reason": "Evicted"}),
            phase => json!({"phase": format!("{phase:?}")}),
        };
        json!({
            "metadata": {"name": self.name, "namespace": "ns", "uid": self.uid},
            "spec": {"containers": [{"name": "app", "image": self.image}]},
            "status": status,
        })
    }
}
