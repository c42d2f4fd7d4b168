//! The forms of values: which values are valid, and what to do about one that is not.

use std::net::SocketAddr;
use std::path::{Component, Path};
use std::time::Duration;

use toml::Value;

use crate::endpoint::{absolute, check_socket_path};
use crate::units::{MAX_DURATION, format_duration, parse_duration, parse_size};

/// The form of a value. Whether a value has the right type is known to `written`.
#[derive(Debug)]
pub(crate) struct Form {
    /// The words that are valid, or a phrase for all valid values.
    pub(crate) allowed: &'static [&'static str],
    /// What to do about an invalid value that was written like this.
    pub(crate) remedy: fn(&str) -> String,
    /// What is wrong with a value of the right type, if it is out of range.
    pub(crate) check: fn(&Value) -> Result<(), String>,
}

/// Every value of the right type.
const fn any(allowed: &'static [&'static str], remedy: fn(&str) -> String) -> Form {
    Form { allowed, remedy, check: |_| Ok(()) }
}

/// Any text; empty is "not set".
pub(crate) const TEXT: Form =
    any(&["a string"], |raw| format!("write it in quotes, as \"{}\"", raw.escape_debug()));

pub(crate) const SWITCH: Form = any(&["true or false"], |_| "write true or false, without quotes".to_owned());

/// One of these words.
pub(crate) const fn word(allowed: &'static [&'static str]) -> Form {
    any(allowed, |_| "write one of these words".to_owned())
}

/// Periods, deadlines and time-outs that would stop all work if they were zero.
pub(crate) const AT_LEAST_1S: Form = Form {
    allowed: &["a duration from 1s to 100 years"],
    remedy: |raw| add_a_unit(raw, 1),
    check: |value| duration_from(Duration::from_secs(1), value),
};

/// Ages, graces and pauses: zero is "at once" or "off".
pub(crate) const ANY_TIME: Form = Form {
    allowed: &["a duration from 0s to 100 years"],
    remedy: |raw| add_a_unit(raw, 0),
    check: |value| duration_from(Duration::ZERO, value),
};

pub(crate) const PERCENT: Form = Form {
    allowed: &["a whole number from 0 to 100"],
    remedy: |_| "write a whole number without a percent sign, as 85".to_owned(),
    check: |value| within(0, 100, value),
};

/// How many of something run at the same time.
pub(crate) const PARALLEL: Form = Form {
    allowed: &["a whole number from 1 to 64"],
    remedy: |_| "write a whole number, as 4".to_owned(),
    check: |value| within(1, 64, value),
};

pub(crate) const COUNT: Form = Form {
    allowed: &["a whole number, -1 (no limit) or more"],
    remedy: |_| "write how many to keep, or -1 for no limit".to_owned(),
    check: |value| within(-1, i64::MAX, value),
};

pub(crate) const EVENTS: Form = Form {
    allowed: &["a whole number from 0 to 100000"],
    remedy: |_| "write how many to keep, as 10000, or 0 for none".to_owned(),
    check: |value| within(0, 100_000, value),
};

pub(crate) const MESSAGE_SIZE: Form = Form {
    allowed: &["a size from 1MiB to 2GiB"],
    remedy: |_| "write a number with a unit, as \"64MiB\"".to_owned(),
    check: |value| match parse_size(text(value))? {
        ..bytesize::MIB => Err("it is less than 1MiB".to_owned()),
        bytes if bytes > 2 * bytesize::GIB => Err("it is greater than 2GiB".to_owned()),
        _ => Ok(()),
    },
};

/// The socket of a runtime.
pub(crate) const ENDPOINT: Form =
    any(&["a unix socket, unix:///PATH or an absolute path, of at most 107 bytes"], |_| {
        "write it as \"unix:///run/containerd/containerd.sock\" or \"/run/crio/crio.sock\"".to_owned()
    });

pub(crate) const PATH: Form = Form {
    allowed: &["an absolute path"],
    remedy: |_| "write the whole path from the root on, as \"/var/lib/NAME\"".to_owned(),
    check: |value| absolute(text(value)),
};

/// A directory below which files are removed.
pub(crate) const REMOVAL_ROOT: Form = Form {
    allowed: &["an absolute path other than /, without .."],
    remedy: |_| "name the directory itself, as \"/var/log/pods\"".to_owned(),
    check: |value| removal_root(text(value)),
};

