//! The checks of the merged settings: the range of each value, and what has to fit together.
//!
//! All problems are listed at once, each with the place that the value came from.

use crate::choices::PodSource;
use crate::layer::bad_value;
use crate::origins::Origins;
use crate::problem::Problem;
use crate::settings::{self, Settings};

/// Adds everything that is wrong with `settings` to the `problems` that are known. A value is not compared with one that
/// has a problem of its own: of a value that was refused only its default is left.
pub(crate) fn check(settings: &Settings, origins: &Origins, problems: &mut Vec<Problem>) {
    for key in settings::keys() {
        if let Err(what) = (key.form.check)(&(key.get)(settings))
            && let Some(source) = origins.source(key.name)
        {
            problems.push(bad_value(key, key.name, what, source));
        }
    }
    let mut refuse = |[key, other]: [&str; 2], what: &str, allowed: &str, remedy: &str| {
        let has_problem = |key: &str| problems.iter().any(|problem| problem.key.as_deref() == Some(key));
        if !has_problem(key)
            && !has_problem(other)
            && let (Some(source), Some(others)) = (origins.source(key), origins.source(other))
        {
            let mut what = format!("{what} {other} = {}", others.raw);
            if others.origin != source.origin {
                what.push_str(&format!(" ({})", others.origin));
            }
            problems.push(source.problem(key, what, allowed.to_owned(), remedy));
        }
    };
    // Two values that may be valid by themselves and not fit each other.
    let Settings { image_gc, supervision, pods, .. } = settings;
    let remedy = "lower it, or raise the high threshold";
    if image_gc.low_threshold_percent > image_gc.high_threshold_percent {
        let keys = ["image_gc.low_threshold_percent", "image_gc.high_threshold_percent"];
        refuse(keys, "it is greater than", "0 to the high threshold", remedy);
    }
    if image_gc.inode_low_threshold_percent > image_gc.inode_high_threshold_percent {
        let keys = ["image_gc.inode_low_threshold_percent", "image_gc.inode_high_threshold_percent"];
        refuse(keys, "it is greater than", "0 to the high threshold", remedy);
    }
    if supervision.restart_backoff_min > supervision.restart_backoff_max {
        let keys = ["supervision.restart_backoff_min", "supervision.restart_backoff_max"];
        let allowed = "0s to supervision.restart_backoff_max";
        refuse(keys, "it is greater than", allowed, "lower it, or raise the other");
    }
    if pods.source == PodSource::File && !pods.file.as_ref().is_some_and(|file| file.is_absolute()) {
        let is_set = pods.file.is_some();
        let what = if is_set { "the path is not absolute, with" } else { "it is not set, with" };
        let remedy = "set it to the absolute path of the list of pods, or choose another source";
        refuse(["pods.file", "pods.source"], what, "an absolute path", remedy);
    }
    if pods.source == PodSource::Kubelet && !is_http_url(&pods.kubelet.url) {
        let allowed = "https://HOST:PORT/PATH or http://HOST:PORT/PATH";
        let remedy = "write it as \"https://127.0.0.1:10250/pods\", or choose another source";
        refuse(["pods.kubelet.url", "pods.source"], "it is not an HTTP URL, with", allowed, remedy);
    }
    let mut keys = ["pods.kubelet.client_cert_file", "pods.kubelet.client_key_file"];
    if pods.kubelet.client_cert_file.is_some() != pods.kubelet.client_key_file.is_some() {
        if pods.kubelet.client_key_file.is_some() {
            keys.reverse();
        }
        let remedy = "name the certificate and its key, or none of them";
        refuse(keys, "it is set alone, without", "both or neither", remedy);
    }
}

fn is_http_url(url: &str) -> bool {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    rest.is_some_and(|rest| {
        !rest.is_empty() && !rest.starts_with(['/', ':']) && !rest.contains(char::is_whitespace)
    })
}
