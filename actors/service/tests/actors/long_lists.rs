//! Lists that are too large for one answer: what is listed all the same, what is not, and what that keeps.

use std::time::Duration;

use cri_gc_collectors::report::{Outcome, PassReport};
use cri_gc_config::{PodSource, Settings};
use cri_gc_gateway::Freshness;
use cri_gc_policy::{Container, Sandbox};
use cri_gc_sim::{ContainerSpec, ContainerState, Method, Options, PodSpec};
use cri_gc_test_support::flavours::{Flavour, flavour, options};
use cri_gc_test_support::on_each_flavour;

use super::bed::{Bed, HOUR, MINUTE, SECOND, errors, kept_for, outcome, removed, uid};
use super::pod_states::list;

on_each_flavour!(
    containers_that_no_answer_holds_are_collected_in_one_pass_and_listed_at_once_again_afterwards,
    what_was_too_large_is_not_requested_again_until_there_is_less_of_it,
    long_lists_are_made_one_after_the_other_and_those_who_wait_share_the_next_one,
    long_answers_too,
    sandboxes_that_no_answer_holds_are_found_by_the_log_directories_of_their_pods,
    a_sandbox_whose_containers_no_answer_holds_is_kept_with_its_pod_and_all_others_are_collected,
    pods_that_nothing_names_keep_their_sandboxes_and_all_images,
    an_object_that_is_larger_than_an_answer_is_the_only_one_that_is_missing,
    a_pod_source_proves_the_others_deleted_where_something_can_not_be_listed,
    a_container_whose_sandbox_is_gone_is_found_by_the_log_directory_of_its_pod,
    a_container_that_starts_while_the_others_are_listed_is_in_the_list,
);

/// A node whose answers are at most that long.
fn bed(message_limit: usize) -> Bed {
    let mut bed = Bed::with(Options { message_limit, ..options() });
    bed.settings.container_gc.min_dead_age = Duration::ZERO;
    bed
}

/// Whether the runtime has streams, so that no list has parts.
fn streams() -> bool {
    flavour() == Flavour::CriO
}

/// A deleted pod with that many containers.
fn pod(bed: &Bed, number: usize, containers: u32) -> (String, Vec<String>) {
    let sandbox = bed.dead_pod(number);
    let containers = (0..containers).map(|attempt| bed.ended(&sandbox, "app", attempt)).collect();
    (sandbox, containers)
}

/// A container of that pod with annotations of so many bytes.
fn annotated(bed: &Bed, sandbox: &str, name: &str, bytes: usize) -> String {
    let made = bed.sim.ago(HOUR);
    let spec = ContainerSpec::new(sandbox, name).exited(made, made + 30 * SECOND);
    bed.sim.add_container(spec.with(|spec| spec.annotation_bytes = bytes)).unwrap()
}

fn gaps(report: &PassReport) -> usize {
    errors(report).iter().filter(|error| error.contains("could not be listed")).count()
}

/// Lists that are not of one object or pod.
fn wide(bed: &Bed, method: Method) -> usize {
    bed.sim.calls().iter().filter(|call| call.method == method && call.id.is_empty()).count()
}

fn containers_that_no_answer_holds_are_collected_in_one_pass_and_listed_at_once_again_afterwards() {
    let bed = bed(10_000);
    let living = bed.living_pod(99);
    let attempts: Vec<String> = (0..6).map(|attempt| bed.ended(&living, "app", attempt)).collect();
    let pods: Vec<_> = (1..=8).map(|number| pod(&bed, number, 4)).collect();
    bed.run(async |crew| {
        let report = crew.containers().await;
        assert_eq!(errors(&report), Vec::<String>::new());
        for (sandbox, containers) in &pods {
            assert!(
                containers.iter().chain([sandbox]).all(|id| outcome(&report, id) == Some(Outcome::Removed))
            );
        }
        assert_eq!(bed.sim.container_ids(), [attempts[5].clone()]);
        let noted = report.notes.iter().any(|note| note.contains("all containers is too large"));
        assert_eq!(noted, !streams());

        // The next pass finds that there is less of it, and the one after that lists it at once.
        crew.sandboxes().await;
        bed.sim.clear_calls();
        let report = crew.containers().await;
        assert_eq!((report.notes.len(), wide(&bed, Method::ListContainers)), (0, 1), "{:?}", report.notes);
        assert_eq!(bed.sim.count(Method::StreamContainers), 0);
    });
}

