//! A disk at 100 %, or read-only, with `state.dir` on it: the ages of images are kept in the runtime directory meanwhile, so that
//! the second sweep removes what the first one had to keep; and a service on such a node continues with them.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use cri_gc_files::dirs::Dirs;
use cri_gc_files::lock;
use cri_gc_images::store::fallback::read_both;
use cri_gc_images::{Content, Origin};
use cri_gc_kit::seams::Clock;
use cri_gc_sim::{ImageSpec, Sim};
use cri_gc_test_support::{Tmpfs, TmpfsSize, flavours::options, until_async};
use rustix::process::Signal;

use crate::node::Node;
use crate::running_service::{serve, status, well};

const PATIENCE: Duration = Duration::from_secs(90);

/// Why nothing can be written in the state directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Disk {
    Full,
    ReadOnly,
}

/// A node with an unused image, and a filesystem of its own for the state directory.
struct Bed {
    node: Node,
    sim: Sim,
    id: String,
    tmpfs: Tmpfs,
    disk: Disk,
}

impl Bed {
    /// `None` without the right to mount.
    fn new(disk: Disk) -> Option<Self> {
        let (mut node, sim) = crate::embedded::node_and_sim(options());
        let mount = node.path("disk");
        fs::create_dir(&mount).unwrap();
        let tmpfs = match Tmpfs::mount(&mount, TmpfsSize::mib(4)) {
            Ok(tmpfs) => tmpfs,
            Err(error) => {
                eprintln!("SKIPPED: no tmpfs can be mounted here ({error})");
                return None;
            }
        };
        node.set("state.dir", mount.join("state").display());
        match disk {
            Disk::Full => while fs::write(mount.join("ballast"), vec![1; 8 << 20]).is_ok() {},
            Disk::ReadOnly => tmpfs.set_read_only(true).unwrap(),
        }
        let id = sim.add_image(ImageSpec::single("r.io/unused:1", 1 << 20, 0));
        // By age, so that the disk of this machine does not matter.
        node.set("image_gc.mode", "enforce").set("image_gc.high_threshold_percent", 100);
        node.set("image_gc.max_age", "1us").set("image_gc.min_age", "1s");
        Some(Self { node, sim, id, tmpfs, disk })
    }

    fn dirs(&self) -> Dirs {
        let state = self.node.path("disk/state");
        let name = state.display().to_string().trim_start_matches('/').replace('/', "%2F");
        Dirs { runtime: Some(self.node.path("run").join(name)), state }
    }

    fn copy(&self) -> PathBuf {
        self.dirs().runtime.unwrap().join("images.redb")
    }

    fn store(&self) -> PathBuf {
        self.dirs().state.join("images.redb")
    }

    fn recorded(&self) -> Content {
        read_both(&self.dirs(), &Origin::default(), Clock::system().boot_id()).unwrap()
    }

    fn has_image(&self) -> bool {
        self.sim.image_ids().contains(&self.id)
    }

    fn is_recorded(&self) -> bool {
        self.recorded().images.keys().any(|(id, _)| *id == self.id)
    }

    fn frees_disk(&self) {
        match self.disk {
            Disk::Full => fs::remove_file(self.node.path("disk/ballast")).unwrap(),
            Disk::ReadOnly => self.tmpfs.set_read_only(false).unwrap(),
        }
    }
}

#[tokio::test]
async fn the_second_sweep_on_a_full_or_read_only_disk_removes_what_the_first_one_kept() {
    for disk in [Disk::Full, Disk::ReadOnly] {
        let Some(bed) = Bed::new(disk) else { return };
        let first = bed.node.sweep(&[]).await;
        assert!(bed.has_image() && first.code == 0, "{first:#?}");
        let note = first.notes().into_iter().find(|note| note.contains("image_gc.min_age"));
        let note = note.unwrap_or_else(|| panic!("{disk:?}: no hint: {first:#?}"));
        assert!(note.contains("too_young") && note.contains("They are recorded now"), "{note}");
        assert!(first.stderr.contains(bed.copy().to_str().unwrap()), "{first:#?}");
        assert!(bed.copy().exists() && bed.is_recorded(), "{disk:?}");
        let next = || async {
            let next = bed.node.sweep(&[]).await;
            assert_eq!(next.code, 0, "{next:#?}");
            assert!(!next.notes().iter().any(|note| note.contains("image_gc.min_age")), "{next:#?}");
            (!bed.has_image()).then_some(next)
        };
        until_async(PATIENCE, next).await.expect("a sweep a second later removes it");
        assert!(!bed.is_recorded(), "should it be pulled again, it is new");
        bed.frees_disk();
        let last = bed.node.sweep(&[]).await;
        last.is_good();
        assert!(bed.store().exists() && !bed.copy().exists(), "{disk:?}");
    }
}

