//! The checks of the merged settings: the range of each value, and what has to fit together.
//!
//! All problems are told at once, each with the place that the value came from.

use std::path::{Component, Path};

use crate::forms::{duration, endpoint, size};
use crate::keys::{self, Form, Key};
use crate::layer::flatten;
use crate::{Origin, Origins, PodSource, Problem, Settings};

/// Everything that is wrong with `settings`. Keys that were `refused` before are left out, also of the comparisons.
pub(crate) fn check(settings: &Settings, origins: &Origins, refused: &[String]) -> Vec<Problem> {
    let values = flatten(settings);
    let raw = |key: &str| match (origins.source(key), values.get(key)) {
        (Some(source), _) => source.raw.clone(),
        (None, Some(value)) => value.to_string(),
        (None, None) => String::new(),
    };
    let refused = |key: &str| refused.iter().any(|r| r.split_once('[').map_or(r.as_str(), |(k, _)| k) == key);

    let mut problems = Vec::new();
    let mut report = |key: &Key, what: String, allowed: Option<String>, remedy: Option<String>| {
        let raw = raw(key.name);
        problems.push(Problem {
            origin: origins.get(key.name).cloned().unwrap_or(Origin::Default),
            position: origins.position(key.name),
            key: Some(key.name.to_owned()),
            what,
            allowed: Some(allowed.unwrap_or_else(|| key.form.allowed())),
            remedy: remedy.unwrap_or_else(|| key.form.remedy(&raw)),
            value: Some(raw),
        });
    };
    let mut out_of_range = Vec::new();
    for key in keys::ALL.iter().filter(|key| !refused(key.name)) {
        if let Some(Err(what)) = values.get(key.name).map(|value| in_range(key.form, value)) {
            report(key, what, None, None);
            out_of_range.push(key.name);
        }
    }
    for mismatch in mismatches(settings) {
        let involved = [Some(mismatch.key), mismatch.other];
        if let Some(key) = keys::find(mismatch.key)
            && !involved.into_iter().flatten().any(|key| refused(key) || out_of_range.contains(&key))
        {
            let what = match mismatch.other {
                Some(other) => {
                    let origin = origins.get(other).filter(|origin| Some(*origin) != origins.get(key.name));
                    let from = origin.map_or(String::new(), |origin| format!(" ({origin})"));
                    format!("{} {other} = {}{from}", mismatch.what, raw(other))
                }
                None => mismatch.what.to_owned(),
            };
            report(key, what, Some(mismatch.allowed.to_owned()), Some(mismatch.remedy.to_owned()));
        }
    }
    problems
}

/// Whether one value is in the range of its form.
fn in_range(form: Form, value: &toml::Value) -> Result<(), String> {
    let text = value.as_str().unwrap_or_default();
    let number = value.as_integer().unwrap_or_default();
    let within = |low: i64, high: i64| match number {
        n if n < low => Err(format!("it is below {low}")),
        n if n > high => Err(format!("it is over {high}")),
        _ => Ok(()),
    };
    match form {
        // Their types hold them in range, or any text will do.
        Form::Text | Form::Switch | Form::Word(_) | Form::Endpoint | Form::Patterns => Ok(()),
        Form::Percent => within(0, 100),
        Form::Parallel => within(*keys::PARALLEL.start(), *keys::PARALLEL.end()),
        Form::Count => within(-1, i64::MAX),
        Form::Duration(min) => match duration::parse(text)? {
            d if d < min => Err(format!("it is shorter than {}", duration::format(min))),
            d if d > duration::MAX => Err("it is longer than 100 years".to_owned()),
            _ => Ok(()),
        },
        Form::MessageSize => match size::parse(text)? {
            bytes if bytes < *keys::MESSAGE_SIZE.start() => Err("it is below 1MiB".to_owned()),
            bytes if bytes > *keys::MESSAGE_SIZE.end() => Err("it is over 2GiB".to_owned()),
            _ => Ok(()),
        },
        Form::Path => absolute(text),
        Form::Root => absolute(text).and_then(|()| removal_root(text)),
        Form::Socket => endpoint::check_socket_path(text).map_err(|error| error.to_string()),
        Form::Listen => listen(text),
        Form::NodeName => node_name(text),
    }
}

/// A DNS subdomain by RFC 1123, as the API server wants the names of Nodes; empty is the name of the host.
fn node_name(name: &str) -> Result<(), String> {
    const MAX: usize = 253;
    if name.is_empty() {
        return Ok(());
    }
    if name.contains(['$', '{', '%']) {
        return Err("it holds a variable, which nothing replaces here".to_owned());
    }
    if let Some(odd) = name.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '-' | '.')) {
        return Err(match odd {
            'A'..='Z' => "names of Nodes have no capitals".to_owned(),
            _ => format!("no name of a Node contains `{}`", odd.escape_debug()),
        });
    }
    if name.len() > MAX {
        return Err(format!("it is longer than {MAX} characters"));
    }
    let is_label = |label: &str| !label.is_empty() && !label.starts_with('-') && !label.ends_with('-');
    match name.split('.').all(is_label) {
        true => Ok(()),
        false => Err("each part between dots has to begin and end with a letter or a digit".to_owned()),
    }
}

