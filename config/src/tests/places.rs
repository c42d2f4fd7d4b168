//! The ranges of what names a place: endpoints, paths, sockets, addresses.

use super::ranges::{range, set};
use super::{load_text, problem};

#[test]
fn endpoints_are_unix_sockets() {
    let allowed = "a unix socket, unix:///PATH or an absolute path, of at most 107 bytes";
    let invalid = ["'tcp://127.0.0.1:1'", "'run/x.sock'", "'unix://run/x.sock'", "'unix:///'"];
    range("runtime.endpoint", &["'unix:///run/x.sock'", "'/run/x.sock'"], &invalid, allowed);
    range("runtime.endpoint", &[], &["''"], allowed);
    range("runtime.image_endpoint", &["''", "'/run/x.sock'"], &invalid, allowed);
    let message = problem(set("runtime.endpoint", "'tcp://127.0.0.1:1'")).to_string();
    assert!(
        message.contains("a runtime is reached over a unix socket only, not over tcp://")
            && message.ends_with(
                "write it as \"unix:///run/containerd/containerd.sock\" or \"/run/crio/crio.sock\""
            ),
        "{message}"
    );
}

#[test]
fn the_image_endpoint_is_the_endpoint_unless_set() {
    let runtime = |text| load_text(text).unwrap().settings.runtime;
    let path = |text| runtime(text).image_endpoint().path().to_owned();
    assert_eq!(path("runtime.endpoint = '/a.sock'\n"), std::path::Path::new("/a.sock"));
    assert_eq!(
        path("[runtime]\nendpoint = '/a.sock'\nimage_endpoint = '/b.sock'\n"),
        std::path::Path::new("/b.sock")
    );
}

#[test]
fn paths_are_absolute() {
    for key in ["pods.kubelet_root", "state.dir", "state.runtime_dir"] {
        range(key, &["'/x'"], &["'x'", "'./x'", "''", r#""/x\u0000""#], "an absolute path");
    }
}

#[test]
fn log_roots_are_absolute_and_never_the_root() {
    for key in ["log_gc.pod_logs_root", "log_gc.legacy_container_logs_root"] {
        let invalid = ["''", "'/'", "'//'", "'/.'", "'/var/..'", "'/var/log/../..'", "'var/log'"];
        range(key, &["'/var/log/pods'", "'/x/'"], &invalid, "an absolute path other than /, without ..");
    }
}

#[test]
fn the_admin_socket_is_an_absolute_path_that_fits_a_socket() {
    let path = |len: usize| format!("'/{}'", "x".repeat(len - 1));
    let invalid = ["'run/x.sock'", "''", "'/run/'", &path(108)];
    range("admin.socket", &["'/run/x.sock'", &path(107)], &invalid, "an absolute path of at most 107 bytes");
}

#[test]
fn metrics_listen_on_host_and_port_or_not_at_all() {
    let valid = ["''", "'127.0.0.1:9477'", "'[::1]:9477'", "'localhost:0'", "'0.0.0.0:65535'"];
    let invalid = [
        "'9477'",
        "':9477'",
        "'localhost'",
        "'localhost:'",
        "'localhost:65536'",
        "'::1:9477'",
        "'[x]:1'",
        "'http://x:1'",
    ];
    range("metrics.listen", &valid, &invalid, "HOST:PORT, or empty (off)");
}
