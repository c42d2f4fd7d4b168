//! What is asked right before an image is removed: a runtime removes one that is used, pinned or protected without a word.

use cri_gc_policy::images::{reference_of, used_by};
use cri_gc_policy::{Container, Image, Reason};

use crate::collector::{Outcome, Pass, Removed, Tools};
use crate::gateway::calls::RemoveImage;
use crate::gateway::{CriError, Freshness};

/// Looks at everything that keeps an image once more, and removes the image if nothing does. `sandbox_image` is the name
/// of the image that sandboxes are made of.
pub async fn remove(tools: &Tools, pass: &Pass, sandbox_image: &str, image: &Image) -> Removed {
    // It may have got a name or a pin meanwhile.
    let images = tools.gateway.list::<Image>(Freshness::Fresh).await?;
    // The copies for several runtime handlers go together, if the runtime does not tell them apart.
    let copies: Vec<Image> = images.iter().filter(|now| now.id == image.id).cloned().collect();
    let Some(now) = copies.iter().find(|now| now.runtime_handler == image.runtime_handler) else {
        tools.images.forget(&image.id);
        return Ok((Outcome::AlreadyGone, 0));
    };
    if copies.iter().any(|copy| copy.pinned) {
        return Ok((Outcome::refused(Reason::Pinned), 0));
    }
    // A pattern that was added meanwhile holds at once.
    let settings = pass.live.settings();
    let protects = |copy: &Image| {
        settings.image_gc.protect.iter().any(|pattern| pattern.matches(&copy.id, copy.names()))
    };
    if copies.iter().any(protects) {
        return Ok((Outcome::refused(Reason::Protected), 0));
    }
    // A tag may have moved.
    if !used_by(&copies, [sandbox_image]).is_empty() {
        return Ok((Outcome::refused(Reason::SandboxImage), 0));
    }
    // A pod that is about to start, and a job that came and went since the plan was made.
    let named = tools.pods.named().await;
    if named.is_none_or(|named| !used_by(&copies, named.iter().map(String::as_str)).is_empty()) {
        return Ok((Outcome::refused(Reason::NamedByPod), 0));
    }
    if tools.images.is_used_since(now, image.last_used).await {
        return Ok((Outcome::refused(Reason::InUse), 0));
    }
    // Last, for nothing may come between it and the removal.
    let containers = tools.gateway.list::<Container>(Freshness::Fresh).await?;
    if !used_by(&copies, containers.iter().map(reference_of)).is_empty() {
        return Ok((Outcome::refused(Reason::InUse), 0));
    }
    let call = RemoveImage { id: image.id.clone(), runtime_handler: image.runtime_handler.clone() };
    let removed = tools.gateway.call(call).await;
    // Should it be pulled again before the next look, it is another one. So it is where the runtime has not said what it did.
    if removed.as_ref().err().is_none_or(CriError::may_have_done_it) {
        tools.images.forget(&image.id);
    }
    removed.map(|()| (Outcome::Removed, image.size_bytes))
}
