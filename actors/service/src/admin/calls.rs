//! The calls of the API, a function each: whom each question is passed on to, and the answer made of theirs.

use std::collections::{BTreeSet, HashMap};
use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;

use cri_gc_policy::Kind;
use cri_gc_policy::explain::{Found, explain as explained};
use cri_gc_policy::text::one_line;
use cri_gc_proto::admin as api;
use jiff::Timestamp;
use slog::{info, warn};
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc::{Sender, channel};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::desk::{Desk, Planned, Remarks};
use super::passes;
use super::subjects::Subjects;
use super::subjects::restarting;
use super::{answers, arguments};
use crate::configuration::Refused;
use crate::history::{Counted, Filter, HistoryError, Sums, event};
use crate::pauses;
use cri_gc_collectors::collector::Paused;
use cri_gc_kit::generation::Cause;
use cri_gc_kit::recorder::{Event, EventKind, Peer, Subscription};
use cri_gc_kit::text::{duration, host_name};
use cri_gc_kit::words::Loop;

/// How long a status waits for the runtime and for an observation of the node.
const SOON: Duration = Duration::from_secs(2);

/// How long a runtime has to answer before passes are requested.
const GREETED_WITHIN: Duration = Duration::from_secs(10);

/// How far back a status counts what happened.
const RECENT: Duration = Duration::from_secs(60 * 60);

/// How long a client of the history may take to read on.
const READ_WITHIN: Duration = Duration::from_secs(10);

/// Objects of one name that are gone, as an explanation shows them: the newest ones.
const GONE: usize = 10;

/// Answers that may wait for a slow client.
const WAITING: usize = 64;

/// Objects that are named where the ids of several begin alike.
const LISTED: usize = 10;

/// A stream of answers.
pub type Updates<T> = ReceiverStream<Result<T, Status>>;

pub async fn status(desk: Rc<Desk>, asked: api::StatusRequest) -> Result<api::StatusResponse, Status> {
    let subjects = &desk.subjects;
    let tools = &subjects.tools;
    // The node is observed, then its images are judged.
    let soon = arguments::waits(asked.wait_seconds).map_or(SOON, |wait| SOON.min(wait / 2));
    let state = subjects.settings().await?;
    // So that what is reported of the runtime is of this moment: the gateway records what it answers.
    let greeting = desk.runtime_hangs(soon);
    let observing = tokio::time::timeout(soon, desk.observe());
    let (hangs, observed, states, recent) =
        futures_util::join!(greeting, observing, subjects.states(), recent(subjects, soon));
    let mut problems = Vec::new();
    if states.iter().any(|state| state.paused.is_some()) {
        problems.extend(desk.unread_pauses.borrow().clone());
    }
    if hangs {
        problems.push(format!("the runtime has not answered within {}", duration(soon)));
    }
    let observed = match observed {
        Ok(Ok(observed)) => Some(observed),
        Ok(Err(error)) => {
            problems.push(error.message().to_owned());
            None
        }
        Err(_) => {
            problems.push(format!("the node could not be observed within {}", duration(soon)));
            None
        }
    };
    let mut images = None;
    if let Some(observed) = &observed {
        problems.extend_from_slice(&observed.remarks.problems);
        // This needs no finish times of containers.
        match tokio::time::timeout(soon, desk.judge_images(observed)).await {
            Ok(Ok(judged)) => {
                problems.extend(judged.unread.clone());
                problems.extend(judged.plan.problems.iter().map(ToString::to_string));
                images = Some(answers::images(&judged.observation, &judged.plan));
            }
            Ok(Err(error)) => problems.push(error.message().to_owned()),
            Err(_) => problems.push(
                "the image plan is not ready: it is still being read which images are mounted into \
                 containers; ask again"
                    .to_owned(),
            ),
        }
    }
    let silent = subjects.loops.iter().filter(|known| states.iter().all(|state| state.of != known.of));
    problems.extend(silent.map(|of| format!("the supervisor of {} does not answer", of.of)));
    let (runtime, source) = futures_util::join!(tools.gateway.runtime(), tools.pods.source());
    let observation = observed.as_ref().map(|observed| &observed.observation);
    let settings = &state.generation.settings;
    Ok(api::StatusResponse {
        version: subjects.version.to_owned(),
        pid: std::process::id(),
        node_name: settings.node_name.clone().unwrap_or_else(host_name),
        started_at: subjects.started_at.to_string(),
        now: tools.clock.now().to_string(),
        log_level: subjects.threshold.get().as_str().to_owned(),
        runtime: runtime.map(|runtime| {
            let mut answer = answers::runtime(runtime, tools.gateway.returns(), hangs);
            if answer.reachable && hangs {
                answer.error = format!("no answer within {}", duration(soon));
            }
            answer
        }),
        pods: source.map(|source| answers::source(source, observation)),
        loops: states.iter().map(answers::loop_status).collect(),
        filesystems: observation
            .iter()
            .flat_map(|observation| &observation.filesystems)
            .map(|fs| answers::filesystem(fs, settings))
            .collect(),
        images,
        recent: Some(recent),
        problems,
        configuration: Some(answers::configuration(&state)),
    })
}

