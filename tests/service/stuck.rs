//! Objects that can't be removed: a sandbox whose network can't be torn down, an image that the runtime refuses to remove. They are tried less and
//! less, hold up nothing, and fill no log (behaviour: Objects that cannot be removed).

use std::time::Duration;

use cri_gc_kit::words::Loop;
use cri_gc_sim::{Code, Fault, Method, Scope};
use cri_gc_test_support::on_each_flavour;

use crate::stage::{Setup, Stage};

on_each_flavour!(
    #[actix_rt::test] async:
    what_cannot_be_removed_is_tried_once_in_each_pause_for_a_week,
    a_stuck_object_is_tried_at_once_on_request_and_forgotten_when_it_is_gone,
);

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

/// The period of all loops.
const PERIOD: Duration = Duration::from_secs(600);

/// A node whose loops make a pass every ten minutes.
fn setup() -> Setup {
    let periods = ["container_gc", "sandbox_gc", "log_gc", "image_gc"].map(|of| format!("{of}.period"));
    periods.iter().fold(Setup::new().set("image_gc.max_age", "1s"), |setup, key| setup.set(key, "10m"))
}

fn fail(stage: &Stage, method: Method, id: &str) {
    let fault = Fault::error(Code::Unknown, "it does not work");
    stage.sim.fault(method, fault, Scope::ForId(id.to_owned()));
}

async fn what_cannot_be_removed_is_tried_once_in_each_pause_for_a_week() {
    let setup = setup();
    let (sandbox, image) = (setup.replaced_sandbox(1), "r.io/stuck:1");
    setup.image(image, 10);
    let stage = setup.start().await;
    fail(&stage, Method::StopPodSandbox, &sandbox);
    stage.sim.fault(Method::RemoveImage, Fault::error(Code::Unknown, "it does not work"), Scope::Always);
    let mut tried = [Vec::new(), Vec::new()];
    let periods = u32::try_from(7 * 24 * HOUR.as_secs() / PERIOD.as_secs()).unwrap();
    for number in 0..periods {
        stage.sim.clear_calls();
        let other =
            (number % 100 == 50).then(|| stage.sim.add_pod(crate::stage::pod(2).not_ready()).unwrap());
        stage.step(PERIOD).await;
        for (tried, method) in tried.iter_mut().zip([Method::StopPodSandbox, Method::RemoveImage]) {
            let own = stage.sim.calls().into_iter().filter(|call| call.method == method);
            let own = own.filter(|call| Some(&call.id) != other.as_ref()).count();
            assert!(own <= 1, "{method:?} in one pass");
            tried.extend((own > 0).then_some(number));
        }
        if let Some(other) = other {
            // One that has failed before does not hold it up.
            assert!(stage.sim.with(|node| node.sandbox(&other).is_none()));
        }
    }
    for tried in &tried {
        let first: Vec<u32> = tried.iter().take(4).map(|number| number - tried[0]).collect();
        assert_eq!(first, [0, 1, 3, 7], "10, 20, 40 minutes, and then an hour");
        assert!(tried.windows(2).skip(3).all(|pair| pair[1] - pair[0] == 6), "{tried:?}");
    }
    let lines = stage.lines.take();
    let failures = lines.iter().filter(|line| line.contains("could not be removed")).count();
    // Of about 170 attempts each.
    assert!((4..=20).contains(&failures) && lines.len() < 40, "{lines:#?}");
    for (of, tried) in [(Loop::SandboxGc, &tried[0]), (Loop::ImageGc, &tried[1])] {
        let state = stage.state(of).await;
        let [stuck] = &*state.stuck else { panic!("{:?}", state.stuck) };
        assert_eq!(stuck.attempts, tried.len() as u64);
        assert!(stuck.removal.outcome.to_string().contains("it does not work"));
        assert!(stuck.next_try_at > stage.sim.now() && state.failures > 0);
    }
}

async fn a_stuck_object_is_tried_at_once_on_request_and_forgotten_when_it_is_gone() {
    let setup = setup();
    let sandbox = setup.replaced_sandbox(1);
    let stage = setup.start().await;
    fail(&stage, Method::StopPodSandbox, &sandbox);
    // Long enough for a pause of an hour.
    stage.pass_time_by(PERIOD, 10 * HOUR).await;
    let attempts = async || stage.state(Loop::SandboxGc).await.stuck.first().map(|stuck| stuck.attempts);
    let before = attempts().await.unwrap();
    let request = || stage.handle(Loop::SandboxGc).run(None);
    stage.answer("a pass", request()).await.unwrap();
    assert_eq!(attempts().await, Some(before + 1));
    // What stops it ends, but its pause is not over.
    stage.clear_faults();
    stage.pass_time_by(MINUTE, 5 * MINUTE).await;
    assert_eq!(attempts().await, Some(before + 1));
    stage.answer("a pass", request()).await.unwrap();
    assert!(stage.sim.with(|node| node.sandbox(&sandbox).is_none()));
    stage.settle().await;
    let state = stage.state(Loop::SandboxGc).await;
    assert!(state.stuck.is_empty() && state.failures == 0);
    assert!(stage.lines.take().iter().any(|line| line.contains("the loop has recovered")));
}
