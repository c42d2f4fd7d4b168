//! Removes a batch of images, and finds out which of them are gone: an image counts as removed when a list no longer has it, not when
//! the runtime says so (behaviour: Image disk space). What is listed all the same has failed.

use std::cell::RefCell;
use std::collections::HashSet;

use cri_gc_policy::Image;

use super::recheck::Recheck;
use crate::collector::{Pass, Removed, Target};
use crate::report::Outcome;
use cri_gc_gateway::{CriError, ErrorClass, Freshness, REMOVE_IMAGE};

/// Removes these as far as nothing keeps them, and has each recorded. Returns those that are gone by it.
pub async fn remove(pass: &Pass, recheck: &Recheck<'_>, batch: Vec<Target<Image>>) -> Vec<Image> {
    let parallel = pass.settings.image_gc.parallel_removals.into();
    let answers = Answers { pass, open: RefCell::default() };
    let ask = async |target: &Target<Image>| {
        let image = &target.object;
        recheck.remove(image, || answers.add(target.clone(), Ok((Outcome::Removed, image.size_bytes)))).await
    };
    pass.attempt(batch, parallel, ask, |target, removed| answers.add(target, removed)).await;
    answers.confirm().await
}

/// Whether only a list shows if an image is removed.
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

/// What the runtime answered to the removals of a batch, as far as a list has to confirm it. What no list has confirmed when a
/// pass is cut short is recorded as it was answered.
struct Answers<'a> {
    pass: &'a Pass,
    open: RefCell<Vec<(Target<Image>, Removed)>>,
}

impl Answers<'_> {
    /// The answer for an image, in place of an earlier one.
    fn add(&self, target: Target<Image>, removed: Removed) {
        let mut open = self.open.borrow_mut();
        // It replaces that, which is of one in flight and so among the last.
        if let Some(earlier) = open.iter().rposition(|(other, _)| other.object.key() == target.object.key()) {
            drop(open.remove(earlier));
        }
        if is_open(&removed) {
            open.push((target, removed));
        } else {
            self.pass.record(&target, removed);
        }
    }

    /// Lists the images. Records those as removed that are not listed, and returns them; the others have failed.
    async fn confirm(&self) -> Vec<Image> {
        if self.open.borrow().is_empty() {
            return Vec::new();
        }
        let tools = &self.pass.tools;
        let listed = tools.gateway.images(Freshness::Fresh).await;
        let listed = listed.as_ref().map(|images| images.iter().map(Image::key).collect::<HashSet<_>>());
        let mut gone = Vec::new();
        for (target, removed) in self.open.take() {
            let image = &target.object;
            let failed = match &listed {
                Ok(listed) if !listed.contains(&image.key()) => {
                    tools.images.forget(&image.id);
                    self.pass.record(&target, Ok((Outcome::Removed, image.size_bytes)));
                    gone.push(target.object);
                    continue;
                }
                // It was gone a moment ago, and forgotten: this one was pulled since.
                Ok(_) => {
                    "the runtime removed it, but lists it again; it may have been pulled at the same time"
                }
                Err(_) => {
                    "the runtime answered OK, but the list that has to confirm it failed; the next pass checks it"
                }
            };
            self.pass.record(&target, removed.and(Err(CriError::image_removal(failed))));
        }
        if let Err(error) = listed {
            self.pass.error(error.clone());
        }
        gone
    }
}

impl Drop for Answers<'_> {
    fn drop(&mut self) {
        for (target, removed) in self.open.take() {
            // Should it be pulled again before it is listed, it is a new one.
            if removed.is_ok() {
                self.pass.tools.images.forget(&target.object.id);
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
    fn a_removal_without_an_answer_is_confirmed_by_a_list() {
        // The runtime may have done it: else its space would count as missing, and more images would be removed.
        assert!(is_open(&Err(CriError::gateway_gone(REMOVE_IMAGE))));
        assert!(is_open(&Ok((Outcome::Removed, 0))));
        assert!(!is_open(&Err(CriError::gateway_gone("ImageStatus"))), "it was not sent");
    }
}