/// What happened in the last hour: by the history, or, where that is off or does not answer, by the events in memory.
async fn recent(subjects: &Subjects, within: Duration) -> api::Recent {
    let tools = &subjects.tools;
    let until = tools.clock.now();
    let since = until.checked_sub(RECENT).unwrap_or(Timestamp::MIN);
    let kept = subjects.history.sums(&tools.recorder, since, until);
    let problem = match tokio::time::timeout(within, kept).await {
        Ok(Ok(Counted { sums, problem })) => {
            return sums.answer(problem.map(|problem| problem.to_string()).unwrap_or_default());
        }
        Ok(Err(HistoryError::Off)) => String::new(),
        Ok(Err(error)) => error.to_string(),
        Err(_) => HistoryError::Hangs.to_string(),
    };
    let mut sums = Sums::new(since, until);
    let in_memory = tools.recorder.subscribe(usize::MAX).await.map(|in_memory| in_memory.past);
    let events = in_memory.iter().flatten().map(|stamped| Ok::<_, Infallible>(event::event(stamped)));
    let Ok(()) = sums.count(events);
    sums.answer(problem)
}

pub async fn plan(desk: Rc<Desk>, _asked: api::PlanRequest) -> Result<api::PlanResponse, Status> {
    Ok(answers::plan(&*desk.plan().await?))
}

pub async fn explain(desk: Rc<Desk>, asked: api::ExplainRequest) -> Result<api::ExplainResponse, Status> {
    let planned = match arguments::waits(asked.wait_seconds) {
        Some(wait) => tokio::time::timeout(wait, desk.plan()).await.unwrap_or_else(|_| {
            Err(Status::aborted(format!(
                "the node could not be observed within {}: the runtime does not answer",
                duration(wait)
            )))
        }),
        None => desk.plan().await,
    }?;
    let Planned { observation, remarks, states, report, .. } = &*planned;
    match explained(observation, report, &asked.object) {
        Found::Objects(objects) => {
            let source = desk.subjects.tools.pods.source().await;
            let pods = source.map(|source| source.pods).unwrap_or_default();
            let mut notes = [&*remarks.problems, &*remarks.notes].concat();
            if objects.iter().any(|object| object.kind == Kind::Image) {
                // Why images that would be removed may not be removed yet.
                let of_images = states.iter().filter(|state| state.of == Loop::ImageGc);
                notes.extend(
                    of_images.filter_map(|state| state.last.as_ref()).flat_map(|last| last.notes.clone()),
                );
            }
            let objects =
                objects.into_iter().map(|object| answers::explained(object, states, &pods)).collect();
            Ok(api::ExplainResponse { notes, objects })
        }
        Found::Ambiguous(several) => {
            let candidates =
                several.iter().map(|object| (&*object.item.id, object.kind.as_str(), &*object.item.name));
            Err(ambiguous(&asked.object, candidates.collect()))
        }
        Found::Nothing if asked.object.trim().is_empty() => {
            Err(Status::invalid_argument("the name of an object is needed"))
        }
        Found::Nothing => explain_gone(&desk.subjects, remarks, &asked.object).await,
    }
}

