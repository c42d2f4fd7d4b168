//! Whatever settings there are, what is written of them is read as the same.

use std::path::PathBuf;
use std::time::Duration;

use proptest::prelude::*;

use super::load_text;
use crate::{
    Admin, ContainerGc, ImageGc, KubeApi, Kubelet, Log, LogFormat, LogGc, LogLevel, Metrics, Mode, PodSource,
    Pods, Runtime, SandboxGc, Settings, State, Supervision, Unmanaged, render, render_value,
};

const MAX: u64 = 100 * 31_557_600;

fn any_time() -> impl Strategy<Value = Duration> {
    prop_oneof![
        (0..MAX).prop_map(Duration::from_secs),
        (0..MAX, 0..1_000_000_000_u32).prop_map(|(secs, nanos)| Duration::new(secs, nanos)),
    ]
}

fn at_least_1s() -> impl Strategy<Value = Duration> {
    any_time().prop_map(|duration| duration.max(Duration::from_secs(1)))
}

fn text() -> impl Strategy<Value = String> {
    "\\PC{0,12}"
}

fn optional_text() -> impl Strategy<Value = Option<String>> {
    // Empty text is "not set".
    text().prop_map(|text| Some(text).filter(|text| !text.is_empty()))
}

fn optional_path() -> impl Strategy<Value = Option<PathBuf>> {
    optional_text().prop_map(|text| text.map(PathBuf::from))
}

fn path() -> impl Strategy<Value = PathBuf> {
    "/[a-zA-Z0-9 _\"'.-]{0,20}[a-z]".prop_map(PathBuf::from)
}

fn choice<T: Copy + std::fmt::Debug + 'static>(all: &'static [T]) -> impl Strategy<Value = T> {
    prop::sample::select(all)
}

fn count() -> impl Strategy<Value = i64> {
    prop_oneof![-1_i64..100, -1..=i64::MAX]
}

fn thresholds() -> impl Strategy<Value = (u8, u8)> {
    (0..=100_u8, 0..=100_u8).prop_map(|(a, b)| (a.max(b), a.min(b)))
}

fn runtime() -> impl Strategy<Value = Runtime> {
    let endpoint = || {
        (path(), any::<bool>()).prop_map(|(path, bare)| {
            let scheme = if bare { "" } else { "unix://" };
            format!("{scheme}{}", path.display()).parse().unwrap()
        })
    };
    (endpoint(), prop::option::of(endpoint()), at_least_1s(), (1_u64 << 20)..=(2 << 30)).prop_map(
        |(endpoint, image_endpoint, request_timeout, max_message_size)| Runtime {
            endpoint,
            image_endpoint,
            request_timeout,
            max_message_size,
        },
    )
}

fn pods() -> impl Strategy<Value = Pods> {
    let kubelet = (
        "https?://[a-z]{1,9}(:[0-9]{1,4})?/pods",
        optional_path(),
        optional_path(),
        optional_path(),
        any::<bool>(),
        at_least_1s(),
    )
        .prop_map(|(url, token_file, ca_file, client, insecure_skip_verify, period)| Kubelet {
            url,
            token_file,
            ca_file,
            client_key_file: client.clone(),
            client_cert_file: client,
            insecure_skip_verify,
            period,
        });
    let choices = (choice(PodSource::ALL), choice(Unmanaged::ALL), any::<bool>());
    let rest = (path(), any_time(), any_time(), path(), 0..=100_u8, optional_path());
    (choices, rest, kubelet).prop_map(|((source, unmanaged, runtime_beside_kubelet), rest, kubelet)| {
        let (file, runtime_grace, max_staleness, kubelet_root, max_newly_deleted_percent, kubeconfig) = rest;
        Pods {
            source,
            file: Some(file),
            runtime_grace,
            max_staleness,
            unmanaged,
            kubelet_root,
            max_newly_deleted_percent,
            runtime_beside_kubelet,
            kubelet,
            kube_api: KubeApi { kubeconfig },
        }
    })
}

