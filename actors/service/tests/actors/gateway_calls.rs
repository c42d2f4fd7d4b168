//! The gateway's calls: deadlines, the classes of errors as they come over a real wire, and reconnection.

use std::sync::Arc;
use std::time::Duration;

use actix::Arbiter;
use cri_gc_gateway::{Connect, CriError, CriResult, ErrorClass, Freshness, Gateway, Owner};
use cri_gc_kit::generation::{Generation, Reconfigure};
use cri_gc_kit::supervision::threads::Lease;
use cri_gc_policy::Container;
use cri_gc_sim::{Code, Fault, Method, Options, Scope};
use cri_gc_test_support::{
    flavours::{Flavour, flavour, options},
    on_each_flavour,
};

use tokio::time::Instant;

use super::bed::{Bed, PATIENCE, SECOND, begun, silent};

on_each_flavour!(
    a_call_that_is_not_answered_ends_at_its_deadline,
    a_stop_has_the_time_that_the_container_is_given_on_top_of_the_deadline,
    a_caller_who_stops_waiting_does_not_cancel_what_was_sent,
    a_runtime_that_dies_during_a_call_is_unreachable_then_and_afterwards,
    a_runtime_that_dies_of_its_answer_is_unreachable,
    a_runtime_that_is_reachable_again_is_used_by_the_next_call,
    under_a_revoked_lease_only_reads_are_allowed,
    without_a_socket_there_is_no_socket_and_once_there_is_one_it_is_used,
    what_the_runtime_answers_is_sorted_by_what_it_means,
    a_list_over_the_runtimes_limit_is_too_large,
    a_list_over_our_own_limit_is_too_large_and_raising_it_helps,
    an_empty_id_is_refused_before_it_is_sent,
    a_question_does_not_wait_for_a_place_for_longer_than_it_may_take,
);

/// Checks again and again, until it is so.
async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let checks = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, checks).await.is_ok(), "{what}");
}

async fn error<T: std::fmt::Debug>(call: impl Future<Output = CriResult<T>>) -> CriError {
    call.await.unwrap_err()
}

fn a_question_does_not_wait_for_a_place_for_longer_than_it_may_take() {
    let mut bed = Bed::new();
    bed.settings.runtime.request_timeout = PATIENCE;
    bed.sim.fault(Method::Version, Fault::Hang, Scope::Always);
    bed.run(async |crew| {
        let gateway = &crew.tools.gateway;
        // As many as may be in flight, none of which is answered.
        let mut waiting: Vec<_> = (0..32).map(|_| Box::pin(gateway.version())).collect();
        for call in &mut waiting {
            assert!(begun(call.as_mut()).await);
        }
        assert!(bed.sim.wait_for_calls(Method::Version, waiting.len(), PATIENCE));
        let until = tokio::time::Instant::now() + Duration::from_millis(50);
        let asked = gateway.statuses(vec!["a".into()], until).await.remove(0).unwrap_err();
        assert!(asked.message.contains("while earlier requests were not answered"), "{asked}");
        for call in &mut waiting {
            assert!(begun(call.as_mut()).await, "it still has its place");
        }
        assert_eq!(bed.sim.count(Method::ContainerStatus), 0);
        bed.sim.clear_faults();
    });
}

fn a_call_that_is_not_answered_ends_at_its_deadline() {
    let mut bed = Bed::new();
    bed.settings.runtime.request_timeout = Duration::from_millis(300);
    bed.sim.fault(Method::Version, Fault::Hang, Scope::Always);
    bed.sim.fault(Method::ListContainers, Fault::Hang, Scope::Always);
    bed.run(async |crew| {
        let gateway = &crew.tools.gateway;
        let failed = error(gateway.version()).await;
        assert_eq!((failed.class, failed.method), (ErrorClass::DeadlineExceeded, "Version"));
        let failed = gateway.list::<Container>(Freshness::Fresh).await.unwrap_err();
        assert_eq!((failed.class, failed.code), (ErrorClass::DeadlineExceeded, Code::DeadlineExceeded));
    });
}

fn a_stop_has_the_time_that_the_container_is_given_on_top_of_the_deadline() {
    let mut bed = Bed::new();
    bed.settings.runtime.request_timeout = Duration::from_millis(300);
    let pod = bed.living_pod(1);
    let id = bed.ended(&pod, "app", 0);
    // Longer than the deadline of an RPC, far shorter than that and the container's own time.
    bed.sim.fault(Method::StopContainer, Fault::Delay(Duration::from_millis(900)), Scope::Always);
    bed.run(async |crew| {
        crew.tools.gateway.stop_container(&id, PATIENCE).await.unwrap();
    });
}

