//! Image references: how a name is taken apart, and when two of them name the same image.

use std::borrow::Cow;

/// The parts of an image reference, `repo[:tag][@digest]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reference<'a> {
    /// Registry and path.
    pub repo: &'a str,
    /// What stands behind the colon, if anything.
    pub tag: Option<&'a str>,
    /// What stands behind the `@`, algorithm included.
    pub digest: Option<&'a str>,
}

impl<'a> Reference<'a> {
    /// Takes a reference apart. Every string has parts; whether it is a good name is not judged.
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

/// The shorter names that Docker Hub's images go by: `docker.io/library/busybox` is `library/busybox` and `busybox`.
pub fn familiar_repo(repo: &str) -> impl Iterator<Item = &str> {
    let hub = repo.strip_prefix("docker.io/");
    hub.into_iter().chain(hub.and_then(|path| path.strip_prefix("library/")))
}

/// What a user leaves out in front of the names of Docker Hub.
fn left_out(repo: &str) -> &'static str {
    match repo.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => "",
        Some(_) => "docker.io/",
        None => "docker.io/library/",
    }
}

/// The full form of a repository.
#[must_use]
pub fn full_repo(repo: &str) -> Cow<'_, str> {
    match left_out(repo) {
        "" => Cow::Borrowed(repo),
        head => Cow::Owned(format!("{head}{repo}")),
    }
}

/// The full form of a name as a user may write it: `busybox` is `docker.io/library/busybox:latest`. Runtimes tell full
/// names, so nearly always it is the text itself.
#[must_use]
pub fn canonical(text: &str) -> Cow<'_, str> {
    let Reference { repo, tag, digest } = Reference::parse(text);
    let head = left_out(repo);
    match (tag, digest) {
        (Some(_), None) | (None, Some(_)) if head.is_empty() => Cow::Borrowed(text),
        // With a digest the tag says nothing about which image is meant.
        (_, Some(digest)) => Cow::Owned(format!("{head}{repo}@{digest}")),
        (Some(tag), None) => Cow::Owned(format!("{head}{repo}:{tag}")),
        (None, None) => Cow::Owned(format!("{head}{repo}:latest")),
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
        assert_eq!(canonical("busybox:1@sha256:ff"), "docker.io/library/busybox@sha256:ff");
    }
}
