//! The actor: takes each question, and hands it on to whom it concerns. Its answers are futures, so that none waits for
//! another.

use std::rc::Rc;
use std::time::Duration;

use actix::{Actor, Context, Handler, ResponseFuture, Supervised};
use cri_gc_config::LogLevel;
use cri_gc_policy::explain::{Found, explain};
use cri_gc_proto::admin as api;
use slog::info;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc::Sender;
use tokio::sync::oneshot;
use tonic::Status;

use super::answers;
use super::desk::{Desk, Planned};
use super::messages::{Asked, Follow, RunLoops};
use super::passes;
use super::subjects::{Subjects, restarting};
use crate::configuration::Refused;
use cri_gc_kit::generation::Cause;
use cri_gc_kit::recorder::Subscription;
use cri_gc_kit::supervision::guard::Guarded;
use cri_gc_kit::text::duration;
use cri_gc_kit::words::{Kind, Loop};

/// How long a status waits for the runtime and for a look at the node.
const SOON: Duration = Duration::from_secs(2);

/// How long a runtime has to say that it is there before passes are asked for.
const GREETED_WITHIN: Duration = Duration::from_secs(10);

/// The admin actor.
pub struct AdminActor {
    desk: Rc<Desk>,
}

impl AdminActor {
    pub fn new(subjects: Subjects) -> Self {
        Self { desk: Rc::new(Desk::new(subjects)) }
    }
}

impl Actor for AdminActor {
    type Context = Context<Self>;
}

impl Supervised for AdminActor {}

impl Guarded for AdminActor {}

/// Handles a request by a function of the desk.
macro_rules! answer {
    ($request:ty => $answer:ty: $by:expr, $given_up:expr) => {
        impl Handler<Asked<$request, $answer>> for AdminActor {
            type Result = ();

            fn handle(&mut self, asked: Asked<$request, $answer>, _ctx: &mut Context<Self>) {
                let desk = Rc::clone(&self.desk);
                let Asked { question, mut answer } = asked;
                actix_rt::spawn(async move {
                    let answered = tokio::select! {
                        answered = $by(&desk, question) => answered,
                        () = $given_up(&mut answer) => return,
                    };
                    // The client may be gone.
                    let _ = answer.send(answered);
                });
            }
        }
    };
}

/// A question ends when its client gives up.
async fn closed<T>(answer: &mut oneshot::Sender<T>) {
    answer.closed().await;
}

/// An order is carried out whole, whether its client still waits or not.
async fn never<T>(_answer: &mut oneshot::Sender<T>) {
    std::future::pending().await
}

answer!(api::StatusRequest => api::StatusResponse: status, closed);
answer!(api::PlanRequest => api::PlanResponse: plan, closed);
answer!(api::ExplainRequest => api::ExplainResponse: explain_object, closed);
answer!(api::ConfigRequest => api::ConfigResponse: configuration, closed);
answer!(api::ReloadRequest => api::ReloadResponse: reload, never);
answer!(api::SetLogLevelRequest => api::SetLogLevelResponse: set_log_level, never);
answer!(api::PauseRequest => api::PauseResponse: async |desk: &Rc<Desk>, asked: api::PauseRequest| {
    Ok(api::PauseResponse { paused: pause(desk, &asked.loops, true).await? })
}, never);
answer!(api::ResumeRequest => api::ResumeResponse: async |desk: &Rc<Desk>, asked: api::ResumeRequest| {
    Ok(api::ResumeResponse { paused: pause(desk, &asked.loops, false).await? })
}, never);

/// How long the client waits, less what its answer takes to reach it.
fn waits(seconds: f64) -> Option<Duration> {
    let wait = Duration::try_from_secs_f64(seconds).ok().filter(|wait| !wait.is_zero())?;
    Some(wait.mul_f64(0.9))
}

