//! The service, the runtime, or both are killed (SIGKILL) at any moment of collections, and started again: what has to be kept is kept, and
//! in the end everything is collected.
//!
//! Ten kills by default, `CRI_GC_TEST_KILLS=200` makes more; `CRI_GC_TEST_SEED` draws other moments. Whatever they are, what is
//! asserted has to be true: nothing here depends on how long the machine takes.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use cri_gc_proto::cri::ContainerState;
use cri_gc_test_support::{ContainerSpec, Pod, until_async};
use fastrand::Rng;
use rustix::process::Signal;

use crate::crashes::setting;
use crate::node::{APP, Node, image};
use crate::running_service::serve;

on_both!(whatever_is_killed_what_must_be_kept_is_kept_and_the_rest_is_collected);

const PATIENCE: Duration = Duration::from_secs(120);

/// Dead containers of one name that are made in each round; all but the newest are to be collected.
const JOBS: u32 = 6;

async fn whatever_is_killed_what_must_be_kept_is_kept_and_the_rest_is_collected(node: &mut Node) {
    let mut random = Rng::with_seed(setting("CRI_GC_TEST_SEED", 1));
    let web = node.pod("web").await;
    let main = node.running(&web, "main").await;
    node.set("container_gc.parallel_removals", 2).set("supervision.stuck_backoff_max", "1s");
    let mut next = 0;
    let mut running = serve(node);
    for kill in 0..setting("CRI_GC_TEST_KILLS", 10) {
        // What never ran is as dead, and quickly made.
        for attempt in next..next + JOBS {
            node.created(&web, &ContainerSpec::sleeper("job", &image(APP)).attempt(attempt)).await;
        }
        next += JOBS;
        node.ended_pod(&format!("deleted-{kill}"), &["main"]).await;
        tokio::time::sleep(Duration::from_millis(random.u64(..1_500))).await;
        let (service, runtime) = [(true, false), (false, true), (true, true)][random.usize(..3)];
        if service {
            running.signal(Signal::KILL);
        }
        if runtime {
            node.runtime.kill();
        }
        let survivor = if service {
            drop(running.wait());
            None
        } else {
            Some(running)
        };
        if runtime {
            tokio::time::sleep(Duration::from_millis(random.u64(..500))).await;
            node.runtime.restart();
            node.reconnect();
        }
        kept(node, &main, next).await;
        running = match survivor {
            Some(running) => running,
            None => serve(node),
        };
    }
    collected(node, &web, next).await;
    kept(node, &main, next).await;
    running.terminate();
    assert_eq!(running.wait().code, 0);
}

/// The attempts of the jobs that are there.
async fn jobs(node: &Node) -> BTreeSet<u32> {
    let all = node.cri.list_containers().await.unwrap();
    let metadata = all.iter().map(|container| container.metadata.as_ref().unwrap());
    metadata.filter(|metadata| metadata.name == "job").map(|metadata| metadata.attempt).collect()
}

/// What runs, and the newest of what is dead.
async fn kept(node: &Node, main: &str, next: u32) {
    let all = node.cri.list_containers().await.unwrap();
    let main = all.iter().find(|container| container.id == main).expect("what runs is there");
    assert_eq!(main.state(), ContainerState::ContainerRunning);
    assert!(jobs(node).await.contains(&(next - 1)), "the newest is there");
}

/// Waits until nothing else is left.
async fn collected(node: &Node, web: &Pod, next: u32) {
    let clean = || async {
        let sandboxes = node.cri.list_sandboxes().await.ok()?;
        let only_web = sandboxes.iter().all(|sandbox| sandbox.id == web.id);
        let logs = fs::read_dir(node.runtime.pod_logs()).unwrap().count();
        (only_web && logs == 1 && jobs(node).await == BTreeSet::from([next - 1])).then_some(())
    };
    until_async(PATIENCE, clean).await.expect("all that has to go is collected");
}
