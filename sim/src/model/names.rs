//! Names of images: what a runtime takes for granted in a short one, and their parts.

/// What an image id begins with; CRI-O leaves it out.
pub(crate) const PREFIX: &str = "sha256:";

/// The repository of a complete name.
pub(crate) fn repository(name: &str) -> &str {
    let name = name.split_once('@').map_or(name, |(repository, _)| repository);
    match name.rsplit_once(':') {
        // A colon before the last slash belongs to a port.
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => name,
    }
}

/// A name with the registry, the folder and the tag that containerd takes for granted. With a digest, a tag is dropped.
pub(crate) fn complete(name: &str) -> String {
    let (first, rest) = name.split_once('/').unwrap_or(("", name));
    let host = first.contains(['.', ':']) || first == "localhost";
    let name = match (first, host) {
        ("", _) => format!("docker.io/library/{rest}"),
        (_, true) => name.to_owned(),
        (_, false) => format!("docker.io/{name}"),
    };
    let repository = repository(&name);
    if let Some((_, digest)) = name.split_once('@') {
        format!("{repository}@{digest}")
    } else if repository.len() == name.len() {
        format!("{name}:latest")
    } else {
        name
    }
}

#[cfg(test)]
mod tests {
    use super::complete;

    #[test]
    fn short_names_are_completed_as_the_runtime_does() {
        for (name, full) in [
            ("busybox", "docker.io/library/busybox:latest"),
            ("busybox:1.36", "docker.io/library/busybox:1.36"),
            ("team/app", "docker.io/team/app:latest"),
            ("localhost/app:1", "localhost/app:1"),
            ("registry:5000/app", "registry:5000/app:latest"),
            ("registry:5000/team/app:2", "registry:5000/team/app:2"),
            ("quay.io/a/b@sha256:00", "quay.io/a/b@sha256:00"),
            ("quay.io/a/b:1@sha256:00", "quay.io/a/b@sha256:00"),
        ] {
            assert_eq!(complete(name), full, "{name}");
        }
    }
}