async fn status(desk: &Rc<Desk>, asked: api::StatusRequest) -> Result<api::StatusResponse, Status> {
    let subjects = &desk.subjects;
    let tools = &subjects.tools;
    // The node is observed, then its images are judged.
    let soon = waits(asked.wait_seconds).map_or(SOON, |wait| SOON.min(wait / 2));
    let state = subjects.settings().await?;
    // So that what is said of the runtime is of this moment. What it answers goes to the gateway's own book.
    let greeting = desk.runtime_hangs(soon);
    let looking = tokio::time::timeout(soon, desk.look());
    let (hangs, looked, states) = futures_util::join!(greeting, looking, subjects.states());
    let (looked, blind) = match looked {
        Ok(Ok(looked)) => (Some(looked), None),
        Ok(Err(error)) => (None, Some(error.message().to_owned())),
        Err(_) => (None, Some(format!("the node could not be observed within {}", duration(soon)))),
    };
    // What is said of images needs no finish times of containers.
    let (images, unjudged) = match &looked {
        Some(looked) => match tokio::time::timeout(soon, desk.judge_images(looked)).await {
            Ok(Ok(judged)) => (Some(judged), None),
            Ok(Err(error)) => (None, Some(error.message().to_owned())),
            Err(_) => {
                let slow = "the images could not be judged in time: it is still being read which of them are mounted into \
                     containers; ask again";
                (None, Some(slow.to_owned()))
            }
        },
        None => (None, None),
    };
    let unread = images.iter().flat_map(|images| images.unread.clone());
    let problems = looked.as_ref().map_or(&[][..], |looked| &looked.told.problems);
    let of_images = images.iter().flat_map(|images| images.plan.problems.iter().map(ToString::to_string));
    let unanswered = hangs.then(|| format!("the runtime has not answered within {}", duration(soon)));
    let (runtime, source) = futures_util::join!(tools.gateway.runtime(), tools.pods.source());
    let settings = &state.generation.settings;
    let silent = subjects.loops.iter().filter(|known| states.iter().all(|state| state.of != known.of));
    let problems = unanswered.into_iter().chain(blind).chain(problems.iter().cloned());
    let problems = problems.chain(unread).chain(unjudged).chain(of_images);
    let problems = problems.chain(silent.map(|of| format!("the supervisor of {} does not answer", of.of)));
    Ok(api::StatusResponse {
        version: subjects.version.to_owned(),
        pid: std::process::id(),
        node_name: settings.node_name.clone().unwrap_or_else(cri_gc_kit::text::host_name),
        started_at: subjects.started_at.to_string(),
        now: tools.clock.now().to_string(),
        log_level: subjects.threshold.get().as_str().to_owned(),
        runtime: runtime.map(|runtime| {
            let mut answer = answers::runtime(settings.runtime.endpoint.as_str(), runtime);
            if answer.reachable && hangs {
                answer.error = format!("no answer within {}", duration(soon));
            }
            answer
        }),
        pods: source.map(|source| answers::source(source, looked.as_ref().map(|looked| &looked.observation))),
        loops: states.iter().map(answers::loop_status).collect(),
        filesystems: looked
            .iter()
            .flat_map(|looked| &looked.observation.filesystems)
            .map(|fs| answers::filesystem(fs, settings))
            .collect(),
        images: images.as_ref().map(|images| answers::images(&images.observation, &images.plan)),
        problems: problems.collect(),
        configuration: Some(answers::configuration(&state)),
    })
}

async fn plan(desk: &Rc<Desk>, _asked: api::PlanRequest) -> Result<api::PlanResponse, Status> {
    let planned = desk.plan().await?;
    let Planned { observation, settings, told, report, .. } = &*planned;
    Ok(answers::plan(report.clone(), &observation.filesystems, settings, told.clone()))
}

async fn explain_object(desk: &Rc<Desk>, asked: api::ExplainRequest) -> Result<api::ExplainResponse, Status> {
    let planned = match waits(asked.wait_seconds) {
        Some(wait) => tokio::time::timeout(wait, desk.plan()).await.unwrap_or_else(|_| {
            Err(Status::aborted(format!(
                "the node could not be observed within {wait:.0?}: the runtime does not answer"
            )))
        }),
        None => desk.plan().await,
    }?;
    let Planned { observation, told, states, report, .. } = &*planned;
    let source = desk.subjects.tools.pods.source().await;
    let pods = source.map(|source| source.pods).unwrap_or_default();
    // Why images that should go may not go yet.
    let noted =
        states.iter().filter(|state| state.of == Loop::ImageGc).filter_map(|state| state.last.as_ref());
    let noted = noted.flat_map(|last| last.notes.iter().cloned());
    match explain(observation, report, &asked.object) {
        Found::Objects(objects) => Ok(api::ExplainResponse {
            notes: {
                let images = objects.iter().any(|object| object.kind == Kind::Image);
                told.problems.iter().chain(&told.notes).cloned().chain(noted.filter(|_| images)).collect()
            },
            objects: objects.into_iter().map(|object| answers::explained(object, states, &pods)).collect(),
        }),
        Found::Ambiguous(ids) => Err(Status::invalid_argument(format!(
            "several objects begin with \"{}\": {}; give more of the id",
            asked.object,
            ids.join(", ")
        ))),
        // It may be among what was not seen.
        Found::Nothing if !told.problems.is_empty() => Err(Status::aborted(format!(
            "nothing that could be observed is called \"{}\", but not everything could: {}",
            asked.object,
            told.problems.join("; ")
        ))),
        Found::Nothing => Err(Status::not_found(format!(
            "no container, sandbox, log directory or image on this node is called \"{}\"",
            asked.object
        ))),
    }
}

