//! Facts in the words of the API. Nothing is asked or decided here.

use cri_gc_config::{Settings, key_names, render};
use cri_gc_policy::explain::Explained;
use cri_gc_policy::images::space::usage_percent;
use cri_gc_policy::log_dirs::{pod_name_of, pod_uid_of};
use cri_gc_policy::report::{Item, SectionReport};
use cri_gc_policy::{Decision, FileSystem, ImagePlan, Observation, PodState};
use cri_gc_proto::admin as api;
use cri_gc_proto::admin::pass_update::What;
use jiff::Timestamp;
use tonic::Status;

use super::desk::Planned;
use crate::configuration::ConfigurationState;
use cri_gc_collectors::collector::{LoopState, StuckObject};
use cri_gc_collectors::report::{Outcome, PassReport, Progress, Removal};
use cri_gc_gateway::RuntimeState;
use cri_gc_kit::words::{Kind, Loop};
use cri_gc_pods::{PodFacts, SourceState};

/// A time, or nothing.
fn time(time: Option<Timestamp>) -> String {
    time.map(|time| time.to_string()).unwrap_or_default()
}

pub fn configuration(state: &ConfigurationState) -> api::Configuration {
    let generation = &state.generation;
    let (refused, refused_at) = state.refused.clone().unzip();
    api::Configuration {
        generation: generation.number,
        loaded_at: generation.loaded_at.to_string(),
        file: generation.file.as_ref().map(|file| file.display().to_string()).unwrap_or_default(),
        trigger: generation.cause.as_str().to_owned(),
        waiting_for_restart: state.waiting_for_restart.iter().map(ToString::to_string).collect(),
        refused: refused.unwrap_or_default(),
        refused_at: time(refused_at),
    }
}

pub fn settings(state: &ConfigurationState) -> Result<api::ConfigResponse, Status> {
    let generation = &state.generation;
    let origin = |key| generation.origins.get(key).map(|origin| (key.to_owned(), origin.to_string()));
    Ok(api::ConfigResponse {
        configuration: Some(configuration(state)),
        toml: render(&generation.settings),
        json: serde_json::to_string(&*generation.settings)
            .map_err(|error| Status::internal(error.to_string()))?,
        origins: key_names().filter_map(origin).collect(),
    })
}

/// One that hangs does not answer now, whatever it did before.
pub fn runtime(state: RuntimeState, returns: u64, hangs: bool) -> api::Runtime {
    let (name, version) = state.version.map(|version| (version.name, version.version)).unzip();
    api::Runtime {
        endpoint: state.endpoint,
        name: name.unwrap_or_default(),
        version: version.unwrap_or_default(),
        reachable: state.reachable.unwrap_or(hangs),
        since: time(state.since),
        error: state.error.unwrap_or_default(),
        returns,
    }
}

/// Pods that a status names one by one.
const PODS: usize = 10;

/// The source, and how its pods stand.
pub fn source(state: SourceState, seen: Option<&Observation>) -> api::PodSource {
    let pods = &state.pods;
    let sum = |state: &PodState| {
        let count = pods.iter().filter(|pod| pod.state == *state).count() as u64;
        (count > 0).then(|| api::PodSum { state: state.as_str().to_owned(), count })
    };
    let name = |uid: &str| {
        let sandbox = seen?.sandboxes.iter().find(|sandbox| sandbox.pod_uid == uid);
        let logs = || seen?.log_dirs.iter().find(|name| pod_uid_of(name) == Some(uid));
        let (namespace, name) = sandbox
            .map(|sandbox| (sandbox.namespace.as_str(), sandbox.name.as_str()))
            .or_else(|| pod_name_of(logs()?))?;
        Some(format!("{namespace}/{name}"))
    };
    let pod = |pod: &PodFacts| api::Pod {
        uid: pod.uid.to_string(),
        name: name(&pod.uid).unwrap_or_default(),
        state: pod.state.as_str().to_owned(),
        since: pod.since.to_string(),
        evidence: pod.standing.to_string(),
    };
    let states = [PodState::Unknown, PodState::Deleted, PodState::Evicted, PodState::Terminated];
    let in_state = |state: PodState| pods.iter().filter(move |pod| pod.state == state);
    api::PodSource {
        sums: [PodState::Active].iter().chain(&states).filter_map(sum).collect(),
        pods: states.into_iter().flat_map(in_state).take(PODS).map(pod).collect(),
        source: state.source.as_str().to_owned(),
        synced: state.synced,
        synced_at: time(state.synced_at),
        problem: state.problem.unwrap_or_default(),
        notes: state.notes,
    }
}

/// Objects that could not be removed, as far as a status names them.
const STUCK: usize = 50;

fn stuck(object: &StuckObject) -> api::Stuck {
    api::Stuck {
        removal: Some(removal(&object.removal)),
        since: object.since.to_string(),
        attempts: object.attempts,
        next_try_at: object.next_try_at.to_string(),
    }
}