/// What the history has about objects that are gone.
async fn explain_gone(
    subjects: &Subjects,
    remarks: &Remarks,
    object: &str,
) -> Result<api::ExplainResponse, Status> {
    let removals = |removed: Filter| subjects.history.newest(&subjects.tools.recorder, removed, GONE);
    let mut gone = removals(Filter::removed(object)).await;
    if gone.as_ref().is_ok_and(Vec::is_empty) {
        gone = removals(Filter::removed_by_prefix(object)).await;
        let events = gone.iter().flatten();
        let candidates: Candidates<'_> =
            events.map(|event| (&*event.object_id, &*event.object_kind, &*event.object_name)).collect();
        if candidates.iter().any(|(id, ..)| candidates.first().is_some_and(|(first, ..)| first != id)) {
            return Err(ambiguous(object, candidates));
        }
    }
    let why = match gone {
        // It may be there again, among what could not be observed.
        Ok(gone) if !gone.is_empty() && remarks.problems.is_empty() => {
            let objects = gone.into_iter().rev().map(answers::gone).collect();
            return Ok(api::ExplainResponse { notes: Vec::new(), objects });
        }
        Ok(_) => "the history has no removal of it either".to_owned(),
        Err(error) => error.to_string(),
    };
    Err(if remarks.problems.is_empty() {
        Status::not_found(format!(
            "no container, sandbox, log directory or image on this node is called \"{object}\"; {why}"
        ))
    } else {
        let problems = remarks.problems.join("; ");
        Status::aborted(format!(
            "\"{object}\" was not found, but not everything could be observed: {problems}"
        ))
    })
}

/// Ids, kinds and names.
type Candidates<'a> = BTreeSet<(&'a str, &'a str, &'a str)>;

/// The ids of several objects begin with what was requested: these.
fn ambiguous(object: &str, candidates: Candidates<'_>) -> Status {
    let mut lines: Vec<String> = candidates
        .iter()
        .take(LISTED)
        .map(|(id, kind, name)| one_line(&format!("{kind} {name} {id}")).into_owned())
        .collect();
    if let Some(more @ 1..) = candidates.len().checked_sub(LISTED) {
        lines.push(format!("... and {more} more"));
    }
    let lines = lines.join("\n  ");
    Status::invalid_argument(format!(
        "the ids of several objects begin with \"{object}\"; write more of the id, or a name\n  {lines}"
    ))
}

pub async fn config(desk: Rc<Desk>, _asked: api::ConfigRequest) -> Result<api::ConfigResponse, Status> {
    answers::settings(&desk.subjects.settings().await?)
}

pub async fn reload(
    desk: Rc<Desk>,
    _asked: api::ReloadRequest,
    by: Option<Peer>,
) -> Result<api::ReloadResponse, Status> {
    match desk.subjects.configuration.reload(Cause::Admin, by).await {
        Ok(reloaded) => {
            desk.forget();
            Ok(api::ReloadResponse {
                configuration: Some(answers::configuration(&reloaded.state)),
                changed: reloaded.changed.into_iter().map(ToOwned::to_owned).collect(),
            })
        }
        Err(Refused(why)) => Err(Status::invalid_argument(why)),
    }
}

pub async fn set_log_level(
    desk: Rc<Desk>,
    asked: api::SetLogLevelRequest,
    by: Option<Peer>,
) -> Result<api::SetLogLevelResponse, Status> {
    let subjects = &desk.subjects;
    let level = arguments::level(&asked.level)?;
    let previous = subjects.threshold.get();
    if level == previous {
        return Ok(api::SetLogLevelResponse { previous: previous.as_str().to_owned() });
    }
    subjects.threshold.set(level);
    info!(subjects.tools.log, "log level changed"; "from" => previous.as_str(), "to" => level.as_str());
    let message = format!("from {} to {}", previous.as_str(), level.as_str());
    subjects.tools.recorder.record(Event::new(EventKind::LogLevelChanged, None, message).by(by));
    Ok(api::SetLogLevelResponse { previous: previous.as_str().to_owned() })
}

