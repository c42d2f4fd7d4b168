//! Deaths, faults, hooks and the journal.

use std::time::Duration;

use crate::bed::{Answer, Bed, code};
use cri_gc_proto::cri;
use cri_gc_sim::{Call, Code, ContainerSpec, Fault, ImageSpec, Method, Scope, Sim};
use cri_gc_test_support::flavours::{Flavour, flavour};
use cri_gc_test_support::on_each_flavour;

on_each_flavour!(
    #[tokio::test] async:
    a_kill_cuts_the_call_in_flight_and_a_restart_brings_the_same_node_back,
    a_runtime_can_die_before_or_after_the_work_is_done,
    a_hook_may_kill_its_own_server,
    the_last_handle_ends_the_server,
    errors_occur_as_often_as_ordered_and_only_where_ordered,
    an_error_after_the_work_leaves_the_work_done,
    a_hung_call_goes_on_when_the_faults_are_cleared_and_blocks_no_other,
    a_hung_call_whose_caller_gave_up_is_never_carried_out,
    a_delay_lets_calls_overlap,
    a_hook_runs_right_before_its_call,
    a_hook_runs_before_every_call_until_cleared_and_before_next_only_once,
    a_call_that_a_fault_ends_runs_no_hook,
    the_journal_lists_all_calls_in_order,
    time_passes_only_by_advance,
);

/// More than any call takes; only a test that fails waits this long.
const LONG: Duration = Duration::from_secs(20);

/// Waits on another thread than the test's, which drives the client.
async fn arrived(sim: &Sim, method: Method, count: usize) {
    let sim = sim.clone();
    let there = tokio::task::spawn_blocking(move || sim.wait_for_calls(method, count, LONG)).await.unwrap();
    assert!(there, "{count} calls of {method}");
}

/// Sends RemoveContainer and returns once it has arrived.
async fn removal_under_way(bed: &Bed, id: &str) -> tokio::task::JoinHandle<Answer<()>> {
    let (mut client, id) = (bed.runtime.clone(), id.to_owned());
    let count = bed.sim.count(Method::RemoveContainer);
    let call = tokio::spawn(async move {
        client.remove_container(cri::RemoveContainerRequest { container_id: id }).await.map(drop)
    });
    arrived(&bed.sim, Method::RemoveContainer, count + 1).await;
    call
}

fn one(bed: &Bed) -> String {
    let pod = bed.pod("a");
    bed.container(&pod, "app")
}

async fn a_kill_cuts_the_call_in_flight_and_a_restart_brings_the_same_node_back() {
    let mut bed = Bed::new();
    let id = one(&bed);
    bed.sim.fault(Method::RemoveContainer, Fault::Hang, Scope::Always);
    let call = removal_under_way(&bed, &id).await;
    bed.sim.kill();
    assert!(!bed.sim.is_running());
    let code_of_cut = code(call.await.unwrap());
    assert!(matches!(code_of_cut, Code::Cancelled | Code::Unavailable | Code::Unknown), "{code_of_cut:?}");
    assert_eq!(code(bed.status(&id).await), Code::Unavailable, "nothing listens");
    assert!(bed.sim.socket().exists(), "the socket of a dead runtime stays behind");

    bed.sim.restart().unwrap();
    bed.sim.clear_faults();
    assert_eq!(bed.list_ids(Default::default()).await, [&*id], "the same client finds the same node");
    bed.remove(&id).await.unwrap();
    bed.sim.restart().unwrap();
    let ids = loop {
        // The client may find out only now that its connection is closed.
        match bed.list(Default::default()).await {
            Ok(list) => break list,
            Err(status) => {
                assert!(matches!(status.code(), Code::Unavailable | Code::Cancelled | Code::Unknown))
            }
        }
    };
    assert!(ids.is_empty());
}

async fn a_runtime_can_die_before_or_after_the_work_is_done() {
    for (fault, left) in [(Fault::Die, 1), (Fault::Die.after(), 0)] {
        let mut bed = Bed::new();
        let id = one(&bed);
        bed.sim.fault(Method::RemoveContainer, fault, Scope::Times(1));
        assert_ne!(code(bed.remove(&id).await), Code::Ok);
        bed.sim.restart().unwrap();
        assert_eq!(bed.sim.container_ids().len(), left);
        assert!(bed.sim.is_running());
    }
}

async fn a_hook_may_kill_its_own_server() {
    let mut bed = Bed::new();
    let id = one(&bed);
    let sim = bed.sim.clone();
    bed.sim.before_next(Method::RemoveContainer, move |_, _| sim.kill());
    assert_ne!(code(bed.remove(&id).await), Code::Ok);
    bed.sim.restart().unwrap();
    assert!(bed.sim.is_running());
}

