//! Which images a reference means: by id, tag or digest.
//!
//! Generous on purpose: a reference that means an image in any way keeps it.

use std::borrow::Cow;
use std::collections::hash_map::Entry;

use foldhash::{HashMap, HashMapExt as _};

use crate::observation::Image;
use crate::reference::{Reference, canonical};

/// All ids, tags and digests of a list of images, to look references up in.
pub struct Names<'a> {
    /// Positions by id, without "sha256:".
    ids: HashMap<&'a str, Positions>,
    /// Positions by full name.
    names: HashMap<Cow<'a, str>, Positions>,
    /// Positions by digest: the same digest is the same image, whatever repository it was pulled from.
    digests: HashMap<&'a str, Positions>,
}

impl<'a> Names<'a> {
    /// Takes in the names of all of them.
    #[must_use]
    pub fn new(images: &'a [Image]) -> Self {
        let mut all = Self {
            ids: HashMap::with_capacity(images.len()),
            names: HashMap::with_capacity(images.iter().map(|image| image.names().count()).sum()),
            digests: HashMap::with_capacity(images.len()),
        };
        for (index, image) in images.iter().enumerate() {
            Positions::add(all.ids.entry(bare(&image.id)), index);
            for name in image.names() {
                Positions::add(all.names.entry(canonical(name)), index);
                if let Some(digest) = Reference::parse(name).digest {
                    Positions::add(all.digests.entry(digest), index);
                }
            }
        }
        all
    }

    /// Positions of the images that `reference` means; some may come twice.
    pub fn resolve(&self, reference: &str) -> impl Iterator<Item = usize> + use<'_> {
        let known = !reference.is_empty();
        let digest = Reference::parse(reference).digest.unwrap_or(reference);
        let ids = self.ids.get(bare(reference)).filter(|_| known);
        let names = self.names.get(canonical(reference).as_ref()).filter(|_| known);
        let digests = self.digests.get(digest).filter(|_| known);
        [ids, names, digests].into_iter().flatten().flat_map(Positions::all)
    }
}

/// Where a name occurs: nearly always once, so no list is made for that.
struct Positions {
    first: usize,
    more: Vec<usize>,
}

impl Positions {
    fn add<K>(entry: Entry<'_, K, Self>, position: usize) {
        match entry {
            Entry::Occupied(mut known) => known.get_mut().more.push(position),
            Entry::Vacant(new) => {
                new.insert(Self { first: position, more: Vec::new() });
            }
        }
    }

    fn all(&self) -> impl Iterator<Item = usize> + use<'_> {
        std::iter::once(self.first).chain(self.more.iter().copied())
    }
}

fn bare(id: &str) -> &str {
    id.strip_prefix("sha256:").unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(id: &str, tags: &[&str], digests: &[&str]) -> Image {
        let own = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        Image {
            id: id.to_owned(),
            runtime_handler: String::new(),
            repo_tags: own(tags),
            repo_digests: own(digests),
            size_bytes: 0,
            pinned: false,
            first_detected: None,
            last_used: None,
        }
    }

    #[test]
    fn a_reference_finds_its_image_in_every_form_runtimes_use() {
        let images = [
            image("sha256:aa", &["docker.io/library/busybox:1.36"], &["docker.io/library/busybox@sha256:d1"]),
            image("sha256:bb", &["registry.k8s.io/pause:3.9"], &[]),
        ];
        let names = Names::new(&images);
        let found = |reference: &str| names.resolve(reference).next();
        for reference in [
            "sha256:aa",
            "aa",
            "docker.io/library/busybox:1.36",
            "busybox:1.36",
            "docker.io/library/busybox@sha256:d1",
            "docker.io/library/busybox:1.36@sha256:d1",
            "mirror.example/busybox@sha256:d1",
            "sha256:d1",
        ] {
            assert_eq!(found(reference), Some(0), "{reference}");
        }
        assert_eq!(found("registry.k8s.io/pause:3.9"), Some(1));
        for reference in ["", "busybox", "registry.k8s.io/pause", "sha256:cc", "sha256:"] {
            assert_eq!(found(reference), None, "{reference:?}");
        }
    }
}
