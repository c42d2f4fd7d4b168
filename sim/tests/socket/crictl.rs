//! What crictl requires before it shows or removes something.

use std::time::Duration;

use crate::bed::{Bed, MIB};
use cri_gc_proto::cri;
use cri_gc_sim::{ContainerSpec, ContainerState, Flavour, ImageSpec, Space};
use cri_gc_test_support::flavours::flavour;
use cri_gc_test_support::on_each_flavour;

on_each_flavour!(
    #[tokio::test] async:
    inspect_logs_and_rm_find_a_whole_container_status,
    info_finds_both_conditions,
    inspecti_and_rmi_find_an_image_by_name_and_an_answer_without_one,
    images_by_name_are_filtered_where_the_runtime_does,
    stats_find_what_a_container_has_written,
);

async fn image_status(bed: &mut Bed, name: &str) -> Option<cri::Image> {
    let image = Some(cri::ImageSpec { image: name.into(), runtime_handler: String::new() });
    bed.images.image_status(cri::ImageStatusRequest { image }).await.unwrap().into_inner().image
}

async fn inspect_logs_and_rm_find_a_whole_container_status() {
    let mut bed = Bed::new();
    bed.sim.add_image(ImageSpec::single("app:1", 1, 1));
    let pod = bed.pod("a");
    let spec = ContainerSpec::new(&pod, "app").image("app:1").state(ContainerState::Exited);
    let id = bed.sim.add_container(spec).unwrap();
    let status = bed.status(&id).await.unwrap();
    assert!(!status.metadata.unwrap().name.is_empty() && status.created_at > 0);
    assert!(!status.image.unwrap().image.is_empty() && !status.image_ref.is_empty());
    assert!(std::path::Path::new(&status.log_path).is_file());
    bed.remove(&id).await.unwrap();
}

async fn info_finds_both_conditions() {
    let mut bed = Bed::new();
    let answer = bed.runtime.status(cri::StatusRequest { verbose: true }).await.unwrap().into_inner();
    let conditions = answer.status.unwrap().conditions;
    let names: Vec<(&str, bool)> = conditions.iter().map(|c| (c.r#type.as_str(), c.status)).collect();
    assert_eq!(names, [("RuntimeReady", true), ("NetworkReady", true)]);
}

async fn inspecti_and_rmi_find_an_image_by_name_and_an_answer_without_one() {
    let mut bed = Bed::new();
    let id = bed.sim.add_image(ImageSpec::single("app:1", MIB, MIB));
    for name in ["app:1", "docker.io/library/app:1", &id] {
        let image = image_status(&mut bed, name).await.unwrap();
        assert_eq!((image.id, image.size), (id.clone(), MIB), "{name}");
    }
    assert_eq!(image_status(&mut bed, "none:1").await, None);
}

async fn images_by_name_are_filtered_where_the_runtime_does() {
    let mut bed = Bed::new();
    let id = bed.sim.add_image(ImageSpec::single("app:1", 1, 1));
    for (name, found) in [("app:1", vec![id]), ("none:1", Vec::new())] {
        let image = Some(cri::ImageSpec { image: name.into(), runtime_handler: String::new() });
        let filter = Some(cri::ImageFilter { image });
        let answer = bed.images.list_images(cri::ListImagesRequest { filter }).await.unwrap().into_inner();
        let ids: Vec<String> = answer.images.into_iter().map(|image| image.id).collect();
        let expected = if flavour() == Flavour::CriO { found } else { bed.sim.image_ids() };
        assert_eq!(ids, expected, "{name}");
    }
}

async fn stats_find_what_a_container_has_written() {
    let mut bed = Bed::new();
    let (a, b) = (bed.pod("a"), bed.pod("b"));
    bed.container(&b, "other");
    let id = bed
        .sim
        .add_container(
            ContainerSpec::new(&a, "app").with(|spec| spec.writable = Space { bytes: 3 * MIB, inodes: 7 }),
        )
        .unwrap();
    let filter = Some(cri::ContainerStatsFilter { pod_sandbox_id: a, ..Default::default() });
    let request = cri::ListContainerStatsRequest { filter };
    let mut layer = async || {
        let stats = bed.runtime.list_container_stats(request.clone()).await.unwrap().into_inner().stats;
        let stats = stats.into_iter().next()?;
        let attributes = stats.attributes.unwrap();
        assert_eq!((attributes.id.as_str(), attributes.metadata.unwrap().name.as_str()), (&*id, "app"));
        let layer = stats.writable_layer.unwrap();
        Some((layer.timestamp > 0, layer.used_bytes.unwrap().value, layer.inodes_used.unwrap().value))
    };
    let counted = Some((true, 3 * MIB, 7));
    let is_crio = flavour() == Flavour::CriO;
    assert_eq!(layer().await, if is_crio { counted } else { Some((false, 0, 0)) }, "not counted yet");
    bed.sim.advance(Duration::from_secs(10));
    assert_eq!(layer().await, counted);
    bed.sim.set_container_state(&id, ContainerState::Exited).unwrap();
    assert_eq!(
        layer().await,
        if is_crio { None } else { counted },
        "CRI-O reports nothing of exited containers"
    );
}
