//! Removes a batch of images, and finds out which of them are gone: an image counts as removed when a list no longer has it, not when
//! the runtime says so (behaviour: Image disk space). What is listed all the same has failed.

use std::cell::RefCell;
use std::collections::HashSet;

use cri_gc_policy::Image;

use super::recheck::Recheck;
use crate::collector::{Pass, Removed, Target};
use crate::report::Outcome;
use crate::tools::Tools;
use cri_gc_gateway::{CriError, ErrorClass, Freshness, REMOVE_IMAGE};

/// Removes these as far as nothing keeps them, and has each recorded. Gives back those that are gone by it.
pub async fn remove(
    tools: &Tools,
    pass: &Pass,
    recheck: &Recheck<'_>,
    batch: Vec<Target<Image>>,
) -> Vec<Image> {
    let parallel = pass.settings.image_gc.parallel_removals.into();
    let answers = Answers { tools, pass, accepted: RefCell::default(), open: RefCell::default() };
    let ask =
        async |target: &Target<Image>| recheck.remove(&target.object, || answers.accepted(target)).await;
    pass.attempt(batch, parallel, ask, |target, removed| answers.add(target, removed)).await;
    answers.confirm().await
}

/// Whether a list has to say what became of an image.
fn is_open(removed: &Removed) -> bool {
    match removed {
        Ok((outcome, _)) => *outcome == Outcome::Removed,
        // Perhaps the runtime did it all the same, or does it later.
        Err(error) => {
            use ErrorClass::{DeadlineExceeded, Failed, GatewayGone, NotReady};
            let may_be = [DeadlineExceeded, GatewayGone, NotReady, Failed];
            error.method == REMOVE_IMAGE && may_be.contains(&error.class)
        }
    }
}

/// What the runtime answered to the removals of a batch. What no list has confirmed when a pass is cut short is recorded as it was
/// answered.
struct Answers<'a> {
    tools: &'a Tools,
    pass: &'a Pass,
    /// Removals that the runtime accepted, and that are still asked about.
    accepted: RefCell<Vec<Target<Image>>>,
    open: RefCell<Vec<(Target<Image>, Removed)>>,
}

impl Answers<'_> {
    fn accepted(&self, target: &Target<Image>) {
        self.accepted.borrow_mut().push(target.clone());
    }

    fn add(&self, target: Target<Image>, removed: Removed) {
        let is_same = |other: &Target<Image>| {
            other.id == target.id && other.object.runtime_handler == target.object.runtime_handler
        };
        self.accepted.borrow_mut().retain(|other| !is_same(other));
        if is_open(&removed) {
            self.open.borrow_mut().push((target, removed));
        } else {
            self.pass.record(&target, removed);
        }
    }

    /// Looks for them in a list. Records those as removed that it does not have, and gives them back; the others have failed.
    async fn confirm(&self) -> Vec<Image> {
        let tools = self.tools;
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
            let failed =
                |why| self.pass.record(&target, removed.and_then(|_| Err(CriError::image_removal(why))));
            match &listed {
                Ok(listed) if !listed.contains(&key(image)) => {
                    tools.images.forget(&image.id);
                    self.pass.record(&target, Ok((Outcome::Removed, image.size_bytes)));
                    gone.push(target.object);
                }
                // It was gone a moment ago, and forgotten: this one was pulled since.
                Ok(_) => {
                    failed("the runtime removed it, and lists it again: perhaps it was pulled meanwhile")
                }
                Err(_) => failed(
                    "the runtime answered OK, but the list that has to confirm it failed; the next pass checks it",
                ),
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
        let accepted = self.accepted.take().into_iter().map(|target| {
            let bytes = target.object.size_bytes;
            (target, Ok((Outcome::Removed, bytes)))
        });
        for (target, removed) in self.open.take().into_iter().chain(accepted) {
            // Should it be pulled again before anybody looks, it is a new one.
            if removed.is_ok() {
                self.tools.images.forget(&target.object.id);
            }
            self.pass.record(&target, removed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cri_gc_gateway::CriError;

    #[test]
    fn a_removal_that_nobody_saw_answered_is_asked_about() {
        // The runtime may have done it: else its space would count as missing, and more images would be removed.
        assert!(is_open(&Err(CriError::gateway_gone(REMOVE_IMAGE))));
        assert!(is_open(&Ok((Outcome::Removed, 0))));
        assert!(!is_open(&Err(CriError::gateway_gone("ImageStatus"))), "it was not sent");
    }
}
