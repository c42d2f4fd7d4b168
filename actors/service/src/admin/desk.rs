//! What clients ask of the node: observed and planned for all of them at once.
//!
//! An observation holds all there is on the node, and a runtime that hangs answers none for minutes. So of each kind one is in flight
//! at most, whoever asks meanwhile joins it, and it goes on to its end though its callers give up: the next one finds it.

use std::cell::RefCell;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use cri_gc_config::Settings;
use cri_gc_policy::{Enforcing, ImagePlan, Observation, PlanReport};
use futures_util::FutureExt;
use tonic::Status;

use super::answers::Told;
use super::subjects::Subjects;
use cri_gc_collectors::collector::LoopState;
use cri_gc_collectors::{planning, whole};
use cri_gc_gateway::{CriResult, ErrorClass};
use cri_gc_kit::in_flight::InFlight;
use cri_gc_kit::words::Loop;
use cri_gc_pods::Verdict;

/// The subjects, and what they are being asked.
pub(super) struct Desk {
    pub subjects: Subjects,
    greeting: Slot<CriResult<()>>,
    observing: Slot<Result<Rc<Looked>, Status>>,
    judging: Slot<Rc<Images>>,
    planning: Slot<Result<Rc<Planned>, Status>>,
}

/// The question of one kind; its answer is `None` where it panicked.
type Slot<T> = RefCell<InFlight<Option<T>>>;

/// One look at the node as the service sees it.
pub(super) struct Looked {
    pub observation: Observation,
    pub settings: Arc<Settings>,
    verdict: Verdict,
    pub told: Told,
}

/// What would become of the images of such a look.
pub(super) struct Images {
    /// The same, with the image volumes of its containers.
    pub observation: Observation,
    pub plan: ImagePlan,
    /// Why it is not known which images are mounted.
    pub unread: Option<String>,
}

/// What the loops would remove as they are now.
pub(super) struct Planned {
    pub observation: Observation,
    pub settings: Arc<Settings>,
    pub told: Told,
    pub states: Vec<LoopState>,
    pub report: PlanReport,
}

/// Joins the question in flight, or asks.
async fn join<T: Clone + 'static>(
    slot: &Slot<T>,
    ask: impl Future<Output = T> + 'static,
) -> Result<T, Status> {
    let in_flight = slot.borrow().join();
    let answer = in_flight.unwrap_or_else(|| {
        // The panic hook has told where.
        let begun = slot.borrow_mut().begin(AssertUnwindSafe(ask).catch_unwind().map(Result::ok));
        actix_rt::spawn(begun.clone().map(drop));
        begun
    });
    answer.await.ok_or_else(|| Status::internal("answering panicked; the log has where"))
}

impl Desk {
    pub fn new(subjects: Subjects) -> Self {
        Self {
            subjects,
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

    /// Whether the runtime hangs: it does not say in time what it is. One that is away does not hang; the gateway knows that.
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
    pub async fn look(&self) -> Result<Rc<Looked>, Status> {
        let subjects = self.subjects.clone();
        join(&self.observing, async move { look(&subjects).await.map(Rc::new) }).await?
    }

    /// What would become of the images of that look, or of an earlier one whose images are still being judged.
    pub async fn judge_images(&self, looked: &Rc<Looked>) -> Result<Rc<Images>, Status> {
        let (tools, looked) = (self.subjects.tools.clone(), Rc::clone(looked));
        let judge = async move {
            let mut observation = looked.observation.clone();
            let policy = looked.settings.policy();
            let (plan, unread) = planning::images(&tools, &mut observation, &policy.images).await;
            Rc::new(Images { observation, plan, unread: unread.map(|error| error.to_string()) })
        };
        join(&self.judging, judge).await
    }

    /// What the loops would remove now.
    pub async fn plan(self: &Rc<Self>) -> Result<Rc<Planned>, Status> {
        let desk = Rc::clone(self);
        let plan = async move {
            let looked = desk.look().await?;
            Ok(Rc::new(plan(&desk.subjects, &looked).await))
        };
        join(&self.planning, plan).await?
    }
}

async fn look(subjects: &Subjects) -> Result<Looked, Status> {
    let settings = subjects.settings().await?.generation.settings.clone();
    let whole = whole::look(&subjects.tools, &settings)
        .await
        .map_err(|error| Status::aborted(format!("the node could not be observed: {error}")))?;
    let verdict = whole.verdict;
    let told = Told {
        problems: whole.problems.iter().map(ToString::to_string).collect(),
        notes: verdict
            .notes
            .iter()
            .chain(&verdict.report_only)
            .chain(&verdict.images_unknown)
            .cloned()
            .collect(),
    };
    Ok(Looked { observation: whole.observation, settings, verdict, told })
}

async fn plan(subjects: &Subjects, looked: &Looked) -> Planned {
    let Looked { observation, settings, verdict, told } = looked;
    let (mut observation, mut told) = (observation.clone(), told.clone());
    let policy = settings.policy();
    let states = subjects.states().await;
    let runs = |of: Loop| states.iter().all(|state| state.of != of || state.paused_since.is_none());
    let enforcing = planning::enforcing(settings, verdict);
    let enforcing = Enforcing {
        containers: enforcing.containers && runs(Loop::ContainerGc),
        sandboxes: enforcing.sandboxes && runs(Loop::SandboxGc),
    };
    let (plan, problems) =
        planning::plan(&subjects.tools, &mut observation, &verdict.finished, &policy, enforcing).await;
    let report = planning::report(&subjects.tools, settings, &plan, &observation).await;
    told.problems.extend(problems.iter().map(ToString::to_string));
    told.problems.extend(plan.images.problems.iter().map(ToString::to_string));
    Planned { observation, settings: Arc::clone(settings), told, states, report }
}
