//! Images: names, ids, shared layers, and a filesystem of their own that fills up and empties again.

use std::time::Duration;

use cri_gc_test_support::{
    Layer, OciImage, Options, PAUSE_IMAGE, TmpfsSize, containerd_or_skip, space, until, until_async,
};

const MIB: u64 = 1024 * 1024;

#[test]
fn the_same_image_built_twice_is_the_same_bytes() {
    if cri_gc_test_support::missing_pieces().iter().any(|missing| missing.what.contains("busybox")) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let image = || OciImage::new("cri-gc.test/a:1").name("cri-gc.test/a:2").payload(3, 10_000);
    for name in ["one", "two"] {
        image().write(&folder.path().join(name)).unwrap();
    }
    let read = |name| std::fs::read(folder.path().join(name)).unwrap();
    assert!(read("one") == read("two"));
    assert_ne!(OciImage::new("cri-gc.test/a:1").id(), OciImage::new("cri-gc.test/b:1").id());
    assert_eq!(Layer::payload(1, 4096).size(), Layer::payload(2, 4096).size());
}

#[tokio::test]
async fn images_are_listed_with_their_names_and_the_ids_they_were_built_with() {
    let name = "images_are_listed_with_their_names_and_the_ids_they_were_built_with";
    let Some(containerd) = containerd_or_skip(name, Options::default()) else {
        return;
    };
    let cri = containerd.cri();
    let image = OciImage::new("cri-gc.test/app:1").name("cri-gc.test/app:stable").payload(1, 1000);
    containerd.import(&image);
    containerd.tag("cri-gc.test/app:1", "cri-gc.test/other:7");

    let images = cri.list_images().await.unwrap();
    assert_eq!(images.len(), 2);
    let app = images.iter().find(|listed| listed.id == image.id()).unwrap();
    let mut tags = app.repo_tags.clone();
    tags.sort();
    assert_eq!(tags, ["cri-gc.test/app:1", "cri-gc.test/app:stable", "cri-gc.test/other:7"]);
    let pause = images.iter().find(|listed| listed.id == OciImage::pause().id()).unwrap();
    assert_eq!(pause.repo_tags, [PAUSE_IMAGE]);

    // A tag that moves on to another image.
    let newer = OciImage::new("cri-gc.test/app:1").payload(2, 1000);
    containerd.import(&newer);
    let moved = until_async(Duration::from_secs(10), || async {
        let listed = cri.list_images().await.unwrap().into_iter().find(|listed| listed.id == newer.id())?;
        listed.repo_tags.contains(&"cri-gc.test/app:1".to_owned()).then_some(())
    });
    moved.await.unwrap();

    cri.remove_image(&image.id()).await.unwrap();
    assert!(cri.list_images().await.unwrap().iter().all(|listed| listed.id != image.id()));
}

#[tokio::test]
async fn shared_layers_free_their_space_with_the_last_image() {
    let options = Options { root_tmpfs: Some(TmpfsSize::mib(96)), ..Options::default() };
    let name = "shared_layers_free_their_space_with_the_last_image";
    let Some(containerd) = containerd_or_skip(name, options) else {
        return;
    };
    let cri = containerd.cri();
    assert!(space(containerd.root()).capacity == 96 * MIB);
    let used = || 96 * MIB - space(containerd.root()).available;

    let before = used();
    let shared = Layer::payload(10, 8 * MIB);
    let (one, two) = (
        OciImage::new("cri-gc.test/one:1").layer(&shared),
        OciImage::new("cri-gc.test/two:1").layer(&shared),
    );
    containerd.import(&one);
    let first = used() - before;
    containerd.import(&two);
    let second = used() - before - first;
    // Unpacked and as it came: twice its size for the first image, next to nothing for the second.
    assert!((16 * MIB..22 * MIB).contains(&first), "{first}");
    assert!(second < MIB, "{second}");
    let listed = cri.list_images().await.unwrap();
    assert_eq!(listed.iter().filter(|image| image.size > 8 * MIB).count(), 2);

    cri.remove_image(&one.id()).await.unwrap();
    cri.remove_image(&two.id()).await.unwrap();
    until(Duration::from_secs(20), "the space of the shared layer returns", || {
        (used() < before + 2 * MIB).then_some(())
    });

    let too_large = OciImage::new("cri-gc.test/large:1").payload(11, 60 * MIB);
    let refused = containerd.try_import(&too_large).unwrap_err();
    assert!(refused.contains("no space left"), "{refused}");
}