/// The path of a unix socket.
pub(crate) const SOCKET: Form = Form {
    allowed: &["an absolute path of at most 107 bytes"],
    remedy: |_| "write it as \"/run/cri-gc/admin.sock\"".to_owned(),
    check: |value| check_socket_path(text(value)),
};

/// An address to listen on, or empty.
pub(crate) const LISTEN: Form = Form {
    allowed: &["HOST:PORT, or empty (off)"],
    remedy: |_| "write it as \"127.0.0.1:9477\" or \"[::1]:9477\", or \"\" for none".to_owned(),
    check: |value| listen(text(value)),
};

/// The name of a Node, or empty.
pub(crate) const NODE_NAME: Form = Form {
    allowed: &[
        "the name of a Node, a DNS subdomain (RFC 1123): a-z, 0-9, - and . , at most 253; or empty (the host name)",
    ],
    remedy: |raw| match raw.parse::<u64>() {
        // In quotes it would be valid.
        Ok(_) => (TEXT.remedy)(raw),
        Err(_) => "write the name that `kubectl get nodes` shows for this machine".to_owned(),
    },
    check: |value| node_name(text(value)),
};

/// A list of image patterns.
pub(crate) const PATTERNS: Form =
    any(&["a list of repo, repo:tag, repo@digest (each may contain *) or image ids"], |_| {
        "write it as [\"registry.example/*\", \"busybox:1.36\"]".to_owned()
    });

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn within(min: i64, max: i64, value: &Value) -> Result<(), String> {
    match value.as_integer() {
        Some(number) if number < min => Err(format!("it is less than {min}")),
        Some(number) if number > max => Err(format!("it is greater than {max}")),
        _ => Ok(()),
    }
}

fn duration_from(min: Duration, value: &Value) -> Result<(), String> {
    match parse_duration(text(value))? {
        length if length < min => Err(format!("it is shorter than {}", format_duration(min))),
        length if length > MAX_DURATION => Err("it is longer than 100 years".to_owned()),
        _ => Ok(()),
    }
}

fn add_a_unit(raw: &str, min_seconds: u64) -> String {
    match raw.parse::<u64>() {
        Ok(seconds) if seconds >= min_seconds => format!("write \"{raw}s\" if seconds are meant"),
        _ => "write a number with a unit, as \"30s\", \"5m\" or \"1h30m\"".to_owned(),
    }
}

/// Refuses the root of everything, whatever way that is written.
fn removal_root(path: &str) -> Result<(), String> {
    absolute(path)?;
    let components = || Path::new(path).components();
    if components().any(|c| c == Component::ParentDir) {
        return Err("the path contains `..`".to_owned());
    }
    if components().all(|c| c == Component::RootDir) {
        return Err("files below it are removed, and it is the root of the filesystem".to_owned());
    }
    Ok(())
}

fn listen(text: &str) -> Result<(), String> {
    match text.rsplit_once(':') {
        _ if text.is_empty() || text.parse::<SocketAddr>().is_ok() => Ok(()),
        None if text.parse::<u16>().is_ok() => Err(format!("it has no host; write \"127.0.0.1:{text}\"")),
        None => Err("it has no port".to_owned()),
        Some(("", _)) => Err("it has no host".to_owned()),
        Some((host, _)) if host.contains([':', '/', '[', ']']) || host.contains(char::is_whitespace) => {
            Err(format!("`{host}` is not a host"))
        }
        Some((_, port)) if port.parse::<u16>().is_err() => {
            Err(format!("`{port}` is not a port (0 to 65535)"))
        }
        Some(_) => Ok(()),
    }
}

/// A DNS subdomain by RFC 1123, as the API server requires of the names of Nodes; empty is the host name.
fn node_name(name: &str) -> Result<(), String> {
    const MAX: usize = 253;
    let is_label = |label: &str| !label.is_empty() && !label.starts_with('-') && !label.ends_with('-');
    match name.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '-' | '.')) {
        _ if name.is_empty() => Ok(()),
        Some('$' | '{' | '%') => Err("it contains a variable, which is not replaced here".to_owned()),
        Some(odd) => Err(format!("no name of a Node contains `{}`", odd.escape_debug())),
        None if name.len() > MAX => Err(format!("it is longer than {MAX} characters")),
        None if name.split('.').all(is_label) => Ok(()),
        None => Err("each part between dots has to begin and end with a letter or a digit".to_owned()),
    }
}
