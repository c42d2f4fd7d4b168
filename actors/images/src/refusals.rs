//! Images that the runtime refused to remove because something uses them that is no container of the CRI: another program with the
//! same store, or a pause image of earlier settings. Each is tried again after a pause that doubles with every refusal.
//!
//! Pure, and in memory only: after a restart each is tried once.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use cri_gc_policy::Image;
use jiff::SignedDuration;

use cri_gc_kit::seams::Moment;
use cri_gc_kit::supervision::backoff::Backoff;

/// The refusals, by the id of the image.
#[derive(Debug, Default)]
pub struct Refusals(HashMap<String, Refusal>);

#[derive(Debug)]
struct Refusal {
    backoff: Backoff,
    /// By the boot clock.
    not_before: SignedDuration,
}

impl Refusals {
    /// The runtime has refused to remove that image. `first` and `longest` bound the pause.
    pub fn refused(&mut self, id: String, first: Duration, longest: Duration, now: Moment) {
        let new = || Refusal { backoff: Backoff::new(first, longest), not_before: SignedDuration::ZERO };
        let refusal = self.0.entry(id).or_insert_with(new);
        let pause = SignedDuration::try_from(refusal.backoff.pause()).unwrap_or(SignedDuration::MAX);
        refusal.not_before = now.boot().saturating_add(pause);
    }

    /// Whether it is too early to try that image again.
    #[must_use]
    pub fn is_waiting(&self, id: &str, now: Moment) -> bool {
        self.0.get(id).is_some_and(|refusal| now.boot() < refusal.not_before)
    }

    /// Fills in which of these images are not to be tried yet.
    pub fn fill_in(&self, images: &mut [Image], now: Moment) {
        for image in images {
            image.in_use_elsewhere = self.is_waiting(&image.id, now);
        }
    }

    /// That image was removed.
    pub fn forget(&mut self, id: &str) {
        self.0.remove(id);
    }

    /// Drops all images but these.
    pub fn retain(&mut self, ids: &HashSet<&str>) {
        self.0.retain(|id, _| ids.contains(id.as_str()));
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn moment(second: i64) -> Moment {
        Moment::new(Timestamp::UNIX_EPOCH, SignedDuration::from_secs(second))
    }

    #[test]
    fn an_image_is_tried_again_after_pauses_that_double() {
        let (mut refusals, mut tries) = (Refusals::default(), Vec::new());
        for second in 0..2_000 {
            if !refusals.is_waiting("a", moment(second)) {
                tries.push(second);
                refusals.refused(
                    "a".to_owned(),
                    Duration::from_secs(100),
                    Duration::from_secs(500),
                    moment(second),
                );
            }
        }
        assert_eq!(tries, [0, 100, 300, 700, 1_200, 1_700]);
        assert!(!refusals.is_waiting("b", moment(1_700)), "others are tried meanwhile");
        refusals.forget("a");
        assert!(!refusals.is_waiting("a", moment(1_701)));
    }

    #[test]
    fn an_image_that_is_gone_is_not_remembered() {
        let mut refusals = Refusals::default();
        for id in ["a", "b"] {
            refusals.refused(id.to_owned(), Duration::from_secs(100), Duration::from_secs(500), moment(0));
        }
        refusals.retain(&HashSet::from(["b"]));
        assert_eq!((refusals.is_waiting("a", moment(1)), refusals.is_waiting("b", moment(1))), (false, true));
    }
}
