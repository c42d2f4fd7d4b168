//! Images: how names resolve to them, how tags move, and what is removed with one.
//!
//! containerd checks no container here: it removes whatever is named. What CRI-O refuses is in `crio`.

use super::crio;
use super::names::{PREFIX, complete, repository};
use super::node::Node;
use super::objects::Image;
use crate::error::SimError;
use crate::ids::{not_found, only};
use crate::options::Flavour;
use crate::spec::ImageSpec;

impl Node {
    /// Puts an image on the node, as a pull does, and returns its id. If an image of that id is there already, it
    /// gets the further names and nothing else changes.
    pub fn add_image(&mut self, spec: ImageSpec) -> String {
        let flavour = self.options.flavour;
        let made_up = format!("{PREFIX}{}", self.ids.next());
        let id = if spec.id.is_empty() { made_up.clone() } else { spec.id };
        let id = if flavour == Flavour::CriO { crio::image_id(&id) } else { id };
        let tags: Vec<String> = spec.tags.iter().map(|tag| complete(tag)).collect();
        let given: Vec<String> = spec.digests.iter().flatten().map(|digest| complete(digest)).collect();
        let manifest =
            given.first().and_then(|name| name.split_once('@')).map(|(_, digest)| digest.to_owned());
        let manifest = manifest.unwrap_or(made_up);
        let digests = match (spec.digests, tags.first()) {
            _ if flavour == Flavour::CriO => crio::repo_digests(&given, &tags, &manifest),
            (Some(_), _) => given,
            (None, Some(tag)) => vec![format!("{}@{manifest}", repository(tag))],
            (None, None) => Vec::new(),
        };
        if !self.images.contains_key(&id) {
            self.disk.store_image(&spec.layers);
            let layers: Vec<String> = spec.layers.into_iter().map(|layer| layer.name).collect();
            let image = Image {
                id: id.clone(),
                tags: Vec::new(),
                digests: Vec::new(),
                manifest,
                pinned: spec.pinned && flavour.pins_images(),
                artifact: spec.artifact && flavour == Flavour::CriO,
                size_bytes: self.disk.compressed_size(&layers),
                layers,
                held_by: None,
                kept_on_removal: false,
            };
            self.images.insert(id.clone(), image);
        }
        for tag in &tags {
            self.give_tag(tag, &id);
        }
        self.give_digests(digests, &id);
        id
    }

    /// Makes `tag` name the image `to` (any name of it), as a pull of a newer version does. The image that had the
    /// tag keeps its other names.
    ///
    /// # Errors
    /// There is no image `to`.
    pub fn move_tag(&mut self, tag: &str, to: &str) -> Result<(), SimError> {
        let id = self.resolve_image(to)?;
        let tag = complete(tag);
        self.give_tag(&tag, &id);
        if let (Flavour::CriO, Some(image)) = (self.options.flavour, self.images.get(&id)) {
            let digests = crio::repo_digests(&[], &[tag], &image.manifest);
            self.give_digests(digests, &id);
        }
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

    fn give_digests(&mut self, digests: Vec<String>, to: &str) {
        if let Some(image) = self.images.get_mut(to) {
            for digest in digests {
                if !image.digests.contains(&digest) {
                    image.digests.push(digest);
                }
            }
        }
    }

    /// Makes the runtime use another image for its sandboxes, as a changed setting does. A runtime that pins its sandbox
    /// image pins that one now; CRI-O takes the pin off the one before.
    pub fn set_sandbox_image(&mut self, name: &str) {
        let before = std::mem::replace(&mut self.options.sandbox_image, name.to_owned());
        if self.options.flavour == Flavour::CriO {
            self.set_pinned(&before, false);
        }
        if self.pins_sandbox_image() {
            self.set_pinned(name, true);
        }
    }

    /// Pins an image, or removes its pin; nothing if there is no such image.
    pub fn set_pinned(&mut self, name: &str, pinned: bool) {
        if let Ok(image) = self.image_mut(name) {
            image.pinned = pinned;
        }
    }

    /// Removes an image as RemoveImage does, and returns its id. containerd removes it with all its names, used or not;
    /// for CRI-O see `crio`. The pin is ignored. Its layers are removed unless something else needs them: the compressed form
    /// with the last image, the snapshot with the last container or sandbox as well.
    ///
    /// # Errors
    /// There is no image of that name (over the socket, that is success), the name is a prefix of several ids, or CRI-O
    /// refuses.
    pub fn remove_image(&mut self, name: &str) -> Result<String, SimError> {
        if self.options.flavour == Flavour::CriO {
            return self.remove_image_as_crio(name);
        }
        let id = self.resolve_image(name)?;
        self.drop_image(&id);
        Ok(id)
    }

    /// Removes an image, except one that is kept on removal.
    pub(crate) fn drop_image(&mut self, id: &str) {
        if self.images.get(id).is_some_and(|image| image.kept_on_removal) {
            return;
        }
        if let Some(image) = self.images.remove(id) {
            self.disk.drop_image(&image.layers, self.clock.uptime());
        }
    }

    /// The id of the image that a tag, a digest, an id, or a unique prefix of the hex digits of an id names. An id with
    /// `sha256:` names nothing to CRI-O.
    ///
    /// # Errors
    /// There is none, or several.
    pub fn resolve_image(&self, name: &str) -> Result<String, SimError> {
        if self.images.contains_key(name) {
            return Ok(name.to_owned());
        }
        let crio = self.options.flavour == Flavour::CriO;
        let full = if crio { crio::name(name) } else { complete(name) };
        if let Some(image) = self.images.values().find(|image| image.is_named(&full)) {
            return Ok(image.id.clone());
        }
        let bare = |id: &str| id.strip_prefix(PREFIX).unwrap_or(id).to_owned();
        let hex = if crio { name.to_owned() } else { bare(name) };
        let matches = self.images.keys().filter(|id| bare(id).starts_with(&hex));
        only("image", name, matches).cloned()
    }

    /// The image of that name, in the sense of [`Node::resolve_image`], to change it.
    ///
    /// # Errors
    /// There is none, or several.
    pub fn image_mut(&mut self, name: &str) -> Result<&mut Image, SimError> {
        let id = self.resolve_image(name)?;
        self.images.get_mut(&id).ok_or_else(|| not_found("image", name))
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