fn what_was_too_large_is_not_requested_again_until_there_is_less_of_it() {
    let bed = bed(10_000);
    let pods: Vec<_> = (1..=8).map(|number| pod(&bed, number, 4)).collect();
    bed.run(async |crew| {
        let list = async || {
            bed.sim.clear_calls();
            let listing = crew.tools.gateway.list_most::<Container>(Freshness::Fresh).await.unwrap();
            assert!(listing.gaps.is_empty());
            let calls = [Method::ListContainers, Method::StreamContainers].map(|method| wide(&bed, method));
            (listing.objects.len(), calls)
        };
        // All, the stream, each of the four states, of which one is too large, and two of them once more.
        assert_eq!(list().await, (32, if streams() { [1, 1] } else { [7, 1] }));
        assert_eq!(list().await, (32, if streams() { [0, 1] } else { [5, 0] }));
        for id in pods.iter().take(2).flat_map(|(_, containers)| containers) {
            bed.sim.with(|node| node.remove_container(id)).unwrap();
        }
        assert_eq!(list().await, (24, if streams() { [0, 1] } else { [5, 0] }));
        // Less than it was when it failed, and still too much.
        assert_eq!(list().await, (24, if streams() { [1, 1] } else { [7, 0] }));
        assert_eq!(list().await, (24, if streams() { [0, 1] } else { [5, 0] }));
        for id in pods.iter().skip(2).take(4).flat_map(|(_, containers)| containers) {
            bed.sim.with(|node| node.remove_container(id)).unwrap();
        }
        assert_eq!(list().await.0, 8);
        assert_eq!(list().await, (8, [1, 0]));
        assert_eq!(list().await, (8, [1, 0]));
    });
}

fn long_lists_are_made_one_after_the_other_and_those_who_wait_share_the_next_one() {
    let bed = bed(10_000);
    (1..=8).for_each(|number| drop(pod(&bed, number, 4)));
    bed.run(async |crew| {
        let list = || crew.tools.gateway.list_most::<Container>(Freshness::Fresh);
        list().await.unwrap();
        bed.sim.clear_calls();
        let listings = futures_util::future::join_all((0..8).map(|_| list())).await;
        assert!(listings.iter().all(|listing| listing.as_ref().unwrap().objects.len() == 32));
        // Two lists: the first one, and one that began after all were requested.
        let calls = [Method::ListContainers, Method::StreamContainers].map(|method| wide(&bed, method));
        assert_eq!(calls, if streams() { [0, 2] } else { [10, 0] });
    });
}

fn long_answers_too() {
    for (containers, lists) in [(1_000, 8), (1_001, 2)] {
        let bed = Bed::new();
        (1..=100).for_each(|number| drop(pod(&bed, number, 10)));
        (1_000..containers).for_each(|number| drop(pod(&bed, number, 1)));
        bed.run(async |crew| {
            let list = || crew.tools.gateway.list_most::<Container>(Freshness::Fresh);
            list().await.unwrap();
            bed.sim.clear_calls();
            let listings = futures_util::future::join_all((0..8).map(|_| list())).await;
            assert!(listings.iter().all(|listing| listing.as_ref().unwrap().objects.len() == containers));
            assert_eq!(wide(&bed, Method::ListContainers), lists, "of {containers} containers");
        });
    }
}

fn sandboxes_that_no_answer_holds_are_found_by_the_log_directories_of_their_pods() {
    let bed = bed(2_500);
    let living = bed.living_pod(99);
    let pods: Vec<_> = (1..=12).map(|number| pod(&bed, number, 1)).collect();
    bed.run(async |crew| {
        let report = crew.containers().await;
        assert_eq!(gaps(&report), 0, "{:?}", report.errors);
        for (sandbox, _) in &pods {
            assert_eq!(outcome(&report, sandbox), Some(Outcome::Removed));
        }
        assert_eq!(bed.sim.sandbox_ids(), [living]);
        assert_eq!(removed(&crew.sandboxes().await), Vec::<String>::new());
        assert_eq!(crew.logs().await.counts.removed, 12);
    });
}

fn a_sandbox_whose_containers_no_answer_holds_is_kept_with_its_pod_and_all_others_are_collected() {
    if streams() {
        return;
    }
    let bed = bed(10_000);
    let (crowded, _) = pod(&bed, 1, 40);
    let pods: Vec<_> = (2..=4).map(|number| pod(&bed, number, 4)).collect();
    let image = bed.image("unused:1", 100);
    let settings = Settings { image_gc: images_by_age(&bed), ..bed.settings.clone() };
    bed.run(async |crew| {
        let crew = bed.crew_with(crew.tools.clone(), settings);
        let report = crew.containers().await;
        let said = errors(&report);
        assert_eq!(gaps(&report), 1, "{said:?}");
        assert!(
            said[0].contains(&format!("the containers in sandbox {crowded} could not be listed")),
            "{said:?}"
        );
        assert!(said[0].contains("runtime.max_message_size"), "{said:?}");
        assert!(pods.iter().all(|(sandbox, _)| outcome(&report, sandbox) == Some(Outcome::Removed)));
        let report = crew.sandboxes().await;
        assert_eq!(kept_for(&report, &crowded).as_deref(), Some("not_all_listed"));
        // One problem is no failure of every loop.
        assert!(report.is_good());
        assert_eq!(crew.logs().await.counts.removed, 3);
        let report = crew.images().await;
        assert_eq!(kept_for(&report, &image).as_deref(), Some("use_unknown"));
        assert_eq!((bed.sim.container_ids().len(), bed.sim.sandbox_ids()), (40, vec![crowded]));
    });
}

/// Every unused image is removed at once.
fn images_by_age(bed: &Bed) -> cri_gc_config::ImageGc {
    let mut images = bed.settings.image_gc.clone();
    (images.min_age, images.max_age) = (Duration::ZERO, SECOND);
    images
}