pub async fn pause(
    desk: Rc<Desk>,
    asked: api::PauseRequest,
    by: Option<Peer>,
) -> Result<api::PauseResponse, Status> {
    let since = desk.subjects.tools.clock.now();
    let until = arguments::pause_end(asked.for_seconds, since)?;
    let (paused, problem) = set_paused(&desk, &asked.loops, Some(Paused { since, until }), by).await?;
    Ok(api::PauseResponse { until: ends(&paused), paused: names(&paused), problem })
}

pub async fn resume(
    desk: Rc<Desk>,
    asked: api::ResumeRequest,
    by: Option<Peer>,
) -> Result<api::ResumeResponse, Status> {
    let (paused, problem) = set_paused(&desk, &asked.loops, None, by).await?;
    Ok(api::ResumeResponse { until: ends(&paused), paused: names(&paused), problem })
}

/// When pauses end, those that end by themselves.
fn ends(paused: &[(Loop, Paused)]) -> HashMap<String, String> {
    let end = |(of, paused): &(Loop, Paused)| Some((of.as_str().to_owned(), paused.until?.to_string()));
    paused.iter().filter_map(end).collect()
}

fn names(paused: &[(Loop, Paused)]) -> Vec<String> {
    paused.iter().map(|(of, _)| of.as_str().to_owned()).collect()
}

/// Pauses loops or resumes them. Returns which are paused then, and why that would not hold over a restart.
async fn set_paused(
    desk: &Desk,
    names: &[String],
    paused: Option<Paused>,
    by: Option<Peer>,
) -> Result<(Vec<(Loop, Paused)>, String), Status> {
    let Subjects { tools, state_dir, .. } = &desk.subjects;
    for known in desk.subjects.named(names)? {
        known.pause(paused, by).await;
    }
    desk.forget();
    // Only then, one after another: no pause waits for a disk, and what is written last is what is in force.
    let _turn = desk.writing_pauses.lock().await;
    let states = desk.subjects.states().await;
    let paused: Vec<_> = states.iter().filter_map(|state| Some((state.of, state.paused?))).collect();
    if states.len() < desk.subjects.loops.len() {
        let problem = "a supervisor of cri-gc is being restarted after a panic; pause or resume once more";
        return Ok((paused, problem.to_owned()));
    }
    let (state_dir, on_disk) = (state_dir.clone(), paused.clone());
    let written = tools.files.run_within(pauses::WITHIN, move || pauses::write(&state_dir, &on_disk)).await;
    let problem = written.map_err(|gone| gone.to_string()).flatten().err().unwrap_or_default();
    if problem.is_empty() {
        desk.unread_pauses.take();
    } else {
        warn!(
            tools.log,
            "pauses are not saved, so a restart of cri-gc undoes the last change of them: {}", problem
        );
    }
    Ok((paused, problem))
}

pub async fn run_now(
    desk: Rc<Desk>,
    asked: api::RunNowRequest,
    by: Option<Peer>,
) -> Result<Updates<api::PassUpdate>, Status> {
    let loops = desk.subjects.named(&asked.loops)?;
    let names: Vec<&str> = loops.iter().map(|known| known.of.as_str()).collect();
    let confirmed = if asked.confirm_deleted { "; confirmed that missing pods are deleted" } else { "" };
    let message = format!("{}{confirmed}", names.join(", "));
    desk.subjects.tools.recorder.record(Event::new(EventKind::PassRequested, None, message).by(by));
    let (updates, stream) = channel(WAITING);
    actix_rt::spawn(async move {
        // A pass would wait for as long as an RPC may take, once for each list. Where the runtime is unreachable it fails at once.
        if desk.runtime_hangs(GREETED_WITHIN).await {
            let hangs = "no pass was started: the runtime does not answer; the loops retry by themselves";
            let _ = updates.send(Err(Status::aborted(hangs))).await;
            return;
        }
        // The client may have given up meanwhile.
        if updates.is_closed() {
            return;
        }
        // It ends early when the client is gone.
        let _ = if asked.confirm_deleted {
            passes::confirm_and_run(&desk.subjects, &loops, &updates).await
        } else {
            passes::run_all(&loops, &updates).await
        };
        desk.forget();
    });
    Ok(ReceiverStream::new(stream))
}

