//! The checks of the merged settings: the range of each value, and what has to fit together.
//!
//! All problems are listed at once, each with the place that the value came from.

use crate::choices::PodSource;
use crate::merged::bad_value;
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
    for mismatch in mismatches(settings) {
        let has_problem = |key: &str| problems.iter().any(|problem| problem.key.as_deref() == Some(key));
        if !has_problem(mismatch.key)
            && !has_problem(mismatch.other)
            && let (Some(source), Some(other)) =
                (origins.source(mismatch.key), origins.source(mismatch.other))
        {
            let mut what = format!("{} {} = {}", mismatch.what, mismatch.other, other.raw);
            if other.origin != source.origin {
                what.push_str(&format!(" ({})", other.origin));
            }
            problems.push(source.problem(mismatch.key, what, mismatch.allowed.to_owned(), mismatch.remedy));
        }
    }
}

/// Two values that may be valid by themselves and not fit each other.
struct Mismatch {
    is_there: bool,
    key: &'static str,
    what: &'static str,
    /// The other value; its name and value follow `what` in the message.
    other: &'static str,
    allowed: &'static str,
    remedy: &'static str,
}

fn mismatches(settings: &Settings) -> impl Iterator<Item = Mismatch> {
    let Settings { image_gc, supervision, pods, .. } = settings;
    let threshold = |low: u8, high: u8, key, other| Mismatch {
        is_there: low > high,
        key,
        what: "it is over",
        other,
        allowed: "0 to the high threshold",
        remedy: "lower it, or raise the high threshold",
    };
    let alone = |is_set: bool, other_is_set: bool, key, other| Mismatch {
        is_there: is_set && !other_is_set,
        key,
        what: "it is set alone, without",
        other,
        allowed: "both or neither",
        remedy: "name the certificate and its key, or none of them",
    };
    let (has_cert, has_key) =
        (pods.kubelet.client_cert_file.is_some(), pods.kubelet.client_key_file.is_some());
    let (cert, key) = ("pods.kubelet.client_cert_file", "pods.kubelet.client_key_file");
    let all = [
        threshold(
            image_gc.low_threshold_percent,
            image_gc.high_threshold_percent,
            "image_gc.low_threshold_percent",
            "image_gc.high_threshold_percent",
        ),
        threshold(
            image_gc.inode_low_threshold_percent,
            image_gc.inode_high_threshold_percent,
            "image_gc.inode_low_threshold_percent",
            "image_gc.inode_high_threshold_percent",
        ),
        Mismatch {
            is_there: supervision.restart_backoff_min > supervision.restart_backoff_max,
            key: "supervision.restart_backoff_min",
            what: "it is over",
            other: "supervision.restart_backoff_max",
            allowed: "0s to supervision.restart_backoff_max",
            remedy: "lower it, or raise the other",
        },
        Mismatch {
            is_there: pods.source == PodSource::File && !pods.file.as_ref().is_some_and(|f| f.is_absolute()),
            key: "pods.file",
            what: if pods.file.is_none() { "it is not set, with" } else { "the path is not absolute, with" },
            other: "pods.source",
            allowed: "an absolute path",
            remedy: "name the file with the pod list, or choose another source",
        },
        Mismatch {
            is_there: pods.source == PodSource::Kubelet && !is_http_url(&pods.kubelet.url),
            key: "pods.kubelet.url",
            what: "it is not an HTTP URL, with",
            other: "pods.source",
            allowed: "https://HOST:PORT/PATH or http://HOST:PORT/PATH",
            remedy: "write it as \"https://127.0.0.1:10250/pods\", or choose another source",
        },
        alone(has_cert, has_key, cert, key),
        alone(has_key, has_cert, key, cert),
    ];
    all.into_iter().filter(|mismatch| mismatch.is_there)
}

fn is_http_url(url: &str) -> bool {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    rest.is_some_and(|rest| {
        !rest.is_empty() && !rest.starts_with(['/', ':']) && !rest.contains(char::is_whitespace)
    })
}
