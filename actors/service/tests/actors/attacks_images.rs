//! Attacks on image GC: each test names what should be true, and fails where it is not.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};
use std::time::Duration;

use actix::Arbiter;
use cri_gc_config::PodSource;
use cri_gc_images::{Home, ImageRecords, Origin};
use cri_gc_kit::generation::{Generation, Reconfigure};
use cri_gc_kit::seams::{Clock, Moment};
use cri_gc_kit::supervision::guard::{Pace, log_restart};
use cri_gc_kit::workers::Workers;
use cri_gc_policy::Image;
use cri_gc_sim::{Code, Fault, Flavour, ImageSpec, LayerSpec, Method, Options, Scope};
use cri_gc_test_support::{flavours::options, on_each_flavour};
use jiff::{SignedDuration, Timestamp};

use super::bed::{Bed, HOUR, MIB, MINUTE, SECOND, errors, kept_for, removed, silent, uid};

on_each_flavour!(
    an_image_that_was_removed_and_pulled_again_is_young,
    an_image_that_was_removed_for_its_age_and_pulled_again_is_not_old,
    an_image_that_a_new_pod_names_during_a_pass_is_kept,
    no_image_is_removed_before_the_source_of_new_settings_was_read,
    a_disk_full_of_something_else_does_not_cost_all_images_by_and_by,
    a_disk_that_breathes_does_not_make_futile_removals_useful,
    removals_that_failed_count_as_futile_too,
    images_that_cannot_be_removed_do_not_hold_up_the_others,
    a_pass_cut_short_reports_what_it_freed_and_each_image_once,
);

fn id(digit: char) -> String {
    format!("sha256:{}", digit.to_string().repeat(64))
}

fn bed() -> Bed {
    let mut bed = Bed::with(Options { capacity_bytes: 100_000 * MIB, ..options() });
    bed.settings.image_gc.min_age = Duration::ZERO;
    bed.settings.image_gc.parallel_removals = 1;
    bed
}

/// An image of one percent of the disk.
fn image(bed: &Bed, digit: char, tag: &str) -> String {
    bed.sim.add_image(ImageSpec::single(tag, 500 * MIB, 500 * MIB).id(id(digit)))
}

fn fill(bed: &Bed, percent: u64) {
    bed.sim.with(|node| node.fill_to_percent(percent));
}

// ---- what must be kept ----

/// T1. What cri-gc itself removed, and another client pulled again before the next observation, is a new image.
fn an_image_that_was_removed_and_pulled_again_is_young() {
    let mut bed = bed();
    bed.settings.image_gc.min_age = 2 * MINUTE;
    let job = image(&bed, 'a', "job:1");
    bed.run(async |crew| {
        crew.observe_images().await;
        bed.sim.advance(HOUR);
        fill(&bed, 85);
        assert_eq!(removed(&crew.images().await), std::slice::from_ref(&job));
        // A pod wants it: it is pulled, and the disk is full again. The pod's container comes in a moment.
        bed.sim.advance(10 * SECOND);
        image(&bed, 'a', "job:1");
        fill(&bed, 85);
        let report = crew.images().await;
        assert_eq!(kept_for(&report, &job).as_deref(), Some("too_young"), "{report:?}");
    });
}

/// The same for its age.
fn an_image_that_was_removed_for_its_age_and_pulled_again_is_not_old() {
    let mut bed = bed();
    bed.settings.image_gc.min_age = 2 * MINUTE;
    bed.settings.image_gc.max_age = HOUR;
    let job = image(&bed, 'a', "job:1");
    bed.run(async |crew| {
        crew.observe_images().await;
        bed.sim.advance(2 * HOUR);
        assert_eq!(removed(&crew.images().await), std::slice::from_ref(&job));
        bed.sim.advance(10 * SECOND);
        image(&bed, 'a', "job:1");
        assert_eq!(removed(&crew.images().await), Vec::<String>::new());
    });
}