fn absolute(path: &str) -> Result<(), String> {
    match path {
        "" => Err("it is empty".to_owned()),
        _ if !path.starts_with('/') => Err("the path is not absolute".to_owned()),
        _ if path.contains('\0') => Err("the path holds a zero byte".to_owned()),
        _ => Ok(()),
    }
}

/// Files below this directory are removed, so it may not be the root of everything, whatever way that is written.
fn removal_root(path: &str) -> Result<(), String> {
    let components = || Path::new(path).components();
    if components().any(|c| c == Component::ParentDir) {
        return Err("the path holds `..`".to_owned());
    }
    if components().all(|c| c == Component::RootDir) {
        return Err("files below it are removed, and it is the root of the file system".to_owned());
    }
    Ok(())
}

fn listen(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Ok(());
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return Err("it has no port".to_owned());
    };
    let v6 = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    match v6 {
        Some(v6) if v6.parse::<std::net::Ipv6Addr>().is_err() => {
            return Err(format!("`{v6}` is no IPv6 address"));
        }
        None if host.is_empty() => return Err("it has no host".to_owned()),
        None if host.contains([':', '/', '[', ']']) || host.contains(char::is_whitespace) => {
            return Err(format!("`{host}` is no host"));
        }
        _ => {}
    }
    match port.parse::<u16>() {
        Ok(_) => Ok(()),
        Err(_) => Err(format!("`{port}` is no port (0 to 65535)")),
    }
}

/// A value that is good by itself and does not fit another one.
struct Mismatch {
    key: &'static str,
    what: &'static str,
    /// The other value, whose name and value follow `what` in the message.
    other: Option<&'static str>,
    allowed: &'static str,
    remedy: &'static str,
}

fn mismatches(settings: &Settings) -> Vec<Mismatch> {
    let Settings { image_gc, supervision, pods, .. } = settings;
    let mut found = Vec::new();
    let mut thresholds = |low: u8, high: u8, key, other| {
        if low > high {
            found.push(Mismatch {
                key,
                what: "it is over",
                other: Some(other),
                allowed: "0 to the high threshold",
                remedy: "lower it, or raise the high threshold",
            });
        }
    };
    thresholds(
        image_gc.low_threshold_percent,
        image_gc.high_threshold_percent,
        "image_gc.low_threshold_percent",
        "image_gc.high_threshold_percent",
    );
    thresholds(
        image_gc.inode_low_threshold_percent,
        image_gc.inode_high_threshold_percent,
        "image_gc.inode_low_threshold_percent",
        "image_gc.inode_high_threshold_percent",
    );
    if supervision.restart_backoff_min > supervision.restart_backoff_max {
        found.push(Mismatch {
            key: "supervision.restart_backoff_min",
            what: "it is over",
            other: Some("supervision.restart_backoff_max"),
            allowed: "0s to supervision.restart_backoff_max",
            remedy: "lower it, or raise the other",
        });
    }
    if pods.source == PodSource::File && !pods.file.as_ref().is_some_and(|path| path.is_absolute()) {
        found.push(Mismatch {
            key: "pods.file",
            what: if pods.file.is_none() { "it is not set, with" } else { "the path is not absolute, with" },
            other: Some("pods.source"),
            allowed: "an absolute path",
            remedy: "name the file with the pod list, or choose another source",
        });
    }
    if pods.source == PodSource::Kubelet && !is_http_url(&pods.kubelet.url) {
        found.push(Mismatch {
            key: "pods.kubelet.url",
            what: "it is no HTTP URL, with",
            other: Some("pods.source"),
            allowed: "https://HOST:PORT/PATH or http://HOST:PORT/PATH",
            remedy: "write it as \"https://127.0.0.1:10250/pods\", or choose another source",
        });
    }
    let (cert, key) = ("pods.kubelet.client_cert_file", "pods.kubelet.client_key_file");
    let alone = match (&pods.kubelet.client_cert_file, &pods.kubelet.client_key_file) {
        (Some(_), None) => Some((cert, key)),
        (None, Some(_)) => Some((key, cert)),
        _ => None,
    };
    found.extend(alone.map(|(key, other)| Mismatch {
        key,
        what: "it is set alone, without",
        other: Some(other),
        allowed: "both or neither",
        remedy: "name the certificate and its key, or none of them",
    }));
    found
}

fn is_http_url(url: &str) -> bool {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    rest.is_some_and(|rest| {
        !rest.is_empty() && !rest.starts_with(['/', ':']) && !rest.contains(char::is_whitespace)
    })
}
