//! Images: how names resolve to them, how tags move, and what goes when one is removed.
//!
//! Nothing here looks at containers: like the runtime it models, it removes what it is told to.

use crate::error::SimError;
use crate::model::{Node, object};
use crate::options::Flavour;
use crate::spec::ImageSpec;

/// An image on the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// `sha256:` and 64 hex digits.
    pub id: String,
    /// Names with a tag, complete.
    pub tags: Vec<String>,
    /// Names with a digest, complete.
    pub digests: Vec<String>,
    /// Whether the runtime tells it as pinned.
    pub pinned: bool,
    /// Names of its layers.
    pub layers: Vec<String>,
    /// Sum of the compressed sizes of its layers.
    pub size_bytes: u64,
}

const PREFIX: &str = "sha256:";

impl Node {
    /// Puts an image on the node, as a pull does, and returns its id. If an image of that id is there already, it
    /// gets the further names and stays as it is otherwise.
    pub fn add_image(&mut self, spec: ImageSpec) -> String {
        let made_up = format!("{PREFIX}{}", self.ids.next());
        let id = if spec.id.is_empty() { made_up.clone() } else { spec.id };
        let tags: Vec<String> = spec.tags.iter().map(|tag| complete(tag)).collect();
        let digests = match (spec.digests, tags.first()) {
            (Some(digests), _) => digests.iter().map(|digest| complete(digest)).collect(),
            (None, Some(tag)) => vec![format!("{}@{made_up}", repository(tag))],
            (None, None) => Vec::new(),
        };
        if !self.images.contains_key(&id) {
            self.disk.store_image(&spec.layers);
            let layers: Vec<String> = spec.layers.into_iter().map(|layer| layer.name).collect();
            let image = Image {
                id: id.clone(),
                tags: Vec::new(),
                digests: Vec::new(),
                // The label that pins an image came after 1.6.
                pinned: spec.pinned && self.options.flavour != Flavour::Containerd16,
                size_bytes: self.disk.compressed_size(&layers),
                layers,
            };
            self.images.insert(id.clone(), image);
        }
        for tag in &tags {
            self.give_tag(tag, &id);
        }
        if let Some(image) = self.images.get_mut(&id) {
            for digest in digests {
                if !image.digests.contains(&digest) {
                    image.digests.push(digest);
                }
            }
        }
        id
    }

    /// Makes `tag` name the image `to` (any name of it), as a pull of a newer version does. The image that had the
    /// tag keeps its other names and stays.
    ///
    /// # Errors
    /// There is no image `to`.
    pub fn move_tag(&mut self, tag: &str, to: &str) -> Result<(), SimError> {
        let id = self.resolve_image(to)?;
        self.give_tag(&complete(tag), &id);
        Ok(())
    }

    fn give_tag(&mut self, tag: &str, to: &str) {
        for (id, image) in &mut self.images {
            if id != to {
                image.tags.retain(|other| other != tag);
            } else if !image.tags.iter().any(|other| other == tag) {
                image.tags.push(tag.to_owned());
            }
        }
    }

    /// Removes an image with all its names, used or not, pinned or not. Its layers go as far as nobody else needs
    /// them: the compressed form with the last image, the snapshot with the last container or sandbox as well.
    /// Returns its id.
    ///
    /// # Errors
    /// There is no image of that name (over the socket, that is success), or the name is a prefix of several ids.
    pub fn remove_image(&mut self, name: &str) -> Result<String, SimError> {
        let id = self.resolve_image(name)?;
        if let Some(image) = self.images.remove(&id) {
            self.disk.drop_image(&image.layers, self.clock.uptime());
        }
        Ok(id)
    }

    /// The id of the image that a tag, a digest, an id, or a unique prefix of the hex digits of an id names.
    ///
    /// # Errors
    /// There is none, or several.
    pub fn resolve_image(&self, name: &str) -> Result<String, SimError> {
        if self.images.contains_key(name) {
            return Ok(name.to_owned());
        }
        let full = complete(name);
        let named = |image: &&Image| image.tags.contains(&full) || image.digests.contains(&full);
        if let Some(image) = self.images.values().find(named) {
            return Ok(image.id.clone());
        }
        let hex = name.strip_prefix(PREFIX).unwrap_or(name);
        let mut matches =
            self.images.keys().filter(|id| id.strip_prefix(PREFIX).is_some_and(|h| h.starts_with(hex)));
        match (matches.next(), matches.next()) {
            (None, _) => Err(object::not_found("image", name)),
            (Some(id), None) => Ok(id.clone()),
            (Some(_), Some(_)) => Err(object::ambiguous("image", name)),
        }
    }

    /// The image of that name, in the sense of [`Node::resolve_image`].
    #[must_use]
    pub fn image(&self, name: &str) -> Option<&Image> {
        self.images.get(&self.resolve_image(name).ok()?)
    }

    /// All images, by id.
    pub fn images(&self) -> impl Iterator<Item = &Image> {
        self.images.values()
    }
}

/// The repository of a complete name.
fn repository(name: &str) -> &str {
    let name = name.split_once('@').map_or(name, |(repository, _)| repository);
    match name.rsplit_once(':') {
        // A colon before the last slash belongs to a port.
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => name,
    }
}

/// A name with the registry, the folder and the tag that containerd takes for granted. With a digest, a tag is dropped.
fn complete(name: &str) -> String {
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
