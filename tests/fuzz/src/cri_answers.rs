//! Answers of a runtime about single things: a container or sandbox, the filesystems, what containers take, the runtime itself.

use cri_gc_gateway::convert;
use cri_gc_policy::{Container, ContainerState, SandboxState, containers::recheck};
use cri_gc_proto::cri;
use jiff::Timestamp;
use prost::Message;

/// The first byte says of what, the others are the answer. What is reported is in the answer. A container is dead only in a state that says so;
/// a time that cannot be is not known; a size is known only with the time at which it was counted.
pub fn cri_answers(data: &[u8]) {
    let Some((kind, answer)) = data.split_first() else { return };
    match kind % 5 {
        0 => container(answer),
        1 => filesystems(answer),
        2 => layers(answer),
        3 => runtime(answer),
        _ => sandbox(answer),
    }
}

fn at(nanoseconds: i64) -> Option<Timestamp> {
    (nanoseconds > 0).then(|| Timestamp::from_nanosecond(i128::from(nanoseconds)).unwrap())
}

fn container(answer: &[u8]) {
    let Ok(cri::ContainerStatusResponse { status: Some(wire) }) = cri::ContainerStatusResponse::decode(answer) else {
        return;
    };
    // Field 1 of an answer with a status: a text in it that is not UTF-8.
    let broken = [answer, b"\x0a\x04\x0a\x02\xc3\x28"].concat();
    assert!(cri::ContainerStatusResponse::decode(&*broken).is_err(), "a text that is not UTF-8 is read");
    let facts = convert::container_facts(wire.clone());
    let expected = match wire.state {
        0 => ContainerState::Created,
        2 => ContainerState::Exited,
        3 => ContainerState::Unknown,
        _ => ContainerState::Running,
    };
    assert_eq!(facts.status.state, expected, "{wire:?}");
    assert_eq!((facts.status.created_at, facts.status.finished_at), (at(wire.created_at), at(wire.finished_at)));
    assert_eq!(facts.log_path, wire.log_path);
    let mounted = wire.mounts.iter().filter_map(|mount| mount.image.as_ref()).map(|image| &*image.image);
    assert!(mounted.filter(|image| !image.is_empty()).eq(facts.image_volumes.iter().map(|image| &**image)));

    // The check right before a removal, of what a list had as exited long ago.
    let exited = Container { state: ContainerState::Exited, created_at: at(1), ..Container::default() };
    let now = cri_gc_policy::Observation::empty(at(i64::MAX).unwrap()).now();
    let mut policy = cri_gc_config::Settings::default().policy().containers;
    policy.min_dead_age = std::time::Duration::ZERO;
    let may_be_removed = recheck(&exited, Some(facts.status), &policy, now).is_ok();
    assert!(!may_be_removed || expected != ContainerState::Running, "{wire:?} would be removed");
    assert!(recheck(&exited, None, &policy, now).is_err(), "without a status nothing is removed");
}

fn filesystems(answer: &[u8]) {
    let Ok(wire) = cri::ImageFsInfoResponse::decode(answer) else { return };
    let places = |list: &[cri::FilesystemUsage]| -> Vec<String> {
        let named = list.iter().filter_map(|usage| Some(usage.fs_id.as_ref()?.mountpoint.clone()));
        named.filter(|mountpoint| !mountpoint.is_empty()).collect()
    };
    let found = convert::fs_places(wire.clone());
    let (images, containers) = (places(&wire.image_filesystems), places(&wire.container_filesystems));
    assert_eq!(found.images, images);
    assert_eq!(found.containers, if containers.is_empty() { images } else { containers });
    let used: u128 =
        wire.image_filesystems.iter().filter_map(|usage| usage.used_bytes).map(|used| u128::from(used.value)).sum();
    assert_eq!(u128::from(found.used_bytes), used.min(u128::from(u64::MAX)));
    for sizes in [0, 1, u64::MAX] {
        assert!(found.held_by_images(sizes) >= sizes.max(found.used_bytes), "what images take is not less than their sizes");
    }
}

fn layers(answer: &[u8]) {
    let Ok(wire) = cri::ListContainerStatsResponse::decode(answer) else { return };
    let found = convert::container_layers(wire.stats.clone());
    let named = wire.stats.iter().filter(|stats| stats.attributes.as_ref().is_some_and(|known| !known.id.is_empty()));
    let named: Vec<&cri::ContainerStats> = named.collect();
    assert_eq!(found.len(), named.len());
    for (layer, stats) in found.iter().zip(named) {
        assert_eq!(Some(&layer.container), stats.attributes.as_ref().map(|known| &known.id));
        let counted = stats.writable_layer.as_ref().filter(|usage| usage.timestamp > 0);
        let bytes = counted.and_then(|usage| usage.used_bytes).map(|used| used.value);
        assert_eq!(layer.layer.map(|layer| layer.bytes), bytes, "{stats:?}");
    }
}

fn runtime(answer: &[u8]) {
    let Ok(wire) = cri::StatusResponse::decode(answer) else { return };
    let image = convert::sandbox_image(&wire);
    let config = wire.info.iter().find(|pair| pair.key == "config").map(|pair| &*pair.value);
    let config = config.and_then(|config| serde_json::from_str::<serde_json::Value>(config).ok()).unwrap_or_default();
    assert_eq!(config["sandboxImage"].as_str().unwrap_or_default(), image);
}

fn sandbox(answer: &[u8]) {
    let Ok(cri::PodSandboxStatusResponse { status: Some(wire) }) = cri::PodSandboxStatusResponse::decode(answer) else {
        return;
    };
    let expected = match wire.state {
        0 => SandboxState::Ready,
        1 => SandboxState::NotReady,
        _ => SandboxState::Unknown,
    };
    assert_eq!(convert::sandbox_state(wire.state), expected, "{}", wire.state);
}
