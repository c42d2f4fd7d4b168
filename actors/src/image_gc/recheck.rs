//! What is asked right before an image is removed: a runtime removes one that is used, pinned or protected without a word.

use cri_gc_policy::images::{reference_of, used_by};
use cri_gc_policy::{Container, Image, Reason};

use crate::collector::{Outcome, Pass, Removed, Tools};
use crate::gateway::Freshness;
use crate::gateway::calls::RemoveImage;

/// Lists images and containers anew, and removes the image if nobody uses it.
pub async fn remove(tools: &Tools, pass: &Pass, image: &Image) -> Removed {
    // It may have got a name or a pin meanwhile.
    let images = tools.gateway.list::<Image>(Freshness::Fresh).await?;
    let same = |now: &&Image| now.id == image.id && now.runtime_handler == image.runtime_handler;
    let Some(now) = images.iter().find(same) else {
        return Ok((Outcome::AlreadyGone, 0));
    };
    if now.pinned {
        return Ok((Outcome::refused(Reason::Pinned), 0));
    }
    // A pattern that was added meanwhile holds at once.
    if pass.live.settings().image_gc.protect.iter().any(|pattern| pattern.matches(&now.id, now.names())) {
        return Ok((Outcome::refused(Reason::Protected), 0));
    }
    // Last, for nothing may come between it and the removal.
    let containers = tools.gateway.list::<Container>(Freshness::Fresh).await?;
    if !used_by(std::slice::from_ref(now), containers.iter().map(reference_of)).is_empty() {
        return Ok((Outcome::refused(Reason::InUse), 0));
    }
    let call = RemoveImage { id: image.id.clone(), runtime_handler: image.runtime_handler.clone() };
    tools.gateway.call(call).await?;
    Ok((Outcome::Removed, image.size_bytes))
}