pub fn loop_status(state: &LoopState) -> api::LoopStatus {
    api::LoopStatus {
        r#loop: state.of.as_str().to_owned(),
        mode: state.mode_in_effect().as_str().to_owned(),
        state: state.doing.as_str().to_owned(),
        state_since: state.since.to_string(),
        generation: state.generation,
        period_seconds: state.period.as_secs_f64(),
        next_pass_at: time(state.next_pass_at),
        last_pass: state.last.as_ref().map(pass),
        passes: state.passes,
        removed: state.removed,
        freed_bytes: state.freed_bytes,
        failures: state.failures,
        failing_since: time(state.failing_since),
        restarts: state.restarts,
        last_restart: state.last_restart.clone().unwrap_or_default(),
        stuck: state.stuck.iter().take(STUCK).map(|object| stuck(object)).collect(),
        stuck_count: state.stuck.len() as u64,
        paused_until: time(state.paused.and_then(|paused| paused.until)),
    }
}

/// A pass in figures.
#[must_use]
pub fn pass(report: &PassReport) -> api::Pass {
    let counts = &report.counts;
    api::Pass {
        r#loop: report.of.as_str().to_owned(),
        trigger: report.trigger.as_str().to_owned(),
        started_at: report.started_at.to_string(),
        took_seconds: report.took.as_secs_f64(),
        mode: report.mode.as_str().to_owned(),
        removed: counts.removed,
        would_remove: counts.would_remove,
        gone: counts.gone,
        refused: counts.refused,
        failed: counts.failed,
        kept: counts.kept_for.values().sum(),
        kept_for: counts.kept_for.iter().map(|(reason, count)| ((*reason).to_owned(), *count)).collect(),
        freed_bytes: report.freed(),
        errors: report.errors.iter().map(ToString::to_string).collect(),
        notes: report.notes.clone(),
    }
}

/// An object that was to be removed, and the outcome.
#[must_use]
pub fn removal(removal: &Removal) -> api::Removal {
    let (result, detail) = match &removal.outcome {
        Outcome::Removed => ("removed", ""),
        Outcome::AlreadyGone => ("already_gone", ""),
        Outcome::Refused { because } => ("refused", because.as_str()),
        Outcome::Failed { error } => ("failed", error.as_str()),
        Outcome::WouldRemove => ("would_remove", ""),
    };
    api::Removal {
        kind: removal.kind.as_str().to_owned(),
        id: removal.id.to_string(),
        name: removal.name.clone(),
        reason: removal.reason.to_owned(),
        result: result.to_owned(),
        detail: detail.to_owned(),
        bytes: removal.bytes,
    }
}