fn container_gc() -> impl Strategy<Value = ContainerGc> {
    let times = (at_least_1s(), any_time(), any_time(), any_time(), any_time(), at_least_1s());
    (choice(Mode::ALL), times, count(), count(), any::<bool>(), 1..=64_u8).prop_map(
        |(mode, times, max_per_pod_container, max_containers, evict_terminated_pods, parallel_removals)| {
            let (period, min_age, min_dead_age, created_grace, stop_timeout, deadline) = times;
            ContainerGc {
                mode,
                period,
                min_age,
                min_dead_age,
                created_grace,
                max_per_pod_container,
                max_containers,
                evict_terminated_pods,
                stop_timeout,
                parallel_removals,
                deadline,
            }
        },
    )
}

fn small_loops() -> impl Strategy<Value = (SandboxGc, LogGc)> {
    let modes = (choice(Mode::ALL), choice(Mode::ALL));
    (modes, at_least_1s(), any_time(), 1..=64_u8, at_least_1s(), path(), path()).prop_map(
        |((mode, log_mode), period, min_age, parallel, deadline, pod_logs, legacy)| {
            let sandbox = SandboxGc { mode, period, min_age, parallel_removals: parallel, deadline };
            let log = LogGc {
                mode: log_mode,
                period,
                pod_logs_root: pod_logs,
                legacy_container_logs_root: legacy,
                workers: parallel,
                deadline,
            };
            (sandbox, log)
        },
    )
}

fn image_gc() -> impl Strategy<Value = ImageGc> {
    let times = (at_least_1s(), any_time(), any_time(), any_time(), any_time(), at_least_1s());
    let pattern = "[a-z*]{1,8}(/[a-z*]{1,8}){0,2}(:[a-z0-9*.]{1,5}|@sha256:[0-9a-f*]{1,8})?";
    let protect = prop::collection::vec(pattern.prop_map(|text: String| text.parse().unwrap()), 0..4);
    (choice(Mode::ALL), times, thresholds(), thresholds(), protect, 1..=64_u8).prop_map(
        |(mode, times, bytes, inodes, protect, parallel_removals)| {
            let (period, min_age, max_age, pressure_poll, settle, deadline) = times;
            ImageGc {
                mode,
                period,
                high_threshold_percent: bytes.0,
                low_threshold_percent: bytes.1,
                inode_high_threshold_percent: inodes.0,
                inode_low_threshold_percent: inodes.1,
                min_age,
                max_age,
                protect,
                pressure_poll,
                settle,
                parallel_removals,
                deadline,
            }
        },
    )
}

fn service() -> impl Strategy<Value = (Supervision, Admin, Metrics, State, Log)> {
    let supervision =
        (any_time(), any_time(), any_time(), at_least_1s()).prop_map(|(a, b, stuck, hang_timeout)| {
            Supervision {
                restart_backoff_min: a.min(b),
                restart_backoff_max: a.max(b),
                stuck_backoff_max: stuck,
                hang_timeout,
            }
        });
    let admin = (path(), optional_text(), optional_text()).prop_map(|(socket, group, read_group)| Admin {
        socket,
        group,
        read_group,
    });
    let metrics = prop::option::of("[a-z]{1,9}:[0-9]{1,4}").prop_map(|listen| Metrics { listen });
    let state = (path(), path(), 0..=100_000i64).prop_map(|(dir, runtime_dir, history_max_events)| State {
        dir,
        runtime_dir,
        history_max_events,
    });
    let log =
        (choice(LogLevel::ALL), choice(LogFormat::ALL)).prop_map(|(level, format)| Log { level, format });
    (supervision, admin, metrics, state, log)
}

fn settings() -> impl Strategy<Value = Settings> {
    (
        prop::option::of("[a-z0-9]([a-z0-9-]{0,9}[a-z0-9])?(\\.[a-z0-9]{1,9})?"),
        runtime(),
        pods(),
        container_gc(),
        small_loops(),
        image_gc(),
        service(),
    )
        .prop_map(|(node_name, runtime, pods, container_gc, (sandbox_gc, log_gc), image_gc, service)| {
            let (supervision, admin, metrics, state, log) = service;
            Settings {
                node_name,
                runtime,
                pods,
                container_gc,
                sandbox_gc,
                log_gc,
                image_gc,
                supervision,
                admin,
                metrics,
                state,
                log,
            }
        })
}

