//! What uses the disk: asks and measures what a plan does without, and has it added up ([`cri_gc_policy::usage`]). It only reads.

use std::path::Path;
use std::time::{Duration, Instant};

use cri_gc_config::Settings;
use cri_gc_policy::text::counted;
use cri_gc_policy::usage::{Disk, Sizes};
use cri_gc_policy::{FileSystem, Observation, Plan, PlanReport, Usage};

use crate::observe::SCAN_WITHIN;
use crate::report::{PassError, files_done};
use crate::tools::Tools;
use cri_gc_files::root::Root;
use cri_gc_files::tree;
use cri_gc_gateway::{ContainerLayer, FsPlaces};
use cri_gc_kit::seams::Measured;

/// How long log directories are measured: a node may have very many files. What is not measured by then has no size.
const MEASURE_WITHIN: Duration = Duration::from_secs(30);

/// What uses the disk, and what is not known of it.
pub struct Found {
    /// The sums.
    pub usage: Usage,
    /// What the runtime does not report.
    pub notes: Vec<String>,
    /// What could not be asked or measured.
    pub problems: Vec<PassError>,
}

/// Finds out what uses the disk. The plan is that for this observation; `places` as the runtime reported them for it.
pub async fn find(
    tools: &Tools,
    settings: &Settings,
    plan: &Plan,
    observation: &Observation,
    places: Option<&FsPlaces>,
) -> Found {
    let on_disk = async {
        // In this order: measuring the logs may keep the only worker busy for long.
        let disks = disks(tools, settings, observation).await;
        (disks, log_dirs(tools, settings, observation).await)
    };
    let (layers, ((disks, unmeasured_disk), (log_dirs, unmeasured_logs))) =
        futures_util::join!(tools.gateway.container_layers(), on_disk);
    let (layers, notes, unasked) = match layers {
        Ok(layers) => {
            let notes = missing(observation, &layers);
            (layers, notes, None)
        }
        Err(error) => (Vec::new(), Vec::new(), Some(error.into())),
    };
    let known =
        layers.into_iter().filter_map(|ContainerLayer { container, layer }| Some((container, layer?)));
    let sizes = Sizes {
        layers: known.collect(),
        log_dirs: log_dirs.into_iter().collect(),
        snapshots: places.filter(|places| places.excludes_content).map(|places| places.used_bytes),
        disks,
    };
    let report = PlanReport::new(plan, observation, &settings.policy());
    Found {
        usage: Usage::new(report, observation, &sizes),
        notes,
        problems: unasked.into_iter().chain(unmeasured_disk).chain(unmeasured_logs).collect(),
    }
}

/// Says of which containers the runtime does not report the writable layers.
fn missing(observation: &Observation, layers: &[ContainerLayer]) -> Vec<String> {
    let answered: std::collections::HashMap<&str, bool> =
        layers.iter().map(|layer| (layer.container.as_str(), layer.layer.is_some())).collect();
    let with = |wanted: Option<bool>| {
        observation.containers.iter().filter(|one| answered.get(one.id.as_str()).copied() == wanted).count()
    };
    let mut notes = Vec::new();
    let uncounted = with(Some(false));
    if uncounted > 0 {
        notes.push(format!(
            "the runtime has not counted the writable layers of {} yet; containerd counts every 10s",
            counted(uncounted, "container")
        ));
    }
    let unreported = with(None);
    if unreported > 0 {
        notes.push(format!(
            "the runtime does not report the writable layers of {}, so they are part of the other files; CRI-O reports none of \
             exited containers",
            counted(unreported, "container")
        ));
    }
    notes
}

/// The sizes of all log directories, as far as they can be measured in time.
async fn log_dirs(
    tools: &Tools,
    settings: &Settings,
    observation: &Observation,
) -> (Vec<(String, u64)>, Option<PassError>) {
    let names = observation.log_dirs.clone();
    if names.is_empty() {
        return (Vec::new(), None);
    }
    let (root, until) = (settings.log_gc.pod_logs_root.clone(), Instant::now() + MEASURE_WITHIN);
    let step = "could not measure log directories";
    let all = names.len();
    let measured = tools.files.run_within(MEASURE_WITHIN + SCAN_WITHIN, move || {
        Ok(Root::open(&root)?.map(|root| tree::measure_all(&root, names, until)).unwrap_or_default())
    });
    match files_done(step, &settings.log_gc.pod_logs_root, measured.await) {
        Ok(tree::Sizes { known, unknown: 0, .. }) => (known, None),
        Ok(tree::Sizes { known, unknown, error }) => {
            let why = error.map_or_else(|| "there are too many files".to_owned(), |error| error.to_string());
            (known, Some(PassError::File { step, error: format!("{unknown} of {all}: {why}") }))
        }
        Err(error) => (Vec::new(), Some(error)),
    }
}

/// The filesystems of images and containers, as they were measured for the plan, and that of the logs.
async fn disks(
    tools: &Tools,
    settings: &Settings,
    observation: &Observation,
) -> (Vec<Disk>, Option<PassError>) {
    let (probe, all) = (tools.probe.clone(), observation.filesystems.clone());
    let with_reserve = |measured: std::io::Result<Measured>, fs: FileSystem| match measured {
        Ok(Measured { stats, reserved_bytes, .. }) => {
            Disk { fs: FileSystem { stats, reserved_bytes, ..fs }, ..Disk::default() }
        }
        // A moment ago it could be measured.
        Err(_) => Disk { fs, ..Disk::default() },
    };
    let unreserved =
        || observation.filesystems.iter().map(|fs| Disk { fs: fs.clone(), ..Disk::default() }).collect();
    let measured = tools.disks.run_within(SCAN_WITHIN, move || {
        all.into_iter().map(|fs| with_reserve(probe.stats(Path::new(&fs.mountpoint)), fs)).collect()
    });
    let mut disks: Vec<Disk> = measured.await.unwrap_or_else(|_| unreserved());
    // On a worker of the files: a log root that hangs hides no other disk.
    let (probe, root) = (tools.probe.clone(), settings.log_gc.pod_logs_root.clone());
    let place = root.display().to_string();
    let failed = |error: String| {
        Some(PassError::File {
            step: "could not measure the filesystem of the logs",
            error: format!("{place}: {error}"),
        })
    };
    match tools.files.run_within(SCAN_WITHIN, move || probe.stats(&root)).await {
        Ok(Ok(Measured { stats, device, reserved_bytes })) => {
            let fs = FileSystem { mountpoint: place, device, stats, reserved_bytes, ..FileSystem::default() };
            match disks.iter_mut().find(|disk| disk.fs.is_same(&fs)) {
                Some(disk) => disk.holds_logs = true,
                None => disks.push(Disk { fs, holds_logs: true }),
            }
            (disks, None)
        }
        // No pod has had a log yet.
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => (disks, None),
        Ok(Err(error)) => (disks, failed(error.to_string())),
        Err(gone) => (disks, failed(gone.to_string())),
    }
}
