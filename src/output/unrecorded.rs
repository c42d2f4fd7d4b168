//! What a sweep says where it keeps images only because nothing is recorded of them: at the first sweep of a node, and where
//! records can't be kept. Without it, the sweeps of a node whose disk is full look as if no image could be removed.

use std::time::Duration;

use super::ages::span;

/// Why there are no records of images, and whether that matters.
#[derive(Debug, Clone, Copy)]
pub struct Unrecorded<'a> {
    /// Nothing was recorded before this sweep, and it keeps images for being too young.
    pub are_too_young: bool,
    /// The sweep is a dry run, which records nothing.
    pub dry_run: bool,
    /// Why what this sweep has seen can't be recorded either.
    pub nowhere: Option<&'a str>,
    /// `image_gc.min_age`.
    pub min_age: Duration,
}

impl Unrecorded<'_> {
    /// The note; `None` if there is nothing to say.
    #[must_use]
    pub fn note(&self) -> Option<String> {
        let min_age = span(self.min_age);
        let next = match (self.nowhere, self.dry_run) {
            (Some(why), _) => {
                format!(
                    "They can't be recorded either: {why}. Until that is fixed, every sweep counts them as new."
                )
            }
            (None, true) => format!(
                "A dry run records nothing: run `cri-gc sweep`, and again in {min_age} (image_gc.min_age)."
            ),
            (None, false) => {
                format!("They are recorded now: run `cri-gc sweep` again in {min_age} (image_gc.min_age).")
            }
        };
        if self.are_too_young {
            let none = if self.nowhere.is_some() { "are available" } else { "exist yet" };
            return Some(format!(
                "All images count as first seen now, because no image records {none}; unused ones are kept as too_young. \
                 {next} To remove them at once, run `cri-gc sweep --set image_gc.min_age=0s` while no image is being pulled."
            ));
        }
        // Nothing is kept for it today, but would be where it matters.
        self.nowhere.map(|why| {
            format!(
                "The ages of images can't be recorded: {why}. Until that is fixed, every image counts as first seen now, and no \
                 sweep removes one unless image_gc.min_age is 0s."
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sweep_without_records_says_why_images_are_kept_and_what_to_do() {
        let first = Unrecorded {
            are_too_young: true,
            dry_run: false,
            nowhere: None,
            min_age: Duration::from_secs(120),
        };
        let note = |of: Unrecorded<'_>| of.note().unwrap_or_default();
        for of in [
            first,
            Unrecorded { dry_run: true, ..first },
            Unrecorded { nowhere: Some("the disk is full"), ..first },
        ] {
            let note = note(of);
            assert!(note.contains("too_young") && note.contains("--set image_gc.min_age=0s"), "{note}");
        }
        assert!(note(first).contains("again in 2m (image_gc.min_age)"));
        assert!(note(Unrecorded { dry_run: true, ..first }).contains("A dry run records nothing"));
        let nowhere = Unrecorded { nowhere: Some("the disk is full"), ..first };
        assert!(note(nowhere).contains("can't be recorded either: the disk is full."));
        assert!(note(Unrecorded { are_too_young: false, ..nowhere }).contains("image_gc.min_age"));
        assert_eq!(Unrecorded { are_too_young: false, ..first }.note(), None, "no image is kept for it");
    }
}
