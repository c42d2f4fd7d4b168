//! Images mounted into containers: who reports them, and what happens to them when the image is removed.

use crate::bed::{Bed, code, container_config, sandbox_config};
use cri_gc_proto::cri;
use cri_gc_sim::{Code, ContainerSpec, Flavour, ImageSpec};

fn with_volume(image: &str) -> cri::ContainerConfig {
    let image = Some(cri::ImageSpec { image: image.into(), runtime_handler: String::new() });
    let mount = cri::Mount { container_path: "/model".into(), readonly: true, image };
    cri::ContainerConfig { mounts: vec![mount], ..container_config("app", 0, "app:1") }
}

/// A node with two images and a container of one that has the other mounted.
async fn mounted(flavour: Flavour) -> (Bed, String, String) {
    let mut bed = Bed::flavour(flavour);
    bed.sim.add_image(ImageSpec::single("app:1", 1, 1));
    let volume = bed.sim.add_image(ImageSpec::single("model:1", 5, 7));
    let config = sandbox_config("a");
    let pod = bed.run_sandbox(config.clone()).await.unwrap();
    let id = bed.create(&pod, with_volume("model:1"), &config).await.unwrap();
    (bed, volume, id)
}

#[tokio::test]
async fn a_status_reports_them_and_a_list_does_not() {
    for flavour in [Flavour::Containerd21, Flavour::CriO] {
        let (mut bed, volume, id) = mounted(flavour).await;
        let mounts = bed.status(&id).await.unwrap().mounts;
        assert_eq!(mounts.len(), 1);
        assert_eq!(mounts[0].image.as_ref().unwrap().image, "model:1");
        let listed = bed.list_all().await.remove(0);
        for name in [&listed.image.unwrap().image, &listed.image_ref, &listed.image_id] {
            assert!(*name != volume && *name != "model:1", "{name}");
        }
        let pod = bed.pod("b");
        let spec = ContainerSpec::new(&pod, "app").image_volume(&volume);
        let other = bed.sim.add_container(spec).unwrap();
        assert_eq!(bed.status(&other).await.unwrap().mounts[0].image.as_ref().unwrap().image, volume);
    }
}

#[tokio::test]
async fn containerd_removes_a_mounted_image_and_the_mount_lasts_until_the_container_is_recreated() {
    let (mut bed, volume, id) = mounted(Flavour::Containerd21).await;
    bed.start(&id).await.unwrap();
    let snapshots = bed.sim.usage().snapshots.bytes;
    bed.remove_image(&volume).await.unwrap();
    assert!(!bed.sim.image_ids().contains(&volume));
    assert_eq!(bed.sim.usage().snapshots.bytes, snapshots, "the mount keeps it");
    assert_eq!(bed.status(&id).await.unwrap().state(), cri::ContainerState::ContainerRunning);
    // A restart makes a new container.
    let pod = bed.sim.sandbox_ids().remove(0);
    let mut again = with_volume("model:1");
    again.metadata.as_mut().unwrap().attempt = 1;
    assert_eq!(code(bed.create(&pod, again, &sandbox_config("a")).await), Code::NotFound);

    // One that is created already has its mount.
    let (mut bed, volume, id) = mounted(Flavour::Containerd21).await;
    bed.remove_image(&volume).await.unwrap();
    bed.start(&id).await.unwrap();
}

#[tokio::test]
async fn cri_o_refuses_to_remove_a_mounted_image() {
    let (mut bed, volume, id) = mounted(Flavour::CriO).await;
    for name in [&*volume, "model:1"] {
        let status = bed.remove_image(name).await.unwrap_err();
        assert_eq!(
            (status.code(), status.message()),
            (Code::Unknown, &*format!("the image is in use by {id}"))
        );
    }
    bed.start(&id).await.unwrap();
    bed.remove(&id).await.unwrap();
    bed.remove_image(&volume).await.unwrap();
    assert!(!bed.sim.image_ids().contains(&volume));
}

#[tokio::test]
async fn containerd_1_6_has_none_and_a_missing_image_cannot_be_mounted() {
    for flavour in Flavour::ALL {
        let mut bed = Bed::flavour(flavour);
        bed.sim.add_image(ImageSpec::single("app:1", 1, 1));
        let config = sandbox_config("a");
        let pod = bed.run_sandbox(config.clone()).await.unwrap();
        let expected = if flavour.has_image_volumes() { Code::NotFound } else { Code::Unknown };
        assert_eq!(code(bed.create(&pod, with_volume("model:1"), &config).await), expected, "{flavour:?}");
        assert!(bed.sim.container_ids().is_empty());
    }
}