#[tokio::test]
async fn a_dry_run_without_records_says_what_to_do_and_writes_nothing() {
    let Some(bed) = Bed::new(Disk::ReadOnly) else { return };
    for _ in 0..2 {
        let report = bed.node.sweep(&["--dry-run"]).await;
        let hints =
            report.notes().into_iter().filter(|note| note.contains("A dry run records nothing")).count();
        assert_eq!(hints, 1, "{report:#?}");
    }
    assert!(!bed.node.path("run").exists());
}

#[tokio::test]
async fn where_records_can_be_kept_nowhere_every_sweep_says_so() {
    let Some(mut bed) = Bed::new(Disk::ReadOnly) else { return };
    bed.node.set("state.runtime_dir", bed.node.path("disk/run").display());
    for _ in 0..2 {
        let report = bed.node.sweep(&[]).await;
        let hints: Vec<String> =
            report.notes().into_iter().filter(|note| note.contains("image_gc.min_age")).collect();
        assert_eq!(hints.len(), 1, "{report:#?}");
        for part in ["too_young", "can't be recorded either", "state.dir", "Read-only file system"] {
            assert!(hints[0].contains(part), "{part}: {hints:?}");
        }
    }
    assert!(bed.has_image());
}

#[tokio::test]
async fn one_sweep_at_a_time_works_with_the_records_in_the_runtime_directory() {
    let Some(bed) = Bed::new(Disk::ReadOnly) else { return };
    let lock = lock::hold_either(&bed.dirs()).unwrap();
    for is_freed in [false, true] {
        if is_freed {
            bed.frees_disk();
        }
        let refused = bed.node.run_program(&["sweep"], None);
        assert_eq!(refused.code, 1, "{refused:?}");
        assert!(
            refused.stderr.contains(&format!("another cri-gc (pid {})", std::process::id())),
            "{refused:?}"
        );
    }
    drop(lock);
    assert_eq!(bed.node.run_program(&["sweep"], None).code, 0);
}

#[tokio::test]
async fn a_service_on_a_full_disk_continues_with_the_ages_of_one_that_was_killed() {
    for disk in [Disk::Full, Disk::ReadOnly] {
        let Some(mut bed) = Bed::new(disk) else { return };
        // It sets ages by which the image is kept.
        let mut lives = Vec::new();
        for _ in 0..2 {
            let service = serve(&mut bed.node);
            let status = status(&bed.node, well).await;
            assert!(
                status.problems.iter().any(|problem| problem.contains("they move back by themselves")),
                "{status:#?}"
            );
            service.signal(Signal::KILL);
            service.wait();
            let recorded = bed.recorded();
            let record = &recorded.images[&(bed.id.clone(), String::new())];
            lives.push(record.first_detected);
        }
        assert_eq!(lives[0], lives[1], "{disk:?}");
        let service = serve(&mut bed.node);
        status(&bed.node, well).await;
        bed.frees_disk();
        status(&bed.node, |status| status.problems.is_empty()).await;
        service.terminate();
        let ended = service.wait();
        assert_eq!(ended.code, 0, "{ended:?}");
        assert!(ended.stderr.contains("the image records are on the disk again"), "{ended:?}");
        assert!(bed.store().exists() && !bed.copy().exists());
        assert_eq!(bed.recorded().images[&(bed.id.clone(), String::new())].first_detected, lives[0]);
    }
}
