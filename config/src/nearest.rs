//! "Did you mean ...?": the known name that is nearest to an unknown one.

/// The candidate that `found` was most probably meant to be: the nearest one in which at most a third of the letters
/// differ, else one that begins with `found`. Case, and `-` for `_`, count for nothing.
pub(crate) fn nearest<'a>(found: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    /// Fewer letters than these begin too many names to mean one of them.
    const BEGINNING: usize = 3;
    let found = plain(found);
    let length = found.chars().count();
    let mut begun_by = None;
    let nearest = candidates.into_iter().map(|candidate| {
        if begun_by.is_none() && length >= BEGINNING && plain(candidate).starts_with(&found) {
            begun_by = Some(candidate);
        }
        (letters_apart(&found, candidate), candidate)
    });
    let (apart, candidate) = nearest.min_by_key(|(apart, _)| *apart)?;
    if apart <= (length / 3).max(1) { Some(candidate) } else { begun_by }
}

/// How many letters have to be added, left out, changed or swapped with their neighbour to make one name the other.
/// Case, and `-` for `_`, count for nothing.
#[must_use]
pub fn letters_apart(a: &str, b: &str) -> usize {
    strsim::osa_distance(&plain(a), &plain(b))
}

fn plain(text: &str) -> String {
    text.replace('-', "_").to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_edits() {
        assert_eq!(letters_apart("period", "period"), 0);
        assert_eq!(letters_apart("perod", "period"), 1);
        assert_eq!(letters_apart("peroid", "period"), 1, "a swap is one edit");
        assert_eq!(letters_apart("", "abc"), 3);
        assert_eq!(letters_apart("min-age", "MIN_AGE"), 0);
    }

    #[test]
    fn the_nearest_word_is_found_and_no_far_one() {
        assert_eq!(nearest("warn", ["error", "warning"]), Some("warning"));
        assert_eq!(nearest("w", ["error", "warning"]), None);
    }
}
