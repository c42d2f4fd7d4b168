//! Patterns of `image_gc.protect`.

use std::time::Duration;

use cri_gc_policy::reference::{Reference, has_registry, path_on_hub};
use cri_gc_policy::{
    ContainerPolicy, Detail, FileSystem, FsStats, Image, ImagePolicy, Observation, Pattern, PlanReport, Policy, Reason,
    SandboxPolicy, Thresholds, Unmanaged, decide,
};
use jiff::Timestamp;

use crate::input::lines;

/// The first line is a pattern, the second one an id, the others are names of the image. A pattern that is read writes back to the same
/// text. Whether it matches is what a plan says: the image is kept because of it, or is removed, as the only one of a full disk. A name
/// that matches part by part is protected, and of a registry that has no short names no other. A further name never takes a protection
/// away, unless the pattern has a digest.
pub fn patterns(data: &[u8]) {
    let lines = lines(data);
    let Some(text) = lines.first() else { return };
    let Ok(pattern) = text.parse::<Pattern>() else { return };
    assert_eq!(pattern.to_string(), *text);
    assert_eq!(text.parse::<Pattern>().as_ref(), Ok(&pattern));

    let id = lines.get(1).map(String::as_str).filter(|id| !id.is_empty()).unwrap_or("sha256:00");
    let names: Vec<&str> = lines.iter().skip(2).map(String::as_str).take(16).collect();
    let matches = pattern.matches(id, names.iter().copied());
    plan_agrees(&pattern, id, &names, matches);

    let written = Reference::parse(text);
    let is_id = text.strip_prefix("sha256:").unwrap_or(text).bytes().all(|byte| byte.is_ascii_hexdigit());
    assert!(is_id || text.contains('*') || pattern.matches("", [text.as_str()]), "{text} is the name of an image");
    for (at, name) in names.iter().enumerate() {
        let parts = Reference::parse(name);
        // What has a digest in the pattern, or none in the names, is matched by other rules.
        if written.digest.is_none() && !is_id {
            let tag = written.tag.is_none_or(|tag| parts.tag.map_or(tag == "*", |own| is_like(tag, own)));
            let plainly = tag && is_like(written.repo, parts.repo);
            let alone = pattern.matches("", [*name]);
            assert!(alone || !plainly, "{text} does not protect {name}");
            let is_full = has_registry(parts.repo) && path_on_hub(parts.repo).is_none();
            let is_every = text.bytes().all(|byte| byte == b'*');
            assert!(!alone || plainly || !is_full || is_every, "{text} protects {name}");
            assert!(!pattern.matches(id, names[..at].iter().copied()) || matches, "{text}: {name} takes the protection away");
        }
    }
}

/// Whether a text is like a pattern, by one character after the other.
fn is_like(pattern: &str, text: &str) -> bool {
    // For each beginning of the text, whether the pattern so far is like it.
    let text: Vec<char> = text.chars().collect();
    let mut like = vec![false; text.len() + 1];
    like[0] = true;
    for c in pattern.chars() {
        let mut next = vec![false; text.len() + 1];
        for at in 0..=text.len() {
            next[at] = match c {
                '*' => like[at] || at > 0 && next[at - 1],
                c => at > 0 && like[at - 1] && text[at - 1] == c,
            };
        }
        like = next;
    }
    like[text.len()]
}

/// A node with a full disk and that image, which nothing uses.
fn plan_agrees(pattern: &Pattern, id: &str, names: &[&str], matches: bool) {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let at = |second| Some(Timestamp::from_second(second).unwrap());
    let image =
        Image { id: id.to_owned(), repo_tags: names, size_bytes: 1, first_detected: at(0), ..Image::default() };
    let seen = Observation {
        images: vec![image],
        filesystems: vec![FileSystem {
            mountpoint: "/".to_owned(),
            holds_images: true,
            stats: FsStats { capacity_bytes: 100, available_bytes: 0, ..FsStats::default() },
            ..FileSystem::default()
        }],
        ..Observation::empty(Timestamp::from_second(1_000_000).unwrap())
    };
    let other: Pattern = "registry.example/of-another-image:1".parse().unwrap();
    let policy = policy(vec![other, pattern.clone()]);
    let plan = decide(&seen, &policy);
    let section = &plan.images.section;
    let is_kept = section.keep.first().is_some_and(|kept| kept.reason == Reason::Protected);
    assert_eq!(is_kept, matches || policy.images.protect[0].matches(id, seen.images[0].names()), "{pattern}, {:?}", seen.images);
    assert_eq!(section.remove.is_empty(), is_kept);
    if matches {
        let report = PlanReport::new(&plan, &seen, &policy);
        let Detail::Holder(holder) = section.keep[0].detail else { panic!("it is not said which pattern matches") };
        let why = &report.images.section.keep[0].detail;
        assert!(why.contains(&policy.images.protect[holder].to_string()), "{why} does not name {pattern}");
    }
}

/// A policy under which an image of a full disk is removed.
fn policy(protect: Vec<Pattern>) -> Policy {
    let never = Duration::ZERO;
    Policy {
        unmanaged: Unmanaged::Keep,
        containers: ContainerPolicy {
            min_age: never,
            min_dead_age: never,
            created_grace: never,
            max_per_pod_container: None,
            max_containers: None,
            evict_terminated_pods: false,
        },
        sandboxes: SandboxPolicy { min_age: never, evict_terminated_pods: false },
        images: ImagePolicy {
            bytes: Thresholds { high_percent: 85, low_percent: 80 },
            inodes: Thresholds { high_percent: 100, low_percent: 100 },
            min_age: never,
            max_age: never,
            protect,
        },
    }
}