pub async fn follow(desk: Rc<Desk>, asked: api::FollowRequest) -> Result<Updates<api::Event>, Status> {
    let filter = arguments::filter(asked.filter.as_ref())?;
    let recent = usize::try_from(asked.recent).unwrap_or(usize::MAX);
    let subscription = desk.subjects.tools.recorder.subscribe(usize::MAX).await;
    let subscription = subscription.ok_or_else(|| restarting("recorder"))?;
    let (events, stream) = channel(WAITING);
    actix_rt::spawn(send_all(subscription, filter, recent, events));
    Ok(ReceiverStream::new(stream))
}

/// Sends the events that are meant, until the client is gone.
async fn send_all(
    subscription: Subscription,
    filter: Filter,
    recent: usize,
    events: Sender<Result<api::Event, Status>>,
) {
    let Subscription { past, mut coming } = subscription;
    // Each is put into words once it is sent: a client that does not read must not have many copies.
    let past: Vec<_> = past.into_iter().filter(|stamped| filter.matches(&event::event(stamped))).collect();
    let first = past.len().saturating_sub(recent);
    let mut next = Some(answers::now());
    for stamped in past.into_iter().skip(first) {
        if events.send(Ok(event::event(&stamped))).await.is_err() {
            return;
        }
    }
    loop {
        if let Some(next) = next.take()
            && events.send(Ok(next)).await.is_err()
        {
            return;
        }
        next = tokio::select! {
            event = coming.recv() => match event {
                Ok(event) => Some(event::event(&event)).filter(|event| filter.matches(event)),
                Err(RecvError::Lagged(count)) => Some(answers::missed(count)),
                Err(RecvError::Closed) => return,
            },
            () = events.closed() => return,
        };
    }
}

/// Past events from the disk. The place is the client's until it has read them.
pub async fn history(
    desk: Rc<Desk>,
    (asked, place): (api::HistoryRequest, OwnedSemaphorePermit),
) -> Result<Updates<api::Event>, Status> {
    let filter = arguments::filter(asked.filter.as_ref())?;
    let limit = arguments::limit(asked.limit);
    let Subjects { tools, history, .. } = &desk.subjects;
    let past = history.newest(&tools.recorder, filter, limit).await;
    let past = past.map_err(|error| Status::failed_precondition(error.to_string()))?;
    let (events, stream) = channel(WAITING);
    actix_rt::spawn(async move {
        let to = events.clone();
        let send = async move {
            for event in past {
                if to.send(Ok(event)).await.is_err() {
                    break;
                }
            }
        };
        // A client that does not read is not waited for: its events take memory, and its place is wanted.
        let sent = tokio::time::timeout(READ_WITHIN, send).await;
        drop(place);
        if sent.is_err() {
            let late = format!("the client has not read the history within {}", duration(READ_WITHIN));
            // It may be gone.
            let _ = events.send(Err(Status::deadline_exceeded(late))).await;
        }
    });
    Ok(ReceiverStream::new(stream))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_candidates_of_an_ambiguous_id_are_named_one_on_each_line() {
        let ids: Vec<String> = (0..12).map(|number| format!("c0{number:02}")).collect();
        let all: Vec<_> = ids.iter().map(|id| (&**id, "container", "shop/web#0\n  FORGED")).collect();
        let status = ambiguous("c0", all.iter().take(2).copied().collect());
        assert_eq!(
            status.message(),
            "the ids of several objects begin with \"c0\"; write more of the id, or a name\n  \
             container shop/web#0 FORGED c000\n  container shop/web#0 FORGED c001"
        );
        assert!(ambiguous("c0", all.into_iter().collect()).message().ends_with("\n  ... and 2 more"));
    }
}