fn pods_that_nothing_names_keep_their_sandboxes_and_all_images() {
    if streams() {
        return;
    }
    let bed = bed(2_500);
    let unnamed = PodSpec::new("ns", "unnamed", uid(77)).created_at(bed.sim.ago(2 * HOUR)).not_ready();
    let unnamed = bed.sim.add_pod(unnamed.with(|pod| pod.log_directory = false)).unwrap();
    let inside = bed.sim.add_container(bed.ended_spec(&unnamed, "app", 0).no_log()).unwrap();
    let pods: Vec<_> = (1..=12).map(|number| pod(&bed, number, 1)).collect();
    let image = bed.image("unused:1", 100);
    let settings = Settings { image_gc: images_by_age(&bed), ..bed.settings.clone() };
    bed.run(async |crew| {
        let crew = bed.crew_with(crew.tools.clone(), settings);
        let report = crew.containers().await;
        assert!(pods.iter().all(|(sandbox, _)| outcome(&report, sandbox) == Some(Outcome::Removed)));
        assert_eq!((bed.sim.sandbox_ids(), bed.sim.container_ids()), (vec![unnamed], vec![inside]));
        assert!(report.notes.iter().any(|note| note.contains("no image is removed")), "{:?}", report.notes);
        let report = crew.images().await;
        assert_eq!(kept_for(&report, &image).as_deref(), Some("use_unknown"));
        // Now they fit again.
        let listing = crew.tools.gateway.list_most::<Sandbox>(Freshness::Fresh).await.unwrap();
        assert_eq!((listing.objects.len(), listing.gaps.len(), listing.in_parts), (1, 0, false));
        assert_eq!(crew.containers().await.counts.removed, 2);
        bed.sim.advance(MINUTE);
        assert_eq!(outcome(&crew.images().await, &image), Some(Outcome::Removed));
    });
}

fn an_object_that_is_larger_than_an_answer_is_the_only_one_that_is_missing() {
    let bed = bed(10_000);
    let (_, containers) = pod(&bed, 1, 2);
    let huge = bed.dead_pod(2);
    let id = annotated(&bed, &huge, "huge", 20_000);
    let report = bed.run(async |crew| crew.containers().await);
    assert_eq!(gaps(&report), 1, "{:?}", report.errors);
    assert!(containers.iter().all(|id| outcome(&report, id) == Some(Outcome::Removed)));
    assert_eq!(bed.sim.container_ids(), [id]);
}

fn a_pod_source_proves_the_others_deleted_where_something_can_not_be_listed() {
    let mut bed = bed(10_000);
    bed.settings.pods.source = PodSource::File;
    bed.settings.pods.file = Some(bed.sim.paths().root.join("pods.json"));
    bed.settings.pods.max_newly_deleted_percent = 100;
    bed.living_pod(99);
    let (crowded, _) = pod(&bed, 1, 40);
    let pods: Vec<_> = (2..=4).map(|number| pod(&bed, number, 4)).collect();
    list(&bed, &[99]);
    bed.run(async |crew| {
        crew.containers().await;
        for _ in 0..2 {
            crew.tools.pods.resync().await.unwrap();
        }
        let report = crew.containers().await;
        assert!(pods.iter().all(|(sandbox, _)| outcome(&report, sandbox) == Some(Outcome::Removed)));
        assert_eq!(bed.sim.sandbox_ids().contains(&crowded), !streams());
    });
}

fn a_container_whose_sandbox_is_gone_is_found_by_the_log_directory_of_its_pod() {
    let bed = bed(10_000);
    let (sandbox, containers) = pod(&bed, 1, 2);
    (2..=9).for_each(|number| drop(pod(&bed, number, 4)));
    bed.sim.with(|node| node.lose_sandbox(&sandbox));
    bed.run(async |crew| {
        crew.containers().await;
        let listing = crew.tools.gateway.list_most::<Container>(Freshness::Fresh).await.unwrap();
        let left: Vec<&str> = listing.objects.iter().map(|container| container.id.as_str()).collect();
        assert!(
            containers.iter().all(|id| left.contains(&id.as_str()) == bed.sim.container_ids().contains(id))
        );
    });
}

fn a_container_that_starts_while_the_others_are_listed_is_in_the_list() {
    if streams() {
        return;
    }
    let bed = bed(10_000);
    let living = bed.living_pod(99);
    let pods: Vec<_> = (1..=8).map(|number| pod(&bed, number, 4)).collect();
    let last = pods[7].0.clone();
    bed.sim.before(Method::ListContainers, move |node, id| {
        if id == last && node.containers_in(&living).next().is_none() {
            let new = ContainerSpec::new(&living, "new").state(ContainerState::Running);
            node.add_container(new).unwrap();
        }
    });
    bed.run(async |crew| {
        let listing = crew.tools.gateway.list_most::<Container>(Freshness::Fresh).await.unwrap();
        let runs = |container: &Container| container.state == cri_gc_policy::ContainerState::Running;
        assert_eq!(listing.objects.iter().filter(|container| runs(container)).count(), 1);
    });
}
