//! Removes a batch of images, and finds out which of them are gone: an image counts as removed when a list no longer has it, not when
//! the runtime says so (spec 6). What is listed all the same has failed.

use std::cell::RefCell;
use std::collections::HashSet;

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
    let ask =
        async |target: &Target<Image>| recheck::remove(tools, pass, sandbox_image, &target.object).await;
    pass.attempt(batch, parallel, ask, |target, removed| answers.add(target, removed)).await;
    answers.confirm(tools).await
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

    /// Looks for them in a list. Records those as removed that it does not have, and gives them back; the others have failed.
    async fn confirm(&self, tools: &Tools) -> Vec<Image> {
        if self.open.borrow().is_empty() {
            return Vec::new();
        }
        let key = |image: &Image| (image.id.clone(), image.runtime_handler.clone());
        let listed = tools.gateway.list::<Image>(Freshness::Fresh).await;
        let listed: Result<HashSet<(String, String)>, _> =
            listed.map(|images| images.iter().map(key).collect());
        let mut gone = Vec::new();
        for (target, removed) in self.open.take() {
            let image = &target.object;
            match &listed {
                Ok(listed) if !listed.contains(&key(image)) => {
                    tools.images.forget(&image.id);
                    self.pass.record(&target, Ok((Outcome::Removed, image.size_bytes)));
                    gone.push(target.object);
                }
                Ok(_) => {
                    if removed.is_ok() {
                        // It was gone a moment ago: this one was pulled since.
                        tools.images.forget(&image.id);
                    }
                    self.pass.record(
                        &target,
                        removed.and_then(|_| Err(CriError::there_again(RemoveImage::METHOD))),
                    );
                }
                Err(_) => {
                    self.pass.record(
                        &target,
                        removed.and_then(|_| Err(CriError::unconfirmed(RemoveImage::METHOD))),
                    );
                }
            }
        }
        if let Err(error) = listed {
            self.pass.error(error);
        }
        gone
    }
}

impl Drop for Answers<'_> {
    fn drop(&mut self) {
        for (target, removed) in self.open.take() {
            self.pass.record(&target, removed);
        }
    }
}
