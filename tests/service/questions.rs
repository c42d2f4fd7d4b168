//! Questions on the admin socket while the disk of the image records hangs: they only read, so they are answered. Time stands still in
//! these tests, so that an answer that waited for a commit, or for a deadline, would never come.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use actix::Arbiter;
use cri_gc_collectors::observe;
use cri_gc_config::{Settings, load};
use cri_gc_images::{Home, ImageRecords, Origin};
use cri_gc_kit::supervision::guard::{Pace, log_restart};
use cri_gc_kit::workers::Workers;
use cri_gc_policy::images::ImageUse;
use cri_gc_proto::admin::admin_client::AdminClient;
use cri_gc_proto::admin::{ExplainRequest, PlanRequest, RunNowRequest, StatusRequest};
use cri_gc_service::admin::{Admin, Groups};
use cri_gc_sim::{Code as SimCode, Fault, Method, Scope};
use slog::{Discard, Logger, o};
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

use crate::stage::{PAUSED, SECOND, Setup, Stage, turns};

/// A service whose questions are answered by a keeper with a store there, and with a worker that is in our hands.
struct Asked {
    stage: Stage,
    client: AdminClient<Channel>,
    image: String,
    _admin: Admin,
    folder: tempfile::TempDir,
}

impl Asked {
    async fn start(worker: Workers) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("admin.sock");
        let setup = Setup::new().set("admin.socket", socket.to_str().unwrap());
        let image = setup.image("free:1", 10);
        // It is in use, which a pass would remember.
        setup.ended(&setup.living_pod(1), 1);
        let settings = load(&setup.sources).unwrap().settings;
        let clock = setup.seams.clock.clone();
        let mut stage = setup.start().await;
        let (pace, log) = (Pace::from(&settings), Logger::root(Discard, o!()));
        let log_panic = log_restart(log.clone(), "image records", None);
        let home = Home::Store(folder.path().to_owned().into(), Origin::default());
        let here = Arbiter::current();
        stage.service.tools.images = ImageRecords::start(&here, (pace, log_panic), home, worker, clock, log);
        let admin = stage.service.admin(&settings, Groups::default()).unwrap();
        let endpoint = Endpoint::try_from(format!("unix://{}", socket.display())).unwrap();
        let client = AdminClient::new(stage.answer("a connection", endpoint.connect()).await.unwrap());
        Self { stage, client, image, _admin: admin, folder }
    }

    /// Asks everything; returns the problems that `status` reports.
    async fn ask_all(&self) -> Vec<String> {
        let mut client = self.client.clone();
        let status = client.status(StatusRequest::default()).await.unwrap().into_inner();
        assert!(status.images.as_ref().is_some_and(|images| !images.sums.is_empty()), "{status:#?}");
        let plan = client.plan(PlanRequest {}).await.unwrap().into_inner();
        assert_eq!(plan.problems, status.problems);
        let explain = ExplainRequest { object: self.image.clone(), wait_seconds: 0.0 };
        let explained = client.explain(explain).await.unwrap().into_inner();
        assert_eq!(explained.objects.len(), 1, "{explained:#?}");
        status.problems
    }
}

/// Lets all tasks have turns for so long, in real time.
async fn turns_for(span: Duration) {
    let began = Instant::now();
    while began.elapsed() < span {
        turns(10).await;
    }
}

/// Waits for an answer that has to be there within so much time of the service. That is driven on slowly: what a busy machine
/// has to do in between is not to count.
async fn within<T>(stage: &Stage, limit: Duration, answer: impl Future<Output = T>) -> T {
    let mut answer = Box::pin(answer);
    let mut waited = Duration::ZERO;
    loop {
        tokio::select! {
            biased;
            answer = &mut answer => return answer,
            () = turns_for(Duration::from_millis(200)) => {
                stage.step_without_waiting(SECOND / 4).await;
                waited += SECOND / 4;
                assert!(waited <= limit, "no answer within {limit:?}");
            }
        }
    }
}

/// Has the worker hang until the sender is dropped.
async fn hang(worker: &Workers) -> mpsc::Sender<()> {
    let (release, released) = mpsc::channel::<()>();
    let worker = worker.clone();
    actix_rt::spawn(async move { worker.run(move || released.recv()).await });
    turns(10).await;
    release
}

#[actix_rt::test]
async fn status_plan_and_explain_are_answered_while_the_disk_of_the_records_hangs() {
    let worker = Workers::start(1).unwrap();
    let asked = Asked::start(worker.clone()).await;
    let (stage, records) = (&asked.stage, &asked.stage.service.tools.images);
    assert_eq!(stage.answer("the records", records.problem()).await, None);
    let _release = hang(&worker).await;
    // A pass has seen something, which is not on the disk yet.
    records.seen([ImageUse::named("r.io/job:1")], stage.service.tools.clock.moment());
    assert_eq!(stage.answer("all answers", asked.ask_all()).await, Vec::<String>::new());
    // Once the disk has had its time, they say so.
    stage.step_without_waiting(11 * SECOND).await;
    let problems = stage.answer("all answers", asked.ask_all()).await;
    assert!(problems.len() == 1 && problems[0].contains("no answer within"), "{problems:#?}");
}