fn a_caller_who_stops_waiting_does_not_cancel_what_was_sent() {
    let bed = Bed::new();
    let pod = bed.living_pod(1);
    let id = bed.ended(&pod, "app", 0);
    bed.sim.fault(Method::RemoveContainer, Fault::Hang, Scope::Always);
    bed.run(async |crew| {
        {
            let mut call = Box::pin(crew.tools.gateway.remove_container(&id, Instant::now()));
            assert!(begun(call.as_mut()).await);
            assert!(bed.sim.wait_for_calls(Method::RemoveContainer, 1, PATIENCE));
        }
        // A cancellation would have reached the runtime before the answer to this.
        crew.tools.gateway.version().await.unwrap();
        bed.sim.clear_faults();
        eventually("the removal was cancelled", || bed.sim.container_ids().is_empty()).await;
    });
}

fn a_runtime_that_dies_during_a_call_is_unreachable_then_and_afterwards() {
    for method in [Method::ListContainers, Method::ContainerStatus, Method::RemoveContainer] {
        let bed = Bed::new();
        let pod = bed.living_pod(1);
        let id = bed.ended(&pod, "app", 0);
        bed.sim.fault(method, Fault::Hang, Scope::Always);
        bed.run(async |crew| {
            let gateway = &crew.tools.gateway;
            let call = async {
                match method {
                    Method::ListContainers => {
                        gateway.list::<Container>(Freshness::Fresh).await.map(|_| ()).unwrap_err()
                    }
                    Method::ContainerStatus => error(gateway.container_status(&id)).await,
                    _ => error(gateway.remove_container(&id, Instant::now())).await,
                }
            };
            let mut call = Box::pin(call);
            assert!(begun(call.as_mut()).await);
            assert!(bed.sim.wait_for_calls(method, 1, PATIENCE));
            bed.sim.kill();
            let failed = call.await;
            assert_eq!(failed.class, ErrorClass::Unavailable, "{method}, during: {failed:?}");
            for _ in 0..3 {
                let failed = error(gateway.remove_container(&id, Instant::now())).await;
                assert_eq!(failed.class, ErrorClass::Unavailable, "{method}, afterwards: {failed:?}");
                assert!(failed.is_unreachable());
            }
        });
    }
}

fn a_runtime_that_dies_of_its_answer_is_unreachable() {
    let bed = Bed::new();
    let pod = bed.living_pod(1);
    let id = bed.ended(&pod, "app", 0);
    bed.sim.fault(Method::RemoveContainer, Fault::Die.after(), Scope::Always);
    bed.run(async |crew| {
        let failed = error(crew.tools.gateway.remove_container(&id, Instant::now())).await;
        assert_eq!(failed.class, ErrorClass::Unavailable, "{failed:?}");
        assert!(bed.sim.container_ids().is_empty(), "it was carried out all the same");
    });
}

fn a_runtime_that_is_reachable_again_is_used_by_the_next_call() {
    let bed = Bed::new();
    bed.run(async |crew| {
        let gateway = &crew.tools.gateway;
        for _ in 0..3 {
            assert_eq!(gateway.version().await.unwrap().name, flavour().runtime_name());
            bed.sim.kill();
            assert!(error(gateway.version()).await.is_unreachable());
            bed.sim.restart().unwrap();
            gateway.version().await.unwrap();
            gateway.list::<Container>(Freshness::Fresh).await.unwrap();
        }
    });
}

fn under_a_revoked_lease_only_reads_are_allowed() {
    let bed = Bed::new();
    let pod = bed.living_pod(1);
    let id = bed.ended(&pod, "app", 0);
    bed.run(async |crew| {
        let lease = Lease::default();
        let gateway = crew.tools.gateway.under(lease.clone());
        gateway.container_status(&id).await.unwrap();
        lease.revoke();
        gateway.container_status(&id).await.unwrap();
        let revoked: Vec<CriError> = vec![
            error(gateway.remove_container(&id, Instant::now())).await,
            error(gateway.stop_container(&id, SECOND)).await,
            error(gateway.stop_sandbox(&pod, Instant::now())).await,
            error(gateway.remove_sandbox(&pod, Instant::now())).await,
            error(gateway.remove_image(&id, "")).await,
        ];
        assert!(revoked.iter().all(|error| error.message.contains("was restarted")), "{revoked:?}");
        // The lease is that of one loop.
        crew.tools.gateway.remove_container(&id, Instant::now()).await.unwrap();
    });
    assert_eq!(bed.harmful_calls(), 1);
}

fn without_a_socket_there_is_no_socket_and_once_there_is_one_it_is_used() {
    let bed = Bed::new();
    let missing = bed.sim.paths().root.join("later.sock");
    actix::System::new().block_on(async {
        let mut settings = bed.settings.clone();
        settings.runtime.endpoint = missing.to_str().unwrap().parse().unwrap();
        let gateway = Gateway::start(&Arbiter::current(), &settings, Connect::Socket, None, silent());
        let failed = error(gateway.version()).await;
        assert_eq!(failed.class, ErrorClass::NoSocket, "{failed:?}");
        assert!(failed.is_unreachable());
        std::fs::hard_link(bed.sim.socket(), &missing).unwrap();
        gateway.version().await.unwrap();
    });
}

