//! The address of a CRI runtime: a unix socket, and nothing else.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

/// The longest path that the kernel accepts for a unix socket: 108 bytes with the closing zero.
const SOCKET_PATH_MAX: usize = 107;

const UNIX: &str = "unix://";

/// Where a CRI runtime listens: `unix:///path` or a bare absolute path. The value proves that the path is absolute and
/// short enough to connect to. The kubelet's setting is `containerRuntimeEndpoint`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint(String);

impl Endpoint {
    /// Where containerd listens on nearly every node.
    pub(crate) fn containerd() -> Self {
        Self("unix:///run/containerd/containerd.sock".to_owned())
    }

    /// The path of the socket: absolute, at most 107 bytes.
    #[must_use]
    pub fn path(&self) -> &Path {
        Path::new(self.0.strip_prefix(UNIX).unwrap_or(&self.0))
    }

    /// The text as the operator wrote it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What is wrong with the path of a unix socket.
pub(crate) fn check_socket_path(path: &str) -> Result<(), String> {
    absolute(path)?;
    if path.ends_with('/') {
        return Err(format!("the path `{path}` names no file"));
    }
    if path.len() > SOCKET_PATH_MAX {
        return Err(format!(
            "the path has {} bytes, a unix socket's path at most {SOCKET_PATH_MAX}",
            path.len()
        ));
    }
    Ok(())
}

pub(crate) fn absolute(path: &str) -> Result<(), String> {
    match path {
        "" => Err("it is empty".to_owned()),
        _ if !path.starts_with('/') => Err("the path is not absolute".to_owned()),
        _ if path.contains('\0') => Err("the path contains a zero byte".to_owned()),
        _ => Ok(()),
    }
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let path = text.strip_prefix(UNIX).unwrap_or(text);
        if let Some((scheme, _)) = path.split_once("://")
            && !scheme.contains('/')
        {
            return Err(format!("a runtime is reached over a unix socket only, not over {scheme}://"));
        }
        check_socket_path(path)?;
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_is_taken_out_of_both_forms() {
        for text in ["unix:///run/crio/crio.sock", "/run/crio/crio.sock"] {
            let endpoint: Endpoint = text.parse().unwrap();
            assert_eq!(endpoint.path(), Path::new("/run/crio/crio.sock"));
            assert_eq!(endpoint.to_string(), text);
        }
    }

    #[test]
    fn every_other_form_is_refused_with_its_reason() {
        let refused = |text: &str| text.parse::<Endpoint>().unwrap_err();
        assert_eq!(refused(""), "it is empty");
        assert_eq!(
            refused("tcp://127.0.0.1:1234"),
            "a runtime is reached over a unix socket only, not over tcp://"
        );
        assert_eq!(
            refused("npipe:////./pipe/x"),
            "a runtime is reached over a unix socket only, not over npipe://"
        );
        assert_eq!(refused("run/x.sock"), "the path is not absolute");
        assert_eq!(refused("unix://run/x.sock"), "the path is not absolute");
        assert_eq!(refused("unix:/run/x.sock"), "the path is not absolute");
        assert_eq!(refused("unix:///"), "the path `/` names no file");
        assert_eq!(refused("unix://"), "it is empty");
        assert_eq!(refused("/run/\0x"), "the path contains a zero byte");
    }

    #[test]
    fn a_path_ends_at_the_length_of_a_socket_address() {
        let path = |len: usize| format!("/{}", "x".repeat(len - 1));
        assert!(path(107).parse::<Endpoint>().is_ok());
        let refused = path(108).parse::<Endpoint>().unwrap_err();
        assert_eq!(refused, "the path has 108 bytes, a unix socket's path at most 107");
    }
}
