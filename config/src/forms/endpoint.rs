//! The address of a CRI runtime: a unix socket, and nothing else (spec 8).

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The longest path that the kernel takes for a unix socket: 108 bytes with the closing zero.
pub(crate) const SOCKET_PATH_MAX: usize = 107;

/// Where a CRI runtime listens: `unix:///path` or a bare absolute path. The value proves that the path is absolute and
/// short enough to connect to. The kubelet's setting is `containerRuntimeEndpoint`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    text: String,
    path: PathBuf,
}

/// Why a text is no [`Endpoint`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// No text at all.
    #[error("it is empty")]
    Empty,
    /// Another scheme, as `tcp://` or `http://`.
    #[error("a runtime is reached over a unix socket only, not over {0}://")]
    Scheme(String),
    /// `run/x.sock` or `unix://run/x.sock`.
    #[error("the path `{0}` is not absolute")]
    Relative(String),
    /// `unix:///` or a path that ends in a slash.
    #[error("the path `{0}` names no file")]
    NoFile(String),
    /// Longer than a socket address holds.
    #[error("the path has {0} bytes, a unix socket's path at most 107")]
    TooLong(usize),
    /// A zero byte ends a path for the kernel.
    #[error("the path holds a zero byte")]
    ZeroByte,
}

impl Endpoint {
    /// Where containerd listens on nearly every node.
    pub(crate) fn containerd() -> Self {
        let path = "/run/containerd/containerd.sock";
        Self { text: format!("unix://{path}"), path: path.into() }
    }

    /// The path of the socket: absolute, at most 107 bytes.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The text as the operator wrote it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// Whether `path` can be the path of a unix socket.
pub(crate) fn check_socket_path(path: &str) -> Result<(), EndpointError> {
    if path.is_empty() {
        return Err(EndpointError::Empty);
    }
    if !path.starts_with('/') {
        return Err(EndpointError::Relative(path.to_owned()));
    }
    if path.ends_with('/') {
        return Err(EndpointError::NoFile(path.to_owned()));
    }
    if path.len() > SOCKET_PATH_MAX {
        return Err(EndpointError::TooLong(path.len()));
    }
    if path.contains('\0') {
        return Err(EndpointError::ZeroByte);
    }
    Ok(())
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let path = match text.split_once("://") {
            Some(("unix", path)) => path,
            Some((scheme, _)) if !scheme.contains('/') => {
                return Err(EndpointError::Scheme(scheme.to_owned()));
            }
            _ => text,
        };
        check_socket_path(path)?;
        Ok(Self { text: text.to_owned(), path: path.into() })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Endpoint {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Endpoint {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
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
        assert_eq!(refused(""), EndpointError::Empty);
        assert_eq!(refused("tcp://127.0.0.1:1234"), EndpointError::Scheme("tcp".to_owned()));
        assert_eq!(refused("npipe:////./pipe/x"), EndpointError::Scheme("npipe".to_owned()));
        assert_eq!(refused("run/x.sock"), EndpointError::Relative("run/x.sock".to_owned()));
        assert_eq!(refused("unix://run/x.sock"), EndpointError::Relative("run/x.sock".to_owned()));
        assert_eq!(refused("unix:/run/x.sock"), EndpointError::Relative("unix:/run/x.sock".to_owned()));
        assert_eq!(refused("unix:///"), EndpointError::NoFile("/".to_owned()));
        assert_eq!(refused("unix://"), EndpointError::Empty);
        assert_eq!(refused("/run/\0x"), EndpointError::ZeroByte);
    }

    #[test]
    fn a_path_ends_at_the_length_of_a_socket_address() {
        let path = |len: usize| format!("/{}", "x".repeat(len - 1));
        assert!(path(107).parse::<Endpoint>().is_ok());
        assert_eq!(path(108).parse::<Endpoint>(), Err(EndpointError::TooLong(108)));
    }
}