/// T2. A pod that the source reports while a pass is in progress keeps its image.
fn an_image_that_a_new_pod_names_during_a_pass_is_kept() {
    let mut bed = bed();
    let file = bed.sim.paths().root.join("pods.json");
    bed.settings.pods.source = PodSource::File;
    bed.settings.pods.file = Some(file.clone());
    let write = |items: &str| {
        std::fs::write(&file, format!(r#"{{"kind": "PodList", "items": [{items}]}}"#)).unwrap();
        let open = std::fs::File::options().write(true).open(&file).unwrap();
        open.set_modified(bed.sim.now().into()).unwrap();
    };
    write("");
    let (first, wanted) = (image(&bed, 'a', "old:1"), image(&bed, 'b', "wanted:1"));
    fill(&bed, 90);
    bed.sim.fault(Method::RemoveImage, Fault::Delay(2 * SECOND), Scope::Times(1));
    bed.run(async |crew| {
        crew.tools.pods.resync().await.unwrap();
        crew.tools.pods.resync().await.unwrap();
        let news = async {
            while bed.sim.count(Method::RemoveImage) == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            write(&format!(
                r#"{{"metadata": {{"uid": "{}"}}, "spec": {{"containers": [{{"image": "wanted:1"}}]}},
                    "status": {{"phase": "Pending"}}}}"#,
                uid(7)
            ));
            crew.tools.pods.resync().await.unwrap();
        };
        let (report, ()) = futures_util::join!(crew.images(), news);
        assert!(removed(&report).contains(&first));
        assert!(!removed(&report).contains(&wanted), "{report:?}");
    });
}