async fn the_last_handle_ends_the_server() {
    let Bed { sim, mut runtime, _dir: _keep, .. } = Bed::new();
    let other = sim.clone();
    drop(sim);
    runtime.version(cri::VersionRequest::default()).await.unwrap();
    let socket = other.socket().to_owned();
    drop(other);
    let refused = std::os::unix::net::UnixStream::connect(socket).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
}

async fn errors_occur_as_often_as_ordered_and_only_where_ordered() {
    let mut bed = Bed::new();
    let id = one(&bed);
    let fault = Fault::error(Code::DeadlineExceeded, "too slow");
    bed.sim.fault(Method::ContainerStatus, fault.clone(), Scope::Times(2));
    let error = bed.status(&id).await.unwrap_err();
    assert_eq!((error.code(), error.message()), (Code::DeadlineExceeded, "too slow"));
    bed.list_all().await;
    assert_eq!(code(bed.status(&id).await), Code::DeadlineExceeded);
    bed.status(&id).await.unwrap();

    let other = one_more(&bed);
    bed.sim.fault(Method::RemoveContainer, fault, Scope::ForId(id.clone()));
    assert_eq!(code(bed.remove(&id).await), Code::DeadlineExceeded);
    bed.remove(&other).await.unwrap();
    assert_eq!(bed.sim.container_ids(), [&*id], "an error is no work done");
    bed.sim.clear_faults();
    bed.remove(&id).await.unwrap();
}

fn one_more(bed: &Bed) -> String {
    let pod = bed.sim.sandbox_ids().remove(0);
    bed.container(&pod, "more")
}

async fn an_error_after_the_work_leaves_the_work_done() {
    let mut bed = Bed::new();
    let id = one(&bed);
    let fault = Fault::error(Code::DeadlineExceeded, "late").after();
    bed.sim.fault(Method::RemoveContainer, fault, Scope::Always);
    assert_eq!(code(bed.remove(&id).await), Code::DeadlineExceeded);
    assert!(bed.sim.container_ids().is_empty());
}

async fn a_hung_call_goes_on_when_the_faults_are_cleared_and_blocks_no_other() {
    let mut bed = Bed::new();
    let id = one(&bed);
    bed.sim.fault(Method::RemoveContainer, Fault::Hang, Scope::Always);
    let call = removal_under_way(&bed, &id).await;
    bed.status(&id).await.unwrap();
    assert!(!call.is_finished());
    bed.sim.clear_faults();
    call.await.unwrap().unwrap();
    assert!(bed.sim.container_ids().is_empty());
}

async fn a_hung_call_whose_caller_gave_up_is_never_carried_out() {
    let mut bed = Bed::new();
    let id = one(&bed);
    bed.sim.fault(Method::RemoveContainer, Fault::Hang, Scope::Always);
    let mut request = tonic::Request::new(cri::RemoveContainerRequest { container_id: id.clone() });
    request.set_timeout(Duration::from_millis(20));
    let error = bed.runtime.remove_container(request).await.unwrap_err();
    assert!(matches!(error.code(), Code::DeadlineExceeded | Code::Cancelled), "{error:?}");
    // The server has its own timer for the same deadline; this call is answered after the cancellation was read.
    bed.status(&id).await.unwrap();
    bed.sim.clear_faults();
    bed.status(&id).await.unwrap();
    assert_eq!(bed.sim.container_ids(), [id]);
}

async fn a_delay_lets_calls_overlap() {
    let mut bed = Bed::new();
    let id = one(&bed);
    bed.sim.fault(Method::ContainerStatus, Fault::Delay(Duration::from_millis(30)), Scope::Always);
    bed.status(&id).await.unwrap();
    assert_eq!(bed.sim.most_in_flight(Method::ContainerStatus), 1);
    bed.sim.fault(Method::StopContainer, Fault::Hang, Scope::Always);
    let (mut a, mut b) = (bed.runtime.clone(), bed.runtime.clone());
    let request = || cri::StopContainerRequest { container_id: id.clone(), timeout: 0 };
    let both = async { tokio::join!(a.stop_container(request()), b.stop_container(request())) };
    let clear = async {
        arrived(&bed.sim, Method::StopContainer, 2).await;
        assert_eq!(bed.sim.most_in_flight(Method::StopContainer), 2);
        bed.sim.clear_faults();
    };
    let ((one, two), ()) = tokio::join!(both, clear);
    assert!(one.is_ok() && two.is_ok());
}

