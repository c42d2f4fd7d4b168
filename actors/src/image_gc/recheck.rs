//! What is asked right before an image is removed: a runtime removes one that is used, pinned or protected without a word.

use cri_gc_policy::images::{ImageUse, Names};
use cri_gc_policy::{Container, Image, Reason};

use crate::collector::{Outcome, Pass, Removed, Tools};
use crate::gateway::calls::{CriCall, ImageStatus, RemoveImage};
use crate::gateway::{CriError, CriResult, ErrorClass, Freshness};

/// How often the containers are listed again because one came that has to be asked for its image volumes.
const LISTS: usize = 3;

/// Looks at everything that keeps an image once more, and removes the image if nothing does. `sandbox_image` is the name of the image
/// that sandboxes are made of.
///
/// CRI-O lists OCI artifacts as images, answers OK to their removal by id, and does nothing. So the image is asked for at once, and
/// tried by its names while it is there: later it might be another one, pulled again.
pub async fn remove(tools: &Tools, pass: &Pass, sandbox_image: &str, image: &Image) -> Removed {
    let removed = remove_by(tools, pass, sandbox_image, image, &image.id).await?;
    if removed.0 != Outcome::Removed || !is_there(tools, image).await {
        return Ok(removed);
    }
    // Digests first, for a tag may move to another image.
    for name in image.repo_digests.iter().chain(&image.repo_tags) {
        match remove_by(tools, pass, sandbox_image, image, name).await? {
            (Outcome::Removed, bytes) if !is_there(tools, image).await => {
                return Ok((Outcome::Removed, bytes));
            }
            // The name was no longer one of the image, or without effect as well.
            (Outcome::Removed | Outcome::AlreadyGone, _) => {}
            kept => return Ok(kept),
        }
    }
    Err(CriError::without_effect(RemoveImage::METHOD))
}

/// Whether the runtime still has that image. One that can't be asked for is left to the list that follows.
async fn is_there(tools: &Tools, image: &Image) -> bool {
    let Image { id, runtime_handler, .. } = image.clone();
    tools.gateway.call(ImageStatus { id, runtime_handler }).await.is_ok_and(|there| there)
}

/// Removes an image by one of its names, or by its id.
async fn remove_by(tools: &Tools, pass: &Pass, sandbox_image: &str, image: &Image, name: &str) -> Removed {
    if let Some(outcome) = keeps(tools, pass, sandbox_image, image, name).await? {
        return Ok((outcome, 0));
    }
    if !pass.may_remove() {
        return Ok((Outcome::halted(), 0));
    }
    let call = RemoveImage { id: name.to_owned(), runtime_handler: image.runtime_handler.clone() };
    match tools.gateway.call(call).await {
        Ok(()) => Ok((Outcome::Removed, image.size_bytes)),
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

/// Why the image has to stay after all, if it has to.
async fn keeps(
    tools: &Tools,
    pass: &Pass,
    sandbox_image: &str,
    image: &Image,
    name: &str,
) -> CriResult<Option<Outcome>> {
    // It may have got a name or a pin meanwhile, and a tag may have moved.
    let images = tools.gateway.list::<Image>(Freshness::Fresh).await?;
    let names = Names::new(&images);
    // The copies for several runtime handlers go together, if the runtime does not tell them apart.
    let copies: Vec<usize> =
        (0..).zip(images.iter()).filter(|(_, now)| now.id == image.id).map(|(i, _)| i).collect();
    let copy = |index: &usize| images.get(*index);
    let Some(now) = copies.iter().filter_map(copy).find(|now| now.runtime_handler == image.runtime_handler)
    else {
        tools.images.forget(&image.id);
        return Ok(Some(Outcome::AlreadyGone));
    };
    if name != image.id && now.names().all(|known| known != name) {
        return Ok(Some(Outcome::AlreadyGone));
    }
    let is_used = |used: ImageUse<'_>| names.used(used).iter().any(|index| copies.contains(index));
    if copies.iter().filter_map(copy).any(|copy| copy.pinned) {
        return Ok(Some(Outcome::refused(Reason::Pinned)));
    }
    // A pattern that was added meanwhile holds at once.
    let settings = pass.live.settings();
    let protects = |copy: &Image| {
        settings.image_gc.protect.iter().any(|pattern| pattern.matches(&copy.id, copy.names()))
    };
    if copies.iter().filter_map(copy).any(protects) {
        return Ok(Some(Outcome::refused(Reason::Protected)));
    }
    if is_used(ImageUse::named(sandbox_image)) {
        return Ok(Some(Outcome::refused(Reason::SandboxImage)));
    }
    // A pod that is about to start, and a job that came and went since the plan was made.
    let named = tools.pods.named().await;
    if named.is_none_or(|named| named.iter().any(|name| is_used(ImageUse::named(name)))) {
        return Ok(Some(Outcome::refused(Reason::NamedByPod)));
    }
    let used = tools.images.used_since(image.last_used).await;
    if used.is_none_or(|used| used.iter().any(|text| is_used(ImageUse::from_text(text)))) {
        return Ok(Some(Outcome::refused(Reason::InUse)));
    }
    // Last, for nothing may come between it and the removal.
    for _ in 0..LISTS {
        let containers = tools.gateway.list::<Container>(Freshness::Fresh).await?;
        let (volumes, asked) = tools.gateway.image_volumes(&containers).await?;
        let mounted = volumes.values().flatten().any(|volume| is_used(ImageUse::named(volume)));
        if mounted || containers.iter().flat_map(ImageUse::of_container).any(is_used) {
            return Ok(Some(Outcome::refused(Reason::InUse)));
        }
        if !asked {
            return Ok(None);
        }
    }
    Ok(Some(Outcome::refused(Reason::InUse)))
}
