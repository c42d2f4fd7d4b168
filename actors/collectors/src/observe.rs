//! Observes the node: the parts of an observation that several collectors, `plan` and `snapshot` share.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cri_gc_config::Settings;
use cri_gc_policy::images::{ImageUse, uses};
use cri_gc_policy::log_dirs::pod_uid_of;
use cri_gc_policy::{Container, FileSystem, Image, Kind, Observation, Pod, PodState, PodTable, Sandbox};
use ecow::EcoString;

use crate::report::{PassError, files_done};
use crate::tools::Tools;
use crate::unlisted;
use cri_gc_files::scan::{self, LogDir};
use cri_gc_gateway::{CriResult, Freshness, FsPlaces, Listing};
use cri_gc_kit::seams::{Measured, Moment};
use cri_gc_pods::{Seen, Verdict};

/// How long a scan or a measurement may take: a mount that hangs must not delay a pass for longer.
pub const SCAN_WITHIN: Duration = Duration::from_secs(10);

/// The log directories of pods; `None` if their root does not exist.
///
/// # Errors
/// The root could not be read.
pub async fn log_dirs(tools: &Tools, settings: &Settings) -> Result<Option<Vec<LogDir>>, PassError> {
    let root = &settings.log_gc.pod_logs_root;
    let scanned = root.clone();
    let found = tools.files.run_within(SCAN_WITHIN, move || scan::log_dirs(&scanned)).await;
    files_done("could not list log directories", root, found)
}

/// What one observation of pods and their objects saw.
#[derive(Debug)]
pub struct PodView {
    /// The observation, without images and filesystems.
    pub observation: Observation,
    /// What the pod-state provider said.
    pub verdict: Verdict,
    /// Log directories that could not be listed.
    pub problem: Option<PassError>,
    /// Containers and sandboxes that could not be listed.
    pub gaps: Vec<(Kind, PassError)>,
    /// What else an operator should know of the lists.
    pub notes: Vec<String>,
    /// The lists took several answers.
    pub in_parts: bool,
    /// The root of the log directories does not exist.
    pub has_no_log_root: bool,
    /// When the containers were listed.
    pub listed_at: Moment,
}

impl PodView {
    /// How containers and specs of pods use images.
    pub fn uses(&self) -> impl Iterator<Item = ImageUse<'_>> {
        uses(&self.observation, &PodTable::new(&self.observation)).into_iter()
    }
}

/// Containers, sandboxes, log directories, and the states of their pods. Nothing is remembered of them.
///
/// # Errors
/// A list of the runtime failed.
pub async fn pods(tools: &Tools, settings: &Settings) -> CriResult<PodView> {
    // The sandboxes are listed first: a pod that is made meanwhile then has a container too many in the answer rather than a
    // sandbox that looks empty.
    let (of_sandboxes, of_containers) = lists(tools, settings).await?;
    let listed_at = tools.clock.moment();
    let notes = unlisted::notes(&of_containers, &of_sandboxes);
    let in_parts = of_containers.in_parts || of_sandboxes.in_parts;
    let (sandboxes, containers) = (of_sandboxes.objects, of_containers.objects);
    // Of directories that can't be listed, none is removed.
    let (log_dirs, problem) = match log_dirs(tools, settings).await {
        Ok(dirs) => (dirs, None),
        Err(problem) => (Some(Vec::new()), Some(problem)),
    };
    let has_no_log_root = log_dirs.is_none();
    let log_dirs = Arc::new(log_dirs.unwrap_or_default());
    let seen = Seen {
        containers: Arc::clone(&containers),
        sandboxes: Arc::clone(&sandboxes),
        log_dirs: Arc::clone(&log_dirs),
    };
    let mut verdict = tools.pods.judge(seen).await;
    // Whatever of them is not listed may run.
    let active = |uid| Pod { uid, state: PodState::Active, images: Vec::new() };
    verdict.pods.pods.extend(unlisted::pods(&of_containers.gaps, &of_sandboxes.gaps).map(active));
    let mut observation = Observation {
        pods: verdict.pods.clone(),
        clock_set: verdict.clock_set,
        containers,
        sandboxes,
        lacks_sandboxes: !of_sandboxes.gaps.is_empty(),
        log_dirs: log_dirs.iter().map(|dir| dir.name.clone()).collect(),
        uses_unknown: verdict.images_unknown.clone(),
        ..Observation::empty(tools.clock.now())
    };
    let gaps = unlisted::errors(&of_containers.gaps, &of_sandboxes.gaps);
    if let Some(why) = unlisted::unknown_uses(&of_containers.gaps, &of_sandboxes.gaps) {
        observation.lose_uses(|| why);
    }
    unlisted::mark(&mut observation.sandboxes, &of_containers.gaps);
    Ok(PodView { observation, verdict, problem, gaps, notes, in_parts, has_no_log_root, listed_at })
}

/// Sandboxes and containers. Where something may have to be listed pod by pod, the pods are named first that have a log directory or
/// that the pod source knows.
async fn lists(tools: &Tools, settings: &Settings) -> CriResult<(Listing<Sandbox>, Listing<Container>)> {
    let mut are_named = tools.gateway.asks_for_pods();
    loop {
        if are_named {
            name_pods(tools, settings).await;
        }
        // One that is in flight may have begun before they were named.
        let freshness = if are_named { Freshness::Fresh } else { Freshness::Shared };
        let sandboxes = tools.gateway.list_most(freshness).await?;
        let containers = tools.gateway.list_most(Freshness::Fresh).await?;
        if are_named || !tools.gateway.asks_for_pods() {
            return Ok((sandboxes, containers));
        }
        are_named = true;
    }
}

