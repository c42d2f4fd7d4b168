//! What has to fit together, and checks of settings as a whole.

use super::{load_env, load_text, problem, problems};

#[test]
fn the_low_threshold_may_not_be_over_the_high_one() {
    for pair in ["", "inode_"] {
        let text = |low: u8, high: u8| {
            format!(
                "[image_gc]\n{pair}low_threshold_percent = {low}\n{pair}high_threshold_percent = {high}\n"
            )
        };
        assert!(load_text(&text(50, 50)).is_ok());
        let message = problem(load_text(&text(51, 50))).to_string();
        let expected = format!(
            "config.toml:2:{}: image_gc.{pair}low_threshold_percent = 51: \
             it is greater than image_gc.{pair}high_threshold_percent = 50; \
             allowed: 0 to the high threshold; lower it, or raise the high threshold",
            pair.len() + 25
        );
        assert!(message.ends_with(&expected), "{message}");
    }
}

#[test]
fn a_default_that_no_longer_fits_is_named_as_one() {
    let message = problem(load_env(&[("CRI_GC__IMAGE_GC__HIGH_THRESHOLD_PERCENT", "70")])).to_string();
    assert!(
        message.starts_with(
            "built-in default: image_gc.low_threshold_percent = 80: \
             it is greater than image_gc.high_threshold_percent = \"70\" \
             (environment variable CRI_GC__IMAGE_GC__HIGH_THRESHOLD_PERCENT);"
        ),
        "{message}"
    );
}

#[test]
fn max_age_may_be_below_min_age() {
    assert!(load_text("[image_gc]\nmin_age = '1h'\nmax_age = '1m'\n").is_ok());
}

#[test]
fn the_source_file_needs_an_absolute_file() {
    assert!(load_text("[pods]\nsource = 'file'\nfile = '/run/pods.json'\n").is_ok());
    assert!(load_text("[pods]\nfile = 'pods.json'\n").is_ok(), "it is not used");
    let message = problem(load_env(&[("CRI_GC__PODS__SOURCE", "file")])).to_string();
    assert_eq!(
        message.split_once(": ").unwrap(),
        (
            "built-in default",
            "pods.file = \"\": it is not set, with pods.source = \"file\" (environment variable CRI_GC__PODS__SOURCE); \
             allowed: an absolute path; \
             set it to the absolute path of the list of pods, or choose another source"
        )
    );
    let message = problem(load_text("[pods]\nsource = 'file'\nfile = 'pods.json'\n")).to_string();
    assert!(message.contains(":3:8: pods.file = 'pods.json': the path is not absolute"), "{message}");
}

#[test]
fn the_source_kubelet_needs_a_url() {
    let text = |url: &str| format!("[pods]\nsource = 'kubelet'\nkubelet.url = '{url}'\n");
    for url in ["https://127.0.0.1:10250/pods", "http://localhost:10255/pods", "https://[::1]:10250/pods"] {
        assert!(load_text(&text(url)).is_ok(), "{url}");
    }
    for url in ["", "127.0.0.1:10250", "unix:///x", "https://", "https:///pods", "http://a b/"] {
        let refused = problem(load_text(&text(url)));
        assert_eq!(refused.key.as_deref(), Some("pods.kubelet.url"));
        assert!(refused.remedy.contains("https://127.0.0.1:10250/pods"), "{refused}");
    }
}

#[test]
fn a_client_certificate_needs_its_key_and_a_key_its_certificate() {
    let text = |keys: &str| format!("[pods.kubelet]\n{keys}\n");
    assert!(load_text(&text("client_cert_file = '/c'\nclient_key_file = '/k'")).is_ok());
    for alone in ["client_cert_file", "client_key_file"] {
        let refused = problem(load_text(&text(&format!("{alone} = '/x'"))));
        assert_eq!(refused.key, Some(format!("pods.kubelet.{alone}")));
        assert!(refused.to_string().contains("both or neither"), "{refused}");
    }
}

#[test]
fn restart_pauses_are_in_order() {
    let text = |min: &str, max: &str| {
        format!("[supervision]\nrestart_backoff_min = '{min}'\nrestart_backoff_max = '{max}'\n")
    };
    assert!(load_text(&text("5s", "5s")).is_ok());
    let message = problem(load_text(&text("6s", "5s"))).to_string();
    assert!(
        message.contains(
            "supervision.restart_backoff_min = '6s': it is greater than supervision.restart_backoff_max = '5s'; \
             allowed: 0s to supervision.restart_backoff_max; lower it, or raise the other"
        ),
        "{message}"
    );
}

#[test]
fn all_ranges_are_reported_at_once() {
    let text =
        "container_gc.parallel_removals = 0\nimage_gc.period = '0s'\nstate.dir = 'x'\nadmin.socket = 'y'\n";
    assert_eq!(problems(load_text(text)).len(), 4);
}
