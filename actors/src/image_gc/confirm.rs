//! Removes a batch of images, and finds out which of them are gone: an image counts as removed when a list no longer has it, not when
//! the runtime says so (spec 6).
//!
//! CRI-O lists OCI artifacts as images, and answers OK to their removal by id without removing them. So what is still listed is tried
//! by its digests and tags, and has failed if it is listed even then.

use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::Arc;

use cri_gc_policy::Image;

use super::recheck;
use crate::collector::{Outcome, Pass, Removed, Target, Tools};
use crate::gateway::calls::{CriCall, RemoveImage};
use crate::gateway::{CriError, ErrorClass, Freshness};

/// Removes these as far as nothing keeps them, and has each recorded. Gives back those that are gone by it.
pub async fn remove(
    tools: &Tools,
    pass: &Pass,
    sandbox_image: &str,
    batch: Vec<Target<Image>>,
) -> Vec<Image> {
    let parallel = pass.settings.image_gc.parallel_removals.into();
    let answers = Answers { pass, open: RefCell::default() };
    let by_id =
        async |target: &Target<Image>| recheck::remove(tools, pass, sandbox_image, &target.object).await;
    pass.attempt(batch, parallel, by_id, |target, removed| answers.add(target, removed)).await;
    let (mut gone, listed) = answers.confirm(tools).await;
    let listed = listed.unwrap_or_default();
    let still_listed = answers.said_ok();
    for image in &still_listed {
        for name in names(&listed, image) {
            let removed = recheck::remove_by(tools, pass, sandbox_image, image, &name).await;
            // That the image is gone, or the name, may be what the name before did: the list tells.
            if !matches!(removed, Ok((Outcome::Removed | Outcome::AlreadyGone, _))) {
                answers.replace(image, removed);
                break;
            }
        }
    }
    if !still_listed.is_empty() {
        gone.extend(answers.confirm(tools).await.0);
    }
    answers.fail_the_rest();
    gone
}

/// The names by which an image that its id did not remove is tried: digests first, for a tag may move to another image.
fn names(listed: &[Image], image: &Image) -> Vec<String> {
    let now = listed.iter().find(|now| is_same(now, image)).into_iter();
    now.flat_map(|now| now.repo_digests.iter().chain(&now.repo_tags)).cloned().collect()
}

fn is_same(a: &Image, b: &Image) -> bool {
    a.id == b.id && a.runtime_handler == b.runtime_handler
}

/// Whether a list has to say what became of an image.
fn is_open(removed: &Removed) -> bool {
    match removed {
        Ok((outcome, _)) => *outcome == Outcome::Removed,
        // Perhaps the runtime did it all the same, or does it later.
        Err(error) => {
            let may_be = [ErrorClass::DeadlineExceeded, ErrorClass::NotReady, ErrorClass::Failed];
            error.method == RemoveImage::METHOD && may_be.contains(&error.class)
        }
    }
}

/// What the runtime answered to the removals of a batch. What no list has confirmed when a pass is cut short is recorded as it was
/// answered.
struct Answers<'a> {
    pass: &'a Pass,
    open: RefCell<Vec<(Target<Image>, Removed)>>,
}

impl Answers<'_> {
    fn add(&self, target: Target<Image>, removed: Removed) {
        if is_open(&removed) {
            self.open.borrow_mut().push((target, removed));
        } else {
            self.pass.record(&target, removed);
        }
    }

    /// Puts another answer in the place of the one for that image.
    fn replace(&self, image: &Image, removed: Removed) {
        let position = self.open.borrow().iter().position(|(target, _)| is_same(&target.object, image));
        if let Some(position) = position {
            let (target, _) = self.open.borrow_mut().swap_remove(position);
            self.add(target, removed);
        }
    }

    /// Those that the runtime says it has removed, and that no list has confirmed yet.
    fn said_ok(&self) -> Vec<Image> {
        let open = self.open.borrow();
        open.iter().filter(|(_, removed)| removed.is_ok()).map(|(target, _)| target.object.clone()).collect()
    }

    /// Looks for them in a list, and records those as removed that it does not have. Gives these back, and the list.
    async fn confirm(&self, tools: &Tools) -> (Vec<Image>, Option<Arc<Vec<Image>>>) {
        if self.open.borrow().is_empty() {
            return (Vec::new(), None);
        }
        let listed = match tools.gateway.list::<Image>(Freshness::Fresh).await {
            Ok(listed) => listed,
            Err(error) => {
                self.pass.error(error);
                let unconfirmed = |(target, removed): (_, Removed)| {
                    (target, removed.and_then(|_| Err(CriError::unconfirmed(RemoveImage::METHOD))))
                };
                self.open.replace_with(|open| std::mem::take(open).into_iter().map(unconfirmed).collect());
                return (Vec::new(), None);
            }
        };
        let key = |image: &Image| (image.id.clone(), image.runtime_handler.clone());
        let there: HashSet<(String, String)> = listed.iter().map(key).collect();
        let answers = self.open.take().into_iter();
        let (open, gone): (Vec<_>, Vec<_>) =
            answers.partition(|(target, _)| there.contains(&key(&target.object)));
        self.open.replace(open);
        let gone = gone.into_iter().map(|(target, _)| {
            tools.images.forget(&target.object.id);
            self.pass.record(&target, Ok((Outcome::Removed, target.object.size_bytes)));
            target.object
        });
        (gone.collect(), Some(listed))
    }

    /// What is listed after all that could be tried was not removed.
    fn fail_the_rest(&self) {
        for (target, removed) in self.open.take() {
            let still_there = CriError::without_effect(RemoveImage::METHOD);
            self.pass.record(&target, removed.and_then(|_| Err(still_there)));
        }
    }
}

impl Drop for Answers<'_> {
    fn drop(&mut self) {
        for (target, removed) in self.open.take() {
            self.pass.record(&target, removed);
        }
    }
}