async fn name_pods(tools: &Tools, settings: &Settings) {
    // What is not known now may have been before.
    let (Ok(dirs), Some(source)) = (log_dirs(tools, settings).await, tools.pods.source().await) else {
        return;
    };
    let dirs = dirs.unwrap_or_default();
    let named = dirs.iter().filter_map(|dir| pod_uid_of(&dir.name)).map(EcoString::from);
    let uids = named.chain(source.pods.into_iter().map(|pod| pod.uid)).collect();
    tools.gateway.name_pods(uids).await;
}

/// The same for a pass of any loop: which images are in use is remembered, so that those of jobs that begin and end between two
/// passes of image GC count as used.
///
/// # Errors
/// A list of the runtime failed.
pub async fn remember_pods(tools: &Tools, settings: &Settings) -> CriResult<PodView> {
    let view = pods(tools, settings).await?;
    tools.images.seen(view.uses(), view.listed_at);
    Ok(view)
}

/// Fills in which image the runtime makes sandboxes of. Where that is not known, no image is removed.
///
/// # Errors
/// Why it is not known.
pub fn sandbox_image(observation: &mut Observation, answer: CriResult<String>) -> CriResult<()> {
    match answer {
        Ok(name) => observation.sandbox_image = name,
        Err(error) => {
            observation.lose_uses(|| format!("the sandbox image of the runtime is not known: {error}"));
            return Err(error);
        }
    }
    Ok(())
}

/// Fills in which images are mounted into the containers as image volumes. Only what is about to remove images, or says that it would,
/// has to know: each container is asked once. Where that is not known, no image is removed.
///
/// # Errors
/// What one of the containers has mounted is not known.
pub async fn image_volumes(tools: &Tools, observation: &mut Observation) -> CriResult<()> {
    let (mut volumes, _) = match tools.gateway.image_volumes(&observation.containers).await {
        Ok(volumes) => volumes,
        Err(error) => {
            observation.lose_uses(|| error.to_string());
            return Err(error);
        }
    };
    volumes.retain(|_, images| !images.is_empty());
    if !volumes.is_empty() {
        for container in Arc::make_mut(&mut observation.containers) {
            if let Some(images) = volumes.remove(&container.id) {
                Arc::make_mut(container).image_volumes = images;
            }
        }
    }
    Ok(())
}

/// What one observation of the images saw.
#[derive(Debug, Clone)]
pub struct ImageView {
    /// All images.
    pub images: Vec<Image>,
    /// Image that the runtime makes sandboxes of; an error if it does not report it. Without it no image is removed.
    pub sandbox_image: CriResult<String>,
    /// Where images and containers lie. Without it images can still be removed for their age.
    pub places: CriResult<FsPlaces>,
}

/// All images, as the runtime lists them: when each was first seen and last used is not known.
///
/// # Errors
/// The images could not be listed.
pub async fn images(tools: &Tools) -> Result<ImageView, PassError> {
    let sandbox_image = tools.gateway.sandbox_image().await;
    let images = tools.gateway.images(Freshness::Shared).await?;
    let places = tools.gateway.image_fs_info().await;
    Ok(ImageView { images, sandbox_image, places })
}

/// The same for a pass: the images are remembered, and have what was remembered of them before. The pods were observed and
/// remembered before: what these use is used as of then.
///
/// # Errors
/// The images could not be listed, or what is remembered of them not be read.
pub async fn remember_images(tools: &Tools) -> Result<ImageView, PassError> {
    let view = images(tools).await?;
    let images = tools.images.remember(view.images, tools.clock.moment()).await;
    Ok(ImageView { images: images.ok_or(PassError::Records)?, ..view })
}

/// The filesystems of these places with their statistics. Two places on one filesystem are one: what is missing there is
/// missing once. One that cannot be measured is an error of its own, and is
/// left out: how full it is is not known.
pub async fn measure(tools: &Tools, places: &FsPlaces) -> (Vec<FileSystem>, Vec<PassError>) {
    let fs = |mountpoint: &String, holds_images: bool| FileSystem {
        mountpoint: mountpoint.clone(),
        holds_images,
        holds_containers: !holds_images,
        ..FileSystem::default()
    };
    let mut all = Vec::new();
    places.images.iter().for_each(|mountpoint| add(&mut all, fs(mountpoint, true)));
    places.containers.iter().for_each(|mountpoint| add(&mut all, fs(mountpoint, false)));
    let probe = tools.probe.clone();
    let places = all.iter().map(|fs| fs.mountpoint.as_str()).collect::<Vec<_>>().join(", ");
    let measured = tools.disks.run_within(SCAN_WITHIN, move || {
        let measure = |fs: FileSystem| match probe.stats(Path::new(&fs.mountpoint)) {
            Ok(Measured { stats, device, reserved_bytes }) => {
                Ok(FileSystem { stats, device, reserved_bytes, ..fs })
            }
            Err(error) => Err(PassError::File {
                step: "could not measure an image filesystem",
                error: format!("{}: {error}; is it mounted?", fs.mountpoint),
            }),
        };
        all.into_iter().map(measure).collect::<Vec<_>>()
    });
    let results = measured.await.unwrap_or_else(|gone| {
        vec![Err(PassError::File {
            step: "could not measure the filesystems",
            error: format!("{places}: {gone}"),
        })]
    });
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for result in results {
        match result {
            Ok(fs) => add(&mut good, fs),
            Err(error) => bad.push(error),
        }
    }
    (good, bad)
}

/// Adds a filesystem, unless it is there already: then that one holds what both do.
fn add(all: &mut Vec<FileSystem>, fs: FileSystem) {
    match all.iter_mut().find(|known| known.is_same(&fs)) {
        Some(known) => {
            known.holds_images |= fs.holds_images;
            known.holds_containers |= fs.holds_containers;
        }
        None => all.push(fs),
    }
}
