//! The checks right before an image is removed: a runtime removes one that is used, pinned or protected without a word.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use cri_gc_policy::images::{ImageUse, Names};
use cri_gc_policy::{Container, Image, Reason};
use ecow::EcoString;

use crate::collector::{Pass, Removed};
use crate::recent::Recent;
use crate::report::Outcome;
use cri_gc_gateway::{CriError, CriResult, ErrorClass, Freshness};

/// Name of CRI-O in its Version. Only there an accepted removal is known to be without effect; anywhere else an image that is
/// there again was pulled again.
const CRI_O: &str = "cri-o";

/// How often everything is listed again because a container came since, or the image has changed.
const LISTS: usize = 3;

/// How long a list of images is used for what is removed meanwhile: on a node with thousands of them it is long. Whether an image has
/// changed since the list is asked for each.
const IMAGES_FOR: Duration = Duration::from_millis(250);

/// A list of images, and the containers that were known before it was requested.
struct Listed {
    images: Vec<Image>,
    known: Rc<HashSet<EcoString>>,
}

/// What the checks of one pass share.
pub struct Recheck<'a> {
    pass: &'a Pass,
    /// Name of the image that sandboxes are made of.
    sandbox_image: &'a str,
    /// Ids of the containers that were listed so far.
    listed: RefCell<Rc<HashSet<EcoString>>>,
    images: Recent<Listed, CriError>,
}

impl<'a> Recheck<'a> {
    /// That of a pass which has seen this.
    pub fn new(pass: &'a Pass, sandbox_image: &'a str, containers: &[Arc<Container>]) -> Self {
        let listed = containers.iter().map(|container| container.id.clone()).collect();
        let images = Recent::new(IMAGES_FOR);
        Self { pass, sandbox_image, listed: RefCell::new(Rc::new(listed)), images }
    }

    /// Checks everything that keeps an image once more, and removes the image if nothing does. `accepted` is called when the
    /// runtime has accepted that.
    ///
    /// CRI-O lists OCI artifacts as images, answers OK to their removal by id, and does nothing. So the image is queried at
    /// once, and there it is tried by its names while it is there: later it might be another one, pulled again.
    pub async fn remove(&self, image: &Image, accepted: impl Fn()) -> Removed {
        let removed = self.remove_by(image, &image.id, &accepted).await?;
        if removed.0 != Outcome::Removed || self.is_gone(image).await {
            return Ok(removed);
        }
        let mut failed = None;
        if self.pass.tools.gateway.version().await.is_ok_and(|version| version.name == CRI_O) {
            // Digests first, for a tag may move to another image.
            for name in image.repo_digests.iter().chain(&image.repo_tags) {
                match self.remove_by(image, name, &accepted).await {
                    Ok((Outcome::Removed, bytes)) if self.is_gone(image).await => {
                        return Ok((Outcome::Removed, bytes));
                    }
                    // The name was no longer one of the image, or without effect as well.
                    Ok((Outcome::Removed | Outcome::AlreadyGone, _)) => {}
                    Ok(kept) => return Ok(kept),
                    Err(error) if error.is_unreachable() => return Err(error),
                    // CRI-O cuts the repository of some digests off, and does not understand what is left. Another name may do.
                    Err(error) => drop(failed.get_or_insert(error)),
                }
            }
        }
        Err(failed.unwrap_or_else(|| {
            CriError::image_removal(
                "the runtime answers OK, but still lists it; its id and all its names were tried",
            )
        }))
    }

    /// Whether the runtime has removed that image. Then it is forgotten at once: if it is pulled again before the list
    /// that confirms the removal, it is a new one. A failed answer proves nothing.
    async fn is_gone(&self, image: &Image) -> bool {
        let answer = self.pass.tools.gateway.image(&image.id, &image.runtime_handler).await;
        let is_gone = answer.is_ok_and(|there| there.is_none());
        if is_gone {
            self.pass.tools.images.forget(&image.id);
        }
        is_gone
    }

    /// Removes an image by one of its names, or by its id.
    async fn remove_by(&self, image: &Image, name: &str, accepted: &impl Fn()) -> Removed {
        let (pass, tools) = (self.pass, &self.pass.tools);
        if let Some(outcome) = self.keeps(image, name).await? {
            return Ok((outcome, 0));
        }
        if !pass.may_remove() {
            return Ok((Outcome::halted(), 0));
        }
        match tools.gateway.remove_image(name, &image.runtime_handler).await {
            Ok(()) => {
                accepted();
                Ok((Outcome::Removed, image.size_bytes))
            }
            Err(error) if error.class == ErrorClass::InUse => {
                let settings = pass.live.settings();
                let (first, longest) = (settings.image_gc.period, settings.supervision.stuck_backoff_max);
                tools.images.refused(&image.id, first, longest, tools.clock.moment());
                Ok((Outcome::refused(Reason::InUseElsewhere), 0))
            }
            Err(error) => {
                // The runtime may do it later, unseen: should the image be pulled again then, it is another one.
                if error.may_have_done_it() {
                    tools.images.forget(&image.id);
                }
                Err(error)
            }
        }
    }

