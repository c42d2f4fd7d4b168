//! What clients ask about the node: observed and planned for all of them at once.
//!
//! An observation contains all objects of the node, and a runtime that hangs answers none for minutes. So of each kind one is in flight
//! at most, a caller that asks meanwhile joins it, and it continues to its end though its callers give up: the next one finds it.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use cri_gc_config::Settings;
use cri_gc_policy::{Enforcing, ImagePlan, Observation, PlanReport};
use futures_util::FutureExt;
use tokio::sync::Mutex;
use tonic::Status;

use super::subjects::Subjects;
use cri_gc_collectors::collector::LoopState;
use cri_gc_collectors::{planning, whole};
use cri_gc_gateway::{CriResult, ErrorClass};
use cri_gc_kit::in_flight::InFlight;
use cri_gc_kit::words::Loop;
use cri_gc_pods::Verdict;

/// The subjects, and what they are being asked.
pub struct Desk {
    pub subjects: Subjects,
    /// Held while the pauses are written.
    pub writing_pauses: Mutex<()>,
    /// Why the pauses could not be read at the start; `None` once they are written again.
    pub unread_pauses: RefCell<Option<String>>,
    greeting: Slot<CriResult<()>>,
    observing: Slot<Result<Rc<Observed>, Status>>,
    judging: Slot<Rc<Images>>,
    planning: Slot<Result<Rc<Planned>, Status>>,
}

/// The question of one kind; its answer is `None` where it panicked.
type Slot<T> = RefCell<InFlight<T>>;

/// What is reported with an observation or a plan.
#[derive(Clone)]
pub struct Remarks {
    pub problems: Vec<String>,
    pub notes: Vec<String>,
}

/// The node as the service sees it.
pub struct Observed {
    pub observation: Observation,
    settings: Arc<Settings>,
    verdict: Verdict,
    pub remarks: Remarks,
}

/// The plan for the images of such an observation.
pub struct Images {
    /// The same, with the image volumes of its containers.
    pub observation: Observation,
    pub plan: ImagePlan,
    /// Why it is not known which images are mounted.
    pub unread: Option<String>,
}

/// What the loops would remove as they are now.
pub struct Planned {
    pub observation: Observation,
    pub settings: Arc<Settings>,
    pub remarks: Remarks,
    pub states: Vec<LoopState>,
    pub report: PlanReport,
}

/// Joins the question in flight, or asks.
async fn join<T: Clone + 'static>(
    slot: &Slot<T>,
    ask: impl Future<Output = T> + 'static,
) -> Result<T, Status> {
    let in_flight = slot.borrow_mut().join();
    let answer = in_flight.unwrap_or_else(|| {
        let begun = slot.borrow_mut().begin(ask);
        actix_rt::spawn(begun.clone().map(drop));
        begun
    });
    answer
        .await
        .ok_or_else(|| Status::internal("cri-gc panicked while answering; see the log of the service"))
}

impl Desk {
    pub fn new(subjects: Subjects) -> Self {
        Self {
            unread_pauses: RefCell::new(subjects.unread_pauses.clone()),
            subjects,
            writing_pauses: Mutex::default(),
            greeting: Slot::default(),
            observing: Slot::default(),
            judging: Slot::default(),
            planning: Slot::default(),
        }
    }

    /// From now on no question joins one that was begun before: something has changed by an order.
    pub fn forget(&self) {
        self.greeting.take();
        self.observing.take();
        self.judging.take();
        self.planning.take();
    }

    /// Whether the runtime hangs: it does not answer in time. One that is unreachable does not hang; the gateway knows that.
    pub async fn runtime_hangs(&self, within: Duration) -> bool {
        let gateway = self.subjects.tools.gateway.clone();
        let greeted = join(&self.greeting, async move { gateway.version().await.map(drop) });
        match tokio::time::timeout(within, greeted).await {
            Ok(Ok(Err(error))) => error.class == ErrorClass::DeadlineExceeded,
            Ok(_) => false,
            Err(_elapsed) => true,
        }
    }

    /// The node as it is.
    pub async fn observe(&self) -> Result<Rc<Observed>, Status> {
        let subjects = self.subjects.clone();
        join(&self.observing, async move { observe(&subjects).await.map(Rc::new) }).await?
    }

    /// The plan for the images of that observation, or of an earlier one whose images are still being judged.
    pub async fn judge_images(&self, observed: &Rc<Observed>) -> Result<Rc<Images>, Status> {
        let (tools, observed) = (self.subjects.tools.clone(), Rc::clone(observed));
        let judge = async move {
            let mut observation = observed.observation.clone();
            let policy = observed.settings.policy();
            let (plan, unread) = planning::images(&tools, &mut observation, &policy.images).await;
            Rc::new(Images { observation, plan, unread: unread.map(|error| error.to_string()) })
        };
        join(&self.judging, judge).await
    }

    /// What the loops would remove now.
    pub async fn plan(self: &Rc<Self>) -> Result<Rc<Planned>, Status> {
        let desk = Rc::clone(self);
        let plan = async move {
            let observed = desk.observe().await?;
            Ok(Rc::new(plan(&desk.subjects, &observed).await))
        };
        join(&self.planning, plan).await?
    }
}

async fn observe(subjects: &Subjects) -> Result<Observed, Status> {
    let settings = subjects.settings().await?.generation.settings.clone();
    let whole = whole::look(&subjects.tools, &settings)
        .await
        .map_err(|error| Status::aborted(format!("the node could not be observed: {error}")))?;
    let verdict = whole.verdict;
    let remarks = Remarks {
        problems: whole.problems.iter().map(ToString::to_string).collect(),
        notes: verdict
            .notes
            .iter()
            .chain(&verdict.report_only)
            .chain(&verdict.images_unknown)
            .cloned()
            .collect(),
    };
    Ok(Observed { observation: whole.observation, settings, verdict, remarks })
}

async fn plan(subjects: &Subjects, observed: &Observed) -> Planned {
    let Observed { observation, settings, verdict, remarks } = observed;
    let (mut observation, mut remarks) = (observation.clone(), remarks.clone());
    let policy = settings.policy();
    let states = subjects.states().await;
    let runs = |of: Loop| states.iter().all(|state| state.of != of || state.paused.is_none());
    let enforcing = planning::enforcing(settings, verdict);
    let enforcing = Enforcing {
        containers: enforcing.containers && runs(Loop::ContainerGc),
        sandboxes: enforcing.sandboxes && runs(Loop::SandboxGc),
    };
    let (plan, problems) =
        planning::plan(&subjects.tools, &mut observation, &verdict.finished, &policy, enforcing).await;
    let report = planning::report(&subjects.tools, settings, &plan, &observation).await;
    remarks.problems.extend(problems.iter().map(ToString::to_string));
    remarks.problems.extend(plan.images.problems.iter().map(ToString::to_string));
    let paused = states.iter().filter(|state| state.paused.is_some());
    remarks.notes.extend(
        paused.map(|state| format!("{} is paused: it removes nothing until it is resumed", state.of)),
    );
    Planned { observation, settings: Arc::clone(settings), remarks, states, report }
}
