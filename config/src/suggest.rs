//! "Did you mean ...?": the known name that is nearest to an unknown one.

use crate::keys;

/// The candidate that `found` was most probably meant to be: the nearest one in which at most a third of the letters
/// differ, else one of which `found` is the beginning. Case, and `-` for `_`, count for nothing.
pub(crate) fn nearest<'a>(found: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    /// Fewer letters than these begin too many names to mean one of them.
    const BEGINNING: usize = 3;
    let found = plain(found);
    let mut begun_by = None;
    let nearest = candidates.into_iter().map(|candidate| {
        let letters = plain(candidate);
        if begun_by.is_none() && found.len() >= BEGINNING && letters.starts_with(&found) {
            begun_by = Some(candidate);
        }
        (distance(&found, &letters), candidate)
    });
    let (distance, candidate) = nearest.min_by_key(|(distance, _)| *distance)?;
    if distance <= (found.len() / 3).max(1) { Some(candidate) } else { begun_by }
}

/// The known key that an unknown dotted one was most probably meant to be: one with a similar name, else one of
/// (nearly) the same last part in another section.
pub(crate) fn key(found: &str) -> Option<&'static str> {
    nearest_key(found).or_else(|| {
        let last = nearest(last_part(found), keys::ALL.iter().map(|key| last_part(key.name)))?;
        keys::ALL.iter().map(|key| key.name).find(|name| last_part(name) == last)
    })
}

fn nearest_key(found: &str) -> Option<&'static str> {
    let (section, last) = found.rsplit_once('.').unwrap_or(("", found));
    // Within a section that exists only the last part can be wrong, and has to be near by itself.
    if section.is_empty() || keys::section_names().any(|name| name == section) {
        let last = nearest(last, keys::children(section))?;
        return keys::ALL.iter().map(|key| key.name).find(|name| match name.rsplit_once('.') {
            Some(parts) => parts == (section, last),
            None => section.is_empty() && *name == last,
        });
    }
    nearest(found, keys::ALL.iter().map(|key| key.name))
}

fn last_part(key: &str) -> &str {
    key.rsplit('.').next().unwrap_or(key)
}

fn plain(text: &str) -> Vec<char> {
    text.chars().map(|c| if c == '-' { '_' } else { c.to_ascii_lowercase() }).collect()
}

/// How many letters of two names differ. Case, and `-` for `_`, count for nothing.
#[must_use]
pub fn letters_apart(a: &str, b: &str) -> usize {
    distance(&plain(a), &plain(b))
}

/// How many letters have to be added, left out, changed or swapped with their neighbour.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut two_before: Vec<usize> = Vec::new();
    let mut before: Vec<usize> = (0..=b.len()).collect();
    let at = |row: &[usize], i: usize| row.get(i).copied().unwrap_or(usize::MAX / 2);
    let mut last_a = None;
    for (i, &ca) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        let mut last_b = None;
        for (j, &cb) in b.iter().enumerate() {
            let mut cost =
                (at(&before, j) + usize::from(ca != cb)).min(at(&before, j + 1) + 1).min(at(&row, j) + 1);
            if last_a == Some(cb) && last_b == Some(ca) && j > 0 {
                cost = cost.min(at(&two_before, j - 1) + 1);
            }
            row.push(cost);
            last_b = Some(cb);
        }
        two_before = std::mem::replace(&mut before, row);
        last_a = Some(ca);
    }
    at(&before, b.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_edits() {
        let distance = |a: &str, b: &str| distance(&plain(a), &plain(b));
        assert_eq!(distance("period", "period"), 0);
        assert_eq!(distance("perod", "period"), 1);
        assert_eq!(distance("peroid", "period"), 1, "a swap is one edit");
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("min-age", "MIN_AGE"), 0);
    }

    #[test]
    fn the_nearest_name_is_found_and_no_far_one() {
        assert_eq!(key("image_gc.high_treshold_percent"), Some("image_gc.high_threshold_percent"));
        assert_eq!(key("image-gc.period"), Some("image_gc.period"));
        assert_eq!(key("image_gc.high"), Some("image_gc.high_threshold_percent"));
        assert_eq!(nearest("warn", ["error", "warning"]), Some("warning"));
        assert_eq!(nearest("w", ["error", "warning"]), None);
        assert_eq!(key("nodename"), Some("node_name"));
        assert_eq!(key("runtime.dog"), None);
    }

    #[test]
    fn a_key_of_another_section_is_found() {
        assert_eq!(key("sandbox_gc.created_grace"), Some("container_gc.created_grace"));
        assert_eq!(key("max_containers"), Some("container_gc.max_containers"));
    }
}