async fn configuration(desk: &Rc<Desk>, _asked: api::ConfigRequest) -> Result<api::ConfigResponse, Status> {
    answers::settings(&desk.subjects.settings().await?)
}

async fn reload(desk: &Rc<Desk>, _asked: api::ReloadRequest) -> Result<api::ReloadResponse, Status> {
    match desk.subjects.configuration.reload(Cause::Admin).await {
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

async fn set_log_level(
    desk: &Rc<Desk>,
    asked: api::SetLogLevelRequest,
) -> Result<api::SetLogLevelResponse, Status> {
    let subjects = &desk.subjects;
    let level: LogLevel = asked.level.parse().map_err(|error| {
        Status::invalid_argument(format!("{error}; write one of {}", LogLevel::WORDS.join(", ")))
    })?;
    let previous = subjects.threshold.get();
    subjects.threshold.set(level);
    info!(subjects.tools.log, "log level changed"; "from" => previous.as_str(), "to" => level.as_str());
    Ok(api::SetLogLevelResponse { previous: previous.as_str().to_owned() })
}

/// Pauses loops or lets them go on, and says which are paused then.
async fn pause(desk: &Desk, names: &[String], paused: bool) -> Result<Vec<String>, Status> {
    let subjects = &desk.subjects;
    for known in subjects.named(names)? {
        known.pause(paused).await;
    }
    desk.forget();
    let paused = subjects.states().await.into_iter().filter(|state| state.paused_since.is_some());
    Ok(paused.map(|state| state.of.as_str().to_owned()).collect())
}

impl Handler<RunLoops> for AdminActor {
    type Result = Result<(), Status>;

    fn handle(&mut self, asked: RunLoops, _ctx: &mut Context<Self>) -> Self::Result {
        let RunLoops { loops, confirm_deleted, updates } = asked;
        let loops = self.desk.subjects.named(&loops)?;
        let desk = Rc::clone(&self.desk);
        actix_rt::spawn(async move {
            // A pass would wait for as long as an RPC may take, once for each list. Where the runtime is away it fails at once.
            if desk.runtime_hangs(GREETED_WITHIN).await {
                let hangs = "the runtime does not answer; no pass was requested, the loops try by themselves";
                let _ = updates.send(Err(Status::aborted(hangs))).await;
                return;
            }
            // What was asked for may have been taken back meanwhile.
            if updates.is_closed() {
                return;
            }
            // The client may be gone.
            let _ = if confirm_deleted {
                passes::confirm_and_run(&desk.subjects, &loops, &updates).await
            } else {
                passes::run_all(&loops, &updates).await
            };
            desk.forget();
        });
        Ok(())
    }
}

impl Handler<Follow> for AdminActor {
    type Result = ResponseFuture<Result<(), Status>>;

    fn handle(&mut self, Follow { recent, events }: Follow, _ctx: &mut Context<Self>) -> Self::Result {
        let recorder = self.desk.subjects.tools.recorder.clone();
        Box::pin(async move {
            let subscription = recorder.subscribe(recent).await.ok_or_else(|| restarting("recorder"))?;
            // Ends when the client is gone.
            actix_rt::spawn(follow(subscription, events));
            Ok(())
        })
    }
}

/// Hands events on until the client is gone.
async fn follow(subscription: Subscription, events: Sender<Result<api::Event, Status>>) {
    let Subscription { past, mut coming } = subscription;
    for event in &past {
        if events.send(Ok(answers::event(event))).await.is_err() {
            return;
        }
    }
    let mut next = answers::now();
    loop {
        if events.send(Ok(next)).await.is_err() {
            return;
        }
        next = tokio::select! {
            event = coming.recv() => match event {
                Ok(event) => answers::event(&event),
                Err(RecvError::Lagged(count)) => answers::missed(count),
                Err(RecvError::Closed) => return,
            },
            () = events.closed() => return,
        };
    }
}