fn what_the_runtime_answers_is_sorted_by_what_it_means() {
    let bed = Bed::new();
    let pod = bed.living_pod(1);
    let id = bed.ended(&pod, "app", 0);
    let cases = [
        (Code::Unimplemented, "unknown method", ErrorClass::Unimplemented),
        (Code::ResourceExhausted, "trying to send message larger than max", ErrorClass::TooLarge),
        (Code::Unavailable, "shutting down", ErrorClass::NotReady),
        (Code::Cancelled, "context canceled", ErrorClass::NotReady),
        (Code::DeadlineExceeded, "context deadline exceeded", ErrorClass::DeadlineExceeded),
        (Code::NotFound, "no such container", ErrorClass::NotFound),
        (Code::Unknown, "cannot remove: CNI plugin failed", ErrorClass::Failed),
        (Code::Unknown, "container is already in removing state", ErrorClass::AlreadyRemoving),
        (Code::Internal, "boom", ErrorClass::Failed),
        (Code::InvalidArgument, "bad", ErrorClass::Failed),
    ];
    bed.run(async |crew| {
        for (code, message, class) in cases {
            bed.sim.clear_faults();
            bed.sim.fault(Method::RemoveContainer, Fault::error(code, message), Scope::Always);
            let failed = error(crew.tools.gateway.remove_container(&id, Instant::now())).await;
            assert_eq!((failed.class, failed.code), (class, code), "{message}");
            assert!(failed.to_string().contains(message), "{failed}");
        }
        let failed = error(crew.tools.gateway.container_status(&"0".repeat(64))).await;
        assert_eq!(failed.class, ErrorClass::NotFound, "an object that is not there");
    });
}

fn a_list_over_the_runtimes_limit_is_too_large() {
    let bed = Bed::with(Options { message_limit: 2000, ..options() });
    let pod = bed.living_pod(1);
    (0..20).for_each(|n| drop(bed.ended(&pod, "app", n)));
    bed.run(async |crew| {
        // Nor can a part be: they are all of one sandbox.
        let listed = crew.tools.gateway.list::<Container>(Freshness::Fresh).await;
        match listed.map_err(|failed| (failed.class, failed.code)) {
            Ok(listed) => assert_eq!((flavour(), listed.len()), (Flavour::CriO, 20), "by a stream"),
            Err(failed) => assert_eq!(failed, (ErrorClass::TooLarge, Code::ResourceExhausted)),
        }
    });
}

fn a_list_over_our_own_limit_is_too_large_and_raising_it_helps() {
    let bed = Bed::new();
    let pod = bed.living_pod(1);
    (0..20).for_each(|n| drop(bed.ended(&pod, "app", n)));
    actix::System::new().block_on(async {
        let mut small = bed.settings.clone();
        small.runtime.max_message_size = 2000;
        let gateway = Gateway::start(&Arbiter::current(), &small, Connect::Socket, None, silent());
        match gateway.list::<Container>(Freshness::Fresh).await {
            Ok(listed) => assert_eq!((flavour(), listed.len()), (Flavour::CriO, 20), "by a stream"),
            Err(failed) => assert_eq!(failed.class, ErrorClass::TooLarge, "{failed:?}"),
        }
        let generation = Generation::only(Arc::new(bed.settings.clone()));
        gateway.follower().do_send(Reconfigure(generation));
        assert_eq!(gateway.list::<Container>(Freshness::Fresh).await.unwrap().len(), 20);
    });
}

fn an_empty_id_is_refused_before_it_is_sent() {
    let bed = Bed::new();
    let pod = bed.living_pod(1);
    bed.ended(&pod, "app", 0);
    bed.run(async |crew| {
        let gateway = &crew.tools.gateway;
        let refused = [
            error(gateway.container_status("")).await,
            error(gateway.sandbox_status("")).await,
            error(gateway.containers_of(&Owner::Sandbox("".into()))).await,
            error(gateway.stop_container("", PATIENCE)).await,
            error(gateway.remove_container("", Instant::now())).await,
            error(gateway.stop_sandbox("", Instant::now())).await,
            error(gateway.remove_sandbox("", Instant::now())).await,
            error(gateway.remove_image("", "")).await,
        ];
        for failed in refused {
            assert_eq!(failed.class, ErrorClass::Failed, "{failed:?}");
            assert!(failed.to_string().contains("no id"), "{failed}");
        }
    });
    assert_eq!(bed.sim.calls(), []);
}