#[test]
fn what_is_shown_of_the_defaults_loads_as_the_defaults() {
    let shown = render(&Settings::default());
    assert_eq!(load_text(&shown).unwrap().settings, Settings::default());
    assert!(shown.contains("period = \"5m\"\n"), "{shown}");
    assert!(shown.contains("max_message_size = \"64MiB\"\n"), "{shown}");
    assert!(shown.contains("max_containers = -1\n"), "{shown}");
}

#[test]
fn a_path_that_is_no_text_can_be_shown() {
    use std::os::unix::ffi::OsStrExt;
    let mut settings = Settings::default();
    settings.state.dir = std::ffi::OsStr::from_bytes(b"/x\xff").into();
    assert!(render(&settings).contains("dir = \"/x\u{fffd}\""));
}

#[test]
fn json_has_the_forms_of_the_configuration() {
    let json = serde_json::to_value(Settings::default()).unwrap();
    assert_eq!(json["image_gc"]["period"], "5m");
    assert_eq!(json["image_gc"]["mode"], "enforce");
    assert_eq!(json["runtime"]["max_message_size"], "64MiB");
    assert_eq!(json["pods"]["kubelet"]["ca_file"], "");
    assert_eq!(json["container_gc"]["max_containers"], -1);
    assert_eq!(serde_json::from_value::<Settings>(json).unwrap(), Settings::default());
}

#[test]
fn unknown_fields_are_refused_in_every_section_of_json_too() {
    let valid = serde_json::to_value(Settings::default()).unwrap();
    for section in std::iter::once("").chain(crate::section_names()) {
        let mut invalid = valid.clone();
        let pointer =
            section.split('.').filter(|s| !s.is_empty()).map(|s| format!("/{s}")).collect::<String>();
        invalid.pointer_mut(&pointer).unwrap()["nonsense"] = 1.into();
        assert!(serde_json::from_value::<Settings>(invalid).is_err(), "[{section}]");
    }
}

proptest! {
    #[test]
    fn whatever_is_shown_loads_as_the_same(settings in settings()) {
        let shown = render(&settings);
        let loaded = load_text(&shown).map_err(|error| TestCaseError::fail(format!("{error}\n{shown}")))?;
        prop_assert_eq!(&loaded.settings, &settings);
    }

    #[test]
    fn whatever_is_serialised_as_json_reads_as_the_same(settings in settings()) {
        let json = serde_json::to_string(&settings).unwrap();
        prop_assert_eq!(serde_json::from_str::<Settings>(&json).unwrap(), settings);
    }

    #[test]
    fn no_text_in_a_file_panics(text in "[a-z_.\\[\\]= '\"0-9\n]{0,80}") {
        let _ = load_text(&text);
    }

    #[test]
    fn no_variable_panics(key in prop::sample::select(crate::key_names().collect::<Vec<_>>()), text in "\\PC{0,20}") {
        let name = format!("CRI_GC__{}", key.replace('.', "__").to_uppercase());
        let _ = super::load_env(&[(&name, &text)]);
    }
}

#[test]
fn a_single_value_is_written_as_it_is_in_the_whole() {
    let settings = Settings {
        admin: Admin { group: Some("a \"b\"\n".to_owned()), ..Admin::default() },
        ..Settings::default()
    };
    let value = |key| render_value(&settings, key);
    assert_eq!(value("image_gc.min_age").as_deref(), Some("\"2m\""));
    assert_eq!(value("image_gc.protect").as_deref(), Some("[]"));
    let read = load_text(&format!("admin.group = {}", value("admin.group").unwrap())).unwrap();
    assert_eq!(read.settings, settings);
    assert_eq!(value("image_gc"), None);
    assert_eq!(value("nonsense"), None);
}