/// What pods name is not known until the source that is in force now was read.
fn no_image_is_removed_before_the_source_of_new_settings_was_read() {
    let mut bed = bed();
    let file = bed.sim.paths().root.join("pods.json");
    std::fs::write(&file, r#"{"kind": "PodList", "items": []}"#).unwrap();
    std::fs::File::options().write(true).open(&file).unwrap().set_modified(bed.sim.now().into()).unwrap();
    bed.settings.pods.source = PodSource::File;
    bed.settings.pods.file = Some(file.clone());
    let (first, second) = (image(&bed, 'a', "old:1"), image(&bed, 'b', "old:2"));
    fill(&bed, 90);
    bed.run(async |crew| {
        assert_eq!(removed(&crew.images().await), Vec::<String>::new(), "it was never read");
        crew.tools.pods.resync().await.unwrap();
        let (pods, mut settings) = (crew.tools.pods.follower(), bed.settings.clone());
        settings.pods.file = Some(file.with_extension("other"));
        let generation = Generation::only(Arc::new(settings));
        bed.sim
            .before_next(Method::RemoveImage, move |_, _| pods.do_send(Reconfigure(Arc::clone(&generation))));
        let report = crew.images().await;
        assert_eq!(removed(&report), std::slice::from_ref(&first));
        assert_eq!(kept_for(&report, &second).as_deref(), Some("named_by_pod"), "{report:?}");
    });
}

/// T3. The name of the sandbox image moves on to another image during a pass.
#[test]
fn an_image_that_becomes_the_sandbox_image_during_a_pass_is_kept() {
    for flavour in [Flavour::Containerd16, Flavour::CriO] {
        let options = Options { flavour, ..Options::default() };
        let sandbox_image = options.sandbox_image.clone();
        let mut bed = Bed::with(Options { capacity_bytes: 100_000 * MIB, ..options });
        bed.settings.image_gc.min_age = Duration::ZERO;
        bed.settings.image_gc.parallel_removals = 1;
        let (first, next) = (image(&bed, 'a', "old:1"), image(&bed, 'b', "staged/pause:3.10"));
        fill(&bed, 90);
        let to = next.clone();
        bed.sim.before_next(Method::RemoveImage, move |node, _| node.move_tag(&sandbox_image, &to).unwrap());
        let report = bed.run(async |crew| crew.images().await);
        assert!(removed(&report).contains(&first));
        assert!(!removed(&report).contains(&next), "{report:?}");
    }
}

/// T6. A disk full of something else (or of what removals do not free: snapshots, another mount) removes no images
/// without effect (docs/images.md), not even over many passes.
fn a_disk_full_of_something_else_does_not_cost_all_images_by_and_by() {
    let bed = bed();
    for number in 0..30 {
        let layer = LayerSpec::new("shared", 4_000 * MIB, 8_000 * MIB);
        bed.sim.add_image(ImageSpec::new(format!("app:{number}")).layer(layer));
    }
    fill(&bed, 95);
    bed.run(async |crew| {
        // An hour of passes that come by themselves.
        for _ in 0..12 {
            crew.images().await;
            bed.sim.advance(5 * MINUTE);
        }
    });
    let left = bed.sim.image_ids().len() - 1;
    assert!(left >= 20, "{left} of 30 are left after an hour, and nothing was freed");
}

/// T6b. What others free meanwhile is not what the removals freed.
fn a_disk_that_breathes_does_not_make_futile_removals_useful() {
    let bed = bed();
    for number in 0..30 {
        let layer = LayerSpec::new("shared", 4_000 * MIB, 8_000 * MIB);
        bed.sim.add_image(ImageSpec::new(format!("app:{number}")).layer(layer));
    }
    fill(&bed, 95);
    let (other, mut turn) = (bed.sim.usage().other.bytes, 0);
    // Another program deletes a log of 64 KiB now and then.
    bed.sim.before(Method::ListImages, move |node, _| {
        turn += 1;
        node.disk.stored.other.bytes = other - 65_536 * turn;
    });
    let report = bed.run(async |crew| crew.images().await);
    let left = bed.sim.image_ids().len() - 1;
    assert!(
        left >= 25,
        "{left} of 30 are left after one pass; it is said: {:?}, freed {}",
        errors(&report),
        report.freed_bytes
    );
}

/// T20. A runtime that removes and then says that it failed: nothing is freed, so it stops after three.
fn removals_that_failed_count_as_futile_too() {
    let bed = bed();
    for number in 0..30 {
        let layer = LayerSpec::new("shared", 4_000 * MIB, 8_000 * MIB);
        bed.sim.add_image(ImageSpec::new(format!("app:{number}")).layer(layer));
    }
    fill(&bed, 95);
    let late = Fault::error(Code::DeadlineExceeded, "context deadline exceeded").after();
    bed.sim.fault(Method::RemoveImage, late, Scope::Always);
    bed.run(async |crew| crew.images().await);
    let left = bed.sim.image_ids().len() - 1;
    assert!(left >= 25, "{left} of 30 are left after one pass, and nothing was freed");
}

// ---- passes without an end or effect ----

/// T7. What cannot be removed frees nothing, so no pass has to wait for its space.
fn images_that_cannot_be_removed_do_not_hold_up_the_others() {
    let mut bed = bed();
    bed.settings.image_gc.settle = Duration::from_millis(200);
    bed.settings.image_gc.deadline = 3 * SECOND;
    for number in 0..40 {
        let stuck = format!("sha256:{number:064}");
        let shared = LayerSpec::new("shared", 3_000 * MIB, MIB);
        let stuck = bed.sim.add_image(ImageSpec::new(format!("stuck:{number}")).layer(shared).id(stuck));
        let error = Fault::error(Code::Unknown, "image is in use by a container");
        bed.sim.fault(Method::RemoveImage, error, Scope::ForId(stuck));
    }
    let free = bed.sim.add_image(ImageSpec::single("free:1", 5_000 * MIB, 5_000 * MIB).id(id('f')));
    fill(&bed, 88);
    bed.run(async |crew| {
        for pass in 0..3 {
            let report = crew.images().await;
            println!(
                "pass {pass}: {:?}, {} removals, {:?}",
                report.took,
                report.removals.len(),
                errors(&report)
            );
        }
    });
    assert!(!bed.sim.image_ids().contains(&free), "it was never come to");
}

// ---- what is said ----

/// T19. A pass that is cut short by its deadline has freed what it freed, and says of each image one thing.
fn a_pass_cut_short_reports_what_it_freed_and_each_image_once() {
    let mut bed = bed();
    bed.settings.image_gc.deadline = 2 * SECOND;
    let (first, second) = (image(&bed, 'a', "a:1"), image(&bed, 'b', "b:1"));
    for digit in ['c', 'd', 'e'] {
        image(&bed, digit, &format!("{digit}:1"));
    }
    fill(&bed, 81);
    (bed.settings.image_gc.high_threshold_percent, bed.settings.image_gc.low_threshold_percent) = (81, 79);
    bed.sim.fault(Method::RemoveImage, Fault::Hang, Scope::ForId(second));
    let report = bed.run(async |crew| {
        let report = crew.images().await;
        bed.sim.clear_faults();
        report
    });
    assert_eq!(removed(&report), std::slice::from_ref(&first));
    println!("{:?} {:?}", report.freed_bytes, errors(&report));
    let named = report.kept.iter().filter(|kept| kept.item.id == first).count();
    assert_eq!(named, 0, "it is reported as kept too");
    assert!(report.freed_bytes > 0, "{report:?}");
}

/// Spellings that a user would write for an image, each either refused or matched.
#[test]
fn a_pattern_protects_what_its_author_meant_or_is_refused() {
    let digest = "sha256:d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1";
    let by_tag = vec!["registry.example/base/app:1".to_owned()];
    let by_digest = vec![format!("registry.example/base/app@{digest}")];
    let hub = vec!["docker.io/grafana/grafana:11".to_owned()];
    let mut bad = Vec::new();
    for (pattern, names) in [
        ("registry.example/base/", &by_tag),
        ("https://registry.example/base/app:1", &by_tag),
        ("docker://grafana/grafana:11", &hub),
        ("index.docker.io/*", &hub),
        ("registry-1.docker.io/grafana/grafana", &hub),
        (digest, &by_digest),
        ("registry.example/base/app:*", &by_digest),
        (&format!("registry.example/base/app:1@{digest}"), &by_tag),
    ] {
        let mut settings = cri_gc_config::Settings::default();
        settings.image_gc.protect.extend(pattern.parse());
        let Some(parsed) = settings.image_gc.protect.first() else { continue };
        if !parsed.matches(&id('a'), names.iter().map(String::as_str)) {
            bad.push(pattern.to_owned());
        }
    }
    assert!(bad.is_empty(), "accepted, and protects nothing: {bad:#?}");
}

// ---- records ----

fn listed(names: &[&str]) -> Vec<Image> {
    let image = |id: &&str| Image {
        id: (*id).to_owned(),
        runtime_handler: String::new(),
        repo_tags: Vec::new(),
        repo_digests: Vec::new(),
        size_bytes: 1,
        pinned: false,
        first_detected: None,
        last_used: None,
        in_use_elsewhere: false,
    };
    names.iter().map(image).collect()
}

/// A clock of this boot: (wall, boot) in seconds.
#[derive(Clone)]
struct Hands(Arc<AtomicI64>, Arc<AtomicI64>, &'static str);

impl Hands {
    fn new(wall: i64, boot: i64, name: &'static str) -> Self {
        Self(Arc::new(AtomicI64::new(wall)), Arc::new(AtomicI64::new(boot)), name)
    }

    fn pass(&self, seconds: i64) {
        self.0.fetch_add(seconds, SeqCst);
        self.1.fetch_add(seconds, SeqCst);
    }

    fn clock(&self) -> Clock {
        let (wall, boot) = (Arc::clone(&self.0), Arc::clone(&self.1));
        let clock = Clock::with_boot(
            move || Timestamp::from_second(wall.load(SeqCst)).unwrap(),
            move || SignedDuration::from_secs(boot.load(SeqCst)),
        );
        clock.of_boot(self.2)
    }

    fn moment(&self) -> Moment {
        self.clock().moment()
    }
}

/// One life of the keeper with a store there.
fn life(dir: &Path, hands: &Hands, test: impl AsyncFnOnce(&ImageRecords)) {
    actix::System::new().block_on(async {
        let arbiter = Arbiter::new();
        let pace = Pace { min: Duration::from_millis(1), max: Duration::from_millis(4) };
        let log_panic = log_restart(silent(), "image records", None);
        let (home, worker) =
            (Home::Store(dir.to_owned().into(), Origin::default()), Workers::start(1).unwrap());
        let records =
            ImageRecords::start(&arbiter.handle(), (pace, log_panic), home, worker, hands.clock(), silent());
        test(&records).await;
        drop(records);
        arbiter.stop();
        arbiter.join().unwrap();
    });
}

/// T4. A store that could not be opened at the start keeps its records once it can be.
#[test]
fn a_store_that_could_not_be_opened_at_first_keeps_its_records() {
    let folder = tempfile::tempdir().unwrap();
    let hands = Hands::new(1_000_000, 1_000, "one");
    life(folder.path(), &hands, async |records| {
        records.remember(listed(&["a", "b"]), hands.moment()).await.unwrap();
        assert_eq!(records.problem().await, None);
    });
    hands.pass(3_600);
    // The operating system refuses to open it for a while (here for its lock).
    let holder = redb::Database::create(folder.path().join("images.redb")).unwrap();
    life(folder.path(), &hands, async |records| {
        assert!(records.problem().await.is_some(), "it is locked");
        drop(holder);
        hands.pass(10);
        // A container pass comes before the image pass.
        records.seen(["a"], hands.moment());
        while records.problem().await.is_some() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // And even an observation of the images.
        hands.pass(10);
        let images = records.remember(listed(&["a", "b"]), hands.moment()).await.unwrap();
        assert_eq!(images[1].first_detected.unwrap().as_second(), 1_000_000, "in memory it is known");
        assert_eq!(records.problem().await, None);
    });
    hands.pass(3_600);
    life(folder.path(), &hands, async |records| {
        let images = records.remember(listed(&["a", "b"]), hands.moment()).await.unwrap();
        let first: Vec<i64> = images.iter().map(|image| image.first_detected.unwrap().as_second()).collect();
        assert_eq!(first, [1_000_000, 1_000_000]);
    });
}

/// T10. A machine with no clock of its own: its first boot begins in 1970, and the next one after the time was set, before
/// the service starts. An image that was watched for ten minutes is not half a century old.
#[test]
fn a_clock_that_was_set_before_the_next_boot_makes_no_image_old() {
    let folder = tempfile::tempdir().unwrap();
    let hands = Hands::new(60, 60, "without network");
    life(folder.path(), &hands, async |records| {
        records.seen(["a"], hands.moment());
        records.remember(listed(&["a", "b"]), hands.moment()).await.unwrap();
        hands.pass(600);
        records.remember(listed(&["a", "b"]), hands.moment()).await.unwrap();
    });
    let hands = Hands::new(1_780_000_000, 30, "with ntp");
    life(folder.path(), &hands, async |records| {
        let images = records.remember(listed(&["a", "b"]), hands.moment()).await.unwrap();
        for image in images {
            let since = image.last_used.or(image.first_detected).unwrap();
            let age = hands.moment().wall().duration_since(since);
            assert!(age < SignedDuration::from_hours(24), "{}: {age:#}", image.id);
        }
    });
}

/// T14. A store that was cut off, wherever, is set aside: it is not unusable forever.
#[test]
fn a_store_that_was_cut_off_anywhere_is_set_aside_or_read() {
    let folder = tempfile::tempdir().unwrap();
    let hands = Hands::new(1_000_000, 1_000, "one");
    life(folder.path(), &hands, async |records| {
        records.remember(listed(&["a", "b"]), hands.moment()).await.unwrap();
    });
    let whole = std::fs::read(folder.path().join("images.redb")).unwrap();
    let mut bad = Vec::new();
    for part in 0..16 {
        let length = whole.len() * part / 16 + usize::from(part % 2 == 1);
        std::fs::write(folder.path().join("images.redb"), &whole[..length]).unwrap();
        life(folder.path(), &hands, async |records| {
            records.remember(listed(&["a", "b"]), hands.moment()).await.unwrap();
            if let Some(problem) = records.problem().await {
                bad.push((length, problem));
            }
        });
    }
    assert!(bad.is_empty(), "of {}: {bad:#?}", whole.len());
}
