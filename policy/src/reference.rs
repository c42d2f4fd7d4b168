//! Image references: their parts, and when two of them name the same image.

use std::borrow::Cow;

/// The parts of an image reference, `repo[:tag][@digest]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reference<'a> {
    /// Registry and path.
    pub repo: &'a str,
    /// What is after the colon, if anything.
    pub tag: Option<&'a str>,
    /// What is after the `@`, algorithm included.
    pub digest: Option<&'a str>,
}

impl<'a> Reference<'a> {
    /// Splits a reference. Every string has parts; whether it is a valid name is not checked.
    #[must_use]
    pub fn parse(text: &'a str) -> Self {
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (text, None),
        };
        match name.rsplit_once(':') {
            // A colon before the last slash belongs to the port of a registry.
            Some((repo, tag)) if !tag.contains('/') => Self { repo, tag: Some(tag), digest },
            _ => Self { repo: name, tag: None, digest },
        }
    }
}

/// The short names of images of Docker Hub: `docker.io/library/busybox` is `library/busybox` and `busybox`.
pub fn familiar_repo(repo: &str) -> impl Iterator<Item = &str> {
    let hub = repo.strip_prefix("docker.io/");
    hub.into_iter().chain(hub.and_then(|path| path.strip_prefix("library/")))
}

/// The names that Docker Hub answers to.
const HUB: [&str; 4] =
    ["index.docker.io/", "registry-1.docker.io/", "registry.hub.docker.com/", "docker.io/"];

/// The path of a repository on Docker Hub, if its name has that registry.
#[must_use]
pub fn path_on_hub(repo: &str) -> Option<&str> {
    HUB.iter().find_map(|name| repo.strip_prefix(name))
}

/// Whether the name of a repository has a registry.
#[must_use]
pub fn has_registry(repo: &str) -> bool {
    repo.split_once('/').is_some_and(|(host, _)| host.contains(['.', ':']) || host == "localhost")
}

/// The full form of a repository.
#[must_use]
pub fn full_repo(repo: &str) -> Cow<'_, str> {
    let hub = path_on_hub(repo);
    let (path, named) = match hub {
        Some(path) => (path, repo.starts_with("docker.io/")),
        None if has_registry(repo) => return Cow::Borrowed(repo),
        None => (repo, false),
    };
    match path.contains('/') {
        true if named => Cow::Borrowed(repo),
        true => Cow::Owned(format!("docker.io/{path}")),
        false => Cow::Owned(format!("docker.io/library/{path}")),
    }
}

/// The full form of a name as a user may write it: `busybox` is `docker.io/library/busybox:latest`. Runtimes report
/// full names, so nearly always it is the text itself.
#[must_use]
pub fn canonical(text: &str) -> Cow<'_, str> {
    let Reference { repo, tag, digest } = Reference::parse(text);
    let full = full_repo(repo);
    match (tag, digest) {
        (Some(_), None) | (None, Some(_)) if full == repo => Cow::Borrowed(text),
        // With a digest the tag says nothing about which image is meant.
        (_, Some(digest)) => Cow::Owned(format!("{full}@{digest}")),
        (Some(tag), None) => Cow::Owned(format!("{full}:{tag}")),
        (None, None) => Cow::Owned(format!("{full}:latest")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts() {
        let parts = |text| {
            let Reference { repo, tag, digest } = Reference::parse(text);
            (repo, tag, digest)
        };
        assert_eq!(parts("a/b:1"), ("a/b", Some("1"), None));
        assert_eq!(parts("h:5000/b"), ("h:5000/b", None, None));
        assert_eq!(parts("h:5000/b:1@sha256:ff"), ("h:5000/b", Some("1"), Some("sha256:ff")));
    }

    #[test]
    fn short_names_are_completed() {
        assert_eq!(canonical("busybox"), "docker.io/library/busybox:latest");
        assert_eq!(canonical("grafana/grafana:11"), "docker.io/grafana/grafana:11");
        assert_eq!(canonical("registry.k8s.io/pause:3.9"), "registry.k8s.io/pause:3.9");
        assert_eq!(canonical("localhost:5000/a"), "localhost:5000/a:latest");
        assert_eq!(canonical("docker.io/pause:3"), "docker.io/library/pause:3");
        assert_eq!(canonical("index.docker.io/library/pause:3"), "docker.io/library/pause:3");
        assert_eq!(canonical("index.docker.io/pause:3"), "docker.io/library/pause:3");
        assert_eq!(canonical("docker.io/grafana/grafana:1"), "docker.io/grafana/grafana:1");
        assert_eq!(canonical("busybox:1@sha256:ff"), "docker.io/library/busybox@sha256:ff");
    }
}