fn update(of: &str, what: What) -> api::PassUpdate {
    api::PassUpdate { r#loop: of.to_owned(), what: Some(what) }
}

pub fn progress(progress: &Progress) -> api::PassUpdate {
    match progress {
        Progress::Planned(of, count) => update(of.as_str(), What::Planned(*count as u64)),
        Progress::Done(of, done) => update(of.as_str(), What::Removal(removal(done))),
    }
}

pub fn ended(report: &PassReport) -> api::PassUpdate {
    update(report.of.as_str(), What::Ended(pass(report)))
}

/// How many pods have a postponed deletion that is confirmed now.
pub fn confirmed(pods: usize) -> api::PassUpdate {
    let message = match pods {
        0 => {
            "nothing was confirmed: no pod is missing, or the pod source is not synced (see `cri-gc status`)"
                .to_owned()
        }
        1 => "1 pod is confirmed deleted, from the next observation on".to_owned(),
        _ => format!("{pods} pods are confirmed deleted, from the next observation on"),
    };
    update("", What::Told(message))
}

pub fn filesystem(fs: &FileSystem, settings: &Settings) -> api::FileSystem {
    let (stats, gc) = (&fs.stats, &settings.image_gc);
    // Thresholds are those of images.
    let threshold = |percent: u8| if fs.holds_images { percent.into() } else { 0 };
    api::FileSystem {
        mountpoint: fs.mountpoint.clone(),
        holds_images: fs.holds_images,
        holds_containers: fs.holds_containers,
        capacity_bytes: stats.capacity_bytes,
        available_bytes: stats.available_bytes,
        inodes: stats.inodes,
        inodes_free: stats.inodes_free,
        used_percent: usage_percent(stats.capacity_bytes, stats.available_bytes).map(u32::from),
        high_threshold_percent: threshold(gc.high_threshold_percent),
        low_threshold_percent: threshold(gc.low_threshold_percent),
    }
}

fn item(item: Item) -> api::Item {
    api::Item {
        id: item.id.to_string(),
        reason: item.reason,
        detail: item.detail,
        name: item.name,
        names: item.names,
        runtime_handler: item.runtime_handler,
        pod_uid: item.pod_uid.to_string(),
        size_bytes: item.size_bytes.unwrap_or_default(),
        created_at: time(item.created_at),
        first_detected: time(item.first_detected),
        last_used: time(item.last_used),
    }
}

pub fn plan(planned: &Planned) -> api::PlanResponse {
    let Planned { observation, settings, remarks, report, .. } = planned;
    let items = |items: &[Item]| items.iter().cloned().map(item).collect();
    let section = |section: &SectionReport| {
        Some(api::Section {
            would_free_bytes: section.would_free_bytes.unwrap_or_default(),
            remove: items(&section.remove),
            follow: items(&section.follow),
            keep: items(&section.keep),
        })
    };
    let of_images = observation.filesystems.iter().filter(|fs| fs.holds_images);
    api::PlanResponse {
        filesystems: of_images.map(|fs| filesystem(fs, settings)).collect(),
        containers: section(&report.containers),
        sandboxes: section(&report.sandboxes),
        log_dirs: section(&report.log_dirs),
        images: section(&report.images.section),
        bytes_to_free: report.images.bytes_to_free,
        problems: remarks.problems.clone(),
        notes: remarks.notes.clone(),
    }
}

pub fn explained(object: Explained, states: &[LoopState], pods: &[PodFacts]) -> api::Explained {
    let Explained { kind, verdict, item, pod_state } = object;
    let pod = pods.iter().find(|pod| !item.pod_uid.is_empty() && pod.uid == item.pod_uid);
    let of = Loop::of(kind);
    let state = states.iter().find(|state| state.of == of);
    api::Explained {
        kind: kind.as_str().to_owned(),
        id: item.id.to_string(),
        names: if kind == Kind::Image { item.names } else { vec![item.name] },
        pod_since: pod.map(|pod| pod.since.to_string()).unwrap_or_default(),
        pod_evidence: pod.map(|pod| pod.standing.to_string()).unwrap_or_default(),
        pod_uid: item.pod_uid.to_string(),
        pod_state: pod_state.map(PodState::as_str).unwrap_or_default().to_owned(),
        decision: verdict.as_str().to_owned(),
        reason: item.reason,
        detail: item.detail,
        r#loop: of.as_str().to_owned(),
        loop_mode: state.map(|state| state.mode_in_effect().as_str()).unwrap_or_default().to_owned(),
        loop_state: state.map(|state| state.doing.as_str()).unwrap_or_default().to_owned(),
        next_pass_at: time(state.and_then(|state| state.next_pass_at)),
        size_bytes: item.size_bytes.filter(|_| kind == Kind::Image).unwrap_or_default(),
        first_detected: time(item.first_detected),
        last_used: time(item.last_used),
        stuck: state.and_then(|state| state.stuck_object(kind, &item.id)).map(stuck),
        ..api::Explained::default()
    }
}

/// Candidates that a status names one by one.
const NEXT: usize = 10;

pub fn images(observation: &Observation, plan: &ImagePlan) -> api::Images {
    let image = |decision: &Decision| observation.images.get(decision.index);
    let mut sums: Vec<api::ImageSum> = Vec::new();
    let removable = plan.in_line().map(|decision| (decision, true));
    for (decision, may_go) in removable.chain(plan.protected().map(|decision| (decision, false))) {
        let (reason, size) = (decision.reason.as_str(), image(decision).map_or(0, |image| image.size_bytes));
        match sums.iter_mut().find(|sum| sum.reason == reason) {
            Some(sum) => {
                sum.count += 1;
                sum.size_bytes = sum.size_bytes.saturating_add(size);
            }
            None => {
                sums.push(api::ImageSum { reason: reason.to_owned(), may_go, count: 1, size_bytes: size });
            }
        }
    }
    let candidate = |decision: &Decision| {
        let image = image(decision)?;
        Some(api::Candidate {
            id: image.id.clone(),
            runtime_handler: image.runtime_handler.clone(),
            names: image.names().map(ToOwned::to_owned).collect(),
            size_bytes: image.size_bytes,
            first_detected: time(image.first_detected),
            last_used: time(image.last_used),
            reason: decision.reason.as_str().to_owned(),
        })
    };
    api::Images {
        bytes_to_free: plan.missing.bytes,
        inodes_to_free: plan.missing.inodes,
        sums,
        next: plan.in_line().take(NEXT).filter_map(candidate).collect(),
    }
}

/// An object that is gone, by the event of its removal.
pub fn gone(event: api::Event) -> api::Explained {
    let is_image = event.object_kind == Kind::Image.as_str();
    api::Explained {
        kind: event.object_kind,
        id: event.object_id,
        names: vec![event.object_name],
        pod_uid: event.pod_uid,
        decision: "removed".to_owned(),
        reason: event.reason,
        r#loop: event.r#loop,
        size_bytes: if is_image { event.bytes } else { 0 },
        removed_at: event.time,
        trigger: event.trigger,
        ..api::Explained::default()
    }
}

/// Between the past and what comes.
pub fn now() -> api::Event {
    api::Event { kind: "Now".to_owned(), ..api::Event::default() }
}

/// The client was too slow.
pub fn missed(count: u64) -> api::Event {
    let message = format!("{count} events were skipped: this client read too slowly");
    api::Event { kind: "EventsMissed".to_owned(), count, message, ..api::Event::default() }
}
