//! How environment variables are read.

use std::path::Path;
use std::time::Duration;

use super::{load_env, problem};
use crate::{Mode, Origin, PodSource, Settings};

#[test]
fn every_form_of_value_can_be_given() {
    let settings = load_env(&[
        ("CRI_GC__NODE_NAME", "007"),
        ("CRI_GC__RUNTIME__ENDPOINT", "/run/crio/crio.sock"),
        ("CRI_GC__RUNTIME__MAX_MESSAGE_SIZE", "128MiB"),
        ("CRI_GC__PODS__SOURCE", "kube-api"),
        ("CRI_GC__PODS__KUBELET__URL", "http://127.0.0.1:10255/pods"),
        ("CRI_GC__PODS__KUBELET__INSECURE_SKIP_VERIFY", "true"),
        ("CRI_GC__CONTAINER_GC__MODE", "report"),
        ("CRI_GC__CONTAINER_GC__PERIOD", "1h30m"),
        ("CRI_GC__CONTAINER_GC__MAX_CONTAINERS", "100"),
        ("CRI_GC__IMAGE_GC__HIGH_THRESHOLD_PERCENT", "90"),
        ("CRI_GC__METRICS__LISTEN", "[::1]:9477"),
    ])
    .unwrap()
    .settings;
    assert_eq!(settings.node_name.as_deref(), Some("007"), "a name of digits is kept as it is");
    assert_eq!(settings.runtime.endpoint.path(), Path::new("/run/crio/crio.sock"));
    assert_eq!(settings.runtime.max_message_size, 128 << 20);
    assert_eq!(settings.pods.source, PodSource::KubeApi);
    assert_eq!(settings.pods.kubelet.url, "http://127.0.0.1:10255/pods");
    assert!(settings.pods.kubelet.insecure_skip_verify);
    assert_eq!(settings.container_gc.mode, Mode::Report);
    assert_eq!(settings.container_gc.period, Duration::from_secs(5400));
    assert_eq!(settings.policy().containers.max_containers, Some(100));
    assert_eq!(settings.image_gc.high_threshold_percent, 90);
    assert_eq!(settings.metrics.listen.as_deref(), Some("[::1]:9477"));
}

#[test]
fn lists_are_separated_by_commas() {
    let protect = |text: &str| {
        let settings = load_env(&[("CRI_GC__IMAGE_GC__PROTECT", text)]).unwrap().settings;
        settings.image_gc.protect.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(protect("a/b:1, registry.example/*,"), ["a/b:1", "registry.example/*"]);
    assert_eq!(protect("one"), ["one"]);
    assert!(protect("").is_empty());
}

#[test]
fn an_empty_variable_is_an_empty_value() {
    let loaded = load_env(&[("CRI_GC__PODS__KUBELET__TOKEN_FILE", "")]).unwrap();
    assert_eq!(loaded.settings.pods.kubelet.token_file, None);
    let refused = problem(load_env(&[("CRI_GC__IMAGE_GC__PERIOD", "")]));
    assert_eq!(refused.what, "it is empty");
}

#[test]
fn variables_that_are_not_ours_are_ignored() {
    let settings = load_env(&[
        ("CRI_GC_SERVICE_HOST", "10.0.0.1"),
        ("CRI_GC_PORT_9477_TCP_ADDR", "10.0.0.1"),
        ("CRI_GC_CONFIG", "x"),
        ("XCRI_GC__LOG__LEVEL", "loud"),
        ("cri_gc__log__level", "loud"),
        ("PATH", "/bin"),
        ("", ""),
    ])
    .unwrap()
    .settings;
    assert_eq!(settings, Settings::default());
}

#[test]
fn an_unknown_variable_is_named_with_the_nearest_one() {
    let refused = problem(load_env(&[("CRI_GC__IMAGE_GC__HIGH_TRESHOLD_PERCENT", "90")]));
    assert_eq!(refused.origin, Origin::Env("CRI_GC__IMAGE_GC__HIGH_TRESHOLD_PERCENT".to_owned()));
    let message = refused.to_string();
    assert!(
        message.starts_with("environment variable CRI_GC__IMAGE_GC__HIGH_TRESHOLD_PERCENT: "),
        "{message}"
    );
    assert!(message.ends_with("did you mean CRI_GC__IMAGE_GC__HIGH_THRESHOLD_PERCENT?"), "{message}");
}

#[test]
fn a_key_is_spelt_in_one_way_only() {
    for name in
        ["CRI_GC__log__level", "CRI_GC__LOG_LEVEL", "CRI_GC__LOG.LEVEL", "CRI_GC__", "CRI_GC____LOG__LEVEL"]
    {
        let message = problem(load_env(&[(name, "debug")])).to_string();
        assert!(message.contains(name), "{message}");
    }
    let message = problem(load_env(&[("CRI_GC__log__level", "debug")])).to_string();
    assert!(message.ends_with("did you mean CRI_GC__LOG__LEVEL?"), "{message}");
}

#[test]
fn a_section_is_no_value() {
    let refused = problem(load_env(&[("CRI_GC__PODS__KUBELET", "x")]));
    assert_eq!(refused.what, "`pods.kubelet` is a section, not a key");
    assert_eq!(
        refused.allowed.as_deref(),
        Some("url, token_file, ca_file, client_cert_file, client_key_file, insecure_skip_verify, period")
    );
}

#[test]
fn a_value_of_a_wrong_form_names_variable_key_range_and_remedy() {
    let message = |name: &str, text: &str| problem(load_env(&[(name, text)])).to_string();
    assert_eq!(
        message("CRI_GC__IMAGE_GC__PERIOD", "60"),
        "environment variable CRI_GC__IMAGE_GC__PERIOD: image_gc.period = \"60\": the number 60 has no unit; \
         allowed: a duration from 1s to 100 years; write \"60s\" if seconds are meant"
    );
    assert_eq!(
        message("CRI_GC__IMAGE_GC__LOW_THRESHOLD_PERCENT", "80%"),
        "environment variable CRI_GC__IMAGE_GC__LOW_THRESHOLD_PERCENT: image_gc.low_threshold_percent = \"80%\": \
         \"80%\" is not a whole number; allowed: a whole number from 0 to 100; \
         write a whole number without a percent sign, as 85"
    );
    assert_eq!(
        message("CRI_GC__STATE__HISTORY_MAX_EVENTS", "99999999999999999999"),
        "environment variable CRI_GC__STATE__HISTORY_MAX_EVENTS: state.history_max_events = \
         \"99999999999999999999\": 99999999999999999999 is out of range; \
         allowed: a whole number from 0 to 100000; write how many to keep, as 10000, or 0 for none"
    );
    let message = message("CRI_GC__PODS__RUNTIME_BESIDE_KUBELET", "yes");
    assert!(message.ends_with("allowed: true or false; write true or false, without quotes"), "{message}");
}