    /// Why the image has to be kept after all, if it has to.
    ///
    /// The containers are listed last, for nothing may come between that and the removal. But what they are made of is looked up
    /// in a list of images that is older, and a name may have come to this image since. So a container that was not known
    /// before the images were listed has all listed again, as has an image that is no longer what was listed.
    async fn keeps(&self, image: &Image, name: &str) -> CriResult<Option<Outcome>> {
        for _ in 0..LISTS {
            let is_new_list = Cell::new(false);
            let list = async || {
                is_new_list.set(true);
                let known = Rc::clone(&self.listed.borrow());
                Ok(Listed { images: self.pass.tools.gateway.images(Freshness::Fresh).await?, known })
            };
            let (listed, _) = self.images.get(list).await?;
            let Listed { images, known } = &*listed;
            if !is_new_list.get() && self.has_changed(image, images).await? {
                self.images.forget();
                continue;
            }
            let names = Names::new(images);
            let copies = match self.keeps_of_images(images, &names, image, name).await {
                Ok(copies) => copies,
                Err(outcome) => return Ok(Some(outcome)),
            };
            let is_used = |used: ImageUse<'_>| names.used(used).iter().any(|index| copies.contains(index));
            let containers = self.pass.tools.gateway.list::<Container>(Freshness::Fresh).await?;
            let (volumes, asked) = self.pass.tools.gateway.image_volumes(&containers).await?;
            let mounted = volumes.values().flatten().any(|volume| is_used(ImageUse::named(volume)));
            if mounted
                || containers.iter().flat_map(|container| ImageUse::of_container(container)).any(is_used)
            {
                return Ok(Some(Outcome::refused(Reason::InUse)));
            }
            if !asked && containers.iter().all(|container| known.contains(&container.id)) {
                return Ok(None);
            }
            let ids = containers.iter().map(|container| container.id.clone());
            Rc::make_mut(&mut self.listed.borrow_mut()).extend(ids);
            self.images.forget();
        }
        Ok(Some(Outcome::refused(Reason::InUse)))
    }

    /// Whether the runtime has another answer about the image than the list: it was removed or pulled, pinned or renamed meanwhile.
    async fn has_changed(&self, image: &Image, listed: &[Image]) -> CriResult<bool> {
        let now = match self.pass.tools.gateway.image(&image.id, &image.runtime_handler).await {
            Ok(now) => now,
            Err(error) if error.is_unreachable() => return Err(error),
            // The list says the same.
            Err(_) => return Ok(true),
        };
        let is_it = |known: &&Image| known.key() == image.key();
        let facts = |image: &Image| (image.pinned, image.names().map(str::to_owned).collect::<BTreeSet<_>>());
        Ok(now.as_ref().map(facts) != listed.iter().find(is_it).map(facts))
    }

    /// The copies of the image in a list of images; an error is why it has to be kept by all but the containers.
    async fn keeps_of_images(
        &self,
        images: &[Image],
        names: &Names<'_>,
        image: &Image,
        name: &str,
    ) -> Result<Vec<usize>, Outcome> {
        let (pass, tools) = (self.pass, &self.pass.tools);
        // The copies for several runtime handlers are removed together, if the runtime does not distinguish them.
        let copies: Vec<usize> =
            (0..).zip(images.iter()).filter(|(_, now)| now.id == image.id).map(|(i, _)| i).collect();
        let copy = |index: &usize| images.get(*index);
        let Some(now) = copies.iter().filter_map(copy).find(|now| now.key() == image.key()) else {
            tools.images.forget(&image.id);
            return Err(Outcome::AlreadyGone);
        };
        // A name of two images says nothing about which of them it removes.
        let is_its_own = || names.resolve(name).all(|index| copies.contains(&index));
        if name != image.id && (now.names().all(|known| known != name) || !is_its_own()) {
            return Err(Outcome::AlreadyGone);
        }
        let is_used = |used: ImageUse<'_>| names.used(used).iter().any(|index| copies.contains(index));
        // It may have got a pin or a name meanwhile, and a tag may have moved.
        if copies.iter().filter_map(copy).any(|copy| copy.pinned) {
            return Err(Outcome::refused(Reason::Pinned));
        }
        // A pattern that was added meanwhile is in force at once.
        let settings = pass.live.settings();
        let protects = |copy: &Image| {
            settings.image_gc.protect.iter().any(|pattern| pattern.matches(&copy.id, copy.names()))
        };
        if copies.iter().filter_map(copy).any(protects) {
            return Err(Outcome::refused(Reason::Protected));
        }
        if is_used(ImageUse::named(self.sandbox_image)) {
            return Err(Outcome::refused(Reason::SandboxImage));
        }
        // A pod that is about to start, and a job that began and ended since the plan was made.
        let named = tools.pods.source().await.and_then(|source| source.images);
        if named.is_none_or(|named| named.iter().any(|name| is_used(ImageUse::named(name)))) {
            return Err(Outcome::refused(Reason::NamedByPod));
        }
        let used = tools.images.used_since(image.last_used).await;
        if used.is_none_or(|used| used.iter().any(|text| is_used(ImageUse::from_text(text)))) {
            return Err(Outcome::refused(Reason::InUse));
        }
        Ok(copies)
    }
}
