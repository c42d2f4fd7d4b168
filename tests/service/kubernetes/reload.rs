//! Other settings while the service runs: what one source confirmed does not count for the next, and the old server is left alone.

use std::path::Path;

use cri_gc_kit::generation::Cause;
use cri_gc_kit::words::Loop;
use cri_gc_policy::PodState::{Active, Deleted, Unknown};
use cri_gc_test_support::kubernetes::{FakeApi, Fault, On};

use super::{BOOT, Before, NODE, NOTHING, REMOVED_WITHIN, World, left_of, pod};
use crate::stage::{PERIOD, uid};

async fn reload(world: &World, file: &Path, text: &str) {
    std::fs::write(file, text).unwrap();
    let reload = world.stage.service.configuration.reload(Cause::Admin, None);
    world.stage.answer("the reload", reload).await.unwrap();
    world.stage.settle().await;
    world.exchange().await;
}

fn by_api(kubeconfig: &Path) -> String {
    format!("[pods]\nsource = \"kube-api\"\n[pods.kube_api]\nkubeconfig = {kubeconfig:?}\n")
}

#[actix_rt::test]
async fn what_one_source_confirmed_does_not_count_for_the_next() {
    let before = Before::new().set("supervision.stuck_backoff_max", "1s");
    before.living(1);
    let root = before.setup.sim.paths().root.clone();
    let (list, kubeconfig) = (root.join("pods.json"), root.join("kubeconfig"));
    let put = |numbers: &[usize]| {
        let pods =
            numbers.iter().map(|number| format!(r#"{{"uid": "{}", "state": "active"}}"#, uid(*number)));
        std::fs::write(&list, format!("[{}]", pods.collect::<Vec<_>>().join(","))).unwrap();
        // It counts as of its time, which is not ours.
        let now = std::time::SystemTime::from(before.setup.sim.now());
        std::fs::File::open(&list).unwrap().set_modified(now).unwrap();
    };
    put(&[1, 2]);
    let by_file = format!("[pods]\nsource = \"file\"\nfile = {list:?}\nmax_staleness = \"10h\"\n");
    let sim = before.setup.sim.clone();
    let (before, file) = before.by_file(&by_file);
    let world = before.start_as_it_is().await;
    world.dead_but_listed(2);
    world.pass_time(2 * PERIOD).await;
    assert_eq!((world.state(2).await, world.api.count(On::Any)), (Active, 0));
    // By the file it is confirmed deleted; the server has it.
    std::fs::write(&list, format!(r#"[{{"uid": "{}", "state": "active"}}]"#, uid(1))).unwrap();
    let touch =
        || std::fs::File::open(&list).unwrap().set_modified(std::time::SystemTime::from(sim.now())).unwrap();
    touch();
    world.refuse_removals();
    world.pass_time(PERIOD).await;
    touch();
    world.pass_time(PERIOD).await;
    assert_eq!(world.state(2).await, Deleted, "{}", world.evidence(2).await);
    reload(&world, &file, &by_api(&kubeconfig)).await;
    world.recovers("it follows the server").await;
    world.allow_removals();
    world.pass_time(3 * PERIOD).await;
    assert_eq!(world.state(2).await, Active);
    world.has_all(&[1, 2], "it was confirmed by another source");

    // By the server it is confirmed deleted; the next source has to wait for its grace.
    world.refuse_removals();
    world.api.delete("ns", "pod-2");
    world.pass_time(REMOVED_WITHIN).await;
    assert_eq!(world.state(2).await, Deleted);
    reload(
        &world,
        &file,
        "[pods]\nsource = \"runtime\"\nruntime_grace = \"5m\"\nruntime_beside_kubelet = true\n",
    )
    .await;
    let asked = world.api.count(On::Any);
    world.allow_removals();
    world.stage.pass_time(4 * PERIOD).await;
    assert_eq!((world.state(2).await, world.api.open_watches()), (Unknown, 0));
    world.has_all(&[1, 2], "it was confirmed by another source");
    world.stage.pass_time(4 * PERIOD).await;
    assert_eq!(left_of(world.sim(), 2), NOTHING, "nothing of it has run");
    world.stage.pass_time(10 * PERIOD).await;
    assert_eq!(world.api.count(On::Any), asked, "the server is left alone");
}

#[actix_rt::test]
async fn another_server_is_read_from_the_start_and_the_old_one_no_more() {
    let before = Before::new().set("supervision.stuck_backoff_max", "1s");
    before.living(1);
    let kubeconfig = before.setup.sim.paths().root.join("kubeconfig");
    let (before, file) = before.by_file(&by_api(&kubeconfig));
    let mut world = before.start_as_it_is().await;
    world.recovers("the first server").await;
    world.dead_but_listed(2);
    world.pass_time(PERIOD).await;
    world.refuse_removals();
    world.api.delete("ns", "pod-2");
    world.pass_time(REMOVED_WITHIN).await;
    assert_eq!(world.state(2).await, Deleted);
    // The other one has the pod; at first it does not know the node.
    let other = FakeApi::start(NODE);
    [1, 2].into_iter().for_each(|number| other.apply(pod(number)));
    let folder = kubeconfig.parent().unwrap().join("other");
    std::fs::create_dir(&folder).unwrap();
    other.fail_next(On::Node, Fault::Stall);
    reload(&world, &file, &by_api(&other.write_kubeconfig(&folder))).await;
    let first = std::mem::replace(&mut world.api, other);
    let (asked, watches) = (first.count(On::Any), first.open_watches());
    world.allow_removals();
    // Before the other one has said anything.
    let pass = world.stage.handle(Loop::ContainerGc).run(None);
    assert!(world.stage.answer("a pass", pass).await.unwrap().is_good());
    world.has_all(&[1, 2], "it was confirmed by another server");
    world.pass_time(5 * PERIOD).await;
    assert_eq!(world.state(2).await, Unknown);
    world.fails_with("there is no node").await;
    world.api.set_node(NODE, BOOT);
    world.recovers("it knows the node").await;
    world.pass_time(5 * PERIOD).await;
    assert_eq!(world.state(2).await, Active);
    world.has_all(&[1, 2], "it was confirmed by another server");
    assert_eq!((first.count(On::Any), first.open_watches(), watches), (asked, 0, 0));
    world.api.delete("ns", "pod-2");
    world.is_removed(2, "by the other server").await;
    assert_eq!(first.count(On::Get), gets_of_one_pod(&first));
}

/// Questions for the one pod that was ever deleted at that server.
fn gets_of_one_pod(api: &FakeApi) -> usize {
    api.requests().iter().filter(|request| request.path.ends_with("/pods/pod-2")).count()
}