#[actix_rt::test]
async fn a_hundred_questions_write_nothing() {
    let asked = Asked::start(Workers::start(1).unwrap()).await;
    let (stage, records) = (&asked.stage, &asked.stage.service.tools.images);
    assert_eq!(stage.answer("the records", records.problem()).await, None);
    let written = || std::fs::read(asked.folder.path().join("images.redb")).unwrap();
    let before = written();
    for _ in 0..34 {
        assert_eq!(stage.answer("all answers", asked.ask_all()).await, Vec::<String>::new());
        stage.step_without_waiting(SECOND).await;
    }
    stage.answer("the disk", records.flush()).await;
    assert!(written() == before, "a question has written something");
    // What a pass sees is written.
    stage.answer("a pass", observe::remember_pods(&stage.service.tools, &Settings::default())).await.unwrap();
    stage.answer("the disk", records.flush()).await;
    assert!(written() != before);
}

#[actix_rt::test]
async fn before_the_records_were_read_questions_say_so_within_a_second() {
    let worker = Workers::start(1).unwrap();
    let _release = hang(&worker).await;
    let asked = Asked::start(worker).await;
    // Three questions, each of which may wait a little.
    let problems = within(&asked.stage, 3 * SECOND, asked.ask_all()).await;
    assert!(problems.len() == 1 && problems[0].contains("are still being read"), "{problems:#?}");
}

#[actix_rt::test]
async fn a_runtime_that_hangs_gets_one_call_for_any_number_of_status_requests() {
    let asked = Asked::start(Workers::start(1).unwrap()).await;
    let Asked { stage, client, .. } = &asked;
    // What is counted is of questions only.
    for handle in &stage.service.loops {
        stage.answer("a pause", handle.pause(PAUSED, None)).await;
    }
    stage.sim.clear_calls();
    stage.sim.fault(Method::Version, Fault::Hang, Scope::Always);
    stage.sim.fault(Method::ListContainers, Fault::Hang, Scope::Always);
    for _ in 0..5 {
        let ask = || {
            let mut client = client.clone();
            async move { client.status(StatusRequest::default()).await.unwrap().into_inner() }
        };
        let answers = futures_util::future::join_all((0..10).map(|_| ask()));
        let answers = within(stage, 5 * SECOND, answers).await;
        for status in answers {
            let reports = |what: &str| status.problems.iter().any(|problem| problem.contains(what));
            assert!(
                reports("has not answered within") && reports("could not be observed within"),
                "{status:#?}"
            );
        }
    }
    let counts = [Method::Version, Method::ListContainers].map(|method| stage.sim.count(method));
    assert_eq!(counts, [1, 1], "{:#?}", stage.sim.calls());
    // No pass is begun either, which would hang with the runtime.
    let passes = stage.passes().await;
    let mut asks = client.clone();
    let request = RunNowRequest { loops: Vec::new(), confirm_deleted: false };
    let run = async move { asks.run_now(request).await?.into_inner().message().await };
    let refused = within(stage, 15 * SECOND, run).await.unwrap_err();
    assert_eq!(refused.code(), Code::Aborted);
    assert!(refused.message().contains("no pass was started: the runtime does not answer"), "{refused}");
    assert_eq!(stage.passes().await, passes);
    // Earlier questions are answered then, and each caller gets an error.
    stage.clear_faults();
    let well = async || {
        let status = client.clone().status(StatusRequest::default()).await.unwrap().into_inner();
        status.problems.is_empty().then_some(())
    };
    stage.until("a status without problems", well).await;
}

#[actix_rt::test]
async fn what_could_not_be_observed_is_not_reported_as_missing() {
    let asked = Asked::start(Workers::start(1).unwrap()).await;
    let Asked { stage, client, .. } = &asked;
    let explain = |object: &str| {
        let request = ExplainRequest { object: object.to_owned(), wait_seconds: 15.0 };
        let mut client = client.clone();
        async move { client.explain(request).await.map(drop).unwrap_err() }
    };
    assert_eq!(stage.answer("an answer", explain("web-0")).await.code(), Code::NotFound);
    stage.sim.fault(Method::ListContainers, Fault::error(SimCode::Unknown, "no snapshotter"), Scope::Always);
    let refused = stage.answer("an answer", explain("web-0")).await;
    assert_eq!(refused.code(), Code::Aborted);
    assert!(
        refused.message().contains("not everything could be observed: ListContainers: no snapshotter"),
        "{refused}"
    );
    // A runtime that hangs: the service answers before the client gives up.
    stage.sim.clear_faults();
    stage.sim.fault(Method::ListContainers, Fault::Hang, Scope::Always);
    let refused = within(stage, 14 * SECOND, explain("web-0")).await;
    assert_eq!(refused.code(), Code::Aborted, "{refused}");
}
