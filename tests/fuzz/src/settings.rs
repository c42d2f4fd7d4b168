//! A configuration in its layers: a file, variables of the environment, flags.

use std::fs;
use std::path::{Component, Path};
use std::time::Duration;

use cri_gc_config::{
    ConfigError, ENV_PREFIX, FileSource, Loaded, Origin, PodSource, Settings, Sources, admin_socket, changed_keys, key_names, load,
    render, render_value, section_names,
};

use crate::input::{pairs, pieces};

/// The first piece is the file, the second one the environment, the third one the flags. What is accepted is in range, fits together, has the
/// origin of the last layer that sets it, and is the same after it was written as a file and read again. What is refused is said in one
/// line for each problem, with its layer, and in a file with its place.
pub fn settings(data: &[u8]) {
    let pieces = pieces(data);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    fs::write(&path, pieces[0]).unwrap();
    let layer = |at: usize| pieces.get(at).map_or_else(Vec::new, |piece| pairs(piece));
    let sources = Sources { file: FileSource::Explicit(path.clone()), env: layer(1), overrides: layer(2) };
    match load(&sources) {
        Ok(loaded) => accepted(&loaded, &sources, &path),
        Err(error) => refused(&error, &sources, pieces[0], &path),
    }
}

fn accepted(loaded: &Loaded, sources: &Sources, path: &Path) {
    let Loaded { settings, file, origins, .. } = loaded;
    assert_eq!(file.as_deref(), Some(path));
    in_range(settings);
    for key in key_names() {
        let variable = format!("{ENV_PREFIX}{}", key.replace('.', "__").to_uppercase());
        let origin = origins.get(key).expect("a key has an origin");
        if sources.overrides.iter().any(|(name, _)| name == key) {
            assert_eq!(*origin, Origin::Flag, "{key}");
        } else if sources.env.iter().any(|(name, _)| *name == variable) {
            assert_eq!(*origin, Origin::Env(variable), "{key}");
        } else {
            let is_set = *origin == Origin::File(path.to_owned());
            let is_default = render_value(settings, key) == render_value(&Settings::default(), key);
            assert!(is_set || *origin == Origin::Default && is_default, "{key}: {origin:?}");
        }
    }
    assert_eq!(admin_socket(sources).as_ref(), Some(&settings.admin.socket));

    fs::write(path, render(settings)).unwrap();
    let again = load(&Sources { file: sources.file.clone(), ..Sources::default() });
    let again = again.unwrap_or_else(|error| panic!("what is written is refused: {error}\n{}", render(settings)));
    assert_eq!(again.settings, *settings);
    assert!(changed_keys(settings, &again.settings).is_empty());
    assert_eq!(again.settings.policy(), settings.policy());
}

fn in_range(settings: &Settings) {
    let Settings { container_gc, sandbox_gc, log_gc, image_gc, pods, supervision, runtime, admin, .. } = settings;
    for (high, low) in [
        (image_gc.high_threshold_percent, image_gc.low_threshold_percent),
        (image_gc.inode_high_threshold_percent, image_gc.inode_low_threshold_percent),
    ] {
        assert!(low <= high && high <= 100, "{low} to {high}");
    }
    for period in [container_gc.period, sandbox_gc.period, log_gc.period, image_gc.period, runtime.request_timeout] {
        assert!(period >= Duration::from_secs(1), "{period:?}");
    }
    // Below these, files are removed.
    for root in [&log_gc.pod_logs_root, &log_gc.legacy_container_logs_root] {
        let names: Vec<Component<'_>> = root.components().collect();
        let is_inside = names.iter().skip(1).all(|name| matches!(name, Component::Normal(_)));
        assert!(root.is_absolute() && names.len() > 1 && is_inside, "{}", root.display());
    }
    for socket in [&*admin.socket, runtime.endpoint.path(), runtime.image_endpoint().path()] {
        assert!(socket.is_absolute() && socket.as_os_str().len() <= 107, "{}", socket.display());
    }
    assert!(supervision.restart_backoff_min <= supervision.restart_backoff_max);
    assert!([container_gc.parallel_removals, image_gc.parallel_removals, log_gc.workers].iter().all(|n| (1..=64).contains(n)));
    assert!(container_gc.max_containers >= -1 && container_gc.max_per_pod_container >= -1);
    let list = pods.file.as_deref().is_some_and(Path::is_absolute);
    assert!(pods.source != PodSource::File || list, "{:?}", pods.file);
    assert_eq!(pods.kubelet.client_cert_file.is_some(), pods.kubelet.client_key_file.is_some());
}

fn refused(error: &ConfigError, sources: &Sources, file: &[u8], path: &Path) {
    assert!(!error.problems.is_empty());
    for problem in &error.problems {
        let shown = problem.to_string();
        assert!(!shown.contains(['\n', '\r']), "a problem of more than one line: {shown:?}");
        assert!(!problem.what.is_empty() && !problem.remedy.is_empty(), "{shown}");
        let layer = match &problem.origin {
            Origin::File(named) => {
                assert_eq!(named, path);
                path.display().to_string()
            }
            Origin::Env(name) => {
                assert!(sources.env.iter().any(|(known, _)| known == name), "{shown}");
                name.clone()
            }
            Origin::Flag => "command line".to_owned(),
            Origin::Default => {
                assert!(problem.what.contains(" ("), "a default is refused without what it does not fit: {shown}");
                "built-in default".to_owned()
            }
        };
        let is_named = shown.starts_with(&layer) || shown.contains(&format!("variable {layer}"));
        // What a terminal would not show is escaped.
        assert!(is_named || layer.contains(|c: char| !matches!(c, ' '..='~')), "{shown}");
        let lines = file.split(|byte| *byte == b'\n').count();
        match (&problem.origin, problem.position) {
            (Origin::File(_), Some(at)) => {
                assert!((1..=lines).contains(&at.line) && at.column >= 1, "{shown}: the file has {lines} lines");
            }
            (Origin::File(_), None) => assert!(problem.key.is_none(), "{shown}: a key without its place"),
            (_, at) => assert_eq!(at, None, "{shown}"),
        }
        if let (Origin::Flag, Some(key)) = (&problem.origin, &problem.key) {
            let key = key.split('[').next().unwrap();
            let is_given = sources.overrides.iter().any(|(name, _)| name.starts_with(key));
            let is_known = key_names().chain(section_names()).any(|name| name == key);
            assert!(is_given || is_known, "{shown}");
        }
    }
}
