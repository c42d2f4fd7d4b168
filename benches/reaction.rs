//! How long it takes from when a disk is over its threshold to the first removal of an image, at the default settings but the thresholds, on
//! a real containerd whose images lie on a disk of their own. Needs root and containerd.
//!
//! `cargo bench --bench reaction`, with the number of times as an argument if it should not be 21. It ends with an error when the
//! median is over its limit.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a measurement fails loudly, and waits in earnest"
)]

mod service;

use std::fs::File;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use cri_gc_test_support::{Containerd, Cri, OciImage, Options, TmpfsSize};
use service::Service;

/// Size of the disk, in MiB.
const DISK: u64 = 512;

/// Size of an image, unpacked and packed, in bytes: about 1.5 % of the disk.
const IMAGE: u64 = 4 << 20;

/// The most that the median may be.
const MEDIAN: Duration = Duration::from_secs(3);

/// Images have to be known for that long.
const MIN_AGE: Duration = Duration::from_secs(125);

/// How long a removal may take.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let times = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(21);
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(measure(times))
}

async fn measure(times: u64) -> ExitCode {
    let containerd =
        Containerd::start(Options { root_tmpfs: Some(TmpfsSize::mib(DISK)), ..Options::default() }).unwrap();
    // A removal may take one more than it would have to.
    for number in 0..2 * times {
        let name = format!("registry.example/bench/image-{number}:1");
        containerd.import(&OciImage::new(&name).payload(number, IMAGE));
    }
    let folder = tempfile::tempdir().unwrap();
    let (pod_logs, container_logs) = (containerd.pod_logs(), containerd.container_logs());
    let settings = service::settings_on(&containerd.endpoint(), pod_logs, container_logs, folder.path());
    // The low threshold is at the high one, so that each removal is of few images.
    let own = "log.level = \"warning\"\nimage_gc.low_threshold_percent = 85\n";
    service::configure(folder.path(), &(settings + own));
    let _service = Service::start(&service::config(folder.path()));
    tokio::time::sleep(MIN_AGE).await;
    let (cri, filler) = (containerd.cri(), containerd.root().join("filler"));
    let mut took = Vec::new();
    for number in 0..times {
        let before = images(&cri).await;
        fill(containerd.root(), &filler);
        let crossed = Instant::now();
        while images(&cri).await == before {
            assert!(crossed.elapsed() < PATIENCE, "no image is removed");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        took.push(crossed.elapsed());
        std::fs::remove_file(&filler).unwrap();
        // At another moment between two checks of the disk, each time.
        tokio::time::sleep(Duration::from_millis(11_000 + 1_700 * number % 5_000)).await;
    }
    took.sort_unstable();
    let at = |percent| service::within(percent, &took);
    println!(
        "{times} times over the threshold: half of the first removals within {:.1} s (at most {:.1}), the fastest {:.1} s, the slowest {:.1} s",
        at(50).as_secs_f64(),
        MEDIAN.as_secs_f64(),
        at(0).as_secs_f64(),
        at(100).as_secs_f64(),
    );
    if at(50) <= MEDIAN { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn images(cri: &Cri) -> usize {
    cri.list_images().await.unwrap().len()
}

/// Makes a file that fills the disk to a little over 85 %.
fn fill(disk: &Path, filler: &Path) {
    let space = cri_gc_test_support::space(disk);
    let over = (space.capacity * 86 / 100).saturating_sub(space.capacity - space.available);
    rustix::fs::fallocate(File::create(filler).unwrap(), rustix::fs::FallocateFlags::empty(), 0, over)
        .unwrap();
}
