//! The range of every setting: values at its ends are accepted, values beyond are refused with the range in the message.

use super::{load_text, problem};
use crate::{Origin, Settings, key_names};

/// Sets one key in a file.
pub(super) fn set(key: &str, value: &str) -> Result<crate::Loaded, crate::ConfigError> {
    load_text(&format!("{key} = {value}\n"))
}

/// Each of `valid` is accepted, each of `invalid` refused for this key with `allowed` in the message.
pub(super) fn range(key: &str, valid: &[&str], invalid: &[&str], allowed: &str) {
    for value in valid {
        set(key, value).unwrap_or_else(|error| panic!("{key} = {value}: {error}"));
    }
    for value in invalid {
        let refused = problem(set(key, value));
        assert!(matches!(refused.origin, Origin::File(_)), "{refused}");
        assert_eq!(refused.key.as_deref(), Some(key), "{refused}");
        assert_eq!(refused.value.as_deref(), Some(*value), "{refused}");
        assert_eq!(refused.allowed.as_deref(), Some(allowed), "{refused}");
        let message = refused.to_string();
        assert!(message.contains(&format!("config.toml:1:{}: ", key.len() + 4)), "{message}");
        assert!(message.contains(&format!("{key} = {value}: ")), "{message}");
        assert!(message.contains(allowed) && message.ends_with(&refused.remedy), "{message}");
    }
}

#[test]
fn periods_deadlines_and_timeouts_are_at_least_a_second() {
    let of_a_second: Vec<_> = key_names()
        .filter(|key| {
            let last = key.rsplit('.').next().unwrap();
            ["period", "deadline", "request_timeout", "hang_timeout"].contains(&last)
        })
        .collect();
    assert_eq!(of_a_second.len(), 4 + 4 + 1 + 1 + 1, "{of_a_second:?}");
    for key in of_a_second {
        let allowed = "a duration from 1s to 100 years";
        range(
            key,
            &["'1s'", "'1h30m'", "'100years'"],
            &["'0s'", "'999ms'", "'100years 1ns'", "'-1s'", "'1'", "'x'", "''", "60", "true"],
            allowed,
        );
    }
}

#[test]
fn other_durations_are_at_least_zero() {
    let all = [
        "pods.runtime_grace",
        "pods.max_staleness",
        "container_gc.min_age",
        "container_gc.min_dead_age",
        "container_gc.created_grace",
        "container_gc.stop_timeout",
        "sandbox_gc.min_age",
        "image_gc.min_age",
        "image_gc.max_age",
        "image_gc.pressure_poll",
        "image_gc.settle",
        "supervision.restart_backoff_min",
        "supervision.stuck_backoff_max",
    ];
    for key in all {
        let valid: &[&str] =
            if key.ends_with("_min") { &["'0s'", "'1m'"] } else { &["'0s'", "'1ns'", "'100years'"] };
        range(key, valid, &["'101years'", "'-1s'", "0", "'0'"], "a duration from 0s to 100 years");
    }
}

#[test]
fn percentages_are_0_to_100() {
    let allowed = "a whole number from 0 to 100";
    range("pods.max_newly_deleted_percent", &["0", "100"], &["101", "-1", "300", "50.0", "'50%'"], allowed);
    range("image_gc.high_threshold_percent", &["80", "100"], &["101", "-1", "256"], allowed);
    range("image_gc.low_threshold_percent", &["0", "85"], &["-1", "256"], allowed);
    range("image_gc.inode_high_threshold_percent", &["100"], &["101", "-1"], allowed);
    range("image_gc.inode_low_threshold_percent", &["0", "100"], &["-1", "256"], allowed);
}

#[test]
fn parallel_removals_and_workers_are_1_to_64() {
    for key in [
        "container_gc.parallel_removals",
        "sandbox_gc.parallel_removals",
        "image_gc.parallel_removals",
        "log_gc.workers",
    ] {
        range(key, &["1", "64"], &["0", "65", "-1", "1000", "1.5"], "a whole number from 1 to 64");
    }
}

#[test]
fn the_history_is_bounded() {
    let allowed = "a whole number from 0 to 100000";
    range("state.history_max_events", &["0", "10000", "100000"], &["-1", "100001", "1.5", "'1'"], allowed);
}

#[test]
fn counts_are_at_least_minus_one_which_is_no_limit() {
    for key in ["container_gc.max_per_pod_container", "container_gc.max_containers"] {
        let valid = ["-1", "0", "9223372036854775807"];
        range(key, &valid, &["-2", "-9223372036854775808", "1.0"], "a whole number, -1 (no limit) or more");
    }
    let limits = |value: i64| {
        let mut settings = Settings::default();
        settings.container_gc.max_per_pod_container = value;
        settings.container_gc.max_containers = value;
        let containers = settings.policy().containers;
        [containers.max_per_pod_container, containers.max_containers]
    };
    assert_eq!(limits(-1), [None; 2]);
    assert_eq!(limits(0), [Some(0); 2]);
    assert_eq!(limits(7), [Some(7); 2]);
}

#[test]
fn the_message_size_is_1mib_to_2gib() {
    let valid = ["'1MiB'", "'2GiB'", "'2048 MiB'"];
    let invalid = ["'1023KiB'", "'2049MiB'", "'-1MiB'", "'64'", "'x'", "''", "67108864"];
    range("runtime.max_message_size", &valid, &invalid, "a size from 1MiB to 2GiB");
}

#[test]
fn the_node_name_is_a_dns_subdomain() {
    assert!(problem(set("node_name", &format!("'{}'", "a".repeat(254)))).what.contains("longer than 253"));
    let invalid = [
        "'Node-1'",
        "'a b'",
        "'a_b'",
        "'a..b'",
        "'.a'",
        "'a.'",
        "'-a'",
        "'a.b-'",
        "'${HOSTNAME}'",
        "'$(NODE_NAME)'",
        "'a/b'",
        "'b\u{e4}r'",
    ];
    let allowed = "the name of a Node, a DNS subdomain (RFC 1123): a-z, 0-9, - and . , at most 253; or empty (the host name)";
    range(
        "node_name",
        &["''", "'node-1'", "'007'", "'ip-10-0-0-1.eu-central-1.compute.internal'"],
        &invalid,
        allowed,
    );
    let message = problem(set("node_name", "'${HOSTNAME}'")).to_string();
    assert!(message.contains("contains a variable") && message.contains("kubectl get nodes"), "{message}");
}

#[test]
fn words_are_those_of_the_contract() {
    for key in ["container_gc.mode", "sandbox_gc.mode", "log_gc.mode", "image_gc.mode"] {
        range(
            key,
            &["'enforce'", "'report'", "'off'"],
            &["'on'", "'Enforce'", "''", "true"],
            "enforce, report, off",
        );
    }
    let sources = "runtime, file, kubelet, kube-api";
    range("pods.source", &["'runtime'", "'kubelet'", "'kube-api'"], &["'kube_api'"], sources);
    range("pods.unmanaged", &["'keep'", "'collect'"], &["'remove'"], "keep, collect");
    let levels = ["'error'", "'warning'", "'info'", "'debug'", "'trace'"];
    range("log.level", &levels, &["'warn'", "3"], "error, warning, info, debug, trace");
    range("log.format", &["'auto'", "'term'", "'json'"], &["'text'"], "auto, term, json");
}

#[test]
fn switches_are_true_or_false() {
    for key in [
        "pods.runtime_beside_kubelet",
        "pods.kubelet.insecure_skip_verify",
        "container_gc.evict_terminated_pods",
    ] {
        range(key, &["true", "false"], &["1", "'true'", "'yes'"], "true or false");
    }
}