async fn a_hook_runs_right_before_its_call() {
    let mut bed = Bed::new();
    let image = bed.sim.add_image(ImageSpec::single("app:1", 1, 1));
    let pod = bed.pod("a");
    // A container starts to use the image between the list and the removal; containerd removes it all the same.
    let expected = image.clone();
    bed.sim.before(Method::RemoveImage, move |node, id| {
        assert_eq!(id, expected);
        node.add_container(ContainerSpec::new(&pod, "racer").image("app:1")).unwrap();
    });
    let refused = flavour() == Flavour::CriO;
    assert_eq!(code(bed.remove_image(&image).await), if refused { Code::Unknown } else { Code::Ok });
    let listed = bed.list_all().await;
    assert_eq!(listed.len(), 1);
    assert_eq!(bed.sim.with(|node| node.container(&listed[0].id).unwrap().image_id.clone()), image);
    assert_eq!(bed.sim.image_ids().contains(&image), refused);
}

async fn a_hook_runs_before_every_call_until_cleared_and_before_next_only_once() {
    let mut bed = Bed::new();
    bed.pod("a");
    for (once, expected) in [(true, 1), (false, 2)] {
        let start = bed.sim.container_ids().len();
        let pod = bed.sim.sandbox_ids().remove(0);
        let hook = move |node: &mut cri_gc_sim::Node, _: &str| {
            node.add_container(ContainerSpec::new(&pod, "app").no_log()).unwrap();
        };
        if once {
            bed.sim.before_next(Method::ListContainers, hook);
        } else {
            bed.sim.before(Method::ListContainers, hook);
        }
        assert_eq!(bed.list_all().await.len(), start + 1, "the list sees what the hook did");
        bed.list_all().await;
        bed.sim.clear_hooks();
        bed.list_all().await;
        assert_eq!(bed.sim.container_ids().len(), start + expected);
    }
}

async fn a_call_that_a_fault_ends_runs_no_hook() {
    let mut bed = Bed::new();
    let id = one(&bed);
    bed.sim.fault(Method::RemoveContainer, Fault::error(Code::Internal, ""), Scope::Times(1));
    bed.sim.before(Method::RemoveContainer, |node, id| node.remove_container(id).unwrap());
    assert_eq!(code(bed.remove(&id).await), Code::Internal);
    assert_eq!(bed.sim.container_ids().len(), 1);
    bed.remove(&id).await.unwrap();
    assert!(bed.sim.container_ids().is_empty());
}

async fn the_journal_lists_all_calls_in_order() {
    let mut bed = Bed::new();
    let id = one(&bed);
    let pod = bed.sim.sandbox_ids().remove(0);
    let filter = cri::ContainerFilter { pod_sandbox_id: pod.clone(), ..Default::default() };
    bed.list(filter).await.unwrap();
    bed.status(&id).await.unwrap();
    bed.sim.advance(Duration::from_secs(1));
    bed.remove(&id).await.unwrap();
    let at = bed.sim.now();
    let calls = bed.sim.calls();
    let listed: Vec<(Method, &str)> = calls.iter().map(|call| (call.method, call.id.as_str())).collect();
    let expected =
        [(Method::ListContainers, &*pod), (Method::ContainerStatus, &*id), (Method::RemoveContainer, &*id)];
    assert_eq!(listed, expected);
    assert_eq!(calls.last(), Some(&Call { method: Method::RemoveContainer, id, at }));
    assert_eq!(bed.sim.count(Method::RemoveContainer), 1);
    bed.sim.clear_calls();
    assert_eq!((bed.sim.count(Method::RemoveContainer), bed.sim.calls().len()), (0, 0));
    assert!(!bed.sim.wait_for_calls(Method::Version, 1, Duration::ZERO));
}

async fn time_passes_only_by_advance() {
    let bed = Bed::new();
    let (clock, start) = (bed.sim.clock(), bed.sim.now());
    assert_eq!(clock(), start);
    bed.sim.advance(Duration::from_millis(1500));
    assert_eq!(clock().duration_since(start).as_millis(), 1500);
    bed.sim.step_clock(start);
    assert_eq!((clock(), bed.sim.uptime()), (start, Duration::from_millis(1500)));
}

#[test]
fn a_folder_whose_name_is_too_long_for_a_socket_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let long = dir.path().join("x".repeat(120));
    let error = Sim::start(&long, Default::default()).unwrap_err();
    assert!(error.to_string().contains("cri.sock"), "{error}");
}
